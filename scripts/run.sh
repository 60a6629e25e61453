#!/bin/sh
# Run a command in the environment that setup.sh made: .conda where there is one, else .venv.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ "${VIA:-}" != apt ] && [ -x "$root/.conda/bin/python" ]; then
    CONDA_PREFIX="$root/.conda"
    export CONDA_PREFIX
    PATH="$root/.conda/bin:$PATH"
else
    PATH="$root/.venv/bin:$PATH"
fi
export PATH
exec "$@"
