"""The WordPiece tokenizer of uncased BERT models: text -> token ids.

Source: Devlin et al., "BERT" (2018), and its released tokenizer: control characters out, accents
off, lower case, words split at white space, punctuation and CJK characters, each word cut greedily
into the longest pieces of the vocabulary. Marks such as `[SEP]` inside a text are ordinary text
here: a caller cannot write them.

Cost: about a microsecond per word, and bounded whatever a caller sends: of a long text only 32
characters per token of the window are looked at. Any number of threads. Standard library only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

__all__ = ["WordPiece"]

_LONGEST_WORD = 100  # characters; the released tokenizer calls a longer word unknown
_CHARACTERS_PER_TOKEN = 32  # beyond this many per token of the window a text is not read at all
_KEPT_CHARACTERS = 4096  # in each table
_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """A vocabulary, and the ids of texts by it.

    `vocabulary` is a file with one token a line whose number, from 0, is its id; `window` is the
    most tokens a text may have, `[CLS]` and `[SEP]` included. ValueError for a vocabulary without
    the marks.
    """

    def __init__(self, vocabulary: Path, window: int) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._ids = {token: number for number, token in enumerate(lines) if token}
        missing = {"[CLS]", "[SEP]", "[UNK]"} - self._ids.keys()
        if missing:
            raise ValueError(f"vocabulary: {vocabulary.name} lacks {', '.join(sorted(missing))}")
        # What bounds the search: no piece is longer, and none has another character.
        self._longest_piece = max(map(len, self._ids))
        self._characters = frozenset().union(*self._ids)
        self.window = window
        self._cleaned = _Table(_cleaned)
        self._folded = _Table(_folded)
        self._begin = self._ids["[CLS]"]
        self._end = self._ids["[SEP]"]
        self._unknown = self._ids["[UNK]"]

    def ids(self, text: str) -> tuple[list[int], bool]:
        """The ids of `text` between its marks, at most `window`, and whether that is all of it."""
        room = self.window - 2
        read = text[: self.window * _CHARACTERS_PER_TOKEN]
        whole = len(read) == len(text)
        ids = [self._begin]
        for word in self._words(read):
            ids += self._pieces(word)
            if len(ids) > room + 1:
                whole = False
                break
        del ids[room + 1 :]
        ids.append(self._end)
        return ids, whole

    def _words(self, text: str) -> list[str]:
        decomposed = unicodedata.normalize("NFD", text.translate(self._cleaned))
        return decomposed.translate(self._folded).split()

    def _pieces(self, word: str) -> list[int]:
        found = self._ids.get(word)
        if found is not None:
            return [found]
        if len(word) > _LONGEST_WORD or not self._characters.issuperset(word):
            return [self._unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            piece, start = self._longest(word, start)
            if piece is None:
                return [self._unknown]
            pieces.append(piece)
        return pieces

    def _longest(self, word: str, start: int) -> tuple[int | None, int]:
        prefix = "##" if start else ""
        for end in range(min(len(word), start + self._longest_piece), start, -1):
            found = self._ids.get(prefix + word[start:end])
            if found is not None:
                return found, end
        return None, start


class _Table(dict[int, str]):
    """For str.translate: what a character becomes, worked out when it first occurs."""

    def __init__(self, becomes: Callable[[str], str]) -> None:
        super().__init__()
        self._becomes = becomes

    def __missing__(self, code: int) -> str:
        made = self._becomes(chr(code))
        if len(self) < _KEPT_CHARACTERS:  # there are a million characters
            self[code] = made
        return made


def _cleaned(character: str) -> str:
    """Nothing for a control character, a space for white space, CJK between spaces."""
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    if category[0] == "C" or character == "\ufffd":
        return ""
    if category[0] == "Z":
        return " "
    code = ord(character)
    if any(first <= code <= last for first, last in _CJK):
        return f" {character} "
    return character


def _folded(character: str) -> str:
    """Nothing for an accent, punctuation between spaces, else the lower case."""
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    marked = character.isascii() and not character.isalnum()
    if (marked and character != " ") or category[0] == "P":
        return f" {character} "
    return character.lower()
