"""`/chat/completions`: the body, and the stream of chunks with its usage rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sentinel.testing.replies.answers import CREATED, Answer, Ask, Json, Tool, compact, stable_id
from sentinel.testing.replies.events import Event, Kind
from sentinel.testing.scripts import strip_directives

__all__ = ["plain", "read", "stream", "text_of", "usage"]

_NOVELTY = "member_of_next_year"


def read(body: Json) -> Ask:
    """The request in common terms; the prompt is what the last message says."""
    texts = [text_of(message.get("content")) for message in body["messages"]]
    return Ask(
        model=str(body["model"]),
        prompt=texts[-1] if texts else "",
        prompt_words=sum(len(strip_directives(text).split()) for text in texts),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        n=int(body.get("n") or 1),
        tools=tuple(_tools(body)),
        schema=_schema(body.get("response_format")),
    )


def text_of(content: Any) -> str:
    """The text of a message: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part
    )


def _tools(body: Json) -> Iterator[Tool]:
    for tool in body.get("tools") or ():
        function = tool.get("function") or {}
        yield Tool(str(function.get("name", "")), function.get("parameters") or {})


def _schema(response_format: Json | None) -> Json | None:
    kind = (response_format or {}).get("type")
    if kind == "json_schema" and response_format is not None:
        schema: Json = response_format["json_schema"]["schema"]
        return schema
    return (
        {"type": "object", "properties": {"answer": {"type": "string"}}}
        if kind == "json_object"
        else None
    )


def usage(answer: Answer) -> Json:
    """Token counts with both detail objects."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def plain(body: Json, answer: Answer) -> Json:
    """The whole answer in one object."""
    reply: Json = {
        "id": stable_id("chatcmpl-", answer.key),
        "object": "chat.completion",
        "created": CREATED,
        "model": body["model"],
        "choices": [_choice(body, answer, index) for index in range(answer.n)],
        "usage": usage(answer),
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }
    if not answer.report_usage:
        del reply["usage"]
    return reply


def _choice(body: Json, answer: Answer, index: int) -> Json:
    text = "".join(answer.choice(index))
    message: Json = {
        "role": "assistant",
        "content": None if answer.refusal or answer.tool_calls else text,
        "refusal": text if answer.refusal else None,
        "annotations": [],
    }
    if answer.novelty:
        message[_NOVELTY] = text
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.tool_calls
        ]
    logprobs = _logprobs(body, answer.choice(index))
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": answer.finish,
    }


def _logprobs(body: Json, pieces: tuple[str, ...]) -> Json | None:
    if not body.get("logprobs"):
        return None
    top = int(body.get("top_logprobs") or 0)
    return {"content": [_logprob(piece, top) for piece in pieces], "refusal": None}


def _logprob(piece: str, top: int) -> Json:
    def entry(token: str, logprob: float) -> Json:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    others = [entry(piece if rank == 0 else f"{piece}~{rank}", -0.25 - rank) for rank in range(top)]
    return {**entry(piece, -0.25), "top_logprobs": others}


def stream(body: Json, answer: Answer) -> Iterator[Event]:
    """Chunks of all choices in turn, then the usage chunk if it was asked for, then `[DONE]`."""
    asked = bool((body.get("stream_options") or {}).get("include_usage")) and answer.report_usage
    base: Json = {
        "id": stable_id("chatcmpl-", answer.key),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }
    tail: Json = {"usage": None} if asked else {}

    def event(
        index: int, delta: Json, kind: Kind, finish: str | None = None, logprobs: Any = None
    ) -> Event:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return Event(compact({**base, "choices": [choice], **tail}), kind)

    for index in range(answer.n):
        opening: Json = {
            "role": "assistant",
            "content": None if answer.tool_calls else "",
            "refusal": None,
        }
        yield event(index, opening, Kind.FRAME)
    for number, call in enumerate(answer.tool_calls):
        for index in range(answer.n):
            function = {"name": call.name, "arguments": ""}
            start = {"index": number, "id": call.id, "type": "function", "function": function}
            yield event(index, {"tool_calls": [start]}, Kind.FRAME)
            for piece in call.pieces:
                part = {"index": number, "function": {"arguments": piece}}
                yield event(index, {"tool_calls": [part]}, Kind.CONTENT)
    member = "refusal" if answer.refusal else "content"
    choices = [answer.choice(index) for index in range(answer.n)]
    for position in range(len(answer.pieces)):
        for index, pieces in enumerate(choices):
            piece = pieces[position]
            delta = {member: piece, _NOVELTY: piece} if answer.novelty else {member: piece}
            yield event(index, delta, Kind.CONTENT, logprobs=_logprobs(body, (piece,)))
    for index in range(answer.n):
        yield event(index, {}, Kind.FRAME, finish=answer.finish)
    if asked:
        yield Event(compact({**base, "choices": [], "usage": usage(answer)}))
    yield Event("[DONE]", Kind.TERMINAL)
