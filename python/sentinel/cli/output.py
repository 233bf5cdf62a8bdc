"""What the commands print: results on stdout, everything else on stderr, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sentinel.errors import ConfigError, SentinelError

__all__ = ["note", "print_json", "show_failure", "table", "when"]


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """A line for the person at the terminal, out of the way of the result."""
    print(text, file=sys.stderr, flush=True)


def show_failure(failure: SentinelError, as_json: bool) -> None:
    """An expected failure: every fault of a configuration, or the one sentence."""
    faults = failure.faults if isinstance(failure, ConfigError) else []
    if as_json:
        listed = [{"path": f.path, "message": f.message, "line": f.line} for f in faults]
        print_json({"ok": False, "error": str(failure), "faults": listed})
    elif len(faults) > 1:
        note(f"sentinel: {len(faults)} faults in the configuration:")
        for fault in faults:
            note(f"  {fault}")
    else:
        note(f"sentinel: {failure}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )
    return "\n".join(lines)


def when(time_us: int) -> str:
    """A time as people read it, in UTC."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
