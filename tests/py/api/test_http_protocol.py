"""What our own protocol class writes, byte by byte, for apps that are not ours."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from sentinel.api.client import BODY, DISCONNECT
from sentinel.api.http_protocol import http_protocol
from sentinel.config import Settings
from sentinel.gateway import ReplyHeaders

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def exchange(app: App, request: bytes, hot: bool = False) -> bytes:
    """All that comes back for one request on a connection of its own."""

    async def talk() -> bytes:
        async with Serving(app, hot) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return answer

    return asyncio.run(talk())


class Serving:
    """uvicorn with our protocol around an app, in the running loop."""

    def __init__(self, app: App, hot: bool = False) -> None:
        settings = Settings.for_upstream("http://127.0.0.1:9", insecure=True)
        protocol = http_protocol(settings, lambda scope: hot)
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


def test_who_registers_is_told_when_the_client_leaves() -> None:
    async def talk() -> None:
        asked, left = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"][DISCONNECT]["register"](left.set)
            asked.set()
            await left.wait()

        async with Serving(app) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await asyncio.wait_for(asked.wait(), 20)
            assert not left.is_set()
            writer.close()
            await asyncio.wait_for(left.wait(), 20)

    asyncio.run(talk())


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


# ---- a hot request that has come whole begins without a task -------------------------------------


POST = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody"


def echo_after(*waits: float) -> tuple[App, list[object]]:
    """An app that gives its body back after some waits, and the tasks it found itself in."""
    tasks: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        here = scope["extensions"].get(BODY)
        body = here["take"]() if here else (await receive())["body"]
        for seconds in waits:
            await asyncio.sleep(seconds)
            tasks.append(asyncio.current_task())
        fields = ReplyHeaders(b"content-type: text/plain\r\ncontent-length: %d\r\n" % len(body))
        headers = fields if here else list(fields)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app, tasks


def test_a_hot_request_that_need_not_wait_is_answered_without_a_task() -> None:
    app, tasks = echo_after()
    head, _, body = exchange(app, POST, hot=True).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/plain\r\ncontent-length: 4\r\n" in head
    assert (body, tasks) == (b"body", [None])


def test_a_hot_request_that_waits_goes_on_as_a_task() -> None:
    app, tasks = echo_after(0.001, 0.0, 0.001)
    answer = exchange(app, POST, hot=True)
    assert answer.endswith(b"\r\n\r\nbody")
    assert tasks[0] is None
    assert all(isinstance(task, asyncio.Task) for task in tasks[1:])
    assert len(set(map(id, tasks[1:]))) == 1


def test_a_hot_request_whose_body_is_still_to_come_is_a_task_from_the_start() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((asyncio.current_task() is not None, BODY in scope["extensions"]))
        body = (await receive())["body"]
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async def talk() -> bytes:
        async with Serving(app, hot=True) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST[:-4])
            await writer.drain()
            while not seen:
                await asyncio.sleep(0)
            writer.write(b"body")
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return answer

    assert asyncio.run(talk()).endswith(b"body")
    assert seen == [(True, False)]


def test_pipelined_hot_requests_are_answered_in_order() -> None:
    app, _ = echo_after(0.001)
    first = POST.replace(b"connection: close\r\n", b"").replace(b"body", b"one.")
    answer = exchange(app, first + POST, hot=True)
    assert answer.index(b"one.") < answer.index(b"body")
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_hot_request_that_fails_after_waiting_is_a_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("of no use")

    assert exchange(app, POST, hot=True).startswith(b"HTTP/1.1 500 ")


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


def test_a_length_inside_a_value_is_no_length() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][BODY]["take"]()
        fields = ReplyHeaders(b"x-note: content-length: 3\r\n")
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"more than three"})

    answer = exchange(app, POST, hot=True)
    assert b"transfer-encoding: chunked\r\n" in answer
    assert answer.endswith(b"f\r\nmore than three\r\n0\r\n\r\n")


async def test_a_client_that_has_left_is_told_of_as_soon_as_somebody_asks() -> None:
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope["extensions"][DISCONNECT]["register"](told.set)

    async with Serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST)
        await writer.drain()
        writer.close()
        await asyncio.wait_for(told.wait(), 20)
