"""Simulated responses in the engine, side by side, and in R, one after another on lme4's deviance function."""

from __future__ import annotations

import pandas as pd
import pytest
from cases import case
from engine_loop import LOOPED, beside_loop, looped

pytestmark = [pytest.mark.r, pytest.mark.numeric]


@pytest.mark.parametrize("count", [5, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LOOPED)
def test_simulated_responses_have_the_optimum_of_a_loop_in_r(name, count):
    judged(beside_loop(looped(name), count), count)


@pytest.mark.parametrize("name", ["nested", "uncorrelated", "weighted", "offset term", "no intercept"])
def test_so_have_those_of_other_models(name):
    judged(beside_loop(case(name), 5), 5)


def judged(found: pd.DataFrame, count: int) -> None:
    assert len(found) == count and found.notna().all(axis=None)
    # No optimizer of R's is below, and both have one deviance at one theta.
    assert found["stopped"].max() < 1e-9 and found["own"].abs().max() < 1e-9
    # R's own optimum, which its optimizer stops short of, is the engine's.
    assert found["settled"].abs().max() < 1e-9
    assert found[["theta", "sigma", "b"]].max(axis=None) < 1e-6
    assert found["gradient"].max() < 1e-5
