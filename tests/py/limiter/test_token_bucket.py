"""`TokenBucket`: exact for every rate, against a model of fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel import TokenBucket


def test_it_begins_full_and_flows_back_at_its_rate() -> None:
    bucket = TokenBucket(2, burst=3)
    assert [bucket.try_acquire(now=10) for _ in range(4)] == [True, True, True, False]
    assert not bucket.try_acquire(now=10.499_999)
    assert bucket.try_acquire(now=10.5)
    assert bucket.remaining(now=100) == 3


@pytest.mark.parametrize(
    ("rate", "per_second"),
    [
        (7, Fraction(7)),
        (0.1, Fraction(1, 10)),
        (1e-6, Fraction(1, 10**6)),
        (Fraction(7, 60), Fraction(7, 60)),
        (Decimal("0.35"), Fraction(7, 20)),
        ("7/min", Fraction(7, 60)),
        ("30 tokens/7s", Fraction(30, 7)),
    ],
)
def test_a_rate_is_what_is_written(rate: Any, per_second: Fraction) -> None:
    bucket = TokenBucket(rate, burst=1)
    assert bucket.try_acquire(now=0)
    wait = 1_000_000 / per_second  # microseconds
    told = bucket.retry_after_seconds(now=0)
    assert told == -(-wait // 1) / 1e6
    assert not bucket.try_acquire(now=told - 2e-6)
    assert bucket.try_acquire(now=told)


@settings(max_examples=100, deadline=None)
@given(
    rate=st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=5000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 20)), max_size=60),
)
def test_b14_it_does_what_a_model_of_fractions_does(
    rate: Fraction, burst: int, steps: list[tuple[int, int]]
) -> None:
    bucket, level, now = TokenBucket(rate, burst), Fraction(burst), 0
    for gap, cost in steps:
        now += gap
        level = min(Fraction(burst), level + rate * gap / 1_000_000)
        seconds = now / 1e6
        assert bucket.remaining(now=seconds) == level // 1
        assert bucket.try_acquire(cost, now=seconds) is (cost <= level)
        level -= cost if cost <= level else 0


def test_seven_a_minute_never_drifts() -> None:
    bucket = TokenBucket("7/min burst 2")
    passed = sum(bucket.try_acquire(now=eighth / 8) for eighth in range(8 * 60 * 60))
    assert passed == 2 + 7 * 60 - 1  # the 420th is due when the hour is over


def test_waiting_is_told_and_takes_nothing() -> None:
    bucket = TokenBucket("60/min burst 10")
    assert bucket.retry_after_seconds(10, now=0) == 0.0
    assert bucket.try_acquire(10, now=0)
    assert bucket.retry_after_seconds(3, now=0) == 3.0
    assert bucket.retry_after_seconds(11, now=0) is None
    assert not bucket.try_acquire(11, now=1e6)


def test_a_clock_can_be_given_and_going_back_refills_nothing() -> None:
    times = iter([5.0, 1.0, 5.5, 6.0])
    bucket = TokenBucket(1, burst=1, clock=lambda: next(times))
    assert [bucket.try_acquire() for _ in range(4)] == [True, False, False, True]


def test_text_has_a_burst_of_its_own_unless_one_is_given() -> None:
    assert TokenBucket("100/min").remaining() == 100
    assert TokenBucket("100/min burst 20").remaining() == 20
    assert TokenBucket("100/min burst 20", burst=5).remaining() == 5


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ((0, 1), ValueError, "rate must be above 0"),
        ((-1, 1), ValueError, "rate must be above 0"),
        ((float("inf"), 1), ValueError, "rate must be a finite number"),
        ((float("nan"), 1), ValueError, "rate must be a finite number"),
        ((10**22, 1), ValueError, "rate must be above 0, at most"),
        ((1e-9, 1), ValueError, "rate must be above 0, at most"),
        ((Decimal("1e99999999"), 1), ValueError, "rate must be above 0, at most"),
        ((Decimal("-1e99999999"), 1), ValueError, "rate must be above 0, at most"),
        ((Decimal("1e-99999999"), 1), ValueError, "rate must be above 0, at most"),
        ((Decimal("0e99999999"), 1), ValueError, "rate must be above 0, at most"),
        ((Decimal("1." + "1" * 100_000), 1), ValueError, "rate must be above 0, at most"),
        (("x" + "é" * 60,), ValueError, 'limit "x' + "é" * 39 + '": the unit must be'),
        (("5/min\0",), ValueError, 'limit "5/min\0": only'),
        ((None, 1), TypeError, "rate must be a number or text, not NoneType"),
        (("soon", 1), ValueError, "soon"),
        (("5 usd/day",), ValueError, "counts money"),
        ((5,), ValueError, "burst must be given"),
        ((5, 0), ValueError, "burst must be 1 to"),
        ((5, 10**15 + 1), ValueError, "burst must be 1 to"),
        ((5, 1.5), TypeError, "burst must be a whole number, not float"),
    ],
)
def test_rates_and_bursts_that_are_none_are_refused(
    given: tuple[Any, ...], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        TokenBucket(*given)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"cost": -1}, ValueError, r"cost must be 0 to 10\*\*15, not -1"),
        ({"cost": 10**30}, ValueError, "cost must be 0 to"),
        ({"cost": 1.0}, TypeError, "cost must be a whole number, not float"),
        ({"now": "noon"}, TypeError, "now must be seconds, not str"),
        ({"now": -1}, ValueError, "seconds must be 0 to 1e11"),
        ({"now": 10**400}, ValueError, "seconds must be 0 to 1e11"),
        ({"now": -(10**400)}, ValueError, "seconds must be 0 to 1e11"),
        ({"when": 1}, TypeError, "unexpected argument 'when'"),
    ],
)
def test_calls_that_make_no_sense_are_refused(
    given: dict[str, Any], error: type[Exception], told: str
) -> None:
    bucket = TokenBucket(1, burst=1)
    with pytest.raises(error, match=told):
        bucket.try_acquire(**given)
    assert bucket.try_acquire()
