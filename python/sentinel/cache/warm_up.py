"""Filling a cache before it is asked: the most important first, and no more than it can hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sentinel.cache.progress import Bar

if TYPE_CHECKING:
    from sentinel.cache.lru_cache import LRUCache

__all__ = ["Progress", "WarmUpReport", "awarm_up", "warm_up"]

K = TypeVar("K", bound=Hashable)

Progress = bool | Callable[[int, int], object]

_MAX_CONCURRENCY = 1_024


@dataclass(frozen=True, slots=True)
class WarmUpReport(Generic[K]):
    """What a warm-up has done. It is true if no key failed."""

    loaded: int
    present: int  # were held already
    skipped: int  # the cache was full before their turn
    failed: dict[K, Exception]
    seconds: float

    def __bool__(self) -> bool:
        return not self.failed


def warm_up(
    cache: LRUCache,
    keys: Mapping[K, float] | Iterable[K],
    load: Callable[[K], object],
    concurrency: int,
    progress: Progress,
) -> WarmUpReport[K]:
    """Loads in threads; `load` stores what it computes, and raises what failed."""
    plan = _Plan(cache, keys, concurrency, progress)
    running: dict[Future[object], K] = {}
    try:
        with ThreadPoolExecutor(concurrency, "sentinel-warm-up") as pool:
            for key in plan.turns(running):
                running[pool.submit(load, key)] = key
                if len(running) >= concurrency:
                    _collect(plan, running)
            while running:
                _collect(plan, running)
    finally:
        plan.close()
    return plan.report()


async def awarm_up(
    cache: LRUCache,
    keys: Mapping[K, float] | Iterable[K],
    load: Callable[[K], Awaitable[object]],
    concurrency: int,
    progress: Progress,
) -> WarmUpReport[K]:
    """Loads in tasks; cancelling it cancels them."""
    plan = _Plan(cache, keys, concurrency, progress)
    running: dict[asyncio.Future[object], K] = {}
    try:
        for key in plan.turns(running):
            running[asyncio.ensure_future(load(key))] = key
            if len(running) >= concurrency:
                await _acollect(plan, running)
        while running:
            await _acollect(plan, running)
    finally:
        for task in running:
            task.cancel()
        plan.close()
    return plan.report()


def _collect(plan: _Plan[K], running: dict[Future[object], K]) -> None:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        plan.loaded(running.pop(future), future.exception())


async def _acollect(plan: _Plan[K], running: dict[asyncio.Future[object], K]) -> None:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        key = running.pop(task)
        plan.loaded(key, asyncio.CancelledError() if task.cancelled() else task.exception())


class _Plan(Generic[K]):
    """Whose turn it is, what came of it, and who is told."""

    def __init__(
        self,
        cache: LRUCache,
        keys: Mapping[K, float] | Iterable[K],
        concurrency: int,
        progress: Progress,
    ) -> None:
        if not isinstance(concurrency, int):
            raise TypeError(f"concurrency must be int, not {type(concurrency).__name__}")
        if not 0 < concurrency <= _MAX_CONCURRENCY:
            raise ValueError(f"concurrency must be 1 to {_MAX_CONCURRENCY}, not {concurrency}")
        self._cache = cache
        self._keys = _by_importance(keys)
        self._bar = Bar("warm-up") if progress is True else None
        self._tell = self._bar or (progress if callable(progress) else None)
        self._began = time.monotonic()
        self._removed_before = self._removed()
        self._loaded = 0
        self._present = 0
        self._skipped = 0
        self._failed: dict[K, Exception] = {}

    def turns(self, running: Mapping[Any, K]) -> Iterator[K]:
        """The keys to load, until the cache with what is `running` is full."""
        for index, key in enumerate(self._keys):
            if self._full(len(running)):
                self._skipped = len(self._keys) - index
                return
            if key in self._cache:
                self._present += 1
                self._tell_all()
            else:
                yield key

    def loaded(self, key: K, error: BaseException | None) -> None:
        if error is None:
            self._loaded += 1
        elif isinstance(error, Exception):
            self._failed[key] = error
        else:
            raise error
        self._tell_all()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def report(self) -> WarmUpReport[K]:
        seconds = time.monotonic() - self._began
        return WarmUpReport(self._loaded, self._present, self._skipped, self._failed, seconds)

    def _tell_all(self) -> None:
        if self._tell is not None:
            done = self._loaded + self._present + len(self._failed)
            self._tell(done, len(self._keys))

    def _full(self, running: int) -> bool:
        bound = self._cache.max_entries
        if bound is not None and len(self._cache) + running >= bound:
            return True
        return self._removed() > self._removed_before

    def _removed(self) -> int:
        counts = self._cache.counters()
        return counts["evictions"] + counts["rejections"]


def _by_importance(keys: Mapping[K, float] | Iterable[K]) -> list[K]:
    if isinstance(keys, Mapping):
        return sorted(keys, key=lambda key: keys[key], reverse=True)
    return list(dict.fromkeys(keys))
