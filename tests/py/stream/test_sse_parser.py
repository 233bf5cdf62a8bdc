"""SSEParser: the WHATWG grammar to the letter, however the bytes are cut (R14)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import StreamTooLarge
from sentinel.stream import SSEEvent, SSEParser
from stream.sse_model import interpret

FIXTURES = {
    "lf": b"data: a\n\ndata: b\n\n",
    "cr": b"data: a\rdata: b\r\rdata: c\r\r",
    "crlf": b"event: add\r\ndata: 73857293\r\n\r\n",
    "mixed ends": b"data: a\n\r\ndata: b\r\n\ndata: c\r\r\n",
    "several lines": b"data: YHOO\ndata: +2\ndata: 10\n\n",
    "comments and ids": b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n",
    "empty data": b"data\n\ndata\ndata\n\ndata:",
    "one space": b"data:test\n\ndata: test\n\ndata:  test\n\n",
    "byte order mark": b"\xef\xbb\xbfdata: a\n\n",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
    "mark later": b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
    "nul in id": b"id: 7\ndata: a\n\nid: x\0y\ndata: b\n\nid:\ndata: c\n\n",
    "retry": b"retry: 1500\ndata: a\n\nretry: 1e3\ndata: b\n\nretry:\nretry: 7\n\nretry: -1\n\n",
    "retry too long": b"retry: 18446744073709551616\ndata: a\n\nretry: 18446744073709551615\n",
    "unknown fields": b"foo: bar\ndata : no\nData: no\n:data: no\ndata: yes\n\n",
    "unfinished": b"data: a\n\nid: 9\ndata: never",
    "unfinished id": b"id: 1\ndata: a\n\nid: 2\nretry: 3\n",
    "no line ends": b"data: a\xe2\x80\xa8b\xc2\x85c\x0b\x0c\xe2\x80\xa9d\n\n",
    "maximal subparts": b"data:\xf0\x9f\x98|\xe2\x82|\xc0\xaf|\xed\xa0\x80|\xf0\x9f\x98\x80\n\n",
    "cut at the end of line": b"data: \xe2\x82\nevent: \xf0\x9f\n\n",
    "bad bytes in an id": b"id: \xff\ndata: a\n\ndata: b\n\n",
    "two BOMs and a colon": b"\xef\xbb\xbf:\n\ndata:\n\n",
    "event without data": b"event: ping\n\ndata: a\n\nevent:\ndata: b\n\n",
    "long lines": b"data: "
    + bytes(range(32, 127)) * 2
    + b"\r\n\r\ndata: "
    + b"\xc3\xa9" * 40
    + b"\n\n",
}
SHORT = [name for name, stream in FIXTURES.items() if len(stream) <= 64]


def parse(pieces: Iterable[bytes]) -> tuple[list[SSEEvent], SSEParser]:
    parser = SSEParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    parser.close()
    return events, parser


def agrees(stream: bytes, pieces: list[bytes]) -> None:
    model = interpret(stream)
    events, parser = parse(pieces)
    assert events == model.events
    assert (parser.last_event_id, parser.retry) == (model.last_event_id, model.retry)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [*places, len(stream)]
    starts = [0, *ends[:-1]]
    return [stream[start:end] for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_split_at_every_byte_reads_as_the_standard_says(name: str) -> None:
    stream = FIXTURES[name]
    agrees(stream, [stream])
    agrees(stream, [bytes([byte]) for byte in stream])
    for place in range(len(stream) + 1):
        agrees(stream, cut(stream, [place]))


@pytest.mark.parametrize("name", SHORT)
def test_a_short_fixture_split_at_every_pair_of_places_reads_the_same(name: str) -> None:
    stream = FIXTURES[name]
    for places in combinations(range(len(stream) + 1), 2):
        agrees(stream, cut(stream, places))


PIECES = st.sampled_from(
    b"\r,\n,\r\n,\n\n,:, ,data,data:,data: x,event: e,id,id: 5,retry: 9,0,\0,\xef\xbb\xbf,"
    b"\xc2\x85,\xe2\x80\xa8,\xff,\xe2\x82,\xf0\x9f\x98\x80,\xed\xa0\x80,16 bytes and more".split(
        b","
    )
)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    stream = b"".join(draw(st.lists(PIECES, max_size=30)))
    return cut(stream, sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6))))


@given(cut_streams())
@settings(max_examples=600, deadline=None)
def test_any_stream_cut_anywhere_agrees_with_the_plain_model(pieces: list[bytes]) -> None:
    agrees(b"".join(pieces), pieces)


@given(cut_streams())
@settings(max_examples=200, deadline=None)
def test_payloads_and_counts_are_those_of_the_events(pieces: list[bytes]) -> None:
    data, count, events = SSEParser(), SSEParser(), SSEParser()
    for piece in pieces:
        expected = [event.data for event in events.feed(piece)]
        assert [item.decode("utf-8", "replace") for item in data.feed_data(piece)] == expected
        assert count.feed_count(piece) == len(expected)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_data(kind: Callable[[bytes], bytes]) -> None:
    parser = SSEParser()
    chunk = kind(b"data: a\n\ndata: b\n\n")
    events = parser.feed(chunk)
    if isinstance(chunk, bytearray):
        chunk[:] = b"x" * len(chunk)
    assert [event.data for event in events] == ["a", "b"]


@pytest.mark.parametrize("wrong", ["data: a\n\n", 5, None, memoryview(b"abcd")[::2]])
def test_what_is_no_buffer_is_a_type_error(wrong: object) -> None:
    with pytest.raises((TypeError, BufferError)):
        SSEParser().feed(wrong)  # type: ignore[arg-type]


def test_an_event_outlives_its_parser_and_chunk() -> None:
    chunk = b"data: " + b"x" * 300 + b"\n\n"
    (event,) = SSEParser().feed(chunk)
    del chunk
    assert (event.data, event.data) == ("x" * 300, "x" * 300)


def test_events_compare_hash_match_show_and_pickle_by_their_fields() -> None:
    (event,) = SSEParser().feed(b"event: e\nid: 1\nretry: 5\ndata: d\n\n")
    same = SSEEvent("e", "d", id="1", retry=5)
    assert event == same
    assert hash(event) == hash(same)
    assert event != SSEEvent("e", "d", "1")
    assert event != ("e", "d", "1", 5)
    assert repr(event) == "SSEEvent(event='e', data='d', id='1', retry=5)"
    assert copy.deepcopy(event) == pickle.loads(pickle.dumps(event)) == event
    match event:
        case SSEEvent("e", data, id=last, retry=retry):
            assert (data, last, retry) == ("d", "1", 5)
        case _:
            pytest.fail("no match")


def test_events_are_immutable() -> None:
    event = SSEEvent("e", "d")
    with pytest.raises(AttributeError):
        event.data = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, "d"), "event must be str"),
        (("e", b"d"), "data must be str"),
        (("e", "d", None), "id must be str"),
        (("e", "d", "", "5"), "retry must be int or None"),
        (("e",), "missing argument 'data'"),
    ],
)
def test_wrong_fields_of_an_event_are_type_errors(
    arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        SSEEvent(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, 2**62 + 1, 2**70])
def test_a_bound_out_of_range_is_a_value_error_that_names_it(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"max_event_bytes must be .* not {wrong}"):
        SSEParser(max_event_bytes=wrong)


@pytest.mark.parametrize("wrong", [1.5, "1", None])
def test_a_bound_of_another_type_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError, match="max_event_bytes must be int"):
        SSEParser(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [16, 64, 1000])
def test_a_line_without_end_is_refused_at_the_bound(bound: int) -> None:
    parser = SSEParser(bound)
    assert parser.feed(b"x" * bound) == []
    with pytest.raises(StreamTooLarge, match=f"larger than {bound} bytes"):
        parser.feed(b"x")
    assert parser.pending_bytes == 0
    with pytest.raises(StreamTooLarge):
        parser.feed(b"data: a\n\n")
    with pytest.raises(StreamTooLarge):
        parser.close()


@pytest.mark.parametrize("split", [True, False])
def test_events_before_one_that_is_too_large_are_not_lost(split: bool) -> None:
    parser = SSEParser(20)
    stream = b"data: a\n\ndata: b\n\ndata: " + b"x" * 30
    pieces = [stream[:18], stream[18:32]] if split else [stream]
    assert [event.data for piece in pieces for event in parser.feed(piece)] == ["a", "b"]
    with pytest.raises(StreamTooLarge):
        parser.feed(stream[32:])


def test_after_close_nothing_is_taken() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: unfinished") == []
    parser.close()
    parser.close()
    with pytest.raises(ValueError, match="after close"):
        parser.feed(b"\n\n")


def test_pending_bytes_are_those_of_the_unfinished_block() -> None:
    parser = SSEParser()
    parser.feed(b"data: a\n\ndata: b\n")
    assert parser.pending_bytes == 8
    parser.feed(b"\n")
    assert parser.pending_bytes == 0
