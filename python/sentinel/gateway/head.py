"""The head of a reply, as the engine writes it."""

from __future__ import annotations

__all__ = ["header_pairs"]


def header_pairs(fields: bytes | None) -> list[tuple[bytes, bytes]]:
    """The header fields of an event, (name, value) each, as ASGI wants them.

    The engine has checked them: names are lower case, no value holds a control byte.
    """
    lines = (fields or b"").split(b"\r\n")[:-1]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
