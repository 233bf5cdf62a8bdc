"""What the demo plays on: an upstream, and a gateway process in front of it."""

from __future__ import annotations

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
from typing import Final

from sentinel.errors import GatewayError
from sentinel.testing import ScriptedUpstream

__all__ = ["Stage", "stage"]

_OPENAI_URL: Final = "https://api.openai.com/v1"
_OPENAI_KEY: Final = "OPENAI_API_KEY"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 40.0


@dataclass
class Stage:
    """A running gateway: where it is, the key it made, what stands behind it."""

    base_url: str
    api_key: str
    model: str
    upstream_url: str
    scripted: ScriptedUpstream | None
    data_dir: Path
    process: subprocess.Popen[str]

    def last_words(self) -> str:
        """The end of the gateway's log."""
        return _last_words(self.data_dir)

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
        data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-demo-")))
        url, key_variable, scripted = arguments.upstream, arguments.upstream_key_env, None
        if url is None and environ.get(_OPENAI_KEY):
            url, key_variable = _OPENAI_URL, key_variable or _OPENAI_KEY
        if url is None:
            scripted = stack.enter_context(ScriptedUpstream.in_thread())
            url = scripted.base_url
        process = _start(url, key_variable, data_dir, environ, stack)
        base_url, api_key = _wait_until_it_listens(process, data_dir)
        built = Stage(base_url, api_key, arguments.model, url, scripted, data_dir, process)
        stack.callback(built.stop)
        yield built


def _start(
    url: str, key_variable: str | None, data_dir: Path, environ: Mapping[str, str], stack: ExitStack
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sentinel.cli", "serve", "--upstream", url, "--port", "0"]
    command += ["--data-dir", str(data_dir / "data")]
    if key_variable is not None:
        command += ["--upstream-key-env", key_variable]
    ours = {name: value for name, value in environ.items() if not name.startswith("SENTINEL_")}
    log = stack.enter_context((data_dir / "gateway.log").open("w"))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=ours, process_group=0
    )
    stack.enter_context(process)
    stack.callback(process.kill)  # does nothing once it has ended
    return process


def _wait_until_it_listens(process: subprocess.Popen[str], data_dir: Path) -> tuple[str, str]:
    """The gateway's address and the key it printed, both read from what `serve` says."""
    late = threading.Timer(_START_SECONDS, process.kill)
    late.start()
    api_key = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().startswith("sk-sen-"):
                api_key = line.strip()
            if " listens on " in line:
                return f"{line.split()[-1]}/v1", api_key
    finally:
        late.cancel()
    said = _last_words(data_dir) or "it said nothing in time"
    raise GatewayError(f"the gateway did not start: {said}")


def _last_words(data_dir: Path) -> str:
    log = (data_dir / "gateway.log").read_text(errors="replace")
    return "\n".join(log.splitlines()[-3:])
