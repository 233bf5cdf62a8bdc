"""Sentinel: an LLM gateway in one wheel.

    import sentinel
    app = sentinel.create_app(settings)            # a FastAPI app, served by any ASGI server
    sentinel.mount(host_app, "/llm", settings)     # the same inside an app of yours
    sentinel.RateLimiter("100/min")                # parts that need no gateway: docs/library.md
    sentinel.TokenCounter.for_model("gpt-4o")

Importing this loads neither FastAPI nor the engine; each name loads what it needs when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentinel.api import create_app, mount
    from sentinel.cache import LRUCache, cached
    from sentinel.config import Settings
    from sentinel.gateway import Gateway
    from sentinel.limits import RateLimiter, TokenBucket
    from sentinel.resilience import CircuitBreaker, SingleFlight
    from sentinel.stream import ChatAccumulator, SSEParser
    from sentinel.tokens import TokenCounter
    from sentinel.vector import VectorIndex

__all__ = [
    "ChatAccumulator",
    "CircuitBreaker",
    "Gateway",
    "LRUCache",
    "RateLimiter",
    "SSEParser",
    "Settings",
    "SingleFlight",
    "TokenBucket",
    "TokenCounter",
    "VectorIndex",
    "cached",
    "create_app",
    "mount",
]

_HOMES = {
    "create_app": "sentinel.api",
    "mount": "sentinel.api",
    "LRUCache": "sentinel.cache",
    "cached": "sentinel.cache",
    "Settings": "sentinel.config",
    "Gateway": "sentinel.gateway",
    "RateLimiter": "sentinel.limits",
    "TokenBucket": "sentinel.limits",
    "CircuitBreaker": "sentinel.resilience",
    "SingleFlight": "sentinel.resilience",
    "ChatAccumulator": "sentinel.stream",
    "SSEParser": "sentinel.stream",
    "TokenCounter": "sentinel.tokens",
    "VectorIndex": "sentinel.vector",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
