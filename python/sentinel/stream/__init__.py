"""Reading streams of models: server-sent events, and the chat completion that they tell.

    parser = SSEParser()
    for event in parser.feed(chunk):                  # bytes, cut anywhere
        print(event.event, event.data)

    accumulator = ChatAccumulator()
    text = accumulator.feed(chunk)                    # what this piece adds to the answer
    accumulator.message, accumulator.usage, accumulator.finish_reason

Standard library only.
"""

from __future__ import annotations

from sentinel._core import ChatAccumulator, SSEEvent, SSEParser

__all__ = ["ChatAccumulator", "SSEEvent", "SSEParser"]
