# Every target sets up what it needs first; `make help` lists them.
# PYTHON=... takes another Python; VIA=apt or VIA=conda overrides the choice between the two.

SHELL = /bin/sh
PYTHON ?= python3
VIA ?=
SUITE ?= bookworm
ARGS ?=
IN = scripts/run.sh
# Sphinx deals the pages out in lots: twice as many workers as processors end together, whichever lot is the longest.
SITE = python -m sphinx --fail-on-warning --keep-going --jobs $$((2 * $$(getconf _NPROCESSORS_ONLN))) --quiet

export PYTHON VIA ONLY

.PHONY: help setup demo test test-slow test-hostile test-oldest test-in lint reference docs docs-links bench bench-peers bench-big dist clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/:[^#]*## /:\t/' | expand -t 14

setup:           ## R, its packages and a Python environment that fits them
	@scripts/setup.sh

demo: setup      ## fit the sleepstudy data: a table, and a picture, a file and a page in demo
	@$(IN) python examples/sleepstudy.py

test: setup      ## the tests, but for the slow ones (ARGS="-k name" goes to pytest)
	@$(IN) scripts/test.sh $(ARGS)

test-slow: setup ## all the tests
	@$(IN) python -m pytest -n logical --dist loadfile -m "slow or not slow" $(ARGS)

test-hostile: setup ## the tests that need R, with a start-up file of R that sets what users set
	@R_PROFILE_USER="$(CURDIR)/tests/hostile.Rprofile" $(IN) python -m pytest -n logical --dist loadfile -m "r and not slow" $(ARGS)

test-oldest: setup ## the tests with the oldest packages that are allowed, in .venv-oldest
	@scripts/setup.sh oldest
	@$(IN) .venv-oldest/bin/python -m pytest -n logical --dist loadfile -m "not slow" $(ARGS)

test-in:         ## the tests in a bare Debian, as root: make test-in SUITE=bookworm, trixie or sid
	@scripts/test_in.sh "$(SUITE)" "make test"

lint:            ## ruff and mypy; needs no R
	@scripts/setup.sh lint
	@$(IN) ruff check .
	@$(IN) ruff format --check .
	@$(IN) mypy

reference: setup ## write the reference numbers of tests/reference anew, with the R at hand
	@set -e; for script in tests/reference/*.R; do echo "$$script"; $(IN) Rscript "$$script"; done

docs: setup      ## run every page, and build the site in docs/_build/site (ONLY="guide/lm.md" runs that one alone)
	@scripts/setup.sh docs
	@$(IN) $(SITE) $(if $(ONLY),-d docs/_build/draft/doctrees,--fresh-env -d docs/_build/doctrees) -b html docs docs/_build/$(if $(ONLY),draft,site)

docs-links: setup ## look up every link of the site that leads elsewhere
	@scripts/setup.sh docs
	@$(IN) $(SITE) -D nb_execution_mode=off -d docs/_build/links/doctrees -b linkcheck docs docs/_build/links

bench: setup     ## the benchmarks
	@scripts/setup.sh bench
	@$(IN) python bench/run.py $(ARGS)

bench-peers: setup ## the deviance engine beside other Python packages
	@scripts/setup.sh peers
	@.venv-peers/bin/python bench/peers.py $(ARGS)

bench-big: setup ## the large benchmarks
	@$(IN) python bench/run.py --big $(ARGS)

dist:            ## the sdist, the wheel and the recipe of a release, built and checked, in dist
	@scripts/setup.sh release
	@scripts/dist.sh

clean:           ## remove what the other targets made
	rm -rf .venv .venv-oldest .venv-peers .venv-release .conda build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
