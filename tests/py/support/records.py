"""Usage records as an operator would read them: with the `sqlite3` command.

Python's sqlite3 must not open a database that an engine of the same process has open: closing it
would drop that engine's file locks.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["read_records"]


def read_records(database: Path) -> list[dict[str, Any]]:
    """All rows of the usage table, oldest first."""
    command = [
        "sqlite3",
        "-readonly",
        "-json",
        str(database),
        "select * from usage order by ts_us, sequence",
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    rows: list[dict[str, Any]] = json.loads(found) if found.strip() else []
    return rows
