"""Mounted in somebody else's app: under its path, its middleware and its lifespan."""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import sentinel
from sentinel.errors import GatewayError
from sentinel.gateway import Gateway
from sentinel.testing import ScriptedUpstream
from support.serving import APP_KEY, GatewayServer, chat_body, gateway_settings

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "fastapi_service.py"
CHAT = "/llm/v1/chat/completions"


class Stamp:
    """Pure ASGI middleware of the host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-host", b"yes")]
            await send(message)

        await self._app(scope, receive, stamped)


def host_app(events: list[str]) -> FastAPI:
    """A host with a route, middleware and a lifespan that notes what runs when."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        gateway: Gateway = app.state.gateway
        events.append(f"host starts, gateway {'on' if gateway.started else 'off'}")
        yield {"from_host": 1}
        events.append(f"host ends, gateway {'on' if gateway.started else 'off'}")

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Stamp)

    @app.get("/own")
    async def own() -> dict[str, str]:
        return {"from": "host"}

    return app


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def host(upstream: ScriptedUpstream, tmp_path: Path, events: list[str]) -> Iterator[GatewayServer]:
    app = host_app(events)
    app.state.gateway = sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    with GatewayServer.of(app, app.state.gateway) as server:
        yield server


def test_u4_the_host_keeps_its_routes_and_the_gateway_has_its_own(host: GatewayServer) -> None:
    with host.http() as client:
        assert client.get("/own").json() == {"from": "host"}
        assert client.get("/llm/healthz").json() == {"status": "ok"}
        assert client.get("/llm/readyz").status_code == 200
        plain = client.post(CHAT, json=chat_body("good morning"))
        streamed = client.post(CHAT, json=chat_body("good morning", stream=True))
        models = client.get("/llm/v1/models/gpt-4o")
        query = client.post("/llm/v1/query", json={"prompt": "hi"})
        missing = client.get("/llm/nope")
        outside = client.post("/v1/chat/completions", json=chat_body())
    assert plain.json()["choices"][0]["message"]["content"] == "You said: good morning"
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert (models.json()["id"], query.json()["answer"]) == ("gpt-4o", "You said: hi")
    assert missing.json()["error"]["code"] == "unsupported_endpoint"
    assert outside.status_code == 404
    assert [record["endpoint"] for record in host.records()] == [
        "/v1/chat/completions",
        "/v1/chat/completions",
        "/v1/query",
    ]


def test_the_hosts_middleware_is_around_hot_routes_too(host: GatewayServer) -> None:
    with host.http() as client:
        for stream in (False, True):
            assert client.post(CHAT, json=chat_body(stream=stream)).headers["x-host"] == "yes"
        assert client.get("/llm/metrics").headers["x-host"] == "yes"


def test_the_official_sdk_changes_only_base_url_and_key(host: GatewayServer) -> None:
    with host.openai() as client:
        answer = client.with_options(base_url=f"{host.origin}/llm/v1").chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "good morning"}]
        )
    assert answer.choices[0].message.content == "You said: good morning"


def test_both_documents_are_served(host: GatewayServer) -> None:
    with host.http() as client:
        assert set(client.get("/openapi.json").json()["paths"]) == {"/own"}
        paths = client.get("/llm/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/v1/query", "/admin/keys"} <= set(paths)


def test_the_gateway_starts_first_and_ends_last(
    upstream: ScriptedUpstream, tmp_path: Path, events: list[str]
) -> None:
    app = host_app(events)
    app.state.gateway = sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    with GatewayServer.of(app, app.state.gateway) as server, server.http() as client:
        assert client.get("/own").status_code == 200
    assert events == ["host starts, gateway on", "host ends, gateway on"]
    assert not app.state.gateway.started


async def test_a_host_that_fails_to_start_leaves_nothing_running(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    @asynccontextmanager
    async def broken(app: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("the host's own fault")
        yield

    app = FastAPI(lifespan=broken)
    gateway = sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    with pytest.raises(RuntimeError, match="own fault"):
        async with app.router.lifespan_context(app):
            pass
    assert not gateway.started


async def test_a_host_that_never_runs_its_lifespan_is_told(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    app = FastAPI()
    gateway = sentinel.mount(app, "/llm", gateway_settings(upstream.base_url, tmp_path))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", verify=False) as client:
        reply = await client.post(CHAT, json=chat_body())
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_started")
    with pytest.raises(GatewayError, match="lifespan"):
        gateway.bridge()


def test_two_gateways_in_one_host_do_not_meet(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    app = FastAPI()
    for name in ("one", "two"):
        settings = gateway_settings(upstream.base_url, tmp_path / name)
        app.state.gateway = sentinel.mount(app, f"/{name}", settings)
    with GatewayServer.of(app, app.state.gateway) as server, server.http() as client:
        for name in ("one", "two", "two"):
            reply = client.post(f"/{name}/v1/chat/completions", json=chat_body())
            assert reply.status_code == 200
        assert len(server.records()) == 2  # the second one's


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_the_example_serves_its_own_route_and_the_gateway(
    example: dict[str, Any], upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    make_app: Callable[..., FastAPI] = example["make_app"]
    app = make_app(gateway_settings(upstream.base_url, tmp_path))
    with GatewayServer.of(app, app.state.gateway) as server:
        with server.http(None) as client:
            own = client.post("/tickets/summary", json={"text": "the printer burns"})
        assert own.json()["summary"].endswith("sentence: the printer burns")
        assert own.headers["x-service"] == "tickets"
        with server.openai(APP_KEY) as sdk:
            sdk = sdk.with_options(base_url=f"{server.origin}/llm/v1")
            stream = sdk.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            assert "".join(c.choices[0].delta.content or "" for c in stream) == "You said: hi"
        server.idle()
        assert [record["outcome"] for record in server.records()] == ["done", "done"]


def test_the_example_reads_its_environment(example: dict[str, Any], tmp_path: Path) -> None:
    environ = {
        "OPENAI_API_KEY": "sk-provider-0123456789",
        "SENTINEL_API_KEY": APP_KEY,
        "SENTINEL_UPSTREAM": "http://127.0.0.1:9/v1",
        "SENTINEL_DATA_DIR": str(tmp_path / "here"),
    }
    settings = example["settings"](environ)
    assert settings.data_dir == tmp_path / "here"
    assert settings.upstreams["upstream"].base_url == "http://127.0.0.1:9/v1"
    with pytest.raises(KeyError):  # no key is made up
        example["settings"]({})
