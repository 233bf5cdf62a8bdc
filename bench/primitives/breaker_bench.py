"""What a closed circuit breaker adds to a call: `python breaker_bench.py`.

Peers: circuitbreaker and pybreaker, as decorators with their defaults. What counts is the cost
beyond the bare call, so the rows are differences of interleaved fastest rounds.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable

import circuitbreaker
import pybreaker
from interleaved import Figures, Way, measure

from sentinel import CircuitBreaker


def work() -> None:
    pass


async def awork() -> None:
    pass


def calls(function: Callable[[], object]) -> Way:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            function()

    return run


def awaits(function: Callable[[], Awaitable[object]]) -> Way:
    async def loop(repetitions: int) -> None:
        for _ in range(repetitions):
            await function()

    def run(repetitions: int) -> None:
        try:
            loop(repetitions).send(None)
        except StopIteration:
            return

    return run


def tell(figures: Figures, peer: str, factor: float) -> None:
    bare = figures.nanoseconds["bare"]
    sys.stdout.write(f"\n{figures.title} (a bare call: {bare:.1f} ns)\n")
    added = {name: value - bare for name, value in figures.nanoseconds.items() if name != "bare"}
    for name, nanoseconds in added.items():
        ratio = "" if name == "sentinel" else f"   {nanoseconds / added['sentinel']:.1f} x ours"
        sys.stdout.write(f"  {name:<28}+{nanoseconds:9.1f} ns{ratio}\n")
    verdict = "met" if added[peer] / added["sentinel"] >= factor else "NOT MET"
    sys.stdout.write(f"  bar: at least {factor:g} x cheaper than {peer}: {verdict}\n")


def timed(title: str, ways: dict[str, Way]) -> Figures:
    """Many short rounds: on a shared machine some of them are undisturbed."""
    return measure(title, ways, rounds=200, round_seconds=0.003)


def main() -> None:
    slow = CircuitBreaker(slow_call_seconds=60)
    sync: dict[str, Way] = {
        "bare": calls(work),
        "sentinel": calls(CircuitBreaker()(work)),
        "sentinel, timing calls": calls(slow(work)),
        "circuitbreaker": calls(circuitbreaker.CircuitBreaker(name="sync")(work)),
        "pybreaker": calls(pybreaker.CircuitBreaker()(work)),
    }
    tell(timed("breaker, closed, sync: added to a call", sync), "circuitbreaker", 15)
    asynchronous: dict[str, Way] = {
        "bare": awaits(awork),
        "sentinel": awaits(CircuitBreaker()(awork)),
        "sentinel, timing calls": awaits(slow(awork)),
        "circuitbreaker": awaits(circuitbreaker.CircuitBreaker(name="async")(awork)),
    }
    tell(timed("breaker, closed, async: added to an await", asynchronous), "circuitbreaker", 8)
    by_call = functools.partial(CircuitBreaker().call, work)
    sys.stdout.write("\n")
    other: dict[str, Way] = {"bare": calls(work), "sentinel": calls(by_call)}
    figures = timed("breaker.call(function)", other)
    added = figures.nanoseconds["sentinel"] - figures.nanoseconds["bare"]
    sys.stdout.write(f"breaker.call(function) by functools.partial: +{added:.1f} ns\n")


if __name__ == "__main__":
    main()
