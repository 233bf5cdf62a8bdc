"""The scripted upstream on the wire: every fault is what its name says, every departure is seen."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trustme

from sentinel.testing import FAULTS, Behaviour, ScriptedUpstream, ScriptError

CHUNKED_END = b"0\r\n\r\n"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


class Wire:
    """One connection that shows bytes; reads have a deadline, so a stall fails and never hangs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, upstream: ScriptedUpstream) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", upstream.port))

    def chat(self, content: str, *, stream: bool = False, **members: Any) -> None:
        messages = [{"role": "user", "content": content}]
        body = {"model": "gpt-4o-mini", "messages": messages, "stream": stream, **members}
        data = json.dumps(body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\n"
            "Authorization: Bearer sk-canary\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        self.writer.write(head.encode() + data)

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), 5)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset leaves its mark."""
        data = bytearray()
        try:
            while piece := await asyncio.wait_for(self.reader.read(1 << 20), 5):
                data += piece
        except ConnectionResetError:
            data += b"<reset>"
        self.writer.close()
        return bytes(data)


async def reply_to(upstream: ScriptedUpstream, content: str, *, stream: bool = False) -> bytes:
    """All bytes of one reply, for scripts that end the connection."""
    wire = await Wire.open(upstream)
    wire.chat(content, stream=stream)
    return await wire.rest()


# -- recording ------------------------------------------------------------------------------------


async def test_a_call_is_recorded_as_it_came(upstream: ScriptedUpstream) -> None:
    async with httpx.AsyncClient() as client:
        await client.post(
            f"{upstream.origin}/openai/deployments/d/chat/completions?api-version=1",
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
            headers=[("X-Twice", "1"), ("x-twice", "2")],
        )
    (call,) = upstream.calls
    assert (call.method, call.query) == ("POST", "api-version=1")
    assert call.path == "/openai/deployments/d/chat/completions"
    assert [value for name, value in call.headers if name.lower() == "x-twice"] == ["1", "2"]
    assert call.json["model"] == "m"
    assert (call.status, call.aborted) == (200, False)
    assert call.ended is not None
    assert call.ended >= call.started


async def test_counters_show_connections_and_calls_until_reset(upstream: ScriptedUpstream) -> None:
    wire = await Wire.open(upstream)
    for _ in range(2):
        wire.chat("hello")
        await wire.until(b"\r\n\r\n")
        await wire.until(b"\n}\n")
    assert (upstream.connections, upstream.in_flight, upstream.stats()["completed"]) == (1, 0, 2)
    assert {call.connection for call in upstream.calls} == {1}
    upstream.reset()
    assert (upstream.calls, upstream.stats()["requests"], upstream.connections) == ([], 0, 1)
    wire.writer.close()
    await upstream.until(lambda up: up.connections == 0)


async def test_statistics_and_reset_over_http_do_not_count_themselves(
    upstream: ScriptedUpstream,
) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"{upstream.base_url}/models")
        assert (await client.get(f"{upstream.origin}/stats")).json()["requests"] == 1
        assert (await client.post(f"{upstream.origin}/reset")).json()["requests"] == 0


# -- behaviour ------------------------------------------------------------------------------------


async def test_scripts_come_before_directives_and_are_used_once(upstream: ScriptedUpstream) -> None:
    upstream.script("status=503", Behaviour(status=429))
    async with httpx.AsyncClient() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "[[status=400]]"}]}
        url = f"{upstream.base_url}/chat/completions"
        replies = [await client.post(url, json=body) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [503, 429, 400]
    assert replies[1].headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "words", ["fail=nonsense", "chunks=many", "chunk=3", "eol=lfcr", "batch=0"]
)
async def test_a_script_with_a_typo_is_refused(upstream: ScriptedUpstream, words: str) -> None:
    with pytest.raises(ScriptError):
        upstream.script(words)
    wire = await Wire.open(upstream)
    wire.chat(f"[[{words}]]")
    assert b"script: " in await wire.until(b"\n}\n")
    assert upstream.calls[0].status == 400
    wire.writer.close()


async def test_double_brackets_of_the_users_own_are_left_alone(upstream: ScriptedUpstream) -> None:
    upstream.script("fail=connection_close")
    assert b"You said: see [[the wiki]]" in await reply_to(upstream, "see [[the wiki]]")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_s3_an_ambiguous_request_is_refused(
    upstream: ScriptedUpstream, request_bytes: bytes
) -> None:
    wire = await Wire.open(upstream)
    wire.writer.write(request_bytes)
    assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
    assert (upstream.calls, upstream.stats()["refused"]) == ([], 1)


async def test_a_chunked_request_and_expect_continue_are_understood(
    upstream: ScriptedUpstream,
) -> None:
    wire = await Wire.open(upstream)
    wire.writer.write(
        b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.writer.write(b'8\r\n{"model"\r\n13;x=y\r\n: "m","input":"hi"}\r\n0\r\n\r\n')
    assert b" 200 OK" in await wire.rest()
    assert upstream.calls[0].json == {"model": "m", "input": "hi"}


# -- faults: ends ---------------------------------------------------------------------------------

ENDS = {
    "before_head": b"",
    "mid_head": b"HTTP/1.1 200",
    "after_head": b"HTTP/1.1 200",
    "mid_body": b"HTTP/1.1 200",
    "mid_event": b"HTTP/1.1 200",
    "between_events": b"HTTP/1.1 200",
    "before_done": b"HTTP/1.1 200",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ENDS)
@pytest.mark.parametrize("action", ["cut", "reset"])
async def test_r7_a_cut_reply_ends_in_its_phase(
    upstream: ScriptedUpstream, action: str, phase: str, stream: bool
) -> None:
    reply = await reply_to(upstream, f"[[fail={action}_{phase} chunks=6 at=3]]", stream=stream)
    assert reply.startswith(ENDS[phase])
    assert (b"\r\n\r\n" in reply) == (phase not in {"before_head", "mid_head"})
    assert CHUNKED_END not in reply
    assert reply.endswith(b"<reset>") or action == "cut"
    (call,) = upstream.calls
    assert not call.aborted
    sent_before = {"mid_body": 3, "mid_event": 3, "between_events": 3, "before_done": 6}
    assert call.chunks_sent == (sent_before.get(phase, 0) if stream else 0)


async def test_r7_a_cut_between_events_leaves_whole_events_and_one_inside_does_not(
    upstream: ScriptedUpstream,
) -> None:
    between = await reply_to(upstream, "[[fail=cut_between_events chunks=6 at=3]]", stream=True)
    inside = await reply_to(upstream, "[[fail=cut_mid_event chunks=6 at=3]]", stream=True)
    assert between.endswith(b"\n\n\r\n")
    assert between.count(b"data: ") == 4
    assert inside.count(b"data: ") == 5
    assert inside.startswith(between.split(b"\r\n\r\n")[0][:20])
    assert not inside.endswith(b"\n\n\r\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ENDS)
async def test_r8_a_client_that_leaves_a_stalled_reply_is_seen(
    upstream: ScriptedUpstream, phase: str, stream: bool
) -> None:
    wire = await Wire.open(upstream)
    wire.chat(f"[[fail=stall_{phase} chunks=6 at=3]]", stream=stream)
    await upstream.until(lambda up: up.in_flight == 1)
    wire.writer.close()
    await upstream.until(lambda up: up.aborted == 1 and up.in_flight == 0 and up.connections == 0)
    assert upstream.calls[0].aborted


async def test_r8_twenty_hang_ups_in_mid_stream_are_twenty_aborts(
    upstream: ScriptedUpstream,
) -> None:
    wires = [await Wire.open(upstream) for _ in range(20)]
    for wire in wires:
        wire.chat("[[chunks=1000 gap_ms=20]]", stream=True)
        await wire.until(b'"content":"A"')
    for wire in wires:
        wire.writer.close()
    await upstream.until(lambda up: up.aborted == 20)
    assert all(0 < call.chunks_sent < 1000 for call in upstream.calls)


async def test_r8_a_client_that_leaves_during_a_delay_is_seen(upstream: ScriptedUpstream) -> None:
    for words in (
        "head_ms=60000",
        "ttft_ms=60000",
        "gap_ms=60000",
        "fail=trickle_head trickle_ms=9e9",
    ):
        wire = await Wire.open(upstream)
        wire.chat(f"[[{words}]]", stream=True)
        await upstream.until(lambda up: up.in_flight == 1)
        wire.writer.close()
        await upstream.until(lambda up: up.in_flight == 0)
    assert upstream.aborted == 4


# -- faults: content and framing ------------------------------------------------------------------

SHOWS: dict[str, tuple[bytes, bytes]] = {
    # fault: what a plain reply shows, what a streamed reply shows
    "html": (b"<html>", b"<html>"),
    "invalid_json": (b"}{", b"data: {not json\n\n"),
    "not_an_object": (b"\r\n\r\n[{", b'data: ["not", '),
    "empty_body": (b"content-length: 0\r\n\r\n", b"content-length: 0\r\n\r\n"),
    "error_object": (b'{"error":{', b'{"error":{'),
    "error_event": (b'{"error":{', b'data: {"error":{'),
    "echo_credential": (b"credential: Bearer sk-canary", b"credential: Bearer sk-canary"),
    "echo_credential_event": (b"credential: Bearer sk-canary", b"credential: Bearer sk-canary"),
    "echo_credential_header": (b"x-debug-credential: Bearer sk-canary",) * 2,
    "no_terminal": (b'"finish_reason": "stop"', b'"finish_reason":null'),
    "no_done": (b'"finish_reason": "stop"', b'"finish_reason":"stop"'),
    "bad_utf8": (b"\xff\xc3\x28", b'"content":"\xff\xc3\x28'),
    "nul_bytes": (b'"\0', b'"content":"\0'),
    "redirect": (b" 302 Found\r\n", b"location: http://redirected.invalid/v1\r\n"),
    "content_length_long": (b"content-length: ", b"content-length: "),
    "length_and_chunked": (b"chunked\r\ncontent-length: 100\r\n",) * 2,
    "bad_chunk_size": (b"zz\r\n", b"zz\r\n"),
    "chunk_overflow": (b"fffffffffffffffff\r\n", b"fffffffffffffffff\r\n"),
    "chunk_unclosed": (b"\r\n1\r\n", b"\r\n1\r\ndata"),
    "chunk_extensions": (b";note=legal\r\n", b";note=legal\r\n"),
    "trailers": (b"0\r\nx-scripted-trailer: 1\r\n\r\n",) * 2,
    "http10": (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"),
    "extra_response": (b"content-length: 2\r\n\r\n{}",) * 2,
    "content_length_short": (b"content-length: ", b"content-length: "),
    "content_length_twice": (b"\r\ncontent-length: ",) * 2,
    "content_length_garbage": (b"content-length: 12abc\r\n",) * 2,
    "bad_status_line": (b"HTTP/1.1 two-hundred", b"HTTP/1.1 two-hundred"),
    "garbage": (b"\x00\x01\x02", b"\x00\x01\x02"),
    "header_nul": (b"x-broken: a\0b\r\n",) * 2,
    "header_bare_cr": (b"a\rset-cookie: injected=1\r\n",) * 2,
    "header_no_colon": (b"\r\nthis line has no colon\r\n",) * 2,
    "header_folded": (b"x-folded: one\r\n two\r\n",) * 2,
    "header_huge": (b"h" * 1_000_000, b"h" * 1_000_000),
    "header_many": (b"x-many-9999: 1\r\n",) * 2,
    "bare_lf": (b"200 OK\ndate", b"200 OK\ndate"),
    "informational_100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",) * 2,
    "informational_103": (b"HTTP/1.1 103 Early Hints\r\n",) * 2,
    "informational_flood": (b"preload\r\n\r\nHTTP/1.1 103 Early Hints\r\n",) * 2,
    "switching_101": (b"HTTP/1.1 101 Switching Protocols\r\n",) * 2,
    "trickle_head": (b"HTTP/1.1 200 OK\r\n", b"data: [DONE]"),
    "trickle_body": (b'"finish_reason": "stop"', b"data: [DONE]"),
    "gzip": (b"content-encoding: gzip\r\n\r\n\x1f\x8b", b"content-encoding: gzip\r\n"),
    "gzip_lie": (b"content-encoding: gzip\r\n\r\n{", b"content-encoding: gzip\r\n"),
    "connection_close": (b"connection: close\r\n", b"connection: close\r\n"),
    "close_idle": (b'"finish_reason": "stop"', b"data: [DONE]"),
    "giant_line": (b"x" * 100_000, b"data: " + b"x" * 1000),
    "endless": (b"x" * 100_000, b'"content":" check"'),
}


def test_every_fault_has_a_test() -> None:
    halts = {f"{action}_{phase}" for action in ("cut", "reset", "stall") for phase in ENDS}
    assert set(FAULTS) == halts | set(SHOWS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", SHOWS)
async def test_r7_a_fault_shows_on_the_wire(
    upstream: ScriptedUpstream, fault: str, stream: bool
) -> None:
    upstream.script(f"fail={fault} chunks=60 at=3 giant_bytes=300000 trickle_ms=0")
    wire = await Wire.open(upstream)
    wire.chat("hello", stream=stream)
    data = b""
    while SHOWS[fault][stream] not in data.replace(b"\r\n10000\r\n", b""):
        piece = await asyncio.wait_for(wire.reader.read(1 << 20), 5)
        assert piece, f"the connection ended after {data[-300:]!r}"
        data += piece
    wire.writer.close()


async def test_lying_lengths_lie(upstream: ScriptedUpstream) -> None:
    for fault, lie in (("content_length_short", -1), ("content_length_long", 1)):
        wire = await Wire.open(upstream)
        wire.chat(f"[[fail={fault}]]")
        head = await wire.until(b"\r\n\r\n")
        declared = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await wire.until(b"\n}\n")
        assert (declared - len(body)) * lie > 0
        wire.writer.close()


async def test_a_giant_line_is_as_long_as_told_and_made_as_it_is_sent(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script("fail=giant_line giant_bytes=5000000 chunks=2")
    async with httpx.AsyncClient() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
        reply = await client.post(f"{upstream.base_url}/chat/completions", json=body)
    assert max(map(len, reply.content.split(b"\n"))) == 5_000_000 + len(b"data: ")


async def test_gzip_replies_unpack_to_the_plain_reply(upstream: ScriptedUpstream) -> None:
    for stream in (False, True):
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}
        async with httpx.AsyncClient() as client:
            upstream.script("fail=gzip", "")
            url = f"{upstream.base_url}/chat/completions"
            async with client.stream("POST", url, json=body) as reply:
                packed = b"".join([piece async for piece in reply.aiter_raw()])
            assert gzip.decompress(packed) == (await client.post(url, json=body)).content


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("eol=crlf", b"data: [DONE]\r\n\r\n"),
        ("eol=cr", b"data: [DONE]\r\r"),
        ("comments", b": scripted comment\n\n"),
        ("pings", b"event: ping\n\n"),
        ("bom", b"\r\n\xef\xbb\xbfdata: "),
        ("batch=3", b"\n\ndata: "),
        ("split=4", b"\r\n4\r\ndata\r\n"),
    ],
)
async def test_r7_a_stream_takes_every_legal_form(
    upstream: ScriptedUpstream, words: str, shown: bytes
) -> None:
    wire = await Wire.open(upstream)
    wire.chat(f"[[{words} chunks=6]]", stream=True)
    assert shown in await wire.until(CHUNKED_END)
    wire.writer.close()


async def test_an_idle_connection_closes_unannounced(upstream: ScriptedUpstream) -> None:
    reply = await reply_to(upstream, "[[fail=close_idle]]")
    assert b"connection:" not in reply.lower()
    assert reply.endswith(b"}\n")


# -- life -----------------------------------------------------------------------------------------


async def test_a_killed_upstream_resets_streams_and_listens_no_more(
    upstream: ScriptedUpstream,
) -> None:
    wire = await Wire.open(upstream)
    wire.chat("[[chunks=100 gap_ms=1000]]", stream=True)
    await wire.until(b'"content":"A"')
    upstream.kill()
    assert (await wire.rest()).endswith(b"<reset>")
    with pytest.raises(OSError, match="onnect"):
        await Wire.open(upstream)


def test_the_threaded_form_serves_synchronous_tests() -> None:
    with ScriptedUpstream.in_thread() as upstream:
        upstream.script("status=500")
        reply = httpx.post(
            f"{upstream.base_url}/embeddings", json={"model": "m", "input": "x"}, timeout=5
        )
        upstream.wait_until(lambda up: up.in_flight == 0)
        assert (reply.status_code, upstream.calls[0].status) == (500, 500)


def test_a_port_that_is_taken_is_an_error_in_the_callers_thread() -> None:
    with (
        ScriptedUpstream.in_thread() as first,
        pytest.raises(OSError, match="in use"),
        ScriptedUpstream.in_thread(port=first.port),
    ):
        pass


async def test_it_serves_tls() -> None:
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(tls)
    async with ScriptedUpstream(tls=tls) as upstream:
        trusted = httpx.create_ssl_context()
        authority.configure_trust(trusted)
        async with httpx.AsyncClient(verify=trusted) as client:
            reply = await client.get(f"{upstream.base_url}/models")
    assert upstream.base_url.startswith("https://")
    assert reply.status_code == 200


def test_it_runs_as_a_process_and_ends_on_sigterm() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sentinel.testing", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    origin = process.stdout.readline().strip().removesuffix("/v1")
    with urllib.request.urlopen(f"{origin}/stats", timeout=5) as reply:
        assert json.load(reply)["requests"] == 0
    process.terminate()
    assert process.wait(5) == 0
    process.stdout.close()


def test_importing_it_needs_no_compiled_core_and_no_fastapi() -> None:
    code = "import sys, sentinel.testing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sentinel._core", "fastapi", "pydantic"} & set(done.stdout.split())
