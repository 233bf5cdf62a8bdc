"""What callers give as vectors and ids, as the memoryviews that the compiled index reads.

A buffer of the right kind is taken as it lies; everything else is converted once, here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["as_ids", "as_matrix", "as_vector"]

_FLOATS: Final = ("f", "d", "e")
_INT64: Final = ("q", "l") if array("l").itemsize == 8 else ("q",)
_INTEGERS: Final = frozenset("bBhHiIlLqQ")


def as_vector(given: Buffer | Sequence[float], dimension: int, name: str) -> memoryview[Any]:
    """One vector: a buffer of shape (dimension,) or a list of as many numbers."""
    view = _buffer(given)
    if view is None:
        row = cast("Sequence[float]", given)
        _require_sequence(row, name)
        view = memoryview(_floats(row, name))
    _require_floats(view, name)
    if view.shape != (dimension,):
        raise ValueError(f"{name} must have shape ({dimension},), not {view.shape}")
    return view


def as_matrix(
    given: Buffer | Sequence[Sequence[float]], dimension: int, name: str
) -> memoryview[Any] | None:
    """Vectors: a buffer of shape (n, dimension) or a list of n lists. None for n = 0."""
    view = _buffer(given)
    if view is None:
        view = _stacked(cast("Sequence[Sequence[float]]", given), dimension, name)
        if view is None:
            return None
    _require_floats(view, name)
    if view.ndim != 2 or cast("tuple[int, ...]", view.shape)[1] != dimension:
        raise ValueError(f"{name} must have shape (n, {dimension}), not {view.shape}")
    return view if view.nbytes else None


def as_ids(given: Buffer | Iterable[int]) -> memoryview[Any]:
    """Ids as int64 in one piece."""
    view = _buffer(given)
    if view is None:
        return memoryview(_int64(cast("Iterable[int]", given)))
    if view.ndim != 1:
        raise ValueError(f"ids must have one dimension, not {view.ndim}")
    if view.format in _INT64 and view.c_contiguous:
        return view
    if view.format not in _INTEGERS:
        raise TypeError(f"ids must be integers, not of format {view.format!r}")
    return memoryview(_int64(view.tolist()))


def _buffer(given: object) -> memoryview[Any] | None:
    try:
        return memoryview(cast("Any", given))
    except TypeError:
        return None


def _require_sequence(given: object, name: str) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} must be a buffer or a list, not {type(given).__name__}")


def _require_floats(view: memoryview[Any], name: str) -> None:
    if view.format not in _FLOATS:
        raise TypeError(f"{name} must hold float16, float32 or float64, not format {view.format!r}")


def _floats(numbers: Iterable[float], name: str) -> array[float]:
    try:
        return array("f", numbers)
    except TypeError as fault:
        raise TypeError(f"{name} must hold numbers: {fault}") from None
    except OverflowError:  # an int beyond float64
        raise ValueError(f"{name} holds a number that is not finite") from None


def _stacked(rows: Sequence[Sequence[float]], dimension: int, name: str) -> memoryview[Any] | None:
    _require_sequence(rows, name)
    for index, row in enumerate(rows):
        if not hasattr(row, "__len__"):
            raise TypeError(f"{name}[{index}] must be a vector, not {type(row).__name__}")
        if len(row) != dimension:
            raise ValueError(f"{name}[{index}] must have {dimension} numbers, not {len(row)}")
    if not rows:
        return None
    numbers = _floats(chain.from_iterable(rows), name)
    return memoryview(numbers).cast("B").cast("f", shape=[len(rows), dimension])


def _int64(ids: Iterable[int]) -> array[int]:
    try:
        return array("q", ids)
    except OverflowError:
        raise ValueError("ids must be -2**63 to 2**63 - 1") from None
    except TypeError as fault:
        raise TypeError(f"ids must be integers: {fault}") from None
