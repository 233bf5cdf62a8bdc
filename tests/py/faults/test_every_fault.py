"""R7: whatever an upstream does, its client gets a typed end, and the books tell the truth."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faults.conftest import Watched
from faults.endings import CHUNKS, PLAIN, STREAMED, STRIKE_AT, Ending
from sentinel.testing import ScriptedUpstream
from support.raw_http import events
from support.serving import UPSTREAM_KEY, chat_body

# The head's bytes come so slowly that no deadline can be met; a body never gets to its first event.
_SLOW = {"trickle_head": "trickle_ms=20", "trickle_body": "trickle_ms=20", "endless": "gap_ms=5"}


def ask(watched: Watched, fault: str, *, stream: bool) -> tuple[int, bytes]:
    """One call whose prompt makes the upstream fail; status and body."""
    more = _SLOW.get(fault, "")
    script = f"say this [[fail={fault} at={STRIKE_AT} chunks={CHUNKS} {more}]]"
    with watched.server.http() as client:
        answer = client.post("/v1/chat/completions", json=chat_body(script, stream=stream))
        assert "x-debug-credential" not in answer.headers
        return answer.status_code, answer.content


def error_of(value: Any) -> Any:
    """The code of an OpenAI-shaped error; AssertionError if it is not one."""
    assert set(value) == {"error"}
    assert set(value["error"]) == {"message", "type", "param", "code"}
    assert value["error"]["message"]
    return value["error"]["code"]


def deltas(stream: list[Any]) -> int:
    """How many pieces of the answer a stream carried."""
    choices = [
        choice for event in stream if event != "[DONE]" for choice in event.get("choices", ())
    ]
    return sum(bool(choice["delta"].get("content")) for choice in choices)


def check_books(record: dict[str, Any], ending: Ending, relayed: int) -> None:
    """The one record says how it ended and what passed."""
    assert (record["outcome"], record["status"]) == (ending.outcome, ending.status)
    if ending.bill == "usage":
        billed = (record["prompt_tokens"], record["completion_tokens"], record["estimated"])
        assert billed == (2, CHUNKS, 0)
    elif ending.bill == "nothing":
        assert (record["prompt_tokens"], record["completion_tokens"]) == (0, 0)
        assert record["cost_micro_usd"] == 0
    else:
        assert record["prompt_tokens"] > 0
        assert (record["completion_tokens"], record["estimated"]) == (relayed, 1)


@pytest.mark.parametrize("fault", PLAIN)
def test_r7_a_plain_call_ends_typed_and_recorded(
    request: pytest.FixtureRequest, fault: str
) -> None:
    ending = PLAIN[fault]
    watched = request.getfixturevalue("impatient" if ending.impatient else "patient")
    status, body = ask(watched, fault, stream=False)
    assert status == ending.status
    answer = json.loads(body)
    if ending.code is None:
        assert answer["choices"][0]["finish_reason"] == "stop"
    else:
        assert error_of(answer) == ending.code
    assert UPSTREAM_KEY.encode() not in body
    [record] = watched.new_records()
    check_books(record, ending, 0)
    assert watched.serves()


@pytest.mark.parametrize("fault", STREAMED)
def test_r7_a_stream_ends_typed_and_recorded(request: pytest.FixtureRequest, fault: str) -> None:
    ending = STREAMED[fault]
    watched = request.getfixturevalue("impatient" if ending.impatient else "patient")
    status, body = ask(watched, fault, stream=True)
    assert status == ending.status
    assert UPSTREAM_KEY.encode() not in body
    passed = 0
    if status == 200:
        stream = events(body)
        passed = deltas(stream)
        check_end(stream, ending)
    else:
        assert error_of(json.loads(body)) == ending.code
    assert ending.relayed in (passed, -1)
    [record] = watched.new_records()
    check_books(record, ending, passed)
    assert watched.serves()


def check_end(stream: list[Any], ending: Ending) -> None:
    """A good stream ends with its terminal event, a failed one with one error event."""
    errors = [event for event in stream if event != "[DONE]" and "error" in event]
    if ending.outcome == "done":
        assert (stream[-1], errors) == ("[DONE]", [])
        return
    assert "[DONE]" not in stream
    assert errors == [stream[-1]]
    assert error_of(stream[-1]) == ending.code


@pytest.mark.parametrize("fault", ["endless", "giant_line"])
@pytest.mark.parametrize("stream", [False, True])
def test_r6_an_upstream_without_end_is_hung_up_on(
    patient: Watched, impatient: Watched, upstream: ScriptedUpstream, fault: str, stream: bool
) -> None:
    watched = impatient if fault == "endless" and stream else patient
    ask(watched, fault, stream=stream)
    upstream.wait_until(lambda up: up.aborted == 1 and up.in_flight == 0)
