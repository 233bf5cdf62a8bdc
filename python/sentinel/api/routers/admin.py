"""Keys and accounts, for the holder of the admin key; beside them the cache and the breakers."""

from __future__ import annotations

from fastapi import APIRouter

from sentinel.api.deps import AdminRoute, GatewayDep
from sentinel.api.routers import admin_breakers, admin_cache
from sentinel.api.schemas.admin import (
    AccountChange,
    AccountOut,
    Accounts,
    KeyOut,
    Keys,
    NewAccount,
    NewKey,
    NewKeyOut,
)

__all__ = ["router"]

router = APIRouter(prefix="/admin", tags=["admin"], route_class=AdminRoute)
router.include_router(admin_cache.router)
router.include_router(admin_breakers.router)


@router.get("/keys", summary="List issued keys")
async def list_keys(gateway: GatewayDep) -> Keys:
    return Keys(keys=[KeyOut.model_validate(key) for key in await gateway.keys.list_keys()])


@router.post("/keys", status_code=201, summary="Make a key; its text is shown this once")
async def create_key(wanted: NewKey, gateway: GatewayDep) -> NewKeyOut:
    record, text = await gateway.keys.create(
        wanted.account, wanted.name, wanted.scopes, wanted.models
    )
    return NewKeyOut(key=text, **KeyOut.model_validate(record).model_dump())


@router.delete("/keys/{key_id}", summary="Revoke a key at once; its running streams end")
async def revoke_key(key_id: str, gateway: GatewayDep) -> KeyOut:
    return KeyOut.model_validate(await gateway.keys.revoke(key_id))


@router.get("/accounts", summary="List accounts")
async def list_accounts(gateway: GatewayDep) -> Accounts:
    found = await gateway.keys.list_accounts()
    return Accounts(accounts=[AccountOut.model_validate(account) for account in found])


@router.post("/accounts", status_code=201, summary="Make an account below an existing one")
async def create_account(wanted: NewAccount, gateway: GatewayDep) -> AccountOut:
    made = await gateway.keys.create_account(wanted.id, wanted.external_id)
    return AccountOut.model_validate(made)


@router.patch("/accounts/{account_id:path}", summary="Disable or enable an account and all below")
async def change_account(account_id: str, wanted: AccountChange, gateway: GatewayDep) -> AccountOut:
    changed = await gateway.keys.set_account_disabled(account_id, wanted.disabled)
    return AccountOut.model_validate(changed)
