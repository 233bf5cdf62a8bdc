"""POST /v1/query: one question in, one answer out, within the stated bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import GatewayServer

Records = Callable[[], list[dict[str, Any]]]


def ask(server: GatewayServer, **body: Any) -> Any:
    with server.http() as client:
        return client.post("/v1/query", json=body)


def test_a12_a_question_is_answered_and_counted_like_any_call(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, new_records: Records
) -> None:
    reply = ask(gateway_server, prompt="good morning", model="gpt-4o", max_tokens=50)
    answer = reply.json()
    assert (reply.status_code, answer["answer"]) == (200, "You said: good morning")
    assert (answer["model"], answer["cost_micro_usd"]) == ("gpt-4o", 2 + 2 * 4)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 4)
    assert answer["cache"] == {"verdict": "bypass", "age_seconds": 0, "similarity": None}
    assert upstream.calls[0].json == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "good morning"}],
        "max_tokens": 50,
    }
    [record] = new_records()
    assert (record["request_id"], record["endpoint"]) == (answer["id"], "/v1/query")
    assert reply.headers["x-request-id"] == answer["id"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n\t"}, "prompt"),
        ({"prompt": "x" * 10_001}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x", "model": "a b"}, "model"),
        ({"prompt": "x", "model": ""}, "model"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 1e9}, "max_tokens"),
        ({"prompt": "x", "cache": "perhaps"}, "cache"),
    ],
    ids=str,
)
def test_d11_input_out_of_bounds_is_refused_with_its_place(
    gateway_server: GatewayServer,
    upstream: ScriptedUpstream,
    new_records: Records,
    body: dict[str, Any],
    param: str,
) -> None:
    reply = ask(gateway_server, **body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_request", param)
    assert set(error) == {"message", "type", "param", "code"}
    assert upstream.calls == []
    assert [record["outcome"] for record in new_records()] == ["refused"]


def test_d11_the_longest_text_is_taken(gateway_server: GatewayServer) -> None:
    assert ask(gateway_server, prompt="é" * 10_000).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]x", b"\xff", b'{"prompt": "a"} x'])
def test_what_is_not_json_is_told_so(gateway_server: GatewayServer, body: bytes) -> None:
    with gateway_server.http() as client:
        reply = client.post("/v1/query", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


def test_r6_a_body_over_the_limit_is_not_read_whole(
    serve: Callable[..., GatewayServer],
) -> None:
    server = serve(server__limits={"body_bytes": 2048})
    reply = ask(server, prompt="x" * 3000)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


def test_an_upstreams_failure_is_the_questions_failure(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    upstream.script("status=429", "fail=html")
    limited, nonsense = ask(gateway_server, prompt="x"), ask(gateway_server, prompt="x")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1")
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"
    assert (nonsense.status_code, nonsense.json()["error"]["code"]) == (502, "upstream_error")


def test_a_refusal_is_the_answer(gateway_server: GatewayServer, upstream: ScriptedUpstream) -> None:
    upstream.script("refusal")
    assert ask(gateway_server, prompt="x").json()["answer"].startswith("The scripted upstream")
