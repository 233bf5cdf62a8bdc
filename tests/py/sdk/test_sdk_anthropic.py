"""Anthropic's SDK works on /v1/messages: plain, streamed, failing, its key in its own header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import APP_KEY, UPSTREAM_KEY, GatewayServer

Records = Callable[[], list[dict[str, Any]]]
ASK: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "good morning"}],
}
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize(
    ("script", "more", "completion"),
    [("", {}, 4), ("tools=1", {"tools": [TOOL]}, 3), ("refusal", {}, 9)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_equals_the_message_asked_for_straight(
    upstream: ScriptedUpstream,
    claude: anthropic.Anthropic,
    direct_claude: anthropic.Anthropic,
    new_records: Records,
    script: str,
    more: dict[str, Any],
    completion: int,
    stream: bool,
) -> None:
    upstream.script(script, script)
    answers = []
    for sdk in (claude, direct_claude):
        answer: Any = sdk.messages.create(**ASK, **more, stream=stream)
        answers.append([event.model_dump() for event in answer] if stream else answer)
    assert answers[0] == answers[1]
    [record] = new_records()
    assert (record["prompt_tokens"], record["completion_tokens"]) == (2, completion)
    assert (record["endpoint"], record["outcome"]) == ("/v1/messages", "done")
    assert record["cost_micro_usd"] == 2 + 2 * completion


def test_the_streaming_helper_gives_the_plain_message(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == "You said: good morning"
        assert stream.get_final_message().usage.output_tokens == 4


def test_the_key_comes_by_x_api_key_and_stays_here(
    upstream: ScriptedUpstream,
    claude: anthropic.Anthropic,
    direct_claude: anthropic.Anthropic,
) -> None:
    claude.messages.create(**ASK)
    direct_claude.messages.create(**ASK)
    through, straight = upstream.calls
    sent = through.headers
    assert not any(APP_KEY in value for _, value in sent)
    assert [value for name, value in sent if name.lower() == "authorization"] == [
        f"Bearer {UPSTREAM_KEY}"
    ]
    assert through.header("anthropic-version") == straight.header("anthropic-version")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
def test_an_upstreams_error_passes_as_it_is(
    upstream: ScriptedUpstream,
    claude: anthropic.Anthropic,
    status: int,
    kind: type[anthropic.APIStatusError],
) -> None:
    upstream.script(f"status={status}")
    with pytest.raises(kind) as error:
        claude.messages.create(**ASK)
    assert isinstance(error.value.body, dict)
    assert error.value.body["type"] == "error"
    assert error.value.body["request_id"] == upstream.calls[0].request_id


def test_our_own_errors_have_that_protocols_shape(gateway_server: GatewayServer) -> None:
    with gateway_server.anthropic(key="sk-nobody") as stranger:
        with pytest.raises(anthropic.AuthenticationError) as error:
            stranger.messages.create(**ASK)
        body = error.value.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    assert body["error"]["type"] == "authentication_error"
    assert body["error"]["code"] == "invalid_api_key"
    assert body["request_id"] == error.value.response.headers["request-id"]


def test_a_cut_stream_ends_in_that_protocols_error_event(
    upstream: ScriptedUpstream, claude: anthropic.Anthropic, new_records: Records
) -> None:
    upstream.script("fail=cut_between_events at=2 chunks=6")
    with (
        pytest.raises(anthropic.APIStatusError, match="upstream_error"),
        claude.messages.stream(**ASK) as stream,
    ):
        stream.get_final_message()
    [record] = new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("upstream_cut", 2)


FILE = {"type": "document", "source": {"type": "file", "file_id": "f_1"}}


@pytest.mark.parametrize(
    "more",
    [{"container": "c_1"}, {"messages": [{"role": "user", "content": [FILE]}]}],
    ids=["container", "file"],
)
def test_a_message_that_names_a_stored_object_is_refused(
    upstream: ScriptedUpstream, claude: anthropic.Anthropic, more: dict[str, Any]
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="stored at a provider"):
        claude.messages.create(**{**ASK, **more})
    assert upstream.calls == []
