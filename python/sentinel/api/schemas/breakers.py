"""How the targets' circuit breakers stand, and how to force one. Unknown members are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["BreakerChange", "BreakerMode", "BreakerOut", "Breakers"]

BreakerMode = Literal["automatic", "forced_open", "forced_closed"]


class BreakerOut(BaseModel):
    """One target's breaker.

    `calls`, `failed` and `slow` are those of its window, `refused` counts since the start.
    """

    target: str
    state: Literal["closed", "half_open", "open"]
    mode: BreakerMode
    calls: int
    failed: int
    slow: int
    refused: int


class Breakers(BaseModel):
    """Every target that has a breaker, by name."""

    breakers: list[BreakerOut]


class BreakerChange(BaseModel):
    """`forced_open` lets no call pass, `forced_closed` every call; `automatic` ends either."""

    model_config = ConfigDict(extra="forbid")

    mode: BreakerMode
