"""The processes that the benches of the cache need: a gateway and its scripted upstream."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KEY", "MODEL", "Ports", "gateway_and_upstream"]

KEY = "sk-bench-key-of-the-cache-benches"
MODEL = "gpt-4o-mini"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the two listen."""

    gateway: int
    admin: int
    upstream: int


@contextmanager
def gateway_and_upstream(serve: str, directory: Path, script: str) -> Iterator[Ports]:
    """Both, running: one cached route at the shipped prices; every answer as `script` says."""
    ports = Ports(free_port(), free_port(), free_port())
    config = configuration(directory, ports)
    mock = [sys.executable, "-m", "sentinel.testing", "--port", str(ports.upstream)]
    command = [serve, "serve", "--config", str(config), "--door", "asgi"]
    with running([*mock, "--default", script], ports.upstream), running(command, ports.gateway):
        yield ports


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A process that listens on `port`, ended at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(15)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def configuration(directory: Path, ports: Ports) -> Path:
    """One route, cached; the shipped prices."""
    path = directory / "sentinel.yaml"
    path.write_text(
        "version: 1\n"
        f"server: {{port: {ports.gateway}, data_dir: {directory / 'data'}}}\n"
        f"admin: {{port: {ports.admin}, key: {KEY}-admin}}\n"
        f"upstreams: {{scripted: {{base_url: 'http://127.0.0.1:{ports.upstream}/v1'}}}}\n"
        f"routes: {{{MODEL}: {{targets: [{{upstream: scripted}}], cache: {{ttl: 1h}}}}}}\n"
        f"keys: [{{id: bench, key: {KEY}}}]\n"
        "log: {level: error}\n"
    )
    return path
