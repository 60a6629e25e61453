"""What `Lmer` says when something is wrong: errors name thing and remedy before R is asked.

That a fit which fails leaves the model as it was is in `test_fit_in_one_step.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from samples import fitted, trial

from pymer4 import Lmer
from pymer4.errors import DataError, FormulaError, OptionError, Pymer4Error, RError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

FORMULA = "y ~ x + (1 | g)"
DAY = pd.Timestamp("2020")


@pytest.fixture(scope="module")
def plain() -> Lmer:
    return fitted(FORMULA)


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


BAD_FORMULAS = {
    "missing predictor": ("y ~ xx + (1 | g)", "'xx'", "'x'", "y ~ xx"),
    "missing group": ("y ~ x + (1 | gg)", "'gg'", "'g'"),
    "missing in a call": ("y ~ log(xx) + (1 | g)", "'xx'"),
    "no random part": ("y ~ x", "Use Lm", "y ~ x"),
    "no tilde": ("y + x + (1 | g)", "~"),
    "open bracket": ("y ~ x + (1 | g", "(1 | g"),
    "empty": ("", "empty"),
    "None": (None, "str", "NoneType"),
    "a list": (["y ~ x + (1 | g)"], "str", "list"),
}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("case", BAD_FORMULAS)
def test_bad_formulas_are_named_before_anything_is_fitted(case):
    formula, *words = BAD_FORMULAS[case]
    with pytest.raises(FormulaError) as caught:
        Lmer(formula, trial())
    assert isinstance(caught.value, Pymer4Error) and isinstance(caught.value, ValueError)
    says(caught.value, *words)


BAD_DATA = {
    "no rows": (FORMULA, lambda d: d[:0], "empty", "0 rows"),
    "no columns": (FORMULA, lambda d: pd.DataFrame(), "empty"),
    "a list": (FORMULA, lambda d: d.to_numpy().tolist(), "data has to be a pandas, polars or pyarrow frame", "a list"),
    "a dict of dicts": (FORMULA, lambda d: d.to_dict(), "of data is a dict"),
    "twice a column": (FORMULA, lambda d: pd.concat([d, d[["x"]]], axis=1), "'x'", "Rename"),
    "one group": (FORMULA, lambda d: d.assign(g=7), "'g'", "one level", "1 | g"),
    "one group left": (FORMULA, lambda d: d.assign(x=d.x.where(d.g == 15)), "'g'", "one level"),
    "group a row": (FORMULA, lambda d: d.assign(g=range(240)), "'g'", "240", "check.nobs.vs.nlev", "control"),
    "crossing a row": ("y ~ x + (1 | g / row)", lambda d: d.assign(row=[f"r{k}" for k in range(240)]), "row", "240"),
    "group a row left": (FORMULA, lambda d: d.assign(x=d.x.where(~d.duplicated("g"))), "'g'", "24"),
    "all missing": (FORMULA, lambda d: d.assign(x=np.nan), "x", "240", "drop"),
    "all missing between them": (
        FORMULA, lambda d: d.assign(x=d.x.where(d.g < 60), y=d.y.where(d.g >= 60)), "x", "y", "missing",
    ),
    "infinite predictor": (FORMULA, lambda d: d.assign(x=d.x.where(d.index != 4, np.inf)), "'x'", "infinite", "nan"),
    "infinite in a call": ("y ~ exp(x) + (1 | g)", lambda d: d.assign(x=-np.inf), "'x'", "infinite"),
    "dates": ("y ~ t + (1 | g)", lambda d: d.assign(t=DAY), "'t'", "datetime", ".dt.days"),
    "text and numbers": ("y ~ t + (1 | g)", lambda d: d.assign(t=pd.Series([1, "a"] * 120)), "'t'", "text"),
    "outcome of text": ("cond ~ x + (1 | g)", lambda d: d, "'cond'"),
    "outcome of one value": (FORMULA, lambda d: d.assign(y=2.0), "'y'", "nothing to explain"),
}  # fmt: skip


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_named_before_anything_is_fitted(case):
    formula, change, *words = BAD_DATA[case]
    with pytest.raises(DataError) as caught:
        fitted(formula, change(trial()))
    says(caught.value, *words)


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("family", ["binomial", "poisson", "gamma"])
def test_an_outcome_of_one_value_is_named_in_every_family(family):
    with pytest.raises(DataError, match="'y' is 1 in every row used: there is nothing to explain"):
        fitted(FORMULA, trial().assign(y=1), family=family)


@pytest.mark.usefixtures("reads_only")
def test_arguments_in_the_wrong_place_and_families_that_are_none():
    with pytest.raises(FormulaError, match=r"str, got DataFrame.*first"):
        Lmer(trial(), FORMULA)
    for family, words in (("gausian", ("'gausian'", "'gaussian'")), (None, ("None", "'gaussian'"))):
        with pytest.raises(OptionError) as caught:
            Lmer(FORMULA, trial(), family)
        says(caught.value, *words)


WEIGHTS = {
    "too short": ([1.0, 2.0], "240", "2"),
    "two columns": (np.ones((240, 2)),),
    "one number": (2.0,),
    "text": (np.array(["a"] * 240),),
    "infinite": (np.where(np.arange(240) == 5, np.inf, 1.0),),
    "beyond all numbers": ([10**400] * 240,),
    "complex": (np.arange(240) + 1j,),
    "dates": (np.array(["2020"] * 240, dtype="datetime64[D]"),),
    "lists": ([[1]] * 240,),
    "no column": ("ww", "'ww'", "'w'"),
    "column of text": ("cond", "'cond'", "numbers"),
    "column of truth values": ("flag", "'flag'", "numbers"),
}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("argument", ["weights", "offset"])
@pytest.mark.parametrize("case", WEIGHTS)
def test_bad_weights_and_offsets_are_named(case, argument):
    given, *words = WEIGHTS[case]
    with pytest.raises((DataError, OptionError)) as caught:
        Lmer(FORMULA, trial(), **{argument: given})
    says(caught.value, argument, *words)


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_weights_are_above_0_and_offsets_any_number(weight):
    data = trial().assign(w=lambda d: d.w.where(d.index != 3, weight))
    for weights in ("w", data["w"]):
        with pytest.raises(DataError, match=rf"weights.*above 0.*{weight:g}"):
            Lmer(FORMULA, data, weights=weights)
    assert Lmer(FORMULA, data, offset="w").warnings == []


# Arguments


BAD_OPTIONS = {
    "conf_int": ["wald", "Profile", "hdi", None, True],
    "n_boot": [0, -1, 2.5, "9", None, True],
    "conf_level": [0, 1, -0.5, 100, 150, "a", None, np.nan, True, [0.9]],
    "ddf": ["KR", "satterthwaite", None, 3],
    "permute": ["9", 2.5],
    "seed": [-1, "a", 1.5, True],
    "n_jobs": [0, "2", 1.5, "all"],
    "REML": ["ML"],
    "control": [5, None, ["a"]],
}
MEANT = {"wald": "'Wald'", "Profile": "'profile'", "satterthwaite": "'Satterthwaite'"}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize(("option", "value"), [(k, v) for k, vs in BAD_OPTIONS.items() for v in vs])
def test_a_bad_option_is_named_with_what_is_legal(option, value):
    given = {"n_boot": 3, option: value} | ({"conf_int": "boot"} if option in ("n_boot", "seed", "n_jobs") else {})
    with pytest.raises(OptionError) as caught:
        Lmer(FORMULA, trial()).fit(**given)
    says(caught.value, option)
    if option in ("conf_int", "ddf") and isinstance(value, str):
        says(caught.value, repr(value), "Use one of")
        says(caught.value, *[f"Did you mean {right}" for wrong, right in MEANT.items() if value == wrong])


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("text", ["optimizer=", "bobyqa", "optimizer='bobyqa', optimizer='nloptwrap'", "list(("])
def test_control_that_can_t_be_read_is_shown(text):
    with pytest.raises(FormulaError) as caught:
        Lmer(FORMULA, trial()).fit(control=text)
    says(caught.value, text)


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"old_optimizer": True, "control": "optimizer='Nelder_Mead'"}, r"old_optimizer.*control.*one of the two"),
        ({"ddf": "Kenward-Roger", "REML": False}, "Kenward-Roger.*REML=True"),
        ({"control": "autoscale = TRUE"}, r"scale\(x\)"),
        ({"control": {"autoscale": True}}, r"scale\(x\)"),
    ],
)
def test_options_that_can_not_be_together(given, words):
    with pytest.raises(OptionError, match=words):
        Lmer(FORMULA, trial()).fit(**given)


NEAR = {"sumarize": "summarize", "sumary": "summary", "nboot": "n_boot", "confint": "conf_int", "reml": "REML"}


@pytest.mark.usefixtures("reads_only")
@pytest.mark.parametrize("given", NEAR)
def test_an_unknown_keyword_suggests_the_near_one(given):
    with pytest.raises(TypeError, match=f"{given!r}.*Did you mean '{NEAR[given]}'"):
        Lmer(FORMULA, trial()).fit(**{given: False})


@pytest.mark.parametrize(
    ("method", "given", "told"),
    [
        ("confint", "level", r"confint\(\) has no argument 'level'. Did you mean 'conf_level'\? It takes: method, "),
        ("confint", "nsim", "no argument 'nsim'. It takes: method, conf_level, n_boot"),
        ("post_hoc", "dof_asymptotic_at", r"post_hoc\(\) has no argument .*It takes: marginal_vars, "),
        ("predict", "newdata", "Did you mean 'data'"),
        ("simulate", "nsim", r"simulate\(\) has no argument 'nsim'"),
        ("anova", "typ", "Did you mean 'type'"),
        ("joint_tests", "df", "Did you mean 'ddf'"),
        ("infer", "nboot", "Did you mean 'n_boot'"),
        ("emmeans", "spec", "Did you mean 'specs'"),
        ("emtrends", "contrast", "Did you mean 'contrasts'"),
        ("fit_many", "njobs", "Did you mean 'n_jobs'"),
        ("fit_by", "njobs", "Did you mean 'n_jobs'"),
        ("fit_by", "cache", r"no argument 'cache'. It is for many outcomes of one design, fit_many\(\)"),
        ("fit_by", "permute", r"no argument 'permute'. .* fit_many\(\)"),
        ("fit_by", "weights", r"no argument 'weights'. .*Lmer\(\.\.\., weights=\)"),
    ],
)
def test_other_methods_tell_which_keywords_they_take(method, given, told, plain):
    with pytest.raises(TypeError, match=told):
        getattr(plain, method)(**{given: 1})


BAD_ARGUMENTS = {
    "predict use_rfx": (lambda m: m.predict(trial(), "no"), "use_rfx='no'", "has to be True or False"),
    "predict pred_type": (lambda m: m.predict(trial(), pred_type="resp"), "pred_type", "'response'", "'link'"),
    "predict new_levels": (lambda m: m.predict(trial(), new_levels="pop"), "new_levels", "'population'", "'error'"),
    "confint method": (lambda m: m.confint("wald"), "method", "'Wald'"),
    "confint conf_level": (lambda m: m.confint(conf_level=1), "conf_level"),
    "confint n_boot": (lambda m: m.confint("boot", n_boot=0), "n_boot"),
    "confint seed": (lambda m: m.confint("boot", n_boot=2, seed=-1), "seed"),
    "confint n_jobs": (lambda m: m.confint("boot", n_boot=2, n_jobs=0), "n_jobs"),
    "simulate none": (lambda m: m.simulate(0), "num_datasets"),
    "simulate a part": (lambda m: m.simulate(2.5), "num_datasets"),
    "simulate text": (lambda m: m.simulate("3"), "num_datasets"),
    "simulate seed": (lambda m: m.simulate(1, seed="x"), "seed"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_of_the_other_methods_are_named(case, plain):
    ask, *words = BAD_ARGUMENTS[case]
    with pytest.raises(OptionError) as caught:
        ask(plain)
    says(caught.value, *words)


# predict


@pytest.fixture(scope="module")
def rich() -> Lmer:
    return fitted("y ~ x * cond + flag + (1 | g)", weights="w", offset="z")


UNFIT = {
    "a column lacks": (lambda d: d.drop(columns=["cond", "flag"]), "'cond'", "'flag'"),
    "a group lacks": (lambda d: d.drop(columns="g"), "'g'"),
    "a list": (lambda d: [[1.0]], "data has to be a pandas, polars or pyarrow frame", "a list"),
    "a short dict": (lambda d: {"x": [1.0]}, "'cond'", "'flag'", "'g'"),
    "twice a column": (lambda d: pd.concat([d, d[["x"]]], axis=1), "'x'"),
    "a level": (lambda d: d.assign(cond=["a", "new"] * 120), "cond", "new"),
    "a number for text": (lambda d: d.assign(cond=1.5), "'cond'"),
    "text for a number": (lambda d: d.assign(x="text"), "'x'"),
    "text for truth": (lambda d: d.assign(flag="maybe"), "'flag'"),
    "a date": (lambda d: d.assign(x=DAY), "'x'"),
    "a number for truth": (lambda d: d.assign(flag=2.5), "'flag'"),
    "an offset of text": (lambda d: d.assign(z="a"), "'z'"),
    "a group": (lambda d: d.assign(g=99), "99"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_predict_names_what_new_data_lack_or_have_too_much(case, rich):
    change, *words = UNFIT[case]
    before = rich.predict(trial(), use_rfx=True)
    with pytest.raises(DataError) as caught:
        rich.predict(change(trial()), use_rfx=True)
    says(caught.value, *words)
    np.testing.assert_array_equal(rich.predict(trial(), use_rfx=True), before)


def test_predict_takes_truth_values_stored_as_numbers(rich):
    stored = trial().assign(flag=lambda d: d.flag.astype(int))
    np.testing.assert_allclose(rich.predict(stored), rich.predict(trial()), rtol=1e-12)


# What only R can know

R_SAYS = {
    "function of another kind": ("y ~ log(x, 'two') + (1 | g)", "non-numeric argument"),
    "infinite once computed": ("y ~ log(q) + (1 | g)", "NA/NaN/Inf"),
    "too many effects": ("y ~ x + (x + z + flag + cond + q | g3)", "number of observations"),
}


@pytest.mark.parametrize("case", R_SAYS)
def test_r_speaks_in_its_own_words_and_the_next_fit_works(case, plain):
    formula, words = R_SAYS[case]
    data = trial().assign(q=lambda d: d.x.abs().where(d.index > 0, 0.0), g3=np.arange(240) // 3)
    with pytest.raises(RError) as caught:
        fitted(formula, data)
    says(caught.value, words, formula)
    assert caught.value.formula == formula
    assert words in caught.value.message
    pd.testing.assert_frame_equal(fitted(FORMULA).coefs, plain.coefs)
