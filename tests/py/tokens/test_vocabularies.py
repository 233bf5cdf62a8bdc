"""The vocabularies in the tree are tiktoken's, and the script goes both ways."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools" / "vocabularies.py"
DATA = ROOT / "python" / "sentinel" / "tokens" / "data"
# What tiktoken looks for in TIKTOKEN_CACHE_DIR, the digest that it compares, and our name.
EXPECTED = {
    "9b5ad71b2ce5302211f9c61530b329a4922fc6a4": (
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "cl100k_base",
    ),
    "fb374d419588a4632f3f557e76b4b70aebbca790": (
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "o200k_base",
    ),
}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("tiktoken")
    done = run("cache", into)
    assert done.returncode == 0, done.stderr
    return into


def npm_package(into: Path, texts: dict[str, bytes]) -> Path:
    """A package shaped as npm's, with the tokens of tiktoken's text forms."""
    path = into / "tiktoken.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            tokens = [line.split(b" ")[0].decode() for line in text.splitlines()]
            halves = (tokens[:1000], tokens[1000:])
            ranks = f"! 0 {' '.join(halves[0])}\n! 1000 {' '.join(halves[1])}"
            document = json.dumps({"bpe_ranks": ranks}).encode()
            member = tarfile.TarInfo(f"package/encoders/{name}.json")
            member.size = len(document)
            archive.addfile(member, io.BytesIO(document))
    return path


def texts_of(cache: Path) -> dict[str, bytes]:
    return {name: (cache / file).read_bytes() for file, (_, name) in EXPECTED.items()}


def test_b6_the_vocabularies_have_the_digests_that_tiktoken_expects(cache: Path) -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cache.iterdir()}
    assert found == {file: digest for file, (digest, _) in EXPECTED.items()}


def test_building_from_the_package_gives_the_files_in_the_tree(cache: Path, tmp_path: Path) -> None:
    tarball = npm_package(tmp_path, texts_of(cache))
    done = run("--data", tmp_path, "build", "--tarball", tarball)
    assert done.returncode == 0, done.stderr
    for _, name in EXPECTED.values():
        built = (tmp_path / f"{name}.vocabulary").read_bytes()
        assert built == (DATA / f"{name}.vocabulary").read_bytes()


def test_other_tokens_are_refused(cache: Path, tmp_path: Path) -> None:
    texts = texts_of(cache)
    texts["o200k_base"] = texts["o200k_base"].replace(
        base64.b64encode(b" the") + b" ", base64.b64encode(b" teh") + b" ", 1
    )
    done = run("--data", tmp_path, "build", "--tarball", npm_package(tmp_path, texts))
    assert done.returncode != 0
    assert "o200k_base" in done.stderr
    assert not (tmp_path / "o200k_base.vocabulary").exists()


def test_the_licence_is_beside_the_data() -> None:
    assert (DATA / "LICENSE").read_text().startswith("MIT License\n\nCopyright (c) 2022 OpenAI")
