"""Upstreams that fail: retried, left alone, replaced, and asked again when well (A17, D5)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from governed.conftest import Clocked, Governed
from sentinel.testing import ScriptedUpstream
from support.crowd import CrowdClient, ask_all, request_bytes
from support.governed import document, in_flight, target, until_held, until_metric, upstream_at
from support.raw_http import events
from support.serving import GatewayProcess, HttpAddress, chat_body, eventually

PATH = "/v1/chat/completions"
ONCE = {"attempts": 1}
FAST = {"base": "1ms", "cap": "10ms"}
BREAKER = {"window_calls": 10, "minimum_calls": 5, "open_wait": "5s", "jitter_percent": 0}

Clock = Callable[..., Clocked]


def code(reply: httpx.Response) -> Any:
    return reply.json()["error"]["code"]


def statuses(client: httpx.Client, count: int, **more: Any) -> list[int]:
    return [client.post(PATH, json=chat_body(**more)).status_code for _ in range(count)]


@pytest.fixture(scope="module")
def session_second() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as upstream:
        yield upstream


@pytest.fixture
def second(session_second: ScriptedUpstream) -> ScriptedUpstream:
    """Another upstream, for those who fall back."""
    session_second.reset()
    return session_second


@pytest.fixture(scope="module")
def session_steady(
    session_upstream: ScriptedUpstream,
    session_second: ScriptedUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    budget = {"percent": 100, "per_second": 1000}
    retry = {**FAST, "budget": budget}
    urls = {"first": session_upstream.base_url, "second": session_second.base_url}
    settings = document(
        session_upstream.base_url,
        upstreams={
            name: {"base_url": url, "breaker": False, "retry": retry} for name, url in urls.items()
        },
        routes={
            "retried": {"targets": [target("first")]},
            "tiered": {"targets": [target("first"), target("second", tier=1)]},
            "weighed": {"targets": [target("first", weight=3), target("second")]},
        },
    )
    with GatewayProcess.serving(settings, tmp_path_factory.mktemp("steady")) as gateway:
        yield gateway


@pytest.fixture
def steady(
    session_steady: GatewayProcess, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> GatewayProcess:
    """A gateway that retries whatever happens: `retried` has one target, `tiered` and `weighed`
    have two. No breaker."""
    return session_steady


def record_of(gateway: GatewayProcess, reply: httpx.Response) -> dict[str, Any]:
    """What the ledger says of this reply."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        name = reply.headers["x-request-id"]
        found[:] = [record for record in gateway.records() if record["request_id"] == name]
        return bool(found)

    eventually(is_there, "the record is stored")
    return found[0]


def two_tiers(upstream: ScriptedUpstream, second: ScriptedUpstream, **more: Any) -> dict[str, Any]:
    return {
        "upstreams": {
            "first": upstream_at(upstream.base_url, **more),
            "second": upstream_at(second.base_url, **more),
        },
        "routes": {"*": {"targets": [target("first"), target("second", tier=1)]}},
    }


# ---- retries ------------------------------------------------------------------------------------


async def some_fail(gateway: GatewayProcess, upstream: ScriptedUpstream, calls: int) -> int:
    """Every hundredth call to the upstream fails, in one of four ways; how many callers notice."""
    faults = ["status=500", "status=503", "fail=reset_before_head", "fail=cut_mid_head"]
    upstream.script(
        *["" if number % 100 else faults[number // 100 % 4] for number in range(calls * 6 // 5)]
    )
    failed = 0
    for _ in range(calls // 100):
        replies = await ask_all(gateway.origin, [request_bytes(chat_body())] * 100)
        failed += sum(reply.status != 200 for reply in replies)
    return failed


async def test_d5_with_1_percent_of_failing_calls_999_of_1000_succeed(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(upstreams={"upstream": upstream_at(upstream.base_url, retry=FAST)})
    assert await some_fail(gateway, upstream, 2_000) <= 2
    stats = upstream.stats()
    assert 2_000 + 20 <= stats["requests"] <= 2_000 + 30
    assert gateway.stop() == 0
    assert len(gateway.records()) == 2_000, "a retried call is one record"


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_d5_the_same_over_100_000_calls(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(upstreams={"upstream": upstream_at(upstream.base_url, retry=FAST)})
    assert await some_fail(gateway, upstream, 100_000) <= 100


def test_retries_stay_within_their_budget_when_all_fails(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    budget = {"percent": 20, "per_second": 0, "window": "1h"}
    gateway = governed(
        upstreams={
            "upstream": upstream_at(
                upstream.base_url, breaker=False, retry={**FAST, "budget": budget}
            )
        }
    )
    upstream.script(*["status=500"] * 600)
    with gateway.http() as client:
        assert statuses(client, 200) == [500] * 200
    assert 200 < upstream.stats()["requests"] <= 200 * 1.2


@pytest.mark.parametrize("script", ["status=500", "status=503", "status=408", "fail=cut_mid_head"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_tried_three_times_and_then_its_failure_is_passed_on(
    steady: GatewayProcess, upstream: ScriptedUpstream, script: str, stream: bool
) -> None:
    body = chat_body(model="retried", stream=stream)
    with steady.http() as client:
        upstream.script(script, script, "")
        good = client.post(PATH, json=body)
        assert (good.status_code, upstream.stats()["requests"]) == (200, 3)
        upstream.script(script, script, script, "")
        failed = client.post(PATH, json=body)
        assert upstream.stats()["requests"] == 6
    wanted = 502 if "fail" in script else int(script.removeprefix("status="))
    assert failed.status_code == wanted
    outcomes = [record_of(steady, reply)["outcome"] for reply in (good, failed)]
    assert outcomes == ["done", "upstream_error"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_an_answer_that_blames_the_request_is_passed_on_at_once(
    steady: GatewayProcess, upstream: ScriptedUpstream, second: ScriptedUpstream, status: int
) -> None:
    upstream.script(f"status={status}")
    with steady.http() as client:
        assert client.post(PATH, json=chat_body(model="tiered")).status_code == status
    assert (len(upstream.calls), len(second.calls)) == (1, 0)


@pytest.mark.parametrize("fault", ["cut_between_events", "reset_mid_event", "error_event"])
def test_a_stream_that_has_begun_is_never_tried_again(
    steady: GatewayProcess, upstream: ScriptedUpstream, second: ScriptedUpstream, fault: str
) -> None:
    upstream.script(f"fail={fault} at=1 chunks=9")
    with steady.http() as client:
        reply = client.post(PATH, json=chat_body(model="tiered", stream=True))
    *_, last = events(reply.content)
    assert "error" in last
    assert (len(upstream.calls), len(second.calls)) == (1, 0)


def test_a_long_retry_after_is_passed_on_and_not_waited_for(
    steady: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.script("status=503 retry_after=3600")
    with steady.http() as client:
        reply = client.post(PATH, json=chat_body(model="retried"))
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "3600")
    assert len(upstream.calls) == 1


async def test_a_retry_waits_as_long_as_retry_after_says(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    gateway = clocked(upstreams={"upstream": upstream_at(upstream.base_url, retry=FAST)})
    upstream.script("status=503 retry_after=7")
    async with httpx.AsyncClient(base_url=gateway.server.origin, verify=False) as client:
        headers = {"authorization": "Bearer sk-operator-key-of-the-tests"}
        call = asyncio.create_task(client.post(PATH, json=chat_body(), headers=headers))
        await upstream.until(lambda up: up.stats()["completed"] == 1)
        await until_metric(gateway.server, 'sentinel_upstream_retries_total{target="upstream/*"} 1')
        gateway.clock.advance(6.9)
        await client.get("/metrics")
        assert len(upstream.calls) == 1
        gateway.clock.advance(0.2)
        assert (await call).status_code == 200
    assert len(upstream.calls) == 2


async def test_a_client_that_leaves_between_two_attempts_ends_them(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    gateway = clocked(upstreams={"upstream": upstream_at(upstream.base_url, retry=FAST)})
    upstream.script("status=503 retry_after=7")
    client = await CrowdClient.connect(gateway.server.origin)
    client.ask(request_bytes(chat_body()))
    await until_metric(gateway.server, 'sentinel_upstream_retries_total{target="upstream/*"} 1')
    client.leave()
    await in_flight(gateway.server, 0)
    gateway.clock.advance(10)
    assert len(upstream.calls) == 1


async def test_the_whole_call_has_one_deadline(clocked: Clock, upstream: ScriptedUpstream) -> None:
    timeouts = {"first_byte": "8s", "total": "10s"}
    retry = {"base": "1ms", "cap": "1ms"}
    gateway = clocked(
        upstreams={"upstream": upstream_at(upstream.base_url, timeouts=timeouts, retry=retry)}
    )
    upstream.script(*["fail=stall_before_head"] * 3)
    client = await CrowdClient.connect(gateway.server.origin)
    client.ask(request_bytes(chat_body()))
    await upstream.until(lambda up: up.in_flight == 1)
    gateway.clock.advance(8.1)
    await upstream.until(lambda up: up.aborted == 1)
    while upstream.stats()["requests"] < 2:  # the next attempt comes within a millisecond
        gateway.clock.advance(0.001)
        await asyncio.sleep(0.001)
    gateway.clock.advance(2)
    async with asyncio.timeout(10):
        reply = await client.reply
    assert (reply.status, reply.code) == (504, "upstream_timeout")
    assert upstream.stats()["requests"] == 2


# ---- the breaker --------------------------------------------------------------------------------


def broken(upstream: ScriptedUpstream, **more: Any) -> dict[str, Any]:
    return {"upstream": upstream_at(upstream.base_url, breaker=BREAKER | more, retry=ONCE)}


def state(gateway: HttpAddress) -> int:
    """Of the breaker that is worst off: 0 closed, 1 half-open, 2 open."""
    with gateway.http() as client:
        lines = client.get("/metrics").text.splitlines()
    states = [line for line in lines if line.startswith("sentinel_breaker_state{")]
    return max(int(line.split()[-1]) for line in states)


@pytest.mark.parametrize(
    "script", ["status=500", "fail=cut_mid_head", "fail=cut_mid_body", "fail=invalid_json"]
)
def test_a_failing_target_is_left_alone_and_asked_again_by_one_probe(
    clocked: Clock, upstream: ScriptedUpstream, script: str
) -> None:
    gateway = clocked(upstreams=broken(upstream))
    with gateway.server.http() as client:
        assert statuses(client, 3) == [200] * 3
        upstream.script(*[script] * 3)
        failed = statuses(client, 3)
        assert not set(failed) & {200, 503}
        refused = client.post(PATH, json=chat_body())
        assert (refused.status_code, code(refused)) == (503, "circuit_open")
        assert refused.headers["retry-after"] == "5"
        assert statuses(client, 20) == [503] * 20
        assert len(upstream.calls) == 6, "nobody is sent to it"
        assert state(gateway.server) == 2

        gateway.clock.advance(5)
        upstream.script(script)
        assert statuses(client, 1) != [200]
        gateway.clock.advance(5)
        again = client.post(PATH, json=chat_body())
        assert (code(again), again.headers["retry-after"]) == ("circuit_open", "5"), "twice as long"
        gateway.clock.advance(5)
        assert statuses(client, 10) == [200] * 10
        assert state(gateway.server) == 0
    gateway.server.idle()
    outcomes = Counter(record["outcome"] for record in gateway.server.records())
    assert outcomes["refused"] == 22


def test_a_breaker_recovers_in_a_real_process_too(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(upstreams=broken(upstream, open_wait="100ms"))
    upstream.script(*["status=500"] * 5)
    with gateway.http() as client:
        assert statuses(client, 5) == [500] * 5
        assert state(gateway) == 2
        eventually(lambda: statuses(client, 1) == [200], "a probe has gone through")
        assert statuses(client, 20) == [200] * 20
        assert state(gateway) == 0


async def test_one_probe_at_a_time_passes(clocked: Clock, upstream: ScriptedUpstream) -> None:
    gateway = clocked(upstreams=broken(upstream))
    request = request_bytes(chat_body())
    upstream.script(*["status=500"] * 5)
    await ask_all(gateway.server.origin, [request] * 5)
    upstream.reset()
    gateway.clock.advance(5)
    upstream.script("hold=0")
    probe = asyncio.create_task(ask_all(gateway.server.origin, [request]))
    await until_held(upstream, 1)
    others = await ask_all(gateway.server.origin, [request] * 20)
    assert [(reply.status, reply.code) for reply in others] == [(503, "circuit_open")] * 20
    upstream.release()
    assert (await probe)[0].status == 200
    [after] = await ask_all(gateway.server.origin, [request])
    assert after.status == 200
    assert upstream.stats()["requests"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_no_failure_and_gives_a_probes_seat_back(
    clocked: Clock, upstream: ScriptedUpstream, stream: bool
) -> None:
    gateway = clocked(upstreams=broken(upstream))
    request = request_bytes(chat_body(stream=stream))

    async def leave(count: int) -> None:
        for _ in range(count):
            upstream.script("hold=2 chunks=5")
            client = await CrowdClient.connect(gateway.server.origin)
            client.ask(request)
            await until_held(upstream, 1)
            client.leave()
            await until_held(upstream, 0)
            await in_flight(gateway.server, 0)

    await leave(12)
    [good] = await ask_all(gateway.server.origin, [request])
    assert good.status == 200
    upstream.reset()
    upstream.script(*["status=500"] * 10)
    await ask_all(gateway.server.origin, [request] * 10)
    upstream.reset()
    gateway.clock.advance(5)
    await leave(1)
    [probe] = await ask_all(gateway.server.origin, [request])
    assert probe.status == 200


def test_refusals_and_bad_requests_open_no_breaker(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    upstreams = {"upstream": {"base_url": upstream.base_url, "breaker": BREAKER, "retry": ONCE}}
    gateway = clocked(upstreams=upstreams)
    upstream.script(*["status=400", "status=404", "status=429"] * 10)
    with gateway.server.http() as client:
        assert statuses(client, 30) == [400, 404, 429] * 10
        assert statuses(client, 1) == [200]


def test_slow_calls_open_the_breaker_if_it_is_told_what_slow_is(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(upstreams=broken(upstream, slow_first_token="30ms", open_wait="2m"))
    upstream.script(*["ttft_ms=60"] * 5)
    with gateway.http() as client:
        assert statuses(client, 5, stream=True) == [200] * 5
        assert statuses(client, 1) == [503]


def test_a_breaker_that_is_off_never_opens(clocked: Clock, upstream: ScriptedUpstream) -> None:
    gateway = clocked(
        upstreams={"upstream": upstream_at(upstream.base_url, breaker=False, retry=ONCE)}
    )
    upstream.script(*["status=500"] * 50)
    with gateway.server.http() as client:
        assert statuses(client, 51) == [500] * 50 + [200]


def test_the_breaker_of_one_target_is_not_that_of_another(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    gateway = clocked(
        upstreams=broken(upstream),
        routes={
            "one": {"targets": [target(model="one")]},
            "two": {"targets": [target(model="two")]},
        },
    )
    upstream.script(*["status=500"] * 5)
    with gateway.server.http() as client:
        statuses(client, 5, model="one")
        assert statuses(client, 1, model="one") == [503]
        assert statuses(client, 1, model="two") == [200]


# ---- fallback -----------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["status=500", "status=429", "fail=cut_mid_head"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_tier_answers_when_the_first_fails(
    steady: GatewayProcess,
    upstream: ScriptedUpstream,
    second: ScriptedUpstream,
    script: str,
    stream: bool,
) -> None:
    upstream.script(script)
    second.script("text=fallback")
    with steady.http() as client:
        reply = client.post(PATH, json=chat_body(model="tiered", stream=stream))
    assert reply.status_code == 200
    assert "fallback" in reply.text
    assert reply.headers["x-sentinel-target"] == "second/tiered"
    assert (len(upstream.calls), len(second.calls)) == (1, 1)
    record = record_of(steady, reply)
    assert (record["outcome"], record["target"]) == ("done", "second/tiered")


def test_while_the_first_tier_is_open_the_next_serves_and_the_first_is_not_asked(
    clocked: Clock, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    gateway = clocked(**two_tiers(upstream, second, breaker=BREAKER))
    upstream.script(*["status=500"] * 5)
    with gateway.server.http() as client:
        assert statuses(client, 25) == [200] * 25
        assert (len(upstream.calls), len(second.calls)) == (5, 25)
        gateway.clock.advance(5)
        assert statuses(client, 5) == [200] * 5
    assert (len(upstream.calls), len(second.calls)) == (10, 25)


def test_an_upstream_that_nobody_serves_falls_back_too(
    governed: Governed, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    with ScriptedUpstream.in_thread() as gone:
        address = gone.base_url
    sections = two_tiers(upstream, second, retry=FAST)
    sections["upstreams"]["first"] = upstream_at(address, retry=FAST)
    gateway = governed(**sections)
    with gateway.http() as client:
        assert statuses(client, 10) == [200] * 10
    assert len(second.calls) == 10


def test_all_open_is_a_503_with_the_earliest_time(
    clocked: Clock, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    gateway = clocked(**two_tiers(upstream, second, breaker=BREAKER, retry={**FAST, "attempts": 2}))
    upstream.script(*["status=500"] * 5)
    second.script(*["status=500"] * 5)
    with gateway.server.http() as client:
        assert statuses(client, 5) == [500] * 5
        refused = client.post(PATH, json=chat_body())
    assert (refused.status_code, code(refused)) == (503, "circuit_open")
    assert refused.headers["retry-after"] == "5"


def test_targets_of_one_tier_share_by_weight(
    steady: GatewayProcess, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    with steady.http() as client:
        assert statuses(client, 400, model="weighed") == [200] * 400
    assert 250 <= len(upstream.calls) <= 350
    assert len(upstream.calls) + len(second.calls) == 400


# ---- credentials --------------------------------------------------------------------------------

ONE, TWO = "sk-credential-one-0001", "sk-credential-two-0002"


def used(upstream: ScriptedUpstream) -> list[str]:
    names = {f"Bearer {ONE}": "one", f"Bearer {TWO}": "two"}
    return [names[str(call.header("authorization"))] for call in upstream.calls]


def credentials(upstream: ScriptedUpstream, *keys: str, **more: Any) -> dict[str, Any]:
    return {
        "upstream": {
            "base_url": upstream.base_url,
            "credentials": [{"key": key} for key in keys],
            "retry": FAST,
            **more,
        }
    }


def test_credentials_are_used_in_turn(clocked: Clock, upstream: ScriptedUpstream) -> None:
    gateway = clocked(upstreams=credentials(upstream, ONE, TWO))
    with gateway.server.http() as client:
        assert statuses(client, 6) == [200] * 6
    assert Counter(used(upstream)) == {"one": 3, "two": 3}


def test_a_credential_that_is_refused_rests_as_long_as_it_is_told_and_the_other_serves(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    gateway = clocked(upstreams=credentials(upstream, ONE, TWO))
    upstream.script("status=429 retry_after=30")
    with gateway.server.http() as client:
        assert statuses(client, 1) == [200]
        refused, other = used(upstream)
        assert refused != other
        gateway.clock.advance(29)
        assert statuses(client, 10) == [200] * 10
        assert set(used(upstream)[1:]) == {other}
        gateway.clock.advance(1)
        assert statuses(client, 4) == [200] * 4
        assert refused in used(upstream)[11:]


def test_when_all_credentials_rest_the_caller_is_told_the_earliest_time(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    gateway = clocked(upstreams=credentials(upstream, ONE, TWO))
    upstream.script("status=429 retry_after=60", "status=429 retry_after=40")
    with gateway.server.http() as client:
        first = client.post(PATH, json=chat_body())
        assert (first.status_code, first.headers["retry-after"]) == (429, "40")
        assert sorted(used(upstream)) == ["one", "two"]
        gateway.clock.advance(10)
        later = client.post(PATH, json=chat_body())
        assert later.status_code in (429, 503)
        assert later.headers["retry-after"] == "30"
        assert len(upstream.calls) == 2
        gateway.clock.advance(30)
        assert statuses(client, 3) == [200] * 3
        assert state(gateway.server) == 0, "a 429 is no failure"


def test_without_retry_after_the_rest_doubles_until_a_success(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    retry = {**FAST, "attempts": 1}
    gateway = clocked(upstreams=credentials(upstream, ONE, retry=retry))

    def rests(seconds: float) -> bool:
        """Whether the credential is used again after exactly that time."""
        before = len(upstream.calls)
        gateway.clock.advance(seconds - 0.001)
        too_early = client.post(PATH, json=chat_body()).status_code
        gateway.clock.advance(0.001)
        client.post(PATH, json=chat_body())
        return too_early != 200 and len(upstream.calls) == before + 1

    with gateway.server.http() as client:
        # What is no time counts as not said.
        upstream.script(*["status=429 retry_after=soon"] * 3)
        client.post(PATH, json=chat_body())
        assert [rests(1), rests(2), rests(4)] == [True] * 3
        assert statuses(client, 1) == [200]
        upstream.script("status=429 retry_after=soon")
        client.post(PATH, json=chat_body())
        assert rests(1)


def test_a_credential_goes_to_its_own_upstream_alone(
    governed: Governed, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    gateway = governed(
        upstreams={
            "first": {"base_url": upstream.base_url, "credentials": [{"key": ONE}], "retry": FAST},
            "second": {"base_url": second.base_url, "credentials": [{"key": TWO}], "retry": FAST},
        },
        routes={"*": {"targets": [target("first"), target("second", tier=1)]}},
    )
    upstream.script(*["status=500"] * 5)
    with gateway.openai() as client:
        for _ in range(5):
            client.chat.completions.create(**chat_body())
    assert set(used(upstream)) == {"one"}
    assert set(used(second)) == {"two"}


# ---- adaptive concurrency -----------------------------------------------------------------------


async def test_a_target_takes_no_more_calls_at_once_than_its_limit(
    clocked: Clock, upstream: ScriptedUpstream
) -> None:
    limit = {"least": 2, "most": 2, "initial": 2}
    gateway = clocked(
        upstreams={"upstream": upstream_at(upstream.base_url, adaptive_concurrency=limit)}
    )
    request = request_bytes(chat_body())
    upstream.script("hold=0", "hold=0")
    running = asyncio.create_task(ask_all(gateway.server.origin, [request] * 2))
    await until_held(upstream, 2)
    refused = await ask_all(gateway.server.origin, [request] * 5)
    assert [(reply.status, reply.code) for reply in refused] == [(503, "overloaded")] * 5
    upstream.release()
    assert [reply.status for reply in await running] == [200, 200]
    assert [reply.status for reply in await ask_all(gateway.server.origin, [request])] == [200]


# ---- restarts -----------------------------------------------------------------------------------


def test_b25_an_open_breaker_is_open_after_a_restart(
    clocked: Clock, governed: Governed, upstream: ScriptedUpstream
) -> None:
    sections = {"upstreams": broken(upstream, open_wait="1h", longest_wait="1h")}
    gateway = governed(**sections)
    upstream.script(*["status=500"] * 5)
    with gateway.http() as client:
        assert statuses(client, 5) == [500] * 5
        assert statuses(client, 1) == [503]
    assert gateway.stop() == 0
    again = governed(**sections)
    with again.http() as client:
        refused = client.post(PATH, json=chat_body())
    assert (refused.status_code, code(refused)) == (503, "circuit_open")
    assert int(refused.headers["retry-after"]) > 3_000
    assert len(upstream.calls) == 5
