"""Keeping a dependency's trouble small. Standard library only.

flights = SingleFlight()
flights.do("report-7", build)         # threads that ask at the same time share one build
await flights.ado("report-7", fetch)  # tasks too, on any event loop
"""

from __future__ import annotations

from sentinel.resilience.single_flight import SingleFlight

__all__ = ["SingleFlight"]
