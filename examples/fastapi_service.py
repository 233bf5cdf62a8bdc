"""A service of somebody else, with its own routes, middleware and lifespan, that mounts Sentinel.

Its applications call `/llm/v1` with the official SDKs; its own route asks the same gateway, so that
a question it asks is counted like everybody's.

    OPENAI_API_KEY=... SENTINEL_API_KEY=... uvicorn examples.fastapi_service:app --factory

`SENTINEL_API_KEY` is the key that callers present; `SENTINEL_UPSTREAM` names another provider.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel

import sentinel
from sentinel.config import Settings

__all__ = ["app", "make_app", "settings"]


class Ticket(BaseModel):
    text: str


class Summary(BaseModel):
    summary: str
    cost_micro_usd: int


def settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Everything the gateway is told; a configuration file would do as well."""
    return Settings.for_upstream(
        environ.get("SENTINEL_UPSTREAM", "https://api.openai.com/v1"),
        credential=environ.get("OPENAI_API_KEY"),
        api_key=environ["SENTINEL_API_KEY"],
        overrides={"server.data_dir": environ.get("SENTINEL_DATA_DIR", "./sentinel-data")},
    )


def app() -> FastAPI:
    """What uvicorn's `--factory` calls."""
    return make_app(settings())


def make_app(gateway_settings: Settings) -> FastAPI:
    """The service: its own things first, the gateway mounted below `/llm`."""
    service = FastAPI(title="Tickets", lifespan=lifespan)
    service.middleware("http")(name_the_service)
    service.post("/tickets/summary")(summarise)
    service.state.gateway_key = key_of(gateway_settings)
    service.state.gateway = sentinel.mount(service, "/llm", gateway_settings)
    return service


@asynccontextmanager
async def lifespan(service: FastAPI) -> AsyncIterator[None]:
    """The service's own. The gateway already runs in here, and still does when this ends."""
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as inside:
        service.state.inside = inside
        yield


async def name_the_service(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Middleware of the service; the gateway's routes are under it like all others."""
    response = await call_next(request)
    response.headers["x-service"] = "tickets"
    return response


def key_of(gateway_settings: Settings) -> str:
    """The key under which the service's own calls are counted."""
    key = gateway_settings.keys[0].key
    return key.get_secret_value() if key is not None else ""


def inside_client(request: Request) -> httpx.AsyncClient:
    """A client that calls this very app, without a socket."""
    client: httpx.AsyncClient = request.app.state.inside
    return client


async def summarise(
    ticket: Ticket, request: Request, inside: Annotated[httpx.AsyncClient, Depends(inside_client)]
) -> Summary:
    """One question to the gateway, through its `/v1/query`."""
    reply = await inside.post(
        "/llm/v1/query",
        headers={"authorization": f"Bearer {request.app.state.gateway_key}"},
        json={"prompt": f"Summarise in one sentence: {ticket.text}"},
    )
    reply.raise_for_status()
    answer = reply.json()
    return Summary(summary=answer["answer"], cost_micro_usd=answer["cost_micro_usd"])
