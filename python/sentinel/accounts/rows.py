"""Between SQLite rows and records, and the checks of what callers may write into them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from sentinel.accounts.records import AccountRecord, KeyRecord
from sentinel.errors import InvalidAccount
from sentinel.types import SCOPES, account_fault, account_parent, pattern_fault

__all__ = [
    "ACCOUNT_QUERY",
    "KEY_QUERY",
    "account_record",
    "check_account",
    "check_models",
    "check_name",
    "check_scopes",
    "has_account",
    "insert_account",
    "key_record",
]

ACCOUNT_QUERY = "SELECT id, parent, level, external_id, created_us, disabled FROM accounts"
KEY_QUERY = "SELECT id, account, name, scopes, models, hint, created_us, revoked_us FROM keys"


def account_record(row: tuple[Any, ...]) -> AccountRecord:
    """A row of ACCOUNT_QUERY."""
    account, parent, level, external_id, created_us, disabled = row
    return AccountRecord(account, parent, level, external_id, created_us, bool(disabled))


def key_record(row: tuple[Any, ...]) -> KeyRecord:
    """A row of KEY_QUERY."""
    key_id, account, name, scopes, models, hint, created_us, revoked_us = row
    return KeyRecord(
        id=key_id,
        account=account,
        name=name,
        scopes=tuple(json.loads(scopes)),
        models=tuple(json.loads(models)),
        hint=hint,
        created_us=created_us,
        revoked_us=revoked_us,
    )


def has_account(connection: sqlite3.Connection, account: str) -> bool:
    """Whether the account exists."""
    row = connection.execute("SELECT 1 FROM accounts WHERE id = ?", (account,)).fetchone()
    return row is not None


def insert_account(
    connection: sqlite3.Connection, account: str, external_id: str, now_us: int
) -> None:
    """Write a checked account; parent and level follow from the id."""
    level = account.count("/") + 1
    connection.execute(
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, 0)",
        (account, account_parent(account), level, external_id, now_us),
    )


def check_account(account: str, external_id: str) -> None:
    """Refuse an id that is no path of accounts, and an external id that is blank (B4)."""
    if fault := account_fault(account):
        raise InvalidAccount(fault)
    if not external_id.strip() or len(external_id) > 256 or not external_id.isprintable():
        raise InvalidAccount("an external id is 1 to 256 printable characters, not blank")


def check_name(name: str) -> None:
    """Refuse a key name that cannot be shown on one line."""
    if len(name) > 100 or not name.isprintable():
        raise InvalidAccount("a key's name is at most 100 printable characters")


def check_scopes(scopes: Sequence[str]) -> None:
    """Refuse a scope that does not exist."""
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidAccount(f"a scope is one of {', '.join(SCOPES)}")


def check_models(models: Sequence[str]) -> None:
    """Refuse what no model could be called."""
    for pattern in models:
        if fault := pattern_fault(pattern):
            raise InvalidAccount(fault)
