"""A client that stops reading holds nobody up: what waits for it is bounded, and so is the wait.

The gateway is a process of its own here, so that its memory can be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.raw_http import RawClient, post_bytes
from support.serving import APP_KEY, UPSTREAM_KEY, GatewayProcess, chat_body, eventually

PIECE_BYTES = 16 * 1024
# Buffers of four sockets (the kernel gives each a few MiB), of two event loops, and our credit.
MOST_BYTES = 32 << 20


@pytest.fixture
def gateway(
    upstream: ScriptedUpstream, serve_process: Callable[[dict[str, Any]], GatewayProcess]
) -> GatewayProcess:
    address = {
        "base_url": upstream.base_url,
        "credentials": [{"key": UPSTREAM_KEY}],
        "timeouts": {"idle": "400ms"},
    }
    return serve_process(
        {
            "version": 1,
            "upstreams": {"up": address},
            "routes": {"*": {"targets": [{"upstream": "up"}]}},
            "keys": [{"id": "operator", "key": APP_KEY}],
        }
    )


def test_r6_a_client_that_stops_reading_ends_in_bounded_memory_as_a_slow_reader(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    before = gateway.resident_bytes()
    script = f"[[fail=endless size={PIECE_BYTES * 8} chunks=8]]"
    with RawClient(gateway.origin, receive_buffer=4096) as client:
        client.send(post_bytes(chat_body(script, stream=True)))
        client.read_until(b"\n\n")
        upstream.wait_until(lambda up: up.aborted == 1)
        sent = upstream.calls[0].chunks_sent * PIECE_BYTES
        grown = gateway.resident_bytes() - before
        print(f"the upstream sent {sent >> 20} MiB, the gateway grew by {grown >> 20} MiB")
        assert sent < MOST_BYTES
        assert grown < MOST_BYTES
        eventually(lambda: len(gateway.records()) == 1, "it is recorded")
        [record] = gateway.records()
        assert (record["outcome"], record["status"]) == ("client_gone", 200)
        assert 0 < record["completion_tokens"] <= upstream.calls[0].chunks_sent
        # Whoever reads on after all is told why there is no more.
        client.read_until(b'"code":"slow_reader"')
    with gateway.http() as other:
        assert other.post("/v1/chat/completions", json=chat_body("hi")).status_code == 200


def test_a_client_slower_than_its_upstream_gets_its_whole_answer(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    script = f"[[size={PIECE_BYTES * 400} chunks=400]]"
    with RawClient(gateway.origin, receive_buffer=4096) as client:
        client.send(post_bytes(chat_body(script, stream=True)))
        assert client.read_until(b"[DONE]").count(b"chat.completion.chunk") > 400
    eventually(lambda: len(gateway.records()) == 1, "it is recorded")
    assert gateway.records()[0]["completion_tokens"] == 400
