"""What `Lmer` says when something is wrong: errors name thing and remedy, warnings come once, no state is half-way."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lmer
from pymer4.errors import (
    ConvergenceWarning,
    DataError,
    FormulaError,
    ModelWarning,
    NotFittedError,
    OptionError,
    Pymer4Error,
    RError,
)
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

FORMULA = "y ~ x + (1 | g)"


def trial() -> pd.DataFrame:
    """Return 120 rows in 12 groups."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(size=120), "z": rng.normal(size=120)})
    frame["c"] = rng.choice(["a", "b", "d"], 120)
    frame["flag"] = rng.random(120) < 0.5
    frame["w"] = rng.uniform(0.5, 2, 120)
    frame["y"] = frame.x + rng.normal(size=12)[frame.g] + rng.normal(size=120)
    return frame


def fit(formula=FORMULA, data=None, fit_with=None, **given) -> Lmer:
    model = Lmer(formula, trial() if data is None else data, **given)
    model.fit(summarize=False, **(fit_with or {}))
    return model


@pytest.fixture(scope="module")
def plain() -> Lmer:
    return fit()


@pytest.fixture
def reads_only(monkeypatch):
    """Fail the test that asks R for more than to read a text."""
    call = bridge.call

    def asked(verb, **arguments):
        assert verb in ("read_formula", "read_arguments"), f"R was asked: {verb}"
        return call(verb, **arguments)

    monkeypatch.setattr(bridge, "call", asked)


def says(error: BaseException, *words: str) -> None:
    for word in words:
        assert word in str(error), f"{word!r} is not in: {error}"


# What is known before a fit


def infinite(column: pd.Series, value: float = np.inf) -> pd.Series:
    return column.where(column.index != 4, value)


DAY = pd.Timestamp("2020")
BAD_DATA = {
    "missing predictor": (FormulaError, ["'xx'", "'x'", "y ~ xx"], lambda d: fit("y ~ xx + (1 | g)", d)),
    "missing outcome": (FormulaError, ["'yy'", "'y'"], lambda d: fit("yy ~ x + (1 | g)", d)),
    "missing group": (FormulaError, ["'gg'", "'g'"], lambda d: fit("y ~ x + (1 | gg)", d)),
    "missing in a call": (FormulaError, ["'xx'"], lambda d: fit("y ~ log(xx) + (1 | g)", d)),
    "no random part": (FormulaError, ["use lm", "y ~ x"], lambda d: fit("y ~ x", d)),
    "no tilde": (FormulaError, ["~"], lambda d: fit("y + x + (1 | g)", d)),
    "open bracket": (FormulaError, ["(1 | g"], lambda d: fit("y ~ x + (1 | g", d)),
    "empty formula": (FormulaError, ["empty"], lambda d: fit("", d)),
    "formula None": (FormulaError, ["str", "nonetype"], lambda d: fit(None, d)),
    "formula list": (FormulaError, ["str", "list"], lambda d: fit(["y ~ x + (1 | g)"], d)),
    "formula bytes": (FormulaError, ["str", "bytes"], lambda d: fit(b"y ~ x + (1 | g)", d)),
    "arguments swapped": (FormulaError, ["str", "dataframe", "first"], lambda d: Lmer(d, FORMULA)),
    "no rows": (DataError, ["empty", "0 rows"], lambda d: fit(data=d[:0])),
    "no columns": (DataError, ["empty"], lambda d: fit(data=pd.DataFrame())),
    "a dict": (DataError, ["dataframe", "dict"], lambda d: fit(data=d.to_dict())),
    "an array": (DataError, ["dataframe", "ndarray"], lambda d: fit(data=d[["x"]].to_numpy())),
    "a Series": (DataError, ["dataframe", "series"], lambda d: fit(data=d["x"])),
    "twice a column": (DataError, ["'x'", "rename"], lambda d: fit(data=pd.concat([d, d[["x"]]], axis=1))),
    "one group": (DataError, ["'g'", "one level", "1 | g"], lambda d: fit(data=d.assign(g=7))),
    "one group left": (DataError, ["'g'", "one level"], lambda d: fit(data=d.assign(x=d.x.where(d.g == 3)))),
    "one group of text": (DataError, ["'g'", "one level"], lambda d: fit(data=d.assign(g="only"))),
    "group a row": (
        DataError, ["'g'", "120", "check.nobs.vs.nlev", "control"], lambda d: fit(data=d.assign(g=range(120))),
    ),
    "crossing a row": (
        DataError, ["row", "120"], lambda d: fit("y ~ x + (1 | g / row)", d.assign(row=[f"r{k}" for k in range(120)])),
    ),
    "group a row left": (
        DataError, ["'g'", "12"], lambda d: fit(data=d.assign(x=d.x.where(~d.duplicated("g")))),
    ),
    "all missing": (DataError, ["x", "120", "drop"], lambda d: fit(data=d.assign(x=np.nan))),
    "all missing between them": (
        DataError, ["x", "y", "missing"], lambda d: fit(data=d.assign(x=d.x.where(d.g < 6), y=d.y.where(d.g >= 6))),
    ),
    "infinite predictor": (DataError, ["'x'", "infinite", "nan"], lambda d: fit(data=d.assign(x=infinite(d.x)))),
    "infinite outcome": (DataError, ["'y'", "infinite"], lambda d: fit(data=d.assign(y=infinite(d.y, -np.inf)))),
    "infinite in a call": (DataError, ["'x'", "infinite"], lambda d: fit("y ~ exp(x) + (1 | g)", d.assign(x=-np.inf))),
    "infinite, nullable": (
        DataError, ["'x'", "infinite"], lambda d: fit(data=d.assign(x=infinite(d.x).astype("Float64"))),
    ),
    "dates": (DataError, ["'t'", "datetime", ".dt.days"], lambda d: fit("y ~ t + (1 | g)", d.assign(t=DAY))),
    "dates as group": (DataError, ["'t'"], lambda d: fit("y ~ x + (1 | t)", d.assign(t=DAY))),
    "durations": (DataError, ["'t'"], lambda d: fit("y ~ t + (1 | g)", d.assign(t=pd.Timedelta("1D")))),
    "lists": (DataError, ["'t'"], lambda d: fit("y ~ t + (1 | g)", d.assign(t=[[1]] * 120))),
    "text and numbers": (
        DataError, ["'t'", "text"], lambda d: fit("y ~ t + (1 | g)", d.assign(t=pd.Series([1, "a"] * 60))),
    ),
    "complex": (DataError, ["'t'", "complex"], lambda d: fit("y ~ t + (1 | g)", d.assign(t=1j))),
    "unknown family": (OptionError, ["'gausian'", "'gaussian'"], lambda d: fit(family="gausian")),
    "family None": (OptionError, ["none", "'gaussian'"], lambda d: fit(family=None)),
}  # fmt: skip


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_and_formulas_are_named_before_anything_is_fitted(case):
    kind, words, attempt = BAD_DATA[case]
    with pytest.raises(kind) as caught:
        attempt(trial())
    assert isinstance(caught.value, (Pymer4Error, ValueError))
    for word in words:
        assert word in str(caught.value).lower(), caught.value


@pytest.mark.parametrize(
    "data",
    [
        trial().assign(z=np.inf, t=DAY, more=[[1]] * 120),
        pd.concat([trial(), pd.DataFrame({"all": np.full(120, np.nan)})], axis=1),
    ],
)
def test_columns_that_are_not_used_do_not_matter(data, plain):
    pd.testing.assert_frame_equal(fit(data=data).coefs, plain.coefs)


WEIGHTS = {
    "too short": [1.0, 2.0],
    "too long": np.ones(121),
    "two columns": np.ones((120, 2)),
    "one number": 2.0,
    "text": np.array(["a"] * 120),
    "infinite": np.where(np.arange(120) == 5, np.inf, 1.0),
    "no column": "ww",
    "column of text": "c",
    "column of truth values": "flag",
}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("argument", ["weights", "offset"])
@pytest.mark.parametrize("case", WEIGHTS)
def test_bad_weights_and_offsets_are_named(case, argument):
    with pytest.raises((DataError, OptionError)) as caught:
        fit(**{argument: WEIGHTS[case]})
    says(caught.value, argument)
    if case == "no column":
        says(caught.value, "'ww'", "'w'")
    if case in ("too short", "too long"):
        says(caught.value, "120", str(len(WEIGHTS[case])))
    if case.startswith("column of"):
        says(caught.value, repr(WEIGHTS[case]), "numbers")


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("name", [True, False])
def test_negative_weights_are_refused(name):
    data = trial()
    data.loc[3, "w"] = -1.0
    with pytest.raises(DataError, match=r"weights.*-1"):
        fit(data=data, weights="w" if name else data["w"])


def test_a_weight_of_zero_is_refused_or_leaves_the_row_out():
    """R's criterion is infinite then; a number that stands for nothing must not come out."""
    data = trial()
    data.loc[3, "w"] = 0.0
    expected = fit(data=trial().drop(index=3), weights="w").coefs
    try:
        found = fit(data=data, weights="w").coefs
    except DataError as error:
        says(error, "weights")
    else:
        np.testing.assert_allclose(found["Estimate"], expected["Estimate"], rtol=1e-6)
        np.testing.assert_allclose(found["SE"], expected["SE"], rtol=1e-6)


@pytest.mark.usefixtures("reads_only")
def test_a_negative_offset_is_fine():
    assert Lmer(FORMULA, trial(), offset="z").warnings == []


BAD_OPTIONS = {
    "conf_int": ["wald", "Profile", "hdi", None, True],
    "n_boot": [0, -1, 2.5, "9", None, True],
    "conf_level": [0, 1, -0.5, 100, 150, "a", None, np.nan, True, [0.9]],
    "ddf": ["KR", "satterthwaite", None, 3],
    "seed": [-1, "a", 1.5, True],
    "n_jobs": [0, "2", 1.5, "all"],
    "REML": ["ML"],
    "control": [5, None, ["a"]],
}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize(("option", "value"), [(k, v) for k, vs in BAD_OPTIONS.items() for v in vs])
def test_a_bad_option_is_named_with_what_is_legal(option, value):
    model = Lmer(FORMULA, trial())
    given = {"n_boot": 3, option: value}
    if option in ("n_boot", "seed", "n_jobs"):
        given["conf_int"] = "boot"
    with pytest.raises(OptionError) as caught:
        model.fit(summarize=False, **given)
    says(caught.value, option)
    if option in ("conf_int", "ddf") and isinstance(value, str):
        says(caught.value, repr(value), "Use one of")
    for wrong, right in (("wald", "'Wald'"), ("Profile", "'profile'"), ("satterthwaite", "'Satterthwaite'")):
        if value == wrong:
            says(caught.value, f"Did you mean {right}")


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("text", ["optimizer=", "bobyqa", "optimizer='bobyqa', optimizer='nloptwrap'", "list(("])
def test_control_that_can_t_be_read_is_shown(text):
    with pytest.raises((OptionError, FormulaError)) as caught:
        Lmer(FORMULA, trial()).fit(control=text)
    says(caught.value, text)


@pytest.mark.usefixtures("reads_only")
def test_options_that_exclude_each_other():
    model = Lmer(FORMULA, trial())
    with pytest.raises(OptionError, match=r"old_optimizer.*control") as caught:
        model.fit(old_optimizer=True, control="optimizer='Nelder_Mead'")
    says(caught.value, "one of the two")
    with pytest.raises(OptionError, match="Kenward-Roger") as caught:
        model.fit(ddf="Kenward-Roger", REML=False)
    says(caught.value, "REML=True")


NEAR = {
    "sumarize": "summarize", "sumary": "summary", "nboot": "n_boot", "conf_lvl": "conf_level", "confint": "conf_int",
    "reml": "REML", "n_job": "n_jobs", "controls": "control", "no_warning": "no_warnings", "seeds": "seed",
}  # fmt: skip


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("given", NEAR)
def test_an_unknown_keyword_suggests_the_near_one(given):
    with pytest.raises(TypeError, match=f"{given!r}.*Did you mean '{NEAR[given]}'"):
        Lmer(FORMULA, trial()).fit(**{given: False})


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize(
    "ask",
    [
        lambda m: Lmer(FORMULA, trial(), qwerty=1), lambda m: m.fit(qwerty=1), lambda m: m.predict(trial(), qwerty=1),
        lambda m: m.simulate(1, qwerty=1), lambda m: m.confint(qwerty=1), lambda m: m.plot("x", qwerty=1),
        lambda m: m.plot_summary(qwerty=1),
    ],
)  # fmt: skip
def test_an_unknown_keyword_is_a_type_error(ask):
    with pytest.raises(TypeError, match="qwerty"):
        ask(Lmer(FORMULA, trial()))


BAD_ARGUMENTS = {
    "predict pred_type": (lambda m: m.predict(trial(), pred_type="resp"), ["pred_type", "'response'", "'link'"]),
    "predict new_levels": (lambda m: m.predict(trial(), new_levels="pop"), ["new_levels", "'population'", "'error'"]),
    "confint method": (lambda m: m.confint("wald"), ["method", "'Wald'"]),
    "confint conf_level": (lambda m: m.confint(conf_level=1), ["conf_level"]),
    "confint n_boot": (lambda m: m.confint("boot", n_boot=0), ["n_boot"]),
    "confint seed": (lambda m: m.confint("boot", n_boot=2, seed=-1), ["seed"]),
    "confint n_jobs": (lambda m: m.confint("boot", n_boot=2, n_jobs=0), ["n_jobs"]),
    "simulate none": (lambda m: m.simulate(0), ["num_datasets"]),
    "simulate a part": (lambda m: m.simulate(2.5), ["num_datasets"]),
    "simulate text": (lambda m: m.simulate("3"), ["num_datasets"]),
    "simulate seed": (lambda m: m.simulate(1, seed="x"), ["seed"]),
    "plot param": (lambda m: m.plot("xx"), ["'xx'", "'x'"]),
    "plot grps": (lambda m: m.plot("x", grps=["99"]), ["grps", "99"]),
    "error_bars": (lambda m: m.plot_summary(error_bars="sd"), ["error_bars", "'ci'", "'se'"]),
    "orient": (lambda m: m.plot_summary(orient="x"), ["orient", "'v'", "'h'"]),
    "ranef_idx": (lambda m: m.plot_summary(ranef_idx=1), ["ranef_idx", "g"]),
    "ranef_idx negative": (lambda m: m.plot_summary(ranef_idx=-1), ["ranef_idx", "g"]),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_of_the_other_methods_are_named(case, plain):
    ask, words = BAD_ARGUMENTS[case]
    with pytest.raises(OptionError) as caught:
        ask(plain)
    says(caught.value, *words)


# predict


@pytest.fixture(scope="module")
def rich() -> Lmer:
    return fit("y ~ x * c + flag + (1 | g)", weights="w")


def test_predict_names_the_columns_it_lacks(rich):
    with pytest.raises(DataError) as caught:
        rich.predict(trial()[["x"]])
    says(caught.value, "'c'", "'flag'")
    with pytest.raises(DataError, match="'g'"):
        rich.predict(trial().drop(columns="g"), use_rfx=True)
    for data in ({"x": [1.0]}, trial().to_numpy(), None):
        with pytest.raises(DataError, match="DataFrame"):
            rich.predict(data)
    with pytest.raises(DataError, match="'x'"):
        rich.predict(pd.concat([trial(), trial()[["x"]]], axis=1))


@pytest.mark.parametrize("use_rfx", [True, False])
def test_predict_names_a_level_that_the_fit_has_not_seen(rich, use_rfx):
    with pytest.raises(Pymer4Error) as caught:
        rich.predict(trial().assign(c=["a", "new"] * 60), use_rfx=use_rfx)
    says(caught.value, "c", "new")
    with pytest.raises(Pymer4Error) as caught:
        rich.predict(trial()[:1].assign(c="new"), use_rfx=use_rfx)
    says(caught.value, "c", "new")


@pytest.mark.parametrize(
    ("column", "values"), [("c", 1.5), ("x", "text"), ("flag", "maybe"), ("x", DAY), ("flag", 2.5)]
)
def test_predict_names_a_column_of_another_kind(rich, column, values):
    with pytest.raises(DataError, match=repr(column)):
        rich.predict(trial().assign(**{column: values}))


def test_predict_takes_truth_values_stored_as_numbers_or_says_no(rich):
    data = trial()
    try:
        found = rich.predict(data.assign(flag=data.flag.astype(int)))
    except DataError as error:
        says(error, "'flag'")
    else:
        np.testing.assert_allclose(found, rich.predict(data), rtol=1e-12)


def test_predict_names_an_offset_that_is_no_number():
    model = fit(offset="z")
    with pytest.raises(DataError, match="'z'"):
        model.predict(trial().assign(z="a"))


def test_a_failed_prediction_leaves_the_model_as_it_was(rich):
    before = rich.predict(trial(), use_rfx=True)
    with pytest.raises(Pymer4Error):
        rich.predict(trial().assign(g=99), use_rfx=True)
    np.testing.assert_array_equal(rich.predict(trial(), use_rfx=True), before)
    assert rich.fitted


# What only R can know

R_SAYS = {
    "function of another kind": ("y ~ log(x, 'two') + (1 | g)", {}, "non-numeric argument"),
    "infinite once computed": ("y ~ log(q) + (1 | g)", {}, "NA/NaN/Inf"),
    "too many effects": ("y ~ x + (x + z + flag + c + q | g3)", {}, "number of observations"),
}


@pytest.mark.parametrize("case", R_SAYS)
def test_r_speaks_in_its_own_words_and_the_next_fit_works(case, plain):
    formula, options, words = R_SAYS[case]
    data = trial().assign(q=lambda d: d.x.abs().where(d.index > 0, 0.0), g3=np.arange(120) // 3)
    model = Lmer(formula, data)
    with pytest.raises(RError) as caught:
        model.fit(summarize=False, **options)
    says(caught.value, words, formula)
    assert caught.value.formula == formula
    assert words in caught.value.message
    pd.testing.assert_frame_equal(fit().coefs, plain.coefs)


def test_an_outcome_of_text_is_refused_by_name():
    with pytest.raises(DataError, match="'c'"):
        fit("c ~ x + (1 | g)")


def test_a_constant_outcome_is_refused_by_name_or_fitted():
    """lme4 fits it with a variance of zero; what may not happen is a message about derivatives."""
    try:
        model = fit(data=trial().assign(y=2.0), fit_with={"no_warnings": True})
    except DataError as error:
        says(error, "'y'")
    else:
        np.testing.assert_allclose(model.coefs["Estimate"], [2, 0], atol=1e-8)


# State after a failure


def interrupted(model, monkeypatch):
    def stop(verb, **arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bridge, "call", stop)
        model.fit(summarize=False)


def forked(model, monkeypatch):
    from joblib import parallel_config

    with parallel_config(backend="multiprocessing"):
        model.fit(conf_int="boot", n_boot=2, n_jobs=2, summarize=False)


def warned(model, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(control="optCtrl=list(maxeval=2)", summarize=False)


def worker_lost(model, monkeypatch):
    def lost(*arguments, **more):
        raise RuntimeError("a worker died")

    with monkeypatch.context() as patch:
        patch.setattr("joblib.Parallel.__call__", lost)
        model.fit(conf_int="boot", n_boot=2, n_jobs=2, summarize=False)


FAILURES = {
    "bad option": lambda m, _: m.fit(conf_int="nope"),
    "unknown keyword": lambda m, _: m.fit(qwerty=1),
    "bad control text": lambda m, _: m.fit(control="optimizer="),
    "bad number of jobs": lambda m, _: m.fit(conf_int="boot", n_boot=2, n_jobs=0),
    "an error of R": lambda m, _: m.fit(control="optimizer='nope'"),
    "an interrupt": interrupted,
    "a fork refused": forked,
    "a worker lost": worker_lost,
    "a warning made an error": warned,
}
RESULTS = [
    "coefs", "fits", "residuals", "ranef", "fixef", "ranef_var", "ranef_corr", "grps", "AIC", "BIC", "logLike",
    "convergence", "ci_type", "sig_type", "model_obj", "design_matrix",
]  # fmt: skip


def assert_no_fit(model, data):
    assert model.fitted is False
    assert [name for name in RESULTS if getattr(model, name) is not None] == []
    assert model.warnings == []
    pd.testing.assert_frame_equal(model.data, data)
    for ask in (model.summary, model.confint, lambda: model.predict(data), lambda: model.simulate(1)):
        with pytest.raises(NotFittedError):
            ask()


def assert_old_fit(model, old):
    assert model.fitted is True
    for name in ("coefs", "ranef", "fixef", "ranef_var", "design_matrix", "data"):
        pd.testing.assert_frame_equal(getattr(model, name), getattr(old, name))
    for name in ("AIC", "logLike", "grps", "convergence", "ci_type", "sig_type", "warnings"):
        assert getattr(model, name) == getattr(old, name)
    np.testing.assert_array_equal(model.fits, old.fits)
    np.testing.assert_array_equal(model.predict(trial(), use_rfx=True), old.predict(trial(), use_rfx=True))


@pytest.mark.parametrize("first", [False, True], ids=["first fit", "refit"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_fit_leaves_the_model_as_it_was(failure, first, plain, monkeypatch):
    model = fit() if first else Lmer(FORMULA, trial())
    with pytest.raises((Exception, KeyboardInterrupt)):
        FAILURES[failure](model, monkeypatch)
    assert model.fitted is first
    if first:
        assert_old_fit(model, plain)
    else:
        assert_no_fit(model, trial())
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, plain.coefs)
    assert_old_fit(model, plain)


def test_refitting_after_bad_data_works(plain):
    with pytest.raises(DataError):
        fit(data=trial().assign(x=np.inf))
    pd.testing.assert_frame_equal(fit().coefs, plain.coefs)


# Warnings

LEVEL = trial().assign(y=lambda d: d.y - d.groupby("g")["y"].transform("mean"))  # no variance between groups
WARNING = {
    "singular": ("y ~ x + (1 | g)", LEVEL, {}, ConvergenceWarning, "singular"),
    "rank deficient": ("y ~ x + I(2 * x) + (1 | g)", trial(), {}, ModelWarning, "I(2 * x)"),
    "aliased factor": ("y ~ c + twin + (1 | g)", trial().assign(twin=lambda d: d.c + "2"), {}, ModelWarning, "twinb2"),
    "stopped": ("y ~ x + (x | g)", trial(), {"control": "optCtrl=list(maxeval=2)"}, ConvergenceWarning, "maxeval"),
    "scales": ("y ~ big + z + (1 | g)", trial().assign(big=lambda d: 1e7 * d.x), {}, ModelWarning, "scale"),
    "own columns": ("y ~ fits + (1 | g)", trial().rename(columns={"x": "fits"}), {}, ModelWarning, "'fits'"),
    "computed": ("y ~ log(x) + (1 | g)", trial(), {}, ModelWarning, "NaNs produced"),
}


@pytest.mark.parametrize("case", WARNING)
def test_a_warning_comes_once_on_the_users_line_and_is_kept(case):
    formula, data, options, kind, words = WARNING[case]
    model = Lmer(formula, data)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model.fit(summarize=False, **options)
        line = inspect.currentframe().f_lineno - 1
    texts = [str(w.message) for w in issued]
    assert [text.partition("\nNext: ")[0] for text in texts] == model.warnings  # R's words, then ours
    assert len(texts) == len(set(texts))
    (said,) = [w for w in issued if words in str(w.message)]
    assert said.category is kind
    for w in issued:
        assert issubclass(w.category, ModelWarning)
        assert issubclass(w.category, UserWarning)
        assert (w.filename, w.lineno) == (__file__, line)
    assert model.fitted


@pytest.mark.parametrize("case", WARNING)
def test_no_warnings_silences_but_keeps(case, capfd):
    formula, data, options, _, words = WARNING[case]
    model = Lmer(formula, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(summarize=False, no_warnings=True, **options)
    assert any(words in text for text in model.warnings)
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("case", WARNING)
def test_fitting_twice_warns_as_often(case):
    formula, data, options, _, _ = WARNING[case]
    model = Lmer(formula, data)
    counts = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            model.fit(summarize=False, **options)
        counts.append((len(issued), len(model.warnings)))
    assert counts[0] == counts[1]
    assert counts[0][0] == counts[0][1] > 0


def test_warnings_are_those_of_the_last_fit_only():
    model = Lmer("y ~ x + (x | g)", trial())
    with pytest.warns(ConvergenceWarning):
        model.fit(control={"optCtrl": {"maxeval": 2}}, summarize=False)
    assert model.warnings
    model.fit(control="optimizer='bobyqa', calc.derivs=FALSE", summarize=False, no_warnings=True)
    assert not any("maxeval" in text for text in model.warnings)
    other = fit()
    assert other.warnings == []


def test_warnings_of_limits_come_once_each_and_are_not_those_of_the_fit():
    """lme4 says the same of every point of a profile; with weights, 200 times."""
    model = Lmer(FORMULA, trial(), weights="w")
    model.fit(summarize=False)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model.confint("profile")
        line = inspect.currentframe().f_lineno - 1
    texts = [str(w.message) for w in issued]
    assert len(texts) == len(set(texts))
    assert {(w.filename, w.lineno) for w in issued} <= {(__file__, line)}
    assert model.warnings == []


def test_a_warning_inside_the_users_function_points_there():
    def helper():
        return fit(WARNING["rank deficient"][0])

    with pytest.warns(ModelWarning) as issued:
        helper()
    assert {w.filename for w in issued} == {__file__}


def test_errors_keep_their_classes():
    for kind in (FormulaError, DataError, OptionError):
        assert issubclass(kind, Pymer4Error)
        assert issubclass(kind, ValueError)
    assert issubclass(ConvergenceWarning, ModelWarning)
