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
