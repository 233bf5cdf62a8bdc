"""The tokenizer: known ids, the same ids as a well-kept implementation, and its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

import sentinel_minilm
from sentinel.semantic.wordpiece import WordPiece

WINDOW = sentinel_minilm.WINDOW
WORDS = WordPiece(sentinel_minilm.VOCABULARY, WINDOW)
PEER = BertWordPieceTokenizer(str(sentinel_minilm.VOCABULARY), lowercase=True)

# Letters, marks and spaces that every version of Unicode in use knows alike.
ALPHABET = (
    "".join(map(chr, range(0x250)))
    + "ИЖщєßΣσςﬁ한국어日本語①™…—“”\u200b\u2028\u3000\u0300\u0301ัมक्षי"
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [101, 102]),
        ("hello world", [101, 7592, 2088, 102]),
        ("Hello, WORLD!", [101, 7592, 1010, 2088, 999, 102]),
        ("unaffable", [101, 14477, 20961, 3468, 102]),
        ("Ünaffable\u0000", [101, 14477, 20961, 3468, 102]),
        ("日本", [101, 1864, 1876, 102]),
        ("x" * 101, [101, 100, 102]),
    ],
)
def test_known_texts_have_the_published_ids(text: str, ids: list[int]) -> None:
    assert WORDS.ids(text) == (ids, True)


@given(st.text(alphabet=ALPHABET, max_size=80))
def test_any_text_has_the_ids_of_the_peer(text: str) -> None:
    assert WORDS.ids(text) == (PEER.encode(text).ids, True)


def test_s23_a_mark_that_a_caller_writes_is_ordinary_text() -> None:
    ids, _ = WORDS.ids("a [SEP] b")
    assert ids.count(102) == 1
    assert ids[2:5] == WORDS.ids("[ sep ]")[0][1:-1]


@pytest.mark.parametrize(("words", "whole"), [(WINDOW - 2, True), (WINDOW - 1, False)])
def test_a_text_is_whole_up_to_the_window(words: int, whole: bool) -> None:
    ids, found = WORDS.ids("word " * words)
    assert (len(ids), found) == (WINDOW, whole)
    assert ids[-1] == 102


def test_a_word_of_many_pieces_does_not_overrun_the_window() -> None:
    ids, whole = WORDS.ids("word " * (WINDOW - 4) + "unaffable")
    assert (len(ids), whole) == (WINDOW, False)


def test_a_text_is_read_only_to_a_bound() -> None:
    assert WORDS.ids(" " * 10_000_000 + "word") == ([101, 102], False)


def test_a_vocabulary_without_the_marks_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.txt"
    file.write_text("[CLS]\nword\n")
    with pytest.raises(ValueError, match=r"lacks \[SEP\], \[UNK\]"):
        WordPiece(file, 8)
