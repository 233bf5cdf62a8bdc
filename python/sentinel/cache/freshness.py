"""What to do with a value that a cache holds: serve it, serve it and compute, or compute.

Pure: time left, what computing took, a drawn number in; a course out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Course", "Plan", "course_of", "early_probability"]


class Course(Enum):
    SERVE = auto()
    REFRESH = auto()  # serve it, and compute anew in the background
    RENEW = auto()  # fresh, but this caller computes anew; serve it if that fails
    IF_ERROR = auto()  # compute, and serve it if that fails
    COMPUTE = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a value is computed, kept and served; seconds everywhere. ValueError out of range."""

    ttl: float | None = None
    tags: tuple[str, ...] = ()
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    beta: float = 0.0
    cache_errors: bool = False
    error_ttl: float = 60.0

    def __post_init__(self) -> None:
        if self.ttl is not None:
            check_above_zero("ttl", self.ttl)
        check_not_negative("stale_while_revalidate", self.stale_while_revalidate)
        check_not_negative("stale_if_error", self.stale_if_error)
        check_not_negative("beta", self.beta)
        check_above_zero("error_ttl", self.error_ttl)

    @property
    def stale_seconds(self) -> float:
        """How long a value is worth keeping beyond its time to live."""
        return max(self.stale_while_revalidate, self.stale_if_error)


def course_of(
    plan: Plan, remaining_seconds: float, compute_seconds: float, draw: Callable[[], float]
) -> Course:
    """The course for a value with that much time left (negative: stale since) by `plan`.

    The two windows of staleness are those of RFC 5861. `draw` gives numbers in [0, 1).
    """
    if remaining_seconds > 0:
        chance = early_probability(remaining_seconds, compute_seconds, plan.beta)
        if chance == 0 or draw() >= chance:
            return Course.SERVE
        return Course.REFRESH if plan.stale_while_revalidate > 0 else Course.RENEW
    if -remaining_seconds < plan.stale_while_revalidate:
        return Course.REFRESH
    if -remaining_seconds < plan.stale_if_error:
        return Course.IF_ERROR
    return Course.COMPUTE


def early_probability(remaining_seconds: float, compute_seconds: float, beta: float) -> float:
    """With what probability a fresh value is computed anew: exp(-remaining / (beta * compute)).

    So expiry is spread, and earlier the longer computing takes: XFetch, of Vattani, Chierichetti
    and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015.
    """
    scale = beta * compute_seconds
    return math.exp(-remaining_seconds / scale) if scale > 0 else 0.0


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags as a tuple. TypeError if they are one str, or one of them is none."""
    if isinstance(tags, str):
        raise TypeError(f"tags must be several str, as ({tags!r},), not one")
    kept = tuple(tags)
    for tag in kept:
        if not isinstance(tag, str):
            raise TypeError(f"a tag must be str, not {type(tag).__name__}")
    return kept


def check_above_zero(name: str, value: float) -> None:
    _check_number(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be above 0 seconds, not {value!r}")


def check_not_negative(name: str, value: float) -> None:
    _check_number(name, value)
    if not value >= 0:
        raise ValueError(f"{name} must not be negative, but is {value!r}")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float") from None
