"""The cache over the admin API: what it tells, and that what is forgotten is forgotten at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, GatewayServer, chat_body

Serve = Callable[..., GatewayServer]


@pytest.fixture
def server(serve: Serve) -> GatewayServer:
    return serve(**{"routes.*.cache": {"tags": ["news", "weather"]}})


@pytest.fixture
def admin(server: GatewayServer) -> Iterator[httpx.Client]:
    with server.http(ADMIN_KEY) as client:
        yield client


def ask(server: GatewayServer, text: str, **more: str) -> httpx.Response:
    with server.http() as client:
        return client.post("/v1/chat/completions", json=chat_body(text, **more))


def key_of(reply: httpx.Response) -> str:
    """The entry's key as Cache-Status shows it."""
    [key] = [
        word.partition("=")[2].strip('"')
        for word in reply.headers["cache-status"].split("; ")
        if word.startswith("key=")
    ]
    return key


def test_the_statistics_follow_what_happens(server: GatewayServer, admin: httpx.Client) -> None:
    before = admin.get("/admin/cache").json()
    for _ in range(3):
        ask(server, "the same")
    after = admin.get("/admin/cache").json()
    assert (before["entries"], before["hits"], before["bytes"]) == (0, 0, 0)
    assert (after["entries"], after["hits"], after["stored"]) == (1, 2, 1)
    assert 0 < after["bytes"] <= after["max_bytes"] == 256 << 20


@pytest.mark.parametrize(
    "query",
    ["tag=news", "tag=weather", "account=default", "pattern=gpt-4o-*", "pattern=*", "all=true"],
)
def test_what_is_forgotten_is_asked_again(
    server: GatewayServer, admin: httpx.Client, upstream: ScriptedUpstream, query: str
) -> None:
    for text in ("one", "two", "one"):
        ask(server, text)
    assert len(upstream.calls) == 2
    assert admin.delete(f"/admin/cache?{query}").json() == {"erased": 2}
    assert ask(server, "one").headers["x-sentinel-cache"] == "miss"
    assert len(upstream.calls) == 3


@pytest.mark.parametrize(
    "query", ["tag=new", "account=defaul", "pattern=gpt-4o", f"key={'0' * 32}"]
)
def test_what_is_not_meant_stays(server: GatewayServer, admin: httpx.Client, query: str) -> None:
    ask(server, "one")
    assert admin.delete(f"/admin/cache?{query}").json() == {"erased": 0}
    assert ask(server, "one").headers["x-sentinel-cache"] == "hit-exact"


def test_one_answer_is_forgotten_by_the_key_its_replies_show(
    server: GatewayServer, admin: httpx.Client
) -> None:
    key = key_of(ask(server, "one"))
    ask(server, "two")
    assert admin.delete("/admin/cache", params={"key": key}).json() == {"erased": 1}
    assert ask(server, "two").headers["x-sentinel-cache"] == "hit-exact"
    assert ask(server, "one").headers["x-sentinel-cache"] == "miss"


def test_s27_forgetting_one_account_leaves_the_others(
    server: GatewayServer, admin: httpx.Client
) -> None:
    admin.post("/admin/accounts", json={"id": "acme"})
    key = admin.post("/admin/keys", json={"account": "acme"}).json()["key"]
    ask(server, "one")
    with server.http(key) as client:
        client.post("/v1/chat/completions", json=chat_body("one"))
    assert admin.delete("/admin/cache?account=acme").json() == {"erased": 1}
    assert ask(server, "one").headers["x-sentinel-cache"] == "hit-exact"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "exactly one of key, pattern, tag, account, all"),
        ("tag=a&account=b", "exactly one of"),
        ("tag=a&tag=b", "exactly one of"),
        ("all=true&tag=a", "exactly one of"),
        ("all=false", "all: "),
        ("all=perhaps", "all: "),
        ("tag=", "tag: "),
        (f"pattern={'x' * 300}", "pattern: "),
        ("key=not-a-key", "key: "),
        ("tenant=acme", "tenant: "),
    ],
)
def test_a_wish_that_is_not_clear_forgets_nothing(
    server: GatewayServer, admin: httpx.Client, query: str, told: str
) -> None:
    ask(server, "one")
    reply = admin.delete(f"/admin/cache?{query}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert told in reply.json()["error"]["message"]
    assert admin.get("/admin/cache").json()["entries"] == 1
