"""What `sentinel.limits` offers, by name."""

from __future__ import annotations

import sentinel
from sentinel import limits


def test_the_public_names_are_these() -> None:
    assert limits.__all__ == [
        "Cost",
        "Costs",
        "Decision",
        "Headroom",
        "RateLimiter",
        "Reservation",
        "TokenBucket",
    ]
    assert sentinel.RateLimiter is limits.RateLimiter
    assert sentinel.TokenBucket is limits.TokenBucket
