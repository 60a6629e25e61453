"""What lme4 1.1 and 2 parametrize, order and scale in different ways: the same tables, held to the lme4 at hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples
from against_r import inside, rinterface

from pymer4 import Lmer
from pymer4.errors import RError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

OPTIMUM = 2e-3  # relative to the largest: two runs of an optimizer, from different starts


def has_structures() -> bool:
    return bool(inside("function() packageVersion('lme4') >= '2.0'")[0])


def trial() -> pd.DataFrame:
    """Return 20 groups of 8 rows with outcomes of several families."""
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(20), 8), rng.normal(size=160)
    slopes = rng.multivariate_normal([0, 0], [[0.2, 0.05], [0.05, 0.1]], 20)
    eta = 0.5 + 0.3 * x + slopes[g, 0] + slopes[g, 1] * x
    frame = pd.DataFrame({"g": [f"g{k:02d}" for k in g], "x": x, "y": eta + rng.normal(0, 0.4, 160)})
    frame["w"], frame["o"] = rng.uniform(0.5, 2, 160), rng.normal(size=160)
    frame["size"] = rng.gamma(5, np.exp(eta) / 5)
    # Means above twice that of all rows, from where a step on the inverse scale leaves the range.
    frame["rate"] = rng.gamma(20, 1 / (20 * (0.4 + 0.15 * rng.uniform(-2, 2, 20)[g])))
    return frame


CASES = {
    "gamma": ("size ~ x + (1 | g)", {"family": "gamma", "link": "log"}),
    "inverse": ("rate ~ 1 + (1 | g)", {"family": "gamma"}),
}
STRUCTURES = ("cs(x | g)", "diag(x | g)", "ar1(1 + x | g)", "us(x | g)")


def fit(formula: str, given: dict, frame: pd.DataFrame | None = None, **how) -> Lmer:
    return samples.fitted(formula, trial() if frame is None else frame, **given, **how)


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    return fit(*CASES[case])


@cache
def structured(term: str) -> Lmer:
    if not has_structures():
        pytest.skip("this lme4 has no structured covariances")
    return fit(f"y ~ x + {term}", {})


# ---------------------------------------------------------------- limits stand at their names


def test_limits_have_one_order():
    """By the columns of the covariance matrix, term by term; lme4 2 lists the standard deviations first."""
    frame = trial().assign(z=np.random.default_rng(1).normal(size=160))
    model = fit("y ~ x + (1 + x + z | g) + (0 + o | g)", {}, frame)
    random = ["sd_(Intercept)", "cor_x.(Intercept)", "cor_z.(Intercept)", "sd_x", "cor_z.x", "sd_z", "sd_o"]
    assert list(model.confint().index) == [*(f"{name}|g" for name in random), "sigma", "(Intercept)", "x"]


# ---------------------------------------------------------------- families with a dispersion


def gamma_parts() -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return X, Z, and the variances of the groups and of an outcome; all working weights are 1 under a log link."""
    model = fitted("gamma")
    between, within = model.ranef_var["Var"]
    return model.design_matrix.to_numpy(), pd.get_dummies(trial()["g"]).to_numpy(float), between, within


def test_conditional_sd_hold_the_dispersion_once():
    _, Z, between, within = gamma_parts()
    expected = np.sqrt(1 / (1 / between + Z.sum(axis=0) / within))
    np.testing.assert_allclose(fitted("gamma").ranef_se.iloc[:, 0], expected, rtol=1e-6)


def test_standard_errors_without_a_hessian_hold_the_dispersion_once():
    model = fit(*CASES["gamma"], nAGQ=0)
    X, Z, *_ = gamma_parts()
    between, within = model.ranef_var["Var"]
    V = between * Z @ Z.T + within * np.eye(len(Z))
    expected = np.sqrt(np.diag(np.linalg.inv(X.T @ np.linalg.solve(V, X))))
    np.testing.assert_allclose(model.coefs["SE"], expected, rtol=1e-4)
    means, _ = model.emmeans("x", at={"x": 0}, type="link")
    np.testing.assert_allclose(means["SE"], model.coefs["SE"].iloc[0], rtol=1e-8)


def test_shares_are_made_of_the_variances_shown():
    between, within = fitted("gamma").ranef_var["Var"]
    share = fitted("gamma").icc(approximation="delta").adjusted
    np.testing.assert_allclose(share, between / (between + within), rtol=1e-8)


def test_a_gamma_fit_starts_at_the_outcome():
    """From one mean for all rows, where lme4 2 starts, the first step on the inverse scale leads to means below 0."""
    model = fitted("inverse")
    assert model.warnings == []
    code = """function(d) {
      m <- lme4::glmer(rate ~ 1 + (1 | g), d, family = Gamma, mustart = rate)
      c(lme4::fixef(m), as.numeric(logLik(m)))
    }"""
    data = rinterface.evalr("function(rate, g) data.frame(rate, g)")(
        rinterface.FloatSexpVector(trial()["rate"]), rinterface.StrSexpVector(trial()["g"])
    )
    np.testing.assert_allclose([*model.coefs["Estimate"], model.logLike], inside(code, data), rtol=1e-6)


def test_means_out_of_range_point_to_the_log_link():
    frame = trial()
    frame["size"] = frame["size"] * np.exp(-4 * frame["x"])
    with pytest.raises(RError, match="link='log'"):
        fit("size ~ x + (x | g)", {"family": "gamma"}, frame)


# ---------------------------------------------------------------- structured covariances


@pytest.mark.parametrize("term", STRUCTURES)
def test_structures_are_fitted_as_lmertest_fits_them(term):
    model = structured(term)
    code = f"""function(y, x, g) {{
      m <- suppressWarnings(lmerTest::lmer(y ~ x + {term}, data.frame(y, x, g)))
      v <- as.matrix(lme4::VarCorr(m)$g)
      list(coefs = coef(summary(m))[, 1:3], facts = c(logLik(m), sigma(m), sqrt(diag(v)), cov2cor(v)[2, 1]))
    }}"""
    columns = (rinterface.FloatSexpVector(trial()[name]) for name in ("y", "x"))
    told = inside(code, *columns, rinterface.StrSexpVector(trial()["g"]))
    np.testing.assert_allclose(model.coefs[["Estimate", "SE"]], np.asarray(told["coefs"])[:, :2], rtol=1e-4)
    np.testing.assert_allclose(model.coefs["DF"], np.asarray(told["coefs"])[:, 2], rtol=1e-2)
    sd = model.ranef_var["Std"]
    found = [model.logLike, sd["Residual"], *sd[:2], model.ranef_corr["Corr"].iloc[0]]
    np.testing.assert_allclose(found, told["facts"], rtol=OPTIMUM, atol=1e-6)


@pytest.mark.parametrize("term", STRUCTURES)
def test_limits_and_draws_of_structures_stand_at_their_names(term):
    model = structured(term)
    names = {
        "cs(x | g)": ["sd_(Intercept)|g", "sd_x|g", "cor_rho|g"],
        "diag(x | g)": ["sd_(Intercept)|g", "sd_x|g"],
        "ar1(1 + x | g)": ["sd_*|g", "cor_rho|g"],
        "us(x | g)": ["sd_(Intercept)|g", "cor_x.(Intercept)|g", "sd_x|g"],
    }[term]
    sd, rho = model.ranef_var["Std"], model.ranef_corr["Corr"].iloc[0]
    values = {"sd_(Intercept)|g": sd.iloc[0], "sd_*|g": sd.iloc[0], "sd_x|g": sd.iloc[1]}
    values |= dict.fromkeys(("cor_rho|g", "cor_x.(Intercept)|g"), rho) | {"sigma": sd["Residual"]}
    assert list(model.confint().index) == [*names, "sigma", "(Intercept)", "x"]
    # lme4 2.1 can't profile the other two, for these data.
    for method in ("boot", "profile") if term.startswith(("us", "diag")) else ("boot",):
        limits = model.confint(method, n_boot=60, seed=1)
        for name in [*names, "sigma"]:
            lower, upper = limits.loc[name]
            assert lower < values[name] < upper, (method, name)
    assert "(Intercept)" in model.ranef_se
    assert model.predict(trial().head(3), use_rfx=True, interval="prediction").notna().all(axis=None)


def test_structures_of_copies_stay():
    model = structured("cs(x | g)")
    again = bridge.call("unpack_model", bytes=bridge.call("pack_model", model=model._handle).value["bytes"]).value
    draws = [
        bridge.call("bootstrap_mixed", model=m, seeds=np.array([7])).value["values"]
        for m in (model._handle, again["model"])
    ]
    np.testing.assert_array_equal(*draws)
