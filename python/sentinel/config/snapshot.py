"""Settings -> the JSON document the engine takes. Everything is explicit in it.

Defaults that depend on an upstream's kind, on the route's name or on this machine are resolved
here; the engine only checks and obeys. The document holds credentials in clear: it is handed over
in memory and never written anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sentinel.config.caching import RouteCacheSettings
from sentinel.config.fields import is_private
from sentinel.config.limits import rules_of
from sentinel.config.models import (
    AccountSettings,
    RouteSettings,
    ServerSettings,
    UpstreamSettings,
)
from sentinel.config.resilience import (
    AdaptiveConcurrencySettings,
    BreakerSettings,
    CoolDownSettings,
    RetrySettings,
    TimeoutSettings,
)
from sentinel.config.rules import upstream_host
from sentinel.config.settings import Settings
from sentinel.config.trust import trust_files
from sentinel.config.units import microseconds
from sentinel.types import PriceTable

__all__ = ["to_snapshot"]

# How many bytes of one exchange may wait for a slow reader before the upstream read stops.
_CREDIT_BYTES: Final = 256 << 10

_AUTH_HEADERS: Final = {
    "openai": "Authorization",
    "azure": "api-key",
    "anthropic": "x-api-key",
    "python": "Authorization",
}
_AZURE_TEMPLATE: Final = "/openai/deployments/{model}/{endpoint}"


def to_snapshot(
    settings: Settings, prices: PriceTable, environ: Mapping[str, str] | None = None
) -> str:
    """The engine's snapshot of `settings`, costs by `prices`.

    `environ` (the process environment unless given) only tells `SSL_CERT_FILE`. Equal settings
    give equal text, `version` included.
    """
    anchors = trust_files(os.environ if environ is None else environ)
    document: dict[str, Any] = {
        "insecure": settings.server.insecure,
        "limits": settings.server.limits.model_dump() | {"credit_bytes": _CREDIT_BYTES},
        "address": _addresses(settings.server),
        "accounts": _accounts(settings.accounts),
        "upstreams": [_upstream(*item, anchors) for item in settings.upstreams.items()],
        "routes": [_route(*item) for item in settings.routes.items()],
        "cache": {"max_bytes": settings.cache.max_bytes},
        "models": [rule.model_dump() for rule in settings.tokens.models],
        "prices": _price_list(prices),
    }
    digest = hashlib.sha256(_json(document).encode()).hexdigest()
    return _json({"version": digest[:16], **document})


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _addresses(server: ServerSettings) -> dict[str, Any]:
    return {
        "rules": rules_of(server.per_address).document(),
        "trusted_proxies": list(dict.fromkeys(server.trusted_proxies)),
    }


def _accounts(accounts: Mapping[str, AccountSettings]) -> list[dict[str, Any]]:
    """Accounts that have rules; the others need not be known."""
    limited = []
    for name, entry in accounts.items():
        rules, end_users = rules_of(entry.limits), rules_of(entry.end_users)
        if rules or end_users:
            told = {"rules": rules.document(), "end_user_rules": end_users.document()}
            limited.append({"id": name, **told})
    return limited


def _upstream(name: str, upstream: UpstreamSettings, anchors: list[str]) -> dict[str, Any]:
    base_url, path_template = _address(upstream)
    return {
        "name": name,
        "kind": upstream.kind,
        "base_url": base_url,
        "path_template": path_template,
        "query": dict(upstream.query),
        "auth_header": upstream.auth_header or _AUTH_HEADERS[upstream.kind],
        "credentials": [entry.key.get_secret_value() for entry in upstream.credentials],
        "credential_rules": [rules_of(entry.limits).document() for entry in upstream.credentials],
        "timeouts_us": _timeouts(upstream.timeouts),
        "breaker": _breaker(upstream.breaker),
        "retry": _retry(upstream.retry),
        "cool_down_us": _cool_down(upstream.cool_down),
        "concurrency": _concurrency(upstream.adaptive_concurrency),
        "ca_file": upstream.ca_file,
        "trust_files": anchors if upstream.ca_file is None else [upstream.ca_file, *anchors],
        "allow_private": _allow_private(upstream),
        "max_connections": upstream.max_connections,
    }


def _address(upstream: UpstreamSettings) -> tuple[str | None, str | None]:
    """Base URL and path template; a URL that stops at the host gets the kind's usual path."""
    base_url, template = upstream.base_url, upstream.path_template
    if base_url is None or template is not None:
        return base_url, template
    if upstream.kind == "azure":
        return base_url, _AZURE_TEMPLATE
    return (base_url if urlsplit(base_url).path else f"{base_url}/v1"), None


def _timeouts(timeouts: TimeoutSettings) -> dict[str, int]:
    return {
        "connect": microseconds(timeouts.connect),
        "first_byte": microseconds(timeouts.first_byte),
        "idle": microseconds(timeouts.idle),
        "total": microseconds(timeouts.total),
    }


def _breaker(breaker: BreakerSettings) -> dict[str, Any]:
    return {
        "enabled": breaker.enabled,
        "window": breaker.window,
        "window_calls": breaker.window_calls,
        "window_length_us": microseconds(breaker.window_length),
        "window_buckets": breaker.window_buckets,
        "minimum_calls": breaker.minimum_calls,
        "failure_rate_percent": breaker.failure_rate_percent,
        "slow_rate_percent": breaker.slow_rate_percent,
        "slow_duration_us": microseconds(breaker.slow_duration),
        "slow_first_token_us": microseconds(breaker.slow_first_token),
        "slow_gap_us": microseconds(breaker.slow_gap),
        "open_wait_us": microseconds(breaker.open_wait),
        "wait_factor": breaker.wait_factor,
        "longest_wait_us": microseconds(breaker.longest_wait),
        "jitter_percent": breaker.jitter_percent,
        "probes": breaker.probes,
        "probe_timeout_us": microseconds(breaker.probe_timeout),
    }


def _retry(retry: RetrySettings) -> dict[str, int]:
    return {
        "attempts": retry.attempts,
        "base_us": microseconds(retry.base),
        "cap_us": microseconds(retry.cap),
        "longest_retry_after_us": microseconds(retry.longest_retry_after),
        "budget_percent": retry.budget.percent,
        "budget_per_second": retry.budget.per_second,
        "budget_window_seconds": retry.budget.window // timedelta(seconds=1),
    }


def _cool_down(cool_down: CoolDownSettings) -> dict[str, int]:
    return {
        "first": microseconds(cool_down.first),
        "longest": microseconds(cool_down.longest),
    }


def _concurrency(adaptive: AdaptiveConcurrencySettings | None) -> dict[str, int] | None:
    if adaptive is None:
        return None
    return {
        "least": adaptive.least,
        "most": adaptive.most,
        "initial": adaptive.initial,
        "tolerance_percent": adaptive.tolerance_percent,
        "baseline_window_us": microseconds(adaptive.baseline_window),
    }


def _allow_private(upstream: UpstreamSettings) -> bool:
    """Whether private addresses may be called: said so, or the URL itself is one (S6)."""
    if upstream.allow_private is not None:
        return upstream.allow_private
    host = upstream_host(upstream.base_url)
    return host is not None and is_private(host)


def _route(name: str, route: RouteSettings) -> dict[str, Any]:
    named = None if "*" in name else name
    return {
        "name": name,
        "aliases": list(route.aliases),
        "default_output_tokens": route.default_output_tokens,
        "targets": [
            {
                "upstream": target.upstream,
                "model": target.model or named,
                "weight": target.weight,
                "tier": target.tier,
            }
            for target in route.targets
        ],
        "rules": rules_of(route.limits).document(),
        "cache": _route_cache(route.cache),
    }


def _route_cache(cache: RouteCacheSettings | None) -> dict[str, Any] | None:
    if cache is None:
        return None
    return {
        "ttl_us": microseconds(cache.ttl),
        "sampled": cache.sampled,
        "store_fallback": cache.store_fallback,
        "share": cache.share,
        "tags": list(dict.fromkeys(cache.tags)),
        "on_abort": cache.on_abort,
    }


def _price_list(prices: PriceTable) -> dict[str, Any]:
    models = [
        {
            "model": price.model,
            "prompt": price.prompt,
            "cached": price.cached,
            "cache_write": price.cache_write,
            "completion": price.completion,
        }
        for price in prices.models
    ]
    return {"version": prices.version, "models": models}
