"""The configuration: read, layered, checked whole, handed to the engine.

    settings = load("sentinel.yaml")
    snapshot = to_snapshot(settings, prices)

Needs pydantic and PyYAML (the `gateway` extra).
"""

from __future__ import annotations

from sentinel.config.load import load
from sentinel.config.schema import json_schema
from sentinel.config.settings import Settings
from sentinel.config.snapshot import to_snapshot

__all__ = ["Settings", "json_schema", "load", "to_snapshot"]
