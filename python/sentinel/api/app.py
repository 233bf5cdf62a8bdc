"""`create_app`: one FastAPI app around one gateway. Nothing happens at import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from sentinel.api.errors import add_error_handlers
from sentinel.api.hot import HotShortcut, hot_routes
from sentinel.api.lifespan import lifespan
from sentinel.api.openapi import with_hot_routes
from sentinel.api.routers import admin, health, query
from sentinel.config import Settings
from sentinel.gateway import Gateway
from sentinel.providers import Provider

if TYPE_CHECKING:
    from sentinel.testing import ManualClock

__all__ = ["Face", "GatewayApp", "build_app", "create_app"]

Face = Literal["public", "admin", "all"]


def create_app(
    settings: Settings, *, provider: Provider | None = None, clock: ManualClock | None = None
) -> FastAPI:
    """The gateway as a FastAPI app: mount it, extend it, serve it with any ASGI server.

    Its lifespan starts and closes the gateway (GatewayError or AccountsError when it cannot
    start). With an admin key in the settings it has the admin routes too. `provider` and `clock`
    are handed to `Gateway`, which is `app.state.gateway`.
    """
    return build_app(Gateway(settings, provider=provider, clock=clock), "all")


class GatewayApp(FastAPI):
    """A FastAPI app that calls hot routes directly while nobody has put middleware around them."""

    shortcut: HotShortcut | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.shortcut is not None and len(self.user_middleware) == 1:
            await self.shortcut(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def straight_to(self) -> Gateway | None:
        """The gateway, if its server may take governed requests straight to it: nothing of the
        app is on their way."""
        if self.shortcut is None or len(self.user_middleware) != 1:
            return None
        gateway: Gateway = self.state.gateway
        return gateway


def build_app(gateway: Gateway, face: Face) -> GatewayApp:
    """An app over a gateway; `face` says which routes it shows."""
    app = GatewayApp(
        title="Sentinel",
        summary="An LLM gateway",
        version="1",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the client's Host, and move a POST
    )
    app.state.gateway = gateway
    if face != "admin":
        hot = hot_routes(gateway)
        app.router.routes[:0] = hot
        app.add_middleware(HotShortcut, routes=hot)
        app.shortcut = HotShortcut(super(GatewayApp, app).__call__, hot)
        app.include_router(query.router)
    app.include_router(health.router)
    if face != "public" and gateway.settings.admin.key is not None:
        app.include_router(admin.router)
    add_error_handlers(app)
    with_hot_routes(app)
    return app
