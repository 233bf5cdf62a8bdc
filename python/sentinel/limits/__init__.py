"""Rate limits of one process: requests, tokens and money per key, exact for every rate.

    limiter = RateLimiter("100/min", "20000 tokens/min")
    decision = limiter.acquire("user-7", cost=1_500)      # one request, up to 1,500 tokens
    ...
    limiter.settle(decision.reservation, actual=840)      # what it really took

Standard library only.
"""

from __future__ import annotations

from sentinel.limits.decision import Cost, Costs, Decision, Headroom, Reservation
from sentinel.limits.limiter import RateLimiter

__all__ = ["Cost", "Costs", "Decision", "Headroom", "RateLimiter", "Reservation"]
