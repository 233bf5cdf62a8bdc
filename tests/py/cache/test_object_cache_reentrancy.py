"""Python code that calls the cache back, cycles, references and threads."""

from __future__ import annotations

import gc
import random
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from sentinel._core import ObjectCache


class Key:
    """A key of a chosen hash that does something whenever it is compared."""

    def __init__(self, name: object, action: Callable[[], object] | None = None) -> None:
        self.name = name
        self.action = action

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self.action is not None:
            self.action()
        return isinstance(other, Key) and self.name == other.name


class Farewell:
    """A value that does something when it is dropped."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
@pytest.mark.parametrize("mutation", ["clear", "delete", "set", "grow"])
def test_an_eq_that_changes_the_cache_does_not_break_it(policy: str, mutation: str) -> None:
    cache = ObjectCache(50, policy=policy)
    left = [3]

    def mutate() -> None:
        if left[0] == 0:
            return
        left[0] -= 1
        if mutation == "clear":
            cache.clear()
        elif mutation == "delete":
            cache.delete("plain")
        elif mutation == "set":
            cache.set("plain", left[0])
        else:
            for number in range(200):
                cache.set(number, number)

    cache.set("plain", 0)
    for name in range(5):
        cache.set(Key(name, mutate), name)
    for name in range(5):
        assert cache.get(Key(name)) in (None, name)
    left[0] = 3
    cache.set(Key(3), "new")
    assert cache.get(Key(3)) == "new"
    assert len(cache.keys()) == len(cache)


def test_a_first_deadline_given_while_keys_are_compared_is_by_the_caches_own_clock() -> None:
    cache = ObjectCache(5, clock=lambda: 1.0)
    held = Key("a", lambda: cache.set(held, "timed", ttl=5))
    cache.set(held, "endless")
    assert cache.get(Key("a")) == "timed"
    assert cache.lookup(Key("a")) == ("timed", 5.0, 0.0)


def test_an_eq_that_always_changes_the_cache_ends_in_an_error() -> None:
    cache = ObjectCache(1000)
    fresh = iter(range(10**9))
    cache.set(Key("a", lambda: cache.set(next(fresh), 0)), 1)
    with pytest.raises(RuntimeError, match="changes"):
        cache.get(Key("b"))


def test_an_error_of_eq_or_hash_is_the_callers() -> None:
    def fail() -> None:
        raise LookupError("eq")

    cache = ObjectCache(5)
    cache.set(Key("a", fail), 1)
    for call in (cache.get, cache.peek, cache.lookup, cache.delete, cache.pop):
        with pytest.raises(LookupError):
            call(Key("b"))
    with pytest.raises(LookupError):
        cache.set(Key("b"), 1)
    assert len(cache) == 1


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_a_finaliser_may_use_the_cache_it_left(policy: str) -> None:
    cache = ObjectCache(8, policy=policy)
    seen: list[int] = []

    def leave(number: int) -> None:
        cache.set(("left", number % 3), number)
        cache.get(number)
        cache.delete(number - 1)
        seen.append(len(cache))

    for number in range(200):
        cache.set(number, Farewell(lambda number=number: leave(number)))  # type: ignore[misc]
    cache.delete(199)
    cache.invalidate_pattern("*")
    cache.clear()
    assert seen
    assert len(cache) <= 8
    assert len(cache.keys()) == len(cache)


def test_weigh_and_clock_may_use_the_cache() -> None:
    def weigh(key: object, value: object) -> int:
        if key != "inner":
            cache.set("inner", 1)
        return 10

    def clock() -> float:
        cache.peek("never")
        return 5.0

    cache = ObjectCache(max_bytes=100, weigh=weigh)
    for number in range(50):
        cache.set(number, number)
    assert cache.get(49) == 49
    timed = ObjectCache(5, clock=lambda: 5.0)
    timed.set("key", 1, ttl=1)
    assert timed.get("key") == 1


def test_a_cache_in_its_own_value_is_collected() -> None:
    class Cache(ObjectCache):
        pass

    cache = Cache(5, clock=lambda: 1.0)
    cache.set("self", [cache])
    cache.set(Key(cache), 1)
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None


def test_a_plain_cache_takes_weak_references() -> None:
    cache = ObjectCache(5)
    gone = weakref.ref(cache)
    assert gone() is cache
    del cache
    assert gone() is None


class Thing:
    pass


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_every_reference_taken_is_given_back(policy: str) -> None:
    key, value = Thing(), Thing()
    base = sys.getrefcount(key), sys.getrefcount(value)
    now = [0.0]
    cache = ObjectCache(3, policy=policy, clock=lambda: now[0])

    def held() -> tuple[int, int]:
        return sys.getrefcount(key) - base[0], sys.getrefcount(value) - base[1]

    cache.set(key, value, tags=["t"], ttl=1, stale=1)
    assert held() == (1, 1)
    cache.set(key, value, tags=["t"], ttl=1)
    cache.get(key)
    cache.peek(key)
    cache.lookup(key)
    cache.keys()
    cache.items()
    assert held() == (1, 1)
    cache.delete(key)
    assert held() == (0, 0)
    cache.set(key, value)
    cache.pop(key)
    assert held() == (0, 0)
    cache.set(key, value, tags=["t"])
    cache.invalidate_tag("t")
    assert held() == (0, 0)
    cache.set(key, value, ttl=1)
    now[0] += 2
    cache.expire()
    assert held() == (0, 0)
    for number in range(20):
        cache.set(number, number)
    cache.set(key, value)
    cache.clear()
    assert held() == (0, 0)
    cache.set(key, value)
    del cache
    assert held() == (0, 0)


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_a_full_cache_in_use_takes_no_more_memory(policy: str) -> None:
    cache = ObjectCache(200, policy=policy)

    def use() -> None:
        draw = random.Random(3)
        for _ in range(4000):
            key = f"key-{draw.randrange(600)}"
            if cache.get(key) is None:
                cache.set(key, [key], ttl=1000, tags=[key])
            cache.delete(f"key-{draw.randrange(600)}")

    use()
    gc.collect()
    tracemalloc.start()
    use()
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    use()
    gc.collect()
    second = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert second - first < 20_000


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_a_get_while_eight_threads_write_is_never_torn(policy: str) -> None:
    cache = ObjectCache(64, policy=policy)
    torn: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def write(seed: int) -> None:
        draw = random.Random(seed)
        for number in range(2000):
            key = draw.randrange(128)
            cache.set(key, (key, seed, number, key), ttl=60, tags=[str(key % 5)])
            if number % 50 == 0:
                cache.invalidate_tag(str(draw.randrange(5)))
            found = cache.get(draw.randrange(128))
            if found is not None and (found[0] != found[3] or len(found) != 4):
                torn.append(found)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert torn == []
    assert len(cache) <= 64
    assert all(key == value[0] for key, value in cache.items())
