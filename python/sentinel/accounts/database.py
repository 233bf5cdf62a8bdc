"""The SQLite file behind the key store: opened 0600, in WAL mode, its schema made or checked.

`PRAGMA user_version` is the schema's version. The file remembers a fingerprint of the pepper its
digests were made with, because with another pepper every key would silently stop working.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
from pathlib import Path
from typing import Final

from sentinel.accounts.digest import key_digest
from sentinel.errors import AccountsError

__all__ = ["open_database"]

_VERSION: Final = 1
_BUSY_SECONDS: Final = 2.0
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    parent TEXT REFERENCES accounts (id),
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 4),
    external_id TEXT NOT NULL UNIQUE CHECK (trim(external_id) <> ''),
    created_us INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1))
) STRICT;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    models TEXT NOT NULL,
    hint TEXT NOT NULL CHECK (length(hint) = 4),
    created_us INTEGER NOT NULL,
    revoked_us INTEGER
) STRICT;
CREATE INDEX keys_by_account ON keys (account);
"""


def open_database(path: Path, pepper: bytes) -> sqlite3.Connection:
    """A connection in autocommit mode; AccountsError when the file is not a key store of ours."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise AccountsError(f"key store {path}: {_reason(error)}") from None
    try:
        _prepare(connection, key_digest(pepper, "sentinel pepper fingerprint"), path)
    except sqlite3.Error as error:
        connection.close()
        raise AccountsError(f"key store {path}: {_reason(error)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _prepare(connection: sqlite3.Connection, fingerprint: bytes, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION:d}")
        connection.execute("INSERT INTO meta VALUES ('pepper', ?)", (fingerprint,))
    elif version != _VERSION:
        raise AccountsError(f"key store {path} has version {version}; this one knows {_VERSION}")
    (kept,) = connection.execute("SELECT value FROM meta WHERE name = 'pepper'").fetchone()
    connection.execute("COMMIT")
    if not hmac.compare_digest(kept, fingerprint):
        raise AccountsError(
            f"key store {path} was made with another pepper: none of its keys would work"
        )
