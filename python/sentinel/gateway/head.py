"""The head of a reply, as the engine writes it."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ReplyHeaders"]


class ReplyHeaders:
    """The header fields of a reply: `fields` is their text, iterating gives ASGI's pairs.

    The engine has checked them: names are lower case, no value holds a control byte.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: bytes) -> None:
        self.fields = fields

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self.fields.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            yield name, value
