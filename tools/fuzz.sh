#!/usr/bin/env bash
# fuzz.sh SECONDS: runs each fuzz target of build/fuzz that long, from its seeds in tests/cpp/fuzz/seeds/<target>.
# What libFuzzer finds on the way is kept in build/fuzz/corpus; an input that fails stays in build/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
mkdir -p build/fuzz/found
for source in tests/cpp/fuzz/fuzz_*.cpp; do
  [ -e "$source" ] || continue
  target=$(basename "$source" .cpp)
  corpus=build/fuzz/corpus/$target
  seeds=tests/cpp/fuzz/seeds/$target
  mkdir -p "$corpus"
  [ -d "$seeds" ] || seeds=
  log=build/fuzz/$target.log
  build/fuzz/"$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix=build/fuzz/found/"$target"- "$corpus" ${seeds:+"$seeds"} >"$log" 2>&1 ||
    { tail -n 60 "$log"; exit 1; }
  printf -- '-- %s: %s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
done
