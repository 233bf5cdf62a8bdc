"""Who asks: keys are told apart whole, every governed route asks for one, payloads stay text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.routing import BaseRoute, Route

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, APP_KEY, GatewayServer, chat_body

Serve = Callable[..., GatewayServer]
Records = Callable[[], list[dict[str, Any]]]
CHAT = "/v1/chat/completions"

PAYLOADS = [
    "' OR '1'='1",
    "'; DROP TABLE usage; --",
    '" UNION SELECT * FROM keys --',
    "$ne",
    '{"$gt": ""}',
    "*3\\r\\n$3\\r\\nSET\\r\\n",
    "FLUSHALL",
    "../../etc/passwd",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%00",
    "\u202egnp.exe",
]
OPEN = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/oauth2-redirect", "/openapi.json"}


@pytest.mark.parametrize("length", [20, 64, 128])
def test_s11_keys_with_an_equal_beginning_are_different_identities(
    serve: Serve, length: int
) -> None:
    start = "k" * length
    keys = [{"id": name, "key": start + name} for name in ("one", "two")]
    server = serve(keys=keys)
    for credential, status in [("one", 200), ("two", 200), ("six", 401), ("", 401), ("on", 401)]:
        with server.http(start + credential) as client:
            assert client.post(CHAT, json=chat_body()).status_code == status
    assert [record["key_id"] for record in server.records()] == ["one", "two"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_s1_a_payload_as_key_is_an_unknown_key(
    gateway_server: GatewayServer, new_records: Records, payload: str
) -> None:
    headers = [(b"x-api-key", payload.encode())]
    with gateway_server.http(None) as client:
        reply = client.post(CHAT, json=chat_body(), headers=headers)
        admin = client.get("/admin/keys", headers=headers)
    assert (reply.status_code, admin.status_code) == (401, 403)
    assert payload not in reply.text
    assert new_records() == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_s1_a_payload_as_model_or_user_is_text_or_refused(
    gateway_server: GatewayServer, upstream: ScriptedUpstream, new_records: Records, payload: str
) -> None:
    with gateway_server.http() as client:
        as_model = client.post(CHAT, json=chat_body(model=payload))
        as_user = client.post(CHAT, json=chat_body(user=payload))
    assert as_model.status_code in (200, 400)
    assert as_user.status_code == 200
    assert upstream.calls[-1].json["user"] == payload
    assert [record["status"] for record in new_records()] == [as_model.status_code, 200]


def governed_paths(server: GatewayServer) -> set[tuple[str, str]]:
    """Every route there is but the open ones, from the route table and the document alike."""
    document = server.app.openapi()["paths"]
    told = {(method.upper(), path) for path, item in document.items() for method in item}
    found = {
        (method, route.path.replace(":path}", "}"))
        for route in flat(server.app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    }
    return {(method, path) for method, path in told | found if path not in OPEN}


def flat(routes: list[BaseRoute]) -> list[Route]:
    """Plain routes, those of included routers too."""
    found: list[Route] = []
    for route in routes:
        if isinstance(route, Route):
            found.append(route)
        found += flat(getattr(route, "routes", None) or [])
    return found


def test_s30_every_governed_route_refuses_without_a_key(gateway_server: GatewayServer) -> None:
    governed = governed_paths(gateway_server)
    assert {path for _, path in governed} >= {CHAT, "/v1/query", "/v1/models", "/admin/keys"}
    with gateway_server.http(None) as client:
        for method, path in sorted(governed):
            filled = path.replace("{", "").replace("}", "")
            for body in (b"", b"not json", b"{}"):
                json_type = {"content-type": "application/json"}
                reply = client.request(method, filled, content=body, headers=json_type)
                assert (method, path, reply.status_code) == (method, path, 401)
                assert reply.json()["error"]["code"] == "invalid_api_key"


def test_two_credentials_that_differ_are_refused(gateway_server: GatewayServer) -> None:
    with gateway_server.http() as client:
        differing = client.post(CHAT, json=chat_body(), headers={"x-api-key": "another"})
        equal = client.post(CHAT, json=chat_body(), headers={"x-api-key": APP_KEY})
    assert (differing.status_code, equal.status_code) == (400, 200)


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Basic " + APP_KEY)],
        [("authorization", APP_KEY)],
        [("authorization", "Bearer")],
        [("authorization", "Bearer " + APP_KEY.upper())],
        [("authorization", "Bearer " + APP_KEY + "\x80")],
        [("api-key", APP_KEY)],
    ],
)
def test_only_the_two_documented_ways_carry_a_key(
    gateway_server: GatewayServer, headers: list[tuple[str, str]]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    with gateway_server.http(None) as client:
        assert client.post(CHAT, json=chat_body(), headers=raw).status_code == 401


def test_insecure_serves_without_a_key(serve: Serve) -> None:
    server = serve(server__insecure=True, keys=[])
    with server.http(None) as client:
        assert client.post(CHAT, json=chat_body()).status_code == 200
        assert client.get("/admin/keys").status_code == 401
        assert client.get("/admin/keys", headers={"x-api-key": ADMIN_KEY}).status_code == 200
    assert [record["key_id"] for record in server.records()] == [""]


def test_a_path_in_another_spelling_is_never_governed_less(gateway_server: GatewayServer) -> None:
    spellings = [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1/chat/%63ompletions",
        "/v1/chat/completions;x=1",
        "/admin/keys/",
        "//admin/keys",
        "/%61dmin/keys",
    ]
    with gateway_server.http(None) as client:
        for path in spellings:
            url = gateway_server.origin + path
            for method in ("GET", "POST"):
                reply = client.request(method, url, content=json.dumps(chat_body()))
                assert reply.status_code in (307, 401, 404, 405), path
