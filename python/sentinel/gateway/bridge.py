"""asyncio's end of the engine: one bridge per running loop.

The engine writes an eventfd when it has something; the loop's reader takes all of it in one call
and hands each event to the answer that waits for it. What runs is known by number only: an answer
that was given up is simply no longer found.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from sentinel import _core
from sentinel.gateway.deadlines import Deadlines
from sentinel.gateway.provider_port import ProviderPort
from sentinel.providers import Provider

__all__ = ["Answer", "AsyncBridge", "Event"]

# (id, status or 0, header fields or None: see ReplyHeaders, body, more)
Event = tuple[int, int, bytes | None, bytes, bool]

Receive = Callable[[], Awaitable[object]]

_GONE: Event = (0, 0, None, b"", False)
# Where the server cannot tell of a client's leaving, a task waits for it. It costs more than a
# whole decision, and many exchanges end before one would have run: only old ones get it.
_WATCH_AFTER_SECONDS = 0.01


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
        self.wake()

    def leave(self) -> None:
        """The client has left: the exchange is cancelled, `next` says that it is gone."""
        self._bridge.cancel(self)

    def wake(self) -> None:
        """Let `next` look again."""
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
        self._answers: dict[int, Answer] = {}
        self._young: list[tuple[Answer, Receive]] = []
        self._flush_due = False
        self._sweep: asyncio.TimerHandle | None = None
        self._has_provider = provider is not None
        self._providers = ProviderPort(self.core, provider)
        loop.add_reader(self.core.fileno(), self._ready)

    def expect(self, id: int, receive: Receive | None) -> Answer:
        """The answer of a submitted exchange.

        `receive` is watched for the client's leaving; None when somebody calls `Answer.leave`.
        """
        answer = Answer(self, id)
        self._answers[id] = answer
        if receive is not None:
            self._watch_later(answer, receive)
        if not self._flush_due:
            # After all that is ready now: the engine is woken once for every request of this turn.
            self._flush_due = True
            self.loop.call_soon(self._flush)
        return answer

    def _watch_later(self, answer: Answer, receive: Receive) -> None:
        self._young.append((answer, receive))
        if self._sweep is None:
            self._sweep = self.loop.call_later(_WATCH_AFTER_SECONDS, self._watch_old)

    def cancel(self, answer: Answer) -> None:
        """The client of this answer has left."""
        self._hang_up(answer)
        answer.gone = True
        answer.wake()

    def _flush(self) -> None:
        self._flush_due = False
        self.core.flush()

    def forget(self, answer: Answer) -> None:
        """The exchange is over for its caller, however it ended; hangs up if it still runs."""
        self._hang_up(answer)
        if answer.watcher is not None:
            answer.watcher.cancel()

    def _hang_up(self, answer: Answer) -> None:
        if self._answers.pop(answer.id, None) is not None:
            self.core.cancel(answer.id)

    @property
    def busy(self) -> bool:
        """Whether somebody still waits for the end of an answer."""
        return bool(self._answers)

    def close(self) -> None:
        """Stop listening to the engine. Idempotent."""
        if self.core.fileno() >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(self.core.fileno())
        if self._sweep is not None:
            self._sweep.cancel()
        self.body_deadlines.close()
        self._providers.close()
        self.core.close()
        for answer in self._answers.values():
            answer.gone = True
            answer.wake()
        self._answers.clear()

    def _ready(self) -> None:
        events: Iterable[Event] = self.core.drain()
        for event in events:
            answer = self._answers.get(event[0])
            if answer is None:
                continue
            if not event[4]:
                del self._answers[event[0]]
            answer.put(event)
        if self._has_provider:
            self._providers.serve(self.core.drain_provider())

    def _watch_old(self) -> None:
        self._sweep = None
        young, self._young = self._young, []
        for answer, receive in young:
            if answer.id in self._answers:
                answer.watcher = self.loop.create_task(self._watch(answer, receive))

    async def _watch(self, answer: Answer, receive: Receive) -> None:
        await receive()  # after the whole body the only thing that can come is the end
        self.cancel(answer)
