"""The members of the configuration file, section by section, with defaults and ranges.

Unknown members are faults. Members that the file format has but this version does not
(`limits`, `cache`, `redis`) are refused unless they say what happens anyway, so nobody believes
in a limit that is not kept. Rules about two members at once stand in rules.py.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from sentinel.config.fields import (
    AccountId,
    BaseUrl,
    CaFile,
    DirectoryPath,
    ExternalId,
    FilePath,
    HeaderName,
    Host,
    KeyHash,
    KeyId,
    ModelName,
    ModelPattern,
    OperatorKey,
    PathTemplate,
    Pepper,
    QueryName,
    QueryValue,
    UpstreamKey,
    UpstreamName,
)
from sentinel.config.prices import Prices
from sentinel.config.units import Number, Size, Span, Switch, Whole
from sentinel.types import DEFAULT_ACCOUNT, Scope

__all__ = [
    "AccountSettings",
    "AdminSettings",
    "CacheSettings",
    "CredentialSettings",
    "KeySettings",
    "LimitSettings",
    "LogSettings",
    "RedisSettings",
    "RouteSettings",
    "Section",
    "ServerSettings",
    "TargetSettings",
    "TimeoutSettings",
    "UpstreamKind",
    "UpstreamSettings",
    "UsageSettings",
]

UpstreamKind = Literal["openai", "azure", "anthropic", "python"]


class Section(BaseModel):
    """What every section has in common: nothing unknown, nothing changed, nothing echoed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _refuse(value: object) -> None:
    if value is not None and value != {}:
        raise ValueError("not supported yet: this version does not have it, leave it out")


NotYet = Annotated[None, BeforeValidator(_refuse)]


def _only_default(value: object) -> int:
    if Size(1, 1 << 62).parse(value) != _CACHE_BYTES:
        raise ValueError("not supported yet: this version has no cache, leave it out")
    return _CACHE_BYTES


_CACHE_BYTES = 256 << 20
CacheBytes = Annotated[int, PlainValidator(_only_default, json_schema_input_type=int | str)]


def _loops(value: object) -> int | Literal["auto"]:
    return "auto" if value == "auto" else Whole(1, 256).parse(value)


Loops = Annotated[
    int | Literal["auto"],
    PlainValidator(_loops, json_schema_input_type=int | Literal["auto"]),
]


class LimitSettings(Section):
    """How much of anything one request, or all requests together, may take."""

    body_bytes: Annotated[int, Size(1 << 10, 1 << 30)] = 10 << 20
    head_bytes: Annotated[int, Size(1 << 10, 1 << 20)] = 16 << 10
    headers: Annotated[int, Whole(8, 1000)] = 100
    response_bytes: Annotated[int, Size(1 << 10, 1 << 32)] = 64 << 20
    event_bytes: Annotated[int, Size(1 << 10, 1 << 30)] = 8 << 20
    in_flight: Annotated[int, Whole(1, 1_000_000)] = 4096
    body_seconds: Annotated[int, Whole(1, 3600)] = 30


class ServerSettings(Section):
    """Where the gateway listens, where it keeps its data, how it stops."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Whole(0, 65535)] = 8080
    loops: Loops = "auto"
    data_dir: DirectoryPath = "./sentinel-data"
    limits: LimitSettings = Field(default_factory=LimitSettings)
    drain_delay: Annotated[timedelta, Span("0s", "1h")] = timedelta(0)
    drain_timeout: Annotated[timedelta, Span("0s", "1h")] = timedelta(seconds=30)
    insecure: Annotated[bool, Switch()] = False
    pepper: Pepper | None = None


class AdminSettings(Section):
    """The admin routes; without a key there are none."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Whole(0, 65535)] | None = None
    key: OperatorKey | None = None


class TimeoutSettings(Section):
    """Deadlines of one upstream call.

    `connect` bounds getting a connection, `first_byte` the time from sending to the whole head of
    the reply, `idle` each silence after it, `total` the whole call.
    """

    connect: Annotated[timedelta, Span("1ms", "5m")] = timedelta(seconds=2)
    first_byte: Annotated[timedelta, Span("1ms", "1h")] = timedelta(seconds=60)
    idle: Annotated[timedelta, Span("1ms", "1h")] = timedelta(seconds=30)
    total: Annotated[timedelta, Span("1ms", "24h")] = timedelta(minutes=10)


class CredentialSettings(Section):
    """One of an upstream's keys."""

    key: UpstreamKey
    limits: NotYet = None


class UpstreamSettings(Section):
    """A provider's endpoint. A `python` upstream is an injected provider and has no address."""

    kind: UpstreamKind = "openai"
    base_url: BaseUrl | None = None
    credentials: tuple[CredentialSettings, ...] = ()
    auth_header: HeaderName | None = None
    path_template: PathTemplate | None = None
    query: dict[QueryName, QueryValue] = Field(default_factory=dict)
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    ca_file: CaFile | None = None
    allow_private: Annotated[bool, Switch()] | None = None
    max_connections: Annotated[int, Whole(1, 65535)] = 1024


class TargetSettings(Section):
    """An upstream and the model asked of it; no model means the one the client named."""

    upstream: UpstreamName
    model: ModelName | None = None
    weight: Annotated[int, Whole(1, 1_000_000)] = 1


class RouteSettings(Section):
    """A public model name, or a pattern with one '*', and the targets that serve it."""

    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1)]
    aliases: tuple[ModelPattern, ...] = ()
    default_output_tokens: Annotated[int, Whole(1, 10_000_000)] = 1024
    cache: NotYet = None
    limits: NotYet = None


class AccountSettings(Section):
    """Who pays. The id is the path; `parent` may repeat what the path says."""

    parent: AccountId | None = None
    external_id: ExternalId | None = None
    limits: NotYet = None


class KeySettings(Section):
    """A key of ours that stands in the file, as itself (by reference) or as its digest."""

    id: KeyId
    account: AccountId = DEFAULT_ACCOUNT
    hash: KeyHash | None = None
    key: OperatorKey | None = None
    scopes: tuple[Scope, ...] = ()
    models: tuple[ModelPattern, ...] = ()


class CacheSettings(Section):
    """The answer cache's seat; this version has none."""

    max_bytes: CacheBytes = _CACHE_BYTES


class RedisSettings(Section):
    """The shared mode's seat; this version works alone."""

    url: NotYet = None


class UsageSettings(Section):
    """Where records go and what tokens cost. No `prices` means the table that is shipped."""

    database: FilePath | None = None
    prices: Prices | None = None


class LogSettings(Section):
    """What is logged: from which level on, and which share of successful requests."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    sample: Annotated[float, Number(0.0, 1.0)] = 1.0
