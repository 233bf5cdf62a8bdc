"""asyncio's end of the engine: one bridge per running loop.

The engine writes an eventfd when it has something; the loop's reader takes all of it in one call
and hands each event to the answer that waits for it. What runs is known by number only: an answer
that was given up is simply no longer found.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from sentinel import _core
from sentinel.gateway.deadlines import Deadlines
from sentinel.gateway.provider_port import ProviderPort
from sentinel.providers import Provider

__all__ = ["Answer", "AsyncBridge", "Event", "Listener"]

# (id, status or 0, header fields or None: see header_pairs, body, more, close)
Event = tuple[int, int, bytes | None, bytes, bool, bool]

Receive = Callable[[], Awaitable[object]]

_GONE: Event = (0, 0, None, b"", False, False)
# Where the server cannot tell of a client's leaving, a task waits for it. It costs more than a
# whole decision, and many exchanges end before one would have run: only old ones get it.
_WATCH_AFTER_SECONDS = 0.01


class Listener(Protocol):
    """Who is told what the engine says about one exchange."""

    def put(self, event: Event) -> None:
        """The next event; the last one has no more."""

    def abandon(self) -> None:
        """There will be no further event: the bridge is closed."""


class Answer:
    """What the engine says about one exchange, event by event."""

    __slots__ = ("_bridge", "_events", "_waiter", "gone", "id", "watcher")

    def __init__(self, bridge: AsyncBridge, id: int) -> None:
        self.id = id
        self.gone = False
        self.watcher: asyncio.Task[None] | None = None
        self._bridge = bridge
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> Event:
        """The next event; when the client has left, an end without a status."""
        while not self._events:
            if self.gone:
                return _GONE
            self._waiter = self._bridge.loop.create_future()
            await self._waiter
        return self._events.popleft()

    def put(self, event: Event) -> None:
        """Add an event and wake who waits for it."""
        self._events.append(event)
        self._wake()

    def abandon(self) -> None:
        """There will be no further event: `next` says that the client is gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class AsyncBridge:
    """Submits requests and gives their answers; use it on its own loop only."""

    def __init__(
        self,
        engine: _core.Engine,
        loop: asyncio.AbstractEventLoop,
        provider: Provider | None,
        body_seconds: float,
    ) -> None:
        self.loop = loop
        self.body_deadlines = Deadlines(loop, body_seconds)
        self.core = _core.Bridge(engine, serves_provider=provider is not None)
        self._listeners: dict[int, Listener] = {}
        self._young: list[tuple[Answer, Receive]] = []
        self._flush_due = False
        self._sweep: asyncio.TimerHandle | None = None
        self._has_provider = provider is not None
        self._providers = ProviderPort(self.core, provider)
        loop.add_reader(self.core.fileno(), self._ready)

    def expect(self, id: int, receive: Receive) -> Answer:
        """The answer of a submitted exchange; `receive` is watched for the client's leaving."""
        answer = Answer(self, id)
        self.listen(id, answer)
        self._watch_later(answer, receive)
        return answer

    def listen(self, id: int, listener: Listener) -> None:
        """Tell `listener` what the engine says about a submitted exchange."""
        self._listeners[id] = listener
        if not self._flush_due:
            # After all that is ready now: the engine is woken once for every request of this turn.
            self._flush_due = True
            self.loop.call_soon(self._flush)

    def _watch_later(self, answer: Answer, receive: Receive) -> None:
        self._young.append((answer, receive))
        if self._sweep is None:
            self._sweep = self.loop.call_later(_WATCH_AFTER_SECONDS, self._watch_old)

    def cancel(self, answer: Answer) -> None:
        """The client of this answer has left."""
        self.hang_up(answer.id)
        answer.abandon()

    def _flush(self) -> None:
        self._flush_due = False
        self.core.flush()

    def forget(self, answer: Answer) -> None:
        """The exchange is over for its caller, however it ended; hangs up if it still runs."""
        self.hang_up(answer.id)
        if answer.watcher is not None:
            answer.watcher.cancel()

    def hang_up(self, id: int) -> None:
        """Cancel an exchange, if it still runs; nobody is told of it any more."""
        if self._listeners.pop(id, None) is not None:
            self.core.cancel(id)

    @property
    def busy(self) -> bool:
        """Whether somebody still waits for the end of an answer."""
        return bool(self._listeners)

    def close(self) -> None:
        """Stop listening to the engine. Idempotent."""
        if self.core.fileno() >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(self.core.fileno())
        if self._sweep is not None:
            self._sweep.cancel()
        self.body_deadlines.close()
        self._providers.close()
        self.core.close()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.abandon()

    def _ready(self) -> None:
        events: Iterable[Event] = self.core.drain()
        for event in events:
            listener = self._listeners.get(event[0])
            if listener is None:
                continue
            if not event[4]:
                del self._listeners[event[0]]
            try:
                listener.put(event)
            except Exception as error:  # one listener's fault is not its neighbours'
                self.loop.call_exception_handler({"message": "an event", "exception": error})
                self.hang_up(event[0])
                listener.abandon()
        if self._has_provider:
            self._providers.serve(self.core.drain_provider())

    def _watch_old(self) -> None:
        self._sweep = None
        young, self._young = self._young, []
        for answer, receive in young:
            if answer.id in self._listeners:
                answer.watcher = self.loop.create_task(self._watch(answer, receive))

    async def _watch(self, answer: Answer, receive: Receive) -> None:
        await receive()  # after the whole body the only thing that can come is the end
        self.cancel(answer)
