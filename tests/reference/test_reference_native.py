"""`Lm` and `Lm2` against numbers that R's lm, glm, MASS and sandwich wrote to native.csv; one slow test alone needs R.

`native_cases.csv` names the models. What is compared is computed by NumPy, so no version of R loosens it.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from reference.lib.files import compare, frozen, written_now
from reference.lib.native import GROUPED, NATIVES, SINGLE, fitted, near_rows
from reference.lib.quantities import long_pair, pair

from pymer4.data.families import NATIVE_LINKS
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.numeric

SAME = 1e-9  # relative, and of a column's or a matrix' largest: both sides iterate until nothing changes
R = frozen("native")


def kinds(rows) -> list[tuple[str, str]]:
    return [(id, kind) for id, row in rows.items() for kind in row.kinds.split()]


def require_same_tests(table: pd.DataFrame, expected: pd.DataFrame, normal: bool) -> None:
    """Compare a table of coefficients, on the scale of its errors; a relative error of z moves log p by z² as much."""
    se = expected["se"]
    compare(pair("estimates", table["Estimate"], expected["estimate"], se), SAME)
    compare(pair("standard errors", table["SE"], se), SAME)
    limits = table.filter(regex="_ci$").iloc[:, :2]
    compare(pair("limits", limits, expected[["lower", "upper"]], expected[["se"]]), SAME)
    statistic = table["Z-stat" if normal else "T-stat"]
    compare(pair("statistics", statistic, expected["statistic"], 1), SAME)
    compare(pair("p", table["P-val"], expected["p"], 10 * expected["statistic"] ** 2 * expected["p"]), SAME)
    if "DF" in table:
        assert (table["DF"] == expected["df"].to_numpy()).all()


@pytest.mark.parametrize(("case", "kind"), kinds(SINGLE))
def test_errors_limits_and_p(case, kind):
    model = fitted(case, kind)
    expected = R.numbers(case, f"coefs {kind}")
    require_same_tests(model.coefs, expected, NATIVES[case].family in ("binomial", "poisson", "nbinom"))
    V = R.numbers(case, f"vcov {kind}").to_numpy()
    compare(pair("covariance", model.vcov, V, np.abs(V).max()), SAME)


@pytest.mark.parametrize("case", SINGLE)
def test_measures_fits_and_residuals(case):
    model, facts = fitted(case), R.numbers(case, "facts")["1"]
    compare(pair("likelihood", [model.AIC, model.BIC, model.logLike], facts[["AIC", "BIC", "logLik"]]), SAME)
    assert (model.df_resid, model.nobs) == (facts["df"], facts["n"])
    fit = model._estimate
    if NATIVES[case].linear:
        found, names = [fit.sigma, model.rsquared, model.rsquared_adj], ["sigma", "r_squared", "r_squared_adj"]
        compare(pair("quality", found, facts[names], 1e-3), SAME)
    else:
        scale = model.theta if NATIVES[case].family == "nbinom" else fit.dispersion
        compare(pair("quality", [fit.deviance, fit.null_deviance, scale], facts[["deviance", "null", "scale"]]), SAME)
    used = ~np.isnan(model.fits)
    compare(long_pair("fits", model.fits[used], R.numbers(case, "fitted")), SAME)
    compare(long_pair("residuals", model.residuals[used], R.numbers(case, "residuals")), SAME)


@pytest.mark.parametrize("case", SINGLE)
def test_predictions(case):
    model, expected, rows = fitted(case), R.numbers(case, "predictions"), near_rows()
    compare(pair("response", model.predict(rows), expected["response"], 1), SAME)
    with warnings.catch_warnings():  # weights say nothing of a new row's variance
        warnings.simplefilter("ignore", ModelWarning)
        link = model.predict(rows, interval="confidence", pred_type="link", conf_level=0.9)
        compare(pair("link", link["Estimate"], expected["link"], 1), SAME)
        compare(pair("its errors", link["SE"], expected["se"]), SAME)
        if "lower" not in expected:
            return
        compare(pair("confidence", link[["5_ci", "95_ci"]], expected[["lower", "upper"]], 1), SAME)
        new = model.predict(rows, interval="prediction", conf_level=0.9)
        compare(pair("prediction", new[["5_ci", "95_ci"]], expected[["new_lower", "new_upper"]], 1), SAME)


@pytest.mark.parametrize(("case", "kind"), kinds(GROUPED))
def test_second_level(case, kind):
    require_same_tests(fitted(case, kind).coefs, R.numbers(case, f"coefs {kind}"), normal=False)


@pytest.mark.parametrize("case", GROUPED)
def test_first_level(case):
    model, expected = fitted(case), R.numbers(case, "first level")
    assert [str(group) for group in model.fixef.index] == list(expected.index)
    compare(pair("coefficients", model.fixef, expected, np.abs(expected).max().to_numpy()), SAME)
    facts = R.numbers(case, "facts")["1"]
    compare(pair("likelihood", [model.logLike, model.AIC], facts), SAME)
    if NATIVES[case].linear:
        found = np.column_stack([model.rsquared_per_group, model.rsquared_adj_per_group])
        compare(pair("R²", found, R.numbers(case, "quality"), 1e-3), SAME)


@pytest.mark.slow
@pytest.mark.r
def test_the_r_at_hand_writes_the_same():
    now = written_now("native")
    if now.versions != R.versions:
        pytest.skip("R or a package has another version")
    assert set(now) == set(R)
    for key in R:
        compare(pair(" ".join(key), now.numbers(*key), R.numbers(*key), 1e-3), SAME)


def test_the_cases_have_every_family_link_and_covariance():
    chosen = {(row.family, row.link or NATIVE_LINKS[row.family][0]) for row in NATIVES.values()}
    assert chosen == {(family, link) for family, links in NATIVE_LINKS.items() for link in links}
    for rows in (SINGLE, GROUPED):
        assert {kind for _, kind in kinds(rows)} == {"iid", "hc0", "hc1", "hc2", "hc3", "hac", "cluster"}
