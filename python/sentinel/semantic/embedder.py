"""What an embedder is: text -> unit vector, with a name, a version, a dimension and a window.

Name and version are part of a cache partition: vectors of two embedders, or of two versions of one,
are never compared. A text beyond the window has no vector unless the caller asks for its start,
because two long texts that begin alike may say different things.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from sentinel.errors import EmbedderBusy, TextTooLong

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "TextEmbedder", "at_least_one", "beyond_window", "within"]

T = TypeVar("T")


class TextEmbedder(Protocol):
    """Text -> unit vector. Any number of threads."""

    @property
    def dimension(self) -> int:
        """Components of a vector."""

    @property
    def window(self) -> int:
        """Most tokens that a vector can stand for."""

    def tokens(self, text: str) -> int:
        """Tokens of `text`, `window + 1` for every text beyond the window."""

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> NDArray[np.float32]:
        """Rows of length 1, shape (len(texts), dimension), in the order of `texts`.

        With `cut` a text beyond the window is represented by its start. TextTooLong without it;
        EmbedderError if there are no vectors.
        """


class Embedder(TextEmbedder, Protocol):
    """The port that the semantic cache asks: one that also knows its name and serves at once."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """Changes whenever the vector of any text changes."""

    async def aembed(self, text: str) -> NDArray[np.float32]:
        """The vector of one text, shape (dimension,), within the embedder's deadline.

        TextTooLong for a text beyond the window; EmbedderBusy if too many wait or the time is up;
        EmbedderError otherwise.
        """

    def close(self) -> None:
        """Give back threads and connections; what still waits fails. More than once is fine."""


def beyond_window(window: int) -> TextTooLong:
    """The error of a text with more than `window` tokens; it does not repeat the text."""
    return TextTooLong(f"the text has more than {window} tokens, the embedder's window")


def at_least_one(name: str, value: int) -> int:
    """`value`, or ValueError with its name."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


async def within(seconds: float, future: Future[T]) -> T:
    """What the future gives in that time, or EmbedderBusy."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
    except TimeoutError:
        raise EmbedderBusy(f"no vector within {seconds:g} s") from None
