"""Data and fits that many tests share, as functions; `conftest.py` has them as fixtures too."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from pymer4 import Lm, Lmer, load_dataset
from pymer4.errors import ModelWarning

DOSES = ["low", "mid", "high"]


@cache
def _loaded(name: str) -> pd.DataFrame:
    return load_dataset(name)


def dataset(name: str) -> pd.DataFrame:
    """Return one of R's example data sets, read once, in a copy of one's own."""
    return _loaded(name).copy()


def trial(seed: int = 7) -> pd.DataFrame:
    """Return 24 groups by 12 items in no order, with outcomes of every family; groups sort otherwise than as text.

    `x` has slopes in `g`; `z`, `o` and `s` are numbers of no effect to speak of, `w` weights. Outcomes: `y`, `pos`,
    `v` (slopes of o, w, s), `count`, `spread` (nbinom), `size` (gamma), `time` (inverse gaussian), `hits` of `trials`,
    `share`, `yes`.
    """
    rng = np.random.default_rng(seed)
    n = 240
    g, h = rng.permutation(np.repeat(np.arange(24), 10)), rng.permutation(np.tile(np.arange(12), 20))
    frame = pd.DataFrame(
        {
            "g": 5 * (g + 1),
            "h": np.array([f"i{k}" for k in range(1, 13)])[h],
            "x": rng.normal(1, 1, n),
            "z": rng.normal(3, 1, n),
            "cond": rng.choice(["b", "a", "C"], n),
            "flag": rng.random(n) < 0.4,
            "dose": pd.Categorical(rng.choice(DOSES, n), DOSES, ordered=True),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
            "s": rng.normal(size=n),
        }
    )
    slopes = 1 + rng.normal(0, 0.7, (4, 24))
    frame["y"] = (
        2 + slopes[0][g] * frame.x + 0.1 * frame.z + 0.5 * (frame.cond == "a") * frame.x + 0.4 * frame.flag
        + rng.normal(0, 1, 24)[g] + rng.normal(0, 0.8, 12)[h] + rng.normal(0, 1, n)
    )  # fmt: skip
    frame["pos"] = np.exp(0.2 * frame.y)
    frame["v"] = frame.y + slopes[1][g] * frame.o + slopes[2][g] * frame.w + slopes[3][h] * frame.s
    eta = 0.3 * frame.x + 0.2 * (frame.cond == "a") + (rng.normal(0, 0.5, 24)[g] + rng.normal(0, 0.3, 12)[h])
    mean = np.exp(eta)
    frame["trials"] = rng.integers(2, 9, n)
    frame["count"] = rng.poisson(mean)
    frame["spread"] = rng.negative_binomial(2, 2 / (2 + mean))
    frame["size"] = rng.gamma(4, mean / 4)
    frame["time"] = rng.wald(mean, 3 * mean.mean())
    frame["hits"] = rng.binomial(frame.trials, special.expit(eta - 0.5))
    frame["share"] = frame.hits / frame.trials
    frame["yes"] = (rng.uniform(size=n) < special.expit(eta)).astype(int)
    return frame


def with_holes(frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the trial with missing values in the outcome, a predictor and a group."""
    frame = (trial() if frame is None else frame).astype({"g": float})
    frame.loc[[3, 50], "y"] = np.nan
    frame.loc[[7, 50, 100], "x"] = np.nan
    frame.loc[11, "g"] = np.nan
    return frame


def crossed(n: int = 72, seed: int = 0) -> pd.DataFrame:
    """Return every kind of column that the manual of patsy has; categories are crossed."""
    rng = np.random.default_rng(seed)
    at = np.arange(n)
    data = {
        "a": [f"a{k + 1}" for k in at % 3],
        "b": [f"b{k + 1}" for k in at // 3 % 2],
        "c": [f"c{k + 1}" for k in at // 6 % 3],
        "d": [f"d{k + 1}" for k in at // 18 % 2],
        "k": at % 3 + 1,
        "flag": at // 2 % 2 == 0,
        "Intercept!": rng.normal(size=n),
        "weird column!": rng.normal(size=n),
        "weight.in.kg": rng.uniform(1, 2, n),
    }
    data |= {name: rng.uniform(0, 1, n) for name in ("x", "x1", "x2", "x3", "x4")}
    data["y"] = data["x"] + (np.array(data["a"]) == "a2") + rng.normal(size=n)
    return pd.DataFrame(data)


def inside(data: pd.DataFrame) -> pd.DataFrame:
    """Return new rows between the ends of the old ones, where B-splines are defined."""
    new = data.iloc[[40, 7, 23, 58, 11]].reset_index(drop=True)
    numbers = [name for name in new.columns if new[name].dtype.kind == "f"]
    return new.assign(**{name: 0.5 * (new[name] + data[name].mean()) for name in numbers})


def fitted(formula: str, data: pd.DataFrame | None = None, *, given: dict[str, Any] | None = None, **more: Any) -> Lmer:
    """Return a model fitted without a word; its warnings are in `.warnings`.

    Args:
        formula: of a mixed model.
        data: by default the trial.
        given: further arguments of `Lmer`.
        **more: arguments of `fit`, and of `Lmer`.
    """
    own = {name: more.pop(name) for name in ("family", "link", "weights", "offset") if name in more}
    model = Lmer(formula, trial() if data is None else data, **(given or {}), **own)
    model.fit(**{"summarize": False, "no_warnings": True, **more})
    return model


def regression(
    formula: str, data: pd.DataFrame | None = None, *, given: dict[str, Any] | None = None, **fit: Any
) -> Lm:
    """Return a regression fitted without a word; arguments as those of `fitted`."""
    model = Lm(formula, trial() if data is None else data, **(given or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model.fit(summarize=False, **fit)
    return model


def fit(model: Any, **how: Any) -> Any:
    """Return a model once it is fitted; it is made where its formula's names are known."""
    model.fit(summarize=False, **how)
    return model


def lost(values: np.ndarray) -> list[int]:
    """Return the rows without a value."""
    return np.flatnonzero(np.isnan(values)).tolist()


@cache
def _patchy() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    n = 140
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.uniform(0, 2, n), "u": rng.normal(3, 2, n)})
    frame["g"] = rng.choice(["a", "b", "c"], n)
    frame["h"] = rng.choice(["k", "l"], n)
    frame["cl"] = rng.integers(0, 18, n)
    frame["w"] = rng.uniform(0.3, 3, n)
    frame["trials"] = rng.integers(1, 9, n)
    frame["shift"] = rng.normal(0, 0.3, n)
    spread = np.where(frame.g == "a", 0.5, np.where(frame.g == "b", 1.5, 3.0))
    frame["y"] = 2 + 0.7 * frame.x - 0.4 * frame.z + (frame.g == "b") + spread * rng.normal(size=n)
    rate = np.exp(0.4 + 0.3 * frame.x - 0.2 * frame.z)
    frame["counts"] = rng.poisson(rate)
    frame["many"] = rng.negative_binomial(1.7, 1.7 / (1.7 + 3 * rate))
    frame["hits"] = rng.binomial(frame.trials, special.expit(0.5 * frame.x))
    frame["share"] = frame.hits / frame.trials
    frame["binary"] = rng.binomial(1, special.expit(0.8 * frame.x - 0.3))
    frame["positive"] = rng.gamma(3, rate / 3)
    frame["waiting"] = rng.wald(rate, 2.0)
    for name, divisor, rest in (("y", 31, 4), ("x", 37, 2), ("g", 41, 7)):
        frame.loc[frame.index % divisor == rest, name] = None
    return frame


def patchy() -> pd.DataFrame:
    """Return 140 rows with gaps in y, x and g, in 18 clusters `cl`, with outcomes of every family.

    The variance of y differs between the levels of g. Outcomes: `y`, `counts`, `many` (nbinom), `hits` of `trials`,
    `share`, `binary`, `positive` (gamma), `waiting` (inverse gaussian); `w` are weights, `shift` an offset.
    """
    return _patchy().copy()


NATIVE = {
    "plain": ("y ~ x + z", {}, {}),
    "sloped weighted": ("y ~ g * x", {}, {"weights": "w"}),
    "spline": ("y ~ bs(z, df=5) + x", {}, {}),
    "binary": ("binary ~ g + x", {"family": "binomial"}, {}),
    "counted": ("cbind(hits, trials - hits) ~ g + x", {"family": "binomial"}, {}),
    "share": ("share ~ g + x", {"family": "binomial"}, {"weights": "trials"}),
    "poisson": ("counts ~ x + z", {"family": "poisson", "offset": "shift"}, {}),
    "weighted poisson": ("counts ~ h + x", {"family": "poisson"}, {"weights": "w"}),
    "nbinom": ("many ~ x + z", {"family": "nbinom"}, {}),
    "gamma": ("positive ~ g + x", {"family": "gamma", "link": "log"}, {}),
    "wald": ("waiting ~ x", {"family": "inverse_gaussian", "link": "log"}, {}),
    "gaussian log": ("positive ~ x + z", {"link": "log"}, {"weights": "w"}),
}
"""Name to a regression over the patchy rows: formula, arguments of `Lm`, of `fit`; weights are a column's numbers."""


def native(name: str, **fit: Any) -> Lm:
    """Return a regression of the table, fitted without a word."""
    formula, given, how = NATIVE[name]
    how = {key: patchy()[column] for key, column in how.items()}
    return regression(formula, patchy(), given=given, **how, **fit)


def close(found: Any, expected: Any, rtol: float = 1e-9, scale: float | None = None) -> None:
    """Compare to `rtol` of the size of the whole, by default its largest number, since single ones may be zero."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    size = np.nanmax(np.abs(expected), initial=1e-12) if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)
