"""`/completions`, the older endpoint: prompts in, text out, one list of choices."""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.testing.replies.answers import CREATED, Answer, Ask, Json, compact, stable_id
from sentinel.testing.replies.events import Event, Kind
from sentinel.testing.scripts import strip_directives

__all__ = ["plain", "read", "stream"]


def read(body: Json) -> Ask:
    """A list of prompts gives `n` choices for each of them."""
    prompt = body["prompt"]
    prompts = prompt if isinstance(prompt, list) else [prompt]
    texts = [text if isinstance(text, str) else "token ids" for text in prompts]
    return Ask(
        model=str(body["model"]),
        prompt=texts[-1] if texts else "",
        prompt_words=sum(len(strip_directives(text).split()) for text in texts),
        max_tokens=body.get("max_tokens"),
        n=int(body.get("n") or 1) * max(1, len(texts)),
    )


def _usage(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _base(body: Json, answer: Answer) -> Json:
    return {
        "id": stable_id("cmpl-", answer.key),
        "object": "text_completion",
        "created": CREATED,
        "model": body["model"],
    }


def _choice(index: int, text: str, finish: str | None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def plain(body: Json, answer: Answer) -> Json:
    """The whole answer in one object."""
    texts = ["".join(answer.choice(index)) for index in range(answer.n)]
    reply = {
        **_base(body, answer),
        "choices": [_choice(index, text, answer.finish) for index, text in enumerate(texts)],
        "system_fingerprint": "fp_scripted",
    }
    return {**reply, "usage": _usage(answer)} if answer.report_usage else reply


def stream(body: Json, answer: Answer) -> Iterator[Event]:
    """Chunks of all choices in turn; usage as in chat."""
    asked = bool((body.get("stream_options") or {}).get("include_usage")) and answer.report_usage
    base = _base(body, answer)
    tail: Json = {"usage": None} if asked else {}
    choices = [answer.choice(index) for index in range(answer.n)]
    for position in range(len(answer.pieces)):
        for index, pieces in enumerate(choices):
            choice = _choice(index, pieces[position], None)
            yield Event(compact({**base, "choices": [choice], **tail}), Kind.CONTENT)
    for index in range(answer.n):
        yield Event(compact({**base, "choices": [_choice(index, "", answer.finish)], **tail}))
    if asked:
        yield Event(compact({**base, "choices": [], "usage": _usage(answer)}))
    yield Event("[DONE]", Kind.TERMINAL)
