"""Tests of terms by `Lmer` against numbers that lmerTest wrote to anova.csv.

`anova_models.csv` names the models and `anova_contrasts.csv` contrasts of means. `tests/models/test_anova.py` asks
about generalized ones, and what refits.
"""

from __future__ import annotations

import warnings
from functools import cache

import pytest
from reference.lib.anova import CONTESTS, MODELS, contest, ddfs, mean_pairs, random_pairs, term_pairs
from reference.lib.files import Reference, compare, reference
from reference.lib.mixed import fit
from reference.lib.quantities import coefficient_pairs, log_p_pair

from pymer4 import Lmer
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r

# Relative to the number and its scale: estimates and limits to standard errors, statistics and p to 1. Reached with
# the software of the header: Satterthwaite's df 2e-6, log p 3e-7, limits 2e-8, p 4e-9, all else 2e-9.
SAME = 1e-6
DF = {"Satterthwaite": 2e-5, "Kenward-Roger": 1e-8}  # the first of second derivatives by differences, R's by numDeriv

CASES = [(case, ddf) for case in MODELS for ddf in ddfs(case)]


@cache
def fitted(case: str, ddf: str = "Satterthwaite") -> Lmer:
    return fit(MODELS[case], ddf=ddf)


@pytest.fixture(scope="module")
def told() -> Reference:
    return reference("anova")


def check(pairs, ddf: str = "") -> None:
    for pair in pairs:
        compare(pair, DF[ddf] if pair.quantity in ("df", "their df", "log p") else SAME)


@pytest.mark.parametrize("type", [1, 2, 3])
@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_f_tests(case, ddf, type, told):
    table, expected = fitted(case).anova(type=type, ddf=ddf), told.numbers(case, f"anova {type} {ddf}")
    assert list(table.index) == list(expected.index)
    check(term_pairs(table, expected), ddf)


@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_coefficients(case, ddf, told):
    """The coefficients of a fit with these df are lmerTest's contests of one coefficient each."""
    table, expected = fitted(case, ddf).coefs, told.numbers(case, f"coefs {ddf}")
    assert list(table.index) == list(expected.index)
    check([*coefficient_pairs(table, expected), log_p_pair(table, expected)], ddf)


@pytest.mark.parametrize(("case", "ddf"), CASES)
def test_means_of_factors(case, ddf, told):
    """lmerTest's ls_means are emmeans' for factors; differences stand in the same order."""
    model = fitted(case)
    factors = [name.partition(" ")[0] for name in told.tables(case, "means") if name.endswith(ddf)]
    assert sorted(factors) == sorted(model._grid_predictors().factors)
    for variable in factors:
        means, differences = model.emmeans(variable, adjust="none", ddf=ddf)
        expected, apart = (told.numbers(case, f"{table} {variable} {ddf}") for table in ("means", "pairs"))
        assert [f"{variable}{level}" for level in means[variable]] == list(expected.index)
        check(mean_pairs(means, expected), ddf)
        check(mean_pairs(differences, apart), ddf)


@pytest.mark.parametrize("case", MODELS)
def test_random_effects(case, told):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        table = fitted(case).ranova()
    expected = told.numbers(case, "ranova")
    assert list(table.index) == list(expected.index)
    check(random_pairs(table, expected))


@pytest.mark.parametrize("case", CONTESTS)
def test_contests_of_contrasts(case, told):
    table, expected = contest(CONTESTS[case], fitted(CONTESTS[case].model)), told.numbers(case, "contest")
    assert table["Contrast"].tolist() == list(expected.index)
    check(mean_pairs(table, expected), CONTESTS[case].ddf or "Satterthwaite")
