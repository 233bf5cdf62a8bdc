"""Whose answers are whose: every member of a request that makes it another one (S22, S27)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from governed.conftest import Question
from sentinel.testing import ScriptedUpstream
from support.crowd import ask_all, gather
from support.governed import in_flight, key_text, until_held
from support.sdk_calls import TOOLS
from support.serving import GatewayProcess

PATH = "/v1/chat/completions"
ACME, ACME_TOO, SEARCH, GLOBEX = map(key_text, ("acme-1", "acme-2", "search", "globex"))
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def ask(
    gateway: GatewayProcess, content: bytes | dict[str, Any], key: str = ACME, **more: Any
) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with gateway.http(key) as client:
        path = more.pop("path", PATH)
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        reply = client.post(path, content=body, headers=headers, **more)
    assert reply.status_code == 200, reply.text
    return reply


def verdict(reply: httpx.Response) -> str:
    return reply.headers["x-sentinel-cache"]


def cache_key(reply: httpx.Response) -> str:
    found = re.search('key="([0-9a-f]+)"', reply.headers["cache-status"])
    assert found is not None
    return found[1]


MESSAGE = {"role": "user", "content": "in every one of these questions"}

# What makes it another question, one thing each.
MEMBERS: dict[str, dict[str, Any]] = {
    "model": {"model": "cached-too"},
    "content": {"messages": [{**MESSAGE, "content": "In every one of these questions"}]},
    "content-parts": {"messages": [{**MESSAGE, "content": [{"type": "text", "text": "in"}]}]},
    "role": {"messages": [{**MESSAGE, "role": "developer"}]},
    "name": {"messages": [{**MESSAGE, "name": "somebody"}]},
    "unknown-in-message": {"messages": [{**MESSAGE, "cache_control": {"type": "ephemeral"}}]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, MESSAGE]},
    "history": {"messages": [MESSAGE, {"role": "assistant", "content": "Yes."}, MESSAGE]},
    "twice": {"messages": [MESSAGE, MESSAGE]},
    "tools": {"tools": TOOLS},
    "tools-order": {"tools": TOOLS[::-1]},
    "tool_choice": {"tools": TOOLS, "tool_choice": "none"},
    "parallel_tool_calls": {"tools": TOOLS, "parallel_tool_calls": False},
    "functions": {"functions": [{"name": "f", "parameters": {}}]},
    "response_format": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": SCHEMA},
    "temperature": {"temperature": 0},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 3},
    "seed": {"seed": 1},
    "seed-2": {"seed": 2},
    "seed-null": {"seed": None},
    "stop": {"stop": "."},
    "stop-list": {"stop": ["."]},
    "max_tokens": {"max_tokens": 17},
    "max_completion_tokens": {"max_completion_tokens": 17},
    "n": {"n": 1},
    "presence_penalty": {"presence_penalty": 0.1},
    "frequency_penalty": {"frequency_penalty": 0.1},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "reasoning_effort": {"reasoning_effort": "low"},
    "verbosity": {"verbosity": "low"},
    "service_tier": {"service_tier": "flex"},
    "modalities": {"modalities": ["text"]},
    "prediction": {"prediction": {"type": "content", "content": "in"}},
    "unknown": {"a_member_of_next_year": True},
    "unknown-deep": {"a_member_of_next_year": {"deeply": [{"within": 1}]}},
    "unknown-empty": {"a_member_of_next_year": {}},
    "user-elsewhere": {"a_member_of_next_year": {"user": "u"}},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_s22_every_member_makes_another_question_and_no_tenant_gets_the_others_answer(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream, name: str
) -> None:
    mark = {"a_mark_of_this_test": question.text}
    base = {"model": "cached", "messages": [MESSAGE], **mark}
    changed = {**base, **MEMBERS[name]}
    assert verdict(ask(caching, base)) == "miss"
    first = ask(caching, changed)
    assert verdict(first) == "miss", "another question"
    assert verdict(ask(caching, changed, ACME_TOO)) == "hit-exact", "the same account"
    other = ask(caching, changed, GLOBEX)
    assert verdict(other) == "miss", "another tenant"
    assert cache_key(other) != cache_key(first)
    assert verdict(ask(caching, changed, SEARCH)) == "miss", "the account below"
    assert len(upstream.calls) == 4


HEADS: dict[str, dict[str, Any]] = {
    "query": {"path": f"{PATH}?api-version=2"},
    "openai-beta": {"headers": {"openai-beta": "assistants=v2"}},
    "anthropic-version": {"headers": {"anthropic-version": "2023-06-01"}},
    "anthropic-beta": {"headers": {"anthropic-beta": "tools-2024"}},
}


@pytest.mark.parametrize("name", HEADS)
def test_s22_the_query_and_the_versioning_headers_are_part_of_the_question(
    caching: GatewayProcess, question: Question, name: str
) -> None:
    assert verdict(ask(caching, question.body())) == "miss"
    assert verdict(ask(caching, question.body(), **HEADS[name])) == "miss"
    assert verdict(ask(caching, question.body(), **HEADS[name])) == "hit-exact"


def test_s22_the_endpoint_is_part_of_the_question(
    caching: GatewayProcess, question: Question
) -> None:
    both = {"model": "cached", "prompt": question.text, "messages": [MESSAGE]}
    assert verdict(ask(caching, both)) == "miss"
    assert verdict(ask(caching, both, path="/v1/completions")) == "miss"


EXCLUDED: dict[str, dict[str, Any]] = {
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "user": {"user": "somebody"},
    "safety_identifier": {"safety_identifier": "somebody"},
    "metadata": {"metadata": {"run": "7"}},
    "prompt_cache_key": {"prompt_cache_key": "k"},
}


@pytest.mark.parametrize("name", EXCLUDED)
def test_a4_what_does_not_change_the_answer_does_not_make_another_question(
    caching: GatewayProcess, question: Question, name: str
) -> None:
    first = ask(caching, question.body())
    same = ask(caching, question.body(**EXCLUDED[name]))
    assert verdict(same) == "hit-exact"
    assert cache_key(same) == cache_key(first)
    assert verdict(ask(caching, question.body(**EXCLUDED[name]), GLOBEX)) == "miss"


def test_a4_how_json_is_written_does_not_make_another_question(
    caching: GatewayProcess, question: Question
) -> None:
    ways = [
        '{"model":"cached","messages":[{"role":"user","content":"TEXT"}],"seed":10,"top_p":0.5}',
        '{"top_p":5e-1,"seed":10.0,"messages":[{"content":"TEXT","role":"user"}],"model":"cached"}',
        '\n{ "model" : "cached",\t"seed" : 1e1, "top_p" :0.50,'
        '"messages":\r\n[ { "role":"user", "content": "ESCAPED" } ]}',
        '{"mod\\u0065l":"cached","seed":1E+1,"top_p":0.5,"messages":[{"role":"user","content":"TEXT"}]}',
    ]
    escaped = "".join(f"\\u{ord(character):04x}" for character in question.text)
    ways = [way.replace("TEXT", question.text).replace("ESCAPED", escaped) for way in ways]
    replies = [ask(caching, way.encode()) for way in ways]
    assert [verdict(reply) for reply in replies] == ["miss"] + ["hit-exact"] * 3
    other = ways[0].replace('"seed":10', '"seed":10.5')
    assert verdict(ask(caching, other.encode())) == "miss"


def test_a_string_that_looks_like_a_number_is_not_one(
    caching: GatewayProcess, question: Question
) -> None:
    values: list[Any] = [1, "1", True, [1], {"1": 1}, None, 0, False, "", [], {}, -0.5, "null"]
    replies = [ask(caching, question.body(value_of_next_year=value)) for value in values]
    assert [verdict(reply) for reply in replies] == ["miss"] * len(values)


def test_numbers_beyond_a_doubles_precision_stay_apart(
    caching: GatewayProcess, question: Question
) -> None:
    replies = [
        ask(caching, question.body(seed=seed))
        for seed in (9_007_199_254_740_993, 9_007_199_254_740_992)
    ]
    assert [verdict(reply) for reply in replies] == ["miss", "miss"]


def test_the_route_is_part_of_the_partition_and_so_is_the_clients_name_for_it(
    caching: GatewayProcess, question: Question
) -> None:
    for model in ("wild-one", "wild-two", "cached", "sampled"):
        assert verdict(ask(caching, question.body(model))) == "miss", model
        assert verdict(ask(caching, question.body(model))) == "hit-exact", model


def test_a_sharing_group_shares_across_accounts_and_its_route_alone(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream
) -> None:
    replies = [
        ask(caching, question.body("shared"), key) for key in (ACME, ACME_TOO, SEARCH, GLOBEX)
    ]
    assert [verdict(reply) for reply in replies] == ["miss"] + ["hit-exact"] * 3
    assert len({cache_key(reply) for reply in replies}) == 1
    assert verdict(ask(caching, question.body("shared-too"), GLOBEX)) == "miss"
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_s27_tenants_who_ask_at_the_same_time_never_meet(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream, stream: bool
) -> None:
    upstream.script(*[f"hold=0 text=answer-{number}" for number in range(3)])
    keys = [ACME, GLOBEX, SEARCH]
    first = await gather(caching.origin, 3)
    for number, (client, key) in enumerate(zip(first, keys, strict=True)):
        client.ask(question.request(key=key, stream=stream))
        await until_held(upstream, number + 1)
    requests = [question.request(key=key, stream=stream) for key in keys for _ in range(5)]
    more = asyncio.create_task(ask_all(caching.origin, requests))
    await in_flight(caching, 18)
    upstream.release()
    own = [await client.reply for client in first]
    replies = await more
    assert len({reply.body for reply in own}) == 3
    for number, reply in enumerate(replies):
        assert reply.body == own[number // 5].body
        assert reply.headers["x-sentinel-cache"] == "follow"
    assert upstream.stats()["requests"] == 3


async def test_s27_a_key_that_may_not_use_the_model_neither_follows_nor_hits(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream
) -> None:
    narrow = key_text("narrow")
    upstream.script("hold=0")
    leading = asyncio.create_task(ask_all(caching.origin, [question.request(key=ACME)]))
    await until_held(upstream, 1)
    [refused] = await ask_all(caching.origin, [question.request(key=narrow)])
    upstream.release()
    await leading
    [later] = await ask_all(caching.origin, [question.request(key=narrow)])
    assert [(reply.status, reply.code) for reply in (refused, later)] == [
        (403, "model_not_allowed")
    ] * 2
