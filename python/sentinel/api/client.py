"""What ASGI says of who asks."""

from __future__ import annotations

from starlette.types import Scope

__all__ = ["peer_of"]


def peer_of(scope: Scope) -> str:
    """The address the connection comes from, empty where there is none (a Unix socket)."""
    client = scope.get("client")
    return client[0] if client else ""
