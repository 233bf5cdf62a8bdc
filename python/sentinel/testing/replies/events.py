"""Server-sent events: what a stream consists of, content faults in it, and its bytes.

Three steps, each an iterator over the one before: an endpoint yields `Event`s, `with_faults` bends
them, `render` writes them as `Piece`s of the body. Everything is lazy, so an endless stream and a
hundred megabytes without a line end cost nothing until they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sentinel.testing.scripts import Behaviour

__all__ = ["Event", "Kind", "Piece", "render", "with_faults"]

_GIANT_STEP = 64 * 1024
_STOPS = {"error_event", "echo_credential_event", "no_terminal"}
_SWAPS = {"invalid_json": "{not json", "not_an_object": '["not", "an", "object"]'}
_JUNK = {"bad_utf8": b"\xff\xc3\x28\xed\xa0\x80", "nul_bytes": b"\0"}


class Kind(Enum):
    """Part an event plays in its stream."""

    FRAME = "frame"
    """Opens or closes something; carries no content."""
    CONTENT = "content"
    """A piece of the answer: counted in `chunks_sent`, paced by `gap_ms`."""
    TERMINAL = "terminal"
    """Tells the client that the answer is complete."""
    RAW = "raw"
    """Bytes for the body that are not one whole event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is empty in protocols that do not name theirs."""

    data: str
    kind: Kind = Kind.FRAME
    name: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the body, with the part they play."""

    data: bytes
    kind: Kind


def with_faults(
    events: Iterator[Event], behaviour: Behaviour, strike_at: int, error: Event
) -> Iterator[Event]:
    """The events, bent by a content fault that strikes after `strike_at` content events."""
    fault = behaviour.fail
    if fault == "endless":
        yield from _endless(events)
        return
    passed = 0
    swap = _SWAPS.get(fault)
    for event in events:
        if passed >= strike_at and fault in _STOPS:
            break
        if passed >= strike_at and swap:
            yield Event(swap, Kind.FRAME, event.name)
            swap = None
        if event.kind is Kind.TERMINAL and fault == "no_done":
            break
        passed += event.kind is Kind.CONTENT
        yield event
    if fault in _STOPS and fault != "no_terminal":
        yield error


def _endless(events: Iterator[Event]) -> Iterator[Event]:
    content: list[Event] = []
    for event in events:
        if event.kind is Kind.CONTENT:
            content.append(event)
        elif content:
            break
        yield event
    while content:
        yield from content


def render(events: Iterator[Event], behaviour: Behaviour, strike_at: int) -> Iterator[Piece]:
    """The bytes of the events: line ends, comments, pings, mark, and faults below the text."""
    end = behaviour.line_end
    mark = b"\xef\xbb\xbf" if behaviour.bom else b""
    passed = 0
    giant, junk = behaviour.fail == "giant_line", _JUNK.get(behaviour.fail, b"")
    for event in events:
        if giant and passed >= strike_at:
            yield from _giant_line(behaviour.giant_bytes)
            giant = False
        prefix = ""
        if event.kind is Kind.CONTENT:
            prefix += f": scripted comment{end}{end}" if behaviour.comments else ""
            prefix += f"event: ping{end}{end}" if behaviour.pings else ""
        data = (prefix + _text(event, end)).encode()
        if event.kind is Kind.CONTENT:
            if junk and passed == strike_at:
                data = _spoil(data, junk)
            passed += 1
        yield Piece(mark + data, event.kind)
        mark = b""


def _text(event: Event, end: str) -> str:
    name = f"event: {event.name}{end}" if event.name else ""
    return f"{name}data: {event.data}{end}{end}"


def _spoil(data: bytes, junk: bytes) -> bytes:
    """Put bytes no text has inside the content, or at the front of data that has none."""
    content = data.rfind(b'"content":"')
    place = content + 11 if content >= 0 else data.rfind(b"data: ") + 6
    return data[:place] + junk + data[place:]


def _giant_line(size: int) -> Iterator[Piece]:
    yield Piece(b"data: ", Kind.RAW)
    step = b"x" * _GIANT_STEP
    for start in range(0, size, _GIANT_STEP):
        yield Piece(step[: min(_GIANT_STEP, size - start)], Kind.RAW)
    yield Piece(b"\n\n", Kind.RAW)
