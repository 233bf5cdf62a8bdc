"""Test doubles that are real: a scripted upstream that speaks HTTP over sockets.

For our own tests and for those of applications that talk to a gateway. Importing it needs neither
the compiled core nor FastAPI; the manual clock loads the core when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sentinel.testing.calls import Call
from sentinel.testing.scripts import FAULTS, Behaviour, ScriptError
from sentinel.testing.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from sentinel.testing.clock import ManualClock

__all__ = ["FAULTS", "Behaviour", "Call", "ManualClock", "ScriptError", "ScriptedUpstream"]


def __getattr__(name: str) -> object:
    if name != "ManualClock":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sentinel.testing.clock import ManualClock

    return ManualClock
