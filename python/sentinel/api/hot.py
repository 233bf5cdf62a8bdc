"""The hot routes: raw ASGI endpoints that pass bytes to the engine and bytes back.

They are the app's first routes, under whatever middleware the app has. All decisions are the
engine's; what is done here is what only a door can do: read a body within its bounds, write the
reply, notice that the client has left, return credit once bytes are written.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentinel.api.client import peer_of
from sentinel.api.errors import error_object
from sentinel.errors import GatewayError
from sentinel.gateway import (
    Answer,
    AsyncBridge,
    Endpoint,
    ErrorCode,
    Event,
    Gateway,
    header_pairs,
)

__all__ = ["HOT_PATHS", "HotEndpoint", "HotShortcut", "hot_routes"]

HOT_PATHS: dict[str, tuple[str, Endpoint]] = {
    "/v1/chat/completions": ("POST", Endpoint.chat),
    "/v1/completions": ("POST", Endpoint.completions),
    "/v1/embeddings": ("POST", Endpoint.embeddings),
    "/v1/responses": ("POST", Endpoint.responses),
    "/v1/messages": ("POST", Endpoint.messages),
    "/v1/models": ("GET", Endpoint.models),
    "/v1/models/{model:path}": ("GET", Endpoint.models),
}

_STEP_BYTES = 64 * 1024


def hot_routes(gateway: Gateway) -> list[Route]:
    """The routes of `HOT_PATHS`, each an endpoint of its own."""
    return [
        Route(path, HotEndpoint(gateway, endpoint), methods=[method], name=f"hot:{path}")
        for path, (method, endpoint) in HOT_PATHS.items()
    ]


class HotShortcut:
    """Leads requests for hot routes past the router, exception middleware and exit stack.

    Those cost as much as the rest of the door, and a hot route uses nothing of them. The app's own
    middleware stays outside of this one.
    """

    def __init__(self, app: ASGIApp, routes: list[Route]) -> None:
        self._app = app
        self._endpoints = {
            (method, route.path): route.app
            for route in routes
            for method in route.methods or ()
            if "{" not in route.path
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self.endpoint(scope) or self._app)(scope, receive, send)

    def endpoint(self, scope: Scope) -> ASGIApp | None:
        """What serves this request, if it is for a hot route."""
        if scope["type"] != "http":
            return None
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._endpoints.get((scope["method"], path))


class _Refused(Exception):
    """The door itself has to say no."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        self.message = message


class _ClientLeft(Exception):
    """The client hung up before its request was whole."""


class HotEndpoint:
    """One governed endpoint as an ASGI app."""

    def __init__(self, gateway: Gateway, endpoint: Endpoint) -> None:
        self._gateway = gateway
        self._endpoint = endpoint
        self._body_bytes = gateway.settings.server.limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            bridge = self._gateway.bridge()
        except GatewayError as error:
            await _send_whole(send, _not_started(error))
            return
        core = bridge.core
        head = (self._endpoint, scope["path"], scope["query_string"], scope["headers"])
        try:
            body = await self._read(bridge, scope, receive)
        except _Refused as refused:
            peer = peer_of(scope)
            event = core.refuse(*head, refused.code, refused.message, peer=peer)
            await _send_whole(send, event)
            return
        except _ClientLeft:
            return
        submitted = core.submit(*head, body, peer_of(scope))
        if isinstance(submitted, tuple):
            await _send_whole(send, submitted)
            return
        answer = bridge.expect(submitted, receive)
        try:
            await _relay(bridge, answer, send)
        finally:
            bridge.forget(answer)

    async def _read(self, bridge: AsyncBridge, scope: Scope, receive: Receive) -> bytes:
        """The whole body, within its bounds of bytes and time."""
        self._check(declared_length(scope["headers"]))  # before a byte of it is waited for
        with bridge.body_deadlines as deadlines:
            try:
                message = await receive()
                if message.get("more_body"):
                    return await self._read_pieces(message, receive)
            except asyncio.CancelledError:
                if not deadlines.expired():
                    raise
                raise _Refused(
                    ErrorCode.request_timeout,
                    f"the request's body did not arrive within {deadlines.seconds} seconds",
                ) from None
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        body: bytes = message.get("body", b"")
        self._check(len(body))
        return body

    async def _read_pieces(self, message: Message, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            body += message.get("body", b"")
            self._check(len(body))
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft

    def _check(self, size: int) -> None:
        if size > self._body_bytes:
            raise _Refused(
                ErrorCode.body_too_large,
                f"the request's body is over {self._body_bytes} bytes",
            )


def declared_length(headers: list[tuple[bytes, bytes]]) -> int:
    """The Content-Length of a request, 0 without one."""
    value = dict(headers).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


def _not_started(error: GatewayError) -> Event:
    """The one refusal the engine cannot word, because there is none."""
    body = json.dumps(error_object(503, "not_started", str(error))).encode()
    fields = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    return (0, 503, fields, body, False, False)


async def _relay(bridge: AsyncBridge, answer: Answer, send: Send) -> None:
    event = await answer.next()
    if not event[4]:
        if event[1]:
            await _send_whole(send, event)
        return
    await _send_head(send, event)
    while True:
        _, _, _, body, more, _ = event
        if len(body) > _STEP_BYTES and more:
            await _send_in_steps(bridge, answer, send, body)
        else:
            await send({"type": "http.response.body", "body": body, "more_body": more})
            if not more:
                return
            if body:
                bridge.core.taken(answer.id, len(body))
        event = await answer.next()
        if answer.gone:
            return


async def _send_in_steps(bridge: AsyncBridge, answer: Answer, send: Send, body: bytes) -> None:
    """Return credit as a slow client reads on, not only when it has read all of this."""
    for start in range(0, len(body), _STEP_BYTES):
        step = body[start : start + _STEP_BYTES]
        await send({"type": "http.response.body", "body": step, "more_body": True})
        bridge.core.taken(answer.id, len(step))


async def _send_whole(send: Send, event: Event) -> None:
    await _send_head(send, event)
    await send({"type": "http.response.body", "body": event[3]})


async def _send_head(send: Send, event: Event) -> None:
    headers = header_pairs(event[2])
    await send({"type": "http.response.start", "status": event[1], "headers": headers})
