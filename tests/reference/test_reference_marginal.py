"""Marginal means of `Lmer` against numbers that emmeans wrote: frozen ones, and those of the R at hand.

`tests/reference/marginal_cases.csv` holds the questions, `marginal_models.csv` the models, and `marginal.R` puts the
ones to the others without pymer4. `tests/models/test_marginal.py` asks the live R more.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from reference.lib.files import PROMISED, PROMISED_LIMITS, begun, comparable, compare, frozen
from reference.lib.marginal import MODELS, QUESTIONS, labels, marginal_pairs
from reference.lib.mixed import fit
from scipy import stats
from test_reference import Reference

from pymer4 import Lmer, load_dataset

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
    tables = QUESTIONS[question].ask(fitted(QUESTIONS[question].model))
    return dict(zip(("estimates", "contrasts"), tables, strict=True))


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """What the R at hand says, in a process of its own while the frozen numbers are compared."""
    with begun("marginal", tmp_path_factory.mktemp("live")) as answer:
        yield answer


@pytest.fixture(scope="module", params=["frozen", "live"])
def source(request, at_hand) -> Reference:
    return at_hand() if request.param == "live" else frozen("marginal", "emmeans", "pbkrtest", "mvtnorm")


@pytest.fixture
def reference(source, question, at_hand) -> Reference:
    row = MODELS[QUESTIONS[question].model]
    return source if row.linear or comparable(row) or not source.far else at_hand()


def moved(question: str, reference: Reference) -> bool:
    return reference.frozen and not MODELS[QUESTIONS[question].model].linear


@pytest.mark.parametrize(("question", "table"), TABLES)
def test_equals_emmeans(question, table, reference):
    found = answer(question)[table]
    if found is None:
        assert (question, table) not in reference
        return
    expected = reference.numbers(question, table)
    by_chance = table == "contrasts" and found.attrs["adjust"] == "mvt"
    for pair in marginal_pairs(found, expected):
        rtol = (FROZEN if moved(question, reference) else TOLERANCE)[pair.quantity]
        if by_chance and pair.quantity in ("p", "limits"):
            rtol = MONTE_CARLO if pair.quantity == "p" else MONTE_CARLO_LIMITS
        compare(reference, pair, rtol)
    assert labels(found) == (list(expected.index) if labels(found)[0] else [""] * len(expected))
    name, adjust = reference.text(question, f"{table} are").iloc[:, 0]
    assert found.attrs["adjust"] == adjust
    assert found.attrs["estimate"] == ("trend" if name.endswith(".trend") else name)
    assert ("Z-stat" if np.isinf(found["DF"]).all() else "T-stat") in found or table == "estimates"


@pytest.mark.parametrize("question", JOINT)
def test_joint_tests_equal_emmeans(question, reference):
    found, expected = answer(question)["estimates"], reference.numbers(question, "joint")
    assert list(found.index) == list(expected.index)
    if "F-stat" in found:
        df1, df2, f = found["NumDF"], found["DenomDF"], found["F-stat"]
        own = np.where(np.isinf(df2), stats.chi2.sf(f * df1, df1), stats.f.sf(f, df1, df2))
    else:
        df1, df2, f = found["Df"], np.inf, found["Chisq"] / found["Df"]
        own = stats.chi2.sf(found["Chisq"], df1)
    assert (df1 == expected["df1"]).all()
    # F is a square of z, and moves by twice as much.
    elsewhere = moved(question, reference)
    rtol = 2 * PROMISED if elsewhere else 0
    np.testing.assert_allclose(f, expected["f"], rtol=rtol, atol=rtol + PRINTED["f"])
    np.testing.assert_allclose(np.broadcast_to(df2, len(f)), expected["df2"], rtol=0, atol=PRINTED["df2"])
    reference.close(found["P-val"], expected["p"], (FROZEN if elsewhere else TOLERANCE)["p"], 1 - expected["p"])
    np.testing.assert_allclose(found["P-val"], own, rtol=1e-9)


def test_every_verb_adjustment_family_and_df_is_asked_for():
    questions = QUESTIONS.values()
    post_hoc = {q.adjust for q in questions if q.verb == "post_hoc"}
    assert post_hoc == {"tukey", "bonf", "fdr", "hochberg", "hommel", "holm", "dunnet", "mvt"}
    named = {q.contrasts for q in questions if ":" not in q.contrasts}
    assert named == {"", "pairwise", "trt.vs.ctrl", "consec", "poly", "eff"}
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
