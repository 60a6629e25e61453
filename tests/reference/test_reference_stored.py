"""Models that `Lmer` fitted and R's saveRDS wrote: a fresh R finds in them what it finds in plain fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from against_r import rinterface
from reference.lib.files import Reference, compare, rscript
from reference.lib.linear import CASES, case_data, fitted, make
from reference.lib.quantities import pair

from pymer4 import Lmer

pytestmark = pytest.mark.r

SAME, DF = 1e-6, 2e-5  # as of linear models

STORED = ["bobyqa", "weights_missing", "weights_missing@array", "interaction"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Reference:
    """What a fresh R finds in models that `Lmer` fitted and R's saveRDS wrote, and in plain fits of the same cases."""
    folder = tmp_path_factory.mktemp("stored")
    for name in STORED:
        case, _, how = name.partition("@")
        model = fitted(case)
        if how == "array":
            model = make(CASES[case], weights=case_data(CASES[case])[CASES[case].weights].to_numpy())
            model.fit(summarize=False)
        save(model, folder / f"{name}.rds")
    rscript("lib/stored.R", folder)
    return Reference(folder / "stored.csv")


def save(model: Lmer, path: Path, compress: bool = True) -> None:
    text = rinterface.StrSexpVector([str(path)])
    rinterface.baseenv["saveRDS"](model.model_obj, text, compress=rinterface.BoolSexpVector([compress]))


P_COLUMNS = ["Pr(>|t|)", "Pr(>F)", "Pr(>Chisq)"]


@pytest.mark.parametrize("case", STORED)
def test_stored_model_answers_as_a_plain_one(case, stored):
    """Compare anova, contests, ranova, update, refit, profile, emmeans and more."""
    assert stored.strings(case, "class") == ["lmerModLmerTest"]
    found, expected = stored.tables(case, "saved"), stored.tables(case, "plain")
    assert list(found) == list(expected)
    assert len(found) > 15
    for name, table in expected.items():
        assert list(found[name].index) == list(table.index), name
        assert list(found[name].columns) == list(table.columns), name
        for column in table:
            by_df = "df" in column.lower() or column in P_COLUMNS
            scale = 1 if column in P_COLUMNS else table[column].abs().max()
            compare(pair(f"{name}: {column}", found[name][column], table[column], scale), DF if by_df else SAME)


@pytest.mark.parametrize("case", STORED)
def test_stored_model_holds_the_data_and_nothing_of_ours(case, stored):
    chain = stored.text(case, "chain")
    expected = {"data": "data.frame", "R_GlobalEnv": "environment"}
    expected |= {"control": "lmerControl"} if CASES[case.partition("@")[0]].control else {}
    assert dict(zip(chain["name"], chain["kind"], strict=True)) == expected


def test_stored_model_is_as_small_as_a_plain_one(stored):
    """Most of a saved model are lme4's own classes, 130 kB; what is ours to keep small is what comes on top."""
    for case in STORED:
        size = stored.numbers(case, "size")["1"]
        assert size["saved"] < size["plain"] + 2_000
