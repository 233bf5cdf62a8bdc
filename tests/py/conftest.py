"""Fixtures for everything that needs a gateway over sockets: an upstream, a server, clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import GatewayProcess, GatewayServer, gateway_settings

Serve = Callable[..., GatewayServer]


@pytest.fixture(scope="session")
def session_upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as upstream:
        yield upstream


@pytest.fixture
def upstream(session_upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The scripted upstream, with nothing remembered and nothing queued."""
    session_upstream.reset()
    return session_upstream


@pytest.fixture(scope="session")
def session_server(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayServer]:
    settings = gateway_settings(session_upstream.base_url, tmp_path_factory.mktemp("gateway"))
    with GatewayServer.serving(settings) as server:
        yield server


@pytest.fixture
def gateway_server(session_server: GatewayServer, upstream: ScriptedUpstream) -> GatewayServer:
    """A gateway over `upstream`, shared by tests that change nothing in it."""
    return session_server


@pytest.fixture
def new_records(gateway_server: GatewayServer) -> Callable[[], list[dict[str, Any]]]:
    """The usage records that this test has caused."""
    gateway_server.idle()
    before = len(gateway_server.records())

    def since() -> list[dict[str, Any]]:
        gateway_server.idle()
        return gateway_server.records()[before:]

    return since


@pytest.fixture
def serve(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Serve]:
    """A gateway of the test's own: `serve(server__drain_delay="1s")`."""
    with ExitStack() as stack:

        def start(**overrides: object) -> GatewayServer:
            settings = gateway_settings(upstream.base_url, tmp_path / "data", **overrides)
            return stack.enter_context(GatewayServer.serving(settings))

        yield start


@pytest.fixture
def serve_process(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], GatewayProcess]]:
    """`sentinel serve` as a process over a configuration document."""
    with ExitStack() as stack:
        yield lambda document: stack.enter_context(GatewayProcess.serving(document, tmp_path))
