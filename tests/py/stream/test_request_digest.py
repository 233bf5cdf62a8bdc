"""request_digest: the identity of a request (design: identity by exclusion), from its raw bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.requests import request_digest
from sentinel.testing import ScriptedUpstream
from support.governed import document
from support.serving import GatewayProcess

BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": 'Grüße \N{GRINNING FACE} "quoted" \\ \n'}],
    "temperature": 0,
    "seed": 7,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, None]}}}],
}
EXCLUDED = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "u",
    "safety_identifier": "s",
    "metadata": {"a": "b"},
    "prompt_cache_key": "k",
}


def shuffled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key], seed) for key in keys}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


def test_the_form_is_pinned() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"n":1,"t":0.5}'
    assert request_digest(body).hex() == (
        "6857d0711bb402b94de09a8c766219c231237611b737ce85d51264c9e7b2e0f5"
    )


@pytest.mark.parametrize("seed", range(5))
def test_writing_makes_no_difference(seed: int) -> None:
    whole = request_digest(json.dumps(BODY))
    other = shuffled(BODY, seed)
    assert request_digest(json.dumps(other, ensure_ascii=False, indent=seed)) == whole
    assert request_digest(json.dumps(other).encode()) == whole
    assert request_digest(bytearray(json.dumps(other | {"temperature": -0.0}).encode())) == whole
    assert request_digest(json.dumps(BODY).replace('"seed": 7', '"seed": 7.0e0')) == whole


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_does_not_change_the_answer_is_no_part_of_it(name: str) -> None:
    with_it = BODY | {name: EXCLUDED[name]}
    assert request_digest(json.dumps(with_it)) == request_digest(json.dumps(BODY))
    deep = BODY | {"extra": {name: EXCLUDED[name]}}
    assert request_digest(json.dumps(deep)) != request_digest(json.dumps(BODY | {"extra": {}}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def tagged(value: Any) -> Any:
    """The value with 1 and true told apart, so that == means what JSON means."""
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    return (type(value).__name__, value)


@given(VALUES, VALUES)
@settings(max_examples=300, deadline=None)
def test_two_bodies_have_one_digest_if_and_only_if_they_mean_the_same(one: Any, two: Any) -> None:
    first = request_digest(json.dumps({"x": one}))
    second = request_digest(json.dumps({"x": two}, ensure_ascii=False))
    assert (first == second) == (tagged(one) == tagged(two))


def test_the_endpoint_is_part_of_it() -> None:
    body = json.dumps(BODY)
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    digests = [request_digest(body, endpoint=path) for path in paths]
    assert len(set(digests)) == 3
    assert digests[0] == request_digest(body)
    assert {len(digest) for digest in digests} == {32}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1}x',
        b'{"a":\xff}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"metadata":{"b":1,"b":1}}',
        b'{"user":"a","user":"a"}',
        b'{"a":"\\ud800"}',
        b'{"metadata":{"\\udc00":1}}',
        b'{"a":1e999}',
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_the_gateway_refuses_to_read_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|key|surrogate"):
        request_digest(body)


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b"{", b'{"a":"\\ud800"}'])
def test_a_refused_body_leaves_nothing_behind(body: bytes) -> None:
    whole = request_digest(json.dumps(BODY))
    request_digest(b'{"x":"' + b"x" * 3_000_000 + b'"}')
    with pytest.raises(ValueError, match=r"JSON|key|surrogate"):
        request_digest(body)
    assert request_digest(json.dumps(BODY)) == whole


@pytest.mark.parametrize("wrong", [None, 5, ["{}"], {"model": "m"}])
def test_another_type_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        request_digest(wrong)  # type: ignore[arg-type]


def test_an_unknown_endpoint_is_a_value_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"endpoint must be .* not '/v1/messages'"):
        request_digest(b"{}", endpoint="/v1/messages")


ASKED = {"model": "cached", "messages": [{"role": "user", "content": "A question of digests"}]}
ALIKE = [
    json.dumps(ASKED, indent=2).encode(),
    json.dumps(dict(reversed(ASKED.items())) | {"user": "u", "metadata": {}}).encode(),
    json.dumps(ASKED).replace("question", "\\u0071uestion").encode(),
]
OTHER = [
    json.dumps(ASKED | {"seed": 1}).encode(),
    json.dumps(ASKED | {"seed": None}).encode(),
    json.dumps(ASKED).replace("digests", "digest").encode(),
]


def test_the_gateways_exact_cache_finds_what_has_one_digest_and_nothing_else(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    first = json.dumps(ASKED).encode()
    settings = document(upstream.base_url)
    with GatewayProcess.serving(settings, tmp_path) as gateway, gateway.http() as http:
        for body in [first, *OTHER, *ALIKE]:
            reply = http.post("/v1/chat/completions", content=body)
            hit = reply.headers["x-sentinel-cache"] == "hit-exact"
            assert hit == (body in ALIKE)
            assert hit == (body is not first and request_digest(body) == request_digest(first))
