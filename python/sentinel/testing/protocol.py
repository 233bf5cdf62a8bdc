"""HTTP/1.1 as bytes: requests are read strictly, heads and chunks are written as told.

No I/O here: `RequestReader` takes bytes and gives requests. It is strict on purpose, because it
plays the origin server behind a gateway: an ambiguous request is the gateway's fault and must show.
The writing half is the opposite. `head()` writes whatever it is handed, since the scripted upstream
has to send broken heads as well as good ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["LAST_CHUNK", "Headers", "ProtocolError", "Request", "RequestReader", "chunk", "head"]

Headers = list[tuple[str, str]]

LAST_CHUNK = b"0\r\n\r\n"

_MAX_HEAD_BYTES = 256 * 1024
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([A-Z]+) ([^\s\x00-\x20\x7f]+) HTTP/1\.([01])")


class ProtocolError(Exception):
    """The peer sent something that is not one clear HTTP/1.1 request."""


@dataclass(slots=True)
class Request:
    """One request as it came over the wire: header order and spelling are kept."""

    method: str
    path: str
    query: str
    headers: Headers
    keep_alive: bool
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header, by any spelling of its name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(slots=True)
class _Pending:
    request: Request
    length: int
    chunked: bool


class RequestReader:
    """Feed bytes, take requests. Pipelined requests stay buffered until they are asked for."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pending: _Pending | None = None
        self._body = bytearray()
        self._wants_continue = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take_continue(self) -> bool:
        """True once, when the peer waits for `100 Continue` before it sends the body."""
        wants, self._wants_continue = self._wants_continue, False
        return wants and not self._buffer

    def next_request(self) -> Request | None:
        """The next complete request, None while bytes are missing; ProtocolError when hopeless."""
        if self._pending is None:
            self._pending = self._read_head()
            if self._pending is None:
                return None
        pending = self._pending
        complete = self._read_chunks() if pending.chunked else self._read_length(pending.length)
        if not complete:
            return None
        pending.request.body = bytes(self._body)
        self._body.clear()
        self._pending = None
        self._wants_continue = False
        return pending.request

    def _read_head(self) -> _Pending | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ProtocolError("head too large")
            return None
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        line = _REQUEST_LINE.fullmatch(lines[0])
        if line is None:
            raise ProtocolError("malformed request line")
        headers = [_read_header(raw) for raw in lines[1:]]
        pending = _frame(line[1].decode(), line[2].decode(), line[3] == b"1", headers)
        self._wants_continue = any(
            key.lower() == "expect" and value.lower() == "100-continue" for key, value in headers
        )
        return pending

    def _read_length(self, length: int) -> bool:
        if len(self._buffer) < length:
            return False
        self._body += self._buffer[:length]
        del self._buffer[:length]
        return True

    def _read_chunks(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            size_text = bytes(self._buffer[:end]).split(b";")[0]
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size_text):
                raise ProtocolError("malformed chunk size")
            size = int(size_text, 16)
            stop = end + 2 + size
            if len(self._buffer) < stop + 2:
                return False
            if self._buffer[stop : stop + 2] != b"\r\n":
                raise ProtocolError("chunk not closed, or trailers sent")
            self._body += self._buffer[end + 2 : stop]
            del self._buffer[: stop + 2]
            if size == 0:
                return True


def _read_header(raw: bytes) -> tuple[str, str]:
    name, colon, value = raw.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise ProtocolError("malformed header name")
    value = value.strip(b" \t")
    if any(byte < 0x20 and byte != 0x09 for byte in value) or b"\x7f" in value:
        raise ProtocolError("control byte in a header")
    return name.decode("latin-1"), value.decode("latin-1")


def _frame(method: str, target: str, is_11: bool, headers: Headers) -> _Pending:
    """Decide how the body is delimited, and refuse every head that leaves room for two readings."""
    lengths: list[str] = []
    encodings: list[str] = []
    hosts = 0
    connection = ""
    for key, value in headers:
        lowered = key.lower()
        if lowered == "content-length":
            lengths.append(value)
        elif lowered == "transfer-encoding":
            encodings.append(value.lower())
        elif lowered == "host":
            hosts += 1
        elif lowered == "connection":
            connection = value.lower()
    if hosts != 1:
        raise ProtocolError(f"{hosts} Host headers")
    if lengths and encodings:
        raise ProtocolError("both Content-Length and Transfer-Encoding")
    if encodings and encodings != ["chunked"]:
        raise ProtocolError("unknown Transfer-Encoding")
    if len(lengths) > 1 or (lengths and not re.fullmatch(r"[0-9]{1,15}", lengths[0])):
        raise ProtocolError("malformed Content-Length")
    if not target.startswith("/"):
        raise ProtocolError("target is not a path")
    path, _, query = target.partition("?")
    keep_alive = "close" not in connection if is_11 else "keep-alive" in connection
    request = Request(method, path, query, headers, keep_alive)
    return _Pending(request, int(lengths[0]) if lengths else 0, bool(encodings))


def head(status: int, headers: Iterable[tuple[str, str]], version: str = "HTTP/1.1") -> bytes:
    """A response head, blank line included. Values are written as they are, broken or not."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"{version} {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` must not be empty, that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
