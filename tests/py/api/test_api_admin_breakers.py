"""The circuit breakers over the admin API: what they have seen, and an operator's hand on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, GatewayServer, chat_body

Serve = Callable[..., GatewayServer]
TARGET = "upstream/*"
PATH = f"/admin/breakers/{TARGET}"


@pytest.fixture
def server(serve: Serve) -> GatewayServer:
    breaker = {"minimum_calls": 3, "window_calls": 4, "open_wait": "1h", "longest_wait": "1h"}
    return serve(**{"upstreams.upstream.breaker": breaker})


@pytest.fixture
def admin(server: GatewayServer) -> Iterator[httpx.Client]:
    with server.http(ADMIN_KEY) as client:
        yield client


def ask(server: GatewayServer) -> httpx.Response:
    with server.http() as client:
        return client.post("/v1/chat/completions", json=chat_body())


def listed(admin: httpx.Client) -> dict[str, Any]:
    [breaker] = admin.get("/admin/breakers").json()["breakers"]
    return breaker  # type: ignore[no-any-return]


def test_a_breaker_shows_what_it_has_seen(
    server: GatewayServer, admin: httpx.Client, upstream: ScriptedUpstream
) -> None:
    quiet = {"calls": 0, "failed": 0, "slow": 0, "refused": 0}
    assert listed(admin) == {"target": TARGET, "state": "closed", "mode": "automatic", **quiet}
    upstream.script("", "status=500", "status=500")
    assert [ask(server).status_code for _ in range(2)] == [200, 500]
    seen = listed(admin)
    assert (seen["state"], seen["calls"], seen["failed"], seen["refused"]) == ("closed", 2, 1, 0)
    assert [ask(server).status_code for _ in range(3)] == [500, 503, 503]
    seen = listed(admin)
    assert (seen["state"], seen["refused"]) == ("open", 2)


def test_a_breaker_forced_open_lets_nothing_pass_until_it_is_automatic_again(
    server: GatewayServer, admin: httpx.Client, upstream: ScriptedUpstream
) -> None:
    forced = admin.put(PATH, json={"mode": "forced_open"})
    assert (forced.status_code, forced.json()["mode"]) == (200, "forced_open")
    refused = ask(server)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    assert upstream.calls == []
    assert admin.put(PATH, json={"mode": "automatic"}).json()["state"] == "closed"
    assert ask(server).status_code == 200


def test_a_breaker_forced_closed_lets_everything_pass(
    server: GatewayServer, admin: httpx.Client, upstream: ScriptedUpstream
) -> None:
    admin.put(PATH, json={"mode": "forced_closed"})
    upstream.script(*["status=500"] * 4)
    assert [ask(server).status_code for _ in range(5)] == [500] * 4 + [200]
    assert listed(admin)["mode"] == "forced_closed"


@pytest.mark.parametrize("target", ["upstream", "upstream/gpt-4o", "upstream/*/x", "%20", "nobody"])
def test_a_target_nobody_knows_is_not_found(admin: httpx.Client, target: str) -> None:
    reply = admin.put(f"/admin/breakers/{target}", json={"mode": "forced_open"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert listed(admin)["mode"] == "automatic"


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "mode"), ({"mode": "open"}, "mode"), ({"mode": "automatic", "state": "open"}, "state")],
)
def test_s20_a_wrong_wish_is_told_so(admin: httpx.Client, body: dict[str, str], param: str) -> None:
    reply = admin.put(PATH, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert listed(admin)["mode"] == "automatic"


def test_a_target_without_a_breaker_is_not_listed(serve: Serve) -> None:
    with serve().http(ADMIN_KEY) as client:
        assert client.get("/admin/breakers").json() == {"breakers": []}
        assert client.put(PATH, json={"mode": "automatic"}).status_code == 404
