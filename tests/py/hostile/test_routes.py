"""Paths and methods that lead nowhere: a typed 4xx, and no way around the governed routes."""

from __future__ import annotations

import json

import pytest

from hostile.conftest import Refused, Strict
from sentinel.testing import ScriptedUpstream
from support.raw_http import RawReply, post_bytes
from support.serving import APP_KEY, chat_body

GOVERNED = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/query",
]


def asking(method: str, target: str, *headers: str, host: str = "gateway.test") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", f"authorization: Bearer {APP_KEY}"]
    return "\r\n".join([*lines, *headers]).encode("latin-1") + b"\r\n\r\n"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/files",
        "/v1/assistants",
        "/v1/threads/thread_1/runs",
        "/v1/fine_tuning/jobs",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/responses/resp_1",
        "/v1/messages/batches",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/%2e/chat/completions",
        "/v1/x/../chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%0d%0ax:1",
        "/v1/chat/completions;x=1",
        "/v1/chat\\completions",
        "/%",
        "/%ff%fe",
        "/admin/keys/../../v1/chat/completions",
    ],
)
def test_an_unknown_path_is_an_unsupported_endpoint(
    strict: Strict, refused: Refused, target: str
) -> None:
    reply = strict.answer_to(post_bytes(chat_body("hello"), target))
    refused(reply, 404, "unsupported_endpoint")
    assert "location" not in reply.headers


@pytest.mark.parametrize("host", ["[", "a b", "evil.test", "a/b", "@", "é", ""], ids=ascii)
@pytest.mark.parametrize("target", ["/nowhere", "/v1/files/", "/v1/chat/completions/"])
def test_s4_a_host_is_reflected_nowhere_and_breaks_nothing(
    strict: Strict, refused: Refused, host: str, target: str
) -> None:
    reply = strict.answer_to(asking("GET", target, host=host), "GET")
    refused(reply, 404, "unsupported_endpoint")
    assert "evil.test" not in str(reply)


@pytest.mark.parametrize("path", GOVERNED)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_another_method_is_refused_and_told_the_right_one(
    strict: Strict, refused: Refused, method: str, path: str
) -> None:
    reply = strict.answer_to(asking(method, path), method)
    refused(reply, 405, "unsupported_endpoint")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("path", GOVERNED)
def test_head_is_refused_without_a_body(strict: Strict, path: str) -> None:
    reply = strict.answer_to(asking("HEAD", path), "HEAD")
    assert (reply.status, reply.body) == (405, b"")


def test_head_of_the_models_is_their_head(strict: Strict) -> None:
    reply = strict.answer_to(asking("HEAD", "/v1/models"), "HEAD")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_the_models_cannot_be_changed(strict: Strict, method: str) -> None:
    reply = strict.answer_to(asking(method, "/v1/models", "content-length: 0"), method)
    assert (reply.status, reply.code) == (405, "unsupported_endpoint")


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/responses", "/v1/chat/completions", "/"])
def test_a_websocket_is_refused(strict: Strict, path: str) -> None:
    upgrade = (
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    reply = strict.answer_to(asking("GET", path, *upgrade), "GET")
    assert reply.status in (404, 405, 501)
    assert reply.code in ("unsupported_endpoint", "not_implemented")
    assert strict.forwarded() == 0


def answer_of(reply: RawReply) -> str:
    text: str = json.loads(reply.body)["choices"][0]["message"]["content"]
    return text


def test_s6_an_absolute_target_goes_to_our_upstream_and_nowhere_else(strict: Strict) -> None:
    with ScriptedUpstream.in_thread() as elsewhere:
        target = f"{elsewhere.base_url}/chat/completions"
        reply = strict.answer_to(post_bytes(chat_body("hello"), target))
        assert answer_of(reply) == "You said: hello"
        assert elsewhere.stats()["connections_total"] == 0
    assert strict.forwarded() == 1


@pytest.mark.parametrize("target", ["/v1/chat%2Fcompletions", "/v1/%63hat/completions"])
def test_an_escaped_spelling_of_a_route_is_governed_like_the_route(
    strict: Strict, refused: Refused, target: str
) -> None:
    request = post_bytes(chat_body("hello"), target).replace(
        APP_KEY.encode(), b"sk-wrong-key-00000"
    )
    refused(strict.answer_to(request), 401, "invalid_api_key")


def test_a_query_of_the_client_is_not_forwarded(strict: Strict) -> None:
    target = "/v1/chat/completions?api-version=evil&x=%0d%0a"
    assert strict.answer_to(post_bytes(chat_body("hello"), target)).status == 200
    [call] = strict.upstream.calls
    assert (call.path, call.query) == ("/v1/chat/completions", "")


def test_s20_members_that_name_routing_or_accounts_pass_as_data_and_change_nothing(
    strict: Strict,
) -> None:
    extra = {
        "target": "evil",
        "upstream": "evil",
        "account": "root",
        "base_url": "http://evil.test",
    }
    assert strict.post(chat_body("hello", **extra)).status == 200
    strict.server.idle()
    record = strict.server.records()[-1]
    assert (record["account_id"], record["target"]) == ("default", "upstream/gpt-4o-mini")


@pytest.mark.parametrize("name", ["gpt-4o-mini/../../files", "a%0d%0ab", "%00", "x" * 300])
def test_a_model_that_is_none_is_not_found(strict: Strict, refused: Refused, name: str) -> None:
    reply = strict.answer_to(asking("GET", f"/v1/models/{name}"), "GET")
    refused(reply, 404, "unsupported_endpoint" if "%0d" in name else "model_not_found")


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/accounts"])
@pytest.mark.parametrize("credential", [APP_KEY, "", "x" * 5_000])
def test_the_admin_routes_take_no_other_key(strict: Strict, path: str, credential: str) -> None:
    request = asking("GET", path).replace(APP_KEY.encode(), credential.encode())
    assert strict.answer_to(request, "GET").status == (403 if credential else 401)


COLD_BODIES = [
    b"",
    b"{",
    b"[]",
    b'{"prompt":1}',
    b'{"prompt":"x","max_tokens":-1}',
    b"\xff\xfe",
    b"[" * 9_999,
]


@pytest.mark.parametrize("body", COLD_BODIES)
def test_a_bad_query_is_a_400_and_forwards_nothing(strict: Strict, body: bytes) -> None:
    reply = strict.post(body, "/v1/query")
    assert (reply.status, reply.code) in ((400, "invalid_json"), (400, "invalid_request"))
    assert strict.forwarded() == 0


def test_r6_a_giant_query_is_refused(strict: Strict, refused: Refused) -> None:
    refused(strict.post({"prompt": "x" * 200_000}, "/v1/query"), 413, "body_too_large")
