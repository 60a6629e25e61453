"""Limits of a linear model's predictions: against Henderson's equations, R's packages, and simulated data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from cases import refit
from henderson import LIMITS, LINEAR, SOLVED, check, data, dense, model, parts, rows_asked
from samples import fitted, trial
from scipy import stats

from pymer4.errors import DataError, OptionError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

COLUMNS = ["Estimate", "SE", "2.5_ci", "97.5_ci"]
BACKWARDS = 1e-10  # relative: one row alone or among others
KR = 1e-8  # relative: a closed form against pbkrtest's
both_ways = pytest.mark.parametrize("use_rfx", [False, True])
of_both_kinds = pytest.mark.parametrize("kind", ["confidence", "prediction"])


@pytest.mark.parametrize("case", LINEAR)
@both_ways
@of_both_kinds
def test_limits_are_those_of_henderson_and_satterthwaite(case, use_rfx, kind):
    frame = data(case)
    table, plain = model(case).predict(frame, use_rfx=use_rfx, interval=kind), model(case).predict(frame, use_rfx)
    assert list(table.columns) == COLUMNS
    pd.testing.assert_index_equal(table.index, frame.index)
    assert table.attrs == {"interval": kind, "conf_level": 0.95, "ddf": "Satterthwaite", "scale": "response"}
    np.testing.assert_array_equal(table["Estimate"], plain)
    complete, used = ~np.isnan(plain), ~np.isnan(model(case).fits)
    assert table[~complete].isna().all(axis=None) and table[complete].notna().all(axis=None)
    weights = LINEAR[case][2].get("weights", np.ones(len(frame)))
    weights = frame[weights].to_numpy() if isinstance(weights, str) else weights
    residual = 1 / weights[used] if kind == "prediction" else 0.0
    check(table[used], *dense(case, *rows_asked(case, use_rfx, kind), residual))


@pytest.mark.parametrize("case", ["slopes", "both", "functions", "coded", "nested", "weighted", "no intercepts"])
@both_ways
def test_rows_do_not_depend_on_one_another(case, use_rfx):
    frame, how = data(case), {"use_rfx": use_rfx, "interval": "prediction"}
    whole = model(case).predict(frame, **how)
    for rows in (frame.sample(11, random_state=2), frame.iloc[[4]]):
        pd.testing.assert_frame_equal(model(case).predict(rows, **how), whole.loc[rows.index], rtol=BACKWARDS)


def test_many_rows_do_not_loop(sleep):
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"Days": rng.uniform(0, 9, 20_000), "Subject": rng.choice(sleep.Subject, 20_000)})
    table, few = (model("slopes").predict(d, use_rfx=True, interval="prediction") for d in (rows, rows.tail(10)))
    pd.testing.assert_frame_equal(table.tail(10), few, rtol=BACKWARDS)


@pytest.mark.parametrize("level", [0.5, 0.9, 99])
def test_the_level_names_the_columns_and_scales_the_limits(level, sleep):
    table = model("slopes").predict(sleep.head(5), use_rfx=True, interval="confidence", conf_level=level)
    share = level if level < 1 else level / 100
    assert table.columns[2] == f"{50 * (1 - share):g}_ci"
    rows = rows_asked("slopes", True, "confidence")
    check(table, *dense("slopes", *(part[:5] for part in rows), 0.0), level=share)


@of_both_kinds
def test_groups_that_are_new_have_no_effect_but_their_variance(kind):
    slopes = model("slopes")
    frame = pd.DataFrame({"Days": [0.0, 4.5, 12.0], "Subject": ["308", "new", "newer"]})
    with pytest.raises(DataError, match="new"):
        slopes.predict(frame, use_rfx=True, interval=kind)
    table = slopes.predict(frame, use_rfx=True, interval=kind, new_levels="population")
    np.testing.assert_array_equal(table["Estimate"], slopes.predict(frame, use_rfx=True, new_levels="population"))
    x, z = np.column_stack([np.ones(3), frame.Days]), np.zeros((3, 36))
    z[:, :2] = x  # 308 is the first subject
    known, loose = z * [[1], [0], [0]], z * [[0], [1], [1]]
    check(table, *dense("slopes", x, known, loose if kind == "prediction" else 0 * loose, float(kind == "prediction")))
    pd.testing.assert_frame_equal(table.iloc[1:], slopes.predict(frame, interval=kind).iloc[1:], rtol=1e-7)


@of_both_kinds
def test_a_group_may_be_new_for_one_factor_and_known_for_another(kind):
    frame = data("crossed")
    rows = frame.iloc[[0, 30]].astype(str).assign(sample=["A", "Z"])
    table = model("crossed").predict(rows, use_rfx=True, interval=kind, new_levels="population")
    x, Z, _ = rows_asked("crossed", True, kind)
    known, of_samples = Z[[0, 30]].copy(), slice(24, 30)  # after the 24 plates
    assert frame["sample"].iloc[0] == "A" and known[1, of_samples].sum() == 1
    loose = np.zeros_like(known)
    loose[1, of_samples], known[1, of_samples] = known[1, of_samples].copy(), 0
    check(table, *dense("crossed", x[:2], known, loose if kind == "prediction" else 0 * loose, kind == "prediction"))


def test_rows_may_join_groups_that_no_row_of_the_fit_joins():
    """A cask of one batch in a row of another: their effects are independent given the data."""
    frame, how = data("nested"), {"use_rfx": True, "interval": "confidence"}
    rows = frame.iloc[[0, 30]]
    found = parts("nested")
    check(
        model("nested").predict(rows, **how),
        *dense("nested", found["X"][:2], found["Z"][[0, 30]], np.zeros((2, 40)), 0.0),
    )
    crossed = fitted("strength ~ 1 + (1 | batch) + (1 | sample)", frame)
    mixed = crossed.predict(rows.assign(sample=list(rows["sample"].astype(str))[::-1]), **how)
    # Within a batch the effects of batch and sample are negatively correlated given the data.
    assert (mixed["SE"].to_numpy() > crossed.predict(rows, **how)["SE"].to_numpy()).all()


def test_the_population_needs_no_groups_and_for_predictions_the_varying_predictors(sleep):
    varying, nothing = fitted("Reaction ~ 1 + (Days | Subject)", sleep), pd.DataFrame(index=["a", "b"])
    assert varying.predict(nothing, interval="confidence")["SE"].nunique() == 1
    with pytest.raises(DataError, match="'Days'"):
        varying.predict(nothing, interval="prediction")
    later = varying.predict(pd.DataFrame({"Days": [0, 9]}), interval="prediction")
    assert later["SE"][1] > later["SE"][0]


def test_the_limits_of_one_point_are_the_contrast_of_lmertest():
    for day in (0.0, 4.5, 9.0):
        contest = "function(m, x) unlist(lmerTest::contest1D(m, c(1, x), confint = TRUE))"
        estimate, se, df, *_ = inside(contest, model("slopes").model_obj, day)
        table = model("slopes").predict(pd.DataFrame({"Days": [day]}), interval="confidence").iloc[0]
        np.testing.assert_allclose(table, [estimate, se, *stats.t.interval(0.95, df, estimate, se)], rtol=SOLVED)


# ddf, and one model among others


def test_kenward_and_roger():
    frame, plain = trial().head(12), model("both")
    adjusted = fitted(LINEAR["both"][0], ddf="Kenward-Roger")
    table = adjusted.predict(frame, interval="confidence")
    assert table.attrs["ddf"] == "Kenward-Roger"
    told = inside(
        """function(m, n) {
          V <- as.matrix(vcov(m)); A <- pbkrtest::vcovAdj(m); X <- as.matrix(lme4::getME(m, "X"))[seq_len(n), ]
          list(se = sqrt(rowSums((X %*% as.matrix(A)) * X)), df = apply(X, 1, pbkrtest::Lb_ddf, V0 = V, Vadj = A))
        }""",
        adjusted.model_obj,
        12,
    )
    np.testing.assert_allclose(table["SE"], told["se"], rtol=KR)
    half = stats.t.ppf(0.975, told["df"]) * told["se"]
    np.testing.assert_allclose(table["97.5_ci"] - table["Estimate"], half, rtol=KR)
    outcome = adjusted.predict(frame, interval="prediction")
    assert outcome.attrs["ddf"] == "Satterthwaite"
    more = table["SE"] ** 2 - plain.predict(frame, interval="confidence")["SE"] ** 2
    expected = plain.predict(frame, interval="prediction")["SE"] ** 2 + more
    np.testing.assert_allclose(outcome["SE"] ** 2, expected, rtol=1e-7)
    for kind in ("confidence", "prediction"):
        conditional, before = (m.predict(frame, use_rfx=True, interval=kind) for m in (adjusted, plain))
        assert conditional.attrs["ddf"] == "Satterthwaite"
        pd.testing.assert_frame_equal(conditional, before, rtol=LIMITS)


@both_ways
@of_both_kinds
def test_asymptotic_limits_are_normal(use_rfx, kind, sleep):
    how = {"use_rfx": use_rfx, "interval": kind}
    table = refit("slopes", ddf="asymptotic").predict(sleep.head(4), **how)
    assert table.attrs["ddf"] == "asymptotic"
    half = stats.norm.ppf(0.975) * table["SE"]
    np.testing.assert_allclose(table["97.5_ci"] - table["Estimate"], half, rtol=1e-12)
    np.testing.assert_allclose(table["SE"], model("slopes").predict(sleep.head(4), **how)["SE"], rtol=SOLVED)


def test_weights_stand_for_precision_and_have_to_be_there(trial):
    weighted = model("weighted")
    light, heavy = (weighted.predict(trial.head(3).assign(w=w), interval="prediction")["SE"] for w in (0.5, 50))
    np.testing.assert_allclose(light**2 - heavy**2, parts("weighted")["sigma"] ** 2 * (2 - 0.02), rtol=1e-9)
    assert weighted.predict(trial.drop(columns="w"), interval="confidence").notna().all(axis=None)
    gap = weighted.predict(trial.head(3).assign(w=[1, np.nan, 1]), use_rfx=True, interval="prediction")
    assert gap["Estimate"].notna().all() and list(gap["SE"].isna()) == [False, True, False]
    two = trial.head(2)
    for rows, words in (
        (two.drop(columns="w"), "'w' of the weights"), (two.assign(w=[1.0, 0.0]), "above 0"),
        (two.assign(w=["1", "a"]), "numbers"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            weighted.predict(rows, interval="prediction")


def test_an_array_of_weights_belongs_to_the_rows_of_the_fit(trial):
    named = fitted("y ~ x + (1 | g)", weights="w", offset="o")
    for kind in ("confidence", "prediction"):
        found, expected = (m.predict(trial, use_rfx=True, interval=kind) for m in (model("arrays"), named))
        pd.testing.assert_frame_equal(found, expected)
    for other in (trial.head(9), trial.set_index(trial.index + 1)):
        with pytest.raises(DataError, match="belong to the rows of the fit"):
            model("arrays").predict(other, interval="prediction")


def test_limits_cross_once_and_change_nothing(monkeypatch, trial):
    both, trials, calls, call, before = model("both"), model("trials"), [], bridge.call, trial.copy()
    coefs, fits = both.coefs.copy(), both.fits.copy()
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    table, again = (both.predict(trial, use_rfx=True, interval="prediction") for _ in range(2))
    trials.predict(trial, interval="prediction", seed=1)
    assert calls == ["predict_mixed"] * 3
    pd.testing.assert_frame_equal(again, table)
    pd.testing.assert_frame_equal(trial, before)
    pd.testing.assert_frame_equal(both.coefs, coefs)
    np.testing.assert_array_equal(both.fits, fits)


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
def test_no_rows_or_no_complete_rows(interval, sleep):
    empty = model("slopes").predict(sleep.head(0), interval=interval)
    missing = model("slopes").predict(sleep.head(2).assign(Days=np.nan), use_rfx=True, interval=interval)
    assert (len(empty), len(missing)) == (0, 2)
    assert np.isnan(np.asarray(missing)).all()
    if interval:
        assert list(empty.columns) == list(missing.columns) == COLUMNS
        assert missing.attrs["ddf"] == "Satterthwaite"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"interval": "both"}, "'confidence', 'prediction'"),
        ({"interval": True}, "interval=True"),
        ({"interval": "confidence", "conf_level": 1.5}, "conf_level"),
        ({"interval": "prediction", "new_levels": "none"}, "new_levels"),
        ({"interval": "prediction", "seed": -1}, "seed"),
    ],
)
def test_options_are_checked(asked, words, sleep):
    with pytest.raises(OptionError, match=words):
        model("slopes").predict(sleep, **asked)


@pytest.mark.parametrize("case", ["slopes", "both", "functions", "coded", "poisson", "trials"])
def test_limits_of_clean_fits_warn_of_nothing(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for use_rfx in (False, True):
            for kind in ("confidence", "prediction"):
                model(case).predict(data(case), use_rfx=use_rfx, interval=kind, seed=1)


# Coverage
