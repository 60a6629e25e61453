"""Files of reference numbers: the frozen ones, and new ones by the R at hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from test_reference import ROOT, Reference, r_command, rscript

from .data import REFERENCE
from .mixed import Row
from .quantities import Pair

# What glmer promises of its optimum. Its last stage, Nelder-Mead, ends where the deviances of its simplex lie within
# 1e-5 of each other (FtolAbs), by a path that hangs on the last digit of exp and log: those of another processor lead
# elsewhere. Parameters at which the deviance is 1e-5 above its minimum are sqrt(1e-5) standard errors from it, and a
# quantity that the data tell moves by as large a share of itself or of its error, a variance by twice that of its root.
# Standard errors come from second differences at a step of 1e-4, in which the rounding of a deviance of thousands, a
# few 1e-12, is a share of 1e-3 at most.
PROMISED_DEVIANCE = 1e-5
PROMISED = PROMISED_DEVIANCE**0.5
PROMISED_LIMITS = (1 + 1.96) * PROMISED
PROMISED_VARIANCES = 2 * PROMISED
# lme4 2 has other standard errors of generalized models than 1.1, by up to 1.4e-2 (of herds of cattle).
OTHER_ERRORS = 2e-2


def comparable(row: Row) -> bool:
    """Return whether lme4 1.1 and 2 seek the same optimum of a generalized model and call its likelihood the same.

    From 2 on a dispersion is estimated in another way, and quadrature leaves no constant out.
    """
    return row.family in ("binomial", "poisson", "nbinom") and row.nAGQ in ("", "0", "1")


def frozen(name: str, *packages: str) -> Reference:
    """Return the file of a script, to be compared with strictly where the software of its header is that at hand.

    Args:
        name: of the script, such as `"marginal"`.
        packages: those that the script adds to the header.
    """
    source = Reference(REFERENCE / f"{name}.csv")
    source.hold_against(rscript("lib/header.R", *packages))
    return source


def live(name: str, folder: Path) -> Reference:
    """Return what the R at hand writes now."""
    with begun(name, folder) as answer:
        return answer()


@contextmanager
def begun(name: str, folder: Path, *arguments: str) -> Iterator[Callable[[], Reference]]:
    """Start a script of the R at hand, and give a function that waits for what it writes."""
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(r_command(f"{name}.R", folder, *arguments), cwd=ROOT, stderr=errors)

        @cache
        def answer() -> Reference:
            process.wait()
            assert process.returncode == 0, (folder / "errors.txt").read_text()
            return Reference(folder / f"{name}.csv")

        try:
            yield answer
        finally:
            process.kill()
            process.wait()


def compare(source: Reference, pair: Pair, rtol: float) -> None:
    """Assert that both sides of a pair agree to `rtol`, or are infinite alike."""
    infinite = np.isinf(pair.expected) & (pair.found == pair.expected)
    found, expected = (np.where(infinite, 0.0, values) for values in (pair.found, pair.expected))
    try:
        source.close(found, expected, rtol, pair.scale)
    except AssertionError as error:
        raise AssertionError(f"{pair.quantity}: {error}") from None
