"""The members of the configuration file, section by section, with defaults and ranges.

Unknown members are faults. Members that the file format has but this version does not
(`redis.url`, `semantic` of a route's cache) are refused, so nobody believes in what is not kept.
Limits, resilience, caching and token rules have files of their own. Rules about two members at
once stand in rules.py and in those files.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from sentinel.config.caching import RouteCacheSettings
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
from sentinel.config.limits import Network, RateLimits
from sentinel.config.prices import Prices
from sentinel.config.resilience import (
    AdaptiveConcurrencySettings,
    Breaker,
    BreakerSettings,
    CoolDownSettings,
    RetrySettings,
    TimeoutSettings,
)
from sentinel.config.section import NotYet, Section
from sentinel.config.units import Number, Size, Span, Switch, Whole
from sentinel.types import DEFAULT_ACCOUNT, Scope

__all__ = [
    "AccountSettings",
    "AdminSettings",
    "CredentialSettings",
    "KeySettings",
    "LimitSettings",
    "LogSettings",
    "RedisSettings",
    "RouteSettings",
    "ServerSettings",
    "TargetSettings",
    "UpstreamKind",
    "UpstreamSettings",
    "UsageSettings",
]

UpstreamKind = Literal["openai", "azure", "anthropic", "python"]


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
    per_address: RateLimits = Field(default_factory=RateLimits)
    trusted_proxies: tuple[Network, ...] = ()
    drain_delay: Annotated[timedelta, Span("0s", "1h")] = timedelta(0)
    drain_timeout: Annotated[timedelta, Span("0s", "1h")] = timedelta(seconds=30)
    insecure: Annotated[bool, Switch()] = False
    pepper: Pepper | None = None


class AdminSettings(Section):
    """The admin routes; without a key there are none."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Whole(0, 65535)] | None = None
    key: OperatorKey | None = None


class CredentialSettings(Section):
    """One of an upstream's keys."""

    key: UpstreamKey
    limits: RateLimits | None = None


class UpstreamSettings(Section):
    """A provider's endpoint. A `python` upstream is an injected provider and has no address."""

    kind: UpstreamKind = "openai"
    base_url: BaseUrl | None = None
    credentials: tuple[CredentialSettings, ...] = ()
    auth_header: HeaderName | None = None
    path_template: PathTemplate | None = None
    query: dict[QueryName, QueryValue] = Field(default_factory=dict)
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    breaker: Breaker = Field(default_factory=BreakerSettings)
    retry: RetrySettings = Field(default_factory=RetrySettings)
    cool_down: CoolDownSettings = Field(default_factory=CoolDownSettings)
    adaptive_concurrency: AdaptiveConcurrencySettings | None = None
    ca_file: CaFile | None = None
    allow_private: Annotated[bool, Switch()] | None = None
    max_connections: Annotated[int, Whole(1, 65535)] = 1024


class TargetSettings(Section):
    """An upstream and the model asked of it; no model means the one the client named.

    Targets of one `tier` share the traffic by weight; the next tier serves when all of it cannot.
    """

    upstream: UpstreamName
    model: ModelName | None = None
    weight: Annotated[int, Whole(1, 1_000_000)] = 1
    tier: Annotated[int, Whole(0, 8)] = 0


class RouteSettings(Section):
    """A public model name, or a pattern with one '*', and the targets that serve it."""

    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1, max_length=64)]
    aliases: tuple[ModelPattern, ...] = ()
    default_output_tokens: Annotated[int, Whole(1, 10_000_000)] = 1024
    cache: RouteCacheSettings | None = None
    limits: RateLimits | None = None


class AccountSettings(Section):
    """Who pays. The id is the path; `parent` may repeat what the path says.

    `limits` hold for the account and those below it together, `end_users` for each of its users.
    """

    parent: AccountId | None = None
    external_id: ExternalId | None = None
    limits: RateLimits | None = None
    end_users: RateLimits | None = None


class KeySettings(Section):
    """A key of ours that stands in the file, as itself (by reference) or as its digest."""

    id: KeyId
    account: AccountId = DEFAULT_ACCOUNT
    hash: KeyHash | None = None
    key: OperatorKey | None = None
    scopes: tuple[Scope, ...] = ()
    models: tuple[ModelPattern, ...] = ()
    limits: RateLimits | None = None


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
