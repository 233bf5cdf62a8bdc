"""Writes the stubs of the compiled module, python/sentinel/_core/*.pyi, or compares them.

pybind11-stubgen reads the installed module; its output is stripped of ``__all__``, which a stub
needs only for re-exports, and brought into ruff's format, so that it depends on the bindings alone.
``--check`` exits 1 and prints the difference when the stubs in the tree are not those.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent / "python" / "sentinel" / "_core"
# What CPython's slots of raw types are, whose docstrings tell no types.
SLOT = re.compile(r"def (__\w+__)\([\w, =*]*\):")
ANY = "typing.Any"
SLOTS = {
    **dict.fromkeys(("__eq__", "__ne__"), "(self, value: object) -> bool"),
    **dict.fromkeys(("__lt__", "__le__", "__gt__", "__ge__"), f"(self, value: {ANY}) -> bool"),
    **dict.fromkeys(("__hash__", "__len__"), "(self) -> int"),
    **dict.fromkeys(("__repr__", "__str__"), "(self) -> str"),
    **dict.fromkeys(("__iter__", "__next__"), f"(self) -> {ANY}"),
    "__await__": f"(self) -> collections.abc.Generator[{ANY}, {ANY}, {ANY}]",
    "__bool__": "(self) -> bool",
    "__call__": f"(self, *args: {ANY}, **kwargs: {ANY}) -> {ANY}",
    "__get__": f"(self, instance: object, owner: {ANY} = None) -> {ANY}",
    "__getattribute__": f"(self, name: str) -> {ANY}",
}
MATCH_ARGS = re.compile(r"(__match_args__): typing\.ClassVar\[tuple\]")  # its types are its values
# What a type without a signature for it says of its `__new__`; its `__init__` has the types.
NEW = re.compile(r"^    @staticmethod\n    def __new__\(.*?\n(?=    \w|    @|\S)", re.M | re.S)
ALL_LIST = re.compile(r"^__all__(: list\[str\])? = \[.*?\]\n", re.MULTILINE | re.DOTALL)


def typed_slot(match: re.Match[str]) -> str:
    """The head of a slot's method with its types, or as it was."""
    signature = SLOTS.get(match.group(1))
    return match.group(0) if signature is None else f"def {match.group(1)}{signature}:"


def generate(into: Path) -> Path:
    """Generates the stubs of ``sentinel._core`` and returns the folder that holds them."""
    stubgen = [sys.executable, "-m", "pybind11_stubgen", "--exit-code", "--output-dir", str(into)]
    subprocess.run([*stubgen, "sentinel._core"], check=True)
    folder = into / "sentinel" / "_core"
    if not folder.exists():
        folder.mkdir()
        folder.with_suffix(".pyi").rename(folder / "__init__.pyi")
    for stub in folder.rglob("*.pyi"):
        text = MATCH_ARGS.sub(r"\1", ALL_LIST.sub("", NEW.sub("", stub.read_text())))
        stub.write_text(SLOT.sub(typed_slot, text))
    ruff = [sys.executable, "-m", "ruff"]
    own = ["--quiet", "--isolated", "--target-version", "py311", "--line-length", "100"]
    subprocess.run([*ruff, "check", "--fix", "--select", "F401,I,UP", *own, folder], check=True)
    subprocess.run([*ruff, "format", *own, folder], check=True)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Maps each stub's path within ``folder`` to its text."""
    return {
        str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.pyi"))
    }


def difference(tree: dict[str, str], generated: dict[str, str]) -> str:
    """The unified difference from the tree's stubs to the generated ones; empty when they agree."""
    lines: list[str] = []
    for name in sorted(tree.keys() | generated.keys()):
        before = tree.get(name, "").splitlines(keepends=True)
        after = generated.get(name, "").splitlines(keepends=True)
        lines += difflib.unified_diff(before, after, f"tree/{name}", f"generated/{name}")
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generated = generate(Path(scratch))
        if not check:
            shutil.rmtree(TREE, ignore_errors=True)
            shutil.copytree(generated, TREE)
            return 0
        found = difference(contents(TREE), contents(generated))
    if found:
        print(found, "The stubs are not those of the built module: run `make stubs`.", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
