"""POSTs JSON to one URL over kept connections, each call with one absolute deadline.

Standard library only, blocking. A timer shuts a call's socket at its deadline: time-outs of single
reads would let a peer that trickles hold a call for ever.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from sentinel.errors import EmbedderBusy, EmbedderError, EmbedderFailed

__all__ = ["EndpointCalls"]


class EndpointCalls:
    """ValueError for a URL that is not http or https. Any number of threads."""

    def __init__(
        self, base_url: str, api_key: str | None, ca_file: Path | None, deadline_seconds: float
    ) -> None:
        if not deadline_seconds > 0:
            raise ValueError(f"deadline_seconds must be above 0, not {deadline_seconds}")
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username:
            raise ValueError("base_url must be http://host[:port]/path or https://..., no user")
        self._host, self._port = url.hostname, url.port
        self._path = url.path.rstrip("/") + "/embeddings"
        self._tls = ssl.create_default_context(cafile=ca_file) if url.scheme == "https" else None
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._idle: list[HTTPConnection] = []
        self._closed = False

    def post(self, body: bytes, *, most: int) -> bytes:
        """The body of a 200 answer of at most `most` bytes.

        EmbedderBusy when the deadline passed, EmbedderFailed for everything else that is wrong.
        """
        call = _Call(self._deadline_seconds)
        try:
            with call:
                return self._exchange(call, body, most)
        except (OSError, HTTPException, ValueError) as error:
            if call.late or isinstance(error, TimeoutError):
                message = f"the embeddings endpoint took longer than {self._deadline_seconds:g} s"
                raise EmbedderBusy(message) from None
            kind = type(error).__name__
            raise EmbedderFailed(f"the embeddings endpoint was not reached: {kind}") from None

    def close(self) -> None:
        """Closes the kept connections; a call that runs ends by itself, and is the last."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, call: _Call, body: bytes, most: int) -> bytes:
        connection, kept = self._take()
        try:
            try:
                response = self._send(call, connection, body)
            except (ConnectionError, HTTPException):
                if not kept or call.late:
                    raise
                # The endpoint may close an idle connection at any time: once more, on a new one.
                connection.close()
                connection = self._connection()
                response = self._send(call, connection, body)
            answer, whole = _read(call, response, most)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, whole=whole)
        return answer

    def _send(self, call: _Call, connection: HTTPConnection, body: bytes) -> HTTPResponse:
        if connection.sock is None:
            connection.connect()
        call.watch(connection.sock)
        connection.request("POST", self._path, body, self._headers)
        return connection.getresponse()

    def _take(self) -> tuple[HTTPConnection, bool]:
        with self._lock:
            if self._closed:
                raise EmbedderError("the embedder is closed")
            while self._idle:
                connection = self._idle.pop()
                if _is_silent(connection):
                    return connection, True
                connection.close()
        return self._connection(), False

    def _connection(self) -> HTTPConnection:
        seconds = self._deadline_seconds
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=seconds)
        return HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)

    def _keep(self, connection: HTTPConnection, *, whole: bool) -> None:
        with self._lock:
            if whole and not self._closed and connection.sock is not None:
                self._idle.append(connection)
                return
        connection.close()


def _read(call: _Call, response: HTTPResponse, most: int) -> tuple[bytes, bool]:
    """The body of a good answer, and whether the connection is at its end."""
    try:
        answer = response.read(most + 1)
        if call.late:
            raise TimeoutError
        if response.status != 200:
            raise EmbedderFailed(f"the embeddings endpoint answered {response.status}")
        if len(answer) > most:
            raise EmbedderFailed(f"the embeddings endpoint answered more than {most} bytes")
        return answer, response.isclosed()
    finally:
        response.close()


def _is_silent(connection: HTTPConnection) -> bool:
    """Neither closed by the endpoint nor with bytes that nobody asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


class _Call:
    """Shuts the watched socket when the time is up; `late` says that it did."""

    def __init__(self, seconds: float) -> None:
        self.late = False
        self._lock = threading.Lock()
        self._over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()

    def watch(self, one: socket.socket) -> None:
        with self._lock:
            self._socket = one
            if self.late:
                raise TimeoutError

    def _end(self) -> None:
        with self._lock:
            if self._over:
                return
            self.late = True
            if self._socket is not None:
                with suppress(OSError):  # the plain shutdown: TLS would take its state away first
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
