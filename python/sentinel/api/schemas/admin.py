"""Keys and accounts as the admin API shows and takes them. Unknown members are refused (S20)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sentinel.types import DEFAULT_ACCOUNT, Scope

__all__ = [
    "AccountChange",
    "AccountOut",
    "Accounts",
    "KeyOut",
    "Keys",
    "NewAccount",
    "NewKey",
    "NewKeyOut",
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class NewKey(_In):
    """A key to make. No scopes means all of them, no models means all."""

    account: Annotated[str, Field(max_length=260)] = DEFAULT_ACCOUNT
    name: Annotated[str, Field(max_length=100)] = ""
    scopes: Annotated[list[Scope], Field(max_length=16)] = []
    models: Annotated[list[str], Field(max_length=100)] = []


class KeyOut(_Out):
    """A key as people know it; `hint` is its last four characters.

    Times are microseconds since 1970.
    """

    id: str
    account: str
    name: str
    scopes: list[Scope]
    models: list[str]
    hint: str
    created_us: int
    revoked_us: int | None


class NewKeyOut(KeyOut):
    """`key` is shown this once and is not kept."""

    key: str


class Keys(BaseModel):
    """All issued keys, oldest first."""

    keys: list[KeyOut]


class NewAccount(_In):
    """An account to make; its parent, the path above it, must exist."""

    id: Annotated[str, Field(max_length=260)]
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class AccountChange(_In):
    """Whether the keys of the account, and of those below it, are refused."""

    disabled: bool


class AccountOut(_Out):
    """An account; `level` counts from 1, `created_us` is microseconds since 1970."""

    id: str
    parent: str | None
    level: int
    external_id: str
    created_us: int
    disabled: bool


class Accounts(BaseModel):
    """All accounts, parents before children."""

    accounts: list[AccountOut]
