"""What a row predicts does not depend on the rows beside it, whatever the formula computes from a whole column."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import patsy
import pytest
from samples import fit
from scipy import stats

from pymer4 import Lm, Lm2, Lmer, load_model, save_model
from pymer4.errors import FormulaError, ModelWarning

SAME = 1e-12  # relative: the same model, its columns made in the formula or before


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
    frame.loc[[4, 77], ["y", "count"]] = np.nan
    return frame


def fitted(formula: str, frame: pd.DataFrame | None = None, **given) -> Lmer:
    model = Lmer(formula, data() if frame is None else frame, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(summarize=False)
    return model


def new_rows(n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    rows = data().iloc[[3, 50, 51, 80, 81, 119]].head(n).reset_index(drop=True)
    return rows.assign(x=rng.uniform(1, 8, n), **{"my var": rng.normal(3, 2, n)})


def first_of(fitted_column: str, made: np.ndarray):
    """Return what gives new rows the value that the fit has for theirs."""
    return dict(zip(data()[fitted_column], made, strict=True))


X = data()["x"]
V = data()["my var"]
MEANS = X.groupby(data()["g"]).transform("mean")
BREAKS = np.r_[X.min() - (X.max() - X.min()) / 1000, np.linspace(X.min(), X.max(), 4)[1:3], X.max() + np.ptp(X) / 1000]

# A term that is computed from a whole column, and what it is for rows of any make, as R documents its functions.
CARRIED = {
    "I(x - mean(x))": lambda d: d["x"] - X.mean(),
    "I(x / max(x))": lambda d: d["x"] / X.max(),
    "scale(x)[, 1]": lambda d: (d["x"] - X.mean()) / X.std(),
    "as.numeric(scale(x))": lambda d: (d["x"] - X.mean()) / X.std(),
    "base::scale(x, scale = FALSE)": lambda d: d["x"] - X.mean(),
    "scale(x - min(x))": lambda d: (d["x"] - X.mean()) / X.std(),
    "I((x - min(x)) / diff(range(x)))": lambda d: (d["x"] - X.min()) / np.ptp(X),
    "log(x - min(x) + 1)": lambda d: np.log(d["x"] - X.min() + 1),
    "I(as.numeric(x > median(x)))": lambda d: 1.0 * (d["x"] > X.median()),
    "pmin(x, quantile(x, 0.9))": lambda d: np.minimum(d["x"], X.quantile(0.9)),
    "findInterval(x, quantile(x, c(0.2, 0.5)))": lambda d: np.searchsorted(X.quantile([0.2, 0.5]), d["x"], "right"),
    "cut(x, 3, labels = FALSE)": lambda d: np.searchsorted(BREAKS, d["x"]),
    "as.numeric(cut(x, 3))": lambda d: np.searchsorted(BREAKS, d["x"]),
    "I(x - ave(x, g))": lambda d: d["x"] - d["g"].map(first_of("g", MEANS)),
    "ave(x, g)": lambda d: d["g"].map(first_of("g", MEANS)),
    "as.numeric(factor(f))": lambda d: d["f"].map({"a": 1, "b": 2, "c": 3}),
    "I(`my var` - mean(`my var`))": lambda d: d["my var"] - V.mean(),
    "I(x * mean(`my var`))": lambda d: d["x"] * V.mean(),
    "I(ecdf(x)(x))": lambda d: np.searchsorted(np.sort(X), d["x"], "right") / len(X),
}


def beside(term: str, formula: str, **given) -> tuple[Lmer, Lmer]:
    """Return a model with a term, and the same one whose column was made before."""
    by_hand = data().assign(made=np.asarray(CARRIED[term](data()), dtype=float))
    return fitted(formula.format(term), **given), fitted(formula.format("made"), by_hand, **given)


def made(term: str, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(made=np.asarray(CARRIED[term](rows), dtype=float))


@pytest.mark.r
@pytest.mark.parametrize("term", CARRIED)
def test_a_term_of_a_whole_column_is_computed_as_in_the_fit(term):
    model, by_hand = beside(term, "y ~ {} * f + (1 | g)")
    np.testing.assert_allclose(model.fits, by_hand.fits, rtol=1e-7)
    for use_rfx in (False, True):
        whole = model.predict(data(), use_rfx=use_rfx)
        alone = [model.predict(data().iloc[[i]], use_rfx=use_rfx)[0] for i in (0, 4, 11, 60, 119)]
        np.testing.assert_allclose(alone, whole[[0, 4, 11, 60, 119]], rtol=SAME)
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(whole[used], model.fits[used], rtol=SAME)
    rows = new_rows()
    expected = by_hand.predict(made(term, rows), use_rfx=True)
    np.testing.assert_allclose(model.predict(rows, use_rfx=True), expected, rtol=1e-6)
    np.testing.assert_allclose([model.predict(rows.iloc[[i]], use_rfx=True)[0] for i in range(6)], expected, rtol=1e-6)
    se = [m.predict(made(term, rows), use_rfx=True, interval="prediction")["SE"] for m in (model, by_hand)]
    np.testing.assert_allclose(*se, rtol=1e-5)


PLACES = {
    "random slope": ("y ~ x + (0 + {} | g)", {}),
    "slope and intercept": ("y ~ x + ({} | g)", {}),
    "offset": ("y ~ f + offset({}) + (1 | g)", {}),
    "interaction": ("y ~ f:{} + (1 | g)", {}),
    "poisson": ("count ~ {} + (1 | g)", {"family": "poisson"}),
    "poisson offset": ("count ~ f + offset(0.1 * {}) + (1 | g)", {"family": "poisson"}),
}


@pytest.mark.r
@pytest.mark.parametrize("term", ["I(x - mean(x))", "scale(x)[, 1]", "cut(x, 3, labels = FALSE)", "I(x - ave(x, g))"])
@pytest.mark.parametrize("place", PLACES)
def test_wherever_it_stands(place, term):
    formula, given = PLACES[place]
    model, by_hand = beside(term, formula, **given)
    rows = new_rows()
    for use_rfx in (False, True):
        found = [model.predict(rows.iloc[[i]], use_rfx=use_rfx)[0] for i in range(6)]
        np.testing.assert_allclose(found, by_hand.predict(made(term, rows), use_rfx=use_rfx), rtol=1e-4)
        used = ~np.isnan(model.fits)
    np.testing.assert_allclose(model.predict(data(), use_rfx=True)[used], model.fits[used], rtol=1e-10)


@pytest.mark.r
def test_the_offset_that_r_itself_scales_is_carried():
    model = fitted("y ~ f + offset(scale(x)) + (1 | g)")
    np.testing.assert_allclose(model.predict(data().iloc[[9]], use_rfx=True), model.fits[9], rtol=SAME)


@pytest.mark.r
@pytest.mark.parametrize("term", ["rank(x)", "cumsum(x)", "c(NA, diff(x))", "I(rank(x)/max(rank(x)))", "rev(x)"])
def test_what_can_not_be_carried_is_known_for_rows_of_the_fit_and_refused_for_others(term):
    model = fitted(f"y ~ {term} + (1 | g)")
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(model.predict(data(), use_rfx=True)[used], model.fits[used], rtol=SAME)
    some = np.flatnonzero(used)[[5, 40, 2]]
    np.testing.assert_allclose(model.predict(data().iloc[some], use_rfx=True), model.fits[some], rtol=SAME)
    with pytest.raises(FormulaError) as told:
        model.predict(data().iloc[[8]].assign(x=2.25))
    assert str(told.value).startswith(f"{term} is computed from all rows of the data at once")
    assert "x = 2.25" in str(told.value) and "scale()" in str(told.value) and "column of the data" in str(told.value)
    assert np.isnan(model.predict(data().iloc[[8]].assign(x=np.nan)))


@pytest.mark.r
def test_a_lag_of_values_that_repeat_is_known_for_the_data_alone():
    model = fitted("y ~ c(0, diff(n)) + (1 | g)")
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(model.predict(data(), use_rfx=True)[used], model.fits[used], rtol=SAME)
    with pytest.raises(FormulaError, match=r"^c\(0, diff\(n\)\) is computed from all rows"):
        model.predict(data().head(10))


@pytest.mark.r
def test_factors_that_are_made_of_the_levels_at_hand():
    """A single row has one level, by which neither labels nor a reference can be found."""
    for term in ("factor(n, labels = c('p', 'q', 'r', 's'))", "relevel(factor(f), 'b')", "factor(n)", "cut(x, 3)"):
        model = fitted(f"y ~ {term} + (1 | g)")
        np.testing.assert_allclose(
            [model.predict(data().iloc[[i]], use_rfx=True)[0] for i in range(5, 12)], model.fits[5:12], rtol=SAME
        )


@pytest.mark.r
@pytest.mark.parametrize("term", ["cut(x, 3)", "cut(x, c(0, 4, 30))", "log(x)"])
def test_a_row_that_a_term_has_no_value_for_is_told(term):
    model = fitted(f"y ~ {term} + (1 | g)")
    rows = data().iloc[[8, 9, 10]].reset_index(drop=True)
    rows.loc[1, "x"] = -50.0
    with pytest.warns(ModelWarning, match=r"A term has no value in row\(s\) 1, counted from 0"):
        found = model.predict(rows, use_rfx=True)
    assert np.isnan(found).tolist() == [False, True, False]
    np.testing.assert_allclose(found[[0, 2]], model.fits[[8, 10]], rtol=SAME)
    with pytest.warns(ModelWarning, match=r"row\(s\) 1, "):
        table = model.predict(rows, interval="prediction")
    assert table.isna().any(axis=1).tolist() == [False, True, False]


@pytest.mark.r
@pytest.mark.parametrize("term", ["I(x - mean(x))", "scale(x)[, 1]", "I(x / max(x))", "poly(x, 1)[, 1]"])
def test_marginal_means_and_plots_see_it_too(term):
    model, plain = fitted(f"y ~ {term} * f + (1 | g)"), fitted("y ~ x * f + (1 | g)")
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
    model = fitted("y ~ rank(x) + f + (1 | g)")
    for ask in (lambda: model.emmeans("f"), lambda: model.plot("x"), model.joint_tests):
        with pytest.raises(FormulaError, match=r"rank\(x\) is computed from all rows"):
            ask()


@pytest.mark.r
def test_a_loaded_model_knows_it_and_a_refit_learns_anew(tmp_path):
    model = fitted("y ~ I(x - mean(x)) + rank(x) + (1 | g)")
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
    from pymer4.rbridge import bridge

    model, calls, call = fitted("y ~ x * f + (x | g)"), [], bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    model.predict(data())
    computed = fitted("y ~ log(x) + (1 | g)")
    calls.clear()
    computed.predict(data())
    computed.predict(data())
    assert calls == ["for_new_rows", "predict_mixed", "predict_mixed"]


# ------------------------------------------------------------------ patsy's formulas


def cuts(d: pd.DataFrame) -> np.ndarray:
    return np.searchsorted(BREAKS[1:3], d["x"]) - 1.0


# As CARRIED, for formulas in Python; all rows of the data are looked at, also those without an outcome.
CARRIED_BY_PATSY = {
    "I(x - x.mean())": CARRIED["I(x - mean(x))"],
    "I(x - np.mean(x))": CARRIED["I(x - mean(x))"],
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


def regression(kind, formula: str, frame: pd.DataFrame | None = None):
    frame = data() if frame is None else frame
    model = Lm2(formula, frame, group="h") if kind is Lm2 else Lm(formula, frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(summarize=False)
    return model


@pytest.mark.parametrize("term", CARRIED_BY_PATSY)
@pytest.mark.parametrize("kind", [Lm, Lm2])
def test_regressions_compute_it_as_in_the_fit(kind, term):
    halves = data().assign(h=np.where(data()["f"] == "a", "one", "other"))
    column = np.asarray(CARRIED_BY_PATSY[term](data()), dtype=float)
    model = regression(kind, f"y ~ {term}", halves)
    by_hand = regression(kind, "y ~ made", halves.assign(made=column))
    np.testing.assert_allclose(model.coefs["Estimate"], by_hand.coefs["Estimate"], rtol=1e-6)
    whole, used = model.predict(halves), ~np.isnan(model.fits)
    np.testing.assert_allclose(whole[used], model.fits[used], rtol=SAME)
    for i in (0, 4, 11, 60, 119):
        np.testing.assert_allclose(model.predict(halves.iloc[[i]]), whole[[i]], rtol=SAME)
    rows = new_rows().assign(h=["one", "other"] * 3)
    expected = by_hand.predict(rows.assign(made=np.asarray(CARRIED_BY_PATSY[term](rows), dtype=float)))
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-6)
    np.testing.assert_allclose([model.predict(rows.iloc[[i]])[0] for i in range(6)], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "term", ["pd.cut(x, 3)", "C(pd.cut(x, 3))", "C(pd.qcut(x, 4), Sum)", "np.where(x > x.mean(), 'high', 'low')"]
)
def test_categories_are_cut_as_in_the_fit(term):
    model, plain = regression(Lm, f"y ~ {term}"), regression(Lm, "y ~ C(made)", data().assign(made=cuts(data())))
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(
        [model.predict(data().iloc[[i]])[0] for i in (0, 7, 50)], model.fits[[0, 7, 50]], rtol=SAME
    )
    np.testing.assert_allclose(model.predict(data())[used], model.fits[used], rtol=SAME)
    alone = [model.predict(new_rows().iloc[[i]])[0] for i in range(6)]
    # A product with several rows adds up the coefficients in another order than one with a single row.
    np.testing.assert_allclose(model.predict(new_rows()), alone, rtol=1e-14)
    if "pd.cut" in term:
        np.testing.assert_allclose(alone, plain.predict(new_rows().assign(made=cuts(new_rows()))), rtol=1e-9)


def zscore(x):
    return stats.zscore(x)


@pytest.mark.parametrize(
    "term", ["x.rank()", "x.cumsum()", "zscore(x)", "np.gradient(x)", "I(x.rank() / max(x.rank()))"]
)
def test_regressions_know_the_rows_of_the_fit_and_refuse_others(term):
    model = regression(Lm, f"y ~ {term}")
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(model.predict(data())[used], model.fits[used], rtol=SAME)
    some = np.flatnonzero(used)[[5, 40, 2]]
    np.testing.assert_allclose(model.predict(data().iloc[some]), model.fits[some], rtol=SAME)
    with pytest.raises(FormulaError) as told:
        model.predict(data().iloc[[8]].assign(x=2.25))
    assert str(told.value).startswith(f"{term} is computed from all rows of the data at once")
    assert "x = 2.25" in str(told.value) and "center()" in str(told.value) and "column of the data" in str(told.value)
    assert np.isnan(model.predict(data().iloc[[8]].assign(x=np.nan)))


def test_a_lag_of_values_that_repeat_is_known_to_a_regression_for_the_data_alone():
    model = regression(Lm, "y ~ n.diff()")
    with pytest.warns(ModelWarning, match=r"n\.diff\(\) has no value in row\(s\) 0 "):
        found = model.predict(data())
    used = ~np.isnan(model.fits)
    np.testing.assert_allclose(found[used], model.fits[used], rtol=SAME)
    with pytest.raises(FormulaError, match=r"^n\.diff\(\) is computed from all rows"):
        model.predict(data().tail(10))


def test_what_is_drawn_anew_each_time_is_refused():
    model = regression(Lm, "y ~ np.random.default_rng().permutation(x)")
    with pytest.raises(FormulaError, match="is not the same when it is computed again"):
        model.predict(data())


class Centred:
    """A factor of the user's own that centres a column on the rows at hand."""

    def name(self):
        return "centred"

    def memorize_passes_needed(self, state, eval_env):
        return 0

    def eval(self, state, data):
        return np.asarray(data["x"], dtype=float) - np.mean(np.asarray(data["x"], dtype=float))


def test_a_factor_of_the_users_own_is_tried_out_too():
    desc = patsy.ModelDesc([patsy.Term([patsy.EvalFactor("y")])], [patsy.INTERCEPT, patsy.Term([Centred()])])
    model = fit(Lm(desc, data()))
    np.testing.assert_allclose(model.predict(data().iloc[[7]]), model.fits[[7]], rtol=SAME)
    with pytest.raises(FormulaError, match="centred is computed from all rows"):
        model.predict(new_rows())


def test_ranks_and_missing_values_beside_a_row_change_nothing():
    model = Lm("y ~ I(x - x.mean()) + f", data())
    model.fit(summarize=False, rank=True)
    used = np.flatnonzero(~np.isnan(model.fits))[[0, 9, 70]]
    np.testing.assert_allclose([model.predict(data().iloc[[i]])[0] for i in used], model.fits[used], rtol=SAME)
    spline = regression(Lm, "y ~ bs(x, 4)")
    rows = new_rows(3)
    rows.loc[1, "x"] = X.max() + 5
    expected = spline.predict(new_rows(3))
    for missing in (False, True):
        rows.loc[2, "x"] = np.nan if missing else 3.0
        with pytest.warns(ModelWarning, match=r"has no value in row\(s\) 1 \(x = "):
            found = spline.predict(rows)
        assert np.isnan(found).tolist() == [False, True, missing] and found[0] == pytest.approx(expected[0])


def test_a_copy_carries_the_same(tmp_path):
    model = regression(Lm, "y ~ I(x - x.mean()) + x.rank()")
    rows = data().iloc[[7, 90]]
    save_model(model, tmp_path / "m.h5")
    np.testing.assert_allclose(load_model(tmp_path / "m.h5").predict(rows), model.fits[[7, 90]], rtol=SAME)
