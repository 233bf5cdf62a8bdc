#!/usr/bin/env bash
# Builds the wheel with the pinned tools of .venv and lets auditwheel put copies of the shared libraries that a bare
# system lacks into it. Leaves exactly one wheel in dist/ itself (the model's is in dist/minilm).
set -euo pipefail
cd "$(dirname "$0")/.."

raw=build/wheel-raw
rm -rf "$raw" dist/*.whl
mkdir -p "$raw" dist
export PATH="$PWD/.venv/bin:$PATH"
pip wheel . --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-cache-dir --wheel-dir "$raw"
auditwheel repair --wheel-dir dist "$raw"/*.whl 2>build/auditwheel.log || { cat build/auditwheel.log >&2; exit 1; }
ls dist
