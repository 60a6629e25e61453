"""What R says without a way out, told with one; what a summary and a printed table say of themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from samples import dataset

from pymer4 import Lm, Lm2, Lmer
from pymer4.errors import DataError, FormulaError, OptionError, RError
from pymer4.models.convergence import told_with_way_out

pytestmark = pytest.mark.r

LONG = " + ".join(f"I(Days + {i})" for i in range(300))
DAYS = "Reaction ~ Days + (1 | Subject)"


def refusal(error: type[Exception], formula: str, data: pd.DataFrame | None = None, **options: object) -> str:
    given = {name: options.pop(name) for name in ("family", "offset") if name in options}
    with pytest.raises(error) as caught:
        Lmer(formula, dataset("sleepstudy") if data is None else data, **given).fit(summarize=False, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("formula", "step"),
    [
        ("Reaction ~ ns(Days, 3) + (1 | Subject)", "write splines::ns()"),
        ("Reaction ~ log(bs(Days, df = 4)) + (1 | Subject)", "write splines::bs()"),
        ("Reaction ~ dummy(Days) + (1 | Subject)", "write lme4::dummy()"),
        ("Reaction ~ nowhere(Days) + (1 | Subject)", "with its package"),
        ("Reaction ~ Days + (ns(Days, 2) | Subject)", "splines::ns()"),
        ("ns(Reaction, 2) ~ Days + (1 | Subject)", "splines::ns()"),
        (f"Reaction ~ {LONG} + ns(Days, 2) + (1 | Subject)", "splines::ns()"),
        ("Reaction ~ Days + NA + (1 | Subject)", "'NA' is a constant of R"),
    ],
    ids=lambda value: value[:40],
)
def test_a_function_that_r_does_not_find_is_told_with_its_package(formula, step):
    assert step in refusal(FormulaError, formula)


@pytest.mark.parametrize("term", ["splines::ns(Days, 3)", "ifelse(Days > 4, NA, Days)"])
def test_a_function_with_its_package_and_a_constant_within_one_are_fitted(term):
    Lmer(f"Reaction ~ {term} + (1 | Subject)", dataset("sleepstudy")).fit(summarize=False, no_warnings=True)


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
    assert step in refusal(error, DAYS, control=control)


@pytest.mark.parametrize("control", ["optimizer='bobyqa'", "optimizer=c('bobyqa', 'Nelder_Mead')"])
def test_control_of_a_generalized_model(control):
    model = Lmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", dataset("cbpp"), family="binomial")
    model.fit(summarize=False, control=control)
    assert model.convergence.optimizer in ("bobyqa", "Nelder_Mead")


@pytest.mark.parametrize(
    "message, family, link, step",
    [
        ("all(xst != 0) is not TRUE", "gaussian", "inverse", "Use link='identity'"),
        ("length(value <- as.numeric(value)) == 1L is not TRUE", "gamma", "inverse", "Use link='log'"),
        ("x > 0 are not all TRUE", "binomial", "log", "Use link='logit'"),
        ("all(xst != 0) is not TRUE", "binomial", "probit", "rescale"),
        ("(maxstephalfit) PIRLS step-halvings failed", "poisson", "log", "rescale"),
        ("number of observations (=9) <= number of random effects (=12)", "gaussian", "identity", "left of the bar"),
        ("pwrssUpdate did not converge in (maxit) iterations", "binomial", "logit", "all successes from all failures"),
        ("pwrssUpdate did not converge in (maxit) iterations", "poisson", "log", "Next: rescale"),
        ("object 'z' not found", "gaussian", "inverse", ""),
    ],
)
def test_bare_words_of_a_fit_have_a_next_step(message, family, link, step):
    with pytest.raises(RError) as caught, told_with_way_out(family, link):
        raise RError(message, "fit_mixed", "y ~ x")
    assert step in caught.value.advice and bool(caught.value.advice) == bool(step)
    assert str(caught.value).startswith(f"R stopped in fit_mixed: {message}\n  formula: y ~ x")


def test_a_start_that_r_does_not_find_is_told_with_another_link():
    data = dataset("sleepstudy").assign(y=lambda d: d["Reaction"] - 300)
    with pytest.raises(RError, match=r"valid starting values(.|\n)*link 'log'(.|\n)*Use link='identity'"):
        Lmer("y ~ Days + (1 | Subject)", data, link="log").fit(summarize=False)


# ------------------------------------------------------------------ names and outcomes


@pytest.mark.parametrize("name", ["_x", "1st", "my var", "if", "TRUE", "NA", "x-y", "a:b", "Inf"])
def test_a_name_that_can_not_stand_bare_is_told_with_its_backticks(name):
    data = dataset("sleepstudy").rename(columns={"Days": name})
    assert f"in backticks: `{name}`" in refusal(FormulaError, f"Reaction ~ {name} + (1 | Subject)", data)
    model = Lmer(f"Reaction ~ `{name}` + (1 | Subject)", data)
    model.fit(summarize=False)
    assert model.coefs["Estimate"].iloc[1] == pytest.approx(10.467, abs=1e-3)


@pytest.mark.parametrize("right", ["Dais + (1 | Subject)", "Days + (1 | Subject", "* Days + (1 | Subject)"])
def test_a_mistake_beside_plain_names_says_nothing_of_backticks(right):
    data = dataset("sleepstudy").assign(**{"-": 1.0, "1": 2.0})
    assert "backticks" not in refusal(FormulaError, f"Reaction ~ {right}", data)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
def test_several_outcomes_are_refused(family):
    data = dataset("sleepstudy").assign(more=lambda d: d.Days + 1)
    told = refusal(DataError, "cbind(more, Days) ~ 1 + (1 | Subject)", data, family=family)
    assert "has several columns" in told and "Fit a model to each" in told


@pytest.mark.parametrize("family", ["poisson", "nbinom"])
@pytest.mark.parametrize("kind, formula", [(Lm, "y ~ x"), (Lmer, "y ~ x + (1 | g)"), (Lmer, "I(y / 1) ~ x + (1 | g)")])
def test_counts_that_are_no_whole_numbers_are_told_once(family, kind, formula):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": rng.negative_binomial(2, 0.2, 160) + 0.0, "x": rng.normal(size=160)})
    data["g"] = np.arange(160) % 16
    data.loc[:39, "y"] += 0.5
    data.loc[10:14, "x"] = np.nan
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kind(formula, data, family=family).fit(summarize=False)
    texts = [str(warning.message) for warning in told]
    counts = [text for text in texts if "whole number" in text]
    assert len(counts) == 1 and "35 of the 155 rows used, such as" in counts[0]
    assert not any("non-integer" in text for text in texts)


@pytest.mark.parametrize("name", ["Reaction", "Days", "offset"])
def test_a_mixed_model_names_numbers_whose_squares_are_infinite(name):
    if name == "offset":
        told = refusal(DataError, DAYS, offset=np.full(180, 1e300))
    else:
        told = refusal(DataError, DAYS, dataset("sleepstudy").assign(**{name: lambda d: d[name] * 1e300}))
        assert f"Column '{name}' holds " in told and "Divide it by" in told
    assert "whose square is beyond" in told


@pytest.mark.parametrize(
    "family, takes",
    [
        ("poisson", "counts of at least 0"), ("nbinom", "counts of at least 0"), ("gamma", "numbers above 0"),
        ("inverse_gaussian", "numbers above 0"), ("binomial", "0 and 1, or shares"),
    ],
)  # fmt: skip
def test_an_outcome_that_is_computed_has_to_suit_the_family(family, takes):
    formula = "log(Reaction / 300) ~ Days + (1 | Subject)"
    told = refusal(FormulaError, formula, family=family)
    assert "The outcome log(Reaction/300) has values from -0." in told and f"takes {takes}" in told
    if family == "gamma":
        rest = dataset("sleepstudy").assign(Days=lambda d: d["Days"].where(d["Reaction"] > 320))
        Lmer(formula, rest, family="gamma", link="log").fit(summarize=False)


def test_ranks_within_what_is_ranked_are_refused():
    told = refusal(OptionError, DAYS, rank=True, rank_group="Reaction")
    assert "rank_group='Reaction' is ranked itself" in told and "Name a column of groups" in told


# ------------------------------------------------------------------ printed tables


@pytest.mark.parametrize(
    "model, first",
    [
        (lambda data: Lmer("Reaction ~ Days + half + (1 | Subject)", data), "Ranks"),
        (lambda data: Lm("Reaction ~ Days + half", data), "Ranks"),
        (lambda data: Lm2("Reaction ~ Days", data, group="Subject"), "Ranks within groups"),
    ],
    ids=["Lmer", "Lm", "Lm2"],
)
def test_the_summary_names_the_ranked_columns(model, first, capsys):
    made = model(dataset("sleepstudy").assign(half=lambda d: np.where(d.Days < 5, "early", "late")))
    made.fit(rank=True)
    assert f"{first}: Reaction, Days; fits and residuals are ranks too\n" in capsys.readouterr().out
    made.fit()
    assert "Ranks" not in capsys.readouterr().out


@pytest.mark.parametrize("outcome, scaled", [("conc", False), ("log(conc)", True)])
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_tables_of_post_hoc_have_a_scale_where_there_are_two(outcome, scaled, capsys):
    model = Lmer(f"{outcome} ~ source + (1 | pen)", dataset("pigs").assign(pen=lambda d: np.arange(len(d)) % 7))
    model.fit(summarize=False)
    model.post_hoc("source")
    printed = capsys.readouterr().out
    assert ("Marginal means of source (link scale):" in printed) is scaled
    assert ("Pairwise differences (adjustment: tukey):" in printed) is not scaled
    assert "< .001" in printed and " 0.000" not in printed


def test_a_level_that_is_asked_for_twice_is_one():
    data = dataset("sleepstudy").assign(half=lambda d: np.where(d["Days"] < 5, "early", "late"))
    model = Lmer("Reaction ~ half * Days + (1 | Subject)", data)
    model.fit(summarize=False)
    once, twice = {"half": ["late"], "Days": [2.0]}, {"half": ["late", "late"], "Days": [2.0, 2]}
    pd.testing.assert_frame_equal(model.emmeans("half", at=twice)[0], model.emmeans("half", at=once)[0])
