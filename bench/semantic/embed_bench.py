"""The local embedder on one thread: int8 next to the float32 graph, by length, and their agreement.

    python bench/semantic/embed_bench.py build/minilm/float32.onnx [TEXTS.csv ...]

The float32 graph is a by-product of `make minilm`. Each CSV has a column `text`; with any, the
cosines of both graphs' vectors over all its rows are printed as well.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from interleaved import Bar, Figures, measure, report
from numpy.typing import NDArray

import sentinel_minilm
from sentinel.semantic import LocalEmbedder
from sentinel.semantic.wordpiece import WordPiece

__all__ = ["main"]

QUESTION = "How do I reset my bank card PIN number?"
PARAGRAPH = "a long question about one thing and another " * 10 + "and more of it"


def session(model: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options)


def times(run: Callable[[], object]) -> Callable[[int], None]:
    def repeat(count: int) -> None:
        for _ in range(count):
            run()

    return repeat


def speed(embedder: LocalEmbedder, float32: Any, words: WordPiece, text: str) -> Figures:
    ids, _ = words.ids(text)
    feed = {"ids": np.array([ids])}
    return measure(
        f"a text of {len(ids)} tokens, one thread",
        {
            "sentinel": times(partial(embedder.embed, [text])),
            "the float32 graph alone": times(partial(float32.run, None, feed)),
            "the tokenizer alone": times(partial(words.ids, text)),
        },
        rounds=200,
        round_seconds=0.005,
    )


def agreement(embedder: LocalEmbedder, float32: Any, words: WordPiece, files: list[Path]) -> None:
    texts = []
    for file in files:
        with file.open(newline="", encoding="utf-8") as rows:
            texts += [row["text"] for row in csv.DictReader(rows)]
    vectors = embedder.embed(texts, cut=True)
    cosines: NDArray[np.float64] = np.empty(len(texts))
    for place, text in enumerate(texts):
        (true,) = float32.run(None, {"ids": [words.ids(text)[0]]})[0]
        cosines[place] = vectors[place] @ true
    low, median = np.quantile(cosines, [0.01, 0.5])
    sys.stdout.write(
        f"\nint8 against float32, {len(texts)} texts: median cosine {median:.5f}, "
        f"first percentile {low:.5f}, worst {cosines.min():.5f}\n"
    )


def main(model: Path, files: list[Path]) -> None:
    words = WordPiece(sentinel_minilm.VOCABULARY, sentinel_minilm.WINDOW)
    float32 = session(model)
    with LocalEmbedder() as embedder:
        bar = Bar("the float32 graph alone", 0.7)
        report(speed(embedder, float32, words, QUESTION), bars=(bar,))
        report(speed(embedder, float32, words, PARAGRAPH))
        if files:
            agreement(embedder, float32, words, files)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
