"""Times several ways of doing one thing in one process, in turns, and prints them as ratios.

A machine that is shared changes its speed from second to second. So every way gets a short round,
then the next, and over again; what counts is each way's fastest round, and the ratio to the peer
that is measured beside it. Rounds last `round_seconds`; a way that is called too seldom in one for
the clock is called more often. The garbage collector is off while a round runs.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Bar", "Figures", "measure", "report"]

# What is timed: a call with a number, that many repetitions of the thing in a loop of its own.
Way = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Bar:
    """What is promised: ours at most `factor` times the nanoseconds of `peer`."""

    peer: str
    factor: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Nanoseconds of one repetition by way, each way's fastest round."""

    title: str
    nanoseconds: dict[str, float]


def measure(
    title: str, ways: Mapping[str, Way], *, rounds: int = 25, round_seconds: float = 0.02
) -> Figures:
    """Runs every way in turn `rounds` times.

    A way takes a number of repetitions and does its thing that often, so that the loop is its own
    and as cheap as it can be. ValueError without ways.
    """
    if not ways:
        raise ValueError("ways must not be empty")
    repetitions = {name: _calibrate(way, round_seconds) for name, way in ways.items()}
    fastest = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            nanoseconds = _time(way, repetitions[name])
            fastest[name] = min(fastest[name], nanoseconds)
    return Figures(title, fastest)


def report(figures: Figures, *, ours: str = "sentinel", bars: tuple[Bar, ...] = ()) -> None:
    """Prints the ways, fastest first, with ours as a ratio of each, and what was promised."""
    mine = figures.nanoseconds[ours]
    sys.stdout.write(f"\n{figures.title}\n")
    for name, nanoseconds in sorted(figures.nanoseconds.items(), key=lambda item: item[1]):
        ratio = "" if name == ours else f"   sentinel is {mine / nanoseconds:.3f} x of it"
        sys.stdout.write(f"  {name:<28}{_written(nanoseconds)}{ratio}\n")
    for bar in bars:
        ratio_to_peer = mine / figures.nanoseconds[bar.peer]
        verdict = "met" if ratio_to_peer <= bar.factor else "NOT MET"
        sys.stdout.write(f"  bar: at most {bar.factor:.3f} x {bar.peer}: {verdict}\n")
    sys.stdout.flush()


def _calibrate(way: Way, round_seconds: float) -> int:
    repetitions = 1
    while True:
        seconds = _time(way, repetitions) * repetitions / 1e9
        if seconds >= round_seconds / 2:
            return max(1, int(repetitions * round_seconds / seconds))
        repetitions *= 4


def _time(way: Way, repetitions: int) -> float:
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter_ns()
        way(repetitions)
        return (time.perf_counter_ns() - start) / repetitions
    finally:
        if collecting:
            gc.enable()


def _written(nanoseconds: float) -> str:
    if nanoseconds < 10_000:
        return f"{nanoseconds:10.1f} ns"
    if nanoseconds < 10_000_000:
        return f"{nanoseconds / 1e3:10.1f} us"
    return f"{nanoseconds / 1e6:10.1f} ms"
