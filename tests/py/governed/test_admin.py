"""The operator's hand on kept answers and on breakers, seen from the callers' side."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from governed.conftest import Governed
from sentinel.testing import ScriptedUpstream
from support.crowd import ask_all, request_bytes
from support.governed import document, key, key_text, target, upstream_at
from support.serving import ADMIN_KEY, APP_KEY, GatewayProcess, chat_body

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def session_governed(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = document(
        session_upstream.base_url,
        accounts={"acme": {}, "acme/search": {}, "globex": {}},
        keys=[
            {"id": "operator", "key": APP_KEY},
            key("acme", "acme"),
            key("search", "acme/search"),
            key("globex", "globex"),
        ],
        routes={
            "news-small": {"targets": [target()], "cache": {"tags": ["news", "small"]}},
            "news-large": {"targets": [target()], "cache": {"tags": ["news"]}},
            "poems": {"targets": [target()], "cache": {}},
        },
    )
    with GatewayProcess.serving(settings, tmp_path_factory.mktemp("admin")) as gateway:
        yield gateway


@pytest.fixture
def admin(session_governed: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[httpx.Client]:
    """The operator, before an empty cache."""
    with session_governed.http(ADMIN_KEY) as client:
        assert client.delete("/admin/cache", params={"all": "true"}).status_code == 200
        yield client


def ask(gateway: GatewayProcess, model: str, name: str, **more: Any) -> str:
    with gateway.http(key_text(name)) as client:
        reply = client.post(PATH, json=chat_body(model=model, **more))
    assert reply.status_code == 200
    return reply.headers["x-sentinel-cache"]


MODELS = ("news-small", "news-large", "poems")
NAMES = ("acme", "search", "globex")


@pytest.mark.parametrize(
    ("by", "value", "gone"),
    [
        ("pattern", "news-*", {(model, name) for model in MODELS[:2] for name in NAMES}),
        ("pattern", "poems", {("poems", name) for name in NAMES}),
        ("pattern", "nothing*", set()),
        ("tag", "small", {("news-small", name) for name in NAMES}),
        ("tag", "news", {(model, name) for model in MODELS[:2] for name in NAMES}),
        ("tag", "new", set()),
        ("account", "acme", {(model, "acme") for model in MODELS}),
        ("account", "globex", {(model, "globex") for model in MODELS}),
        ("all", "true", {(model, name) for model in MODELS for name in NAMES}),
    ],
)
def test_c9_what_is_forgotten_is_asked_anew_and_all_else_is_kept(
    session_governed: GatewayProcess,
    admin: httpx.Client,
    by: str,
    value: str,
    gone: set[tuple[str, str]],
) -> None:
    questions = [(model, name) for model in MODELS for name in NAMES]
    for model, name in questions:
        assert ask(session_governed, model, name) == "miss"
    erased = admin.delete("/admin/cache", params={by: value})
    assert (erased.status_code, erased.json()) == (200, {"erased": len(gone)})
    verdicts = {(model, name): ask(session_governed, model, name) for model, name in questions}
    assert verdicts == {
        question: "miss" if question in gone else "hit-exact" for question in questions
    }


@pytest.mark.parametrize("stream", [False, True])
def test_c9_one_answer_is_forgotten_in_both_forms_by_the_key_its_replies_show(
    session_governed: GatewayProcess, admin: httpx.Client, stream: bool
) -> None:
    with session_governed.http(key_text("acme")) as client:
        client.post(PATH, json=chat_body("another", model="poems"))
        for _ in range(2):
            reply = client.post(PATH, json=chat_body(model="poems", stream=stream))
    found = re.search('key="([0-9a-f]+)"', reply.headers["cache-status"])
    assert found is not None
    assert admin.delete("/admin/cache", params={"key": found[1]}).json() == {"erased": 1}
    assert ask(session_governed, "poems", "acme", stream=not stream) == "miss"
    with session_governed.http(key_text("acme")) as client:
        kept = client.post(PATH, json=chat_body("another", model="poems"))
    assert kept.headers["x-sentinel-cache"] == "hit-exact"


def test_c12_the_statistics_tell_of_hits_and_of_memory(
    session_governed: GatewayProcess, admin: httpx.Client
) -> None:
    before = admin.get("/admin/cache").json()
    assert (before["entries"], before["bytes"]) == (0, 0)
    for wanted in ("miss", "hit-exact", "hit-exact"):
        assert ask(session_governed, "poems", "acme") == wanted
    after = admin.get("/admin/cache").json()
    changes = {name: after[name] - before[name] for name in ("entries", "hits", "misses", "stored")}
    assert changes == {"entries": 1, "hits": 2, "misses": 1, "stored": 1}
    assert 500 < after["bytes"] < after["max_bytes"]


def test_the_vectors_of_an_array_are_forgotten_one_by_one(
    session_governed: GatewayProcess, admin: httpx.Client, upstream: ScriptedUpstream
) -> None:
    body = {"model": "poems", "input": ["one", "two", "three"]}
    with session_governed.http(key_text("acme")) as client:
        client.post("/v1/embeddings", json=body)
        assert admin.get("/admin/cache").json()["entries"] == 3
        assert admin.delete("/admin/cache", params={"account": "acme"}).json() == {"erased": 3}
        client.post("/v1/embeddings", json=body)
    assert [call.json["input"] for call in upstream.calls] == [body["input"]] * 2


@pytest.mark.parametrize("credential", [None, APP_KEY, f"{ADMIN_KEY}x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/cache"),
        ("DELETE", "/admin/cache?all=true"),
        ("GET", "/admin/breakers"),
        ("PUT", "/admin/breakers/upstream/poems"),
    ],
)
def test_s19_nobody_else_sees_or_forgets_or_forces_anything(
    session_governed: GatewayProcess,
    admin: httpx.Client,
    method: str,
    path: str,
    credential: str | None,
) -> None:
    ask(session_governed, "poems", "acme")
    with session_governed.http(credential) as client:
        reply = client.request(method, path, json={"mode": "forced_open"})
    assert reply.status_code in (401, 403)
    assert ask(session_governed, "poems", "acme") == "hit-exact"
    assert {one["mode"] for one in admin.get("/admin/breakers").json()["breakers"]} == {"automatic"}


# ---- breakers -----------------------------------------------------------------------------------


def breaker(admin: httpx.Client, name: str) -> dict[str, Any]:
    breakers = admin.get("/admin/breakers").json()["breakers"]
    [found] = [one for one in breakers if one["target"] == name]
    return dict(found)


def test_a_breaker_is_seen_failing_open_and_well_again(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    settings = {
        "window_calls": 10,
        "minimum_calls": 4,
        "open_wait": "2m",
        "longest_wait": "2m",
    }
    gateway = governed(
        upstreams={
            "upstream": upstream_at(upstream.base_url, breaker=settings, retry={"attempts": 1})
        },
        routes={"one": {"targets": [target()]}, "two": {"targets": [target()]}},
    )
    with gateway.http(ADMIN_KEY) as admin, gateway.http() as client:

        def statuses(count: int, model: str = "one") -> list[int]:
            body = chat_body(model=model)
            return [client.post(PATH, json=body).status_code for _ in range(count)]

        upstream.script("", *["status=500"] * 3)
        assert statuses(3) == [200, 500, 500]
        seen = breaker(admin, "upstream/one")
        assert (seen["state"], seen["calls"], seen["failed"]) == ("closed", 3, 2)
        assert statuses(4) == [500, 503, 503, 503]
        assert breaker(admin, "upstream/one")["state"] == "open"
        assert breaker(admin, "upstream/one")["refused"] == seen["refused"] + 3
        assert statuses(1, "two") == [200]

        # Forced closed it serves though its time is not over, then stays as it is told.
        forced = admin.put("/admin/breakers/upstream/one", json={"mode": "forced_closed"})
        assert forced.json()["mode"] == "forced_closed"
        upstream.script(*["status=500"] * 6)
        assert statuses(7) == [500] * 6 + [200]
        admin.put("/admin/breakers/upstream/one", json={"mode": "forced_open"})
        refused = client.post(PATH, json=chat_body(model="one"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
        assert "retry-after" in refused.headers
        admin.put("/admin/breakers/upstream/one", json={"mode": "automatic"})
        assert statuses(4) == [200] * 4
        assert breaker(admin, "upstream/one")["state"] == "closed"


async def test_a_breaker_forced_open_sends_calls_to_the_next_tier(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    targets = [target(model="first"), target(model="second", tier=1)]
    gateway = governed(routes={"two": {"targets": targets}})
    with gateway.http(ADMIN_KEY) as admin:
        admin.put("/admin/breakers/upstream/first", json={"mode": "forced_open"})
        replies = await ask_all(gateway.origin, [request_bytes(chat_body(model="two"))] * 20)
        assert {reply.headers["x-sentinel-target"] for reply in replies} == {"upstream/second"}
        admin.put("/admin/breakers/upstream/first", json={"mode": "automatic"})
        [last] = await ask_all(gateway.origin, [request_bytes(chat_body(model="two"))])
    assert last.headers["x-sentinel-target"] == "upstream/first"


async def test_b25_what_is_forced_stays_forced_over_a_restart(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed()
    with gateway.http(ADMIN_KEY) as admin:
        admin.put("/admin/breakers/upstream/*", json={"mode": "forced_open"})
    assert await asyncio.to_thread(gateway.stop) == 0
    again = governed()
    with again.http() as client:
        assert client.post(PATH, json=chat_body()).status_code == 503
    with again.http(ADMIN_KEY) as admin:
        assert breaker(admin, "upstream/*")["mode"] == "forced_open"
    assert upstream.calls == []
