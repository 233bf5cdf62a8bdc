"""Keys and accounts over the admin API: who may, what is taken, and that it is in force at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, APP_KEY, GatewayServer, chat_body, gateway_settings

Serve = Callable[..., GatewayServer]
CHAT = "/v1/chat/completions"


@pytest.fixture
def server(serve: Serve) -> GatewayServer:
    return serve()


@pytest.fixture
def admin(server: GatewayServer) -> Iterator[httpx.Client]:
    with server.http(ADMIN_KEY) as client:
        yield client


def ask(server: GatewayServer, key: str, **more: Any) -> int:
    with server.http(key) as client:
        return client.post(CHAT, json=chat_body(**more)).status_code


def test_a_key_works_from_the_answer_that_shows_it_to_the_answer_that_revokes_it(
    server: GatewayServer, admin: httpx.Client
) -> None:
    made = admin.post("/admin/keys", json={"name": "ci"})
    assert made.status_code == 201
    key = made.json()
    assert key["key"].startswith("sk-sen-")
    assert ask(server, key["key"]) == 200
    gone = admin.delete(f"/admin/keys/{key['id']}")
    assert gone.status_code == 200
    assert gone.json()["revoked_us"] > 0
    assert ask(server, key["key"]) == 401
    assert server.records()[0]["key_id"] == key["id"]


def test_the_text_of_a_key_is_shown_once(admin: httpx.Client) -> None:
    made = admin.post("/admin/keys", json={}).json()
    listed = admin.get("/admin/keys")
    assert [key["id"] for key in listed.json()["keys"]] == [made["id"]]
    assert made["key"] not in listed.text
    assert made["key"].endswith(listed.json()["keys"][0]["hint"])


def test_a_running_stream_of_a_revoked_key_ends_with_key_revoked(
    upstream: ScriptedUpstream, server: GatewayServer, admin: httpx.Client
) -> None:
    key = admin.post("/admin/keys", json={}).json()
    upstream.script("fail=stall_between_events at=2 chunks=5")
    with (
        server.http(key["key"]) as client,
        client.stream("POST", CHAT, json=chat_body(stream=True)) as reply,
    ):
        lines = reply.iter_lines()
        assert "role" in next(lines)
        upstream.wait_until(lambda up: up.calls[0].chunks_sent == 2)
        admin.delete(f"/admin/keys/{key['id']}")
        rest = [line for line in lines if line]
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "key_revoked"
    upstream.wait_until(lambda up: up.aborted == 1)
    server.idle()
    [record] = server.records()
    assert (record["outcome"], record["completion_tokens"]) == ("refused", 2)


def test_a_key_may_use_its_scopes_and_models_only(
    server: GatewayServer, admin: httpx.Client, upstream: ScriptedUpstream
) -> None:
    narrow = {"scopes": ["chat"], "models": ["gpt-4o-*"]}
    key = admin.post("/admin/keys", json=narrow).json()["key"]
    with server.http(key) as client:
        embedding = client.post("/v1/embeddings", json={"model": "gpt-4o-mini", "input": "x"})
        other = client.post(CHAT, json=chat_body(model="gpt-3"))
        good = client.post(CHAT, json=chat_body(model="gpt-4o-mini"))
    assert (embedding.status_code, embedding.json()["error"]["code"]) == (403, "scope_missing")
    assert (other.status_code, other.json()["error"]["code"]) == (403, "model_not_allowed")
    assert good.status_code == 200
    assert len(upstream.calls) == 1


def test_a_disabled_account_disables_every_key_below_it_and_back(
    server: GatewayServer, admin: httpx.Client
) -> None:
    for account in ("acme", "acme/search"):
        assert admin.post("/admin/accounts", json={"id": account}).status_code == 201
    key = admin.post("/admin/keys", json={"account": "acme/search"}).json()["key"]
    assert ask(server, key) == 200
    admin.patch("/admin/accounts/acme", json={"disabled": True})
    assert ask(server, key) == 401
    admin.patch("/admin/accounts/acme", json={"disabled": False})
    assert ask(server, key) == 200
    levels = {row["id"]: row["level"] for row in admin.get("/admin/accounts").json()["accounts"]}
    assert (levels["acme"], levels["acme/search"]) == (1, 2)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("DELETE", "/admin/keys/nobody", None, 404, "not_found"),
        ("PATCH", "/admin/accounts/nobody", {"disabled": True}, 404, "not_found"),
        ("POST", "/admin/keys", {"account": "nobody"}, 404, "not_found"),
        ("POST", "/admin/accounts", {"id": "default"}, 409, "invalid_request"),
        ("POST", "/admin/accounts", {"id": "a/b"}, 404, "not_found"),
        ("POST", "/admin/accounts", {"id": "../x"}, 400, "invalid_request"),
        ("POST", "/admin/keys", {"models": ["a b"]}, 400, "invalid_request"),
        ("POST", "/admin/keys", {"scopes": ["admin"]}, 400, "invalid_request"),
    ],
)
def test_a_wrong_admin_request_is_told_so_in_the_one_format(
    admin: httpx.Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    reply = admin.request(method, path, json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def admin_operations(server: GatewayServer) -> list[tuple[str, str]]:
    """Every admin path with every method that HTTP knows, from the OpenAPI document."""
    paths = [path for path in server.app.openapi()["paths"] if path.startswith("/admin")]
    assert len(paths) >= 7
    filled = [re.sub(r"\{[a-z_]+\}", "x", path) for path in paths]
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    declared = server.app.openapi()["paths"]
    return [
        (method, path)
        for path, shown in zip(filled, paths, strict=True)
        for method in methods
        if method.lower() in declared[shown]
    ]


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("sk-nobody", 403), (APP_KEY, 403)])
def test_s19_every_admin_route_refuses_everybody_but_the_admin(
    gateway_server: GatewayServer, key: str | None, status: int
) -> None:
    with gateway_server.http(key) as client:
        for method, path in admin_operations(gateway_server):
            for body in (b"{}", b"not json", b""):
                json_type = {"content-type": "application/json"}
                reply = client.request(method, path, content=body, headers=json_type)
                assert (method, path, reply.status_code) == (method, path, status)
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_s19_an_issued_key_is_no_admin_and_the_admin_key_is_no_key(
    server: GatewayServer, admin: httpx.Client
) -> None:
    key = admin.post("/admin/keys", json={}).json()["key"]
    with server.http(key) as client:
        assert client.get("/admin/keys").status_code == 403
    assert ask(server, ADMIN_KEY) == 401


@pytest.mark.parametrize("extra", ["role", "admin", "scopes_extra", "budget", "tenant", "id_"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/keys", {"name": "x"}),
        ("POST", "/admin/accounts", {"id": "mass"}),
        ("PATCH", "/admin/accounts/default", {"disabled": False}),
        ("PUT", "/admin/breakers/upstream/*", {"mode": "automatic"}),
        ("POST", "/v1/query", {"prompt": "hi"}),
    ],
)
def test_s20_a_member_nobody_asked_for_is_refused(
    gateway_server: GatewayServer, method: str, path: str, body: dict[str, Any], extra: str
) -> None:
    with gateway_server.http(ADMIN_KEY if "admin" in path else APP_KEY) as client:
        reply = client.request(method, path, json={**body, extra: "x"})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, extra)
        assert '"mass"' not in client.get("/admin/accounts", headers=_admin()).text


def _admin() -> dict[str, str]:
    return {"authorization": f"Bearer {ADMIN_KEY}"}


def test_without_an_admin_key_there_are_no_admin_routes(serve: Serve) -> None:
    server = serve(admin__key=None)
    with server.http(ADMIN_KEY) as client:
        reply = client.get("/admin/keys")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unsupported_endpoint")
    assert not [path for path in server.app.openapi()["paths"] if "admin" in path]


def test_keys_outlive_the_server(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = gateway_settings(upstream.base_url, tmp_path)
    with GatewayServer.serving(settings) as first, first.http(ADMIN_KEY) as client:
        key = client.post("/admin/keys", json={}).json()["key"]
    with GatewayServer.serving(settings) as second:
        assert ask(second, key) == 200
