"""Resilience, tiers, caching and token rules: defaults, edges, contradictions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sentinel.config import Settings, json_schema
from sentinel.config.caching import CacheSettings, RouteCacheSettings
from sentinel.config.models import TargetSettings
from sentinel.config.resilience import (
    AdaptiveConcurrencySettings,
    BreakerSettings,
    BudgetSettings,
    CoolDownSettings,
    RetrySettings,
)
from sentinel.config.section import Section

Faults = Callable[[Any], dict[str, str]]

# (section, member, lowest, below it, highest, above it)
EDGES: list[tuple[type[Section], str, object, object, object, object]] = [
    (BreakerSettings, "window_calls", 1, 0, 100_000, 100_001),
    (BreakerSettings, "window_length", "1ms", "999us", "24h", "25h"),
    (BreakerSettings, "window_buckets", 1, 0, 3600, 3601),
    (BreakerSettings, "minimum_calls", 1, 0, 100_000, 100_001),
    (BreakerSettings, "failure_rate_percent", 1, 0, 100, 101),
    (BreakerSettings, "slow_rate_percent", 1, 0, 100, 101),
    (BreakerSettings, "slow_duration", 0, -1, "24h", "25h"),
    (BreakerSettings, "slow_first_token", 0, -1, "24h", "25h"),
    (BreakerSettings, "slow_gap", 0, -1, "24h", "25h"),
    (BreakerSettings, "open_wait", "1ms", 0, "1h", "2h"),
    (BreakerSettings, "wait_factor", 1, 0, 10, 11),
    (BreakerSettings, "longest_wait", "1ms", 0, "1h", "2h"),
    (BreakerSettings, "jitter_percent", 0, -1, 100, 101),
    (BreakerSettings, "probes", 1, 0, 1000, 1001),
    (BreakerSettings, "probe_timeout", "1ms", 0, "24h", "25h"),
    (RetrySettings, "attempts", 1, 0, 10, 11),
    (RetrySettings, "base", "1ms", 0, "1h", "2h"),
    (RetrySettings, "cap", "1ms", 0, "1h", "2h"),
    (RetrySettings, "longest_retry_after", 0, -1, "1h", "2h"),
    (BudgetSettings, "percent", 0, -1, 100, 101),
    (BudgetSettings, "per_second", 0, -1, 100_000, 100_001),
    (BudgetSettings, "window", "1s", "1500ms", "1h", "3601s"),
    (CoolDownSettings, "first", "1ms", 0, "1h", "2h"),
    (CoolDownSettings, "longest", "1ms", 0, "24h", "25h"),
    (AdaptiveConcurrencySettings, "least", 1, 0, 1_000_000, 1_000_001),
    (AdaptiveConcurrencySettings, "most", 1, 0, 1_000_000, 1_000_001),
    (AdaptiveConcurrencySettings, "initial", 1, 0, 1_000_000, 1_000_001),
    (AdaptiveConcurrencySettings, "tolerance_percent", 101, 100, 10_000, 10_001),
    (AdaptiveConcurrencySettings, "baseline_window", "1ms", 0, "24h", "25h"),
    (RouteCacheSettings, "ttl", 0, -1, "30d", "31d"),
    (CacheSettings, "max_bytes", 0, -1, "1024GiB", "1025GiB"),
]


@pytest.mark.parametrize(("section", "name", "low", "below", "high", "above"), EDGES)
def test_b5_a_member_is_taken_to_its_edges_and_not_beyond(
    section: type[Section], name: str, low: object, below: object, high: object, above: object
) -> None:
    for edge in (low, high):
        section.model_validate({name: edge})
    for beyond in (below, above):
        with pytest.raises(ValueError, match="must be"):
            section.model_validate({name: beyond})


def test_tiers_go_from_0_to_8_and_may_have_gaps(sound: dict[str, Any], faults: Faults) -> None:
    targets = sound["routes"]["gpt-4o"]["targets"]
    targets[0]["tier"], targets[1]["tier"] = 3, 8
    assert faults(sound) == {}
    targets[1]["tier"] = 9
    assert list(faults(sound)) == ["routes.gpt-4o.targets[1].tier"]
    assert TargetSettings.model_fields["tier"].default == 0


def test_a_route_has_at_most_64_targets(sound: dict[str, Any], faults: Faults) -> None:
    sound["routes"]["claude-*"]["targets"] = [{"upstream": "openai"}] * 64
    assert faults(sound) == {}
    sound["routes"]["claude-*"]["targets"] = [{"upstream": "openai"}] * 65
    assert faults(sound) == {"routes.claude-*.targets": "must hold at most 64 entries"}


CONTRADICTIONS: list[tuple[dict[str, object], str, str]] = [
    ({"breaker": {"window_calls": 10}}, "breaker.minimum_calls", "at most `window_calls`, here 10"),
    ({"breaker": {"minimum_calls": 101}}, "breaker.minimum_calls", "here 100"),
    ({"breaker": {"window": "time", "window_length": "9ms"}}, "breaker.window_length", "1ms for"),
    ({"breaker": {"open_wait": "3m"}}, "breaker.longest_wait", "at least `open_wait`, here 3m"),
    ({"breaker": {"slow_duration": "10m"}}, "breaker.slow_duration", "`timeouts.total`"),
    ({"breaker": {"slow_gap": "30s"}}, "breaker.slow_gap", "`timeouts.idle` ends it after 30s"),
    (
        {"breaker": {"slow_first_token": "20s"}, "timeouts": {"total": "20s"}},
        "breaker.slow_first_token",
        "ends it after 20s",
    ),
    ({"breaker": "maybe"}, "breaker", "must be a mapping"),
    ({"breaker": {"window": "calls"}}, "breaker.window", "'count' or 'time'"),
    ({"retry": {"base": "6s"}}, "retry.cap", "at least `base`, here 6s"),
    ({"retry": {"budget": {"window": "0.5s"}}}, "retry.budget.window", "from 1s"),
    ({"retry": {"budget": {"window": "1.5s"}}}, "retry.budget.window", "whole seconds"),
    ({"retry": {"budget": {"share": 1}}}, "retry.budget.share", "unknown member"),
    ({"cool_down": {"longest": "500ms"}}, "cool_down.longest", "at least `first`, here 1s"),
    ({"adaptive_concurrency": {"most": 10}}, "adaptive_concurrency.initial", "here 1 to 10"),
    ({"adaptive_concurrency": {"least": 21}}, "adaptive_concurrency.initial", "here 21 to 1000"),
    (
        {"adaptive_concurrency": {"least": 9, "initial": 9, "most": 8}},
        "adaptive_concurrency.most",
        "at least `least`, here 9",
    ),
]


@pytest.mark.parametrize(("members", "path", "message"), CONTRADICTIONS)
def test_b5_members_that_contradict_each_other_are_one_fault(
    sound: dict[str, Any], faults: Faults, members: dict[str, object], path: str, message: str
) -> None:
    sound["upstreams"]["openai"] |= members
    found = faults(sound)
    assert list(found) == [f"upstreams.openai.{path}"]
    assert message in found[f"upstreams.openai.{path}"]


def test_a_window_of_time_may_want_more_calls_than_one_of_count_holds(
    sound: dict[str, Any], faults: Faults
) -> None:
    sound["upstreams"]["openai"]["breaker"] = {"window": "time", "minimum_calls": 500}
    assert faults(sound) == {}


@pytest.mark.parametrize("off", [False, "false", {"enabled": False}])
def test_a_breaker_may_be_left_out(sound: dict[str, Any], off: object) -> None:
    sound["upstreams"]["openai"]["breaker"] = off
    assert Settings.parse(sound).upstreams["openai"].breaker.enabled is False
    sound["upstreams"]["openai"]["breaker"] = True
    assert Settings.parse(sound).upstreams["openai"].breaker == BreakerSettings()


def test_a_route_without_cache_keeps_nothing_and_an_empty_one_has_the_defaults(
    sound: dict[str, Any],
) -> None:
    sound["routes"]["gpt-4o"]["cache"] = {}
    routes = Settings.parse(sound).routes
    assert routes["claude-*"].cache is None
    cache = routes["gpt-4o"].cache
    assert cache is not None
    assert (cache.ttl, cache.sampled, cache.store_fallback) == (timedelta(hours=1), False, False)
    assert (cache.share, cache.tags, cache.on_abort) == (None, (), "cancel")


@pytest.mark.parametrize(
    ("cache", "path"),
    [
        ({"ttl": "never"}, ".ttl"),
        ({"sampled": 1}, ".sampled"),
        ({"share": "two words"}, ".share"),
        ({"tags": "news"}, ".tags"),
        ({"tags": ["ok", ""]}, ".tags[1]"),
        ({"tags": [f"t{n}" for n in range(17)]}, ".tags"),
        ({"on_abort": "wait"}, ".on_abort"),
        ({"redis": {}}, ".redis"),
        (True, ""),
    ],
)
def test_b5_a_fault_of_a_routes_cache_is_told_at_its_place(
    sound: dict[str, Any], faults: Faults, cache: object, path: str
) -> None:
    sound["routes"]["gpt-4o"]["cache"] = cache
    assert list(faults(sound)) == [f"routes.gpt-4o.cache{path}"]


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"prefix": "my-model", "encoding": "o200k_base"}, "prefix", "has an encoding already"),
        ({"prefix": "ft:mine", "encoding": "o200k_base"}, "prefix", 'what follows "ft:"'),
        ({"prefix": "a b", "encoding": "o200k_base"}, "prefix", "model name"),
        ({"prefix": "mine", "encoding": "p50k_base"}, "encoding", "'o200k_base'"),
        ({"encoding": "o200k_base"}, "prefix", "is required"),
    ],
)
def test_b5_a_token_rule_names_a_new_prefix_and_an_encoding_we_have(
    full: dict[str, Any], faults: Faults, rule: dict[str, str], path: str, message: str
) -> None:
    full["tokens"]["models"].append(rule)
    found = faults(full)
    assert list(found) == [f"tokens.models[1].{path}"]
    assert message in found[f"tokens.models[1].{path}"]


def test_the_schema_takes_the_short_form_of_a_breaker() -> None:
    definitions = json_schema()["$defs"]
    breaker = definitions["UpstreamSettings"]["properties"]["breaker"]
    assert {"type": "boolean"} in breaker["anyOf"]
    limits = {"rpm", "tpm", "concurrency", "usd_per_day", "rates"}
    assert set(definitions["RateLimits"]["properties"]) == limits
