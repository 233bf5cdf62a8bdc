"""Calls at once: leases that end by settle, release, refund, or by their time."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.limits import Decision, RateLimiter, Reservation


def lease(decision: Decision) -> Reservation:
    assert decision.reservation is not None
    return decision.reservation


@pytest.mark.parametrize("end", ["release", "refund", "settle"])
def test_a_place_is_held_until_its_call_ends(end: str) -> None:
    limiter = RateLimiter(concurrency=2)
    first, second = limiter.acquire("key", now=0), limiter.acquire("key", now=0)
    refused = limiter.acquire("key", now=0)
    assert (refused.allowed, refused.remaining, refused.retry_after_seconds) == (False, 0, 1.0)
    assert refused.reservation is None
    assert limiter.acquire("other", now=0)

    def ended(one: Reservation) -> bool:
        done: bool = getattr(limiter, end)(one, **({"actual": 0} if end == "settle" else {}), now=1)
        return done

    assert ended(lease(first))
    assert not ended(lease(first))
    assert limiter.acquire("key", now=1)
    assert not limiter.acquire("key", now=1)
    assert ended(lease(second))


def test_a_lease_that_nobody_ends_expires() -> None:
    limiter = RateLimiter(concurrency=1, hold_seconds=30)
    one = lease(limiter.acquire("key", now=0))
    assert not limiter.acquire("key", now=29.9)
    assert limiter.acquire("key", now=30)
    assert not limiter.release(one, now=30)
    assert not limiter.acquire("key", now=30)


def test_places_that_expired_do_not_count_as_taken() -> None:
    limiter = RateLimiter(concurrency=2, hold_seconds=10)
    assert limiter.acquire("key", now=0).remaining == 1
    assert limiter.acquire("key", now=10).remaining == 1
    assert limiter.acquire("key", now=11).remaining == 0


@pytest.mark.parametrize("end", ["release", "refund", "settle"])
def test_a_reservation_that_expired_cannot_be_ended_even_by_the_first_call_since(end: str) -> None:
    limiter = RateLimiter("100 tokens/day", hold_seconds=10)
    late = lease(limiter.acquire("key", 50, now=0))
    other = lease(limiter.acquire("key", 20, now=5))
    actual = {"actual": 50} if end == "settle" else {}
    assert not getattr(limiter, end)(late, **actual, now=10)
    assert getattr(limiter, end)(other, **actual, now=14.9)
    assert limiter.acquire("other", 50, now=1_000).remaining == 50
    assert limiter.acquire("other", 10, now=14_000).remaining == 90


def test_a_decision_shows_the_places() -> None:
    limiter = RateLimiter("10/min", "100 tokens/min", concurrency=3)
    assert limiter.units == {"requests", "tokens", "concurrency"}
    decision = limiter.acquire("key", 60, now=0)
    assert decision.concurrency == (3, 2, 0.0)
    assert decision.remaining == 9
    assert "concurrency" not in str(decision.headers())
    assert RateLimiter("10/min").acquire("key").concurrency is None


def test_a_refused_call_takes_no_place_and_a_full_house_takes_no_request() -> None:
    limiter = RateLimiter("2/min", concurrency=1)
    one = lease(limiter.acquire("key", now=0))
    assert limiter.acquire("key", now=0).requests == (2, 1, 30.0)
    limiter.release(one, now=0)
    limiter.release(lease(limiter.acquire("key", now=0)), now=0)
    refused = limiter.acquire("key", now=0)
    assert refused.retry_after_seconds == pytest.approx(30.0)
    assert refused.concurrency == (1, 1, 0.0)


def test_a_release_uses_what_was_held() -> None:
    limiter = RateLimiter("100 tokens/min")
    assert limiter.release(lease(limiter.acquire("key", 60, now=0)), now=0)
    again = limiter.acquire("key", 41, now=0)
    assert (again.allowed, again.remaining) == (False, 40)


@settings(max_examples=100, deadline=None)
@given(
    places=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=60),
)
def test_never_more_calls_are_under_way_than_there_are_places(
    places: int, steps: list[tuple[int, int]]
) -> None:
    limiter = RateLimiter(concurrency=places, hold_seconds=10)
    now, held = 0, list[tuple[int, Reservation]]()
    for action, number in steps:
        if action == 0:
            now += number
        held = [one for one in held if one[0] + 10 > now]
        if action in (1, 2):
            decision = limiter.acquire("key", now=now)
            assert decision.allowed is (len(held) < places)
            if decision:
                held.append((now, lease(decision)))
        elif action == 3 and held:
            assert limiter.release(held.pop(number % len(held))[1], now=now)


@pytest.mark.parametrize("bad", [0, -1, 10**6 + 1, 1.5, "3"])
def test_a_number_of_places_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="concurrency must be a whole number, 1 to 10"):
        RateLimiter(concurrency=bad)


# Objects


def test_reservations_are_values() -> None:
    limiter = RateLimiter(concurrency=2)
    decision = limiter.acquire("key")
    one, same = lease(decision), lease(decision)
    other = lease(limiter.acquire("key"))
    assert one == same
    assert len({one, same, other}) == 2
    assert one != other
    assert one != object()
    assert repr(one) == f"Reservation(id={one.id})"


def test_decisions_outlive_their_limiter() -> None:
    decision = RateLimiter("10/min", concurrency=1).acquire("key", now=0)
    gc.collect()
    assert (decision.remaining, decision.concurrency) == (9, (1, 0, 0.0))
    assert repr(decision) == "Decision(allowed=True, remaining=9, retry_after_seconds=0.0)"
    with pytest.raises(ValueError, match="another limiter's"):
        RateLimiter(concurrency=1).release(lease(decision))


@pytest.mark.parametrize("kind", [Decision, Reservation])
def test_answers_are_made_by_limiters_alone(kind: type) -> None:
    with pytest.raises(TypeError, match="cannot create"):
        kind()


def test_a_limiter_in_a_cycle_with_its_clock_is_collected() -> None:
    class Clock:
        limiter: RateLimiter

        def __call__(self) -> float:
            return 0.0

    clock = Clock()
    clock.limiter = RateLimiter("1/min", clock=clock)
    assert clock.limiter.acquire("key")
    watch = weakref.ref(clock)
    del clock
    gc.collect()
    assert watch() is None


def test_a_clock_may_use_its_limiter() -> None:
    inside: list[bool] = []

    def clock() -> float:
        inside.append(limiter.acquire("inner", now=0).allowed)
        return 0.0

    limiter = RateLimiter("1/min", clock=clock)
    assert limiter.acquire("outer")
    assert not limiter.acquire("outer")
    assert inside == [True, False]


def test_a_mapping_of_any_kind_is_a_cost_and_may_use_the_limiter() -> None:
    from collections.abc import Iterator, Mapping

    class Odd(Mapping[str, int]):
        def __getitem__(self, name: str) -> int:
            limiter.acquire("inner", {"tokens": 1}, now=0)
            return {"tokens": 40}[name]

        def __iter__(self) -> Iterator[str]:
            return iter(["tokens"])

        def __len__(self) -> int:
            return 1

    limiter = RateLimiter("100 tokens/min")
    assert limiter.acquire("key", Odd(), now=0).remaining == 60  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cost must be a whole number, not list"):
        limiter.acquire("key", [40], now=0)  # type: ignore[arg-type]


def test_calls_leave_no_reference_behind() -> None:
    limiter = RateLimiter("100000 tokens/s", concurrency=1000)
    key, cost = "key", {"tokens": 1}

    def calls() -> None:
        for _ in range(100):
            decision = limiter.acquire(key, cost)  # type: ignore[arg-type]
            limiter.settle(lease(decision), 1)
            repr(decision), decision.headers(), decision.tokens, bool(decision)
            for bad in ({"x": 1}, "1", -1):
                with pytest.raises((TypeError, ValueError)):
                    limiter.acquire(key, bad)  # type: ignore[arg-type]

    calls()
    before = sys.getrefcount(limiter), sys.getrefcount(key), sys.getrefcount(cost)
    calls()
    assert (sys.getrefcount(limiter), sys.getrefcount(key), sys.getrefcount(cost)) == before


def test_a_limiter_that_was_not_initialised_says_so() -> None:
    limiter = RateLimiter.__new__(RateLimiter)
    with pytest.raises(RuntimeError, match="the limiter was not initialised"):
        limiter.acquire("key")
    ready = RateLimiter("1/min")
    with pytest.raises(RuntimeError, match="a limiter is initialised once"):
        ready.__init__("1/min")  # type: ignore[misc]
