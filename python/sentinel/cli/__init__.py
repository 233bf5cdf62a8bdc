"""The `sentinel` command."""

from __future__ import annotations

from sentinel.cli.main import main

__all__ = ["main"]
