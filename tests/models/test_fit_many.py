"""One model for many outcomes: the numbers of fits one by one, rows that are missing, weights, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from samples import dataset, fitted, trial

from pymer4 import Lmer
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError

pytestmark = pytest.mark.r

TIGHT = {"optimizer": "bobyqa", "optCtrl": {"rhobeg": 0.2, "rhoend": 1e-9, "maxfun": 20000}}
SLEEP = "Reaction ~ Days + (Days | Subject)"
CROSSED = "y ~ x * cond + (1 + x | g) + (1 | h)"
RNG = np.random.default_rng(5)


def outcomes(frame: pd.DataFrame, column: str, R: int) -> np.ndarray:
    """Return outcomes near a column of the data; the last hardly differs between groups."""
    y = frame[column].to_numpy()
    noise = np.random.default_rng(1).normal(0, y.std(), (len(y), R))
    return np.column_stack([y[:, None] + noise[:, :-1], 0.2 * noise[:, -1]])


def one_by_one(formula: str, frame: pd.DataFrame, Y: np.ndarray, weights=None, **how) -> list[Lmer]:
    """Return an `Lmer` for each outcome, on the rows where it is there."""
    models = []
    name = formula.partition(" ~ ")[0]
    for j, y in enumerate(Y.T):
        there = ~np.isnan(y)
        own = None if weights is None else (weights if weights.ndim == 1 else weights[:, j])[there]
        model = Lmer(formula, frame.assign(**{name: y})[there], weights=own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(control=TIGHT, summarize=False, **how)
        models.append(model)
    return models


def holes(Y: np.ndarray) -> np.ndarray:
    """Return outcomes with three patterns of missing values, the first without."""
    Y = Y.copy()
    Y[[3, 40, 41], 1] = Y[[3, 40, 41], 3] = Y[::7, 2] = np.nan
    return Y


SLEEPING, TRIAL = outcomes(dataset("sleepstudy"), "Reaction", 5), outcomes(trial(), "y", 4)
CASES = {
    "plain": (SLEEP, "sleepstudy", SLEEPING, None, {}),
    "ml": (SLEEP, "sleepstudy", SLEEPING, None, {"REML": False, "conf_level": 0.9}),
    "holes": (SLEEP, "sleepstudy", holes(SLEEPING), None, {}),
    "weights": (SLEEP, "sleepstudy", holes(SLEEPING), RNG.uniform(0.5, 2, 180), {}),
    "weights by outcome": (SLEEP, "sleepstudy", SLEEPING, RNG.uniform(0.5, 2, SLEEPING.shape), {}),
    "crossed": (CROSSED, "trial", TRIAL, None, {"factors": {"cond": ["b", "a", "C"]}}),
    "crossed holes": (CROSSED, "trial", holes(TRIAL), None, {"ddf": "asymptotic"}),
}


@pytest.mark.parametrize("name", CASES)
def test_fits_are_those_of_one_outcome_after_the_other(name):
    formula, data, Y, weights, how = CASES[name]
    frame = trial() if data == "trial" else dataset(data)
    model = Lmer(formula, frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(**how, summarize=False)
    before = model.coefs.copy()
    many = model.fit_many(Y, weights=weights)
    pd.testing.assert_frame_equal(model.coefs, before)
    expected = one_by_one(formula, frame, Y, weights, **how)
    columns = list(expected[0].coefs.columns)
    assert list(many.table.columns) == ["response", "term", *columns, "Adj-P-val", "flag"]
    for j, one in enumerate(expected):
        rows = many.table[many.table.response == j].set_index("term")
        assert many.logLike[j] >= one.logLike - 1e-7
        assert ("singular" in many.flags[j]) == one.convergence.singular
        if many.logLike[j] > one.logLike + 1e-9:
            continue
        scale = one.coefs["SE"].to_numpy()
        for column in ("Estimate", *columns[1:3], "SE"):
            assert (np.abs(rows[column] - one.coefs[column]).to_numpy() <= 3e-6 * scale).all()
        np.testing.assert_allclose(rows["P-val"], one.coefs["P-val"], rtol=1e-4, atol=1e-10)
        np.testing.assert_allclose(rows["DF"], one.coefs["DF"], rtol=1e-4)
        variances = many.variances[many.variances.response == j]
        assert variances["group"].tolist() == one.ranef_var.index.tolist()
        assert variances["Name"].tolist() == one.ranef_var["Name"].tolist()
        np.testing.assert_allclose(variances["Var"], one.ranef_var["Var"], rtol=1e-4, atol=1e-7 * np.nanvar(Y[:, j]))


@pytest.mark.parametrize("formula", [SLEEP, "y ~ poly(z, 2) + cond * x + (1 | g) + (1 | h)"])
def test_r_gives_the_numbers_of_the_engine(formula):
    """What a function makes of a predictor is made of all rows, and a level that is missing takes no other's place."""
    frame, Y = (dataset("sleepstudy"), SLEEPING) if formula == SLEEP else (trial(), TRIAL)
    Y = np.column_stack([holes(Y), np.where(frame.get("cond", "b") == "C", np.nan, Y[:, 0])])
    model = fitted(formula, frame, control=TIGHT)
    here, there = (model.fit_many(Y, engine=engine) for engine in ("native", "R"))
    assert (there.logLike <= here.logLike + 1e-7).all() and here.flags.tolist() == there.flags.tolist()
    for column in ("Estimate", "SE", "DF"):
        np.testing.assert_allclose(here.table[column], there.table[column], rtol=1e-5, atol=1e-6)


def test_an_outcome_that_cannot_be_fitted_is_flagged():
    Y = outcomes(dataset("sleepstudy"), "Reaction", 9)
    days = dataset("sleepstudy")["Days"]
    Y[:, 0], Y[:, 1], Y[5, 2], Y[days > 0, 3], Y[10:, 4] = 3.0, np.nan, np.inf, np.nan, np.nan
    Y[:, 5] = Y[:, 6] = 1 + 2 * days
    Y[0, 6] = np.nan  # a case of its own
    model = Lmer(SLEEP, dataset("sleepstudy"))
    with pytest.warns(ModelWarning, match=r"7 of 9 have no fit: constant 1, all missing 1"):
        many = model.fit_many(Y)
    assert many.flags[:5].tolist() == ["constant", "all missing", "infinite", *["too few rows"] * 2]
    assert many.flags[5:7].tolist() == ["not fitted"] * 2
    assert many.table["Estimate"].isna().tolist() == [True] * 14 + [False] * 4
    p, adjusted = (many.to_array(name, "Days")[7:] for name in ("P-val", "Adj-P-val"))
    np.testing.assert_allclose(adjusted.min(), 2 * p.min())  # a family of two


def test_a_coefficient_that_the_rows_do_not_tell_is_missing():
    frame = trial()
    y = frame["y"].to_numpy()
    Y = np.column_stack([y, np.where(frame.cond == "b", np.nan, y), np.where(frame.cond == "C", np.nan, y)])
    model = Lmer("y ~ x + cond + (1 | g)", frame)
    model.fit(factors={"cond": ["b", "a", "C"]}, summarize=False)
    many = model.fit_many(Y)
    assert many.flags.tolist() == ["", "terms not told", "terms not told"]
    told = {term: np.isfinite(many.to_array("Estimate", term)).tolist() for term in many.terms}
    assert told == {"(Intercept)": [1, 0, 1], "x": [1, 1, 1], "conda": [1, 0, 1], "condC": [1, 0, 0]}
    without = Lmer("y ~ x + cond + (1 | g)", frame[frame.cond != "b"])
    without.fit(summarize=False, control=TIGHT)
    np.testing.assert_allclose(many.to_array("Estimate", "x")[1], without.coefs.loc["x", "Estimate"], rtol=1e-5)


def test_a_result_has_the_shape_of_the_outcomes():
    frame = dataset("sleepstudy")
    model = Lmer(SLEEP, frame)
    many = model.fit_many(SLEEPING[:, :4].reshape(180, 2, 2))
    assert many.to_array("T-stat", "Days").shape == (2, 2) and many.flags.index.tolist()[1] == (0, 1)
    t = many.to_array("T-stat", "Days")
    top = many.top("Days", 2)
    assert top["T-stat"].tolist() == sorted(t.ravel(), key=abs)[:-3:-1] and set(top["term"]) == {"Days"}
    named = model.fit_many(pd.DataFrame(SLEEPING[:, :2], columns=["left", "right"]))
    assert named.table["response"].tolist() == ["left", "left", "right", "right"]
    assert "2 fits of Reaction" in repr(named) and max(map(len, repr(named).splitlines())) <= 80
    assert model.fit_many(["Reaction"]).logLike.index.tolist() == ["Reaction"]
    beside = Lmer(SLEEP, frame.set_axis(np.arange(180) + 7)).fit_many(pd.DataFrame(SLEEPING[:, :2]))
    assert beside.table["Estimate"].equals(named.table["Estimate"])


@pytest.mark.parametrize("adjust", ["none", "bonferroni", "holm", "hochberg", "hommel", "fdr", "BH", "BY", "sidak"])
def test_p_are_adjusted_within_each_term(adjust):
    from pymer4 import correct_pvals

    many = Lmer(SLEEP, dataset("sleepstudy")).fit_many(SLEEPING, adjust=adjust)
    p = many.to_array("P-val", "Days")
    expected = 1 - (1 - p) ** 5 if adjust == "sidak" else correct_pvals(p, method=adjust)
    np.testing.assert_allclose(many.to_array("Adj-P-val", "Days"), expected, rtol=1e-9)


def test_the_outcome_of_the_formula_need_not_be_there():
    frame = trial()
    without = Lmer("y ~ x + (1 | g)", frame.drop(columns=["y"]))
    there = Lmer("y ~ x + (1 | g)", frame).fit_many(TRIAL)
    pd.testing.assert_frame_equal(without.fit_many(TRIAL).table, there.table)
    with pytest.raises(FormulaError, match="'y' is not a column of the data"):
        without.fit()


def test_a_model_without_coefficients_has_variances():
    model = fitted("y ~ 0 + (x || g) + (1 | h)", trial(), control=TIGHT)
    many = model.fit_many(["y", "s", "o"], permute=2)
    assert many.terms == () and many.table.empty and len(repr(many).splitlines()) > 1
    np.testing.assert_allclose(many.variances["Var"][:4], model.ranef_var["Var"], rtol=1e-4)


def test_an_offset_is_known():
    frame = trial()
    many = Lmer("y ~ x + offset(o) + (1 | g)", frame).fit_many(["y", "s"])
    moved = Lmer("y ~ x + (1 | g)", frame).fit_many(frame[["y", "s"]].sub(frame["o"], axis=0))
    np.testing.assert_allclose(many.table["Estimate"], moved.table["Estimate"], rtol=1e-9)
    in_r = Lmer("y ~ x + (1 | g)", frame, offset="o").fit_many(["y", "s"], engine="R")
    np.testing.assert_allclose(in_r.table["Estimate"], moved.table["Estimate"], rtol=1e-4)


def test_r_computes_what_functions_make_of_predictors_on_all_rows():
    frame = dataset("sleepstudy").assign(z=np.where(np.arange(180) % 7, RNG.normal(size=180), np.nan))
    model = Lmer("Reaction ~ scale(Days) + z + (1 | Subject)", frame)
    model.fit(engine="R", control=TIGHT, summarize=False)
    many = model.fit_many(["Reaction"], engine="R")
    np.testing.assert_allclose(many.table["Estimate"], model.coefs["Estimate"], rtol=1e-6)


REFUSED = {
    "short": ({"Y": np.ones((179, 2))}, DataError, "Y has 179 rows and the data have 180"),
    "turned": ({"Y": np.ones((2, 180))}, DataError, r"give Y\.T"),
    "text": ({"Y": pd.DataFrame({"a": ["x"] * 180})}, DataError, "hold no numbers: 'a'"),
    "no array": ({"Y": "Reaction"}, DataError, "has to hold numbers"),
    "nothing": ({"Y": np.ones((180, 0))}, DataError, "Y has no columns"),
    "objects": ({"Y": np.where(SLEEPING > 300, None, SLEEPING)}, DataError, r"Y.astype\(float\)"),
    "index": (
        {"Y": pd.DataFrame(SLEEPING, index=range(179, -1, -1))},
        DataError,
        "whose index is not that of the data",
    ),
    "Series": ({"Y": pd.Series(SLEEPING[:, 0], index=range(9, 189))}, DataError, "Y is a Series whose index is not"),
    "weights' index": (
        {"weights": pd.DataFrame(np.ones((180, 5)), index=range(1, 181))},
        DataError,
        r"or give weights.to_numpy\(\)",
    ),
    "weights' columns": ({"weights": pd.DataFrame(np.ones((180, 5)), columns=list("abcde"))}, DataError, "those of Y"),
    "names": ({"Y": ["Reactio"]}, DataError, "names Reactio, which the data do not have"),
    "engine": ({"engine": "S"}, OptionError, "engine='S' is not known"),
    "adjust": ({"adjust": "tukey"}, OptionError, "adjust='tukey' is not known"),
    "permute": ({"permute": -1}, OptionError, "permute=-1"),
    "statistic": ({"statistic": max}, OptionError, "Give permute=1000"),
    "weights": ({"weights": np.ones((180, 3))}, DataError, "fit neither"),
    "no weights": ({"weights": -np.ones((180, 5))}, DataError, "above 0"),
    "no cache": ({"cache": ""}, OptionError, "cache='' is not the path"),
    "cache": ({"cache": 3}, OptionError, "cache=3 is not the path"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name):
    given, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text):
        Lmer(SLEEP, dataset("sleepstudy")).fit_many(**{"Y": SLEEPING, **given})


def test_what_the_engine_has_not_is_said():
    model = Lmer(SLEEP, dataset("sleepstudy"))
    model.fit(ddf="Kenward-Roger", summarize=False)
    with pytest.raises(OptionError, match=r"ddf='Satterthwaite' or 'asymptotic'.*engine='R'"):
        model.fit_many(SLEEPING)
    assert model.fit_many(SLEEPING[:, :1], engine="R").table["DF"].round(2).tolist() == [17, 17]
    with pytest.raises(OptionError, match="for gaussian models"):
        Lmer("count ~ x + (1 | g)", trial(), family="poisson").fit_many(TRIAL)
    with pytest.raises(DataError, match=r"engine='R'"):
        Lmer("y ~ x + (x | id)", trial().assign(id=np.arange(240) // 2)).fit_many(TRIAL)
