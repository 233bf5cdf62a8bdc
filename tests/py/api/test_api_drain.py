"""Health, readiness with its reasons, and stopping in order."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentinel.api import create_app
from sentinel.testing import ManualClock, ScriptedUpstream
from support.serving import (
    APP_KEY,
    GatewayProcess,
    GatewayServer,
    chat_body,
    eventually,
    gateway_settings,
)

Serve = Callable[..., GatewayServer]
CHAT = "/v1/chat/completions"


@contextmanager
def running_stream(server: GatewayServer, upstream: ScriptedUpstream) -> Iterator[Iterator[str]]:
    """A stream that has begun and goes on until its connection ends."""
    upstream.script("fail=stall_between_events at=2 chunks=5")
    with (
        server.http() as client,
        client.stream("POST", CHAT, json=chat_body(stream=True)) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        assert "role" in next(lines)
        upstream.wait_until(lambda up: up.calls[-1].chunks_sent == 2)
        yield lines


def test_healthz_and_readyz_say_that_all_is_well(gateway_server: GatewayServer) -> None:
    with gateway_server.http(None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})


async def test_before_the_start_nothing_is_ready_and_hot_routes_say_so(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    app = create_app(gateway_settings(upstream.base_url, tmp_path))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", verify=False) as client:
        assert (await client.get("/readyz")).json()["reasons"] == ["not_started"]
        assert (await client.get("/healthz")).status_code == 200
        for path in (CHAT, "/v1/messages", "/v1/query"):
            body = {"prompt": "hi"} if path == "/v1/query" else chat_body(max_tokens=1)
            reply = await client.post(path, json=body)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_started")
        assert (await client.get("/metrics")).status_code == 503


def test_a8_during_drain_delay_it_is_not_ready_and_still_serves_with_connection_close(
    serve: Serve,
) -> None:
    server = serve(server__drain_delay="1h")
    server.gateway.engine.begin_drain(True)
    with server.http() as client:
        eventually(lambda: client.get("/readyz").status_code == 503, "it is announced")
        assert client.get("/readyz").json() == {"ready": False, "reasons": ["draining"]}
        reply = client.post(CHAT, json=chat_body())
        assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        streamed = client.post(CHAT, json=chat_body(stream=True))
        assert (streamed.status_code, streamed.headers["connection"]) == (200, "close")
        assert "[DONE]" in streamed.text
    server.gateway.engine.begin_drain(False)


def test_a8_after_the_delay_new_requests_are_refused_and_running_ones_end(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    server = serve(server__drain_timeout="1h")
    with running_stream(server, upstream), server.http() as client:
        assert server.gateway.engine.in_flight == 1
        server.gateway.engine.begin_drain(False)
        eventually(lambda: client.get("/readyz").status_code == 503, "it drains")
        refused = client.post(CHAT, json=chat_body())
        assert (refused.status_code, error_code(refused)) == (503, "server_shutting_down")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        assert server.gateway.engine.in_flight == 1
    server.idle()


def error_code(reply: httpx.Response) -> Any:
    return reply.json()["error"]["code"]


def test_a8_what_outlasts_drain_timeout_ends_with_an_error_event_and_is_recorded(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    clock = ManualClock()
    settings = gateway_settings(upstream.base_url, tmp_path, server__drain_timeout="20s")
    with GatewayServer.serving(settings, clock=clock) as server:
        with running_stream(server, upstream) as lines:
            server.gateway.engine.begin_drain(False)
            eventually(lambda: bool(server.gateway.not_ready()), "it drains")
            clock.advance(19)
            assert server.gateway.engine.in_flight == 1
            clock.advance(1.1)
            last = list(lines)[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_shutting_down"
        server.idle()
        [record] = server.records()
        assert (record["outcome"], record["completion_tokens"]) == ("shutdown", 2)


def test_a8_in_flight_goes_down_once_whatever_ends_a_request(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    server = serve(upstreams__upstream__timeouts={"first_byte": "100ms", "idle": "100ms"})
    endings = ["", "status=500", "fail=reset_before_head", "fail=stall_before_head", "fail=html"]
    with server.http() as client:
        for script in endings:
            for stream in (False, True):
                upstream.script(script)
                client.post(CHAT, json=chat_body(stream=stream))
        client.post(CHAT, content=b"{")
        client.post(CHAT, json=chat_body(), headers={"authorization": "Bearer no"})
    with running_stream(server, upstream):
        assert server.gateway.engine.in_flight == 1
    server.idle()
    assert len(server.records()) == 2 * len(endings) + 2


def test_a8_sigterm_lets_a_running_stream_finish_and_exits_0(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with GatewayProcess.serving(process_document(upstream), tmp_path) as gateway:
        upstream.script("chunks=20 gap_ms=20")
        seen: list[str] = []

        def read() -> None:
            with gateway.http() as client:
                seen.append(client.post(CHAT, json=chat_body(stream=True)).text)

        reader = threading.Thread(target=read)
        reader.start()
        upstream.wait_until(lambda up: bool(up.calls) and up.calls[0].chunks_sent > 2)
        assert gateway.stop() == 0
        reader.join()
    assert seen[0].endswith("data: [DONE]\n\n")
    assert [record["outcome"] for record in gateway.records()] == ["done"]


def process_document(upstream: ScriptedUpstream, **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "upstreams": {"up": {"base_url": upstream.base_url}},
        "routes": {"*": {"targets": [{"upstream": "up"}]}},
        "keys": [{"id": "app", "key": APP_KEY}],
        **more,
    }


def test_the_admin_listener_is_apart_when_it_has_a_port(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    admin = {"key": "admin-key-of-sixteen", "port": 0}
    with GatewayProcess.serving(process_document(upstream, admin=admin), tmp_path) as gateway:
        line = next(line for line in gateway.text().splitlines() if line.startswith("Admin"))
        apart = line.removeprefix("Admin routes on ").strip()
        with gateway.http("admin-key-of-sixteen") as client:
            assert client.get("/admin/keys").status_code == 404
            assert client.get(f"{apart}/admin/keys").status_code == 200
            assert client.post(f"{apart}{CHAT}", json=chat_body()).status_code == 404
            assert client.get(f"{apart}/metrics").status_code == 200
        assert gateway.stop() == 0


@pytest.mark.parametrize("loops", [1, 2])
def test_it_serves_on_any_number_of_loops(
    serve: Serve, upstream: ScriptedUpstream, loops: int
) -> None:
    server = serve(server__loops=loops)
    with server.http() as client:
        for _ in range(6):
            assert client.post(CHAT, json=chat_body()).status_code == 200
    assert len(server.records()) == 6


async def test_the_lifespan_can_be_run_by_hand(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    app = create_app(gateway_settings(upstream.base_url, tmp_path))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        headers = {"authorization": f"Bearer {APP_KEY}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", headers=headers, verify=False
        ) as client:
            replies = await asyncio.gather(*(client.post(CHAT, json=chat_body()) for _ in range(8)))
    assert [reply.status_code for reply in replies] == [200] * 8
