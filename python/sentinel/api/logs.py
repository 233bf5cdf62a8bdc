"""What Python libraries log, as JSON lines of the engine: one format, one redacting sink.

Of an exception only its kind and place are told. Its message, and the values in a traceback, may
hold a prompt or a key (S8); of a message of several lines the first one counts for the same reason.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from sentinel.gateway import Gateway

__all__ = ["json_logs"]


class _EngineHandler(logging.Handler):
    """Hands records from WARNING on to the engine's log."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(logging.WARNING)
        self._engine = gateway.engine

    def emit(self, record: logging.LogRecord) -> None:
        fields = [("logger", record.name), ("message", record.getMessage().partition("\n")[0])]
        if record.exc_info and record.exc_info[1] is not None:
            fields += _kind_and_place(record.exc_info[1])
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._engine.log_event(level, "python", fields)


def _kind_and_place(error: BaseException) -> list[tuple[str, str]]:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-1:]]
    return [("error", type(error).__name__), *(("at", place) for place in places)]


@contextmanager
def json_logs(gateway: Gateway) -> Iterator[None]:
    """While this lasts the root logger writes to the log of a started gateway."""
    handler = _EngineHandler(gateway)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
