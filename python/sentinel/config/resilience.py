"""What becomes of calls to an upstream that is slow, failing or busy.

The words and defaults are those of docs/resilience.md; ranges are those the engine checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sentinel.config.faults import Found, Location
from sentinel.config.plain import Plain, map_of
from sentinel.config.section import Section, told
from sentinel.config.units import Span, Switch, Whole, format_duration

__all__ = [
    "AdaptiveConcurrencySettings",
    "Breaker",
    "BreakerSettings",
    "BudgetSettings",
    "CoolDownSettings",
    "RetrySettings",
    "TimeoutSettings",
    "broken_resilience",
]

Percent = Annotated[int, Whole(1, 100)]
PercentOrNone = Annotated[int, Whole(0, 100)]
Threshold = Annotated[timedelta, Span("0s", "24h")]
Wait = Annotated[timedelta, Span("1ms", "1h")]


class TimeoutSettings(Section):
    """Deadlines of one upstream call.

    `connect` bounds getting a connection, `first_byte` the time from sending to the whole head of
    the reply, `idle` each silence after it, `total` the whole call.
    """

    connect: Annotated[timedelta, Span("1ms", "5m")] = timedelta(seconds=2)
    first_byte: Annotated[timedelta, Span("1ms", "1h")] = timedelta(seconds=60)
    idle: Annotated[timedelta, Span("1ms", "1h")] = timedelta(seconds=30)
    total: Annotated[timedelta, Span("1ms", "24h")] = timedelta(minutes=10)


class BreakerSettings(Section):
    """When a target is left alone, and when it is tried again.

    `window: count` watches the last `window_calls`, `window: time` the last `window_length` in
    `window_buckets` parts. A `slow_` span of 0 is not looked at.
    """

    enabled: Annotated[bool, Switch()] = True
    window: Literal["count", "time"] = "count"
    window_calls: Annotated[int, Whole(1, 100_000)] = 100
    window_length: Annotated[timedelta, Span("1ms", "24h")] = timedelta(seconds=30)
    window_buckets: Annotated[int, Whole(1, 3600)] = 10
    minimum_calls: Annotated[int, Whole(1, 100_000)] = 20
    failure_rate_percent: Percent = 50
    slow_rate_percent: Percent = 80
    slow_duration: Threshold = timedelta(0)
    slow_first_token: Threshold = timedelta(0)
    slow_gap: Threshold = timedelta(0)
    open_wait: Wait = timedelta(seconds=5)
    wait_factor: Annotated[int, Whole(1, 10)] = 2
    longest_wait: Wait = timedelta(minutes=2)
    jitter_percent: PercentOrNone = 10
    probes: Annotated[int, Whole(1, 1000)] = 1
    probe_timeout: Annotated[timedelta, Span("1ms", "24h")] = timedelta(seconds=60)


def _switched(value: Any) -> Any:
    """`breaker: false` is short for `breaker: {enabled: false}`."""
    if isinstance(value, bool) or value in ("true", "false"):
        return {"enabled": value}
    return value


Breaker = Annotated[
    BreakerSettings, BeforeValidator(_switched, json_schema_input_type=bool | BreakerSettings)
]


def _whole_seconds(window: timedelta) -> timedelta:
    if window.microseconds:
        raise ValueError("must be whole seconds")
    return window


class BudgetSettings(Section):
    """How many retries there may be: a share of the calls of the last `window`, and a few more."""

    percent: PercentOrNone = 20
    per_second: Annotated[int, Whole(0, 100_000)] = 1
    window: Annotated[timedelta, Span("1s", "1h"), AfterValidator(_whole_seconds)] = timedelta(
        seconds=10
    )


class RetrySettings(Section):
    """How often and how soon a call is tried again. `attempts` counts all calls: 1 is no retry."""

    attempts: Annotated[int, Whole(1, 10)] = 3
    base: Wait = timedelta(milliseconds=100)
    cap: Wait = timedelta(seconds=5)
    longest_retry_after: Annotated[timedelta, Span("0s", "1h")] = timedelta(seconds=10)
    budget: BudgetSettings = Field(default_factory=BudgetSettings)


class CoolDownSettings(Section):
    """How long a credential rests after a 429 that does not say."""

    first: Wait = timedelta(seconds=1)
    longest: Annotated[timedelta, Span("1ms", "24h")] = timedelta(minutes=5)


class AdaptiveConcurrencySettings(Section):
    """How many calls a target may have under way, found from its time to the first token."""

    least: Annotated[int, Whole(1, 1_000_000)] = 1
    most: Annotated[int, Whole(1, 1_000_000)] = 1000
    initial: Annotated[int, Whole(1, 1_000_000)] = 20
    tolerance_percent: Annotated[int, Whole(101, 10_000)] = 200
    baseline_window: Annotated[timedelta, Span("1ms", "24h")] = timedelta(minutes=1)


def broken_resilience(document: Plain) -> Iterator[Found]:
    """Every pair of an upstream's members that contradict each other."""
    for name, upstream in map_of(document.get("upstreams")).items():
        where: Location = ("upstreams", name)
        entry = map_of(upstream)
        yield from _broken_breaker((*where, "breaker"), map_of(entry.get("breaker")))
        yield from _unreachable((*where, "breaker"), entry)
        yield from _ordered(where, entry)
        adaptive = map_of(entry.get("adaptive_concurrency"))
        yield from _broken_adaptive((*where, "adaptive_concurrency"), adaptive)


def _broken_breaker(where: Location, entry: Plain) -> Iterator[Found]:
    window, buckets, calls, least = (
        told(BreakerSettings, entry, name)
        for name in ("window_length", "window_buckets", "window_calls", "minimum_calls")
    )
    if entry.get("window", "count") == "count":
        if calls is not None and least is not None and least > calls:
            yield Found((*where, "minimum_calls"), f"must be at most `window_calls`, here {calls}")
    elif window is not None and buckets is not None and window < buckets * _LEAST_BUCKET:
        yield Found((*where, "window_length"), "must be at least 1ms for each of `window_buckets`")


_LEAST_BUCKET: Final = timedelta(milliseconds=1)
_ENDS: Final = {"slow_duration": "total", "slow_first_token": "total", "slow_gap": "idle"}


def _unreachable(where: Location, upstream: Plain) -> Iterator[Found]:
    """A call that is cut first is never slow: the threshold would do nothing."""
    breaker, timeouts = map_of(upstream.get("breaker")), map_of(upstream.get("timeouts"))
    for name, timeout in _ENDS.items():
        slow = told(BreakerSettings, breaker, name)
        end = told(TimeoutSettings, timeouts, timeout)
        if slow and end is not None and slow >= end:
            message = f"is never reached: `timeouts.{timeout}` ends it after {format_duration(end)}"
            yield Found((*where, name), message)


_ORDERED: Final[tuple[tuple[str, type[Section], str, str], ...]] = (
    ("breaker", BreakerSettings, "open_wait", "longest_wait"),
    ("retry", RetrySettings, "base", "cap"),
    ("cool_down", CoolDownSettings, "first", "longest"),
)


def _ordered(where: Location, upstream: Plain) -> Iterator[Found]:
    for part, section, shorter, longer in _ORDERED:
        entry = map_of(upstream.get(part))
        first, last = told(section, entry, shorter), told(section, entry, longer)
        if first is not None and last is not None and first > last:
            message = f"must be at least `{shorter}`, here {format_duration(first)}"
            yield Found((*where, part, longer), message)


def _broken_adaptive(where: Location, entry: Plain) -> Iterator[Found]:
    least, initial, most = (
        told(AdaptiveConcurrencySettings, entry, name) for name in ("least", "initial", "most")
    )
    if least is None or initial is None or most is None:
        return
    if least > most:
        yield Found((*where, "most"), f"must be at least `least`, here {least}")
    elif not least <= initial <= most:
        message = f"must be from `least` to `most`, here {least} to {most}"
        yield Found((*where, "initial"), message)
