"""Rate limits of one process: requests, tokens, money and calls at once per key, exact.

    limiter = RateLimiter("100/min", "20000 tokens/min")
    decision = limiter.acquire("user-7", cost=1_500)      # one request, up to 1,500 tokens
    ...
    limiter.settle(decision.reservation, actual=840)      # what it really took

    bucket = TokenBucket("100/min")                       # one limit, no keys
    bucket.try_acquire()

Standard library only.
"""

from __future__ import annotations

from sentinel.limits.bucket import TokenBucket
from sentinel.limits.decision import Cost, Costs, Decision, Headroom, Reservation
from sentinel.limits.limiter import RateLimiter

__all__ = [
    "Cost",
    "Costs",
    "Decision",
    "Headroom",
    "RateLimiter",
    "Reservation",
    "TokenBucket",
]
