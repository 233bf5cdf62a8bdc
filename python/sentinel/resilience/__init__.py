"""What becomes of calls to something that is slow, failing or busy.

    breaker = CircuitBreaker(failure_rate_threshold=50, wait_seconds=5)

    @breaker
    async def ask(prompt: str) -> str: ...

    flights = SingleFlight()
    flights.do("report-7", build)         # threads that ask at the same time share one build
    await flights.ado("report-7", fetch)  # tasks too, on any event loop

Standard library only.
"""

from __future__ import annotations

from sentinel.errors import CircuitOpenError
from sentinel.resilience.circuit_breaker import BreakerMetrics, BreakerState, CircuitBreaker
from sentinel.resilience.single_flight import SingleFlight

__all__ = ["BreakerMetrics", "BreakerState", "CircuitBreaker", "CircuitOpenError", "SingleFlight"]
