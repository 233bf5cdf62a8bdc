"""The order of the scenes, and whether each went as it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from openai import OpenAI

from sentinel.cli.demo.answers import hit, plain, stream, together
from sentinel.cli.demo.asking import Demo, Outcome
from sentinel.cli.demo.books import books
from sentinel.cli.demo.screen import Screen
from sentinel.cli.demo.stage import Stage
from sentinel.cli.demo.trouble import breaker, cut_stream, limit, missing_model, retry

__all__ = ["play"]

Scene = Callable[[Demo], Outcome]
_SCRIPTED: Final[tuple[Scene, ...]] = (
    plain,
    hit,
    stream,
    together,
    limit,
    retry,
    breaker,
    cut_stream,
)
_REAL: Final[tuple[Scene, ...]] = (plain, hit, stream, together, limit, missing_model)
_LEFT_OUT: Final = "a retry, a breaker and a cut stream: they need an upstream that fails when told"


def play(stage: Stage, screen: Screen) -> Outcome:
    """All scenes, then the books; `ok` is whether each went as it should."""
    behind = "the scripted upstream that ships with it" if stage.scripted else stage.upstream_url
    screen.title(f"Sentinel, in front of {behind}")
    screen.line("gateway", stage.base_url)
    screen.line("changed", "base_url and api_key of the official openai SDK, nothing else")
    if stage.scripted is None:
        screen.line("left out", _LEFT_OUT)
    outcomes = _scenes(stage, screen)
    stopped = stage.stop()
    records = books(stage, screen)
    _next(screen)
    expected = sum(outcome.get("records", 1) for outcome in outcomes)
    sound = stopped and len(records) == expected and all(each["ok"] for each in outcomes)
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


def _scenes(stage: Stage, screen: Screen) -> list[Outcome]:
    client = OpenAI(base_url=stage.base_url, api_key=stage.api_key, max_retries=0, timeout=60)
    with client:
        client.models.list()  # the SDK's first call loads half of it; that is not what is timed
        demo = Demo(stage, screen, client)
        for scene in _REAL if stage.scripted is None else _SCRIPTED:
            demo.played.append(scene(demo))
    return demo.played


def _next(screen: Screen) -> None:
    screen.scene("Where to look next")
    screen.line("serve", "sentinel serve --upstream URL --upstream-key-env NAME")
    screen.line("configure", "sentinel check --config FILE, sentinel schema, docs/configuration.md")
    screen.line("govern", "docs/limits.md, docs/caching.md, docs/resilience.md")
    screen.line("keys", "sentinel keys create | list | revoke")
    screen.line("operate", "/metrics, /readyz, /docs, /admin/cache and /admin/breakers")
    screen.line("embed", "examples/fastapi_service.py: inside your own FastAPI app")
    screen.line("library", "docs/library.md: caches, limiter, breaker, streams, tokens, vectors")
