"""Data of the rows about the deviance engine: what R, pymer4 and others fit alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from mixed import SLOPES, simulated


@dataclass(frozen=True)
class Case:
    """One model: its formula, how often it is timed, and the ratio to R's time that it may take."""

    formula: str
    runs: int
    bound: float
    dataset: str = ""
    rows: int = 0


CASES = {
    "sleepstudy": Case("Reaction ~ Days + (Days | Subject)", 25, 0.25, "sleepstudy"),
    "InstEval": Case("y ~ service + (1 | s) + (1 | d)", 2, 0.10, "InstEval"),
    "nested 10,000": Case("y ~ x + (1 | g / h)", 5, 0.15, rows=10_000),
    "twenty thetas": Case("y ~ x1 + x2 + x3 + (x1 + x2 + x3 | g) + (x1 + x2 + x3 | h)", 2, 0.10, rows=2_000),
    "100,000 rows": Case(SLOPES, 3, 0.02, rows=100_000),
    "1,000,000 rows": Case(SLOPES, 1, 0.025, rows=1_000_000),
}


def frame(name: str) -> pd.DataFrame:
    """Return the rows of a case."""
    from pymer4 import load_dataset

    case, rng = CASES[name], np.random.default_rng(7)
    if case.dataset:
        return load_dataset(case.dataset)
    n = case.rows
    if name == "nested 10,000":
        g, h = np.arange(n) // 100, np.arange(n) // 10 % 10
        x, both = rng.normal(size=n), rng.normal(size=1000)
        y = 0.5 * x + rng.normal(size=100)[g] + both[g * 10 + h] + rng.normal(size=n)
        return pd.DataFrame({"y": y, "x": x, "g": g, "h": h})
    if name == "twenty thetas":
        g, h, X = rng.integers(0, 50, n), rng.integers(0, 40, n), rng.normal(size=(n, 3))
        Z = np.column_stack([np.ones(n), X])
        y = Z @ [1, 0.5, 0.3, 0.2] + rng.normal(size=n)
        y += (Z * rng.normal(size=(50, 4))[g] * 0.5).sum(axis=1) + (Z * rng.normal(size=(40, 4))[h] * 0.4).sum(axis=1)
        return pd.DataFrame({"y": y, "x1": X[:, 0], "x2": X[:, 1], "x3": X[:, 2], "g": g, "h": h})
    return simulated(n)
