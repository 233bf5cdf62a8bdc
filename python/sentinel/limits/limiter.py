"""`RateLimiter`: some rules, and a bucket of each for every key."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from sentinel import _core
from sentinel.limits.decision import Cost, Decision, Headroom, Reservation

__all__ = ["RateLimiter"]

_UNITS: Final = {"requests": "requests", "tokens": "tokens", "money": "micro_usd"}  # by kind
_DEFAULTS: Final = {"requests": 1, "tokens": 0, "micro_usd": 0}
_MAX_COST: Final = 10**15
_MAX_OPEN: Final = 65_536
_MAX_RULES: Final = 48
_MAX_KEYS: Final = 10**9
_MAX_HOLD_SECONDS: Final = 1e9

Clock = Callable[[], float]


class RateLimiter:
    """Lets calls pass as its rules allow, for each key on its own. Usable from any thread.

    A rule is text as in docs/limits.md: `100/min`, `60/s burst 10`, `20000 tokens/min`,
    `5 usd/day`. Any window of length W admits at most burst + rate x W, in whole numbers, exactly.
    A call passes if every rule lets it pass, and then takes from all of them; else from none.

    `clock` gives seconds that never go back (default: time.monotonic). At most `max_keys` keys are
    kept for every rule; beyond that the key that would be full again soonest is forgotten. What
    nobody settles or refunds comes back after `hold_seconds`; choose more than your longest call
    takes. ValueError if a rule is no rule, or two of them count the same over the same period.
    """

    def __init__(
        self,
        *rules: str,
        clock: Clock | None = None,
        max_keys: int = 65_536,
        hold_seconds: float = 900.0,
    ) -> None:
        if not isinstance(max_keys, int) or not 0 < max_keys <= _MAX_KEYS:
            raise ValueError(f"max_keys must be a whole number, 1 to 10**9, not {max_keys!r}")
        if not isinstance(hold_seconds, int | float) or not 0 < hold_seconds <= _MAX_HOLD_SECONDS:
            raise ValueError(f"hold_seconds must be above 0 and at most 1e9, not {hold_seconds!r}")
        self._rates = _parse(rules)
        self._units = tuple(_UNITS[rate.kind] for rate in self._rates)
        self._needed = frozenset(self._units) - {"requests"}
        self._money = tuple(rate for rate in self._rates if rate.kind == "money")
        self._clock = time.monotonic if clock is None else clock
        self._table = _core.LimitTable(
            max_buckets=max_keys * len(self._rates),
            max_reservations=_MAX_OPEN,
            reservation_seconds=hold_seconds,
            seed=secrets.randbits(64),
        )
        self._take = self._table.reserve if self._needed else self._table.charge

    @property
    def units(self) -> frozenset[str]:
        """What the rules count: of `requests`, `tokens` and `micro_usd`."""
        return frozenset(self._units)

    def acquire(self, key: str, cost: Cost = 1, now: float | None = None) -> Decision:
        """Take `cost` for `key` now, if every rule allows it.

        A number is meant in tokens or micro-USD if the limiter has such rules, and the call is one
        request besides; else it is a number of requests. `{"tokens": ..., "micro_usd": ...}` says
        it for several units. Requests are taken at once. Tokens and money are held until `settle`
        or `refund`: give the most the call may need. `now` stands for the clock, on its axis.
        """
        if not isinstance(key, str):
            raise TypeError(f"key must be str, not {type(key).__name__}")
        costs = self._costs(cost, "cost")
        wants = [(rate, costs[unit]) for rate, unit in zip(self._rates, self._units, strict=True)]
        moment = self._now(now)
        name = key.encode("utf-8", "surrogatepass")  # any str is a key
        reservation, wait, requests, tokens = self._take(name, wants, moment)
        money = self._money_left(name, moment) if self._money else None
        first = requests or tokens or money
        return Decision(
            allowed=wait is None,
            remaining=0 if first is None else first[1],
            retry_after_seconds=_finite(wait),
            reservation=None if reservation is None else Reservation(reservation, self),
            requests=None if requests is None else Headroom(*requests),
            tokens=None if tokens is None else Headroom(*tokens),
            micro_usd=None if money is None else Headroom(*money),
        )

    def settle(self, reservation: Reservation, actual: Cost, now: float | None = None) -> bool:
        """Let what the call really used take the place of what was held; the request stays counted.

        Less is free again at once, more is owed. False, and no change, if the reservation was
        settled or refunded before, or has expired.
        """
        used = self._costs(actual, "actual")
        return self._table.settle(
            self._id(reservation), used["tokens"], used["micro_usd"], self._now(now)
        )

    def refund(self, reservation: Reservation, now: float | None = None) -> bool:
        """Give everything back: the call failed before it cost anything.

        The request comes back less what has flowed back since. False, and no change, if the
        reservation was settled or refunded before, or has expired.
        """
        return self._table.refund(self._id(reservation), self._now(now))

    def _money_left(self, key: bytes, now: float) -> tuple[int, int, float]:
        views = (self._table.look(key, rate, now) for rate in self._money)
        return min(views, key=lambda view: (view[1], -view[2]))

    def _costs(self, cost: Cost, what: str) -> dict[str, int]:
        if isinstance(cost, Mapping):
            return self._named_costs(cost, what)
        whole = _whole(cost, what)
        if not self._needed:
            return {**_DEFAULTS, "requests": whole}
        if len(self._needed) > 1:
            raise ValueError(f"{what} must name its units: {{'tokens': ..., 'micro_usd': ...}}")
        (unit,) = self._needed
        return {**_DEFAULTS, unit: whole}

    def _named_costs(self, cost: Mapping[str, object], what: str) -> dict[str, int]:
        unknown = cost.keys() - _DEFAULTS.keys()
        if unknown:
            raise ValueError(f"{what}: no such unit {min(map(repr, unknown))}")
        missing = self._needed - cost.keys()
        if missing:
            raise ValueError(f"{what}: {min(missing)} is missing, and there is a rule for it")
        return _DEFAULTS | {unit: _whole(one, f"{what}.{unit}") for unit, one in cost.items()}

    def _now(self, now: float | None) -> float:
        moment = self._clock() if now is None else now
        if not isinstance(moment, int | float):
            raise TypeError(f"now must be seconds, not {type(moment).__name__}")
        return moment

    def _id(self, reservation: Reservation) -> int:
        if not isinstance(reservation, Reservation):
            raise TypeError(f"reservation must be a Reservation, not {type(reservation).__name__}")
        if reservation.limiter is not self:
            raise ValueError("this reservation is another limiter's")
        return reservation.id


def _parse(rules: tuple[str, ...]) -> tuple[_core.Rate, ...]:
    if not rules:
        raise ValueError('a limiter needs a rule, such as "100/min"')
    for rule in rules:
        if not isinstance(rule, str):
            raise TypeError(f"a rule must be str, not {type(rule).__name__}")
    rates = tuple(_core.Rate(rule) for rule in rules)
    if len(rates) > _MAX_RULES:
        raise ValueError(f"a limiter has at most {_MAX_RULES} rules, not {len(rates)}")
    counted = [(rate.kind, rate.period_seconds) for rate in rates]
    for index, one in enumerate(counted):
        if one in counted[:index]:
            raise ValueError(f'"{rules[index]}": another rule counts {one[0]} over the same period')
    return rates


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number, not {type(value).__name__}")
    if not 0 <= value <= _MAX_COST:
        raise ValueError(f"{what} must be 0 to 10**15, not {value}")
    return value


def _finite(wait: float | None) -> float | None:
    if wait is None:
        return 0.0
    return wait if math.isfinite(wait) else None
