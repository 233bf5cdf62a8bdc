"""Accounts and keys: who may call, and who pays.

    pepper = load_pepper(prepare_data_dir(data_dir))
    with KeyStore(data_dir / "accounts.db", pepper) as store:
        record, key = store.create_key("default", name="ci")

Standard library only.
"""

from __future__ import annotations

from sentinel.accounts.control import ControlServer, notify
from sentinel.accounts.data_dir import load_pepper, prepare_data_dir
from sentinel.accounts.digest import SecretCheck, key_digest
from sentinel.accounts.issue import issue_key, well_formed
from sentinel.accounts.records import AccountRecord, KeyRecord
from sentinel.accounts.store import KeyStore

__all__ = [
    "AccountRecord",
    "ControlServer",
    "KeyRecord",
    "KeyStore",
    "SecretCheck",
    "issue_key",
    "key_digest",
    "load_pepper",
    "notify",
    "prepare_data_dir",
    "well_formed",
]
