"""Error bodies as the two families of providers shape them, and the page a proxy would send."""

from __future__ import annotations

from sentinel.testing.replies.answers import Json, compact
from sentinel.testing.replies.events import Event

__all__ = [
    "HTML_PAGE",
    "anthropic_error",
    "anthropic_error_event",
    "openai_error",
    "openai_error_event",
]

HTML_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>"
    "<body><h1>Something between you and the model answers in HTML</h1></body></html>\n"
)

_OPENAI: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The scripted upstream finds this request invalid."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "The scripted upstream does not know this API key.",
    ),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "The scripted upstream forbids this.",
    ),
    404: ("invalid_request_error", "model_not_found", "The scripted upstream has no such model."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "The scripted upstream's rate limit is reached. Try again in 1s.",
    ),
    500: ("server_error", None, "The scripted upstream failed while it worked on this request."),
    503: ("server_error", "overloaded", "The scripted upstream is overloaded."),
}

_ANTHROPIC: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def openai_error(status: int, message: str | None, request_id: str) -> Json:
    """`{"error": {message, type, param, code}}`; the request id travels in a header only."""
    del request_id
    default = _OPENAI[500] if status >= 500 else _OPENAI[400]
    kind, code, text = _OPENAI.get(status, default)
    return {"error": {"message": message or text, "type": kind, "param": None, "code": code}}


def anthropic_error(status: int, message: str | None, request_id: str) -> Json:
    """`{"type": "error", "error": {type, message}, "request_id"}`."""
    kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
    text = message or _OPENAI.get(status, _OPENAI[500])[2]
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": request_id}


def openai_error_event(error: Json) -> Event:
    """An error inside a stream of chunks: an unnamed event that holds the error object."""
    return Event(compact(error))


def anthropic_error_event(error: Json) -> Event:
    """An error inside a stream of named events."""
    return Event(compact(error), name="error")
