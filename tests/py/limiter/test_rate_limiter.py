"""`RateLimiter`: what passes, what comes back, what is refused. Time is what the test says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.limits import Decision, RateLimiter, Reservation
from sentinel.testing import ManualClock


def passed(limiter: RateLimiter, key: str, calls: int, now: float) -> int:
    return sum(limiter.acquire(key, now=now).allowed for _ in range(calls))


def reservation(decision: Decision) -> Reservation:
    assert decision.reservation is not None
    return decision.reservation


# Requests


@pytest.mark.parametrize("run", range(20))
def test_b14_of_300_calls_at_once_exactly_100_pass(run: int) -> None:
    limiter = RateLimiter("100/min", clock=lambda: float(run))
    start = threading.Barrier(12)

    def calls(_: int) -> int:
        start.wait()
        return sum(limiter.acquire("key").allowed for _ in range(25))

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(calls, range(12))) == 100


def test_what_is_used_flows_back_evenly() -> None:
    limiter = RateLimiter("60/min burst 2")
    assert passed(limiter, "key", 5, now=10.0) == 2
    refused = limiter.acquire("key", now=10.4)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after_seconds == pytest.approx(0.6)
    assert passed(limiter, "key", 5, now=11.0) == 1
    assert passed(limiter, "key", 5, now=100.0) == 2


def test_a_call_passes_exactly_when_it_was_told_to_come_back() -> None:
    limiter = RateLimiter("7/3s burst 1")
    now = 1_700_000_000.25
    assert limiter.acquire("key", now=now)
    wait = limiter.acquire("key", now=now).retry_after_seconds
    assert wait is not None
    assert not limiter.acquire("key", now=now + wait - 2e-6)
    assert limiter.acquire("key", now=now + wait)


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 50),
    burst=st.integers(1, 20),
    gaps=st.lists(st.integers(0, 400_000), min_size=1, max_size=60),
)
def test_b15_no_window_admits_more_than_burst_and_rate(
    amount: int, burst: int, gaps: list[int]
) -> None:
    limiter = RateLimiter(f"{amount}/10s burst {burst}")
    now, instants = 0, []
    for gap in gaps:
        now += gap
        if limiter.acquire("key", now=now / 1e6):
            instants.append(now)
    for first, start in enumerate(instants):
        for last, end in enumerate(instants[first:], first):
            most = burst + Fraction(amount * (end - start), 10_000_000)
            assert last - first + 1 <= most


def test_every_key_is_on_its_own() -> None:
    limiter = RateLimiter("1/min")
    assert limiter.acquire("a", now=0)
    assert limiter.acquire("b", now=0)
    assert not limiter.acquire("a", now=0)


def test_a_number_is_requests_where_only_requests_are_counted() -> None:
    limiter = RateLimiter("10/min")
    assert limiter.acquire("key", 7, now=0).remaining == 3
    assert not limiter.acquire("key", 4, now=0)
    assert limiter.acquire("key", {"requests": 3}, now=0).remaining == 0


def test_all_rules_let_it_pass_or_nothing_is_taken() -> None:
    limiter = RateLimiter("3/s", "5/hour")
    assert passed(limiter, "key", 10, now=0.0) == 3
    assert passed(limiter, "key", 10, now=1.0) == 2
    refused = limiter.acquire("key", now=2.0)
    assert refused.retry_after_seconds == pytest.approx(718.0)
    assert limiter.acquire("key", now=800.0)


def test_a_cost_above_the_burst_can_never_pass() -> None:
    decision = RateLimiter("10/min").acquire("key", 11, now=0)
    assert (decision.allowed, decision.retry_after_seconds) == (False, None)
    assert decision.remaining == 10
    assert "Retry-After" not in decision.headers()


def test_a_clock_can_be_given_and_going_back_refills_nothing() -> None:
    clock = ManualClock()
    clock.advance(100)
    limiter = RateLimiter("1/s", clock=lambda: clock.now_seconds)
    assert limiter.acquire("key")
    assert not limiter.acquire("key", now=50.0)
    clock.advance(1)
    assert limiter.acquire("key")


def test_without_a_clock_real_time_counts() -> None:
    limiter = RateLimiter("1/day")
    assert limiter.acquire("key")
    refused = limiter.acquire("key")
    assert refused.retry_after_seconds is not None
    assert 86_000 < refused.retry_after_seconds <= 86_400


# Tokens and money


def test_b11_tokens_are_held_and_settled_to_what_they_were() -> None:
    limiter = RateLimiter("10/min", "1000 tokens/min")
    decision = limiter.acquire("key", 800, now=0)
    assert (decision.remaining, decision.requests, decision.tokens) == (
        9,
        (10, 9, 6.0),
        (1000, 200, 48.0),
    )
    assert not limiter.acquire("key", 300, now=0)
    assert limiter.settle(reservation(decision), 100, now=0)
    assert limiter.acquire("key", 900, now=0).requests == (10, 8, 12.0)


def test_b11_a_refund_gives_everything_back() -> None:
    limiter = RateLimiter("2/min", "1000 tokens/min")
    decision = limiter.acquire("key", 1000, now=0)
    assert limiter.refund(reservation(decision), now=0)
    again = limiter.acquire("key", 1000, now=0)
    assert again.allowed
    assert again.remaining == 1


def test_more_than_was_held_is_owed() -> None:
    limiter = RateLimiter("60 tokens/min")
    decision = limiter.acquire("key", 10, now=0)
    assert limiter.settle(reservation(decision), 90, now=0)
    refused = limiter.acquire("key", 1, now=0)
    assert refused.retry_after_seconds == pytest.approx(31.0)
    assert limiter.acquire("key", 1, now=31.0)


def test_a_reservation_ends_once() -> None:
    limiter = RateLimiter("100 tokens/min")
    one = reservation(limiter.acquire("key", 60, now=0))
    assert limiter.settle(one, 0, now=0)
    assert not limiter.settle(one, 60, now=0)
    assert not limiter.refund(one, now=0)
    assert limiter.acquire("key", 100, now=0)


def test_what_nobody_ends_comes_back_after_its_time() -> None:
    limiter = RateLimiter("100 tokens/min", hold_seconds=30)
    one = reservation(limiter.acquire("key", 100, now=0))
    assert not limiter.acquire("key", 1, now=29.9)
    assert limiter.acquire("key", 100, now=30)
    assert not limiter.settle(one, 100, now=30)


def test_calls_that_are_only_requests_leave_nothing_to_settle() -> None:
    limiter = RateLimiter("100000/s")
    for _ in range(70_000):  # more than reservations could be open
        decision = limiter.acquire("key", now=0)
    assert decision.allowed
    assert decision.reservation is None


def test_money_is_counted_in_micro_usd() -> None:
    limiter = RateLimiter("1 usd/day", "0.25 usd/hour")
    decision = limiter.acquire("key", 200_000, now=0)
    assert decision.remaining == 50_000
    assert decision.micro_usd == (250_000, 50_000, 2880.0)
    assert limiter.settle(reservation(decision), 240_000, now=0)
    assert limiter.acquire("key", 10_000, now=0).remaining == 0


def test_several_units_are_named() -> None:
    limiter = RateLimiter("10/min", "1000 tokens/min", "1 usd/day")
    decision = limiter.acquire("key", {"tokens": 900, "micro_usd": 1_000}, now=0)
    assert (decision.remaining, decision.tokens, decision.micro_usd) == (
        9,
        (1000, 100, 54.0),
        (1_000_000, 999_000, 86.4),
    )
    assert limiter.settle(reservation(decision), {"tokens": 1, "micro_usd": 1}, now=0)
    with pytest.raises(ValueError, match="cost must name its units"):
        limiter.acquire("key", 5, now=0)
    with pytest.raises(ValueError, match="cost: micro_usd is missing"):
        limiter.acquire("key", {"tokens": 5}, now=0)


# Bounds


def test_s2_no_more_keys_are_kept_than_were_asked_for() -> None:
    limiter = RateLimiter("10/min", max_keys=3)
    assert limiter.acquire("deep", 10, now=0)
    for number in range(1_000):
        assert limiter.acquire(f"key {number}", now=0)
    assert not limiter.acquire("deep", now=0)  # those nearest to full went first
    assert limiter.acquire("key 0", 10, now=0)


def test_when_everything_is_held_a_call_is_asked_to_wait() -> None:
    limiter = RateLimiter("1000 tokens/min", max_keys=1)
    assert limiter.acquire("a", 1, now=0)
    refused = limiter.acquire("b", 1, now=0)
    assert (refused.allowed, refused.remaining, refused.retry_after_seconds) == (False, 0, 1.0)


def test_long_keys_and_any_characters_are_keys() -> None:
    limiter = RateLimiter("1/min")
    for key in ("", "ü", "\0", "a\ud800", "k" * 100_000, "k" * 99_999):
        assert limiter.acquire(key, now=0)
        assert not limiter.acquire(key, now=0)


# Headers


def test_the_headers_are_written_as_openai_writes_them() -> None:
    limiter = RateLimiter("100/min burst 2", "1000 tokens/min")
    told = limiter.acquire("key", 10, now=0).headers()
    assert told == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "600ms",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "990",
        "x-ratelimit-reset-tokens": "600ms",
    }
    limiter.acquire("key", 10, now=0)
    assert limiter.acquire("key", 10, now=0).headers()["Retry-After"] == "1"


# Refusals of what makes no sense


@pytest.mark.parametrize(
    ("rules", "error", "told"),
    [
        ((), ValueError, "a limiter needs a rule"),
        (("soon",), ValueError, "soon"),
        (("0/min",), ValueError, "0/min"),
        ((5,), TypeError, "a rule must be str, not int"),
        (("5/min", "9/60s"), ValueError, '"9/60s": another rule counts requests over the same'),
        (tuple(f"1/{n}s" for n in range(1, 50)), ValueError, "at most 48 rules, not 49"),
    ],
)
def test_rules_that_are_none_are_refused(
    rules: tuple[Any, ...], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        RateLimiter(*rules)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"key": 5}, TypeError, "key must be str, not int"),
        ({"key": b"key"}, TypeError, "key must be str, not bytes"),
        ({"cost": 1.5}, TypeError, "cost must be a whole number, not float"),
        ({"cost": -1}, ValueError, r"cost must be 0 to 10\*\*15, not -1"),
        ({"cost": 10**15 + 1}, ValueError, "cost must be 0 to"),
        ({"cost": {"words": 1}}, ValueError, "cost: no such unit 'words'"),
        ({"cost": {"requests": "1"}}, TypeError, "cost.requests must be a whole number, not str"),
        ({"now": "noon"}, TypeError, "now must be seconds, not str"),
        ({"now": float("nan")}, ValueError, "seconds must be 0 to 1e11"),
        ({"now": -1.0}, ValueError, "seconds must be 0 to 1e11"),
    ],
)
def test_calls_that_make_no_sense_are_refused_by_name(
    given: dict[str, Any], error: type[Exception], told: str
) -> None:
    limiter = RateLimiter("1/min")
    with pytest.raises(error, match=told):
        limiter.acquire(**{"key": "key", "now": 0, **given})
    assert limiter.acquire("key", now=0)


def test_reservations_belong_to_their_limiter() -> None:
    limiter, other = RateLimiter("9 tokens/min"), RateLimiter("9 tokens/min")
    one = reservation(limiter.acquire("key", 9, now=0))
    with pytest.raises(ValueError, match="another limiter's"):
        other.settle(one, 1)
    with pytest.raises(TypeError, match="must be a Reservation, not NoneType"):
        limiter.refund(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"max_keys": 0}, {"max_keys": 1.5}, {"hold_seconds": 0}])
def test_bounds_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        RateLimiter("1/min", **given)


def test_a_refused_decision_is_false() -> None:
    limiter = RateLimiter("1/min")
    assert bool(limiter.acquire("key", now=0)) is True
    assert bool(limiter.acquire("key", now=0)) is False
