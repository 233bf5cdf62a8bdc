"""Limits on every node of a call's path: what passes, what is refused, what comes back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from governed.conftest import Governed
from sentinel.testing import ManualClock, ScriptedUpstream
from sentinel.tokens import TokenCounter
from support.crowd import CrowdClient, ask_all, request_bytes
from support.governed import (
    document,
    from_address,
    key,
    key_text,
    target,
    until_held,
    until_metric,
    upstream_at,
)
from support.raw_http import RawClient, post_bytes
from support.serving import (
    APP_KEY,
    GatewayProcess,
    GatewayServer,
    chat_body,
    eventually,
    eventually_async,
    gateway_settings,
)

PATH = "/v1/chat/completions"
SPAN = re.compile(r"(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?s|\d+ms")


def predicted_prompt(body: dict[str, Any]) -> int:
    return TokenCounter.for_model(body["model"]).count_messages(body["messages"])


def code(reply: Any) -> Any:
    return reply.json()["error"]["code"]


@pytest.fixture(scope="module")
def session_counting(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    keys = [{"id": "operator", "key": APP_KEY, "limits": {"tpm": 100}}]
    settings = document(session_upstream.base_url, keys=keys)
    with GatewayProcess.serving(settings, tmp_path_factory.mktemp("counting")) as gateway:
        yield gateway


@pytest.fixture
def counting(session_counting: GatewayProcess, upstream: ScriptedUpstream) -> GatewayProcess:
    """A gateway whose key has 100 tokens a minute, for calls that ask for more than those."""
    return session_counting


# ---- requests -----------------------------------------------------------------------------------


async def test_b13_of_300_at_once_exactly_100_pass_for_each_of_20_accounts(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    names = [f"account-{number:02}" for number in range(20)]
    gateway = governed(
        accounts={name: {"limits": {"rates": ["100/day"]}} for name in names},
        keys=[key(name, name) for name in names],
    )
    for name in names:
        replies = await ask_all(
            gateway.origin, [request_bytes(chat_body(), key=key_text(name))] * 300
        )
        assert Counter(reply.status for reply in replies) == {200: 100, 429: 200}
    assert upstream.stats()["requests"] == 20 * 100


def test_b13_100_a_minute_is_exact_by_the_gateways_clock(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    clock = ManualClock()
    settings = gateway_settings(
        upstream.base_url, tmp_path / "data", accounts={"default": {"limits": {"rpm": 100}}}
    )
    request = request_bytes(chat_body())
    with GatewayServer.serving(settings, clock=clock) as server:

        def passed(count: int) -> int:
            replies = asyncio.run(ask_all(server.origin, [request] * count))
            assert {reply.status for reply in replies} <= {200, 429}
            return sum(reply.status == 200 for reply in replies)

        assert passed(300) == 100
        clock.advance(0.599)
        assert passed(5) == 0
        clock.advance(0.001)
        assert passed(5) == 1
        clock.advance(59.999)
        assert passed(150) == 99
        clock.advance(600)
        assert passed(150) == 100


def test_a_refusal_says_what_when_and_how_much(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["2/day"]}}])
    with gateway.http() as client:
        first, second, third = (client.post(PATH, json=chat_body()) for _ in range(3))
    assert [reply.status_code for reply in (first, second, third)] == [200, 200, 429]
    remaining = [
        reply.headers["x-ratelimit-remaining-requests"] for reply in (first, second, third)
    ]
    assert remaining == ["1", "0", "0"]
    for reply in (first, second, third):
        assert reply.headers["x-ratelimit-limit-requests"] == "2"
        assert SPAN.fullmatch(reply.headers["x-ratelimit-reset-requests"])
    error = third.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "key:operator" in error["message"]
    assert 0 < int(third.headers["retry-after"]) <= 43_200
    assert "retry-after" not in second.headers
    assert third.headers["x-request-id"]
    assert len(upstream.calls) == 2
    with gateway.openai() as sdk, pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(**chat_body())
    assert refused.value.code == "rate_limit_exceeded"


def test_b13_every_node_of_the_path_counts_and_all_are_taken_or_none(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        accounts={
            "acme": {"limits": {"rates": ["6/day"]}},
            "acme/search": {"limits": {"rates": ["4/day"]}},
            "acme/chat": {},
        },
        keys=[
            key("one", "acme/search", limits={"rates": ["2/day"]}),
            key("two", "acme/search"),
            key("chat", "acme/chat"),
            key("own", "acme"),
        ],
    )

    def asked(name: str, times: int) -> list[str]:
        """What was said: 200, or the node that refused."""
        with gateway.http(key_text(name)) as client:
            replies = [client.post(PATH, json=chat_body()) for _ in range(times)]
        return [
            str(reply.status_code)
            if reply.status_code == 200
            else reply.json()["error"]["message"].split(" on ")[1].split(": ")[0]
            for reply in replies
        ]

    assert asked("one", 5) == ["200"] * 2 + ["key:one"] * 3
    assert asked("two", 4) == ["200"] * 2 + ["account:acme/search"] * 2
    assert asked("chat", 1) == ["200"]
    assert asked("own", 3) == ["200"] + ["account:acme"] * 2
    assert asked("chat", 1) == ["account:acme"]
    assert len(upstream.calls) == 6


def test_a_routes_limit_is_shared_by_all_who_use_it_and_by_nobody_else(governed: Governed) -> None:
    gateway = governed(
        routes={
            "narrow": {"targets": [target()], "limits": {"rates": ["3/day"]}},
            "*": {"targets": [target()]},
        },
        keys=[key("one"), key("two")],
    )
    with gateway.http(key_text("one")) as one, gateway.http(key_text("two")) as two:
        clients = [one, two, one, two, one]
        statuses = [
            client.post(PATH, json=chat_body(model="narrow")).status_code for client in clients
        ]
        assert statuses == [200, 200, 200, 429, 429]
        assert one.post(PATH, json=chat_body(model="wide")).status_code == 200


ENDPOINTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", chat_body()),
    ("/v1/chat/completions", chat_body(stream=True)),
    ("/v1/completions", {"model": "m", "prompt": "hello"}),
    ("/v1/embeddings", {"model": "m", "input": "hello"}),
    ("/v1/responses", {"model": "m", "input": "hello"}),
    (
        "/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    ),
    ("/v1/query", {"prompt": "hello", "model": "m"}),
]


def test_s30_every_endpoint_counts_against_the_same_limits(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": [f"{len(ENDPOINTS)}/day"]}}]
    )
    with gateway.http() as client:
        for path, body in ENDPOINTS:
            assert client.post(path, json=body).status_code == 200, path
        for path, body in ENDPOINTS:
            refused = client.post(path, json=body)
            assert refused.status_code == 429, path
            assert "retry-after" in refused.headers
            error = refused.json()["error"]
            kind = "rate_limit_error" if "messages" in path else "rate_limit_exceeded"
            assert kind in (error["type"], error.get("code"))
    assert len(upstream.calls) == len(ENDPOINTS)


# ---- concurrency --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_concurrency_holds_for_as_long_as_a_call_runs(
    governed: Governed, upstream: ScriptedUpstream, stream: bool
) -> None:
    gateway = governed(keys=[{"id": "operator", "key": APP_KEY, "limits": {"concurrency": 3}}])
    upstream.script(*["hold=2 chunks=4"] * 3)
    request = request_bytes(chat_body(stream=stream))
    running = asyncio.create_task(ask_all(gateway.origin, [request] * 3))
    await until_held(upstream, 3)
    refused = await ask_all(gateway.origin, [request] * 7)
    assert [(reply.status, reply.code) for reply in refused] == [(429, "rate_limit_exceeded")] * 7
    assert {reply.headers["retry-after"] for reply in refused} == {"1"}
    upstream.release()
    assert [reply.status for reply in await running] == [200] * 3
    [again] = await ask_all(gateway.origin, [request])
    assert again.status == 200
    assert upstream.stats()["max_in_flight"] == 3


# ---- tokens and money ---------------------------------------------------------------------------


def test_s29_663_tokens_on_100_a_minute_are_refused_before_they_are_sent(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(keys=[{"id": "operator", "key": APP_KEY, "limits": {"tpm": 100}}])
    body = chat_body("a prompt of some length " * 20)
    body["max_tokens"] = 663 - predicted_prompt(body)
    assert body["max_tokens"] > 0
    with gateway.http() as client:
        reply = client.post(PATH, json=body)
    assert (reply.status_code, code(reply)) == (429, "rate_limit_exceeded")
    assert "up to 663 tokens" in reply.json()["error"]["message"]
    assert "retry-after" not in reply.headers  # it can never pass
    assert reply.headers["x-ratelimit-limit-tokens"] == "100"
    assert upstream.calls == []


TOO_MUCH: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", chat_body(max_completion_tokens=200)),
    ("/v1/chat/completions", chat_body(max_tokens=60, n=2)),
    ("/v1/chat/completions", chat_body("word " * 200, max_tokens=1)),
    ("/v1/completions", {"model": "m", "prompt": "hello", "max_tokens": 200}),
    ("/v1/completions", {"model": "m", "prompt": ["word " * 50] * 4, "max_tokens": 1}),
    ("/v1/embeddings", {"model": "m", "input": ["word " * 50] * 4}),
    ("/v1/embeddings", {"model": "m", "input": [[1] * 101]}),
    ("/v1/responses", {"model": "m", "input": "hello", "max_output_tokens": 200}),
    ("/v1/responses", {"model": "m", "input": "word " * 200, "max_output_tokens": 1}),
    ("/v1/messages", {"model": "m", "max_tokens": 200, **chat_body()} | {"max_tokens": 200}),
    ("/v1/messages", {**chat_body("word " * 200), "max_tokens": 1}),
    ("/v1/query", {"prompt": "hello", "model": "m", "max_tokens": 200}),
]


@pytest.mark.parametrize(("path", "body"), TOO_MUCH)
def test_s29_every_endpoint_counts_tokens_before_it_sends(
    counting: GatewayProcess, upstream: ScriptedUpstream, path: str, body: dict[str, Any]
) -> None:
    with counting.http() as client:
        reply = client.post(path, json=body)
    assert reply.status_code == 429, reply.text
    assert "tokens" in reply.json()["error"]["message"]
    assert "retry-after" not in reply.headers
    assert upstream.calls == []


def test_the_routes_default_stands_for_max_tokens_and_counts_for_each_choice(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        routes={"*": {"targets": [target()], "default_output_tokens": 300}},
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["1000 tokens/day"]}}],
    )
    body = chat_body()
    most = predicted_prompt(body) + 4 * 300
    with gateway.http() as client:
        refused = client.post(PATH, json=body | {"n": 4})
        assert f"up to {most} tokens" in refused.json()["error"]["message"]
        assert client.post(PATH, json=body | {"n": 3}).status_code == 200
    assert len(upstream.calls) == 1


def test_what_was_reserved_is_settled_to_what_was_used(governed: Governed) -> None:
    gateway = governed(
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["10000 tokens/day"]}}]
    )
    body = chat_body("[[chunks=20 prompt_tokens=80]]", max_tokens=500)
    with gateway.http() as client:
        left = [
            int(client.post(PATH, json=body).headers["x-ratelimit-remaining-tokens"])
            for _ in range(3)
        ]
    reserved = predicted_prompt(body) + 500
    assert left == [10_000 - reserved - used for used in (0, 100, 200)]


def test_an_overrun_is_owed(governed: Governed, upstream: ScriptedUpstream) -> None:
    gateway = governed(
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["1000 tokens/day"]}}]
    )
    with gateway.http() as client:
        upstream.script("prompt_tokens=5000")
        assert client.post(PATH, json=chat_body(max_tokens=10)).status_code == 200
        later = client.post(PATH, json=chat_body(max_tokens=10))
    assert later.status_code == 429
    assert int(later.headers["retry-after"]) > 4 * 86_400 * 0.9
    assert later.headers["x-ratelimit-remaining-tokens"] == "0"


def test_failures_of_the_upstream_give_tokens_back(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        upstreams={
            "upstream": upstream_at(upstream.base_url, breaker=False, retry={"base": "1ms"})
        },
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["1000 tokens/day"]}}],
    )
    upstream.script(*["status=500"] * 15, *["status=400", "fail=reset_before_head"] * 5)
    with gateway.http() as client:
        for _ in range(10):
            reply = client.post(PATH, json=chat_body(max_tokens=400))
            assert reply.status_code in (400, 500, 502)
        upstream.reset()
        good = client.post(PATH, json=chat_body(max_tokens=900))
    assert good.status_code == 200
    left = 1000 - predicted_prompt(chat_body()) - 900
    assert int(good.headers["x-ratelimit-remaining-tokens"]) >= left - 1


async def test_s29_500_parallel_calls_spend_no_more_than_the_budget(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    body = chat_body(max_tokens=50)
    each = predicted_prompt(body) + 2 * 50  # micro-USD, by the tests' prices
    budget = 20 * each + each // 2
    gateway = governed(accounts={"default": {"limits": {"usd_per_day": budget / 1_000_000}}})
    upstream.script(*["hold=0 chunks=50"] * 500)
    everybody = asyncio.create_task(ask_all(gateway.origin, [request_bytes(body)] * 500))
    await until_metric(gateway, 'sentinel_limit_refusals_total{limit="money"} 480')
    assert upstream.held == 20
    upstream.release()
    replies = await everybody
    assert Counter(reply.status for reply in replies) == {200: 20, 429: 480}
    [refused, *_] = [reply for reply in replies if reply.status == 429]
    assert refused.code == "budget_exceeded"
    assert f"{each / 1_000_000:f}".rstrip("0") in refused.body.decode()
    assert upstream.stats()["requests"] == 20
    assert gateway.stop() == 0
    spent = sum(record["cost_micro_usd"] for record in gateway.records())
    assert 0 < spent <= budget


async def test_s29_a_budget_is_spent_up_and_not_beyond_by_calls_that_cost_less_than_reserved(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    body = chat_body("[[chunks=10]]", max_tokens=50)
    gateway = governed(accounts={"default": {"limits": {"usd_per_day": 0.001}}})
    replies = await ask_all(gateway.origin, [request_bytes(body)] * 100)
    assert {reply.status for reply in replies} == {200, 429}
    with gateway.http() as client:  # what was reserved too much is there for those who come later
        while client.post(PATH, json=body).status_code == 200:
            pass
    assert gateway.stop() == 0
    spent = sum(record["cost_micro_usd"] for record in gateway.records())
    reservation = predicted_prompt(body) + 100
    assert 1000 - reservation < spent <= 1000


def test_a_fallbacks_price_is_reserved_if_it_is_the_dearest(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        routes={"two": {"targets": [target(model="cheap"), target(model="dear", tier=1)]}},
        accounts={"default": {"limits": {"usd_per_day": 0.0005}}},
        usage={
            "prices": {
                "version": "two",
                "models": [
                    {"model": "cheap", "prompt": 0, "completion": 1_000_000},
                    {"model": "dear", "prompt": 0, "completion": 10_000_000},
                ],
            }
        },
    )
    with gateway.http() as client:
        refused = client.post(PATH, json=chat_body(model="two", max_tokens=100))
        assert (refused.status_code, code(refused)) == (429, "budget_exceeded")
        assert "0.001" in refused.json()["error"]["message"]
        assert client.post(PATH, json=chat_body(model="two", max_tokens=40)).status_code == 200
    assert len(upstream.calls) == 1


def test_a_hit_costs_a_request_and_no_tokens(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(
        keys=[
            {
                "id": "operator",
                "key": APP_KEY,
                "limits": {"rates": ["5/day", "1100 tokens/day", "0.004 usd/day"]},
            }
        ]
    )
    with gateway.http() as client:
        replies = [client.post(PATH, json=chat_body(model="cached")) for _ in range(6)]
        # Another question would need its 1,024 tokens again, which are still there: 6 were used.
    assert [reply.status_code for reply in replies] == [200] * 5 + [429]
    assert [reply.headers["x-sentinel-cache"] for reply in replies[1:5]] == ["hit-exact"] * 4
    assert "requests" in replies[5].json()["error"]["message"]
    assert len(upstream.calls) == 1


def test_a_credentials_own_limit_moves_calls_to_the_next_credential(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    credentials = [
        {"key": "sk-credential-one-0001", "limits": {"rates": ["2/day"]}},
        {"key": "sk-credential-two-0002", "limits": {"rates": ["3/day"]}},
    ]
    gateway = governed(
        upstreams={"upstream": {"base_url": upstream.base_url, "credentials": credentials}}
    )
    with gateway.http() as client:
        statuses = [client.post(PATH, json=chat_body()).status_code for _ in range(7)]
    used = Counter(call.header("authorization") for call in upstream.calls)
    assert used == {"Bearer sk-credential-one-0001": 2, "Bearer sk-credential-two-0002": 3}
    assert statuses[:5] == [200] * 5
    assert not set(statuses[5:]) & {200}


# ---- addresses ----------------------------------------------------------------------------------


def test_s14_an_addresss_limit_comes_before_its_key_is_looked_at(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(server={"per_address": {"rates": ["5/day"]}})
    with from_address(gateway, "127.0.0.1", "sk-a-guess-of-somebody") as guessing:
        replies = [guessing.post(PATH, json=chat_body()) for _ in range(8)]
    assert [reply.status_code for reply in replies] == [401] * 5 + [429] * 3
    assert code(replies[-1]) == "rate_limit_exceeded"
    assert int(replies[-1].headers["retry-after"]) > 0
    with from_address(gateway, "127.0.0.1") as client:
        assert client.post(PATH, json=chat_body()).status_code == 429
    with from_address(gateway, "127.0.0.2") as client:
        assert client.post(PATH, json=chat_body()).status_code == 200
    assert len(upstream.calls) == 1
    assert gateway.stop() == 0
    assert len(gateway.records()) == 1, "who is not known leaves no record"


def test_d22_a_forged_address_of_somebody_not_trusted_changes_nothing(governed: Governed) -> None:
    gateway = governed(
        server={"per_address": {"rates": ["3/day"]}, "trusted_proxies": ["10.0.0.0/8"]}
    )
    headers = ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"]
    for number, header in enumerate(headers):
        with from_address(gateway, f"127.0.0.{number + 2}") as client:
            statuses = [
                client.post(PATH, json=chat_body(), headers={header: f"203.0.113.{n}"}).status_code
                for n in range(5)
            ]
        assert statuses == [200, 200, 200, 429, 429], header


def test_d22_a_trusted_proxy_says_for_whom_it_asks_and_only_its_own_word_counts(
    governed: Governed,
) -> None:
    gateway = governed(
        server={
            "per_address": {"rates": ["2/day"]},
            "trusted_proxies": ["127.0.0.1", "192.0.2.0/24"],
        }
    )

    def asked(forwarded: str, address: str = "127.0.0.1") -> int:
        with from_address(gateway, address) as client:
            headers = {"x-forwarded-for": forwarded}
            return client.post(PATH, json=chat_body(), headers=headers).status_code

    assert [asked("203.0.113.1") for _ in range(3)] == [200, 200, 429]
    assert asked("203.0.113.2") == 200
    # What the client itself wrote stands before what the proxy added, and counts nothing.
    assert asked("198.51.100.7, 203.0.113.1") == 429
    assert asked("198.51.100.7, 203.0.113.1, 192.0.2.9") == 429
    assert [asked(f"203.0.113.{n}", "127.0.0.3") for n in range(10, 13)] == [200, 200, 429]
    # IPv6 customers have networks, not addresses.
    assert [asked(f"2001:db8:0:1::{n}") for n in range(1, 4)] == [200, 200, 429]
    assert asked("2001:db8:0:2::1") == 200


def test_d22_a_proxy_that_adds_a_line_of_its_own_is_understood(governed: Governed) -> None:
    gateway = governed(
        server={"per_address": {"rates": ["2/day"]}, "trusted_proxies": ["127.0.0.1"]}
    )
    statuses = []
    for number in range(3):
        said = (("x-forwarded-for", f"198.51.100.{number}"), ("x-forwarded-for", "203.0.113.1"))
        with RawClient(gateway.origin) as client:
            client.send(post_bytes(chat_body(), headers=said))
            statuses.append(client.reply().status)
    assert statuses == [200, 200, 429]


def test_without_keys_the_default_account_still_limits(governed: Governed) -> None:
    gateway = governed(
        server={"insecure": True}, accounts={"default": {"limits": {"rates": ["2/day"]}}}, keys=[]
    )
    with gateway.http(None) as client:
        statuses = [client.post(PATH, json=chat_body()).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize("where", ["route", "address"])
def test_without_keys_routes_and_addresses_still_limit(governed: Governed, where: str) -> None:
    limits = {"rates": ["2/day"]}
    route = {"targets": [target()], "limits": limits if where == "route" else {}}
    server = {"insecure": True, "per_address": limits if where == "address" else {}}
    gateway = governed(server=server, routes={"*": route}, keys=[])
    with gateway.http(None) as client:
        statuses = [client.post(PATH, json=chat_body()).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


# ---- restarts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", [False, True])
def test_b25_limits_survive_a_restart(
    upstream: ScriptedUpstream, tmp_path: Path, killed: bool
) -> None:
    settings = document(
        upstream.base_url,
        keys=[
            {
                "id": "operator",
                "key": APP_KEY,
                "limits": {"rates": ["5/day", "10000 tokens/day", "1 usd/day"]},
            }
        ],
    )
    used = chat_body("[[chunks=900 prompt_tokens=1000]]", max_tokens=900)
    with GatewayProcess.serving(settings, tmp_path) as first, first.http() as client:
        for _ in range(3):
            assert client.post(PATH, json=used).status_code == 200
        if killed:
            state = first.data_dir / "state"
            seen = state.stat().st_mtime_ns if state.exists() else 0
            eventually(lambda: state.exists() and state.stat().st_mtime_ns > seen, "it is kept")
            os.kill(first.process.pid, signal.SIGKILL)
            first.process.wait(10)
    with GatewayProcess.serving(settings, tmp_path) as second, second.http() as client:
        replies = [client.post(PATH, json=chat_body(max_tokens=100)) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    left = int(replies[0].headers["x-ratelimit-remaining-tokens"])
    reserved = predicted_prompt(chat_body()) + 100
    assert 0 <= left - (10_000 - 3 * 1_900 - reserved) <= 50  # a token flows back in 8.64 s


def test_b25_what_was_reserved_when_the_process_died_counts_as_used_and_what_ran_does_not(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    settings = document(
        upstream.base_url,
        keys=[
            {
                "id": "operator",
                "key": APP_KEY,
                "limits": {"rates": ["1000 tokens/day"], "concurrency": 1},
            }
        ],
    )
    upstream.script("hold=0")
    with GatewayProcess.serving(settings, tmp_path) as first, RawClient(first.origin) as client:
        client.send(post_bytes(chat_body(max_tokens=900)))
        upstream.wait_until(lambda up: up.held == 1)
        state = first.data_dir / "state"
        seen = state.stat().st_mtime_ns if state.exists() else 0
        eventually(lambda: state.exists() and state.stat().st_mtime_ns > seen, "it is kept")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(10)
    upstream.wait_until(lambda up: up.in_flight == 0)
    with GatewayProcess.serving(settings, tmp_path) as second, second.http() as http:
        assert http.post(PATH, json=chat_body(max_tokens=200)).status_code == 429
        assert http.post(PATH, json=chat_body(max_tokens=50)).status_code == 200


def test_b25_a_damaged_state_is_no_reason_not_to_start(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    settings = document(
        upstream.base_url,
        keys=[{"id": "operator", "key": APP_KEY, "limits": {"rates": ["1/day"]}}],
        log={"level": "warning"},
    )
    with GatewayProcess.serving(settings, tmp_path) as first, first.http() as http:
        assert http.post(PATH, json=chat_body()).status_code == 200
        assert first.stop() == 0
    state = first.data_dir / "state"
    whole = state.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nonsense" * 1000):
        state.write_bytes(damaged)
        with GatewayProcess.serving(settings, tmp_path) as again, again.http() as http:
            assert http.post(PATH, json=chat_body()).status_code == 200
            assert http.post(PATH, json=chat_body()).status_code == 429
            assert '"event":"state"' in again.text()


# ---- end users and hits -------------------------------------------------------------------------


def test_d5_each_end_user_of_an_account_has_limits_of_its_own(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(accounts={"default": {"end_users": {"rates": ["2/day"]}}})
    with gateway.http() as client:

        def ask(**members: str) -> Any:
            return client.post(PATH, json=chat_body(**members))

        assert [ask(user="ann@example.org").status_code for _ in range(2)] == [200, 200]
        refused = ask(safety_identifier="ann@example.org")
        assert (refused.status_code, code(refused)) == (429, "rate_limit_exceeded")
        assert "end-user:default#" in refused.json()["error"]["message"]
        assert "ann" not in refused.text
        assert ask(user="bob").status_code == 200
        assert [ask().status_code for _ in range(5)] == [200] * 5
    assert upstream.stats()["requests"] == 8


async def test_a_rule_that_counts_hits_holds_followers_and_hits_too(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    body = chat_body("one question", "cached", max_tokens=50)
    once = predicted_prompt(body | {"model": "gpt-4o"}) + 50
    rule = {"rate": f"{3 * once} tokens/day", "hits": "count"}
    gateway = governed(accounts={"default": {"limits": {"rates": [rule]}}})
    upstream.script("hold=0")
    everybody = asyncio.create_task(ask_all(gateway.origin, [request_bytes(body)] * 5))
    await until_held(upstream, 1)
    await until_metric(gateway, 'sentinel_limit_refusals_total{limit="tokens"} 2')
    upstream.release()
    replies = await everybody
    verdicts = Counter((reply.status, reply.headers["x-sentinel-cache"]) for reply in replies)
    assert verdicts == {(200, "miss"): 1, (200, "follow"): 2, (429, "miss"): 2}

    with gateway.http() as client:
        used = [client.post(PATH, json=body) for _ in range(40)]
    hits = [reply for reply in used if reply.status_code == 200]
    assert {reply.headers["x-sentinel-cache"] for reply in hits} == {"hit-exact"}
    tokens = hits[0].json()["usage"]["total_tokens"]
    left = [int(reply.headers["x-ratelimit-remaining-tokens"]) for reply in hits]
    assert left == [3 * once - tokens * count for count in range(4, 4 + len(hits))]
    assert 0 <= left[-1] < tokens
    assert {code(reply) for reply in used[len(hits) :]} == {"rate_limit_exceeded"}
    assert upstream.stats()["requests"] == 1


async def test_a_follower_that_leaves_early_has_used_what_had_come(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    rule = {"rate": "10000 tokens/day", "hits": "count"}
    gateway = governed(
        accounts={"follows": {"limits": {"rates": [rule]}}},
        keys=[
            {"id": "operator", "key": APP_KEY},
            key("follows", "follows"),
        ],
        routes={"cached": {"targets": [target()], "cache": {"share": "all"}}},
    )
    request = {"stream": True, "max_tokens": 50}
    upstream.script("chunks=40 hold=31")
    leader = await CrowdClient.connect(gateway.origin)
    leader.ask(request_bytes(chat_body("told to two", "cached", **request)))
    await until_held(upstream, 1)
    follower = await CrowdClient.connect(gateway.origin)
    follower.ask(
        request_bytes(chat_body("told to two", "cached", **request), key=key_text("follows"))
    )
    await eventually_async(lambda: follower.received.count(b"data: ") == 32, "all that has come")
    follower.leave()
    await until_metric(gateway, "sentinel_in_flight 1")
    upstream.release()
    assert b"[DONE]" in (await leader.reply).body
    body = chat_body("another", "cached", max_tokens=1)
    with gateway.http(key=key_text("follows")) as client:
        reply = client.post(PATH, json=body)
    assert reply.headers["x-sentinel-cache"] == "miss"
    left = 10_000 - int(reply.headers["x-ratelimit-remaining-tokens"])
    own = predicted_prompt(body | {"model": "gpt-4o"}) + 1
    shared = predicted_prompt(chat_body("told to two", "gpt-4o"))
    assert 30 <= left - own - shared <= 32
