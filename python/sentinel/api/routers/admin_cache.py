"""The kept answers, for the holder of the admin key: how many, and which to forget."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from sentinel.api.deps import AdminRoute, GatewayDep
from sentinel.api.errors import ApiError
from sentinel.api.schemas.cache import CacheStats, Erased, ErasedBy

__all__ = ["router"]

router = APIRouter(route_class=AdminRoute)  # a part of admin.router


@router.get("/cache", summary="What the cache holds, and how it has served")
async def cache_stats(gateway: GatewayDep) -> CacheStats:
    max_bytes = gateway.settings.cache.max_bytes
    return CacheStats(max_bytes=max_bytes, **gateway.engine.cache_stats())


@router.delete("/cache", summary="Forget kept answers at once: by exactly one of the parameters")
async def erase_cached(
    wanted: Annotated[ErasedBy, Query()], request: Request, gateway: GatewayDep
) -> Erased:
    by, value = _one_of(wanted, request)
    # The whole cache is walked; that is not for the loop that serves the others.
    return Erased(erased=await asyncio.to_thread(gateway.engine.erase_cached, by, value))


def _one_of(wanted: ErasedBy, request: Request) -> tuple[str, str]:
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != 1:
        known = ", ".join(ErasedBy.model_fields)
        got = f"not {' and '.join(names)}" if names else "none came"
        raise ApiError(400, "invalid_request", f"give exactly one of {known}: {got}")
    by = names[0]
    if by == "all" and not wanted.all:
        raise ApiError(400, "invalid_request", "all: must be true", "all")
    return by, "" if by == "all" else getattr(wanted, by)
