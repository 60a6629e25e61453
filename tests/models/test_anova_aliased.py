"""Tests of terms where a term that stands in an interaction is aliased, and of factors with empty cells.

What can be told apart has the tests of the model fitted without the aliased columns, by R in a process of its own.
"""

from __future__ import annotations

import subprocess
import warnings
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lmer
from pymer4.errors import ModelWarning

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

SCRIPT = r"""
suppressMessages(library(lmerTest))
folder <- commandArgs(TRUE)[1]
cases <- read.csv(file.path(folder, "cases.csv"), colClasses = "character")
for (i in seq_len(nrow(cases))) {
  d <- read.csv(file.path(folder, paste0(cases$data[i], ".csv")))
  for (name in c("A", "B", "g")) d[[name]] <- factor(d[[name]])
  m <- suppressMessages(lmer(as.formula(paste("y ~", cases$refit[i], "+ (1 | g)")), d))
  for (ddf in c("Satterthwaite", "Kenward-Roger")) for (type in 1:3) {
    table <- suppressMessages(anova(m, type = type, ddf = ddf))
    cells <- sprintf("%.17g", as.matrix(table))
    write.table(cbind(cases$name[i], ddf, type, rownames(table), matrix(cells, nrow(table))), sep = ",",
                row.names = FALSE, col.names = FALSE)
  }
}
"""


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


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> pd.DataFrame:
    """What R says of the models without the aliased columns: case, ddf, type and term to the columns of the table."""
    folder = tmp_path_factory.mktemp("aliased")
    data().to_csv(folder / "whole.csv", index=False)
    data(hole=True).to_csv(folder / "hole.csv", index=False)
    rows = [(name, refit, "hole" if name == "hole" else "whole") for name, (_, refit, *_) in CASES.items()]
    pd.DataFrame(rows, columns=["name", "refit", "data"]).to_csv(folder / "cases.csv", index=False)
    (folder / "reference.R").write_text(SCRIPT)
    command = ["Rscript", "--vanilla", str(folder / "reference.R"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(StringIO(done.stdout), header=None, index_col=[0, 1, 2, 3], keep_default_na=False)


def fitted(name: str, **given) -> Lmer:
    outcome = "k" if given else "y"
    model = Lmer(f"{outcome} ~ {CASES[name][0]} + (1 | g)", data(name == "hole"), **given)
    model.fit(summarize=False, no_warnings=True, **({"nAGQ": 0} if given else {}))
    return model


def told(method, **given) -> tuple[pd.DataFrame, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = method(**given)
    return table, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", CASES)
def test_what_can_be_told_apart_has_the_tests_of_a_fit_without_the_aliased_columns(name, reference):
    _, _, terms, coded = CASES[name]
    model = fitted(name)
    for ddf in DDFS:
        for type in (1, 2, 3):
            table, said = told(model.anova, type=type, ddf=ddf)
            lost = {term for term, other in terms.items() if other is None} | (set(coded) if type > 1 else set())
            assert set(table.index[table["P-val"].isna()]) == lost, (ddf, type)
            assert table.loc[list(lost)].iloc[:, :6].isna().all(axis=None)
            named = [text for text in said if text.startswith("No test for ")]
            assert len(named) == bool(lost)
            assert not lost or set(named[0][12 : named[0].index(": can")].split(", ")) == lost
            for term, other in terms.items():
                if term in lost:
                    continue
                found = table.loc[term].iloc[:6].to_numpy(dtype=float)
                wanted = reference.loc[name, ddf, type, other].to_numpy(dtype=float)
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
        model = Lmer(f"y ~ {CASES[name][0]} + (1 | g)", data())
        model.fit(factors=factors, summarize=False, no_warnings=True)
        tables.append(told(model.anova, type=type)[0].iloc[:, :6].to_numpy(dtype=float))
    for other in tables[1:]:
        if type == 3:
            np.testing.assert_allclose(other[:, 4], tables[0][:, 4], rtol=1e-5)
        assert (np.isnan(other) == np.isnan(tables[0])).all()


@pytest.mark.parametrize("name", [name for name in CASES if name != "last"])
def test_generalized_models_have_the_same_terms(name):
    model = fitted(name, family="poisson")
    _, _, terms, coded = CASES[name]
    for type in (1, 2, 3):
        table, said = told(model.anova, type=type)
        lost = {term for term, other in terms.items() if other is None} | (set(coded) if type > 1 else set())
        assert set(table.index[table["P-val"].isna()]) == lost
        assert any(text.startswith("No test for ") for text in said) == bool(lost)


def test_a_wald_test_is_that_of_a_fit_without_the_aliased_columns():
    """Those of type 3, and of the last terms, whatever the design."""
    model = fitted("factor", family="poisson")
    other = Lmer(f"k ~ {CASES['factor'][1]} + (1 | g)", data(), family="poisson")
    other.fit(summarize=False, no_warnings=True, nAGQ=0)
    for type in (1, 2, 3):
        mine, theirs = (told(m.anova, type=type)[0]["Chisq"] for m in (model, other))
        np.testing.assert_allclose(mine[["A", "w:A"]], theirs[["A", "A:w"]], rtol=1e-6)


def test_empty_cells_are_told():
    with pytest.warns(ModelWarning, match=r"Missing cells for: Ab:BC"):
        fitted("hole").anova()
