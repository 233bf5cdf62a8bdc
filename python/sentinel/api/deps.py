"""What the cold routes depend on, as Annotated aliases."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from sentinel.api.client import peer_of
from sentinel.api.errors import ApiError
from sentinel.gateway import Gateway

__all__ = ["AdminRoute", "GatewayDep", "presented_key"]


def get_gateway(request: Request) -> Gateway:
    """The app's gateway."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(get_gateway)]


def presented_key(request: Request) -> str:
    """The credential of a request, by either header; empty when there is none."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    return request.headers.get("x-api-key", "")


def require_admin(request: Request, gateway: Gateway) -> None:
    """Let the admin key pass: 401 without a key, 403 with any other, 429 for too many (S14)."""
    forwarded = ", ".join(request.headers.getlist("x-forwarded-for"))
    wait = gateway.engine.address_wait(peer_of(request.scope), forwarded)
    if wait > 0:
        message = "too many requests from this address"
        raise ApiError(429, "rate_limit_exceeded", message, headers={"retry-after": str(wait)})
    key = presented_key(request)
    if not key:
        raise ApiError(401, "invalid_api_key", "no API key: send the admin key")
    if not gateway.is_admin(key):
        raise ApiError(403, "scope_missing", "this API key may not use the admin routes")


class AdminRoute(APIRoute):
    """A route for the admin, who is asked for first: FastAPI reads a body before any dependency."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            require_admin(request, get_gateway(request))
            return await handler(request)

        return guarded
