"""A gateway with tight bounds, and the promise every hostile request is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sentinel.testing import ScriptedUpstream
from support.raw_http import RawClient, RawReply, post_bytes
from support.serving import GatewayServer, chat_body, gateway_settings

BODY_BYTES = 64 * 1024
HEAD_BYTES = 8 * 1024
HEADERS = 50
BODY_SECONDS = 1
BOUNDS = {
    "body_bytes": BODY_BYTES,
    "head_bytes": HEAD_BYTES,
    "headers": HEADERS,
    "body_seconds": BODY_SECONDS,
}


@pytest.fixture(scope="session")
def session_strict(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayServer]:
    directory = tmp_path_factory.mktemp("strict")
    settings = gateway_settings(
        session_upstream.base_url,
        directory,
        server__limits=BOUNDS,
        routes={
            "gpt-4o-mini": {"targets": [{"upstream": "upstream"}]},
            "mapped": {"targets": [{"upstream": "upstream", "model": "gpt-4o"}]},
        },
    )
    with GatewayServer.serving(settings) as server:
        yield server


@dataclass(frozen=True)
class Strict:
    """The gateway under attack."""

    server: GatewayServer
    upstream: ScriptedUpstream

    def answer_to(self, request: bytes, method: str = "POST") -> RawReply:
        """The reply to these bytes on a connection of their own."""
        with RawClient(self.server.origin) as client:
            client.send(request)
            return client.reply(method)

    def post(self, body: object, path: str = "/v1/chat/completions") -> RawReply:
        assert isinstance(body, bytes | dict)
        return self.answer_to(post_bytes(body, path))

    def forwarded(self) -> int:
        return self.upstream.stats()["requests"]


@pytest.fixture
def strict(session_strict: GatewayServer, upstream: ScriptedUpstream) -> Iterator[Strict]:
    """Afterwards nothing is in flight, and a good call is served."""
    strict = Strict(session_strict, upstream)
    yield strict
    session_strict.idle()
    upstream.reset()
    assert strict.post(chat_body("are you there")).status == 200


Refused = Callable[[RawReply, int, str], None]


@pytest.fixture
def refused(strict: Strict) -> Refused:
    """Checks a refusal: its status, its code in an error of our shape, nothing forwarded."""

    def check(reply: RawReply, status: int, code: str) -> None:
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers["content-type"] == "application/json"
        assert strict.forwarded() == 0

    return check
