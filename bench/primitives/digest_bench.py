"""The digest of a request from its raw JSON: what a cache in front of a model does for every call.

The peer is the usual way: orjson reads the body, writes it with sorted keys, blake3 digests that.
(It does not refuse a key that stands twice, and takes members for identity that change no answer.)
"""

from __future__ import annotations

import json
import sys
from typing import Any

import orjson
from blake3 import blake3
from interleaved import Bar, Way, measure, report

from sentinel.requests import request_digest


def tool(name: str, about: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": ["order"],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": parameters},
    }


ORDER = {"type": "string", "description": "The order's number: two digits, a dash, four digits."}
CALL = {"name": "look_up_order", "arguments": '{"order":"20-4417","with_parcels":true}'}
BODY = {
    "model": "gpt-4o-mini",
    "temperature": 0,
    "max_tokens": 512,
    "seed": 7,
    "user": "customer-4711",
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [
        {
            "role": "system",
            "content": "You are the assistant of a shop. Answer briefly, in the customer's tongue. "
            "If you need facts about an order, call a tool. Never promise a date that no tool has "
            "given you, and never name prices that are not in the bill.",
        },
        {
            "role": "user",
            "content": "Hello! I ordered two lamps last week (order 20-4417) but only one came. "
            "The box was closed with tape that was not yours, I think.",
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_Xk2v9", "type": "function", "function": CALL}],
        },
        {
            "role": "tool",
            "tool_call_id": "call_Xk2v9",
            "content": '{"order":"20-4417","items":[{"sku":"LMP-3","count":2}],"parcels":'
            '[{"id":"P-1","state":"delivered"},{"id":"P-2","state":"in transit"}]}',
        },
        {"role": "user", "content": "So is the other one on its way? And send the bill, please."},
    ],
    "tools": [
        tool(
            "look_up_order",
            "What was ordered, and where its parcels are.",
            order=ORDER,
            with_parcels={"type": "boolean"},
        ),
        tool(
            "send_bill",
            "Sends the bill of an order again, to the address that is on file.",
            order=ORDER,
            format={"type": "string", "enum": ["pdf", "xml"]},
        ),
    ],
    "response_format": {"type": "text"},
    "metadata": {"shop": "de-7", "channel": "web"},
}
RAW = json.dumps(BODY).encode()


def ours(repetitions: int) -> None:
    for _ in range(repetitions):
        request_digest(RAW)


def orjson_and_blake3(repetitions: int) -> None:
    for _ in range(repetitions):
        blake3(orjson.dumps(orjson.loads(RAW), option=orjson.OPT_SORT_KEYS)).digest()


def main() -> None:
    sys.stdout.write(f"a request with tools, {len(RAW):,} bytes of JSON\n")
    ways: dict[str, Way] = {"sentinel": ours, "orjson + blake3": orjson_and_blake3}
    figures = measure("request digest from raw JSON", ways, rounds=150, round_seconds=0.004)
    report(figures, bars=(Bar("orjson + blake3", 0.55),))


if __name__ == "__main__":
    main()
