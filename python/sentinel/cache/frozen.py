"""Hashable stand-ins for arguments that are not hashable, equal when those are equal."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum, auto

__all__ = ["freeze"]


class _Kind(Enum):
    """What comes first in a stand-in, so that it equals no argument and no other kind's."""

    LIST = auto()
    DICT = auto()
    SET = auto()
    BYTES = auto()
    TUPLE = auto()


def freeze(name: object, value: object) -> Hashable:
    """`value` if it has a hash; else what stands for a list, dict, set, bytearray or tuple of such.

    TypeError that names the argument if it is, or holds, something else without a hash. Types
    derived from these are something else: what they add to a value is not known here.
    """
    label = f"'{name}'" if isinstance(name, str) else "among the extra ones"
    try:
        return _frozen(value)
    except _Unhashable as found:
        raise TypeError(
            f"the argument {label} cannot be part of a cache key: {found}; "
            "give cached a key= that makes one"
        ) from None
    except RecursionError:
        raise TypeError(
            f"the argument {label} cannot be part of a cache key: it holds itself, or is too deep"
        ) from None


class _Unhashable(Exception):
    pass


def _frozen(value: object) -> Hashable:
    kind = type(value)
    if kind is list:
        return (_Kind.LIST, *map(_frozen, value))  # type: ignore[call-overload]
    if kind is dict:
        return _Kind.DICT, frozenset((key, _frozen(one)) for key, one in value.items())  # type: ignore[attr-defined]
    if kind is set:
        return _Kind.SET, frozenset(value)  # type: ignore[call-overload]
    if kind is bytearray:
        return _Kind.BYTES, bytes(value)  # type: ignore[call-overload]
    try:
        hash(value)
    except TypeError as error:
        if kind is tuple:
            return (_Kind.TUPLE, *map(_frozen, value))  # type: ignore[call-overload]
        raise _Unhashable(str(error)) from None
    return value
