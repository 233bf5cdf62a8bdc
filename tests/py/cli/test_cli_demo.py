"""`sentinel demo`: every scene on a real gateway process, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def test_every_scene_goes_as_it_should_and_nothing_is_left(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    names = [scene["scene"] for scene in told["scenes"]]
    assert names == ["plain", "stream", "failure", "cut stream"]
    assert [record["outcome"] for record in told["records"]] == [
        "done",
        "done",
        "upstream_error",
        "upstream_cut",
    ]
    assert told["records"][0]["cost_micro_usd"] == told["scenes"][0]["cost_micro_usd"] > 0
    assert told["records"][1]["ttft_us"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_same_is_shown_to_people_against_an_upstream_of_theirs(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread() as upstream:
        upstream.script("", "", "status=404")
        done = demo(tmp_path, "--upstream", upstream.base_url, "--model", "gpt-4o")
        calls = len(upstream.calls)
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls == 3
    for text in ("A plain answer", "first token after", "status 404", "gpt-4o", "Where to look"):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--upstream", "nowhere"], ["--upstream-key-env", "NOT_SET"]])
def test_a_demo_that_cannot_start_says_why(tmp_path: Path, flags: list[str]) -> None:
    done = demo(tmp_path, *flags)
    assert done.returncode == 1
    assert "the gateway did not start" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
