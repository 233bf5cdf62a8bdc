"""Every call of the official SDK is answered as the upstream answers it, and counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest

from sentinel.testing import ScriptedUpstream
from support.sdk_calls import CALLS, HELLO, SdkCall, Weather, perform, perform_async
from support.serving import GatewayServer, HttpAddress

Records = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_through_the_gateway_equals_the_call_made_straight_and_leaves_one_record(
    upstream: ScriptedUpstream,
    client: openai.OpenAI,
    direct: openai.OpenAI,
    new_records: Records,
    call: SdkCall,
) -> None:
    upstream.script(call.script, call.script)
    assert perform(client, call) == perform(direct, call)
    [record] = new_records()
    counted = (record["endpoint"], record["prompt_tokens"], record["completion_tokens"])
    assert counted == (call.endpoint, call.prompt, call.completion)
    assert (record["outcome"], record["status"], record["estimated"]) == ("done", 200, 0)
    assert record["cost_micro_usd"] == call.prompt + 2 * call.completion
    assert record["model"] == call.arguments["model"]


@pytest.mark.parametrize("call", CALLS, ids=str)
async def test_the_asynchronous_sdk_gets_the_same(
    upstream: ScriptedUpstream, gateway_server: GatewayServer, call: SdkCall
) -> None:
    upstream.script(call.script, call.script)
    straight = HttpAddress(upstream.origin).async_openai()
    async with gateway_server.async_openai() as client, straight as direct:
        assert await perform_async(client, call) == await perform_async(direct, call)


async def test_parallel_calls_each_get_their_own_answer(
    gateway_server: GatewayServer, new_records: Records
) -> None:
    async def ask(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": f"number {number} [[gap_ms=1]]"}],
            stream=True,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with gateway_server.async_openai() as client:
        answers = await asyncio.gather(*(ask(client, number) for number in range(40)))
    assert answers == [f"You said: number {number}" for number in range(40)]
    assert [record["outcome"] for record in new_records()] == ["done"] * 40


def test_parse_gives_the_model_of_the_application(
    client: openai.OpenAI, direct: openai.OpenAI
) -> None:
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO, "response_format": Weather}
    through = client.chat.completions.parse(**ask)
    assert through == direct.chat.completions.parse(**ask)
    parsed = through.choices[0].message.parsed
    assert parsed == Weather(city="scripted city", days=[42, 42], note="scripted note")


def test_the_streaming_helper_gives_the_plain_answer(client: openai.OpenAI) -> None:
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO}
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "You said: good morning to you"
    with client.responses.stream(model="gpt-4o-mini", input="good morning") as events:
        assert events.get_final_response().output_text == "You said: good morning"


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {}], ids=str)
def test_a_usage_chunk_nobody_asked_for_is_withheld_though_it_was_asked_of_the_upstream(
    upstream: ScriptedUpstream, client: openai.OpenAI, options: dict[str, Any] | None
) -> None:
    extra: Any = {} if options is None else {"stream_options": options}
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True}
    chunks = list(client.chat.completions.create(**ask, **extra))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert upstream.calls[0].json["stream_options"] == {"include_usage": True}


def test_a_usage_chunk_that_was_asked_for_comes_last(client: openai.OpenAI) -> None:
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True}
    chunks = list(client.chat.completions.create(**ask, stream_options={"include_usage": True}))
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10


def test_a_body_in_which_nothing_must_change_arrives_byte_for_byte(
    upstream: ScriptedUpstream, gateway_server: GatewayServer
) -> None:
    body = b'{ "model":"gpt-4o-mini" ,\n "messages":[{"role":"user","content":"\\u00e9\xc3\xa9"}]}'
    with gateway_server.http() as http:
        reply = http.post("/v1/chat/completions", content=body)
    assert (reply.status_code, upstream.calls[0].body) == (200, body)


# The one place where headers may differ: what a gateway keeps to itself, and what it adds.
_KEPT_BACK = {
    "access-control-expose-headers",
    "connection",
    "date",
    "keep-alive",
    "openai-organization",
    "server",
    "set-cookie",
    "transfer-encoding",
}
_ADDED = {
    "cache-control",
    "cache-status",
    "connection",
    "content-length",
    "date",
    "transfer-encoding",
    "x-request-id",
    "x-sentinel-cache",
    "x-sentinel-cost-micro-usd",
    "x-sentinel-target",
    "x-sentinel-upstream-request-id",
}


@pytest.mark.parametrize("stream", [False, True])
def test_headers_differ_as_documented_and_in_nothing_else(
    client: openai.OpenAI, direct: openai.OpenAI, stream: bool
) -> None:
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO, "stream": stream}
    through = client.chat.completions.with_raw_response.create(**ask).headers
    straight = direct.chat.completions.with_raw_response.create(**ask).headers
    dropped = {name for name in straight if name not in through}
    added = {name for name in through if name not in straight}
    assert {name for name in dropped if not name.startswith("x-ratelimit-")} <= _KEPT_BACK
    assert added <= _ADDED
    changed = {name for name in through if through[name] != straight.get(name)} - added
    assert changed <= {"cache-control", "content-length", "date", "x-request-id"}
    assert "set-cookie" in dropped
    assert "openai-organization" in dropped


def test_the_upstreams_request_id_is_told_beside_our_own(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records
) -> None:
    ask: Any = {"model": "gpt-4o-mini", "messages": HELLO}
    headers = client.chat.completions.with_raw_response.create(**ask).headers
    assert headers["x-sentinel-upstream-request-id"] == upstream.calls[0].request_id
    [record] = new_records()
    assert headers["x-request-id"] == record["request_id"]
    assert headers["x-sentinel-cost-micro-usd"] == str(record["cost_micro_usd"])


def test_cached_and_reasoning_tokens_are_counted_apart(
    upstream: ScriptedUpstream, client: openai.OpenAI, new_records: Records
) -> None:
    upstream.script("chunks=7 prompt_tokens=100 cached_tokens=60 reasoning_tokens=20")
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}])
    [record] = new_records()
    assert (record["prompt_tokens"], record["cached_tokens"]) == (100, 60)
    assert (record["completion_tokens"], record["reasoning_tokens"]) == (27, 20)
    assert record["cost_micro_usd"] == 40 * 1 + 60 * 0 + 27 * 2


def test_models_are_those_of_the_routes(serve: Any, upstream: ScriptedUpstream) -> None:
    target = {"targets": [{"upstream": "upstream"}]}
    server = serve(routes={"gpt-4o": {**target, "aliases": ["four"]}, "claude-*": target})
    with server.openai() as client:
        assert [model.id for model in client.models.list()] == ["four", "gpt-4o"]
        assert client.models.retrieve("gpt-4o").owned_by == "upstream"
        assert client.models.retrieve("claude-sonnet-4-5").id == "claude-sonnet-4-5"
        with pytest.raises(openai.NotFoundError, match="no route serves"):
            client.models.retrieve("llama")
    assert server.records() == []
    assert upstream.calls == []
