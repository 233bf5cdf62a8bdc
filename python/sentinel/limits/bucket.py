"""`TokenBucket`: one bucket, without keys."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import Final

from sentinel import _core
from sentinel.limits.limiter import Clock

__all__ = ["TokenBucket"]

_MAX_AMOUNT: Final = 10**15
_MICROSECONDS: Final = 1_000_000
_MAX_PERIOD: Final = 366 * 86_400 * _MICROSECONDS
_MAX_DIGITS: Final = 1_000  # of a Decimal, and of its exponent's reach: no rate needs 100


class TokenBucket(_core.TokenBucket):
    """One bucket of whole units that flows full at `rate`, exactly. Usable from any thread.

    `rate` is units per second: an int, a Fraction or Decimal, a float as it is written (0.1 is one
    in ten seconds), or text as `"100/min"` and `"20000 tokens/min burst 500"`. `burst` is how much
    may be taken at once, and what the bucket begins with; text has one of its own. Any window of
    length W lets pass at most burst + rate x W: the generic cell rate algorithm (ITU-T I.371) on
    integers, so that 7/min never drifts. `clock` gives seconds that never go back (default:
    time.monotonic). ValueError if a rate is not above 0 or needs more than 366 days for a number of
    units above 10**15, or if `burst` is not 1 to 10**15.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        rate: str | float | Decimal | Fraction,
        burst: int | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        amount, period, own_burst = _parse(rate)
        size = own_burst if burst is None else burst
        if size is None:
            raise ValueError("burst must be given with a rate per second")
        if not isinstance(size, int):
            raise TypeError(f"burst must be a whole number, not {type(size).__name__}")
        if not 1 <= size <= _MAX_AMOUNT:
            raise ValueError(f"burst must be 1 to 10**15, not {size}")
        super().__init__(amount=amount, period_microseconds=period, burst=size, clock=clock)


def _parse(rate: object) -> tuple[int, int, int | None]:
    """Amount, period in microseconds, and the burst if the text says one."""
    if isinstance(rate, str):
        told = _core.Rate(rate)
        if told.kind == "money":
            raise ValueError(f'rate "{rate}" counts money: use RateLimiter')
        return told.amount, told.period_microseconds, told.burst
    return (*_per_second(rate), None)


def _per_second(rate: object) -> tuple[int, int]:
    if isinstance(rate, float):
        exact = _fraction(Decimal(repr(rate)), rate)
    elif isinstance(rate, Decimal):
        exact = _fraction(rate, rate)
    elif isinstance(rate, Rational):
        exact = Fraction(rate)
    else:
        raise TypeError(f"rate must be a number or text, not {type(rate).__name__}")
    per_microsecond = exact / _MICROSECONDS
    amount, period = per_microsecond.numerator, per_microsecond.denominator
    if not 1 <= amount <= _MAX_AMOUNT or period > _MAX_PERIOD:
        raise _out_of_range(rate)
    return amount, period


def _fraction(value: Decimal, rate: object) -> Fraction:
    if not value.is_finite():
        raise ValueError(f"rate must be a finite number, not {rate!r}")
    digits = len(value.as_tuple().digits)
    if digits > _MAX_DIGITS or abs(value.adjusted()) > _MAX_DIGITS:
        raise _out_of_range(rate)  # a Fraction of it might have 10**8 digits
    return Fraction(value)


def _out_of_range(rate: object) -> ValueError:
    return ValueError(
        "rate must be above 0, at most 10**15 units per microsecond, and a fraction with "
        f"whole units in at most 366 days, not {rate!r}"
    )
