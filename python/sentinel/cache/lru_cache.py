"""`LRUCache`: Python objects within bounds, found in C++, and computed once for all who ask."""

from __future__ import annotations

import random as _random
from collections.abc import (
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from sentinel import _core
from sentinel.cache.background import Background
from sentinel.cache.freshness import Course, Plan, checked_tags, course_of
from sentinel.cache.statistics import CacheStatistics
from sentinel.cache.tally import Tally
from sentinel.cache.warm_up import Progress, WarmUpReport, awarm_up, warm_up
from sentinel.resilience.single_flight import SingleFlight, refuse_coroutine

__all__ = ["LRUCache"]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_MAX_ERRORS = 1_024
_PLANS = 256
_MAX_COMPUTES = 65_536
_NOTHING = object()


class LRUCache(_core.ObjectCache):
    """At most `max_entries` objects, or `max_bytes`, or both. Usable from any thread.

    It holds references, not copies. `policy` "adaptive" keeps what is asked for often and gives way
    to plain recency when that changes; "lru" drops what was not asked for longest. `ttl`: seconds
    that a value is fresh, None for ever. `weigh(key, value)` gives an entry's bytes for
    `max_bytes`; by default what `sys.getsizeof` says. `clock` gives seconds that never go back
    (default: the system's monotonic clock), `random` numbers in [0, 1) for early expiry.

    ValueError names a parameter that is out of range and its value.
    """

    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_bytes: int | None = None,
        ttl: float | None = None,
        policy: Literal["adaptive", "lru"] = "adaptive",
        weigh: Callable[[Any, Any], int] | None = None,
        clock: Callable[[], float] | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(
            max_entries, max_bytes=max_bytes, ttl=ttl, policy=policy, weigh=weigh, clock=clock
        )
        self._random = _random.random if random is None else random
        self._flights = SingleFlight(max_flights=_MAX_COMPUTES)
        # What is being computed, with its tags, so that invalidating reaches that too.
        self._computing = _core.ObjectCache(_MAX_COMPUTES, policy="lru")
        self._errors = _core.ObjectCache(_MAX_ERRORS, policy="lru", clock=clock)
        self._background = Background()
        self._tally = Tally()
        self._plan = lru_cache(_PLANS, typed=True)(Plan)  # a program has few, and they are checked

    if TYPE_CHECKING:  # inherited
        max_entries: int | None
        max_bytes: int | None
        ttl: float | None
        policy: str

    def get_or_compute(
        self,
        key: Hashable,
        fn: Callable[[], T],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        stale_while_revalidate: float = 0.0,
        stale_if_error: float = 0.0,
        beta: float = 0.0,
        cache_errors: bool = False,
        error_ttl: float = 60.0,
    ) -> T:
        """The value of `key`; if there is none, what `fn()` gives, which is then kept.

        However many threads and tasks ask meanwhile, one computes, and all get its value or its
        error. None is a value. `ttl` (seconds) and `tags` are of the value that `fn` gives.

        - `stale_while_revalidate`: for so many seconds beyond its ttl the old value is served while
          one thread in the background computes a new one (RFC 5861).
        - `stale_if_error`: for so many seconds beyond its ttl the old value is served if `fn`
          raises (RFC 5861).
        - `beta`: a fresh value is computed anew with probability exp(-time left / (beta * what
          computing it took)), so that callers do not all miss at the same moment (XFetch). 1 is
          usual, more is earlier, 0 is never. Whoever drew it computes; in the background if
          `stale_while_revalidate` is given. If that fails the fresh value is served.
        - `cache_errors`: an error of `fn` is remembered for `error_ttl` seconds and raised again
          without a call.

        Raises what `fn` raises; ValueError out of range; RuntimeError if `fn` asks for `key`.
        """
        plan = self._plan(
            ttl,
            checked_tags(tags),
            stale_while_revalidate,
            stale_if_error,
            beta,
            cache_errors,
            error_ttl,
        )
        found: Any = self.lookup(key)
        if found is not None and beta == 0 and found[1] > 0:  # most calls
            return cast(T, found[0])
        course = self._course(key, found, plan)
        if course is Course.COMPUTE:
            return self._compute_missing(key, fn, plan)
        value: T = found[0]
        if course is Course.SERVE:
            return value
        job = partial(self._compute_missing, key, fn, plan, value)
        if course is Course.REFRESH:
            self._background.in_thread(key, job)
            return value
        try:
            fresh = job()
        except Exception:
            return value
        self._served_fresh(course)
        return fresh

    async def aget_or_compute(
        self,
        key: Hashable,
        fn: Callable[[], Awaitable[T]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        stale_while_revalidate: float = 0.0,
        stale_if_error: float = 0.0,
        beta: float = 0.0,
        cache_errors: bool = False,
        error_ttl: float = 60.0,
    ) -> T:
        """As `get_or_compute`, for a coroutine function; shares computes with it.

        A compute runs in a task of its own and goes on when those who wait are cancelled.
        """
        plan = self._plan(
            ttl,
            checked_tags(tags),
            stale_while_revalidate,
            stale_if_error,
            beta,
            cache_errors,
            error_ttl,
        )
        found: Any = self.lookup(key)
        if found is not None and beta == 0 and found[1] > 0:  # most calls
            return cast(T, found[0])
        course = self._course(key, found, plan)
        if course is Course.COMPUTE:
            return await self._acompute_missing(key, fn, plan)
        value: T = found[0]
        if course is Course.SERVE:
            return value
        job = partial(self._acompute_missing, key, fn, plan, value)
        if course is Course.REFRESH:
            self._background.in_task(key, job)
            return value
        try:
            fresh = await job()
        except Exception:
            return value
        self._served_fresh(course)
        return fresh

    def delete(self, key: Hashable) -> bool:
        """Forget `key`; what is being computed for it is not kept. False if it was not there."""
        self._forget_compute(key)
        return super().delete(key)

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """`delete`, and the value if it was fresh."""
        self._forget_compute(key)
        return super().pop(key, default)

    def clear(self) -> None:
        """Forget everything, and do not keep what is being computed."""
        with self._forgetting_computes():
            self._computing.clear()
        self._errors.clear()
        super().clear()

    def invalidate_tag(self, tag: str) -> int:
        """Forget every value with this tag; how many were held.

        What is being computed with it is not kept.
        """
        with self._forgetting_computes():
            self._computing.invalidate_tag(tag)
        self._errors.invalidate_tag(tag)
        return super().invalidate_tag(tag)

    def invalidate_pattern(self, pattern: str) -> int:
        """Forget every str key like the glob `pattern` (`*`, `?`, `[a-z]`, `[!abc]`); how many.

        What is being computed for such a key is not kept.
        """
        with self._forgetting_computes():
            self._computing.invalidate_pattern(pattern)
        self._errors.invalidate_pattern(pattern)
        return super().invalidate_pattern(pattern)

    def invalidate(
        self,
        key: Hashable = _NOTHING,
        *,
        pattern: str | None = None,
        tag: str | None = None,
    ) -> int:
        """Forget by `key`, by glob `pattern` or by `tag`; how many values were held.

        A compute that began before is not kept: whoever waits gets its value, whoever comes later
        computes anew. TypeError unless exactly one of them is given.
        """
        if (key is not _NOTHING) + (pattern is not None) + (tag is not None) != 1:
            raise TypeError("invalidate takes one of key, pattern and tag")
        if pattern is not None:
            return self.invalidate_pattern(pattern)
        if tag is not None:
            return self.invalidate_tag(tag)
        return int(self.delete(key))

    def stats(self) -> CacheStatistics:
        """What the cache has done and holds."""
        counts = self.counters()
        unserved = self._tally.unserved
        return CacheStatistics(
            hits=counts["hits"],
            misses=counts["misses"] + unserved,
            stale_hits=counts["stale_hits"] - unserved,
            evictions=counts["evictions"],
            expirations=counts["expirations"],
            computes=self._tally.computes,
            errors=self._tally.errors,
            compute_seconds=self._tally.compute_seconds,
            entries=counts["entries"],
            bytes=counts["bytes"],
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
            policy=self.policy,
        )

    def warm_up(
        self,
        keys: Mapping[K, float] | Iterable[K],
        load: Callable[[K], object],
        *,
        concurrency: int = 4,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        progress: Progress = True,
    ) -> WarmUpReport[K]:
        """Compute `load(key)` for keys that are not held, the most important first.

        `keys` in the order of their importance, or a mapping to it (the highest first). At most
        `concurrency` threads load. It stops when the cache is full; a key that fails is reported
        and the others go on. `progress` True: a bar on standard error if that is a terminal, or in
        a notebook; a callable gets (done, total) after each key; False: nothing.
        """
        plan = Plan(ttl, checked_tags(tags))
        return warm_up(
            self,
            keys,
            lambda key: self._compute_missing(key, partial(load, key), plan),
            concurrency,
            progress,
        )

    async def awarm_up(
        self,
        keys: Mapping[K, float] | Iterable[K],
        load: Callable[[K], Awaitable[object]],
        *,
        concurrency: int = 16,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        progress: Progress = True,
    ) -> WarmUpReport[K]:
        """As `warm_up`, for a coroutine function: at most `concurrency` tasks load."""
        plan = Plan(ttl, checked_tags(tags))
        return await awarm_up(
            self,
            keys,
            lambda key: self._acompute_missing(key, partial(load, key), plan),
            concurrency,
            progress,
        )

    def close(self) -> None:
        """End background refreshes: wait for those that threads are at, cancel tasks, take no more.

        Everything else still works. A cache that is dropped ends them by itself.
        """
        self._background.close()

    def __enter__(self) -> LRUCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _course(self, key: Hashable, found: Any, plan: Plan) -> Course:
        if found is None:
            return Course.COMPUTE
        _, remaining_seconds, compute_seconds = found
        course = course_of(plan, remaining_seconds, compute_seconds, self._random)
        if course is Course.SERVE:
            return course
        if course is Course.COMPUTE:
            self._tally.not_served()
            return course
        renewed_now = course is Course.RENEW and key in self._flights
        return Course.SERVE if renewed_now or key in self._errors else course

    def _served_fresh(self, course: Course) -> None:
        if course is Course.IF_ERROR:
            self._tally.not_served()

    def _compute_missing(
        self, key: Hashable, fn: Callable[[], T], plan: Plan, seen: object = _NOTHING
    ) -> T:
        """What `fn` gives, here or in who computes it right now; `seen` is not good enough."""
        self._raise_remembered(key)
        return self._flights.do(key, partial(self._compute, key, fn, plan, seen))

    async def _acompute_missing(
        self, key: Hashable, fn: Callable[[], Awaitable[T]], plan: Plan, seen: object = _NOTHING
    ) -> T:
        self._raise_remembered(key)
        return await self._flights.ado(key, partial(self._acompute, key, fn, plan, seen))

    def _compute(self, key: Hashable, fn: Callable[[], T], plan: Plan, seen: object) -> T:
        newer = self.peek(key, _NOTHING)
        if newer is not _NOTHING and newer is not seen:  # since this caller looked
            return cast(T, newer)
        with _Compute(self, key, plan) as compute:
            value = fn()
            refuse_coroutine(value, "aget_or_compute, or cache the coroutine function itself")
            compute.keep(value)
        return value

    async def _acompute(
        self, key: Hashable, fn: Callable[[], Awaitable[T]], plan: Plan, seen: object
    ) -> T:
        newer = self.peek(key, _NOTHING)
        if newer is not _NOTHING and newer is not seen:
            return cast(T, newer)
        with _Compute(self, key, plan) as compute:
            value = await fn()
            compute.keep(value)
        return value

    def _raise_remembered(self, key: Hashable) -> None:
        error = self._errors.get(key)
        if error is not None:
            assert isinstance(error, BaseException)
            try:
                raise error.with_traceback(None)  # else each time would lengthen it
            finally:
                del error

    def _forget_compute(self, key: Hashable) -> None:
        self._errors.delete(key)
        if self._computing.delete(key):
            self._flights.forget(key)

    @contextmanager
    def _forgetting_computes(self) -> Iterator[None]:
        """Lets those computes be forgotten that are invalidated within."""
        before = self._computing.keys()
        yield
        for key in before:
            if key not in self._computing:
                self._flights.forget(key)


class _Compute:
    """One compute, from its begin to what becomes of it.

    Its ticket stands in the cache's table of computes. Invalidating takes it away, and then what
    was computed is not kept.
    """

    __slots__ = ("_began", "_cache", "_key", "_plan")

    def __init__(self, cache: LRUCache, key: Hashable, plan: Plan) -> None:
        self._cache, self._key, self._plan = cache, key, plan
        cache._computing.set(key, self, tags=plan.tags)
        self._began = cache.clock_seconds()

    def keep(self, value: object) -> None:
        cache, key, plan = self._cache, self._key, self._plan
        seconds = self._seconds()
        if self._valid():
            cache.set(
                key, value, ttl=plan.ttl, stale=plan.stale_seconds, tags=plan.tags, cost=seconds
            )
            cache._errors.delete(key)
            if not self._valid() and cache.peek(key, _NOTHING) is value:
                _core.ObjectCache.delete(cache, key)  # another thread invalidated just now
        cache._tally.computed(seconds, failed=False)

    def _failed(self, error: Exception) -> None:
        self._cache._tally.computed(self._seconds(), failed=True)
        if self._plan.cache_errors and self._valid():
            self._cache._errors.set(
                self._key, error, ttl=self._plan.error_ttl, tags=self._plan.tags
            )

    def __enter__(self) -> _Compute:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if isinstance(error, Exception):
                self._failed(error)
        finally:
            if self._valid():
                self._cache._computing.delete(self._key)

    def _valid(self) -> bool:
        return self._cache._computing.peek(self._key) is self

    def _seconds(self) -> float:
        return max(0.0, self._cache.clock_seconds() - self._began)
