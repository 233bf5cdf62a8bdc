"""The OpenAPI document: FastAPI's own for the cold routes, and the hot routes written beside it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from sentinel.api.hot import HOT_PATHS, HotEndpoint

__all__ = ["with_hot_routes"]

_ERROR = {
    "description": "The one error format.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": {"type": "string"},
                            "type": {"type": "string"},
                            "param": {"type": ["string", "null"]},
                            "code": {"type": ["string", "null"]},
                        },
                    }
                },
            }
        }
    },
}
_REQUIRED = {
    "/v1/chat/completions": ["model", "messages"],
    "/v1/completions": ["model", "prompt"],
    "/v1/embeddings": ["model", "input"],
    "/v1/responses": ["model", "input"],
    "/v1/messages": ["model", "messages", "max_tokens"],
}


def _operation(path: str, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": f"{path.split('/', 2)[2]}, governed and relayed",
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_').split(':')[0]}",
        "responses": {
            "200": {
                "description": "The provider's answer, or an event stream when `stream` is true.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "4XX": _ERROR,
            "5XX": _ERROR,
        },
    }
    required = _REQUIRED.get(path)
    if required is not None:
        schema = {
            "type": "object",
            "required": required,
            "properties": {"model": {"type": "string"}, "stream": {"type": "boolean"}},
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
        return made

    app.openapi = document  # type: ignore[method-assign]
