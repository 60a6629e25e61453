"""Predictions of a gaussian `Lmer`: rows of any number, order, dtype and group."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from cases import CASES, case
from samples import close, dataset, fitted

from pymer4.errors import DataError

pytestmark = pytest.mark.r

every = pytest.mark.parametrize("name", CASES)


@every
def test_training_data_predict_the_fits(name):
    model = case(name)
    found = model.predict(model.data, use_rfx=True)
    assert isinstance(found, np.ndarray) and (found.shape, found.dtype) == (model.fits.shape, np.float64)
    complete = ~np.isnan(model.fits)
    close(found[complete], model.fits[complete], rtol=1e-8)


@every
def test_population_predictions_are_x_b(name):
    model = case(name)
    data = model.data[~np.isnan(model.fits)]
    pd.testing.assert_index_equal(model.design_matrix.index, data.index)
    offset = data["o"] if name in ("weighted", "offset term") else 0
    close(model.predict(data), model.design_matrix.to_numpy() @ model.coefs["Estimate"].to_numpy() + offset, rtol=1e-8)


@pytest.mark.parametrize("name", ["factors", "transformed", "weighted", "nested"])
@pytest.mark.parametrize("rows", [[0], [17, 3, 17], list(range(40, 20, -1)), []])
@pytest.mark.parametrize("use_rfx", [False, True])
def test_any_rows_in_any_order_predict_alike(name, rows, use_rfx):
    model = case(name)
    whole, found = model.predict(model.data, use_rfx=use_rfx), model.predict(model.data.iloc[rows], use_rfx)
    assert (found.shape, found.dtype) == ((len(rows),), np.float64)
    np.testing.assert_allclose(found, whole[rows], rtol=1e-10)


def test_more_rows_than_the_training_data(trial_model):
    data = pd.concat([trial_model.data] * 3, ignore_index=True)
    np.testing.assert_allclose(trial_model.predict(data, use_rfx=True), np.tile(trial_model.fits, 3), rtol=1e-10)


def test_only_the_variables_used_are_needed(trial_model, trial):
    for names, use_rfx in ((["dose", "flag", "cond", "x"], False), (["dose", "h", "flag", "g", "cond", "x"], True)):
        np.testing.assert_array_equal(trial_model.predict(trial[names], use_rfx), trial_model.predict(trial, use_rfx))
    sleep = case("random only")
    np.testing.assert_array_equal(sleep.predict(pd.DataFrame({"Subject": ["308"]})), sleep.coefs["Estimate"])


RECAST = {
    "text": lambda d: d.astype({"cond": object, "dose": str, "g": str}),
    "other categories": lambda d: d.assign(cond=pd.Categorical(d.cond, ["zz", "b", "C", "a"])),
    "other order": lambda d: d.assign(dose=pd.Categorical(d.dose.astype(str), ["high", "mid", "low"])),
    "groups as categories": lambda d: d.assign(h=pd.Categorical(d.h, sorted(set(d.h))[::-1])),
    "nullable": lambda d: d.astype({"flag": "boolean", "g": "Int64", "x": "Float64"}),
    "object": lambda d: d.astype({"flag": object, "x": object, "g": float}),
    "arrow": lambda d: d.convert_dtypes(dtype_backend="pyarrow"),
    "elsewhere": lambda d: d[d.columns[::-1]].set_axis([f"row {k}" for k in range(len(d))]),
}


@pytest.mark.parametrize("recast", RECAST)
def test_new_data_may_be_stored_otherwise(recast, trial_model, trial):
    np.testing.assert_allclose(trial_model.predict(RECAST[recast](trial), use_rfx=True), trial_model.fits, rtol=1e-10)


@pytest.mark.parametrize("term", ["a", "b", "C"])
def test_one_level_alone_is_still_that_level(term, trial_model, trial):
    rows = (trial.cond == term).to_numpy()
    np.testing.assert_allclose(trial_model.predict(trial[rows], use_rfx=True), trial_model.fits[rows], rtol=1e-10)


def test_missing_values_predict_nan_in_place(trial_model, trial):
    whole = trial_model.predict(trial, use_rfx=True)
    data = trial.astype({"flag": "boolean", "g": "Int64"})
    data.loc[2, "x"], data.loc[4, "cond"], data.loc[9, "y"] = np.nan, None, np.nan
    data.loc[6, "flag"], data.loc[11, "g"] = pd.NA, pd.NA
    for use_rfx, lost in ((True, [2, 4, 6, 11]), (False, [2, 4, 6])):  # the population has no groups
        found = trial_model.predict(data, use_rfx=use_rfx)
        assert list(np.flatnonzero(np.isnan(found))) == lost
        if use_rfx:
            np.testing.assert_allclose(np.delete(found, lost), np.delete(whole, lost), rtol=1e-10)
    assert np.isnan(trial_model.predict(data.assign(x=np.nan))).all()


def test_unseen_groups_are_refused_by_name_or_sent_to_the_population(trial_model, trial):
    model, data = trial_model, trial.iloc[:4].assign(g=[5, 999, 10, 998])
    with pytest.raises(DataError) as caught:
        model.predict(data, use_rfx=True)
    for word in ("g", "999", "998", "new_levels='population'", "use_rfx=False"):
        assert word in str(caught.value)
    found = model.predict(data, use_rfx=True, new_levels="population")
    by_h = model.ranef[1]["(Intercept)"].loc[data["h"]].to_numpy()
    np.testing.assert_allclose(found[[1, 3]], (model.predict(data) + by_h)[[1, 3]], rtol=1e-10)
    np.testing.assert_allclose(found[[0, 2]], model.predict(data.iloc[[0, 2]], use_rfx=True), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(data, new_levels="error"), model.predict(data))


def test_unseen_groups_of_a_nested_factor():
    model, data = case("nested"), dataset("Pastes").iloc[:3].assign(cask="z")
    with pytest.raises(DataError, match=r"z:A|A:z"):
        model.predict(data, use_rfx=True)
    expected = model.coefs["Estimate"].iloc[0] + model.ranef[1].loc["A", "(Intercept)"]
    np.testing.assert_allclose(model.predict(data, use_rfx=True, new_levels="population"), expected, rtol=1e-10)


@pytest.mark.parametrize("given", ["int64", "float64", "str"])
@pytest.mark.parametrize("held", ["int64", "float64"])
@pytest.mark.parametrize("moved", [lambda g: g * 20_000, lambda g: g + 12_345_678_900])
def test_large_group_numbers_are_one_level_however_stored(held, given, moved, trial):
    """100000 is 1e+05 to R where it is a double, and 12345678900 is no integer of 32 bits."""
    data = trial.assign(g=moved(trial.g))
    model = fitted("y ~ x + (1 | g)", data.astype({"g": held}))
    np.testing.assert_allclose(model.predict(data.astype({"g": given}), use_rfx=True), model.fits, rtol=1e-10)
    assert list(model.ranef.index) == [str(k) for k in sorted(set(data.g))]


def test_both_scales_are_one_and_old_keywords_are_taken(sleep_model, sleep):
    plain, old = sleep_model.predict(sleep), {"skip_data_checks": True, "verify_predictions": False, "verbose": True}
    for how in ({"pred_type": "response"}, {"pred_type": "link"}, old):
        np.testing.assert_array_equal(sleep_model.predict(sleep, **how), plain)


def test_an_offset_counts_in_fits_and_predictions(trial):
    rows, term = trial.iloc[:20], case("offset term")
    named, array = (fitted("y ~ x + (1 | g)", trial, offset=offset) for offset in ("o", trial["o"].to_numpy()))
    for model in (named, array):
        pd.testing.assert_frame_equal(model.coefs, term.coefs, rtol=1e-9)
        close(model.fits, term.fits)
        close(model.predict(trial, use_rfx=True), model.fits)
        np.testing.assert_allclose(model.fits + model.residuals, trial["y"], rtol=1e-12)
    for model in (named, term):
        shifted = model.predict(rows.assign(o=rows.o + 10)) - model.predict(rows)
        np.testing.assert_allclose(shifted, 10, rtol=1e-9)
        assert np.isnan(model.predict(rows.assign(o=np.nan))).all()
        with pytest.raises(DataError, match="'o'"):
            model.predict(rows.drop(columns="o"))
    with pytest.raises(DataError, match="20"):
        array.predict(rows)


def test_an_aliased_term_predicts_as_zero(trial):
    model, plain = case("aliased"), fitted("y ~ x + (1 | g)", trial)
    assert "I(2 * x)" not in model.coefs.index
    np.testing.assert_allclose(model.predict(trial), plain.predict(trial), rtol=1e-9)


def test_nothing_is_warned_of_a_clean_fit(trial):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fitted("y ~ x + (1 | g)", trial, no_warnings=False)
        model.predict(trial, use_rfx=True)
        model.simulate(1)
        model.confint()
    assert model.warnings == []
