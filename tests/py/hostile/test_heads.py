"""Heads that are too much, ambiguous or poisoned; nothing poisoned is ever reflected (S3, S4)."""

from __future__ import annotations

import json

import pytest

from hostile.conftest import HEAD_BYTES, HEADERS, Refused, Strict
from support.raw_http import RawClient, post_bytes
from support.serving import APP_KEY, chat_body

GOOD = json.dumps(chat_body("hello")).encode()


def with_headers(*headers: tuple[str, str]) -> bytes:
    return post_bytes(GOOD, headers=headers)


def raw(lines: list[bytes], body: bytes = GOOD) -> bytes:
    """A request of exactly these header lines behind a good start line and credential."""
    start = [b"POST /v1/chat/completions HTTP/1.1", b"authorization: Bearer " + APP_KEY.encode()]
    return b"\r\n".join([*start, *lines]) + b"\r\n\r\n" + body


LENGTH = b"content-length: %d" % len(GOOD)
HOST = b"host: gateway.test"


# -- too much -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [HEADERS, 1_000])
def test_r6_too_many_headers_are_refused(strict: Strict, refused: Refused, count: int) -> None:
    request = with_headers(*((f"x-{number}", "1") for number in range(count)))
    refused(strict.answer_to(request), 431, "headers_too_large")


@pytest.mark.parametrize(
    "headers",
    [(("x-big", "v" * HEAD_BYTES),), tuple((f"x-{n}", "v" * 1_000) for n in range(9))],
    ids=["one", "several"],
)
def test_r6_headers_over_the_limit_are_refused(
    strict: Strict, refused: Refused, headers: tuple[tuple[str, str], ...]
) -> None:
    refused(strict.answer_to(with_headers(*headers)), 431, "headers_too_large")


def test_r6_a_long_query_counts_as_head(strict: Strict, refused: Refused) -> None:
    request = post_bytes(GOOD, "/v1/chat/completions?" + "q" * HEAD_BYTES)
    refused(strict.answer_to(request), 431, "headers_too_large")


def test_as_many_headers_as_allowed_are_served(strict: Strict) -> None:
    given = 4  # host, authorization, content-type, content-length
    request = with_headers(*((f"x-{number}", "1") for number in range(HEADERS - given)))
    assert strict.answer_to(request).status == 200


# -- ambiguous ------------------------------------------------------------------------------------

AMBIGUOUS: dict[str, bytes] = {
    "two-lengths-that-differ": raw([HOST, LENGTH, b"content-length: 3"]),
    "two-lengths-alike": raw([HOST, LENGTH, LENGTH]),
    "length-list": raw([HOST, LENGTH + b", %d" % len(GOOD)]),
    "length-signed": raw([HOST, b"content-length: +%d" % len(GOOD)]),
    "length-negative": raw([HOST, b"content-length: -1"]),
    "length-hexadecimal": raw([HOST, b"content-length: 0x10"]),
    "length-empty": raw([HOST, b"content-length:"]),
    "length-over-64-bits": raw([HOST, b"content-length: 18446744073709551617"]),
    "length-and-chunked": raw([HOST, LENGTH, b"transfer-encoding: chunked"]),
    "chunked-and-length": raw([HOST, b"transfer-encoding: chunked", LENGTH]),
    "two-codings": raw(
        [HOST, b"transfer-encoding: chunked", b"transfer-encoding: chunked"], b"0\r\n\r\n"
    ),
    "coding-unknown": raw([HOST, b"transfer-encoding: xchunked"], b"0\r\n\r\n"),
    "coding-not-last": raw([HOST, b"transfer-encoding: chunked, identity"], b"0\r\n\r\n"),
    "coding-folded": raw([HOST, b"transfer-encoding:\r\n chunked"], b"0\r\n\r\n"),
    "blank-before-colon": raw([HOST, b"content-length : %d" % len(GOOD)]),
    "two-hosts": raw([HOST, b"host: elsewhere.test", LENGTH]),
    "two-hosts-alike": raw([HOST, HOST, LENGTH]),
    "two-credentials": raw([HOST, b"authorization: Bearer " + APP_KEY.encode(), LENGTH]),
    "no-colon": raw([HOST, b"not a header", LENGTH]),
    "empty-name": raw([HOST, b": nothing", LENGTH]),
    "nul-in-name": raw([HOST, b"x-\0y: 1", LENGTH]),
    "nul-in-value": raw([HOST, b"x-y: a\0b", LENGTH]),
    "bare-cr-in-value": raw([HOST, b"x-y: a\rb: c", LENGTH]),
    "control-in-value": raw([HOST, b"x-y: a\x01b", LENGTH]),
    "delete-in-value": raw([HOST, b"x-y: a\x7fb", LENGTH]),
    "folded": raw([HOST, b"x-y: a\r\n b", LENGTH]),
    "chunk-size-garbage": raw([HOST, b"transfer-encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk-size-over-64-bits": raw(
        [HOST, b"transfer-encoding: chunked"], b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"
    ),
    "chunk-unclosed": raw([HOST, b"transfer-encoding: chunked"], b"2\r\n{}x0\r\n\r\n"),
    "chunk-size-signed": raw([HOST, b"transfer-encoding: chunked"], b"+2\r\n{}\r\n0\r\n\r\n"),
}
"""S3: requests that two readers could take for different ones."""


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_s3_an_ambiguous_request_is_a_400_and_forwards_nothing(
    strict: Strict, request_bytes: bytes
) -> None:
    reply = strict.answer_to(request_bytes)
    assert reply.status == 400
    assert strict.forwarded() == 0


def test_s3_what_follows_an_ambiguous_request_is_not_served(strict: Strict) -> None:
    """The classic: a second request hidden behind both lengths."""
    hidden = post_bytes(chat_body("smuggled"))
    attack = raw([HOST, b"content-length: %d" % (5 + len(hidden)), b"transfer-encoding: chunked"])
    with RawClient(strict.server.origin) as client:
        client.send(attack[: -len(GOOD)] + b"0\r\n\r\n" + hidden)
        assert client.reply().status == 400
        assert client.is_closed_by_server()
    assert strict.forwarded() == 0


GARBAGE: dict[str, bytes] = {
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http-0.9": b"GET /v1/models\r\n\r\n",
    "version-2": b"GET /v1/models HTTP/2.0\r\n\r\n",
    "method-unknown": b"STEAL /v1/models HTTP/1.1\r\nhost: a\r\n\r\n",
    "method-lower-case": b"post /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n",
    "blank-in-target": b"GET /v1/mod els HTTP/1.1\r\nhost: a\r\n\r\n",
    "bytes-in-target": b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "connect": b"CONNECT elsewhere.test:443 HTTP/1.1\r\nhost: a\r\n\r\n",
    "all-bytes": bytes(range(256)) * 8 + b"\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_not_http_is_a_4xx_or_a_closed_connection(strict: Strict, garbage: bytes) -> None:
    with RawClient(strict.server.origin) as client:
        client.send(garbage)
        assert 400 <= client.reply("GET").status < 500
    assert strict.forwarded() == 0


# -- reflected ------------------------------------------------------------------------------------

POISON = [
    "a b",
    "a\tb",
    "x" * 129,
    "a;b",
    "<script>",
    "%0d%0aset-cookie:1",
    "é",
    '"',
    "",
]


@pytest.mark.parametrize("value", POISON, ids=ascii)
def test_s4_a_request_id_that_is_none_is_replaced(strict: Strict, value: str) -> None:
    reply = strict.answer_to(with_headers(("x-request-id", value)))
    assert reply.status == 200
    assert reply.headers["x-request-id"].startswith("req_")
    assert strict.upstream.calls[0].header("x-request-id") == reply.headers["x-request-id"]


def test_a_request_id_that_is_one_is_kept(strict: Strict) -> None:
    reply = strict.answer_to(with_headers(("x-request-id", "my.id_1-2")))
    assert reply.headers["x-request-id"] == "my.id_1-2"


@pytest.mark.parametrize(
    "name", ["openai-beta", "idempotency-key", "anthropic-version", "anthropic-beta", "tracestate"]
)
def test_s4_a_forwarded_header_beyond_ascii_is_refused(
    strict: Strict, refused: Refused, name: str
) -> None:
    trace = ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    refused(strict.answer_to(with_headers((name, "ü"), trace)), 400, "invalid_request")


@pytest.mark.parametrize(
    "value", ["00-zz-1-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 500]
)
def test_a_trace_context_that_is_none_begins_a_new_one(strict: Strict, value: str) -> None:
    assert strict.answer_to(with_headers(("traceparent", value))).status == 200
    sent = strict.upstream.calls[0].header("traceparent") or ""
    assert value not in sent
    assert len(sent) == 55


@pytest.mark.parametrize(
    "credential",
    ["é", "sk-" + "x" * 600, "sk-sen-\u00ff", "' OR 1=1 --", "Bearer", "a b c", "sk-operator"],
    ids=ascii,
)
def test_a_credential_that_is_none_is_a_401_that_does_not_repeat_it(
    strict: Strict, refused: Refused, credential: str
) -> None:
    request = with_headers().replace(APP_KEY.encode(), credential.encode("latin-1"))
    reply = strict.answer_to(request)
    refused(reply, 401, "invalid_api_key")
    assert credential.encode("latin-1") not in reply.body


def test_two_credentials_that_differ_are_refused(strict: Strict, refused: Refused) -> None:
    reply = strict.answer_to(with_headers(("x-api-key", "sk-somebody-elses-key-0000")))
    refused(reply, 400, "invalid_request")


def test_the_same_credential_in_both_headers_is_served(strict: Strict) -> None:
    assert strict.answer_to(with_headers(("x-api-key", APP_KEY))).status == 200


HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "cookie",
)


@pytest.mark.parametrize("name", [*HOP_BY_HOP, "x-forwarded-for", "x-anything", "forwarded"])
def test_s5_headers_of_the_connection_and_of_strangers_are_not_forwarded(
    strict: Strict, name: str
) -> None:
    value = "keep-alive, x-anything" if name == "connection" else "secret-value"
    assert strict.answer_to(with_headers((name, value))).status == 200
    assert strict.upstream.calls[0].header(name) is None


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
def test_a_client_that_waits_for_100_is_told_to_go_on(strict: Strict, expectation: str) -> None:
    request = with_headers(("expect", expectation))
    with RawClient(strict.server.origin) as client:
        client.send(request[: -len(GOOD)])
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(GOOD)
        assert client.reply().status == 200


def test_r6_a_client_that_waits_for_100_with_a_giant_is_refused_at_once(
    strict: Strict, refused: Refused
) -> None:
    request = post_bytes(b"", length=1 << 30, headers=(("expect", "100-continue"),))
    refused(strict.answer_to(request), 413, "body_too_large")


def test_a_request_with_an_upgrade_to_http2_in_clear_is_refused_and_not_half_forwarded(
    strict: Strict, refused: Refused
) -> None:
    """uvicorn's parser drops the body of such a request: it must not be taken for a whole one."""
    upgrade = (
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAEAAEAAAAIAAAABAAMAAABk"),
    )
    refused(strict.answer_to(with_headers(*upgrade)), 400, "invalid_json")


def test_pipelined_requests_are_answered_in_order(strict: Strict) -> None:
    with RawClient(strict.server.origin) as client:
        client.send(b"".join(post_bytes(chat_body(f"number {n}")) for n in range(5)))
        answers = [client.reply() for _ in range(5)]
    for number, answer in enumerate(answers):
        assert f"You said: number {number}" in answer.body.decode()
