"""`SingleFlight`: of those who want the same thing at the same time, one computes it for all.

The name and the idea are those of groupcache's `singleflight`. Nothing is remembered: once the
compute has ended, the next call computes anew (what remembers is `sentinel.LRUCache`).
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from sentinel._forks import tell_of_forks
from sentinel.resilience.flight import Flight

__all__ = ["SingleFlight", "refuse_coroutine"]

T = TypeVar("T")

_MAX_FLIGHTS = 10**9
_SWEEP_FROM = 64  # tasks


class SingleFlight:
    """One compute for all who ask for a key while it runs, in threads and in tasks alike.

    Whoever asks first computes; the others wait and get the same value, or the same error. Threads
    (`do`) and tasks of any number of event loops (`ado`) share with each other.

    A task's compute runs in a task of its own, with the context of who asked first. So it goes on
    whoever is cancelled, the first one too, and serves those who wait and those who come. If it is
    itself cancelled from outside, or its loop is closed, one of those who wait begins anew. So they
    do when a KeyboardInterrupt or SystemExit ends a thread's compute. Nobody is left hanging. A
    forked child begins with none.

    At most `max_flights` keys are shared at a time; a call beyond that computes for itself alone.
    ValueError if it is not 1 to 10**9.
    """

    def __init__(self, *, max_flights: int = 65_536) -> None:
        if not isinstance(max_flights, int):
            raise TypeError(f"max_flights must be int, not {type(max_flights).__name__}")
        if not 0 < max_flights <= _MAX_FLIGHTS:
            raise ValueError(f"max_flights must be 1 to 10**9, not {max_flights}")
        self._max_flights = max_flights
        # A key's __eq__ may be anything, even a call of ours: so one thread may take it twice.
        self._lock = threading.RLock()
        self._flights: dict[Hashable, Flight[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # an event loop alone may lose its tasks
        self._sweep_at = _SWEEP_FROM
        tell_of_forks(self)

    def __len__(self) -> int:
        """How many keys are being computed."""
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        """Whether `key` is being computed: a call now would wait."""
        with self._lock:
            flight = self._flights.get(key)
        return flight is not None and not flight.over

    def do(self, key: Hashable, fn: Callable[[], T]) -> T:
        """What `fn()` gives, here or in who asks for the same `key` right now.

        Raises what it raises. RuntimeError if waiting could never end: inside the compute of `key`
        itself, or in a thread whose event loop computes it. TypeError if `fn` makes a coroutine.
        """
        while True:
            flight: Flight[T]
            flight, first = self._board(key, None)
            try:
                if first:
                    self._fly(flight, fn)
                else:
                    flight.wait()
                if flight.answered:
                    return flight.outcome()
            finally:
                del flight  # an error's traceback holds this frame

    async def ado(self, key: Hashable, coro_fn: Callable[[], Awaitable[T]]) -> T:
        """What `await coro_fn()` gives, here or in who asks for the same `key` right now.

        Raises what it raises. RuntimeError inside the compute of `key` itself.
        """
        loop = asyncio.get_running_loop()
        while True:
            flight: Flight[T]
            flight, first = self._board(key, loop)
            try:
                if first:
                    self._begin(flight, coro_fn, loop)
                await flight.await_landing(loop)
                if flight.answered:
                    return flight.outcome()
            finally:
                del flight

    def forget(self, key: Hashable) -> bool:
        """Let the next call compute `key` anew; who waits already gets what was begun.

        False if nothing computes it.
        """
        with self._lock:
            return self._flights.pop(key, None) is not None

    def _after_fork(self) -> None:
        """Forget what the parent is at. Its tasks stay: dropping one would end it here."""
        self._lock = threading.RLock()
        self._flights = {}

    def _board(self, key: Hashable, loop: asyncio.AbstractEventLoop | None) -> tuple[Any, bool]:
        """The flight of `key`, and whether it is new and ours to fly."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and not flight.over:  # a key's __eq__ may have kept it here
                return flight, False
            mine: Flight[Any] = Flight(key, loop)
            if flight is not None or len(self._flights) < self._max_flights:
                self._flights[key] = mine
            return mine, True

    def _fly(self, flight: Flight[T], fn: Callable[[], T]) -> None:
        try:
            value = fn()
            refuse_coroutine(value, "ado")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):  # for this thread, not who waits
            self._end(flight)
            raise
        except BaseException as error:
            self._end(flight)
            flight.fail(error)
        else:
            self._end(flight)
            flight.land(value)
        finally:
            flight.hand_over()
            del flight

    def _begin(
        self,
        flight: Flight[T],
        coro_fn: Callable[[], Awaitable[T]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        flying = self._fly_in_task(flight, coro_fn)
        try:
            task = loop.create_task(flying)
        except BaseException:
            flying.close()
            self._end(flight)
            flight.hand_over()
            raise
        flight.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, flight))
        if len(self._tasks) > self._sweep_at:
            self._sweep()

    async def _fly_in_task(self, flight: Flight[T], coro_fn: Callable[[], Awaitable[T]]) -> None:
        try:
            value = await coro_fn()
        except GeneratorExit:  # the task was dropped: `_ended` will not be called
            self._end(flight)
            flight.hand_over()
            raise
        except asyncio.CancelledError as error:
            if _cancelled_from_outside():
                raise
            self._end(flight)
            flight.fail(error)
        except (KeyboardInterrupt, SystemExit):  # ends the loop, and is not for who waits elsewhere
            raise
        except BaseException as error:
            self._end(flight)
            flight.fail(error)
        else:
            self._end(flight)
            flight.land(value)
        finally:
            del flight

    def _ended(self, task: asyncio.Task[None], flight: Flight[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # was told to whom it concerns
        self._end(flight)
        flight.hand_over()  # if it was cancelled, perhaps before its first step

    def _sweep(self) -> None:
        """Drop the tasks of closed loops, which never end, and their flights."""
        for flight in list(self._flights.values()):
            if flight.lost:
                self._end(flight)
        closed = {task for task in self._tasks.copy() if task.get_loop().is_closed()}
        self._tasks.difference_update(closed)
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._tasks))

    def _end(self, flight: Flight[Any]) -> None:
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]


def refuse_coroutine(value: object, instead: str) -> None:
    """TypeError if `value` is a coroutine, which one caller alone could await; it is closed."""
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"fn makes a coroutine: call {instead}")


def _cancelled_from_outside() -> bool:
    """Whether someone cancelled this task, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
