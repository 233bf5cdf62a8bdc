"""Requests that go straight from a connection to the engine, and replies straight back.

ASGI makes a dictionary of every request and takes every reply apart into messages; with the task
around it that costs several times what the engine's whole decision does. Under our own server a
request for a governed endpoint that comes whole in one read needs none of it: the engine reads the
bytes itself, and what it gives back is written as it is. Whatever is not of that kind the engine
leaves alone, and it takes the way through ASGI. Both ways end in the same pipeline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sentinel.gateway import AsyncBridge, Event

__all__ = ["Straight"]

_MOST_HELD_BYTES = 64 * 1024


class Straight:
    """The engine's way to one connection, for one request at a time.

    `on_end` is called when a reply has been written, with whether the connection ends with it.
    While `must_wait`, what comes goes to `hold`: a request runs, or the client does not take the
    reply before it (whose bytes would pile up with every further one).
    """

    __slots__ = (
        "_bridge",
        "_held",
        "_held_bytes",
        "_id",
        "_most_body_bytes",
        "_on_end",
        "_owes_credit",
        "_peer",
        "_transport",
        "busy",
        "write_paused",
    )

    def __init__(
        self,
        bridge: AsyncBridge,
        transport: asyncio.Transport,
        peer: str,
        most_body_bytes: int,
        on_end: Callable[[bool], None],
    ) -> None:
        self.busy = False
        self._bridge = bridge
        self._transport = transport
        self._peer = peer
        self._most_body_bytes = most_body_bytes
        self._on_end = on_end
        self._id = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._owes_credit = False
        self.write_paused = False

    @property
    def must_wait(self) -> bool:
        """Whether the next request may not begin yet."""
        return self.busy or self.write_paused

    def take(self, data: bytes) -> bool:
        """Let the engine answer these bytes; False, and nothing done, if they are not for it."""
        submitted = self._bridge.core.submit_wire(data, self._peer, self._most_body_bytes)
        if submitted is None:
            return False
        if isinstance(submitted, tuple):
            self._transport.write(submitted[3])
            self._on_end(submitted[5])
            return True
        self.busy = True
        self._id = submitted
        self._bridge.listen(submitted, self)
        return True

    def put(self, event: Event) -> None:
        """Write what the engine says next."""
        self._transport.write(event[3])
        if not event[4]:
            self.busy = False
            self._owes_credit = False
            self._on_end(event[5])
        elif self.write_paused:
            self._owes_credit = True
        else:
            self._bridge.core.written(event[0])

    def hold(self, data: bytes) -> None:
        """Keep what comes before its turn; of much of it no more is read until then."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MOST_HELD_BYTES:
            self._transport.pause_reading()

    def release(self) -> bytes:
        """What was held."""
        if not self._held:
            return b""
        data = b"".join(self._held)
        self._held.clear()
        if self._held_bytes > _MOST_HELD_BYTES:
            self._transport.resume_reading()
        self._held_bytes = 0
        return data

    def pause_writing(self) -> None:
        """The connection takes no more for now: no credit goes back to the engine."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The connection takes more: the engine gets back what it was owed."""
        self.write_paused = False
        if self._owes_credit:
            self._owes_credit = False
            self._bridge.core.written(self._id)

    def leave(self) -> None:
        """The client has left: what runs for it is cancelled."""
        self._held.clear()
        if self.busy:
            self.busy = False
            self._bridge.hang_up(self._id)

    def abandon(self) -> None:
        """The engine will say no more."""
        self.busy = False
        self._transport.abort()
