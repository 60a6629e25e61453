"""Print the kernels of OpenBLAS that this processor can run, from the newest to the oldest, one a line.

    OPENBLAS_CORETYPE=$(python scripts/kernels.py | tail -n 1) python -m pytest -m numeric

NumPy's OpenBLAS chooses code for the processor it finds, and each code rounds in its own way; the variable asks for
that of another processor. With a number as argument so many are printed, from the newest to the oldest. Nothing is
printed where NumPy has another library or the processor is no x86.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys

KERNELS = ("SkylakeX", "Haswell", "Zen", "Sandybridge", "Prescott")

# A kernel that the processor lacks ends the process by an illegal instruction.
_TRIAL = """
import ctypes, re
import numpy as np

A = np.random.default_rng(1).normal(size=(60, 60))
np.linalg.svd(A @ A), np.linalg.eigh(A + A.T), np.linalg.qr(A), np.linalg.inv(A), A @ A[0]
with open("/proc/self/maps") as maps:
    paths = dict.fromkeys(re.findall(r"/\\S*openblas\\S*", maps.read()))
for path in paths:
    library = ctypes.CDLL(path)
    for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename64_",
                 "openblas_get_corename"):
        if hasattr(library, name):
            told = getattr(library, name)
            told.restype = ctypes.c_char_p
            print(told().decode())
            raise SystemExit
"""


def core(kernel: str) -> str:
    """Return what the library calls the code that it takes for a kernel; empty where it can't be run."""
    asked = os.environ | {"OPENBLAS_CORETYPE": kernel}
    done = subprocess.run([sys.executable, "-c", _TRIAL], env=asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def kernels() -> list[str]:
    """Return the kernels that can be run, one for each code, under its own name where that is among them."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    cores = {kernel: core(kernel) for kernel in KERNELS}
    chosen: dict[str, str] = {}
    for kernel, name in cores.items():
        if name and (name == kernel or name not in chosen):
            chosen[name] = kernel
    return [kernel for kernel in KERNELS if kernel in chosen.values()]


def spread(found: list[str], n: int) -> list[str]:
    """Return n of the kernels, as far apart as they are: the first and the last of them, and what lies between."""
    if n >= len(found):
        return found
    return [found[round(i * (len(found) - 1) / max(n - 1, 1))] for i in range(n)]


if __name__ == "__main__":
    told = kernels()
    for kernel in spread(told, int(sys.argv[1])) if len(sys.argv) > 1 else told:
        print(kernel)
