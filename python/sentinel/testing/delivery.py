"""Puts a reply on the wire as the behaviour says: paced, split, cut, stalled or malformed.

The order of the phases is the order of this file: before the head, head, body, end. `Peer` is the
little this module needs of a connection. A cut raises `Hangup`, which the connection turns into a
FIN or a reset; a stall waits until the connection cancels it, because the client has left.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from sentinel.testing.protocol import LAST_CHUNK, Headers, chunk, head
from sentinel.testing.replies import Reply
from sentinel.testing.replies.events import Kind, Piece
from sentinel.testing.scripts import Behaviour

__all__ = ["Delivery", "Hangup", "Peer"]

_SPLIT_PAUSE_SECONDS = 0.001
_LENGTH_FAULTS = {
    "content_length_short",
    "content_length_long",
    "content_length_twice",
    "content_length_garbage",
}
_CLOSING_FAULTS = {"content_length_long", "http10", "connection_close", "close_idle", "garbage"}


class Hangup(Exception):
    """The script ends the connection here."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


class Peer(Protocol):
    """What a delivery needs of its connection."""

    def write(self, data: bytes) -> None:
        """Send as one write."""

    async def drain(self) -> None:
        """Wait until the client has read enough."""

    async def released(self) -> None:
        """Wait until the test lets held replies go on."""


class Delivery:
    """One reply on its way; `run` returns whether the connection may be used again."""

    def __init__(
        self, peer: Peer, reply: Reply, behaviour: Behaviour, on_chunks: Callable[[int], None]
    ) -> None:
        self._peer = peer
        self._reply = reply
        self._behaviour = behaviour
        self._fault = behaviour.fail
        self._on_chunks = on_chunks
        self._chunked = False
        self._chunks_framed = 0
        self._gzip = zlib.compressobj(wbits=31) if self._fault == "gzip" else None

    async def run(self) -> bool:
        behaviour = self._behaviour
        await _sleep_ms(behaviour.head_ms)
        if self._reply.pieces is None:
            await _sleep_ms(behaviour.ttft_ms)
            if behaviour.hold >= 0:
                await self._peer.released()
        await self._halt("before_head")
        if self._reply.pieces is None or self._fault in _LENGTH_FAULTS:
            await self._send_whole()
        else:
            await self._send_stream(self._reply.pieces)
        if self._fault == "extra_response":
            self._peer.write(head(200, [("content-length", "2")]) + b"{}")
        await self._peer.drain()
        return self._fault not in _CLOSING_FAULTS

    async def _halt(self, phase: str) -> None:
        """Strike here, if this is the phase the script names."""
        if self._behaviour.phase != phase:
            return
        await self._peer.drain()
        if self._behaviour.action == "stall":
            await asyncio.get_running_loop().create_future()
        raise Hangup(reset=self._behaviour.action == "reset")

    # -- head -----------------------------------------------------------------------------------

    async def _send_head(self, framing: Headers, body: bytes = b"") -> None:
        """The head, and in the same write a plain body when nothing has to come between."""
        data = self._head_bytes(framing)
        if self._behaviour.phase == "mid_head":
            self._peer.write(data[: len(data) // 2])
            await self._halt("mid_head")
        if self._fault == "trickle_head":
            await self._trickle(data)
        elif body and self._behaviour.phase != "after_head":
            self._peer.write(data + body)
            return
        else:
            self._peer.write(data)
        await self._halt("after_head")
        if body:
            self._peer.write(body)

    def _head_bytes(self, framing: Headers) -> bytes:
        fault = self._fault
        headers = [*self._reply.headers, *framing]
        if fault in {"gzip", "gzip_lie"}:
            headers.append(("content-encoding", "gzip"))
        if fault == "connection_close":
            headers.append(("connection", "close"))
        spoilt = {
            "header_nul": ("x-broken", "a\0b"),
            "header_bare_cr": ("x-broken", "a\rset-cookie: injected=1"),
            "header_folded": ("x-folded", "one\r\n two"),
            "header_huge": ("x-huge", "h" * 1_000_000),
        }.get(fault)
        if spoilt:
            headers.append(spoilt)
        if fault == "header_many":
            headers += [(f"x-many-{index}", "1") for index in range(10_000)]
        data = head(self._reply.status, headers, "HTTP/1.0" if fault == "http10" else "HTTP/1.1")
        return _INFORMATIONAL.get(fault, b"") + _bent(data, fault)

    # -- plain body -----------------------------------------------------------------------------

    async def _send_whole(self) -> None:
        pieces = self._reply.pieces
        body = self._reply.body if pieces is None else b"".join(piece.data for piece in pieces)
        if self._gzip:
            body = self._gzip.compress(body) + self._gzip.flush()
        if self._fault in _FORCE_CHUNKED:
            await self._send_head(self._framing())
            for part in _halves(body):
                self._write_body(part)
            self._end_body()
            return
        stop = {
            "mid_body": len(body) // 2,
            "mid_event": len(body) // 2,
            "between_events": len(body) // 2,
        }
        cut = {**stop, "before_done": len(body) - 1}.get(self._behaviour.phase)
        if cut is not None or self._fault == "trickle_body":
            await self._send_head(self._lengths(len(body)))
            await self._send_part(body, len(body) if cut is None else cut)
            return
        await self._send_head(self._lengths(len(body)), body)

    async def _send_part(self, body: bytes, stop: int) -> None:
        if self._fault == "trickle_body":
            await self._trickle(body)
            return
        self._peer.write(body[:stop])
        await self._halt(self._behaviour.phase)

    def _lengths(self, length: int) -> Headers:
        if self._fault == "http10":
            return []
        wrong = {
            "content_length_short": [str(length // 2)],
            "content_length_long": [str(length + 100)],
            "content_length_twice": [str(length), str(length + 1)],
            "content_length_garbage": ["12abc"],
        }
        return [("content-length", value) for value in wrong.get(self._fault, [str(length)])]

    async def _trickle(self, data: bytes) -> None:
        for index in range(len(data)):
            self._peer.write(data[index : index + 1])
            await _sleep_ms(self._behaviour.trickle_ms)

    # -- stream ---------------------------------------------------------------------------------

    def _framing(self) -> Headers:
        self._chunked = self._fault != "http10"
        framing: Headers = [("transfer-encoding", "chunked")] if self._chunked else []
        return (
            [*framing, ("content-length", "100")]
            if self._fault == "length_and_chunked"
            else framing
        )

    async def _send_stream(self, pieces: Iterator[Piece]) -> None:
        await self._send_head(self._framing())
        await _sleep_ms(self._behaviour.ttft_ms)
        pace = _Pace(self._behaviour.gap_ms)
        batch, held, sent = bytearray(), 0, 0
        hold = self._behaviour.hold
        strikes = self._behaviour.phase in {"mid_body", "mid_event", "between_events"}
        for piece in pieces:
            if sent == hold and piece.kind is not Kind.FRAME:
                hold = -1
                self._on_chunks(held)
                await self._flush(bytes(batch))
                batch, held = bytearray(), 0
                await self._peer.released()
            if strikes and sent >= self._reply.strike_at:
                self._on_chunks(held)
                await self._strike(bytes(batch), piece)
            if piece.kind is Kind.TERMINAL:
                await self._halt("before_done")
            batch += piece.data
            if piece.kind is Kind.CONTENT:
                await pace.wait()
                sent, held = sent + 1, held + 1
            if held >= self._behaviour.batch or piece.kind is not Kind.CONTENT:
                self._on_chunks(held)
                await self._flush(bytes(batch))
                batch.clear()
                held = 0
        if self._gzip:
            batch += self._gzip.flush()
        await self._flush_raw(bytes(batch))
        self._end_body()

    async def _strike(self, batch: bytes, piece: Piece) -> None:
        """Halt between two events, or after the first half of this one."""
        between = self._behaviour.phase == "between_events"
        await self._flush(batch if between else batch + piece.data[: max(1, len(piece.data) // 2)])
        await self._halt(self._behaviour.phase)

    async def _flush(self, data: bytes) -> None:
        if data and self._gzip:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        await self._flush_raw(data)

    async def _flush_raw(self, data: bytes) -> None:
        if not data:
            return
        if self._fault == "trickle_body":
            await self._trickle(chunk(data) if self._chunked else data)
            return
        split = self._behaviour.split
        if 0 < split < len(data):
            self._write_body(data[:split])
            await asyncio.sleep(_SPLIT_PAUSE_SECONDS)
            data = data[split:]
        self._write_body(data)
        await self._peer.drain()

    def _write_body(self, data: bytes) -> None:
        """One piece of body in its framing; a framing fault strikes at the second chunk."""
        self._chunks_framed += 1
        if not self._chunked:
            self._peer.write(data)
        elif self._fault == "chunk_extensions":
            self._peer.write(b"%x;note=legal\r\n%b\r\n" % (len(data), data))
        elif self._chunks_framed == 2 and self._fault in _BROKEN_CHUNKS:
            self._peer.write(_BROKEN_CHUNKS[self._fault] % (data,))
        else:
            self._peer.write(chunk(data))

    def _end_body(self) -> None:
        if not self._chunked:
            return
        trailers = b"0\r\nx-scripted-trailer: 1\r\n\r\n"
        self._peer.write(trailers if self._fault == "trailers" else LAST_CHUNK)


_BROKEN_CHUNKS = {
    "bad_chunk_size": b"zz\r\n%b\r\n",
    "chunk_overflow": b"fffffffffffffffff\r\n%b\r\n",
    "chunk_unclosed": b"1\r\n%b",
}
_FORCE_CHUNKED = {"length_and_chunked", "chunk_extensions", "trailers", *_BROKEN_CHUNKS}
_HINT = head(103, [("link", "</style.css>; rel=preload")])
_INFORMATIONAL = {
    "informational_100": head(100, []),
    "informational_103": _HINT,
    "informational_flood": _HINT * 1_000,
}


def _bent(data: bytes, fault: str) -> bytes:
    """A good head made bad in the one way the fault names."""
    line, rest = data.split(b"\r\n", 1)
    if fault == "bad_status_line":
        return b"HTTP/1.1 two-hundred fine\r\n" + rest
    if fault == "garbage":
        return bytes(range(256))
    if fault == "header_no_colon":
        return line + b"\r\nthis line has no colon\r\n" + rest
    if fault == "bare_lf":
        return data.replace(b"\r\n", b"\n")
    if fault == "switching_101":
        return head(101, [("upgrade", "scripted"), ("connection", "upgrade")])
    return data


def _halves(body: bytes) -> list[bytes]:
    middle = max(1, len(body) // 2)
    return [part for part in (body[:middle], body[middle:]) if part]


class _Pace:
    """Waits for the next slot of a schedule, and lets the loop look at other things in between."""

    def __init__(self, gap_ms: float) -> None:
        self._gap = gap_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.time()

    async def wait(self) -> None:
        await asyncio.sleep(max(0.0, self._next - self._loop.time()))
        self._next += self._gap


async def _sleep_ms(milliseconds: float) -> None:
    if milliseconds > 0:
        await asyncio.sleep(milliseconds / 1000)
