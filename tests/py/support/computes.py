"""Computes whose begin and end a test decides, and a clock that it moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["AsyncCompute", "Compute", "HandClock", "block_until", "settle", "until", "waiters"]


class HandClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Compute:
    """A compute of threads that ends when told to; gives `outcome`, or raises it."""

    def __init__(self, outcome: object = 7) -> None:
        self.outcome = outcome
        self.calls = 0
        self.began = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> object:
        self.calls += 1
        self.began.set()
        assert self.may_end.wait(60)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class AsyncCompute:
    """A compute of tasks that ends when told to; gives `outcome`, or raises it."""

    def __init__(self, outcome: object = 7) -> None:
        self.outcome = outcome
        self.calls = 0
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> object:
        self.calls += 1
        self.began.set()
        await self.may_end.wait()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def waiters(flights: object, key: object) -> int:
    """How many wait for `key`, beside the thread that computes it."""
    table = flights._flights  # type: ignore[attr-defined]
    return len(table[key]._waiters) if key in table else 0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


def block_until(true: Callable[[], bool]) -> None:
    tick = threading.Event()
    while not true():
        tick.wait(0.0005)


async def settle(*tasks: asyncio.Task[object]) -> list[object]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*tasks, return_exceptions=True)
