"""`limits`: what an account, a route, a key, a credential or a client's address may take.

`rpm`, `tpm` and `usd_per_day` are short for the rates that are written most; `rates` takes any
other (rates.py), as text or as `{rate, hits}`. All that a node has count together. No limits means
none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Tag

from sentinel.config.faults import Found, Location
from sentinel.config.plain import Plain, items_of, map_of, text_of
from sentinel.config.rates import (
    MICRO_PER_USD,
    RateKind,
    RateText,
    micro_usd_text,
    parse_rate,
)
from sentinel.config.section import Section
from sentinel.config.units import Money, Whole, format_duration
from sentinel.types import Rules

__all__ = ["Network", "RateLimits", "broken_limits", "rules_of"]

_MAX_RATES: Final = 8
_MAX_AMOUNT: Final = 10**15

Amount = Annotated[int, Whole(1, _MAX_AMOUNT)]


Hits = Literal["free", "count"]


class RateRule(Section):
    """A rate that says whether it counts answers from the cache, too."""

    rate: RateText
    hits: Hits = "free"


def _form_of(value: object) -> str:
    """Which of the two forms of a rate is meant, as a place in the file that is not shown."""
    return "[rule]" if isinstance(value, dict | RateRule) else "[text]"


RateEntry = Annotated[
    Annotated[RateText, Tag("[text]")] | Annotated[RateRule, Tag("[rule]")],
    Discriminator(_form_of),
]


class RateLimits(Section):
    """The rules of one node."""

    rpm: Amount | None = None
    tpm: Amount | None = None
    concurrency: Annotated[int, Whole(1, 1_000_000)] | None = None
    usd_per_day: Annotated[Decimal, Money(_MAX_AMOUNT)] | None = None
    rates: tuple[RateEntry, ...] = ()


def rules_of(limits: RateLimits | None) -> Rules:
    """What the engine is told; the shortcuts first, then `rates` as they are written."""
    if limits is None:
        return Rules()
    rates: list[str] = []
    if limits.rpm is not None:
        rates.append(f"{limits.rpm}/min")
    if limits.tpm is not None:
        rates.append(f"{limits.tpm} tokens/min")
    if limits.usd_per_day is not None:
        micro_usd = int(limits.usd_per_day * MICRO_PER_USD)
        rates.append(f"{micro_usd_text(micro_usd)} usd/day")
    counting: list[str] = []
    for entry in limits.rates:
        text, hits = (entry, "free") if isinstance(entry, str) else (entry.rate, entry.hits)
        (counting if hits == "count" else rates).append(text)
    return Rules(tuple(rates), limits.concurrency, tuple(counting))


_SHORTCUTS: Final[dict[str, tuple[RateKind, timedelta]]] = {
    "rpm": ("requests", timedelta(minutes=1)),
    "tpm": ("tokens", timedelta(minutes=1)),
    "usd_per_day": ("money", timedelta(days=1)),
}


def broken_limits(document: Plain) -> Iterator[Found]:
    """Every node with too many rates, or with two of one kind for the same period."""
    for where, limits in _nodes(document):
        yield from _broken_node(where, limits)
        yield from _no_use_of_hits(where, limits)
    yield from _not_by_address(map_of(map_of(document.get("server")).get("per_address")))


def _not_by_address(limits: Plain) -> Iterator[Found]:
    """An address is asked before anybody knows what a request costs or when it ends."""
    where: Location = ("server", "per_address")
    message = "only rates of requests are kept per address"
    for name in ("tpm", "usd_per_day", "concurrency"):
        if limits.get(name) is not None:
            yield Found((*where, name), message)
    for index, entry in enumerate(items_of(limits.get("rates"))):
        counted = _counted(entry)
        if counted is not None and counted[0] != "requests":
            yield Found((*where, "rates", index), message)


def _no_use_of_hits(where: Location, limits: Plain) -> Iterator[Found]:
    """`hits: count` where no answer from the cache is ever asked, or where each is counted."""
    for index, entry in enumerate(items_of(limits.get("rates"))):
        if map_of(entry).get("hits") != "count":
            continue
        counted = _counted(entry)
        if where[0] == "upstreams":
            yield Found((*where, "rates", index, "hits"), "an upstream's key serves no hits")
        elif counted is not None and counted[0] == "requests":
            yield Found((*where, "rates", index, "hits"), "every hit is a request: leave it out")


def _nodes(document: Plain) -> Iterator[tuple[Location, Plain]]:
    """Every place that may hold limits, with what stands there."""
    yield ("server", "per_address"), map_of(map_of(document.get("server")).get("per_address"))
    for section in ("accounts", "routes"):
        for name, entry in map_of(document.get(section)).items():
            yield (section, name, "limits"), map_of(map_of(entry).get("limits"))
    for name, entry in map_of(document.get("accounts")).items():
        yield ("accounts", name, "end_users"), map_of(map_of(entry).get("end_users"))
    for index, key in enumerate(items_of(document.get("keys"))):
        yield ("keys", index, "limits"), map_of(map_of(key).get("limits"))
    for name, upstream in map_of(document.get("upstreams")).items():
        for index, entry in enumerate(items_of(map_of(upstream).get("credentials"))):
            where = ("upstreams", name, "credentials", index, "limits")
            yield where, map_of(map_of(entry).get("limits"))


def _broken_node(where: Location, limits: Plain) -> Iterator[Found]:
    rates = items_of(limits.get("rates"))
    short = [name for name in _SHORTCUTS if limits.get(name) is not None]
    if (count := len(short) + len(rates)) > _MAX_RATES:
        message = f"makes {count} rates in one place, at most {_MAX_RATES} are kept"
        yield Found((*where, "rates"), message)
        return
    seen = {_SHORTCUTS[name]: f"`{name}`" for name in short}
    for index, entry in enumerate(rates):
        counted = _counted(entry)
        if counted is None:
            continue
        if counted in seen:
            kind, period = counted
            message = (
                f"counts {kind} per {format_duration(period)}, as {seen[counted]} does already"
            )
            yield Found((*where, "rates", index), message)
        seen.setdefault(counted, f"`rates[{index}]`")


def _counted(entry: object) -> tuple[RateKind, timedelta] | None:
    """What tells two rates of one node apart, or None for what is no rate."""
    text = text_of(map_of(entry).get("rate")) or text_of(entry) or ""
    try:
        rate = parse_rate(text)
    except ValueError:
        return None
    return rate.kind, rate.period


def _network(text: str) -> str:
    if "%" in text:
        raise ValueError("must not name a zone (%): write the network alone")
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError("must be a network such as 10.0.0.0/8 or ::1") from None


Network = Annotated[str, AfterValidator(_network)]
