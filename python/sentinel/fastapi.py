"""Ready dependencies for any FastAPI app: keys and limits, without a gateway or beside one.

    require_key = RequireKey({"ci": os.environ["CI_KEY"]})

    app = FastAPI(dependencies=[
        Depends(limit("600/min", key=client_address)),    # before any key is looked at
        Depends(require_key),
        Depends(limit("60/min")),                         # of each key
    ])

Refusals have the gateway's error format, `{"error": {"message", "type", "param", "code"}}`; an app
that wants another registers a handler of its own for `Refused`. Counts are this process's.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sentinel.accounts import key_digest
from sentinel.errors import GatewayError
from sentinel.limits import Decision, RateLimiter

try:
    from fastapi import FastAPI, Request, Response
    from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
    from fastapi.responses import JSONResponse
    from fastapi.security.base import SecurityBase
    from starlette.exceptions import HTTPException

    from sentinel.api.errors import error_object
except ImportError as missing:
    raise ImportError(
        "sentinel.fastapi needs FastAPI: pip install 'sentinel-llm-gateway[gateway]'"
    ) from missing

if TYPE_CHECKING:
    from sentinel.gateway import Gateway

__all__ = ["Key", "Principal", "Refused", "RequireKey", "client_address", "limit"]

_PRINCIPAL: Final = "sentinel.principal"  # in the request's scope
_KEY_TEXT: Final = re.compile(r"[!-~]{16,512}")
_KEY_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")


class Refused(HTTPException):
    """A request that may not pass, with the code of docs/errors.md."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


async def _answer(_: Request, refused: Exception) -> JSONResponse:
    assert isinstance(refused, Refused)
    body = error_object(refused.status_code, refused.code, refused.detail)
    return JSONResponse(body, refused.status_code, refused.headers)


def _refuse(
    request: Request, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Refused:
    """The exception to raise, and the app told how to answer it unless it knows.

    A dependency cannot answer by itself, and a handler that every host has to install is one that
    somebody forgets. Without Starlette's table of handlers the answer keeps its status and headers.
    """
    handlers = request.scope.get("starlette.exception_handlers")
    if handlers is not None:
        handlers[0].setdefault(Refused, _answer)
    return Refused(status, code, message, headers)


# Limits


def client_address(request: Request) -> str:
    """The client's network as a limit's key: an IPv4 address, or the /64 of an IPv6 one.

    It is the address that the ASGI server tells: behind a proxy, let the server take it from the
    headers of proxies that it trusts.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address:{host}"
    if isinstance(address, ipaddress.IPv4Address):
        return f"address:{address}"
    if address.ipv4_mapped is not None:
        return f"address:{address.ipv4_mapped}"
    return f"address:{ipaddress.ip_network((int(address), 64), strict=False)}"


def _caller(request: Request) -> str:
    """Who is limited if nothing else is said: the key that RequireKey let pass, or the address."""
    principal = request.scope.get(_PRINCIPAL)
    return f"key:{principal.key_id}" if principal is not None else client_address(request)


def limit(
    *rules: str,
    key: Callable[[Request], str] | None = None,
    clock: Callable[[], float] | None = None,
) -> Callable[[Request, Response], Coroutine[Any, Any, None]]:
    """A dependency that lets requests pass as `rules` of requests allow (`"60/min"`, `"10/s"`).

    Each caller is limited alone: by default the key that a `RequireKey` before it let pass, else
    the client's address; `key` says it otherwise. All routes with one such dependency share its
    counts. A refusal is 429 rate_limit_exceeded with `Retry-After`; it and every reply that the
    route returns as a value carry `x-ratelimit-{limit,remaining,reset}-requests`. ValueError if a
    rule is no rule, or counts anything but requests.
    """
    limiter = RateLimiter(*rules, clock=clock)
    if limiter.units != {"requests"}:
        raise ValueError("limit() counts requests; use RateLimiter for tokens and money")
    caller = _caller if key is None else key

    async def limited(request: Request, response: Response) -> None:
        decision = limiter.acquire(caller(request))
        if not decision.allowed:
            message = _limit_message(decision)
            raise _refuse(request, 429, "rate_limit_exceeded", message, decision.headers())
        if _tighter(decision, response):
            response.headers.update(decision.headers())

    return limited


def _limit_message(decision: Decision) -> str:
    told = decision.headers()
    return (
        f"Limit of requests reached: {told['x-ratelimit-remaining-requests']} of "
        f"{told['x-ratelimit-limit-requests']} left. Try again in {told['Retry-After']}s."
    )


def _tighter(decision: Decision, response: Response) -> bool:
    """Whether no limit before this one has less left."""
    told = response.headers.get("x-ratelimit-remaining-requests")
    return told is None or decision.remaining < int(told)


# Keys


@dataclass(frozen=True, slots=True)
class Key:
    """A key of `RequireKey`: its text, or `sha256:` and the hex digest of it. No scopes: all."""

    key: str = field(repr=False)
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the key's id, and of a gateway's key its account. No scopes or models: all."""

    key_id: str
    account: str | None = None
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class RequireKey(SecurityBase):
    """A dependency that lets requests with a known key pass, and gives their `Principal`.

    `keys` maps ids to keys (16 to 512 visible ASCII characters, or `sha256:` and the hex digest of
    one, or a `Key`). Without it they are those of the gateway that is mounted in the app or whose
    app it is, issued and configured; revoking one there ends it here. The key is presented as
    `Authorization: Bearer KEY` or `x-api-key: KEY`, or in `header` alone if that is given.

    401 invalid_api_key without a known key, 403 scope_missing if it lacks one of `scopes`. Keys are
    known by keyed digests and compared in constant time. ValueError if a key or name is malformed.
    """

    def __init__(
        self,
        keys: Mapping[str, str | Key] | None = None,
        *,
        header: str | None = None,
        scopes: Sequence[str] = (),
    ) -> None:
        if header is not None and not _HEADER.fullmatch(header):
            raise ValueError(f"not the name of a header: {header!r}")
        if isinstance(scopes, str):
            raise TypeError("scopes must be a list of str, not str")
        self._configured = None if keys is None else _Configured(keys)
        self._header = header
        self._scopes = tuple(scopes)
        self._gateways: WeakKeyDictionary[FastAPI, Gateway] = WeakKeyDictionary()
        self.scheme_name = "ApiKey" if header is None else f"ApiKey-{_NOT_PLAIN.sub('_', header)}"
        self.model = (
            HTTPBearer(description="Or the same key as x-api-key.")
            if header is None
            else APIKey.model_validate({"in": APIKeyIn.header, "name": header})
        )

    async def __call__(self, request: Request) -> Principal:
        """The caller of a request, or Refused."""
        principal = self._find(request, self._presented(request))
        if principal is None:
            raise self._unauthorized(request, "the API key is unknown, malformed or revoked")
        for scope in self._scopes:
            if principal.scopes and scope not in principal.scopes:
                message = f'this API key lacks the scope "{scope}"'
                raise _refuse(request, 403, "scope_missing", message)
        request.scope[_PRINCIPAL] = principal
        return principal

    def _find(self, request: Request, credential: str) -> Principal | None:
        if self._configured is not None:
            return self._configured.find(credential)
        try:
            found = self._gateway(request.app).keys.find(credential)
        except GatewayError as error:
            raise _refuse(request, 503, "not_started", str(error)) from None
        if found is None:
            return None
        return Principal(found.id, found.account, found.scopes, found.models)

    def _gateway(self, app: FastAPI) -> Gateway:
        gateway = self._gateways.get(app)
        if gateway is None:
            gateway = self._gateways[app] = _gateway_of(app)
        return gateway

    def _presented(self, request: Request) -> str:
        if self._header is not None:
            credentials = set(request.headers.getlist(self._header))
        else:
            given = map(_bearer, request.headers.getlist("authorization"))
            credentials = {*given, *request.headers.getlist("x-api-key")}
        credentials.discard("")
        if len(credentials) > 1:
            message = "the request carries different API keys"
            raise _refuse(request, 400, "invalid_request", message)
        if not credentials:
            raise self._unauthorized(request, f'no API key: send "{self._how}"')
        return credentials.pop()

    @property
    def _how(self) -> str:
        if self._header is None:
            return 'Authorization: Bearer KEY" or "x-api-key: KEY'
        return f"{self._header}: KEY"

    def _unauthorized(self, request: Request, message: str) -> Refused:
        challenge = "Bearer" if self._header is None else f'ApiKey name="{self._header}"'
        told = {"WWW-Authenticate": challenge}
        return _refuse(request, 401, "invalid_api_key", message, told)


def _bearer(authorization: str) -> str:
    scheme, _, credential = authorization.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


class _Configured:
    """Keys by a digest that nobody outside can compute: the pepper is this process's own."""

    def __init__(self, keys: Mapping[str, str | Key]) -> None:
        self._pepper = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[bytes, Principal]] = {}
        for key_id, given in keys.items():
            key = Key(given) if isinstance(given, str) else given
            digest = key_digest(self._pepper, _hash_of(key_id, key))
            if digest in self._known:
                other = self._known[digest][1].key_id
                raise ValueError(f"the keys {other!r} and {key_id!r} are the same")
            self._known[digest] = (digest, Principal(key_id, scopes=tuple(key.scopes)))
        if not self._known:
            raise ValueError("no keys: nobody could call")

    def find(self, credential: str) -> Principal | None:
        hashed = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
        presented = key_digest(self._pepper, hashed)
        known, principal = self._known.get(presented, (b"", None))
        return principal if compare_digest(known, presented) else None


def _hash_of(key_id: str, key: Key) -> bytes:
    if not isinstance(key_id, str) or not key_id:
        raise ValueError(f"a key's id must be a str that is not empty, not {key_id!r}")
    if not isinstance(key, Key) or not isinstance(key.key, str):
        raise TypeError(f"the key {key_id!r} must be str or Key, not {type(key).__name__}")
    text = key.key
    hashed = _KEY_HASH.fullmatch(text)
    if hashed is not None:
        return bytes.fromhex(hashed[1])
    if text.startswith("sha256:") or not _KEY_TEXT.fullmatch(text):
        raise ValueError(
            f"the key {key_id!r} must be 16 to 512 visible ASCII characters, "
            "or sha256: and 64 hex digits"
        )
    return hashlib.sha256(text.encode()).digest()


def _gateway_of(app: FastAPI) -> Gateway:
    """The gateway of this app, or the one that is mounted in it."""
    for one in (app, *(getattr(route, "app", None) for route in app.routes)):
        gateway: Gateway | None = getattr(getattr(one, "state", None), "gateway", None)
        if gateway is not None:
            return gateway
    raise GatewayError("RequireKey() was given no keys, and no gateway is mounted in this app")
