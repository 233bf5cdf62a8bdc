"""From a request and a behaviour to a reply: which endpoint, which status, which content.

`DIALECTS` is the list of endpoints. Faults of content are applied here and in `events`; faults of
HTTP itself belong to the delivery. A reply is lazy: its events are made while they are sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate

from sentinel.testing.protocol import Headers, Request
from sentinel.testing.replies import chat, completions, embeddings, errors, messages, responses
from sentinel.testing.replies.answers import Answer, Ask, Json, compact, compose
from sentinel.testing.replies.events import Event, Kind, Piece, render, with_faults
from sentinel.testing.scripts import Behaviour

__all__ = ["DIALECTS", "Dialect", "Reply", "json_reply", "make_reply", "missing_route"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One endpoint: how it reads a request and how it words answers and errors."""

    read: Callable[[Json], Ask]
    plain: Callable[[Json, Answer], Json]
    stream: Callable[[Json, Answer], Iterator[Event]] | None
    error: Callable[[int, str | None, str], Json]
    error_event: Callable[[Json], Event]
    headers: Callable[[str], Headers]


@dataclass(slots=True)
class Reply:
    """A status, headers without framing, and either a body or the pieces of a stream."""

    status: int
    headers: Headers
    body: bytes = b""
    pieces: Iterator[Piece] | None = None
    strike_at: int = 0


def _openai_headers(request_id: str) -> Headers:
    return [
        ("date", formatdate(usegmt=True)),
        ("server", "scripted"),
        ("access-control-expose-headers", "X-Request-ID"),
        ("openai-organization", "scripted-organization"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "200000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "199968"),
        ("x-ratelimit-reset-requests", "8.64s"),
        ("x-ratelimit-reset-tokens", "9ms"),
        ("x-request-id", request_id),
        ("set-cookie", "__scripted=upstream-cookie; path=/; HttpOnly; Secure; SameSite=None"),
    ]


def _anthropic_headers(request_id: str) -> Headers:
    return [
        ("date", formatdate(usegmt=True)),
        ("server", "scripted"),
        ("request-id", request_id),
        ("anthropic-organization-id", "scripted-organization"),
        ("anthropic-ratelimit-requests-limit", "1000"),
        ("anthropic-ratelimit-requests-remaining", "999"),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:01Z"),
    ]


_OPENAI_WORDS = (errors.openai_error, errors.openai_error_event, _openai_headers)

DIALECTS: dict[str, Dialect] = {
    "/chat/completions": Dialect(chat.read, chat.plain, chat.stream, *_OPENAI_WORDS),
    "/completions": Dialect(
        completions.read, completions.plain, completions.stream, *_OPENAI_WORDS
    ),
    "/embeddings": Dialect(embeddings.read, embeddings.plain, None, *_OPENAI_WORDS),
    "/responses": Dialect(
        responses.read,
        responses.plain,
        responses.stream,
        errors.openai_error,
        responses.error_event,
        _openai_headers,
    ),
    "/messages": Dialect(
        messages.read,
        messages.plain,
        messages.stream,
        errors.anthropic_error,
        errors.anthropic_error_event,
        _anthropic_headers,
    ),
}
"""Endpoints by the end of their path; the longest that fits is meant."""


def make_reply(dialect: Dialect, request: Request, behaviour: Behaviour, request_id: str) -> Reply:
    """The reply to a POST, faults of content included."""
    headers = dialect.headers(request_id)
    status = (
        401 if behaviour.fail == "echo_credential" and behaviour.status == 200 else behaviour.status
    )
    if behaviour.fail == "redirect":
        return Reply(302, [*headers, ("location", behaviour.location)])
    if status >= 400:
        return _error_reply(dialect, request, behaviour, status, request_id)
    if behaviour.fail == "echo_credential_header":
        headers.append(("x-debug-credential", _credential(request)))
    body = json.loads(request.body)
    answer = compose(dialect.read(body), behaviour)
    if (
        body.get("stream")
        and dialect.stream is not None
        and behaviour.fail not in _WHOLE_BODY_FAULTS
    ):
        return _streamed(
            dialect, request, behaviour, request_id, headers, dialect.stream(body, answer), answer
        )
    return _plain(dialect, request, behaviour, request_id, headers, body, answer)


_WHOLE_BODY_FAULTS = {"html", "empty_body", "error_object"}


def _streamed(
    dialect: Dialect,
    request: Request,
    behaviour: Behaviour,
    request_id: str,
    headers: Headers,
    events: Iterator[Event],
    answer: Answer,
) -> Reply:
    total = answer.chunk_count
    last = total - 1 if behaviour.fail in {"bad_utf8", "nul_bytes"} else total
    strike_at = min(total // 2 if behaviour.at < 0 else behaviour.at, last)
    message = _echo(request) if behaviour.fail == "echo_credential_event" else None
    error = dialect.error_event(dialect.error(500, message, request_id))
    pieces = render(with_faults(events, behaviour, strike_at, error), behaviour, strike_at)
    headers += [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
    return Reply(behaviour.status, headers, pieces=pieces, strike_at=strike_at)


def _plain(
    dialect: Dialect,
    request: Request,
    behaviour: Behaviour,
    request_id: str,
    headers: Headers,
    body: Json,
    answer: Answer,
) -> Reply:
    kind = "text/html; charset=utf-8" if behaviour.fail == "html" else "application/json"
    headers.append(("content-type", kind))
    if behaviour.fail == "html":
        return Reply(behaviour.status, headers, errors.HTML_PAGE.encode())
    if behaviour.fail == "empty_body":
        return Reply(behaviour.status, headers)
    if behaviour.fail in {"error_object", "error_event", "echo_credential_event"}:
        message = _echo(request) if behaviour.fail == "echo_credential_event" else None
        return Reply(
            behaviour.status, headers, compact(dialect.error(500, message, request_id)).encode()
        )
    # Endless and giant bodies are sent in pieces, like a stream without events.
    if behaviour.fail in {"endless", "giant_line"}:
        return Reply(behaviour.status, headers, pieces=_bulk(behaviour))
    text = _pretty(dialect.plain(body, answer))
    spoilt = {
        "invalid_json": text[: len(text) // 2] + b"}{",
        "not_an_object": b"[" + text + b"]",
        "bad_utf8": text.replace(b'": "', b'": "\xff\xc3\x28', 1),
        "nul_bytes": text.replace(b'": "', b'": "\0', 1),
    }
    return Reply(behaviour.status, headers, spoilt.get(behaviour.fail, text))


def _pretty(value: Json) -> bytes:
    """Providers send plain bodies indented; vectors are kept on one line, they are long."""
    if "data" in value:
        return compact(value).encode()
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _bulk(behaviour: Behaviour) -> Iterator[Piece]:
    step = 64 * 1024
    left = behaviour.giant_bytes
    yield Piece(b'{"id": "', Kind.RAW)
    while behaviour.fail == "endless" or left > 0:
        yield Piece(b"x" * min(step, max(left, 1)), Kind.RAW)
        left -= step if behaviour.fail == "giant_line" else 0
    yield Piece(b'"}', Kind.RAW)


def _error_reply(
    dialect: Dialect, request: Request, behaviour: Behaviour, status: int, request_id: str
) -> Reply:
    message = _echo(request) if behaviour.fail == "echo_credential" else None
    headers = dialect.headers(request_id)
    headers.append(("content-type", "application/json"))
    if behaviour.retry_after or status == 429:
        headers.append(("retry-after", behaviour.retry_after or "1"))
    return Reply(status, headers, _pretty(dialect.error(status, message, request_id)))


def _credential(request: Request) -> str:
    value = (
        request.header("authorization") or request.header("x-api-key") or request.header("api-key")
    )
    return value or "no credential"


def _echo(request: Request) -> str:
    return f"The scripted upstream refuses this credential: {_credential(request)}"


def missing_route(request: Request, request_id: str) -> Reply:
    """What a provider says to a path it does not have."""
    body = errors.openai_error(
        404, f"Unknown request URL: {request.method} {request.path}", request_id
    )
    body["error"]["code"] = "unknown_url"
    return Reply(
        404, [*_openai_headers(request_id), ("content-type", "application/json")], _pretty(body)
    )


def json_reply(status: int, value: Json, request_id: str) -> Reply:
    """A JSON body of our own: models, statistics, script errors."""
    headers = [*_openai_headers(request_id), ("content-type", "application/json")]
    return Reply(status, headers, _pretty(value))
