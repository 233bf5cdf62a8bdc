"""Answers that are kept: for whom, in which form, for how long, and which never (A4, A6, S26)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from governed.conftest import Governed, Question
from sentinel.testing import ManualClock, ScriptedUpstream
from support.crowd import CrowdClient, ask_all
from support.governed import document, in_flight, target, until_held
from support.raw_http import RawClient, events
from support.sdk_calls import TOOLS
from support.serving import (
    GatewayProcess,
    GatewayServer,
    chat_body,
    gateway_settings,
)

PATH = "/v1/chat/completions"
STORED = re.compile(r'sentinel; fwd=uri-miss; stored; key="[0-9a-f]+"')
HIT = re.compile(r'sentinel; hit; ttl=\d+; key="[0-9a-f]+"')


@pytest.fixture
def http(caching: GatewayProcess) -> Iterator[httpx.Client]:
    with caching.http() as client:
        yield client


def verdict(reply: httpx.Response) -> str:
    return reply.headers["x-sentinel-cache"]


# ---- both forms ---------------------------------------------------------------------------------


def test_a4_the_second_same_question_is_a_hit_that_reaches_nobody(
    http: httpx.Client, question: Question, upstream: ScriptedUpstream
) -> None:
    expected = question.direct()
    first, second = (http.post(PATH, json=question.body()) for _ in range(2))
    assert (verdict(first), verdict(second)) == ("miss", "hit-exact")
    assert first.content == second.content == expected
    assert STORED.fullmatch(first.headers["cache-status"])
    assert HIT.fullmatch(second.headers["cache-status"])
    assert second.headers["age"] == "0"
    assert second.headers["x-sentinel-cost-micro-usd"] == "0"
    assert int(first.headers["x-sentinel-cost-micro-usd"]) > 0
    assert second.headers["x-sentinel-target"] == first.headers["x-sentinel-target"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert "x-sentinel-upstream-request-id" not in second.headers
    assert "openai-processing-ms" not in second.headers, "headers are not kept"
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_a4_either_form_answers_both_through_the_official_sdk(
    caching: GatewayProcess,
    question: Question,
    upstream: ScriptedUpstream,
    kept: bool,
    stream: bool,
) -> None:
    script = "chunks=12 prompt_tokens=30 cached_tokens=8 reasoning_tokens=5"

    def ask(client: openai.OpenAI, streamed: bool) -> openai.types.chat.ChatCompletion:
        ask: Any = question.body()
        if streamed:
            ask["stream_options"] = {"include_usage": True}
            with client.chat.completions.stream(**ask) as events:
                return events.get_final_completion()
        completion: openai.types.chat.ChatCompletion = client.chat.completions.create(**ask)
        return completion

    with caching.openai() as client:
        upstream.script(script)
        first = ask(client, kept)
        second = ask(client, stream)
    assert second.choices[0].message.content == first.choices[0].message.content
    assert second.choices[0].finish_reason == first.choices[0].finish_reason == "stop"
    for member in ("id", "created", "model", "system_fingerprint", "service_tier"):
        assert getattr(second, member) == getattr(first, member), member
    assert second.usage is not None
    assert second.usage == first.usage
    assert second.usage.completion_tokens == 17
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("kept_with", [None, True, False])
@pytest.mark.parametrize("asked_with", [None, True, False])
def test_a_hits_usage_chunk_follows_its_own_callers_wish(
    http: httpx.Client,
    question: Question,
    upstream: ScriptedUpstream,
    kept_with: bool | None,
    asked_with: bool | None,
) -> None:
    def ask(include_usage: bool | None) -> httpx.Response:
        options: dict[str, Any] = {}
        if include_usage is not None:
            options = {"stream_options": {"include_usage": include_usage}}
        return http.post(PATH, json=question.body(stream=True, **options))

    assert verdict(ask(kept_with)) == "miss"
    hit = ask(asked_with)
    assert verdict(hit) == "hit-exact"
    *chunks, done = events(hit.content)
    assert done == "[DONE]"
    assert [chunk for chunk in chunks if not chunk["choices"]] == (
        [chunks[-1]] if asked_with else []
    )
    if asked_with:
        assert chunks[-1]["usage"]["total_tokens"] > 0
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_s26_calls_of_the_clients_own_tools_are_kept(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream, stream: bool
) -> None:
    with caching.openai() as client:
        upstream.script("tools=2")
        ask: Any = question.body(tools=TOOLS)
        first = client.chat.completions.create(**ask)
        with client.chat.completions.stream(**ask) as streamed:
            final = streamed.get_final_completion()
        again = client.chat.completions.create(**ask)
    calls = [
        [
            (call.id, call.function.name, call.function.arguments)
            for call in one.choices[0].message.tool_calls or []
        ]
        for one in (first, final, again)
    ]
    assert len(calls[0]) == 2
    assert calls[0] == calls[1] == calls[2]
    assert len(upstream.calls) == 1


def test_images_are_kept_exactly(http: httpx.Client, question: Question) -> None:
    def ask(picture: str) -> str:
        parts = [
            {"type": "text", "text": question.text},
            {"type": "image_url", "image_url": {"url": f"https://pictures.test/{picture}.png"}},
        ]
        body = {"model": "cached", "messages": [{"role": "user", "content": parts}]}
        return verdict(http.post(PATH, json=body))

    assert [ask("one"), ask("one"), ask("two")] == ["miss", "hit-exact", "miss"]


def test_completions_are_kept_and_messages_and_responses_are_not(
    http: httpx.Client, question: Question
) -> None:
    endpoints: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/completions", {"prompt": question.text}, "hit-exact"),
        ("/v1/responses", {"input": question.text}, "bypass"),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": [{"role": "user", "content": question.text}]},
            "bypass",
        ),
    ]
    for path, body, wanted in endpoints:
        replies = [http.post(path, json={"model": "cached", **body}) for _ in range(2)]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert verdict(replies[1]) == wanted, path


def test_a_question_is_answered_by_what_a_chat_has_kept(
    http: httpx.Client, question: Question, upstream: ScriptedUpstream
) -> None:
    chat = http.post(PATH, json=question.body()).json()
    asked = http.post("/v1/query", json={"prompt": question.text, "model": "cached"})
    assert asked.json()["cache"]["verdict"] == "hit-exact"
    assert asked.json()["answer"] == chat["choices"][0]["message"]["content"]
    assert asked.json()["cost_micro_usd"] == 0
    assert len(upstream.calls) == 1


# ---- steering -----------------------------------------------------------------------------------


def test_a6_no_store_neither_reads_nor_keeps(http: httpx.Client, question: Question) -> None:
    no_store = {"cache-control": "no-store"}
    first = http.post(PATH, json=question.body(), headers=no_store)
    assert (verdict(first), first.headers["cache-status"]) == ("bypass", "sentinel; fwd=bypass")
    assert verdict(http.post(PATH, json=question.body())) == "miss"
    assert verdict(http.post(PATH, json=question.body(), headers=no_store)) == "bypass"
    assert verdict(http.post(PATH, json=question.body())) == "hit-exact"


def test_a6_no_cache_asks_anew_and_keeps_what_comes(
    http: httpx.Client, question: Question, upstream: ScriptedUpstream
) -> None:
    upstream.script("text=old", "text=new")
    http.post(PATH, json=question.body())
    asked = http.post(PATH, json=question.body(), headers={"cache-control": "No-Cache"})
    assert verdict(asked) == "miss"
    assert asked.headers["cache-status"].startswith("sentinel; fwd=request; stored; key=")
    later = http.post(PATH, json=question.body())
    assert (verdict(later), later.json()["choices"][0]["message"]["content"]) == (
        "hit-exact",
        "new",
    )


def test_a6_directives_on_two_lines_both_count(caching: GatewayProcess, question: Question) -> None:
    lines = (("cache-control", "no-transform"), ("cache-control", "no-store"))
    with RawClient(caching.origin) as client:
        client.send(question.request(headers=lines))
        reply = client.reply()
    assert (reply.status, reply.headers["x-sentinel-cache"]) == (200, "bypass")


def test_a6_max_age_and_the_ttl_go_by_the_answers_age(
    upstream: ScriptedUpstream, tmp_path: Path, question: Question
) -> None:
    clock = ManualClock()
    routes = {"cached": {"targets": [{"upstream": "upstream"}], "cache": {"ttl": "10m"}}}
    settings = gateway_settings(upstream.base_url, tmp_path / "data", routes=routes)
    with GatewayServer.serving(settings, clock=clock) as server, server.http() as http:

        def ask(**headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            status = http.post(PATH, json=question.body(), headers=named).headers["cache-status"]
            return status.split('; key="')[0].removeprefix("sentinel; ")

        assert ask() == "fwd=uri-miss; stored"
        clock.advance(61)
        assert ask() == "hit; ttl=539"
        assert ask(cache_control="max-age=60") == "fwd=stale; stored"
        assert ask(cache_control="max-age=60") == "hit; ttl=600"
        clock.advance(599)
        assert ask(cache_control="max-age=3600") == "hit; ttl=1"
        clock.advance(1)
        assert ask() == "fwd=uri-miss; stored"
        assert ask(cache_control="max-age=0") == "hit; ttl=600"  # made in this very moment
        clock.advance(0.5)
        assert ask(cache_control="max-age=soon, no-transform") == "fwd=stale; stored"


@pytest.mark.parametrize(
    "change", [{"temperature": 0.1}, {"n": 2}, {"temperature": 0, "n": 3}], ids=str
)
def test_sampled_answers_are_kept_only_where_the_route_says_so(
    http: httpx.Client, question: Question, change: dict[str, Any]
) -> None:
    for model, wanted in (("cached", ["bypass"] * 2), ("sampled", ["miss", "hit-exact"])):
        replies = [http.post(PATH, json=question.body(model, **change)) for _ in range(2)]
        assert [verdict(reply) for reply in replies] == wanted


def test_an_idempotency_key_is_neither_answered_nor_kept(
    http: httpx.Client, question: Question
) -> None:
    headers = {"idempotency-key": "one"}
    replies = [http.post(PATH, json=question.body(), headers=headers) for _ in range(2)]
    assert [verdict(reply) for reply in replies] == ["bypass"] * 2
    assert verdict(http.post(PATH, json=question.body())) == "miss"


# ---- what is never kept -------------------------------------------------------------------------

ENDINGS = [
    "status=500",
    "status=400",
    "status=429",
    "finish=content_filter",
    "finish=something_new",
    "fail=error_object",
    "fail=invalid_json",
    "fail=cut_mid_body",
    "fail=cut_before_done",
    "fail=reset_mid_event",
]
STREAM_ENDINGS = ["fail=error_event at=3", "fail=no_done", "fail=no_terminal at=3"]


@pytest.mark.parametrize(
    ("script", "stream"),
    [(script, stream) for script in ENDINGS for stream in (False, True)]
    + [(script, True) for script in STREAM_ENDINGS],
)
def test_s26_what_is_not_a_whole_good_answer_is_never_kept(
    http: httpx.Client, question: Question, upstream: ScriptedUpstream, script: str, stream: bool
) -> None:
    upstream.script(f"chunks=9 {script}")
    http.post(PATH, json=question.body("bare", stream=stream))
    for wanted in ("miss", "hit-exact"):
        later = http.post(PATH, json=question.body("bare", stream=stream))
        assert (later.status_code, verdict(later)) == (200, wanted)
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_s26_an_answer_that_its_client_left_is_never_kept(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream, stream: bool
) -> None:
    upstream.script("chunks=9 hold=4")
    client = await CrowdClient.connect(caching.origin)
    client.ask(question.request(stream=stream))
    await until_held(upstream, 1)
    client.leave()
    await upstream.until(lambda up: up.aborted == 1)
    await in_flight(caching, 0)
    [later] = await ask_all(caching.origin, [question.request(stream=stream)])
    assert later.headers["x-sentinel-cache"] == "miss"


PROVIDERS_OWN: list[dict[str, Any]] = [
    {"store": True},
    {"background": True},
    {"previous_response_id": "resp_1"},
    {"web_search_options": {}},
    {"tools": [{"type": "web_search"}]},
    {"tools": [*TOOLS, {"type": "code_interpreter"}]},
]


@pytest.mark.parametrize("change", PROVIDERS_OWN, ids=str)
def test_s26_what_the_provider_stores_or_runs_is_neither_kept_nor_answered(
    http: httpx.Client, question: Question, change: dict[str, Any]
) -> None:
    replies = [http.post(PATH, json=question.body(**change)) for _ in range(2)]
    assert [verdict(reply) for reply in replies if reply.status_code == 200] in ([], ["bypass"] * 2)


def test_store_false_says_nothing_against_keeping(http: httpx.Client, question: Question) -> None:
    replies = [http.post(PATH, json=question.body(store=False)) for _ in range(2)]
    assert [verdict(reply) for reply in replies] == ["miss", "hit-exact"]


# ---- bounds and books ---------------------------------------------------------------------------


def test_without_memory_nothing_is_kept(governed: Governed, upstream: ScriptedUpstream) -> None:
    gateway = governed(cache={"max_bytes": 0})
    with gateway.http() as client:
        replies = [client.post(PATH, json=chat_body(model="cached")) for _ in range(2)]
    assert [verdict(reply) for reply in replies] == ["miss", "miss"]
    assert all("stored" not in reply.headers["cache-status"] for reply in replies)
    assert len(upstream.calls) == 2


def test_the_memory_of_kept_answers_is_bounded(governed: Governed) -> None:
    gateway = governed(cache={"max_bytes": "1MiB"})
    with gateway.http() as client:
        for number in range(200):
            body = chat_body(f"number {number} [[size=20000]]", model="cached")
            assert client.post(PATH, json=body).status_code == 200
        metrics = client.get("/metrics").text
    held = re.search(r"^sentinel_cache_bytes (\d+)$", metrics, re.MULTILINE)
    assert held is not None
    assert 0 < int(held[1]) <= 1024 * 1024
    evicted = re.search(r"^sentinel_cache_evictions_total (\d+)$", metrics, re.MULTILINE)
    assert evicted is not None
    assert int(evicted[1]) > 0


def test_what_a_hit_has_saved_stands_in_the_ledger_and_in_the_metrics(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with (
        GatewayProcess.serving(document(upstream.base_url), tmp_path) as gateway,
        gateway.http() as client,
    ):
        for _ in range(3):
            client.post(PATH, json=chat_body("[[chunks=30 prompt_tokens=40]]", model="cached"))
        client.post(PATH, json=chat_body(model="other"))
        metrics = client.get("/metrics").text
        assert gateway.stop() == 0
    records = gateway.records()
    assert [record["cache"] for record in records] == ["miss", "hit-exact", "hit-exact", "bypass"]
    assert [record["saved_micro_usd"] for record in records] == [0, 100, 100, 0]
    assert [record["cost_micro_usd"] for record in records][:3] == [100, 0, 0]
    assert {record["prompt_tokens"] for record in records[:3]} == {40}
    assert 'sentinel_cache_requests_total{verdict="hit-exact"} 2' in metrics
    assert 'sentinel_cache_requests_total{verdict="miss"} 1' in metrics
    assert 'sentinel_cache_requests_total{verdict="bypass"} 1' in metrics
    assert 'sentinel_saved_usd_total{verdict="hit-exact"} 0.0002' in metrics


def test_an_answer_of_a_fallback_is_kept_only_where_the_route_says_so(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    targets = [target(model="first"), target(model="second", tier=1)]
    gateway = governed(
        routes={
            "strict": {"targets": targets, "cache": {}},
            "lenient": {"targets": targets, "cache": {"store_fallback": True}},
        }
    )
    with gateway.http() as client:
        for model, wanted in (("strict", ["miss", "miss"]), ("lenient", ["miss", "hit-exact"])):
            upstream.script("status=503", "", "status=503", "")
            replies = [client.post(PATH, json=chat_body(model=model)) for _ in range(2)]
            upstream.reset()
            assert [reply.status_code for reply in replies] == [200, 200]
            assert [verdict(reply) for reply in replies] == wanted
            assert {reply.headers["x-sentinel-target"] for reply in replies} == {"upstream/second"}


async def test_hits_do_not_wait_for_the_upstream(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream
) -> None:
    await ask_all(caching.origin, [question.request()])
    upstream.script("hold=0")
    waiting = asyncio.create_task(ask_all(caching.origin, [question.request(seed=1)]))
    await until_held(upstream, 1)
    hits = await ask_all(caching.origin, [question.request()] * 200)
    assert {reply.headers["x-sentinel-cache"] for reply in hits} == {"hit-exact"}
    upstream.release()
    assert (await waiting)[0].status == 200
