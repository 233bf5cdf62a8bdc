"""What the demo plays on: an upstream, and a gateway process in front of it."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sentinel.errors import GatewayError
from sentinel.testing import ScriptedUpstream

__all__ = [
    "FAILURES_TO_OPEN",
    "FRAGILE_ROUTE",
    "OPEN_SECONDS",
    "TIGHT_REQUESTS",
    "Stage",
    "stage",
]

FRAGILE_ROUTE: Final = "fragile"
FAILURES_TO_OPEN: Final = 3
OPEN_SECONDS: Final = 1
TIGHT_REQUESTS: Final = 3

_OPENAI_URL: Final = "https://api.openai.com/v1"
_OPENAI_KEY: Final = "OPENAI_API_KEY"
_APP_KEY: Final = "DEMO_APP_KEY"
_TIGHT_KEY: Final = "DEMO_TIGHT_KEY"
_ADMIN_KEY: Final = "DEMO_ADMIN_KEY"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 40.0


@dataclass
class Stage:
    """A running gateway: where it is, its keys, what stands behind it."""

    base_url: str
    api_key: str
    tight_key: str
    admin_key: str
    model: str
    upstream_url: str
    scripted: ScriptedUpstream | None
    directory: Path
    process: subprocess.Popen[str]

    @property
    def usage_database(self) -> Path:
        return self.directory / "data" / "usage.db"

    def upstream_calls(self) -> int:
        """What the upstream itself has counted; 0 where it is not ours."""
        return 0 if self.scripted is None else self.scripted.stats()["requests"]

    def last_words(self) -> str:
        """The end of the gateway's log."""
        return _last_words(self.directory)

    def stop(self) -> bool:
        """End the gateway as an operator would; whether it went in order. May be said twice."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


@contextmanager
def stage(arguments: Namespace, environ: Mapping[str, str]) -> Iterator[Stage]:
    """Build the stage; everything on it is gone when the block ends, however it ends."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-demo-")))
        url, key_variable, scripted = arguments.upstream, arguments.upstream_key_env, None
        if url is None and environ.get(_OPENAI_KEY):
            url, key_variable = _OPENAI_URL, key_variable or _OPENAI_KEY
        if url is None:
            scripted = stack.enter_context(ScriptedUpstream.in_thread())
            url = scripted.base_url
        keys = {name: secrets.token_urlsafe(24) for name in (_APP_KEY, _TIGHT_KEY, _ADMIN_KEY)}
        document = _configuration(url, key_variable, arguments.model, directory)
        process = _start(document, environ, keys, directory, stack)
        base_url = _wait_until_it_listens(process, directory)
        built = Stage(
            base_url,
            keys[_APP_KEY],
            keys[_TIGHT_KEY],
            keys[_ADMIN_KEY],
            arguments.model,
            url,
            scripted,
            directory,
            process,
        )
        stack.callback(built.stop)
        yield built


def _configuration(
    url: str, key_variable: str | None, model: str, directory: Path
) -> dict[str, Any]:
    """What the gateway is told: a cache, a narrow limit for one key, a breaker that is quick."""
    upstream: dict[str, Any] = {"base_url": url}
    if key_variable is not None:
        upstream["credentials"] = [{"key": f"${{{key_variable}}}"}]
    breaker = {
        "minimum_calls": FAILURES_TO_OPEN,
        "open_wait": f"{OPEN_SECONDS}s",
        "jitter_percent": 0,
    }
    return {
        "version": 1,
        "server": {"port": 0, "data_dir": str(directory / "data")},
        "admin": {"key": f"${{{_ADMIN_KEY}}}"},
        "upstreams": {
            "upstream": upstream,
            "fragile": upstream | {"retry": {"attempts": 1}, "breaker": breaker},
        },
        "routes": {
            "*": {"targets": [{"upstream": "upstream"}], "cache": {}},
            FRAGILE_ROUTE: {"targets": [{"upstream": "fragile", "model": model}]},
        },
        "keys": [
            {"id": "app", "key": f"${{{_APP_KEY}}}"},
            {"id": "tight", "key": f"${{{_TIGHT_KEY}}}", "limits": {"rpm": TIGHT_REQUESTS}},
        ],
    }


def _start(
    document: Mapping[str, Any],
    environ: Mapping[str, str],
    keys: dict[str, str],
    directory: Path,
    stack: ExitStack,
) -> subprocess.Popen[str]:
    config = directory / "sentinel.yaml"
    config.write_text(json.dumps(document))  # JSON is YAML
    command = [sys.executable, "-m", "sentinel.cli", "serve", "--config", str(config)]
    ours = {name: value for name, value in environ.items() if not name.startswith("SENTINEL_")}
    log = stack.enter_context((directory / "gateway.log").open("w"))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=ours | keys, process_group=0
    )
    stack.enter_context(process)
    stack.callback(process.kill)  # does nothing once it has ended
    return process


def _wait_until_it_listens(process: subprocess.Popen[str], directory: Path) -> str:
    """The gateway's address, read from what `serve` says."""
    late = threading.Timer(_START_SECONDS, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if " listens on " in line:
                return f"{line.split()[-1]}/v1"
    finally:
        late.cancel()
    said = _last_words(directory) or "it said nothing in time"
    raise GatewayError(f"the gateway did not start: {said}")


def _last_words(directory: Path) -> str:
    log = (directory / "gateway.log").read_text(errors="replace")
    return "\n".join(log.splitlines()[-3:])
