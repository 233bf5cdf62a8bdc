"""The key store: accounts in a tree, keys shown once, revoked for good."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sentinel.accounts import KeyStore, key_digest, well_formed
from sentinel.errors import (
    AccountExists,
    AccountsError,
    InvalidAccount,
    UnknownAccount,
    UnknownKey,
)
from sentinel.types import ConfiguredKey, Rules

PEPPER = b"p" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    """A store in a fresh directory, with a clock that counts calls."""
    clock = count(1_000_000)
    with KeyStore(tmp_path / "accounts.db", PEPPER, now_us=lambda: next(clock)) as opened:
        yield opened


def engine(store: KeyStore, *configured: ConfiguredKey) -> dict[str, dict[str, object]]:
    return {entry["id"]: entry for entry in json.loads(store.engine_keys(configured))}


def test_the_default_account_always_exists(store: KeyStore) -> None:
    assert [account.id for account in store.list_accounts()] == ["default"]


def test_accounts_form_a_tree_of_at_most_four_levels(store: KeyStore) -> None:
    for account in ("acme", "acme/a", "acme/a/b", "acme/a/b/c"):
        store.create_account(account)
    deepest = store.get_account("acme/a/b/c")
    assert (deepest.parent, deepest.level, deepest.external_id) == ("acme/a/b", 4, "acme/a/b/c")
    with pytest.raises(InvalidAccount, match="at most 4 levels"):
        store.create_account("acme/a/b/c/d")
    with pytest.raises(UnknownAccount, match="other"):
        store.create_account("other/a")
    with pytest.raises(AccountExists):
        store.create_account("acme")


@pytest.mark.parametrize("external_id", ["", "  ", "a\nb", "x" * 257])
def test_b4_an_account_without_a_sound_external_id_is_refused(
    store: KeyStore, external_id: str
) -> None:
    with pytest.raises(InvalidAccount, match="external id"):
        store.create_account("acme", external_id)
    assert [account.id for account in store.list_accounts()] == ["default"]


def test_b4_two_accounts_never_share_an_external_id(store: KeyStore) -> None:
    store.create_account("acme", "cust-7")
    with pytest.raises(AccountExists, match="external id"):
        store.create_account("other", "cust-7")


def test_configured_accounts_are_made_once_and_keep_what_is_not_said(store: KeyStore) -> None:
    store.ensure_accounts({"acme/search": None, "acme": "cust-7"})
    store.ensure_accounts({"acme/search": "cust-8", "acme": None})
    told = {account.id: account.external_id for account in store.list_accounts()}
    assert told == {"acme": "cust-7", "acme/search": "cust-8", "default": "default"}


def test_a_key_is_shown_once_and_only_its_digest_is_kept(store: KeyStore, tmp_path: Path) -> None:
    record, key = store.create_key(name="ci", scopes=["chat"], models=["gpt-4o*"])
    assert well_formed(key)
    assert record.hint == key[-4:]
    assert store.get(record.id) == store.list_keys()[0] == record
    assert engine(store)[record.id] == {
        "id": record.id,
        "digest": key_digest(PEPPER, key).hex(),
        "accounts": ["default"],
        "scopes": ["chat"],
        "models": ["gpt-4o*"],
    }
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.encode() not in kept
    assert key[7:34].encode() not in kept


def test_a_revoked_key_is_gone_for_good(store: KeyStore) -> None:
    record, _ = store.create_key()
    revoked = store.revoke_key(record.id)
    assert revoked.revoked
    assert store.revoke_key(record.id) == revoked
    assert engine(store) == {}
    with pytest.raises(UnknownKey):
        store.revoke_key("key_none")


def test_a_disabled_account_takes_its_whole_subtree_along(store: KeyStore) -> None:
    store.ensure_accounts({"acme": None, "acme/search": None})
    record, _ = store.create_key("acme/search")
    configured = ConfiguredKey("cfg", "acme", digest="ab" * 32)
    assert set(engine(store, configured)) == {record.id, "cfg"}
    store.set_account_disabled("acme", True)
    assert engine(store, configured) == {}
    store.set_account_disabled("acme", False)
    assert set(engine(store, configured)) == {record.id, "cfg"}


def test_configured_keys_join_as_digest_or_as_themselves(store: KeyStore) -> None:
    by_hash = ConfiguredKey("ci", "acme/search", ("embeddings",), digest="ab" * 32)
    by_secret = ConfiguredKey("app", "default", models=("gpt-4o",), secret="operators-own-key")
    entries = engine(store, by_hash, by_secret)
    assert entries["ci"]["accounts"] == ["acme", "acme/search"]
    assert entries["ci"]["digest"] == "ab" * 32
    assert entries["app"]["digest"] == key_digest(PEPPER, "operators-own-key").hex()


def test_only_a_key_with_rules_tells_them(store: KeyStore) -> None:
    record, _ = store.create_key()
    rules = Rules(("600/min",), 2, ("9 tokens/s",))
    limited = ConfiguredKey("ci", "default", digest="ab" * 32, rules=rules)
    free = ConfiguredKey("app", "default", digest="cd" * 32)
    entries = engine(store, limited, free)
    assert entries["ci"]["rules"] == {
        "rates": ["600/min"],
        "rates_counting_hits": ["9 tokens/s"],
        "concurrency": 2,
    }
    assert "rules" not in entries["app"]
    assert "rules" not in entries[record.id]


def test_an_issued_key_that_is_also_configured_counts_as_configured(store: KeyStore) -> None:
    _, key = store.create_key()
    assert list(engine(store, ConfiguredKey("mine", "default", secret=key))) == ["mine"]


PAYLOADS = [
    "'; DROP TABLE keys; --",
    'x" OR "1"="1',
    "default' --",
    "%",
    "key_%",
    "\x00",
    "a\r\nSET x 1",
    "*1\r\n$4\r\nPING",
    "\ud800",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_s1_payloads_are_values_wherever_they_stand(store: KeyStore, payload: str) -> None:
    record, _ = store.create_key(name="kept")
    attempts: list[Callable[[], object]] = [
        lambda: store.create_account(payload),
        lambda: store.get_account(payload),
        lambda: store.create_key(payload),
        lambda: store.create_key(models=[payload]),
        lambda: store.create_key(scopes=[payload]),
        lambda: store.revoke_key(payload),
        lambda: store.get(payload),
        lambda: store.set_account_disabled(payload, True),
    ]
    for attempt in attempts:
        with pytest.raises(AccountsError):
            attempt()
    assert store.list_keys() == [record]
    assert len(store.list_accounts()) == 1


@pytest.mark.parametrize("payload", PAYLOADS[:5])
def test_s1_a_payload_may_be_a_name_and_stays_one(store: KeyStore, payload: str) -> None:
    record, _ = store.create_key(name=payload)
    assert store.get(record.id).name == payload


def test_s20_a_key_can_only_be_given_what_create_key_names(store: KeyStore) -> None:
    with pytest.raises(InvalidAccount, match="chat, embeddings"):
        store.create_key(scopes=["admin"])
    with pytest.raises(TypeError):
        store.create_key(role="admin")  # type: ignore[call-arg]


def test_the_file_is_private_and_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with KeyStore(path, PEPPER) as store:
        record, _ = store.create_key()
        modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}
    with KeyStore(path, PEPPER) as store:
        assert store.get(record.id) == record


def test_another_process_sees_a_change_at_once(store: KeyStore, tmp_path: Path) -> None:
    with KeyStore(tmp_path / "accounts.db", PEPPER) as beside:
        record, _ = beside.create_key()
        assert record.id in engine(store)
        store.revoke_key(record.id)
        assert engine(beside) == {}


def test_another_pepper_is_refused_because_no_key_would_work(
    store: KeyStore, tmp_path: Path
) -> None:
    with pytest.raises(AccountsError, match="another pepper"):
        KeyStore(tmp_path / "accounts.db", b"q" * 32)
    assert store.list_keys() == []


def test_a_file_that_is_no_key_store_of_ours_is_an_expected_failure(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not a database " * 100)
    newer = tmp_path / "newer.db"
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for path in (junk, newer, tmp_path, tmp_path / "none" / "accounts.db"):
        with pytest.raises(AccountsError):
            KeyStore(path, PEPPER)


def test_a_closed_store_fails_as_expected_and_closes_twice(store: KeyStore) -> None:
    store.close()
    store.close()
    with pytest.raises(AccountsError):
        store.list_keys()
