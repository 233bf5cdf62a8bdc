"""Gateways as processes of their own, with everything that governs a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentinel.config import Settings
from sentinel.testing import ManualClock, ScriptedUpstream
from support.crowd import request_bytes
from support.governed import document, key, target, upstream_at
from support.serving import APP_KEY, GatewayProcess, GatewayServer, chat_body

Governed = Callable[..., GatewayProcess]


@dataclass(frozen=True)
class Question:
    """A question that no other test asks, so that tests may share a gateway that keeps answers."""

    text: str
    upstream: ScriptedUpstream

    def body(self, model: str = "cached", **more: Any) -> dict[str, Any]:
        return chat_body(self.text, model, **more)

    def request(
        self,
        model: str = "cached",
        *,
        key: str = APP_KEY,
        headers: tuple[tuple[str, str], ...] = (),
        **more: Any,
    ) -> bytes:
        return request_bytes(self.body(model, **more), key=key, headers=headers)

    def direct(self, script: str = "", *, stream: bool = False, **more: Any) -> bytes:
        """What the upstream answers to the gateway's own call, which always asks for usage; of a
        stream, what a client gets that has not asked for it. The call is not counted."""
        self.upstream.script(script)
        options: dict[str, Any] = {}
        if stream:
            options = {"stream": True, "stream_options": {"include_usage": True}}
        url = f"{self.upstream.base_url}/chat/completions"
        reply = httpx.post(url, json=self.body(**more, **options), verify=False)
        assert reply.status_code == 200
        self.upstream.reset()
        if not stream:
            return reply.content
        blocks = reply.content[:-2].split(b"\n\n")
        return b"".join(block + b"\n\n" for block in blocks if b'"choices":[]' not in block)


@pytest.fixture
def question(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> Question:
    name = request.node.name.translate(str.maketrans("[]", "()"))
    return Question(f"{request.path.stem}: {name}", upstream)


@pytest.fixture
def governed(
    upstream: ScriptedUpstream, serve_process: Callable[[dict[str, Any]], GatewayProcess]
) -> Governed:
    """A gateway of the test's own over `upstream`: `governed(keys=[...], routes={...})`."""

    def start(**sections: Any) -> GatewayProcess:
        return serve_process(document(upstream.base_url, **sections))

    return start


@dataclass(frozen=True)
class Clocked:
    """A gateway in this process whose time is the test's."""

    server: GatewayServer
    clock: ManualClock


@pytest.fixture
def clocked(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Callable[..., Clocked]]:
    """`clocked(upstreams={...})`: the document of `governed`, under a manual clock."""
    with ExitStack() as stack:

        def start(**sections: Any) -> Clocked:
            server = {"data_dir": str(tmp_path / "data"), "drain_timeout": "2s"}
            settings = Settings.parse(document(upstream.base_url, server=server, **sections))
            clock = ManualClock()
            return Clocked(stack.enter_context(GatewayServer.serving(settings, clock=clock)), clock)

        yield start


def _route(**cache: Any) -> dict[str, Any]:
    return {"targets": [target()], "cache": cache}


@pytest.fixture(scope="session")
def session_caching(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    base_url = session_upstream.base_url
    settings = document(
        base_url,
        upstreams={
            "upstream": upstream_at(base_url, breaker=False, retry={"attempts": 1}),
            "bare": {"base_url": base_url, "breaker": False, "retry": {"attempts": 1}},
        },
        accounts={"acme": {}, "acme/search": {}, "globex": {}},
        keys=[
            {"id": "operator", "key": APP_KEY},
            *(key(name, "acme") for name in ("acme-1", "acme-2")),
            key("search", "acme/search"),
            key("globex", "globex"),
            key("narrow", "acme", models=["something-else"]),
        ],
        routes={
            "cached": _route(),
            "cached-too": _route(),
            "bare": {"targets": [target("bare")], "cache": {}},
            "wild-*": _route(),
            "sampled": _route(sampled=True),
            "joined": _route(ttl=0),
            "shared": _route(share="everybody"),
            "shared-too": _route(share="everybody"),
            "*": {"targets": [target()]},
        },
    )
    with GatewayProcess.serving(settings, tmp_path_factory.mktemp("caching")) as gateway:
        yield gateway


@pytest.fixture
def caching(session_caching: GatewayProcess, upstream: ScriptedUpstream) -> GatewayProcess:
    """A gateway for all tests that change nothing in it: `cached` keeps answers, `sampled` those
    of sampled calls too, `joined` none, `shared` those of all accounts together; `bare` needs no
    credential. No breaker, no retries, no limits. Each test asks questions of its own."""
    return session_caching
