"""Vectors from any OpenAI-compatible embeddings endpoint.

Each call has one absolute deadline, after which its socket is shut, however slowly the endpoint
trickles. Nothing is retried, except once when a kept connection turns out to be closed. Messages
never repeat the key, a text or the endpoint's answer. Needs numpy, which comes with the extra
`local` and can be installed alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Self

from sentinel.errors import EmbedderBusy, EmbedderError, EmbedderFailed, EmbedderUnavailable
from sentinel.semantic.embedder import at_least_one, beyond_window, within
from sentinel.semantic.endpoint_calls import EndpointCalls

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EndpointEmbedder"]

_MAX_BATCH = 64
_ANSWER_BYTES_PER_NUMBER = 40
_ANSWER_BYTES_BESIDE = 65_536


class EndpointEmbedder:
    """`POST {base_url}/embeddings` with `model`; connections are made when first needed.

    `dimension` and `window` are the model's and are yours to state: an answer of another dimension
    is EmbedderFailed. `version` is yours too: change it when the endpoint's vectors change.
    `count_tokens` counts as the model does; without it each UTF-8 byte counts as a token, which
    never counts too few. At most `connections` calls run at once and `max_pending` more wait in
    `aembed`. Any number of threads.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        dimension: int,
        window: int,
        version: str = "1",
        api_key: str | None = None,
        count_tokens: Callable[[str], int] | None = None,
        ca_file: Path | None = None,
        connections: int = 4,
        max_pending: int = 256,
        deadline_seconds: float = 5.0,
    ) -> None:
        try:
            self._numpy: Any = import_module("numpy")
        except ImportError as error:
            raise EmbedderUnavailable(
                "the endpoint embedder needs numpy: install it, "
                "or the extra, sentinel-llm-gateway[local]"
            ) from error
        self.name = model
        self.version = version
        self.dimension = at_least_one("dimension", dimension)
        self.window = at_least_one("window", window)
        self._count = count_tokens or _bytes
        self._calls = EndpointCalls(base_url, api_key, ca_file, deadline_seconds)
        self._deadline_seconds = deadline_seconds
        self._threads = ThreadPoolExecutor(
            at_least_one("connections", connections), "sentinel-embedder"
        )
        self._room = BoundedSemaphore(connections + at_least_one("max_pending", max_pending))

    def tokens(self, text: str) -> int:
        """Tokens of `text` by `count_tokens`, `window + 1` for every text beyond the window."""
        return min(self._count(text), self.window + 1)

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> NDArray[np.float32]:
        """Unit rows, shape (len(texts), dimension); up to 64 texts a call, one call at a time.

        With `cut` a text beyond the window is represented by a start that fits, else it is
        TextTooLong. EmbedderFailed if the endpoint does not answer with these vectors.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of str, not one str")
        fitting = [self._fitting(text, cut=cut) for text in texts]
        rows: NDArray[np.float32] = self._numpy.empty((len(fitting), self.dimension), "float32")
        for start in range(0, len(fitting), _MAX_BATCH):
            batch = fitting[start : start + _MAX_BATCH]
            rows[start : start + len(batch)] = self._ask(batch)
        return rows

    async def aembed(self, text: str) -> NDArray[np.float32]:
        """The unit vector of `text`, shape (dimension,).

        TextTooLong beyond the window; EmbedderBusy when too many wait or the deadline passed;
        EmbedderFailed if the endpoint does not answer with a vector.
        """
        fitting = self._fitting(text, cut=False)
        if not self._room.acquire(blocking=False):
            raise EmbedderBusy("too many texts wait for the embeddings endpoint")
        try:
            future = self._threads.submit(self._ask, [fitting])
        except RuntimeError:
            self._room.release()
            raise EmbedderError("the embedder is closed") from None
        future.add_done_callback(lambda _: self._room.release())
        rows = await within(self._deadline_seconds, future)
        vector: NDArray[np.float32] = rows[0]
        return vector

    def close(self) -> None:
        """Closes the connections; texts that wait fail."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fitting(self, text: str, *, cut: bool) -> str:
        if self.tokens(text) <= self.window:
            return text
        if not cut:
            raise beyond_window(self.window)
        return self._start_of(text)

    def _start_of(self, text: str) -> str:
        """The longest start that fits, found by halving."""
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self.tokens(text[:middle]) <= self.window:
                fits = middle
            else:
                too_long = middle
        return text[:fits]

    def _ask(self, texts: list[str]) -> NDArray[np.float32]:
        body = json.dumps({"model": self.name, "input": texts, "encoding_format": "float"})
        numbers = len(texts) * self.dimension
        answer = self._calls.post(
            body.encode(), most=numbers * _ANSWER_BYTES_PER_NUMBER + _ANSWER_BYTES_BESIDE
        )
        try:
            return self._read(answer, len(texts))
        except (LookupError, TypeError, ValueError, RecursionError):
            raise EmbedderFailed(
                f"the embeddings endpoint did not answer with {len(texts)} vectors of "
                f"{self.dimension} numbers"
            ) from None

    def _read(self, answer: bytes, count: int) -> NDArray[np.float32]:
        """Unit rows in the order asked. Any error of the kinds above for anything else."""
        data = json.loads(answer)["data"]
        by_place = {item["index"]: item["embedding"] for item in data}
        if len(data) != count or by_place.keys() != set(range(count)):
            raise ValueError("indices")
        rows = self._numpy.stack([self._vector(by_place[place]) for place in range(count)])
        lengths = self._numpy.linalg.norm(rows, axis=1, keepdims=True)
        if rows.shape != (count, self.dimension) or not (lengths > 0).all():
            raise ValueError("shape")
        if not self._numpy.isfinite(lengths).all():
            raise ValueError("not finite")
        unit: NDArray[np.float32] = (rows / lengths).astype("float32")
        return unit

    def _vector(self, given: object) -> Any:
        if isinstance(given, str):
            packed = base64.b64decode(given, validate=True)
            return self._numpy.frombuffer(packed, "<f4").astype("float64")
        return self._numpy.asarray(given, "float64")


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
