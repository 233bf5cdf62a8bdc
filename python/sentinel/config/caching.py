"""The answer cache: how much it holds, and what a route keeps in it and for how long.

A route without `cache` is neither cached nor are its equal calls joined; `cache: {}` is both with
the defaults, `ttl: 0` joins calls and keeps nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from sentinel.config.fields import CacheTag, ShareName
from sentinel.config.section import NotYet, Section
from sentinel.config.units import Size, Span, Switch

__all__ = ["CacheSettings", "RouteCacheSettings"]


class CacheSettings(Section):
    """The cache of exact answers, one for all routes. With 0 bytes it keeps nothing."""

    max_bytes: Annotated[int, Size(0, 1 << 40)] = 256 << 20


class RouteCacheSettings(Section):
    """What of a route's answers is kept.

    `sampled` takes calls that ask for chance too, `store_fallback` answers of a fallback target.
    `share` names a group whose accounts see each other's answers; without it an account
    sees its own only. `on_abort` says what becomes of a call that everybody left.
    """

    ttl: Annotated[timedelta, Span("0s", "30d")] = timedelta(hours=1)
    sampled: Annotated[bool, Switch()] = False
    store_fallback: Annotated[bool, Switch()] = False
    share: ShareName | None = None
    tags: Annotated[tuple[CacheTag, ...], Field(max_length=16)] = ()
    on_abort: Literal["cancel", "drain"] = "cancel"
    semantic: NotYet = None
