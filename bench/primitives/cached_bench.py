"""`@cached`: a hit beside functools.lru_cache and cachebox, and against a compute of 619 ms.

Ours has a time to live and statistics in every row; functools.lru_cache has no time to live.

    PYTHONPATH=python python bench/primitives/cached_bench.py
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, TypedDict

import cachebox
from interleaved import Bar, measure, report

import sentinel


class Rounds(TypedDict):
    rounds: int
    round_seconds: float


COMPUTE_SECONDS = 0.619
BAR = 1.2
ROUNDS: Rounds = {"rounds": 150, "round_seconds": 0.004}  # short, to fall between other work


def loop(call: Callable[[Any], object], argument: object) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            call(argument)

    return run


def loop_two(call: Callable[[Any, Any], object]) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            call(7, "tea")

    return run


def loop_named(call: Callable[..., object]) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            call(7, article="tea")

    return run


def loop_method(shop: Any) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            shop.price("tea")

    return run


def one(number: object) -> object:
    return number


def two(number: object, article: object = "jam") -> object:
    return number, article


def ways(function: Callable[..., object]) -> dict[str, Callable[..., object]]:
    decorate_with_cachebox: Any = cachebox.cached(cachebox.TTLCache(1_024, 60))
    return {
        "sentinel": sentinel.cached(60)(function),
        "functools.lru_cache": functools.lru_cache(1_024)(function),
        "cachebox.cached": decorate_with_cachebox(function),
    }


class OurShop:
    @sentinel.cached(60)
    def price(self, article: str) -> str:
        return article


class TheirShop:
    @functools.lru_cache(1_024)  # noqa: B019
    def price(self, article: str) -> str:
        return article


def hits() -> None:
    bars = (Bar("functools.lru_cache", BAR),)
    rows: list[tuple[str, Callable[..., object], Callable[..., Callable[[int], None]]]] = [
        ("@cached hit, one str argument", one, lambda call: loop(call, "gpt-4o-mini")),
        ("@cached hit, one int argument", one, lambda call: loop(call, 7)),
        ("@cached hit, two arguments", two, loop_two),
        ("@cached hit, one by name", two, loop_named),
    ]
    for title, function, looped in rows:
        calls = ways(function)
        timed = measure(title, {name: looped(call) for name, call in calls.items()}, **ROUNDS)
        report(timed, bars=bars)
    methods = {
        "sentinel": loop_method(OurShop()),
        "functools.lru_cache": loop_method(TheirShop()),
    }
    report(measure("@cached hit, a method", methods, **ROUNDS), bars=bars)


def awaited_hits() -> None:
    @sentinel.cached(60)
    async def ours(number: int) -> int:
        return number

    async def plain(number: int) -> int:
        return number

    def run(function: Callable[[int], Any]) -> Callable[[int], None]:
        async def repeat(repetitions: int) -> None:
            for _ in range(repetitions):
                await function(7)

        return lambda repetitions: asyncio.run(repeat(repetitions))

    figures = measure(
        "@cached hit, awaited", {"sentinel": run(ours), "a bare coroutine": run(plain)}
    )
    report(figures)


def against_a_compute() -> None:
    """C13: how often faster than the compute that it saves."""

    @sentinel.cached(60)
    def slow(question: str) -> str:
        time.sleep(COMPUTE_SECONDS)
        return question

    began = time.perf_counter()
    slow("why is the sky blue?")
    compute = time.perf_counter() - began
    figures = measure("A compute of 619 ms", {"sentinel": loop(slow, "why is the sky blue?")})
    hit = figures.nanoseconds["sentinel"] / 1e9
    sys.stdout.write(
        f"\n{figures.title}\n  computed once in {compute * 1e3:.0f} ms; a hit: {hit * 1e9:.1f} ns, "
        f"{compute / hit:,.0f} times faster (asked for: 1,013)\n"
    )


if __name__ == "__main__":
    hits()
    awaited_hits()
    against_a_compute()
