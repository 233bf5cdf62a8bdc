"""What a limiter is asked and what it answers, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from sentinel import _core

if TYPE_CHECKING:
    from sentinel.limits.limiter import RateLimiter

__all__ = ["Cost", "Costs", "Decision", "Headroom", "Reservation"]


class Costs(TypedDict, total=False):
    """A cost in every unit that a limiter has rules for."""

    requests: int
    tokens: int
    micro_usd: int


Cost = int | Costs


class Headroom(NamedTuple):
    """The rule of one kind with the least left, after the decision.

    `limit` is its burst, which `remaining` counts down from and which is whole again after
    `reset_seconds`.
    """

    limit: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """A name for what was taken, good for one `settle` or `refund` of the limiter that gave it."""

    id: int
    limiter: RateLimiter = field(repr=False)


class Decision(NamedTuple):
    """Whether a call may pass; truthy if it may.

    `remaining` is what is left in requests, if the limiter has a rule of requests, else in tokens,
    else in micro-USD; all of them are in `requests`, `tokens` and `micro_usd`.
    `retry_after_seconds` is 0 if the call may pass, and None if it never can: its cost is above the
    burst. `reservation` is None if the call may not pass or nothing is left to settle.
    """

    allowed: bool
    remaining: int
    retry_after_seconds: float | None
    reservation: Reservation | None
    requests: Headroom | None = None
    tokens: Headroom | None = None
    micro_usd: Headroom | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def headers(self) -> dict[str, str]:
        """What a reply over HTTP tells of it: `x-ratelimit-*` of requests and tokens, as OpenAI
        writes them, and `Retry-After` if waiting helps.
        """
        told: dict[str, str] = {}
        for kind, view in (("requests", self.requests), ("tokens", self.tokens)):
            if view is not None:
                told[f"x-ratelimit-limit-{kind}"] = str(view.limit)
                told[f"x-ratelimit-remaining-{kind}"] = str(view.remaining)
                told[f"x-ratelimit-reset-{kind}"] = _core.format_duration(view.reset_seconds)
        if self.retry_after_seconds:
            told["Retry-After"] = str(_core.whole_seconds(self.retry_after_seconds))
        return told
