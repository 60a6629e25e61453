"""What R says without a way out, told with one; what a summary and a printed table say of themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2, Lmer, load_dataset
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError

pytestmark = pytest.mark.r


def sleep(**renamed: str) -> pd.DataFrame:
    return load_dataset("sleepstudy").rename(columns=renamed)


def refusal(error: type[Exception], formula: str, data: pd.DataFrame | None = None, **options: object) -> str:
    with pytest.raises(error) as caught:
        Lmer(formula, sleep() if data is None else data).fit(summarize=False, **options)
    return str(caught.value)


# ------------------------------------------------------------------ functions


@pytest.mark.parametrize(
    ("term", "step"),
    [
        ("ns(Days, 3)", "write splines::ns()"),
        ("log(bs(Days, df = 4))", "write splines::bs()"),
        ("dummy(Days)", "write lme4::dummy()"),
        ("nowhere(Days)", "with its package"),
    ],
)
def test_a_function_that_r_does_not_find_is_told_with_its_package(term, step):
    told = refusal(FormulaError, f"Reaction ~ {term} + (1 | Subject)")
    assert term.split("(")[0].removeprefix("log") in told and step in told


@pytest.mark.parametrize(
    "place", ["Reaction ~ Days + (ns(Days, 2) | Subject)", "ns(Reaction, 2) ~ Days + (1 | Subject)"]
)
def test_functions_are_looked_for_everywhere(place):
    assert "splines::ns()" in refusal(FormulaError, place)


def test_functions_are_found_in_long_formulas():
    terms = " + ".join(f"I(Days + {i})" for i in range(300))
    assert "splines::ns()" in refusal(FormulaError, f"Reaction ~ {terms} + ns(Days, 2) + (1 | Subject)")


def test_a_function_with_its_package_is_fitted():
    Lmer("Reaction ~ splines::ns(Days, 3) + (1 | Subject)", sleep()).fit(summarize=False)


# ------------------------------------------------------------------ control


@pytest.mark.parametrize(
    ("control", "error", "step"),
    [
        ("optimizer=bobyqa", OptionError, "write optimizer = 'bobyqa'"),
        ("optimizr='bobyqa'", OptionError, "It takes: optimizer, "),
        ({"optimizr": "bobyqa"}, OptionError, "It takes: optimizer, "),
        ("optimizer='nosuch'", OptionError, "lme4 has bobyqa, Nelder_Mead"),
        ({"optimizer": "nosuch"}, OptionError, "lme4 has bobyqa, Nelder_Mead"),
        ("lmerControl(optimizer='bobyqa')", FormulaError, "as in optimizer = 'bobyqa'"),
        ("bobyqa", FormulaError, "as in optimizer = 'bobyqa'"),
    ],
)
def test_control_that_lme4_does_not_take(control, error, step):
    assert step in refusal(error, "Reaction ~ Days + (1 | Subject)", control=control)


@pytest.mark.parametrize("control", ["optimizer='bobyqa'", "optimizer=c('bobyqa', 'Nelder_Mead')"])
def test_control_of_a_generalized_model(control):
    model = Lmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", load_dataset("cbpp"), family="binomial")
    model.fit(summarize=False, control=control)
    assert model.convergence.optimizer in ("bobyqa", "Nelder_Mead")


# ------------------------------------------------------------------ names and outcomes


@pytest.mark.parametrize("name", ["_x", "1st", "my var", "if", "TRUE", "NA", "x-y", "a:b", "Inf"])
def test_a_name_that_can_not_stand_bare_is_told_with_its_backticks(name):
    data = sleep(Days=name)
    assert f"in backticks: `{name}`" in refusal(FormulaError, f"Reaction ~ {name} + (1 | Subject)", data)
    model = Lmer(f"Reaction ~ `{name}` + (1 | Subject)", data)
    model.fit(summarize=False)
    assert model.coefs["Estimate"].iloc[1] == pytest.approx(10.467, abs=1e-3)


def test_a_mistake_beside_plain_names_says_nothing_of_backticks():
    for formula in (
        "Reaction ~ Dais + (1 | Subject)",
        "Reaction ~ Days + (1 | Subject",
        "Reaction ~ * Days + (1 | Subject)",
    ):
        assert "backticks" not in refusal(FormulaError, formula, sleep().assign(**{"-": 1.0, "1": 2.0}))


def test_a_constant_of_r_is_no_term():
    assert "'NA' is a constant of R" in refusal(FormulaError, "Reaction ~ Days + NA + (1 | Subject)")
    Lmer("Reaction ~ ifelse(Days > 4, NA, Days) + (1 | Subject)", sleep()).fit(summarize=False, no_warnings=True)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
def test_several_outcomes_are_refused(family):
    data = sleep().assign(more=lambda d: d.Days + 1)
    with pytest.raises(DataError, match=r"cbind.* has several columns.*Fit a model to each"):
        Lmer("cbind(more, Days) ~ 1 + (1 | Subject)", data, family=family).fit(summarize=False)


@pytest.mark.parametrize("family", ["poisson", "nbinom"])
@pytest.mark.parametrize("outcome", ["y", "I(y / 1)"])
def test_counts_that_are_no_whole_numbers_are_told_once(family, outcome):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": rng.negative_binomial(2, 0.2, 160) + 0.0, "x": rng.normal(size=160)})
    data["g"] = np.arange(160) % 16
    data.loc[:39, "y"] += 0.5
    data.loc[10:14, "x"] = np.nan
    for model in (
        Lmer(f"{outcome} ~ x + (1 | g)", data, family),
        Lm(outcome.replace("I(y / 1)", "y") + " ~ x", data, family),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model.fit(summarize=False)
        counts = [str(warning.message) for warning in told if "whole number" in str(warning.message)]
        assert len(counts) == 1 and "35 of the 155 rows used, such as" in counts[0]
        assert not any("non-integer" in str(warning.message) for warning in told)


# ------------------------------------------------------------------ printed tables


def test_the_summary_names_the_ranked_columns(capsys):
    data = sleep().assign(half=lambda d: np.where(d.Days < 5, "early", "late"))
    for model in (
        Lmer("Reaction ~ Days + half + (1 | Subject)", data),
        Lm("Reaction ~ Days + half", data),
        Lm2("Reaction ~ Days", data, group="Subject"),
    ):
        model.fit(rank=True)
        first = "Ranks within groups" if isinstance(model, Lm2) else "Ranks"
        assert f"{first}: Reaction, Days; fits and residuals are ranks too\n" in capsys.readouterr().out
        model.fit()
        assert "Ranks" not in capsys.readouterr().out


def test_tables_of_post_hoc_have_a_scale_where_there_are_two(capsys):
    data = load_dataset("pigs").assign(pen=lambda d: np.arange(len(d)) % 7)
    for outcome, scaled in (("conc", False), ("log(conc)", True)):
        model = Lmer(f"{outcome} ~ source + (1 | pen)", data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            model.fit(summarize=False)
        model.post_hoc("source")
        printed = capsys.readouterr().out
        assert ("Marginal means of source (link scale):" in printed) is scaled
        assert ("Pairwise differences (adjustment: tukey):" in printed) is not scaled
        assert "< .001" in printed and " 0.000" not in printed


@pytest.mark.parametrize("name", ["Reaction", "Days"])
def test_a_mixed_model_names_numbers_whose_squares_are_infinite(name):
    with pytest.raises(DataError, match=rf"Column '{name}' holds .*e\+\d+, whose square is beyond .* Divide it by"):
        Lmer("Reaction ~ Days + (1 | Subject)", sleep().assign(**{name: lambda d: d[name] * 1e300})).fit()
    with pytest.raises(DataError, match=r"offset holds 1e\+300, whose square is beyond"):
        Lmer("Reaction ~ Days + (1 | Subject)", sleep(), offset=np.full(180, 1e300)).fit()


def test_ranks_within_what_is_ranked_are_refused():
    model = Lmer("Reaction ~ Days + (1 | Subject)", sleep())
    with pytest.raises(OptionError, match=r"rank_group='Reaction' is ranked itself.*Name a column of groups"):
        model.fit(rank=True, rank_group="Reaction")


def test_a_level_that_is_asked_for_twice_is_one():
    data = sleep().assign(half=lambda d: np.where(d["Days"] < 5, "early", "late"))
    model = Lmer("Reaction ~ half * Days + (1 | Subject)", data)
    model.fit(summarize=False)
    once, twice = (
        {"half": ["late", *more], "Days": [2.0, *more_days]} for more, more_days in (([], []), (["late"], [2]))
    )
    pd.testing.assert_frame_equal(model.emmeans("half", at=twice)[0], model.emmeans("half", at=once)[0])


@pytest.mark.parametrize(
    "family, takes",
    [
        ("poisson", "counts of at least 0"),
        ("nbinom", "counts of at least 0"),
        ("gamma", "numbers above 0"),
        ("inverse_gaussian", "numbers above 0"),
        ("binomial", "0 and 1, or shares"),
    ],
)
def test_an_outcome_that_is_computed_has_to_suit_the_family(family, takes):
    model = Lmer("log(Reaction / 300) ~ Days + (1 | Subject)", sleep(), family=family)
    with pytest.raises(
        FormulaError, match=rf"The outcome log\(Reaction/300\) has values from -0\.\d+ to .*takes {takes}"
    ):
        model.fit()
    rest = sleep().assign(Days=lambda d: d["Days"].where(d["Reaction"] > 320))
    Lmer("log(Reaction / 300) ~ Days + (1 | Subject)", rest, family="gamma", link="log").fit(summarize=False)
