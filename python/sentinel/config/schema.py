"""The JSON schema of the configuration file, for editors that complete and check as one types."""

from __future__ import annotations

from typing import Any

from sentinel.config.settings import Settings

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the file. What it accepts may still break a rule of `check`."""
    schema = Settings.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Sentinel configuration",
    }
