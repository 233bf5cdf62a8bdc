"""Recorded prompts from JSON lines: a stream of them, or pairs of them.

A stream's row is `{"text": ..., "answer_id": ..., "partition": ...}`: two rows have the same answer
if their answer ids are equal; the partition may be left out. A pair's row is
`{"a": ..., "b": ..., "same_answer": ..., "category": ...}`. Other members are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from sentinel.errors import ConfigError, Fault

__all__ = ["Pair", "Row", "read_pairs", "read_rows"]

_MOST_FAULTS = 20
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, and which answer is right for it."""

    text: str
    answer_id: str
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts, and whether one answer serves both."""

    a: str
    b: str
    same_answer: bool
    category: str


def read_rows(path: str | PathLike[str]) -> list[Row]:
    """A stream. ConfigError names each faulty line (the first twenty)."""
    return _read(Path(path), _row)


def read_pairs(path: str | PathLike[str]) -> list[Pair]:
    """Pairs. ConfigError names each faulty line (the first twenty)."""
    return _read(Path(path), _pair)


def _read(path: Path, convert: Callable[[dict[str, Any]], Read]) -> list[Read]:
    read: list[Read] = []
    faults: list[Fault] = []
    for line, text in _lines(path):
        try:
            read.append(convert(_object(text)))
        except ValueError as fault:
            faults.append(Fault(path.name, str(fault), line))
            if len(faults) == _MOST_FAULTS:
                break
    if not faults and not read:
        faults.append(Fault(path.name, "has no rows"))
    if faults:
        raise ConfigError(faults)
    return read


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([Fault(path.name, f"cannot be read: {error.strerror}")]) from None
    for line, text in enumerate(content.split(b"\n"), 1):
        if text.strip():
            yield line, text


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def _row(value: dict[str, Any]) -> Row:
    answer = value.get("answer_id")
    if isinstance(answer, bool) or not isinstance(answer, (str, int)):
        raise ValueError("answer_id must be a string or a whole number")
    partition = value.get("partition", "")
    if not isinstance(partition, str):
        raise ValueError("partition must be a string")
    return Row(_text(value, "text"), str(answer), partition)


def _pair(value: dict[str, Any]) -> Pair:
    same = value.get("same_answer")
    if not isinstance(same, bool):
        raise ValueError("same_answer must be true or false")
    return Pair(_text(value, "a"), _text(value, "b"), same, _text(value, "category"))


def _text(value: dict[str, Any], member: str) -> str:
    text = value.get(member)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{member} must be a string that is not empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{member} has half of a surrogate pair") from None
    return text
