"""From what went wrong to faults a person can act on: a path, a sentence, a line.

Faults are gathered with their location as a tuple (`("routes", "gpt-4o", "targets", 0)`) and
become text only at the end, so that a name with a dot in it is never mistaken for two. A fault
that merely follows from another (the place below is already faulty) is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sentinel.errors import ConfigError, Fault

__all__ = ["Found", "Location", "format_path", "from_validation", "to_faults"]

Location = tuple[str | int, ...]


class Found(NamedTuple):
    """A fault before its place is written out."""

    where: Location
    message: str


def format_path(where: Location) -> str:
    """`("routes", "x", "targets", 0)` as `routes.x.targets[0]`."""
    path = ""
    for step in where:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")


def to_faults(
    found: Iterable[Found],
    lines: Mapping[Location, int] | None = None,
    origins: Mapping[Location, str] | None = None,
) -> list[Fault]:
    """Faults in order of place, without doubles and without those that follow from others.

    `lines` tells where in the file a place stands, `origins` which variable or flag set it.
    """
    kept: dict[Location, Found] = {}
    for fault in found:
        if not any(fault.where[:depth] in kept for depth in range(1, len(fault.where) + 1)):
            kept[fault.where] = fault
    ordered = sorted(kept.values(), key=lambda fault: tuple(map(_order, fault.where)))
    return [_fault(fault, lines or {}, origins or {}) for fault in ordered]


def _order(step: str | int) -> tuple[int, str]:
    return (step, "") if isinstance(step, int) else (0, step)


def _fault(found: Found, lines: Mapping[Location, int], origins: Mapping[Location, str]) -> Fault:
    origin = origins.get(found.where)
    message = f"{found.message} (set by {origin})" if origin else found.message
    line = None if origin else lines.get(found.where)
    return Fault(format_path(found.where), message, line)


# Steps of pydantic's that no file has: the key of a mapping, and which form of a value was meant.
_NO_PLACES: Final = ("[key]", "[text]", "[rule]")


def from_validation(
    error: ValidationError, names: Iterable[str], *, rules_apart: bool = False
) -> list[Found]:
    """Every fault pydantic found; `names` are the members that exist, for "did you mean".

    With `rules_apart` the faults that the whole document's own rules raised are left out: the
    caller has them already, with better places.
    """
    found: list[Found] = []
    known = sorted(names)
    for detail in error.errors(include_url=False, include_input=False):
        where = tuple(step for step in detail["loc"] if step not in _NO_PLACES)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ConfigError) and not where and rules_apart:
            continue
        if isinstance(cause, ConfigError):
            found += [_within(where, fault) for fault in cause.faults]
        else:
            found.append(Found(where, _sentence(detail, known)))
    return found


def _within(where: Location, fault: Fault) -> Found:
    inner: Location = (fault.path,) if fault.path else ()
    return Found((*where, *inner), fault.message)


_SENTENCES = {
    "missing": "is required",
    "none_required": "must be left out",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text (put it in quotes)",
    "string_unicode": "must be valid Unicode text",
    "path_type": "must be text (put it in quotes)",
}


def _sentence(detail: ErrorDetails, known: list[str]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown member" + _guess(str(detail["loc"][-1]), known)
    if kind == "too_short":
        return "must not be empty"
    if kind == "too_long":
        return f"must hold at most {detail['ctx']['max_length']} entries"
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    return _SENTENCES.get(kind) or detail["msg"]


def _guess(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f'; did you mean "{close[0]}"?' if close else ""
