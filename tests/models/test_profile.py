"""Profile limits of linear mixed models with prior weights, or with a profile that R gives up on.

Rows, their groups' columns too, times the root of their weights make a model without weights, of the same deviance but
for a constant: R profiles that one.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples
from scipy import optimize, stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r

FLAT = 2e-4  # of the deviance, at a limit: what the tolerance of the root and of two optimizers leaves
ROOT = 2e-4  # of the width, beside R's limits: they are roots of a spline
SPLINE = 1e-3  # likewise; at other levels R's limits are further from the roots


@cache
def trial() -> pd.DataFrame:
    """Return groups with slopes, crossed items, weights and an offset; `Y`, `N`, `I` and `X` are weighted."""
    rng = np.random.default_rng(12)
    g, h = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    frame = pd.DataFrame({"g": g, "h": h, "x": rng.normal(size=48), "w": rng.uniform(0.2, 3, 48)})
    b = rng.normal(size=(2, 8))
    frame["o"] = rng.normal(size=48)
    frame["y"] = 3 + frame.o + (0.6 + 0.7 * b[1, g]) * frame.x + b[0, g] + 0.6 * rng.normal(size=6)[h]
    frame["y"] += rng.normal(size=48) / np.sqrt(frame.w)
    frame["noise"] = rng.normal(size=48)
    root = np.sqrt(frame.w)
    return frame.assign(Y=root * (frame.y - frame.o), N=root * frame.noise, I=root, X=root * frame.x)


# A formula with weights, and that of the same model without them.
MODELS = {
    "intercepts": ("y ~ x + (1 | g)", "Y ~ 0 + I + X + (0 + I | g)"),
    "slopes": ("y ~ x + (x | g)", "Y ~ 0 + I + X + (0 + I + X | g)"),
    "uncorrelated": ("y ~ x + (x || g)", "Y ~ 0 + I + X + (0 + I | g) + (0 + X | g)"),
    "crossed": ("y ~ x + (1 | g) + (1 | h)", "Y ~ 0 + I + X + (0 + I | g) + (0 + I | h)"),
    "no intercept": ("y ~ 0 + x + (1 | g)", "Y ~ 0 + X + (0 + I | g)"),
    "no fixed part": ("y ~ 0 + (1 | g)", "Y ~ 0 + (0 + I | g)"),
    "singular": ("noise ~ x + (1 | h)", "N ~ 0 + I + X + (0 + I | h)"),
    "singular slopes": ("noise ~ x + (x | h)", "N ~ 0 + I + X + (0 + I + X | h)"),
}


@cache
def fitted(case: str) -> Lmer:
    formula = MODELS[case][0]
    given = {"weights": "w", "offset": "o" if formula[0] == "y" else None}
    return samples.fitted(formula, trial(), given=given, conf_int="profile", conf_level=0.9)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case == "singular slopes" else case for case in MODELS]
)
def test_limits_are_those_of_the_model_whose_rows_are_weighted(case):
    model, plain = fitted(case), samples.fitted(MODELS[case][1], trial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # of R's profile, where it is not monotonic
        found, wanted = model.confint("profile").to_numpy(), plain.confint("profile", conf_level=0.9).to_numpy()
    np.testing.assert_array_less(np.abs(found - wanted) / np.diff(wanted), SPLINE)
    assert model.ci_type == "profile" and ("singular" in case) == (found[0, 0] == 0)
    fixed = model.coefs[["5_ci", "95_ci"]]
    np.testing.assert_allclose(fixed, found[len(found) - len(fixed) :], rtol=1e-6)


def deviance(sds: np.ndarray, place: int | None = None, value: float = 0.0) -> float:
    """Return log|V| + r' V^-1 r of the case "intercepts", least in the coefficients but for one that is held."""
    data = trial()
    same = data["g"].to_numpy()[:, None] == data["g"].to_numpy()
    root = np.linalg.cholesky(sds[0] ** 2 * same + np.diag(sds[1] ** 2 / data["w"]))
    y, X = (data["y"] - data["o"]).to_numpy(), np.column_stack([np.ones(48), data["x"]])
    if place is not None:
        y, X = y - value * X[:, place], np.delete(X, place, axis=1)
    y, X = np.linalg.solve(root, y), np.linalg.solve(root, X)
    r = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(2 * np.log(np.diag(root)).sum() + r @ r)


def least(row: int | None = None, value: float = 0.0) -> float:
    """Return the least deviance, with one parameter of `confint()` held at a value."""
    sds, free = np.full(2, value), [k for k in (0, 1) if k != row]

    def objective(q: np.ndarray) -> float:
        sds[free] = q
        return deviance(sds, None if row is None or row < 2 else row - 2, value)

    options = {"fatol": 1e-9, "xatol": 1e-8}
    return float(optimize.minimize(objective, np.ones(len(free)), method="Nelder-Mead", options=options).fun)


def test_the_deviance_at_a_limit_is_the_quantile_above_its_least():
    limits, cutoff = fitted("intercepts").confint("profile"), stats.chi2.ppf(0.9, 1)
    assert list(limits.index) == ["sd_(Intercept)|g", "sigma", "(Intercept)", "x"]
    for row, ends in enumerate(limits.to_numpy()):
        assert [least(row, end) - least() for end in ends] == pytest.approx([cutoff] * 2, abs=FLAT)


@pytest.mark.slow
def test_equal_weights_change_sigma_alone():
    data = load_dataset("sleepstudy")
    formula, given = "Reaction ~ Days + (Days + I(Days^2) | Subject)", ({}, {"weights": np.full(len(data), 4.0)})
    models = (samples.fitted(formula, data, given=one, control={"optimizer": "bobyqa"}) for one in given)
    wanted, found = (model.confint("profile") for model in models)
    wanted.loc["sigma"] *= 2
    assert list(found.index) == list(wanted.index)
    apart = (found - wanted).abs().max(axis=1) / (wanted.iloc[:, 1] - wanted.iloc[:, 0])
    assert apart.max() < ROOT, apart


def edgy(seed: int) -> pd.DataFrame:
    """Return a few rows of noise in a few groups."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"g": np.repeat(np.arange(6), 5), "x": rng.normal(size=30), "y": rng.normal(size=30)})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_profile_that_r_gives_up_on_is_told_and_replaced(seed):
    given = ({}, {"weights": np.full(30, 4.0)})
    model, again = (samples.fitted("y ~ x + (x | g)", edgy(seed), given=one) for one in given)
    with pytest.warns(ModelWarning, match="of the likelihood itself; bootstrap limits need no profile") as heard:
        limits = model.confint("profile")
    (text,) = [str(warning.message) for warning in heard]
    assert text.startswith(("R's profile of ", "R stopped at the profile")) and ".sig" not in text
    twice = again.confint("profile")
    twice.loc["sigma"] /= 2
    np.testing.assert_allclose(limits, twice, rtol=1e-4, atol=1e-6)
