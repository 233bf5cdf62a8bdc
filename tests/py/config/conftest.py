"""A small sound configuration that tests break in one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Settings
from sentinel.errors import ConfigError

Faults = Callable[[Any], dict[str, str]]


@pytest.fixture
def sound() -> dict[str, Any]:
    return {
        "version": 1,
        "server": {"host": "127.0.0.1", "port": 8080},
        "admin": {"key": "admin-key-of-sixteen"},
        "upstreams": {
            "openai": {
                "base_url": "https://api.openai.com/v1",
                "credentials": [{"key": "sk-upstream-one"}, {"key": "sk-upstream-two"}],
            },
            "azure": {
                "kind": "azure",
                "base_url": "https://example.openai.azure.com",
                "query": {"api-version": "2024-06-01"},
            },
        },
        "routes": {
            "gpt-4o": {
                "targets": [
                    {"upstream": "openai", "weight": 3},
                    {"upstream": "azure", "model": "four-o"},
                ],
                "aliases": ["four"],
            },
            "claude-*": {"targets": [{"upstream": "openai"}]},
        },
        "accounts": {"acme": {}, "acme/search": {"parent": "acme", "external_id": "cust-7"}},
        "keys": [
            {"id": "ci", "account": "acme/search", "hash": "ab" * 32, "scopes": ["chat"]},
            {"id": "app", "key": "operators-own-key", "models": ["gpt-4o*"]},
        ],
        "log": {"level": "info"},
    }


@pytest.fixture
def full(sound: dict[str, Any]) -> dict[str, Any]:
    """The sound configuration with everything written that has a default."""
    sound["server"] |= {
        "per_address": {"rates": ["10/s burst 20"]},
        "trusted_proxies": ["10.1.2.3/8", "::1"],
    }
    openai = sound["upstreams"]["openai"]
    openai["credentials"][0]["limits"] = {"rpm": 5000}
    openai["breaker"] = {"window": "time", "window_length": "1m", "slow_gap": "5s", "probes": 2}
    openai["retry"] = {"attempts": 2, "base": "50ms", "budget": {"percent": 10, "window": "20s"}}
    openai["cool_down"] = {"first": "2s", "longest": "1m"}
    openai["adaptive_concurrency"] = {"least": 2, "most": 50, "initial": 10}
    sound["upstreams"]["azure"]["breaker"] = False
    route = sound["routes"]["gpt-4o"]
    route["targets"][1]["tier"] = 2
    route["limits"] = {"tpm": 200_000}
    route["cache"] = {"ttl": "10m", "share": "team", "tags": ["news", "v2"], "on_abort": "drain"}
    sound["accounts"]["acme"]["limits"] = {"rpm": 600, "tpm": 200_000, "usd_per_day": 0.25}
    sound["keys"][0]["limits"] = {"concurrency": 2, "rates": ["1000/day"]}
    sound["cache"] = {"max_bytes": "512MiB"}
    sound["tokens"] = {"models": [{"prefix": "my-model", "encoding": "cl100k_base"}]}
    return sound


@pytest.fixture
def faults() -> Faults:
    """The faults of a document by path; empty when it is sound."""

    def of(document: Any) -> dict[str, str]:
        try:
            Settings.parse(document)
        except ConfigError as error:
            return {fault.path: fault.message for fault in error.faults} or {"": "no fault"}
        return {}

    return of


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def to_file(text: str) -> Path:
        path = tmp_path / "sentinel.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file
