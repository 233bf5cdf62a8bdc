"""What is reflected and what is passed on: request ids, traces, and nothing that could inject."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import APP_KEY, UPSTREAM_KEY, GatewayServer, chat_body

Records = Callable[[], list[dict[str, Any]]]
CHAT = "/v1/chat/completions"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("wanted", ["a", "Job-7.retry_2", "x" * 128])
def test_a15_a_sound_request_id_is_kept_everywhere(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, new_records: Records, wanted: str
) -> None:
    with gateway_server.http() as client:
        reply = client.post(CHAT, json=chat_body(), headers={"x-request-id": wanted})
    assert reply.headers["x-request-id"] == wanted
    assert upstream.calls[0].header("x-request-id") == wanted
    assert [record["request_id"] for record in new_records()] == [wanted]


@pytest.mark.parametrize(
    "given", [b"", b"a b", b"x" * 129, b"a;b", b"\xc3\xa9", b"<script>", b'"', b"a%0d%0ab"]
)
def test_s4_another_request_id_is_replaced_by_ours(
    gateway_server: GatewayServer, given: bytes
) -> None:
    with gateway_server.http() as client:
        reply = client.post(CHAT, json=chat_body(), headers=[(b"x-request-id", given)])
    assert reply.status_code == 200
    assert re.fullmatch("req_[0-9a-f]{32}", reply.headers["x-request-id"])


def test_every_error_carries_a_request_id(gateway_server: GatewayServer) -> None:
    with gateway_server.http("sk-nobody") as client:
        made = client.post(CHAT, content=b"", headers={"x-request-id": "mine"})
        assert (made.status_code, made.headers["x-request-id"]) == (401, "mine")


@pytest.mark.parametrize("name", ["x-request-id", "traceparent", "idempotency-key", "x-other"])
@pytest.mark.parametrize("bad", [b"a\rset-cookie: x=1", b"a\n b", b"a\0b", b"a\x1bb", b"a\x7fb"])
def test_s4_control_bytes_in_a_header_never_get_further(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, name: str, bad: bytes
) -> None:
    head = (
        f"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {APP_KEY}\r\n{name}: "
    )
    port = int(gateway_server.origin.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        raw.sendall(head.encode() + bad + b"\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"set-cookie" not in answer.lower()
    assert upstream.calls == []


@pytest.mark.parametrize("model", ["a\r\nx-evil: 1", "a\0b", "a\u2028b", "a b", "\ud7ffx"])
def test_s4_control_bytes_in_a_model_are_refused_and_reflected_as_json_only(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, model: str
) -> None:
    with gateway_server.http() as client:
        reply = client.post(CHAT, json=chat_body(model=model))
        by_path = client.get("/v1/models/a%0d%0aset-cookie:%20x=1")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")
    for answer in (reply, by_path):
        assert not {"x-evil", "set-cookie"} & set(answer.headers)
    assert upstream.calls == []


def test_a15_a_trace_goes_on_under_a_new_span(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    headers = {"traceparent": TRACE, "tracestate": "vendor=1"}
    with gateway_server.http() as client:
        client.post(CHAT, json=chat_body(), headers=headers)
    _, trace_id, span_id, flags = (upstream.calls[0].header("traceparent") or "").split("-")
    assert (trace_id, flags) == (TRACE.split("-")[1], "01")
    assert span_id != TRACE.split("-")[2]
    assert upstream.calls[0].header("tracestate") == "vendor=1"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "nonsense",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        TRACE.upper(),
        "ff" + TRACE[2:],
        TRACE + "-x",
    ],
)
def test_a15_without_a_sound_trace_one_begins(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, given: str | None
) -> None:
    headers = {"tracestate": "vendor=1"} | ({"traceparent": given} if given else {})
    with gateway_server.http() as client:
        assert client.post(CHAT, json=chat_body(), headers=headers).status_code == 200
    sent = upstream.calls[0].header("traceparent") or ""
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", sent)
    assert sent.split("-")[1] != TRACE.split("-")[1]
    assert upstream.calls[0].header("tracestate") is None


def test_request_headers_go_upstream_by_allow_list(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    client_headers = {
        "cookie": "session=1",
        "openai-organization": "org-client",
        "openai-project": "p",
        "x-forwarded-for": "10.0.0.1",
        "x-stainless-os": "Linux",
        "openai-beta": "assistants=v2",
        "idempotency-key": "once",
        "te": "trailers",
    }
    with gateway_server.http() as client:
        client.post(CHAT, json=chat_body(), headers=client_headers)
    sent = {name.lower(): value for name, value in upstream.calls[0].headers}
    assert set(sent) == {
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "openai-beta",
        "traceparent",
        "user-agent",
        "x-request-id",
    }
    assert sent["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_overhead_is_told_on_request(gateway_server: GatewayServer) -> None:
    with gateway_server.http() as client:
        asked = client.post(CHAT, json=chat_body(), headers={"x-sentinel-overhead-us": "1"})
        plain = client.post(CHAT, json=chat_body())
    assert int(asked.headers["x-sentinel-overhead-us"]) >= 0
    assert "x-sentinel-overhead-us" not in plain.headers
