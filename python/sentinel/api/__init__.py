"""The FastAPI door: the app, its routes, and mounting it in an app of somebody else."""

from __future__ import annotations

from sentinel.api.app import create_app
from sentinel.api.mounting import mount

__all__ = ["create_app", "mount"]
