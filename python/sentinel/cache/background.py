"""Computes that nobody waits for: a few threads, and tasks that are held until they end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sentinel._forks import tell_of_forks

__all__ = ["Background"]

_THREADS = 2
_MAX_JOBS = 1_024


class Background:
    """Runs one job of a key at a time, with the context of who asked. Usable from any thread.

    At most 1,024 jobs are kept; what comes beyond that, or after `close`, is refused. What a job
    raises is its own concern. In a forked child there are no jobs.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a key's __eq__ may be anything, even a call of ours
        self._jobs: dict[Hashable, Future[object] | asyncio.Task[object]] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self._left: list[object] = []
        tell_of_forks(self)

    def in_thread(self, key: Hashable, job: Callable[[], object]) -> bool:
        """Run `job` in a thread. False if it is refused."""
        with self._lock:
            if not self._may_begin(key):
                return False
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_THREADS, "sentinel-refresh")
            try:
                future = self._executor.submit(contextvars.copy_context().run, job)
            except RuntimeError:  # no thread can be had, or the interpreter ends
                self._drop_executor()
                return False
            self._jobs[key] = future
        future.add_done_callback(lambda _: self._ended(key, future))
        return True

    def in_task(self, key: Hashable, job: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run `job` as a task of the running event loop. False if it is refused."""
        with self._lock:
            if not self._may_begin(key):
                return False
            task = asyncio.get_running_loop().create_task(job())
            self._jobs[key] = task
        task.add_done_callback(lambda task: self._ended(key, task))
        return True

    def close(self) -> None:
        """Wait for the job that each thread is at; drop what has not begun and cancel tasks."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
            jobs = list(self._jobs.values())
        for job in jobs:
            if isinstance(job, asyncio.Task):
                with suppress(RuntimeError):  # its loop is closed
                    job.get_loop().call_soon_threadsafe(job.cancel)
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)

    def _after_fork(self) -> None:
        """Begin anew. The parent's jobs are kept, as dropping a task would end it here."""
        self._lock = threading.RLock()
        self._left = [self._jobs, self._executor]
        self._jobs, self._executor = {}, None

    def _drop_executor(self) -> None:
        """What it holds would be run much later, if at all."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _may_begin(self, key: Hashable) -> bool:
        if self._closed:
            return False
        job = self._jobs.get(key)
        if job is not None:
            return _will_never_end(job)
        if len(self._jobs) >= _MAX_JOBS:
            for other, left in list(self._jobs.items()):
                if _will_never_end(left):
                    self._jobs.pop(other, None)
        return len(self._jobs) < _MAX_JOBS

    def _ended(self, key: Hashable, job: Future[object] | asyncio.Task[object]) -> None:
        if not job.cancelled():
            job.exception()
        with self._lock:
            if self._jobs.get(key) is job:
                del self._jobs[key]


def _will_never_end(job: Future[object] | asyncio.Task[object]) -> bool:
    return isinstance(job, asyncio.Task) and job.get_loop().is_closed()
