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
    assert list(document) == ["version", "insecure", "limits", "upstreams", "routes", "prices"]
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
