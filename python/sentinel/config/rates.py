"""How a limit is written: `100/min`, `20000 tokens/min burst 5000`, `0.25 usd/hour`.

The same grammar as the engine's (cpp/sentinel/limit/rate.hpp), read here so that a fault is told
with its place beside all others. The text itself is what the engine gets, unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

__all__ = ["MICRO_PER_USD", "Rate", "RateKind", "RateText", "micro_usd_text", "parse_rate"]

RateKind = Literal["requests", "tokens", "money"]

MICRO_PER_USD: Final = 1_000_000
_USD_DECIMALS: Final = 6
_MAX_AMOUNT: Final = 10**15
_MAX_PERIOD: Final = timedelta(days=366)
_MAX_TEXT: Final = 100

_KINDS: Final[dict[str, RateKind]] = {
    "": "requests",
    "request": "requests",
    "requests": "requests",
    "token": "tokens",
    "tokens": "tokens",
    "usd": "money",
    "USD": "money",
}
_PERIODS: Final = {
    **dict.fromkeys(("s", "sec", "second"), timedelta(seconds=1)),
    **dict.fromkeys(("min", "minute"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day"), timedelta(days=1)),
}
# Words end where the letters end: "minburst" is one word and no period.
_RATE = re.compile(
    r" *(?P<amount>[0-9.]*) *(?P<kind>[A-Za-z]*+) */"
    r" *(?P<count>[0-9.]*) *(?P<period>[A-Za-z]*+) *(?:burst *(?P<burst>[0-9.]*) *)?"
)
_NUMBER = re.compile(r"(?=[0-9.])([0-9]*)(?:\.([0-9]+))?")
_FORM: Final = 'must be a rate such as "100/min", "20000 tokens/min" or "5 usd/day burst 1"'


@dataclass(frozen=True, slots=True)
class Rate:
    """An amount per period. Amount and burst are micro-USD if it counts money."""

    kind: RateKind
    amount: int
    period: timedelta
    burst: int


def parse_rate(text: str) -> Rate:
    """The rate that `text` says; ValueError with a sentence when it says none."""
    match = _RATE.fullmatch(text)
    if match is None or len(text) > _MAX_TEXT:
        raise ValueError(_FORM)
    kind = _KINDS.get(match["kind"])
    if kind is None:
        raise ValueError("must count requests, tokens or usd")
    period = _period(match["count"], match["period"])
    amount = _amount(match["amount"], kind, "an amount")
    burst = amount if match["burst"] is None else _amount(match["burst"], kind, "a burst")
    return Rate(kind, amount, period, burst)


def micro_usd_text(micro_usd: int) -> str:
    """Money as a rate writes it: 250,000 micro-USD are `0.25`."""
    return f"{(Decimal(micro_usd) / MICRO_PER_USD).normalize():f}"


def _number(digits: str, decimals: int) -> int | None:
    """`digits` in units of 10^-decimals, or None when they are no such number or too large."""
    match = _NUMBER.fullmatch(digits)
    if match is None or ("." in digits and decimals == 0):
        return None
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        return None
    number = int(whole + fraction.ljust(decimals, "0"))
    return number if number <= _MAX_AMOUNT else None


def _amount(digits: str, kind: RateKind, name: str) -> int:
    money = kind == "money"
    amount = _number(digits, _USD_DECIMALS if money else 0)
    if not amount:
        bounds = "0.000001 to 10^9 USD, in six decimals at most" if money else "1 to 10^15"
        raise ValueError(f"must have {name} of {bounds}")
    return amount


def _period(count: str, unit: str) -> timedelta:
    length = _PERIODS.get(unit)
    if length is None:
        raise ValueError("must be per s, min, hour or day")
    times = _number(count, 0) if count else 1
    if not times or times > _MAX_PERIOD // length:
        raise ValueError("must be per 1 s to 366 days")
    return length * times


def _checked(text: str) -> str:
    parse_rate(text)
    return text


RateText = Annotated[
    str,
    AfterValidator(_checked),
    Field(json_schema_extra={"examples": ["100/min", "20000 tokens/min", "5 usd/day burst 1"]}),
]
