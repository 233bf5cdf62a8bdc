#!/usr/bin/env bash
# Fetches the C source archives of cpp/third_party.txt, each pinned by digest, and unpacks them into build/deps.
# Their metadata is read with the pinned setuptools of .venv: nothing unpinned is downloaded or run.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=build/deps.new
rm -rf "$fresh"
mkdir -p "$fresh/archives"
.venv/bin/pip download --quiet --disable-pip-version-check --require-hashes --no-deps --no-binary :all: \
  --no-build-isolation --dest "$fresh/archives" --requirement cpp/third_party.txt
for archive in "$fresh"/archives/*.tar.gz; do
  tar -xzf "$archive" -C "$fresh"
done
rm -rf build/deps
mv "$fresh" build/deps
