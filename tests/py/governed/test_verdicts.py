"""No way of writing a request changes its verdict, and none is too much (S2, S14, S18, S31)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from governed.conftest import Governed
from sentinel.testing import ScriptedUpstream
from support.governed import document, from_address, key, key_text
from support.raw_http import RawClient, RawReply, post_bytes
from support.serving import ADMIN_KEY, APP_KEY, GatewayProcess, chat_body

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def session_watched(
    session_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = document(
        session_upstream.base_url,
        keys=[
            {"id": "operator", "key": APP_KEY},
            key("spent", limits={"rates": ["1/day"]}),
            key("narrow", models=["only-this"]),
            key("counted", limits={"rates": ["100000 tokens/day", "1 usd/day"]}),
        ],
    )
    with GatewayProcess.serving(settings, tmp_path_factory.mktemp("watched")) as gateway:
        with gateway.http(key_text("spent")) as client:
            assert client.post(CHAT, json=chat_body()).status_code == 200
        yield gateway


@pytest.fixture
def watched(session_watched: GatewayProcess, upstream: ScriptedUpstream) -> GatewayProcess:
    """A gateway with a key whose limit is used up, one for one model, and one whose tokens and
    money are counted."""
    return session_watched


def answer_to(gateway: GatewayProcess, request: bytes, method: str = "POST") -> RawReply:
    with RawClient(gateway.origin) as client:
        client.send(request)
        return client.reply(method)


# ---- S2: ways to write a path -------------------------------------------------------------------

TARGETS = [
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions;x=1",
    "/v1;x/chat/completions",
    "/v1/./chat/completions",
    "/v1/../v1/chat/completions",
    "/%76%31/chat/completions",
    "/v1/chat%2Fcompletions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/V1/Chat/Completions",
    "/v1/chat/completions?key=sk-operator-key-of-the-tests",
    "/v1/chat/completions#fragment",
    "/admin/%2e%2e/v1/chat/completions",
    "/healthz/../v1/chat/completions",
    "/healthz%2f..%2fv1/chat/completions",
    "http://gateway.test/v1/chat/completions",
    "http://user:pass@gateway.test/v1/chat/completions",
    "//gateway.test/v1/chat/completions",
    "\\v1\\chat\\completions",
]
CREDENTIALS = {
    "none": None,
    "unknown": "sk-somebody-elses-key-0001",
    "narrow": key_text("narrow"),
    "spent": key_text("spent"),
}
VERDICTS = {
    "none": (401, "invalid_api_key"),
    "unknown": (401, "invalid_api_key"),
    "narrow": (403, "model_not_allowed"),
    "spent": (429, "rate_limit_exceeded"),
}


def with_credential(request: bytes, credential: str | None) -> bytes:
    line = f"authorization: Bearer {APP_KEY}\r\n".encode()
    wanted = b"" if credential is None else line.replace(APP_KEY.encode(), credential.encode())
    return request.replace(line, wanted)


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("path", TARGETS)
def test_s2_a_path_written_otherwise_gets_the_same_verdict_or_none_at_all(
    watched: GatewayProcess, upstream: ScriptedUpstream, path: str, name: str
) -> None:
    clean = answer_to(watched, with_credential(post_bytes(chat_body()), CREDENTIALS[name]))
    assert (clean.status, clean.code) == VERDICTS[name]
    other = answer_to(watched, with_credential(post_bytes(chat_body(), path), CREDENTIALS[name]))
    assert other.status == VERDICTS[name][0] or other.status in (400, 404, 405, 307), path
    assert upstream.calls == []


HOSTS = ["a/?x", "a/#@b", "a@b", "localhost:99999", "[::1", "a b", "", "admin", "127.0.0.1:80"]


@pytest.mark.parametrize("name", ["none", "spent"])
@pytest.mark.parametrize("host", HOSTS)
def test_s2_a_host_decides_nothing(
    watched: GatewayProcess, upstream: ScriptedUpstream, host: str, name: str
) -> None:
    request = post_bytes(chat_body()).replace(b"host: gateway.test", f"host: {host}".encode())
    reply = answer_to(watched, with_credential(request, CREDENTIALS[name]))
    assert reply.status in (VERDICTS[name][0], 400)
    assert upstream.calls == []


ADMIN_TARGETS = [
    "/admin/keys",
    "//admin/keys",
    "/admin//keys",
    "/admin/keys/",
    "/Admin/keys",
    "/%61dmin/keys",
    "/v1/../admin/keys",
    "/v1/%2e%2e/admin/keys",
    "/v1/chat/completions/../../../admin/keys",
    "/admin;x/keys",
    "/admin/keys;x",
    "/admin/keys%00",
    "http://gateway.test/admin/keys",
    "\\admin\\keys",
]


@pytest.mark.parametrize("credential", [None, APP_KEY, ADMIN_KEY[:-1], f"{ADMIN_KEY}x", "admin"])
@pytest.mark.parametrize("path", ADMIN_TARGETS)
def test_s18_no_way_of_writing_an_admin_path_opens_it_without_the_admin_key(
    watched: GatewayProcess, path: str, credential: str | None
) -> None:
    for method in ("GET", "POST", "DELETE"):
        request = post_bytes({"account": "default", "name": "mine"}, path, method=method)
        reply = answer_to(watched, with_credential(request, credential), method)
        assert reply.status in (307, 400, 401, 403, 404, 405), (method, path)
        assert b"operator" not in reply.body


# ---- S14: guesses -------------------------------------------------------------------------------


def test_s14_guesses_count_by_address_whatever_they_ask_for(governed: Governed) -> None:
    gateway = governed(server={"per_address": {"rates": ["10/day"]}})
    guess = "sk-a-guess-of-somebody"
    for number, path in enumerate([CHAT, "/v1/models", "/v1/embeddings", "/v1/query"]):
        with from_address(gateway, f"127.0.0.{number + 2}", guess) as client:
            method = "GET" if path == "/v1/models" else "POST"
            body = {"prompt": "hello"} if path == "/v1/query" else chat_body(input="hello")
            statuses = [client.request(method, path, json=body).status_code for _ in range(15)]
        assert statuses == [401] * 10 + [429] * 5, path


REFUSED_ANYWAY = {
    "too-large": post_bytes(b"", length=10**9),
    "query-invalid": post_bytes({"nonsense": 1}, "/v1/query"),
    "query-no-json": post_bytes(b"{", "/v1/query"),
}


@pytest.mark.parametrize("name", REFUSED_ANYWAY)
def test_s14_guesses_by_requests_that_are_refused_anyway_count_too(
    governed: Governed, name: str
) -> None:
    gateway = governed(server={"per_address": {"rates": ["5/day"]}})
    request = with_credential(REFUSED_ANYWAY[name], "sk-a-guess-of-somebody")
    statuses = [answer_to(gateway, request).status for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3


def test_s14_guesses_of_the_admin_key_count_too(governed: Governed) -> None:
    gateway = governed(server={"per_address": {"rates": ["5/day"]}})
    with gateway.http("a-guess-of-the-admin-key") as client:
        statuses = [client.get("/admin/keys").status_code for _ in range(8)]
    assert statuses == [403] * 5 + [429] * 3


# ---- S31: too much of everything ----------------------------------------------------------------

COUNTED = key_text("counted")


def post(gateway: GatewayProcess, body: bytes | dict[str, Any], path: str = CHAT) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with gateway.http(COUNTED) as client:
        return client.post(path, content=content, headers={"content-type": "application/json"})


TOO_MUCH: dict[str, dict[str, Any]] = {
    "n": {"n": 128, "max_tokens": 1_000_000},
    "n-default": {"n": 128},
    "max_tokens": {"max_tokens": 1_000_000_000},
    "max_completion_tokens": {"max_completion_tokens": 2**40},
    "product": {"n": 128, "max_tokens": 2**55},
    "most": {"max_tokens": 2**63 - 1},
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_s31_what_could_cost_more_than_the_limit_is_refused_before_it_is_sent(
    watched: GatewayProcess, upstream: ScriptedUpstream, name: str
) -> None:
    reply = post(watched, chat_body(**TOO_MUCH[name]))
    assert reply.status_code in (400, 429), reply.text
    assert reply.json()["error"]["code"] in (
        "rate_limit_exceeded",
        "budget_exceeded",
        "invalid_request",
    )
    assert "retry-after" not in reply.headers
    assert upstream.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 2**63},
        {"max_tokens": 10**30},
        {"max_tokens": -1},
        {"max_tokens": 1.5},
        {"max_tokens": "7"},
        {"n": 2**63},
        {"n": -1},
        {"n": "2"},
    ],
    ids=str,
)
def test_s31_numbers_that_are_none_are_bad_requests(
    watched: GatewayProcess, upstream: ScriptedUpstream, change: dict[str, Any]
) -> None:
    reply = post(watched, chat_body(**change))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] in ("invalid_request", "invalid_json")
    assert upstream.calls == []


def test_s31_ten_thousand_tools_are_counted_like_everything_else(
    watched: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    reply = post(watched, chat_body(tools=[tool] * 10_000, max_tokens=10))
    assert reply.status_code == 429, reply.text
    assert "tokens" in reply.json()["error"]["message"]
    assert upstream.calls == []


@pytest.mark.parametrize("depth", [50, 5_000, 500_000])
def test_s31_a_deep_schema_is_answered(
    watched: GatewayProcess, upstream: ScriptedUpstream, depth: int
) -> None:
    schema = b'{"a":' * depth + b"{}" + b"}" * depth
    form = b'{"type":"json_schema","json_schema":{"name":"x","schema":' + schema + b"}}"
    body = json.dumps(chat_body(max_tokens=10)).encode()[:-1]
    reply = post(watched, body + b',"response_format":' + form + b"}")
    assert reply.status_code == (200 if depth == 50 else 400), reply.text
    assert post(watched, chat_body(max_tokens=10)).status_code == 200


def test_s31_a_recursive_schema_is_only_text(watched: GatewayProcess) -> None:
    schema = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "type": "object", "properties": {}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert post(watched, chat_body(response_format=form, max_tokens=10)).status_code == 200


def test_s31_an_endless_answer_is_owed_and_what_follows_waits(
    governed: Governed, upstream: ScriptedUpstream
) -> None:
    gateway = governed(keys=[key("one", limits={"rates": ["2000 tokens/day"]})])
    upstream.script("chunks=5000")  # of the 10 it was asked for
    with gateway.http(key_text("one")) as client:
        stream = client.post(CHAT, json=chat_body(max_tokens=10, stream=True))
        assert stream.status_code == 200
        later = client.post(CHAT, json=chat_body(max_tokens=10))
    assert later.status_code == 429
    assert int(later.headers["retry-after"]) > 86_400


@pytest.mark.parametrize("many", [1, 2_048, 2_049, 200_000])
def test_s31_embeddings_of_very_many_items_are_answered(
    watched: GatewayProcess, upstream: ScriptedUpstream, many: int
) -> None:
    reply = post(
        watched,
        {"model": "cached", "input": [f"{many}-{number}" for number in range(many)]},
        "/v1/embeddings",
    )
    assert reply.status_code in (200, 400, 413, 429)
    assert len(upstream.calls) == (reply.status_code == 200)
