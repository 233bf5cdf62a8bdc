"""`sentinel demo`: every scene on a real gateway process, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sentinel.testing import ScriptedUpstream

SECONDS = 90


def demo(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.run(
        [sys.executable, "-m", "sentinel.cli", "demo", *flags],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environ | {"TMPDIR": str(tmp_path)},
    )


def scene(told: dict[str, Any], name: str) -> dict[str, Any]:
    scenes: list[dict[str, Any]] = told["scenes"]
    [found] = [each for each in scenes if each["scene"] == name]
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run in front of the scripted upstream says of itself."""
    directory = tmp_path_factory.mktemp("demo")
    done = demo(directory, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(directory.iterdir()) == [], "nothing is left"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_every_scene_goes_as_it_should(told: dict[str, Any]) -> None:
    names = [each["scene"] for each in told["scenes"]]
    expected = "plain, hit, stream, together, limit, retry, breaker, cut stream"
    assert ", ".join(names) == expected
    assert all(each["ok"] for each in told["scenes"])


def test_a_hit_costs_nothing_and_saves_what_the_answer_cost(told: dict[str, Any]) -> None:
    first, again = scene(told, "plain"), scene(told, "hit")
    assert again["answer"] == first["answer"]
    assert (again["cache"], again["cost_micro_usd"]) == ("hit-exact", 0)
    assert again["saved_micro_usd"] == first["cost_micro_usd"] > 0
    records = told["records"]
    assert records[0]["cost_micro_usd"] == records[1]["saved_micro_usd"] == first["cost_micro_usd"]


def test_a_hundred_callers_make_one_call(told: dict[str, Any]) -> None:
    shared = scene(told, "together")
    assert shared["upstream_calls"] == 1
    assert shared["verdicts"].pop("miss") == 1
    assert sum(shared["verdicts"].values()) == 99
    assert set(shared["verdicts"]) <= {"follow", "hit-exact"}


def test_a_limit_and_a_breaker_refuse_and_let_pass_again(told: dict[str, Any]) -> None:
    assert scene(told, "limit")["statuses"] == [200, 200, 200, 429]
    assert scene(told, "breaker")["statuses"] == [500, 500, 500, 503, 200]
    assert scene(told, "breaker")["states"] == ["open", "closed"]
    assert scene(told, "retry")["upstream_calls"] == 2


def test_every_call_is_in_the_books(told: dict[str, Any]) -> None:
    outcomes = Counter(record["outcome"] for record in told["records"])
    assert outcomes == {"done": 108, "refused": 2, "upstream_error": 3, "upstream_cut": 1}
    assert told["records"][2]["ttft_us"] > 0


def test_the_same_is_shown_to_people_against_an_upstream_of_theirs(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread() as upstream:
        upstream.script("", "", "ttft_ms=500", "status=404")
        done = demo(tmp_path, "--upstream", upstream.base_url, "--model", "gpt-4o")
        calls = len(upstream.calls)
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls == 4  # the plain answer, the stream, one for a hundred callers, the missing model
    for text in (
        "left out  a retry, a breaker and a cut stream",
        "A plain answer",
        "hit-exact",
        "first token after",
        "100 answered",
        "200, 200, 200, 429",
        "retry-after: ",
        "status 404",
        "gpt-4o",
        "Where to look",
    ):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--upstream", "nowhere"], ["--upstream-key-env", "NOT_SET"]])
def test_a_demo_that_cannot_start_says_why(tmp_path: Path, flags: list[str]) -> None:
    done = demo(tmp_path, *flags)
    assert done.returncode == 1
    assert "the gateway did not start" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
