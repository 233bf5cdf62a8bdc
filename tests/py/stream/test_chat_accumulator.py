"""ChatAccumulator: what the official SDK accumulates, from the raw bytes, however they are cut."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from sentinel.errors import StreamCut, StreamError, StreamFailed, StreamTooLarge
from sentinel.stream import ChatAccumulator
from stream.recorded import RECORDED, chunk, encode


def accumulated_by_sdk(stream: bytes) -> dict[str, Any]:
    """The official SDK's completion: its decoder, its chunks, its state."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for event in SSEDecoder().iter_bytes(iter([stream])):
        if event.data.startswith("[DONE]"):
            break
        payload = ChatCompletionChunk.construct(None, **event.json())
        if payload.object == "chat.completion.chunk":
            list(state.handle_chunk(payload))
    return normal(state.current_completion_snapshot.to_dict())


def normal(completion: dict[str, Any]) -> dict[str, Any]:
    """As the SDK's types read it, without null members and those that it parsed."""
    whole = ChatCompletion.construct(None, **completion).to_dict(
        exclude_unset=False, exclude_defaults=False
    )
    return dict(_without_parsed(whole))


def _without_parsed(value: Any) -> Any:
    if isinstance(value, dict):
        drop = {"parsed", "parsed_arguments"}
        return {
            key: _without_parsed(item)
            for key, item in value.items()
            if key not in drop and item is not None
        }
    return [_without_parsed(item) for item in value] if isinstance(value, list) else value


def content_of(payloads: list[dict[str, Any]]) -> str:
    deltas = [
        choice["delta"].get("content") or ""
        for payload in payloads
        for choice in payload["choices"]
        if choice["index"] == 0
    ]
    return "".join(deltas)


def accumulate(stream: bytes, *places: int) -> tuple[ChatAccumulator, str]:
    accumulator = ChatAccumulator()
    ends = [*places, len(stream)]
    text = "".join(
        accumulator.feed(stream[start:end]) for start, end in zip([0, *ends], ends, strict=False)
    )
    accumulator.close()
    return accumulator, text


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream_gives_what_the_official_sdk_makes_of_it(
    name: str, ascii_only: bool
) -> None:
    stream = encode(RECORDED[name], ascii_only=ascii_only)
    accumulator, text = accumulate(stream)
    assert normal(accumulator.completion) == accumulated_by_sdk(stream)
    assert text == content_of(RECORDED[name])
    assert accumulator.complete


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", RECORDED)
def test_a_stream_split_at_every_byte_gives_the_same(name: str, end: bytes) -> None:
    stream = encode(RECORDED[name], end=end)
    whole, text = accumulate(stream)
    for place in range(0, len(stream), 1 if end == b"\n" else 7):
        parts, joined = accumulate(stream, place)
        assert (parts.completion, joined) == (whole.completion, text)
    parts, joined = accumulate(stream, *range(1, len(stream)))
    assert (parts.completion, joined) == (whole.completion, text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INDEXES = st.integers(0, 2)
CALLS = st.builds(
    lambda index, text: {"tool_calls": [{"index": index, "function": {"arguments": text}}]},
    st.integers(0, 1),
    TEXTS,
)
LOGPROBS = st.none() | st.builds(
    lambda texts: {
        "content": [
            {"token": t, "logprob": -0.5, "bytes": None, "top_logprobs": []} for t in texts
        ],
        "refusal": None,
    },
    st.lists(TEXTS, max_size=2),
)
DELTAS = st.one_of(
    st.just({}),
    CALLS,
    *[
        st.builds(lambda text, name=name: {name: text}, TEXTS | st.none())
        for name in ("content", "content", "refusal", "reasoning_content")
    ],
)
CHOICES = st.builds(
    lambda delta, index, finish, logprobs: {
        "index": index,
        "delta": delta,
        "finish_reason": finish,
        "logprobs": logprobs,
    },
    DELTAS,
    INDEXES,
    st.sampled_from([None, None, None, "stop"]),
    LOGPROBS,
)
CHUNKS = st.builds(
    lambda choices, padding: chunk(*choices, obfuscation=padding),
    st.lists(CHOICES, min_size=1, max_size=2) | CHOICES.map(lambda choice: [choice] * 2),
    TEXTS,
)


@st.composite
def generated(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A stream whose first chunk opens its choices and their tool calls, as providers do."""
    calls = [
        {"index": i, "id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": ""}}
        for i in range(2)
    ]
    opening = [
        {"index": index, "delta": {"role": "assistant", "content": None, "tool_calls": calls}}
        for index in range(3)
    ]
    chunks = draw(st.lists(CHUNKS, max_size=12))
    usage = draw(
        st.none() | st.just({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
    )
    last = [chunk(usage=usage)] if usage else []
    return [chunk(*opening), *chunks, *last]


@given(generated(), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_stream_gives_what_the_official_sdk_makes_of_it(
    payloads: list[dict[str, Any]], ascii_only: bool, data: st.DataObject
) -> None:
    stream = encode(payloads, ascii_only=ascii_only)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    accumulator, text = accumulate(stream, *places)
    assert normal(accumulator.completion) == accumulated_by_sdk(stream)
    assert text == content_of(payloads)


def test_the_parts_are_those_of_the_completion() -> None:
    accumulator, _ = accumulate(encode(RECORDED["several choices"]))
    whole = accumulator.completion
    assert whole["object"] == "chat.completion"
    assert accumulator.choices == whole["choices"]
    assert accumulator.message == whole["choices"][0]["message"]
    assert accumulator.message["content"] == "a0b0c0d0"
    assert accumulator.usage == whole["usage"]
    assert accumulator.finish_reason == "length"
    assert [choice["index"] for choice in accumulator.choices] == [0, 1, 2]
    assert "obfuscation" not in whole


def test_before_anything_came_there_is_an_empty_message() -> None:
    accumulator = ChatAccumulator()
    assert accumulator.message == {"role": "assistant", "content": None}
    assert accumulator.choices == []
    assert accumulator.completion == {"object": "chat.completion", "choices": []}
    assert (accumulator.usage, accumulator.finish_reason, accumulator.complete) == (
        None,
        None,
        False,
    )


def deltas(*items: dict[str, Any]) -> bytes:
    return encode([chunk({"index": 0, "delta": delta}) for delta in items])


END = b"data: [DONE]\n\n"


def test_what_some_providers_repeat_is_said_once() -> None:
    name = {"name": "f", "arguments": "x"}
    call = {"index": 0, "id": "c", "type": "function", "function": name}
    delta = {"role": "assistant", "content": "a", "tool_calls": [call]}
    message = accumulate(deltas(delta, delta, delta))[0].message
    assert message["role"] == "assistant"
    assert message["content"] == "aaa"
    assert message["tool_calls"] == [call | {"function": name | {"arguments": "xxx"}}]


def test_tool_calls_and_choices_are_found_by_index_in_whatever_order_they_come() -> None:
    calls = [{"index": i, "id": f"c{i}", "function": {"arguments": str(i)}} for i in (2, 0, 1, 2)]
    message = accumulate(deltas(*[{"tool_calls": [call]} for call in calls]))[0].message
    seen = [(call["index"], call["function"]["arguments"]) for call in message["tool_calls"]]
    assert seen == [(0, "0"), (1, "1"), (2, "22")]


def test_a_usage_is_not_taken_back_by_a_later_null() -> None:
    usage = {"prompt_tokens": 1}
    accumulator, _ = accumulate(encode([chunk(usage=usage), chunk(usage=None)]))
    assert accumulator.usage == usage


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n', "overloaded"),
        (b'data: {"error":"no more"}\n\n', "no more"),
        (b'event: error\ndata: {"message":"quota"}\n\n', "quota"),
        (b"event: error\ndata: plain words\n\n", "plain words"),
        (b'data: {"error":{}}\n\n', "the provider reported an error"),
    ],
)
def test_an_error_event_is_a_typed_error_with_its_message(payload: bytes, message: str) -> None:
    accumulator = ChatAccumulator()
    assert accumulator.feed(deltas({"content": "so far"}).removesuffix(END)) == "so far"
    for _ in range(2):
        with pytest.raises(StreamFailed, match=f"^{message}$"):
            accumulator.feed(payload)
    with pytest.raises(StreamFailed):
        accumulator.close()
    assert accumulator.message["content"] == "so far"
    assert not accumulator.complete


def test_text_before_a_fault_in_the_same_piece_is_not_lost() -> None:
    accumulator = ChatAccumulator()
    piece = deltas({"content": "a"}).replace(b"data: [DONE]", b'data: {"error":"x"}')
    assert accumulator.feed(piece) == "a"
    with pytest.raises(StreamFailed, match="x"):
        accumulator.close()


@pytest.mark.parametrize("missing", [1, 2, 8, 16, 40])
def test_a_cut_stream_is_never_complete(missing: int) -> None:
    accumulator = ChatAccumulator()
    accumulator.feed(encode(RECORDED["text"])[:-missing])
    assert not accumulator.complete
    with pytest.raises(StreamCut, match=r"ended before \[DONE\]"):
        accumulator.close()
    with pytest.raises(StreamCut):
        accumulator.feed(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"1", b'{"a":\xff}', b'{"choices":[{"delta":{"content":"a}', b"[DONE"]
)
def test_data_that_is_no_json_object_is_a_stream_error_with_its_number(data: bytes) -> None:
    accumulator = ChatAccumulator()
    accumulator.feed(b"data: {}\n\n: comment\n\n")
    with pytest.raises(StreamError, match="event 2 is not a JSON object"):
        accumulator.feed(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("bad", ["\\x", "\\ud800", "\\u12", "\x01", "\\udc00\\ud800"])
def test_a_text_that_is_no_json_string_is_read_in_full_after_a_known_shape(bad: str) -> None:
    good = '{"choices":[{"index":0,"delta":{"content":"%s"}}]}'
    first = [good % "", good % "a", good % "b"]
    accumulator = ChatAccumulator()
    assert accumulator.feed("".join(f"data: {text}\n\n" for text in first).encode()) == "ab"
    event = f"data: {good % bad}\n\n".encode()
    if bad in ("\\ud800", "\\udc00\\ud800"):  # JSON, though no character
        assert set(accumulator.feed(event)) == {"\N{REPLACEMENT CHARACTER}"}
        return
    with pytest.raises(StreamError, match="event 4"):
        accumulator.feed(event)


def test_what_follows_the_end_is_not_read() -> None:
    accumulator = ChatAccumulator()
    assert (
        accumulator.feed(deltas({"content": "a"}) + b"data: {\n\n" + deltas({"content": "b"}))
        == "a"
    )
    accumulator.close()
    assert accumulator.message["content"] == "a"


def test_an_event_past_its_bound_is_a_typed_error_that_names_it() -> None:
    accumulator = ChatAccumulator(max_event_bytes=100)
    with pytest.raises(StreamTooLarge, match="larger than 100 bytes"):
        accumulator.feed(b"data: " + b"x" * 200)


def test_an_answer_past_its_bound_is_a_typed_error_that_names_it() -> None:
    accumulator = ChatAccumulator(max_kept_bytes=5_000)
    piece = deltas({"content": "x" * 100}).removesuffix(END)
    for _ in range(40):
        accumulator.feed(piece)
    assert accumulator.feed(piece * 20) != ""
    with pytest.raises(StreamTooLarge, match="larger than 5000 bytes"):
        accumulator.feed(b"")
    assert 4_000 < len(accumulator.message["content"]) < 5_100


def test_more_tool_calls_than_anybody_makes_are_refused() -> None:
    calls = [{"index": index, "function": {"arguments": ""}} for index in range(1_100)]
    with pytest.raises(StreamTooLarge, match="1024 choices, tool calls"):
        ChatAccumulator().feed(deltas({"tool_calls": calls}))


WIDE = {f"m{number}": 0 for number in range(60_000)}


@pytest.mark.parametrize(
    "payload",
    [
        chunk(**WIDE),
        chunk({"index": 0, "delta": WIDE}),
        chunk({"index": 0, "delta": {}} | WIDE),
        chunk({"index": 0, "delta": {"audio": WIDE}}),
        chunk({"index": 0, "delta": {}, "logprobs": WIDE}),
    ],
    ids=["chunk", "delta", "choice", "in a delta", "log probabilities"],
)
def test_objects_of_very_many_members_are_refused_before_they_cost_much(
    payload: dict[str, Any],
) -> None:
    accumulator = ChatAccumulator()
    stream = encode([payload] * 2)
    with pytest.raises(StreamTooLarge, match="members of one object"):
        accumulator.feed(stream)


@pytest.mark.parametrize("name", ["max_event_bytes", "max_kept_bytes"])
def test_bounds_out_of_range_are_value_errors_that_name_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .* not 0"):
        ChatAccumulator(**{name: 0})
    with pytest.raises(TypeError, match=f"{name} must be int"):
        ChatAccumulator(**{name: "1"})  # type: ignore[arg-type]


def test_a_finaliser_may_feed_while_a_completion_is_made() -> None:
    accumulator = ChatAccumulator()
    stream = deltas({"content": "x"}, {"tool_calls": [{"index": 0}]}).removesuffix(END)

    class Feeds:
        def __del__(self) -> None:
            accumulator.feed(stream)

    gc.collect()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle: list[object] = [Feeds()]
            cycle.append(cycle)
            del cycle
            assert accumulator.completion["object"] == "chat.completion"
    finally:
        gc.set_threshold(*threshold)
    assert json.dumps(accumulator.message)
