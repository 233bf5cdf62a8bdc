"""Server-sent events: one event a chunk, as a model's stream arrives; and the text that it adds.

Everybody begins with the same bytes. httpx-sse is measured as its own EventSource uses it: bytes to
text, text to lines, lines to events. openai is its stream's decoder; with orjson it is what a
program does that wants the delta's text.
"""

from __future__ import annotations

import codecs
import json
import sys
from itertools import cycle, islice
from typing import Any

import httpx2
import orjson
from interleaved import Bar, Way, measure, report

sys.modules.setdefault("httpx", httpx2)  # httpx-sse imports it by its older name

from httpx_sse._decoders import SSEDecoder as HttpxDecoder  # noqa: E402
from httpx_sse._decoders import SSELineDecoder  # noqa: E402
from openai._streaming import SSEDecoder as OpenAIDecoder  # noqa: E402

from sentinel.stream import ChatAccumulator, SSEParser  # noqa: E402

WORDS = ("the", "lamp", "that", "you", "have", "ordered", "is", "on", "its", "way", "to", "you")


def chunk(delta: dict[str, Any], number: int, **choice: Any) -> bytes:
    """One event as OpenAI sends it, some 330 bytes with the obfuscation that evens out lengths."""
    payload = {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1_741_570_283,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | choice],
        "usage": None,
        "obfuscation": "aZ4kQ9xW2b"[: 10 - number % 7],
    }
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def logprob(text: str) -> dict[str, Any]:
    return {"content": [{"token": text, "logprob": -0.25, "bytes": list(text.encode())}]}


CONTENT = [chunk({"content": " " + word}, number) for number, word in enumerate(WORDS)]
LOGPROBS = [
    chunk({"content": word}, number, logprobs=logprob(word)) for number, word in enumerate(WORDS)
]
REOPEN_EVERY = 4_096  # an answer ends some time


def httpx_sse(repetitions: int) -> None:
    text = codecs.getincrementaldecoder("utf-8")(errors="replace")
    lines, decoder = SSELineDecoder(), HttpxDecoder()
    for data in islice(cycle(CONTENT), repetitions):
        for line in lines.decode(text.decode(data)):
            decoder.decode(line.rstrip("\n"))


def openai_decoder(repetitions: int) -> None:
    for _ in OpenAIDecoder().iter_bytes(islice(cycle(CONTENT), repetitions)):
        pass


def openai_and_orjson(events: list[bytes]) -> Way:
    def way(repetitions: int) -> None:
        for event in OpenAIDecoder().iter_bytes(islice(cycle(events), repetitions)):
            orjson.loads(event.data)["choices"][0]["delta"].get("content")

    return way


def fed(method: str) -> Way:
    def way(repetitions: int) -> None:
        feed = getattr(SSEParser(), method)
        for data in islice(cycle(CONTENT), repetitions):
            feed(data)

    return way


def accumulated(events: list[bytes]) -> Way:
    def way(repetitions: int) -> None:
        for start in range(0, repetitions, REOPEN_EVERY):
            feed = ChatAccumulator().feed
            for data in islice(cycle(events), min(REOPEN_EVERY, repetitions - start)):
                feed(data)

    return way


def main() -> None:
    size = sum(map(len, CONTENT)) / len(CONTENT)
    sys.stdout.write(f"one event a chunk, {size:.0f} bytes on average\n")
    peers: dict[str, Way] = {"httpx-sse": httpx_sse, "openai decoder": openai_decoder}
    for title, method, factor in [
        ("SSE, scan: events counted (feed_count)", "feed_count", 1 / 18),
        ("SSE, payload list (feed_data)", "feed_data", 1 / 10),
        ("SSE, event objects (feed)", "feed", 1 / 10),
    ]:
        figures = measure(
            title, {"sentinel": fed(method), **peers}, rounds=150, round_seconds=0.003
        )
        report(figures, bars=(Bar("httpx-sse", factor),))
        rate = size / figures.nanoseconds["sentinel"] * 1_000
        sys.stdout.write(f"  sentinel reads {rate:,.0f} MB/s\n")
    for title, events, bars in [
        ("SSE + delta text, per event", CONTENT, (Bar("openai + orjson", 1 / 25),)),
        ("SSE + delta text, every event with log probabilities", LOGPROBS, ()),
    ]:
        ways = {"sentinel": accumulated(events), "openai + orjson": openai_and_orjson(events)}
        report(measure(title, ways, rounds=150, round_seconds=0.003), bars=bars)


if __name__ == "__main__":
    main()
