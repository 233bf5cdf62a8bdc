"""The cache of Python objects beside its peers: get and set, in turns, as nanoseconds a call.

Every cache holds the same keys (str) and is asked in the same order through the same loop. Ours is
asked as users ask it: by the bound method of a class derived in Python. Where its memory happens to
lie makes one and the same cache up to a quarter faster or slower, so there are several of each, and
the fastest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cachebox
import cachetools
import moka_py
import numpy as np
import theine
from interleaved import Bar, Figures, Way, measure, report
from lru import LRU

from sentinel._core import ObjectCache

HOT = 1_000
MANY = 100_000
FRESH_SECONDS = 3600.0
ROUNDS = 100
INSTANCES = 4
ROUND_SECONDS = 0.002

Get = Callable[[str], object]


class DerivedCache(ObjectCache):
    """As the library's classes derive from it."""


def with_own_code(way: Way) -> Way:
    """CPython specialises a call for what it calls: each way has code of its own to specialise."""
    function: Any = way
    function.__code__ = function.__code__.replace()
    return way


def calls(function: Get, keys: list[str]) -> Way:
    """Calls `function` with one key after the other, over and over."""

    def way(repetitions: int) -> None:
        passes, rest = divmod(repetitions, len(keys))
        for _ in range(passes):
            for key in keys:
                function(key)
        for key in keys[:rest]:
            function(key)

    return with_own_code(way)


def sets(function: Callable[[str, str], object], keys: list[str]) -> Way:
    """Calls `function` with a key and a value, one after the other."""

    def way(repetitions: int) -> None:
        passes, rest = divmod(repetitions, len(keys))
        for _ in range(passes):
            for key in keys:
                function(key, key)
        for key in keys[:rest]:
            function(key, key)

    return with_own_code(way)


def fastest_of_several(title: str, make_ways: Callable[[], dict[str, Way]]) -> Figures:
    """Measures `INSTANCES` of each way side by side, and gives the fastest of each."""
    several = [make_ways() for _ in range(INSTANCES)]
    figures = measure(
        title,
        {
            f"{number} {name}": way
            for number, ways in enumerate(several)
            for name, way in ways.items()
        },
        rounds=ROUNDS,
        round_seconds=ROUND_SECONDS,
    ).nanoseconds
    names = several[0]
    return Figures(
        title,
        {name: min(figures[f"{number} {name}"] for number in range(INSTANCES)) for name in names},
    )


def ours(
    capacity: int, keys: Iterable[str], *, policy: str = "adaptive", ttl: float | None = None
) -> DerivedCache:
    cache = DerivedCache(capacity, policy=policy)
    for key in keys:
        cache.set(key, key, ttl=ttl)
    return cache


def filled(cache: dict[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Any mapping, filled."""
    for key in keys:
        cache[key] = key
    return cache


def filled_by_set(cache: object, keys: Iterable[str]) -> Get:
    put = cache.set  # type: ignore[attr-defined]
    for key in keys:
        put(key, key)
    get: Get = cache.get  # type: ignore[attr-defined]
    return get


def hot_rows() -> None:
    keys = [f"key-{number}" for number in range(HOT)]

    def ways() -> dict[str, Way]:
        gets: dict[str, Get] = {
            "sentinel": ours(HOT, keys).get,
            "sentinel lru": ours(HOT, keys, policy="lru").get,
            "dict": filled({}, keys).get,
            "cachebox": filled(cachebox.LRUCache(HOT), keys).get,
            "lru-dict": filled(LRU(HOT), keys).get,
            "cachetools": filled(cachetools.LRUCache(HOT), keys).get,
            "theine": filled_by_set(theine.Cache(HOT), keys),
            "moka-py": filled_by_set(moka_py.Moka(HOT), keys),
        }
        return {name: calls(get, keys) for name, get in gets.items()}

    figures = fastest_of_several("cache get, hot 1k keys", ways)
    report(figures, bars=(Bar("cachebox", 0.62),))
    report(figures, ours="sentinel lru", bars=(Bar("cachebox", 0.62),))


def ttl_rows(title: str, capacity: int, asked: list[str], factor: float) -> None:
    """Asked by keys that are equal to those that are held, not the same."""
    keys = [f"key-{number}" for number in range(capacity)]

    def ways() -> dict[str, Way]:
        gets: dict[str, Get] = {
            "sentinel": ours(capacity, keys, ttl=FRESH_SECONDS).get,
            "sentinel lru": ours(capacity, keys, policy="lru", ttl=FRESH_SECONDS).get,
            "dict": filled({}, keys).get,
            "cachebox TTL": filled(cachebox.TTLCache(capacity, FRESH_SECONDS), keys).get,
            "cachetools TTL": filled(cachetools.TTLCache(capacity, FRESH_SECONDS), keys).get,
        }
        return {name: calls(get, asked) for name, get in gets.items()}

    figures = fastest_of_several(title, ways)
    report(figures, bars=(Bar("cachebox TTL", factor),))
    report(figures, ours="sentinel lru", bars=(Bar("cachebox TTL", factor),))


def zipf_keys(length: int) -> list[str]:
    draw = np.random.default_rng(5)
    shares = np.cumsum(np.arange(1, MANY + 1, dtype=np.float64) ** -0.99)
    ranks = np.searchsorted(shares, draw.random(length) * shares[-1])
    names = draw.permutation(MANY)
    keys = [f"key-{number}" for number in range(MANY)]
    return [keys[name] for name in names[ranks]]


def set_rows(title: str, capacity: int) -> None:
    keys = [f"key-{number}" for number in range(HOT)]

    def ways() -> dict[str, Way]:
        plain: dict[str, str] = {}
        puts: dict[str, Callable[[str, str], object]] = {
            "sentinel": DerivedCache(capacity).set,
            "sentinel lru": DerivedCache(capacity, policy="lru").set,
            "dict": plain.__setitem__,
            "cachebox": cachebox.LRUCache(capacity).insert,
            "lru-dict": LRU(capacity).__setitem__,
            "cachetools": cachetools.LRUCache(capacity).__setitem__,
            "theine": theine.Cache(capacity).set,
            "moka-py": moka_py.Moka(capacity).set,
        }
        return {name: sets(put, keys) for name, put in puts.items()}

    report(fastest_of_several(title, ways))


def main() -> None:
    hot_rows()
    hot = [f"key-{number}" for number in range(HOT)]
    ttl_rows("cache get with per-key TTL, hot 1k keys", HOT, hot, 0.45)
    ttl_rows("cache get with per-key TTL, zipf .99 over 100k keys", MANY, zipf_keys(400_000), 0.8)
    set_rows("cache set of a held key, 1k keys", HOT)
    set_rows("cache set with eviction, 1k keys in turn through 500 places", HOT // 2)


if __name__ == "__main__":
    main()
