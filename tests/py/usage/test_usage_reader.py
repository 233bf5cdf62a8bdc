"""Reading the usage database beside the gateway that writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from sentinel.errors import UsageError
from sentinel.usage import Grouping, UsageReader

COLUMNS = (
    "request_id TEXT PRIMARY KEY, instance, sequence, ts_us, key_id, account_id, endpoint, model, "
    "target, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated, "
    "cost_micro_usd, saved_micro_usd, price_version, outcome, cache, status, latency_us, ttft_us"
)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database as contracts say it is, open for writing in WAL mode like the gateway's."""
    connection = sqlite3.connect(tmp_path / "usage.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"CREATE TABLE usage ({COLUMNS})")
    connection.execute("PRAGMA user_version = 1")
    yield connection
    connection.close()


def record(writer: sqlite3.Connection, number: int, model: str, cost: int) -> None:
    values = (
        f"req-{number}", "one", number, 1000 + number, "key_1", "default", "/v1/chat/completions",
        model, f"openai/{model}", 10, 5, 0, 0, 0, cost, 0, "v1", "done", "miss", 200, 900, None,
    )  # fmt: skip
    writer.execute(f"INSERT INTO usage VALUES ({', '.join('?' * len(values))})", values)


def test_recent_records_come_newest_first(writer: sqlite3.Connection, tmp_path: Path) -> None:
    for number in range(5):
        record(writer, number, "gpt-4o", 7)
    with UsageReader(tmp_path / "usage.db") as reader:
        newest, second = reader.recent(2)
        assert reader.recent(0) == reader.recent(-1) == []
    assert (newest.request_id, second.request_id) == ("req-4", "req-3")
    assert newest.estimated is False
    assert newest.ttft_us is None


def test_a_reader_sees_what_was_committed_since(writer: sqlite3.Connection, tmp_path: Path) -> None:
    with UsageReader(tmp_path / "usage.db") as reader:
        assert reader.recent() == []
        record(writer, 1, "gpt-4o", 7)
        assert len(reader.recent()) == 1


def test_totals_add_up_and_the_costliest_is_first(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    for number, (model, cost) in enumerate([("a", 1), ("b", 5), ("a", 2)]):
        record(writer, number, model, cost)
    with UsageReader(tmp_path / "usage.db") as reader:
        totals = reader.totals(by="model")
        assert [(t.group, t.requests, t.cost_micro_usd) for t in totals] == [
            ("b", 1, 5),
            ("a", 2, 3),
        ]
        assert all(
            sum(total.prompt_tokens for total in reader.totals(by)) == 30
            for by in get_args(Grouping)
        )


def test_s1_what_to_group_by_is_a_choice_not_text(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    with UsageReader(tmp_path / "usage.db") as reader, pytest.raises(ValueError, match="one of"):
        reader.totals(by="1; DROP TABLE usage")  # type: ignore[arg-type]


def test_a_reader_cannot_write(writer: sqlite3.Connection, tmp_path: Path) -> None:
    with (
        UsageReader(tmp_path / "usage.db") as reader,
        pytest.raises(UsageError, match="readonly"),
    ):
        reader._rows("DELETE FROM usage")


def test_a_missing_or_foreign_database_is_an_expected_failure(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    writer.execute("PRAGMA user_version = 2")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    for name in ("usage.db", "junk.db", "none.db"):
        with pytest.raises(UsageError):
            UsageReader(tmp_path / name)
