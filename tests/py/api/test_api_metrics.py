"""/metrics has the names of the contracts, counts what happened, and holds nothing of a client."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sentinel.testing import ScriptedUpstream
from support.serving import GatewayServer, chat_body

Serve = Callable[..., GatewayServer]
CHAT = "/v1/chat/completions"

# The names of contracts.md that something in this version produces.
NAMES = {
    "sentinel_http_requests_total": "counter",
    "sentinel_http_request_duration_seconds": "histogram",
    "sentinel_overhead_seconds": "histogram",
    "sentinel_in_flight": "gauge",
    "sentinel_cache_requests_total": "counter",
    "sentinel_upstream_requests_total": "counter",
    "sentinel_upstream_duration_seconds": "histogram",
    "sentinel_time_to_first_token_seconds": "histogram",
    "sentinel_tokens_total": "counter",
    "sentinel_cost_usd_total": "counter",
}


def value(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    total = 0.0
    for line in text.splitlines():
        if not line.startswith((name + "{", name + " ")):
            continue
        if all(f'{label}="{wanted}"' in line for label, wanted in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


def traffic(server: GatewayServer, upstream: ScriptedUpstream) -> str:
    """Good, streamed, failing and refused calls, and what is exposed then."""
    with server.http() as client:
        client.post(CHAT, json=chat_body())
        client.post(CHAT, json=chat_body(stream=True))
        upstream.script("status=500")
        client.post(CHAT, json=chat_body())
        client.post(CHAT, json={})
        server.idle()
        return client.get("/metrics").text


def test_a11_the_metrics_of_the_contracts_are_there(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    text = traffic(serve(), upstream)
    types = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    assert {name: types.get(name) for name in NAMES} == NAMES
    assert all(name.startswith("sentinel_") for name in types)


def test_a11_what_happened_is_counted(serve: Serve, upstream: ScriptedUpstream) -> None:
    text = traffic(serve(), upstream)
    by_status = [
        value(text, "sentinel_http_requests_total", endpoint=CHAT, status=status)
        for status in ("200", "400", "500")
    ]
    assert by_status == [2, 1, 1]
    assert value(text, "sentinel_http_request_duration_seconds_count", endpoint=CHAT) == 4
    assert value(text, "sentinel_upstream_requests_total", outcome="done") == 2
    assert value(text, "sentinel_upstream_requests_total", outcome="upstream_error") == 1
    assert value(text, "sentinel_tokens_total", kind="prompt") == 4
    assert value(text, "sentinel_tokens_total", kind="completion") == 8
    assert value(text, "sentinel_cost_usd_total") == (4 + 2 * 8) / 1e6
    assert value(text, "sentinel_in_flight") == 0
    assert value(text, "sentinel_time_to_first_token_seconds_count") == 2


def test_labels_never_hold_what_a_client_said(serve: Serve, upstream: ScriptedUpstream) -> None:
    server = serve(
        routes={
            "gpt-*": {"targets": [{"upstream": "upstream"}]},
            "claude": {"targets": [{"upstream": "upstream"}]},
        }
    )
    with server.http() as client:
        for model in ("gpt-canary-1", "gpt-canary-2", "canary-unrouted"):
            ask: dict[str, Any] = chat_body(model=model, user="canary-user")
            client.post(CHAT, json=ask, headers={"x-request-id": "canary-request"})
        client.post("/v1/canary-path", json={})
        client.post(CHAT, json=chat_body(), headers={"authorization": "Bearer canary-key"})
        text = client.get("/metrics").text
    assert "canary" not in text
    assert value(text, "sentinel_http_requests_total", model="gpt-*", status="200") == 2
    assert value(text, "sentinel_upstream_requests_total", target="upstream/*") == 2


def test_the_exposition_is_well_formed(serve: Serve, upstream: ScriptedUpstream) -> None:
    server = serve()
    text = traffic(server, upstream)
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [0-9.e+-]+|\+Inf')
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line
    with server.http(None) as client:
        assert (
            client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
        )
