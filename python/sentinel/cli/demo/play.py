"""The scenes. Each drives the gateway with the official SDK and tells what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from openai import APIError, APIStatusError, OpenAI

from sentinel.cli.demo.screen import Screen, usd
from sentinel.cli.demo.stage import Stage
from sentinel.cli.output import table
from sentinel.testing import Behaviour
from sentinel.usage import UsageReader, UsageRecord

__all__ = ["play"]

Outcome = dict[str, Any]
_PLAIN_QUESTION: Final = "What does an LLM gateway do? One sentence, please."
_PLAIN_ANSWER: Final = (
    "It stands between your application and its model providers, and makes every call safe, "
    "counted and, as often as possible, unnecessary."
)
_STREAM_QUESTION: Final = "And why would I want that? Think aloud."
_STREAM_ANSWER: Final = (
    "Because then keys, deadlines and costs are settled in one place: your code changes its "
    "base URL and its key, and nothing else."
)


def play(stage: Stage, screen: Screen) -> Outcome:
    """All scenes, then the books; `ok` is whether each went as it should."""
    behind = "the scripted upstream that ships with it" if stage.scripted else stage.upstream_url
    screen.title(f"Sentinel, in front of {behind}")
    screen.line("gateway", stage.base_url)
    screen.line("changed", "base_url and api_key of the official openai SDK, nothing else")
    client = OpenAI(base_url=stage.base_url, api_key=stage.api_key, max_retries=0, timeout=60)
    scenes: list[Callable[[Stage, Screen, OpenAI], Outcome]] = [_plain, _stream, _failure]
    if stage.scripted is not None:
        scenes.append(_cut_stream)
    with client:
        client.models.list()  # the SDK's first call loads half of it; that is not what is timed
        outcomes = [scene(stage, screen, client) for scene in scenes]
    stopped = stage.stop()
    records = _books(stage, screen)
    _next(screen)
    sound = stopped and len(records) == len(outcomes) and all(each["ok"] for each in outcomes)
    if not sound:
        screen.scene("Something did not go as it should")
        screen.line("gateway", "stopped in order" if stopped else "did not stop in order")
        screen.block(stage.last_words())
    return {
        "ok": sound,
        "upstream": stage.upstream_url,
        "scenes": outcomes,
        "records": [asdict(record) for record in records],
    }


def _plain(stage: Stage, screen: Screen, client: OpenAI) -> Outcome:
    screen.scene("A plain answer")
    screen.line("question", _PLAIN_QUESTION)
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(text=_PLAIN_ANSWER, ttft_ms=40, prompt_tokens=820))
    begun = time.perf_counter()
    try:
        raw = client.chat.completions.with_raw_response.create(
            model=stage.model, messages=[{"role": "user", "content": _PLAIN_QUESTION}]
        )
        answer = raw.parse()
    except APIError as error:
        return _unexpected(screen, "plain", error)
    milliseconds = (time.perf_counter() - begun) * 1e3
    text = answer.choices[0].message.content or ""
    cost = int(raw.headers.get("x-sentinel-cost-micro-usd", "0"))
    screen.line("answer", text)
    usage = answer.usage
    if usage is not None:
        counted = f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out"
        screen.line("counted", f"{counted}, {usd(cost)}, {milliseconds:.0f} ms")
    return {"scene": "plain", "ok": bool(text), "answer": text, "cost_micro_usd": cost}


def _stream(stage: Stage, screen: Screen, client: OpenAI) -> Outcome:
    screen.scene("A streamed answer")
    screen.line("question", _STREAM_QUESTION)
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(text=_STREAM_ANSWER, ttft_ms=120, gap_ms=25))
    screen.begin("answer")
    try:
        told = _read_stream(stage, screen, client, _STREAM_QUESTION)
    except APIError as error:
        screen.end()
        return _unexpected(screen, "stream", error)
    screen.end()
    first, total = told["first_token_ms"], told["total_ms"]
    screen.line("timed", f"first token after {first:.0f} ms, the last after {total:.0f} ms")
    return {"scene": "stream", "ok": bool(told["answer"]), **told}


def _read_stream(stage: Stage, screen: Screen, client: OpenAI, question: str) -> Outcome:
    """Print a stream as it comes; what was read stays on the screen when it breaks off."""
    begun = time.perf_counter()
    first: float | None = None
    pieces: list[str] = []
    stream = client.chat.completions.create(
        model=stage.model, messages=[{"role": "user", "content": question}], stream=True
    )
    for chunk in stream:
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if not piece:
            continue
        first = first or time.perf_counter()
        pieces.append(piece)
        screen.piece(piece)
    ended = time.perf_counter()
    return {
        "answer": "".join(pieces),
        "first_token_ms": ((first or ended) - begun) * 1e3,
        "total_ms": (ended - begun) * 1e3,
    }


def _failure(stage: Stage, screen: Screen, client: OpenAI) -> Outcome:
    screen.scene("An upstream that fails")
    model = stage.model
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(status=500))
        screen.line("upstream", "answers 500")
    else:
        model = "sentinel-demo-no-such-model"
        screen.line("asked for", f"{model}, which it does not have")
    try:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Are you there?"}]
        )
    except APIStatusError as error:
        seen = f"{type(error).__name__}, status {error.status_code}: {_message(error)}"
        screen.line("seen", seen)
        return {"scene": "failure", "ok": True, "status": error.status_code}
    except APIError as error:
        return _unexpected(screen, "failure", error)
    screen.line("seen", "an answer")
    return {"scene": "failure", "ok": False}


def _cut_stream(stage: Stage, screen: Screen, client: OpenAI) -> Outcome:
    screen.scene("A stream that is cut in the middle")
    if stage.scripted is not None:
        cut = Behaviour(text=_STREAM_ANSWER, gap_ms=15, fail="reset_mid_event", at=9)
        stage.scripted.script(cut)
    screen.begin("answer")
    try:
        _read_stream(stage, screen, client, _STREAM_QUESTION)
    except APIError as error:
        screen.end()
        screen.line("seen", f"{type(error).__name__}, never a clean end: {_message(error)}")
        return {"scene": "cut stream", "ok": True, "error": _message(error)}
    screen.end()
    screen.line("seen", "a clean end")
    return {"scene": "cut stream", "ok": False}


def _unexpected(screen: Screen, scene: str, error: APIError) -> Outcome:
    screen.line("seen", f"{type(error).__name__}: {_message(error)}")
    return {"scene": scene, "ok": False, "error": _message(error)}


def _message(error: APIError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)


def _books(stage: Stage, screen: Screen) -> list[UsageRecord]:
    screen.scene("What was recorded, and what it cost")
    with UsageReader(stage.data_dir / "data" / "usage.db") as reader:
        records = reader.recent()[::-1]
        totals = reader.totals(by="model")
    head = ("MODEL", "OUTCOME", "STATUS", "TOKENS IN", "OUT", "COST", "FIRST TOKEN", "ALL")
    screen.block(table(head, [_row(record) for record in records]))
    for total in totals:
        tokens = total.prompt_tokens + total.completion_tokens
        sums = f"{total.requests} calls, {tokens} tokens, {usd(total.cost_micro_usd)}"
        screen.line("together", f"{total.group}: {sums}")
    return records


def _row(record: UsageRecord) -> tuple[str, ...]:
    about = "~" if record.estimated else ""
    first = "" if record.ttft_us is None else f"{record.ttft_us / 1e3:.1f} ms"
    return (
        record.model,
        record.outcome,
        str(record.status),
        f"{about}{record.prompt_tokens}",
        f"{about}{record.completion_tokens}",
        usd(record.cost_micro_usd),
        first,
        f"{record.latency_us / 1e3:.1f} ms",
    )


def _next(screen: Screen) -> None:
    screen.scene("Where to look next")
    screen.line("serve", "sentinel serve --upstream URL --upstream-key-env NAME")
    screen.line("configure", "sentinel check --config FILE, sentinel schema")
    screen.line("keys", "sentinel keys create | list | revoke")
    screen.line("watch", "/metrics, /readyz and /docs of a running gateway")
    screen.line("embed", "examples/fastapi_service.py: inside your own FastAPI app")
