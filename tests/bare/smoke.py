"""What a machine that has Python and our wheel, and nothing else, must be able to do.

Called with the folder of the test's certificates: server.pem and server.key for localhost, and
client.pem to trust.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import sentinel._core


def libraries_come_from_the_wheel() -> str:
    """The shared libraries beside the module are the wheel's own copies."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ours = sorted({Path(line.split()[-1]).name for line in maps if ".libs/" in line})
    for name in ("libprometheus-cpp-core", "libsimdjson", "libsqlite3"):
        assert any(library.startswith(name + "-") for library in ours), (name, ours)
    return ", ".join(ours)


def main(certificates: Path) -> None:
    assert (certificates / "client.pem").exists()
    print("version:", version("sentinel-llm-gateway"))
    print("module:", sentinel._core.__name__)
    print("libraries:", libraries_come_from_the_wheel())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
