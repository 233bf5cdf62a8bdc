"""Each of the four deadlines ends its phase, by the clock the gateway was given, and by no other.

The clock is manual: nothing here waits for a deadline. It is moved in small steps until the answer
is there; the other deadlines are too far away to be the ones that struck.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sentinel.testing import ManualClock, ScriptedUpstream
from support.raw_http import events
from support.serving import GatewayServer, chat_body, eventually, gateway_settings

FAR = {"connect": "5m", "first_byte": "5m", "idle": "5m", "total": "1h"}
STEP_SECONDS = 1.0
DEADLINE_SECONDS = 20


@dataclass
class Asked:
    """A call that is on its way in a thread of its own."""

    status: int = 0
    body: bytes = b""
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Timed:
    server: GatewayServer
    clock: ManualClock

    @contextmanager
    def asking(self, script: str, *, stream: bool) -> Iterator[Asked]:
        asked = Asked()

        def ask() -> None:
            with self.server.http() as client:
                body = chat_body(f"hello [[{script}]]", stream=stream)
                answer = client.post("/v1/chat/completions", json=body)
                asked.status, asked.body = answer.status_code, answer.content
                asked.done.set()

        thread = threading.Thread(target=ask)
        thread.start()
        yield asked
        thread.join(10)

    def let_time_pass(self, asked: Asked) -> None:
        """Move the clock until the call has ended."""
        latest = self.clock.now_seconds + 3_000
        while not asked.done.wait(0.005):
            assert self.clock.now_seconds < latest, "no deadline has ended the call"
            self.clock.advance(STEP_SECONDS)


Near = Callable[[str], Timed]


@pytest.fixture(scope="module")
def near(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Near]:
    """A gateway on a manual clock with this one deadline near, the others far."""
    made: dict[str, Timed] = {}
    with ExitStack() as stack:

        def gateway(which: str) -> Timed:
            if which not in made:
                clock = ManualClock()
                timeouts = {**FAR, which: f"{DEADLINE_SECONDS}s"}
                settings = gateway_settings(
                    session_upstream.base_url,
                    tmp_path_factory.mktemp(which),
                    upstreams__upstream__timeouts=timeouts,
                )
                server = stack.enter_context(GatewayServer.serving(settings, clock=clock))
                made[which] = Timed(server, clock)
            return made[which]

        yield gateway


def error_in(asked: Asked) -> dict[str, Any]:
    """The error a call ended with: its body, or its last event."""
    body = events(asked.body)[-1] if asked.status == 200 else json.loads(asked.body)
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "which", "says"),
    [
        ("stall_before_head", "first_byte", "first byte"),
        ("stall_mid_head", "first_byte", "first byte"),
        ("trickle_head", "first_byte", "first byte"),
        ("stall_after_head", "idle", "idle"),
        ("stall_mid_body", "idle", "idle"),
        ("stall_between_events", "idle", "idle"),
        ("stall_before_done", "idle", "idle"),
        ("stall_before_head", "total", "total"),
        ("stall_mid_body", "total", "total"),
        ("trickle_body", "total", "total"),
    ],
)
def test_a_silent_or_trickling_upstream_meets_its_deadline(
    upstream: ScriptedUpstream, near: Near, fault: str, which: str, says: str, stream: bool
) -> None:
    gateway = near(which)
    before = len(gateway.server.records())
    with gateway.asking(f"fail={fault} at=1 chunks=2 trickle_ms=5", stream=stream) as asked:
        upstream.wait_until(lambda up: up.in_flight == 1)
        gateway.let_time_pass(asked)
    error = error_in(asked)
    assert error["code"] == "upstream_timeout"
    assert f"{says} deadline" in error["message"]
    [record] = gateway.server.records()[before:]
    assert record["latency_us"] >= DEADLINE_SECONDS * 1_000_000
    assert record["status"] == asked.status
    assert record["outcome"] in ("upstream_cut", "upstream_error")
    upstream.wait_until(lambda up: up.aborted == 1 and up.in_flight == 0)


def test_a_stream_that_keeps_coming_meets_no_idle_deadline(
    upstream: ScriptedUpstream, near: Near
) -> None:
    """Three idle deadlines pass, but a piece comes in every quarter of one."""
    gateway = near("idle")
    with gateway.server.openai() as client:
        seen = 0
        until = gateway.clock.now_seconds + 3 * DEADLINE_SECONDS
        body = chat_body("[[fail=endless chunks=9 gap_ms=3]]")
        for chunk in client.chat.completions.create(**body, stream=True):
            seen += bool(chunk.choices[0].delta.content)
            # Only once all that was sent has been seen: else several steps could fall on one piece.
            if seen == upstream.calls[0].chunks_sent:
                gateway.clock.advance(DEADLINE_SECONDS / 4)
            if gateway.clock.now_seconds > until:
                break
    upstream.wait_until(lambda up: up.aborted == 1)


def test_a_call_that_gets_no_connection_is_refused_by_the_connect_deadline(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    clock = ManualClock()
    settings = gateway_settings(
        upstream.base_url,
        tmp_path,
        upstreams__upstream__timeouts={"connect": f"{DEADLINE_SECONDS}s", "total": "1h"},
        upstreams__upstream__max_connections=1,
    )
    with GatewayServer.serving(settings, clock=clock) as server:
        gateway = Timed(server, clock)
        with gateway.asking("fail=stall_between_events", stream=True) as first:
            upstream.wait_until(lambda up: up.in_flight == 1)
            with gateway.asking("chunks=1", stream=False) as second:
                eventually(lambda: server.gateway.engine.in_flight == 2, "both have begun")
                gateway.let_time_pass(second)
            assert (second.status, error_in(second)["code"]) == (503, "overloaded")
            gateway.let_time_pass(first)
        assert (first.status, error_in(first)["code"]) == (200, "upstream_timeout")
    assert len(upstream.calls) == 1
