"""Checks who includes whom in cpp/: the layers of the design, folder by folder.

A folder may include itself and the folders named for it here. No folder below the bindings may
include Python; core folders also open no file, socket or thread, which their includes betray.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CPP = Path(__file__).resolve().parent.parent / "cpp"

ALLOWED: dict[str, frozenset[str]] = {
    "base": frozenset(),
    "limit": frozenset({"base"}),
    "resilience": frozenset({"base"}),
    "tokens": frozenset({"base"}),
    "vector": frozenset({"base"}),
    "semantic": frozenset({"base", "vector"}),
    "stream": frozenset({"base"}),
    "cache": frozenset({"base", "stream"}),
    "net": frozenset({"base", "stream"}),
    "journal": frozenset({"base", "stream"}),
    "metrics": frozenset({"base", "stream", "journal"}),
    "log": frozenset({"base", "stream", "journal"}),
    "engine": frozenset(
        {"base", "cache", "limit", "resilience", "stream", "tokens"}
        | {"net", "journal", "metrics", "log"}
    ),
}
CORE = frozenset({"base", "cache", "limit", "resilience", "semantic", "stream", "tokens", "vector"})
# Advice about memory, <sys/mman.h>, is neither input nor output.
NOT_IN_CORE = re.compile(
    r"<(boost/asio.*|sys/(?!mman\.h).*|fstream|thread|sqlite3\.h|unistd\.h|fcntl\.h)>"
)
PYTHON = re.compile(r"<(pybind11/.*|Python\.h)>")
INCLUDE = re.compile(r"^\s*#\s*include\s+(\"sentinel/(\w+)/[^\"]+\"|<[^>]+>)", re.MULTILINE)


def faults_of(path: Path, folder: str) -> list[str]:
    """The includes of one file that its layer forbids."""
    where = path.relative_to(CPP)
    faults = []
    for written, other in INCLUDE.findall(path.read_text()):
        if other and other != folder and other not in ALLOWED[folder]:
            faults.append(f"{where}: {folder} may not include {other} ({written})")
        if PYTHON.match(written):
            faults.append(f"{where}: only the bindings include Python ({written})")
        if folder in CORE and NOT_IN_CORE.match(written):
            faults.append(f"{where}: {folder} does no input or output ({written})")
    return faults


def main() -> int:
    faults = []
    for folder in sorted(path.name for path in (CPP / "sentinel").iterdir() if path.is_dir()):
        if folder not in ALLOWED:
            faults.append(f"sentinel/{folder}: no layer; name it in {Path(__file__).name}")
            continue
        for path in sorted((CPP / "sentinel" / folder).rglob("*.[ch]pp")):
            faults += faults_of(path, folder)
    print("\n".join(faults) if faults else "C++ layers kept")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
