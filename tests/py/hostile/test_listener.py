"""`sentinel serve` bounds what no ASGI app sees: a head without end, a silent connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.raw_http import RawClient, post_bytes
from support.serving import APP_KEY, GatewayProcess, chat_body

HEAD_BYTES = 16 * 1024
FLOOD_BYTES = 64 << 20
GROWTH_BYTES = 16 << 20
START = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"


@pytest.fixture
def gateway(
    upstream: ScriptedUpstream, serve_process: Callable[[dict[str, Any]], GatewayProcess]
) -> GatewayProcess:
    return serve_process(
        {
            "version": 1,
            "server": {"limits": {"head_bytes": HEAD_BYTES, "body_seconds": 1}},
            "upstreams": {"up": {"base_url": upstream.base_url}},
            "routes": {"*": {"targets": [{"upstream": "up"}]}},
            "keys": [{"id": "operator", "key": APP_KEY}],
        }
    )


FLOODS = {
    "target": (b"POST /v1/", b"a" * 65536),
    "value": (START + b"x-big: ", b"v" * 65536),
    "name": (START, b"n" * 65536),
    "headers": (START, b"x-a: b\r\n" * 8192),
}


def test_r6_a_head_without_end_takes_no_memory(gateway: GatewayProcess) -> None:
    before = gateway.resident_bytes()
    for start, piece in FLOODS.values():
        with RawClient(gateway.origin) as client, pytest.raises(ConnectionError):  # noqa: PT012
            client.send(start)
            for _ in range(FLOOD_BYTES // len(piece)):
                client.send(piece)
    assert gateway.resident_bytes() - before < GROWTH_BYTES
    with gateway.http() as other:
        assert other.get("/healthz").status_code == 200


@pytest.mark.parametrize("flood", FLOODS)
def test_r6_an_unfinished_head_over_the_limit_is_a_431(gateway: GatewayProcess, flood: str) -> None:
    start, piece = FLOODS[flood]
    with RawClient(gateway.origin) as client:
        client.send(start + piece[:HEAD_BYTES])
        reply = client.reply()
        assert (reply.status, reply.code) == (431, "headers_too_large")
        assert client.is_closed_by_server()


def test_a_trickled_head_is_a_408(gateway: GatewayProcess) -> None:
    with RawClient(gateway.origin) as client:
        stop = threading.Event()

        def trickle() -> None:
            client.send(START)
            with suppress(OSError):  # it is closed under our hands
                while not stop.wait(0.05):
                    client.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        reply = client.reply()
        stop.set()
        thread.join()
    assert (reply.status, reply.code) == (408, "request_timeout")


def test_a_head_in_two_pieces_is_served_and_its_deadline_forgotten(gateway: GatewayProcess) -> None:
    request = post_bytes(chat_body("hello [[ttft_ms=1500]]"))
    with RawClient(gateway.origin) as client:
        client.send(request[:40])
        client.send(request[40:])
        assert client.reply().status == 200
        client.send(request)
        assert client.reply().status == 200


def test_a_connection_that_says_nothing_is_closed(gateway: GatewayProcess) -> None:
    with RawClient(gateway.origin) as client:
        assert client.is_closed_by_server()


def test_an_unfinished_head_behind_a_running_answer_does_not_spoil_it(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """No byte of a refusal may come between those of an answer."""
    stream = post_bytes(chat_body("hello [[chunks=40 gap_ms=50]]", stream=True))
    with RawClient(gateway.origin) as client:
        client.send(stream + START)
        with pytest.raises(EOFError) as end:
            client.read_until(b"request_timeout")
    assert b"HTTP/1.1 408" not in end.value.args[0]
    upstream.wait_until(lambda up: up.in_flight == 0)
