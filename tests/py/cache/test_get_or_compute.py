"""`get_or_compute`: one compute for all, errors, staleness, early expiry, invalidation."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.cache import LRUCache, background
from sentinel.cache.freshness import Course, Plan, course_of, early_probability
from support.computes import (
    AsyncCompute,
    Compute,
    HandClock,
    block_until,
    settle,
    until,
    waiters,
)

CROWD = 100


HUGE = 10**400  # no float


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cache(clock: HandClock) -> Iterator[LRUCache]:
    with LRUCache(100, ttl=10, clock=clock) as cache:
        yield cache


class Counted:
    """Gives 1, 2, 3, ... or raises; takes `seconds` of the clock."""

    def __init__(self, clock: HandClock | None = None, seconds: float = 0.0) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self._clock, self._seconds = clock, seconds

    def __call__(self) -> int:
        self.calls += 1
        if self._clock is not None:
            self._clock.pass_(self._seconds)
        if self.error is not None:
            raise self.error
        return self.calls

    async def acall(self) -> int:
        await asyncio.sleep(0)
        return self()


def refreshed(cache: LRUCache) -> None:
    block_until(lambda: not cache._background._jobs)


# One compute


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
def test_c5_a_hundred_threads_that_miss_compute_once(cache: LRUCache, outcome: object) -> None:
    compute = Compute(outcome)

    def ask(_: int) -> object:
        try:
            return cache.get_or_compute("key", compute)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(CROWD) as pool:
        asked = pool.map(ask, range(CROWD))
        assert compute.began.wait(60)
        block_until(lambda: waiters(cache._flights, "key") == CROWD - 1)
        compute.may_end.set()
        assert all(one is outcome for one in asked)
    assert compute.calls == 1
    assert len(cache) == (not isinstance(outcome, ValueError))


@pytest.mark.parametrize("outcome", [7, None, ValueError("no")], ids=repr)
@pytest.mark.parametrize("cancelled", [(), (0,), tuple(range(99))], ids=len)
async def test_c5_a_hundred_tasks_that_miss_compute_once_whoever_is_cancelled(
    cache: LRUCache, outcome: object, cancelled: tuple[int, ...]
) -> None:
    compute = AsyncCompute(outcome)
    tasks = [asyncio.create_task(cache.aget_or_compute("key", compute)) for _ in range(CROWD)]
    await compute.began.wait()
    for index in cancelled:
        tasks[index].cancel()
    compute.may_end.set()
    for index, one in enumerate(await settle(*tasks)):
        assert isinstance(one, asyncio.CancelledError) if index in cancelled else one is outcome
    assert compute.calls == 1


async def test_threads_and_tasks_that_miss_compute_once(cache: LRUCache) -> None:
    compute = AsyncCompute()
    tasks = [asyncio.create_task(cache.aget_or_compute("key", compute)) for _ in range(10)]
    await compute.began.wait()
    threads = [
        asyncio.create_task(asyncio.to_thread(cache.get_or_compute, "key", int)) for _ in range(4)
    ]
    await until(lambda: waiters(cache._flights, "key") == 14)
    compute.may_end.set()
    assert await settle(*tasks, *threads) == [7] * 14
    assert cache.get("key") == 7


async def test_a_compute_whose_callers_are_all_gone_still_fills_the_cache(cache: LRUCache) -> None:
    compute = AsyncCompute()
    gone = asyncio.create_task(cache.aget_or_compute("key", compute))
    await compute.began.wait()
    gone.cancel()
    await settle(gone)
    compute.may_end.set()
    await until(lambda: "key" in cache)
    assert await cache.aget_or_compute("key", AsyncCompute(8)) == 7


def test_who_missed_before_another_stored_does_not_compute(cache: LRUCache) -> None:
    compute = Counted()
    plan = Plan()
    assert cache._course("key", cache.lookup("key"), plan) is Course.COMPUTE
    cache.set("key", "stored meanwhile")
    assert cache._compute_missing("key", compute, plan) == "stored meanwhile"  # type: ignore[comparison-overlap]
    assert compute.calls == 0


def test_a_kept_value_is_not_computed_again_until_its_ttl(
    cache: LRUCache, clock: HandClock
) -> None:
    compute = Counted()
    assert cache.get_or_compute("key", compute) == 1
    clock.pass_(9.9)
    assert cache.get_or_compute("key", compute) == 1
    clock.pass_(0.2)
    assert cache.get_or_compute("key", compute) == 2


def test_a_ttl_of_the_call_is_its_values(cache: LRUCache, clock: HandClock) -> None:
    compute = Counted()
    cache.get_or_compute("key", compute, ttl=1)
    clock.pass_(1.5)
    assert cache.get_or_compute("key", compute, ttl=math.inf) == 2
    clock.pass_(1e6)
    assert cache.get_or_compute("key", compute) == 2


def test_a_compute_that_asks_for_its_own_key_is_refused(cache: LRUCache) -> None:
    with pytest.raises(RuntimeError, match="asks for itself"):
        cache.get_or_compute("key", lambda: cache.get_or_compute("key", int))


def test_a_compute_may_ask_for_other_keys(cache: LRUCache) -> None:
    def sum_to(number: int) -> int:
        return number and number + cache.get_or_compute(number - 1, lambda: sum_to(number - 1))

    assert cache.get_or_compute(30, lambda: sum_to(30)) == 465
    assert len(cache) == 31


# Errors


def test_c4_an_error_is_raised_and_not_kept(cache: LRUCache) -> None:
    compute = Counted()
    compute.error = ValueError("no")
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            cache.get_or_compute("key", compute)
    assert compute.calls == 2
    compute.error = None
    assert cache.get_or_compute("key", compute) == 3


def test_c4_an_error_is_remembered_for_its_ttl_if_asked(cache: LRUCache, clock: HandClock) -> None:
    compute = Counted()
    compute.error = ValueError("no")

    def ask() -> int:
        return cache.get_or_compute("key", compute, cache_errors=True, error_ttl=5)

    for _ in range(3):
        with pytest.raises(ValueError, match="no") as raised:
            ask()
        assert raised.value is compute.error
    assert compute.calls == 1
    clock.pass_(5.1)
    compute.error = None
    assert ask() == 2


async def test_c4_an_async_error_is_remembered_for_its_ttl_if_asked(cache: LRUCache) -> None:
    compute = Counted()
    compute.error = ValueError("no")
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await cache.aget_or_compute("key", compute.acall, cache_errors=True)
    assert compute.calls == 1


def test_an_error_raised_again_does_not_grow(cache: LRUCache) -> None:
    def fail() -> int:
        raise ValueError("no")

    depths = []
    for _ in range(5):
        with pytest.raises(ValueError, match="no") as raised:
            cache.get_or_compute("key", fail, cache_errors=True)
        depths.append(len(raised.traceback))
    assert len(set(depths[1:])) == 1


def test_a_remembered_error_is_not_a_value(cache: LRUCache) -> None:
    compute = Counted()
    compute.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute("key", compute, cache_errors=True)
    assert cache.get("key") is None
    assert "key" not in cache
    cache.set("key", 5)
    assert cache.get_or_compute("key", compute) == 5


@pytest.mark.parametrize("forget", ["key", "pattern", "tag", "clear", "pop"])
def test_a_remembered_error_is_forgotten_with_its_key(cache: LRUCache, forget: str) -> None:
    compute = Counted()
    compute.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute("key", compute, cache_errors=True, tags=("a",))
    compute.error = None
    invalidate(cache, forget)
    assert cache.get_or_compute("key", compute) == 2


# Staleness, as in RFC 5861


def test_stale_is_served_while_one_refresh_runs(cache: LRUCache, clock: HandClock) -> None:
    slow = Compute("new")

    def ask() -> object:
        return cache.get_or_compute("key", slow, stale_while_revalidate=20)

    cache.set("key", "old", stale=20)
    clock.pass_(15)
    assert [ask() for _ in range(10)] == ["old"] * 10
    assert slow.began.wait(60)
    assert ask() == "old"
    slow.may_end.set()
    refreshed(cache)
    assert ask() == "new"
    assert slow.calls == 1
    stats = cache.stats()
    assert (stats.hits, stats.stale_hits, stats.misses, stats.computes) == (1, 11, 0, 1)


async def test_stale_is_served_while_one_task_refreshes(cache: LRUCache, clock: HandClock) -> None:
    slow = AsyncCompute("new")

    async def ask() -> object:
        return await cache.aget_or_compute("key", slow, stale_while_revalidate=20)

    cache.set("key", "old", stale=20)
    clock.pass_(15)
    assert [await ask() for _ in range(10)] == ["old"] * 10
    await slow.began.wait()
    slow.may_end.set()
    await until(lambda: not cache._background._jobs)
    assert await ask() == "new"
    assert slow.calls == 1


@pytest.mark.parametrize(("window", "value"), [(20, 1), (5, 2)])
def test_stale_is_served_within_its_window_only(
    cache: LRUCache, clock: HandClock, window: float, value: int
) -> None:
    compute = Counted()
    cache.get_or_compute("key", compute, stale_while_revalidate=window)
    clock.pass_(16)
    assert cache.get_or_compute("key", compute, stale_while_revalidate=window) == value
    refreshed(cache)
    assert cache.get_or_compute("key", compute) == 2


def test_a_refresh_that_fails_leaves_the_stale_value(cache: LRUCache, clock: HandClock) -> None:
    compute = Counted()
    cache.get_or_compute("key", compute, stale_while_revalidate=20)
    compute.error = OSError("down")
    clock.pass_(15)
    for calls in (2, 3):
        assert cache.get_or_compute("key", compute, stale_while_revalidate=20) == 1
        refreshed(cache)
        assert compute.calls == calls
    assert cache.stats().errors == 2


def test_a_refresh_that_failed_waits_for_error_ttl_if_errors_are_cached(
    cache: LRUCache, clock: HandClock
) -> None:
    compute = Counted()

    def ask() -> int:
        return cache.get_or_compute(
            "key", compute, stale_while_revalidate=90, cache_errors=True, error_ttl=5
        )

    ask()
    compute.error = OSError("down")
    clock.pass_(15)
    for calls in (2, 2, 2):
        assert ask() == 1
        refreshed(cache)
        assert compute.calls == calls
    clock.pass_(6)
    compute.error = None
    assert ask() == 1
    refreshed(cache)
    assert ask() == 3


def test_stale_is_served_if_the_compute_fails(cache: LRUCache, clock: HandClock) -> None:
    compute = Counted()

    def ask() -> int:
        return cache.get_or_compute("key", compute, stale_if_error=20)

    assert ask() == 1
    compute.error = OSError("down")
    clock.pass_(15)
    assert ask() == 1
    compute.error = None
    assert ask() == 3
    compute.error = OSError("down")
    clock.pass_(31)
    with pytest.raises(OSError, match="down"):
        ask()


async def test_stale_is_served_if_the_async_compute_fails(
    cache: LRUCache, clock: HandClock
) -> None:
    compute = Counted()

    async def ask() -> int:
        return await cache.aget_or_compute("key", compute.acall, stale_if_error=20)

    assert await ask() == 1
    compute.error = OSError("down")
    clock.pass_(15)
    assert [await ask(), await ask()] == [1, 1]
    compute.error = None
    assert await ask() == 4


def test_a_stale_value_that_was_computed_anew_counts_as_a_miss(
    cache: LRUCache, clock: HandClock
) -> None:
    compute = Counted()
    for _ in range(2):
        cache.get_or_compute("key", compute, stale_if_error=20)
        clock.pass_(15)
    stats = cache.stats()
    assert (stats.hits, stats.stale_hits, stats.misses) == (0, 0, 2)


@given(
    remaining=st.floats(-50, 50),
    revalidate=st.floats(0, 40),
    if_error=st.floats(0, 40),
)
def test_the_windows_decide_the_course(
    remaining: float, revalidate: float, if_error: float
) -> None:
    plan = Plan(stale_while_revalidate=revalidate, stale_if_error=if_error)
    course = course_of(plan, remaining, 1.0, lambda: 0.0)
    if remaining > 0:
        assert course is Course.SERVE
    elif -remaining < revalidate:
        assert course is Course.REFRESH
    elif -remaining < if_error:
        assert course is Course.IF_ERROR
    else:
        assert course is Course.COMPUTE


# Early expiry


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("left", [0.5, 2.0, 6.0])
def test_c10_early_computes_are_as_frequent_as_the_oracle_says(beta: float, left: float) -> None:
    clock, rounds, seconds = HandClock(), 4_000, 2.0
    cache = LRUCache(10, ttl=100, clock=clock, random=random.Random(f"{beta} {left}").random)
    early = 0
    for _ in range(rounds):
        cache.clear()
        compute = Counted(clock, seconds)
        cache.get_or_compute("key", compute)
        clock.pass_(100 - left)
        cache.get_or_compute("key", compute, beta=beta)
        early += compute.calls - 1
    expected = math.exp(-left / (beta * seconds))
    deviation = math.sqrt(expected * (1 - expected) / rounds)
    assert abs(early / rounds - expected) < 4 * deviation


@given(st.floats(1e-6, 1e6), st.floats(0, 1e3), st.floats(0, 1e3))
def test_c10_the_probability_is_one_and_grows_towards_expiry(
    left: float, seconds: float, beta: float
) -> None:
    chance = early_probability(left, seconds, beta)
    assert 0 <= chance <= 1
    assert chance <= early_probability(left / 2, seconds, beta)


def expiring(clock: HandClock, draws: float) -> tuple[LRUCache, Counted]:
    cache = LRUCache(10, ttl=10, clock=clock, random=lambda: draws)
    compute = Counted(clock, 2.0)
    cache.get_or_compute("key", compute, stale_while_revalidate=1)
    clock.pass_(9)
    return cache, compute


def test_an_early_compute_that_fails_serves_the_fresh_value(clock: HandClock) -> None:
    cache, compute = expiring(clock, draws=0.0)
    compute.error = OSError("down")
    assert cache.get_or_compute("key", compute, beta=1) == 1
    assert compute.calls == 2


def test_an_early_compute_goes_to_the_background_where_that_is_allowed(clock: HandClock) -> None:
    cache, compute = expiring(clock, draws=0.0)
    with cache:
        assert cache.get_or_compute("key", compute, beta=1, stale_while_revalidate=1) == 1
        refreshed(cache)
    assert cache.get("key") == 2


def test_while_one_computes_early_others_get_the_fresh_value(clock: HandClock) -> None:
    cache, _ = expiring(clock, draws=0.0)
    slow = Compute("new")
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(cache.get_or_compute, "key", slow, beta=1)
        assert slow.began.wait(60)
        assert cache.get_or_compute("key", slow, beta=1) == 1
        slow.may_end.set()
        assert early.result(60) == "new"
    assert slow.calls == 1


def test_without_beta_nothing_is_early(clock: HandClock) -> None:
    cache, compute = expiring(clock, draws=0.0)
    assert cache.get_or_compute("key", compute) == 1


# Invalidation


def invalidate(cache: LRUCache, how: str) -> object:
    ways: dict[str, Any] = {
        "key": lambda: cache.invalidate("key"),
        "pattern": lambda: cache.invalidate(pattern="k*"),
        "tag": lambda: cache.invalidate(tag="a"),
        "delete": lambda: cache.delete("key"),
        "pop": lambda: cache.pop("key"),
        "clear": cache.clear,
    }
    return ways[how]()


WAYS = ["key", "pattern", "tag", "delete", "pop", "clear"]


@pytest.mark.parametrize("how", WAYS)
def test_c9_what_is_invalidated_is_computed_anew(cache: LRUCache, how: str) -> None:
    compute = Counted()
    cache.get_or_compute("key", compute, tags=("a", "b"))
    cache.get_or_compute("other", compute, tags=("b",))
    invalidate(cache, how)
    assert cache.get_or_compute("key", compute) == 3
    assert ("other" in cache) == (how != "clear")


@pytest.mark.parametrize("how", WAYS)
def test_c9_what_is_invalidated_while_it_is_computed_is_not_kept(cache: LRUCache, how: str) -> None:
    slow, newer = Compute("from old data"), Counted()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get_or_compute, "key", slow, tags=("a",))
        assert slow.began.wait(60)
        invalidate(cache, how)
        assert cache.get_or_compute("key", newer) == 1
        slow.may_end.set()
        assert waiting.result(60) == "from old data"
    assert cache.get("key") == 1


def test_c9_another_tag_or_pattern_leaves_a_compute_alone(cache: LRUCache) -> None:
    slow = Compute()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get_or_compute, "key", slow, tags=("a",))
        assert slow.began.wait(60)
        cache.invalidate(tag="b")
        cache.invalidate(pattern="x*")
        cache.invalidate("other")
        assert "key" in cache._flights
        slow.may_end.set()
        waiting.result(60)
    assert cache.get("key") == 7


def test_invalidate_tells_how_many_were_held(cache: LRUCache) -> None:
    for number in range(6):
        cache.set(f"user:{number}", number, tags=("even",) if number % 2 == 0 else ())
    assert cache.invalidate(tag="even") == 3
    assert cache.invalidate("user:1") == 1
    assert cache.invalidate("user:1") == 0
    assert cache.invalidate(pattern="user:[0-9]") == 2


def test_invalidate_takes_exactly_one(cache: LRUCache) -> None:
    with pytest.raises(TypeError, match="one of key, pattern and tag"):
        cache.invalidate()
    with pytest.raises(TypeError, match="one of key, pattern and tag"):
        cache.invalidate("key", tag="a")
    assert cache.invalidate(None) == 0  # a key as any other


# Parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ttl", 0),
        ("ttl", -1.0),
        ("ttl", math.nan),
        ("stale_while_revalidate", -1),
        ("stale_if_error", -0.5),
        ("beta", -1),
        ("error_ttl", 0),
        pytest.param("ttl", HUGE, id="a huge ttl"),
        pytest.param("beta", HUGE, id="a huge beta"),
    ],
)
def test_c3_a_value_out_of_range_is_named_before_anything_is_computed(
    cache: LRUCache, name: str, value: float
) -> None:
    compute = Counted()
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} .*{'fit a float' if value == HUGE else value}"):
        cache.get_or_compute("key", compute, **options)
    assert compute.calls == 0


@pytest.mark.parametrize(
    ("name", "value"), [("ttl", "60"), ("tags", "a"), ("tags", (1,)), ("beta", True)]
)
def test_c3_a_value_of_another_type_is_refused_before_anything_is_computed(
    cache: LRUCache, name: str, value: object
) -> None:
    compute = Counted()
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError):
        cache.get_or_compute("key", compute, **options)
    assert compute.calls == 0


@pytest.mark.parametrize("cache_errors", [False, True])
def test_a_coroutine_is_never_kept(cache: LRUCache, cache_errors: bool) -> None:
    compute = AsyncCompute()
    for _ in range(3):
        with pytest.raises(TypeError, match="makes a coroutine: call aget_or_compute"):
            _ = cache.get_or_compute("key", compute, cache_errors=cache_errors)
    assert "key" not in cache
    assert cache.stats().errors == (1 if cache_errors else 3)


# The background


def test_close_waits_for_the_refresh_and_takes_no_more(clock: HandClock) -> None:
    cache = LRUCache(10, ttl=10, clock=clock)
    slow = Compute("new")
    cache.set("key", "old", stale=50)
    clock.pass_(11)
    assert cache.get_or_compute("key", slow, stale_while_revalidate=50) == "old"
    assert slow.began.wait(60)
    slow.may_end.set()
    cache.close()
    assert cache.get("key") == "new"
    clock.pass_(11)
    cache.set("key", "old", ttl=1, stale=50)
    clock.pass_(2)
    assert cache.get_or_compute("key", slow, stale_while_revalidate=50) == "old"
    assert slow.calls == 1
    assert not [one for one in threading.enumerate() if one.name.startswith("sentinel-refresh")]


async def test_close_cancels_tasks(clock: HandClock) -> None:
    cache = LRUCache(10, ttl=10, clock=clock)
    slow = AsyncCompute("new")
    cache.set("key", "old", stale=50)
    clock.pass_(11)
    assert await cache.aget_or_compute("key", slow, stale_while_revalidate=50) == "old"
    await slow.began.wait()
    cache.close()
    await until(lambda: not cache._background._jobs)
    slow.may_end.set()


def test_a_refresh_left_in_a_closed_loop_is_not_waited_for(
    cache: LRUCache, clock: HandClock
) -> None:
    async def leave() -> object:
        return await cache.aget_or_compute("key", AsyncCompute(), stale_while_revalidate=50)

    cache.set("key", "old", stale=50)
    clock.pass_(11)
    assert asyncio.run(leave()) == "old"
    assert cache.get_or_compute("key", lambda: "new", stale_while_revalidate=50) == "old"
    refreshed(cache)
    assert cache.get("key") == "new"


def test_a_refresh_runs_in_the_context_of_who_asked(cache: LRUCache, clock: HandClock) -> None:
    import contextvars

    tenant = contextvars.ContextVar("tenant", default="nobody")
    tenant.set("ann")
    cache.set("key", "old", stale=50)
    clock.pass_(11)
    cache.get_or_compute("key", tenant.get, stale_while_revalidate=50)
    refreshed(cache)
    assert cache.get("key") == "ann"


@pytest.mark.parametrize("threads", [0, 1])
def test_a_refresh_that_gets_no_thread_is_left_out(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    cache, slow = LRUCache(10, ttl=10, clock=clock), Compute("slow")
    compute: Any = Counted()
    for key in ("slow", "key"):
        cache.set(key, "old", stale=50)
    clock.pass_(11)
    if threads:
        cache.get_or_compute("slow", slow, stale_while_revalidate=50)
        assert slow.began.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(3):
            assert cache.get_or_compute("key", compute, stale_while_revalidate=50) == "old"
    slow.may_end.set()
    refreshed(cache)
    assert compute.calls == 0
    cache.get_or_compute("key", lambda: "new", stale_while_revalidate=50)
    refreshed(cache)
    assert cache.get("key") == "new"
    cache.close()


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_refreshes_left_in_closed_loops_make_room(
    cache: LRUCache, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_MAX_JOBS", 2)
    loop = asyncio.new_event_loop()
    for key in range(3):
        cache.set(key, "old", stale=50)
    clock.pass_(11)

    async def leave(key: int) -> None:
        slow = AsyncCompute()
        await cache.aget_or_compute(key, slow, stale_while_revalidate=50)
        await slow.began.wait()

    for key in range(2):
        loop.run_until_complete(leave(key))
    left = asyncio.all_tasks(loop)
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    cache.get_or_compute(2, lambda: "new", stale_while_revalidate=50)
    refreshed(cache)
    assert cache.get(2) == "new"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_computes_and_refreshes_anew(clock: HandClock) -> None:
    cache, slow = LRUCache(10, ttl=10, clock=clock), Compute("slow")
    cache.set("old", "old", stale=50)
    clock.pass_(11)
    cache.get_or_compute("old", slow, stale_while_revalidate=50)
    assert slow.began.wait(60)
    computing = threading.Thread(target=cache.get_or_compute, args=("key", slow))
    computing.start()
    block_until(lambda: slow.calls == 2)

    def in_child() -> bool:
        assert cache.get_or_compute("key", lambda: "child") == "child"
        cache.get_or_compute("old", lambda: "new", stale_while_revalidate=50)
        refreshed(cache)
        return cache.get("old") == "new" and cache.stats().computes == 2

    assert of_child(in_child)
    slow.may_end.set()
    computing.join(60)
    refreshed(cache)
    assert (cache.get("key"), cache.get("old")) == ("slow", "slow")
    cache.close()


def of_child(what: Callable[[], bool]) -> bool:
    """What it is in a forked child, which is killed if it hangs."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os._exit(0 if what() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


# Any mix, against the rule that a value is never of another key and never older than allowed


@settings(max_examples=20, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.booleans(),
            st.sampled_from(["thread", "task", "cancelled", "invalidate"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_under_any_mix_nobody_hangs_and_each_gets_what_is_his(
    plan: list[tuple[str, bool, str]],
) -> None:
    with LRUCache(100, ttl=10) as cache:

        async def ask(key: str, fails: bool, how: str) -> object:
            def compute() -> str:
                if fails:
                    raise KeyError(key)
                return key

            async def acompute() -> str:
                await asyncio.sleep(0)
                return compute()

            try:
                if how == "invalidate":
                    cache.invalidate(key)
                    return key
                if how == "thread":
                    return await asyncio.to_thread(cache.get_or_compute, key, compute)
                if how == "cancelled":
                    asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
                return await cache.aget_or_compute(key, acompute)
            except KeyError as error:
                return error.args[0]
            except asyncio.CancelledError:
                return key

        async def main() -> None:
            async with asyncio.timeout(60):
                asked = await asyncio.gather(*(ask(*one) for one in plan))
            assert asked == [key for key, _, _ in plan]
            await until(lambda: len(cache._flights) == 0)

        asyncio.run(main())
        assert len(cache._computing) == 0
