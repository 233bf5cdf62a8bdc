"""What a rate decision costs: `python limits_bench.py`.

Peers, in memory: limits (each of its strategies; the fastest is the one to beat, though a fixed
window lets twice its limit pass at an edge) and throttled-py (its fastest algorithm). Six limits
are one call of ours, and six calls of theirs, which have no other way.
"""

from __future__ import annotations

from collections.abc import Callable

import limits
import throttled
from interleaved import Bar, Figures, Way, measure, report
from limits import storage, strategies

from sentinel import RateLimiter, TokenBucket

MANY = 10**12  # so many that none is refused
RATES = ("second", "minute", "hour", "day", "month", "year")
OURS = ("s", "min", "hour", "day", "30day", "365day")


def repeat(call: Callable[[], object]) -> Way:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            call()

    return run


def ours(*rules: str) -> Way:
    acquire = RateLimiter(*rules).acquire

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            acquire("user-7")

    return run


def told(*rules: str) -> Way:
    acquire = RateLimiter(*rules).acquire

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            decision = acquire("user-7")
            decision.remaining  # noqa: B018

    return run


def bucket() -> Way:
    try_acquire = TokenBucket(10**9, burst=MANY).try_acquire

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            try_acquire()

    return run


def theirs(strategy: type[strategies.RateLimiter], *periods: str) -> Way:
    hit = strategy(storage.MemoryStorage()).hit
    items = [limits.parse(f"{MANY}/{period}") for period in periods]

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            for item in items:
                hit(item, "user-7")

    return run


def throttled_py() -> dict[str, Way]:
    using = {"fixed": "fixed_window", "gcra": "gcra", "bucket": "token_bucket"}
    ways: dict[str, Way] = {}
    for name, algorithm in using.items():
        throttle = throttled.Throttled(
            key="user-7", using=algorithm, quota=throttled.per_min(10**9, burst=10**9)
        )
        ways[f"throttled-py, {name}"] = repeat(throttle.limit)
    return ways


def timed(title: str, ways: dict[str, Way]) -> Figures:
    """Many short rounds: on a shared machine some of them are undisturbed."""
    return measure(title, ways, rounds=200, round_seconds=0.003)


def main() -> None:
    fixed, window = strategies.FixedWindowRateLimiter, strategies.SlidingWindowCounterRateLimiter
    one: dict[str, Way] = {
        "sentinel": ours(f"{MANY}/min"),
        "sentinel, remaining read": told(f"{MANY}/min"),
        "sentinel.TokenBucket": bucket(),
        "limits, fixed window": theirs(fixed, "minute"),
        "limits, sliding counter": theirs(window, "minute"),
        **throttled_py(),
    }
    report(timed("one rate decision", one), bars=(Bar("limits, fixed window", 1 / 15),))
    six: dict[str, Way] = {
        "sentinel": ours(*(f"{MANY}/{period}" for period in OURS)),
        "limits, fixed window": theirs(fixed, *RATES),
        "limits, sliding counter": theirs(window, *RATES),
    }
    report(timed("six limits at once", six), bars=(Bar("limits, fixed window", 1 / 50),))


if __name__ == "__main__":
    main()
