# The one list of commands. Each does everything from a bare checkout; a second call does no work it need not do.
# Needed beforehand: Linux >= 5.12, Python >= 3.11, make. A C compiler makes the data plane faster; without one it runs interpreted.

.DEFAULT_GOAL := help
.PHONY: help demo test check test-user bench guard gen fuzz fuzz-short clean compiled retry
SHELL := /bin/sh
BIN := .venv/bin
VENV := .venv/.stamp
COMPILED := build/compiled
PROTOCOL := $(wildcard tests/integration/test_proxy_*.py)
SOURCES := $(shell find src/tulle -name '*.py')
BYTECODE = $(wildcard $(addprefix .venv/lib/python3*/site-packages/,msgspec click yaml typing_extensions.py))
# A .venv knows where it lies: one that came along with a copied or moved tree is made anew.
MOVED := $(if $(filter $(CURDIR),$(shell cat $(VENV) 2>/dev/null)),,retry)
# Where nothing could be compiled that is said, and tried, each time: a compiler may have come.
RETRY := $(if $(wildcard $(COMPILED).path),$(if $(shell cat $(COMPILED).path),,retry))

compiled_path = $$(cat $(COMPILED).path)

help: ## Lists the commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: $(COMPILED).path ## Shows the mesh at work (SECONDS=20; KEEP=1 stays up until ctrl-C).
	@PYTHONPATH=$(compiled_path) $(BIN)/python -m tools.demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(KEEP),--keep)

test: $(COMPILED).path ## Runs every test; what mypyc compiles runs compiled and interpreted.
	@pytest() { echo "TULLE_BUILD=$$TULLE_BUILD pytest $$*"; $(BIN)/python -m pytest "$$@" $(ARGS); }; export TULLE_BUILD=pure; \
	if [ -n "$(compiled_path)" ]; then \
		pytest tests/unit tests/spec tests/property $(PROTOCOL) && \
		export TULLE_BUILD=compiled PYTHONPATH="$(compiled_path)" && pytest tests --durations 15; \
	else \
		pytest tests --durations 15; \
	fi

check: $(VENV) ## Format, lint, types, layers, drift of generated files.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check

test-user: ## Runs pods, intruder and demo as an ordinary user (as root: one made for it).
	@tools/test-user.sh

bench: $(COMPILED).path .venv/.stamp-bench ## Cost and speed beside pump, HAProxy, nginx, Envoy (18 minutes; QUICK=1: 3).
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

guard: $(COMPILED).path .venv/.stamp-bench ## Instructions, allocations, system calls a request, and ratios to HAProxy and Envoy, against benchmarks/reference.json.
	@$(BIN)/python -m benchmarks.guard $(ARGS)

gen: $(VENV) ## Rewrites what is generated from the types, and recorded outputs.
	$(BIN)/python -m tools.generate

fuzz: $(COMPILED).path .venv/.stamp-fuzz ## Property tests with many more examples (EXAMPLES=2000 each), then atheris (SECONDS=60 a target).
	@EXAMPLES=$(EXAMPLES) PYTHONPATH=$(compiled_path) HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/property --timeout 3600 $(ARGS)
	@$(BIN)/python -m tools.fuzz --seconds $(or $(SECONDS),60)

fuzz-short: .venv/.stamp-fuzz ## Half a minute of atheris, from the framing tables.
	@$(BIN)/python -m tools.fuzz --seconds 15

compiled: $(COMPILED).path ## Makes build/compiled: the sources with the hot modules compiled.

clean: ## Removes everything that was made.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV): pyproject.toml uv.lock tools/setup.sh hatch_build.py $(MOVED)
	@tools/setup.sh
	@echo "$(CURDIR)" >$@

.venv/.stamp-bench: $(VENV)
	@tools/setup.sh --inexact --group bench
	@touch $@

.venv/.stamp-fuzz: $(VENV)
	@tools/setup.sh --inexact --group fuzz
	@touch $@

# Holds what PYTHONPATH must be: the compiled tree, or nothing where nothing compiles.
$(COMPILED).path: $(VENV) $(SOURCES) hatch_build.py $(RETRY)
	@mkdir -p build
	@why=$$($(BIN)/python hatch_build.py --missing); \
	if [ -z "$$why" ]; then \
		$(BIN)/python hatch_build.py $(COMPILED) >build/compile.log 2>&1 || { cat build/compile.log; exit 1; }; \
		echo "$(CURDIR)/$(COMPILED)" >$@; \
	elif [ -n "$$CI" ]; then echo "error: nothing can be compiled: $$why" >&2; exit 1; \
	else echo "nothing is compiled, everything runs interpreted: $$why" >&2; : >$@; fi
	@# Where PYTHONDONTWRITEBYTECODE is set, each start would compile every source: twice the time, 5 MB more.
	@$(BIN)/python -m compileall -q src/tulle $(COMPILED) $(BYTECODE) >/dev/null || :
