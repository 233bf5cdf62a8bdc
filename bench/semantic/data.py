"""The bench's streams: Banking77's questions, the trap pairs, and partitions made of questions."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentinel.semantic import Pair, Row, read_pairs

__all__ = ["KnownVectors", "banking77", "partitions", "trap_pairs"]

DATA = Path(__file__).resolve().parent.parent / "data"
PARTITIONS = 200
OF_PARTITION = 65
TOPICS_OF_PARTITION = 6


def banking77() -> list[Row]:
    """Every question once, its intent being its answer."""
    rows = []
    for part in ("train", "test"):
        with (DATA / f"banking77_{part}.csv").open(newline="", encoding="utf-8") as file:
            rows += [Row(line["text"], line["category"]) for line in csv.DictReader(file)]
    return rows


def trap_pairs() -> list[Pair]:
    """Pairs that should be served and pairs that look like it."""
    return read_pairs(DATA / "trap_pairs.jsonl")


def partitions(seed: int, *, shifted: str) -> list[Row]:
    """200 partitions of 65 questions on six topics each, asked in turns.

    In the partition `shifted` answers have nothing to do with questions.
    """
    draw = random.Random(seed)
    by_topic: dict[str, list[str]] = {}
    for row in banking77():
        by_topic.setdefault(row.answer_id, []).append(row.text)
    asked = []
    for number in range(PARTITIONS):
        topics = draw.sample(sorted(by_topic), TOPICS_OF_PARTITION)
        questions = [(text, topic) for topic in topics for text in by_topic[topic]]
        for turn, (text, topic) in enumerate(draw.sample(questions, OF_PARTITION)):
            name = f"p{number}"
            answer = draw.choice(topics) if name == shifted else topic
            asked.append((turn + draw.random(), Row(text, answer, name)))
    return [row for _, row in sorted(asked, key=lambda entry: entry[0])]


class KnownVectors:
    """Vectors made once; stands for the embedder that made them."""

    window = 256

    def __init__(self, vectors: dict[str, Any], beyond: frozenset[str] = frozenset()) -> None:
        self._vectors = vectors
        self._beyond = beyond
        self.dimension = len(next(iter(vectors.values())))

    @classmethod
    def by(cls, embedder: Any, texts: Sequence[str]) -> KnownVectors:
        """Of `texts`, by a real embedder."""
        distinct = sorted(set(texts))
        rows = embedder.embed(distinct, cut=True)
        beyond = frozenset(text for text in distinct if embedder.tokens(text) > embedder.window)
        return cls(dict(zip(distinct, rows, strict=True)), beyond)

    @classmethod
    def read(cls, folder: Path) -> KnownVectors:
        """From banking77.npy, trap_a.npy and trap_b.npy, in the order of the data."""
        texts = [row.text for row in banking77()]
        pairs = trap_pairs()
        texts += [pair.a for pair in pairs] + [pair.b for pair in pairs]
        names = ("banking77", "trap_a", "trap_b")
        rows = np.concatenate([np.load(folder / f"{name}.npy") for name in names])
        return cls(dict(zip(texts, rows.astype(np.float32), strict=True)))

    def tokens(self, text: str) -> int:
        return self.window + 1 if text in self._beyond else 1

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> Any:
        return np.stack([self._vectors[text] for text in texts])
