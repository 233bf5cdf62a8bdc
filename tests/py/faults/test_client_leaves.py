"""R8: a client that leaves, however it does, ends its upstream call; what passed is billed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from faults.conftest import Watched
from sentinel.testing import ScriptedUpstream
from support.raw_http import Leaving, RawClient, post_bytes
from support.serving import chat_body

CHUNKS = 9


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("phase", ["before_head", "mid_head", "after_head"])
def test_r8_leaving_before_the_reply_begins_cancels_the_call(
    patient: Watched, upstream: ScriptedUpstream, phase: str, stream: bool, how: Leaving
) -> None:
    client = RawClient(patient.server.origin)
    client.send(post_bytes(chat_body(f"hello [[fail=stall_{phase}]]", stream=stream)))
    upstream.wait_until(lambda up: up.in_flight == 1)
    client.leave(how)
    upstream.wait_until(lambda up: up.in_flight == 0)
    assert [call.aborted for call in upstream.calls] == [True]
    [record] = patient.new_records()
    assert (record["outcome"], record["status"]) == ("client_gone", 499)
    assert (record["completion_tokens"], record["estimated"]) == (0, 1)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["mid_body", "before_done"])
def test_r8_leaving_a_half_sent_plain_reply_cancels_the_call(
    patient: Watched, upstream: ScriptedUpstream, phase: str, how: Leaving
) -> None:
    client = RawClient(patient.server.origin)
    client.send(post_bytes(chat_body(f"hello [[fail=stall_{phase}]]")))
    upstream.wait_until(lambda up: up.in_flight == 1)
    client.leave(how)
    upstream.wait_until(lambda up: up.aborted == 1)
    [record] = patient.new_records()
    assert (record["outcome"], record["status"]) == ("client_gone", 499)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    ("script", "passed"),
    [
        (f"fail=stall_between_events at=1 chunks={CHUNKS}", 1),
        (f"fail=stall_mid_event at=5 chunks={CHUNKS}", 5),
        (f"fail=stall_before_done chunks={CHUNKS}", CHUNKS),
        ("fail=stall_between_events at=300 chunks=301", 300),
    ],
    ids=["after-the-first-event", "mid-event", "before-the-terminal-event", "after-300-events"],
)
def test_r8_leaving_a_stream_cancels_the_call_and_bills_what_passed(
    patient: Watched, upstream: ScriptedUpstream, script: str, passed: int, how: Leaving
) -> None:
    client = RawClient(patient.server.origin)
    client.send(post_bytes(chat_body(f"hello [[{script}]]", stream=True)))
    client.read_until(b'"delta":{"content":"', passed)
    client.leave(how)
    upstream.wait_until(lambda up: up.aborted == 1)
    assert upstream.calls[0].chunks_sent == passed
    [record] = patient.new_records()
    assert (record["outcome"], record["status"]) == ("client_gone", 200)
    assert record["completion_tokens"] == passed


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_r8_leaving_a_running_stream_bills_within_a_hundredth_of_what_was_sent(
    patient: Watched, upstream: ScriptedUpstream, how: Leaving
) -> None:
    client = RawClient(patient.server.origin)
    client.send(post_bytes(chat_body("[[fail=endless chunks=50 gap_ms=0.5]]", stream=True)))
    client.read_until(b"\n\n")
    while upstream.calls[0].chunks_sent < 1_000:
        client.read_until(b"\n\n")
    client.leave(how)
    upstream.wait_until(lambda up: up.aborted == 1)
    sent = upstream.calls[0].chunks_sent
    [record] = patient.new_records()
    billed = record["completion_tokens"]
    print(f"sent {sent}, billed {billed}")
    assert record["outcome"] == "client_gone"
    assert sent * 0.99 <= billed <= sent


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("arrived", [0, 1, 30])
def test_leaving_before_the_request_is_whole_forwards_and_records_nothing(
    patient: Watched, upstream: ScriptedUpstream, arrived: int, how: Leaving
) -> None:
    request = post_bytes(chat_body("hello"))
    head = request.index(b"\r\n\r\n") + 4
    client = RawClient(patient.server.origin)
    client.send(request[: head + arrived])
    client.leave(how)
    assert patient.serves()
    assert len(upstream.calls) == 1
    assert [record["outcome"] for record in patient.new_records()] == ["done"]


def measured(
    watched: Watched, upstream: ScriptedUpstream, script: str, how: Leaving, clients: int
) -> list[float]:
    """Seconds from each client's hang-up to its upstream call's end, many clients at once."""
    leavers = []
    for number in range(clients):
        client = RawClient(watched.server.origin)
        name = f"leaver-{number}"
        body = chat_body(f"hello [[{script}]]", stream=True)
        client.send(post_bytes(body, headers=(("x-request-id", name),)))
        leavers.append((name, client))
    upstream.wait_until(lambda up: up.in_flight == clients)
    left: dict[str | None, float] = {}
    for name, client in leavers:
        left[name] = time.monotonic()
        client.leave(how)
    upstream.wait_until(lambda up: up.aborted == clients)
    return [(call.ended or 0) - left[call.header("x-request-id")] for call in upstream.calls]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    "script",
    ["fail=stall_before_head", "fail=stall_between_events at=2 chunks=5", "fail=endless gap_ms=5"],
    ids=["waiting", "silent", "running"],
)
def test_r8_twenty_hang_ups_cancel_twenty_upstream_calls(
    patient: Watched,
    upstream: ScriptedUpstream,
    script: str,
    how: Leaving,
    record_property: Callable[[str, object], None],
) -> None:
    delays = measured(patient, upstream, script, how, clients=20)
    longest = max(delays) * 1000
    print(f"20 hang-ups ({how}, {script}): the last upstream call ended after {longest:.1f} ms")
    record_property("longest_ms", round(longest, 1))
    assert upstream.aborted == 20
    assert upstream.in_flight == 0
    assert all(delay >= 0 for delay in delays), "no call ended before its client left"
    records = patient.new_records()
    assert [record["outcome"] for record in records] == ["client_gone"] * 20
    assert patient.serves()


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_r8_leaving_a_query_cancels_its_call(
    patient: Watched, upstream: ScriptedUpstream, how: Leaving
) -> None:
    client = RawClient(patient.server.origin)
    client.send(post_bytes({"prompt": "hello [[fail=stall_before_head]]"}, "/v1/query"))
    upstream.wait_until(lambda up: up.in_flight == 1)
    client.leave(how)
    upstream.wait_until(lambda up: up.aborted == 1)
    [record] = patient.new_records()
    assert (record["outcome"], record["endpoint"]) == ("client_gone", "/v1/query")
