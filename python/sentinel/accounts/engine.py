"""Keys in the shape the engine takes: digest, account path, scopes, models, rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sentinel.accounts.digest import key_digest
from sentinel.types import ConfiguredKey, account_path

__all__ = ["engine_document"]


def engine_document(keys: Iterable[ConfiguredKey], pepper: bytes) -> str:
    """JSON text for `replace_keys`. Of two entries for one key the first counts."""
    entries: dict[str, dict[str, Any]] = {}
    for key in keys:
        digest = key.digest or key_digest(pepper, key.secret or "").hex()
        entry: dict[str, Any] = {
            "id": key.id,
            "digest": digest,
            "accounts": account_path(key.account),
            "scopes": key.scopes,
            "models": key.models,
        }
        if key.rules:  # issued keys have none, and there may be many
            entry["rules"] = key.rules.document()
        entries.setdefault(digest, entry)
    return json.dumps(list(entries.values()))
