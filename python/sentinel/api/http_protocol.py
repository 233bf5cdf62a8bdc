"""uvicorn's HTTP protocol with what it leaves open: a bound and a deadline on a request's head.

It also does two things more cheaply. A reply's head is written together with what follows it, as
ASGI wants it (no byte of a response before its first body event): a second write costs a system
call, and the client a second wake-up. And a request for a hot route that has come whole is begun
at once, without a task: many end there (hits, refusals), and a task costs more than they do. One
that has to wait becomes a task then.

An ASGI app sees a request only when its head is whole. Until then uvicorn keeps whatever comes, for
as long as it comes: one connection without a credential could take all memory, or a thousand silent
ones all descriptors. Here an unfinished head is refused (431 over the limit, 408 after its time)
and a connection that says nothing at all is closed like an idle one. A head that comes whole in one
read costs nothing more; its size is judged by the engine like everybody else's.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast
from urllib.parse import unquote

import httptools
from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from sentinel.api.client import BODY, DISCONNECT
from sentinel.api.errors import error_object
from sentinel.config import Settings
from sentinel.gateway import ReplyHeaders

__all__ = ["http_protocol"]


def http_protocol(settings: Settings, is_hot: Callable[[Scope], bool]) -> type[HttpToolsProtocol]:
    """The protocol class for these settings, as `uvicorn.Config(http=...)` takes it.

    `is_hot` says whether a request needs no task until it has to wait.
    """
    limits = settings.server.limits
    members = {
        "head_bytes": limits.head_bytes,
        "head_seconds": limits.body_seconds,
        "is_hot": staticmethod(is_hot),
    }
    return type("BoundedProtocol", (_BoundedProtocol,), members)


class _BoundedProtocol(HttpToolsProtocol):
    head_bytes: int
    head_seconds: float
    is_hot: Callable[[Scope], bool]
    _ready: _Cycle | None = None  # begins when all that has come is read
    _in_head = False
    _received_bytes = 0
    _head_deadline: asyncio.TimerHandle | None = None
    _on_disconnect: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._ready is not None:
            self._begin(self._ready)
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if not self._in_head:
            # What came belongs to no head: an empty line, or a body whose reply has gone.
            if not unanswered and not self.transport.is_closing():
                self._await_request()
            return
        if unanswered:
            return  # reading is paused: a head behind a request that runs is judged in its turn
        self._received_bytes += len(data)
        if self._received_bytes > self.head_bytes:
            self._refuse(431, "headers_too_large", f"the head is over {self.head_bytes} bytes")
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.head_seconds, self._expire)

    def _await_request(self) -> None:
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()  # an answer is being written: nothing may come between its bytes
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._received_bytes = 0

    def on_headers_complete(self) -> None:
        self._end_head()
        version = self.parser.get_http_version()
        self._complete_scope(version)
        previous = self.cycle
        self.cycle = _Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if previous is None or previous.response_complete:
            self._ready = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _begin(self, cycle: _Cycle) -> None:
        self._ready = None
        scope = cast(Scope, cycle.scope)
        if cycle.more_body or self.transport.is_closing() or not self.is_hot(scope):
            self._start_asgi_task(cycle, self.app)
            return
        scope["extensions"][BODY] = {"take": cycle.take_body}
        work = cycle.run_asgi(self.app)
        context = contextvars.copy_context()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration:
            return
        task = self.loop.create_task(_go_on(work, waits_for), context=context)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _complete_scope(self, version: str) -> None:
        scope = self.scope
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""
        scope["extensions"] = {DISCONNECT: {"register": self._call_on_disconnect}}

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._on_disconnect is not None:
            self._on_disconnect()  # of a reply that has ended it does nothing
            self._on_disconnect = None

    def _call_on_disconnect(self, callback: Callable[[], None]) -> None:
        if self.transport.is_closing():
            callback()  # it has left already
        else:
            self._on_disconnect = callback

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _expire(self) -> None:
        self._refuse(
            408, "request_timeout", f"the head did not arrive within {self.head_seconds} seconds"
        )

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._end_head()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # an answer is being written: nothing may come between its bytes
            return
        body = json.dumps(error_object(status, code, message)).encode()
        head = (
            b"content-type: application/json\r\n"
            b"connection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class _Rest:
    """The rest of a coroutine that was begun without a task and waits for this."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        work, waits_for = self._work, self._waits_for
        while True:
            failure: BaseException | None = None
            try:
                yield waits_for
            except BaseException as error:
                failure = error
            try:
                waits_for = work.send(None) if failure is None else work.throw(failure)
            except StopIteration:
                return


async def _go_on(work: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _Rest(work, waits_for)


# What may be in neither a header's name nor its value; their ends are ours.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_NAMES = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


class _Cycle(RequestResponseCycle):
    """One request and its reply, the reply's head kept until the first body event."""

    _head = b""
    _says_close = False
    _whole_taken = False

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError(f"{message['type']} after the end of the response")
        if not self.response_started:
            self._begin(message)
        else:
            self._continue(message)

    async def receive(self) -> Message:  # type: ignore[override]
        if self.more_body or self.disconnected or self.response_complete or self._whole_taken:
            message = cast(Message, await super().receive())
            self._whole_taken = self._whole_taken or not message.get("more_body", True)
            return message
        return {"type": "http.request", "body": self.take_body(), "more_body": False}

    def take_body(self) -> bytes:
        """The whole body, which has come."""
        self._whole_taken = True
        self.message_event.clear()
        body = bytes(self.body)
        self.body = bytearray()
        self.flow.resume_reading()
        return body

    def _begin(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"{message['type']} before http.response.start")
        self.response_started = True
        self.waiting_for_100_continue = False
        status: int = message["status"]
        given = message.get("headers", ())
        if type(given) is ReplyHeaders:
            self._begin_checked(status, given.fields)
            return
        headers = [*self.default_headers, *given]
        _refuse_control_bytes(headers)
        self._frame({name.lower(): value for name, value in headers})
        lines = [b"%b: %b\r\n" % (name, value) for name, value in headers]
        self._head = STATUS_LINE[status] + b"".join(lines) + self._end_of_head(status)

    def _begin_checked(self, status: int, fields: bytes) -> None:
        lines = b"\r\n" + fields
        _, known, rest = lines.rpartition(b"\r\ncontent-length: ")
        if known:
            self.expected_content_length = int(rest[: rest.index(b"\r")])
            self.chunked_encoding = False
        if b"\r\nconnection: close\r\n" in lines:
            self.keep_alive = False
            self._says_close = True
        own = b"".join([b"%b: %b\r\n" % pair for pair in self.default_headers])
        self._head = STATUS_LINE[status] + own + fields + self._end_of_head(status)

    def _frame(self, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.chunked_encoding = True
        elif b"content-length" in headers:
            self.expected_content_length = int(headers[b"content-length"])
            self.chunked_encoding = False
        if b"close" in headers.get(b"connection", b"").lower().replace(b" ", b"").split(b","):
            self.keep_alive = False
            self._says_close = True

    def _end_of_head(self, status: int) -> bytes:
        end = b"\r\n"
        if not self.keep_alive and not self._says_close:
            end = b"connection: close\r\n" + end
        if self.chunked_encoding is None and self._may_have_body(status):
            self.chunked_encoding = True
            end = b"transfer-encoding: chunked\r\n" + end
        return end

    def _may_have_body(self, status: int) -> bool:
        return self.scope["method"] != "HEAD" and status not in (204, 304)

    def _continue(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} instead of http.response.body")
        more = message.get("more_body", False)
        data = self._framed(message.get("body", b""), more)
        head, self._head = self._head, b""
        if head or data:
            self.transport.write(head + data)
        if not more:
            self._finish()

    def _framed(self, body: bytes, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if not self.chunked_encoding:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the response's body is longer than its content-length")
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk if more else chunk + b"0\r\n\r\n"

    def _finish(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the response's body is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _refuse_control_bytes(headers: list[tuple[bytes, bytes]]) -> None:
    if _CONTROL.search(b"".join([value for _, value in headers])):
        raise RuntimeError("a control byte in a header's value")
    if _NOT_IN_NAMES.search(b"".join([name for name, _ in headers])):
        raise RuntimeError("a forbidden byte in a header's name")
