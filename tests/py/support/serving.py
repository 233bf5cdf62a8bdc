"""The gateway over real sockets: in a thread of the test's process, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from anthropic import Anthropic
from anthropic import DefaultHttpxClient as AnthropicHttpxClient
from fastapi import FastAPI
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from sentinel.api import create_app
from sentinel.api.http_protocol import http_protocol
from sentinel.config import Settings
from sentinel.gateway import Gateway
from support.records import read_records

__all__ = [
    "ADMIN_KEY",
    "APP_KEY",
    "UPSTREAM_KEY",
    "GatewayProcess",
    "GatewayServer",
    "HttpAddress",
    "chat_body",
    "eventually",
    "eventually_async",
    "gateway_settings",
]

UPSTREAM_KEY = "sk-upstream-credential-0001"
APP_KEY = "sk-operator-key-of-the-tests"
ADMIN_KEY = "admin-key-of-the-tests"

# One micro-USD a prompt token, two a completion token: costs can be checked by eye.
PRICES = {
    "version": "test-prices",
    "models": [{"model": "*", "prompt": 1_000_000, "cached": 0, "completion": 2_000_000}],
}


def gateway_settings(upstream_url: str, data_dir: Path, **overrides: object) -> Settings:
    """Every model goes to one upstream; `server__port=1` stands for `server.port`."""
    given: dict[str, object] = {
        "server.data_dir": str(data_dir),
        "server.drain_timeout": "2s",
        "usage.prices": PRICES,
        "admin.key": ADMIN_KEY,
        # What a test scripts is met once and by every call: tests/py/governed has these three on.
        "upstreams.upstream.retry": {"attempts": 1},
        "upstreams.upstream.breaker": {"enabled": False},
        "upstreams.upstream.cool_down": {"first": "1ms", "longest": "1ms"},
    }
    given.update({name.replace("__", "."): value for name, value in overrides.items()})
    given = {name: value for name, value in given.items() if value is not None}
    return Settings.for_upstream(
        upstream_url, credential=UPSTREAM_KEY, api_key=APP_KEY, overrides=given
    )


def chat_body(
    text: str = "good morning", model: str = "gpt-4o-mini", **more: Any
) -> dict[str, Any]:
    """A chat completion's body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def eventually(condition: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """Poll until it holds; AssertionError with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class HttpAddress:
    """A server and the clients that talk to it."""

    origin: str

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    # No `verify`: nothing here speaks TLS, and loading the trust store takes longer than a test.

    def http(self, key: str | None = APP_KEY, **more: Any) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.origin, headers=headers, timeout=10, verify=False, **more)

    def openai(self, key: str = APP_KEY, **more: Any) -> OpenAI:
        plain = DefaultHttpxClient(verify=False)
        return OpenAI(base_url=self.base_url, api_key=key, max_retries=0, http_client=plain, **more)

    def async_openai(self, key: str = APP_KEY) -> AsyncOpenAI:
        plain = DefaultAsyncHttpxClient(verify=False)
        return AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, http_client=plain)

    def anthropic(self, key: str = APP_KEY) -> Anthropic:
        plain = AnthropicHttpxClient(verify=False)
        return Anthropic(base_url=self.origin, api_key=key, max_retries=0, http_client=plain)


class _Uvicorn(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@dataclass(frozen=True)
class GatewayServer(HttpAddress):
    """An app with a gateway under uvicorn, in a thread of this process."""

    app: FastAPI
    gateway: Gateway

    @classmethod
    @contextmanager
    def serving(cls, settings: Settings, **more: Any) -> Iterator[GatewayServer]:
        """`create_app(settings, **more)`, served."""
        app = create_app(settings, **more)
        with cls.of(app, app.state.gateway) as server:
            yield server

    @classmethod
    @contextmanager
    def of(
        cls, app: FastAPI, gateway: Gateway, keep_alive_seconds: float = 5.0
    ) -> Iterator[GatewayServer]:
        """Any app; its lifespan runs."""
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=http_protocol(gateway.settings, getattr(app, "straight_to", lambda: None)),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type]  # a timer takes any
            timeout_graceful_shutdown=2,
        )
        server = _Uvicorn(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="gateway-server")
        thread.start()
        try:
            eventually(lambda: server.listening.is_set() or not thread.is_alive(), "it listens")
            assert server.listening.is_set(), "the app did not start"
            yield cls(f"http://127.0.0.1:{listener.getsockname()[1]}", app, gateway)
        finally:
            server.should_exit = True
            thread.join(15)
            listener.close()
            assert not thread.is_alive(), "the server did not stop"

    def records(self) -> list[dict[str, Any]]:
        """All usage records so far, oldest first."""
        assert self.gateway.engine.flush(5.0)
        return read_records(self.gateway.settings.usage_database)

    def metrics(self) -> str:
        return self.gateway.engine.metrics()

    def idle(self) -> None:
        """Wait until nothing is in flight."""
        eventually(lambda: self.gateway.engine.in_flight == 0, "nothing is in flight")


@dataclass(frozen=True)
class GatewayProcess(HttpAddress):
    """`sentinel serve` as a process: what it prints and logs, and its signals, count too."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    output: Path

    @classmethod
    @contextmanager
    def serving(
        cls,
        settings: Mapping[str, Any],
        directory: Path,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> Iterator[GatewayProcess]:
        """Serve a configuration document; its port and data directory are given here."""
        data_dir = directory / "data"
        document = dict(settings)
        server = {"port": 0, "data_dir": str(data_dir), "drain_timeout": "2s"}
        document["server"] = server | dict(document.get("server", {}))
        config = directory / "sentinel.yaml"
        config.write_text(json.dumps(document))  # JSON is YAML
        output = directory / "output.txt"
        command = [sys.executable, "-m", "sentinel.cli", "serve", "--config", str(config)]
        with output.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, env=dict(environ))
        try:
            yield cls(_origin(process, output), process, data_dir, output)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def text(self) -> str:
        """Everything printed and logged so far."""
        return self.output.read_text()

    def records(self) -> list[dict[str, Any]]:
        return read_records(self.data_dir / "usage.db")

    def resident_bytes(self) -> int:
        """The memory of the process that is in RAM now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


def _origin(process: subprocess.Popen[bytes], output: Path) -> str:
    def listens() -> bool:
        assert process.poll() is None, output.read_text()
        return "Sentinel listens on " in output.read_text()

    eventually(listens, "the process listens", 15)
    line = next(line for line in output.read_text().splitlines() if "Sentinel listens on " in line)
    return line.removeprefix("Sentinel listens on ").strip()


async def eventually_async(condition: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """`eventually` for the loop's own thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.002)
