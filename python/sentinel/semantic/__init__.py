"""The semantic cache's policy in Python: what it would have done with a recorded stream.

from sentinel.semantic import Row, replay
reports = replay(rows, embedder, max_error=0.01, of="hits", shuffles=5)
"""

from __future__ import annotations

from sentinel.semantic.replay import (
    PairReport,
    PolicyChoice,
    ReplayReport,
    TextEmbedder,
    mean_of,
    replay,
    replay_pairs,
)
from sentinel.semantic.rows import Pair, Row, read_pairs, read_rows

__all__ = [
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
