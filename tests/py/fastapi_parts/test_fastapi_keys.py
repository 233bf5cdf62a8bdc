"""`RequireKey`: with keys of its own, and with those of a gateway that is mounted beside it."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

import sentinel
from sentinel.fastapi import Key, Principal, RequireKey
from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, APP_KEY, GatewayServer, gateway_settings

CI = "key-of-the-tests-ci"
BATCH = "key-of-the-tests-batch"
HASHED = "key-of-the-tests-hashed"
KEYS: dict[str, str | Key] = {
    "ci": CI,
    "batch": Key(BATCH, scopes=("embeddings",)),
    "hashed": f"sha256:{hashlib.sha256(HASHED.encode()).hexdigest()}",
}


def app_of(require: RequireKey) -> FastAPI:
    app = FastAPI()

    @app.get("/who")
    def who(caller: Principal = Depends(require)) -> dict[str, str | None]:  # noqa: B008
        return {"key": caller.key_id, "account": caller.account}

    return app


def ask(require: RequireKey, *headers: tuple[str, str]) -> Any:
    return TestClient(app_of(require)).get("/who", headers=list(headers))


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


@pytest.mark.parametrize(("key", "key_id"), [(CI, "ci"), (BATCH, "batch"), (HASHED, "hashed")])
def test_a_known_key_passes_by_either_header(key: str, key_id: str) -> None:
    require = RequireKey(KEYS)
    told = {"key": key_id, "account": None}
    assert ask(require, bearer(key)).json() == told
    assert ask(require, ("authorization", f"bearer  {key} ")).json() == told
    assert ask(require, ("x-api-key", key)).json() == told
    assert ask(require, bearer(key), ("x-api-key", key)).json() == told


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer")],
        [("authorization", f"Basic {CI}")],
        [("authorization", CI)],
        [("x-api-key", "")],
        [bearer("key-of-the-tests-c")],
        [bearer("key-of-the-tests-ci-and-more")],
        [bearer(f"{KEYS['hashed']}")],  # a digest is no key
        [("x-api-key", "ü" * 20)],
    ],
)
def test_s13_anything_else_is_401_in_the_one_error_format(headers: list[tuple[str, str]]) -> None:
    encoded: Any = [(name, value.encode("latin-1")) for name, value in headers]
    refused = ask(RequireKey(KEYS), *encoded)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "authentication_error",
        "invalid_api_key",
        None,
    )
    for _, value in headers:
        assert len(value) < 16 or value not in error["message"]


def test_two_different_keys_in_one_request_are_refused() -> None:
    require = RequireKey(KEYS)
    for headers in ([bearer(CI), ("x-api-key", BATCH)], [bearer(CI), bearer(BATCH)]):
        refused = ask(require, *headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")


def test_a_key_without_the_scope_is_403() -> None:
    require = RequireKey(KEYS, scopes=["chat"])
    assert ask(require, bearer(CI)).status_code == 200  # no scopes: all
    refused = ask(require, bearer(BATCH))
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "scope_missing"
    assert ask(RequireKey(KEYS, scopes=["embeddings"]), bearer(BATCH)).status_code == 200


def test_with_a_header_of_its_own_no_other_counts() -> None:
    require = RequireKey(KEYS, header="X-Service-Key")
    assert ask(require, ("x-service-key", CI)).status_code == 200
    refused = ask(require, bearer(CI))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'ApiKey name="X-Service-Key"'
    assert 'send "X-Service-Key: KEY"' in refused.json()["error"]["message"]


def test_the_document_tells_how_to_present_a_key() -> None:
    document = app_of(RequireKey(KEYS)).openapi()
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    assert document["paths"]["/who"]["get"]["security"] == [{"ApiKey": []}]
    document = app_of(RequireKey(KEYS, header="x-service-key")).openapi()
    assert document["components"]["securitySchemes"]["ApiKey-x-service-key"] == {
        "type": "apiKey",
        "in": "header",
        "name": "x-service-key",
    }


@pytest.mark.parametrize(
    ("keys", "error", "told"),
    [
        ({}, ValueError, "no keys"),
        ({"a": "short"}, ValueError, "'a' must be 16 to 512 visible ASCII"),
        ({"a": "with spaces, sixteen"}, ValueError, "'a' must be 16 to 512"),
        ({"a": "sha256:1234567890abcdef"}, ValueError, "sha256: and 64 hex digits"),
        ({"a": CI, "b": CI}, ValueError, "'a' and 'b' are the same"),
        ({"": CI}, ValueError, "a key's id must be"),
        ({"a": 5}, TypeError, "the key 'a' must be str or Key, not int"),
    ],
)
def test_keys_that_cannot_be_used_are_found_when_the_app_is_made(
    keys: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as raised:
        RequireKey(keys)
    assert CI not in str(raised.value)


def test_a_header_and_scopes_are_checked_too() -> None:
    with pytest.raises(ValueError, match="not the name of a header"):
        RequireKey(KEYS, header="x key")
    with pytest.raises(TypeError, match="scopes must be a list of str"):
        RequireKey(KEYS, scopes="chat")


def test_s12_a_key_is_never_shown() -> None:
    assert CI not in repr(Key(CI))
    require = RequireKey(KEYS)
    assert CI not in repr(vars(require)) + repr(vars(require._configured))


def test_it_works_over_sockets(serve_app: Callable[[FastAPI], str]) -> None:
    with httpx.Client(base_url=serve_app(app_of(RequireKey(KEYS))), verify=False) as client:
        assert client.get("/who").status_code == 401
        assert client.get("/who", headers=[bearer(CI)]).json()["key"] == "ci"


# Beside a gateway


@pytest.fixture
def host(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[GatewayServer]:
    app = app_of(RequireKey())
    gateway = sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    with GatewayServer.of(app, gateway) as server:
        yield server


def test_the_keys_of_the_mounted_gateway_count(host: GatewayServer) -> None:
    with host.http(APP_KEY) as client:
        assert client.get("/who").json()["account"] == "default"
    with host.http("sk-unknown-to-everybody") as client:
        assert client.get("/who").status_code == 401
    with host.http(ADMIN_KEY) as client:
        assert client.get("/who").status_code == 401


def test_an_issued_key_counts_until_it_is_revoked(host: GatewayServer) -> None:
    with host.http(ADMIN_KEY) as admin:
        made = admin.post("/llm/admin/keys", json={"account": "default", "name": "new"}).json()
        with host.http(made["key"]) as client:
            assert client.get("/who").json() == {"key": made["id"], "account": "default"}
            assert admin.delete(f"/llm/admin/keys/{made['id']}").status_code == 200
            assert client.get("/who").status_code == 401


def test_a_disabled_accounts_keys_do_not_count(host: GatewayServer) -> None:
    with host.http(APP_KEY) as client:
        assert client.get("/who").status_code == 200
        asyncio.run(host.gateway.keys.set_account_disabled("default", True))
        assert client.get("/who").status_code == 401
        asyncio.run(host.gateway.keys.set_account_disabled("default", False))
        assert client.get("/who").status_code == 200


def test_routes_added_to_the_gateways_own_app_find_it(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    app = sentinel.create_app(gateway_settings(upstream.base_url, tmp_path))

    @app.get("/who", dependencies=[Depends(RequireKey(scopes=["chat"]))])
    def who() -> str:
        return "me"

    with GatewayServer.of(app, app.state.gateway) as server:
        with server.http(APP_KEY) as client:
            assert client.get("/who").json() == "me"
        with server.http(None) as client:
            assert client.get("/who").json()["error"]["code"] == "invalid_api_key"


def test_without_keys_and_without_a_gateway_nobody_passes(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    refused = ask(RequireKey(), bearer(CI))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_started")
    assert "no gateway is mounted" in refused.json()["error"]["message"]
    app = app_of(RequireKey())
    sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    refused = TestClient(app).get("/who", headers=[bearer(APP_KEY)])  # its lifespan has not run
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_started")


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "try: import sentinel.fastapi\n"
        "except ImportError as error: print(error)\n"
        "import sentinel.limits, sentinel.tokens\n"
        "assert not {'pydantic', 'starlette', 'yaml'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "sentinel.fastapi needs FastAPI: pip install 'sentinel-llm-gateway[gateway]'\n"
    )
