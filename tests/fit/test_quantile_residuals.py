"""Randomized quantile residuals: standard normal where the model is right, and not where it is wrong.

Fits to seeded data. A right model may fail a Kolmogorov-Smirnov test at .01 once in a hundred seeds; a wrong one has to
fail it by far.
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import ndtr

from pymer4 import Lm, Lm2, Lmer
from pymer4.errors import OptionError
from pymer4.fit.quantile_residuals import normal_scores, quantile_residuals

pytestmark = pytest.mark.numeric
r = pytest.mark.r
SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in ("nbinom", "inverse_gaussian")]
FAMILIES = ["gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "nbinom"]
LINK = {"gaussian": "log", "gamma": "log", "inverse_gaussian": "log"}
PHI, THETA = 0.2, 1.5


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def drawn(family, mean, rng, phi=PHI, theta=THETA):
    """Return one outcome of a family for each mean; phi is its dispersion, one for all or one a mean."""
    phi = np.broadcast_to(phi, mean.shape)
    return {
        "gaussian": lambda: rng.normal(mean, np.sqrt(phi)),
        "binomial": lambda: rng.binomial(1, mean),
        "poisson": lambda: rng.poisson(mean),
        "gamma": lambda: rng.gamma(1 / phi, mean * phi),
        "inverse_gaussian": lambda: rng.wald(mean, 1 / phi),
        "nbinom": lambda: rng.negative_binomial(theta, theta / (theta + mean)),
    }[family]()


def rows(family, groups=60, each=10, seed=1, spread=0.0, **how) -> pd.DataFrame:
    """Return outcomes of a family along x, whose linear predictor varies between groups by `spread`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat([f"g{i:03d}" for i in range(groups)], each)})
    frame["x"] = rng.normal(size=len(frame))
    eta = 0.6 + 0.4 * frame["x"].to_numpy() + spread * rng.normal(size=groups).repeat(each)
    mean = 1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta)
    return frame.assign(y=drawn(family, mean, rng, **how).astype(float), mean=mean)


def fit(cls, data, family, formula="y ~ x", link=None, **how):
    made = cls(formula, data, family=family, link=link or LINK.get(family), **how)
    made.fit(summarize=False, **({"no_warnings": True} if cls is Lmer else {}))
    return made


def shown(model, **how) -> np.ndarray:
    """Return the residuals of a picture in ascending order."""
    (dots,) = [line for line in model.plot_qq(**how).lines if line.get_linestyle() == "None"]
    return dots.get_ydata()


def p_of(values) -> float:
    """Return p of the Kolmogorov-Smirnov test of a standard normal distribution."""
    return stats.kstest(values, "norm").pvalue


# the residuals themselves


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_standard_normal_where_the_distribution_is_right(family):
    rng = np.random.default_rng(2)
    mean = rng.uniform(0.05, 0.95, 20_000) if family == "binomial" else rng.gamma(3, size=20_000)
    phi = PHI * rng.uniform(0.5, 2, mean.size)
    y = drawn(family, mean, rng, phi).astype(float)
    u = rng.random(mean.size)
    assert p_of(quantile_residuals(y, mean, family, u, dispersion=phi, theta=THETA)) > 0.01
    off = mean**1.1 if family == "binomial" else 1.1 * mean
    assert p_of(quantile_residuals(y, off, family, u, dispersion=phi, theta=THETA)) < 1e-6
    if family == "binomial":
        n = rng.integers(1, 12, mean.size).astype(float)
        share = rng.binomial(n.astype(int), mean) / n
        assert p_of(quantile_residuals(share, mean, family, u, trials=n)) > 0.01


def test_they_lie_within_the_jump_of_the_distribution():
    y, mean, u = np.array([0.0, 2.0, 5.0]), np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.25, 1.0])
    law = stats.poisson(mean)
    share = law.cdf(y - 1) + u * law.pmf(y)
    np.testing.assert_allclose(ndtr(quantile_residuals(y, mean, "poisson", u)), share, atol=1e-15)
    assert quantile_residuals(y, mean, "poisson", u)[0] < -37  # u = 0 at the lowest count: nothing is below


def test_far_outcomes_keep_their_digits():
    found = quantile_residuals(np.array([0.0, 60.0]), np.array([60.0, 1.0]), "poisson", np.array([0.5, 0.5]))
    above = stats.poisson(1).sf(60) + 0.5 * stats.poisson(1).pmf(60)
    np.testing.assert_allclose(found, stats.norm.ppf([0.5 * np.exp(-60), above]) * [1, -1], rtol=1e-9)
    for family in ("gamma", "inverse_gaussian"):
        high, low = quantile_residuals(np.array([50.0, 1e-3]), np.ones(2), family, np.zeros(2), dispersion=0.1)
        assert 8 < high < 40 and -40 < low < -8
    assert np.isfinite(normal_scores(np.array([0.0, 1.0]), np.array([1.0, 0.0]))).all()


def test_a_size_without_end_is_poissons_and_each_row_may_have_its_own():
    y, mean, u = np.array([0.0, 3.0, 7.0]), np.array([1.0, 2.0, 3.0]), np.full(3, 0.3)
    poisson = quantile_residuals(y, mean, "poisson", u)
    np.testing.assert_array_equal(quantile_residuals(y, mean, "nbinom", u, theta=np.inf), poisson)
    mixed = quantile_residuals(y, mean, "nbinom", u, theta=np.array([np.inf, 2.0, np.inf]))
    np.testing.assert_array_equal(mixed[[0, 2]], poisson[[0, 2]])
    assert mixed[1] == quantile_residuals(y, mean, "nbinom", u, theta=2.0)[1] != poisson[1]


# of models that need no R


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_model_looks_right(family):
    model = fit(Lm, rows(family), family)
    assert p_of(shown(model)) > 0.01
    (line,) = [line for line in model.plot_qq().lines if line.get_label() == "Normal"]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    ax = model.plot_residuals()
    assert ax.get_ylabel() == "Quantile residuals"
    np.testing.assert_array_equal(np.sort(ax.collections[0].get_offsets()[:, 1]), shown(model))
    np.testing.assert_array_equal(ax.collections[0].get_offsets()[:, 0], model.fits)


def test_another_family_or_relation_looks_wrong():
    data = rows("gamma", phi=1.0)
    assert p_of(shown(fit(Lm, data, "gamma"))) > 0.01
    assert p_of(shown(fit(Lm, data, "gaussian"))) < 1e-6
    bent = data.assign(y=data["y"] * np.exp(data["x"] ** 2))
    assert p_of(shown(fit(Lm, bent, "gamma"))) < 1e-6
    crowds = rows("nbinom")
    assert p_of(shown(fit(Lm, crowds, "poisson"))) < 1e-4


def trials(seed=4, **how) -> pd.DataFrame:
    data = rows("binomial", seed=seed, **how)
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 9, len(data))
    hits = rng.binomial(n, data["mean"])
    return data.assign(n=n.astype(float), hits=hits, misses=n - hits, share=hits / n, w=rng.uniform(0.5, 2, len(data)))


def test_every_form_of_trials_has_the_same_residuals():
    data = trials()
    counted = fit(Lm, data, "binomial", "cbind(hits, misses) ~ x")
    assert p_of(shown(counted)) > 0.01
    share = Lm("share ~ x", data, family="binomial")
    share.fit(weights="n", summarize=False)
    np.testing.assert_allclose(shown(share), shown(counted), rtol=1e-7)
    weighted = Lm("cbind(hits, misses) ~ x", data, family="binomial")
    weighted.fit(weights="w", summarize=False)
    assert p_of(shown(weighted)) > 0.01
    words = data.assign(y=np.where(data["y"] == 1, "yes", "no"))
    np.testing.assert_array_equal(shown(fit(Lm, words, "binomial")), shown(fit(Lm, data, "binomial")))


@pytest.mark.parametrize("family", ["gaussian", "gamma", "inverse_gaussian", "poisson"])
def test_weights_divide_the_dispersion_and_leave_the_distribution_of_counts(family):
    w = np.random.default_rng(5).choice([0.1, 10.0], 600)
    data = rows(family, phi=PHI / w)
    model = Lm("y ~ x", data, family=family, link="log")
    model.fit(weights=w, summarize=False)
    assert p_of(shown(model)) > 0.01
    assert family == "poisson" or p_of(shown(fit(Lm, data, family))) < 1e-3


@pytest.mark.parametrize("cls", [Lm, pytest.param(Lmer, marks=r)])
@pytest.mark.parametrize("given", ["weights", "counts"])
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_what_no_distribution_gives_leaves_deviance_residuals(cls, given):
    data = rows("poisson" if given == "counts" else "binomial", groups=6, spread=0.5)
    formula, w = "y ~ x" + " + (1 | g)" * (cls is Lmer), np.linspace(0.3, 1.7, len(data))
    if given == "counts":
        model = cls(formula, data.assign(y=data["y"] + 0.25), family="poisson")
        model.fit(summarize=False)
    else:
        model = cls(formula, data, family="binomial", **({"weights": w} if cls is Lmer else {}))
        model.fit(summarize=False, **({"weights": w} if cls is Lm else {}))
    ax = model.plot_residuals()
    assert ax.get_ylabel() == "Deviance residuals"
    found = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_array_equal(found, np.column_stack([model.fits, model.residuals]))


def test_rows_left_out_have_no_residual_and_the_others_keep_theirs():
    data = rows("poisson")
    gaps = data.copy()
    gaps.loc[[3, 77], "x"] = np.nan
    model, short = fit(Lm, gaps, "poisson"), fit(Lm, data.drop(index=[3, 77]), "poisson")
    whole = model._residuals_drawn(0).values
    assert list(np.flatnonzero(np.isnan(whole))) == [3, 77]
    np.testing.assert_array_equal(np.delete(whole, [3, 77]), short._residuals_drawn(0).values)
    assert len(shown(model)) == len(data) - 2


@pytest.mark.parametrize("cls", [Lm, pytest.param(Lmer, marks=r)])
def test_one_seed_gives_one_picture(cls):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    model = fit(cls, rows("poisson", groups=15, each=4, spread=0.4), "poisson", "y ~ x" + " + (1 | g)" * (cls is Lmer))
    first = shown(model)
    np.testing.assert_array_equal(shown(model), first)
    np.testing.assert_array_equal(shown(model, seed=0), first)
    again = (shown(model, seed=np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(*again)
    assert not np.array_equal(shown(model, seed=1), first)
    assert not np.array_equal(shown(model, seed=None), shown(model, seed=None))
    drawn_in = np.sort(model.plot_residuals(seed=5).collections[0].get_offsets()[:, 1])
    np.testing.assert_array_equal(drawn_in, shown(model, seed=5))
    with pytest.raises(OptionError, match="seed=-1"):
        model.plot_residuals(seed=-1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_regression_of_two_stages_has_its_own_distribution(family):
    phi = np.repeat([0.05, 0.4], 300)
    theta = np.repeat([0.7, 5.0], 300)
    data = rows(family, groups=2, each=300, **{"theta": theta} if family == "nbinom" else {"phi": phi})
    model = Lm2("y ~ x", data, group="g", family=family, link=LINK.get(family))
    model.fit(summarize=False)
    assert p_of(shown(model)) > 0.01
    mean, one = model.fits, []
    for name in data["g"].unique():
        alone = fit(Lm, data[data["g"] == name], family)
        u = np.random.default_rng(0).random(600)[data["g"] == name]
        phi_of = getattr(alone._estimate, "dispersion", 1.0)
        y, mu = data.loc[data["g"] == name, "y"].to_numpy(), mean[data["g"] == name]
        one.append(quantile_residuals(y, mu, family, u, dispersion=phi_of, theta=alone.theta))
    np.testing.assert_allclose(np.sort(np.concatenate(one)), shown(model), atol=1e-5)  # theta as far as it is searched


@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
@pytest.mark.parametrize("family", ["gamma", "nbinom"])
def test_a_group_without_a_regression_has_no_residuals(family):
    data = rows(family, groups=4, each=40)
    data = pd.concat([data, data.head(1).assign(g="alone")], ignore_index=True)
    model = Lm2("y ~ x", data, group="g", family=family, link="log")
    model.fit(summarize=False)
    assert len(shown(model)) == 160


# of mixed models


@r
@pytest.mark.parametrize("family", ["binomial", "poisson", "gamma", *SLOW])
def test_a_right_mixed_model_looks_right(family):
    how = {"spread": 0.2, "phi": 0.05} if family == "inverse_gaussian" else {"spread": 0.4}
    data = rows(family, groups=150, each=4, seed=11, **how)
    model = fit(Lmer, data, family, "y ~ x + (1 | g)")
    assert p_of(shown(model)) > 0.01
    ax = model.plot_residuals()
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], model.predict(data), rtol=1e-12)
    said = "Fitted probabilities" if family == "binomial" else "Fitted values"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"{said} of the population (y)", "Quantile residuals")


@r
@pytest.mark.parametrize("form", ["cbind", "weights", "binary", "offset"])
def test_places_are_those_among_outcomes_that_the_model_simulates(form):
    """With l of n outcomes below and e as large, a place lies between l / (n + 1) and (l + e + 1) / (n + 1)."""
    data = trials(groups=15, each=4)
    data["o"] = np.linspace(-1, 1, len(data))
    formula = {"cbind": "cbind(hits, misses)", "weights": "share", "binary": "y", "offset": "hits"}[form]
    how = {"weights": {"weights": "n"}, "offset": {"offset": "o"}}.get(form, {})
    model = Lmer(f"{formula} ~ x + (1 | g)", data, family="poisson" if form == "offset" else "binomial", **how)
    model.fit(summarize=False, no_warnings=True)
    draws = model.simulate(250, use_rfx=False, seed=0).to_numpy()
    y = data[{"cbind": "hits", "weights": "share", "binary": "y", "offset": "hits"}[form]].to_numpy()[:, None]
    less, equal = (draws < y - 1e-9).sum(axis=1), (np.abs(draws - y) < 1e-9).sum(axis=1)
    found = model._residuals_drawn(0)
    share = ndtr(found.values)
    assert ((share >= less / 251 - 1e-12) & (share <= (less + equal + 1) / 251 + 1e-12)).all()
    inside = (share * 251 - less) / (equal + 1)
    assert stats.kstest(inside, "uniform").pvalue > 0.01
    np.testing.assert_allclose(found.fits, model.predict(data), rtol=1e-12)


@r
def test_rows_that_a_mixed_model_leaves_out_have_no_residual():
    data = trials(groups=15, each=4)
    data.loc[[2, 9], "x"] = np.nan
    data.loc[20, ["hits", "misses"]] = 0
    model = fit(Lmer, data, "binomial", "cbind(hits, misses) ~ x + (1 | g)")
    values = model._residuals_drawn(0).values
    assert list(np.flatnonzero(np.isnan(values))) == [2, 9, 20]
    assert np.isfinite(shown(model)).all() and len(shown(model)) == 57
