"""Limits of predictions the dense way: Henderson's equations as they stand, Satterthwaite's df by complex steps."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from against_r import inside
from cases import rows_of
from samples import fitted, trial
from scipy import stats

from pymer4 import Lmer

SOLVED = 1e-10  # relative, SE: two ways to solve one system
LIMITS = 1e-7  # in SE: df come from derivatives by differences, here from complex steps

CODED = {"factors": {"cond": {"c_rest": {"C": 1, "a": -0.5, "b": -0.5}, "a_b": {"a": 1, "b": -1, "C": 0}}}}
ARRAYS = {"weights": trial()["w"].to_numpy(), "offset": trial()["o"].to_numpy()}
LINEAR: dict[str, tuple[str, str, dict[str, Any]]] = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}),
    "ml": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {"REML": False}),
    "uncorrelated": ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {}),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", {}),
    "nested": ("strength ~ 1 + (1 | batch / cask)", "Pastes", {}),
    "both": ("y ~ x * cond + (x | g) + (1 | h)", "trial", {}),
    "weighted": ("y ~ x + cond + (1 | g) + (1 | h)", "trial", {"weights": "w", "offset": "o"}),
    "arrays": ("y ~ x + (1 | g)", "trial", ARRAYS),
    "functions": ("log(pos) ~ poly(x, 2) + scale(o) + offset(w) + (scale(x) | g)", "trial", {}),
    "coded": ("y ~ cond + (cond | g)", "trial", CODED),
    "aliased": ("y ~ x + I(2 * x) + (x | g)", "trial", {}),
    "no fixed part": ("y ~ 0 + (1 + x | g)", "trial", {}),
    "no intercepts": ("y ~ 0 + cond + (0 + x | g) + (1 | h:cond)", "trial", {}),
    "holes": ("y ~ x + (x | g)", "holes", {}),
    "ranks": ("y ~ x + (1 | g)", "trial", {"rank": True}),
    "permuted": ("y ~ x + (1 | g)", "trial", {"permute": 5, "seed": 1}),
    "singular": ("o ~ x + (x | g)", "trial", {}),
}
GENERALIZED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "poisson": ("count ~ x + cond + (1 | g) + (1 | h)", "trial", {"family": "poisson"}),
    "offset": ("count ~ x + (1 | g)", "trial", {"family": "poisson", "offset": "o"}),
    "sqrt": ("count ~ x + (1 | g)", "trial", {"family": "poisson", "link": "sqrt"}),
    "trials": ("cbind(hits, trials - hits) ~ x + (1 | g)", "trial", {"family": "binomial"}),
    "share": ("share ~ x + (1 | g)", "trial", {"family": "binomial", "weights": "trials"}),
    "probit": ("share ~ x + (1 | g)", "trial", {"family": "binomial", "weights": "trials", "link": "probit"}),
    "gamma": ("size ~ x + (1 | g)", "trial", {"family": "gamma", "link": "log"}),
    "gamma inverse": ("size ~ cond + (1 | g)", "trial", {"family": "gamma"}),
    "time": ("time ~ cond + (1 | g)", "trial", {"family": "inverse_gaussian", "link": "log", "weights": "w"}),
    "nbinom": ("spread ~ x + (1 | g)", "trial", {"family": "nbinom"}),
    "gaussian log": ("pos ~ cond + (1 | g)", "trial", {"family": "gaussian", "link": "log"}),
}

_PARTS = """function(m) {
  Lind <- lme4::getME(m, "Lambdat")
  Lind@x <- as.numeric(lme4::getME(m, "Lind"))
  list(X = unname(as.matrix(lme4::getME(m, "X"))), Z = unname(as.matrix(lme4::getME(m, "Z"))),
       parameter = unname(as.matrix(Matrix::t(Lind))), theta = lme4::getME(m, "theta"), sigma = sigma(m),
       scale = if (isTRUE(attr(lme4::VarCorr(m), "useSc"))) sigma(m) else 1,
       weights = if (lme4::isLMM(m)) weights(m) else as.vector(m@resp$sqrtXwt)^2,
       varpar = if (is(m, "lmerModLmerTest")) m@vcov_varpar, mu = fitted(m))
}"""


@cache
def data(name: str) -> pd.DataFrame:
    """Return the data of a case; tests read them."""
    return rows_of((LINEAR | GENERALIZED)[name][1])


@cache
def model(name: str) -> Lmer:
    """Return a case fitted once for the whole run; tests read it."""
    formula, _, given = (LINEAR | GENERALIZED)[name]
    return fitted(formula, data(name), **given)


@cache
def parts(name: str) -> dict[str, Any]:
    """Return the model matrices and parameters of a fitted case."""
    found = inside(_PARTS, model(name).model_obj)
    found["sigma"], found["scale"] = (float(found[key][0]) for key in ("sigma", "scale"))
    found["X"] = found["X"].reshape(len(found["Z"]), -1)
    return found


def lambda_(found: dict[str, Any], theta: np.ndarray) -> np.ndarray:
    """Return the factor of the covariance of the random effects, over sigma."""
    at = found["parameter"].astype(int)
    return np.where(at > 0, theta[at - 1], 0)


def variances(found: dict, theta: np.ndarray, x: np.ndarray, known: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """Return l C l' of each row, C the inverse of Henderson's matrix, plus z G z' of `loose`; all over sigma^2.

    The matrix is written for v, u = Lambda v, so that a singular Lambda does not matter.
    """
    Lambda = lambda_(found, theta)
    whole = np.hstack([found["X"], found["Z"] @ Lambda])
    penalty = np.diag(np.r_[np.zeros(x.shape[1]), np.ones(len(Lambda))])
    C = np.linalg.inv(whole.T @ (found["weights"][:, None] * whole) + penalty)
    rows, free = np.hstack([x, known @ Lambda]), loose @ Lambda
    return np.einsum("ij,jk,ik->i", rows, C, rows) + (free * free).sum(axis=1)


def dense(name: str, x: np.ndarray, known: np.ndarray, loose: np.ndarray, residual: np.ndarray | float):
    """Return SE and Satterthwaite's df of each row, derivatives by complex steps."""
    found = parts(name)
    theta, sigma = found["theta"], found["sigma"]
    variance = sigma**2 * (variances(found, theta, x, known, loose) + residual)
    gradient = np.empty((len(x), len(theta) + 1))
    for j in range(len(theta)):
        moved = theta.astype(complex)
        moved[j] += 1e-30j
        gradient[:, j] = sigma**2 * variances(found, moved, x, known, loose).imag / 1e-30
    gradient[:, -1] = 2 * variance / sigma
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2 * variance**2 / np.einsum("ij,jk,ik->i", gradient, found["varpar"], gradient)
    return np.sqrt(variance), np.where(variance == 0, np.inf, df)


def rows_asked(name: str, use_rfx: bool, kind: str) -> tuple[np.ndarray, ...]:
    """Return x, the rows of Z that belong to groups of the fit, and those of groups that are new: the fit's rows."""
    found = parts(name)
    nothing = np.zeros_like(found["Z"])
    known = found["Z"] if use_rfx else nothing
    return found["X"], known, nothing if use_rfx or kind == "confidence" else found["Z"]


def check(table: pd.DataFrame, se: np.ndarray, df: np.ndarray, level: float = 0.95) -> None:
    """Compare SE, and limits by t."""
    np.testing.assert_allclose(table["SE"], se, rtol=SOLVED)
    half = np.where(se == 0, 0, stats.t.ppf((1 + level) / 2, df) * se)
    with np.errstate(divide="ignore", invalid="ignore"):
        for limit, expected in zip(table.columns[2:], (-half, half), strict=True):
            apart = table[limit] - table["Estimate"] - expected
            assert np.all(np.abs(apart) <= LIMITS * se + 1e-12 * table["Estimate"].abs())
