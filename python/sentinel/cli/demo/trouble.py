"""Scenes in which something is in the way: a limit, failures, a breaker, a stream that is cut."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from urllib.request import Request, urlopen

from openai import APIError, APIStatusError, OpenAI

from sentinel.cli.demo.answers import QUESTION, read_stream
from sentinel.cli.demo.asking import Demo, Outcome, ask, message_of, unexpected
from sentinel.cli.demo.stage import (
    FAILURES_TO_OPEN,
    FRAGILE_ROUTE,
    OPEN_SECONDS,
    TIGHT_REQUESTS,
)
from sentinel.testing import Behaviour

__all__ = ["breaker", "cut_stream", "limit", "missing_model", "retry"]

_LIMIT_HEADERS: Final = (
    "retry-after",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)


def limit(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("A limit")
    screen.line("set", f"keys: [{{id: tight, limits: {{rpm: {TIGHT_REQUESTS}}}, ...}}]")
    screen.line("asked", f"the first question, {TIGHT_REQUESTS + 1} times with that key")
    tight = demo.client.with_options(api_key=stage.tight_key)
    statuses, refused = [], None
    for _ in range(TIGHT_REQUESTS + 1):
        status, refused = _status(tight, stage.model, QUESTION)
        statuses.append(status)
    screen.line("seen", ", ".join(map(str, statuses)))
    if refused is not None:
        screen.line("refused", f"{type(refused).__name__}: {message_of(refused)}")
        for number, name in enumerate(_LIMIT_HEADERS):
            value = refused.response.headers.get(name)
            screen.line("" if number else "headers", f"{name}: {value}")
    expected = [200] * TIGHT_REQUESTS + [429]
    return {
        "scene": "limit",
        "ok": statuses == expected,
        "statuses": statuses,
        "records": len(statuses),
    }


def retry(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("An upstream that fails once")
    before = stage.upstream_calls()
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(status=500), Behaviour(text="Yes. Did anything happen?"))
    screen.line("question", "Are you there?")
    screen.line("upstream", "answers 500")
    try:
        answer = ask(demo.client, stage.model, "Are you there?")
    except APIError as error:
        return unexpected(demo, "retry", error)
    calls = stage.upstream_calls() - before
    screen.line("answer", answer.text)
    screen.line("upstream", f"{calls} calls: nothing had reached the client, so it was asked again")
    return {"scene": "retry", "ok": calls == 2, "answer": answer.text, "upstream_calls": calls}


def missing_model(demo: Demo) -> Outcome:
    screen, model = demo.screen, "sentinel-demo-no-such-model"
    screen.scene("An upstream that says no")
    screen.line("asked for", f"{model}, which it does not have")
    try:
        ask(demo.client, model, "Are you there?")
    except APIStatusError as error:
        seen = f"{type(error).__name__}, status {error.status_code}: {message_of(error)}"
        screen.line("seen", seen)
        return {"scene": "missing model", "ok": True, "status": error.status_code}
    except APIError as error:
        return unexpected(demo, "missing model", error)
    screen.line("seen", "an answer")
    return {"scene": "missing model", "ok": False}


def breaker(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("A breaker that opens and recovers")
    tuned = f"{{minimum_calls: {FAILURES_TO_OPEN}, open_wait: {OPEN_SECONDS}s}}"
    screen.line("set", f"upstreams: {{fragile: {{breaker: {tuned}, ...}}}}")
    if stage.scripted is not None:
        stage.scripted.script(*[Behaviour(status=500)] * FAILURES_TO_OPEN)
    failed = [_status(demo.client, FRAGILE_ROUTE, "And you?")[0] for _ in range(FAILURES_TO_OPEN)]
    screen.line("seen", f"{', '.join(map(str, failed))}: as the upstream answered")
    opened = _state(demo)
    before, begun = stage.upstream_calls(), time.perf_counter()
    status, refused = _status(demo.client, FRAGILE_ROUTE, "And you?")
    milliseconds = (time.perf_counter() - begun) * 1e3
    untouched = stage.upstream_calls() == before
    if refused is not None:
        wait = refused.response.headers.get("retry-after")
        screen.line(
            "seen", f"{status} {refused.code}, Retry-After: {wait}, in {milliseconds:.1f} ms"
        )
        screen.line("", message_of(refused))
    screen.line("upstream", "heard nothing of it" if untouched else "was called all the same")
    screen.line("waited", f"{OPEN_SECONDS} s, then asked again")
    time.sleep(OPEN_SECONDS)
    probed, _ = _status(demo.client, FRAGILE_ROUTE, "And you?")
    screen.line("seen", f"{probed}: the probe found the upstream well")
    closed = _state(demo)
    statuses = [*failed, status, probed]
    went_well = statuses == [500] * FAILURES_TO_OPEN + [503, 200] and untouched
    return {
        "scene": "breaker",
        "ok": went_well and (opened, closed) == ("open", "closed"),
        "statuses": statuses,
        "states": [opened, closed],
        "records": len(statuses),
    }


def cut_stream(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("A stream that is cut in the middle")
    if stage.scripted is not None:
        text = "This answer was to be much longer, but its upstream has hung up on it."
        cut = Behaviour(text=text, gap_ms=15, fail="reset_mid_event", at=9)
        stage.scripted.script(cut)
    screen.begin("answer")
    try:
        read_stream(demo, "How does a stream end that does not end well?")
    except APIError as error:
        screen.end()
        screen.line("seen", f"{type(error).__name__}, never a clean end: {message_of(error)}")
        return {"scene": "cut stream", "ok": True, "error": message_of(error)}
    screen.end()
    screen.line("seen", "a clean end")
    return {"scene": "cut stream", "ok": False}


def _status(client: OpenAI, model: str, question: str) -> tuple[int, APIStatusError | None]:
    """What became of one call; the error where it was refused."""
    try:
        ask(client, model, question)
    except APIStatusError as error:
        return error.status_code, error
    return 200, None


def _state(demo: Demo) -> str:
    """The fragile target's breaker, as the admin API tells."""
    stage = demo.stage
    url = f"{stage.base_url.removesuffix('/v1')}/admin/breakers"
    request = Request(url, headers={"authorization": f"Bearer {stage.admin_key}"})
    with urlopen(request, timeout=10) as reply:
        listed: list[dict[str, Any]] = json.load(reply)["breakers"]
    [fragile] = [each for each in listed if each["target"].startswith("fragile/")]
    counts = f"{fragile['failed']} of {fragile['calls']} calls failed"
    counted = f", {counts}" if fragile["calls"] else ""
    refused = f", {fragile['refused']} refused" if fragile["refused"] else ""
    demo.screen.line("breaker", f"{fragile['state']}{counted}{refused} (GET /admin/breakers)")
    return str(fragile["state"])
