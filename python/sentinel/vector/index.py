"""`VectorIndex`: the library face of the compiled index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sentinel import _core
from sentinel.vector.arguments import as_ids, as_matrix, as_vector
from sentinel.vector.files import replace_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Matches", "VectorIndex"]

_MAX_K: Final = 2**31


class Matches(NamedTuple):
    """The nearest vectors of one query, best first; equal scores by id."""

    ids: list[int]
    scores: list[float]  # cosines, -1 to 1 up to float32's rounding


class VectorIndex:
    """Vectors of `dimension` numbers by id, searched by cosine. Usable from any thread.

    Vectors are brought to length 1 when added and kept as float32. Vectors and queries are buffers
    of float16, float32 or float64 (numpy arrays, array.array, memoryviews) or lists; float32
    without gaps is read in place and must not change during the call. A zero vector or a number
    that is not finite is a ValueError. Ids are whole numbers of 64 bits.

    A search is sketched unless it is `exact`: one bit per dimension picks 80 + 16 k candidates, of
    which those that may still win are scored exactly (after "RaBitQ", Gao and Long 2024, and
    "Quicker ADC", Andre, Kermarrec and Le Scouarnec 2019). Scores are always right; a neighbour may
    be missed.

    ValueError if `dimension` is not 1 to 16384.
    """

    def __init__(self, dimension: int) -> None:
        self._index = _core.VectorIndex(_whole(dimension, "dimension", 1, 16_384))

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._index.dimension

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and -(2**63) <= id < 2**63 and id in self._index

    def __repr__(self) -> str:
        return f"VectorIndex(dimension={self.dimension}, {len(self)} vectors)"

    def add(
        self,
        ids: Buffer | Iterable[int],
        vectors: Buffer | Sequence[Sequence[float]],
        partition: str | None = None,
    ) -> None:
        """Adds n vectors, shape (n, dimension), to a partition, or to none.

        An id that is there already is replaced, and moves to this partition; of an id given twice
        the last counts. A call that raises has added nothing. A partition's name has at most 256
        bytes; "" is the same as None.
        """
        name = "" if partition is None else _name(partition)
        given_ids = as_ids(ids)
        matrix = as_matrix(vectors, self.dimension, "vectors")
        count = 0 if matrix is None else len(matrix)
        if count != len(given_ids):
            raise ValueError(
                f"ids and vectors must be equally many, not {len(given_ids)} and {count}"
            )
        if matrix is not None:
            self._index.add(given_ids, matrix, name)

    def remove(self, ids: Buffer | Iterable[int]) -> int:
        """Removes vectors; the number of those that were there. Unknown ids are no error."""
        return self._index.remove(as_ids(ids))

    def search(
        self,
        query: Buffer | Sequence[float],
        k: int,
        partition: str | None = None,
        *,
        exact: bool = False,
    ) -> Matches:
        """The k nearest vectors of a query, shape (dimension,); fewer if there are not as many.

        With a partition only of those in it ("" are those without one), else of all.
        """
        vector = as_vector(query, self.dimension, "query")
        return Matches(*self._index.search(vector, *_question(k, partition), exact)[0])

    def search_batch(
        self,
        queries: Buffer | Sequence[Sequence[float]],
        k: int,
        partition: str | None = None,
        *,
        exact: bool = False,
    ) -> list[Matches]:
        """What `search` gives for each of m queries, shape (m, dimension)."""
        question = _question(k, partition)
        matrix = as_matrix(queries, self.dimension, "queries")
        if matrix is None:
            return []
        return [Matches(*found) for found in self._index.search(matrix, *question, exact)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file, whole or not at all: what was there stays until then.

        The file is readable by its owner only. OSError if it cannot be written.
        """
        replace_file(Path(path), self._index.snapshot())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VectorIndex:
        """The index that `save` wrote: same ids, partitions, order and answers.

        ValueError, saying what is wrong, if the file is damaged, cut off, or no index; OSError if
        it cannot be read. The file is checked, not believed; a checksum proves no author.
        """
        loaded = cls.__new__(cls)
        with open(path, "rb", buffering=0) as file:
            loaded._index = _core.VectorIndex.load(file.fileno())
        return loaded


def _question(k: int, partition: str | None) -> tuple[int, str | None]:
    return _whole(k, "k", 1, _MAX_K), None if partition is None else _name(partition)


def _whole(value: object, name: str, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be {lowest} to {highest}, not {value}")
    return value


def _name(partition: object) -> str:
    if not isinstance(partition, str):
        raise TypeError(f"partition must be str or None, not {type(partition).__name__}")
    partition.encode()  # half a surrogate pair is a ValueError, too
    return partition
