"""What a row predicts does not depend on the rows beside it, whatever the formula computes from a whole column."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import patsy  # noqa: F401  # which formulas name
import pytest
from samples import fit, fitted
from scipy import stats

from pymer4 import Lm, Lm2, Lmer, load_model, save_model
from pymer4.errors import FormulaError, ModelWarning
from pymer4.rbridge import bridge

SAME = 1e-12  # relative: the same model, its columns made in the formula or before
ALONE = [0, 4, 11, 60, 119]


@cache
def data() -> pd.DataFrame:
    """Return 120 rows in 10 groups, with an odd name, ties, and an outcome that is missing in two rows."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(10), 12)
    x = rng.gamma(2, 2, 120) + 0.3 * g
    frame = pd.DataFrame({"g": [f"s{k}" for k in g], "x": x, "my var": rng.normal(3, 2, 120)})
    frame["n"] = rng.integers(1, 5, 120)
    frame["f"] = rng.choice(["a", "b", "c"], 120)
    frame["y"] = 3 + 0.8 * x + rng.normal(0, 1, 10)[g] + (frame.f == "b") + rng.normal(0, 1, 120)
    frame["count"] = rng.poisson(np.exp(0.2 + 0.1 * x))
    frame["h"] = np.where(frame.f == "a", "one", "other")
    frame.loc[[4, 77], ["y", "count"]] = np.nan
    return frame


def new_rows(n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    rows = data().iloc[[3, 50, 51, 80, 81, 119]].head(n).reset_index(drop=True)
    return rows.assign(x=rng.uniform(1, 8, n), **{"my var": rng.normal(3, 2, n)})


def of_groups(rows: pd.DataFrame) -> pd.Series:
    """Return the mean of x in the group of each row, in the data."""
    return rows["g"].map(X.groupby(data()["g"]).mean())


X, V = data()["x"], data()["my var"]
BREAKS = np.r_[X.min() - (X.max() - X.min()) / 1000, np.linspace(X.min(), X.max(), 4)[1:3], X.max() + np.ptp(X) / 1000]


# A term that is computed from a whole column, and what it is for rows of any make, as R documents its functions.
CARRIED = {
    "I(x - mean(x))": lambda d: d["x"] - X.mean(),
    "I(x / max(x))": lambda d: d["x"] / X.max(),
    "scale(x)[, 1]": lambda d: (d["x"] - X.mean()) / X.std(),
    "base::scale(x, scale = FALSE)": lambda d: d["x"] - X.mean(),
    "scale(x - min(x))": lambda d: (d["x"] - X.mean()) / X.std(),
    "I((x - min(x)) / diff(range(x)))": lambda d: (d["x"] - X.min()) / np.ptp(X),
    "log(x - min(x) + 1)": lambda d: np.log(d["x"] - X.min() + 1),
    "I(as.numeric(x > median(x)))": lambda d: 1.0 * (d["x"] > X.median()),
    "pmin(x, quantile(x, 0.9))": lambda d: np.minimum(d["x"], X.quantile(0.9)),
    "findInterval(x, quantile(x, c(0.2, 0.5)))": lambda d: np.searchsorted(X.quantile([0.2, 0.5]), d["x"], "right"),
    "cut(x, 3, labels = FALSE)": lambda d: np.searchsorted(BREAKS, d["x"]),
    "I(x - ave(x, g))": lambda d: d["x"] - of_groups(d),
    "ave(x, g)": lambda d: of_groups(d),
    "as.numeric(factor(f))": lambda d: d["f"].map({"a": 1, "b": 2, "c": 3}),
    "I(`my var` - mean(`my var`))": lambda d: d["my var"] - V.mean(),
    "I(x * mean(`my var`))": lambda d: d["x"] * V.mean(),
    "I(ecdf(x)(x))": lambda d: np.searchsorted(np.sort(X), d["x"], "right") / len(X),
}


def cuts(d: pd.DataFrame) -> np.ndarray:
    return np.searchsorted(BREAKS[1:3], d["x"]) - 1.0


# As CARRIED, for formulas in Python; all rows of the data are looked at, also those without an outcome.
CARRIED_BY_PATSY = {
    "I(x - x.mean())": CARRIED["I(x - mean(x))"],
    "I(x / max(x))": CARRIED["I(x / max(x))"],
    "x.sub(x.mean()).div(x.std())": CARRIED["scale(x)[, 1]"],
    "patsy.standardize(x, ddof=1)": CARRIED["scale(x)[, 1]"],
    "center(x - x.min())": lambda d: d["x"] - X[data()["y"].notna()].mean(),  # of the rows used, as patsy learns
    "np.log(x - np.min(x) + 1)": CARRIED["log(x - min(x) + 1)"],
    "I(1.0 * (x > x.median()))": CARRIED["I(as.numeric(x > median(x)))"],
    "np.clip(x, None, np.quantile(x, 0.9))": CARRIED["pmin(x, quantile(x, 0.9))"],
    "np.digitize(x, np.quantile(x, [0.2, 0.5]))": CARRIED["findInterval(x, quantile(x, c(0.2, 0.5)))"],
    "pd.cut(x, 3, labels=False)": lambda d: cuts(d) + 1,
    "I(x - x.groupby(g).transform('mean'))": CARRIED["I(x - ave(x, g))"],
    "x.groupby(g).transform('mean')": CARRIED["ave(x, g)"],
    "I(Q('my var') - Q('my var').mean())": CARRIED["I(`my var` - mean(`my var`))"],
    "I(x * np.mean(Q('my var')))": CARRIED["I(x * mean(`my var`))"],
    "n.map(n.value_counts())": lambda d: d["n"].map(data()["n"].value_counts()),
}


def model_of(kind: type, right: str, frame: pd.DataFrame | None = None, outcome: str = "y", **given):
    """Return a fitted model of one class, groups in `g` or regressions in each `h`."""
    frame = data() if frame is None else frame
    formula = f"{outcome} ~ {right}"
    if kind is Lmer:
        return fitted(formula if "|" in right else f"{formula} + (1 | g)", frame, given=given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(Lm2(formula, frame, group="h") if kind is Lm2 else Lm(formula, frame))


def predicted(model, rows: pd.DataFrame, **how) -> np.ndarray:
    return model.predict(rows, **({"use_rfx": True} if isinstance(model, Lmer) else {}) | how)


def one_by_one(model, rows: pd.DataFrame, places, **how) -> list[float]:
    return [predicted(model, rows.iloc[[i]], **how)[0] for i in places]


def made(term: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the column of a term."""
    return rows.assign(made=np.asarray({**CARRIED, **CARRIED_BY_PATSY}[term](rows), dtype=float))


CASES = [
    *(pytest.param(Lmer, term, marks=pytest.mark.r) for term in CARRIED),
    *((kind, term) for kind in (Lm, Lm2) for term in CARRIED_BY_PATSY),
]


@pytest.mark.parametrize(("kind", "term"), CASES)
def test_a_term_of_a_whole_column_is_computed_as_in_the_fit(kind, term):
    right = f"{term} * f" if kind is Lmer else term
    model, by_hand = model_of(kind, right), model_of(kind, right.replace(term, "made"), made(term, data()))
    np.testing.assert_allclose(model.fits, by_hand.fits, rtol=1e-6)
    whole, used = predicted(model, data()), ~np.isnan(model.fits)
    np.testing.assert_allclose(whole[used], model.fits[used], rtol=SAME)
    np.testing.assert_allclose(one_by_one(model, data(), ALONE), whole[ALONE], rtol=SAME)
    rows = new_rows().assign(h=["one", "other"] * 3)
    expected = predicted(by_hand, made(term, rows))
    np.testing.assert_allclose(predicted(model, rows), expected, rtol=1e-6)
    np.testing.assert_allclose(one_by_one(model, rows, range(6)), expected, rtol=1e-6)
    if kind is Lmer:
        whole = predicted(model, data(), use_rfx=False)
        np.testing.assert_allclose(one_by_one(model, data(), ALONE, use_rfx=False), whole[ALONE], rtol=SAME)
        se = [predicted(m, made(term, rows), interval="prediction")["SE"] for m in (model, by_hand)]
        np.testing.assert_allclose(*se, rtol=1e-5)


PLACES = {
    "random slope": ("x + (0 + {} | g)", {}),
    "offset": ("f + offset({}) + (1 | g)", {}),
    "interaction": ("f:{} + (1 | g)", {}),
    "poisson": ("{} + (1 | g)", {"outcome": "count", "family": "poisson"}),
    "poisson offset": ("f + offset(0.1 * {}) + (1 | g)", {"outcome": "count", "family": "poisson"}),
}


@pytest.mark.r
@pytest.mark.parametrize("term", ["I(x - mean(x))", "scale(x)[, 1]", "cut(x, 3, labels = FALSE)", "I(x - ave(x, g))"])
@pytest.mark.parametrize("place", PLACES)
def test_wherever_it_stands(place, term):
    right, given = PLACES[place]
    model = model_of(Lmer, right.format(term), **given)
    by_hand = model_of(Lmer, right.format("made"), made(term, data()), **given)
    rows, used = new_rows(), ~np.isnan(model.fits)
    for use_rfx in (False, True):
        found = one_by_one(model, rows, range(6), use_rfx=use_rfx)
        np.testing.assert_allclose(found, by_hand.predict(made(term, rows), use_rfx=use_rfx), rtol=1e-4)
    np.testing.assert_allclose(predicted(model, data())[used], model.fits[used], rtol=1e-10)


@pytest.mark.r
@pytest.mark.parametrize(
    "term",
    ["f + offset(scale(x))", "factor(n, labels = c('p', 'q', 'r', 's'))", "relevel(factor(f), 'b')", "cut(x, 3)"],
)
def test_what_r_makes_of_the_levels_or_the_scale_at_hand_is_that_of_the_fit(term):
    """A single row has one level, by which neither labels nor a reference can be found."""
    model = model_of(Lmer, term)
    np.testing.assert_allclose(one_by_one(model, data(), range(5, 12)), model.fits[5:12], rtol=SAME)


def zscore(x):
    return stats.zscore(x)


UNCARRIED = {
    Lmer: ["rank(x)", "cumsum(x)", "c(NA, diff(x))", "I(rank(x)/max(rank(x)))", "rev(x)"],
    Lm: ["x.rank()", "x.cumsum()", "zscore(x)", "np.gradient(x)", "I(x.rank() / max(x.rank()))"],
}
BOTH = [pytest.param(Lmer, marks=pytest.mark.r), Lm]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("kind", BOTH)
def test_what_can_not_be_carried_is_known_for_rows_of_the_fit_and_refused_for_others(kind, place):
    term, advised = UNCARRIED[kind][place], "scale()" if kind is Lmer else "center()"
    model = model_of(kind, term)
    used = np.flatnonzero(~np.isnan(model.fits))
    np.testing.assert_allclose(predicted(model, data())[used], model.fits[used], rtol=SAME)
    some = used[[5, 40, 2]]
    np.testing.assert_allclose(predicted(model, data().iloc[some]), model.fits[some], rtol=SAME)
    with pytest.raises(FormulaError) as told:
        model.predict(data().iloc[[8]].assign(x=2.25))
    assert str(told.value).startswith(f"{term} is computed from all rows of the data at once")
    assert "x = 2.25" in str(told.value) and advised in str(told.value) and "column of the data" in str(told.value)
    assert np.isnan(model.predict(data().iloc[[8]].assign(x=np.nan)))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.filterwarnings("ignore:.*has no value in row:pymer4.errors.ModelWarning")
def test_a_lag_of_values_that_repeat_is_known_for_the_data_alone(kind):
    model = model_of(kind, "c(0, diff(n))" if kind is Lmer else "n.diff()")
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(predicted(model, data())[used], model.fits[used], rtol=SAME)
    with pytest.raises(FormulaError, match=r"diff\(n?\)+ is computed from all rows"):
        model.predict(data().iloc[20:30])


@pytest.mark.r
@pytest.mark.parametrize("term", ["cut(x, 3)", "cut(x, c(0, 4, 30))", "log(x)"])
def test_a_row_that_a_term_has_no_value_for_is_told(term):
    model = model_of(Lmer, term)
    rows = data().iloc[[8, 9, 10]].reset_index(drop=True)
    rows.loc[1, "x"] = -50.0
    with pytest.warns(ModelWarning, match=r"A term has no value in row\(s\) 1, counted from 0"):
        found = predicted(model, rows)
    assert np.isnan(found).tolist() == [False, True, False]
    np.testing.assert_allclose(found[[0, 2]], model.fits[[8, 10]], rtol=SAME)
    with pytest.warns(ModelWarning, match=r"row\(s\) 1, "):
        table = model.predict(rows, interval="prediction")
    assert table.isna().any(axis=1).tolist() == [False, True, False]


@pytest.mark.r
@pytest.mark.parametrize("term", ["I(x - mean(x))", "scale(x)[, 1]", "I(x / max(x))", "poly(x, 1)[, 1]"])
def test_marginal_means_and_plots_see_it_too(term):
    model, plain = model_of(Lmer, f"{term} * f"), model_of(Lmer, "x * f")
    for at in (None, {"x": [2.0]}):
        found, expected = (m.emmeans("f", at=at)[0] for m in (model, plain))
        np.testing.assert_allclose(found["Estimate"], expected["Estimate"], rtol=1e-6)
        np.testing.assert_allclose(found["SE"], expected["SE"], rtol=1e-5)
    found, expected = (m.emtrends("x", "f")[0] for m in (model, plain))
    np.testing.assert_allclose(found["Estimate"], expected["Estimate"], rtol=1e-5)
    np.testing.assert_allclose(*(m.joint_tests()["F-stat"] for m in (model, plain)), rtol=1e-4)
    lines = [[line.get_ydata() for line in m.plot("x").get_lines()] for m in (model, plain)]
    np.testing.assert_allclose(*lines, rtol=1e-5)


@pytest.mark.r
def test_marginal_means_refuse_what_can_not_be_carried():
    model = model_of(Lmer, "rank(x) + f")
    for ask in (lambda: model.emmeans("f"), lambda: model.plot("x"), model.joint_tests):
        with pytest.raises(FormulaError, match=r"rank\(x\) is computed from all rows"):
            ask()


@pytest.mark.r
def test_a_loaded_model_knows_it_and_a_refit_learns_anew(tmp_path):
    model = model_of(Lmer, "I(x - mean(x)) + rank(x)")
    rows = data().iloc[[7, 90]]
    expected = model.predict(rows, use_rfx=True)
    np.testing.assert_allclose(expected, model.fits[[7, 90]], rtol=SAME)
    save_model(model, tmp_path / "m.h5")
    loaded = load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(loaded.predict(rows, use_rfx=True), expected)
    model._frame["x"] += 3
    model.fit(summarize=False)
    moved = data().iloc[[7]].assign(x=data()["x"][7] + 3)
    assert model.predict(moved, use_rfx=True)[0] == pytest.approx(expected[0])


@pytest.mark.r
def test_plain_columns_are_not_looked_at(monkeypatch):
    model, calls, call = model_of(Lmer, "x * f + (x | g)"), [], bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    model.predict(data())
    computed = model_of(Lmer, "log(x)")
    calls.clear()
    computed.predict(data())
    computed.predict(data())
    assert calls == ["for_new_rows", "predict_mixed", "predict_mixed"]


# ------------------------------------------------------------------ of regressions alone


@pytest.mark.parametrize(
    "term", ["pd.cut(x, 3)", "C(pd.cut(x, 3))", "C(pd.qcut(x, 4), Sum)", "np.where(x > x.mean(), 'high', 'low')"]
)
def test_categories_are_cut_as_in_the_fit(term):
    model, plain = model_of(Lm, term), model_of(Lm, "C(made)", data().assign(made=cuts(data())))
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(one_by_one(model, data(), (0, 7, 50)), model.fits[[0, 7, 50]], rtol=SAME)
    np.testing.assert_allclose(model.predict(data())[used], model.fits[used], rtol=SAME)
    alone = one_by_one(model, new_rows(), range(6))
    # A product with several rows adds up the coefficients in another order than one with a single row.
    np.testing.assert_allclose(model.predict(new_rows()), alone, rtol=1e-14)
    if "pd.cut" in term:
        np.testing.assert_allclose(alone, plain.predict(new_rows().assign(made=cuts(new_rows()))), rtol=1e-9)


def test_what_is_drawn_anew_each_time_is_refused():
    model = model_of(Lm, "np.random.default_rng().permutation(x)")
    with pytest.raises(FormulaError, match="is not the same when it is computed again"):
        model.predict(data())


def test_ranks_and_missing_values_beside_a_row_change_nothing():
    model = fit(Lm("y ~ I(x - x.mean()) + f", data()), rank=True)
    used = np.flatnonzero(~np.isnan(model.fits))[[0, 9, 70]]
    np.testing.assert_allclose(one_by_one(model, data(), used), model.fits[used], rtol=SAME)
    spline = model_of(Lm, "bs(x, 4)")
    rows = new_rows(3)
    rows.loc[1, "x"] = X.max() + 5
    expected = spline.predict(new_rows(3))
    for missing in (False, True):
        rows.loc[2, "x"] = np.nan if missing else 3.0
        with pytest.warns(ModelWarning, match=r"has no value in row\(s\) 1 \(x = "):
            found = spline.predict(rows)
        assert np.isnan(found).tolist() == [False, True, missing] and found[0] == pytest.approx(expected[0])


def test_a_copy_carries_the_same(tmp_path):
    model = model_of(Lm, "I(x - x.mean()) + x.rank()")
    rows = data().iloc[[7, 90]]
    save_model(model, tmp_path / "m.h5")
    np.testing.assert_allclose(load_model(tmp_path / "m.h5").predict(rows), model.fits[[7, 90]], rtol=SAME)


def test_a_value_that_two_columns_could_tell_is_looked_up_by_both():
    """A group has its mean; that each x has one mean here, too, is a coincidence of the data."""
    data = pd.DataFrame({"g": np.repeat(list("ABCD"), 3), "x": [1.0, 2, 3, 1, 2, 3, 5, 6, 7, 5, 6, 7]})
    data["y"] = np.random.default_rng(1).normal(size=12)

    def mean(g, x):
        return x.groupby(g).transform("mean")

    model = Lm("y ~ mean(g, x)", data)
    model.fit(summarize=False)
    np.testing.assert_allclose(model.predict(data[::-1]), model.fits[::-1])
    for g, x in (("A", 6.0), ("E", 1.0)):
        with pytest.raises(FormulaError, match="the fit does not tell"):
            model.predict(pd.DataFrame({"g": [g], "x": [x]}))
