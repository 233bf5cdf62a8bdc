"""Units of the configuration file: durations, sizes, and numbers with strict ranges.

Each class is a pydantic annotation (`Annotated[int, Whole(1, 10)]`) that both checks a value and
describes itself to the JSON schema. Nothing is coerced by accident: `true` is not 1, "1e3" is not
a number. Decimal text is taken, because `${NAME}` and environment variables are always text.
Durations are a number of seconds or text such as "2s", "500ms", "1.5h"; sizes are a number of
bytes or text such as "256MiB", "10MB".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "Money",
    "Number",
    "Size",
    "Span",
    "Switch",
    "Unit",
    "Whole",
    "format_duration",
    "microseconds",
]

_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_REFERENCE: Final = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"

_DURATION_UNITS: Final = {
    "us": 1,
    "ms": 1_000,
    "": 1_000_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_SIZE_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def microseconds(duration: timedelta) -> int:
    """The duration as a whole number of microseconds."""
    return duration // timedelta(microseconds=1)


def format_duration(duration: timedelta) -> str:
    """The duration as the configuration writes it: `2s`, `500ms`, `10m`."""
    micros = microseconds(duration)
    if micros == 0:
        return "0s"
    unit = next(unit for unit in ("h", "m", "s", "ms", "us") if micros % _DURATION_UNITS[unit] == 0)
    return f"{micros // _DURATION_UNITS[unit]}{unit}"


def _quantity(value: object, units: dict[str, int], hint: str) -> int:
    """`value` in the smallest of `units`; ValueError with `hint` when it is not a quantity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(hint)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(hint)
        return round(Fraction(value) * units[""])
    if isinstance(value, int):
        return value * units[""]
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in units:
        raise ValueError(hint)
    return round(Fraction(match[1]) * units[match[2]])


class Unit:
    """What the annotations share: pydantic asks for `parse`, `show` and a JSON schema."""

    def parse(self, value: object) -> Any:
        raise NotImplementedError

    def show(self, value: Any) -> Any:
        return value

    def json_schema(self) -> JsonSchemaValue:
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        show = core_schema.plain_serializer_function_ser_schema(self.show, when_used="json")
        return core_schema.no_info_plain_validator_function(self.parse, serialization=show)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.json_schema(), {"type": "string", "pattern": _REFERENCE}]}


@dataclass(frozen=True)
class Whole(Unit):
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def parse(self, value: object) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not self.low <= value <= self.high:
            raise ValueError(f"must be from {self.low} to {self.high}")
        return value

    def json_schema(self) -> JsonSchemaValue:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Unit):
    """A number from `low` to `high`, fractions included."""

    low: float
    high: float

    def parse(self, value: object) -> float:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number")
        if not self.low <= value <= self.high:
            raise ValueError(f"must be from {self.low:g} to {self.high:g}")
        return float(value)

    def json_schema(self) -> JsonSchemaValue:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Money(Unit):
    """An amount of USD, from one micro-USD to `high_micro_usd`, exact to six decimals."""

    high_micro_usd: int

    def parse(self, value: object) -> Decimal:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = Decimal(value)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise ValueError("must be an amount of USD")
        high = Decimal(self.high_micro_usd).scaleb(-6)
        if not 0 < value <= high:
            raise ValueError(f"must be above 0 and at most {high:f} USD")
        amount = Decimal(str(value))
        if amount != round(amount, 6):
            raise ValueError("must be an amount of USD with at most six decimals")
        return amount

    def show(self, value: Decimal) -> float:
        return float(value)

    def json_schema(self) -> JsonSchemaValue:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": self.high_micro_usd / 1e6}


@dataclass(frozen=True)
class Size(Unit):
    """A number of bytes from `low` to `high`."""

    low: int
    high: int

    def parse(self, value: object) -> int:
        size = _quantity(value, _SIZE_UNITS, 'must be a size such as 65536 or "256MiB"')
        if not self.low <= size <= self.high:
            raise ValueError(f"must be from {self.low} to {self.high} bytes")
        return size

    def json_schema(self) -> JsonSchemaValue:
        text = r"^[0-9]+(\.[0-9]+)? ?(B|KB|MB|GB|KiB|MiB|GiB)?$"
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": text}]}


@dataclass(frozen=True)
class Span(Unit):
    """A duration from `low` to `high`, both written as the file writes them."""

    low: str
    high: str

    def parse(self, value: object) -> timedelta:
        if isinstance(value, timedelta):
            micros = microseconds(value)
        else:
            micros = _quantity(value, _DURATION_UNITS, 'must be a duration such as 2 or "500ms"')
        low, high = (_quantity(bound, _DURATION_UNITS, "") for bound in (self.low, self.high))
        if not low <= micros <= high:
            raise ValueError(f"must be from {self.low} to {self.high}")
        return timedelta(microseconds=micros)

    def show(self, value: timedelta) -> str:
        return format_duration(value)

    def json_schema(self) -> JsonSchemaValue:
        text = r"^[0-9]+(\.[0-9]+)? ?(us|ms|s|m|h|d)?$"
        return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": text}]}


@dataclass(frozen=True)
class Switch(Unit):
    """true or false; the same as text, for environment variables."""

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise ValueError("must be true or false")

    def json_schema(self) -> JsonSchemaValue:
        return {"type": "boolean"}
