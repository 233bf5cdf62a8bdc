"""Equal questions at the same time are one upstream call (A5, B6, S27)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from governed.conftest import Governed, Question
from sentinel.testing import ScriptedUpstream
from support.crowd import CrowdClient, ask_all, gather
from support.governed import in_flight, target, until_held
from support.raw_http import RawReply, events
from support.serving import GatewayProcess, eventually_async

MANY = 1_000


def verdicts(replies: list[RawReply]) -> Counter[str]:
    return Counter(reply.headers["x-sentinel-cache"] for reply in replies)


@pytest.mark.parametrize("stream", [False, True])
async def test_a5_a_thousand_identical_requests_at_once_make_one_upstream_call(
    governed: Governed, upstream: ScriptedUpstream, question: Question, stream: bool
) -> None:
    expected = question.direct("chunks=20", stream=stream)
    gateway = governed()
    upstream.script("chunks=20 hold=5")
    everybody = asyncio.create_task(
        ask_all(gateway.origin, [question.request(stream=stream)] * MANY)
    )
    await until_held(upstream, 1)
    await in_flight(gateway, MANY)
    upstream.release()
    replies = await everybody
    assert [reply.status for reply in replies] == [200] * MANY
    assert {reply.body for reply in replies} == {expected}
    assert verdicts(replies) == {"miss": 1, "follow": MANY - 1}
    assert upstream.stats()["requests"] == 1

    assert gateway.stop() == 0
    records = gateway.records()
    assert Counter(record["cache"] for record in records) == {"miss": 1, "follow": MANY - 1}
    [cost] = [record["cost_micro_usd"] for record in records if record["cache"] == "miss"]
    follows = [record for record in records if record["cache"] == "follow"]
    assert cost == len(question.text.split()) + 20 * 2
    assert {record["cost_micro_usd"] for record in follows} == {0}
    assert {record["saved_micro_usd"] for record in follows} == {cost}
    assert {record["outcome"] for record in records} == {"done"}
    assert upstream.stats()["requests"] == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a5_between_the_end_of_a_flight_and_the_kept_answer_nobody_slips_through(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question, stream: bool
) -> None:
    for number in range(20):  # the upstream answers at once: some follow and some hit
        request = question.request(stream=stream, number_of_next_year=number)
        replies = await ask_all(caching.origin, [request] * 100)
        assert verdicts(replies)["miss"] == 1
        assert len({reply.body for reply in replies}) == 1
    assert upstream.stats()["requests"] == 20


async def test_a5_who_comes_late_to_a_stream_gets_it_from_its_first_byte(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    expected = question.direct("chunks=20", stream=True)
    upstream.script("chunks=20 hold=12")
    first = await CrowdClient.connect(caching.origin)
    first.ask(question.request(stream=True))
    await eventually_async(lambda: first.received.count(b"data: ") == 13, "the first twelve")
    await until_held(upstream, 1)
    late = asyncio.create_task(ask_all(caching.origin, [question.request(stream=True)] * 20))
    await in_flight(caching, 21)
    upstream.release()
    assert {reply.body for reply in [await first.reply, *await late]} == {expected}
    assert upstream.stats()["requests"] == 1


async def test_a5_of_fifty_clients_ten_are_slow_and_twenty_leave_and_the_rest_get_every_byte(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    script = "size=1000000 chunks=200"
    expected = question.direct(script, stream=True)
    upstream.script(f"{script} hold=100")
    clients = [
        await CrowdClient.connect(caching.origin, receive_buffer=4096 if number % 5 == 1 else 0)
        for number in range(50)
    ]
    # The one that came first is among those who leave.
    leaving = [clients[number] for number in range(50) if number % 5 in (0, 3)]
    slow = [clients[number] for number in range(50) if number % 5 == 1]
    rest = [client for client in clients if client not in (*leaving, *slow)]
    assert (len(leaving), len(slow), len(rest)) == (20, 10, 20)
    for client in clients:
        client.ask(question.request(stream=True))
        if client is clients[0]:
            await upstream.until(lambda up: up.in_flight == 1)
    await eventually_async(lambda: all(client.received for client in clients), "all have begun")
    for client in slow:
        client.stop_reading()
    await until_held(upstream, 1)
    for client in leaving:
        client.leave()
    await in_flight(caching, 31)  # one of those who left stays in the books: it pays
    upstream.release()
    async with asyncio.timeout(20):
        fast = [await client.reply for client in rest]
    assert {reply.body for reply in fast} == {expected}
    for client in slow:
        client.read_on()
    async with asyncio.timeout(20):
        late = [await client.reply for client in slow]
    assert {reply.body for reply in late} == {expected}
    assert len(events(expected)) > 200
    stats = upstream.stats()
    assert (stats["requests"], stats["aborted"]) == (1, 0)


async def test_a_reader_too_far_behind_ends_with_slow_reader_and_the_others_do_not(
    governed: Governed, upstream: ScriptedUpstream, question: Question
) -> None:
    script = "size=24000000 chunks=3000"
    gateway = governed()
    upstream.script(script)
    slow = await CrowdClient.connect(gateway.origin, receive_buffer=4096)
    fast = await CrowdClient.connect(gateway.origin)
    slow.ask(question.request(stream=True))
    await eventually_async(lambda: len(slow.received) > 0, "the slow one has begun")
    slow.stop_reading()
    fast.ask(question.request(stream=True))
    async with asyncio.timeout(60):
        whole = (await fast.reply).body
    assert upstream.stats()["aborted"] == 0
    content = events(whole)
    assert content[-1] == "[DONE]"
    slow.read_on()
    try:
        async with asyncio.timeout(20):
            ended = (await slow.reply).body
    except EOFError:
        ended = bytes(slow.received)
    assert len(ended) < len(whole)
    assert json.loads(ended.split(b"data: ")[-1])["error"]["code"] == "slow_reader"
    assert gateway.stop() == 0
    assert sorted(record["outcome"] for record in gateway.records()) == ["client_gone", "done"]


async def test_s27_a_leader_that_leaves_hands_the_call_over_and_still_pays(
    governed: Governed, upstream: ScriptedUpstream, question: Question
) -> None:
    expected = question.direct("chunks=20", stream=True)
    gateway = governed()
    upstream.script("chunks=20 hold=5")
    leader, quitter, *followers = await gather(gateway.origin, 5)
    leader.ask(question.request(stream=True))
    await until_held(upstream, 1)
    for follower in (quitter, *followers):
        follower.ask(question.request(stream=True))
    await in_flight(gateway, 5)
    leader.leave()
    quitter.leave()
    await in_flight(gateway, 4)  # both have been seen to go; the leader stays in the books
    upstream.release()
    assert {(await follower.reply).body for follower in followers} == {expected}
    assert upstream.stats()["aborted"] == 0
    assert gateway.stop() == 0
    records = gateway.records()
    paid = {
        record["outcome"]: record["cost_micro_usd"]
        for record in records
        if record["cache"] == "miss"
    }
    cost = len(question.text.split()) + 20 * 2
    assert paid == {"client_gone": cost}
    follows = [record for record in records if record["cache"] == "follow"]
    told = [(record["outcome"], record["cost_micro_usd"]) for record in follows]
    assert sorted(told) == [("client_gone", 0)] + [("done", 0)] * 3
    saved = {record["saved_micro_usd"] for record in follows if record["outcome"] == "done"}
    assert saved == {cost}


async def test_s27_a_followers_leaving_hurts_nobody(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    expected = question.direct("chunks=20")
    upstream.script("chunks=20 hold=0")
    leader, follower = await gather(caching.origin, 2)
    leader.ask(question.request())
    await until_held(upstream, 1)
    follower.ask(question.request())
    await in_flight(caching, 2)
    follower.leave()
    await in_flight(caching, 1)
    upstream.release()
    assert (await leader.reply).body == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_last_client_leaves_the_upstream_call_is_cancelled(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question, stream: bool
) -> None:
    upstream.script("chunks=20 hold=5")
    clients = await gather(caching.origin, 3)
    clients[0].ask(question.request(stream=stream))
    await until_held(upstream, 1)
    for client in clients[1:]:
        client.ask(question.request(stream=stream))
    await in_flight(caching, 3)
    for client in clients[:2]:
        client.leave()
    await in_flight(caching, 2)  # the first stays in the books: it pays
    assert upstream.held == 1
    clients[2].leave()
    await upstream.until(lambda up: up.aborted == 1)
    await in_flight(caching, 0)


async def test_on_abort_drain_reads_to_the_usage(
    governed: Governed, upstream: ScriptedUpstream, question: Question
) -> None:
    route = {"targets": [target()], "cache": {"on_abort": "drain"}}
    gateway = governed(routes={"cached": route})
    upstream.script("chunks=20 hold=5")
    clients = await gather(gateway.origin, 2)
    for client in clients:
        client.ask(question.request(stream=True))
        await client.begun.wait()
    await until_held(upstream, 1)
    for client in clients:
        client.leave()
    await in_flight(gateway, 1)  # the first stays in the books: it pays
    upstream.release()
    await upstream.until(lambda up: up.stats()["completed"] == 1)
    assert upstream.aborted == 0
    await in_flight(gateway, 0)
    assert gateway.stop() == 0
    sender, follower = sorted(
        gateway.records(), key=lambda record: str(record["cache"]), reverse=True
    )
    assert [record["outcome"] for record in (sender, follower)] == ["client_gone"] * 2
    assert (sender["completion_tokens"], sender["estimated"]) == (20, 0)
    words = len(question.text.split())
    assert [record["cost_micro_usd"] for record in (sender, follower)] == [words + 40, 0]


async def test_a_plain_caller_follows_a_stream(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    plain = question.direct("chunks=20")
    streamed = question.direct("chunks=20", stream=True)
    upstream.script("chunks=20 hold=5")
    leader, follower = await gather(caching.origin, 2)
    leader.ask(question.request(stream=True))
    await until_held(upstream, 1)
    follower.ask(question.request())
    await in_flight(caching, 2)
    upstream.release()
    followed = await follower.reply
    assert (await leader.reply).body == streamed
    answer, wanted = json.loads(followed.body), json.loads(plain)
    del wanted["choices"][0]["message"]["annotations"]  # streams do not say that there are none
    assert answer == wanted
    assert followed.headers["x-sentinel-cache"] == "follow"
    assert upstream.stats()["requests"] == 1


async def test_a_streaming_caller_never_follows_a_plain_call(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    upstream.script("hold=0", "hold=0")
    first, second = await gather(caching.origin, 2)
    first.ask(question.request())
    await until_held(upstream, 1)
    second.ask(question.request(stream=True))
    await until_held(upstream, 2)
    upstream.release()
    assert verdicts([await first.reply, await second.reply]) == {"miss": 2}


NOT_JOINED: list[tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]] = [
    ("no-store", {}, (("cache-control", "no-store"),)),
    ("no-cache", {}, (("cache-control", "no-cache"),)),
    ("max-age", {}, (("cache-control", "max-age=60"),)),
    ("temperature", {"temperature": 0.7}, ()),
    ("n", {"n": 2}, ()),
    ("idempotency", {}, (("idempotency-key", "one"),)),
    ("store", {"store": True}, ()),
    ("route", {"model": "not-cached"}, ()),
]


@pytest.mark.parametrize(("name", "change", "headers"), NOT_JOINED)
async def test_who_steers_or_samples_never_follows(
    caching: GatewayProcess,
    upstream: ScriptedUpstream,
    question: Question,
    name: str,
    change: dict[str, Any],
    headers: tuple[tuple[str, str], ...],
) -> None:
    upstream.script("hold=0", "hold=0")
    request = question.request(**{"model": "cached", **change}, headers=headers)
    both = asyncio.create_task(ask_all(caching.origin, [request] * 2))
    await until_held(upstream, 2)
    upstream.release()
    assert [reply.status for reply in await both] == [200, 200]


@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"n": 2}, {"temperature": 0}], ids=str)
async def test_sampled_calls_are_joined_where_the_route_says_so_and_temperature_0_anywhere(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question, change: dict[str, Any]
) -> None:
    model = "cached" if change.get("temperature") == 0 else "sampled"
    upstream.script("hold=0")
    everybody = asyncio.create_task(
        ask_all(caching.origin, [question.request(model, **change)] * 5)
    )
    await until_held(upstream, 1)
    await in_flight(caching, 5)
    upstream.release()
    replies = await everybody
    assert verdicts(replies) == {"miss": 1, "follow": 4}
    assert len({reply.body for reply in replies}) == 1


async def test_a_ttl_of_0_joins_and_keeps_nothing(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    upstream.script("hold=0")
    everybody = asyncio.create_task(ask_all(caching.origin, [question.request("joined")] * 5))
    await until_held(upstream, 1)
    await in_flight(caching, 5)
    upstream.release()
    assert verdicts(await everybody) == {"miss": 1, "follow": 4}
    [later] = await ask_all(caching.origin, [question.request("joined")])
    assert later.headers["x-sentinel-cache"] == "miss"
    assert "stored" not in later.headers["cache-status"]
    assert upstream.stats()["requests"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_reaches_all_who_follow_and_is_one_call(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question, stream: bool
) -> None:
    upstream.script("status=400 hold=0")
    everybody = asyncio.create_task(ask_all(caching.origin, [question.request(stream=stream)] * 10))
    await until_held(upstream, 1)
    await in_flight(caching, 10)
    upstream.release()
    replies = await everybody
    assert [reply.status for reply in replies] == [400] * 10
    assert len({reply.body for reply in replies}) == 1
    assert upstream.stats()["requests"] == 1


async def test_a_cut_stream_ends_for_all_who_follow_with_what_had_come_and_the_error(
    caching: GatewayProcess, upstream: ScriptedUpstream, question: Question
) -> None:
    upstream.script("chunks=20 hold=5 fail=cut_between_events at=10")
    everybody = asyncio.create_task(ask_all(caching.origin, [question.request(stream=True)] * 10))
    await until_held(upstream, 1)
    await in_flight(caching, 10)
    upstream.release()
    for reply in await everybody:
        *content, last = events(reply.body)
        assert len(content) == 11
        assert last["error"]["code"] == "upstream_error"
    assert upstream.stats()["requests"] == 1
    [later] = await ask_all(caching.origin, [question.request(stream=True)])
    assert later.headers["x-sentinel-cache"] == "miss"
