"""`sentinel serve`: uvicorn with the app, and stopping in order.

uvicorn alone stops listening at SIGTERM. Here the signal first starts the gateway's drain: for
`drain_delay` it answers as before and says that it is not ready, then it refuses, and only when
nothing is in flight (or `drain_timeout` has passed) do the listeners close. A second signal skips
the rest of the drain: connections that are still busy five seconds later are cut.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
import uvloop

from sentinel.api.app import GatewayApp, build_app
from sentinel.api.http_protocol import http_protocol
from sentinel.api.logs import json_logs
from sentinel.config import Settings
from sentinel.errors import GatewayError
from sentinel.gateway import Gateway

__all__ = ["serve"]

_BACKLOG = 2048


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: `_run` has installed the process's handlers."""
        yield


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(Gateway(settings)))


async def _run(gateway: Gateway) -> int:
    settings = gateway.settings
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gateway)
        stack.enter_context(json_logs(gateway))
        alone = settings.admin.port is not None and settings.admin.key is not None
        listeners = [_listen(settings.server.host, settings.server.port)]
        servers = [_server(build_app(gateway, "public" if alone else "all"), gateway)]
        if alone and settings.admin.port is not None:
            listeners.append(_listen(settings.admin.host, settings.admin.port))
            servers.append(_server(build_app(gateway, "admin"), gateway))
        _tame_collector()
        _announce(listeners)
        drained = _drain_on_signal(gateway, servers)
        await asyncio.gather(
            *(server.serve([listener]) for server, listener in zip(servers, listeners, strict=True))
        )
        drained.cancel()
    return 0


def _tame_collector() -> None:
    """Keep the garbage collector from walking what lives as long as the process.

    A request leaves no cycles behind, yet by default every 700 new objects start a collection, and
    now and then one over all of FastAPI.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _server(app: GatewayApp, gateway: Gateway) -> _Server:
    config = uvicorn.Config(
        app,
        http=http_protocol(gateway.settings, app.straight_to),
        ws="none",
        lifespan="off",  # the gateway outlives both listeners and is closed by _run
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    return _Server(config)


def _drain_on_signal(gateway: Gateway, servers: list[_Server]) -> asyncio.Task[None]:
    asked = asyncio.Event()
    again = asyncio.Event()

    def on_signal() -> None:
        (again if asked.is_set() else asked).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)

    async def stop() -> None:
        await asked.wait()
        draining = asyncio.create_task(gateway.drain(with_delay=True))
        impatient = asyncio.create_task(again.wait())
        await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        impatient.cancel()
        for server in servers:
            server.should_exit = True

    return asyncio.create_task(stop())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # before it is announced: whoever reads that may call at once
    except OSError as error:
        listener.close()
        raise GatewayError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def _announce(listeners: list[socket.socket]) -> None:
    for listener, what in zip(listeners, ("Sentinel listens on", "Admin routes on"), strict=False):
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"{what} http://{shown}:{port}", flush=True)
