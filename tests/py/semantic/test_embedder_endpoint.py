"""The endpoint embedder against a real server that plays well, badly, and slowly."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from numpy.typing import NDArray

from sentinel.errors import EmbedderBusy, EmbedderError, EmbedderFailed, TextTooLong
from sentinel.semantic import Embedder, EndpointEmbedder
from sentinel.testing import ScriptedUpstream
from sentinel.testing.scripts import FAULTS

KEY = "sk-never-shown"
DIMENSION = 64  # the scripted upstream's


def embedder_of(upstream: ScriptedUpstream, **settings: Any) -> EndpointEmbedder:
    settings = {"dimension": DIMENSION, "window": 100, "api_key": KEY, **settings}
    return EndpointEmbedder(upstream.base_url, "text-embedding-3-small", **settings)


@pytest.fixture
def embedder(upstream: ScriptedUpstream) -> Iterator[EndpointEmbedder]:
    with embedder_of(upstream) as one:
        yield one


@contextmanager
def answering(answer: Callable[[Any], object]) -> Iterator[str]:
    """A server that answers each request body with `answer` of it; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answer(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def outcome_of(embedder: EndpointEmbedder) -> NDArray[np.float32] | EmbedderError:
    try:
        return embedder.embed(["a"])
    except (EmbedderBusy, EmbedderFailed) as error:
        return error


def item(index: object, embedding: object) -> dict[str, object]:
    return {"object": "embedding", "index": index, "embedding": embedding}


# -- good answers -------------------------------------------------------------------------------


def test_the_request_is_the_one_of_the_openai_format(
    embedder: EndpointEmbedder, upstream: ScriptedUpstream
) -> None:
    vectors = embedder.embed(["a", "b"])
    (call,) = upstream.calls
    assert (call.method, call.path) == ("POST", "/v1/embeddings")
    assert json.loads(call.body) == {
        "model": "text-embedding-3-small",
        "input": ["a", "b"],
        "encoding_format": "float",
    }
    assert dict(call.headers)["Authorization"] == f"Bearer {KEY}"
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, DIMENSION)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


def test_many_texts_go_in_calls_of_64_over_one_connection(
    embedder: EndpointEmbedder, upstream: ScriptedUpstream
) -> None:
    texts = [f"text {number}" for number in range(130)]
    vectors = embedder.embed(texts)
    sizes = [len(json.loads(call.body)["input"]) for call in upstream.calls]
    assert sizes == [64, 64, 2]
    assert len({call.connection for call in upstream.calls}) == 1
    assert np.array_equal(vectors[100], embedder.embed(["text 100"])[0])
    assert embedder.embed([]).shape == (0, DIMENSION)


async def test_asking_at_once_gives_the_same_vectors(embedder: EndpointEmbedder) -> None:
    texts = [f"text {number}" for number in range(20)]
    vectors = await asyncio.gather(*(embedder.aembed(text) for text in texts))
    assert np.array_equal(np.stack(vectors), embedder.embed(texts))


def test_vectors_are_put_in_the_order_asked_and_brought_to_length_1() -> None:
    def swapped(asked: Any) -> object:
        return {"data": [item(1, [0.0, 5.0]), item(0, [2, 0])]}

    with answering(swapped) as url, EndpointEmbedder(url, "m", dimension=2, window=9) as one:
        assert one.embed(["a", "b"]).tolist() == [[1, 0], [0, 1]]


def test_base64_is_understood_from_servers_that_insist() -> None:
    packed = base64.b64encode(struct.pack("<2f", 3, 4)).decode()
    with (
        answering(lambda _: {"data": [item(0, packed)]}) as url,
        EndpointEmbedder(url, "m", dimension=2, window=9) as one,
    ):
        assert one.embed(["a"])[0].tolist() == pytest.approx([0.6, 0.8])


def test_tls_is_verified_against_the_given_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with ScriptedUpstream.in_thread(tls=tls) as upstream:
        with embedder_of(upstream, ca_file=tmp_path / "ca.pem") as one:
            assert one.embed(["a"]).shape == (1, DIMENSION)
        with embedder_of(upstream) as one, pytest.raises(EmbedderFailed, match="CertVerification"):
            one.embed(["a"])
        with embedder_of(upstream, ca_file=tmp_path / "ca.pem", deadline_seconds=0.3) as one:
            upstream.script("fail=stall_mid_body")
            with pytest.raises(EmbedderBusy, match=r"longer than 0\.3 s"):
                one.embed(["a"])


# -- bad ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_is_a_typed_error_or_harmless_and_the_next_call_is_right(
    fault: str, upstream: ScriptedUpstream
) -> None:
    with embedder_of(upstream, deadline_seconds=0.5) as one:
        right = one.embed(["a"])
        upstream.script(f"fail={fault}", f"fail={fault}")
        outcome = outcome_of(one)
        if isinstance(outcome, EmbedderError):
            assert KEY not in str(outcome)
        else:
            assert np.array_equal(outcome, right)
        upstream.reset()
        assert not np.array_equal(one.embed(["b"]), right)
        assert np.array_equal(await one.aembed("a"), right[0])


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_refusal_is_failed_with_its_status_and_without_the_body(
    status: int, embedder: EndpointEmbedder, upstream: ScriptedUpstream
) -> None:
    upstream.script(f"status={status}")
    with pytest.raises(EmbedderFailed) as caught:
        embedder.embed(["a"])
    assert str(caught.value) == f"the embeddings endpoint answered {status}"
    assert len(upstream.calls) == 1, "nothing is retried"


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"data": None},
        {"data": []},
        {"data": [item(0, [1.0])]},
        {"data": [item(0, [1.0, 0.0, 0.0])]},
        {"data": [item(0, [0.0, 0.0])]},
        {"data": [item(0, [float("nan"), 1.0])]},
        {"data": [item(0, [1e999, 1.0])]},
        {"data": [item(0, ["a", "b"])]},
        {"data": [item(0, [[1.0, 0.0]])]},
        {"data": [item(0, "not base64")]},
        {"data": [item(0, "AAA=")]},
        {"data": [item(0, None)]},
        {"data": [item(1, [1.0, 0.0])]},
        {"data": [item("0", [1.0, 0.0])]},
        {"data": [item([], [1.0, 0.0])]},
        {"data": [item(0, [1.0, 0.0]), item(0, [1.0, 0.0])]},
        {"data": [item(0, [1.0, 0.0]), item(1, [1.0, 0.0])]},
        {"data": ["text"]},
    ],
)
def test_an_answer_that_is_not_the_vectors_is_failed(answer: object) -> None:
    with (
        answering(lambda _: answer) as url,
        EndpointEmbedder(url, "m", dimension=2, window=9) as one,
        pytest.raises(EmbedderFailed, match="did not answer with 1 vectors of 2 numbers"),
    ):
        one.embed(["a"])


def test_an_answer_larger_than_its_vectors_can_be_is_not_read_to_its_end() -> None:
    with (
        answering(lambda _: {"data": [], "more": "x" * 1_000_000}) as url,
        EndpointEmbedder(url, "m", dimension=2, window=9) as one,
        pytest.raises(EmbedderFailed, match="more than 65616 bytes"),
    ):
        one.embed(["a"])


def test_an_endpoint_that_is_not_there_is_failed() -> None:
    with ScriptedUpstream.in_thread() as upstream:
        gone = embedder_of(upstream)
    with gone, pytest.raises(EmbedderFailed, match="not reached: ConnectionRefusedError"):
        gone.embed(["a"])


async def test_a_full_queue_refuses_at_once() -> None:
    with (
        ScriptedUpstream.in_thread() as upstream,
        embedder_of(upstream, connections=1, max_pending=1, deadline_seconds=30) as one,
    ):
        upstream.script("fail=stall_before_head")
        waiting = [asyncio.ensure_future(one.aembed(text)) for text in "ab"]
        await asyncio.to_thread(upstream.wait_until, lambda up: up.in_flight == 1)
        with pytest.raises(EmbedderBusy, match="too many texts"):
            await one.aembed("c")
        upstream.kill()
        assert all(
            isinstance(ended, EmbedderError)
            for ended in await asyncio.gather(*waiting, return_exceptions=True)
        )


# -- the port -----------------------------------------------------------------------------------


def test_the_embedder_is_what_it_was_told(embedder: EndpointEmbedder) -> None:
    port: Embedder = embedder
    assert (port.name, port.version) == ("text-embedding-3-small", "1")
    assert (port.dimension, port.window) == (DIMENSION, 100)


def test_without_a_counter_a_byte_counts_as_a_token(embedder: EndpointEmbedder) -> None:
    assert [embedder.tokens(text) for text in ("abc", "é", "x" * 100, "x" * 101)] == [
        3,
        2,
        100,
        101,
    ]


async def test_a_text_beyond_the_window_is_not_sent(
    embedder: EndpointEmbedder, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(TextTooLong, match="more than 100 tokens"):
        embedder.embed(["x" * 101])
    with pytest.raises(TextTooLong):
        await embedder.aembed("x" * 101)
    assert upstream.calls == []


def test_cutting_sends_the_longest_start_that_fits(upstream: ScriptedUpstream) -> None:
    with embedder_of(upstream, count_tokens=lambda text: len(text.split()), window=3) as one:
        one.embed(["one two three four five"], cut=True)
    assert json.loads(upstream.calls[0].body)["input"] == ["one two three "]


async def test_a_closed_embedder_asks_no_more(embedder: EndpointEmbedder) -> None:
    embedder.close()
    embedder.close()
    with pytest.raises(EmbedderError, match="closed"):
        embedder.embed(["a"])
    with pytest.raises(EmbedderError, match="closed"):
        await embedder.aembed("a")


@pytest.mark.parametrize(
    "name", ["dimension", "window", "connections", "max_pending", "deadline_seconds"]
)
def test_a_parameter_out_of_range_is_named(name: str, upstream: ScriptedUpstream) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, not 0"):
        embedder_of(upstream, **{name: 0})


@pytest.mark.parametrize("url", ["ftp://host", "host/v1", "http://", "http://user:word@host/v1"])
def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be") as caught:
        EndpointEmbedder(url, "m", dimension=1, window=1)
    assert "word" not in str(caught.value)


def test_one_text_is_not_a_sequence_of_texts(embedder: EndpointEmbedder) -> None:
    with pytest.raises(TypeError, match="not one str"):
        embedder.embed("hello")
