"""The circuit breakers, for the holder of the admin key: how they stand, and a hand on them."""

from __future__ import annotations

from fastapi import APIRouter

from sentinel.api.deps import AdminRoute, GatewayDep
from sentinel.api.errors import ApiError
from sentinel.api.schemas.breakers import BreakerChange, BreakerOut, Breakers
from sentinel.gateway import Gateway

__all__ = ["router"]

router = APIRouter(route_class=AdminRoute)  # a part of admin.router


@router.get("/breakers", summary="The circuit breaker of every target")
async def list_breakers(gateway: GatewayDep) -> Breakers:
    return Breakers(breakers=_breakers(gateway))


@router.put("/breakers/{target:path}", summary="Force a target's breaker, or let it go again")
async def force_breaker(target: str, wanted: BreakerChange, gateway: GatewayDep) -> BreakerOut:
    if not gateway.engine.force_breaker(target, wanted.mode):
        raise ApiError(404, "not_found", f"no target {target!r} has a circuit breaker")
    return next(breaker for breaker in _breakers(gateway) if breaker.target == target)


def _breakers(gateway: Gateway) -> list[BreakerOut]:
    return [BreakerOut.model_validate(each) for each in gateway.engine.breakers()]
