"""What the scripted upstream remembers: one `Call` per request, and counters over all of them.

A call is written by the server's loop and read by tests, possibly in another thread: fields only
grow more final, and `Record.when` turns "has it happened yet" into a wait without sleeping.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sentinel.testing.protocol import Headers
from sentinel.testing.scripts import Behaviour

__all__ = ["Call", "Record"]


@dataclass(slots=True)
class Call:
    """One request as the upstream saw it, and how it ended. Times are `time.monotonic` seconds."""

    request_id: str
    connection: int
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    started: float
    behaviour: Behaviour = field(default_factory=Behaviour)
    status: int = 0
    """Status of the reply; 0 until one is chosen."""
    chunks_sent: int = 0
    """Content chunks handed to the socket."""
    ended: float | None = None
    aborted: bool = False
    """The client left before the reply was complete."""

    @property
    def json(self) -> Any:
        """The body, parsed; ValueError if it is not JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a request header, by any spelling of its name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Record:
    """The calls so far, at most `limit` of them, and counters that never forget."""

    def __init__(self, limit: int) -> None:
        self._calls: deque[Call] = deque(maxlen=limit)
        self._watchers: list[tuple[Callable[[], bool], Future[None]]] = []
        self._lock = threading.Lock()
        self.connections = 0
        self.in_flight = 0
        self.held = 0
        self._zero()

    def _zero(self) -> None:
        self.connections_total = 0
        self.requests = 0
        self.max_in_flight = 0
        self.completed = 0
        self.aborted = 0
        self.chunks = 0
        self.refused = 0

    def calls(self) -> list[Call]:
        """A copy of the list; the calls in it are live."""
        return list(self._calls)

    def reset(self) -> None:
        """Forget finished things; what is open now stays counted as open."""
        self._calls.clear()
        self._zero()
        self.max_in_flight = self.in_flight

    def stats(self) -> dict[str, int]:
        """All counters, as `GET /stats` shows them."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "completed": self.completed,
            "aborted": self.aborted,
            "refused": self.refused,
            "chunks": self.chunks,
            "connections": self.connections,
            "connections_total": self.connections_total,
        }

    def begin(self, call: Call) -> None:
        self._calls.append(call)
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.changed()

    def sent(self, call: Call, chunks: int) -> None:
        call.chunks_sent += chunks
        self.chunks += chunks
        self.changed()

    def end(self, call: Call, now: float, *, aborted: bool) -> None:
        call.ended, call.aborted = now, aborted
        self.in_flight -= 1
        self.completed += not aborted
        self.aborted += aborted
        self.changed()

    def hold(self, calls: int) -> None:
        """So many calls more, or less, wait for the test."""
        self.held += calls
        self.changed()

    def opened(self) -> int:
        """Count a connection and give it its number."""
        self.connections += 1
        self.connections_total += 1
        self.changed()
        return self.connections_total

    def closed(self) -> None:
        self.connections -= 1
        self.changed()

    def refuse(self) -> None:
        """A request that was not HTTP enough to become a call."""
        self.refused += 1
        self.changed()

    def when(self, condition: Callable[[], bool]) -> Future[None]:
        """A future that is done as soon as the condition holds."""
        future: Future[None] = Future()
        with self._lock:
            self._watchers.append((condition, future))
        self.changed()
        return future

    def changed(self) -> None:
        """Look at every waiting condition; nearly always there is none."""
        if not self._watchers:
            return
        with self._lock:
            self._watchers = [watcher for watcher in self._watchers if not _is_over(*watcher)]


def _is_over(condition: Callable[[], bool], future: Future[None]) -> bool:
    """Tell the waiter when its condition holds or breaks; whether it need not be asked again."""
    failure: Exception | None = None
    try:
        if not condition() and not future.cancelled():
            return False
    except Exception as error:  # the waiter's own mistake, not that of the connection that looks
        failure = error
    if future.set_running_or_notify_cancel():
        future.set_exception(failure) if failure else future.set_result(None)
    return True
