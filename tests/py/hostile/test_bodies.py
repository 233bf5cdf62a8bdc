"""Bodies that are no request: each is refused with its code, and nothing of it is forwarded."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from hostile.conftest import BODY_BYTES, Refused, Strict
from support.raw_http import RawClient, events, post_bytes
from support.serving import chat_body

GOOD = json.dumps(chat_body("hello")).encode()
MESSAGES = b'"messages":[{"role":"user","content":"hello"}]'


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return (
        b'{"model":"gpt-4o-mini","x":'
        + opening * depth
        + b"1"
        + closing * depth
        + b","
        + (MESSAGES + b"}")
    )


NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n\t ",
    "text": b"hello",
    "form": b"model=gpt-4o-mini&messages=hello",
    "cut": GOOD[:-1],
    "two-values": GOOD + GOOD,
    "trailing-garbage": GOOD + b"x",
    "trailing-nul": GOOD + b"\0",
    "leading-nul": b"\0" + GOOD,
    "byte-order-mark": b"\xef\xbb\xbf" + GOOD[:-1],
    "utf-16": GOOD.decode().encode("utf-16"),
    "single-quotes": GOOD.replace(b'"', b"'"),
    "comment": b"/* hello */" + GOOD,
    "trailing-comma": GOOD[:-1] + b",}",
    "nan": b'{"model":"gpt-4o-mini","temperature":NaN,' + MESSAGES + b"}",
    "infinity": b'{"model":"gpt-4o-mini","temperature":Infinity,' + MESSAGES + b"}",
    "number-too-big": b'{"model":"gpt-4o-mini","temperature":1e999,' + MESSAGES + b"}",
    "leading-zero": b'{"model":"gpt-4o-mini","n":01,' + MESSAGES + b"}",
    "raw-control-byte": GOOD.replace(b"hello", b"hel\x01lo"),
    "raw-nul": GOOD.replace(b"hello", b"hel\0lo"),
    "raw-line-end": GOOD.replace(b"hello", b"hel\nlo"),
    "bad-escape": GOOD.replace(b"hello", b"\\x41"),
    "bad-utf8": GOOD.replace(b"hello", b"\xff\xfe"),
    "overlong-utf8": GOOD.replace(b"hello", b"\xc0\xaf"),
    "surrogate-utf8": GOOD.replace(b"hello", b"\xed\xa0\x80"),
    "cut-utf8": GOOD.replace(b"hello", b"\xe2\x82"),
    "half-a-surrogate-escape": GOOD.replace(b"hello", b"\\ud800"),
    "array": b"[" + GOOD + b"]",
    "string": b'"hello"',
    "number": b"1",
    "null": b"null",
    "depth-10000-arrays": nested(10_000),
    "depth-10000-objects": nested(10_000, b'{"a":', b"}"),
    "depth-10000-unclosed": b"[" * 10_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_r6_what_is_not_a_json_object_is_invalid_json(
    strict: Strict, refused: Refused, body: bytes
) -> None:
    refused(strict.post(body), 400, "invalid_json")


def with_member(text: str) -> bytes:
    return b'{"model":"gpt-4o-mini",' + MESSAGES + b"," + text.encode() + b"}"


BAD_MEMBERS: dict[str, bytes] = {
    "duplicate-model": with_member('"model":"gpt-4o"'),
    "duplicate-messages": with_member('"messages":[]'),
    "duplicate-by-escape": with_member('"\\u006dodel":"gpt-4o"'),
    "duplicate-of-no-meaning": with_member('"x":1,"x":1'),
    "duplicate-nested": with_member('"metadata":{"a":1,"a":2}'),
    "duplicate-deep": with_member('"x":[[{"y":[{"z":1,"z":2}]}]]'),
    "duplicate-among-many": with_member(
        '"x":{' + ",".join(f'"k{n % 99}":{n}' for n in range(100)) + "}"
    ),
    "no-model": b"{" + MESSAGES + b"}",
    "model-null": b'{"model":null,' + MESSAGES + b"}",
    "model-number": b'{"model":4,' + MESSAGES + b"}",
    "model-object": b'{"model":{},' + MESSAGES + b"}",
    "model-empty": b'{"model":"",' + MESSAGES + b"}",
    "model-blank": b'{"model":" ",' + MESSAGES + b"}",
    "model-long": b'{"model":"' + b"m" * 300 + b'",' + MESSAGES + b"}",
    "model-nul": b'{"model":"gpt\\u0000",' + MESSAGES + b"}",
    "model-crlf": b'{"model":"gpt\\r\\nx-injected: 1",' + MESSAGES + b"}",
    "model-not-ascii": '{"model":"gpt-4º",'.encode() + MESSAGES + b"}",
    "no-messages": b'{"model":"gpt-4o-mini"}',
    "messages-null": b'{"model":"gpt-4o-mini","messages":null}',
    "messages-text": b'{"model":"gpt-4o-mini","messages":"hello"}',
    "messages-empty": b'{"model":"gpt-4o-mini","messages":[]}',
    "stream-text": with_member('"stream":"true"'),
    "stream-number": with_member('"stream":1'),
    "stream-options-array": with_member('"stream":true,"stream_options":[]'),
    "include-usage-text": with_member('"stream":true,"stream_options":{"include_usage":"yes"}'),
    "n-zero": with_member('"n":0'),
    "n-negative": with_member('"n":-1'),
    "n-huge": with_member('"n":4000000000'),
    "n-float": with_member('"n":1.5'),
    "max-tokens-zero": with_member('"max_tokens":0'),
    "max-tokens-negative": with_member('"max_tokens":-5'),
    "max-tokens-huge": with_member('"max_completion_tokens":9223372036854775807'),
    "temperature-negative": with_member('"temperature":-0.1'),
    "temperature-high": with_member('"temperature":2.1'),
    "temperature-text": with_member('"temperature":"hot"'),
    "top-p-high": with_member('"top_p":1.01'),
}


@pytest.mark.parametrize("body", BAD_MEMBERS.values(), ids=BAD_MEMBERS)
def test_a_member_that_cannot_be_meant_is_an_invalid_request(
    strict: Strict, refused: Refused, body: bytes
) -> None:
    reply = strict.post(body)
    refused(reply, 400, "invalid_request")
    assert json.loads(reply.body)["error"]["param"], "the message names the member"


@pytest.mark.parametrize(
    "model", ["gpt-9", "GPT-4O-MINI", "mapped-not", "*", "../gpt-4o-mini", '"}{']
)
def test_an_unknown_model_is_not_found_and_named_safely(
    strict: Strict, refused: Refused, model: str
) -> None:
    reply = strict.post(chat_body("hello", model=model))
    refused(reply, 404, "model_not_found")
    assert model in json.loads(reply.body)["error"]["message"]


def test_every_refused_body_is_recorded_once_and_costs_nothing(strict: Strict) -> None:
    strict.server.idle()
    before = len(strict.server.records())
    for body in (GOOD[:-1], BAD_MEMBERS["n-zero"], BAD_MEMBERS["duplicate-model"]):
        strict.post(body)
    records = strict.server.records()[before:]
    assert [(record["outcome"], record["status"]) for record in records] == [("refused", 400)] * 3
    assert {record["cost_micro_usd"] for record in records} == {0}


# -- too much, too slow, not what it claims -------------------------------------------------------


def padded_to(size: int) -> bytes:
    return GOOD[:-1] + b" " * (size - len(GOOD)) + b"}"


def chunked(body: bytes, step: int = 4096) -> bytes:
    """The request with its body in chunks, no length declared."""
    head = post_bytes(b"", headers=(("transfer-encoding", "chunked"),))
    head = head.replace(b"content-length: 0\r\n", b"")
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return (
        head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n")
    )


def test_a_body_of_exactly_the_limit_is_served(strict: Strict) -> None:
    assert strict.post(padded_to(BODY_BYTES)).status == 200
    assert strict.answer_to(chunked(padded_to(BODY_BYTES))).status == 200


def test_r6_a_body_one_byte_over_the_limit_is_refused(strict: Strict, refused: Refused) -> None:
    refused(strict.post(padded_to(BODY_BYTES + 1)), 413, "body_too_large")


def test_r6_a_chunked_body_over_the_limit_is_refused(strict: Strict, refused: Refused) -> None:
    refused(strict.answer_to(chunked(padded_to(BODY_BYTES + 1))), 413, "body_too_large")


@pytest.mark.parametrize("length", [BODY_BYTES + 1, 1 << 30, 1 << 62])
def test_r6_a_declared_giant_is_refused_before_a_byte_of_it_arrives(
    strict: Strict, refused: Refused, length: int
) -> None:
    refused(strict.answer_to(post_bytes(b"", length=length)), 413, "body_too_large")


def test_r6_a_chunked_body_without_end_is_refused_while_it_comes(
    strict: Strict, refused: Refused
) -> None:
    with RawClient(strict.server.origin) as client:
        client.send(chunked(b" " * (BODY_BYTES + 4096))[: -len(b"0\r\n\r\n")])
        refused(client.reply(), 413, "body_too_large")


def test_a_body_longer_than_declared_is_not_read_as_part_of_it(strict: Strict) -> None:
    """What follows is the next request on the connection, and here it is none."""
    with RawClient(strict.server.origin) as client:
        client.send(post_bytes(GOOD) + b"and some more\r\n\r\n")
        assert client.reply().status in (200, 400)
    assert strict.forwarded() <= 1


def test_a_body_shorter_than_declared_times_out(strict: Strict, refused: Refused) -> None:
    with RawClient(strict.server.origin) as client:
        client.send(post_bytes(GOOD, length=len(GOOD) + 1))
        refused(client.reply(), 408, "request_timeout")


def test_a_trickled_body_times_out_however_steadily_it_comes(
    strict: Strict, refused: Refused
) -> None:
    with RawClient(strict.server.origin, seconds=0.05) as client:
        client.send(post_bytes(b"", length=10_000))
        reply = None
        for _ in range(200):
            client.send(b" ")
            try:
                reply = client.reply()
                break
            except TimeoutError:  # not yet: one more byte
                continue
    assert reply is not None, "it was waited for without end"
    refused(reply, 408, "request_timeout")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity", "x"])
def test_a_compressed_body_is_refused(strict: Strict, refused: Refused, coding: str) -> None:
    request = post_bytes(gzip.compress(GOOD), headers=(("content-encoding", coding),))
    refused(strict.answer_to(request), 400, "invalid_request")


def test_a_compressed_body_that_does_not_say_so_is_not_json(
    strict: Strict, refused: Refused
) -> None:
    refused(strict.post(gzip.compress(GOOD)), 400, "invalid_json")


# -- what is forwarded ----------------------------------------------------------------------------

ODD_BUT_RIGHT: dict[str, bytes] = {
    "spaces": b" \r\n\t" + GOOD + b" \n",
    "escaped-member": GOOD.replace(b'"model"', b'"\\u006dodel"'),
    "unknown-members": with_member('"x":{"y":[1,2.50,true,null,"z"]}'),
    "same-key-in-other-objects": with_member('"a":{"k":1},"b":{"k":2},"k":3'),
    "exact-numbers": with_member('"seed":9007199254740993,"x":1.10,"y":-0,"z":1e-7'),
    "escapes-and-emoji": GOOD.replace(b"hello", "\\u0041\\ud83d\\ude42🙂\\/".encode()),
    "escaped-nul": GOOD.replace(b"hello", b"nul \\u0000 is legal"),
    "depth-500": nested(500),
    "many-members": with_member(",".join(f'"k{n}":{n}' for n in range(2_000))),
    "empty-name": with_member('"":1'),
}


@pytest.mark.parametrize("body", ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT)
def test_an_odd_but_right_body_is_forwarded_byte_for_byte(strict: Strict, body: bytes) -> None:
    assert strict.post(body).status == 200
    assert [call.body for call in strict.upstream.calls] == [body]


@pytest.mark.parametrize("body", ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT)
def test_an_odd_body_of_a_stream_changes_only_by_the_usage_asked_for(
    strict: Strict, body: bytes
) -> None:
    streamed = body.replace(b"{", b'{"stream":true,', 1)
    reply = strict.post(streamed)
    assert events(reply.body)[-1] == "[DONE]"
    [call] = strict.upstream.calls
    sent: dict[str, Any] = json.loads(streamed)
    assert json.loads(call.body) == {**sent, "stream_options": {"include_usage": True}}
    without = call.body.replace(b'"stream_options":{"include_usage":true},', b"", 1)
    assert without == streamed
