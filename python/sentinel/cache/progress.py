"""A bar of progress for people: on standard error, if somebody can see it there."""

from __future__ import annotations

import sys
import time
from typing import TextIO

__all__ = ["Bar", "somebody_looks"]

_WIDTH = 30
_SECONDS_BETWEEN = 0.1


def somebody_looks(stream: TextIO) -> bool:
    """Whether `stream` is a terminal, or this is a notebook."""
    if stream.isatty():
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Bar:
    """A line that is written over and over: `warm-up [#####.....] 120/240, 3 s left`."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._shown = somebody_looks(self._stream)
        self._began = time.monotonic()
        self._written = -1.0
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` steps are done."""
        now = time.monotonic()
        if not self._shown or (done < total and now - self._written < _SECONDS_BETWEEN):
            return
        self._written = now
        self._write(self._line(done, total, now - self._began))

    def close(self) -> None:
        """Leave the line as it is; the next output begins below it."""
        if self._shown and self._written >= 0:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, done: int, total: int, seconds: float) -> str:
        share = done / total if total else 1.0
        full = round(share * _WIDTH)
        left = f", {seconds / share - seconds:.0f} s left" if 0 < done < total else ""
        return f"{self._label} [{'#' * full}{'.' * (_WIDTH - full)}] {done}/{total}{left}"

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)
