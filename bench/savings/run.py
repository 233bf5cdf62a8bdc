"""What the exact cache saves on a published stream of questions with 15 % literal repeats.

    python bench/savings/run.py

The stream is every question of `questions.csv` once, in a seeded order, and between them repeats
of questions asked before, each drawn uniformly from those, until they are 15 % of all. It goes one
question after the other through `sentinel serve` to the scripted upstream, whose answers are 120
tokens long. Printed are the gateway's own figures: verdicts, cost, and what hits saved per 1,000
calls at the shipped price of the model. Nothing here is a time.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main", "stream"]

HERE = Path(__file__).resolve().parent
KEY = "sk-bench-key-of-the-savings-stream"
MODEL = "gpt-4o-mini"
REPEATS = 0.15
ANSWER_TOKENS = 120
START_SECONDS = 30.0


def stream(questions: list[str], repeats: float, seed: int) -> list[str]:
    """Every question once, and literal repeats of earlier ones that make up `repeats` of all."""
    draw = random.Random(seed)
    fresh = list(dict.fromkeys(questions))
    draw.shuffle(fresh)
    total = round(len(fresh) / (1 - repeats))
    again = set(draw.sample(range(1, total), total - len(fresh)))
    asked: list[str] = []
    pending = iter(fresh)
    for place in range(total):
        asked.append(draw.choice(asked) if place in again else next(pending))
    return asked


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


def configuration(directory: Path, port: int, admin: int, upstream: int) -> Path:
    """One route, cached; the shipped prices."""
    path = directory / "sentinel.yaml"
    path.write_text(
        "version: 1\n"
        f"server: {{port: {port}, data_dir: {directory / 'data'}}}\n"
        f"admin: {{port: {admin}, key: {KEY}-admin}}\n"
        f"upstreams: {{scripted: {{base_url: 'http://127.0.0.1:{upstream}/v1'}}}}\n"
        f"routes: {{{MODEL}: {{targets: [{{upstream: scripted}}], cache: {{ttl: 1h}}}}}}\n"
        f"keys: [{{id: bench, key: {KEY}}}]\n"
        "log: {level: error}\n"
    )
    return path


def ask_all(port: int, questions: list[str]) -> None:
    """One after the other over one connection; every answer must be whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for question in questions:
        body = {"model": MODEL, "messages": [{"role": "user", "content": question}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise SystemExit(f"status {reply.status}: {text.decode()}")


def figures(port: int) -> dict[str, float]:
    """The gateway's metrics that are printed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {KEY}-admin"})
    text = connection.getresponse().read().decode()
    found: dict[str, float] = {}
    for name, verdict, value in re.findall(
        r'^sentinel_(cache_requests|saved_usd)_total\{verdict="([^"]+)"\} (\S+)$', text, re.M
    ):
        found[f"{name} {verdict}"] = float(value)
    costs = re.findall(r"^sentinel_cost_usd_total\{[^}]*\} (\S+)$", text, re.M)
    found["cost"] = sum(map(float, costs))
    return found


def main() -> int:
    """Run the stream and print what became of it."""
    parser = argparse.ArgumentParser(description="What the exact cache saves.")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--serve", default="sentinel", help="the command (default: %(default)s)")
    options = parser.parse_args()
    with (HERE / "questions.csv").open(newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    asked = stream(questions, REPEATS, options.seed)
    port, admin, upstream = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="bench-savings-") as name:
        config = configuration(Path(name), port, admin, upstream)
        script = f"chunks={ANSWER_TOKENS}"
        mock = [sys.executable, "-m", "sentinel.testing", "--port", str(upstream)]
        serve = [options.serve, "serve", "--config", str(config), "--door", "asgi"]
        with running([*mock, "--default", script], upstream), running(serve, port):
            ask_all(port, asked)
            found = figures(admin)
    hits, calls = found["cache_requests hit-exact"], len(asked)
    per_thousand = 1000 * found["saved_usd hit-exact"] / calls
    paid = 1000 * found["cost"] / calls
    print(
        f"{calls} questions, {len(set(asked))} different, {ANSWER_TOKENS} tokens an answer, {MODEL}"
    )
    print(f"exact hits           {hits:.0f} ({hits / calls:.1%})")
    print(f"paid per 1,000       ${paid:.4f}")
    print(f"saved per 1,000      ${per_thousand:.4f} ({per_thousand / (paid + per_thousand):.1%})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
