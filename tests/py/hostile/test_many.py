"""Two thousand requests of every kind leave nothing behind."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx

from hostile.conftest import Strict
from support.serving import APP_KEY, chat_body, eventually

REQUESTS = 2_000
AT_ONCE = 16

KINDS: list[dict[str, Any]] = [
    chat_body("hello"),
    chat_body("hello [[chunks=5]]", stream=True),
    chat_body("hello", model="unknown"),
    chat_body("hello [[status=500]]"),
    chat_body("hello [[fail=cut_mid_event chunks=4]]", stream=True),
    chat_body("hello [[fail=html]]"),
    chat_body("hello [[fail=stall_between_events chunks=4]]", stream=True),  # and the client leaves
    chat_body("hello [[fail=stall_before_head]]"),  # and the client leaves
]
LEAVES = (6, 7)


async def one(client: httpx.AsyncClient, number: int) -> None:
    kind = number % len(KINDS)
    # Long enough that the request has been forwarded; the answer of these two never comes.
    timeout = httpx.Timeout(10, read=0.03) if kind in LEAVES else httpx.Timeout(10)
    try:
        await client.post("/v1/chat/completions", json=KINDS[kind], timeout=timeout)
    except httpx.ReadTimeout:
        assert kind in LEAVES


async def many(origin: str, requests: int) -> None:
    """That many requests, so many at once."""
    headers = {"authorization": f"Bearer {APP_KEY}"}
    numbers = iter(range(requests))
    async with httpx.AsyncClient(base_url=origin, headers=headers, verify=False) as client:

        async def worker() -> None:
            for number in numbers:
                await one(client, number)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_r11_two_thousand_requests_leave_nothing_behind(strict: Strict) -> None:
    server = strict.server
    asyncio.run(many(server.origin, AT_ONCE * len(KINDS)))  # connections to the upstream are kept
    server.idle()
    opened, recorded = descriptors(), len(server.records())
    asyncio.run(many(server.origin, REQUESTS))
    server.idle()
    assert len(server.records()) == recorded + REQUESTS
    bridges = list(server.gateway._bridges.values())
    assert [len(bridge._listeners) for bridge in bridges] == [0] * len(bridges)
    assert "sentinel_in_flight 0" in server.metrics()
    eventually(lambda: descriptors() <= opened + AT_ONCE, "descriptors are given back")
    eventually(lambda: strict.upstream.in_flight == 0, "the upstream serves nobody")
