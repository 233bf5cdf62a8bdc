"""The OpenAPI document: FastAPI's own for the cold routes, and the hot routes written beside it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from sentinel.api.hot import HOT_PATHS, HotEndpoint

__all__ = ["with_hot_routes"]

_MESSAGE = {"type": "string"}
_NULLABLE = {"type": ["string", "null"]}


def _error(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "An error.", "content": {"application/json": {"schema": schema}}}


_ERROR = _error(
    {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": _MESSAGE,
                    "type": _MESSAGE,
                    "param": _NULLABLE,
                    "code": _NULLABLE,
                },
            }
        },
    }
)
_ANTHROPIC_ERROR = _error(
    {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _MESSAGE, "message": _MESSAGE},
            },
            "request_id": _NULLABLE,
        },
    }
)
_EVENT = {
    "description": "One event of the stream, as the endpoint's protocol has it.",
    "type": "object",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
_LIST = {"type": "array", "minItems": 1}
_TEXT_OR_LIST = {"anyOf": [{"type": "string"}, _LIST]}
_REQUIRED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": _LIST},
    "/v1/completions": {"prompt": _TEXT_OR_LIST},
    "/v1/embeddings": {"input": _TEXT_OR_LIST},
    "/v1/responses": {"input": _TEXT_OR_LIST},
    "/v1/messages": {"messages": _LIST, "max_tokens": {"type": "integer", "minimum": 1}},
}
_COMMON = {
    "model": {"type": "string", "pattern": "^[!-~]{1,256}$"},
    "stream": {"type": "boolean"},
}


def _operation(path: str, method: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if method == "POST" and path != "/v1/embeddings":
        content["text/event-stream"] = {"schema": _EVENT}
    operation: dict[str, Any] = {
        "summary": f"{path.split('/', 2)[2]}, governed and relayed",
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_').split(':')[0]}",
        "responses": {
            "200": {
                "description": "The provider's answer, or an event stream when `stream` is true.",
                "content": content,
            },
        },
    }
    required = _REQUIRED.get(path)
    if required is not None:
        schema = {
            "type": "object",
            "required": ["model", *required],
            "properties": _COMMON | required,
            "additionalProperties": True,
        }
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if "{model" in path:
        operation["parameters"] = [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    return operation


def with_hot_routes(app: FastAPI) -> None:
    """Make the app's document tell of its hot routes too."""
    plain = app.openapi
    served = {
        getattr(route, "path", "")
        for route in app.router.routes
        if isinstance(getattr(route, "app", None), HotEndpoint)
    }

    def document() -> dict[str, Any]:
        made = plain()
        paths = made.setdefault("paths", {})
        for path, (method, _) in HOT_PATHS.items():
            if path in served:
                shown = path.replace(":path}", "}")
                paths.setdefault(shown, {})[method.lower()] = _operation(path, method)
        for path, operations in paths.items():
            error = _ANTHROPIC_ERROR if path == "/v1/messages" else _ERROR
            for operation in operations.values():
                operation["responses"].pop("422", None)  # we answer 400, in the one format
                operation["responses"] |= {"4XX": error, "5XX": error}
        return made

    app.openapi = document  # type: ignore[method-assign]
