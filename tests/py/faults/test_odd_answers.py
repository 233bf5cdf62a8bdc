"""JSON that is no answer of the protocol: it may pass, it may be refused, it never breaks us."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.serving import GatewayServer, chat_body, gateway_settings

GOOD = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
DEEP = "as deep as we read"  # stands for what Python's own encoder could not write

ODD: dict[str, Any] = {
    "empty": {},
    "choices-null": {"choices": None},
    "choices-text": {"choices": "x"},
    "choices-object": {"choices": {"a": 1}},
    "choices-of-numbers": {"choices": [1, 2]},
    "choices-empty": {"choices": []},
    "message-number": {"choices": [{"message": 5}]},
    "message-null": {"choices": [{"message": None}]},
    "content-parts": {"choices": [{"message": {"content": [{"type": "text", "text": "hi"}]}}]},
    "content-number": {"choices": [{"message": {"content": 7}}]},
    "content-object": {"choices": [{"message": {"content": {"a": 1}}}]},
    "usage-text": {"choices": [GOOD], "usage": "x"},
    "usage-list": {"choices": [GOOD], "usage": [1]},
    "usage-members-text": {"choices": [GOOD], "usage": {"prompt_tokens": "3"}},
    "usage-negative": {"choices": [GOOD], "usage": {"prompt_tokens": -3, "completion_tokens": -1}},
    "usage-huge": {
        "choices": [GOOD],
        "usage": {"prompt_tokens": 2**63 - 1, "completion_tokens": 9},
    },
    "usage-float": {"choices": [GOOD], "usage": {"prompt_tokens": 3.5, "completion_tokens": 1e300}},
    "model-number": {"choices": [GOOD], "model": 5},
    "model-object": {"choices": [GOOD], "model": {"a": 1}},
    "half-a-surrogate": {"choices": [{"message": {"content": "a\ud800b"}}], "model": "\udfff"},
    "half-a-surrogate-in-usage": {"choices": [GOOD], "usage": {"\ud800": "\ud800"}},
    "content-parts-odd": {"choices": [{"message": {"content": [1, {"text": 2}, {"text": "hi"}]}}]},
    "deep": {"choices": [GOOD], "x": DEEP},
    "error-null": {"choices": [GOOD], "error": None},
    "error-empty-text": {"choices": [GOOD], "error": ""},
    "error-text": {"error": "it broke"},
    "error-true": {"error": True},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayServer]:
    """A gateway over an upstream that answers with the odd object the prompt names."""
    with parroting() as url:
        settings = gateway_settings(url, tmp_path_factory.mktemp("odd"))
        with GatewayServer.serving(settings) as server:
            yield server


@contextmanager
def parroting() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = written(ODD[body["messages"][0]["content"]])
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test tells what went wrong."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def written(odd: Any) -> bytes:
    deep = "[" * 1_020 + "]" * 1_020
    return json.dumps(odd).replace(json.dumps(DEEP), deep).encode()


def only_new_record(server: GatewayServer, before: int) -> dict[str, Any]:
    server.idle()
    [record] = server.records()[before:]
    return record


@pytest.mark.parametrize("name", ODD)
def test_r7_an_odd_object_passes_as_it_is_or_is_a_502(odd: GatewayServer, name: str) -> None:
    before = len(odd.records())
    with odd.http() as client:
        answer = client.post("/v1/chat/completions", json=chat_body(name))
    record = only_new_record(odd, before)
    assert record["status"] == answer.status_code
    assert min(record["prompt_tokens"], record["completion_tokens"], record["cost_micro_usd"]) >= 0
    if answer.status_code == 200:
        assert answer.content == written(ODD[name])
        assert record["outcome"] == "done"
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
        assert record["outcome"] == "upstream_error"


@pytest.mark.parametrize("name", ODD)
def test_r7_an_odd_object_is_no_fault_of_the_query_route(odd: GatewayServer, name: str) -> None:
    before = len(odd.records())
    with odd.http() as client:
        answer = client.post("/v1/query", json={"prompt": name})
    assert answer.status_code in (200, 502)
    assert "answer" in answer.json() or answer.json()["error"]["code"] == "upstream_error"
    only_new_record(odd, before)
