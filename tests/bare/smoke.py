"""What a machine that has Python and our wheel, and nothing else, must be able to do.

Called with the folder of the test's certificates: server.pem and server.key for localhost, and
client.pem to trust.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from importlib.metadata import version
from pathlib import Path

import sentinel._core
from sentinel.testing import ScriptedUpstream

KEY = "sk-bare-machine-0123456789"


def libraries_come_from_the_wheel() -> str:
    """The shared libraries beside the module are the wheel's own copies."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ours = sorted({Path(line.split()[-1]).name for line in maps if ".libs/" in line})
    for name in ("libprometheus-cpp-core", "libsimdjson", "libsqlite3"):
        assert any(library.startswith(name + "-") for library in ours), (name, ours)
    return ", ".join(ours)


def answer_over_tls(certificates: Path) -> str:
    """`sentinel serve` answers a call from an upstream whose certificate it verifies."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    with ScriptedUpstream.in_thread(tls=tls) as upstream, tempfile.TemporaryDirectory() as folder:
        port = upstream.base_url.split(":")[2]
        settings = {
            "version": 1,
            "server": {"port": 0, "data_dir": f"{folder}/data"},
            "upstreams": {
                "local": {
                    "base_url": f"https://localhost:{port}",
                    "ca_file": str(certificates / "client.pem"),
                }
            },
            "routes": {"*": {"targets": [{"upstream": "local"}]}},
            "keys": [{"id": "bare", "key": "${BARE_KEY}"}],
        }
        config = Path(folder, "sentinel.yaml")
        config.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "sentinel.cli", "serve", "--config", str(config)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "BARE_KEY": KEY}
        ) as gateway:
            assert gateway.stdout is not None
            url = gateway.stdout.readline().split()[-1]
            try:
                return ask(url)
            finally:
                gateway.send_signal(signal.SIGTERM)
                assert gateway.wait(20) == 0


def ask(url: str) -> str:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "over TLS"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        text: str = json.load(reply)["choices"][0]["message"]["content"]
    return text


def main(certificates: Path) -> None:
    print("version:", version("sentinel-llm-gateway"))
    print("module:", sentinel._core.__name__)
    print("libraries:", libraries_come_from_the_wheel())
    print("TLS:", answer_over_tls(certificates))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
