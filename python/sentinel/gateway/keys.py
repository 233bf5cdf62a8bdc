"""Keys of a running gateway: the store on disk and the engine's table, kept in step.

A change is in force in the engine before the call returns. Revoking a key ends its running streams.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from functools import cached_property

from sentinel import _core
from sentinel.accounts import AccountRecord, KeyRecord, KeyStore
from sentinel.types import ConfiguredKey

__all__ = ["Keys"]


class _InForce:
    """The keys that the engine was last given; read only if somebody here asks for one."""

    def __init__(self, document: str) -> None:
        self._document = document

    @cached_property
    def by_digest(self) -> dict[str, ConfiguredKey]:
        return {
            entry["digest"]: ConfiguredKey(
                id=entry["id"],
                account=entry["accounts"][-1],
                scopes=tuple(entry["scopes"]),
                models=tuple(entry["models"]),
                digest=entry["digest"],
            )
            for entry in json.loads(self._document)
        }


class Keys:
    """Accounts and keys, as the admin API and the control socket see them."""

    def __init__(
        self, store: KeyStore, engine: _core.Engine, configured: Sequence[ConfiguredKey]
    ) -> None:
        self._store = store
        self._engine = engine
        self._configured = tuple(configured)
        self._turn = threading.Lock()
        self._in_force = _InForce("[]")

    def reload(self) -> None:
        """Give the engine exactly the keys that are in force now."""
        with self._turn:  # what was read first must not be put last: it would revive a revoked key
            document = self._store.engine_keys(self._configured)
            self._engine.replace_keys(document)
            self._in_force = _InForce(document)

    def find(self, credential: str) -> ConfiguredKey | None:
        """The key in force that this credential is, issued or configured, or None."""
        return self._in_force.by_digest.get(self._store.digest(credential))

    async def create(
        self, account: str, name: str, scopes: Sequence[str], models: Sequence[str]
    ) -> tuple[KeyRecord, str]:
        """A new key and, this once, its text. Empty `scopes` and `models` mean all.

        UnknownAccount when there is no such account, InvalidAccount when a value is malformed.
        """
        made = await asyncio.to_thread(self._store.create_key, account, name, scopes, models)
        await asyncio.to_thread(self.reload)
        return made

    async def revoke(self, key_id: str) -> KeyRecord:
        """Revoke for good; UnknownKey when there is none."""
        record = await asyncio.to_thread(self._store.revoke_key, key_id)
        await asyncio.to_thread(self.reload)
        return record

    async def list_keys(self) -> list[KeyRecord]:
        """All issued keys, oldest first, revoked ones too."""
        return await asyncio.to_thread(self._store.list_keys)

    async def create_account(self, account: str, external_id: str | None) -> AccountRecord:
        """Make an account below an existing one.

        AccountExists, UnknownAccount (no parent) or InvalidAccount when it cannot be made.
        """
        return await asyncio.to_thread(self._store.create_account, account, external_id)

    async def list_accounts(self) -> list[AccountRecord]:
        """All accounts, parents before children."""
        return await asyncio.to_thread(self._store.list_accounts)

    async def set_account_disabled(self, account: str, disabled: bool) -> AccountRecord:
        """Refuse, or take again, every key of the account and of those below it.

        UnknownAccount when there is none.
        """
        record = await asyncio.to_thread(self._store.set_account_disabled, account, disabled)
        await asyncio.to_thread(self.reload)
        return record

    def close(self) -> None:
        """Close the store. Harmless when done twice."""
        self._store.close()
