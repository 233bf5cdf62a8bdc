"""Every character, pairs of every kind of character, and random strings, against tiktoken (B6)."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken

from sentinel.tokens import TokenCounter

ROOT = Path(__file__).resolve().parents[3]
MODELS = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}
SCALARS = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
Both = tuple[TokenCounter, tiktoken.Encoding]


@pytest.fixture(scope="module", params=MODELS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """Our counter and tiktoken's encoding, which is loaded without a network."""
    cache = tmp_path_factory.mktemp("tiktoken")
    script = ROOT / "tools" / "vocabularies.py"
    subprocess.run([sys.executable, script, "cache", cache], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        yield TokenCounter.for_model(MODELS[request.param]), tiktoken.get_encoding(request.param)


def first_difference(both: Both, texts: list[str]) -> str | None:
    """The first text with other ids or another count, or None."""
    counter, peer = both
    for text in texts:
        ids = peer.encode_ordinary(text)
        if counter.encode(text) != ids or counter.count(text) != len(ids):
            return text
    return None


def representatives() -> list[str]:
    """Some characters of each general category and of each UTF-8 length in it, and all of ASCII."""
    dice = random.Random(3)
    kinds: dict[tuple[str, int], list[str]] = {}
    for character in SCALARS:
        kind = (unicodedata.category(character), len(character.encode()))
        kinds.setdefault(kind, []).append(character)
    chosen = [chr(byte) for byte in range(0x80)]
    for members in kinds.values():
        chosen += dice.sample(members, min(2, len(members)))
    return [*chosen, "\u017f", "\u4eac", "\u7968", "\uff0c", "\ud55c"]


@pytest.mark.parametrize(("before", "after"), [("", ""), ("a", "b"), (" ", "'"), ("A", "\n")])
def test_b6_every_character_is_cut_as_tiktoken_cuts_it(both: Both, before: str, after: str) -> None:
    texts = [
        "".join(before + character + after for character in SCALARS[start : start + 512])
        for start in range(0, len(SCALARS), 512)
    ]
    assert first_difference(both, texts) is None


def test_b6_pairs_of_every_kind_of_character_are_cut_as_tiktoken_cuts_them(both: Both) -> None:
    kinds = representatives()
    texts = ["|x".join(first + second for second in kinds) for first in kinds]
    assert first_difference(both, texts) is None


def random_strings(seed: int, number: int) -> list[str]:
    """Short strings of runs of one kind, from ASCII to any character at all."""
    dice = random.Random(seed)
    kinds = representatives()
    alphabets = [
        "abcdefghijklmnopqrstuvwxyz",
        "aA bB'sStTreLL",
        "  \n\r\t/x.",
        "0123456789 .,",
        "(){}[]<>=+-*/%!&|^~?:;,.\"'`@#$_\\ ",
        "".join(map(chr, range(0x4E00, 0x4E00 + 400))) + "\uff0c。",
        "的一是不了人我在有他这中大来上国京取名物电门运览票",
        "".join(kinds),
    ]
    return [
        "".join(
            character
            for _ in range(dice.randrange(1, 5))
            for character in dice.choices(dice.choice(alphabets), k=dice.randrange(1, 9))
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_b6_random_strings_have_tiktokens_ids(both: Both, seed: int) -> None:
    assert first_difference(both, random_strings(seed, 20_000)) is None


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 110))
def test_b6_a_million_random_strings_have_tiktokens_ids(both: Both, seed: int) -> None:
    assert first_difference(both, random_strings(seed, 100_000)) is None


def test_b6_words_that_are_met_again_have_the_same_ids(both: Both) -> None:
    words = [
        f" {''.join(pair)}q{number}xv"
        for number, pair in enumerate(itertools.permutations("abcdefg", 4))
    ]
    text = "".join(words) * 2
    assert first_difference(both, [text, *words, text]) is None
