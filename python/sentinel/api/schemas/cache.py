"""What the cache holds, and which of it to forget. Unknown parameters are refused (S20)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CacheStats", "Erased", "ErasedBy"]

Name = Annotated[str, Field(min_length=1, max_length=260)]


class CacheStats(BaseModel):
    """What is kept now, and counts since the start.

    `evicted` made room, `expired` were too old, `refused` were too big to keep, `erased` were
    forgotten on request.
    """

    entries: int
    bytes: int
    max_bytes: int
    hits: int
    misses: int
    stored: int
    evicted: int
    expired: int
    refused: int
    erased: int


class ErasedBy(BaseModel):
    """Which kept answers to forget: one of these."""

    model_config = ConfigDict(extra="forbid")

    key: (
        Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="As Cache-Status shows it.")]
        | None
    ) = None
    pattern: (
        Annotated[
            Name, Field(description="A model's or a route's name; its first * stands for any text.")
        ]
        | None
    ) = None
    tag: Annotated[Name, Field(description="A tag of the route's cache.")] | None = None
    account: (
        Annotated[
            Name, Field(description="Whose calls they answered, without the accounts below it.")
        ]
        | None
    ) = None
    all: Annotated[bool, Field(description="True: everything.")] | None = None


class Erased(BaseModel):
    """How many answers were forgotten."""

    erased: int
