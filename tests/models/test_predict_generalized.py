"""Limits of a generalized model's predictions: by the delta method, and as quantiles of outcomes drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from henderson import GENERALIZED, data, lambda_, model, parts, variances
from samples import fitted
from scipy import special, stats

from pymer4.errors import DataError, ModelWarning, OptionError

pytestmark = pytest.mark.r

generalized = pytest.mark.parametrize("case", GENERALIZED)
both_ways = pytest.mark.parametrize("use_rfx", [False, True])

INVERSE = {  # the mean and its derivative
    "log": (np.exp, np.exp),
    "logit": (special.expit, lambda eta: special.expit(eta) * (1 - special.expit(eta))),
    "probit": (stats.norm.cdf, stats.norm.pdf),
    "inverse": (lambda eta: 1 / eta, lambda eta: 1 / eta**2),
    "sqrt": (lambda eta: eta**2, lambda eta: 2 * np.abs(eta)),
}


def size_of_nbinom() -> float:
    return float(inside("function(m) lme4::getME(m, 'glmer.nb.theta')", model("nbinom").model_obj)[0])


# w (d mu / d eta)^2 / V(mu) of the rows of the fit
WORKING = {
    "poisson": lambda mu, frame: mu,
    "offset": lambda mu, frame: mu,
    "sqrt": lambda mu, frame: np.full(len(mu), 4.0),
    "trials": lambda mu, frame: frame.trials * mu * (1 - mu),
    "share": lambda mu, frame: frame.trials * mu * (1 - mu),
    "probit": lambda mu, frame: frame.trials * stats.norm.pdf(stats.norm.ppf(mu)) ** 2 / (mu * (1 - mu)),
    "gamma": lambda mu, frame: np.ones(len(mu)),
    "gamma inverse": lambda mu, frame: mu**2,
    "time": lambda mu, frame: frame.w / mu,
    "nbinom": lambda mu, frame: mu / (1 + mu / size_of_nbinom()),
    "gaussian log": lambda mu, frame: mu**2,
}


@generalized
@both_ways
def test_confidence_limits_of_a_generalized_model(case, use_rfx):
    fit, frame, found = model(case), data(case), dict(parts(case))
    found["weights"] = np.asarray(WORKING[case](found["mu"], frame)) * (found["scale"] / found["sigma"]) ** 2
    linked = fit.predict(frame, use_rfx=use_rfx, pred_type="link", interval="confidence")
    assert linked.attrs == {"interval": "confidence", "conf_level": 0.95, "ddf": "asymptotic", "scale": "link"}
    if use_rfx:
        none = np.zeros_like(found["Z"])
        se = found["scale"] * np.sqrt(variances(found, found["theta"], found["X"], found["Z"], none))
    else:
        se = np.sqrt(np.einsum("ij,jk,ik->i", found["X"], fit.vcov.to_numpy(), found["X"]))
    # lme4 keeps the linear predictor to the tolerance of its iterations, 1e-7
    np.testing.assert_allclose(linked["SE"], se, rtol=1e-6 if use_rfx else 1e-10)
    np.testing.assert_allclose(linked["97.5_ci"] - linked["Estimate"], stats.norm.ppf(0.975) * linked["SE"], rtol=1e-10)
    answered = fit.predict(frame, use_rfx=use_rfx, interval="confidence")
    np.testing.assert_array_equal(answered["Estimate"], fit.predict(frame, use_rfx=use_rfx))
    if use_rfx:
        np.testing.assert_allclose(answered["Estimate"], fit.fits, rtol=1e-6)
    mean, slope = INVERSE[fit.link]
    np.testing.assert_allclose(answered["Estimate"], mean(linked["Estimate"]), rtol=1e-12)
    np.testing.assert_allclose(answered["SE"], slope(linked["Estimate"]) * linked["SE"], rtol=1e-10)
    same_side = (linked["2.5_ci"] > 0) | (fit.link not in ("sqrt", "inverse"))
    ends = np.sort(np.column_stack([mean(linked["2.5_ci"]), mean(linked["97.5_ci"])]), axis=1)
    np.testing.assert_allclose(answered.loc[same_side].iloc[:, 2:], ends[same_side], rtol=1e-12)
    assert (answered["2.5_ci"] <= answered["Estimate"]).all()
    assert (answered["Estimate"] <= answered["97.5_ci"]).all()


def test_an_offset_counts_on_the_link_scale(trial):
    fit, moved = model("offset"), trial.assign(o=trial.o + 1)
    np.testing.assert_allclose(fit.predict(trial, use_rfx=True), fit.fits, rtol=1e-9)
    np.testing.assert_allclose(fit.predict(moved), np.e * fit.predict(trial), rtol=1e-12)
    shifted = fit.predict(moved, pred_type="link") - fit.predict(trial, pred_type="link")
    np.testing.assert_allclose(shifted, 1, rtol=1e-12)


def test_limits_across_the_pole_of_a_link():
    """A mean of 1 / eta is unbounded where eta may be 0, one of eta^2 is 0 there."""
    reciprocal, root = fitted("size ~ x + (1 | g)", family="gamma"), model("sqrt")
    grid = pd.DataFrame({"x": np.linspace(-3, 30, 40)})
    linked = reciprocal.predict(grid, pred_type="link", interval="confidence")
    across = (linked["2.5_ci"] < 0) & (linked["Estimate"] > 0)
    assert across.any()
    answered = reciprocal.predict(grid, interval="confidence")
    assert np.isinf(answered.loc[across, "97.5_ci"]).all()
    np.testing.assert_allclose(answered.loc[across, "2.5_ci"], 1 / linked.loc[across, "97.5_ci"], rtol=1e-12)
    grid = pd.DataFrame({"x": np.linspace(-30, 3, 40)})
    linked, answered = (root.predict(grid, pred_type=scale, interval="confidence") for scale in ("link", "response"))
    across = linked["2.5_ci"] * linked["97.5_ci"] < 0
    assert across.any()
    assert (answered.loc[across, "2.5_ci"] == 0).all()
    ends = linked.loc[across].iloc[:, 2:].abs().max(axis=1) ** 2
    np.testing.assert_allclose(answered.loc[across, "97.5_ci"], ends, rtol=1e-12)


# Prediction limits


def cumulative(case: str, at: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Return P(outcome <= at) at each linear predictor; arrays of shape (rows, points)."""
    fit, phi = model(case), parts(case)["sigma"] ** 2
    mu = INVERSE[fit.link][0](eta)
    w, n = (data(case)[name].to_numpy()[:, None] for name in ("w", "trials"))
    if fit.family == "nbinom":
        size = size_of_nbinom()
        return stats.nbinom.cdf(at, size, size / (size + mu))
    return {
        "poisson": lambda: stats.poisson.cdf(at, mu),
        "binomial": lambda: stats.binom.cdf(np.rint(at * n), n, mu),
        "gamma": lambda: stats.gamma.cdf(at, 1 / phi, scale=mu * phi),
        "inverse_gaussian": lambda: stats.invgauss.cdf(at, mu * phi / w, scale=w / phi),
        "gaussian": lambda: stats.norm.cdf(at, mu, np.sqrt(phi)),
    }[fit.family]()


NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


@generalized
@both_ways
def test_prediction_limits_are_quantiles_of_new_outcomes(case, use_rfx):
    """The distribution function at the limits, integrated over the linear predictor, against that of 2,000 draws."""
    fit, frame, found = model(case), data(case), parts(case)
    table = fit.predict(frame, use_rfx=use_rfx, interval="prediction", seed=5)
    np.testing.assert_array_equal(table["Estimate"], fit.predict(frame, use_rfx=use_rfx))
    linked = fit.predict(frame, use_rfx=use_rfx, pred_type="link", interval="confidence")
    loose = found["scale"] ** 2 * ((found["Z"] @ lambda_(found, found["theta"])) ** 2).sum(axis=1)
    sd = np.sqrt(linked["SE"].to_numpy() ** 2 + (0 if use_rfx else loose))
    eta = linked["Estimate"].to_numpy()[:, None] + sd[:, None] * NODES
    weight = np.broadcast_to(NODE_WEIGHTS / NODE_WEIGHTS.sum(), eta.shape)
    if fit.link == "inverse":
        weight = weight * (eta > 0)
        weight, eta = weight / weight.sum(axis=1, keepdims=True), np.maximum(eta, 1e-9)
    for limit, share in (("2.5_ci", 0.025), ("97.5_ci", 0.975)):
        at = table[limit].to_numpy()[:, None]
        reached = (cumulative(case, at, eta) * weight).sum(axis=1)
        # The standard error of a share of 2,000 draws is 0.0035; a limit is the least outcome that reaches its share.
        if fit.family in ("poisson", "binomial", "nbinom"):
            unit = 1 / frame.trials.to_numpy()[:, None] if fit.family == "binomial" else 1
            before = (cumulative(case, at - unit + 1e-9, eta) * weight).sum(axis=1)
            assert (reached >= share - 5 * 0.0035).all()
            assert (before <= share + 5 * 0.0035).all()
        else:
            assert np.abs(reached - share).max() < 5 * 0.0035
            assert abs((reached - share).mean()) < 0.001


@pytest.mark.parametrize("case", ["poisson", "trials", "gamma"])
def test_a_seed_repeats_the_simulation(case, trial):
    first, again, other = (model(case).predict(trial.head(20), interval="prediction", seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["SE"].equals(other["SE"])
    assert first.attrs["ddf"] == "asymptotic"


def test_counts_are_counts_whatever_their_weight(trial):
    fit = fitted("count ~ x + (1 | g)", family="poisson", weights="trials")
    table = fit.predict(trial.drop(columns="trials").head(5), interval="prediction", seed=1)
    assert np.array_equal(table.iloc[:, 2:], np.rint(table.iloc[:, 2:]))


def test_trials_are_what_the_outcome_adds_up_to(trial):
    fit, frame, how = model("trials"), trial.head(30), {"use_rfx": True, "interval": "prediction", "seed": 9}
    table = fit.predict(frame, **how)
    for rows in (frame.drop(columns="hits"), frame.assign(hits=np.nan)):
        pd.testing.assert_frame_equal(table, fit.predict(rows, **how))
    share = model("share").predict(frame.drop(columns="share"), **how)
    pd.testing.assert_frame_equal(table, share, atol=1e-6)
    for rows, words in (
        (frame.drop(columns="trials"), "'trials'"), (frame.assign(hits="many"), "'hits' holds text"),
        (frame.assign(trials=2.5), "whole number"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            fit.predict(rows, interval="prediction")
    gap = fit.predict(frame.assign(trials=[np.nan, *frame.trials[1:]]), interval="prediction", seed=9)
    assert gap["Estimate"].notna().all()
    assert list(np.flatnonzero(gap["SE"].isna())) == [0]


def test_more_trials_give_narrower_limits(trial):
    row, fit = trial.head(1), model("share")
    few, more, many = (
        float(fit.predict(row.assign(trials=n), use_rfx=True, interval="prediction", seed=1)["SE"].iloc[0])
        for n in (2, 20, 2000)
    )
    assert few > more > many
    np.testing.assert_allclose(many, fit.predict(row, use_rfx=True, interval="confidence")["SE"].iloc[0], rtol=0.1)


# What is refused


@pytest.mark.parametrize("outcome", ["yes", "cbind(yes, 1 - yes)"])
def test_an_outcome_of_0_or_1_has_no_prediction_interval(outcome, trial):
    fit = fitted(f"{outcome} ~ x + (1 | g)", family="binomial")
    with pytest.raises(OptionError, match=r"0 or 1.*interval='confidence'"):
        fit.predict(trial, interval="prediction")
    assert fit.predict(trial, use_rfx=True, interval="confidence").iloc[:, 2:].stack().between(0, 1).all()


def test_means_that_a_family_does_not_have_are_told(trial):
    fit = fitted("size ~ x + (1 | g)", family="gamma")
    with pytest.warns(ModelWarning, match="left out"):
        fit.predict(trial.head(2).assign(x=[1.0, 12.0]), interval="prediction", seed=1)


def test_outcomes_have_no_link_scale(trial, sleep):
    with pytest.raises(OptionError, match="pred_type='response'"):
        model("poisson").predict(trial, pred_type="link", interval="prediction")
    table = model("slopes").predict(sleep, pred_type="link", interval="prediction")
    assert table.attrs["scale"] == "link"
