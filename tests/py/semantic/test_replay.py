"""Replaying a stream: what counts as a hit, what a bad row is; one seed gives one result."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli import main
from sentinel.cli import replay as command
from sentinel.errors import ConfigError
from sentinel.semantic import Pair, PolicyChoice, Row, mean_of, read_rows, replay, replay_pairs

DIMENSION = 16
Captured = pytest.CaptureFixture[str]


class WordEmbedder:
    """The sum of a direction per word, of length 1: texts with the same words are near."""

    dimension = DIMENSION
    window = 32

    def tokens(self, text: str) -> int:
        return len(text.split())

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> Any:
        numbers = [number for text in texts for number in _vector(text)]
        flat = memoryview(struct.pack(f"{len(numbers)}f", *numbers))
        return flat.cast("f", (len(texts), self.dimension))


def _vector(text: str) -> list[float]:
    total = [1e-3] * DIMENSION
    for word in text.lower().strip("?").split():
        digest = blake2b(word.encode(), digest_size=DIMENSION).digest()
        total = [sum_ + byte - 127.5 for sum_, byte in zip(total, digest, strict=True)]
    length = math.hypot(*total)
    return [number / length for number in total]


TOPICS = ("passport", "invoice", "garden", "router", "mortgage", "battery", "ticket", "kettle")
FRAMES = (
    "how do i renew my {}",
    "please how do i renew my {}",
    "how can i renew my {}",
    "how would i renew my {}",
    "so how do i renew the {}",
    "how should i renew my {}",
    "how do we renew our {}",
    "how do i renew that {}",
)


def stream(rows: int) -> list[Row]:
    """Topics asked in many ways; the place in the text keeps every text apart from the others."""
    made = []
    for number in range(rows):
        topic = TOPICS[number * 7 % len(TOPICS)]
        frame = FRAMES[number * 3 // len(TOPICS) % len(FRAMES)]
        tail = " please" * (number // 64 % 3) + " ok" * (number // 192)
        made.append(Row(frame.format(topic) + tail, topic))
    return made


def test_a_literal_repeat_is_an_exact_hit_and_never_a_semantic_one() -> None:
    rows = [Row("What is a kettle?", "k"), Row("What is a kettle?", "k")]
    (report,) = replay(rows, WordEmbedder(), policy=PolicyChoice("exact"))
    assert (report.hit_rate, report.exact_share, report.first_hit) == (0.5, 0.5, None)


def test_a_repeat_in_another_partition_is_no_hit() -> None:
    rows = [Row("What is a kettle?", "k", "a"), Row("What is a kettle?", "k", "b")]
    for policy in ("exact", "fixed:0.1"):
        (report,) = replay(rows, WordEmbedder(), policy=PolicyChoice.parse(policy))
        assert report.hit_rate == 0


def test_a_fixed_threshold_serves_what_is_near_and_counts_what_is_wrong() -> None:
    rows = [
        Row("how do i renew my passport", "p"),
        Row("how can i renew my passport", "p"),
        Row("how do i renew the passport", "other"),
        Row("how do i renew my garden", "g"),
    ]
    (report,) = replay(rows, WordEmbedder(), policy=PolicyChoice.parse("fixed:0.7"))
    assert (report.hit_rate, report.error_of_hits, report.error_of_all) == (0.5, 0.5, 0.25)
    assert report.judge_calls == report.audit_calls == 0


def test_nothing_is_served_before_the_window_supports_the_bound() -> None:
    (report,) = replay(stream(60), WordEmbedder())
    assert report.hit_rate == report.exact_share
    assert report.first_hit is None


def test_the_promise_is_kept_and_pays_once_there_is_evidence() -> None:
    (report,) = replay(stream(2_500), WordEmbedder(), max_error=0.05, of="requests")
    assert report.hit_rate - report.exact_share > 0.2
    assert report.error_of_all <= 0.05
    assert report.net_hit_rate < report.hit_rate


def test_one_seed_gives_one_result_and_shuffles_differ() -> None:
    rows = stream(900)
    first, second = replay(rows, WordEmbedder(), shuffles=2, seed=5, max_error=0.1)
    again = replay(rows, WordEmbedder(), shuffles=2, seed=5, max_error=0.1)
    assert [first, second] == again
    assert replay(rows, WordEmbedder(), shuffles=1, seed=6, max_error=0.1) == [second]


def test_the_mean_leaves_out_what_never_happened() -> None:
    reports = replay(stream(40), WordEmbedder(), shuffles=2)
    assert mean_of(reports)["first_hit"] is None
    assert mean_of(reports)["requests"] == 40


def test_a_prompt_beyond_the_window_is_never_served() -> None:
    long = " ".join(["passport"] * 40)
    rows = [Row(long, "p"), Row(long + " please", "p")]
    (report,) = replay(rows, WordEmbedder(), policy=PolicyChoice.parse("fixed:0.5"))
    assert report.hit_rate == 0


def test_pairs_are_asked_alone_and_vetoes_hold() -> None:
    warm = [Row("how do i feed a cat", "c")]
    pairs = [
        Pair("how do i renew my passport", "how can i renew my passport", True, "paraphrase"),
        Pair("can i pay in 2 days", "can i pay in 3 days", False, "number"),
        Pair("how do i lock my card", "how do i unlock my card", False, "negation"),
    ]
    reports = replay_pairs(warm, pairs, WordEmbedder(), policy=PolicyChoice.parse("fixed:0.5"))
    assert {report.category: report.served for report in reports} == {
        "paraphrase": 1,
        "number": 0,
        "negation": 0,
    }


@pytest.mark.parametrize("text", ["risky", "fixed:2", "fixed:x", "fixed:0", "exact:1", ""])
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"policy must be|fixed threshold"):
        PolicyChoice.parse(text)


@pytest.mark.parametrize(
    ("name", "value"), [("max_error", 0.0), ("max_error", 1.0), ("judge_error", 0.5)]
)
def test_numbers_out_of_range_name_the_parameter(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        replay(stream(2), WordEmbedder(), **options)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "must be a JSON object"),
        (b'{"answer_id": "a"}', "text must be"),
        (b'{"text": "", "answer_id": "a"}', "text must be"),
        (b'{"text": "x"}', "answer_id must be"),
        (b'{"text": "x", "answer_id": true}', "answer_id must be"),
        (b'{"text": "x", "answer_id": 1, "partition": 2}', "partition must be"),
        (b'{"text": "\\ud800", "answer_id": 1}', "surrogate"),
        (b'{"text": "\xff", "answer_id": 1}', "is not UTF-8"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "stream.jsonl"
    path.write_bytes(b'{"text": "fine", "answer_id": 7}\n\n' + line + b"\n")
    with pytest.raises(ConfigError, match=says) as refused:
        read_rows(path)
    assert [fault.line for fault in refused.value.faults] == [3]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "_embedder", WordEmbedder)
    lines = [json.dumps({"text": row.text, "answer_id": row.answer_id}) for row in stream(300)]
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))
    pair = {"a": "a kettle", "b": "the kettle", "same_answer": True, "category": "near"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair))
    return tmp_path


def test_the_command_prints_each_shuffle_and_the_mean(files: Path, capsys: Captured) -> None:
    path = str(files / "stream.jsonl")
    assert main(["replay", "--stream", path, "--shuffles", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["shuffles"]) == 2
    assert set(said["mean"]) >= {
        "hit_rate",
        "net_hit_rate",
        "error_of_hits",
        "error_of_all",
        "worst_window_1000",
        "first_hit",
        "judge_calls",
        "audit_calls",
    }
    assert main(["replay", "--stream", path]) == 0
    head, first, mean = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in (head, first, mean)] == ["shuffle", "1", "mean"]


def test_the_command_asks_pairs(files: Path, capsys: Captured) -> None:
    warm, pairs = str(files / "stream.jsonl"), str(files / "pairs.jsonl")
    asked = ["replay", "--warm", warm, "--pairs", pairs, "--policy", "fixed:0.2"]
    assert main([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["served_share"] == {"same_answer": 1.0, "different_answer": None}
    assert main(asked) == 0
    assert "served of what should be: 100.00%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--warm", "FILE"],
        ["--stream", "FILE", "--pairs", "FILE"],
        ["--stream", "missing.jsonl"],
        ["--stream", "FILE", "--policy", "luck"],
        ["--stream", "FILE", "--max-error", "2"],
        ["--stream", "FILE", "--shuffles", "-1"],
    ],
)
def test_a_command_that_makes_no_sense_exits_2(
    files: Path, capsys: Captured, flags: list[str]
) -> None:
    path = str(files / "stream.jsonl")
    assert main(["replay", *(path if flag == "FILE" else flag for flag in flags)]) == 2
    assert capsys.readouterr().err.startswith("sentinel: ")
