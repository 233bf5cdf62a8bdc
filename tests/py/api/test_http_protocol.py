"""What our own protocol class writes, byte by byte, for apps that are not ours."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from sentinel.api.http_protocol import http_protocol
from sentinel.config import Settings

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def exchange(app: App, request: bytes) -> bytes:
    """All that comes back for one request on a connection of its own."""

    async def talk() -> bytes:
        async with Serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return answer

    return asyncio.run(talk())


class Serving:
    """uvicorn with our protocol around an app, in the running loop."""

    def __init__(self, app: App) -> None:
        settings = Settings.for_upstream("http://127.0.0.1:9", insecure=True)
        protocol = http_protocol(settings, lambda: None)
        config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
        self._server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0))

    async def __aenter__(self) -> int:
        self._task = asyncio.create_task(self._server.serve([self._listener]))
        while not self._server.started:
            await asyncio.sleep(0)
        port: int = self._listener.getsockname()[1]
        return port

    async def __aexit__(self, *failure: object) -> None:
        self._server.should_exit = True
        await self._task


def replying(*messages: Message) -> App:
    """An app that reads its request and then sends these messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_a_reply_with_a_length_is_written_as_it_is() -> None:
    answer = exchange(replying(start((b"content-length", b"2")), body(b"ok")), GET)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-length: 2\r\n" in head + b"\r\n"
    assert b"\r\nconnection: close" in head
    assert rest == b"ok"


def test_a_reply_without_a_length_is_chunked() -> None:
    answer = exchange(replying(start(), body(b"one", True), body(b"", True), body(b"two")), GET)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_no_framing(status: int) -> None:
    answer = exchange(replying(start(status=status), body(b"")), GET)
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\n")


def test_head_gets_the_head_and_no_body() -> None:
    request = GET.replace(b"GET", b"HEAD")
    answer = exchange(replying(start((b"content-length", b"2")), body(b"ok")), request)
    assert b"content-length: 2" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_upper_case_names_frame_too() -> None:
    answer = exchange(replying(start((b"Content-Length", b"2")), body(b"ok")), GET)
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"1\r\nx-b: 2"),
        (b"x-a", b"1\nx-b: 2"),
        (b"x-a", b"\x00"),
        (b"x-a: 1\r\nx-b", b"2"),
        (b"x a", b"1"),
    ],
)
def test_s4_an_apps_header_cannot_split_the_reply(header: tuple[bytes, bytes]) -> None:
    answer = exchange(replying(start(header), body(b"ok")), GET)
    assert answer == b""  # the connection is closed, and nothing was written before


@pytest.mark.parametrize("data", [b"longer", b"s"])
def test_a_body_that_is_not_as_long_as_announced_closes_the_connection(data: bytes) -> None:
    request = GET.replace(b"Connection: close\r\n", b"")
    answer = exchange(replying(start((b"content-length", b"2")), body(data)), request)
    assert answer.partition(b"\r\n\r\n")[2] in (b"", b"s")


def test_an_event_without_bytes_sends_the_head_on() -> None:
    async def talk() -> None:
        go_on = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"", True))
            await go_on.wait()
            await send(body(b"late"))

        async with Serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(b"HTTP/1.1 200 OK")
            go_on.set()
            assert await asyncio.wait_for(reader.read(), 20) == b"4\r\nlate\r\n0\r\n\r\n"
            writer.close()

    asyncio.run(talk())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"2")))
        await send(body(scope["path"].encode()))

    first = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = exchange(app, first + first.replace(b"/1 ", b"/2 ") + GET.replace(b"/ ", b"/3 "))
    assert [part[:2] for part in answer.split(b"\r\n\r\n")[1:]] == [b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("waits_for_body", [False, True])
def test_after_the_whole_body_only_the_end_is_received(waits_for_body: bool) -> None:
    async def talk() -> None:
        received: list[str] = []
        asked, has_body = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            asked.set()
            received.append((await receive())["type"])
            has_body.set()
            received.append((await receive())["type"])

        async with Serving(app) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
            writer.write(head if waits_for_body else head + b"body")
            await asyncio.wait_for(asked.wait(), 20)
            if waits_for_body:
                writer.write(b"body")
            await asyncio.wait_for(has_body.wait(), 20)
            for _ in range(20):  # turns of the loop in which a second message would have come
                await asyncio.sleep(0)
            assert received == ["http.request"]
            writer.close()
            while len(received) < 2:
                await asyncio.sleep(0)
        assert received == ["http.request", "http.disconnect"]

    asyncio.run(asyncio.wait_for(talk(), 30))


# ---- a connection that says nothing of a request is closed like an idle one ----------------------


async def silent_after(*sent: bytes) -> bytes:
    """What comes until the server hangs up on a client that has sent this and no more."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [LENGTH_0]})
        await send({"type": "http.response.body", "body": b""})

    async with Serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer


LENGTH_0 = (b"content-length", b"0")


async def test_s32_empty_lines_do_not_keep_a_connection_open() -> None:
    assert await silent_after(b"\r\n", b"\r\n") == b""


async def test_s32_a_body_whose_reply_has_gone_does_not_keep_a_connection_open() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    assert (await silent_after(head, b"x")).startswith(b"HTTP/1.1 413 ")
