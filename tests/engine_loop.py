"""Simulated responses through the engine side by side, and one after another through lme4's deviance function in R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from against_r import inside, rinterface
from engine_cases import fitted
from samples import dataset, trial

from pymer4 import Lmer
from pymer4.infer import mixed_replicates
from pymer4.work import seed_stream

LOOPED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sleepstudy": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {}),
    "sleepstudy by ML": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {"REML": False}),
    "Penicillin": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", {}),
    "Pastes": ("Pastes", "strength ~ 1 + (1 | batch / cask)", {}),
    "trial": ("trial", "y ~ x + (x | g)", {"weights": "w", "offset": "o"}),
}
"""Models by name: data, formula, arguments of the model or the fit."""

# A deviance function for each response: `refit` of lme4 1.1-31 has the wrong criterion under REML. `stopped` is where
# the optimizer ends at tolerances of 1e-12. `settled` is where Newton's steps lead from there, by differences of R's
# deviance of fourth order. A theta on its bound, but for what costs 1e-9, stays there, unless the deviance falls at
# 0.01 or 0.1, where the optimizer then starts again. Of each: deviance, theta, sigma, beta; then R's deviance at
# `mine`, and its gradients at the settled theta and at mine.
_LOOP = """function(m, Y, mine) {
  stop_at <- list(xtol_abs = 1e-12, ftol_abs = 1e-12)
  formula <- formula(m)
  place <- list2env(as.list(environment(formula)), parent = globalenv())
  formula[[2]] <- quote(.y)
  environment(formula) <- place
  call <- m@call
  call[[1]] <- quote(lme4::lFormula)
  call$formula <- formula
  call$control <- NULL
  gradient <- function(f, x) vapply(seq_along(x), function(j) {
    h <- replace(0 * x, j, 1e-3)
    (8 * (f(x + h) - f(x - h)) - f(x + 2 * h) + f(x - 2 * h)) / 12e-3
  }, 0)
  t(vapply(seq_len(ncol(Y)), function(i) {
    place$data$.y <- Y[, i]
    parts <- eval(call, place)
    devfun <- do.call(lme4::mkLmerDevfun, parts)
    rho <- environment(devfun)
    df <- nrow(parts$fr) - parts$REML * ncol(parts$X)
    above <- if (is.null(rho$upper)) rep(Inf, length(rho$lower)) else rho$upper
    value <- function(par) devfun(par + 0)
    told <- function(par) {
      deviance <- value(par)
      c(deviance, rho$pp$theta + 0, sqrt((rho$resp$wrss() + rho$pp$sqrL(1)) / df), rho$pp$beta(1))
    }
    at <- lme4::optimizeLmer(devfun, optimizer = "nloptwrap", control = stop_at, calc.derivs = FALSE)$par + 0
    stopped <- told(at)
    for (j in which(rho$lower == 0 & at < 1e-2)) {
      zero <- replace(at, j, 0)
      if (value(zero) <= value(at) + 1e-9) at <- zero
      for (away in c(0.01, 0.1)) if (value(replace(at, j, away)) < value(at)) {
        at <- lme4::nloptwrap(replace(at, j, away), value, rho$lower, above, control = stop_at)$par + 0
      }
    }
    free <- !(rho$lower == 0 & at == 0)
    part <- function(x) value(replace(at, free, x))
    if (any(free)) for (step in 1:6) {
      x <- at[free]
      H <- vapply(seq_along(x), function(j) {
        h <- replace(0 * x, j, 1e-3)
        (gradient(part, x + h) - gradient(part, x - h)) / 2e-3
      }, x)
      move <- solve(H, gradient(part, x))
      if (part(x - move) > part(x) + 1e-9) break
      at[free] <- x - move
      if (max(abs(move)) < 1e-8) break
    }
    own <- if (is.null(rho$mkPar)) mine[, i] else rho$mkPar(mine[, i])
    c(stopped, told(at), value(own), ifelse(free, gradient(value, at), 0), ifelse(free, gradient(value, own), 0))
  }, numeric(2 * (2 + nrow(mine) + length(lme4::fixef(m))) + 1 + 2 * nrow(mine))))
}"""


def beside_loop(model: Lmer, count: int, seed: int = 1) -> pd.DataFrame:
    """Return how far responses drawn from a model are apart in the engine and in R's loop, a row a response.

    Columns:
        stopped, settled, own: deviance of the engine less that of R, where R's optimizer ends, after Newton's steps on
            R's deviance function, and at the engine's own theta.
        theta_stopped, theta, sigma, b: largest differences where R stopped, and at its optimum: of theta over its
            largest entry, of sigma relative, of b over standard errors.
        gradient: the largest entry of R's gradient at the engine's theta.
        singular: whether the engine's fit is.
    """
    refits = model._on_engine()
    native, offset = refits.model, refits.design.offset
    Y = mixed_replicates.simulated(native, np.random.default_rng(seed_stream(seed, count).astype(np.uint32)), count)
    fit = mixed_replicates._of_two_starts(native.blocks, Y, native.theta)
    given = _matrix(Y if offset is None else Y + offset[:, None]), _matrix(fit.theta.T)
    told = np.asarray(inside(_LOOP, model.model_obj, *given))
    m, p = fit.theta.shape[1], fit.b.shape[1]
    width = 2 + m + p
    stopped, settled, rest = told[:, :width], told[:, width : 2 * width], told[:, 2 * width :]
    se = np.sqrt(np.einsum("rii->ri", fit.vcov))
    return pd.DataFrame(
        {
            "stopped": fit.deviance - stopped[:, 0],
            "settled": fit.deviance - settled[:, 0],
            "own": fit.deviance - rest[:, 0],
            "theta_stopped": _apart(fit.theta, stopped[:, 1 : 1 + m]),
            "theta": _apart(fit.theta, settled[:, 1 : 1 + m]),
            "sigma": np.abs(settled[:, 1 + m] / fit.sigma - 1),
            "b": (np.abs(settled[:, 2 + m :] - fit.b) / se).max(axis=1),
            "gradient": np.abs(rest[:, 1 + m :]).max(axis=1),
            "singular": fit.singular,
        }
    )


def looped(name: str) -> Lmer:
    """Return one of the models, fitted."""
    data, formula, given = LOOPED[name]
    options = {key: value for key, value in given.items() if key == "REML"}
    own = {key: value for key, value in given.items() if key != "REML"}
    return fitted(formula, trial() if data == "trial" else dataset(data), "native", own, **options)


def _apart(theta: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(theta - other).max(axis=1) / np.abs(theta).max(axis=1)


def _matrix(values: np.ndarray) -> Any:
    numbers = rinterface.FloatSexpVector(np.ravel(values, order="F"))
    return rinterface.baseenv["matrix"](numbers, rinterface.IntSexpVector([len(values)]))
