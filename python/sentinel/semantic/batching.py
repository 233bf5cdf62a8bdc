"""Micro-batches: what is asked while a batch runs goes into the next one.

One thread runs one batch after the other, so nothing waits for company: an idle batcher starts at
once. A batch holds the oldest job and those waiting ones that have its number of tokens; a batch of
one length needs no padding. Jobs that were cancelled while they waited are never run.

Bounds: `max_pending` jobs wait, then EmbedderBusy; a batch has at most `max_batch` jobs and
`max_tokens` tokens (one job always fits). A child of a fork begins with nothing waiting.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sentinel._forks import tell_of_forks
from sentinel.errors import EmbedderBusy, EmbedderError

__all__ = ["Batcher"]

Result = TypeVar("Result")
# Takes texts of one length as token ids, returns one result for each.
Run = Callable[[list[list[int]]], Sequence[Result]]


@dataclass(eq=False, slots=True)
class _Job(Generic[Result]):
    ids: list[int]
    future: Future[Result] = field(default_factory=Future)


class Batcher(Generic[Result]):
    """Its thread starts with the first job."""

    def __init__(
        self, run: Run[Result], *, max_batch: int, max_tokens: int, max_pending: int
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_tokens = max_tokens
        self._max_pending = max_pending
        self._closed = False
        self._begin_empty()
        tell_of_forks(self)

    def _begin_empty(self) -> None:
        self._changed = threading.Condition()
        self._pending: deque[_Job[Result]] = deque()
        self._thread: threading.Thread | None = None

    def submit(self, ids: list[int]) -> Future[Result]:
        """The result of `ids`, later. EmbedderBusy when full, EmbedderError when closed."""
        job: _Job[Result] = _Job(ids)
        with self._changed:
            if self._closed:
                raise _closed()
            if len(self._pending) >= self._max_pending:
                raise EmbedderBusy(f"{self._max_pending} texts wait for the embedder already")
            self._pending.append(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="sentinel-embedder", daemon=True
                )
                self._thread.start()
                # The interpreter must not go away under a batch that runs in C++.
                atexit.register(self.close)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Ends the thread after its batch; what waits fails with EmbedderError."""
        with self._changed:
            self._closed = True
            left = list(self._pending)
            self._pending.clear()
            self._changed.notify()
            thread = self._thread
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(_closed())
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        atexit.unregister(self.close)

    def _after_fork(self) -> None:
        self._begin_empty()

    def _work(self) -> None:
        while batch := self._take():
            self._settle(batch)

    def _take(self) -> list[_Job[Result]]:
        """The next batch, none once closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._pending or self._closed)
                if self._closed:
                    return []
                batch = [
                    job for job in self._next_group() if job.future.set_running_or_notify_cancel()
                ]
                if batch:
                    return batch

    def _next_group(self) -> list[_Job[Result]]:
        length = len(self._pending[0].ids)
        room = max(1, min(self._max_batch, self._max_tokens // length))
        group: list[_Job[Result]] = []
        others: deque[_Job[Result]] = deque()
        for job in self._pending:
            fits = len(job.ids) == length and len(group) < room
            (group if fits else others).append(job)
        self._pending = others
        return group

    def _settle(self, batch: list[_Job[Result]]) -> None:
        try:
            results = self._run([job.ids for job in batch])
        except Exception as error:
            for job in batch:
                job.future.set_exception(error)
            return
        for job, result in zip(batch, results, strict=True):
            job.future.set_result(result)


def _closed() -> EmbedderError:
    return EmbedderError("the embedder is closed")
