"""Flags beat environment beats file: two layers laid over a plain document.

`SENTINEL_<SECTION>__<NAME>` sets a member of a section whose members have fixed names
(`SENTINEL_SERVER__PORT`, `SENTINEL_SERVER__LIMITS__BODY_BYTES`). An empty variable counts as not
set; one that names no section is a fault. `SENTINEL_PEPPER` is short for
`SENTINEL_SERVER__PEPPER`. Flags come as dotted places (`{"server.port": 8080}`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sentinel.config.faults import Found, Location

__all__ = ["apply_environment", "apply_overrides"]

_VARIABLE = re.compile(r"SENTINEL_([A-Z0-9_]+?)__([A-Z0-9_]+)")
_SECTIONS: Final = ("server", "admin", "cache", "redis", "usage", "log")


def apply_environment(
    document: dict[str, object], environ: Mapping[str, str], found: list[Found]
) -> dict[Location, str]:
    """Lay the environment over `document`; returns which variable set which place."""
    origins: dict[Location, str] = {}
    if pepper := environ.get("SENTINEL_PEPPER"):
        _put(document, ("server", "pepper"), pepper)
        origins["server", "pepper"] = "SENTINEL_PEPPER"
    for name, value in sorted(environ.items()):
        match = _VARIABLE.fullmatch(name)
        if match is None or not value:
            continue
        where = (match[1].lower(), *match[2].lower().split("__"))
        if where[0] not in _SECTIONS:
            found.append(Found((name,), "this environment variable names no setting"))
            continue
        _put(document, where, value)
        origins[where] = name
    return origins


def apply_overrides(
    document: dict[str, object], overrides: Mapping[str, object]
) -> dict[Location, str]:
    """Lay `{"server.port": 8080}` over `document`; returns which places a flag set."""
    origins: dict[Location, str] = {}
    for path, value in overrides.items():
        where = tuple(path.split("."))
        _put(document, where, value)
        origins[where] = "a flag"
    return origins


def _put(document: dict[str, object], where: tuple[str, ...], value: object) -> None:
    """Set one place. A section that is not a mapping is left for the checks to complain about."""
    section = document
    for step in where[:-1]:
        inner = section.setdefault(step, {})
        if inner is None:
            inner = section[step] = {}
        if not isinstance(inner, dict):
            return
        section = inner
    section[where[-1]] = value
