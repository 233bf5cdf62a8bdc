"""One compute and those who wait for it: in threads, and in tasks of any event loop.

A flight lands once: with a value, with an error, or handed over, which means that its compute ended
without an answer through no fault of its own, and that one of those who wait has to begin anew.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, TypeVar

__all__ = ["Flight", "running_loop"]

T = TypeVar("T")

# How often a waiter looks whether the event loop that computes for it was closed under the compute.
LOOK_SECONDS = 1.0


class _Waiter(Protocol):
    def wake(self) -> None: ...


class _Thread:
    """A thread that sleeps until it is woken."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    def wake(self) -> None:
        self._gate.release()

    def sleep(self, seconds: float) -> None:
        self._gate.acquire(timeout=seconds)


class _Task:
    """A task that awaits its `future`, which is set on its own loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        if running_loop() is self._loop:
            self._set()
            return
        with suppress(RuntimeError):  # the loop was closed, and the task with it
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Flight(Generic[T]):
    """A compute in progress. It is flown by this thread, or by a task on `loop` if that is given.

    Every method may be called from any thread.
    """

    __slots__ = (
        "_error",
        "_landed",
        "_lock",
        "_loop",
        "_thread",
        "_traceback",
        "_value",
        "_waiters",
        "answered",
        "key",
        "task",
    )

    def __init__(self, key: object, loop: asyncio.AbstractEventLoop | None) -> None:
        self.key = key
        self.answered = False  # landed with a value or an error
        self.task: asyncio.Task[None] | None = None
        self._loop = loop
        self._thread = threading.get_ident()
        self._lock = threading.Lock()  # held for a moment, and never while code of others runs
        self._landed = False
        self._waiters: list[_Waiter] = []
        self._value: T
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None

    def land(self, value: T) -> None:
        self._value = value
        self.answered = True
        self._wake_all()

    def fail(self, error: BaseException) -> None:
        self._error, self._traceback = error, error.__traceback__
        self.answered = True
        self._wake_all()

    def hand_over(self) -> None:
        """End without an answer, if there is none yet."""
        self._wake_all()

    def outcome(self) -> T:
        """The value, or the error raised; each time with the traceback of the compute alone."""
        try:
            if self._error is None:
                return self._value
            raise self._error.with_traceback(self._traceback)
        finally:
            del self  # the traceback holds this frame, which must not hold the error in turn

    @property
    def lost(self) -> bool:
        """Whether it can never land, as the event loop of its task is closed."""
        return not self._landed and self._loop is not None and self._loop.is_closed()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._landed or self.lost

    def wait(self) -> None:
        """Block this thread until the flight has landed or is lost."""
        self._refuse_own_thread()
        waiter = _Thread()
        if not self._join(waiter):
            return
        try:
            while not self.over:
                waiter.sleep(-1 if self._loop is None else LOOK_SECONDS)
        finally:
            self._leave(waiter)

    async def await_landing(self, loop: asyncio.AbstractEventLoop) -> None:
        """Suspend this task, which runs on `loop`, until the flight has landed or is lost."""
        self._refuse_own_task()
        waiter = _Task(loop)
        if not self._join(waiter):
            return
        try:
            if self._loop is None or self._loop is loop:
                await waiter.future
            while not self.over:
                await asyncio.wait([waiter.future], timeout=LOOK_SECONDS)
        finally:
            self._leave(waiter)

    def _refuse_own_thread(self) -> None:
        ours = self._thread == threading.get_ident()
        if ours and self._loop is None:
            raise RuntimeError(f"the compute of {self.key!r} asks for itself and would never end")
        if self._loop is not None and self._loop is running_loop():
            raise RuntimeError(
                f"a task of this event loop computes {self.key!r}: waiting for it here would stop "
                "the loop; await the asynchronous method"
            )

    def _refuse_own_task(self) -> None:
        ours = self._thread == threading.get_ident() and self._loop is None
        if ours or (self.task is not None and self.task is asyncio.current_task()):
            raise RuntimeError(f"the compute of {self.key!r} asks for itself and would never end")

    def _join(self, waiter: _Waiter) -> bool:
        with self._lock:
            if not self._landed:
                self._waiters.append(waiter)
            return not self._landed

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock, suppress(ValueError):
            self._waiters.remove(waiter)

    def _wake_all(self) -> None:
        with self._lock:
            if self._landed:
                return
            self._landed = True
            woken, self._waiters = self._waiters, []
        for waiter in woken:
            waiter.wake()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
