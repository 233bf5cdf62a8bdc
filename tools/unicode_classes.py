"""Writes cpp/sentinel/tokens/unicode_classes.cpp: the class of each code point, as tiktoken has it.

The classes are asked of an installed tiktoken, not of Python's unicodedata, because they must be of
the Unicode version that tiktoken's regular expressions know: an encoding that has a token for every
single byte and one class as its pattern gives back exactly the characters of that class.

    pip install tiktoken && python tools/unicode_classes.py && clang-format-19 -i <the file written>
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "cpp/sentinel/tokens/unicode_classes.cpp"
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
BLOCK = 128
PATTERNS = {  # the number of a class in unicode_classes.hpp, and its pattern; 0 is everything else
    1: r"[\p{Lu}\p{Lt}]",
    2: r"\p{Ll}",
    3: r"[\p{Lm}\p{Lo}]",
    4: r"\p{M}",
    5: r"\p{N}",
    6: r"[\s--[\r\n]]",
    7: r"[\r\n]",
}


def points_matching(pattern: str) -> list[int]:
    tiktoken = importlib.import_module("tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)}
    probe = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    found = bytes(probe.encode_ordinary("".join(map(chr, POINTS)))).decode()
    return [ord(character) for character in found]


def classes() -> list[int]:
    """The class of every code point, by code point."""
    of_point = [0] * 0x110000
    for number, pattern in PATTERNS.items():
        for point in points_matching(pattern):
            if of_point[point]:
                raise SystemExit(f"U+{point:04X} is in two classes")
            of_point[point] = number
    return of_point


def source(of_point: list[int]) -> str:
    blocks: dict[bytes, int] = {}
    index = []
    for start in range(0, len(of_point), BLOCK):
        block = of_point[start : start + BLOCK]
        packed = bytes(low | high << 4 for low, high in zip(block[::2], block[1::2], strict=True))
        index.append(blocks.setdefault(packed, len(blocks)))
    last = max(at for at, block in enumerate(index) if block != index[-1]) + 1
    version = importlib.metadata.version("tiktoken")
    numbers = ", ".join(map(str, index[: last + 1]))
    rows = ", ".join(f"0x{byte:02X}" for block in blocks for byte in block)
    return f"""// Written by tools/unicode_classes.py, asked of tiktoken {version}. Do not edit.
#include "sentinel/tokens/unicode_classes.hpp"

namespace sentinel::tokens {{

const std::uint32_t kLastClassBlock = {last};

const std::uint8_t kClassBlockOf[] = {{{numbers}}};

const std::uint8_t kClassBlocks[] = {{{rows}}};

}}  // namespace sentinel::tokens
"""


if __name__ == "__main__":
    TARGET.write_text(source(classes()))
    sys.exit(0)
