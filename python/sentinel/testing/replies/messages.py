"""`/messages`, Anthropic's protocol: content blocks, named events, usage split over two of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sentinel.testing.replies.answers import Answer, Ask, Json, Tool, compact, stable_id
from sentinel.testing.replies.chat import text_of
from sentinel.testing.replies.events import Event, Kind
from sentinel.testing.scripts import strip_directives

__all__ = ["plain", "read", "stream"]

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def read(body: Json) -> Ask:
    """The system prompt's words count; the prompt is what the last message says."""
    texts = [text_of(message.get("content")) for message in body["messages"]]
    words = [*texts, text_of(body.get("system"))]
    tools = body.get("tools") or ()
    return Ask(
        model=str(body["model"]),
        prompt=texts[-1] if texts else "",
        prompt_words=sum(len(strip_directives(text).split()) for text in words),
        max_tokens=int(body["max_tokens"]),
        tools=tuple(Tool(str(tool["name"]), tool.get("input_schema") or {}) for tool in tools),
    )


def _usage(answer: Answer, output_tokens: int) -> Json:
    """Cached tokens are not part of `input_tokens` in this protocol."""
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _message(
    body: Json, answer: Answer, content: list[Json], stop: str | None, output_tokens: int
) -> Json:
    message: Json = {
        "id": stable_id("msg_", answer.key),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
    }
    if answer.report_usage:
        message["usage"] = _usage(answer, output_tokens)
    return message


def _blocks(answer: Answer) -> list[tuple[Json, str, tuple[str, ...]]]:
    """Per block: how it opens, the member its deltas fill, and the pieces of them."""
    if not answer.tool_calls:
        return [({"type": "text", "text": ""}, "text", answer.pieces)]
    return [
        (
            {"type": "tool_use", "id": _tool_id(call.id), "name": call.name, "input": {}},
            "partial_json",
            call.pieces,
        )
        for call in answer.tool_calls
    ]


def _tool_id(call_id: str) -> str:
    return "toolu_" + call_id.removeprefix("call_")


def plain(body: Json, answer: Answer) -> Json:
    """The whole message."""
    content: list[Json] = []
    for block, member, pieces in _blocks(answer):
        text = "".join(pieces)
        filled = {"text": text} if member == "text" else {"input": _parsed(text)}
        content.append({**block, **filled})
    stop = _STOP_REASONS.get(answer.finish, answer.finish)
    return _message(body, answer, content, stop, answer.completion_tokens)


def _parsed(text: str) -> Any:
    return json.loads(text)


def stream(body: Json, answer: Answer) -> Iterator[Event]:
    """message_start, the blocks with a ping behind the first start, message_delta, message_stop."""

    def event(name: str, kind: Kind = Kind.FRAME, **members: Any) -> Event:
        return Event(compact({"type": name, **members}), kind, name)

    yield event("message_start", message=_message(body, answer, [], None, 1))
    for index, (block, member, pieces) in enumerate(_blocks(answer)):
        yield event("content_block_start", index=index, content_block=block)
        if index == 0:
            yield event("ping")
        kind = "text_delta" if member == "text" else "input_json_delta"
        for piece in pieces:
            delta = {"type": kind, member: piece}
            yield event("content_block_delta", Kind.CONTENT, index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = _STOP_REASONS.get(answer.finish, answer.finish)
    usage: Json = (
        {"usage": {"output_tokens": answer.completion_tokens}} if answer.report_usage else {}
    )
    yield event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, **usage)
    yield event("message_stop", kind=Kind.TERMINAL)
