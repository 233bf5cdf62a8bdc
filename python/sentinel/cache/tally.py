"""Counts of computing, added to from any thread."""

from __future__ import annotations

import threading

from sentinel._forks import tell_of_forks

__all__ = ["Tally"]


class Tally:
    """How many computes there were, how many raised, how long they took; and what was counted as
    a stale hit though it was not served.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.computes = 0
        self.errors = 0
        self.compute_seconds = 0.0
        self.unserved = 0
        tell_of_forks(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def computed(self, seconds: float, *, failed: bool) -> None:
        with self._lock:
            self.computes += 1
            self.errors += failed
            self.compute_seconds += seconds

    def not_served(self) -> None:
        with self._lock:
            self.unserved += 1
