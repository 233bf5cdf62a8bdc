"""Asking the gateway with the official SDK, and what an answer says about itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openai import APIError, AsyncOpenAI, OpenAI

from sentinel.cli.demo.screen import Screen
from sentinel.cli.demo.stage import Stage

__all__ = ["Answer", "Demo", "Outcome", "ask", "ask_async", "message_of", "unexpected"]

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Demo:
    """What every scene has at hand; `played` is what came of those before it."""

    stage: Stage
    screen: Screen
    client: OpenAI
    played: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """A plain answer with the headers that came with it."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    milliseconds: float
    headers: Mapping[str, str]

    @property
    def verdict(self) -> str:
        return self.headers.get("x-sentinel-cache", "")

    @property
    def cost_micro_usd(self) -> int:
        return int(self.headers.get("x-sentinel-cost-micro-usd", "0"))


def ask(client: OpenAI, model: str, question: str) -> Answer:
    """One chat completion; APIError as the SDK raises it."""
    begun = time.perf_counter()
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": question}]
    )
    return _answer(raw.parse(), raw.headers, begun)


async def ask_async(client: AsyncOpenAI, model: str, question: str) -> Answer:
    """The same for many at once."""
    begun = time.perf_counter()
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": question}]
    )
    return _answer(raw.parse(), raw.headers, begun)


def _answer(completion: Any, headers: Mapping[str, str], begun: float) -> Answer:
    usage = completion.usage
    return Answer(
        completion.choices[0].message.content or "",
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        (time.perf_counter() - begun) * 1e3,
        headers,
    )


def unexpected(demo: Demo, scene: str, error: APIError) -> Outcome:
    """What a scene ends with that should have had an answer."""
    demo.screen.line("seen", f"{type(error).__name__}: {message_of(error)}")
    return {"scene": scene, "ok": False, "error": message_of(error)}


def message_of(error: APIError) -> str:
    """What the gateway said, without what the SDK writes around it."""
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)
