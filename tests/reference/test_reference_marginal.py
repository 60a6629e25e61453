"""Marginal means of `Lmer` against numbers that emmeans wrote to marginal.csv.

`marginal_cases.csv` holds the questions, `marginal_models.csv` the models.
"""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
from reference.lib.files import PROMISED, PROMISED_LIMITS, Reference, compare, reference
from reference.lib.marginal import MODELS, QUESTIONS, ask, labels, marginal_pairs, spelled
from reference.lib.mixed import fit
from reference.lib.quantities import pair
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.infer.grids import Adjust, Family

pytestmark = pytest.mark.r

# Relative to the number and its scale: estimates and limits to standard errors, statistics and p to 1. Reached with
# the software of the header: estimates 2e-13, standard errors 9e-11, df 4e-7, limits 2e-8, p 3e-9.
TOLERANCE = {"estimates": 1e-9, "standard errors": 1e-8, "statistics": 1e-8, "df": 5e-5, "limits": 2e-6, "p": 1e-6}
# Frozen numbers of generalized models are those of another processor, where the optimizer stops elsewhere.
FROZEN = dict.fromkeys(TOLERANCE, PROMISED) | {"limits": PROMISED_LIMITS}
# The integrals behind mvt are by Monte Carlo, to an error of 1e-3 that mvtnorm estimates as it goes: over 20 seeds
# p spreads with a standard deviation of 3e-4 and a span of 7e-4. Here both sides have one seed, and agree as others do.
MONTE_CARLO = 2e-3
MONTE_CARLO_LIMITS = 1e-2  # of a standard error
PRINTED = {"f": 5.1e-4, "df2": 5.1e-3}  # emmeans rounds F to 3 places and df to 2

LONG = {"post_hoc_mvt"}
TABLES = [
    pytest.param(id, table, marks=[pytest.mark.slow] if id in LONG else [])
    for id, asked in QUESTIONS.items() if asked.verb != "joint_tests" for table in ("estimates", "contrasts")
]  # fmt: skip
JOINT = [id for id, question in QUESTIONS.items() if question.verb == "joint_tests"]


@cache
def fitted(name: str) -> Lmer:
    return fit(MODELS[name])


@cache
def answer(question: str) -> dict:
    tables = ask(QUESTIONS[question], fitted(QUESTIONS[question].model))
    return dict(zip(("estimates", "contrasts"), tables, strict=True))


@pytest.fixture(scope="module")
def told() -> Reference:
    return reference("marginal")


def tolerances(question: str) -> dict[str, float]:
    return TOLERANCE if MODELS[QUESTIONS[question].model].linear else FROZEN


@pytest.mark.parametrize(("question", "table"), TABLES)
def test_equals_emmeans(question, table, told):
    found = answer(question)[table]
    if found is None:
        assert (question, table) not in told
        return
    expected = told.numbers(question, table)
    by_chance = table == "contrasts" and found.attrs["adjust"] == "mvt"
    for one in marginal_pairs(found, expected):
        rtol = tolerances(question)[one.quantity]
        if by_chance and one.quantity in ("p", "limits"):
            rtol = MONTE_CARLO if one.quantity == "p" else MONTE_CARLO_LIMITS
        compare(one, rtol)
    assert labels(found) == (list(expected.index) if labels(found)[0] else [""] * len(expected))
    name, adjust = told.text(question, f"{table} are").iloc[:, 0]
    assert found.attrs["adjust"] == adjust
    assert found.attrs["estimate"] == ("trend" if name.endswith(".trend") else name)
    assert ("Z-stat" if np.isinf(found["DF"]).all() else "T-stat") in found or table == "estimates"


@pytest.mark.parametrize("question", JOINT)
def test_joint_tests_equal_emmeans(question, told):
    found, expected = answer(question)["estimates"], told.numbers(question, "joint")
    by = [found[name].map(spelled) for name in QUESTIONS[question].by.split(";") if name]
    assert ["|".join(row) for row in zip(found.index, *by, strict=True)] == list(expected.index)
    expected = expected.set_axis(found.index)
    if "F-stat" in found:
        df1, df2, f = found["NumDF"], found["DenomDF"], found["F-stat"]
        own = np.where(np.isinf(df2), stats.chi2.sf(f * df1, df1), stats.f.sf(f, df1, df2))
    else:
        df1, df2, f = found["Df"], np.inf, found["Chisq"] / found["Df"]
        own = stats.chi2.sf(found["Chisq"], df1)
    assert (df1 == expected["df1"]).all()
    # F is a square of z, and moves by twice as much.
    rtol = 0 if MODELS[QUESTIONS[question].model].linear else 2 * PROMISED
    np.testing.assert_allclose(f, expected["f"], rtol=rtol, atol=rtol + PRINTED["f"])
    np.testing.assert_allclose(np.broadcast_to(df2, len(f)), expected["df2"], rtol=0, atol=PRINTED["df2"])
    compare(pair("p", found["P-val"], expected["p"], 1 - expected["p"]), tolerances(question)["p"])
    np.testing.assert_allclose(found["P-val"], own, rtol=1e-9)


def test_every_verb_adjustment_family_and_df_is_asked_for():
    questions = QUESTIONS.values()
    post_hoc = {q.adjust for q in questions if q.verb == "post_hoc"}
    assert post_hoc == {"tukey", "bonf", "fdr", "hochberg", "hommel", "holm", "dunnet", "mvt"}
    assert {q.adjust for q in questions} == {"", *get_args(Adjust)}
    assert {q.contrasts for q in questions if ":" not in q.contrasts} == {"", *get_args(Family)}
    assert {q.ddf for q in questions} == {"", "Satterthwaite", "Kenward-Roger", "asymptotic"} - {"Satterthwaite"}
    assert {q.verb for q in questions} == {"post_hoc", "emmeans", "emtrends", "joint_tests"}
    assert {q.data for q in MODELS.values()} >= {"pigs", "warpbreaks", "MOats", "oranges"}


def test_a_matrix_in_a_data_set_is_a_column_each():
    data = load_dataset("MOats")
    assert list(data.columns) == ["Variety", "Block", "yield.0", "yield.0.2", "yield.0.4", "yield.0.6"]
    assert data.shape == (18, 6)
    long = load_dataset("Oats").pivot(index=["Block", "Variety"], columns="nitro", values="yield")
    wide = data.set_index(["Block", "Variety"]).loc[long.index]
    np.testing.assert_array_equal(wide.to_numpy(), long.to_numpy())
