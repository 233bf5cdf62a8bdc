"""The document handed to the engine: everything explicit, nothing left to guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Settings, to_snapshot
from sentinel.types import ModelPrice, PriceTable

PRICES = PriceTable("v1", (ModelPrice("gpt-4o*", 4, 3, 2, 1),))


def snapshot(document: dict[str, Any], environ: dict[str, str] | None = None) -> dict[str, Any]:
    text = to_snapshot(Settings.parse(document), PRICES, environ or {})
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_the_snapshot_has_exactly_the_members_the_engine_reads(sound: dict[str, Any]) -> None:
    document = snapshot(sound)
    assert list(document) == [
        "version",
        "insecure",
        "limits",
        "address",
        "accounts",
        "upstreams",
        "routes",
        "cache",
        "models",
        "prices",
    ]
    assert document["limits"] == {
        "body_bytes": 10 << 20,
        "head_bytes": 16 << 10,
        "headers": 100,
        "response_bytes": 64 << 20,
        "event_bytes": 8 << 20,
        "credit_bytes": 256 << 10,
        "in_flight": 4096,
        "body_seconds": 30,
    }
    openai = document["upstreams"][0]
    assert openai["credentials"] == ["sk-upstream-one", "sk-upstream-two"]
    assert openai["timeouts_us"] == {
        "connect": 2_000_000,
        "first_byte": 60_000_000,
        "idle": 30_000_000,
        "total": 600_000_000,
    }
    assert document["prices"] == {
        "version": "v1",
        "models": [
            {"model": "gpt-4o*", "prompt": 4, "cached": 3, "cache_write": 2, "completion": 1}
        ],
    }


def test_a_kind_brings_its_header_and_its_path(sound: dict[str, Any]) -> None:
    sound["upstreams"]["claude"] = {"kind": "anthropic", "base_url": "https://api.anthropic.com"}
    sound["upstreams"]["mine"] = {"kind": "python"}
    openai, azure, claude, mine = snapshot(sound)["upstreams"]
    assert (openai["auth_header"], openai["path_template"]) == ("Authorization", None)
    assert azure["auth_header"] == "api-key"
    assert azure["path_template"] == "/openai/deployments/{model}/{endpoint}"
    assert azure["query"] == {"api-version": "2024-06-01"}
    assert (claude["auth_header"], claude["base_url"]) == (
        "x-api-key",
        "https://api.anthropic.com/v1",
    )
    assert (mine["kind"], mine["base_url"]) == ("python", None)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9/v1"),
        ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1"),
        ("HTTPS://host/v2/", "https://host/v2"),
        ("https://host/v1", "https://host/v1"),
    ],
)
def test_a_url_that_stops_at_the_host_gets_the_usual_path(
    sound: dict[str, Any], given: str, sent: str
) -> None:
    sound["upstreams"]["openai"]["base_url"] = given
    assert snapshot(sound)["upstreams"][0]["base_url"] == sent


def test_a_path_template_says_where_the_endpoints_are(sound: dict[str, Any]) -> None:
    sound["upstreams"]["openai"] |= {"base_url": "https://host", "path_template": "/{endpoint}"}
    upstream = snapshot(sound)["upstreams"][0]
    assert (upstream["base_url"], upstream["path_template"]) == ("https://host", "/{endpoint}")


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:9/v1", True),
        ("http://[::1]:9/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://169.254.169.254/v1", True),
        ("http://[::ffff:10.0.0.1]/v1", True),
        ("https://93.184.216.34/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://internal/v1", False),
    ],
)
def test_s6_only_an_address_written_in_the_url_may_be_private_unasked(
    sound: dict[str, Any], url: str, private: bool
) -> None:
    sound["upstreams"]["openai"]["base_url"] = url
    assert snapshot(sound)["upstreams"][0]["allow_private"] is private


def test_s6_a_name_that_may_be_private_has_to_be_told_so(sound: dict[str, Any]) -> None:
    sound["upstreams"]["openai"] |= {"base_url": "http://vllm:8000", "allow_private": True}
    assert snapshot(sound)["upstreams"][0]["allow_private"] is True


def test_a_named_route_always_says_which_model_it_asks_for(sound: dict[str, Any]) -> None:
    named, pattern = snapshot(sound)["routes"]
    assert [target["model"] for target in named["targets"]] == ["gpt-4o", "four-o"]
    assert named["aliases"] == ["four"]
    assert pattern["targets"][0]["model"] is None


def test_trust_goes_from_the_configured_file_to_the_bundled_one(
    sound: dict[str, Any], tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("-----BEGIN CERTIFICATE-----\n")
    sound["upstreams"]["openai"]["ca_file"] = str(ca_file)
    openai, azure = snapshot(sound, {"SSL_CERT_FILE": "/told/by/environment.pem"})["upstreams"]
    assert openai["ca_file"] == openai["trust_files"][0] == str(ca_file)
    assert azure["ca_file"] is None
    assert azure["trust_files"][0] == "/told/by/environment.pem"
    assert azure["trust_files"][1] == "/etc/ssl/certs/ca-certificates.crt"
    assert "certifi" in azure["trust_files"][-1]


def test_the_version_changes_with_the_content_only(sound: dict[str, Any]) -> None:
    first = snapshot(sound)["version"]
    assert first == snapshot(sound)["version"]
    sound["routes"]["gpt-4o"]["targets"][0]["weight"] = 4
    assert snapshot(sound)["version"] != first


def told(*rates: str, counting_hits: tuple[str, ...] = ()) -> dict[str, Any]:
    """A node's rules as the engine is told them."""
    return {
        "rates": list(rates),
        "rates_counting_hits": list(counting_hits),
        "concurrency": None,
    }


NO_RULES = told()


def test_what_is_left_out_is_written_with_its_default(sound: dict[str, Any]) -> None:
    document = snapshot(sound)
    assert document["address"] == {"rules": NO_RULES, "trusted_proxies": []}
    assert document["accounts"] == []
    assert document["cache"] == {"max_bytes": 256 << 20}
    assert document["models"] == []
    route = document["routes"][0]
    assert (route["rules"], route["cache"]) == (NO_RULES, None)
    assert [target["tier"] for target in route["targets"]] == [0, 0]
    openai = document["upstreams"][0]
    assert openai["credential_rules"] == [NO_RULES, NO_RULES]
    assert openai["cool_down_us"] == {"first": 1_000_000, "longest": 300_000_000}
    assert openai["concurrency"] is None
    assert openai["breaker"] == {
        "enabled": True,
        "window": "count",
        "window_calls": 100,
        "window_length_us": 30_000_000,
        "window_buckets": 10,
        "minimum_calls": 20,
        "failure_rate_percent": 50,
        "slow_rate_percent": 80,
        "slow_duration_us": 0,
        "slow_first_token_us": 0,
        "slow_gap_us": 0,
        "open_wait_us": 5_000_000,
        "wait_factor": 2,
        "longest_wait_us": 120_000_000,
        "jitter_percent": 10,
        "probes": 1,
        "probe_timeout_us": 60_000_000,
    }
    assert openai["retry"] == {
        "attempts": 3,
        "base_us": 100_000,
        "cap_us": 5_000_000,
        "longest_retry_after_us": 10_000_000,
        "budget_percent": 20,
        "budget_per_second": 1,
        "budget_window_seconds": 10,
    }


def test_what_is_written_reaches_the_document(full: dict[str, Any]) -> None:
    document = snapshot(full)
    assert document["address"] == {
        "rules": told("10/s burst 20"),
        "trusted_proxies": ["10.0.0.0/8", "::1/128"],
    }
    rates = ("600/min", "200000 tokens/min", "0.25 usd/day")
    assert document["accounts"] == [
        {"id": "acme", "rules": told(*rates), "end_user_rules": NO_RULES}
    ]
    assert document["cache"] == {"max_bytes": 512 << 20}
    assert document["models"] == [{"prefix": "my-model", "encoding": "cl100k_base"}]


def test_the_rules_of_end_users_and_of_hits_reach_the_document(full: dict[str, Any]) -> None:
    counting = [{"rate": "9 tokens/s", "hits": "count"}, {"rate": "5/s", "hits": "free"}]
    full["accounts"]["acme"] = {"end_users": {"rpm": 3, "rates": counting}}
    assert snapshot(full)["accounts"] == [
        {
            "id": "acme",
            "rules": NO_RULES,
            "end_user_rules": told("3/min", "5/s", counting_hits=("9 tokens/s",)),
        }
    ]


def test_what_a_route_says_reaches_the_document(full: dict[str, Any]) -> None:
    route = snapshot(full)["routes"][0]
    assert route["rules"] == told("200000 tokens/min")
    assert [target["tier"] for target in route["targets"]] == [0, 2]
    assert route["cache"] == {
        "ttl_us": 600_000_000,
        "sampled": False,
        "store_fallback": False,
        "share": "team",
        "tags": ["news", "v2"],
        "on_abort": "drain",
    }


def test_what_an_upstream_says_reaches_the_document(full: dict[str, Any]) -> None:
    openai, azure = snapshot(full)["upstreams"]
    assert openai["credential_rules"] == [told("5000/min"), NO_RULES]
    assert openai["cool_down_us"] == {"first": 2_000_000, "longest": 60_000_000}
    breaker = openai["breaker"]
    assert (breaker["window"], breaker["window_length_us"]) == ("time", 60_000_000)
    assert (breaker["slow_gap_us"], breaker["probes"]) == (5_000_000, 2)
    assert (openai["retry"]["attempts"], openai["retry"]["base_us"]) == (2, 50_000)
    assert openai["retry"]["budget_percent"] == 10
    assert openai["retry"]["budget_window_seconds"] == 20
    assert openai["concurrency"] == {
        "least": 2,
        "most": 50,
        "initial": 10,
        "tolerance_percent": 200,
        "baseline_window_us": 60_000_000,
    }
    assert azure["breaker"]["enabled"] is False
    assert azure["credential_rules"] == []
