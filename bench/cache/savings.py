"""What the exact cache saves on a published stream of questions with 15 % literal repeats.

    python bench/cache/savings.py

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
import tempfile
from pathlib import Path

from processes import KEY, MODEL, gateway_and_upstream

__all__ = ["main", "stream"]

HERE = Path(__file__).resolve().parent
REPEATS = 0.15
ANSWER_TOKENS = 120


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
    with (
        tempfile.TemporaryDirectory(prefix="bench-savings-") as name,
        gateway_and_upstream(options.serve, Path(name), f"chunks={ANSWER_TOKENS}") as ports,
    ):
        ask_all(ports.gateway, asked)
        found = figures(ports.admin)
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
