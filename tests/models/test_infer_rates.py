"""What `infer()` promises of many data sets: p beside all permutations, coverage of limits, errors of tests."""

from __future__ import annotations

import importlib.util
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from samples import fit, regression
from scipy import stats

from pymer4 import Lm2

_SCRIPT = Path(__file__).parents[2] / "docs" / "reference" / "coverage.py"


def _coverage():
    spec = importlib.util.spec_from_file_location("coverage_page", _SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


coverage = _coverage()
N_PERM = 4_000


def within_error(found: float, exact: float) -> bool:
    """Whether (1 + hits)/(n + 1) is within four standard errors of the share of all permutations."""
    return abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / N_PERM) + 1 / N_PERM


@pytest.mark.numeric
def test_p_of_shuffles_is_that_of_all_permutations():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.normal(size=7), "z": rng.normal(size=7)}).assign(y=lambda d: d.x + rng.normal(size=7))
    X = np.column_stack([np.ones(7), data.x, data.z])

    def t(y: np.ndarray) -> np.ndarray:
        b, rss = np.linalg.lstsq(X, y, rcond=None)[:2]
        return np.abs(b) / np.sqrt(rss / 4 * np.diag(np.linalg.inv(X.T @ X)))

    every = np.array([t(data.y.to_numpy()[list(order)]) for order in permutations(range(7))])
    exact = (every >= every[0] - 1e-9).mean(axis=0)
    found = regression("y ~ x + z", data).infer("perm", n_perm=N_PERM, seed=1)["Perm-P-val"]
    assert all(within_error(found[name], exact[j]) for j, name in ((1, "x"), (2, "z")))


@pytest.mark.numeric
def test_p_of_flips_is_that_of_all_signs():
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"g": np.repeat(np.arange(9), 4), "x": rng.normal(size=36)})
    data["y"] = 0.4 * data.x + rng.normal(size=9)[data.g] + rng.normal(size=36)
    model = fit(Lm2("y ~ x", data, group="g"))
    signs = np.array(list(product([1.0, -1.0], repeat=9)))
    for name, null in (("x", 0.0), ("Intercept", -0.5)):
        every = np.abs(stats.ttest_1samp(signs * (model.fixef[name].to_numpy() - null), 0, axis=1)[0])
        found = model.infer("perm", null=null, n_perm=N_PERM, seed=2)["Perm-P-val"][name]
        assert within_error(found, (every >= every[0] - 1e-9).mean())


CELLS = [
    pytest.param(cell, id=cell.name, marks=[pytest.mark.r] if cell.model == "Lmer" else [])
    for cell in coverage.cells()
    if not cell.known
]


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_limits_cover_and_tests_hold_their_level(cell):
    found = coverage.table([cell], workers=1)  # the tests run side by side already
    assert found["inside"].all(), found.to_string()
