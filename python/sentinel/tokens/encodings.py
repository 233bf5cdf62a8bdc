"""Loaded encodings: each is read once per process, and only so many stay (B13).

One takes a few tens of milliseconds to load and about 14 MiB. Who holds a counter holds its
encoding: leaving the cache takes nothing away from it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib.resources import files
from typing import Final, Generic, TypeVar

from sentinel import _core

__all__ = ["Loaded", "shipped_encodings"]

Name = TypeVar("Name")
Thing = TypeVar("Thing")

MOST_LOADED: Final = 4


class Loaded(Generic[Name, Thing]):
    """What `load` gives for a name, kept for the `most` names asked for last. Any thread.

    One name is loaded by one thread while the others wait. A load that fails is not kept.
    """

    def __init__(self, load: Callable[[Name], Thing], most: int = MOST_LOADED) -> None:
        self._load = load
        self._most = most
        self._kept: OrderedDict[Name, Thing] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, name: Name) -> Thing:
        """The one for this name, loaded if it is not here. Raises what `load` raises."""
        with self._turn:
            thing = self._kept.get(name)
            if thing is None:
                thing = self._kept[name] = self._load(name)
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(name)
            return thing


def _read(name: _core.EncodingName) -> _core.Encoding:
    packed = files("sentinel.tokens") / "data" / f"{name.name}.vocabulary"
    return _core.Encoding(name, packed.read_bytes())


shipped_encodings: Final = Loaded(_read)
