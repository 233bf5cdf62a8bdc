"""Requests that go straight to the engine, beside those that go through ASGI, on one connection."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinel.api import create_app
from sentinel.testing import ScriptedUpstream
from support.raw_http import RawClient, RawReply, events, post_bytes
from support.serving import GatewayServer, chat_body, gateway_settings

Make = Callable[[str], bytes]

OWN_EACH_TIME = {"date", "x-request-id", "x-sentinel-upstream-request-id"}


def whole(text: str = "good morning", **more: Any) -> bytes:
    """A request that goes straight."""
    return post_bytes(chat_body(text, **more))


def chunked(text: str = "good morning", **more: Any) -> bytes:
    """The same through ASGI: the engine leaves transfer codings to the server."""
    data = json.dumps(chat_body(text, **more)).encode()
    head = post_bytes(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def said(reply: RawReply) -> str:
    text: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return text


@pytest.fixture
def impatient(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[GatewayServer]:
    """A gateway that closes a connection as soon as it is quiet."""
    app = create_app(gateway_settings(upstream.base_url, tmp_path / "data"))
    with GatewayServer.of(app, app.state.gateway, keep_alive_seconds=0.05) as server:
        yield server


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["good morning", "[[status=500]]"])
def test_both_ways_give_the_same_reply(
    gateway_server: GatewayServer, text: str, stream: bool
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(whole(text, stream=stream))
        straight = client.reply()
        client.send(chunked(text, stream=stream))
        through_asgi = client.reply()
    assert straight.status == through_asgi.status
    names = straight.headers.keys() - {"connection"}
    assert names == through_asgi.headers.keys() - {"connection"}
    for name in names - OWN_EACH_TIME:
        assert straight.headers[name] == through_asgi.headers[name], name
    if stream and straight.status == 200:
        assert events(straight.body)[-1] == events(through_asgi.body)[-1] == "[DONE]"


def test_both_ways_may_take_turns_on_one_connection(gateway_server: GatewayServer) -> None:
    with RawClient(gateway_server.origin) as client:
        for turn in range(6):
            client.send(chunked() if turn % 2 else whole())
            assert client.reply().status == 200


@pytest.mark.parametrize("first", [whole, chunked])
@pytest.mark.parametrize("second", [whole, chunked])
def test_requests_sent_behind_one_that_runs_are_answered_in_order(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, first: Make, second: Make
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(first("[[hold=0 text=first]]"))
        upstream.wait_until(lambda up: len(up.calls) == 1)
        client.send(second("[[text=second]]"))
        third = whole("[[text=third]]")
        client.send(third[:40])
        client.send(third[40:])
        upstream.release()
        assert [said(client.reply()) for _ in range(3)] == ["first", "second", "third"]


def test_much_that_comes_behind_a_request_that_runs_waits_and_is_answered(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(whole("[[hold=0 text=first]]"))
        upstream.wait_until(lambda up: len(up.calls) == 1)
        client.send(whole("[[text=second]]" + "x" * 300_000))
        client.send(whole("[[text=third]]"))
        upstream.release()
        assert [said(client.reply()) for _ in range(3)] == ["first", "second", "third"]


def test_s3_the_body_of_another_request_is_never_read_as_a_request(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    smuggled = whole("smuggled")
    with RawClient(gateway_server.origin) as client:
        client.send(post_bytes(b"", "/v1/nothing", length=len(smuggled)))
        assert client.reply().status == 404
        try:
            client.send(smuggled)
            client.send(whole("honest"))
            reply = client.reply()
        except (EOFError, ConnectionError):
            reply = None  # closed instead: as good
    assert reply is None or b"honest" in upstream.calls[0].body
    assert all(b"smuggled" not in call.body for call in upstream.calls)


def test_a_client_that_leaves_ends_its_call(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(whole("[[chunks=1000 gap_ms=20]]", stream=True))
        client.read_until(b"\n\n")
        client.leave("rst")
    upstream.wait_until(lambda up: up.aborted == 1)
    gateway_server.idle()


def test_a_connection_is_kept_while_its_request_runs_and_closed_when_it_is_quiet(
    impatient: GatewayServer,
) -> None:
    with RawClient(impatient.origin) as client:
        client.send(whole("[[head_ms=400 text=late]]"))
        assert said(client.reply()) == "late"
        client.send(whole())
        assert client.reply().status == 200
        assert client.is_closed_by_server()


def test_a_reply_larger_than_every_buffer_reaches_a_client_that_reads_late(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    with RawClient(gateway_server.origin, receive_buffer=4096) as client:
        client.send(whole("[[size=3000000 chunks=300]]", stream=True))
        upstream.wait_until(lambda up: any(call.chunks_sent > 20 for call in up.calls))
        received = events(client.reply().body)
    pieces = [event["choices"][0]["delta"].get("content", "") for event in received[:-1]]
    assert sum(map(len, pieces)) == 3_000_000


def test_r6_who_asks_and_never_reads_is_not_answered_on_and_on(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    script = "[[size=300000 chunks=3]]"
    with RawClient(gateway_server.origin, receive_buffer=4096) as client:
        for _ in range(60):
            client.send(whole(script))
            time.sleep(0.005)  # one read each
        served = len(upstream.calls)
        assert served < 40, "the kernel's buffers hold some of them, ours no more than one"
        assert [client.reply().status for _ in range(60)] == [200] * 60
    assert len(upstream.calls) == 60


def test_r6_an_endless_head_behind_a_request_that_runs_ends_the_connection(
    gateway_server: GatewayServer, upstream: ScriptedUpstream
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(chunked("[[hold=0]]"))
        upstream.wait_until(lambda up: len(up.calls) == 1)
        client.send(b"GET / HTTP/1.1\r\nx: ")
        with pytest.raises(ConnectionError):
            client.send(b"a" * 64_000_000)
    upstream.release()


def test_a_reply_that_the_client_takes_slowly_is_not_cut_by_the_idle_timer(
    impatient: GatewayServer, upstream: ScriptedUpstream
) -> None:
    with RawClient(impatient.origin, receive_buffer=4096) as client:
        client.send(whole("[[size=3000000 chunks=3]]"))
        upstream.wait_until(lambda up: any(call.ended is not None for call in up.calls))
        time.sleep(0.3)  # several times as long as a quiet connection may be
        client.send(whole("[[text=second]]"))
        assert len(client.reply().body) > 3_000_000
        assert said(client.reply()) == "second"


@pytest.mark.parametrize("make", [whole, chunked])
def test_white_space_behind_a_value_is_none_of_it_on_either_way(
    gateway_server: GatewayServer, make: Make
) -> None:
    with RawClient(gateway_server.origin) as client:
        client.send(make("good morning").replace(b"\r\ncontent-type", b" \t\r\ncontent-type"))
        assert client.reply().status == 200
