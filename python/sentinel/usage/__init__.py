"""What calls cost and what was recorded about them. Standard library only."""

from __future__ import annotations

from sentinel.usage.prices import shipped_prices
from sentinel.usage.reader import Grouping, UsageReader, UsageRecord, UsageTotal

__all__ = ["Grouping", "UsageReader", "UsageRecord", "UsageTotal", "shipped_prices"]
