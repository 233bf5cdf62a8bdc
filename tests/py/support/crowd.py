"""Many clients at once: each has a connection of its own, and all ask in the same moment.

httpx and the SDKs need about a millisecond of Python for a call, so a thousand of theirs come one
after the other. Here the connections are made first and the requests written in one go. A client
can stop reading, read on, and leave, as the test says.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httptools

from support.raw_http import RawReply, post_bytes
from support.serving import APP_KEY

__all__ = ["CrowdClient", "ask_all", "gather", "request_bytes"]


def request_bytes(
    body: Mapping[str, Any],
    *,
    key: str = APP_KEY,
    path: str = "/v1/chat/completions",
    headers: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A whole request of that key's."""
    whole = post_bytes(body, path, headers=headers)
    return whole.replace(APP_KEY.encode(), key.encode(), 1)


class CrowdClient(asyncio.Protocol):
    """One connection that asks once; `reply` is done, and the connection closed, when the whole
    reply has come."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()  # the first byte of the body has come
        self.reply: asyncio.Future[RawReply] = asyncio.get_running_loop().create_future()
        self.received = bytearray()  # of the body
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}

    @classmethod
    async def connect(cls, origin: str, *, receive_buffer: int = 0) -> CrowdClient:
        address = urlsplit(origin)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (address.hostname, address.port))
        _, client = await loop.create_connection(cls, sock=sock)
        return client

    # -- what tests do --------------------------------------------------------------------------

    def ask(self, request: bytes) -> None:
        self._transport.write(request)

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def read_on(self) -> None:
        self._transport.resume_reading()

    def leave(self) -> None:
        """Hang up with a reset, as a killed process does."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        self.reply.cancel()

    # -- asyncio's callbacks --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.reply.done():
            self.reply.set_exception(EOFError(bytes(self.received[-200:])))

    # -- the parser's callbacks -----------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.received += data
        self.begun.set()

    def on_message_complete(self) -> None:
        if not self.reply.done():
            status = self._parser.get_status_code()
            self.reply.set_result(RawReply(status, self._headers, bytes(self.received)))
        self._transport.close()


async def gather(origin: str, count: int) -> list[CrowdClient]:
    """So many clients, connected; a few at a time, because a listener's queue is short."""
    clients: list[CrowdClient] = []
    while len(clients) < count:
        batch = min(100, count - len(clients))
        clients += await asyncio.gather(*(CrowdClient.connect(origin) for _ in range(batch)))
    return clients


async def ask_all(
    origin: str, requests: Sequence[bytes], *, seconds: float = 60.0
) -> list[RawReply]:
    """All of them at once, each on its connection; the replies in the order of the requests."""
    clients = await gather(origin, len(requests))
    for client, request in zip(clients, requests, strict=True):
        client.ask(request)
    async with asyncio.timeout(seconds):
        return list(await asyncio.gather(*(client.reply for client in clients)))
