"""One error format for the cold routes, the engine's: {"error": {message, type, param, code}}."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sentinel.errors import (
    AccountExists,
    GatewayError,
    InvalidAccount,
    UnknownAccount,
    UnknownKey,
)

__all__ = ["ApiError", "add_error_handlers", "error_object"]

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A refusal with its status and code; `param` names the member at fault."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.headers = headers
        self.status = status
        self.code = code
        self.message = message
        self.param = param


def error_object(
    status: int, code: str, message: str, param: str | None = None
) -> dict[str, dict[str, str | None]]:
    """The body of an error; its type follows from the status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _response(
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(error_object(status, code, message, param), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Every failure of a cold route leaves in the one format."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(GatewayError, _not_running)
    app.add_exception_handler(Exception, _unexpected)
    for kind in (UnknownKey, UnknownAccount, AccountExists, InvalidAccount):
        app.add_exception_handler(kind, _accounts_error)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _response(error.status, error.code, error.message, error.param, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _response(400, "invalid_json", "the body is not valid JSON")
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return _response(400, "invalid_request", f"{param or 'body'}: {first['msg']}", param)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if request.headers.get("upgrade", "").lower() == "websocket":
        return _response(501, "not_implemented", "WebSocket is not supported")
    if error.status_code == 404:
        return _response(404, "unsupported_endpoint", f"there is no {request.url.path}")
    if error.status_code == 405:
        message = f"{request.url.path} does not take {request.method}"
        return _response(405, "unsupported_endpoint", message, headers=error.headers)
    code = "invalid_request" if error.status_code < 500 else "internal_error"
    return _response(error.status_code, code, str(error.detail), headers=error.headers)


async def _not_running(_: Request, error: Exception) -> JSONResponse:
    return _response(503, "not_started", str(error))


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    # Nothing of the exception is told: its text may hold anything. The server logs it.
    return _response(500, "internal_error", "an unexpected failure; it has been logged")


async def _accounts_error(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownKey | UnknownAccount):
        return _response(404, "not_found", str(error))
    if isinstance(error, AccountExists):
        return _response(409, "invalid_request", str(error))
    return _response(400, "invalid_request", str(error))
