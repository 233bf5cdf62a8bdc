"""R7 on the endpoints whose errors have another shape: one fault of each kind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from faults.conftest import Watched
from support.raw_http import events

STRIKE_AT = 3


@dataclass(frozen=True)
class Route:
    path: str
    body: dict[str, Any]
    text_at: tuple[str, ...]
    """Where the prompt stands."""
    streams: bool = True

    def __str__(self) -> str:
        return self.path

    def asking(self, text: str, stream: bool) -> dict[str, Any]:
        body = json.loads(json.dumps(self.body))
        place = body
        for member in self.text_at[:-1]:
            place = place[member] if isinstance(place, dict) else place[int(member)]
        place[self.text_at[-1]] = text
        return {**body, "stream": True} if stream else body


COMPLETIONS = Route("/v1/completions", {"model": "gpt-4o-mini"}, ("prompt",))
EMBEDDINGS = Route("/v1/embeddings", {"model": "text-embedding-3-small"}, ("input",), False)
RESPONSES = Route("/v1/responses", {"model": "gpt-4o-mini"}, ("input",))
MESSAGES = Route(
    "/v1/messages",
    {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": [{"role": "user"}]},
    ("messages", "0", "content"),
)
ALL = [COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES]
STREAMING = [route for route in ALL if route.streams]


def ask(watched: Watched, route: Route, fault: str, *, stream: bool) -> tuple[int, bytes]:
    script = f"say this [[fail={fault} at={STRIKE_AT} chunks=6]]"
    with watched.server.http() as client:
        answer = client.post(route.path, json=route.asking(script, stream))
        return answer.status_code, answer.content


def error_code(route: Route, value: dict[str, Any], *, event: bool) -> Any:
    """The code of an error in the route's own shape; AssertionError if it has another."""
    if route is MESSAGES:
        assert value["type"] == "error"
        assert {"type", "message", "code"} == set(value["error"])
        return value["error"]["code"]
    if route is RESPONSES and event:
        assert set(value) == {"type", "code", "message", "param"}
        assert value["type"] == "error"
        return value["code"]
    assert set(value["error"]) == {"message", "type", "param", "code"}
    return value["error"]["code"]


@pytest.mark.parametrize("route", ALL, ids=str)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("cut_before_head", "upstream_error"),
        ("cut_mid_body", "upstream_cut"),
        ("html", "upstream_error"),
        ("invalid_json", "upstream_error"),
        ("error_object", "upstream_error"),
        ("gzip", "upstream_error"),
    ],
)
def test_r7_a_plain_call_fails_in_its_protocols_shape(
    patient: Watched, route: Route, fault: str, outcome: str
) -> None:
    status, body = ask(patient, route, fault, stream=False)
    assert (status, error_code(route, json.loads(body), event=False)) == (502, "upstream_error")
    [record] = patient.new_records()
    assert (record["outcome"], record["status"]) == (outcome, 502)
    assert record["endpoint"] == route.path


@pytest.mark.parametrize("route", STREAMING, ids=str)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("cut_between_events", "upstream_cut"),
        ("cut_mid_event", "upstream_cut"),
        ("no_terminal", "upstream_cut"),
        ("invalid_json", "upstream_error"),
        ("bad_utf8", "upstream_error"),
    ],
)
def test_r7_a_stream_fails_in_its_protocols_shape(
    patient: Watched, route: Route, fault: str, outcome: str
) -> None:
    status, body = ask(patient, route, fault, stream=True)
    stream = events(body)
    assert (status, error_code(route, stream[-1], event=True)) == (200, "upstream_error")
    kinds = [event if isinstance(event, str) else event.get("type") for event in stream]
    assert not {"[DONE]", "response.completed", "message_stop"} & set(kinds)
    [record] = patient.new_records()
    assert (record["outcome"], record["completion_tokens"]) == (outcome, STRIKE_AT)
    assert record["estimated"] == 1


@pytest.mark.parametrize("route", STREAMING, ids=str)
def test_r7_a_stream_that_falls_silent_times_out_in_its_protocols_shape(
    impatient: Watched, route: Route
) -> None:
    _, body = ask(impatient, route, "stall_between_events", stream=True)
    assert error_code(route, events(body)[-1], event=True) == "upstream_timeout"
    [record] = impatient.new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("upstream_cut", STRIKE_AT)


@pytest.mark.parametrize("route", STREAMING, ids=str)
def test_r7_an_error_event_of_the_upstream_passes_as_the_last_one(
    patient: Watched, route: Route
) -> None:
    _, body = ask(patient, route, "error_event", stream=True)
    last = events(body)[-1]
    assert "failed while it worked" in json.dumps(last)
    [record] = patient.new_records()
    assert (record["outcome"], record["completion_tokens"]) == ("upstream_error", STRIKE_AT)
