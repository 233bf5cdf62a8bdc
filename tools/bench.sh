#!/usr/bin/env bash
# Prints the ratios of docs/performance.md: the C++ benches, then the gateway next to its peers.
set -euo pipefail
cd "$(dirname "$0")/.."

for source in bench/cpp/*.cpp; do
  [ -e "$source" ] || continue
  bench=bench_$(basename "$source" .cpp)
  printf -- '-- %s\n' "$bench"
  build/release/"$bench"
done
for script in bench/primitives/*_bench.py; do
  [ -e "$script" ] || continue
  printf -- '-- %s\n' "$(basename "$script" .py)"
  .venv-bench/bin/python "$script"
done
if [ -e bench/gateway/run.py ]; then
  printf -- '-- gateway\n'
  PATH="$PWD/.venv-test/bin:$PATH" python bench/gateway/run.py
fi
printf -- '-- local embedder\n'
PYTHONPATH=bench/primitives .venv-test/bin/python bench/semantic/embed_bench.py build/minilm/float32.onnx
printf -- '-- savings and coalescing\n'
PATH="$PWD/.venv-test/bin:$PATH" python bench/cache/savings.py
PATH="$PWD/.venv-test/bin:$PATH" python bench/cache/coalescing.py
