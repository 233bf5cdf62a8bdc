"""`/responses`: the response object, and its stream of named, numbered events."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from sentinel.testing.replies.answers import (
    CREATED,
    Answer,
    Ask,
    Json,
    Tool,
    ToolCall,
    compact,
    stable_id,
)
from sentinel.testing.replies.chat import text_of
from sentinel.testing.replies.events import Event, Kind
from sentinel.testing.scripts import strip_directives

__all__ = ["error_event", "plain", "read", "stream"]


def read(body: Json) -> Ask:
    """Input is a string or a list of items; instructions count as prompt words too."""
    given = body["input"]
    texts = [given] if isinstance(given, str) else [text_of(item.get("content")) for item in given]
    words = [*texts, str(body.get("instructions") or "")]
    tools = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    form = (body.get("text") or {}).get("format") or {}
    return Ask(
        model=str(body["model"]),
        prompt=texts[-1] if texts else "",
        prompt_words=sum(len(strip_directives(text).split()) for text in words),
        max_tokens=body.get("max_output_tokens"),
        tools=tuple(Tool(str(tool["name"]), tool.get("parameters") or {}) for tool in tools),
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
    )


def _usage(answer: Answer) -> Json | None:
    if not answer.report_usage:
        return None
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _response(body: Json, answer: Answer, status: str, output: list[Json]) -> Json:
    incomplete = status == "incomplete"
    return {
        "id": stable_id("resp_", answer.key),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": bool(body.get("store", True)),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if status == "in_progress" else _usage(answer),
        "user": None,
        "metadata": {},
    }


def _final_status(answer: Answer) -> str:
    return "incomplete" if answer.finish == "length" else "completed"


def _part(answer: Answer, text: str) -> Json:
    if answer.refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(answer: Answer, status: str, content: list[Json]) -> Json:
    return {
        "type": "message",
        "id": stable_id("msg_", answer.key),
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _call(call: ToolCall, status: str, arguments: str) -> Json:
    return {
        "type": "function_call",
        "id": stable_id("fc_", call.id),
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": status,
    }


def _output(answer: Answer) -> list[Json]:
    if answer.tool_calls:
        return [_call(call, "completed", call.arguments) for call in answer.tool_calls]
    return [_message(answer, "completed", [_part(answer, "".join(answer.pieces))])]


def plain(body: Json, answer: Answer) -> Json:
    """The finished response."""
    return _response(body, answer, _final_status(answer), _output(answer))


def stream(body: Json, answer: Answer) -> Iterator[Event]:
    """Every event of a text, a refusal or function calls, numbered from 0."""
    numbers = count()

    def event(name: str, kind: Kind = Kind.FRAME, **members: Any) -> Event:
        return Event(
            compact({"type": name, "sequence_number": next(numbers), **members}), kind, name
        )

    for name in ("response.created", "response.in_progress"):
        yield event(name, response=_response(body, answer, "in_progress", []))
    if answer.tool_calls:
        for index, call in enumerate(answer.tool_calls):
            yield from _stream_call(event, index, call)
    else:
        yield from _stream_message(event, answer)
    status = _final_status(answer)
    response = _response(body, answer, status, _output(answer))
    yield event(f"response.{status}", Kind.TERMINAL, response=response)


def _stream_message(event: Any, answer: Answer) -> Iterator[Event]:
    text = "".join(answer.pieces)
    word = "refusal" if answer.refusal else "output_text"
    place: Json = {"item_id": stable_id("msg_", answer.key), "output_index": 0, "content_index": 0}
    yield event(
        "response.output_item.added", output_index=0, item=_message(answer, "in_progress", [])
    )
    yield event("response.content_part.added", **place, part=_part(answer, ""))
    for piece in answer.pieces:
        yield event(f"response.{word}.delta", Kind.CONTENT, **place, delta=piece)
    done = {"refusal": text} if answer.refusal else {"text": text}
    yield event(f"response.{word}.done", **place, **done)
    yield event("response.content_part.done", **place, part=_part(answer, text))
    item = _message(answer, "completed", [_part(answer, text)])
    yield event("response.output_item.done", output_index=0, item=item)


def _stream_call(event: Any, index: int, call: ToolCall) -> Iterator[Event]:
    place: Json = {"item_id": stable_id("fc_", call.id), "output_index": index}
    yield event(
        "response.output_item.added", output_index=index, item=_call(call, "in_progress", "")
    )
    for piece in call.pieces:
        yield event("response.function_call_arguments.delta", Kind.CONTENT, **place, delta=piece)
    yield event("response.function_call_arguments.done", **place, arguments=call.arguments)
    item = _call(call, "completed", call.arguments)
    yield event("response.output_item.done", output_index=index, item=item)


def error_event(error: Json) -> Event:
    """An error inside the stream: flat, as this endpoint has it."""
    inner = error["error"]
    flat = {"type": "error", "code": inner["code"], "message": inner["message"], "param": None}
    return Event(compact({**flat, "sequence_number": 0}), name="error")
