"""ObjectCache by example: bounds, ttl, stale windows, tags, patterns, counters."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sentinel._core import ObjectCache


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


class Derived(ObjectCache):
    """As the library derives from it."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.name = "mine"


class Forgetful(ObjectCache):
    """Does not set up what it derives from."""

    def __init__(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_set_is_the_very_object_given_back() -> None:
    cache = ObjectCache(4)
    value = [1, 2]
    assert cache.set("key", value) is True
    assert cache.get("key") is value
    assert cache.get("other") is None
    assert cache.get("other", default=7) == 7


def test_none_is_a_value() -> None:
    cache = ObjectCache(4)
    cache.set("key", None)
    assert cache.get("key", "absent") is None
    assert "key" in cache


@pytest.mark.parametrize(
    "key", ["text", "ünïcode", "雪", 7, 2**70, 1.5, ("a", 1), b"bytes", None, frozenset({1})]
)
def test_keys_are_found_by_equality(key: object) -> None:
    cache = ObjectCache(4)
    cache.set(key, "value")
    twin = str(key)[:1] + str(key)[1:] if isinstance(key, str) else key
    assert cache.get(twin) == "value"


def test_numbers_that_are_equal_are_one_key() -> None:
    cache = ObjectCache(4)
    cache.set(1, "one")
    cache.set(True, "true")
    assert cache.get(1.0) == "true"
    assert len(cache) == 1


def test_an_unhashable_key_is_a_type_error() -> None:
    cache = ObjectCache(4)
    for call in (cache.get, cache.peek, cache.pop, cache.delete, cache.lookup, cache.__contains__):
        with pytest.raises(TypeError, match="unhashable"):
            call([])
    with pytest.raises(TypeError, match="unhashable"):
        cache.set([], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "max_entries or max_bytes"),
        ({"max_entries": 0}, "max_entries must be in 1.*not 0"),
        ({"max_entries": -3}, "max_entries must be in 1.*not -3"),
        ({"max_bytes": 0}, "max_bytes must be in 1.*not 0"),
        ({"max_entries": 1, "ttl": 0}, "ttl must be above 0 seconds, not 0"),
        ({"max_entries": 1, "ttl": math.nan}, "ttl must be above 0"),
        ({"max_entries": 1, "policy": "fifo"}, "policy must be 'adaptive' or 'lru', not 'fifo'"),
        ({"max_entries": 1, "weigh": len}, "weigh needs max_bytes"),
    ],
)
def test_parameters_out_of_range_are_value_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectCache(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"max_entries": "many"}, {"max_entries": 1, "clock": 5}, {"max_entries": 1, "policy": 1}],
)
def test_wrong_types_are_type_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ObjectCache(**arguments)


@pytest.mark.parametrize(
    "terms", [{"ttl": 0}, {"ttl": -1.0}, {"stale": -1}, {"cost": -0.5}, {"ttl": math.nan}]
)
def test_terms_out_of_range_are_value_errors_and_store_nothing(terms: dict[str, Any]) -> None:
    cache = ObjectCache(4)
    with pytest.raises(ValueError, match="must be"):
        cache.set("key", 1, **terms)
    assert len(cache) == 0


@pytest.mark.parametrize("tags", ["one", [1], 5])
def test_tags_are_an_iterable_of_str(tags: Any) -> None:
    cache = ObjectCache(4)
    with pytest.raises(TypeError):
        cache.set("key", 1, tags=tags)
    assert len(cache) == 0


def test_it_is_set_up_once() -> None:
    cache = ObjectCache(4)
    with pytest.raises(RuntimeError, match="before"):
        cache.__init__(4)  # type: ignore[misc]
    bare = Forgetful()
    assert bare.get("key") is None
    with pytest.raises(RuntimeError, match="not called"):
        bare.set("key", 1)


def test_it_is_set_up_once_also_by_an_index_that_does() -> None:
    cache = ObjectCache.__new__(ObjectCache)

    class Bound:
        def __index__(self) -> int:
            cache.__init__(1_000, policy="lru")  # type: ignore[misc]
            for number in range(1_000):
                cache.set(number, number)
            return 5

    with pytest.raises(RuntimeError, match="before"):
        cache.__init__(Bound())  # type: ignore[misc]
    assert (len(cache), cache.max_entries, cache.get(7)) == (1_000, 1_000, 7)


def test_a_derived_class_may_make_its_own() -> None:
    class Own(ObjectCache):
        def __new__(cls, *_: object) -> Own:
            return super().__new__(cls)

    cache = Own(5)
    assert (type(cache), cache.max_entries) == (Own, 5)


@pytest.mark.parametrize("name", ["ttl", "stale", "cost"])
def test_seconds_that_are_no_float_are_value_errors(name: str) -> None:
    options: dict[str, Any] = {name: 10**400}
    with pytest.raises(ValueError, match=name):
        ObjectCache(5).set(1, 2, **options)


def test_without_a_ttl_there_is_no_end_whatever_the_clock_says() -> None:
    cache = ObjectCache(5, clock=lambda: -50.0)
    cache.set(1, 2)
    found = cache.lookup(1)
    assert found is not None
    assert found[1] == math.inf


def test_a_derived_class_has_attributes_and_the_same_calls() -> None:
    cache = Derived(2)
    cache.set("a", 1)
    assert (cache.name, cache.get("a"), cache.max_entries) == ("mine", 1, 2)


def test_its_bounds_can_be_read() -> None:
    cache = ObjectCache(max_bytes=500, ttl=2.5, policy="lru")
    assert (cache.max_entries, cache.max_bytes, cache.ttl, cache.policy) == (None, 500, 2.5, "lru")
    assert ObjectCache(3).max_bytes is None


def test_lru_drops_who_was_not_asked_for_longest() -> None:
    cache = ObjectCache(2, policy="lru")
    cache.set("a", 1)
    cache.set("b", 2)
    cache.get("a")
    cache.set("c", 3)
    assert cache.keys() == ["c", "a"]
    assert cache.items() == [("c", 3), ("a", 1)]


def test_peek_and_contains_neither_count_nor_renew() -> None:
    cache = ObjectCache(2, policy="lru")
    cache.set("a", 1)
    cache.set("b", 2)
    assert cache.peek("a") == 1
    assert "a" in cache
    assert "z" not in cache
    cache.set("c", 3)
    assert cache.peek("a", "gone") == "gone"
    assert (cache.counters()["hits"], cache.counters()["misses"]) == (0, 0)


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_what_was_set_can_be_read_right_after(policy: str, size: int) -> None:
    cache = ObjectCache(size, policy=policy)
    for number in range(500):
        cache.set(number, number)
        assert cache.get(number) == number
        assert len(cache) <= size


def test_a_value_is_fresh_until_its_ttl(clock: Clock) -> None:
    cache = ObjectCache(4, ttl=10, clock=clock)
    cache.set("own", 1)
    cache.set("short", 2, ttl=1)
    cache.set("endless", 3, ttl=math.inf)
    clock.now += 1
    assert [cache.get(key) for key in ("own", "short", "endless")] == [1, None, 3]
    clock.now += 8.999
    assert cache.get("own") == 1
    clock.now += 0.001
    assert cache.get("own") is None
    clock.now += 1e9
    assert cache.get("endless") == 3


def test_a_new_value_has_a_new_ttl(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", 1, ttl=1)
    cache.set("key", 2)
    clock.now += 100
    assert cache.get("key") == 2


def test_without_a_ttl_get_reads_no_clock(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", 1)
    read = clock.reads
    cache.get("key")
    cache.get("other")
    assert clock.reads == read


def test_without_any_ttl_nothing_reads_a_clock(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", 1)
    cache.set("key", 2, cost=0.5)
    assert cache.lookup("key") == (2, math.inf, 0.5)
    assert cache.peek("key") == 2
    assert cache.keys() == ["key"]
    assert cache.delete("key")
    assert clock.reads == 0


def test_lookup_gives_remaining_and_cost(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", "value", ttl=10, stale=5, cost=0.25)
    clock.now += 4
    found = cache.lookup("key")
    assert found is not None
    assert found[0] == "value"
    assert found[1:] == pytest.approx((6.0, 0.25))


def test_a_stale_value_is_for_lookup_only(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", "value", ttl=10, stale=5)
    clock.now += 12
    assert cache.get("key", "miss") == "miss"
    found = cache.lookup("key")
    assert found is not None
    assert found[1] == pytest.approx(-2.0)
    assert len(cache) == 1
    assert cache.keys() == []
    clock.now += 3
    assert cache.lookup("key") is None
    assert len(cache) == 0
    counted = cache.counters()
    assert (counted["stale_hits"], counted["misses"], counted["expirations"]) == (1, 2, 1)


def test_lookup_without_ttl_has_no_end() -> None:
    cache = ObjectCache(4)
    cache.set("key", 1)
    found = cache.lookup("key")
    assert found is not None
    assert found[1] == math.inf


def test_expire_removes_exactly_what_has_expired(clock: Clock) -> None:
    cache = ObjectCache(100, clock=clock)
    for number in range(10):
        cache.set(number, number, ttl=1 + number)
    clock.now += 5
    assert cache.expire() == 5
    assert sorted(cache.keys()) == [5, 6, 7, 8, 9]
    assert cache.expire() == 0


def test_sets_remove_what_has_expired_a_few_at_a_time(clock: Clock) -> None:
    cache = ObjectCache(1000, clock=clock)
    for number in range(400):
        cache.set(number, number, ttl=1)
    clock.now += 10
    before = cache.counters()["entries"]
    cache.set("one", 1)
    after_one = cache.counters()["entries"]
    assert before - 16 < after_one
    for number in range(400):
        cache.set(("more", number % 4), number)
    assert cache.counters()["entries"] == 5


def test_delete_tells_whether_there_was_a_value(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("fresh", 1)
    cache.set("stale", 2, ttl=1, stale=10)
    cache.set("gone", 3, ttl=1)
    clock.now += 5
    assert [cache.delete(key) for key in ("fresh", "stale", "gone", "never")] == [
        True,
        True,
        False,
        False,
    ]
    assert len(cache) == 0


def test_pop_gives_a_fresh_value_once(clock: Clock) -> None:
    cache = ObjectCache(4, clock=clock)
    cache.set("key", 1)
    cache.set("stale", 2, ttl=1, stale=10)
    clock.now += 5
    assert (cache.pop("key"), cache.pop("key"), cache.pop("key", 9), cache.pop("stale", 8)) == (
        1,
        None,
        9,
        8,
    )
    assert len(cache) == 0


def test_bytes_are_bounded_by_weigh() -> None:
    cache = ObjectCache(max_bytes=100, weigh=lambda _key, value: len(value), policy="lru")
    for number in range(10):
        assert cache.set(number, "x" * 30)
        assert cache.counters()["bytes"] <= 100
    assert cache.keys() == [9, 8, 7]
    assert cache.set(9, "x" * 90)
    assert cache.keys() == [9]
    assert cache.counters()["bytes"] == 90


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_what_is_heavier_than_the_bound_is_refused_and_replaces_nothing_by_nothing(
    policy: str,
) -> None:
    cache = ObjectCache(max_bytes=100, weigh=lambda _key, value: value, policy=policy)
    assert cache.set("key", 100)
    assert cache.set("key", 101) is False
    assert "key" not in cache
    assert cache.counters()["rejections"] == 1


def test_without_weigh_sizes_are_estimated() -> None:
    cache = ObjectCache(max_bytes=10_000)
    cache.set("key", b"x" * 1000)
    assert 1000 < cache.counters()["bytes"] < 1400
    assert cache.set("big", "y" * 20_000) is False


def test_both_bounds_hold() -> None:
    cache = ObjectCache(3, max_bytes=100, weigh=lambda _key, value: value)
    for number, weight in enumerate([1, 1, 1, 1, 90, 50]):
        cache.set(number, weight)
        counted = cache.counters()
        assert counted["entries"] <= 3
        assert counted["bytes"] <= 100


@pytest.mark.parametrize("told", [-1, "heavy", 2**80])
def test_what_weigh_gives_must_be_bytes(told: Any) -> None:
    cache = ObjectCache(max_bytes=100, weigh=lambda _key, _value: told)
    with pytest.raises((ValueError, TypeError, OverflowError)):
        cache.set("key", 1)
    assert len(cache) == 0


def test_an_error_of_clock_is_the_callers() -> None:
    def broken() -> float:
        raise LookupError("no clock")

    cache = ObjectCache(4, clock=broken)
    with pytest.raises(LookupError):
        cache.set("key", 1, ttl=1)
    assert cache.get("key") is None


def test_a_tag_removes_its_entries_only() -> None:
    cache = ObjectCache(10)
    cache.set("a", 1, tags=["red", "blue"])
    cache.set("b", 2, tags=("red", "red"))
    cache.set("c", 3, tags={"blue"})
    cache.set("d", 4)
    assert cache.invalidate_tag("red") == 2
    assert sorted(cache.keys()) == ["c", "d"]
    assert cache.invalidate_tag("red") == 0
    cache.set("c", 5)
    assert cache.invalidate_tag("blue") == 0


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("*", {"user:1", "user:22", "usage:1", "ünï:1", "雪:1"}),
        ("user:*", {"user:1", "user:22"}),
        ("user:?", {"user:1"}),
        ("us[ea]*:1", {"user:1", "usage:1"}),
        ("us[!e]*", {"usage:1"}),
        ("[a-u]*:1", {"user:1", "usage:1"}),
        ("*:1", {"user:1", "usage:1", "ünï:1", "雪:1"}),
        ("?:1", {"雪:1"}),
        ("user", set()),
        ("", set()),
    ],
)
def test_a_pattern_removes_the_str_keys_it_matches(pattern: str, gone: set[str]) -> None:
    cache = ObjectCache(10)
    everyone: set[Any] = {"user:1", "user:22", "usage:1", "ünï:1", "雪:1", 7, ("user:1",)}
    for key in everyone:
        cache.set(key, 0)
    assert cache.invalidate_pattern(pattern) == len(gone)
    assert set(cache.keys()) == everyone - gone


def test_a_pattern_of_many_stars_takes_no_exponential_time() -> None:
    cache = ObjectCache(10)
    cache.set("a" * 5000, 1)
    assert cache.invalidate_pattern("*a" * 40 + "*b") == 0


def test_counters_tell_what_happened() -> None:
    cache = ObjectCache(2, policy="lru")
    for key in "abc":
        cache.set(key, key)
    cache.get("a")
    cache.get("c")
    assert cache.counters() == {
        "hits": 1,
        "misses": 1,
        "stale_hits": 0,
        "sets": 3,
        "evictions": 1,
        "expirations": 0,
        "rejections": 0,
        "entries": 2,
        "bytes": 0,
    }


def test_clear_leaves_an_empty_cache_that_works() -> None:
    cache = ObjectCache(100)
    for number in range(100):
        cache.set(number, number, ttl=50, tags=["t"])
    cache.clear()
    assert (len(cache), cache.keys(), cache.get(1), cache.invalidate_tag("t")) == (0, [], None, 0)
    cache.set(1, 2)
    assert cache.get(1) == 2


def test_its_clock_is_monotonic_seconds(clock: Clock) -> None:
    assert ObjectCache(1, clock=clock).clock_seconds() == pytest.approx(100.0)
    cache = ObjectCache(1)
    assert cache.clock_seconds() <= cache.clock_seconds()


@pytest.mark.parametrize("letter", ["a", "ü", "雪", "🦊"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100])
def test_an_equal_str_that_is_another_object_hits_and_one_that_differs_does_not(
    letter: str, length: int
) -> None:
    cache = ObjectCache(500)
    text = letter * length
    cache.set("".join(["key", text, "end"]), 1)
    assert cache.get("".join(["key", text, "end"])) == 1
    for place in range(len(text)):
        other = text[:place] + "b" + text[place + 1 :]
        assert cache.get(f"key{other}end") is None
    assert cache.get(f"key{text}{letter}end") is None


@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_a_large_cache_finds_all_it_holds(policy: str) -> None:
    cache = ObjectCache(150_000, policy=policy)
    for number in range(150_000):
        cache.set(number, number)
    for number in range(0, 150_000, 3):
        assert cache.delete(number)
    assert all(cache.get(number) == (number if number % 3 else None) for number in range(150_000))
    for number in range(200_000, 260_000):
        cache.set(number, number)
    assert len(cache) == 150_000
    assert all(key == value for key, value in cache.items())


@pytest.mark.parametrize("seconds", [0.02, 0.2, 1e8, 1e9])
def test_a_ttl_by_the_systems_clock_near_and_far_is_fresh_at_first(seconds: float) -> None:
    cache = ObjectCache(5)
    for _ in range(20):  # set, and read at once: within the nearest deadline
        cache.set("key", 1, ttl=seconds)
        found = cache.lookup("key")
        if found is not None and found[1] > seconds / 2:
            assert cache.get("key") == 1
            return
    pytest.skip("this machine is too slow")


def test_what_is_past_its_ttl_by_the_systems_clock_is_not_given() -> None:
    cache = ObjectCache(5)
    cache.set("key", 1, ttl=1e-9)
    assert cache.get("key") is None
