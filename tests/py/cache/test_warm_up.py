"""Warming a cache up: order, bounds, failures, and who is told."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from typing import Any, cast

import pytest

from sentinel.cache import LRUCache, WarmUpReport
from sentinel.cache.progress import Bar, somebody_looks
from support.computes import AsyncCompute, settle, until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def warm(cache: LRUCache, how: str, keys: Any, load: Any, **options: Any) -> WarmUpReport[Any]:
    """Warm up in threads or in tasks."""
    options = {"progress": False} | options
    if how == "threads":
        return cache.warm_up(keys, load, **options)

    async def aload(key: object) -> object:
        await asyncio.sleep(0)
        return load(key)

    return asyncio.run(cache.awarm_up(keys, aload, **options))


both = pytest.mark.parametrize("how", ["threads", "tasks"])


@both
def test_c8_the_most_important_are_loaded_first(how: str) -> None:
    loaded: list[str] = []
    cache = LRUCache(100)

    def load(key: str) -> str:
        loaded.append(key)
        return key.upper()

    report = warm(
        cache,
        how,
        {"low": 1, "high": 9.5, "middle": 5},
        load,
        concurrency=1,
    )
    assert loaded == ["high", "middle", "low"]
    assert (report.loaded, report.present, report.skipped, report.failed) == (3, 0, 0, {})
    assert cache.get("high") == "HIGH"


@both
def test_c8_without_priorities_the_order_is_that_of_the_keys(how: str) -> None:
    loaded: list[int] = []
    warm(LRUCache(100), how, iter([3, 1, 2, 3]), loaded.append, concurrency=1)
    assert loaded == [3, 1, 2]


@both
def test_c8_it_stops_when_the_cache_is_full(how: str) -> None:
    loaded: list[int] = []
    cache = LRUCache(10)
    report = warm(cache, how, range(50), loaded.append)
    assert (report.loaded, report.skipped) == (10, 40)
    assert sorted(loaded) == list(range(10))
    assert cache.stats().evictions == 0


@both
def test_c8_it_stops_when_the_bytes_are_used(how: str) -> None:
    cache = LRUCache(max_bytes=1_000, weigh=lambda key, value: 100)
    report = warm(cache, how, range(50), lambda key: key, concurrency=1)
    assert report.loaded == 11
    assert report.skipped == 39


@both
def test_c8_what_is_held_is_not_loaded(how: str) -> None:
    cache = LRUCache(100)
    cache.set(1, "held")
    report = warm(cache, how, range(3), lambda key: "loaded")
    assert (report.loaded, report.present) == (2, 1)
    assert cache.get(1) == "held"


@both
def test_c8_what_fails_is_reported_and_the_rest_goes_on(how: str) -> None:
    def load(key: int) -> int:
        if key % 3 == 0:
            raise ValueError(f"no {key}")
        return key

    cache = LRUCache(100)
    report = warm(cache, how, range(10), load)
    assert not report
    assert sorted(report.failed) == [0, 3, 6, 9]
    assert str(report.failed[3]) == "no 3"
    assert (report.loaded, len(cache)) == (6, 6)
    assert report.seconds >= 0


@both
def test_ttl_and_tags_are_of_what_is_loaded(how: str) -> None:
    cache = LRUCache(100)
    warm(cache, how, range(3), lambda key: key, ttl=5, tags=("warm",))
    found = cache.lookup(1)
    assert found is not None
    assert 0 < found[1] <= 5
    assert cache.invalidate(tag="warm") == 3


@both
def test_progress_is_told_after_each_key(how: str) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    warm(LRUCache(100), how, range(5), lambda key: key, progress=progress)
    assert told == [(done, 5) for done in range(1, 6)]
    assert threads == {threading.get_ident()}


@both
@pytest.mark.parametrize(("terminal", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_c8_the_bar_is_for_terminals_only(
    how: str, terminal: type[io.StringIO], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    warm(LRUCache(100), how, range(5), lambda key: key, progress=True)
    assert ("5/5" in stream.getvalue()) == shown
    assert (stream.getvalue() == "") != shown


def test_the_bar_is_for_notebooks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    class Module:
        get_ipython = staticmethod(ZMQInteractiveShell)

    assert not somebody_looks(io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", Module)
    assert somebody_looks(io.StringIO())


def test_a_shorter_line_of_the_bar_covers_the_longer_one() -> None:
    stream = Terminal()
    bar = Bar("warm-up", stream)
    bar._width = 100
    bar(2, 2)
    bar.close()
    assert stream.getvalue() == f"\r{'warm-up [' + '#' * 30 + '] 2/2':<100}\n"


@both
def test_only_so_many_load_at_once(how: str) -> None:
    at_once = most = 0
    lock = threading.Lock()

    def load(key: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with lock:
            at_once -= 1
        return key

    warm(LRUCache(1_000), how, range(200), load, concurrency=3)
    assert most <= 3


async def test_cancelling_an_async_warm_up_leaves_nothing_waiting() -> None:
    cache, compute = LRUCache(100), AsyncCompute()
    task = asyncio.create_task(cache.awarm_up(range(5), lambda key: compute(), progress=False))
    await compute.began.wait()
    task.cancel()
    assert isinstance((await settle(task))[0], asyncio.CancelledError)
    compute.may_end.set()
    await until(lambda: len(cache._flights) == 0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_warm_up_shares_computes_with_callers() -> None:
    cache, compute = LRUCache(100), AsyncCompute()
    asking = asyncio.create_task(cache.aget_or_compute(0, compute))
    await compute.began.wait()
    warming = asyncio.create_task(cache.awarm_up([0], lambda key: compute(), progress=False))
    await asyncio.sleep(0)
    compute.may_end.set()
    await settle(asking, warming)
    assert compute.calls == 1


@both
@pytest.mark.parametrize("concurrency", [0, -1, 1_025])
def test_c3_a_concurrency_out_of_range_is_refused(how: str, concurrency: int) -> None:
    with pytest.raises(ValueError, match=f"concurrency must be 1 to 1024, not {concurrency}"):
        warm(LRUCache(10), how, [1], str, concurrency=concurrency)


def test_a_concurrency_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="concurrency must be int, not float"):
        LRUCache(10).warm_up([1], str, concurrency=cast(Any, 2.0))
