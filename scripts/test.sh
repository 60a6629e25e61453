#!/bin/sh
# Run the tests on all cores, and those of the numbers once more under another kernel of OpenBLAS. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

python -m pytest -n logical --dist loadfile "$@"

# The first kernel of the list is that of the processor, or rounds as it does; the last is the farthest from it.
kernel=$(python scripts/kernels.py 2 | tail -n 1)
[ -n "$kernel" ] || exit 0
printf '\nThe numbers once more, with the kernel %s\n' "$kernel"
status=0
OPENBLAS_CORETYPE=$kernel python -m pytest -n logical --dist loadfile "$@" -m "numeric and not slow" || status=$?
# 5: the arguments chose none of these tests.
[ "$status" = 5 ] || exit "$status"
