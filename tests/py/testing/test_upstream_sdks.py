"""The official SDKs understand the scripted upstream, so what they see through a gateway counts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from sentinel.testing import ScriptedUpstream

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "good morning to you"}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
    for name in ("weather", "traffic")
]


@pytest.fixture(scope="module")
def shared() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared: ScriptedUpstream) -> ScriptedUpstream:
    shared.reset()
    return shared


@pytest.fixture
def client(upstream: ScriptedUpstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(upstream: ScriptedUpstream) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=upstream.origin, api_key="sk-test", max_retries=0) as client:
        yield client


# -- chat completions -----------------------------------------------------------------------------


def test_a_plain_answer_echoes_and_counts_words(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert reply.choices[0].message.content == "You said: good morning to you"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (4, 6)


def test_equal_requests_get_equal_answers(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model="m", messages=HELLO) for _ in range(2))
    assert first == second


def test_a_stream_adds_up_to_the_plain_answer(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="m", messages=HELLO)
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == plain.choices[0].message.content
    assert {chunk.id for chunk in chunks} == {plain.id}
    assert all(chunk.usage is None and "usage" not in chunk.model_fields_set for chunk in chunks)


def test_usage_comes_last_and_only_if_asked_for(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


def test_usage_is_reported_as_scripted(upstream: ScriptedUpstream, client: openai.OpenAI) -> None:
    upstream.script("chunks=7 prompt_tokens=100 cached_tokens=60 reasoning_tokens=20", "usage=0")
    reported, silent = (client.chat.completions.create(model="m", messages=HELLO) for _ in range(2))
    assert reported.usage is not None
    assert reported.usage.prompt_tokens_details is not None
    assert reported.usage.completion_tokens_details is not None
    assert reported.usage.prompt_tokens_details.cached_tokens == 60
    assert reported.usage.completion_tokens_details.reasoning_tokens == 20
    assert (reported.usage.completion_tokens, reported.usage.total_tokens) == (27, 127)
    assert silent.usage is None


@pytest.mark.parametrize("wanted", [1, 3])
def test_tool_calls_stream_in_fragments_that_add_up(
    upstream: ScriptedUpstream, client: openai.OpenAI, wanted: int
) -> None:
    upstream.script(f"tools={wanted}", f"tools={wanted}")
    plain = client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS).choices[0]
    assert plain.finish_reason == "tool_calls"
    assert plain.message.content is None
    with client.chat.completions.stream(model="m", messages=HELLO, tools=TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert plain.message.tool_calls is not None
    assert streamed.message.tool_calls is not None
    assert len(streamed.message.tool_calls) == wanted
    for one, other in zip(plain.message.tool_calls, streamed.message.tool_calls, strict=True):
        assert one.type == "function"
        assert one.id == other.id
        assert one.function.arguments == other.function.arguments
        assert json.loads(one.function.arguments) == {"city": "scripted city", "days": 42}


def test_a_refusal_fills_its_own_member(upstream: ScriptedUpstream, client: openai.OpenAI) -> None:
    upstream.script("refusal", "refusal")
    plain = client.chat.completions.create(model="m", messages=HELLO).choices[0].message
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    streamed = "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks)
    assert (plain.content, plain.refusal) == (None, streamed)


class Weather(BaseModel):
    city: str
    days: list[int]
    note: str | None


def test_structured_output_fits_the_schema(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="m", messages=HELLO, response_format=Weather)
    parsed = reply.choices[0].message.parsed
    assert parsed == Weather(city="scripted city", days=[42, 42], note="scripted note")


def test_several_choices_and_logprobs_are_given_when_asked_for(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="m", messages=HELLO, n=3, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 18
    for choice in reply.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        assert "".join(token.token for token in tokens) == choice.message.content
        assert all(len(token.top_logprobs) == 2 for token in tokens)
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, n=3, stream=True))
    texts = ["", "", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in reply.choices]


def test_max_tokens_cuts_the_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    assert reply.choices[0].message.content == "You said:"
    assert reply.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("words", "bytes_", "tokens"),
    [("size=1000 chunks=10", 1000, 10), ("size=77", 77, None), ("chunks=200", None, 200)],
)
def test_size_and_chunks_are_exact(
    upstream: ScriptedUpstream,
    client: openai.OpenAI,
    words: str,
    bytes_: int | None,
    tokens: int | None,
) -> None:
    upstream.script(words)
    reply = client.chat.completions.create(model="m", messages=HELLO)
    assert reply.usage is not None
    assert bytes_ is None or len(reply.choices[0].message.content or "") == bytes_
    assert tokens is None or reply.usage.completion_tokens == tokens


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_errors_are_the_sdks_errors(
    upstream: ScriptedUpstream,
    client: openai.OpenAI,
    status: int,
    error: type[openai.APIStatusError],
) -> None:
    upstream.script(f"status={status}")
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert caught.value.request_id == upstream.calls[0].request_id


def test_an_error_event_is_raised_in_mid_stream(
    upstream: ScriptedUpstream, client: openai.OpenAI
) -> None:
    upstream.script("fail=error_event at=2 chunks=5")
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    seen: list[str] = []
    with pytest.raises(openai.APIError, match="failed while it worked"):
        seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(seen) == "A gateway"


def test_a_request_without_its_members_is_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.post("/chat/completions", body={"model": "m"}, cast_to=object)
    with pytest.raises(openai.NotFoundError, match="Unknown request URL"):
        client.post("/nowhere", body={}, cast_to=object)


# -- the other endpoints --------------------------------------------------------------------------


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in {model.id for model in client.models.list()}


def test_the_older_completions_work_plain_and_streamed(client: openai.OpenAI) -> None:
    plain = client.completions.create(model="m", prompt="once upon")
    stream = client.completions.create(model="m", prompt="once upon", stream=True)
    assert plain.choices[0].text == "You said: once upon"
    assert "".join(chunk.choices[0].text for chunk in stream) == plain.choices[0].text


def test_both_encodings_of_embeddings_give_equal_vectors(client: openai.OpenAI) -> None:
    inputs = ["one", "two words"]
    packed = client.embeddings.create(model="e", input=inputs, dimensions=8)
    floats = client.embeddings.create(
        model="e", input=inputs, dimensions=8, encoding_format="float"
    )
    assert [item.embedding for item in packed.data] == [item.embedding for item in floats.data]
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.prompt_tokens == 3
    assert client.embeddings.create(model="e", input=[1, 2, 3]).usage.prompt_tokens == 3


def test_responses_stream_ends_with_the_plain_response(client: openai.OpenAI) -> None:
    plain = client.responses.create(model="m", input="good morning")
    assert plain.output_text == "You said: good morning"
    with client.responses.stream(model="m", input="good morning") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == plain.output_text
    assert final.usage == plain.usage


def test_responses_call_functions(upstream: ScriptedUpstream, client: openai.OpenAI) -> None:
    upstream.script("tools=2")
    stream = client.responses.create(
        model="m",
        input="hi",
        stream=True,
        tools=[
            {
                "type": "function",
                "name": "weather",
                "strict": False,
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ],
    )
    events = list(stream)
    done = [e.arguments for e in events if e.type == "response.function_call_arguments.done"]
    assert done == ['{"city":"scripted city"}'] * 2
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


# -- Anthropic ------------------------------------------------------------------------------------


def test_a_message_streams_to_the_plain_message(claude: anthropic.Anthropic) -> None:
    ask: list[anthropic.types.MessageParam] = [{"role": "user", "content": "good morning"}]
    plain = claude.messages.create(model="claude", max_tokens=99, messages=ask)
    with claude.messages.stream(model="claude", max_tokens=99, messages=ask) as stream:
        streamed = stream.get_final_message()
    assert plain.content[0].type == streamed.content[0].type == "text"
    assert plain.content[0].text == streamed.content[0].text == "You said: good morning"
    assert plain.stop_reason == streamed.stop_reason == "end_turn"
    assert (plain.usage.input_tokens, plain.usage.output_tokens) == (2, 4)
    assert streamed.usage.output_tokens == 4


def test_tool_use_streams_to_the_plain_input(
    upstream: ScriptedUpstream, claude: anthropic.Anthropic
) -> None:
    upstream.script("tools=1", "tools=1")
    tool: anthropic.types.ToolParam = {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    ask: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]
    plain = claude.messages.create(model="claude", max_tokens=9, messages=ask, tools=[tool])
    with claude.messages.stream(model="claude", max_tokens=9, messages=ask, tools=[tool]) as stream:
        streamed = stream.get_final_message()
    assert plain.content[0].type == streamed.content[0].type == "tool_use"
    assert plain.content[0].id == streamed.content[0].id
    assert plain.content[0].input == streamed.content[0].input == {"city": "scripted city"}
    assert streamed.stop_reason == "tool_use"


def test_anthropic_errors_are_its_sdks_errors(
    upstream: ScriptedUpstream, claude: anthropic.Anthropic
) -> None:
    ask: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]
    upstream.script("status=429", "fail=error_event")
    with pytest.raises(anthropic.RateLimitError, match="rate_limit_error"):
        claude.messages.create(model="claude", max_tokens=9, messages=ask)
    with (
        pytest.raises(anthropic.APIStatusError, match="api_error"),
        claude.messages.stream(model="claude", max_tokens=9, messages=ask) as stream,
    ):
        stream.get_final_message()
