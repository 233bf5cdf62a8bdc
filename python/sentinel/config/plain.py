"""Reading a plain document that may be wrong anywhere: what has the wrong type reads as empty.

The rules about several members use these, so that they can speak up beside the faults of single
members instead of after them.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

__all__ = ["Plain", "items_of", "map_of", "text_of"]

Plain = Mapping[str, object]


def map_of(value: object) -> Plain:
    """The mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items_of(value: object) -> list[object]:
    """The items of a list, or none."""
    return list(value) if isinstance(value, list | tuple) else []


def text_of(value: object) -> str | None:
    """The text, also of a secret, or None."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else None
