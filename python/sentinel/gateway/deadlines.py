"""Deadlines for many short waits at once, at the price of one look a second.

`asyncio.timeout` makes and cancels a timer for every wait; nearly all bodies are there already when
they are asked for. Here a wait is one entry in a dictionary, and a waiting task that is found
overdue is cancelled. A deadline is kept to the second.
"""

from __future__ import annotations

import asyncio
from typing import Self

__all__ = ["Deadlines"]

_LOOK_EVERY_SECONDS = 1.0


class Deadlines:
    """`with deadlines:` bounds what the current task awaits inside, one block a task at a time.

    When the time is up the task gets a CancelledError inside the block; `expired()` tells it from
    any other cancellation, and takes it back. One per loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._until: dict[asyncio.Task[object], float] = {}
        self._overdue: set[asyncio.Task[object]] = set()
        self._next_look: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._until[self._task()] = self._loop.time() + self.seconds
        if self._next_look is None:
            self._next_look = self._loop.call_later(_LOOK_EVERY_SECONDS, self._look)
        return self

    def __exit__(self, *failure: object) -> None:
        self._until.pop(self._task(), None)

    def expired(self) -> bool:
        """Whether the cancellation the current task has just met is this deadline's."""
        task = self._task()
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        task.uncancel()
        return True

    def close(self) -> None:
        """Look no more."""
        if self._next_look is not None:
            self._next_look.cancel()

    def _task(self) -> asyncio.Task[object]:
        task = asyncio.current_task(self._loop)
        assert task is not None, "a deadline belongs to a task"
        return task

    def _look(self) -> None:
        self._next_look = None
        now = self._loop.time()
        for task, until in self._until.items():
            if until <= now:
                self._overdue.add(task)
                task.cancel()
        if self._until:
            self._next_look = self._loop.call_later(_LOOK_EVERY_SECONDS, self._look)
