"""What becomes of calls to something that is slow, failing or busy.

    breaker = CircuitBreaker(failure_rate_threshold=50, wait_seconds=5)

    @breaker
    async def ask(prompt: str) -> str: ...

Standard library only.
"""

from __future__ import annotations

from sentinel.errors import CircuitOpenError
from sentinel.resilience.circuit_breaker import BreakerMetrics, BreakerState, CircuitBreaker

__all__ = ["BreakerMetrics", "BreakerState", "CircuitBreaker", "CircuitOpenError"]
