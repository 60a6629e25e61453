"""The arguments of `Lmer.fit()`: told where they do nothing; and warnings, which come once."""

from __future__ import annotations

import inspect
import pickle
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from against_r import ask
from samples import fitted
from samples import trial as plain_trial

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import ConvergenceWarning, ModelWarning, OptionError

pytestmark = pytest.mark.r


def trial() -> pd.DataFrame:
    """Return a nested and crossed design, in which `my x` varies and `z` does not within the groups."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 20), "h": np.tile(np.repeat(["a", "b"], 10), 12)})
    frame = frame.assign(k=np.tile(np.arange(10), 24), x=rng.normal(size=240), z=rng.normal(size=12)[frame.g])
    frame["y"] = 1 + 0.5 * frame.x + rng.normal(size=12)[frame.g] + rng.normal(size=24)[frame.index // 10]
    frame["y"] += 0.5 * rng.normal(size=10)[frame.k] + rng.normal(size=240)
    frame["count"] = rng.negative_binomial(2, 2 / (2 + np.exp(0.5 + 0.4 * frame.x)))
    frame["cond"] = rng.choice(["u", "v", "w"], 240)
    return frame.rename(columns={"k": "the item"})


FORMULA = "y ~ x + z + (1 | g / h) + (1 | `the item`)"
PLAIN = "y ~ x + (1 | g)"


@cache
def nested() -> Lmer:
    return fitted(FORMULA, trial())


BAD = {
    "no group": ({"permute_within": "gg"}, "permute_within='gg' is not a grouping factor.*Did you mean 'g'"),
    "a predictor": ({"permute_within": "x"}, "permute_within='x' is not a grouping factor.*'g', 'g:h', 'the item'"),
    "half a crossing": ({"permute_within": "h", "permute": 9}, "permute_within='h' is not a grouping factor"),
    "another crossing": ({"permute_within": "g:x", "permute": 9}, "permute_within='g:x' is not a grouping factor"),
    "no text": ({"permute_within": 3}, "permute_within=3 is not a grouping factor"),
    "no formula": ({"permute_within": "(g"}, "is not a grouping factor"),
    "no rank_group": ({"rank_group": "gg"}, "rank_group='gg' is not a column of the data. Did you mean 'g'"),
    "no rank_group, ranks": ({"rank_group": "gg", "rank": True}, "rank_group='gg' is not a column"),
    "no rank_exclude_cols": ({"rank_exclude_cols": "xx"}, "rank_exclude_cols names 'xx'.*Did you mean 'x'"),
    "unused": ({"rank_exclude_cols": ["x", "cond"], "rank": True}, "rank_exclude_cols names 'cond'.*does not use"),
    "a number": ({"rank_exclude_cols": 5}, "rank_exclude_cols=5 has to be a column's name, or a list"),
    "half a point": ({"nAGQ": 1.5}, "nAGQ=1.5 is not a whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_told_and_the_fit_stays(case):
    arguments, told = BAD[case]
    model = nested()
    before = model.coefs
    with pytest.raises(OptionError, match=told):
        model.fit(summarize=False, **arguments)
    assert model.fitted and model.coefs is before


IDLE = {
    "permute_within": ({"permute_within": "g"}, "permute_within='g' has no effect without permute="),
    "rank_group": ({"rank_group": "g"}, "rank_group='g' has no effect without rank=True"),
    "rank_exclude_cols": ({"rank_exclude_cols": "x"}, "rank_exclude_cols=['x'] has no effect without rank=True"),
    "n_boot": ({"n_boot": 1e3}, "n_boot=1000 has no effect without conf_int='boot'"),
    "ordered": ({"ordered": True}, "ordered=True has no effect without a list of levels in factors="),
    "ordered, contrasts": (
        {"ordered": True, "factors": {"cond": {"u": 1, "v": -1, "w": 0}}},
        "ordered=True has no effect without a list of levels in factors=",
    ),
}


@pytest.mark.parametrize("case", IDLE)
def test_arguments_without_effect_are_told(case):
    arguments, told = IDLE[case]
    model = Lmer("y ~ x + cond + (1 | g)", trial())
    with pytest.warns(ModelWarning) as heard:
        model.fit(summarize=False, **arguments)
    assert [str(warning.message) for warning in heard] == model.warnings
    assert model.warnings == [told]


def test_defaults_are_silent_and_so_is_what_does_something():
    model = Lmer("y ~ x + cond + (1 | g)", trial())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(summarize=False, permute=None, n_boot=5e2, seed=1, rank_exclude_cols=[])
        model.fit(summarize=False, factors={"cond": ["u", "v", "w"]}, ordered=True)
        model.fit(summarize=False, rank=True, rank_group="cond", rank_exclude_cols="x")
    assert model.warnings == []


def test_a_crossing_has_one_name_in_any_order():
    how = {"permute": 19, "seed": 3}
    found, again, other = (
        fitted(FORMULA, trial(), permute_within=name, **how).coefs for name in ("g:h", "h:g", "the item")
    )
    pd.testing.assert_frame_equal(found, again)
    assert other["Perm-P-val"].notna().tolist() == [False, True, True]


@pytest.mark.parametrize(("formula", "family"), [(FORMULA, "gaussian"), ("count ~ x + z + (1 | g)", "poisson")])
def test_what_shuffling_can_not_test_is_named_with_what_can(formula, family):
    model = fitted(formula, trial(), family=family, permute=9, seed=1)
    (told,) = [text for text in model.warnings if text.startswith("No p")]
    assert told.startswith("No p for (Intercept), z: constant within the clusters") and "compare()" in told


def test_whole_floats_and_no_permutations():
    model = fitted(PLAIN, trial(), conf_int="boot", n_boot=2e1, permute=None, seed=1)
    assert model.ci_type == "boot (20)" and "P-val" in model.coefs
    again = fitted(PLAIN, trial(), conf_int="boot", n_boot=20, permute=False, seed=np.int64(1))
    pd.testing.assert_frame_equal(model.coefs, again.coefs)
    model.fit(permute=9.0, summarize=False, no_warnings=True)
    assert model.sig_type == "permutation (9)"


def test_a_generator_is_a_seed(tmp_path):
    def drawn(seed) -> tuple[Lmer, list[pd.DataFrame]]:
        how = {"family": "poisson", "conf_int": "boot", "n_boot": 6}
        model = fitted("count ~ x + (1 | g)", trial(), seed=seed, **how)
        found = [model.coefs, model.confint("boot", n_boot=6, seed=seed), model.simulate(2, seed=seed)]
        return model, [*found, model.predict(trial().head(3), interval="prediction", seed=seed)]

    one, two = drawn(np.random.default_rng(8)), drawn(np.random.default_rng(8))
    for found, again in zip(one[1], two[1], strict=True):
        pd.testing.assert_frame_equal(found, again)
    rng = np.random.default_rng(8)
    first, second = one[0].simulate(1, seed=rng), one[0].simulate(1, seed=rng)
    assert (first != second).any(axis=None)
    save_model(one[0], tmp_path / "model.h5")
    for copy in (load_model(tmp_path / "model.h5"), pickle.loads(pickle.dumps(one[0]))):
        pd.testing.assert_frame_equal(copy.coefs, one[0].coefs)


def test_the_level_of_the_fit_is_that_of_later_limits():
    model, data = fitted(PLAIN, trial(), conf_level=0.9), trial().head(3)
    assert list(model.confint().columns) == ["5 %", "95 %"]
    assert list(model.confint(conf_level=95).columns) == ["2.5 %", "97.5 %"]
    np.testing.assert_allclose(model.confint().loc["x"], model.coefs.loc["x", ["5_ci", "95_ci"]].astype(float))
    shown = model.predict(data, interval="confidence")
    assert list(shown.columns) == ["Estimate", "SE", "5_ci", "95_ci"] and shown.attrs["conf_level"] == 0.9
    pd.testing.assert_frame_equal(shown, model.predict(data, interval="confidence", conf_level=0.9))
    assert model.predict(data, interval="confidence", conf_level=0.95).attrs["conf_level"] == 0.95


def test_theta_is_kept_and_printed(tmp_path, capsys):
    model = Lmer("count ~ x + (1 | g)", trial(), family="nbinom")
    assert model.theta is None
    model.fit(no_warnings=True)
    assert f"Theta: {model.theta:.3f}" in capsys.readouterr().out
    save_model(model, tmp_path / "model.h5")
    assert load_model(tmp_path / "model.h5").theta == pickle.loads(pickle.dumps(model)).theta == model.theta
    other = nested()
    assert other.theta is None
    other.summary()
    assert "Theta" not in capsys.readouterr().out


# R's coef() has the terms of all groupings in every frame.
GROUPED = {
    "an intercept elsewhere": "y ~ 0 + (1 + x | g) + (1 | k)",
    "slopes elsewhere": "y ~ 1 + (0 + x | g) + (1 + z | k)",
    "slopes of their own": "y ~ x + (0 + z | g) + (1 | k) + (0 + w | k)",
    "one grouping": "y ~ z + (x | g) + (0 + w | g)",
}


@cache
def grouped() -> pd.DataFrame:
    return trial().rename(columns={"the item": "k"}).assign(w=np.random.default_rng(2).normal(size=240))


@cache
def of_r() -> dict[str, np.ndarray]:
    """Return R's coef() of each case, by its number and the grouping, and the places of the terms."""
    asked = "".join(f"tell({number}, {formula})\n" for number, formula in enumerate(GROUPED.values()))
    script = """
        tell <- function(number, formula) {
          found <- coef(suppressMessages(suppressWarnings(lmerTest::lmer(formula, data.frame(y, x, z, w, g, k)))))
          for (name in names(found)) answer[[paste0(number, name)]] <<- as.matrix(found[[name]])
          answer[[paste0(number, "terms")]] <<- match(colnames(found[[1]]), c("(Intercept)", "x", "z", "w"))
        }
    """
    return ask(script + asked, **{name: grouped()[name] for name in ("y", "x", "z", "w", "g", "k")})


@pytest.mark.parametrize("case", GROUPED)
def test_coefficients_of_groups_are_r_s(case):
    model, number = fitted(GROUPED[case], grouped()), list(GROUPED).index(case)
    found = model.fixef if isinstance(model.fixef, list) else [model.fixef]
    terms = [["(Intercept)", "x", "z", "w"][int(at) - 1] for at in of_r()[f"{number}terms"]]
    for name, frame in zip(model.grps, found, strict=True):
        assert list(frame.columns) == terms
        np.testing.assert_allclose(frame, of_r()[f"{number}{name}"], rtol=1e-7, atol=1e-8)


# Warnings

LEVEL = plain_trial().assign(y=lambda d: d.y - d.groupby("g")["y"].transform("mean"))  # no variance between groups
WARNING = {
    "singular": (PLAIN, LEVEL, {}, ConvergenceWarning, "singular"),
    "rank deficient": ("y ~ x + I(2 * x) + (1 | g)", plain_trial(), {}, ModelWarning, "I(2 * x)"),
    "aliased factor": (
        "y ~ cond + k + (1 | g)",
        plain_trial().assign(k=lambda d: d.cond + "2"),
        {},
        ModelWarning,
        "kb2",
    ),
    "stopped": (
        "y ~ x + (x | g)",
        plain_trial(),
        {"control": "optCtrl=list(maxeval=2)"},
        ConvergenceWarning,
        "maxeval",
    ),
    "scales": ("y ~ big + z + (1 | g)", plain_trial().assign(big=lambda d: 1e7 * d.x), {}, ModelWarning, "scale"),
    "own columns": ("y ~ fits + (1 | g)", plain_trial().rename(columns={"x": "fits"}), {}, ModelWarning, "'fits'"),
    "computed": ("y ~ log(s) + (1 | g)", plain_trial(), {}, ModelWarning, "NaNs produced"),
}


@pytest.mark.parametrize("case", WARNING)
def test_a_warning_comes_once_on_the_users_line_and_is_kept(case, capfd):
    formula, data, options, kind, words = WARNING[case]
    model = Lmer(formula, data)
    for _ in range(2):  # as often at the second fit
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            model.fit(summarize=False, **options)
            line = inspect.currentframe().f_lineno - 1
        texts = [str(w.message) for w in issued]
        assert [text.partition("\nNext: ")[0] for text in texts] == model.warnings  # R's words, then ours
        assert len(texts) == len(set(texts)) > 0
        (said,) = [w for w in issued if words in str(w.message)]
        assert said.category is kind and (kind is ModelWarning or "\nNext: " in str(said.message))
        assert all(issubclass(w.category, ModelWarning) and issubclass(w.category, UserWarning) for w in issued)
        assert {(w.filename, w.lineno) for w in issued} == {(__file__, line)}
    assert model.fitted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(summarize=False, no_warnings=True, **options)
    assert any(words in text for text in model.warnings)
    assert tuple(capfd.readouterr()) == ("", "")
    if options:  # the next fit has nothing to say of the last
        model.fit(control="optimizer='bobyqa', calc.derivs=FALSE", summarize=False)
        assert model.warnings == []


def test_warnings_of_limits_come_once_each_and_are_not_those_of_the_fit():
    """lme4 says the same of every point of a profile; with weights, 200 times."""
    model = fitted(PLAIN, weights="w")
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model.confint("profile")
        line = inspect.currentframe().f_lineno - 1
    texts = [str(w.message) for w in issued]
    assert len(texts) == len(set(texts))
    assert {(w.filename, w.lineno) for w in issued} <= {(__file__, line)}
    assert model.warnings == []
