"""What the key store tells about an account or a key. Neither ever holds a key or its digest."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.types import Scope

__all__ = ["AccountRecord", "KeyRecord"]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Who pays. `id` is the path from the root, `level` counts from 1.

    `created_us` is microseconds since 1970.
    """

    id: str
    parent: str | None
    level: int
    external_id: str
    created_us: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An issued key, known to people by its id, its name and its last four characters (`hint`).

    Empty `scopes` and `models` mean all of them. Times are microseconds since 1970; `revoked_us`
    is None while the key works.
    """

    id: str
    account: str
    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    hint: str
    created_us: int
    revoked_us: int | None

    @property
    def revoked(self) -> bool:
        """Whether the key has been revoked."""
        return self.revoked_us is not None
