"""Providers written in Python: a target of kind `python`, under the same deadlines and credit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.gateway import Gateway
from sentinel.providers import ProviderCall, ProviderReply
from sentinel.testing import ManualClock
from support.library import ask, python_settings, stream
from support.records import read_records
from support.serving import eventually_async

Answering = Callable[[ProviderCall], Awaitable[ProviderReply]]
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


class Scripted:
    """A provider that answers as a function says and keeps the calls."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.calls: list[ProviderCall] = []
        self.cancelled = 0

    async def send(self, call: ProviderCall) -> ProviderReply:
        self.calls.append(call)
        try:
            return await self._answering(call)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def completion(text: str = "hello") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE}


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


async def plain(call: ProviderCall) -> ProviderReply:
    return ProviderReply.json(completion())


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def streamed(call: ProviderCall) -> ProviderReply:
    usage = json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()
    return ProviderReply.events(
        pieces(event("hel"), event("lo"), b"data: " + usage + b"\n\n", b"data: [DONE]\n\n")
    )


async def silent(call: ProviderCall) -> ProviderReply:
    await asyncio.Event().wait()
    raise AssertionError("never")


def record_of(gateway: Gateway) -> dict[str, Any]:
    assert gateway.engine.flush(5.0)
    [record] = read_records(gateway.settings.usage_database)
    return record


async def test_a1_an_injected_provider_answers_like_an_upstream(tmp_path: Path) -> None:
    provider = Scripted(plain)
    async with Gateway(python_settings(tmp_path), provider=provider) as gateway:
        reply = await ask(gateway, text="good morning", model="mine-1")
        assert (reply.status, reply.json) == (200, completion())
        assert reply.headers["x-sentinel-target"] == "mine/mine-1"
        [call] = provider.calls
        assert (call.upstream, call.endpoint, call.model) == ("mine", "chat/completions", "mine-1")
        assert call.parsed()["messages"][0]["content"] == "good morning"
        assert call.request_id == reply.headers["x-request-id"]
        record = record_of(gateway)
        assert (record["outcome"], record["prompt_tokens"]) == ("done", 3)
        assert record["completion_tokens"] == 5


async def test_a1_an_injected_provider_streams(tmp_path: Path) -> None:
    provider = Scripted(streamed)
    async with Gateway(python_settings(tmp_path), provider=provider) as gateway:
        got = b"".join([piece async for piece in stream(gateway)])
        assert got == event("hel") + event("lo") + b"data: [DONE]\n\n"
        assert provider.calls[0].stream
        record = record_of(gateway)
        assert (record["outcome"], record["completion_tokens"]) == ("done", 5)


async def test_a_provider_that_raises_is_a_502_that_tells_only_the_kind(tmp_path: Path) -> None:
    async def broken(call: ProviderCall) -> ProviderReply:
        raise RuntimeError("the secret is 42")

    async with Gateway(python_settings(tmp_path), provider=Scripted(broken)) as gateway:
        reply = await ask(gateway)
        assert (reply.status, reply.code) == (502, "upstream_error")
        assert "RuntimeError" in reply.json["error"]["message"]
        assert b"secret" not in reply.body
        assert record_of(gateway)["outcome"] == "upstream_error"


async def test_a_provider_that_fails_in_mid_stream_ends_it_with_an_error_event(
    tmp_path: Path,
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield event("hel")
        raise ValueError

    async def answering(call: ProviderCall) -> ProviderReply:
        return ProviderReply.events(failing())

    async with Gateway(python_settings(tmp_path), provider=Scripted(answering)) as gateway:
        got = b"".join([piece async for piece in stream(gateway)])
        assert got.startswith(event("hel"))
        assert json.loads(got.removeprefix(event("hel"))[6:])["error"]["code"] == "upstream_error"
        record = record_of(gateway)
        assert (record["outcome"], record["completion_tokens"]) == ("upstream_cut", 1)


@pytest.mark.parametrize(
    "reply",
    [
        ProviderReply(b"{}", status=99),
        ProviderReply(b"not json"),
        ProviderReply(b"{}", headers={"content-type": "text/html"}),
        ProviderReply.json({"error": {"message": "no"}}),
        ProviderReply("text"),  # type: ignore[arg-type]
        None,
    ],
)
async def test_a_reply_that_is_none_is_a_502(tmp_path: Path, reply: Any) -> None:
    async def answering(call: ProviderCall) -> ProviderReply:
        answer: ProviderReply = reply
        return answer

    async with Gateway(python_settings(tmp_path), provider=Scripted(answering)) as gateway:
        told = await ask(gateway)
        assert (told.status, told.code) == (502, "upstream_error")


async def test_an_error_status_of_a_provider_passes(tmp_path: Path) -> None:
    async def answering(call: ProviderCall) -> ProviderReply:
        return ProviderReply.json({"error": {"message": "slow down", "code": "mine"}}, 429)

    async with Gateway(python_settings(tmp_path), provider=Scripted(answering)) as gateway:
        told = await ask(gateway)
        assert (told.status, told.code) == (429, "mine")


async def test_without_a_provider_such_a_route_says_so(tmp_path: Path) -> None:
    async with Gateway(python_settings(tmp_path)) as gateway:
        told = await ask(gateway)
        assert (told.status, told.code) == (501, "not_implemented")


async def test_a7_a_silent_provider_is_given_up_at_the_first_byte_deadline(tmp_path: Path) -> None:
    provider, clock = Scripted(silent), ManualClock()
    settings = python_settings(tmp_path, first_byte="60s")
    async with Gateway(settings, provider=provider, clock=clock) as gateway:
        asked = asyncio.create_task(ask(gateway))
        await eventually_async(lambda: len(provider.calls) == 1, "the provider is asked")
        clock.advance(59.9)
        await asyncio.sleep(0)
        assert not asked.done()
        clock.advance(0.2)
        reply = await asyncio.wait_for(asked, 5)
        assert (reply.status, reply.code) == (504, "upstream_timeout")
        await eventually_async(lambda: provider.cancelled == 1, "its task is cancelled")
        assert record_of(gateway)["latency_us"] >= 60_000_000


async def test_a7_a_provider_that_stops_in_mid_stream_meets_the_idle_deadline(
    tmp_path: Path,
) -> None:
    closed: list[bool] = []

    async def stopping() -> AsyncIterator[bytes]:
        try:
            yield event("hel")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def answering(call: ProviderCall) -> ProviderReply:
        return ProviderReply.events(stopping())

    clock = ManualClock()
    settings = python_settings(tmp_path, idle="30s")
    async with Gateway(settings, provider=Scripted(answering), clock=clock) as gateway:
        answer = stream(gateway)
        assert await anext(answer) == event("hel")
        clock.advance(30.1)
        last = await asyncio.wait_for(anext(answer), 5)
        assert json.loads(last[6:])["error"]["code"] == "upstream_timeout"
        await eventually_async(lambda: closed == [True], "its generator is closed")


async def test_a_client_that_leaves_cancels_the_providers_task(tmp_path: Path) -> None:
    provider = Scripted(silent)
    async with Gateway(python_settings(tmp_path), provider=provider) as gateway:
        asked = asyncio.create_task(ask(gateway))
        await eventually_async(lambda: len(provider.calls) == 1, "the provider is asked")
        asked.cancel()
        await eventually_async(lambda: provider.cancelled == 1, "its task is cancelled")
        await eventually_async(lambda: gateway.engine.in_flight == 0, "nothing is in flight")
        assert record_of(gateway)["outcome"] == "client_gone"


PIECE = 16 * 1024
CREDIT = 256 * 1024
PORT_CREDIT = 16 * 1024


async def test_a_fast_provider_is_paused_while_the_client_does_not_read(tmp_path: Path) -> None:
    made = 0
    closed: list[bool] = []

    async def flooding() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += PIECE
                yield event("x" * (PIECE - 70))
        finally:
            closed.append(True)

    async def answering(call: ProviderCall) -> ProviderReply:
        return ProviderReply.events(flooding())

    async with Gateway(python_settings(tmp_path), provider=Scripted(answering)) as gateway:
        answer = stream(gateway)
        first = await anext(answer)  # nothing is taken until the next piece is asked for
        waiting = await settled(lambda: made)
        assert waiting <= CREDIT + PIECE + PORT_CREDIT + PIECE  # before and behind the engine
        taken = len(first)
        while taken <= 2 * waiting:  # more than there was: it goes on where it stopped
            taken += len(await asyncio.wait_for(anext(answer), 5))
        await answer.aclose()  # type: ignore[attr-defined]
        await eventually_async(lambda: closed == [True], "its generator is closed")


async def settled(value: Callable[[], int]) -> int:
    """The value once it has not changed for a while of the loop's turns."""
    last, still = -1, 0
    while still < 20:
        await asyncio.sleep(0.005)
        still = still + 1 if value() == last else 0
        last = value()
    return last
