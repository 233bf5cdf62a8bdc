"""Gateways for upstreams that fail: one that is patient, one that only its deadlines save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream
from support.serving import GatewayServer, chat_body, gateway_settings

Records = Callable[[], list[dict[str, Any]]]

# A stream over these bounds is refused within a moment, not after 100 MB.
BOUNDS = {"response_bytes": "256KiB", "event_bytes": "64KiB"}
SHORT = {"connect": "300ms", "first_byte": "300ms", "idle": "300ms", "total": "800ms"}


@dataclass(frozen=True)
class Watched:
    """A gateway, and the records it has written since the test began."""

    server: GatewayServer
    before: int

    def new_records(self) -> list[dict[str, Any]]:
        self.server.idle()
        return self.server.records()[self.before :]

    def serves(self) -> bool:
        """Whether a good call still gets its good answer."""
        with self.server.http() as client:
            answer = client.post("/v1/chat/completions", json=chat_body("are you there"))
        return answer.status_code == 200 and "You said: are you there" in answer.text


def _gateway(
    upstream: ScriptedUpstream, factory: pytest.TempPathFactory, **more: object
) -> Iterator[GatewayServer]:
    settings = gateway_settings(
        upstream.base_url, factory.mktemp("faults"), server__limits=BOUNDS, **more
    )
    with GatewayServer.serving(settings) as server:
        yield server


@pytest.fixture(scope="session")
def session_patient(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayServer]:
    yield from _gateway(session_upstream, tmp_path_factory)


@pytest.fixture(scope="session")
def session_impatient(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayServer]:
    yield from _gateway(session_upstream, tmp_path_factory, upstreams__upstream__timeouts=SHORT)


def _watched(server: GatewayServer) -> Watched:
    server.idle()
    return Watched(server, len(server.records()))


@pytest.fixture
def patient(session_patient: GatewayServer, upstream: ScriptedUpstream) -> Watched:
    """Long deadlines, small bounds."""
    assert upstream.calls == []
    return _watched(session_patient)


@pytest.fixture
def impatient(session_impatient: GatewayServer, upstream: ScriptedUpstream) -> Watched:
    """Deadlines of 0.3 and 0.8 seconds."""
    assert upstream.calls == []
    return _watched(session_impatient)
