#!/usr/bin/env bash
# Everything that CI runs, phase by phase, each under a header and with its time. A phase that fails does not hide what
# the next ones have to say, except that nothing goes on without the wheel. Fails if one of them did.
set -uo pipefail
cd "$(dirname "$0")/.."

times=()
failed=0
phase() {
  local name=$1 start=$SECONDS outcome=ok
  shift
  printf '\n==== %s\n' "$name"
  make --no-print-directory "$@" || { outcome=FAILED; failed=1; }
  times+=("$(printf '%-28s %5d s  %s' "$name" $((SECONDS - start)) $outcome)")
  printf '==== %s\n' "${times[-1]}"
}

phase "wheel and environments" build build/stamps/tested-wheel
[ $failed -eq 0 ] || exit 1
phase "lint" lint
phase "C++ tests" test-release
phase "C++ tests, ASan and UBSan" test-asan
phase "C++ tests, TSan" test-tsan
phase "Python tests" test-python
phase "wheel on a bare Debian" test-bare
phase "fuzz, a short run" fuzz FUZZ_SECONDS=10
printf '\n==== all phases, %d s\n' $SECONDS
printf '%s\n' "${times[@]}"
exit $failed
