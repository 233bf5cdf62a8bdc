"""The calls an application makes with the official SDK, as data: a name, a method, arguments.

Each runs against the gateway and straight against the upstream. `prompt` and `completion` are the
tokens the scripted upstream reports for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

__all__ = [
    "CALLS",
    "HELLO",
    "TOOLS",
    "SdkCall",
    "Weather",
    "comparable",
    "perform",
    "perform_async",
]

HELLO = [{"role": "user", "content": "good morning to you"}]  # 4 tokens in, 6 out
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
    for name in ("weather", "traffic")
]
_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "weather",
        "strict": True,
        "schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
_ARGUMENT_PIECES = 5  # of {"city":"scripted city","days":42}, eight characters each


class Weather(BaseModel):
    city: str
    days: list[int]
    note: str | None


@dataclass(frozen=True)
class SdkCall:
    name: str
    method: str
    arguments: dict[str, Any]
    endpoint: str
    prompt: int
    completion: int
    script: str = field(default="")

    def __str__(self) -> str:
        return self.name


def _chat(name: str, prompt: int, completion: int, script: str = "", **more: Any) -> SdkCall:
    arguments = {"model": "gpt-4o-mini", "messages": HELLO, **more}
    method, endpoint = "chat.completions.create", "/v1/chat/completions"
    return SdkCall(name, method, arguments, endpoint, prompt, completion, script)


def _with_usage(wanted: bool) -> dict[str, Any]:
    return {"stream": True, "stream_options": {"include_usage": wanted}}


CALLS = [
    _chat("plain", 4, 6),
    _chat("stream", 4, 6, stream=True),
    _chat("stream-usage", 4, 6, **_with_usage(True)),
    _chat("stream-usage-declined", 4, 6, **_with_usage(False)),
    _chat("tool", 4, _ARGUMENT_PIECES, "tools=1", tools=TOOLS),
    _chat("tool-stream", 4, _ARGUMENT_PIECES, "tools=1", tools=TOOLS, stream=True),
    _chat("parallel-tools", 4, 3 * _ARGUMENT_PIECES, "tools=3", tools=TOOLS),
    _chat("parallel-tools-stream", 4, 3 * _ARGUMENT_PIECES, "tools=3", tools=TOOLS, stream=True),
    _chat("json-schema", 4, 3, response_format=_SCHEMA),
    _chat("json-schema-stream", 4, 3, response_format=_SCHEMA, stream=True),
    _chat("logprobs", 4, 6, logprobs=True, top_logprobs=2),
    _chat("logprobs-stream", 4, 6, logprobs=True, top_logprobs=2, stream=True),
    _chat("two-choices", 4, 12, n=2),
    _chat("two-choices-stream", 4, 12, n=2, stream=True),
    _chat("refusal", 4, 9, "refusal"),
    _chat("refusal-stream", 4, 9, "refusal", stream=True),
    _chat("max-tokens", 4, 2, max_tokens=2),
    _chat("reasoning", 100, 27, "chunks=7 prompt_tokens=100 reasoning_tokens=20"),
    SdkCall(
        "completions",
        "completions.create",
        {"model": "gpt-4o-mini", "prompt": "once upon"},
        "/v1/completions",
        2,
        4,
    ),
    SdkCall(
        "completions-stream",
        "completions.create",
        {"model": "gpt-4o-mini", "prompt": "once upon", "stream": True},
        "/v1/completions",
        2,
        4,
    ),
    SdkCall(
        "embeddings-base64",
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": ["one", "two words"], "dimensions": 8},
        "/v1/embeddings",
        3,
        0,
    ),
    SdkCall(
        "embeddings-float",
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": "one", "encoding_format": "float"},
        "/v1/embeddings",
        1,
        0,
    ),
    SdkCall(
        "embeddings-tokens",
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": [1, 2, 3], "dimensions": 8},
        "/v1/embeddings",
        3,
        0,
    ),
    SdkCall(
        "responses",
        "responses.create",
        {"model": "gpt-4o-mini", "input": "good morning"},
        "/v1/responses",
        2,
        4,
    ),
    SdkCall(
        "responses-stream",
        "responses.create",
        {"model": "gpt-4o-mini", "input": "good morning", "stream": True},
        "/v1/responses",
        2,
        4,
    ),
]


def perform(client: Any, call: SdkCall) -> Any:
    """Make the call and read all of its answer, as plain data."""
    answer = attrgetter(call.method)(client)(**call.arguments)
    return comparable(list(answer) if call.arguments.get("stream") else answer)


async def perform_async(client: Any, call: SdkCall) -> Any:
    """The same with an asynchronous client."""
    answer = await attrgetter(call.method)(client)(**call.arguments)
    if isinstance(answer, AsyncIterable):
        return comparable([chunk async for chunk in answer])
    return comparable(answer)


def comparable(answer: Any) -> Any:
    """What the SDK parsed, but for `usage: null`, which is there whenever usage was asked for."""
    if isinstance(answer, Iterable) and not isinstance(answer, BaseModel):
        return [comparable(chunk) for chunk in answer]
    parsed: dict[str, Any] = answer.model_dump(exclude_unset=True)
    if parsed.get("usage", 0) is None and parsed.get("object") != "response":
        del parsed["usage"]
    return parsed
