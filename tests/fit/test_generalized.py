"""Generalized linear models: what makes a maximum, where there is none, and the parts they are made of."""

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

ESTIMATE = 1e-9  # in standard errors: both sides iterate to the end of their digits
SAME = 1e-9  # relative
FUNCTION = 1e-13  # relative: links, variances

LINK_NAMES = sorted({link for links in NATIVE_LINKS.values() for link in links})


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
    """Return what `generalized` gets, by name; numbers of R's glm are in tests/reference/native.csv."""
    d = frame()
    X = d["X"]
    named = ["gaussian log", "binomial logit", "binomial cloglog", "gamma inverse", "gamma log", "nbinom log"]
    found = {}
    for name in named:
        (family, link), w = name.split(), d["trials"] if name.startswith("binomial") else d["w"]
        found[name] = dict(X=X, y=d[family], family=family, link=link, weights=w)
    counts = dict(X=X, y=d["nbinom"], family="nbinom", link="log", offset=d["o"], weights=d["w"])
    return found | {
        "binary": dict(X=X, y=d["binary"], family="binomial", link="logit"),
        "theta given": counts | {"theta": 1.5},
        "no intercept": counts | {"X": X[:, 1:], "has_intercept": False},
        "large counts": dict(X=X, y=np.round(1e6 * d["gamma"]), family="poisson", link="log", weights=d["w"]),
    }


@cache
def fitted(name: str):
    return generalized(**cases()[name])


@pytest.mark.parametrize("name", cases())
def test_scores_vanish_and_rows_do_not_depend_on_their_order(name):
    case, fit = cases()[name], fitted(name)
    scores = fit.scores(case["X"])
    assert fit.converged and not fit.separated and not fit.boundary
    assert np.abs(scores.sum(axis=0)).max() < 1e-10 * np.abs(scores).sum(axis=0).max()
    assert abs(fit.leverages(case["X"]).sum() - case["X"].shape[1]) < 1e-10
    order = np.random.default_rng(3).permutation(120)
    moved = generalized(**{key: v[order] if isinstance(v, np.ndarray) else v for key, v in case.items()})
    assert (np.abs(moved.b - fit.b) / fit.se).max() < ESTIMATE
    assert relative(moved.residuals, fit.residuals[order]) < SAME
    assert "theta" not in case or (fit.theta == case["theta"] and np.isnan(fit.theta_se))


def test_what_is_reported_follows_from_the_means():
    case, fit = cases()["no intercept"], fitted("no intercept")
    law, y, w = distribution("nbinom", fit.theta), case["y"], case["weights"]
    assert fit.df_resid == 118 and relative(fit.working_residuals, (y - fit.fitted) / fit.fitted) < 1e-12
    assert relative(fit.fitted, np.exp(case["X"] @ fit.b + case["offset"])) < 1e-12
    assert each([fit.deviance], [(w * law.deviance(y, fit.fitted)).sum()]) < 1e-12
    assert each([fit.null_deviance], [(w * law.deviance(y, np.exp(case["offset"]))).sum()]) < 1e-12
    assert each([fit.BIC - fit.AIC], [3 * np.log(120) - 6]) < 1e-12
    information = overdispersion.Outcomes(y, w).information(np.array([fit.theta]), fit.fitted[None])
    assert each([fit.theta_se], information**-0.5) < 1e-6


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


_SURE, _OFF = "fitted probabilities numerically 0 or 1", "did not converge"
STOPS = {  # coefficients, deviance and iterations of R 4.2's glm.fit, and what it warns of
    "complete": ([-392.1169200391915, 41.27546526775849], 4.357199043639144e-09, 25, [_OFF, _SURE]),
    "complete probit": ([-113.61767612182635, 11.959755381391565], 4.4661128104131696e-09, 25, [_OFF, _SURE]),
    "complete cloglog": ([-223.2911634074002, 22.634081350896526], 7.60758255368937e-09, 25, [_OFF, _SURE]),
    "a group without failures": ([0.0, 19.566068512730354], 13.862943674819014, 18, []),
    "a group without counts": ([0.6418538861723947, -21.944438979166417], 3.7023396993999067, 19, []),
}


@pytest.mark.parametrize("name", STOPS)
def test_separation_is_told_and_stops_where_r_stops(name):
    fit, (b, deviance, iterations, told) = generalized(*separated()[name]), STOPS[name]
    assert fit.separated and fit.iterations == iterations
    assert relative(fit.b, np.array(b)) < 1e-5  # of numbers that mean nothing, from sums that cancel
    assert abs(fit.deviance - deviance) < 1e-9
    assert len(fit.messages) == len(told) and all(part in said for part, said in zip(told, fit.messages, strict=True))


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
