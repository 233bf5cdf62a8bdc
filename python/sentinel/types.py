"""Shapes that more than one part of Sentinel speaks about: accounts, scopes, keys, prices.

Only the standard library is used here, and nothing is read or written: a domain that needs one
of these words need not know the domain that makes it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from sentinel.errors import ConfigError, Fault

__all__ = [
    "DEFAULT_ACCOUNT",
    "ISSUED_PREFIX",
    "MAX_ACCOUNT_LEVELS",
    "SCOPES",
    "ConfiguredKey",
    "ModelPrice",
    "PriceTable",
    "Rules",
    "Scope",
    "account_fault",
    "account_parent",
    "account_path",
    "base62",
    "issued_key_checksum",
    "issued_key_well_formed",
    "model_fault",
    "pattern_fault",
]

Scope = Literal["chat", "embeddings"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

DEFAULT_ACCOUNT: Final = "default"
MAX_ACCOUNT_LEVELS: Final = 4
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODEL = re.compile(r"[A-Za-z0-9@._:/+-]{1,256}")


def account_path(account: str) -> tuple[str, ...]:
    """Every account from the root down to this one: `acme/search` -> `acme`, `acme/search`."""
    segments = account.split("/")
    return tuple("/".join(segments[: end + 1]) for end in range(len(segments)))


def account_parent(account: str) -> str | None:
    """The account above this one; an id without a slash has none."""
    return account.rpartition("/")[0] or None


def account_fault(account: str) -> str | None:
    """What is wrong with an account id, or None."""
    segments = account.split("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return (
            "an account id is segments of letters, digits, '.', '_' and '-' (at most 64 each, "
            "the first a letter or digit), joined by '/'"
        )
    if len(segments) > MAX_ACCOUNT_LEVELS:
        return f"accounts have at most {MAX_ACCOUNT_LEVELS} levels, this one has {len(segments)}"
    return None


def model_fault(model: str) -> str | None:
    """What is wrong with a model's name, or None."""
    if _MODEL.fullmatch(model):
        return None
    return "a model name is 1 to 256 letters, digits and any of @ . _ : / + -"


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a model pattern (a name in which one '*' may stand), or None."""
    if pattern.count("*") > 1:
        return "a pattern may hold one '*'"
    return None if pattern == "*" else model_fault(pattern.replace("*", "", 1))


# Keys we issue: prefix, 160 random bits, checksum. The checksum lets the gateway refuse a random
# string before it costs a look-up; it protects nothing.
ISSUED_PREFIX: Final = "sk-sen-"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ISSUED = re.compile(r"sk-sen-([0-9A-Za-z]{27})([0-9A-Za-z]{6})")


def base62(number: int, width: int) -> str:
    """`number` in base 62, most significant digit first, padded with zeros to `width`."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def issued_key_checksum(body: str) -> str:
    """The six characters that follow the 27 random ones of an issued key."""
    return base62(zlib.crc32(body.encode("ascii")), 6)


def issued_key_well_formed(key: str) -> bool:
    """Whether `key` is one that `sentinel keys create` could have printed."""
    match = _ISSUED.fullmatch(key)
    return match is not None and issued_key_checksum(match[1]) == match[2]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a node may take: rates as docs/limits.md writes them, and calls at once (None: any).

    Rates in `rates_counting_hits` count answers from the cache, too. Falsy when it says nothing.
    """

    rates: tuple[str, ...] = ()
    concurrency: int | None = None
    rates_counting_hits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates or self.rates_counting_hits) or self.concurrency is not None

    def document(self) -> dict[str, object]:
        """The shape that the engine reads, in its snapshot and in its keys."""
        return {
            "rates": list(self.rates),
            "rates_counting_hits": list(self.rates_counting_hits),
            "concurrency": self.concurrency,
        }


@dataclass(frozen=True, slots=True)
class ConfiguredKey:
    """A key that stands in the configuration: its digest, or the key itself, never both."""

    id: str
    account: str
    scopes: tuple[Scope, ...] = ()
    models: tuple[str, ...] = ()
    digest: str | None = None
    secret: str | None = field(default=None, repr=False)
    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Micro-USD per 1,000,000 tokens of each kind. `model` is exact or a prefix ending in '*'.

    The exact entry counts first, then the longest prefix.
    """

    model: str
    prompt: int
    cached: int
    cache_write: int
    completion: int


@dataclass(frozen=True, slots=True)
class PriceTable:
    """A dated list of prices. Costs are recorded together with `version`."""

    version: str
    models: tuple[ModelPrice, ...]

    @classmethod
    def from_document(cls, document: object) -> PriceTable:
        """Read `{"version", "models": [{"model", "prompt", ...}]}`; ConfigError lists every fault.

        `cached` and `cache_write` may be left out and are then the prompt's price.
        `source` is a note for people and is not kept.
        """
        faults: list[Fault] = []
        if not isinstance(document, Mapping):
            raise ConfigError([Fault("", "must be a mapping with `version` and `models`")])
        faults += _unknown(document, "", {"version", "source", "models"})
        version = document.get("version")
        if not isinstance(version, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", version):
            faults.append(Fault("version", "must be 1 to 64 letters, digits, '.', '_' or '-'"))
        rows = document.get("models")
        if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
            faults.append(Fault("models", "must be a list of prices"))
            rows = ()
        models = tuple(_prices(rows, faults))
        if faults:
            raise ConfigError(faults)
        return cls(str(version), models)


_MAX_PRICE: Final = 1_000_000_000_000  # a million USD per million tokens
_KINDS: Final = ("prompt", "cached", "cache_write", "completion")


def _unknown(row: Mapping[object, object], path: str, known: set[str]) -> Iterator[Fault]:
    dot = "." if path else ""
    return (Fault(f"{path}{dot}{name}", "unknown member") for name in row if name not in known)


def _prices(rows: Sequence[object], faults: list[Fault]) -> Iterator[ModelPrice]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        path = f"models[{index}]"
        if not isinstance(row, Mapping):
            faults.append(Fault(path, "must be a mapping"))
            continue
        found = [*_unknown(row, path, {"model", *_KINDS}), *_price_faults(row, path, seen)]
        faults.extend(found)
        if found:
            continue
        prompt = row["prompt"]
        yield ModelPrice(
            model=row["model"],
            prompt=prompt,
            cached=row.get("cached", prompt),
            cache_write=row.get("cache_write", prompt),
            completion=row["completion"],
        )


def _price_faults(row: Mapping[object, object], path: str, seen: set[str]) -> Iterator[Fault]:
    model = row.get("model")
    if not isinstance(model, str) or "*" in model[:-1] or pattern_fault(model) is not None:
        yield Fault(f"{path}.model", "must be a model name, or a prefix that ends in '*'")
    elif model in seen:
        yield Fault(f"{path}.model", f'"{model}" has a price already')
    else:
        seen.add(model)
    for kind in _KINDS:
        price = row.get(kind, 0 if kind in ("cached", "cache_write") else None)
        if not isinstance(price, int) or isinstance(price, bool) or not 0 <= price <= _MAX_PRICE:
            message = "must be a whole number of micro-USD per 1,000,000 tokens, not negative"
            yield Fault(f"{path}.{kind}", message)
