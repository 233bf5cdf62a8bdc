"""`RateLimiter`: some rules, and a bucket of each for every key."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sentinel import _core
from sentinel.limits.decision import Cost, Decision, Headroom, Reservation

__all__ = ["Clock", "RateLimiter"]

_UNITS: Final = {"requests": "requests", "tokens": "tokens", "money": "micro_usd"}  # by kind
_MAX_RULES: Final = 48
_MAX_KEYS: Final = 10**9
_MAX_CONCURRENCY: Final = 10**6
_MAX_HOLD_SECONDS: Final = 1e9

Clock = Callable[[], float]


class RateLimiter(_core.RateLimiter):
    """Lets calls pass as its rules allow, for each key on its own. Usable from any thread.

    A rule is text as in docs/limits.md: `100/min`, `60/s burst 10`, `20000 tokens/min`,
    `5 usd/day`. Any window of length W admits at most burst + rate x W, in whole numbers, exactly:
    the generic cell rate algorithm (ITU-T I.371) on integers. `concurrency` is how many calls of a
    key may be under way at once. A call passes if every rule lets it pass, and then takes from all
    of them; else from none.

    `clock` gives seconds that never go back (default: time.monotonic). At most `max_keys` keys are
    kept for every rule; beyond that the key that would be full again soonest is forgotten. What
    nobody settles, releases or refunds comes back after `hold_seconds`; choose more than your
    longest call takes. ValueError if a rule is no rule, or two of them count the same over the same
    period.
    """

    __slots__ = ("__weakref__", "_units")

    def __init__(
        self,
        *rules: str,
        concurrency: int | None = None,
        clock: Clock | None = None,
        max_keys: int = 65_536,
        hold_seconds: float = 900.0,
    ) -> None:
        if not isinstance(max_keys, int) or not 0 < max_keys <= _MAX_KEYS:
            raise ValueError(f"max_keys must be a whole number, 1 to 10**9, not {max_keys!r}")
        if not isinstance(hold_seconds, int | float) or not 0 < hold_seconds <= _MAX_HOLD_SECONDS:
            raise ValueError(f"hold_seconds must be above 0 and at most 1e9, not {hold_seconds!r}")
        if concurrency is not None and not _is_count(concurrency):
            raise ValueError(f"concurrency must be a whole number, 1 to 10**6, not {concurrency!r}")
        rates = _parse(rules, concurrency)
        units = {_UNITS[rate.kind] for rate in rates}
        self._units = frozenset(units if concurrency is None else units | {"concurrency"})
        super().__init__(
            rates=rates,
            concurrency=concurrency or 0,
            clock=clock,
            max_keys=max_keys,
            hold_seconds=float(hold_seconds),
            seed=secrets.randbits(64),
            headroom=Headroom,
        )

    @property
    def units(self) -> frozenset[str]:
        """What the rules count: of `requests`, `tokens`, `micro_usd` and `concurrency`."""
        return self._units

    if TYPE_CHECKING:  # the compiled methods, as they are meant to be called

        def acquire(self, key: str, cost: Cost = 1, now: float | None = None) -> Decision:
            """Take `cost` for `key` now, if every rule allows it.

            A number is meant in tokens or micro-USD if the limiter has such rules, and the call is
            one request besides; else it is a number of requests. `{"tokens": ..., "micro_usd":
            ...}` says it for several units. Requests are taken at once. Tokens, money and the
            call's place of `concurrency` are held until `settle`, `release` or `refund`: give the
            most the call may need. `now` stands for the clock, on its axis.
            """

        def settle(self, reservation: Reservation, actual: Cost, now: float | None = None) -> bool:
            """Let what the call really used take the place of what was held.

            Less is free again at once, more is owed; requests stay counted. False, and no change,
            if the reservation has ended before or has expired.
            """

        def release(self, reservation: Reservation, now: float | None = None) -> bool:
            """The call is over, and used what was held. False as of `settle`."""

        def refund(self, reservation: Reservation, now: float | None = None) -> bool:
            """Give everything back: the call failed before it cost anything.

            The request comes back less what has flowed back since. False as of `settle`.
            """


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= _MAX_CONCURRENCY


def _parse(rules: tuple[str, ...], concurrency: int | None) -> tuple[_core.Rate, ...]:
    if not rules and concurrency is None:
        raise ValueError('a limiter needs a rule, such as "100/min"')
    for rule in rules:
        if not isinstance(rule, str):
            raise TypeError(f"a rule must be str, not {type(rule).__name__}")
    rates = tuple(_core.Rate(rule) for rule in rules)
    count = len(rates) + (concurrency is not None)
    if count > _MAX_RULES:
        raise ValueError(f"a limiter has at most {_MAX_RULES} rules, not {count}")
    counted = [(rate.kind, rate.period_microseconds) for rate in rates]
    for index, one in enumerate(counted):
        if one in counted[:index]:
            raise ValueError(f'"{rules[index]}": another rule counts {one[0]} over the same period')
    return rates
