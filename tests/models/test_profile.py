"""Profile limits of linear mixed models with prior weights, or with a profile that R gives up on.

What is held to is the deviance of the model written out, log|V| + r' V^-1 r with V = Z G Z' + s^2 / w: at a limit its
least value is the chi-square quantile above the least of all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

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


@cache
def trial() -> pd.DataFrame:
    """Return groups with slopes, crossed items, weights and an offset."""
    rng = np.random.default_rng(12)
    g, h = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    frame = pd.DataFrame({"g": g, "h": h, "x": rng.normal(size=48), "w": rng.uniform(0.2, 3, 48)})
    b = rng.normal(size=(2, 8))
    frame["o"] = rng.normal(size=48)
    frame["y"] = 3 + frame.o + (0.6 + 0.7 * b[1, g]) * frame.x + b[0, g] + 0.6 * rng.normal(size=6)[h]
    frame["y"] += rng.normal(size=48) / np.sqrt(frame.w)
    frame["noise"] = rng.normal(size=48)
    return frame


def slopes(p: np.ndarray) -> np.ndarray:
    """Return the covariance of intercepts and slopes with these sd, correlation and sd."""
    return np.array([[p[0] ** 2, p[0] * p[1] * p[2]], [p[0] * p[1] * p[2], p[2] ** 2]])


class Model(NamedTuple):
    """A model written out: for each grouping, whether its random part has slopes; outcome, offset, fixed part."""

    formula: str
    groups: list[tuple[str, bool]]
    outcome: str
    offset: bool
    fixed: list[str]

    def deviance(self, p: np.ndarray, held: tuple[int, float] | None = None) -> float:
        """Return the deviance, least in the coefficients but for one that is held.

        Args:
            p: sd, and for slopes correlation and sd, of each grouping; sigma.
            held: place and value of a coefficient.
        """
        data = trial()
        V = np.diag(p[-1] ** 2 / data["w"].to_numpy())
        at = 0
        for name, varies in self.groups:
            same = data[name].to_numpy()[:, None] == data[name].to_numpy()
            Z = np.column_stack([np.ones(48), data["x"]]) if varies else np.ones((48, 1))
            V = V + same * (Z @ (slopes(p[at : at + 3]) if varies else p[[at]] ** 2 * np.eye(1)) @ Z.T)
            at += 3 if varies else 1
        y = data[self.outcome] - (data["o"] if self.offset else 0)
        X = np.array([np.ones(48) if name == "1" else data[name] for name in self.fixed]).reshape(-1, 48).T
        if held is not None:
            y, X = y - held[1] * X[:, held[0]], np.delete(X, held[0], axis=1)
        try:
            R = np.linalg.cholesky(V)
        except np.linalg.LinAlgError:
            return 1e10
        y, X = np.linalg.solve(R, y), np.linalg.solve(R, X)
        r = y - X @ np.linalg.lstsq(X, y, rcond=None)[0] if X.shape[1] else y
        return float(2 * np.log(np.diag(R)).sum() + r @ r)

    def bounds(self) -> list[tuple[float, float | None]]:
        """Return the ranges of the variance parameters."""
        of = {True: [(0.0, None), (-1.0, 1.0), (0.0, None)], False: [(0.0, None)]}
        return [*(bound for _, varies in self.groups for bound in of[varies]), (1e-3, None)]

    def least(self, row: int | None = None, value: float = 0.0) -> float:
        """Return the least deviance, with one parameter of `confint()` held at a value."""
        bounds, n = self.bounds(), len(self.bounds())
        free = [i for i in range(n) if i != row]

        def whole(q: np.ndarray) -> np.ndarray:
            p = np.full(n, value)
            p[free] = q
            return p

        held = (row - n, value) if row is not None and row >= n else None
        objective: Callable = lambda q: self.deviance(whole(q), held)  # noqa: E731
        rng, found = np.random.default_rng(1), []
        options = {"L-BFGS-B": {"ftol": 1e-13}, "Nelder-Mead": {"fatol": 1e-8, "xatol": 1e-7, "maxfev": 600}}
        for _ in range(3):
            start = [rng.uniform(-0.8, 0.8) if low < 0 else rng.uniform(0.1, 1.2) for low, _ in np.array(bounds)[free]]
            for method, how in options.items():
                within = [bounds[i] for i in free]
                ended = optimize.minimize(objective, start, bounds=within, method=method, options=how)
                found.append(ended.fun)
                start = ended.x
        return min(found)


MODELS = {
    "intercepts": Model("y ~ x + (1 | g)", [("g", False)], "y", False, ["1", "x"]),
    "slopes": Model("y ~ x + (x | g)", [("g", True)], "y", True, ["1", "x"]),
    "crossed": Model("y ~ x + (1 | g) + (1 | h)", [("g", False), ("h", False)], "y", False, ["1", "x"]),
    "no intercept": Model("y ~ 0 + x + (1 | g)", [("g", False)], "y", True, ["x"]),
    "no fixed part": Model("y ~ 0 + (1 | g)", [("g", False)], "y", False, []),
    "singular": Model("noise ~ x + (1 | h)", [("h", False)], "noise", False, ["1", "x"]),
    "singular slopes": Model("noise ~ x + (x | h)", [("h", True)], "noise", False, ["1", "x"]),
}


@cache
def fitted(case: str) -> Lmer:
    how = MODELS[case]
    given = {"weights": "w", "offset": "o" if how.offset else None}
    return samples.fitted(how.formula, trial(), given=given, conf_int="profile", conf_level=0.9)


# Dense algebra at each point takes half a minute and more for the others.
QUICK = ("intercepts", "no intercept", "no fixed part")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in MODELS]
)
def test_the_deviance_at_a_limit_is_the_quantile_above_its_least(case):
    how, limits = MODELS[case], fitted(case).confint("profile")
    cutoff, least = stats.chi2.ppf(0.9, 1), how.least()
    bounds = [*how.bounds(), *[(-np.inf, np.inf)] * len(how.fixed)]
    assert len(limits) == len(bounds)
    for row, name in enumerate(limits.index):
        for value, end in zip(limits.iloc[row], bounds[row], strict=True):
            assert np.isfinite(value), name
            rise = how.least(row, value) - least
            if value == end:
                assert rise <= cutoff + FLAT, (name, value)
            else:
                assert rise == pytest.approx(cutoff, abs=FLAT), (name, value)


@pytest.mark.parametrize("case", MODELS)
def test_limits_of_the_fit_are_those_of_confint(case):
    model = fitted(case)
    assert model.ci_type == "profile"
    limits = model.confint("profile").tail(len(model.coefs))
    np.testing.assert_allclose(model.coefs[["5_ci", "95_ci"]], limits, rtol=1e-6)


EQUAL = {
    "intercepts": ("Reaction ~ Days + (1 | Subject)", "sleepstudy"),
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "uncorrelated": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "nested": ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    "three effects": ("Reaction ~ Days + (Days + I(Days^2) | Subject)", "sleepstudy"),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow) if case in ("three effects", "slopes") else case for case in EQUAL],
)
def test_equal_weights_change_sigma_alone(case):
    formula, name = EQUAL[case]
    data = load_dataset(name)
    control, given = {"optimizer": "bobyqa"}, ({}, {"weights": np.full(len(data), 4.0)})
    wanted, found = (samples.fitted(formula, data, given=one, control=control).confint("profile") for one in given)
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
