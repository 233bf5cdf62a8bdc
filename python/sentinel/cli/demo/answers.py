"""Scenes in which all goes well: an answer, the same again, a stream, a hundred at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

from openai import APIError, AsyncOpenAI

from sentinel.cli.demo.asking import Answer, Demo, Outcome, ask, ask_async, unexpected
from sentinel.cli.demo.screen import usd
from sentinel.testing import Behaviour

__all__ = ["QUESTION", "hit", "plain", "read_stream", "stream", "together"]

QUESTION: Final = "What does an LLM gateway do? One sentence, please."
_ANSWER: Final = (
    "It stands between your application and its model providers, and makes every call safe, "
    "counted and, as often as possible, unnecessary."
)
_STREAM_QUESTION: Final = "And why would I want that? Think aloud."
_STREAM_ANSWER: Final = (
    "Because then keys, deadlines and costs are settled in one place: your code changes its "
    "base URL and its key, and nothing else."
)
_SHARED_QUESTION: Final = "What does everybody ask at nine in the morning? One sentence, please."
_SHARED_ANSWER: Final = "The same thing, at the same moment, of the same model."
_CALLERS: Final = 100
_SHARED_MS: Final = 1000


def plain(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("A plain answer")
    screen.line("question", QUESTION)
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(text=_ANSWER, ttft_ms=40, prompt_tokens=820))
    try:
        answer = ask(demo.client, stage.model, QUESTION)
    except APIError as error:
        return unexpected(demo, "plain", error)
    screen.line("answer", answer.text)
    counted = f"{answer.prompt_tokens} tokens in, {answer.completion_tokens} out"
    screen.line("counted", f"{counted}, {usd(answer.cost_micro_usd)}, {_ms(answer.milliseconds)}")
    return _told("plain", answer, bool(answer.text))


def hit(demo: Demo) -> Outcome:
    screen, first = demo.screen, demo.played[0]
    screen.scene("The same question again")
    screen.line("set", 'routes: {"*": {cache: {}, ...}}')
    try:
        answer = ask(demo.client, demo.stage.model, QUESTION)
    except APIError as error:
        return unexpected(demo, "hit", error)
    same = answer.text == first.get("answer")
    screen.line("answer", "the same, byte for byte" if same else answer.text)
    screen.line("cache", f"{answer.verdict} (Cache-Status: {answer.headers.get('cache-status')})")
    saved = first.get("cost_micro_usd", 0) - answer.cost_micro_usd
    took, before = _ms(answer.milliseconds), _ms(first.get("milliseconds", 0))
    screen.line("saved", f"{usd(saved)}, all of it; {took} instead of {before}")
    found = answer.verdict == "hit-exact" and answer.cost_micro_usd == 0
    return _told("hit", answer, same and found) | {"saved_micro_usd": saved}


def stream(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene("A streamed answer")
    screen.line("question", _STREAM_QUESTION)
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(text=_STREAM_ANSWER, ttft_ms=120, gap_ms=25))
    screen.begin("answer")
    try:
        told = read_stream(demo, _STREAM_QUESTION)
    except APIError as error:
        screen.end()
        return unexpected(demo, "stream", error)
    screen.end()
    first, total = _ms(told["first_token_ms"]), _ms(told["total_ms"])
    screen.line("timed", f"first token after {first}, the last after {total}")
    return {"scene": "stream", "ok": bool(told["answer"]), **told}


def read_stream(demo: Demo, question: str) -> Outcome:
    """Print a stream as it comes; what was read stays on the screen when it breaks off."""
    begun = time.perf_counter()
    first: float | None = None
    pieces: list[str] = []
    chunks = demo.client.chat.completions.create(
        model=demo.stage.model, messages=[{"role": "user", "content": question}], stream=True
    )
    for chunk in chunks:
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if not piece:
            continue
        first = first or time.perf_counter()
        pieces.append(piece)
        demo.screen.piece(piece)
    ended = time.perf_counter()
    return {
        "answer": "".join(pieces),
        "first_token_ms": ((first or ended) - begun) * 1e3,
        "total_ms": (ended - begun) * 1e3,
    }


def together(demo: Demo) -> Outcome:
    stage, screen = demo.stage, demo.screen
    screen.scene(f"{_CALLERS} callers with one question, all at once")
    screen.line("question", _SHARED_QUESTION)
    before = stage.upstream_calls()
    if stage.scripted is not None:
        stage.scripted.script(Behaviour(text=_SHARED_ANSWER, ttft_ms=_SHARED_MS, prompt_tokens=820))
    try:
        answers, total = asyncio.run(_all_at_once(demo))
    except APIError as error:
        return unexpected(demo, "together", error)
    calls = stage.upstream_calls() - before if stage.scripted is not None else None
    return _tell_together(demo, answers, total, calls)


async def _all_at_once(demo: Demo) -> tuple[list[Answer], float]:
    """All answers, and after how many milliseconds the last of them was there."""
    stage = demo.stage
    async with AsyncOpenAI(
        base_url=stage.base_url, api_key=stage.api_key, max_retries=0, timeout=60
    ) as client:
        # Opening a hundred connections is not what is timed.
        await asyncio.gather(*(client.models.list() for _ in range(_CALLERS)))
        begun = time.perf_counter()
        asked = (ask_async(client, stage.model, _SHARED_QUESTION) for _ in range(_CALLERS))
        answers = await asyncio.gather(*asked)
        return answers, (time.perf_counter() - begun) * 1e3


def _tell_together(demo: Demo, answers: list[Answer], total: float, calls: int | None) -> Outcome:
    screen = demo.screen
    texts = {answer.text for answer in answers}
    verdicts = Counter(answer.verdict for answer in answers)
    paid = sum(answer.cost_micro_usd for answer in answers)
    screen.line("answer", answers[0].text if len(texts) == 1 else f"{len(texts)} different ones")
    shown = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    screen.line("callers", f"{len(answers)} answered ({shown})")
    counted = f"{calls} call, by its own count" if calls is not None else "1 call: the one miss"
    screen.line("upstream", counted if calls in (None, 1) else f"{calls} calls")
    screen.line("paid", f"{usd(paid)} in all, instead of {usd(paid * len(answers))}")
    waited = f"the upstream took {_SHARED_MS} ms, " if calls is not None else ""
    screen.line("timed", f"{waited}the client had read the last answer after {_ms(total)}")
    alone = verdicts["miss"] == 1 and len(texts) == 1 and calls in (None, 1)
    return {
        "scene": "together",
        "ok": alone and bool(answers[0].text),
        "verdicts": dict(verdicts),
        "upstream_calls": calls,
        "cost_micro_usd": paid,
        "milliseconds": total,
        "records": len(answers),
    }


def _told(scene: str, answer: Answer, ok: bool) -> Outcome:
    return {
        "scene": scene,
        "ok": ok,
        "answer": answer.text,
        "cache": answer.verdict,
        "cost_micro_usd": answer.cost_micro_usd,
        "milliseconds": answer.milliseconds,
    }


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
