"""Generalized linear models against R's glm and MASS's glm.nb, and the parts they are made of."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import ask, each, relative

from pymer4.data.families import NATIVE_LINKS
from pymer4.errors import DataError
from pymer4.fit import overdispersion
from pymer4.fit.distributions import distribution, link_function, stirling_error
from pymer4.fit.glm import generalized
from pymer4.fit.influence import jackknife

pytestmark = pytest.mark.numeric

ESTIMATE = 1e-9  # in standard errors: R iterates to the end of its digits here
SAME = 1e-9  # relative
THETA = 1e-9  # relative; theta.ml is run to the end of its digits, see below
FUNCTION = 1e-13  # relative: links, variances

QUANTITIES = ("b", "V", "mu", "eta", "d", "r", "k", "W", "n", "x")
FAMILIES = [(family, link) for family, links in NATIVE_LINKS.items() for link in links]
R_FAMILY = {
    "gaussian": "gaussian",
    "binomial": "binomial",
    "poisson": "poisson",
    "gamma": "Gamma",
    "inverse_gaussian": "inverse.gaussian",
}


@cache
def frame() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    n = 120
    x, z = rng.uniform(0, 1, n), rng.integers(0, 2, n)
    eta = 0.4 + 0.9 * x - 0.3 * z
    trials = rng.integers(1, 8, n)
    return {
        "X": np.column_stack([np.ones(n), x, z]),
        "w": rng.uniform(0.5, 3, n),
        "o": 0.2 * rng.uniform(size=n),
        "trials": trials.astype(float),
        "gaussian": eta + 1 + 0.2 * rng.normal(size=n),
        "binomial": rng.binomial(trials, np.exp(-1.2 + 0.5 * x)) / trials,
        "binary": (rng.random(n) < 1 / (1 + np.exp(1 - 2 * x))).astype(float),
        "poisson": rng.poisson(np.exp(eta)).astype(float),
        "gamma": rng.gamma(4, np.exp(eta) / 4),
        "inverse_gaussian": rng.wald(np.exp(eta), 9),
        "nbinom": rng.negative_binomial(2, 2 / (2 + np.exp(eta + 0.7))).astype(float),
    }


def cases() -> dict[str, dict]:
    """Return what `generalized` gets, by name."""
    d = frame()
    found = {}
    for family, link in FAMILIES:
        y, w = d[family], d["trials"] if family == "binomial" else d["w"]
        found[f"{family} {link}"] = dict(X=d["X"], y=y, family=family, link=link, weights=w)
    X = d["X"]
    return found | {
        "binary": dict(X=X, y=d["binary"], family="binomial", link="logit"),
        "exposure": dict(X=X, y=d["poisson"], family="poisson", link="log", offset=d["o"]),
        "offset": dict(X=X, y=d["gamma"], family="gamma", link="log", offset=d["o"], weights=d["w"]),
        "no intercept": dict(X=X[:, 1:], y=d["poisson"], family="poisson", link="log", has_intercept=False),
        "mean": dict(X=X[:, :1], y=d["binary"], family="binomial", link="probit"),
        "offset, no intercept": dict(
            X=X[:, 1:], y=d["nbinom"], family="nbinom", link="log", offset=d["o"], has_intercept=False
        ),
        "nbinom offset": dict(X=X, y=d["nbinom"], family="nbinom", link="log", offset=d["o"]),
        "theta given": dict(X=X, y=d["nbinom"], family="nbinom", link="log", theta=1.5),
        "large counts": dict(X=X, y=np.round(1e6 * d["gamma"]), family="poisson", link="log"),
    }


# glm stops where the deviance no longer changes, which leaves half of the digits of the coefficients where link and
# distribution do not match; so it is started again from where it stopped. theta.ml stops at 1e-4 by default.
SCRIPT = r"""
suppressMessages(library(MASS))
exact <- list(epsilon = 1e-300, maxit = 60)
for (id in ids) {
  of <- function(name) get(paste0(name, id))
  X <- of("X"); y <- of("y"); w <- of("w"); o <- of("o"); theta <- of("t"); rest <- X[, -1, drop = FALSE]
  f <- if (of("i") == 0) y ~ 0 + X else if (ncol(rest)) y ~ rest else y ~ 1
  fit <- function(family, start = NULL)
    suppressWarnings(glm(f, family, weights = w, offset = o, control = exact, start = start))
  link <- make.link(links[[of("l")]])
  level <- function() c(link$linkfun(weighted.mean(y, w)), rep(0, ncol(X) - 1))
  extra <- c(NA, NA)
  if (of("f") < 5) {
    family <- get(families[[of("f") + 1]])(link = link)
    m <- tryCatch(fit(family), error = function(e) fit(family, level()))
    for (k in 1:20) m <- fit(family, coef(m))
    df <- attr(logLik(m), "df"); ll <- as.numeric(logLik(m)); dispersion <- summary(m)$dispersion
  } else {
    m <- tryCatch(fit(poisson(link)), error = function(e) fit(poisson(link), level()))
    estimated <- theta == 0
    th <- if (estimated) theta.ml(y, fitted(m), weights = w, limit = 100, eps = 1e-13) else theta
    for (k in 1:(if (estimated) 40 else 1)) {
      m <- fit(negative.binomial(th, link), coef(m))
      if (estimated) th <- theta.ml(y, fitted(m), weights = w, limit = 100, eps = 1e-13)
    }
    mu <- fitted(m); df <- length(coef(m)) + estimated; dispersion <- 1
    ll <- sum(w * dnbinom(y, size = th, mu = mu, log = TRUE))
    if (estimated) extra <- c(th, attr(th, "SE"))
  }
  put <- function(name, value) answer[[paste0(name, id)]] <<- value
  V <- summary(m, dispersion = dispersion)$cov.scaled
  put("b", coef(m)); put("V", V); put("mu", fitted(m)); put("eta", m$linear.predictors); put("d", resid(m, "deviance"))
  put("r", resid(m, "response")); put("k", resid(m, "working")); put("W", weights(m, "working"))
  put("n", c(deviance(m), m$null.deviance, m$df.residual, m$df.null, dispersion, ll, 2 * df - 2 * ll,
             log(length(y)) * df - 2 * ll, df))
  put("x", extra)
}
"""


@cache
def answers() -> dict[str, np.ndarray]:
    arrays = {"ids": np.arange(len(cases()))}
    links = sorted({link for _, link in FAMILIES})
    for k, case in enumerate(cases().values()):
        n = len(case["y"])
        arrays |= {f"X{k}": case["X"], f"y{k}": case["y"], f"i{k}": [case.get("has_intercept", True)]}
        arrays |= {f"w{k}": _or(case.get("weights"), np.ones(n)), f"o{k}": _or(case.get("offset"), np.zeros(n))}
        arrays |= {f"t{k}": [case.get("theta") or 0], f"l{k}": [links.index(case["link"]) + 1]}
        arrays |= {f"f{k}": [list(NATIVE_LINKS).index(case["family"])]}
    named = f"links <- list({', '.join(map(repr, links))}); families <- list({', '.join(map(repr, R_FAMILY.values()))})"
    return ask(named + SCRIPT, **arrays)


def _or(value, default):
    return default if value is None else value


@cache
def fitted(name: str):
    return generalized(**cases()[name])


@pytest.mark.r
@pytest.mark.parametrize("name", cases())
def test_numbers_of_glm(name):
    wanted = {key: answers()[f"{key}{list(cases()).index(name)}"] for key in QUANTITIES}
    fit, se = fitted(name), np.sqrt(np.diag(wanted["V"]))
    assert fit.converged and not fit.separated and not fit.boundary
    assert (np.abs(fit.b - wanted["b"]) / se).max() < ESTIMATE
    assert relative(fit.vcov, wanted["V"]) < SAME
    assert each(fit.se, se) < SAME
    for found, key in ((fit.fitted, "mu"), (fit.eta, "eta"), (fit.residuals, "d"), (fit.response_residuals, "r")):
        assert relative(found, wanted[key]) < SAME
    assert relative(fit.working_residuals, wanted["k"]) < SAME
    assert relative(fit.working_weights, wanted["W"]) < SAME
    numbers = [fit.deviance, fit.null_deviance, fit.df_resid, fit.df_null, fit.dispersion, fit.log_likelihood]
    assert each([*numbers, fit.AIC, fit.BIC, fit.n_parameters], wanted["n"]) < SAME
    if fit.family == "nbinom" and "theta" not in cases()[name]:
        assert each([fit.theta, fit.theta_se], wanted["x"]) < THETA
    else:
        assert fit.theta == cases()[name].get("theta")


@pytest.mark.parametrize("name", ["binomial logit", "gamma inverse", "nbinom log", "gaussian log"])
def test_scores_vanish_and_rows_do_not_depend_on_their_order(name):
    case, fit = cases()[name], fitted(name)
    scores = fit.scores(case["X"])
    assert np.abs(scores.sum(axis=0)).max() < 1e-10 * np.abs(scores).sum(axis=0).max()
    assert abs(fit.leverages(case["X"]).sum() - 3) < 1e-10
    order = np.random.default_rng(3).permutation(120)
    moved = generalized(**case | {key: case[key][order] for key in ("X", "y", "weights")})
    assert (np.abs(moved.b - fit.b) / fit.se).max() < ESTIMATE
    assert relative(moved.residuals, fit.residuals[order]) < SAME


def test_start_and_scale_of_columns_do_not_matter():
    case, fit = cases()["gamma log"], fitted("gamma log")
    started = generalized(**case, start=fit.b + 0.3)
    assert (np.abs(started.b - fit.b) / fit.se).max() < ESTIMATE
    scaled = generalized(**case | {"X": case["X"] * [1, 1e5, 1e-5]})
    assert (np.abs(scaled.b * [1, 1e5, 1e-5] - fit.b) / fit.se).max() < ESTIMATE
    # A start that gives illegal means is not used.
    inverse = generalized(**cases()["gamma inverse"], start=np.array([-5.0, 0, 0]))
    assert (np.abs(inverse.b - fitted("gamma inverse").b) / inverse.se).max() < ESTIMATE


def test_trials_apart_from_weights():
    """Prior weights beside the trials count rows, as for `cbind(successes, failures)` in R."""
    d = frame()
    how = dict(X=d["X"], y=d["binomial"], family="binomial", link="logit")
    one = generalized(**how, weights=d["trials"])
    two = generalized(**how, weights=2 * d["trials"], trials=d["trials"])
    twice = {key: np.tile(value, (2, 1) if value.ndim == 2 else 2) for key, value in how.items() if key in ("X", "y")}
    both = generalized(**how | twice, weights=np.tile(d["trials"], 2))
    assert each([two.log_likelihood], [both.log_likelihood]) < 1e-12
    assert relative(two.vcov, one.vcov / 2) < 1e-9


def test_tall_designs_take_the_other_factorisation():
    rng = np.random.default_rng(4)
    X = np.column_stack([np.ones(6000), rng.normal(size=(6000, 3))])
    y = (rng.random(6000) < 1 / (1 + np.exp(-X @ [0.2, 1, -1, 0]))).astype(float)
    tall = generalized(X, y, "binomial", "logit")
    order = np.argsort(y)
    folded = generalized(X[order][:6000], y[order], "binomial", "logit")
    assert (np.abs(tall.b - folded.b) / tall.se).max() < ESTIMATE
    assert np.abs(tall.scores(X).sum(axis=0)).max() < 1e-8


def test_jackknife_is_one_step_from_the_fits_without_a_row():
    case, fit = cases()["binary"], fitted("binary")
    without = jackknife(fit, case["X"])
    for k in (0, 50):
        left = np.delete(np.arange(120), k)
        refit = generalized(case["X"][left], case["y"][left], "binomial", "logit")
        assert np.abs(without[k] - refit.b).max() < 0.05 * np.abs(refit.b - fit.b).max()


# ------------------------------------------------------------------ where there is no maximum


def separated() -> dict[str, tuple]:
    x = np.arange(20.0)
    line, group = np.column_stack([np.ones(20), x]), np.column_stack([np.ones(20), x % 2])
    odd = np.where(x % 2, 1.0, (x % 4 == 0) * 1.0)
    counts = np.where(x % 2, 0.0, 1 + x % 3)
    return {
        "complete": (line, (x > 9.5) * 1.0, "binomial", "logit"),
        "complete probit": (line, (x > 9.5) * 1.0, "binomial", "probit"),
        "complete cloglog": (line, (x > 9.5) * 1.0, "binomial", "cloglog"),
        "a group without failures": (group, odd, "binomial", "logit"),
        "a group without counts": (group, counts, "poisson", "log"),
    }


@cache
def separated_in_r() -> dict[str, np.ndarray]:
    script = r"""
    kinds <- list(binomial("logit"), binomial("probit"), binomial("cloglog"), binomial("logit"), poisson("log"))
    for (id in 1:5) {
      told <- character()
      X <- get(paste0("X", id)); y <- get(paste0("y", id))
      m <- withCallingHandlers(glm.fit(X, y, family = kinds[[id]]),
        warning = function(w) { told <<- c(told, conditionMessage(w)); invokeRestart("muffleWarning") })
      answer[[paste0("b", id)]] <- m$coefficients
      answer[[paste0("d", id)]] <- c(m$deviance, m$iter)
      answer[[paste0("w", id)]] <- as.numeric(c(any(grepl("did not converge", told)),
        any(grepl("fitted probabilities numerically 0 or 1", told)), any(grepl("fitted rates", told))))
    }
    """
    sets = list(separated().values())
    arrays = {f"X{k + 1}": X for k, (X, *_) in enumerate(sets)}
    return ask(script, **arrays, **{f"y{k + 1}": y for k, (_, y, *_) in enumerate(sets)})


@pytest.mark.r
@pytest.mark.parametrize("name", separated())
def test_separation_is_told_and_stops_where_r_stops(name):
    k = list(separated()).index(name) + 1
    fit = generalized(*separated()[name])
    wanted, told = separated_in_r(), " ".join(fit.messages)
    assert fit.separated
    assert relative(fit.b, wanted[f"b{k}"]) < 1e-5  # of numbers that mean nothing, from sums that cancel
    assert fit.iterations == wanted[f"d{k}"][1]
    assert abs(fit.deviance - wanted[f"d{k}"][0]) < 1e-9
    found = [part in told for part in ("did not converge", "probabilities numerically 0 or 1", "fitted rates")]
    assert found == wanted[f"w{k}"].astype(bool).tolist()


def test_large_effects_are_no_separation():
    rng = np.random.default_rng(5)
    x = np.linspace(-8, 8, 400)
    y = (rng.random(400) < 1 / (1 + np.exp(-2 * x))).astype(float)
    fit = generalized(np.column_stack([np.ones(400), x]), y, "binomial", "logit")
    assert fit.converged and not fit.separated and fit.messages == ()


def test_a_maximum_at_the_edge_is_told():
    """The best line under the identity link would give a mean below 0."""
    x = np.arange(12.0)
    y = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 9, 16])
    fit = generalized(np.column_stack([np.ones(12), x]), y, "poisson", "identity")
    assert fit.boundary and "glm.fit: algorithm stopped at boundary value" in fit.messages
    assert (fit.fitted > 0).all()


def test_outcomes_that_no_coefficients_fit():
    X = np.ones((4, 1))
    with pytest.raises(DataError, match="Use another link"):
        generalized(X, np.array([-1.0, -2, -3, -2]), "gaussian", "log")
    with pytest.raises(DataError, match="independent_columns"):
        generalized(np.ones((4, 2)), np.array([1.0, 2, 3, 4]), "poisson", "log")


def test_r_warns_of_parts_of_successes_and_counts_have_no_likelihood():
    d = frame()
    fit = generalized(d["X"], np.full(120, 0.3) + 0.01 * d["binary"], "binomial", "logit")
    assert "non-integer #successes in a binomial glm!" in fit.messages
    fit = generalized(d["X"], d["poisson"] + 0.5, "poisson", "log")
    assert fit.log_likelihood == -np.inf


# ------------------------------------------------------------------ theta


def test_counts_that_vary_no_more_than_poisson_counts():
    rng = np.random.default_rng(7)
    X = np.column_stack([np.ones(200), rng.normal(size=200)])
    y = rng.binomial(6, 0.4, 200).astype(float)
    fit, poisson = (generalized(X, y, family, "log") for family in ("nbinom", "poisson"))
    assert np.isinf(fit.theta) and np.isnan(fit.theta_se) and fit.boundary and fit.converged
    assert relative(fit.b, poisson.b) < 1e-12
    assert each([fit.log_likelihood], [poisson.log_likelihood]) < 1e-14
    assert each([fit.AIC], [poisson.AIC + 2]) < 1e-14


@pytest.mark.parametrize("theta", [0.05, 0.7, 3.0, 29.0, 31.0, 300.0, 2e4])
def test_theta_is_where_the_score_vanishes(theta):
    rng = np.random.default_rng(1)
    mu = rng.uniform(50, 200, 4000)
    y = rng.poisson(mu * rng.gamma(theta, 1 / theta, 4000)).astype(float)
    counts = overdispersion.Outcomes(y, np.ones(4000))
    found = overdispersion.estimate(counts, mu)
    near = found * np.exp([-1e-5, 1e-5])
    low, high = (counts.score(np.array([value]), mu[None])[0] for value in near)
    assert low > 0 > high
    # The information is minus the slope of the score, the score the slope of the log-likelihood.
    slope = (high - low) / (near[1] - near[0])
    assert each(counts.information(found, mu[None]), [-slope]) < 1e-4
    sides = found[0] * np.array([0.999, 1.001])
    laws = [distribution("nbinom", value).log_likelihood(y, mu, np.ones(4000), 0.0) for value in [*sides, found[0]]]
    assert laws[2] >= max(laws[:2])


def test_many_thetas_at_once():
    rng = np.random.default_rng(3)
    y, mu = rng.negative_binomial(2, 0.3, 60).astype(float), rng.uniform(3, 6, (5, 60))
    w = rng.integers(0, 4, (5, 60)).astype(float)
    together = overdispersion.estimate(overdispersion.Outcomes(y, w), mu)
    alone = [overdispersion.estimate(overdispersion.Outcomes(y, w[k]), mu[k])[0] for k in range(5)]
    assert each(together, alone) < 1e-11


# ------------------------------------------------------------------ links and distributions


@cache
def links_in_r() -> dict[str, np.ndarray]:
    script = r"""
    for (name in names(etas)) {
      l <- make.link(name); e <- get(etas[[name]])
      answer[[paste0("mu", etas[[name]])]] <- l$linkinv(e); answer[[paste0("d", etas[[name]])]] <- l$mu.eta(e)
    }
    """
    named = {name: f"e{k}" for k, name in enumerate(LINK_NAMES)}
    listed = ", ".join(f"`{name}` = '{key}'" for name, key in named.items())
    return ask(f"etas <- list({listed})\n" + script, **{key: etas(name) for name, key in named.items()})


LINK_NAMES = sorted({link for _, link in FAMILIES})


def etas(name: str) -> np.ndarray:
    everywhere = np.array([-800, -40, -30.5, -29, -9, -8.2, -3, -1e-8, 0, 1e-8, 0.5, 3, 8, 9, 29, 31, 40, 650.0])
    if name in ("sqrt", "1/mu^2", "inverse"):
        return np.array([1e-8, 0.01, 0.5, 1, 3, 1e5])
    return everywhere[:-1] if name == "log" else everywhere


@pytest.mark.r
@pytest.mark.parametrize("name", LINK_NAMES)
def test_links_of_r(name):
    key, link, eta = f"e{LINK_NAMES.index(name)}", link_function(name), etas(name)
    mu, slope = link.both(eta)
    assert each(mu, links_in_r()[f"mu{key}"]) < FUNCTION
    assert each(slope, links_in_r()[f"d{key}"]) < FUNCTION
    assert np.array_equal(link.inverse(eta), mu) and np.array_equal(link.derivative(eta), slope)
    inside = (mu > 1e-6) & (mu < (1 - 1e-6 if name in NATIVE_LINKS["binomial"][:4] else 1e6))
    assert (np.abs(link.value(mu[inside]) - eta[inside]) <= 1e-8 * np.maximum(1, np.abs(eta[inside]))).all()


def test_stirling_error_is_smooth_where_the_series_begins():
    from math import lgamma, log, pi

    for x in (0.5, 1.0, 15.9, 16.0, 16.1, 40.0, 1e3):
        direct = lgamma(x + 1) - (x + 0.5) * log(x) + x - 0.5 * log(2 * pi)
        assert abs(stirling_error(np.array([x]))[0] - direct) < 1e-14 * max(1, x * log(x + 1))


@pytest.mark.parametrize("family", ["binomial", "poisson", "nbinom"])
def test_deviance_is_twice_the_loss_of_log_likelihood(family):
    law = distribution(family, 1.7)
    y, one = np.array([1.0]), np.ones(1)
    best, mu = np.array([0.99999999 if family == "binomial" else 1.0]), np.array([0.4])
    at = [law.log_likelihood(y, m, one, 0.0) for m in (best, mu)]
    assert 2 * (at[0] - at[1]) == pytest.approx(law.deviance(y, mu)[0] - law.deviance(y, best)[0], rel=1e-12)


def test_a_theta_of_infinity_is_poisson():
    y, mu = np.array([0.0, 2, 5]), np.array([1.0, 2.5, 4])
    near, limit = distribution("nbinom", 1e13), distribution("nbinom", np.inf)
    assert each(near.deviance(y, mu), limit.deviance(y, mu)) < 1e-11
    with pytest.raises(ValueError, match="theta"):
        distribution("nbinom")
