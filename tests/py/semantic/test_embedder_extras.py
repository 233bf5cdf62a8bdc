"""What happens without the extra, at import and at exit: each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )


def test_importing_the_folder_loads_neither_numpy_nor_a_runtime() -> None:
    done = run(
        "import sys, sentinel.semantic\n"
        "print(sorted({'numpy', 'onnxruntime', 'sentinel_minilm', 'fastapi'} & set(sys.modules)))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("module", ["numpy", "onnxruntime", "sentinel_minilm"])
def test_without_the_extra_the_local_embedder_names_it(module: str) -> None:
    done = run(
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from sentinel.errors import EmbedderError, EmbedderUnavailable\n"
        "from sentinel.semantic import LocalEmbedder\n"
        "try:\n"
        "    LocalEmbedder()\n"
        "except EmbedderUnavailable as error:\n"
        "    assert isinstance(error, EmbedderError) and isinstance(error, ImportError)\n"
        "    print(error)\n"
    )
    extra = "install the extra, sentinel-llm-gateway[local]"
    assert done.stdout == f"the local embedder needs {module}: {extra}\n", done.stderr


def test_without_numpy_the_endpoint_embedder_says_so() -> None:
    done = run(
        "import sys\n"
        "sys.modules['numpy'] = None\n"
        "from sentinel.errors import EmbedderUnavailable\n"
        "from sentinel.semantic import EndpointEmbedder\n"
        "try:\n"
        "    EndpointEmbedder('http://localhost', 'm', dimension=1, window=1)\n"
        "except EmbedderUnavailable as error:\n"
        "    print(error)\n"
    )
    assert "needs numpy" in done.stdout, done.stderr


def test_leaving_with_texts_still_waiting_is_quiet() -> None:
    done = run(
        "from sentinel.semantic import LocalEmbedder\n"
        "embedder = LocalEmbedder()\n"
        "for _ in range(200):\n"
        "    embedder._batcher.submit([101, *[2773] * 200, 102])\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
