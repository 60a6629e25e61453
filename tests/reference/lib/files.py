"""Files of reference numbers: the frozen ones, and new ones by the R at hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from test_reference import ROOT, Reference, r_command, rscript

from .data import REFERENCE
from .quantities import Pair


def frozen(name: str, *packages: str) -> Reference:
    """Return the file of a script, to be compared with strictly where the software of its header is that at hand.

    Args:
        name: of the script, such as `"marginal"`.
        packages: those that the script adds to the header.
    """
    source = Reference(REFERENCE / f"{name}.csv")
    source.strict = source.header == rscript("lib/header.R", *packages).replace("# ", "").splitlines()
    return source


def live(name: str, folder: Path) -> Reference:
    """Return what the R at hand writes now."""
    done = subprocess.run(r_command(f"{name}.R", folder), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Reference(folder / f"{name}.csv")


def compare(source: Reference, pair: Pair, rtol: float) -> None:
    """Assert that both sides of a pair agree to `rtol`, or are infinite alike."""
    infinite = np.isinf(pair.expected) & (pair.found == pair.expected)
    found, expected = (np.where(infinite, 0.0, values) for values in (pair.found, pair.expected))
    try:
        source.close(found, expected, rtol, pair.scale)
    except AssertionError as error:
        raise AssertionError(f"{pair.quantity}: {error}") from None
