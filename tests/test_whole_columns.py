"""What a row predicts does not depend on the rows beside it, whatever the formula computes from a whole column."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import FormulaError

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
    from pymer4 import bridge

    model, calls, call = fitted("y ~ x * f + (x | g)"), [], bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    model.predict(data())
    computed = fitted("y ~ log(x) + (1 | g)")
    calls.clear()
    computed.predict(data())
    computed.predict(data())
    assert calls == ["for_new_rows", "predict_mixed", "predict_mixed"]
