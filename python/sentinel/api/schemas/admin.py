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
    """No scopes means all that are not admin's; no models means all."""

    account: Annotated[str, Field(max_length=260)] = DEFAULT_ACCOUNT
    name: Annotated[str, Field(max_length=100)] = ""
    scopes: Annotated[list[Scope], Field(max_length=16)] = []
    models: Annotated[list[str], Field(max_length=100)] = []


class KeyOut(_Out):
    """A key as people know it; `hint` is its last four characters."""

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
    keys: list[KeyOut]


class NewAccount(_In):
    id: Annotated[str, Field(max_length=260)]
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class AccountChange(_In):
    disabled: bool


class AccountOut(_Out):
    id: str
    parent: str | None
    level: int
    external_id: str
    created_us: int
    disabled: bool


class Accounts(BaseModel):
    accounts: list[AccountOut]
