# Every command of the project. Each target is one line of scripts/dev.py, which needs nothing but the standard library.
# PYTHON=… chooses the interpreter of a target that uses one; PYTHONS='a b' adds interpreters to those found;
# TAGS='cp313 cp314t' keeps to some of them; TEST_LANES=1 tests one after another.

.DEFAULT_GOAL := help
.PHONY: help demo develop test test-all bench loom tsan miri wheel docs fmt lint clean
export PYTHON PYTHONS TAGS TEST_LANES

help: ## list the targets
	@echo "make TARGET [PYTHON=python] [PYTHONS='more pythons'] [TAGS='cp313 cp314t']"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

demo: ## build, run an example plain and under `counterpoint run`, compare; then one in processes
	@scripts/dev demo

develop: ## build the extension in place for PYTHON (or PYTHON=all) and set up its environment
	@scripts/dev develop

test: ## everything that CI runs, on every interpreter found
	@scripts/dev test

test-all: ## the same with the long suites on every interpreter (CPython's own: where there is a GIL), a wheel and the demo
	@scripts/dev test-all

bench: ## ratios to the standard library and to other packages; BENCH_ARGS=… narrows it
	@scripts/dev bench

loom: ## model-check the core crates; LOOM_MAX_PREEMPTIONS=3 LOOM_MAX_DURATION=60 bound it
	@scripts/dev loom

tsan: ## the core crates' tests under ThreadSanitizer; fails without the tool
	@scripts/dev tsan

miri: ## the core crates' tests under Miri; fails without the tool
	@scripts/dev miri

wheel: ## wheels in dist/ for the interpreters found, each installed in a clean environment without Rust
	@scripts/dev wheel

docs: ## build the documentation and check its internal links
	@scripts/dev docs

fmt: ## format Rust and Python
	@scripts/dev fmt

lint: ## formatting, clippy, ruff, mypy, stubtest and the style check
	@scripts/dev lint

clean: ## remove what the other targets made
	@scripts/dev clean
