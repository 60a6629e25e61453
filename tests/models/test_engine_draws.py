"""Draws of linear mixed models by the deviance engine: beside fresh fits of lme4, and beside R's own loop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from against_r import inside, rinterface
from cases import case, refit
from samples import dataset, fitted, trial
from test_infer_lmer import quietly
from test_lmer_permutation import null_data

from pymer4 import Lmer
from pymer4.errors import DataError
from pymer4.fit import mixed
from pymer4.fit.mixed_terms import Bar
from pymer4.infer import mixed_replicates
from pymer4.infer.mixed_replicates import Colours, MixedModel, parameters, replicates
from pymer4.models.lmer_draws import LmerDraws
from pymer4.work import seed_stream

pytestmark = [pytest.mark.r, pytest.mark.numeric]

FRESH = """function(m, Y, moved) {
  control <- lme4::lmerControl(
    optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12), check.scaleX = "ignore", calc.derivs = FALSE
  )
  formula <- formula(m)
  place <- list2env(as.list(environment(formula)), parent = globalenv())
  formula[[2]] <- quote(.y)
  environment(formula) <- place
  call <- m@call
  call[[1]] <- quote(lme4::lmer)
  call$formula <- formula
  call$control <- control
  w <- place$data$w
  t(vapply(seq_len(ncol(Y)), function(i) {
    place$data$.y <- Y[, i]
    if (length(moved)) place$data$w <- w[moved[, i]]
    fit <- suppressMessages(eval(call, place))
    V <- as.data.frame(lme4::VarCorr(fit), order = "lower.tri")$sdcor
    t <- lme4::fixef(fit) / sqrt(diag(as.matrix(vcov(fit))))
    c(-2 * as.vector(logLik(fit)), V, lme4::fixef(fit), t)
  }, numeric(1 + nrow(as.data.frame(lme4::VarCorr(m))) + 2 * length(lme4::fixef(m)))))
}"""


def arrays(model):
    """Return a model as the engine has it, and its design."""
    refits = model._on_engine()
    return refits.model, refits.design


def fresh(model, Y, moved=()):
    """Return deviance, parameters and t of lme4's fits to outcomes, a row each."""
    arrays = [
        rinterface.baseenv["matrix"](
            rinterface.FloatSexpVector(np.ravel(values, order="F")), rinterface.IntSexpVector([len(values)])
        )
        if len(values)
        else rinterface.NULL
        for values in (Y, moved)
    ]
    return np.asarray(inside(FRESH, model.model_obj, *arrays))


@pytest.mark.parametrize("name", ["slopes", "ml", "uncorrelated", "nested", "weighted", "offset term", "singular"])
def test_refits_of_drawn_outcomes_are_those_of_lme4(name):
    model = case(name)
    native, design = arrays(model)
    Y = mixed_replicates.simulated(native, np.random.default_rng(3), 12)
    fits = mixed.fit(native.blocks, Y, native.theta)
    found = parameters(fits)
    wanted = fresh(model, Y + (0 if design.offset is None else design.offset[:, None]))
    k = found.shape[1]
    assert (fits.deviance - wanted[:, 0]).max() < 1e-6
    if name == "singular":
        return  # where lme4 stops short of most
    same = np.abs(fits.deviance - wanted[:, 0]) < 1e-7
    assert same.mean() > 0.6
    scale = np.maximum(1e-2 * np.abs(wanted[same, 1 : k + 1]).max(axis=0), np.abs(wanted[same, 1 : k + 1]))
    apart = np.abs(found[same] - wanted[same, 1 : k + 1]) / scale
    # Of variances R's optimizer stops too early to be a measure: test_engine_loop goes on from there.
    np.testing.assert_array_less(apart[:, -len(model.coefs) :], 1e-5)


@pytest.mark.parametrize("name", ["slopes", "nested", "weighted"])
def test_draws_have_the_distribution_and_names_of_those_in_r(name, monkeypatch):
    model, how = case(name), {"how": "boot", "which": "all", "seed": 4, "profile_auto": False}
    found = quietly(model.infer, n_boot=800, **how)
    native = model.resamples
    monkeypatch.setattr(LmerDraws, "_refits", "R")
    wanted = quietly(model.infer, n_boot=150, **how)
    assert (found.attrs["engine"], wanted.attrs["engine"]) == ("native", "R")
    assert list(found.index) == list(wanted.index) == list(native.columns)
    for mine, theirs in zip(native.to_numpy().T, model.resamples.to_numpy().T, strict=True):
        mine, theirs = mine[~np.isnan(mine)], theirs[~np.isnan(theirs)]
        apart = np.sort(mine).searchsorted(theirs) / len(mine)  # uniform, where both are of one distribution
        error = np.sqrt((1 / len(mine) + 1 / len(theirs)) / 12)
        assert abs(apart.mean() - 0.5) < 4.5 * error
    few, many = (np.sort(np.asarray(x)[:, -1]) for x in (model.resamples, native))
    assert np.std(few) == pytest.approx(np.std(many), rel=4 * np.sqrt(1 / 300 + 1 / 1600))


@pytest.mark.parametrize("given", [{}, {"weights": "w"}, {"offset": "o", "REML": False}])
def test_statistics_of_shuffles_are_those_of_lme4(given):
    model = fitted("y ~ x + z + (1 | g) + (1 | h)", **given)
    native, design = arrays(model)
    codes = design.bars[0].codes
    wanted, observed = mixed_replicates.shuffled(native, np.eye(3), codes)
    np.testing.assert_allclose(observed, model.coefs["T-stat"], rtol=1e-4)
    seeds = seed_stream(5, 6)
    (part,) = replicates(wanted, seeds, 1, lambda _: None)
    drawn = wanted.draw(np.random.default_rng(seeds.astype(np.uint32)), 6)
    rows = drawn if "weights" in given else np.empty(0)
    Y = native.y[drawn] if "weights" in given else drawn
    assert all(np.allclose(np.bincount(codes, y), np.bincount(codes, native.y)) for y in Y.T)
    offset = 0 if design.offset is None else design.offset[:, None]
    np.testing.assert_allclose(part["values"], fresh(model, Y + offset, rows + 1)[:, -3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["raw", "freedman-lane"])
@pytest.mark.parametrize("weights", [None, np.random.default_rng(0).uniform(0.5, 2, 48)], ids=["", "weights"])
def test_p_of_shuffles_is_that_of_r(scheme, weights, monkeypatch):
    model = fitted("y ~ inside + between + (inside | group)", null_data(2, effect=0.25), weights=weights)
    how = {"how": "perm", "scheme": scheme, "seed": 1, "profile_auto": False}
    found = quietly(model.infer, n_perm=400, **how)
    monkeypatch.setattr(LmerDraws, "_refits", "R")
    wanted = quietly(model.infer, n_perm=150, **how)
    assert (found.attrs["engine"], wanted.attrs["engine"]) == ("native", "R")
    p, theirs = found["Perm-P-val"], wanted["Perm-P-val"]
    assert list(p.isna()) == list(theirs.isna()) and 0.01 < p["inside"] < 0.7
    p, theirs = p.dropna(), theirs.dropna()
    assert (np.abs(p - theirs) < 4 * np.sqrt(p * (1 - p) * (1 / 400 + 1 / 150)) + 0.01).all()


FORMULAS = ["y ~ x + (x | g)", "y ~ x + (1 | h / cond)", "y ~ x + (z || g) + (1 | h)"]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("weights", [None, "w"])
def test_colours_are_the_cholesky_factor_of_the_marginal_covariance(formula, weights):
    data = trial().sample(frac=1, random_state=1)  # rows of a group lie apart
    native, _ = arrays(fitted(formula, data, weights=weights))
    V = np.diag(np.ones(len(data)) if weights is None else 1 / native.weights)
    for bar, loading in zip(native.bars, native.loadings, strict=True):
        V += (loading @ loading.T) * (bar.codes[:, None] == bar.codes)
    L = np.linalg.cholesky(V)
    colours = Colours.of(native)
    np.testing.assert_allclose(colours(np.eye(len(V))), L, atol=1e-10)
    np.testing.assert_allclose(colours.whitened(L), np.eye(len(V)), atol=1e-10)


def test_residuals_are_those_under_the_null():
    """In independent coordinates the fit under l b = null has residuals at right angles to what it leaves free."""
    native, _ = arrays(fitted("y ~ x + z + (x | g)"))
    l, null = np.array([0.0, 1.0, -0.5]), 0.3  # noqa: E741
    wanted, observed, kept = mixed_replicates.residuals_shuffled(native, l, null)
    colours, mean, white = wanted.draw.args
    np.testing.assert_allclose(mean[:, None] + colours(white[:, None]), native.y[:, None], atol=1e-9)
    X = colours.whitened(native.X)
    free = X @ np.linalg.qr(l[:, None], mode="complete")[0][:, 1:]
    np.testing.assert_allclose(free.T @ white, 0, atol=1e-8 * np.abs(white).sum())
    V = np.linalg.inv(X.T @ X)
    a = X @ V @ l
    assert kept == pytest.approx(a.sum() ** 2 / len(a) / (a @ a))
    at = mixed.fit(native.blocks, native.y)
    assert observed == pytest.approx((l @ at.b[0] - null) / np.sqrt(l @ at.vcov[0] @ l), rel=1e-8)


def test_draws_do_not_depend_on_workers_and_chunks(monkeypatch):
    model, how = case("weighted"), {"n_boot": 40, "seed": 9}
    one = model.confint("boot", **how)
    monkeypatch.setattr(mixed_replicates, "_WORTH", 0)
    np.testing.assert_allclose(model.confint("boot", n_jobs=2, **how), one, rtol=1e-12)


def test_a_fit_that_failed_is_counted():
    native, _ = arrays(case("slopes"))
    wanted = mixed_replicates.Wanted(native, partial(_some_lost, native), parameters)
    (part,) = replicates(wanted, seed_stream(1, 3), 1, lambda _: None)
    assert list(part["reasons"]) == ["", "the model leaves nothing of the outcome", ""]
    assert list(np.isnan(part["values"]).all(axis=1)) == [False, True, False]


def _some_lost(model: MixedModel, rng, k):
    Y = mixed_replicates.simulated(model, rng, k)
    Y[:, 1] = model.fitted
    return Y


def test_a_start_without_spread_does_not_hold_draws():
    """From this singular theta a draw stays .01 and more above the deviance that lme4's start leads to."""
    rng = np.random.default_rng(1)
    g = np.r_[:10, rng.integers(0, 10, 90)]
    X = np.column_stack([np.ones(100), rng.normal(size=(100, 2))])
    one = MixedModel.of(X, [Bar(X, g, 10)], X[:, 1] + rng.normal(size=100), None, True)
    Y = mixed_replicates.simulated(one, rng, 60)
    fit = mixed_replicates._of_two_starts(one.blocks, Y, one.theta)
    assert (fit.deviance < mixed.fit(one.blocks, Y).deviance + 1e-5).all() and fit.converged.all()


def test_what_the_engine_does_not_fit_is_refitted_in_r():
    poisson = fitted("count ~ x + (1 | g)", family="poisson", conf_int="boot", n_boot=3, seed=1)
    assert poisson.coefs.attrs["engine"] == "R"
    assert quietly(case("stopped").infer, "boot", n_boot=3, seed=1, profile_auto=False).attrs["engine"] == "R"
    assert refit("holes", conf_int="boot", n_boot=3, seed=1).coefs.attrs["engine"] == "native"


def test_groups_too_large_for_residuals_are_refused(monkeypatch):
    monkeypatch.setattr(mixed_replicates, "_FACTORS", 100)
    with pytest.raises(ValueError, match=r"up to 10 rows that share random effects.*how='boot'"):
        case("slopes").infer("perm", on="coefs", scheme="freedman-lane", n_perm=3)


def test_draws_are_the_same_whatever_fitted_the_model():
    how = {"conf_int": "boot", "n_boot": 19, "permute": 19, "seed": 3}
    found, wanted = (refit("slopes", engine=engine, **how).coefs for engine in ("native", "R"))
    columns = ["2.5_ci", "97.5_ci", "Perm-P-val"]
    np.testing.assert_allclose(found[columns], wanted[columns], rtol=1e-4)  # R's optimum is that near


@pytest.mark.parametrize("engine", ["native", "R"])
def test_what_the_engine_lacks_of_a_fit_is_said_of_the_fit(engine, monkeypatch):
    sleep = dataset("sleepstudy")
    exact = sleep.assign(y=10 + 2 * sleep["Days"] + sleep["Subject"].astype(int))
    model = Lmer("y ~ Days + (1 | Subject)", exact)
    model.fit(engine=engine, summarize=False, no_warnings=True)
    with pytest.raises(DataError, match="lost in rounding: no refits of this model"):
        model.infer("profile")
    failed = {"values": np.full((4, 2), np.nan), "reasons": np.full(4, "no fit"), "said": []}
    monkeypatch.setattr("pymer4.models.lmer_refits.Refits.parts", lambda *_: [failed])
    with pytest.raises(DataError, match="None of the 4 permuted fits succeeded"):
        model.infer("perm", n_perm=4)


def test_why_there_is_no_certificate_ends_once():
    exact = dataset("sleepstudy").assign(y=lambda d: 10.0 + 2 * d["Days"])
    why = fitted("y ~ Days + (1 | Subject)", exact, engine="R").convergence.certificate
    assert why.why.endswith("lost in rounding") and str(why).endswith("rounding.")
