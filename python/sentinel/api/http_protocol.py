"""uvicorn's HTTP protocol with what it leaves open: a bound and a deadline on a request's head.

An ASGI app sees a request only when its head is whole. Until then uvicorn keeps whatever comes, for
as long as it comes: one connection without a credential could take all memory, or a thousand silent
ones all descriptors. Here an unfinished head is refused (431 over the limit, 408 after its time)
and a connection that says nothing at all is closed like an idle one. A head that comes whole in one
read costs nothing more; its size is judged by the engine like everybody else's.

Requests that need nothing of ASGI go past it: see `straight`. uvicorn's parser and the straight way
share a connection by whole messages: while one has an unfinished request or reply, the other gets
no byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sentinel.api.errors import error_object
from sentinel.api.straight import Straight
from sentinel.config import Settings
from sentinel.gateway import Gateway

__all__ = ["http_protocol"]

_MOST_BYTES_OF_A_READ = 256 * 1024
_SECONDS_TO_TAKE_SOMETHING = 30.0


def http_protocol(
    settings: Settings, straight_to: Callable[[], Gateway | None]
) -> type[HttpToolsProtocol]:
    """The protocol class for these settings, as `uvicorn.Config(http=...)` takes it.

    `straight_to` gives the gateway that a new connection's requests may go straight to, or None.
    """
    limits = settings.server.limits
    members = {
        "body_bytes": limits.body_bytes,
        "head_bytes": limits.head_bytes,
        "head_seconds": limits.body_seconds,
        "straight_to": staticmethod(straight_to),
    }
    return type("BoundedProtocol", (_BoundedProtocol,), members)


class _BoundedProtocol(HttpToolsProtocol):
    body_bytes: int
    head_bytes: int
    head_seconds: float
    straight_to: Callable[[], Gateway | None]
    _straight: Straight | None = None
    _in_message = False  # of uvicorn's parser
    _in_head = False
    _received_bytes = 0
    _head_deadline: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _unsent = 0
    _is_last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        gateway = self.straight_to()
        if gateway is not None and gateway.started:
            peer = self.client[0] if self.client else ""
            self._straight = Straight(
                gateway.bridge(), transport, peer, self.body_bytes, self._end_straight
            )
        self._await_request()

    def data_received(self, data: bytes) -> None:
        straight = self._straight
        if straight is not None and not self._in_message and not self._unanswered():
            if straight.must_wait:
                straight.hold(data)
                return
            if straight.take(data):
                return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        unanswered = self._unanswered()
        if not self._in_head:
            # What came belongs to no head: an empty line, or a body whose reply has gone.
            if not unanswered and not self.transport.is_closing():
                self._watch_silence()
            return
        self._received_bytes += len(data)
        if unanswered:  # and the first of these bytes may be of the request that runs
            if self._received_bytes > self.head_bytes + _MOST_BYTES_OF_A_READ:
                self.transport.abort()
        elif self._received_bytes > self.head_bytes:
            self._refuse(431, "headers_too_large", f"the head is over {self.head_bytes} bytes")
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.head_seconds, self._expire)

    def _unanswered(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_straight(self, close: bool) -> None:
        self.server_state.total_requests += 1
        if close or self._is_last:
            self.transport.close()
            return
        self._await_request()
        self._go_on()

    def _go_on(self) -> None:
        straight = self._straight
        if straight is not None and not straight.must_wait and (held := straight.release()):
            self.data_received(held)

    # One timer serves many requests: it looks how long it has been quiet when it goes off.
    def _await_request(self) -> None:
        self._idle_since = self.loop.time()
        self._watch_silence()

    def _watch_silence(self) -> None:
        if self.timeout_keep_alive_task is None:
            self._wake_after(max(0.0, self._quiet_until() - self.loop.time()))

    def _quiet_until(self) -> float:
        return self._idle_since + self.timeout_keep_alive

    def _wake_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._straight is not None and self._straight.busy:
            return
        if unsent := self.transport.get_write_buffer_size():
            self._await_client(unsent)
        elif self._quiet_until() > self.loop.time():
            self._watch_silence()
        else:
            super().timeout_keep_alive_handler()

    # A reply is on its way out: a close now could cut it. A client that takes nothing of it for
    # long is cut on purpose.
    def _await_client(self, unsent: int) -> None:
        now = self.loop.time()
        if unsent != self._unsent:
            self._unsent = unsent
            self._idle_since = now
        elif now - self._idle_since > _SECONDS_TO_TAKE_SOMETHING:
            self.transport.abort()
            return
        self._wake_after(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()  # an answer is being written: nothing may come between its bytes
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = True
        self._in_head = True
        self._received_bytes = 0

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_message = self.parser.should_upgrade()  # what follows is no request of ours

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._straight is not None:
            self._straight.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._straight is not None:
            self._straight.resume_writing()
            self._go_on()

    def shutdown(self) -> None:
        if self._straight is not None and self._straight.busy:
            self._is_last = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._straight is not None:
            self._straight.leave()

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
        if self._unanswered():
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
