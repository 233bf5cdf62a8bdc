"""Read what the gateway recorded: `<data_dir>/usage.db`, opened read-only.

The gateway's C++ sink is the only writer; a reader beside it sees every committed batch and
disturbs nothing. Money is integers of micro-USD, time microseconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from sentinel.errors import UsageError

__all__ = ["Grouping", "UsageReader", "UsageRecord", "UsageTotal"]

_VERSION: Final = 1
_BUSY_SECONDS: Final = 2.0

Grouping = Literal["model", "account", "key", "target", "endpoint", "outcome", "cache"]
_COLUMNS: Final[dict[str, str]] = {
    name: f"{name}_id" if name in ("account", "key") else name for name in get_args(Grouping)
}


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One exchange, as it was settled.

    `ts_us` is microseconds since 1970, `latency_us` and `ttft_us` (None: nothing was generated)
    are microseconds, money is whole micro-USD. Cached tokens are part of the prompt's, reasoning
    tokens of the completion's.
    """

    request_id: str
    instance: str
    sequence: int
    ts_us: int
    key_id: str
    account_id: str
    endpoint: str
    model: str
    target: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost_micro_usd: int
    saved_micro_usd: int
    price_version: str
    outcome: str
    cache: str
    status: int
    latency_us: int
    ttft_us: int | None


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Sums over all exchanges that have `group` in common; money in whole micro-USD."""

    group: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_micro_usd: int
    saved_micro_usd: int


_RECORD: Final = ", ".join(member.name for member in fields(UsageRecord))
_SUMS: Final = ", ".join(f"SUM({member.name})" for member in fields(UsageTotal)[2:])


class UsageReader:
    """The usage database at `path`. UsageError when it is missing or of another version.

    Not for the process whose gateway writes it: SQLite's locks belong to the process, and closing
    this copy would drop the writer's.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(f"no usage database at {path}: has a gateway run there?")
        with _translated():
            uri = f"{path.resolve().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)
        try:
            (version,) = self._rows("PRAGMA user_version")[0]
            if version != _VERSION:
                raise UsageError(f"{path} has version {version}; this one reads {_VERSION}")
        except UsageError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file. Harmless when done twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def recent(self, count: int = 20) -> list[UsageRecord]:
        """The last `count` records, newest first."""
        query = f"SELECT {_RECORD} FROM usage ORDER BY ts_us DESC, sequence DESC LIMIT ?"
        return [_record(row) for row in self._rows(query, max(count, 0))]

    def totals(self, by: Grouping = "model") -> list[UsageTotal]:
        """Sums by model, account, key, target, endpoint, outcome or cache, costliest first."""
        if by not in _COLUMNS:
            raise ValueError(f"by must be one of {', '.join(_COLUMNS)}")
        column = _COLUMNS[by]
        query = (
            f"SELECT {column}, COUNT(*), {_SUMS} FROM usage GROUP BY {column} "
            f"ORDER BY SUM(cost_micro_usd) DESC, COUNT(*) DESC, {column}"
        )
        return [UsageTotal(*row) for row in self._rows(query)]

    def _rows(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        with _translated():
            return self._connection.execute(query, values).fetchall()


def _record(row: tuple[Any, ...]) -> UsageRecord:
    members = dict(zip(_RECORD.split(", "), row, strict=True))
    return UsageRecord(**members | {"estimated": bool(members["estimated"])})


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's failures as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise UsageError(f"usage database: {error}") from None
