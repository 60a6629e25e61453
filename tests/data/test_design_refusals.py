"""Designs that are refused, told of, learned once: with what is wrong, and the next step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from samples import crossed, fit

from pymer4 import Lm
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError

pytestmark = pytest.mark.numeric


def test_one_design_serves_every_fit_that_it_fits():
    model = fit(Lm("y ~ x + a", crossed()))
    first = model._designed[1]
    model.fit(robust="hc3", weights=np.arange(1, 73), summarize=False)
    assert model._designed[1] is first
    model.fit(factors={"a": ["a2", "a1", "a3"]}, summarize=False)
    assert model._designed[1] is not first
    model.fit(rank=True, summarize=False)
    assert model.predict(model.data) == pytest.approx(model.fits, abs=1e-12)
    model.fit(summarize=False)
    other = fit(Lm("y ~ x + a", crossed()))
    pd.testing.assert_frame_equal(model.coefs, other.coefs)


@pytest.mark.parametrize(
    "formula, told",
    [
        ("y ~ x + (x | a)", r"\(x \| a\) is a random effect(.|\n)*Use Lmer"),
        ("y ~ x + (1 || a)", r"is a random effect(.|\n)*Use Lmer"),
        ("~ x", "has no outcome"),
        ("x + a", r"has no outcome. Write it on the left: 'y ~ x \+ a'"),
        ("y ~ xx1", r"name 'xx1' is not defined\n +y ~ xx1\n +\^\^\^\n.*Did you mean 'x1'\?"),
        ("y ~ np.log(x", r"unclosed bracket(.|\n)*\^"),
        ("y ~ x x1", r"Python can't read 'x x1': invalid syntax"),
        ("y ~ weird column! + x", r"Q\('weird column!'\)"),
        ("y ~ `weird column!`", r"Q\('weird column!'\)"),
        ("y ~ Q('weird')", r"name 'weird' is not defined(.|\n)*neither a column"),
        ("y ~ log(x)", r"name 'log' is not defined(.|\n)*log is a function of R's formulas. Use np.log"),
        ("y ~ (a + b)^2", r"\(a \+ b\)\*\*2"),
        ("y ~ x ~ a", "~ can only be used once"),
        ("y ~ ", "the expression ended"),
        ("y ~ .", "There is no '.'"),
        ("y ~ a %in% b", "b:a"),
        ("y = x", "~"),
        ("y ~ k^2", r"\^ is Python's exclusive or, and no power(.|\n)*I\(x \*\* 2\)"),
        ("y ~ I(k^2)", r"\^ is Python's exclusive or(.|\n)*I\(x \*\* 2\)"),
        ("y ~ x + np.log(1 + (x + k)^-.5)", r"\^ is Python's exclusive or"),
        (3, "has to be text such as 'y ~ x', or a patsy.ModelDesc, not a int"),
    ],
)
def test_formulas_are_refused_where_the_model_is_made(formula, told):
    with pytest.raises(FormulaError, match=told):
        Lm(formula, crossed())


@pytest.mark.parametrize(
    "formula, kind, told",
    [
        ("y ~ x ** a", FormulaError, "'\\*\\*' requires a positive integer|Error|invalid"),
        ("y ~ np.log(a)", FormulaError, r"Error evaluating factor: (Type|Attribute)Error(.|\n)*np.log\(a\)"),
        ("y ~ np.ones(5)", FormulaError, "Number of rows mismatch"),
        ("y ~ 0", FormulaError, "neither predictors nor an intercept"),
        ("a ~ x", DataError, "The outcome 'a' is a factor; family 'gaussian' takes numbers"),
        ("y + x ~ x1", FormulaError, r"has 2 columns; a regression has one. Their sum is written I\(a \+ b\)"),
        ("y ~ np.log(zero)", DataError, r"'np.log\(zero\)' has 72 infinite value\(s\), in row\(s\) 0, 1"),
        ("y ~ one", DataError, "The predictor 'one' is a factor with one level, 'same', in the rows used"),
        ("y ~ void", DataError, r"Each of the 72 rows has a missing value.*void 72"),
        ("y ~ bs(x, 2)", FormulaError, "df=2 is too small"),
        ("y ~ x + Intercept", FormulaError, "Two columns of the design would have one name"),
    ],
)
def test_formulas_are_refused_when_they_are_fitted(formula, kind, told):
    data = crossed().assign(zero=0.0, one="same", void=np.nan, Intercept=2.0)
    with np.errstate(divide="ignore"), pytest.raises(kind, match=told):
        Lm(formula, data).fit(summarize=False)


def test_new_data_are_refused_with_what_is_wrong_with_them():
    data = crossed()
    model = fit(Lm("y ~ x + b + C(k) + C(np.where(x > 0.5, 'high', d))", data))
    with pytest.raises(DataError, match=r"predict\(\) needs the column\(s\) 'x', which the data do not have"):
        model.predict(data.drop(columns="x"))
    with pytest.raises(DataError, match=r"Column 'b' has the level\(s\) 'a7', 'a9', which the model was not fitted to"):
        model.predict(data.assign(b=["a7", "a9"] * 36))
    with pytest.raises(DataError, match=r"Column 'k' has the level\(s\) '8'"):
        model.predict(data.assign(k=8))
    with pytest.raises(DataError, match="Column 'x' holds text; the model was fitted to numbers there"):
        model.predict(data.assign(x="word"))
    with pytest.raises(FormulaError, match="observation with value 'd9' does not match any of the expected levels"):
        model.predict(data.assign(d="d9", x=0.1))
    with pytest.raises(DataError, match=r"data has to be a pandas, polars or pyarrow frame .*, not a list\. Name its"):
        model.predict([[1]])
    late = data.head(4).assign(b=["b1", "a9", "b2", None], x=[np.nan, np.nan, 0.2, 0.3])
    assert np.isnan(model.predict(late)).tolist() == [True, True, False, True]
    assert model.predict(data.head(0)).shape == (0,)
    assert np.isnan(model.predict(data.head(2).assign(x=None))).all()


def test_what_a_function_of_the_user_has_not_made_yet_is_its_error_and_no_missing_value():
    def half(x):
        if np.max(x) > 5:
            raise NotImplementedError("large x are not done yet")
        return x / 2

    model = fit(Lm("y ~ half(x)", crossed()))
    with pytest.raises(FormulaError, match="NotImplementedError: large x are not done yet"):
        model.predict(crossed().assign(x=9.0))


def test_a_spline_is_told_of_points_beyond_its_knots():
    data = crossed()
    model = fit(Lm("y ~ bs(x, 4)", data))
    new = data.iloc[[40, 7, 23, 58, 11]].reset_index(drop=True).assign(z=1.0)
    new.loc[[1, 4], "x"] = [9.0, -9.0]
    new.loc[2, "x"] = np.nan
    with pytest.warns(ModelWarning) as told:
        found = model.predict(new)
    assert str(told[0].message) == (
        "bs(x, 4) has no value in row(s) 1 (x = 9.0), 4 (x = -9.0), counted from 0: these predict NaN. They lie beyond "
        "its outermost knots, which lower_bound= and upper_bound= of bs() widen."
    )
    assert len(told) == 1 and np.isnan(found).tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(found[[0, 3]], model.fits[[40, 58]], rtol=1e-12)
    with pytest.warns(ModelWarning, match="and 67 more, counted from 0"):
        assert np.isnan(model.predict(data.assign(x=9.0))).all()
    with pytest.warns(ModelWarning, match=r"row\(s\) 0 \(x = 9\.0\)"):
        assert np.isnan(model.predict(data.head(1).assign(x=9.0), interval="confidence")).all(axis=None)
    wide = fit(Lm("y ~ bs(x, 4, lower_bound=-10, upper_bound=10)", data))
    assert np.isfinite(wide.predict(data.assign(x=9.0))).all()
    natural = Lm("y ~ cr(x, 4)", data)
    with pytest.warns(ModelWarning, match="Left out"):
        natural.fit(summarize=False)
    assert np.isfinite(natural.predict(data.assign(x=9.0))).all()


def test_aliased_columns_are_left_out_and_predict_as_zero():
    data = crossed().assign(twice=lambda d: 2 * d["x"] - 1)
    plain = fit(Lm("y ~ x + x1", data))
    model = Lm("y ~ x + twice + x1", data)
    with pytest.warns(ModelWarning, match="Left out, since other terms add up to them: twice"):
        model.fit(summarize=False)
    assert model.warnings == ["Left out, since other terms add up to them: twice"]
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)
    np.testing.assert_allclose(model.predict(data.assign(twice=99.0)), plain.fits, rtol=0, atol=1e-10)
    assert list(model.design_matrix.columns) == ["Intercept", "x", "x1"]


def test_wrong_factors_are_told():
    model = Lm("y ~ x + a", crossed())
    with pytest.raises(OptionError, match="factors names 'b', which the formula does not use"):
        model.fit(factors={"b": ["b1", "b2"]})
    with pytest.raises(OptionError, match="leaves out 'a3'"):
        model.fit(factors={"a": ["a1", "a2"]})
    with pytest.raises(OptionError, match="factors has to be a dict"):
        model.fit(factors=["a"])
    assert not model.fitted


def test_outcomes_may_be_computed_and_missing_at_predict():
    data = crossed()
    model = fit(Lm("np.log(y + 10) ~ x", data))
    by_hand = fit(Lm("z ~ x", data.assign(z=np.log(data["y"] + 10))))
    pd.testing.assert_frame_equal(model.coefs, by_hand.coefs)
    np.testing.assert_array_equal(model.predict(data[["x"]]), model.fits)
    truths = fit(Lm("I(y > 0) ~ x", data))
    zeros = fit(Lm("z ~ x", data.assign(z=(data["y"] > 0) * 1.0)))
    pd.testing.assert_frame_equal(truths.coefs, zeros.coefs)
