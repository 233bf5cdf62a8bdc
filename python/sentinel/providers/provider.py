"""The shapes of the provider port: a call out, a reply back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

__all__ = ["Provider", "ProviderCall", "ProviderReply"]

_JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call to serve.

    `endpoint` is the path below /v1 (`chat/completions`), `model` the name to ask for, `body` the
    JSON object as the client sent it but for `model`, if the target names another, and usage in
    streams, which is asked for.
    """

    upstream: str
    endpoint: str
    model: str
    request_id: str
    stream: bool
    body: bytes = field(repr=False)

    def parsed(self) -> Any:
        """The body as JSON; the gateway has already checked that it is an object."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class ProviderReply:
    """A status, headers and either all bytes or an async iterable of them.

    The body is written as the endpoint's protocol has it; a stream must end with the protocol's
    terminal event. Usage in it is what is recorded.
    """

    body: bytes | AsyncIterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(_JSON))

    @classmethod
    def json(cls, document: object, status: int = 200) -> Self:
        """A plain JSON reply."""
        return cls(json.dumps(document).encode(), status)

    @classmethod
    def events(cls, body: AsyncIterable[bytes]) -> Self:
        """A stream of server-sent events, as the endpoint's protocol has them."""
        return cls(body, 200, dict(_EVENTS))


class Provider(Protocol):
    """Answers calls. What `send` raises becomes a 502; it is cancelled when the client leaves."""

    async def send(self, call: ProviderCall) -> ProviderReply:
        """Serve one call, within the deadlines of its upstream."""
        ...
