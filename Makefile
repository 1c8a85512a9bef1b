# The commands of this repository; each makes what it needs.
#   make demo       the whole line on packaged data
#   make test       everything that continuous integration runs
#   make fuzz N=…   N random graphs, three executors, every spike and state compared
#   make round-trip N=…  N random graphs through NIR and back, every integer compared
#   make attack N=…  N mutated files of every format, opened and used; SEED=… for others
#   make fuzz-native SECONDS=…  libFuzzer on the native engine's plans and sessions (clang, llvm)
#   make kills      every writing command killed at its file events, 200 in all, and run again
#   make interop    norse, snntorch, spikingjelly and sinabs run our NIR files, and we theirs
#   make bench      the native engine beside its peers, to benchmarks/results/bench.json
#   make performance  all of its benchmarks, to docs/performance.md
#   make sanafe     counts, energy and latency of loihi1 beside SANA-FE, in an environment of its own
#   make lava       210 random networks on Intel's Lava, every spike and state compared
#   make chips      every shipped checkpoint on every chip, and each limit with what breaks it
#   make graphs     the float graph of each shipped digits network, traced from its checkpoint
#   make sanitize   the engine's tests on builds with address, undefined and thread sanitizers
#   make wheel      the wheel, in dist/
#   make format     reformat, and repair what the linter can
# PYTHON chooses the interpreter of the environment; BIN=/path/to/bin uses one that is ready.

PYTHON ?= python3
VENV ?= .venv
N ?= 1000
SEED ?= 0
SECONDS ?= 600
LAVA_NETWORKS ?= 210

ifdef BIN
RUN_READY :=
TEST_READY :=
else
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
TEST_READY := $(VENV)/.test-ready
endif

# The default Linux wheel of torch brings gigabytes of CUDA libraries. The version with its local
# label matches the CPU build alone, from PyTorch's index or from wherever pip is told to look;
# --no-deps leaves its dependencies to the ordinary index; elsewhere than on Linux there is no label.
TORCH ?= torch==2.13.0$(if $(filter Linux,$(shell uname -s)),+cpu)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BUILD_TOOLS := "scikit-build-core>=1.1,<2" "nanobind>=3.1,<4" "cmake>=3.18" "ninja>=1.11"
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
EDITABLE = $(INSTALL) --no-build-isolation --config-settings=editable.rebuild=true --editable

.PHONY: demo test lint types tests fuzz round-trip attack fuzz-native kills interop bench performance sanafe lava chips graphs sanitize wheel format torch

demo: $(RUN_READY)
	$(BIN)/spikewright demo --force

test: lint types tests

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST_READY)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

tests: $(TEST_READY)
	SPIKEWRIGHT_REQUIRE_NATIVE=1 SPIKEWRIGHT_REQUIRE_PEERS=1 $(BIN)/pytest

fuzz: $(TEST_READY)
	$(BIN)/python tests/fuzz/run.py --graphs $(N)

round-trip: $(TEST_READY)
	$(BIN)/python tests/fuzz/round_trip.py --graphs $(N)

attack: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.attack.run --files $(N) --seed $(SEED) --out docs/attack.md

fuzz-native: $(TEST_READY)
	$(BIN)/python -m tests.fuzz.native.run --seconds $(SECONDS) --out docs/fuzz-native.md

kills: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.kills.run --kills 200 --out docs/kills.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.kills.full

interop: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.interop.run --out docs/interop.md

bench: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench

sanafe: $(RUN_READY)
	$(BIN)/python -m benchmarks.beside_sanafe

lava: $(RUN_READY)
	$(BIN)/spikewright lava status || $(BIN)/spikewright lava install --force
	$(BIN)/spikewright lava selftest --networks $(LAVA_NETWORKS)

chips: $(TEST_READY)
	$(BIN)/python tests/hw_targets/limits.py
	$(BIN)/python -m benchmarks.chips $(CHIPS_OPTIONS) --out docs/chips.md

performance: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.report

graphs: $(RUN_READY)
	$(BIN)/python -m benchmarks.shipped_graphs

sanitize: $(TEST_READY)
	$(BIN)/python tests/sanitize.py

wheel: $(RUN_READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --config-settings=build-dir=build/wheel --wheel-dir dist .

format: $(TEST_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

torch:
	$(INSTALL) --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) "$(TORCH)"

$(VENV)/.run-ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(MAKE) --no-print-directory torch BIN=$(BIN)
	$(INSTALL) $(BUILD_TOOLS)
	$(EDITABLE) '.[train]'
	touch $@

$(VENV)/.test-ready: $(VENV)/.run-ready
	$(EDITABLE) '.[train,test]'
	touch $@
