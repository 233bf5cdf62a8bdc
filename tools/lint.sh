#!/usr/bin/env bash
# Format, types, import contracts, layers and stubs. Runs all of them and fails if one did.
set -uo pipefail
cd "$(dirname "$0")/.."

bin=.venv-test/bin
failed=0
check() {
  local name=$1
  shift
  printf -- '-- %s\n' "$name"
  "$@" || { failed=1; printf -- '-- %s: FAILED\n' "$name"; }
}
cpp_format() {
  local found
  found=$(find cpp tests/cpp bench \( -name '*.hpp' -o -name '*.cpp' \) -print0 2>/dev/null |
    xargs -0 --no-run-if-empty clang-format-19 --dry-run 2>&1 | grep -oE '^[^: ]+:[0-9]+:' | sort -u)
  [ -z "$found" ] || { printf '%s\n' "$found" "These lines are not formatted: run \`make format\`."; return 1; }
}

check "ruff check" "$bin/ruff" check
check "ruff format" "$bin/ruff" format --check
check "mypy, the package" "$bin/mypy" -p sentinel
check "mypy, tests and tools" "$bin/mypy"
check "import contracts" env PYTHONPATH=python "$bin/lint-imports" --no-logo --no-cache
check "C++ layers" "$bin/python" tools/check_layers.py
check "stubs" "$bin/python" tools/stubs.py --check
check "clang-format" cpp_format
exit $failed
