"""A real HTTP server that plays an LLM provider, well or badly, exactly as it is told.

    async with ScriptedUpstream() as upstream:
        client = AsyncOpenAI(base_url=upstream.base_url, api_key="any")
        upstream.script("status=500", "fail=cut_mid_event at=3")

It speaks chat completions, completions, embeddings, responses, Anthropic messages and models,
plain and streamed, under any path prefix. Each call takes its behaviour from the queue filled by
`script`, else from a `[[...]]` directive in the request, else from the server's default; see
`scripts`. Answers are deterministic: a call through a gateway can be compared with a direct one.

One event loop, one task per connection, standard library only. A client that leaves is seen at
once, in every phase, and the call is recorded as aborted. `GET /stats` and `POST /reset` serve the
counters to tests in other processes. It does not check credentials: what arrived is in `calls`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sentinel.testing.calls import Call, Record
from sentinel.testing.delivery import Delivery, Hangup
from sentinel.testing.protocol import ProtocolError, Request, RequestReader, head
from sentinel.testing.replies import DIALECTS, Dialect, Reply, json_reply, make_reply, missing_route
from sentinel.testing.scripts import Behaviour, ScriptError, find_directive

__all__ = ["ScriptedUpstream"]

_MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small", "claude-sonnet-4-5")
_MAX_BUFFERED_BYTES = 256 * 1024 * 1024
_DEFAULT = Behaviour()


class ScriptedUpstream:
    """The server. Enter it as an async context manager, or `in_thread` from synchronous code."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        default: Behaviour = _DEFAULT,
        max_calls: int = 10_000,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._default = default
        self._scripts: deque[Behaviour] = deque()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Event()
        self.record = Record(max_calls)

    # -- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(
            lambda: _Connection(self), self.host, self.port, ssl=self._tls, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [connection.task for connection in self._connections]
        self._die()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    @classmethod
    @contextmanager
    def in_thread(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        default: Behaviour = _DEFAULT,
    ) -> Iterator[Self]:
        """The same server on a loop in a thread of its own, for synchronous tests."""
        upstream = cls(host, port, tls=tls, default=default)
        ready = threading.Event()
        failure: list[BaseException] = []
        stop: asyncio.Event = asyncio.Event()

        async def serve() -> None:
            async with upstream:
                ready.set()
                await stop.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # handed to the caller's thread
                failure.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="scripted-upstream", daemon=True)
        thread.start()
        ready.wait()
        try:
            if failure:
                raise failure[0]
            yield upstream
        finally:
            upstream._call_in_loop(stop.set)
            thread.join()

    def kill(self) -> None:
        """Stop listening and reset every connection now, as if the process had died."""
        self._call_in_loop(self._die)

    def _die(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drop(reset=True)

    def _call_in_loop(self, action: Callable[[], object]) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(action)

    # -- what tests use -------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """`http://host:port`, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an SDK takes as its base URL."""
        return f"{self.origin}/v1"

    @property
    def calls(self) -> list[Call]:
        """Every call since the last reset, oldest first."""
        return self.record.calls()

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return self.record.in_flight

    @property
    def aborted(self) -> int:
        """Calls whose client left before the reply was complete."""
        return self.record.aborted

    @property
    def held(self) -> int:
        """Calls that wait for `release` now."""
        return self.record.held

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self.record.connections

    def stats(self) -> dict[str, int]:
        """All counters."""
        return self.record.stats()

    def script(self, *behaviours: Behaviour | str) -> None:
        """Queue behaviours for the next calls, one each; ScriptError for unknown words."""
        self._scripts.extend(
            Behaviour.parse(behaviour) if isinstance(behaviour, str) else behaviour
            for behaviour in behaviours
        )

    def release(self) -> None:
        """Let every reply go on that is held now, by `hold=` in their scripts."""
        self._call_in_loop(self._open_gate)

    def reset(self) -> None:
        """Forget calls, counters and queued scripts; open connections stay open."""
        self._scripts.clear()
        self.record.reset()

    async def until(self, condition: Callable[[Self], bool], seconds: float = 5.0) -> None:
        """Wait until the condition holds for this upstream; TimeoutError when it does not."""
        await asyncio.wait_for(
            asyncio.wrap_future(self.record.when(lambda: condition(self))), seconds
        )

    def wait_until(self, condition: Callable[[Self], bool], seconds: float = 5.0) -> None:
        """The same for synchronous tests; never call it on the upstream's own loop."""
        held = self.record.when(lambda: condition(self))
        try:
            held.result(seconds)
        finally:
            held.cancel()

    # -- what connections use -------------------------------------------------------------------

    def joined(self, connection: _Connection) -> int:
        self._connections.add(connection)
        return self.record.opened()

    def left(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self.record.closed()

    def behaviour_for(self, request: Request) -> Behaviour:
        """Queue, then directive, then default."""
        if self._scripts:
            return self._scripts.popleft()
        return find_directive(request.body) or self._default

    async def released(self) -> None:
        """Wait for the next `release`."""
        gate = self._gate
        self.record.hold(1)
        try:
            await gate.wait()
        finally:
            self.record.hold(-1)

    def _open_gate(self) -> None:
        gate, self._gate = self._gate, asyncio.Event()
        gate.set()

    def control(self, request: Request) -> Reply | None:
        """The two routes that are about this server; they are not recorded as calls."""
        if (request.method, request.path) == ("GET", "/stats"):
            return json_reply(200, dict(self.stats()), "stats")
        if (request.method, request.path) == ("POST", "/reset"):
            self.reset()
            return json_reply(200, dict(self.stats()), "reset")
        return None


class _Connection(asyncio.Protocol):
    """One client connection: its bytes in, one task that serves its requests in turn."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._record = upstream.record
        self._reader = RequestReader()
        self._received = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._buffered = 0
        self._number = 0
        self._gone = False

    # -- transport callbacks --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = self._upstream.joined(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffered += len(data)
        if self._buffered > _MAX_BUFFERED_BYTES:
            self.drop(reset=True)
            return
        self._reader.feed(data)
        self._received.set()

    def eof_received(self) -> bool:
        # HTTP clients that still want an answer do not close their half: this one has left.
        self.drop(reset=False)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(reset=False)
        self._upstream.left(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def drop(self, *, reset: bool) -> None:
        """End this connection now; a call that is being answered counts as aborted."""
        if self._gone:
            return
        self._gone = True
        if reset:
            self._reset()
        else:
            self._transport.close()
        self.task.cancel()

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # -- what a delivery uses -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drain(self) -> None:
        await asyncio.sleep(
            0
        )  # a reply without end must not keep the loop from seeing its client go
        await self._writable.wait()

    async def released(self) -> None:
        await self._upstream.released()

    # -- serving --------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while await self._serve_one(await self._next_request()):
                pass
        except Hangup as hangup:
            if hangup.reset:
                self._reset()
        except ProtocolError as error:
            self._record.refuse()
            self._transport.write(_refusal(str(error)))
        finally:
            # Also after a fault of ours: a client must not wait for a task that has died.
            self._gone = True
            self._transport.close()

    async def _next_request(self) -> Request:
        while True:
            request = self._reader.next_request()
            if request is not None:
                self._buffered = 0
                return request
            if self._reader.take_continue():
                self._transport.write(head(100, []))
            self._received.clear()
            await self._received.wait()

    async def _serve_one(self, request: Request) -> bool:
        control = self._upstream.control(request)
        if control is not None:
            return (
                await self._deliver(control, _DEFAULT, lambda chunks: None) and request.keep_alive
            )
        call = self._begin(request)
        complete = False
        try:
            reply = self._choose(request, call)
            call.status = reply.status
            keep = await self._deliver(
                reply, call.behaviour, lambda chunks: self._record.sent(call, chunks)
            )
            complete = True
            return keep and request.keep_alive
        except Hangup:
            complete = True
            raise
        finally:
            self._record.end(call, time.monotonic(), aborted=not complete)

    def _begin(self, request: Request) -> Call:
        call = Call(
            request_id=f"req_{self._record.requests + 1:032x}",
            connection=self._number,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=request.body,
            started=time.monotonic(),
        )
        self._record.begin(call)
        return call

    def _choose(self, request: Request, call: Call) -> Reply:
        """Find the endpoint and the behaviour; a request the provider would refuse is refused."""
        if request.method == "GET" and request.path.endswith("/models"):
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "scripted"}
                for name in _MODELS
            ]
            return json_reply(200, {"object": "list", "data": models}, call.request_id)
        dialect = _dialect(request)
        if dialect is None:
            return missing_route(request, call.request_id)
        try:
            call.behaviour = self._upstream.behaviour_for(request)
            return make_reply(dialect, request, call.behaviour, call.request_id)
        except ScriptError as error:
            return json_reply(
                400, dialect.error(400, f"script: {error}", call.request_id), call.request_id
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"cannot read the request: {type(error).__name__} {error}"
            return json_reply(400, dialect.error(400, message, call.request_id), call.request_id)

    async def _deliver(
        self, reply: Reply, behaviour: Behaviour, on_chunks: Callable[[int], None]
    ) -> bool:
        return await Delivery(self, reply, behaviour, on_chunks).run()


def _dialect(request: Request) -> Dialect | None:
    if request.method != "POST":
        return None
    fitting = [ending for ending in DIALECTS if request.path.endswith(ending)]
    return DIALECTS[max(fitting, key=len)] if fitting else None


def _refusal(message: str) -> bytes:
    body = message.encode()
    headers = [
        ("content-type", "text/plain"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    return head(400, headers) + body
