"""ObjectCache against slow plain models, and its hit ratios against LRU and W-TinyLFU."""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sentinel._core import ObjectCache

KEYS = st.one_of(st.integers(0, 12), st.sampled_from(["a", "b", "ü", "雪", "long" * 9]))
TAGS = st.lists(st.sampled_from(["red", "blue", "green"]), max_size=2)


class Held:
    """One entry of the model."""

    def __init__(self, value: int, weight: int, fresh: float, gone: float, tags: list[str]) -> None:
        self.value = value
        self.weight = weight
        self.fresh = fresh
        self.gone = gone
        self.tags = tags


class LruMachine(RuleBasedStateMachine):
    """LRU with ttl, stale windows, weights and tags, as an OrderedDict has it: newest last."""

    @initialize(entries=st.integers(1, 6), weight=st.integers(5, 40))
    def begin(self, entries: int, weight: int) -> None:
        self.now = 1000.0
        self.entries = entries
        self.weight = weight
        self.model: OrderedDict[object, Held] = OrderedDict()
        self.cache = ObjectCache(
            entries,
            max_bytes=weight,
            policy="lru",
            weigh=lambda _key, value: value % 10,
            clock=lambda: self.now,
        )

    def sweep(self) -> None:
        """What is gone is gone in both, so that evictions agree."""
        for key in [key for key, held in self.model.items() if held.gone <= self.now]:
            del self.model[key]
        self.cache.expire()

    @rule(
        key=KEYS,
        value=st.integers(0, 99),
        ttl=st.sampled_from([None, 0.5, 3.0, 1e6]),
        stale=st.sampled_from([0.0, 2.0]),
        tags=TAGS,
    )
    def set(
        self, key: object, value: int, ttl: float | None, stale: float, tags: list[str]
    ) -> None:
        self.sweep()
        weight = value % 10
        self.model.pop(key, None)
        stored = self.cache.set(key, value, ttl=ttl, stale=stale, tags=tags)
        assert stored == (weight <= self.weight)
        if not stored:
            return
        fresh = float("inf") if ttl is None else self.now + ttl
        self.model[key] = Held(value, weight, fresh, fresh + stale, tags)
        while (
            len(self.model) > self.entries
            or sum(h.weight for h in self.model.values()) > self.weight
        ):
            self.model.popitem(last=False)

    @rule(key=KEYS)
    def get(self, key: object) -> None:
        held = self.model.get(key)
        fresh = held is not None and self.now < held.fresh
        assert self.cache.get(key, "miss") == (held.value if held is not None and fresh else "miss")
        if fresh:
            self.model.move_to_end(key)

    @rule(key=KEYS)
    def peek(self, key: object) -> None:
        held = self.model.get(key)
        expected = held.value if held is not None and self.now < held.fresh else "miss"
        assert self.cache.peek(key, "miss") == expected
        assert (key in self.cache) == (expected != "miss")

    @rule(key=KEYS)
    def lookup(self, key: object) -> None:
        held = self.model.get(key)
        found = self.cache.lookup(key)
        if held is None or held.gone <= self.now:
            assert found is None
            return
        assert found is not None
        assert found[0] == held.value
        assert found[1] == pytest.approx(held.fresh - self.now)
        self.model.move_to_end(key)

    @rule(key=KEYS)
    def delete(self, key: object) -> None:
        held = self.model.pop(key, None)
        assert self.cache.delete(key) == (held is not None and self.now < held.gone)

    @rule(tag=st.sampled_from(["red", "blue", "green", "none"]))
    def invalidate_tag(self, tag: str) -> None:
        self.sweep()
        tagged = [key for key, held in self.model.items() if tag in held.tags]
        for key in tagged:
            del self.model[key]
        assert self.cache.invalidate_tag(tag) == len(tagged)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0, 100.0, 1e6]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def same_order(self) -> None:
        if not hasattr(self, "model"):
            return
        fresh = [key for key, held in reversed(self.model.items()) if self.now < held.fresh]
        assert self.cache.keys() == fresh


TestLruIsAnOrderedDict = LruMachine.TestCase


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "get", "delete"]), st.integers(0, 40)), max_size=300
    ),
    st.integers(1, 20),
)
def test_the_adaptive_policy_gives_only_what_was_set_last(
    steps: list[tuple[str, int]], size: int
) -> None:
    cache = ObjectCache(size)
    latest: dict[int, int] = {}
    for number, (step, key) in enumerate(steps):
        if step == "set":
            cache.set(key, number)
            latest[key] = number
            assert cache.get(key) == number
        elif step == "get":
            assert cache.get(key) in (None, latest.get(key))
        else:
            cache.delete(key)
            latest.pop(key, None)
            assert cache.get(key) is None
        assert len(cache) <= size
        assert len(cache.keys()) == len(cache)


def hits_of_lru(trace: Iterable[int], size: int) -> int:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in held:
            held.move_to_end(key)
            hits += 1
            continue
        held[key] = None
        if len(held) > size:
            held.popitem(last=False)
    return hits


def hits_of(cache: ObjectCache, trace: Iterable[int]) -> int:
    for key in trace:
        if cache.get(key) is None:
            cache.set(key, key)
    return cache.counters()["hits"]


def zipf(length: int, population: int, exponent: float) -> list[int]:
    weights = itertools.accumulate(rank**-exponent for rank in range(1, population + 1))
    return random.Random(7).choices(range(population), cum_weights=list(weights), k=length)


def test_policy_lru_hits_as_often_as_lru() -> None:
    trace = zipf(20_000, 2_000, 0.8)
    assert hits_of(ObjectCache(200, policy="lru"), trace) == hits_of_lru(trace, 200)


def test_adaptive_beats_lru_where_popularity_lasts() -> None:
    trace = zipf(60_000, 10_000, 0.9)
    assert hits_of(ObjectCache(1000), trace) > hits_of_lru(trace, 1000) + 0.02 * len(trace)


def test_adaptive_keeps_most_of_a_loop_that_lru_loses() -> None:
    trace = [number % 1500 for number in range(45_000)]
    assert hits_of_lru(trace, 1000) == 0
    assert hits_of(ObjectCache(1000), trace) > 0.5 * len(trace)


def test_adaptive_gives_way_to_recency_where_popularity_drifts() -> None:
    trace = [rank + place // 4 for place, rank in enumerate(zipf(60_000, 10_000, 0.99))]
    best = hits_of_lru(trace, 1000)
    assert hits_of(ObjectCache(1000), trace) > best - 0.01 * len(trace)


def test_adaptive_survives_a_scan() -> None:
    cache = ObjectCache(1000)
    hot = list(range(500))
    for _ in range(8):
        hits_of(cache, hot)
    hits_of(cache, range(10_000, 60_000))
    assert sum(key in cache for key in hot) > 450
