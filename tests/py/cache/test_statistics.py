"""The statistics of a cache: what is counted, derived and shown."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from sentinel.cache import CacheStatistics, LRUCache
from sentinel.cache.statistics import written_seconds
from support.computes import HandClock


def statistics(**changed: object) -> CacheStatistics:
    known: dict[str, object] = {
        "hits": 60,
        "misses": 25,
        "stale_hits": 15,
        "evictions": 3,
        "expirations": 2,
        "computes": 20,
        "errors": 1,
        "compute_seconds": 10.0,
        "entries": 50,
        "bytes": 2_048,
        "max_entries": 100,
        "max_bytes": 4_096,
        "policy": "lru",
    }
    return CacheStatistics(**(known | changed))  # type: ignore[arg-type]


def test_ratios_are_of_what_was_asked() -> None:
    stats = statistics()
    assert stats.hit_ratio == 0.75
    assert stats.mean_compute_seconds == 0.5
    assert stats.saved_seconds == 37.5


def test_a_cache_that_was_not_asked_has_ratios_of_zero() -> None:
    stats = LRUCache(10).stats()
    assert (stats.hit_ratio, stats.mean_compute_seconds, stats.saved_seconds) == (0, 0, 0)


def test_c12_what_happened_is_counted() -> None:
    clock = HandClock()
    cache = LRUCache(2, ttl=10, policy="lru", clock=clock)

    def compute() -> int:
        clock.pass_(0.5)
        return 1

    def fail() -> int:
        clock.pass_(1.5)
        raise ValueError("no")

    for key in "abc":
        cache.get_or_compute(key, compute)
    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute("d", fail)
    assert cache.get_or_compute("c", compute) == cache.get("c") == 1
    assert cache.get("a") is None
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.stale_hits) == (2, 5, 0)
    assert (stats.computes, stats.errors, stats.evictions) == (4, 1, 1)
    assert stats.compute_seconds == pytest.approx(3.0)
    assert (stats.entries, stats.max_entries, stats.max_bytes) == (2, 2, None)
    clock.pass_(11)
    assert cache.get("c") is None
    assert cache.stats().expirations >= 1


def test_bytes_are_those_of_weigh() -> None:
    cache = LRUCache(max_bytes=1_000, weigh=lambda key, value: value)
    cache.set("a", 300)
    cache.set("b", 200)
    stats = cache.stats()
    assert (stats.bytes, stats.max_bytes, stats.entries) == (500, 1_000, 2)


def test_as_dict_is_json_and_holds_what_is_derived() -> None:
    told = json.loads(json.dumps(statistics().as_dict()))
    assert told["hits"] == 60
    assert (told["hit_ratio"], told["saved_seconds"]) == (0.75, 37.5)


def test_repr_reads_as_text() -> None:
    text = repr(statistics())
    assert "hit ratio 75.0%" in text
    assert "entries 50 of 100" in text


class Balance(HTMLParser):
    """Checks that each tag is closed by its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("unbounded", [False, True])
def test_the_notebook_face_is_whole_html(unbounded: bool) -> None:
    shown = statistics(max_entries=None, max_bytes=None) if unbounded else statistics()
    html = shown._repr_html_()
    balance = Balance()
    balance.feed(html)
    balance.close()
    assert balance.open == []
    assert "75.0" in html
    assert ("entries in use" in html) != unbounded


def test_the_notebook_face_escapes_everything() -> None:
    html = statistics(policy="<script>alert('x')</script>")._repr_html_()
    balance = Balance()
    balance.feed(html)
    assert "script" not in balance.seen


@pytest.mark.parametrize("share", [-5, 0, 10**9])
def test_a_bar_stays_within_its_frame(share: int) -> None:
    html = statistics(entries=share)._repr_html_()
    assert "width:100.0%" in html or "width:0.0%" in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (1.5e-6, "1.5 us"),
        (0.619, "619 ms"),
        (5, "5 s"),
        (600, "10 min"),
        (9e3, "2.5 h"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert written_seconds(seconds) == text
