"""docs/library.md: every example on the page runs, and says what is true."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "library.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_page_runs(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    example = ModuleType(f"library_page_{number}")
    monkeypatch.setitem(sys.modules, example.__name__, example)
    exec(
        compile(EXAMPLES[number], f"{PAGE.name}, example {number}", "exec", dont_inherit=True),
        vars(example),
    )


def test_the_page_has_an_example_of_every_part() -> None:
    for name in ("TokenCounter", "RateLimiter", "RequireKey"):
        assert any(f"{name}" in example for example in EXAMPLES)
