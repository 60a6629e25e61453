"""What is printed: significant digits in any unit, small p as such, 80 columns."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from samples import trial

from pymer4 import Lm, Lmer, load_dataset
from pymer4.errors import ModelWarning
from pymer4.models.printing import block, number, p_value


@pytest.mark.parametrize("value", [0.0004, -0.0123456, 3.2e-9, 0.05, 0.0999, 1.23456789, 251.4, 1e5, 4.56e12, -7e-300])
def test_a_number_keeps_three_significant_digits(value):
    assert float(number(value)) == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(("value", "shown"), [(0, "0.000"), (np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_numbers_without_digits(value, shown):
    assert number(value) == shown


def test_small_p_is_never_zero():
    assert [p_value(p) for p in (0.0, 9.99e-4, 1e-3, np.nan)] == ["< .001", "< .001", "0.001", "NaN"]


def test_whole_numbers_and_text_stay():
    text = block(pd.DataFrame({"n": [3, 4], "name": ["a", "b"], "x": [0.5, 2e-7]}))
    assert text.splitlines()[1].split() == ["0", "3", "a", "0.500"]
    assert text.splitlines()[2].split() == ["1", "4", "b", "2.00e-07"]


@pytest.mark.r
def test_a_predictor_in_large_units_shows_its_digits(capsys):
    data = load_dataset("sleepstudy").assign(seconds=lambda d: d.Days * 86400e6)
    model = Lmer("Reaction ~ seconds + (1 | Subject)", data)
    shown = model.fit(no_warnings=True)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("seconds"))
    assert float(row.split()[1]) == pytest.approx(model.coefs.loc["seconds", "Estimate"], rel=5e-3)
    assert "< .001" in row
    assert shown.loc["seconds", "Estimate"] == 0.0  # the frame is rounded to three places


@pytest.mark.r
@pytest.mark.parametrize("model", ["Lmer", "Lm"])
def test_a_binomial_summary_has_80_columns(capsys, model):
    formula = "cbind(incidence, size - incidence) ~ period"
    kind, formula = (Lmer, f"{formula} + (1 | herd)") if model == "Lmer" else (Lm, formula)
    fitted = kind(formula, load_dataset("cbpp"), family="binomial")
    shown = fitted.fit()
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "Odds ratios" in text
    assert list(shown.columns) == list(fitted.coefs.columns)
    last = text.splitlines()[-1].split()[1:]
    expected = fitted.coefs.filter(regex="OR|Prob").iloc[-1]
    np.testing.assert_allclose([float(value) for value in last], expected, rtol=5e-3)


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_long_names_and_warnings_are_broken_into_80_columns(capsys, family):
    long = "a_predictor_with_a_name_of_about_fifty_characters"
    data = trial().rename(columns={"x": long, "z": f"{long}_2"})
    model = Lm(f"yes ~ {long} + {long}_2 + I(2 * {long})", data, family=family)
    with pytest.warns(ModelWarning, match="No p for Intercept"):
        model.fit(permute=20, seed=1)
    text = capsys.readouterr().out
    assert max(map(len, [*text.splitlines(), *repr(model).splitlines()])) <= 80
    words = text.replace("\n", " ").split()
    assert number(model.coefs.loc[long, "Estimate"]) in words and "Warning:" in words


@pytest.mark.r
def test_odds_ratios_are_not_shown_where_there_are_none(capsys):
    Lmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", load_dataset("cbpp"), "binomial", link="probit"
    ).fit()
    assert not re.search(r"\bOR\b|Prob\b|NaN", capsys.readouterr().out)


@pytest.mark.r
def test_convergence_prints_in_lines():
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    model.fit(summarize=False)
    lines = str(model.convergence).splitlines()
    assert [line.split()[0] for line in lines] == ["Convergence", "optimizer", "largest", "singular", "messages"]
