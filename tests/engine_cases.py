"""Linear mixed models that both engines fit, and how far apart they come out."""

from __future__ import annotations

import warnings
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from samples import dataset, trial, with_holes

from pymer4 import Lmer
from pymer4.errors import ModelWarning
from pymer4.models.lmer_native import NativeFit
from pymer4.rbridge import bridge

LOG = "log_likelihood"
TIGHT = {"optCtrl": {"xtol_abs": 1e-12, "ftol_abs": 1e-12}}

REFERENCE = [
    ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
    ("sleepstudy", "log(Reaction) ~ poly(Days, 2) + (1 | Subject)"),
    ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ("Pastes", "strength ~ 1 + (1 | batch / cask)"),
    ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
    ("cake", "angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate)"),
    ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
    ("Dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ("carrots", "Preference ~ sens2 + Homesize + (1 + sens2 | Consumer)"),
    ("carrots", "Preference ~ sens1 * Homesize * Age + (sens2 || Consumer) + (1 | Product)"),
    ("ham", "`Informed.liking` ~ Gender + Information * Product + (1 | Consumer) + (1 | Consumer:Product)"),
    ("TVbo", "Coloursaturation ~ TVset * Picture + (1 | Assessor) + (1 | Assessor:TVset)"),
    ("TVbo", "Sharpness ~ TVset + (Picture | Assessor)"),
]
"""Data sets of R and formulas."""

TRIAL = [
    ("y ~ x * cond + z + (x | g) + (1 | h)", {}),
    ("y ~ x + (x | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x + flag + dose + offset(z) + (1 | h) + (0 + x | g)", {}),
    ("v ~ x + (x + o + w | g) + (s | h)", {}),
    ("y ~ 0 + cond + (0 + cond | h)", {}),
    ("s ~ x + I(2 * x) + (x | g)", {}),
    ("y ~ scale(x) + exp(s) + (1 | g / h)", {}),
    ("y ~ x + (1 | g) + (1 | cond)", {"weights": "w"}),
]
"""Formulas for the trial, with its gaps, and arguments of the model."""


def fitted(formula: str, data: pd.DataFrame, engine: str, given: dict[str, Any] | None = None, **options: Any) -> Lmer:
    """Return a fit by an engine, without a word."""
    model = Lmer(formula, data, **given or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model.fit(engine=engine, summarize=False, **options)
    return model


def cases() -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Return the formulas, data and arguments of all models."""
    found: list[Any] = [(formula, dataset(name), {}) for name, formula in REFERENCE]
    return [*found, *((formula, with_holes(trial()), given) for formula, given in TRIAL)]


def random_case(seed: int) -> tuple[str, pd.DataFrame]:
    """Return a formula and data: one or two factors, nested or crossed; slopes, variances of 0."""
    rng = np.random.default_rng(seed)
    n, q = int(rng.integers(80, 400)), int(rng.integers(3, 20))
    data = pd.DataFrame({"x": rng.normal(rng.choice([0, 1]), 1, n), "z": rng.normal(size=n) * rng.choice([1, 100])})
    data["c"] = rng.choice(list("abc"), n)
    data["g"], data["h"] = rng.integers(0, q, n), rng.integers(0, int(rng.integers(2, 8)), n)
    scale = rng.choice([0, 0.3, 1, 5], 3)
    u = rng.normal(size=(3, 20)) * scale[:, None]
    x = data.x - data.x.mean()
    data["y"] = x + u[0, data.g] + u[1, data.g] * x + u[2, data.h] + rng.normal(size=n)
    fixed = rng.choice(["x", "x + c", "x * c", "z + c", "1"])
    random = rng.choice(
        ["(1 | g)", "(x | g)", "(x || g)", "(1 | g) + (1 | h)", "(x | g) + (1 | h)", "(1 | h / g)", "(0 + c | g)"]
    )
    return f"y ~ {fixed} + {random}", data


def apart(model: Lmer) -> dict[str, float]:
    """Return how far a native fit's numbers are from those of R at its theta: differences over the largest number.

    Those of df are relative; what p and limits are made of is among the rest.
    """
    with mock.patch.object(NativeFit, "satterthwaite", lambda fit: None):  # R's object would hold the engine's own
        by_r = model._built()
    told = bridge.call("describe", model=by_r, ddf=model._options.ddf, level=model._options.conf_level).value
    ours, fixed = model._fit.fixed, told["fixed"]
    assert list(ours.index) == list(fixed.index)
    assert model.grps == dict(zip(told["groups"]["names"], map(int, told["groups"]["sizes"]), strict=True))
    ranef = model.ranef if isinstance(model.ranef, list) else [model.ranef]
    for frame, theirs in zip(ranef, told["ranef"].values(), strict=True):
        assert list(frame.index) == list(theirs.index) and list(frame.columns) == list(theirs.columns)
    assert list(model.ranef_var.index) == list(told["variances"]["group"])
    assert list(model.ranef_var["Name"][:-1]) == list(told["variances"]["term"][:-1])
    correlations = told["correlations"]
    if model.ranef_corr is not None:
        assert list(model.ranef_corr.iloc[:, :2].itertuples(index=False, name=None)) == list(
            correlations[["first", "second"]].itertuples(index=False, name=None)
        )
    likelihood = told["statistics"]
    pairs = {
        "estimates": (ours["estimate"], fixed["estimate"]),
        "limits": (ours[["lower", "upper"]], fixed[["lower", "upper"]]),
        "SE": (ours["se"], fixed["se"]),
        "vcov": (model.vcov, told["vcov"]),
        "variances": (model.ranef_var["Var"], told["variances"]["variance"]),
        "correlations": ([] if model.ranef_corr is None else model.ranef_corr["Corr"], correlations["correlation"]),
        "random effects": (np.hstack([f.ravel() for f in map(np.asarray, ranef)]),
                           np.hstack([np.asarray(f).ravel() for f in told["ranef"].values()])),
        "fits": (model.fits[model._used], told["fits"]),
        "residuals": (model.residuals[model._used], told["residuals"]),
        "likelihood": ([model.AIC, model.BIC, model.logLike], [likelihood[n] for n in ("AIC", "BIC", LOG)]),
    }  # fmt: skip
    found = {name: _relative(*pair) for name, pair in pairs.items()}
    with np.errstate(invalid="ignore"):
        found["df"] = float(np.nan_to_num(np.abs(ours["df"] / fixed["df"] - 1)).max(initial=0.0))
    return found


def _relative(found: Any, wanted: Any) -> float:
    found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    there = np.isfinite(wanted)
    assert (np.isfinite(found) == there).all(), (found, wanted)
    return float(np.abs(found - wanted)[there].max(initial=0.0) / max(np.abs(wanted[there]).max(initial=0.0), 1e-300))
