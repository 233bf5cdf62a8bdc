"""A client that sends exactly the bytes it is given, and leaves when and how it is told.

SDKs and httpx cannot say half a request, say it wrong, or hang up with a reset. Replies are read
strictly, one after the other; `events` takes a stream apart.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from support.serving import APP_KEY

__all__ = ["RawClient", "RawReply", "events", "post_bytes"]

Leaving = Literal["fin", "rst"]


@dataclass(frozen=True)
class RawReply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> Any:
        """The code of an error body of ours; KeyError or ValueError if it is not one."""
        return json.loads(self.body)["error"]["code"]


class RawClient:
    """One TCP connection to a server, with a bound on every wait."""

    def __init__(self, origin: str, *, seconds: float = 10.0, receive_buffer: int = 0) -> None:
        address = urlsplit(origin)
        assert address.hostname is not None
        assert address.port is not None
        self._received = bytearray()  # and not asked for yet
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(seconds)
        self._socket.connect((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self, method: str = "POST") -> RawReply:
        """The next final reply, whole; EOFError if the server ends before."""
        status = 100
        while status == 100:
            self._fill_until(b"\r\n\r\n")
            first, *lines = self._take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
        headers = dict(line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in headers.items()}
        return RawReply(status, headers, self._body(method, headers))

    def _body(self, method: str, headers: Mapping[str, str]) -> bytes:
        if method == "HEAD":
            return b""
        if "content-length" in headers:
            return self._take(int(headers["content-length"]))
        assert headers.get("transfer-encoding") == "chunked"
        body = b""
        while size := int(self._take_until(b"\r\n"), 16):
            body += self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._take_until(b"\r\n") == b"\r\n", "the last chunk has no trailers"
        return body

    def _fill(self) -> None:
        piece = self._socket.recv(65536)
        if not piece:
            raise EOFError(bytes(self._received[-200:]))
        self._received += piece

    def _fill_until(self, marker: bytes) -> int:
        """Read until the marker is there; where it ends."""
        looked_at = 0
        while (found := self._received.find(marker, looked_at)) < 0:
            looked_at = max(0, len(self._received) - len(marker) + 1)
            self._fill()
        return found + len(marker)

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._fill()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _take_until(self, marker: bytes) -> bytes:
        return self._take(self._fill_until(marker))

    def read_until(self, marker: bytes, times: int = 1) -> bytes:
        """Raw bytes of the reply until the marker has come so often."""
        return b"".join(self._take_until(marker) for _ in range(times))

    def is_closed_by_server(self) -> bool:
        """Wait until the server says something more or closes; whether it closed."""
        if self._received:
            return False
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def leave(self, how: Leaving) -> None:
        """Hang up: with an orderly end, or with a reset as a killed process does."""
        if how == "rst":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def post_bytes(
    body: bytes | Mapping[str, Any],
    path: str = "/v1/chat/completions",
    *,
    headers: tuple[tuple[str, str], ...] = (),
    length: int | None = None,
    method: str = "POST",
) -> bytes:
    """A whole request; `length` is what its Content-Length claims."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: gateway.test",
        f"authorization: Bearer {APP_KEY}",
        "content-type: application/json",
        f"content-length: {len(data) if length is None else length}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def events(body: bytes) -> list[Any]:
    """The events of a stream, parsed, or the text `[DONE]`; AssertionError if one is partial."""
    assert body.endswith(b"\n\n"), f"the stream ends inside an event: {body[-80:]!r}"
    found = []
    for block in body[:-2].split(b"\n\n"):
        data = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        assert len(data) == 1, f"not one data line: {block!r}"
        found.append("[DONE]" if data[0] == b"[DONE]" else json.loads(data[0]))
    return found
