"""all-MiniLM-L6-v2 by ONNX Runtime in this process: 384 dimensions, 256 tokens, English.

Needs the extra `local`. The model comes from the data wheel; nothing is fetched. Activations are
quantised row by row in the graph and only texts of one length share a batch, so a text's vector is
the same alone and in company, to float32 rounding.

Source: Wang et al., "MiniLM" (2020); Reimers and Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from sentinel.errors import EmbedderUnavailable
from sentinel.semantic.batching import Batcher
from sentinel.semantic.embedder import at_least_one, beyond_window, within
from sentinel.semantic.wordpiece import WordPiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LocalEmbedder"]

_MAX_BATCH = 16
_MAX_BATCH_TOKENS = 1024  # bounds a batch's memory: attention needs 48 bytes per token and token


class LocalEmbedder:
    """Loads the model and runs it once, so construct it before traffic. Any number of threads.

    `threads` is how many compute one batch. `aembed` lets at most `max_pending` texts wait, each
    for at most `deadline_seconds`. EmbedderUnavailable without the extra `local`.
    """

    def __init__(
        self, *, threads: int = 1, max_pending: int = 256, deadline_seconds: float = 1.0
    ) -> None:
        if not deadline_seconds > 0:
            raise ValueError(f"deadline_seconds must be above 0, not {deadline_seconds}")
        self._deadline_seconds = deadline_seconds
        self._numpy = _needed("numpy")
        data = _needed("sentinel_minilm")
        self.name: str = data.NAME
        self.version: str = data.VERSION
        self.dimension: int = data.DIMENSION
        self.window: int = data.WINDOW
        self._words = WordPiece(data.VOCABULARY, self.window)
        self._session = _session(str(data.MODEL), at_least_one("threads", threads))
        self._batcher: Batcher[NDArray[np.float32]] = Batcher(
            self._run_apart,
            max_batch=_MAX_BATCH,
            max_tokens=_MAX_BATCH_TOKENS,
            max_pending=at_least_one("max_pending", max_pending),
        )
        self.embed(["warm"])

    def tokens(self, text: str) -> int:
        """Tokens of `text` with its two marks, `window + 1` for every text beyond the window.

        A text of more than 32 characters per token of the window counts as beyond it, unread.
        """
        ids, whole = self._words.ids(text)
        return len(ids) if whole else self.window + 1

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> NDArray[np.float32]:
        """Unit rows, shape (len(texts), dimension); computed in the calling thread, GIL released.

        With `cut` a text beyond the window is represented by its start, else it is TextTooLong.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of str, not one str")
        ids = [self._ids(text, cut=cut) for text in texts]
        rows: NDArray[np.float32] = self._numpy.empty((len(ids), self.dimension), "float32")
        for places in _batches([len(one) for one in ids]):
            rows[places] = self._run([ids[place] for place in places])
        return rows

    async def aembed(self, text: str) -> NDArray[np.float32]:
        """The unit vector of `text`, shape (dimension,), batched with what else waits.

        TextTooLong beyond the window; EmbedderBusy when too many wait or the deadline passed.
        """
        future = self._batcher.submit(self._ids(text, cut=False))
        return await within(self._deadline_seconds, future)

    def close(self) -> None:
        """Ends the batching thread: what waits fails with EmbedderError; `embed` still works."""
        self._batcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ids(self, text: str, *, cut: bool) -> list[int]:
        ids, whole = self._words.ids(text)
        if not whole and not cut:
            raise beyond_window(self.window)
        return ids

    def _run(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Texts of one length -> unit rows."""
        vectors: NDArray[np.float32]
        (vectors,) = self._session.run(None, {"ids": self._numpy.array(ids, "int64")})
        return vectors

    def _run_apart(self, ids: list[list[int]]) -> list[NDArray[np.float32]]:
        """As `_run`, each row in memory of its own: one that is kept keeps no others."""
        return [row.copy() for row in self._run(ids)]


def _batches(lengths: list[int]) -> list[list[int]]:
    """The places of texts, those of one length together, in batches within the bounds."""
    by_length: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_length.setdefault(length, []).append(place)
    batches = []
    for length, places in by_length.items():
        size = min(_MAX_BATCH, _MAX_BATCH_TOKENS // length)
        batches += [places[start : start + size] for start in range(0, len(places), size)]
    return batches


def _session(model: str, threads: int) -> Any:
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _needed(module: str) -> Any:
    """The module, imported now: without the extra, everything but this class still works."""
    try:
        return import_module(module)
    except ImportError as error:
        raise EmbedderUnavailable(
            f"the local embedder needs {module}: install the extra, sentinel-llm-gateway[local]"
        ) from error
