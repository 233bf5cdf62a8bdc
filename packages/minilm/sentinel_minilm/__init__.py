"""Where the files of the embedding model are. Data only: this package computes nothing.

`VERSION` names the vectors: it changes whenever the graph or the vocabulary changes one, and
vectors of two versions are never compared.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["DIMENSION", "LICENSE", "MODEL", "NAME", "NOTICE", "VERSION", "VOCABULARY", "WINDOW"]

_HERE = Path(__file__).resolve().parent

NAME = "all-MiniLM-L6-v2"
VERSION = "int8-1"
DIMENSION = 384
WINDOW = 256  # tokens, the two marks around a text included
MODEL = _HERE / "model.onnx"
VOCABULARY = _HERE / "vocabulary.txt"
LICENSE = _HERE / "LICENSE"
NOTICE = _HERE / "NOTICE"
