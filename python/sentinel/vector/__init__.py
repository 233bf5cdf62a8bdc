"""Vectors by id, and the nearest of a query by cosine, in one process and without numpy.

    index = VectorIndex(384)
    index.add([1, 2, 3], embeddings)                  # any buffer of floats, or lists
    ids, scores = index.search(query, k=10)
    index.save("questions.vectors")

Standard library only.
"""

from __future__ import annotations

from sentinel.vector.index import Matches, VectorIndex

__all__ = ["Matches", "VectorIndex"]
