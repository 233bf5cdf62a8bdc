"""resilience4j's rules for its circuit breaker's states, as a table of short scripts.

A script is words, done from left to right:

    ok  fail  ok@5  fail@5     a call ended well or badly (after so many seconds)
    allow  refused             whether a call may pass is yes, or no
    cancel                     a call that passed says nothing
    +3                         seconds pass
    open!  half_open!  ...     the method of that name
    state=open  failed=3  ...  what `metrics()` says
    told=closed>open,...       the changes that were told since the last such word
"""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.resilience import CircuitBreaker

BASE: dict[str, Any] = {
    "failure_rate_threshold": 50,
    "slow_call_rate_threshold": 50,
    "slow_call_seconds": 4,
    "window": "time",
    "window_size": 5,
    "minimum_calls": 5,
    "wait_seconds": 5,
    "permitted_probes": 4,
}
BY_COUNT = {"window": "count", "window_size": 5}
PROBING = "open! half_open!"
ZERO = "calls=0 failed=0 slow=0 failure_rate=None slow_call_rate=None"
FULL = "allow allow allow allow refused refused"

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("starts closed and empty", {}, f"state=closed {ZERO} refused=0 allow told="),
    ("open refuses and counts it", {}, "open! refused refused=1"),
    ("forced open refuses and counts it", {}, "force_open! refused refused=1"),
    ("a cancelled probe's place is free", {}, f"{PROBING} {FULL} cancel allow refused"),
    ("no probe above the permitted ones", {}, f"{PROBING} {FULL} refused=2"),
    ("each half_open has all its probes", {}, f"{PROBING} {FULL} {PROBING} {FULL}"),
    (
        "failures open it when there are enough calls",
        {},
        "fail fail fail calls=3 failed=3 failure_rate=None state=closed ok state=closed "
        "ok state=open calls=5 failed=3 failure_rate=60 refused refused=1",
    ),
    (
        "slow calls open it, failed ones among them",
        {},
        "fail@5 ok@5 fail@0.1 ok@0.1 state=closed ok@5 state=open slow=3 slow_call_rate=60",
    ),
    ("slow calls alone open it", {}, "ok@5 ok@5 ok@5 ok ok state=open failed=0 slow=3"),
    ("as long as the threshold is not slow", {}, "ok@4 ok@4 ok@4 ok@4 ok@4 state=closed slow=0"),
    (
        "after its wait it is half_open",
        {},
        f"open! {ZERO} refused +3 state=open refused refused=2 +3 allow state=half_open {ZERO}",
    ),
    ("the wait is over to the moment", {}, "open! +4.999999 refused +0.000001 allow"),
    ("nobody calls and it stays open", {}, "open! +3600 state=open"),
    (
        "the wait grows while it does not close",
        BY_COUNT | {"wait_factor": 2},
        "open! +3 refused +3 allow state=half_open open! +6 refused +5 allow state=half_open",
    ),
    (
        "the wait grows to its bound",
        {"wait_factor": 10, "longest_wait_seconds": 7},
        "open! +5 allow open! +6.9 refused +0.1 allow open! +7 allow",
    ),
    (
        "closing resets the wait",
        {"wait_factor": 2, "permitted_probes": 1},
        "open! +5 allow ok state=closed open! +4.9 refused +0.1 allow",
    ),
    (
        "probes that fail open it again",
        {},
        f"{PROBING} allow fail allow fail allow ok state=half_open allow fail "
        "state=open calls=4 failed=3 failure_rate=75",
    ),
    (
        "probes that are slow open it again",
        {},
        f"{PROBING} allow ok@5 allow ok@5 allow ok@5 allow ok@1 "
        "state=open slow=3 slow_call_rate=75 failure_rate=0",
    ),
    (
        "probes below the thresholds close it, and the window is new",
        {},
        f"{PROBING} allow fail allow ok allow ok allow ok state=closed {ZERO} "
        "allow ok calls=1 failed=0",
    ),
    (
        "probes at the threshold open it",
        {},
        f"{PROBING} allow ok allow ok allow fail allow fail state=open",
    ),
    (
        "half_open tells no rate before all probes",
        {},
        f"{PROBING} allow fail failure_rate=None calls=1",
    ),
    (
        "a report without a probe is none",
        {},
        f"{PROBING} fail fail fail fail state=half_open calls=0",
    ),
    ("reset forgets the window", {}, f"ok fail calls=2 failed=1 reset! {ZERO} state=closed"),
    ("reset forgets refusals", {}, "open! refused refused=1 reset! refused=0"),
    (
        "reset closes what is open",
        {},
        "open! reset! state=closed allow told=closed>open,open>closed",
    ),
    ("reset ends a forced state", {}, "force_open! reset! fail fail fail fail fail state=open"),
    (
        "disabled lets all pass and counts nothing",
        {},
        f"disable! state=disabled allow ok allow fail allow fail allow fail "
        f"allow fail allow fail {ZERO}"
        " state=disabled",
    ),
    ("disabled forgets what was", {}, f"ok fail disable! {ZERO} reset! {ZERO}"),
    (
        "forced open does not end with time",
        {},
        f"force_open! state=forced_open refused +6 refused state=forced_open {ZERO} refused=2",
    ),
    (
        "forced closed counts and stays",
        {},
        "force_closed! allow ok@1 allow fail@1 fail fail fail "
        "fail state=forced_closed failed=5 calls=6"
        " allow",
    ),
    (
        "forced closed tells both rates",
        {},
        "force_closed! fail@5 fail@5 fail@5 fail@5 fail@5 "
        "failure_rate=100 slow_call_rate=100 told=closed>forced_closed",
    ),
    ("forcing starts an empty window", {}, f"ok ok calls=2 force_closed! {ZERO}"),
    (
        "an ignored probe is none of the permitted",
        {},
        f"{PROBING} allow ok allow ok allow ok calls=3 allow cancel state=half_open calls=3 "
        "allow fail state=closed",
    ),
    (
        "ignored probes change nothing, then good ones close it",
        {},
        f"{PROBING} allow cancel allow cancel allow cancel allow cancel state=half_open calls=0 "
        f"allow ok allow ok allow ok calls=3 allow ok state=closed {ZERO}",
    ),
    ("from every state to forced closed: closed", {}, "force_closed! state=forced_closed"),
    ("from every state to forced closed: open", {}, "open! force_closed! state=forced_closed"),
    (
        "from every state to forced closed: half_open",
        {},
        f"{PROBING} force_closed! state=forced_closed",
    ),
    ("from every state to forced closed: forced open", {}, "force_open! force_closed! allow"),
    (
        "from every state to forced closed: disabled",
        {},
        "disable! force_closed! state=forced_closed",
    ),
    (
        "a change to the same state is none and not told",
        {},
        "open! told=closed>open open! told= half_open! told=open>half_open half_open! told= "
        "disable! told=half_open>disabled disable! told= force_closed! told=disabled>forced_closed "
        "force_closed! told= force_open! told=forced_closed>forced_open force_open! told= "
        "reset! told=forced_open>closed reset! told=",
    ),
    (
        "open by hand ends a forced state",
        {},
        "force_open! open! state=open +5 allow state=half_open",
    ),
    (
        "half_open for too long opens it",
        {"half_open_seconds": 1},
        f"{PROBING} +0.9 state=half_open +0.1 "
        "state=open told=closed>open,open>half_open,half_open>open"
        " refused +5 allow state=half_open",
    ),
    (
        "the wait counts from when half_open was over, not from when it was noticed",
        {"half_open_seconds": 1},
        f"{PROBING} {FULL} +6 allow state=half_open",
    ),
    (
        "a probe nobody hears of gives its place back",
        {"permitted_probes": 1, "probe_seconds": 2},
        f"{PROBING} allow refused +2 allow refused",
    ),
    ("too few calls never open it", {}, "fail fail fail fail state=closed failure_rate=None"),
    ("just below the threshold it stays closed", BY_COUNT, "ok fail ok fail ok state=closed"),
    ("at the threshold it opens", BY_COUNT | {"minimum_calls": 4}, "ok ok fail fail state=open"),
    (
        "by count only the last calls matter",
        BY_COUNT,
        "fail fail ok ok ok calls=5 failed=2 ok ok failed=0 "
        "calls=5 fail fail failed=2 state=closed",
    ),
    (
        "by time only the last seconds matter",
        {},
        "fail fail fail fail +6 fail state=closed calls=1",
    ),
    ("a success can open it too", BY_COUNT, "fail fail fail ok state=closed ok state=open"),
    (
        "what opened it stays to be seen",
        BY_COUNT,
        "ok fail fail fail fail state=open failed=4 calls=5",
    ),
]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def play(breaker: CircuitBreaker, clock: Clock, told: list[str], word: str) -> None:
    kind, _, seconds = word.partition("@")
    name, is_claim, value = word.partition("=")
    if kind == "ok":
        breaker.record_success(float(seconds or 0))
    elif kind == "fail":
        breaker.record_failure(float(seconds or 0))
    elif word in ("allow", "refused"):
        assert breaker.allow() is (word == "allow"), word
    elif word.startswith("+"):
        clock.now = round(clock.now + float(word), 6)
    elif word == "cancel" or word.endswith("!"):
        getattr(breaker, word.rstrip("!"))()
    elif name == "told":
        assert told == (value.split(",") if value else []), word
        told.clear()
    else:
        assert is_claim, word
        actual = getattr(breaker.metrics(), name)
        assert (
            actual if name == "state" else str(actual if actual is None else round(actual))
        ) == value, word


@pytest.mark.parametrize(
    ("settings", "script"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_a6_states_and_thresholds_are_as_in_resilience4j(
    settings: dict[str, Any], script: str
) -> None:
    clock, told = Clock(), list[str]()
    breaker = CircuitBreaker(
        **{**BASE, **settings},
        clock=clock,
        on_state_change=lambda old, new: told.append(f"{old}>{new}"),
    )
    for word in script.split():
        play(breaker, clock, told, word)


def test_a_closed_breaker_cannot_be_made_half_open() -> None:
    breaker = CircuitBreaker()
    with pytest.raises(RuntimeError, match="a closed breaker cannot become half_open"):
        breaker.half_open()
    assert breaker.state == "closed"


def test_a_breaker_has_the_name_it_was_given() -> None:
    assert CircuitBreaker("payments").name == "payments"
