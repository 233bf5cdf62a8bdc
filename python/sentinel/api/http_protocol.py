"""uvicorn's HTTP protocol with what it leaves open: a bound and a deadline on a request's head.

An ASGI app sees a request only when its head is whole. Until then uvicorn keeps whatever comes, for
as long as it comes: one connection without a credential could take all memory, or a thousand silent
ones all descriptors. Here an unfinished head is refused (431 over the limit, 408 after its time)
and a connection that says nothing at all is closed like an idle one. A head that comes whole in one
read costs nothing more; its size is judged by the engine like everybody else's.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sentinel.config import Settings

__all__ = ["http_protocol"]


def http_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol class for these settings, as `uvicorn.Config(http=...)` takes it."""
    limits = settings.server.limits
    bounds = {"head_bytes": limits.head_bytes, "head_seconds": limits.body_seconds}
    return type("BoundedProtocol", (_BoundedProtocol,), bounds)


class _BoundedProtocol(HttpToolsProtocol):
    head_bytes: int
    head_seconds: float
    _in_head = False
    _received_bytes = 0
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self.head_bytes:
            self._refuse(431, "headers_too_large", f"the head is over {self.head_bytes} bytes")
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.head_seconds, self._expire)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._received_bytes = 0

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

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
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = (
            b"content-type: application/json\r\n"
            b"connection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
