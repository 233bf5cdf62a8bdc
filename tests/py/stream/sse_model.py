"""The event stream's interpretation, slowly and to the letter (WHATWG HTML, section 9.2.6).

Works on the whole stream at once, decoded as the standard decodes it, a line at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sentinel.stream import SSEEvent

__all__ = ["Model", "interpret"]

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n)")
LARGEST_RETRY = 2**64 - 1  # ours: a longer time is no time


@dataclass
class Model:
    """What the standard keeps while it reads, and the events it dispatched."""

    events: list[SSEEvent] = field(default_factory=list)
    last_event_id: str = ""
    retry: int | None = None


def interpret(stream: bytes) -> Model:
    """Every event of a stream that has ended."""
    text = stream.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK)
    model = Model()
    data = ""
    event_type = ""
    last_event_id_buffer = ""
    block_retry: int | None = None
    for match in LINE.finditer(text):
        line = match[1]
        if not line:
            model.last_event_id = last_event_id_buffer
            if data:
                model.events.append(
                    SSEEvent(event_type or "message", data[:-1], last_event_id_buffer, block_retry)
                )
            data, event_type, block_retry = "", "", None
            continue
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event_type = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_event_id_buffer = value
        elif name == "retry" and re.fullmatch("[0-9]+", value) and int(value) <= LARGEST_RETRY:
            model.retry = block_retry = int(value)
    return model
