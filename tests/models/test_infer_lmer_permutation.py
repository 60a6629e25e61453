"""Permutations of `Lmer` by `infer()`: of outcomes within groups, and of residuals as Freedman and Lane define."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from samples import fitted
from scipy import special
from test_infer_lmer import generalized, quietly
from test_lmer_permutation import null_data

from pymer4.errors import ModelWarning
from pymer4.work import seed_stream

pytestmark = pytest.mark.r

FREE = {"how": "perm", "scheme": "freedman-lane", "profile_auto": False}

TIGHT = {"optCtrl": {"xtol_abs": 1e-12, "ftol_abs": 1e-12}}

DEFINITION = """function(m, l, null, Z, w, seeds) {
  X <- lme4::getME(m, "X")
  frame <- environment(formula(m))$data
  frame$w <- w
  control <- lme4::lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12), check.scaleX = "ignore")
  fit <- function(formula) lme4::lmer(formula, frame, weights = w, REML = lme4::isREML(m), control = control)
  known <- as.vector(X %*% (l * null / sum(l^2)))
  frame$rest <- frame$y - known
  frame$free <- X %*% qr.Q(qr(cbind(l)), complete = TRUE)[, -1, drop = FALSE]
  under <- fit(rest ~ 0 + free + (1 | group) + (1 | item))
  G <- c(rep(lme4::VarCorr(under)$group, 8), rep(lme4::VarCorr(under)$item, 6))
  V <- diag(sigma(under)^2 / w) + Z %*% (G * t(Z))
  L <- t(chol(V))
  mean <- known + as.vector(frame$free %*% lme4::fixef(under))
  white <- forwardsolve(L, frame$y - mean)
  suppressMessages(vapply(seeds, function(seed) {
    set.seed(seed, "Mersenne-Twister", "Inversion", "Rejection")
    frame$y <<- mean + as.vector(L %*% white[order(runif(length(white)))])
    whole <- fit(formula(m))
    (sum(l * lme4::fixef(whole)) - null) / sqrt(sum(l * (as.matrix(vcov(whole)) %*% l)))
  }, 0))
}"""


@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize("REML", [True, False])
@pytest.mark.parametrize("term, null", [("(Intercept)", 0.0), ("inside", 0.5), ("between", 0.0)])
def test_residuals_are_shuffled_as_defined(term, null, REML):
    data, item = null_data(4, effect=0.4), np.tile(np.arange(6), 8)
    data = data.assign(item=item, y=data["y"] + np.random.default_rng(1).normal(size=6)[item])
    w = np.random.default_rng(0).uniform(0.5, 2, 48)
    formula = "y ~ inside + between + (1 | group) + (1 | item)"
    model = fitted(formula, data, weights=w, REML=REML, control=TIGHT)
    quietly(model.infer, n_perm=6, seed=2, null=null, **FREE)
    row, seeds = (model.coefs.index == term).astype(float), seed_stream(2, 506)[500:]
    Z = np.hstack([np.eye(8)[data["group"]], np.eye(6)[item]])
    wanted = inside(DEFINITION, model.model_obj, *as_r(row, null, Z, w, seeds))
    np.testing.assert_allclose(model.resamples[term], wanted, rtol=1e-4, atol=1e-5)  # of two searches for an optimum


def as_r(*values):
    from pymer4.rbridge import bridge

    return list(bridge._started().values.to_r({str(i): value for i, value in enumerate(values)}))


def test_p_is_that_of_the_fit_and_the_null_may_be_another():
    data = null_data(5, effect=1.0)
    model = fitted("y ~ inside * between + (1 | group)", data)
    with pytest.warns(ModelWarning, match=r"\(Intercept\), between: constant.*scheme='freedman-lane'"):
        found = model.infer("perm", n_perm=39, seed=1, profile_auto=False)
    again = fitted("y ~ inside * between + (1 | group)", data, permute=39, seed=1)
    np.testing.assert_array_equal(found["Perm-P-val"], again.coefs["Perm-P-val"])
    plain = model.infer()
    columns = ["Estimate", "2.5_ci", "97.5_ci", "SE"]
    pd.testing.assert_frame_equal(found[columns], plain[columns], check_column_type=False)
    with pytest.warns(ModelWarning, match=r"^No p for \(Intercept\): shuffled residuals keep most of them"):
        free = model.infer(n_perm=39, seed=1, **FREE)
    assert free["Perm-P-val"].isna().tolist() == [True, False, False, False]
    assert free.loc["inside", "Perm-P-val"] == 1 / 40
    there = quietly(model.infer, n_perm=39, seed=1, null=plain.loc["inside", "Estimate"], **FREE)
    assert there.loc["inside", "Perm-P-val"] == 1.0  # what is observed is 0
    assert quietly(model.infer, "perm", on="coefs", cluster="group", n_perm=39, seed=1, profile_auto=False).equals(
        found
    )


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_counts_are_shuffled_within_groups(family):
    model = generalized(family)
    found = quietly(model.infer, "perm", n_perm=9, seed=4)
    again = generalized(family, permute=9, seed=4)
    np.testing.assert_array_equal(found["Perm-P-val"], again.coefs["Perm-P-val"])
    assert "Z-stat" in found and np.isnan(found["Perm-P-val"].iloc[0])


SHUFFLED = """function(m, family, o, w, seeds) {
  data <- environment(formula(m))$data
  t(vapply(seeds, function(seed) {
    set.seed(seed, "Mersenne-Twister", "Inversion", "Rejection")
    rows <- order(data$group, runif(nrow(data)))
    moved <- data.frame(y = data$y[rows], x = data$inside, group = data$group, w = w[rows], o = o[rows])
    if (family == "gaussian") moved[c("y", "o")] <- list(moved$y - moved$o + o, o)
    formula <- y ~ x + offset(o) + (1 | group)
    fit <- if (family == "gaussian") lme4::lmer(formula, moved, weights = w) else {
      lme4::glmer(formula, moved, family, weights = w)
    }
    lme4::fixef(fit) / sqrt(diag(as.matrix(vcov(fit))))
  }, numeric(2)))
}"""

HELD = "function(m) c(stats::weights(m), m@resp$weights, m@resp$offset, stats::model.offset(m@frame), m@resp$y)"


@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize("in_formula", [True, False])
@pytest.mark.parametrize("family", ["gaussian", "poisson", "binomial"])
def test_weights_and_offsets_move_as_they_belong_to_the_outcome(family, in_formula):
    rng, data = np.random.default_rng(2), null_data(4)
    w, o = rng.integers(1, 6, len(data)).astype(float), 2 * data["inside"].to_numpy()
    eta = o + 0.5 * data["y"]
    share = rng.binomial(w.astype(int), special.expit(eta)) / w
    data = data.assign(o=o, y={"gaussian": eta, "poisson": rng.poisson(np.exp(eta)), "binomial": share}[family])
    formula = f"y ~ inside {'+ offset(o)' * in_formula} + (1 | group)"
    model = fitted(formula, data, family=family, weights=w, offset=None if in_formula else o)
    held = inside(HELD, model.model_obj)
    quietly(model.infer, "perm", n_perm=4, seed=1, profile_auto=False)
    wanted = inside(SHUFFLED, model.model_obj, *as_r(family, o, w, seed_stream(1, 504)[500:]))
    np.testing.assert_allclose(model.resamples, wanted, rtol=1e-2, atol=1e-2)  # as near as Hessians of differences
    np.testing.assert_array_equal(inside(HELD, model.model_obj), held)


def test_counts_of_successes_are_shuffled_as_shares_of_trials():
    drawn = []
    for formula, weights in (("cbind(hits, trials - hits) ~ x + (1 | g)", None), ("share ~ x + (1 | g)", "trials")):
        model = fitted(formula, family="binomial", weights=weights)
        quietly(model.infer, "perm", n_perm=4, seed=1)
        drawn.append(model.resamples)
    np.testing.assert_allclose(*drawn, rtol=1e-6)


def test_what_an_offset_is_part_of_is_told_apart_from_what_is_constant():
    model = fitted("y ~ x + z + (1 | g)")
    asked = model._own_questions("coefs")[0]
    target = replace(asked.target, offset=np.array([0, 0, 0.3]))
    model._keep_asked("marginal", [replace(asked, about="contrasts", target=target, rows=["mean", "x", "z"])])
    with pytest.warns(ModelWarning) as told:
        model.infer("perm", n_perm=3, seed=1, profile_auto=False)
    texts = [str(one.message) for one in told]
    assert any(text.startswith("No p for z: the offset is a part of it") for text in texts)
    assert any(text.startswith("No p for mean: constant, alone or added up") for text in texts)


def test_offsets_that_cancel_to_rounding_lose_no_contrast():
    model = fitted("y ~ cond + offset(3 * (0.1 * o + 0.7)) + (1 | g)")
    model.emmeans("cond", contrasts="eff")
    assert quietly(model.infer, "perm", n_perm=3, seed=1)[1]["Perm-P-val"].notna().all()
    assert 0 < np.abs(model._asked["marginal"][1].target.offset).max() < 1e-12


@pytest.mark.slow
def test_p_of_a_term_between_groups_is_uniform():
    """200 seeds of 19 shuffles: the rate of rejections at .05 is known to a standard deviation of .015."""
    p = []
    for seed in range(200):
        model = fitted("y ~ inside + between + (1 | group)", null_data(seed), ddf="asymptotic")
        p.append(quietly(model.infer, n_perm=19, seed=seed, **FREE)["Perm-P-val"])
    rates = (pd.DataFrame(p).drop(columns="(Intercept)") <= 0.05 + 1e-12).mean()
    assert (rates < 0.05 + 3.5 * 0.0154).all() and (rates > 0.005).all()
