"""`/embeddings`: vectors made from the text's hash, as numbers or as base64 of float32.

Every component is a multiple of 1/1024, hence exact in float32: both encodings give equal vectors.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

from sentinel.testing.replies.answers import Answer, Ask, Json
from sentinel.testing.scripts import strip_directives

__all__ = ["plain", "read"]

_DEFAULT_DIMENSIONS = 64


def read(body: Json) -> Ask:
    """One or many inputs; token ids count as one token each."""
    inputs = _inputs(body["input"])
    return Ask(
        model=str(body["model"]),
        prompt=repr(inputs),
        prompt_words=sum(_tokens(item) for item in inputs),
    )


def _inputs(value: Any) -> list[Any]:
    """A string or a list of token ids is one input; a list of either is many."""
    if isinstance(value, str) or (value and isinstance(value[0], int)):
        return [value]
    return list(value)


def _tokens(item: Any) -> int:
    return len(strip_directives(item).split()) if isinstance(item, str) else len(item)


def plain(body: Json, answer: Answer) -> Json:
    """One vector per input, in order."""
    dimensions = int(body.get("dimensions") or _DEFAULT_DIMENSIONS)
    as_base64 = body.get("encoding_format") == "base64"
    data: list[Json] = []
    for index, item in enumerate(_inputs(body["input"])):
        vector = _vector(repr(item), dimensions)
        packed = struct.pack(f"<{dimensions}f", *vector) if as_base64 else b""
        embedding = base64.b64encode(packed).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    reply: Json = {"object": "list", "data": data, "model": body["model"]}
    if answer.report_usage:
        tokens = answer.prompt_tokens
        reply["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return reply


def _vector(text: str, dimensions: int) -> list[float]:
    stream = hashlib.shake_128(text.encode()).digest(2 * dimensions)
    return [(value % 1024 - 512) / 1024 for (value,) in struct.iter_unpack("<H", stream)]
