"""The last scene: what the ledger holds of all the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sentinel.cli.demo.screen import Screen, usd
from sentinel.cli.demo.stage import Stage
from sentinel.cli.output import table
from sentinel.usage import UsageReader, UsageRecord

__all__ = ["books"]

_HEAD = (
    "CALLS",
    "MODEL",
    "OUTCOME",
    "STATUS",
    "CACHE",
    "TOKENS IN",
    "OUT",
    "COST USD",
    "SAVED",
    "TOOK",
)
_MOST = 1000


def books(stage: Stage, screen: Screen) -> list[UsageRecord]:
    """Show all records, equal neighbours as one line, and their sums."""
    screen.scene("What was recorded, what it cost, what was saved")
    with UsageReader(stage.usage_database) as reader:
        records = reader.recent(_MOST)[::-1]
    screen.block(table(_HEAD, list(_rows(records))))
    cost = sum(record.cost_micro_usd for record in records)
    saved = sum(record.saved_micro_usd for record in records)
    screen.line("together", f"{len(records)} calls, {usd(cost)} spent, {usd(saved)} saved")
    return records


def _rows(records: list[UsageRecord]) -> Iterator[tuple[str, ...]]:
    for _, equal in groupby(records, key=_kind):
        yield _row(list(equal))


def _kind(record: UsageRecord) -> tuple[str | int, ...]:
    asked = (record.key_id, record.model, record.prompt_tokens, record.completion_tokens)
    return (*asked, record.outcome, record.status, record.cache)


def _row(records: list[UsageRecord]) -> tuple[str, ...]:
    first = records[0]
    saved = sum(record.saved_micro_usd for record in records)
    about = "~" if any(record.estimated for record in records) else ""
    return (
        str(len(records)),
        first.model,
        first.outcome,
        str(first.status),
        first.cache,
        f"{about}{sum(record.prompt_tokens for record in records)}",
        f"{about}{sum(record.completion_tokens for record in records)}",
        _dollars(sum(record.cost_micro_usd for record in records)),
        _dollars(saved) if saved else "-",
        f"{max(record.latency_us for record in records) / 1e3:.1f} ms",
    )


def _dollars(micro_usd: int) -> str:
    return f"{micro_usd / 1e6:.6f}"
