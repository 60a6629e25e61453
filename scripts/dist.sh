#!/bin/sh
# Build the sdist, the wheel out of it and the recipe of a release into dist, and check each as those do that take them.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv-release/bin:$PATH"

rm -rf dist
python -m build --quiet .
twine check --strict dist/*
cffconvert --validate
python scripts/release_recipe.py dist/*.tar.gz
