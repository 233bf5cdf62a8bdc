"""The scripted upstream waits for the test where it is told to (`hold`, `novelty`)."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from sentinel.testing import ScriptedUpstream
from support.crowd import ask_all, request_bytes
from support.governed import until_held
from support.raw_http import events
from support.serving import chat_body


@pytest.mark.parametrize(("stream", "sent"), [(False, 0), (True, 3)])
async def test_a_held_reply_goes_on_when_it_is_released_and_is_whole(
    upstream: ScriptedUpstream, stream: bool, sent: int
) -> None:
    upstream.script("hold=3 chunks=6", "hold=3 chunks=6", "chunks=6")
    request = request_bytes(chat_body(stream=stream))
    both = asyncio.create_task(ask_all(upstream.origin, [request] * 2))
    await until_held(upstream, 2)
    assert [call.chunks_sent for call in upstream.calls] == [sent] * 2
    upstream.release()
    held = await both
    assert upstream.held == 0
    [free] = await ask_all(upstream.origin, [request])
    assert {reply.body for reply in held} == {free.body}


async def test_a_release_is_for_those_who_are_held_and_a_client_that_leaves_is_held_no_more(
    upstream: ScriptedUpstream,
) -> None:
    upstream.release()
    async with httpx.AsyncClient(base_url=upstream.base_url, verify=False) as client:
        body = chat_body("[[hold=0]]")
        call = asyncio.create_task(client.post("/chat/completions", json=body))
        await until_held(upstream, 1)
        call.cancel()
        await until_held(upstream, 0)
    await upstream.until(lambda up: up.aborted == 1)


async def test_novelty_is_in_every_delta_and_in_the_message(upstream: ScriptedUpstream) -> None:
    bodies = [chat_body("[[novelty chunks=3]]", stream=stream) for stream in (False, True)]
    replies = await ask_all(upstream.origin, [request_bytes(body) for body in bodies])
    message = json.loads(replies[0].body)["choices"][0]["message"]
    deltas = [event["choices"][0]["delta"] for event in events(replies[1].body)[:-1]]
    said = "".join(delta.get("member_of_next_year", "") for delta in deltas)
    assert message["member_of_next_year"] == message["content"] == said
