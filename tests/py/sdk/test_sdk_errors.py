"""Failures reach the application as its SDK's own exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from sentinel.testing import ScriptedUpstream
from support.sdk_calls import HELLO
from support.serving import GatewayServer

Records = Callable[[], list[dict[str, Any]]]
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": HELLO}


def code_of(error: openai.APIStatusError) -> Any:
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    return error.body["code"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_upstreams_error_passes_as_it_is(
    upstream: ScriptedUpstream,
    client: openai.OpenAI,
    direct: openai.OpenAI,
    new_records: Records,
    status: int,
    kind: type[openai.APIStatusError],
    stream: bool,
) -> None:
    upstream.script(f"status={status}", f"status={status}")
    caught = []
    for sdk in (client, direct):
        with pytest.raises(kind) as error:
            sdk.chat.completions.create(**ASK, stream=stream)
        caught.append(error.value)
    through, straight = caught
    assert through.body == straight.body
    assert through.response.headers.get("retry-after") == (
        straight.response.headers.get("retry-after")
    )
    [record] = new_records()
    assert (record["outcome"], record["status"]) == ("upstream_error", status)
    assert (record["prompt_tokens"], record["cost_micro_usd"]) == (0, 0)
    assert through.request_id == record["request_id"]


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"messages": []}, openai.BadRequestError, "invalid_request"),
        ({"temperature": 9}, openai.BadRequestError, "invalid_request"),
        ({"n": 0}, openai.BadRequestError, "invalid_request"),
        ({"model": ""}, openai.BadRequestError, "invalid_request"),
        ({"stream_options": {"include_usage": 1}}, openai.BadRequestError, "invalid_request"),
    ],
)
def test_our_own_refusals_are_the_sdks_errors_and_forward_nothing(
    upstream: ScriptedUpstream,
    client: openai.OpenAI,
    new_records: Records,
    change: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
) -> None:
    with pytest.raises(kind) as error:
        client.chat.completions.create(**{**ASK, **change})
    assert code_of(error.value) == code
    assert upstream.calls == []
    [record] = new_records()
    assert (record["outcome"], record["status"]) == ("refused", error.value.status_code)


def test_a_wrong_key_is_an_authentication_error_and_leaves_no_record(
    gateway_server: GatewayServer, new_records: Records, upstream: ScriptedUpstream
) -> None:
    with (
        gateway_server.openai(key="sk-somebody-elses") as stranger,
        pytest.raises(openai.AuthenticationError) as error,
    ):
        stranger.chat.completions.create(**ASK)
    assert code_of(error.value) == "invalid_api_key"
    assert (new_records(), upstream.calls) == ([], [])


def test_a_model_without_a_route_is_not_found(serve: Callable[..., GatewayServer]) -> None:
    server = serve(routes={"gpt-4o": {"targets": [{"upstream": "upstream"}]}})
    with server.openai() as client, pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(**ASK)
    assert code_of(error.value) == "model_not_found"
    assert error.value.body == {**dict(error.value.body or {}), "param": "model"}  # type: ignore[call-overload]


def test_an_error_event_in_a_stream_is_raised_where_it_stands(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records
) -> None:
    upstream.script("fail=error_event at=2 chunks=5")
    stream = client.chat.completions.create(**ASK, stream=True)
    seen: list[str] = []
    with pytest.raises(openai.APIError, match="failed while it worked"):
        seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(seen) == "A gateway"
    [record] = new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("upstream_error", 2)


@pytest.mark.parametrize("fault", ["cut_mid_event", "cut_between_events", "no_terminal"])
def test_a_cut_stream_ends_in_an_error_and_never_like_a_whole_one(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records, fault: str
) -> None:
    upstream.script(f"fail={fault} at=3 chunks=9")
    with pytest.raises(openai.APIError) as error:
        list(client.chat.completions.create(**ASK, stream=True))
    assert error.value.code == "upstream_error"
    [record] = new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("upstream_cut", 3)
    assert record["estimated"] == 1


@pytest.mark.parametrize("fault", ["html", "invalid_json", "empty_body", "error_object", "gzip"])
def test_nonsense_with_status_200_is_a_502(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records, fault: str
) -> None:
    upstream.script(f"fail={fault}")
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**ASK)
    assert (error.value.status_code, code_of(error.value)) == (502, "upstream_error")
    [record] = new_records()
    assert record["outcome"] in ("upstream_error", "upstream_cut")


def test_a_silent_upstream_is_a_504_within_the_deadline(
    serve: Callable[..., GatewayServer], upstream: ScriptedUpstream
) -> None:
    server = serve(upstreams__upstream__timeouts={"first_byte": "50ms"})
    upstream.script("fail=stall_before_head")
    with server.openai() as client, pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**ASK)
    assert (error.value.status_code, code_of(error.value)) == (504, "upstream_timeout")
    upstream.wait_until(lambda up: up.aborted == 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_gives_up_cancels_the_upstream_call(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records, stream: bool
) -> None:
    upstream.script("fail=stall_before_head")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).chat.completions.create(**ASK, stream=stream)
    upstream.wait_until(lambda up: up.aborted == 1)
    [record] = new_records()
    assert (record["outcome"], record["status"]) == ("client_gone", 499)


def test_a_client_that_leaves_a_stream_pays_for_what_has_passed(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records
) -> None:
    upstream.script("fail=stall_between_events at=4 chunks=9")
    stream = client.chat.completions.create(**ASK, stream=True)
    pieces = [chunk.choices[0].delta.content for _, chunk in zip(range(5), stream, strict=False)]
    stream.close()
    assert len(pieces) == 5
    upstream.wait_until(lambda up: up.aborted == 1)
    [record] = new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("client_gone", 4)
    assert record["estimated"] == 1
