"""Asking a `Gateway` without any HTTP: through its bridge, as every door does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel import _core
from sentinel.config import Settings
from sentinel.gateway import Answer, AsyncBridge, Gateway, header_pairs
from support.serving import APP_KEY, chat_body

__all__ = ["Reply", "ask", "begin", "python_settings", "stream"]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """The code of an error."""
        return self.json["error"]["code"]


def python_settings(data_dir: Path, **timeouts: str) -> Settings:
    """One route to an injected provider."""
    return Settings.parse(
        {
            "version": 1,
            "server": {"data_dir": str(data_dir), "drain_timeout": "1s"},
            "upstreams": {
                "mine": {"kind": "python", "timeouts": timeouts, "retry": {"attempts": 1}}
            },
            "routes": {"*": {"targets": [{"upstream": "mine"}]}},
            "keys": [{"id": "operator", "key": APP_KEY}],
        }
    )


def begin(
    gateway: Gateway, body: dict[str, Any], endpoint: _core.Endpoint = _core.Endpoint.chat
) -> tuple[AsyncBridge, Answer | Reply]:
    """Submit a request on the running loop: its answer to come, or the reply it got at once."""
    bridge = gateway.bridge()
    headers = [(b"authorization", b"Bearer " + APP_KEY.encode())]
    content = json.dumps(body).encode()
    submitted = bridge.core.submit(endpoint, "/v1/chat/completions", b"", headers, content)
    if isinstance(submitted, tuple):
        return bridge, _reply(submitted[1], submitted[2], submitted[3])
    return bridge, bridge.expect(submitted, asyncio.Event().wait)  # a client that stays


async def ask(gateway: Gateway, **more: Any) -> Reply:
    """The whole reply to a chat completion."""
    bridge, answer = begin(gateway, chat_body(**more))
    if isinstance(answer, Reply):
        return answer
    try:
        _, status, headers, body, goes_on, _ = await answer.next()
        while goes_on:
            bridge.core.taken(answer.id, len(body))
            _, _, _, piece, goes_on, _ = await answer.next()
            body += piece
        return _reply(status, headers, body)
    finally:
        bridge.forget(answer)


async def stream(gateway: Gateway, **more: Any) -> AsyncIterator[bytes]:
    """The pieces of a streamed reply; each is taken when the next is asked for."""
    bridge, answer = begin(gateway, chat_body(stream=True, **more))
    assert isinstance(answer, Answer), answer
    try:
        goes_on = True
        while goes_on:
            _, _, _, piece, goes_on, _ = await answer.next()
            if piece:
                yield piece
                bridge.core.taken(answer.id, len(piece))
    finally:
        bridge.forget(answer)


def _reply(status: int, headers: Any, body: bytes) -> Reply:
    return Reply(
        status,
        {name.decode(): value.decode() for name, value in header_pairs(headers)},
        body,
    )
