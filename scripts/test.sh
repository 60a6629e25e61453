#!/bin/sh
# Run the tests on all cores; then those that need no R with R hidden, and those of the numbers under another kernel of
# OpenBLAS. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

python -m pytest -n logical --dist loadfile "$@"

# 5: the arguments chose none of these tests.
again() {
    status=0
    "$@" || status=$?
    [ "$status" = 5 ] || [ "$status" = 0 ] || exit "$status"
}

printf '\nWhat needs no R once more, with R hidden\n'
again env PYMER4_TEST_NO_R=yes python -m pytest -n logical --dist loadfile "$@" -m "not r and not slow" \
    --ignore tests/test_layers.py --ignore tests/test_packaging.py --ignore tests/test_kernels.py

# The first kernel of the list is that of the processor, or rounds as it does; the last is the farthest from it.
kernel=$(python scripts/kernels.py 2 | tail -n 1)
[ -n "$kernel" ] || exit 0
printf '\nThe numbers once more, with the kernel %s\n' "$kernel"
again env OPENBLAS_CORETYPE="$kernel" python -m pytest -n logical --dist loadfile "$@" -m "numeric and not slow"
