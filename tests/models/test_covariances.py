"""What all three models tell of a fit beside its tables: the covariance of the coefficients, rows, residual df."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from samples import patchy, regression

from pymer4 import Lm, Lm2, Lmer, load_dataset
from pymer4.errors import ModelWarning, NotFittedError

KINDS = [{}, {"robust": "hc0"}, {"robust": "hc1"}, {"robust": "hc2"}, {"robust": "hc3"}, {"robust": "hac", "n_lags": 2}]
CLUSTERED = {"robust": "cluster", "cluster": "region"}
ROUNDING = 1e-10  # relative; condition of these designs (below 1e4) times a few hundred roundings


def rows() -> pd.DataFrame:
    """Return 12 groups of eight rows in four regions, with one gap."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(12), 8)
    x = rng.normal(size=96)
    y = 1 + rng.normal(size=12)[group] + (0.5 + 0.3 * rng.normal(size=12)[group]) * x + rng.normal(size=96)
    data = pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=96), "g": group, "region": group // 3})
    data["hits"] = rng.poisson(np.exp(0.3 * x)).astype(float)
    data.loc[7, "x"] = np.nan
    return data


@pytest.mark.parametrize("kind", [Lm, Lm2, pytest.param(Lmer, marks=pytest.mark.r)])
def test_before_a_fit_there_is_none(kind):
    formula = "y ~ x + (1 | g)" if kind is Lmer else "y ~ x"
    model = kind(formula, rows(), **({"group": "g"} if kind is Lm2 else {}))
    assert model.vcov is None and model.nobs is None and model.df_resid is None
    with pytest.raises(NotFittedError):
        model.predict(rows())


@pytest.mark.parametrize("how", [*KINDS, CLUSTERED], ids=str)
def test_means_of_groups_covary_as_their_sums_and_differences_vary(how):
    model = Lm2("y ~ x + z", rows(), group="g")
    model.fit(**how, summarize=False)
    b, V = model.fixef.reset_index(drop=True), model.vcov
    assert list(V.index) == list(V.columns) == list(model.coefs.index)
    np.testing.assert_allclose(np.sqrt(np.diag(V)), model.coefs["SE"], rtol=ROUNDING)
    for one, other in [("Intercept", "x"), ("x", "z")]:
        variances = []
        for values in (b[one] + b[other], b[one] - b[other]):
            mean = Lm("v ~ 1", pd.DataFrame({"v": values, "region": np.arange(12) // 3}))
            mean.fit(**how, summarize=False)
            variances.append(mean.vcov.to_numpy()[0, 0])
        expected = (variances[0] - variances[1]) / 4
        assert V.loc[one, other] == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING * V.to_numpy().max())
    assert (model.df_resid, model.nobs) == (11, 95)


@pytest.mark.parametrize("short", ["HC1", True])
def test_robust_errors_have_short_forms(short):
    long, short = (regression("y ~ x", patchy(), robust=robust).coefs for robust in ("hc1", short))
    pd.testing.assert_frame_equal(short, long)


def test_the_robust_error_of_a_cell_of_one_row_is_missing_and_told():
    data = pd.DataFrame({"f": ["a"] * 10 + ["b"] * 10 + ["c"], "y": np.random.default_rng(8).normal(size=21)})
    model = Lm("y ~ 0 + C(f)", data)
    with pytest.warns(ModelWarning, match=r"No residual tells the error of C\(f\)\[c\]"):
        model.fit(robust="hc0", permute=20, seed=1, summarize=False)
    assert np.isnan(model.coefs.loc["C(f)[c]", ["SE", "T-stat", "Perm-P-val"]].astype(float)).all()
    assert (model.coefs.loc[["C(f)[a]", "C(f)[b]"], "SE"] > 0.1).all()


@pytest.mark.r
@pytest.mark.parametrize(
    "formula, how", [("y ~ x + (x | g)", {}), ("hits ~ x + (1 | g)", {"family": "poisson"})], ids=["lmer", "glmer"]
)
def test_mixed_models_have_those_of_r(formula, how):
    import rpy2.rinterface as r

    model = Lmer(formula, rows(), **how)
    model.fit(summarize=False)
    of = r.evalr("function(m) c(as.numeric(as.matrix(vcov(m))), nobs(m), df.residual(m))")(model.model_obj)
    V, n, df = np.reshape(list(of)[:4], (2, 2)), of[4], of[5]
    np.testing.assert_allclose(model.vcov, V, rtol=1e-6)
    assert list(model.vcov.columns) == ["(Intercept)", "x"] and (model.nobs, model.df_resid) == (n, df)
    assert copy.deepcopy(model).vcov.equals(model.vcov)


@pytest.mark.r
def test_what_other_terms_add_up_to_is_absent():
    data = load_dataset("sleepstudy").assign(twice=lambda d: 2 * d["Days"])
    for model in (Lm("Reaction ~ Days + twice", data), Lmer("Reaction ~ Days + twice + (1 | Subject)", data)):
        with pytest.warns(UserWarning, match="twice"):
            model.fit(summarize=False)
        assert model.vcov.shape == (2, 2) and "twice" not in model.vcov
