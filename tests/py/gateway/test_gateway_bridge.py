"""The bridge: one per running loop, cancelled with its task, closed with its gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import GatewayError
from sentinel.gateway import Answer, Gateway
from sentinel.testing import ManualClock, ScriptedUpstream
from support.library import Reply, ask, begin, stream
from support.records import read_records
from support.serving import chat_body, eventually_async, gateway_settings


@pytest.fixture
def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> Gateway:
    settings = gateway_settings(upstream.base_url, tmp_path, server__drain_timeout="100ms")
    return Gateway(settings)


async def test_a_gateway_answers_without_any_door(gateway: Gateway) -> None:
    async with gateway:
        reply = await ask(gateway, text="good morning")
        assert reply.json["choices"][0]["message"]["content"] == "You said: good morning"
        assert gateway.engine.in_flight == 0


async def test_two_loops_in_two_threads_share_a_gateway_each_by_its_own_bridge(
    gateway: Gateway,
) -> None:
    bridges: list[object] = []

    async def some(number: int) -> list[Reply]:
        bridges.append(gateway.bridge())
        return await asyncio.gather(*(ask(gateway, text=f"{number} {i}") for i in range(20)))

    async with gateway:
        other = asyncio.create_task(asyncio.to_thread(asyncio.run, some(1)))
        replies = [await some(0), await other]
        assert len(set(map(id, bridges))) == 2
        for number, got in enumerate(replies):
            texts = [reply.json["choices"][0]["message"]["content"] for reply in got]
            assert texts == [f"You said: {number} {i}" for i in range(20)]


async def test_a_gateway_closes_while_another_loop_still_uses_it(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    upstream.script("fail=stall_before_head")
    ended: list[Reply] = []

    async def wait() -> None:
        ended.append(await ask(gateway))
        await asyncio.sleep(0.01)

    await gateway.start()
    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    await eventually_async(lambda: upstream.in_flight == 1, "the call is under way")
    await gateway.close()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert [(reply.status, reply.code) for reply in ended] == [(503, "server_shutting_down")]


async def test_a_loop_after_another_in_one_thread_gets_a_bridge_of_its_own(
    gateway: Gateway,
) -> None:
    async with gateway:

        def twice() -> list[int]:
            return [asyncio.run(ask(gateway)).status for _ in range(2)]

        assert await asyncio.to_thread(twice) == [200, 200]


@pytest.mark.parametrize("streaming", [False, True])
async def test_cancelling_a_task_cancels_the_upstream_call(
    gateway: Gateway, upstream: ScriptedUpstream, streaming: bool
) -> None:
    upstream.script("fail=stall_before_head")
    async with gateway:
        asked = asyncio.create_task(ask(gateway, stream=streaming))
        await eventually_async(lambda: upstream.in_flight == 1, "the call is under way")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await eventually_async(lambda: upstream.aborted == 1, "the call is cancelled")
        await eventually_async(lambda: gateway.engine.in_flight == 0, "nothing is in flight")
        assert gateway.engine.flush(5.0)
        [record] = read_records(gateway.settings.usage_database)
        assert (record["outcome"], record["status"]) == ("client_gone", 499)


async def test_a_stale_id_is_ignored(gateway: Gateway) -> None:
    async with gateway:
        bridge, answer = begin(gateway, chat_body())
        assert isinstance(answer, Answer)
        await answer.next()
        for id in (answer.id, 0, 2**63):
            bridge.core.cancel(id)
            bridge.core.taken(id, 10)
        assert (await ask(gateway)).status == 200


async def test_start_and_close_may_be_repeated(gateway: Gateway) -> None:
    await gateway.close()
    await gateway.start()
    await gateway.start()
    assert (await ask(gateway)).status == 200
    bridge = gateway.bridge()
    await gateway.close()
    await gateway.close()
    bridge.close()
    with pytest.raises(GatewayError, match="not been started"):
        gateway.bridge()
    await gateway.start()
    assert (await ask(gateway)).status == 200
    await gateway.close()


async def test_closing_ends_what_outlasts_the_drain(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.script("fail=stall_between_events at=1 chunks=3")
    settings = gateway_settings(upstream.base_url, tmp_path, server__drain_timeout="0s")
    async with Gateway(settings) as gateway:
        answer = stream(gateway)
        await anext(answer)
        closing = asyncio.create_task(gateway.close())
        rest = b"".join([piece async for piece in answer])
        await closing
    assert b"server_shutting_down" in rest
    [record] = read_records(settings.usage_database)
    assert record["outcome"] == "shutdown"


def test_without_a_running_asyncio_loop_it_says_what_it_needs(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gateway = Gateway(gateway_settings(upstream.base_url, tmp_path))
    with pytest.raises(GatewayError, match="asyncio"):
        gateway.bridge()


async def test_a_second_engine_on_a_data_directory_is_refused_with_the_way_out(
    gateway: Gateway,
) -> None:
    async with gateway:
        second = Gateway(gateway.settings)
        with pytest.raises(GatewayError, match=r"another Sentinel engine .* own data_dir"):
            await second.start()
        assert (await ask(gateway)).status == 200
    async with second:
        assert (await ask(second)).status == 200


async def test_a7_every_deadline_goes_by_the_clock_that_was_given(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.script("fail=stall_after_head")
    clock = ManualClock()
    settings = gateway_settings(upstream.base_url, tmp_path)
    async with Gateway(settings, clock=clock) as gateway:
        asked = asyncio.create_task(ask(gateway))
        await eventually_async(lambda: bool(upstream.calls) and upstream.calls[0].status == 200, "")
        await asyncio.sleep(0)
        while not asked.done():
            clock.advance(1)
            await asyncio.sleep(0.001)
        reply = await asked
    assert reply.status in (502, 504)
    [record] = read_records(settings.usage_database)
    assert 30_000_000 <= record["latency_us"] <= 62_000_000


FORK = """
import asyncio, os, sys
from pathlib import Path
import httpx
from sentinel.api import create_app
from support.serving import APP_KEY, chat_body, gateway_settings

async def post(app):
    transport = httpx.ASGITransport(app)
    headers = {"authorization": "Bearer " + APP_KEY}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://x", headers=headers, verify=False
    ) as client:
        reply = await client.post("/v1/chat/completions", json=chat_body())
        ready = await client.get("/readyz")
    return reply.status_code, reply.json().get("error", {}).get("code"), ready.json()["reasons"]

app = create_app(gateway_settings(sys.argv[1], Path(sys.argv[2])))
loop = asyncio.new_event_loop()
lifespan = app.router.lifespan_context(app)
loop.run_until_complete(lifespan.__aenter__())
print("parent", *loop.run_until_complete(post(app)), flush=True)
child = os.fork()
if child == 0:
    print("child", *asyncio.run(post(app)), flush=True)
    app.state.gateway.engine.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("parent", *loop.run_until_complete(post(app)), flush=True)
loop.run_until_complete(lifespan.__aexit__(None, None, None))
"""


def test_after_a_fork_the_child_answers_503_and_the_parent_goes_on(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    here = str(Path(__file__).resolve().parents[1])
    done = run_python(FORK, upstream.base_url, str(tmp_path / "data"), search=here)
    assert done.stdout.splitlines() == [
        "parent 200 None []",
        "child 503 not_started ['not_started']",
        "parent 200 None []",
    ]


FORGOTTEN = """
import asyncio, sys
from pathlib import Path
from sentinel.gateway import Gateway
from support.serving import gateway_settings
gateway = Gateway(gateway_settings(sys.argv[1], Path(sys.argv[2])))
asyncio.run(gateway.start())
print("left open")
"""


def test_a_gateway_that_was_never_closed_does_not_hold_the_interpreter(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    here = str(Path(__file__).resolve().parents[1])
    done = run_python(FORGOTTEN, upstream.base_url, str(tmp_path / "data"), search=here)
    assert done.stdout == "left open\n"


def run_python(script: str, *arguments: str, search: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter; it has to end well."""
    path = f"import sys; sys.path.insert(0, {search!r})\n"
    command: list[Any] = [sys.executable, "-c", path + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done
