"""Streams of chat completions as providers send them, written out by us: lists of payloads."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["RECORDED", "chunk", "encode"]

Payload = dict[str, Any]


def chunk(*choices: Payload, **members: Any) -> Payload:
    """One chat.completion.chunk with these choices."""
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "created": 1_741_570_283,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": list(choices),
        **members,
    }


def choice(delta: Payload, index: int = 0, finish: str | None = None, **members: Any) -> Payload:
    return {"index": index, "delta": delta, "finish_reason": finish, **members}


def call(index: int, arguments: str = "", **members: Any) -> Payload:
    """A tool call's fragment; the first one of a call has `id` and `name`."""
    function = {"arguments": arguments}
    if "name" in members:
        function = {"name": members.pop("name"), "arguments": arguments}
    return {"index": index, **members, "function": function}


def token(text: str, logprob: float) -> Payload:
    top = [{"token": text, "logprob": logprob, "bytes": list(text.encode())}]
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": top}


FIRST = {"role": "assistant", "content": "", "refusal": None}
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "accepted_prediction_tokens": 0},
}

RECORDED: dict[str, list[Payload]] = {
    "text": [
        chunk(choice(FIRST, logprobs=None), service_tier="default"),
        *[
            chunk(choice({"content": text}, logprobs=None), service_tier="default")
            for text in [
                "Hel",
                "lo",
                ", ",
                "Gr\u00fc\u00dfe",
                ' "a\\b"\n',
                "\U0001f600",
                "\u4f60",
                ".",
            ]
        ],
        chunk(choice({}, finish="stop", logprobs=None)),
    ],
    "usage and obfuscation": [
        chunk(choice(FIRST), usage=None, obfuscation="aX"),
        *[
            chunk(choice({"content": text}), usage=None, obfuscation="x" * (9 - size))
            for size, text in enumerate(["One", " two", " three", "", " four"])
        ],
        chunk(choice({}, finish="length"), usage=None, obfuscation=""),
        chunk(usage=USAGE, obfuscation="q"),
    ],
    "tool calls": [
        chunk(choice({"role": "assistant", "content": None})),
        chunk(choice({"tool_calls": [call(0, id="call_a", type="function", name="look_up")]})),
        *[
            chunk(choice({"tool_calls": [call(0, part)]}))
            for part in ['{"', "order", '":"20', '-7"}']
        ],
        chunk(choice({"tool_calls": [call(1, id="call_b", type="function", name="send")]})),
        *[chunk(choice({"tool_calls": [call(1, part)]})) for part in ["{", '"pdf":true', "}"]],
        chunk(choice({}, finish="tool_calls")),
    ],
    "tool calls together": [
        chunk(
            choice(
                {
                    "role": "assistant",
                    "tool_calls": [
                        call(0, "{", id="call_a", type="function", name="f"),
                        call(1, "[", id="call_b", type="function", name="g"),
                    ],
                }
            )
        ),
        chunk(choice({"tool_calls": [call(1, "1"), call(0, "}")]})),
        chunk(choice({"tool_calls": [call(1, "]"), call(0, " ")]}, finish="tool_calls")),
    ],
    "refusal": [
        chunk(choice({"role": "assistant", "content": None, "refusal": ""})),
        *[chunk(choice({"refusal": text})) for text in ["I'm", " sorry", ", no", "."]],
        chunk(choice({}, finish="stop")),
    ],
    "logprobs": [
        chunk(choice(FIRST, logprobs={"content": [], "refusal": None})),
        *[
            chunk(
                choice({"content": text}, logprobs={"content": [token(text, lp)], "refusal": None})
            )
            for text, lp in [("A", -0.25), (" b", -1e-7), ("\u00e9", -9999.0)]
        ],
        chunk(choice({}, finish="stop", logprobs=None)),
    ],
    "several choices": [
        chunk(*[choice(FIRST, index) for index in range(3)]),
        *[
            chunk(choice({"content": f"{text}{index}"}, index))
            for text in ["a", "b", "c", "d"]
            for index in (2, 0, 1)
        ],
        chunk(choice({}, 1, "stop")),
        chunk(choice({}, 0, "length"), choice({}, 2, "content_filter")),
        chunk(usage=USAGE),
    ],
    "members that nobody knows": [
        chunk(
            choice({"role": "assistant", "reasoning_content": "", "content": None}), vendor={"a": 1}
        ),
        chunk(choice({"reasoning_content": "Let me "})),
        chunk(choice({"reasoning_content": "think", "audio": {"id": "au", "data": "AA"}})),
        chunk(choice({"content": "42", "audio": {"data": "BB", "expires_at": 5}})),
        chunk(choice({"content": "!"}, finish="stop")),
    ],
    "old function call": [
        chunk(choice({"role": "assistant", "function_call": {"name": "f", "arguments": ""}})),
        *[chunk(choice({"function_call": {"arguments": part}})) for part in ['{"a"', ":1", "}"]],
        chunk(choice({}, finish="function_call")),
    ],
    "nothing generated": [chunk(choice(FIRST)), chunk(choice({}, finish="stop"))],
    "filters before": [
        chunk(prompt_filter_results=[{"prompt_index": 0}]) | {"id": "", "object": "", "model": ""},
        chunk(choice(FIRST)),
        chunk(choice({"content": "ok"}, finish="stop")),
    ],
}


def encode(payloads: list[Payload], *, ascii_only: bool = False, end: bytes = b"\n") -> bytes:
    """The payloads as one stream of events that ends with [DONE]."""
    texts = [
        json.dumps(payload, ensure_ascii=ascii_only, separators=(",", ":")) for payload in payloads
    ]
    return b"".join(b"data: " + text.encode() + 2 * end for text in [*texts, "[DONE]"])
