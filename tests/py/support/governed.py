"""Configuration documents for gateways with limits, caches and several upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from sentinel.testing import ScriptedUpstream
from support.serving import ADMIN_KEY, APP_KEY, PRICES, UPSTREAM_KEY, HttpAddress

__all__ = [
    "document",
    "from_address",
    "in_flight",
    "key",
    "key_text",
    "target",
    "until_held",
    "until_metric",
    "upstream_at",
]


def upstream_at(base_url: str, **more: Any) -> dict[str, Any]:
    return {"base_url": base_url, "credentials": [{"key": UPSTREAM_KEY}], **more}


def target(upstream: str = "upstream", **more: Any) -> dict[str, Any]:
    return {"upstream": upstream, **more}


def key_text(name: str) -> str:
    """The credential of the key of that name."""
    return f"sk-key-of-the-tests-{name}"


def key(name: str, account: str = "default", **more: Any) -> dict[str, Any]:
    """An operator's key for an account."""
    return {"id": name, "key": key_text(name), "account": account, **more}


def document(base_url: str, **sections: Any) -> dict[str, Any]:
    """One upstream; `cached` keeps answers, every other model does not. Sections replace these."""
    given: Mapping[str, Any] = {
        "version": 1,
        "admin": {"key": ADMIN_KEY},
        "upstreams": {"upstream": upstream_at(base_url)},
        "routes": {
            "cached": {"targets": [target()], "cache": {}},
            "*": {"targets": [target()]},
        },
        "keys": [{"id": "operator", "key": APP_KEY}],
        "usage": {"prices": PRICES},
        "log": {"level": "error"},
    }
    return {**given, **sections}


def from_address(gateway: HttpAddress, address: str, key: str = APP_KEY) -> httpx.Client:
    """A client that calls from an address of its own; all of 127.0.0.0/8 are this machine."""
    transport = httpx.HTTPTransport(local_address=address, verify=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=gateway.origin, headers=headers, transport=transport, timeout=10)


async def until_metric(gateway: HttpAddress, line: str, seconds: float = 30.0) -> None:
    """Wait until a line of the gateway's metrics is as given; TimeoutError when it is not."""
    async with asyncio.timeout(seconds), httpx.AsyncClient(verify=False) as client:
        while f"\n{line}\n" not in (await client.get(f"{gateway.origin}/metrics")).text:
            await asyncio.sleep(0.002)


async def until_held(upstream: ScriptedUpstream, count: int) -> None:
    """Wait until so many calls are held."""
    await upstream.until(lambda up: up.held == count)


async def in_flight(gateway: HttpAddress, count: int) -> None:
    """Wait until so many requests are in the gateway."""
    await until_metric(gateway, f"sentinel_in_flight {count}")
