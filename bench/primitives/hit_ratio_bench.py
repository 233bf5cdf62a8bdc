"""Hit ratios on ten traces, beside LRU, W-TinyLFU and the peers that claim one of them.

LRU is an OrderedDict; W-TinyLFU is its paper in plain Python (Einziger, Friedman, Manes 2017): a
window of a hundredth, a segmented main part, exact counts that are halved each ten cachefuls. The
bar: in every cell within half a point of the better of the two.

Nanoseconds are those of an access from Python, a get and a set after each miss, without the loop
around it, which is measured with an empty body and taken off. A trace is the same work each time it
is run, so of each thousand accesses the fastest run counts: what others do on a shared machine
falls out. Beside it what `hash(key)` costs in the same loop: the least that any cache of Python
objects pays.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

import moka_py
import theine
from traces import Trace, traces

from sentinel._core import ObjectCache

POINTS_ALLOWED = 0.5
NANOSECONDS_ALLOWED = 60
PEERS_UP_TO = 2_000
CHUNK = 1_000
ACCESSES_TIMED = 2_400_000
LEAST_RUNS = 4

Hits = Callable[[Sequence[int], int], int]


def lru(keys: Sequence[int], capacity: int) -> int:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in keys:
        if key in held:
            held.move_to_end(key)
            hits += 1
            continue
        held[key] = None
        if len(held) > capacity:
            held.popitem(last=False)
    return hits


class WTinyLfu:
    """W-TinyLFU as its paper has it, with counts instead of a sketch."""

    def __init__(self, capacity: int) -> None:
        self.window_size = max(1, capacity // 100)
        self.main_size = max(1, capacity - self.window_size)
        self.protected_size = self.main_size * 4 // 5
        self.window: OrderedDict[int, None] = OrderedDict()
        self.probation: OrderedDict[int, None] = OrderedDict()
        self.protected: OrderedDict[int, None] = OrderedDict()
        self.uses: Counter[int] = Counter()
        self.period = 10 * capacity
        self.accesses = 0

    def access(self, key: int) -> bool:
        self._count(key)
        if key in self.window:
            self.window.move_to_end(key)
            return True
        if key in self.protected:
            self.protected.move_to_end(key)
            return True
        if key in self.probation:
            self._promote(key)
            return True
        self.window[key] = None
        if len(self.window) > self.window_size:
            self._admit(self.window.popitem(last=False)[0])
        return False

    def _count(self, key: int) -> None:
        self.uses[key] += 1
        self.accesses += 1
        if self.accesses == self.period:
            self.accesses //= 2
            self.uses = Counter({key: uses // 2 for key, uses in self.uses.items() if uses > 1})

    def _promote(self, key: int) -> None:
        del self.probation[key]
        self.protected[key] = None
        if len(self.protected) > self.protected_size:
            self.probation[self.protected.popitem(last=False)[0]] = None

    def _admit(self, candidate: int) -> None:
        if len(self.probation) + len(self.protected) < self.main_size:
            self.probation[candidate] = None
            return
        segment = self.probation or self.protected
        victim = next(iter(segment))
        if self.uses[candidate] > self.uses[victim]:
            del segment[victim]
            self.probation[candidate] = None


def w_tiny_lfu(keys: Sequence[int], capacity: int) -> int:
    cache = WTinyLfu(capacity)
    return sum(map(cache.access, keys))


def by_theine(keys: Sequence[int], capacity: int) -> int:
    cache: theine.Cache[int, int] = theine.Cache(capacity)
    hits = 0
    for key in keys:
        if cache.get(key)[1]:
            hits += 1
        else:
            cache.set(key, key)
    return hits


def by_moka(keys: Sequence[int], capacity: int) -> int:
    cache: moka_py.Moka[int, int] = moka_py.Moka(capacity)
    hits = 0
    for key in keys:
        if cache.get(key) is not None:
            hits += 1
        else:
            cache.set(key, key)
    return hits


def ours(chunks: Sequence[Sequence[int]], capacity: int, policy: str) -> tuple[int, list[int]]:
    """Hits, and the nanoseconds of each chunk."""
    cache = ObjectCache(capacity, policy=policy)
    get, put, clock = cache.get, cache.set, time.perf_counter_ns
    spent = []
    for chunk in chunks:
        start = clock()
        for key in chunk:
            if get(key) is None:
                put(key, key)
        spent.append(clock() - start)
    return cache.counters()["hits"], spent


def empty_loop(chunks: Sequence[Sequence[int]]) -> list[int]:
    clock = time.perf_counter_ns
    spent = []
    for chunk in chunks:
        start = clock()
        for _key in chunk:
            pass
        spent.append(clock() - start)
    return spent


def hash_loop(chunks: Sequence[Sequence[int]]) -> list[int]:
    hash_of, clock = hash, time.perf_counter_ns
    spent = []
    for chunk in chunks:
        start = clock()
        for key in chunk:
            hash_of(key)
        spent.append(clock() - start)
    return spent


def net_nanoseconds(keys: Sequence[int], capacity: int) -> tuple[float, float, float]:
    """What an access costs by the adaptive policy and by LRU, and what a hash costs."""
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    ways: list[Callable[[], list[int]]] = [
        lambda: empty_loop(chunks),
        lambda: ours(chunks, capacity, "adaptive")[1],
        lambda: ours(chunks, capacity, "lru")[1],
        lambda: hash_loop(chunks),
    ]
    fastest = [way() for way in ways]
    for _ in range(max(LEAST_RUNS, ACCESSES_TIMED // len(keys)) - 1):
        for place, way in enumerate(ways):
            fastest[place] = list(map(min, fastest[place], way()))
    loop, adaptive, recency, hashed = (sum(spent) / len(keys) for spent in fastest)
    return adaptive - loop, recency - loop, hashed - loop


def compare(trace: Trace) -> bool:
    """Prints one row; whether it keeps the bar of hits."""
    one_of_each: dict[int, int] = {}
    keys = [one_of_each.setdefault(key, key) for key in trace.keys.tolist()]

    def points(hits: int) -> float:
        return 100 * hits / len(keys)

    own = points(ours([keys], trace.capacity, "adaptive")[0])
    models = points(lru(keys, trace.capacity)), points(w_tiny_lfu(keys, trace.capacity))
    peers = "         -         -"
    if trace.capacity <= PEERS_UP_TO:
        theirs = by_theine(keys, trace.capacity), by_moka(keys, trace.capacity)
        peers = f"{points(theirs[0]):10.2f}{points(theirs[1]):10.2f}"
    behind = max(models) - own
    near = behind <= POINTS_ALLOWED
    adaptive, recency, hashed = net_nanoseconds(keys, trace.capacity)
    sys.stdout.write(
        f"{trace.kind:<10}{trace.capacity:>8,}{own:10.2f}{models[0]:10.2f}{models[1]:10.2f}{peers}"
        f"{-behind:+10.2f} {'met' if near else 'NOT MET':<8}{adaptive:6.0f} ns "
        f"{'met' if adaptive <= NANOSECONDS_ALLOWED else 'NOT MET':<8}{recency:6.0f} ns "
        f"{'met' if recency <= NANOSECONDS_ALLOWED else 'NOT MET':<8}{hashed:6.0f} ns\n"
    )
    sys.stdout.flush()
    return near


def main() -> None:
    sys.stdout.write(
        "hit ratio in points; bars: at most 0.5 behind the better of LRU and W-TinyLFU, and "
        f"{NANOSECONDS_ALLOWED} ns an access\n"
        f"{'trace':<10}{'entries':>8}{'sentinel':>10}{'LRU':>10}{'W-TinyLFU':>10}{'theine':>10}"
        f"{'moka-py':>10}{'to best':>10}{'':9}{'adaptive':<17}{'lru':<17}hash(key)\n"
    )
    gc.disable()
    kept = [compare(trace) for trace in traces()]
    sys.stdout.write(f"{sum(kept)} of {len(kept)} cells within {POINTS_ALLOWED} points\n")


if __name__ == "__main__":
    main()
