"""Random damage to good requests: never a fault of ours, never a hang, never a changed meaning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile.conftest import Strict

PATH = "/v1/chat/completions"
GOOD: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You are “brief”."},
        {"role": "user", "content": [{"type": "text", "text": "good \\u0041 morning 🙂"}]},
    ],
    "temperature": 0.5,
    "n": 1,
    "metadata": {"a": "1", "b": [True, None, {"c": 1e3}]},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
TEXT = json.dumps(GOOD, ensure_ascii=False).encode()


def examples(count: int) -> settings:
    """So many; how long one takes says nothing on a busy machine."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(strict: Strict) -> Iterator[Ask]:
    """One connection for all examples: damage must not outlive its request."""
    with strict.server.http() as client:
        yield lambda body, path=PATH: client.post(path, content=body)


Edit = tuple[str, int, bytes]
edits = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat"]),
        st.integers(0, len(TEXT) - 1),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from(
                [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\\u0000", b"1"]
            ),
        ),
    ),
    min_size=1,
    max_size=4,
)


def damaged(text: bytes, changes: list[Edit]) -> bytes:
    for kind, place, what in changes:
        end = place + len(what)
        if kind == "replace":
            text = text[:place] + what + text[end:]
        elif kind == "insert":
            text = text[:place] + what + text[place:]
        elif kind == "delete":
            text = text[:place] + text[end:]
        else:
            text = text[:end] + text[place:end] + text[end:]
    return text


def check(strict: Strict, body: bytes, answer: httpx.Response) -> None:
    """Refused with a code and not forwarded; or forwarded as what it says."""
    calls = strict.upstream.calls
    strict.upstream.reset()
    if not calls:
        assert 400 <= answer.status_code < 500
        assert answer.json()["error"]["code"]
        return
    assert answer.status_code < 500
    [call] = calls
    expected = json.loads(body)
    if expected.get("stream"):
        expected["stream_options"] = {
            **(expected.get("stream_options") or {}),
            "include_usage": True,
        }
    if expected["model"] == "mapped":
        expected["model"] = "gpt-4o"
    assert json.loads(call.body) == expected


@examples(300)
@given(changes=edits)
def test_r6_damaged_bytes_are_refused_or_forwarded_as_they_are(
    strict: Strict, ask: Ask, changes: list[Edit]
) -> None:
    body = damaged(TEXT, changes)
    check(strict, body, ask(body))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
members = st.dictionaries(
    st.one_of(
        st.sampled_from(
            [
                "model",
                "messages",
                "stream",
                "stream_options",
                "n",
                "temperature",
                "max_tokens",
                "tools",
            ]
        ),
        st.text(max_size=6),
    ),
    st.one_of(values, st.sampled_from(["mapped", "gpt-4o-mini", {"include_usage": False}, [], {}])),
    max_size=4,
)


@examples(300)
@given(changes=members, streamed=st.booleans(), ascii_only=st.booleans())
def test_r6_odd_members_are_refused_or_forwarded_as_they_are(
    strict: Strict,
    ask: Ask,
    changes: dict[str, Any],
    streamed: bool,
    ascii_only: bool,
) -> None:
    wanted = {**GOOD, **({"stream": True} if streamed else {}), **changes}
    text = json.dumps(wanted, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    check(strict, text, ask(text))


@examples(150)
@given(
    body=st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode()))
)
@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/query"]
)
def test_r6_any_body_on_any_route_is_refused(
    strict: Strict, ask: Ask, path: str, body: bytes
) -> None:
    answer = ask(body, path)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]
    assert strict.forwarded() == 0
