"""Texts as vectors, and what the semantic cache would do with a stream of them.

    with LocalEmbedder() as embedder:                      # extra `local`
        vectors = embedder.embed(["How do I pay?", "Ways to pay"])
        vector = await embedder.aembed("How can I pay?")   # batched with whoever asks meanwhile
        reports = replay(read_rows("asked.jsonl"), embedder, max_error=0.01, of="hits", shuffles=5)

    EndpointEmbedder("https://host/v1", "text-embedding-3-small", dimension=1536, window=8191)

Importing this loads neither numpy nor a model.
"""

from __future__ import annotations

from sentinel.semantic.embedder import Embedder, TextEmbedder
from sentinel.semantic.endpoint_embedder import EndpointEmbedder
from sentinel.semantic.local_embedder import LocalEmbedder
from sentinel.semantic.replay import (
    PairReport,
    PolicyChoice,
    ReplayReport,
    mean_of,
    replay,
    replay_pairs,
)
from sentinel.semantic.rows import Pair, Row, read_pairs, read_rows

__all__ = [
    "Embedder",
    "EndpointEmbedder",
    "LocalEmbedder",
    "Pair",
    "PairReport",
    "PolicyChoice",
    "ReplayReport",
    "Row",
    "TextEmbedder",
    "mean_of",
    "read_pairs",
    "read_rows",
    "replay",
    "replay_pairs",
]
