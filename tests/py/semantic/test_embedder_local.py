"""The local model: which one it is, what its vectors are worth, and its bounds."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import sentinel_minilm
from sentinel.errors import EmbedderBusy, EmbedderError, TextTooLong
from sentinel.semantic import Embedder, LocalEmbedder

DATA = Path(__file__).parent / "data"
TEXTS = (DATA / "texts.txt").read_text(encoding="utf-8").splitlines()

# The reviewed graph. Another digest is another model: it needs a new `VERSION` beside it.
MODEL_SHA256 = "45261ef9dc58c8498eef75e0d47adfa3d050b15621e50c08e27f68840bf1fe70"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float32]:
    """The vectors of TEXTS by the float32 model, kept as float16."""
    kept = np.fromfile(DATA / "float32_vectors.f16", "<f2").astype(np.float32)
    rows = kept.reshape(len(TEXTS), -1)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_the_embedder_says_which_it_is(embedder: LocalEmbedder) -> None:
    port: Embedder = embedder
    assert (port.name, port.version) == ("all-MiniLM-L6-v2", "int8-1")
    assert (port.dimension, port.window) == (384, 256)


def test_the_files_are_the_reviewed_ones_and_carry_their_licence() -> None:
    digests = {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (sentinel_minilm.MODEL, sentinel_minilm.VOCABULARY)
    }
    assert digests == {
        sentinel_minilm.MODEL: MODEL_SHA256,
        sentinel_minilm.VOCABULARY: VOCABULARY_SHA256,
    }
    assert "Apache License" in sentinel_minilm.LICENSE.read_text()
    assert "sentence-transformers/all-MiniLM-L6-v2" in sentinel_minilm.NOTICE.read_text()


def test_vectors_are_float32_unit_rows_in_order(embedder: LocalEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert np.allclose(vectors[3], embedder.embed([TEXTS[3]])[0], atol=1e-6)
    assert embedder.embed([]).shape == (0, 384)


def test_the_float32_reference_is_the_published_model(reference: NDArray[np.float32]) -> None:
    published = [0.0677, 0.0635, 0.0487, 0.0793, 0.0374, 0.0027]  # of the model's own example
    assert reference[0, :6] == pytest.approx(published, abs=1e-4)


def test_int8_stays_close_to_float32(
    embedder: LocalEmbedder, reference: NDArray[np.float32]
) -> None:
    cosines = (embedder.embed(TEXTS) * reference).sum(axis=1)
    assert np.median(cosines) > 0.998
    assert cosines.min() > 0.98


@pytest.mark.parametrize(
    ("first", "second", "cosine"),
    [
        ("How do I reset my password?", "I forgot my password, how can I change it?", 0.894),
        ("How do I reset my password?", "How do I delete my account?", 0.580),
        ("What is the capital of Australia?", "Which city is Australia's capital?", 0.928),
        ("ok", "Thanks!", 0.219),
    ],
)
def test_pairs_have_the_cosine_of_the_float32_model(
    embedder: LocalEmbedder, first: str, second: str, cosine: float
) -> None:
    a, b = embedder.embed([first, second])
    assert float(a @ b) == pytest.approx(cosine, abs=0.02)


def test_a_vector_does_not_depend_on_its_company(embedder: LocalEmbedder) -> None:
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    together = embedder.embed(TEXTS * 3)
    assert np.abs(together - np.tile(alone, (3, 1))).max() < 1e-6


def test_a_second_session_makes_the_same_vectors(embedder: LocalEmbedder) -> None:
    with LocalEmbedder(threads=2) as other:
        assert np.abs(other.embed(TEXTS) - embedder.embed(TEXTS)).max() < 1e-6


async def test_asking_at_once_gives_the_vectors_of_asking_alone(embedder: LocalEmbedder) -> None:
    vectors = await asyncio.gather(*(embedder.aembed(text) for text in TEXTS))
    assert np.abs(np.stack(vectors) - embedder.embed(TEXTS)).max() < 1e-6
    assert all(vector.base is None for vector in vectors), "a kept vector keeps its batch alive"


@pytest.mark.parametrize(("words", "tokens"), [(0, 2), (254, 256), (255, 257), (9_999, 257)])
def test_tokens_tell_whether_a_text_is_beyond_the_window(
    embedder: LocalEmbedder, words: int, tokens: int
) -> None:
    assert embedder.tokens("word " * words) == tokens


async def test_a_text_beyond_the_window_has_no_vector(embedder: LocalEmbedder) -> None:
    long = "secret " * 255
    with pytest.raises(TextTooLong, match="more than 256 tokens") as caught:
        embedder.embed(["short", long])
    assert "secret" not in str(caught.value)
    with pytest.raises(TextTooLong):
        await embedder.aembed(long)


def test_cutting_embeds_the_start_that_fits(embedder: LocalEmbedder) -> None:
    cut = embedder.embed(["word " * 9_999], cut=True)
    assert np.array_equal(cut, embedder.embed(["word " * 254]))


async def test_a_text_that_waits_too_long_is_busy() -> None:
    with (
        LocalEmbedder(deadline_seconds=1e-9) as hasty,
        pytest.raises(EmbedderBusy, match="no vector within 1e-09 s"),
    ):
        await hasty.aembed("hello")


async def test_a_closed_embedder_batches_no_more() -> None:
    closed = LocalEmbedder()
    closed.close()
    closed.close()
    with pytest.raises(EmbedderError, match="closed"):
        await closed.aembed("hello")


@pytest.mark.parametrize("name", ["threads", "max_pending", "deadline_seconds"])
def test_a_parameter_out_of_range_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, not 0"):
        LocalEmbedder(**{name: 0})


def test_one_text_is_not_a_sequence_of_texts(embedder: LocalEmbedder) -> None:
    with pytest.raises(TypeError, match="not one str"):
        embedder.embed("hello")
