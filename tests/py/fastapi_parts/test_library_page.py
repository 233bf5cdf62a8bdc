"""docs/library.md and docs/library/: every example runs, and says what is true."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sentinel

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = [DOCS / "library.md", *sorted(DOCS.glob("library/*.md"))]
EXAMPLES = [
    pytest.param(page, example, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, example in enumerate(
        re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    )
]


PARTS = sorted({*sentinel.__all__, "RequireKey"} - {"Gateway", "Settings", "create_app", "mount"})


@pytest.mark.parametrize(("page", "example"), EXAMPLES)
def test_an_example_of_the_pages_runs(
    page: Path, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType(f"library_page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(example, f"{page.name}, an example", "exec", dont_inherit=True), vars(module))


@pytest.mark.parametrize("name", PARTS)
def test_the_pages_have_an_example_of_every_part(name: str) -> None:
    assert any(name in str(example.values[1]) for example in EXAMPLES)
