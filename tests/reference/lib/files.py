"""Files of reference numbers: those in the repository, and what the R at hand writes."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from .data import REFERENCE
from .quantities import Pair

ROOT = REFERENCE.parents[1]

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

COUNTED = 1e-3  # numbers in the wording of a warning, such as a gradient's size or an eigenvalue


class Reference:
    """A file that a script of R wrote: its header, and its tables by case and name."""

    def __init__(self, path: Path):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        n_header = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        self.header = [line.strip("# \n") for line in lines[:n_header]]
        self._tables: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for cell in csv.DictReader(lines[n_header:]):
            by = cell.get("by", "")
            row = f"{cell['row']}|{by}" if by else cell["row"]
            self._tables.setdefault((cell["case"], cell["table"]), []).append((row, cell["column"], cell["value"]))

    @property
    def versions(self) -> dict[str, str]:
        """R and the packages that the numbers hang on, with their versions; no BLAS and no platform."""
        lines = (line.split() for line in self.header)
        return {name: version for name, version, *_ in lines if name not in ("BLAS", "LAPACK", "platform")}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._tables

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._tables)

    def text(self, case: str, table: str) -> pd.DataFrame:
        cells = self._tables[case, table]
        columns = list(dict.fromkeys(column for _, column, _ in cells))
        rows = [row for row, column, _ in cells if column == columns[0]]
        values = np.array([value for *_, value in cells], dtype=object).reshape(len(columns), -1).T
        return pd.DataFrame(values, index=rows, columns=columns)

    def numbers(self, case: str, table: str) -> pd.DataFrame:
        return self.text(case, table).replace("NA", "nan").astype(float)

    def strings(self, case: str, table: str) -> list[str]:
        return [value for *_, value in self._tables.get((case, table), [])]

    def doubtful(self, case: str) -> bool:
        """Return whether R found fault with the fit: it stopped early, or at a doubtful place, or is singular."""
        return self.text(case, "codes")["1"]["optimizer"] != "0" or (case, "checks") in self

    def tables(self, case: str, prefix: str) -> dict[str, pd.DataFrame]:
        """Return the tables called by a prefix and a group's name, by that name."""
        names = [name for key, name in self._tables if key == case and name.startswith(f"{prefix} ")]
        return {name.partition(" ")[2]: self.numbers(case, name) for name in names}


def rscript(name: str, *arguments: object, given: str | None = None) -> str:
    """Return what a script of this folder prints."""
    command = ["Rscript", "--vanilla", str(REFERENCE.relative_to(ROOT) / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def frozen(name: str) -> Reference:
    """Return the file of a script as it is in the repository."""
    return Reference(REFERENCE / f"{name}.csv")


@cache
def written_now(name: str, *cases: str) -> Reference:
    """Return what the R at hand writes, of all cases or of some."""
    with tempfile.TemporaryDirectory() as folder:
        rscript(f"{name}.R", folder, *cases)
        return Reference(Path(folder) / f"{name}.csv")


@cache
def reference(name: str, *cases: str) -> Reference:
    """Return the file of a script, or what the R at hand writes where it or a package has another version."""
    kept = frozen(name)
    if shutil.which("Rscript") is None:
        return kept
    lines = rscript("lib/header.R", *(package for package in kept.versions if package != "R")).splitlines()
    at_hand = {line.strip("# ") for line in lines}
    same = all(f"{package} {version}" in at_hand for package, version in kept.versions.items())
    return kept if same else written_now(name, *cases)


def compare(pair: Pair, rtol: float) -> None:
    """Assert that both sides of a pair agree to `rtol` of each number and its scale, or are infinite alike."""
    apart = pair.differences > rtol
    told = pd.DataFrame({"found": pair.found[apart], "expected": pair.expected[apart]})
    assert not apart.any(), f"{pair.quantity}:\n{told.to_string()}"


def same_wording(found: list[str], expected: list[str]) -> None:
    """Assert that R's words are the same, and the numbers among them close."""
    number = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
    (words, counted), (wanted, stated) = (
        (
            [number.sub("#", text) for text in sorted(texts)],
            [float(n) for text in sorted(texts) for n in number.findall(text)],
        )
        for texts in (found, expected)
    )
    assert words == wanted
    np.testing.assert_allclose(counted, stated, rtol=COUNTED)
