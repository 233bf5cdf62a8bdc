"""The price table that is shipped: list prices of public models, dated, as data beside this file.

Which prices apply in a gateway is configuration (`usage.prices`); this table is what applies when
nothing is said. Replace it there when it has grown old: costs are recorded with its version.
"""

from __future__ import annotations

import json
from importlib.resources import files

from sentinel.types import PriceTable

__all__ = ["shipped_prices"]


def shipped_prices() -> PriceTable:
    """The shipped table."""
    text = files("sentinel.usage").joinpath("prices.json").read_text(encoding="utf-8")
    return PriceTable.from_document(json.loads(text))
