"""One local embedder for all tests of this folder: the model is loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentinel.semantic import LocalEmbedder


@pytest.fixture(scope="session")
def embedder() -> Iterator[LocalEmbedder]:
    with LocalEmbedder(deadline_seconds=60) as one:
        yield one
