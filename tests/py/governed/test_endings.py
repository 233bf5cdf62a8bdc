"""However a call ends, it gives back what it took, and who shares it gets what is right."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from governed.conftest import Clocked, Governed, Question
from sentinel.testing import ScriptedUpstream
from support.crowd import CrowdClient, ask_all, gather, request_bytes
from support.governed import in_flight, key, key_text, target, until_held, until_metric, upstream_at
from support.raw_http import events
from support.serving import ADMIN_KEY, APP_KEY, GatewayProcess, chat_body

PATH = "/v1/chat/completions"

# ---- nothing leaks ------------------------------------------------------------------------------

ENDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "good": ("", {}),
    "stream": ("chunks=9", {"stream": True}),
    "400": ("status=400", {}),
    "500": ("status=500", {}),
    "reset": ("fail=reset_mid_event", {"stream": True}),
    "cut-plain": ("fail=cut_mid_body", {}),
    "nonsense": ("fail=invalid_json", {}),
    "html-stream": ("fail=html", {"stream": True}),
    "error-event": ("fail=error_event at=1", {"stream": True}),
    "too-many-tokens": ("", {"max_tokens": 10_000_000}),
    "bad-body": ("", {"messages": []}),
    "no-route": ("", {"model": "nobody/serves-this"}),
    "hit": ("", {"model": "cached"}),
    "hit-stream": ("", {"model": "cached", "stream": True}),
    "bypass": ("", {"model": "cached", "temperature": 1}),
    "embeddings": ("", {"model": "cached", "input": ["a", "b"]}),
}


def test_every_ending_gives_its_seat_and_what_it_did_not_use_back(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    limits = {"concurrency": 1, "rates": ["1000000 tokens/day", "100 usd/day"]}
    gateway = governed(
        upstreams={
            "upstream": upstream_at(upstream.base_url, breaker=False, retry={"attempts": 1})
        },
        routes={
            "cached": {"targets": [target()], "cache": {}},
            "gpt-4o-mini": {"targets": [target()], "default_output_tokens": 100},
        },
        keys=[{"id": "operator", "key": APP_KEY, "limits": limits}],
    )
    probe = chat_body("[[prompt_tokens=2 chunks=4]]", max_tokens=10)

    def left(client: httpx.Client) -> int:
        reply = client.post(PATH, json=probe)
        assert reply.status_code == 200, reply.text
        return int(reply.headers["x-ratelimit-remaining-tokens"])

    with gateway.http() as client:
        for name, (script, change) in ENDINGS.items():
            for _ in range(3):
                before = left(client)
                if script:
                    upstream.script(script)
                path = "/v1/embeddings" if "input" in change else PATH
                client.post(path, json={**chat_body(), **change})
                used = before - left(client) - 6  # what the probe itself used
                assert 0 <= used + 12 <= 60, name  # a token flows back in 0.09 seconds
        assert gateway.stop() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_gives_its_seat_back(
    governed: Governed, upstream: ScriptedUpstream, stream: bool
) -> None:
    gateway = governed(keys=[{"id": "operator", "key": APP_KEY, "limits": {"concurrency": 1}}])
    for model in ("cached", "not-cached"):
        body = chat_body(model=model, stream=stream)
        upstream.script("hold=1 chunks=3")
        client = await CrowdClient.connect(gateway.origin)
        client.ask(request_bytes(body))
        await until_held(upstream, 1)
        client.leave()
        await until_held(upstream, 0)
        await in_flight(gateway, 0)
        [next_one] = await ask_all(gateway.origin, [request_bytes(body)])
        assert next_one.status == 200


# ---- who shares a call --------------------------------------------------------------------------


async def test_followers_get_the_answer_of_the_attempt_that_succeeds(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        upstreams={"upstream": upstream_at(upstream.base_url, retry={"base": "1ms"})}
    )
    upstream.script("hold=0 status=500", "fail=cut_mid_head", "text=third")
    request = request_bytes(chat_body(model="cached"))
    everybody = asyncio.create_task(ask_all(gateway.origin, [request] * 10))
    await until_held(upstream, 1)
    await in_flight(gateway, 10)
    upstream.release()
    replies = await everybody
    assert {reply.status for reply in replies} == {200}
    assert all(b"third" in reply.body for reply in replies)
    assert Counter(reply.headers["x-sentinel-cache"] for reply in replies) == {
        "miss": 1,
        "follow": 9,
    }


async def test_the_call_goes_on_for_those_who_follow_when_its_sender_leaves_before_a_retry(
    clocked: Callable[..., Clocked], upstream: ScriptedUpstream
) -> None:
    gateway = clocked(upstreams={"upstream": upstream_at(upstream.base_url, retry={"base": "1ms"})})
    request = request_bytes(chat_body(model="cached"))
    upstream.script("status=503 retry_after=7 hold=0")
    sender, follower = await gather(gateway.server.origin, 2)
    sender.ask(request)
    await until_held(upstream, 1)
    follower.ask(request)
    await in_flight(gateway.server, 2)
    upstream.release()
    await until_metric(
        gateway.server, 'sentinel_upstream_retries_total{target="upstream/cached"} 1'
    )
    sender.leave()
    gateway.clock.advance(8)
    assert (await follower.reply).status == 200
    assert upstream.stats()["requests"] == 2


@pytest.mark.parametrize("of_sender", [None, True, False])
@pytest.mark.parametrize("of_follower", [None, True, False])
async def test_a_followers_usage_chunk_follows_its_own_wish(
    caching: GatewayProcess,
    question: Question,
    upstream: ScriptedUpstream,
    of_sender: bool | None,
    of_follower: bool | None,
) -> None:
    wishes = [of_sender, of_follower]
    upstream.script("hold=2 chunks=5")
    clients = await gather(caching.origin, 2)
    for client, wish in zip(clients, wishes, strict=True):
        options: dict[str, Any] = {"stream": True}
        if wish is not None:
            options["stream_options"] = {"include_usage": wish}
        client.ask(question.request(**options))
        await client.begun.wait()
    await until_held(upstream, 1)
    upstream.release()
    for client, wish in zip(clients, wishes, strict=True):
        *chunks, done = events((await client.reply).body)
        assert done == "[DONE]"
        assert [chunk for chunk in chunks if not chunk["choices"]] == (chunks[-1:] if wish else [])
    assert upstream.stats()["requests"] == 1


async def test_past_the_replay_buffer_nobody_joins(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream
) -> None:
    script = "size=6000000 chunks=600"
    upstream.script(f"{script} hold=590", f"{script} hold=590")
    first, second = await gather(caching.origin, 2)
    first.ask(question.request(stream=True))
    await until_held(upstream, 1)
    second.ask(question.request(stream=True))
    await until_held(upstream, 2)
    upstream.release()
    bodies = {(await client.reply).body for client in (first, second)}
    assert len(bodies) == 1
    assert upstream.stats()["requests"] == 2


async def test_a4_what_has_no_other_form_is_asked_for_again_in_that_form(
    caching: GatewayProcess, question: Question, upstream: ScriptedUpstream
) -> None:
    upstream.script("novelty chunks=5 hold=2", "novelty chunks=5")
    sender, follower = await gather(caching.origin, 2)
    sender.ask(question.request(stream=True))
    await until_held(upstream, 1)
    follower.ask(question.request())
    await in_flight(caching, 2)
    upstream.release()
    streamed, plain = await sender.reply, await follower.reply
    said = "".join(
        event["choices"][0]["delta"].get("member_of_next_year", "")
        for event in events(streamed.body)[:-1]
    )
    message = json.loads(plain.body)["choices"][0]["message"]
    assert said == message["member_of_next_year"] == message["content"]
    assert upstream.stats()["requests"] == 2
    again = [question.request(stream=True), question.request()]
    hits = [(await ask_all(caching.origin, [request]))[0] for request in again]
    assert [hit.headers["x-sentinel-cache"] for hit in hits] == ["hit-exact"] * 2
    assert [hit.body for hit in hits] == [streamed.body, plain.body]


async def test_s28_a_revoked_senders_call_goes_on_for_the_others(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed()
    async with httpx.AsyncClient(
        base_url=gateway.origin, headers={"authorization": f"Bearer {ADMIN_KEY}"}, verify=False
    ) as admin:
        made = (await admin.post("/admin/keys", json={"account": "default"})).json()
        upstream.script("hold=5 chunks=9")
        sender, follower = await gather(gateway.origin, 2)
        body = chat_body(model="cached", stream=True)
        sender.ask(request_bytes(body, key=made["key"]))
        await sender.begun.wait()
        follower.ask(request_bytes(body))
        await follower.begun.wait()
        await until_held(upstream, 1)
        assert (await admin.delete(f"/admin/keys/{made['id']}")).status_code == 200
    *_, last = events((await sender.reply).body)
    assert last["error"]["code"] == "key_revoked"
    upstream.release()
    assert events((await follower.reply).body)[-1] == "[DONE]"
    assert upstream.stats()["requests"] == 1
    assert upstream.aborted == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_r3_a_drain_lets_a_shared_call_end_for_everybody(
    governed: Governed, upstream: ScriptedUpstream, stream: bool
) -> None:
    gateway = governed(server={"drain_timeout": "30s"})
    upstream.script("hold=5 chunks=9")
    request = request_bytes(chat_body(model="cached", stream=stream))
    everybody = asyncio.create_task(ask_all(gateway.origin, [request] * 50))
    await until_held(upstream, 1)
    await in_flight(gateway, 50)
    stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
    await asyncio.sleep(0)
    upstream.release()
    replies = await everybody
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert await stopping == 0
    assert Counter(record["outcome"] for record in gateway.records()) == {"done": 50}
    assert upstream.stats()["requests"] == 1


async def test_a_follower_counts_as_a_request_and_takes_no_tokens(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    limits = {"rates": ["10/day", "1100 tokens/day"]}
    gateway = governed(keys=[key("one", limits=limits)])
    upstream.script("hold=0")
    request = request_bytes(chat_body(model="cached"), key=key_text("one"))
    everybody = asyncio.create_task(ask_all(gateway.origin, [request] * 15))
    await until_held(upstream, 1)
    await until_metric(gateway, 'sentinel_limit_refusals_total{limit="requests"} 5')
    upstream.release()
    replies = await everybody
    assert Counter(reply.status for reply in replies) == {200: 10, 429: 5}
    assert upstream.stats()["requests"] == 1
