"""`POST /v1/query`: one question, one answer, through the same pipeline as everything else.

The body is read here and not by FastAPI: within the bounds of every governed route, and so that the
engine refuses a stranger before anything of the body is told, and counts what it refuses.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from sentinel.api.client import peer_of
from sentinel.api.deps import GatewayDep
from sentinel.api.schemas.query import Query, QueryAnswer
from sentinel.gateway import AsyncBridge, Endpoint, ErrorCode, Event, Gateway, header_pairs

__all__ = ["router"]

router = APIRouter(tags=["query"])

_BODY = {
    "required": True,
    "content": {"application/json": {"schema": Query.model_json_schema()}},
}
_KEPT = {b"content-type", b"content-length"}
_GONE: Event = (0, 499, None, b"", False, False)  # nobody reads it


class _Refused(Exception):
    """The body cannot be taken."""

    def __init__(self, code: ErrorCode, message: str, param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@router.post(
    "/v1/query",
    summary="Ask one question",
    response_model=QueryAnswer,
    openapi_extra={"requestBody": _BODY},
)
async def query(request: Request, gateway: GatewayDep) -> Response:
    """The answer, what it cost and whether it came from the cache."""
    bridge = gateway.bridge()
    try:
        question = _parse(await _read(request, gateway))
        event = await _ask(bridge, question, request)
    except _Refused as refused:
        peer = peer_of(request.scope)
        why = (refused.code, refused.message, refused.param)
        event = bridge.core.refuse(*_head(request), *why, peer)
    except ClientDisconnect:
        event = _GONE
    _, status, headers, body, _, _ = event
    kept = {name: value for name, value in header_pairs(headers) if name not in _KEPT}
    if status == 200:
        body = json.dumps(_answer(body, kept).model_dump()).encode()
    response = Response(body, status, media_type="application/json")
    response.raw_headers.extend(kept.items())
    return response


def _head(request: Request) -> tuple[Endpoint, str, bytes, list[tuple[bytes, bytes]]]:
    scope = request.scope
    return (Endpoint.query, scope["path"], scope["query_string"], scope["headers"])


async def _read(request: Request, gateway: Gateway) -> bytes:
    limits = gateway.settings.server.limits
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_bytes:
                    message = f"the request's body is over {limits.body_bytes} bytes"
                    raise _Refused(ErrorCode.body_too_large, message)
    except TimeoutError:
        message = f"the request's body did not arrive within {limits.body_seconds} seconds"
        raise _Refused(ErrorCode.request_timeout, message) from None
    return bytes(body)


def _parse(body: bytes) -> Query:
    try:
        return Query.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        raise _Refused(ErrorCode.invalid_json, "the body is not valid JSON")
    param = ".".join(str(part) for part in first["loc"])
    message = f"{param or 'body'}: {first['msg']}"
    raise _Refused(ErrorCode.invalid_request, message, param)


async def _ask(bridge: AsyncBridge, question: Query, request: Request) -> Event:
    body = json.dumps(question.as_chat()).encode()
    endpoint, path, query_string, headers = _head(request)
    if not question.cache:
        headers = [pair for pair in headers if pair[0] != b"cache-control"]
        headers.append((b"cache-control", b"no-cache"))
    peer = peer_of(request.scope)
    submitted = bridge.core.submit(endpoint, path, query_string, headers, body, peer)
    if isinstance(submitted, tuple):
        return submitted
    answer = bridge.expect(submitted, request.receive)
    try:
        event = await answer.next()
        return event if event[1] else _GONE
    finally:
        bridge.forget(answer)


def _answer(body: bytes, headers: dict[bytes, bytes]) -> QueryAnswer:
    try:
        reply: dict[str, Any] = json.loads(body)
    except RecursionError:  # as deep as the engine takes it, and deeper than Python does
        reply = {}
    usage = reply.get("usage")
    return QueryAnswer.model_validate(
        {
            "id": headers[b"x-request-id"].decode(),
            "answer": _text(_said(reply)),
            "model": _text(reply.get("model")),
            "cache": {
                "verdict": headers[b"x-sentinel-cache"].decode(),
                "age_seconds": int(headers.get(b"age", b"0")),
            },
            "usage": usage if isinstance(usage, dict) else {},
            "cost_micro_usd": int(headers[b"x-sentinel-cost-micro-usd"]),
        }
    )


def _said(reply: dict[str, Any]) -> Any:
    """What the first choice says, nothing where a provider has shaped its answer otherwise."""
    try:
        message = reply["choices"][0]["message"]
        return message.get("content") or message.get("refusal")
    except (AttributeError, IndexError, KeyError, TypeError):
        return None


def _text(value: Any) -> str:
    """Text that is Unicode; of a list of parts, theirs."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
