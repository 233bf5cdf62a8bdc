"""Tells what waits for threads, or holds a lock, that it was forked: a child has neither of them.

A child of `os.fork` has one thread, a copy of the one that forked. Whatever the others were at will
never end there, and a lock that one of them held stays taken.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forked", "tell_of_forks"]


class Forked(Protocol):
    def _after_fork(self) -> None:
        """Called in the child, before anything else runs there."""


_told: WeakSet[Forked] = WeakSet()


def tell_of_forks(one: Forked) -> None:
    """Call `one._after_fork()` in each child of this process, as long as `one` lives."""
    _told.add(one)


def _tell() -> None:
    for one in list(_told):
        one._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
