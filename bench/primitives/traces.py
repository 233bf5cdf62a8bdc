"""Ten seeded traces of keys: five kinds of traffic, each for 2,000 and for 20,000 entries.

A trace is an array of whole numbers, its length and population in proportion to the cache that it
is for, so that both sizes see the same kind of pressure.

- ``zipf .99`` and ``zipf .8``: independent draws, the r-th key with a probability of r ** -s.
- ``scan``: zipf .99, and in each 50 accesses per 10 entries a pass over keys that never come again.
- ``loop``: one and a half cachefuls, over and over: the worst case of LRU.
- ``drift``: zipf .99 over ranks whose keys move on, one rank each few accesses: who was popular is
  not for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CAPACITIES", "KINDS", "Trace", "traces"]

Keys: TypeAlias = npt.NDArray[np.int64]

CAPACITIES = (2_000, 20_000)
KINDS = ("zipf .99", "zipf .8", "scan", "loop", "drift")
_POPULATION_PER_ENTRY = 10
_FIRST_SCANNED = 1 << 40


@dataclass(frozen=True, slots=True)
class Trace:
    """The accesses of one kind of traffic for a cache of ``capacity`` entries."""

    kind: str
    capacity: int
    keys: Keys


def traces(*, accesses_per_entry: int = 40, seed: int = 20_26) -> list[Trace]:
    """All ten, each ``accesses_per_entry`` times its capacity long; the same for the same seed."""
    return [
        Trace(kind, capacity, _keys(kind, capacity, accesses_per_entry * capacity, seed))
        for capacity in CAPACITIES
        for kind in KINDS
    ]


def _keys(kind: str, capacity: int, length: int, seed: int) -> Keys:
    draw = np.random.default_rng([seed, capacity, KINDS.index(kind)])
    if kind == "loop":
        return np.arange(length, dtype=np.int64) % (capacity + capacity // 2)
    if kind == "zipf .8":
        return _scattered(_zipf(draw, capacity, length, 0.8), draw, capacity)
    ranks = _zipf(draw, capacity, length, 0.99)
    if kind == "drift":
        return ranks + np.arange(length, dtype=np.int64) // 4
    keys = _scattered(ranks, draw, capacity)
    return _with_scans(keys, capacity) if kind == "scan" else keys


def _zipf(draw: np.random.Generator, capacity: int, length: int, exponent: float) -> Keys:
    population = capacity * _POPULATION_PER_ENTRY
    weights = np.arange(1, population + 1, dtype=np.float64) ** -exponent
    shares = np.cumsum(weights)
    ranks: Keys = np.searchsorted(shares, draw.random(length) * shares[-1]).astype(np.int64)
    return ranks


def _scattered(ranks: Keys, draw: np.random.Generator, capacity: int) -> Keys:
    names: Keys = draw.permutation(capacity * _POPULATION_PER_ENTRY)
    return names[ranks]


def _with_scans(keys: Keys, capacity: int) -> Keys:
    """Every five cachefuls of accesses, one cacheful of keys of which each comes once."""
    mixed = keys.copy()
    scanned = _FIRST_SCANNED
    for start in range(4 * capacity, len(keys), 5 * capacity):
        end = min(start + capacity, len(keys))
        mixed[start:end] = np.arange(scanned, scanned + end - start)
        scanned += end - start
    return mixed
