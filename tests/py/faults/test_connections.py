"""Connections that cannot be had, die or were closed idle; names and certificates that lie."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme

from faults.conftest import SHORT
from sentinel.testing import Behaviour, ScriptedUpstream
from support.sdk_calls import HELLO
from support.serving import GatewayServer, gateway_settings

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": HELLO}
ServeFor = Callable[..., GatewayServer]


@pytest.fixture
def serve_for(tmp_path: Path) -> Iterator[ServeFor]:
    """A gateway for any upstream URL."""
    with ExitStack() as stack:

        def start(url: str, **overrides: object) -> GatewayServer:
            data_dir = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
            settings = gateway_settings(url, data_dir, **overrides)
            return stack.enter_context(GatewayServer.serving(settings))

        yield start


def failure(server: GatewayServer, *, stream: bool = False) -> openai.APIStatusError:
    with server.openai() as client, pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(**ASK, stream=stream)
    return error.value


def only_record(server: GatewayServer) -> dict[str, Any]:
    server.idle()
    [record] = server.records()
    return record


@contextmanager
def listening_to_nobody() -> Iterator[str]:
    """The URL of a socket whose queue is full: the kernel answers no more connects."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def unused_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_a_connect_that_is_not_answered_is_a_504(serve_for: ServeFor) -> None:
    with listening_to_nobody() as url:
        server = serve_for(url, upstreams__upstream__timeouts=SHORT)
        error = failure(server)
    assert (error.status_code, error.code) == (504, "upstream_timeout")
    record = only_record(server)
    assert (record["outcome"], record["status"]) == ("upstream_error", 504)
    assert (record["prompt_tokens"], record["cost_micro_usd"]) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_connection_is_a_502_that_costs_nothing(
    serve_for: ServeFor, stream: bool
) -> None:
    server = serve_for(unused_url())
    error = failure(server, stream=stream)
    assert (error.status_code, error.code) == (502, "upstream_error")
    assert "127.0.0.1" not in str(error.body)
    record = only_record(server)
    assert (record["outcome"], record["prompt_tokens"]) == ("upstream_error", 0)


def test_a_name_that_does_not_exist_is_a_502_that_does_not_repeat_it(serve_for: ServeFor) -> None:
    server = serve_for("http://no-such-upstream.invalid/v1")
    error = failure(server)
    assert (error.status_code, error.code) == (502, "upstream_error")
    assert "no-such-upstream" not in str(error.body)
    assert only_record(server)["outcome"] == "upstream_error"


@pytest.mark.parametrize("stream", [False, True])
def test_s6_a_redirect_is_not_followed(serve_for: ServeFor, stream: bool) -> None:
    with ScriptedUpstream.in_thread() as other:
        away = Behaviour(fail="redirect", location=f"{other.base_url}/chat/completions")
        with ScriptedUpstream.in_thread(default=away) as upstream:
            error = failure(serve_for(upstream.base_url), stream=stream)
            assert len(upstream.calls) == 1
        assert other.stats()["connections_total"] == 0
    assert (error.status_code, error.code) == (502, "upstream_error")
    assert "location" not in error.response.headers


def test_an_upstream_killed_while_it_streams_ends_every_stream_with_an_error_event(
    serve_for: ServeFor,
) -> None:
    with ScriptedUpstream.in_thread() as upstream:
        server = serve_for(upstream.base_url)
        with server.openai() as client:
            upstream.script(*["fail=stall_between_events at=4 chunks=9"] * 5)
            streams = [client.chat.completions.create(**ASK, stream=True) for _ in range(5)]
            for stream in streams:
                for _ in range(5):  # the role and four pieces
                    next(stream)
            upstream.kill()
            for stream in streams:
                with pytest.raises(openai.APIError) as error:
                    next(stream)
                assert error.value.code == "upstream_error"
            assert failure(server).status_code == 502
        server.idle()
        cut = [record for record in server.records() if record["status"] == 200]
    assert [record["outcome"] for record in cut] == ["upstream_cut"] * 5
    assert [record["completion_tokens"] for record in cut] == [4] * 5


@pytest.mark.parametrize("stall", ["before_head", "mid_head", "after_head", "mid_body"])
def test_an_upstream_killed_before_a_byte_reached_the_client_is_a_502(
    serve_for: ServeFor, stall: str
) -> None:
    with ScriptedUpstream.in_thread(default=Behaviour(fail=f"stall_{stall}")) as upstream:
        server = serve_for(upstream.base_url)
        killer = upstream.record.when(lambda: upstream.in_flight == 1)
        killer.add_done_callback(lambda _: upstream.kill())
        assert failure(server).status_code == 502
    assert only_record(server)["outcome"] in ("upstream_error", "upstream_cut")


@pytest.mark.parametrize("fault", ["close_idle", "connection_close"])
def test_connections_closed_while_idle_are_no_clients_error(
    serve_for: ServeFor, fault: str
) -> None:
    with ScriptedUpstream.in_thread(default=Behaviour(fail=fault)) as upstream:
        server = serve_for(upstream.base_url)
        with server.openai() as client:
            for _ in range(30):
                client.chat.completions.create(**ASK)
        server.idle()
        assert [record["outcome"] for record in server.records()] == ["done"] * 30
        assert upstream.stats()["requests"] == 30


def test_an_upstream_that_restarts_is_called_again(serve_for: ServeFor) -> None:
    with ScriptedUpstream.in_thread() as first:
        port = first.port
        server = serve_for(first.base_url)
        with server.openai() as client:
            client.chat.completions.create(**ASK)
    assert failure(server).status_code == 502
    with ScriptedUpstream.in_thread(port=port), server.openai() as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content


# -- TLS ------------------------------------------------------------------------------------------


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """A certificate authority, and the file that makes it trusted."""
    made = trustme.CA()
    anchor = tmp_path / "anchor.pem"
    made.cert_pem.write_to_path(anchor)
    return made, str(anchor)


@pytest.mark.parametrize("stream", [False, True])
def test_a_trusted_certificate_is_served(
    serve_for: ServeFor, authority: tuple[trustme.CA, str], stream: bool
) -> None:
    made, anchor = authority
    with ScriptedUpstream.in_thread(tls=certified(made, "127.0.0.1")) as upstream:
        server = serve_for(upstream.base_url, upstreams__upstream__ca_file=anchor)
        with server.openai() as client:
            for _ in range(3):
                answer = client.chat.completions.create(**ASK, stream=stream)
                assert not stream or len(list(answer)) > 6
        assert upstream.stats()["connections_total"] == 1


@pytest.mark.parametrize("trusted", [True, False], ids=["wrong-host", "unknown-authority"])
@pytest.mark.parametrize("stream", [False, True])
def test_s6_a_certificate_that_does_not_prove_the_host_is_a_502_and_sends_nothing(
    serve_for: ServeFor, authority: tuple[trustme.CA, str], trusted: bool, stream: bool
) -> None:
    made, anchor = authority
    name = "elsewhere.test" if trusted else "127.0.0.1"
    with ScriptedUpstream.in_thread(tls=certified(made, name)) as upstream:
        server = serve_for(
            upstream.base_url, upstreams__upstream__ca_file=anchor if trusted else None
        )
        error = failure(server, stream=stream)
        assert (error.status_code, error.code) == (502, "upstream_error")
        assert upstream.calls == []
        record = only_record(server)
    assert (record["outcome"], record["cost_micro_usd"]) == ("upstream_error", 0)
