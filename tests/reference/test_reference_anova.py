"""Tests of terms by `Lmer` against numbers that lmerTest wrote: frozen ones, and with `-m slow` those of the R at hand.

`tests/reference/anova_models.csv` names the models and `anova_contrasts.csv` contrasts of means; `anova.R` asks
lmerTest. `tests/models/test_anova.py` asks the live R about other models, and generalized ones.
"""

from __future__ import annotations

import warnings
from functools import cache

import pytest
from reference.lib.anova import CONTESTS, MODELS, ddfs, mean_pairs, random_pairs, term_pairs
from reference.lib.files import compare, frozen, live
from reference.lib.mixed import fit
from reference.lib.quantities import coefficient_pairs
from test_reference import Reference

from pymer4 import Lmer
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r

# Relative to the number and its scale: estimates and limits to standard errors, statistics and p to 1. Reached with
# the software of the header: df 2e-6, limits 2e-8, p 4e-9, all else 1e-15.
SAME = 1e-6
TOLERANCE = {"df": 1e-4, "their df": 1e-4}  # Satterthwaite's: second derivatives by differences, R's by numDeriv

CASES = [(case, ddf) for case in MODELS for ddf in ddfs(case)]


@cache
def fitted(case: str, ddf: str = "Satterthwaite") -> Lmer:
    return fit(MODELS[case], ddf=ddf)


@pytest.fixture(scope="module", params=["frozen", pytest.param("live", marks=pytest.mark.slow)])
def reference(request, tmp_path_factory) -> Reference:
    if request.param == "live":
        return live("anova", tmp_path_factory.mktemp("live"))
    return frozen("anova", "pbkrtest")


def check(pairs, reference: Reference) -> None:
    for pair in pairs:
        compare(reference, pair, TOLERANCE.get(pair.quantity, SAME))


@pytest.mark.parametrize("type", [1, 2, 3])
@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_f_tests(case, ddf, type, reference):
    table, expected = fitted(case).anova(type=type, ddf=ddf), reference.numbers(case, f"anova {type} {ddf}")
    assert list(table.index) == list(expected.index)
    check(term_pairs(table, expected), reference)


@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_coefficients(case, ddf, reference):
    """The coefficients of a fit with these df are lmerTest's contests of one coefficient each."""
    table, expected = fitted(case, ddf).coefs, reference.numbers(case, f"coefs {ddf}")
    assert list(table.index) == list(expected.index)
    check(coefficient_pairs(table, expected), reference)


@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_means_of_factors(case, ddf, reference):
    """lmerTest's ls_means are emmeans' for factors; differences stand in the same order."""
    model = fitted(case)
    factors = [name.partition(" ")[0] for name in reference.tables(case, "means") if name.endswith(ddf)]
    assert sorted(factors) == sorted(model._grid_predictors().factors)
    for variable in factors:
        means, differences = model.emmeans(variable, adjust="none", ddf=ddf)
        expected, apart = (reference.numbers(case, f"{table} {variable} {ddf}") for table in ("means", "pairs"))
        assert [f"{variable}{level}" for level in means[variable]] == list(expected.index)
        check(mean_pairs(means, expected), reference)
        check(mean_pairs(differences, apart), reference)


@pytest.mark.parametrize("case", MODELS)
def test_random_effects(case, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        table = fitted(case).ranova()
    expected = reference.numbers(case, "ranova")
    assert list(table.index) == list(expected.index)
    check(random_pairs(table, expected), reference)


@pytest.mark.parametrize("contest", CONTESTS)
def test_contests_of_contrasts(contest, reference):
    asked, expected = CONTESTS[contest], reference.numbers(contest, "contest")
    table = asked.ask(fitted(asked.model))
    assert table["Contrast"].tolist() == list(expected.index)
    check(mean_pairs(table, expected.rename(columns={"Std. Error": "se", "t value": "t"})), reference)
