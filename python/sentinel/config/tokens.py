"""Which encoding a model's tokens are counted with, where the built-in rules do not know it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from sentinel.config.faults import Found
from sentinel.config.fields import ModelPrefix
from sentinel.config.plain import Plain, items_of, map_of, text_of
from sentinel.config.section import Section

__all__ = ["TokenModelSettings", "TokenSettings", "broken_tokens"]


class TokenModelSettings(Section):
    """An encoding for every model whose name begins with `prefix`; the longest prefix decides."""

    prefix: ModelPrefix
    encoding: Literal["o200k_base", "cl100k_base"]


class TokenSettings(Section):
    """Rules that come before the built-in ones."""

    models: tuple[TokenModelSettings, ...] = ()


def broken_tokens(document: Plain) -> Iterator[Found]:
    """Every prefix that has an encoding already."""
    seen: set[str] = set()
    for index, rule in enumerate(items_of(map_of(document.get("tokens")).get("models"))):
        prefix = text_of(map_of(rule).get("prefix"))
        if prefix is None:
            continue
        if prefix in seen:
            where = ("tokens", "models", index, "prefix")
            yield Found(where, f'"{prefix}" has an encoding already')
        seen.add(prefix)
