"""`mount`: the gateway inside a host app, its lifespan composed with the host's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from sentinel.api.app import create_app
from sentinel.config import Settings
from sentinel.gateway import Gateway
from sentinel.providers import Provider

__all__ = ["mount"]


def mount(
    app: FastAPI, path: str, settings: Settings, *, provider: Provider | None = None
) -> Gateway:
    """Serve the gateway below `path` (such as `/llm`) of `app`; it lives as long as the host does.

    A mounted app's own lifespan is not run by Starlette, so the host's is wrapped: ours starts
    first and ends last.
    """
    inner = create_app(settings, provider=provider)
    gateway: Gateway = inner.state.gateway
    host_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def composed(host: FastAPI) -> AsyncIterator[Any]:
        async with gateway, host_lifespan(host) as state:
            yield state

    app.router.lifespan_context = composed
    app.mount(path, inner)
    return gateway
