"""Liveness, readiness with its reasons, and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from sentinel.api.deps import GatewayDep
from sentinel.api.schemas.health import Health, Readiness

__all__ = ["router"]

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    return Health(status="ok")


@router.get("/readyz", summary="Should it get traffic?", responses={503: {"model": Readiness}})
async def readyz(gateway: GatewayDep) -> Readiness:
    reasons = gateway.not_ready()
    readiness = Readiness(ready=not reasons, reasons=reasons)
    if reasons:
        return JSONResponse(readiness.model_dump(), 503)  # type: ignore[return-value]
    return readiness


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(gateway: GatewayDep) -> Response:
    return Response(gateway.engine.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
