"""Tests of terms where a term that stands in an interaction is aliased, and of factors with empty cells.

What can be told apart has the tests of the model fitted without the aliased columns, by lmerTest.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples
from against_r import inside

from pymer4 import Lm, Lmer

pytestmark = pytest.mark.r

SAME = 1e-6  # relative: one optimizer, on designs that span one space
DF_TOLERANCE = 1e-4  # relative: second derivatives by differences, on R's side numDeriv's
# Satterthwaite's df of several rows (Fai & Cornelius 1996) depend on which rows span the hypothesis: in R too those of
# `x * A` and `x + A + w:A` differ by 1e-4.
DF_SEVERAL = 1e-3
KENWARD_ROGER = 1e-5  # relative: both by pbkrtest, at optima that differ by the optimizer's tolerance

# Formula, and one without the aliased columns; terms of the former as the latter names them, None where they can't be
# told from others in types 1, 2 and 3.
CASES = {
    "numbers": ("x + w * v", "x + v + w:v", {"x": "x", "w": None, "v": "v", "w:v": "v:w"}, ()),
    "factor": ("x + w * A", "x + A + w:A", {"x": "x", "w": None, "A": "A", "w:A": "A:w"}, ("x",)),
    "three": ("x + B + w * v * A", "x + B + v + A + w:v + w:A + v:A + w:v:A", {"B": "B", "w": None}, ("x",)),
    "last": ("w * A + x", "w * A", {"w": "w", "A": "A", "x": None, "w:A": "w:A"}, ()),
    "hole": ("A * B + x", "A * B + x", {"A": "A", "B": "B", "x": "x", "A:B": "A:B"}, ()),
}
DDFS = ("Satterthwaite", "Kenward-Roger")

# lmerTest's own, from the parts of the model that it makes itself.
_ANOVA = """function(m, type, ddf) {
  m <- as(m, "lmerMod")
  m@call[[1]] <- quote(lme4::lmer)
  table <- suppressMessages(anova(lmerTest::as_lmerModLmerTest(m), type = type, ddf = ddf))
  c(list(terms = rownames(table)), lapply(unclass(table), as.numeric))
}"""


def data(hole: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 240
    frame = pd.DataFrame({"g": np.arange(n) % 20, "x": rng.normal(size=n), "v": rng.normal(size=n)})
    frame["A"], frame["B"] = rng.choice(["a", "b", "c"], n), rng.choice(["A", "B", "C"], n)
    frame["w"] = 2 * frame.x
    frame["y"] = frame.x + rng.normal(size=20)[frame.g] + (frame.A == "b") + rng.normal(size=n)
    frame["k"] = rng.poisson(np.exp(0.3 * frame.y.clip(-2, 2)))
    frame["g"] = "g" + frame["g"].astype(str)
    return frame[~((frame.A == "b") & (frame.B == "C"))].reset_index(drop=True) if hole else frame


@cache
def fitted(name: str, family: str = "gaussian", whole: bool = True) -> Lmer:
    """Return a case, or that without the aliased columns."""
    right, how = CASES[name][0 if whole else 1], {"nAGQ": 0} if family == "poisson" else {}
    formula = f"{'k' if how else 'y'} ~ {right} + (1 | g)"
    return samples.fitted(formula, data(name == "hole"), given={"family": family}, **how)


def told(method, **given) -> tuple[pd.DataFrame, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = method(**given)
    return table, [str(warning.message) for warning in caught]


def lost_terms(name: str, type: int) -> set[str]:
    _, _, terms, coded = CASES[name]
    return {term for term, other in terms.items() if other is None} | (set(coded) if type > 1 else set())


@pytest.mark.parametrize("ddf", DDFS)
@pytest.mark.parametrize("type", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_what_can_be_told_apart_has_the_tests_of_a_fit_without_the_aliased_columns(name, type, ddf):
    table, said = told(fitted(name).anova, type=type, ddf=ddf)
    answer = inside(_ANOVA, fitted(name, whole=False).model_obj, type, ddf)
    other = pd.DataFrame(answer).set_index("terms")
    lost, terms = lost_terms(name, type), CASES[name][2]
    assert set(table.index[table["P-val"].isna()]) == lost
    assert [term for term in table.index if term in terms] == list(terms) and set(table["Sig"][list(lost)]) <= {""}
    assert table.loc[list(lost)].iloc[:, :6].isna().all(axis=None)
    named = [text for text in said if text.startswith("No test for ")]
    assert len(named) == bool(lost)
    assert not lost or set(named[0][12 : named[0].index(": can")].split(", ")) == lost
    for term in terms.keys() - lost:
        found, wanted = (part.iloc[:6].to_numpy(dtype=float) for part in (table.loc[term], other.loc[terms[term]]))
        rtol = SAME if ddf == "Satterthwaite" else KENWARD_ROGER
        np.testing.assert_allclose(found[[0, 1, 2, 4]], wanted[[0, 1, 2, 4]], rtol=rtol, err_msg=term)
        several = ddf == "Satterthwaite" and found[2] > 1
        np.testing.assert_allclose(found[3], wanted[3], rtol=DF_SEVERAL if several else DF_TOLERANCE)
        np.testing.assert_allclose(found[5], wanted[5], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("type", [2, 3])
@pytest.mark.parametrize("name", ["factor", "three"])
def test_no_test_depends_on_the_coding(name, type):
    tables = []
    for factors in (None, {"A": ["c", "a", "b"]}, {"A": {"a": 1, "b": -0.5, "c": -0.5}}):
        model = samples.fitted(f"y ~ {CASES[name][0]} + (1 | g)", data(), factors=factors)
        tables.append(told(model.anova, type=type)[0].iloc[:, :6].to_numpy(dtype=float))
    for other in tables[1:]:
        if type == 3:
            np.testing.assert_allclose(other[:, 4], tables[0][:, 4], rtol=1e-5)
        assert (np.isnan(other) == np.isnan(tables[0])).all()


@pytest.mark.parametrize("name", [name for name in CASES if name != "last"])
def test_generalized_models_have_the_same_terms(name):
    for type in (1, 2, 3):
        table, said = told(fitted(name, "poisson").anova, type=type)
        lost = lost_terms(name, type)
        assert set(table.index[table["P-val"].isna()]) == lost
        assert any(text.startswith("No test for ") for text in said) == bool(lost)


def test_a_wald_test_is_that_of_a_fit_without_the_aliased_columns():
    """Those of type 3, and of the last terms, whatever the design."""
    for type in (1, 2, 3):
        mine, theirs = (
            told(fitted("factor", "poisson", whole).anova, type=type)[0]["Chisq"] for whole in (True, False)
        )
        np.testing.assert_allclose(mine[["A", "w:A"]], theirs[["A", "A:w"]], rtol=1e-6)


@pytest.mark.parametrize("by", [None, "k"])
def test_what_cells_without_rows_confound_is_tested_in_full(by):
    """Where groups do not differ, a mixed model has the covariance of a regression, which needs no emmeans."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.arange(60) % 10, "y": rng.normal(size=60)})
    data = data.assign(
        **{name: rng.choice(list(levels), 60) for name, levels in {"f": "abc", "h": "xyz", "k": "pq"}.items()}
    )
    data = data[(data["f"] + data["h"]) != "ax"].assign(y=lambda d: d["y"] - d.groupby("g")["y"].transform("mean"))
    mixed, plain = Lmer("y ~ f * h + k + (1 | g)", data), Lm("y ~ f * h + k", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in (mixed, plain):
            model.fit(summarize=False)
    found, wanted = mixed.joint_tests(by, ddf="asymptotic"), plain.joint_tests(by, ddf="asymptotic")
    assert "(confounded)" in found.index
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-6)
