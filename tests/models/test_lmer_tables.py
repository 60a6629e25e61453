"""What a gaussian `Lmer` shows: types, names and order of its tables, whatever predictors and groups are called."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from cases import CASES, case, refit
from samples import close, fitted, trial
from scipy import stats

from pymer4.errors import DataError, FormulaError

pytestmark = pytest.mark.r

COEFS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]
REORDERED = 1e-4  # the optimizer stops elsewhere when rows or columns are summed in another order


def test_types_of_the_tables():
    for name in ("factors", "nested", "slopes", "no intercept"):
        model = case(name)
        assert list(model.coefs.columns) == COEFS
        assert (model.coefs.drop(columns="Sig").dtypes == np.float64).all()
        assert {type(mark) for mark in model.coefs["Sig"]} == {str}
        assert list(model.ranef_var.columns) == ["Name", "Var", "Std"] and model.ranef_var.index[-1] == "Residual"
        np.testing.assert_allclose(model.ranef_var["Std"] ** 2, model.ranef_var["Var"], rtol=1e-12)
        assert {type(value) for value in (model.AIC, model.BIC, model.logLike)} == {float}
        assert {type(size) for size in model.grps.values()} == {int}
        assert isinstance(model.ranef, list) == isinstance(model.fixef, list) == (len(model.grps) > 1)
        assert model.fits.dtype == model.residuals.dtype == np.float64
    assert list(case("factors").ranef_corr.columns) == ["IV1", "IV2", "Corr"] and case("nested").ranef_corr is None
    assert isinstance(model.warnings, list) and model.fitted is True


def test_stars_follow_p():
    bounds = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."), (1, ""))
    seen = set()
    for name in CASES:
        for p, mark in case(name).coefs[["P-val", "Sig"]].itertuples(index=False):
            assert mark == next(sign for bound, sign in bounds if p <= bound)
            seen.add(mark)
    assert {"***", "*", ""} <= seen


def test_fixef_is_population_plus_deviation():
    model = case("factors")
    for ranef, fixef in zip(model.ranef, model.fixef, strict=True):
        assert list(fixef.columns) == list(model.coefs.index)
        shift = ranef.reindex(columns=fixef.columns, fill_value=0)
        np.testing.assert_allclose(fixef, shift + model.coefs["Estimate"].to_numpy(), rtol=1e-12)


def test_levels_are_sorted_by_code_point_and_those_of_a_categorical_stay():
    model = case("factors")
    assert list(model.coefs.index) == [
        "(Intercept)", "x", "conda", "condb", "flagTRUE", "dose.L", "dose.Q", "x:conda", "x:condb",
    ]  # fmt: skip
    by_g, by_h = model.ranef
    assert list(by_g.index) == [str(5 * (k + 1)) for k in range(24)]
    assert list(by_h.index) == ["i1", "i10", "i11", "i12", *(f"i{k}" for k in range(2, 10))]
    data = trial().astype({"cond": pd.CategoricalDtype(["b", "C", "a"])})
    assert list(fitted("y ~ cond + (1 | g)", data).coefs.index) == ["(Intercept)", "condC", "conda"]


def test_categories_that_no_row_has_are_no_levels():
    """A frame that was filtered keeps its categories; the model has those that are left."""
    data = trial().astype({"cond": "category"}).query("cond != 'a'")
    model = fitted("y ~ cond + x + (1 | g)", data)
    np.testing.assert_allclose(model.predict(data, use_rfx=True), model.fits, rtol=1e-10)
    assert len(model.plot("cond").get_xticks()) == 2
    with pytest.raises(DataError, match="'a', which the model was not fitted to"):
        model.predict(trial())


@pytest.mark.parametrize(
    "name", ["weights", "offset", "data", "control", "subset", "REML", "sigma", "Residual", "(Intercept)"]
)
def test_a_column_may_be_called_like_an_argument_or_a_parameter(name):
    """Other names, at all places, are in `tests/data/test_names.py`."""
    plain = fitted("y ~ x + (x | g)", weights="w", offset="o")
    for column in ("x", "g", "w", "o"):
        names = {"x": "x", "g": "g", "w": "w", "o": "o"} | {column: name}
        x, g = (f"`{names[one]}`" for one in ("x", "g"))
        data = trial()[["y", *names]].rename(columns=names)
        model = fitted(f"y ~ {x} + ({x} | {g})", data, weights=names["w"], offset=names["o"])
        np.testing.assert_allclose(model.coefs.iloc[:, :7], plain.coefs.iloc[:, :7], rtol=1e-9)
        assert model.coefs.index[1].strip("`") == names["x"]
        assert list(model.ranef.columns) == list(model.ranef_var["Name"][:2]) == list(model.coefs.index)
        assert list(model.ranef_var.index) == [names["g"], names["g"], "Residual"]
        assert model.warnings == []
        close(model.predict(data, use_rfx=True), plain.fits)


@pytest.mark.parametrize("term", ["g", "log(g)", "poly(g, 2)"])
def test_a_number_may_be_predictor_and_group(term):
    data = trial().assign(label=lambda d: d.g.astype(str))
    model, plain = (fitted(f"y ~ x + {term} + (1 | {group})", data) for group in ("g", "label"))
    assert list(model.coefs.index) == list(plain.coefs.index)
    close(model.coefs["Estimate"], plain.coefs["Estimate"], rtol=REORDERED)  # the labels sort otherwise
    rows = data.iloc[[200, 3, 77]].astype({"g": float})
    close(model.predict(rows, use_rfx=True), model.fits[[200, 3, 77]])


CODED = {  # R: fixef(lmer(conc ~ C(source, ...) + (1 | pen)))
    "sum": (-7.254814814815, 0.725185185185),
    "contr.sum": (-7.254814814815, 0.725185185185),
    "helmert": (3.990, 3.264814814815),
    "contr = contr.helmert": (3.990, 3.264814814815),
    "treatment": (7.98, 13.784444444444),
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.filterwarnings("ignore:variable 'source' is not a factor")  # emmeans, of a level it does find
def test_a_coding_stands_in_the_formula_by_its_bare_name(coding, pigs):
    pigs = pigs.assign(pen=np.arange(len(pigs)) % 7, sum=np.nan)
    model = fitted(f"conc ~ C(source, {coding}) + (1 | pen)", pigs)
    np.testing.assert_allclose(model.coefs["Estimate"].iloc[1:], CODED[coding], rtol=1e-9)
    np.testing.assert_allclose(model.predict(pigs[["source"]]), model.fits, rtol=1e-9)
    np.testing.assert_allclose(model.predict(pigs[["source"]].iloc[[20]]), model.fits[20], rtol=1e-9)
    means = model.emmeans("source")[0]["Estimate"]
    np.testing.assert_allclose(means, [30.36, 38.34, 44.144444444444], rtol=1e-9)


def test_a_function_may_be_passed_to_another_and_a_name_that_nothing_has_is_missing():
    with pytest.raises(FormulaError, match=r"'contr\.som' is not a column of the data"):
        fitted("y ~ C(cond, contr.som) + (1 | g)")
    data = trial().assign(centre=lambda d: d.groupby("h")["x"].transform("median"))
    model, by_hand = fitted("y ~ ave(x, h, FUN = median) + (1 | g)"), fitted("y ~ centre + (1 | g)", data)
    close(model.coefs["Estimate"], by_hand.coefs["Estimate"])


def test_a_dot_stands_for_the_other_columns():
    data = trial()[["y", "x", "g"]]
    dotted, spelled = fitted("y ~ . - g + (1 | g)", data), fitted("y ~ x + (1 | g)", data)
    pd.testing.assert_frame_equal(dotted.coefs, spelled.coefs, rtol=1e-9)
    close(dotted.predict(data, use_rfx=True), spelled.fits)


def test_a_model_without_population_coefficients():
    model = fitted("y ~ 0 + (1 | g)")
    assert list(model.coefs.columns) == COEFS and len(model.coefs) == 0
    assert model.design_matrix.shape == (240, 0)
    np.testing.assert_array_equal(model.predict(trial()), np.zeros(240))
    np.testing.assert_allclose(model.predict(trial(), use_rfx=True), model.fits, rtol=1e-10)


# df and the live R object


@pytest.mark.parametrize("ddf", ["Satterthwaite", "Kenward-Roger", "asymptotic"])
def test_statistics_follow_ddf_and_wald_limits_do_not(ddf):
    table, plain = refit("factors", ddf=ddf).coefs, case("factors").coefs
    assert list(table.columns) == COEFS
    np.testing.assert_allclose(table["T-stat"], table["Estimate"] / table["SE"], rtol=1e-12)
    np.testing.assert_allclose(table["P-val"], 2 * stats.t.sf(table["T-stat"].abs(), table["DF"]), rtol=1e-9)
    assert np.isinf(table["DF"]).all() == np.isinf(table["DF"]).any() == (ddf == "asymptotic")
    close(table[["2.5_ci", "97.5_ci"]], plain[["2.5_ci", "97.5_ci"]])


def test_the_r_model_can_be_used_from_r():
    model, run = case("factors"), rinterface.evalr
    assert list(run("lme4::fixef")(model.model_obj)) == list(model.coefs["Estimate"])
    assert len(run("function(m) lme4::fixef(update(m, . ~ . - flag))")(model.model_obj)) == len(model.coefs) - 1
    means = run("""function(m) {
      users <- options(emmeans = NULL)
      on.exit(options(users))
      as.data.frame(suppressMessages(emmeans::emmeans(m, ~ cond)))$emmean
    }""")
    assert len(means(model.model_obj)) == 3
    assert (
        run("function(m) as.numeric(object.size(m@call))")(model.model_obj)[0] < 20_000
    )  # bytes; the data alone are more
    assert str(run("function(m) class(m)[1]")(model.model_obj)[0]) == "lmerModLmerTest"
