"""A clock that moves only when a test says so; every deadline of the gateway that has it obeys."""

from __future__ import annotations

from sentinel import _core

__all__ = ["ManualClock"]


class ManualClock:
    """Give it to `Gateway(settings, clock=...)`; seconds are monotonic and start at 0."""

    def __init__(self) -> None:
        self.core = _core.ManualClock()
        self._engines: list[_core.Engine] = []

    @property
    def now_seconds(self) -> float:
        """Seconds since the clock was made, all of them by `advance`."""
        return self.core.now_seconds

    def attach(self, engine: _core.Engine) -> None:
        """Let an engine notice when this clock moves."""
        self._engines.append(engine)

    def advance(self, seconds: float) -> None:
        """Move on; deadlines that are due fire on the engine's loops. ValueError if negative."""
        self.core.advance(seconds)
        for engine in self._engines:
            engine.tick()
