"""`KeyStore`: accounts and issued keys in SQLite.

A key is shown once, when it is made; after that only its digest exists. Values are bound, never
pasted into SQL (S1). What callers may choose is what the parameters name: there is no way to pass
a role or a digest (S20). One lock makes a store usable from several threads; another process
(the CLI beside a running gateway) is kept apart by SQLite.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sentinel.accounts.database import open_database
from sentinel.accounts.digest import key_digest
from sentinel.accounts.engine import engine_document
from sentinel.accounts.issue import issue_key
from sentinel.accounts.records import AccountRecord, KeyRecord
from sentinel.accounts.rows import (
    ACCOUNT_QUERY,
    KEY_QUERY,
    account_record,
    check_account,
    check_models,
    check_name,
    check_scopes,
    has_account,
    insert_account,
    key_record,
)
from sentinel.errors import AccountExists, AccountsError, UnknownAccount, UnknownKey
from sentinel.types import DEFAULT_ACCOUNT, ConfiguredKey, account_parent, account_path

__all__ = ["KeyStore"]


def _now_us() -> int:
    return time.time_ns() // 1000


class KeyStore:
    """The store at `path`. Digests are made with `pepper`; `now_us` and `random_bytes` are given
    by tests. Every method raises AccountsError (or a kind of it) when it cannot do its work.
    """

    def __init__(
        self,
        path: Path,
        pepper: bytes,
        *,
        now_us: Callable[[], int] = _now_us,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._pepper = pepper
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._connection = open_database(path, pepper)
        self.ensure_accounts({DEFAULT_ACCOUNT: None})

    def close(self) -> None:
        """Close the file. Harmless when done twice."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    # Accounts

    def create_account(self, account: str, external_id: str | None = None) -> AccountRecord:
        """Make an account under its parent, which must exist.

        `external_id` is how others know it; without one it is the account's id.
        """
        outside = account if external_id is None else external_id
        check_account(account, outside)
        with self._change() as connection:
            above = account_parent(account)
            if above is not None and not has_account(connection, above):
                raise UnknownAccount(f'no account "{above}" to stand under')
            if has_account(connection, account):
                raise AccountExists(f'account "{account}" exists')
            insert_account(connection, account, outside, self._now_us())
        return self.get_account(account)

    def ensure_accounts(self, accounts: Mapping[str, str | None]) -> None:
        """Make those of `accounts` (id -> external id) that do not exist, parents first.

        An external id that is given replaces the one known so far; None keeps it.
        """
        ordered = sorted(accounts, key=lambda account: account.count("/"))
        with self._change() as connection:
            for account in ordered:
                outside = accounts[account]
                check_account(account, account if outside is None else outside)
                if not has_account(connection, account):
                    insert_account(connection, account, outside or account, self._now_us())
                elif outside is not None:
                    connection.execute(
                        "UPDATE accounts SET external_id = ? WHERE id = ?", (outside, account)
                    )

    def get_account(self, account: str) -> AccountRecord:
        """The account, or UnknownAccount."""
        rows = self._rows(f"{ACCOUNT_QUERY} WHERE id = ?", account)
        if not rows:
            raise UnknownAccount(f'no account "{account}"')
        return account_record(rows[0])

    def list_accounts(self) -> list[AccountRecord]:
        """All accounts, parents before children."""
        return [account_record(row) for row in self._rows(f"{ACCOUNT_QUERY} ORDER BY id")]

    def set_account_disabled(self, account: str, disabled: bool) -> AccountRecord:
        """Refuse, or take again, every key of the account and of the accounts below it."""
        self.get_account(account)
        with self._change() as connection:
            connection.execute(
                "UPDATE accounts SET disabled = ? WHERE id = ?", (int(disabled), account)
            )
        return self.get_account(account)

    # Keys

    def create_key(
        self,
        account: str = DEFAULT_ACCOUNT,
        name: str = "",
        scopes: Sequence[str] = (),
        models: Sequence[str] = (),
    ) -> tuple[KeyRecord, str]:
        """A new key of `account` and, this once, the key itself.

        No `scopes` means all that are not admin's, no `models` means all.
        """
        check_scopes(scopes)
        check_models(models)
        check_name(name)
        plaintext = issue_key(self._random_bytes)
        key_id = f"key_{self._random_bytes(8).hex()}"
        with self._change() as connection:
            if not has_account(connection, account):
                raise UnknownAccount(f'no account "{account}"')
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    key_id,
                    key_digest(self._pepper, plaintext),
                    account,
                    name,
                    json.dumps(list(scopes)),
                    json.dumps(list(models)),
                    plaintext[-4:],
                    self._now_us(),
                ),
            )
        return self.get(key_id), plaintext

    def get(self, key_id: str) -> KeyRecord:
        """The key with this id, or UnknownKey."""
        rows = self._rows(f"{KEY_QUERY} WHERE id = ?", key_id)
        if not rows:
            raise UnknownKey(f'no key "{key_id}"')
        return key_record(rows[0])

    def list_keys(self, account: str | None = None) -> list[KeyRecord]:
        """The keys of `account`, else all, oldest first, revoked ones too."""
        where = "" if account is None else " WHERE account = ?"
        values = () if account is None else (account,)
        rows = self._rows(f"{KEY_QUERY}{where} ORDER BY created_us, id", *values)
        return [key_record(row) for row in rows]

    def revoke_key(self, key_id: str) -> KeyRecord:
        """Revoke for good. Revoking again changes nothing."""
        with self._change() as connection:
            connection.execute(
                "UPDATE keys SET revoked_us = ? WHERE id = ? AND revoked_us IS NULL",
                (self._now_us(), key_id),
            )
        return self.get(key_id)

    def digest(self, credential: str) -> str:
        """By what keys are known in `engine_keys`: the hex digits of the credential's digest."""
        return key_digest(self._pepper, credential).hex()

    # What the engine is told

    def engine_keys(self, configured: Sequence[ConfiguredKey] = ()) -> str:
        """All keys that work now, issued and configured, as JSON for `engine.replace_keys`."""
        disabled = {row[0] for row in self._rows("SELECT id FROM accounts WHERE disabled = 1")}
        rows = self._rows(
            "SELECT id, digest, account, scopes, models FROM keys "
            "WHERE revoked_us IS NULL ORDER BY created_us, id"
        )
        issued = [
            ConfiguredKey(
                id=key_id,
                account=account,
                scopes=tuple(json.loads(scopes)),
                models=tuple(json.loads(models)),
                digest=digest.hex(),
            )
            for key_id, digest, account, scopes, models in rows
        ]
        working = [
            key for key in (*configured, *issued) if disabled.isdisjoint(account_path(key.account))
        ]
        return engine_document(working, self._pepper)

    # SQLite

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing."""
        with self._lock, _translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock, _translated():
            return self._connection.execute(query, values).fetchall()


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's failures as ours."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if "external_id" in str(error):
            raise AccountExists("another account has this external id") from None
        raise AccountsError(f"key store: {error}") from None
    except (sqlite3.Error, UnicodeError) as error:
        raise AccountsError(f"key store: {error}") from None
