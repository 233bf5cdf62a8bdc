"""`usage.prices`: a price table written in the configuration, or the name of a file that holds one.

The file may be JSON or YAML of the same shape; it is read when the configuration is, so that a
fault in it is found together with all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from sentinel.config.document import MAX_DOCUMENT_BYTES, read_document
from sentinel.config.faults import to_faults
from sentinel.errors import ConfigError, Fault
from sentinel.types import PriceTable

__all__ = ["Prices"]


def _prices(value: object) -> PriceTable:
    if isinstance(value, PriceTable):
        return value
    return PriceTable.from_document(_read(value) if isinstance(value, str) else value)


def _read(name: str) -> object:
    try:
        raw = Path(name).read_bytes()
        text = raw.decode()
    except OSError as error:
        raise ConfigError([Fault("", f"cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise ConfigError([Fault("", "names a file that is not UTF-8 text")]) from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ConfigError([Fault("", f"names a file of more than {MAX_DOCUMENT_BYTES} bytes")])
    document = read_document(text, {})
    if document.found:
        raise ConfigError(to_faults(document.found, document.lines))
    return document.value


def _show(table: PriceTable) -> dict[str, Any]:
    return {"version": table.version, "models": len(table.models)}


_PRICE = {"type": "integer", "minimum": 0}
_TABLE = {
    "type": "object",
    "required": ["version", "models"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string"},
        "source": {"type": "string"},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["model", "prompt", "completion"],
                "additionalProperties": False,
                "properties": {
                    "model": {"type": "string"},
                    "prompt": _PRICE,
                    "cached": _PRICE,
                    "cache_write": _PRICE,
                    "completion": _PRICE,
                },
            },
        },
    },
}

Prices = Annotated[
    PriceTable,
    PlainValidator(_prices),
    PlainSerializer(_show, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string"}, _TABLE]}),
]
