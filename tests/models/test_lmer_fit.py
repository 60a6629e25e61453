"""How an `Lmer` is fitted: what is printed, which optimizer is used, what a fit is about, and whose the data are."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
from cases import CASES, case, refit
from samples import close, fitted, trial, with_holes

from pymer4 import Lmer
from pymer4.errors import DataError, NotFittedError

pytestmark = pytest.mark.r

PLAIN = "y ~ x + (1 | g)"
REORDERED = 1e-4  # the optimizer stops elsewhere when rows or columns are summed in another order


def test_later_arguments_keep_their_defaults():
    later = {"conf_level": 0.95, "ddf": "Satterthwaite", "nAGQ": 1, "seed": None, "n_jobs": 1, "permute_within": None}
    limits = {"method": "Wald", "conf_level": None, "n_boot": 500, "seed": None, "n_jobs": 1, "verbose": False}
    for method, wanted in ((Lmer.fit, later), (Lmer.confint, limits)):
        found = {name: one.default for name, one in inspect.signature(method).parameters.items()}
        assert found.items() >= wanted.items()


# What is printed


def test_fit_prints_the_summary_and_returns_it_rounded(capfd):
    model = Lmer(PLAIN, with_holes())
    table = model.fit()
    shown, expected = capfd.readouterr().out, model.coefs.round(3)
    pd.testing.assert_frame_equal(table, expected)
    pd.testing.assert_frame_equal(model.summary(), expected)
    assert capfd.readouterr().out == shown
    assert not model.coefs.equals(expected)
    # 235 are the rows used, not the 240 given
    numbers = (*table["Estimate"], *model.ranef_var["Var"], model.AIC, model.logLike)
    for word in (PLAIN, "235", *(f"{number:.3f}" for number in numbers), *table.columns):
        assert word in shown


@pytest.mark.parametrize("keyword", ["summarize", "summary"])
def test_a_quiet_fit_prints_nothing_and_returns_none(keyword, capfd):
    assert Lmer(PLAIN, trial()).fit(**{keyword: False}) is None
    assert tuple(capfd.readouterr()) == ("", "")
    assert Lmer(PLAIN, trial()).fit(**{keyword: True}) is not None


def test_nothing_but_fit_and_summary_prints(capfd):
    model = refit("factors")
    for ask in (
        model.simulate,
        lambda n: model.predict(model.data, use_rfx=True),
        lambda n: model.confint("boot", n_boot=n),
    ):
        ask(2)
    _ = model.design_matrix, model.coefs
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize(("level", "shown"), [(0.9, "90%"), (0.995, "99.5%"), (0.999, "99.9%")])
def test_what_is_said_is_what_was_asked_for(level, shown, capfd):
    Lmer(PLAIN, trial()).fit(conf_level=level, verbose=True, conf_int="profile")
    out = capfd.readouterr().out
    for word in (f"Fitting {PLAIN} (gaussian, identity), {shown} profile limits", f"{shown} "):
        assert word in out


# Control; that it reaches the optimizer, as text and as a dict, is in `tests/reference/`


@pytest.mark.parametrize("as_text", [True, False])
def test_control_can_switch_the_check_of_levels_off(as_text):
    control = dict.fromkeys(("check.nobs.vs.nlev", "check.nobs.vs.nRE"), "ignore")
    text = ", ".join(f'{name}="{value}"' for name, value in control.items())
    model = fitted("y ~ x + (1 | row)", trial().assign(row=range(240)), control=text if as_text else control)
    assert model.grps == {"row": 240}


def test_convergence_is_frozen_and_names_what_went_wrong():
    record = case("slopes").convergence
    names = ["optimizer", "code", "messages", "max_gradient", "singular", "singular_terms"]
    assert [field.name for field in dataclasses.fields(record)] == names
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.code = 1
    assert (record.code, record.messages, record.singular) == (0, (), False)
    assert record.max_gradient < 0.002  # lme4's own bound
    singular, stopped = case("singular").convergence, case("stopped").convergence
    assert singular.singular is True and any("h" in term for term in singular.singular_terms)
    assert stopped.code != 0 and any("converge" in text for text in stopped.messages) and stopped.singular is False


# One fit and the next


@pytest.mark.parametrize("data", [trial, with_holes, lambda: trial().assign(fits=1.0, residuals=2.0)])
def test_fitting_twice_gives_the_same(data):
    model = fitted("y ~ x + I(2 * x) + (1 | g)", data())
    first = (model.coefs, model.data.copy(), model.ranef, list(model.warnings), model.fits)
    model.fit(summarize=False, no_warnings=True)
    for found, before in zip((model.coefs, model.data, model.ranef), first, strict=False):
        pd.testing.assert_frame_equal(found, before)
    assert model.warnings == first[3]
    np.testing.assert_array_equal(model.fits, first[4])


def test_other_arguments_replace_the_last_fit():
    how = {"conf_int": "boot", "n_boot": 5, "conf_level": 0.9, "REML": False, "ddf": "asymptotic"}
    model = refit("slopes", old_optimizer=True, **how)
    assert model.convergence.optimizer == "bobyqa"
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, case("slopes").coefs)
    assert (model.ci_type, model.sig_type) == ("Wald", "parametric")
    assert case("ml").logLike < model.logLike


def test_before_fit_nothing_is_there():
    model = Lmer(PLAIN, trial(), "gaussian")
    assert (model.fitted, model.warnings, model.formula, model.family) == (False, [], PLAIN, "gaussian")
    tables = ("coefs", "ranef", "fixef", "ranef_var", "ranef_corr", "design_matrix")
    for name in (*tables, "fits", "residuals", "grps", "AIC", "BIC", "logLike", "model_obj"):
        assert getattr(model, name) is None
    for ask, *given in (
        (model.summary,), (model.confint,), (model.predict, trial()), (model.simulate, 1), (model.plot, "x"),
        (model.plot_summary,),
    ):  # fmt: skip
        with pytest.raises(NotFittedError, match=r"\.fit\(\)"):
            ask(*given)


# The user's data


def test_the_users_frame_is_never_changed():
    data = with_holes().set_index(pd.date_range("2020", periods=240, name="day"))
    before = data.copy()
    model = fitted("y ~ x * cond + (1 | g)", data, weights="w", conf_int="boot", n_boot=3)
    model.predict(data)
    model.simulate(1)
    pd.testing.assert_frame_equal(data, before)
    assert model.data is not data
    pd.testing.assert_frame_equal(model.data.drop(columns=["fits", "residuals"]), before)


def test_changing_a_frame_later_changes_no_fit():
    data, expected = trial(), fitted(PLAIN)
    model = Lmer(PLAIN, data)
    data["y"] = 0.0
    model.data["x"] = 0.0
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, expected.coefs)
    del model.data["g"]
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, expected.coefs)
    pd.testing.assert_frame_equal(model.data, expected.data)


def test_data_has_fits_and_residuals():
    model, data = case("holes"), with_holes()
    assert list(model.data.columns) == [*data.columns, "fits", "residuals"]
    np.testing.assert_array_equal(model.data[["fits", "residuals"]].T, [model.fits, model.residuals])
    gone = data[["y", "x", "g"]].isna().any(axis=1)
    assert list(np.flatnonzero(np.isnan(model.fits))) == list(np.flatnonzero(gone))
    np.testing.assert_allclose((model.fits + model.residuals)[~gone], data["y"][~gone], rtol=1e-12)


@pytest.mark.parametrize("names", [("fits",), ("residuals",), ("fits", "residuals")])
def test_columns_of_the_user_named_fits_or_residuals_stay(names):
    data = trial().rename(columns=dict(zip(("x", "y"), names[::-1], strict=False)))
    x, y = (names[-1], "y") if len(names) == 1 else ("residuals", "fits")
    model, expected = fitted(f"{y} ~ {x} + (1 | g)", data), fitted(PLAIN)
    np.testing.assert_allclose(model.coefs.iloc[:, :7], expected.coefs.iloc[:, :7], rtol=1e-9)
    pd.testing.assert_frame_equal(model.data[list(data.columns)], data)
    assert set(model.data.columns) == {*data.columns, "fits", "residuals"}
    for name in names:
        assert sum(name in text and f".{name}" in text for text in model.warnings) == 1
    assert len(model.warnings) == len(names)
    close(model.fits, expected.fits)
    close(model.predict(model.data, use_rfx=True), expected.fits)


INDEXES = {
    "text": pd.Index([f"r{k}" for k in range(240)]),
    "turned round": pd.RangeIndex(239, -1, -1),
    "one label": pd.Index([0] * 240),
    "two levels": pd.MultiIndex.from_product([range(24), range(10)], names=["a", "b"]),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_the_index_is_kept_and_never_aligned_on(kind):
    data = with_holes().set_index(INDEXES[kind])
    model, plain = fitted(PLAIN, data, weights=data["w"]), fitted(PLAIN, with_holes(), weights="w")
    pd.testing.assert_frame_equal(model.coefs, plain.coefs)
    for found in (model.fits, model.data["fits"]):
        np.testing.assert_array_equal(found, plain.fits)
    pd.testing.assert_index_equal(model.data.index, data.index)
    used = ~np.isnan(model.fits)
    for frame in (model.design_matrix, model.simulate(1)):
        pd.testing.assert_index_equal(frame.index, data.index[used])
    np.testing.assert_array_equal(model.predict(data, use_rfx=True), plain.predict(with_holes(), use_rfx=True))


INVARIANT = {
    "rows shuffled": lambda d: d.sample(frac=1, random_state=1),
    "columns turned round": lambda d: d[d.columns[::-1]],
    "rows of nothing": lambda d: pd.concat([d, d.head(5).assign(y=np.nan)]),
    "unused columns": lambda d: d.assign(junk=pd.Timestamp("2020"), more=[[1]] * len(d), z=np.nan),
}


@pytest.mark.parametrize("change", INVARIANT)
def test_what_does_not_matter_changes_nothing(change):
    model, plain = fitted(CASES["factors"][0], INVARIANT[change](trial())), case("factors")
    assert list(model.coefs.index) == list(plain.coefs.index)
    close(model.coefs[["Estimate", "SE"]], plain.coefs[["Estimate", "SE"]], rtol=REORDERED)
    assert model.logLike == pytest.approx(plain.logLike, rel=1e-7)


STORED = {
    "nullable": lambda d: d.convert_dtypes(),
    "arrow": lambda d: d.convert_dtypes(dtype_backend="pyarrow"),
    "object": lambda d: d.astype(object).astype({"g": "category"}),
    "small": lambda d: d.astype({"x": "float32", "y": "float32", "k": "int8", "g": "int16", "cond": "category"}),
    "sparse": lambda d: d.astype({"x": "Sparse[float]", "k": "uint64", "g": float}),
}


@pytest.mark.parametrize("how", STORED)
def test_a_column_means_the_same_however_stored(how):
    """Each kind of column by itself is in `tests/data/test_columns.py`."""
    data = trial()[["y", "x", "z", "cond", "flag", "g"]].assign(k=lambda d: (d.z * 4).round().astype(int))
    data[["x", "y"]] = (data[["x", "y"]] * 8).round() / 8  # numbers that every type holds exactly
    model, plain = (fitted("y ~ x * cond + k + flag + (1 | g)", frame) for frame in (STORED[how](data), data))
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-12)
    assert list(model.ranef.index) == list(plain.ranef.index)


# Weights and offset


def test_weights_by_name_and_by_array_are_one():
    named, formula = case("weighted"), CASES["weighted"][0]
    for weights in (trial()["w"], trial()["w"].to_numpy(), trial()["w"].tolist()):
        given = fitted(formula, weights=weights, offset=trial()["o"])
        pd.testing.assert_frame_equal(given.coefs, named.coefs, rtol=1e-12)
    assert not np.allclose(named.coefs["Estimate"], fitted(formula, offset="o").coefs["Estimate"])
    with pytest.raises(DataError, match="index is not that of the data"):
        Lmer(formula, trial(), weights=trial()["w"].sort_values())


@pytest.mark.parametrize(("argument", "column"), [("weights", "w"), ("offset", "o")])
def test_a_missing_weight_or_offset_leaves_the_row_out(argument, column):
    data, expected = trial(), fitted(PLAIN, trial().iloc[3:], **{argument: column})
    data.loc[:2, column] = np.nan
    for given in (column, data[column].to_numpy()):
        model = fitted(PLAIN, data, **{argument: given})
        pd.testing.assert_frame_equal(model.coefs, expected.coefs, rtol=1e-9)
        assert list(np.flatnonzero(np.isnan(model.fits))) == [0, 1, 2]
