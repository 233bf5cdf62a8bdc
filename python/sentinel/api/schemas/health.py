"""Health and readiness."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

__all__ = ["Health", "Readiness"]


class Health(BaseModel):
    """The process can answer."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """`reasons` is empty when ready: not_started, draining, usage_ledger_failing."""

    ready: bool
    reasons: list[str]
