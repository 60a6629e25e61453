"""Marginal means, slopes, contrasts and joint tests of `Lmer`: what tables are and say, and what is refused.

Their numbers are held to those of emmeans by `tests/reference/test_reference_marginal.py`.
"""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from samples import fitted as fit
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import OptionError
from pymer4.models.base import Ddf

pytestmark = pytest.mark.r

ESTIMATED = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF"]
SAME = 1e-6  # relative: two runs of an optimizer


@cache
def rows(name: str) -> pd.DataFrame:
    """Return a data set of R, with columns made by arithmetic on the row number; or one made so altogether."""
    if name == "long":  # more rows than emmeans gives df to unless told
        i = np.arange(3600)
        data = pd.DataFrame({"g": i % 24, "A": np.array(["a1", "a2", "a3"])[i // 24 % 3], "x": np.cos(0.37 * i)})
        return data.assign(y=np.sin(1.7 * i) + 0.5 * np.sin(3.1 * (i % 24)) + 0.1 * (i // 24 % 3))
    data = load_dataset(name)
    i = np.arange(1, len(data) + 1)
    if name == "pigs":
        return data.assign(pen=i % 7)
    if name == "warpbreaks":
        return data.assign(run=(5 * i) % 9, breaks=data.breaks + 4.0 * ((5 * i) % 9))
    if name == "sleepstudy":
        half = np.where(data.Subject.cat.codes % 2, "odd", "even")
        data = data.assign(half=half, late=data.Days > 4, Days=data.Days.astype(float))
    return data


MODELS = {
    "oats": ("yield ~ Variety * nitro + (1 | Block)", "Oats"),
    "cells": ("yield ~ Variety * factor(nitro) + (1 | Block)", "Oats"),
    "pigs": ("log(conc) ~ source + factor(percent) + (1 | pen)", "pigs"),
    "root": ("sqrt(conc) ~ source + factor(percent) + (1 | pen)", "pigs"),
    "wool": ("breaks ~ wool * tension + (1 | run)", "warpbreaks"),
    "sleep": ("Reaction ~ Days * half + late + (1 | Subject)", "sleepstudy"),
    "herds": ("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial"),
    "ticks": ("TICKS ~ YEAR * cHEIGHT + (1 | BROOD)", "grouseticks", "poisson"),
    "long": ("y ~ A * x + (1 | g)", "long"),
}


@cache
def fitted(name: str, **how: object) -> Lmer:
    formula, data, *family = MODELS[name]
    return fit(formula, rows(data), given={"family": family[0]} if family else {}, **how)


def close(found: object, expected: object, rtol: float = SAME) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol)


def test_factors_of_fit_count_as_factors():
    contrast = {"first": {"Golden Rain": 1, "Marvellous": -0.5, "Victory": -0.5}}
    coded = {"nitro": [0, 0.2, 0.4, 0.6], "Variety": contrast}
    model = fit("yield ~ Variety + nitro + (1 | Block)", rows("Oats"), factors=coded)
    estimates, contrasts = model.post_hoc("nitro", "Variety")
    assert (len(estimates), len(contrasts)) == (12, 18)
    plain = fit("yield ~ Variety + factor(nitro) + (1 | Block)", rows("Oats"))
    close(estimates["Estimate"], plain.post_hoc("nitro", "Variety")[0]["Estimate"])


def test_a_constant_in_the_formula_is_no_variable():
    model = fit("yield ~ Variety + I(nitro * pi) + (1 | Block)", rows("Oats"))
    close(model.emtrends("nitro")[0]["Estimate"], model.coefs["Estimate"].iloc[-1] * np.pi)
    with pytest.raises(OptionError, match="'pi'"):
        model.emmeans("pi")


@pytest.mark.parametrize("ddf", get_args(Ddf))
def test_the_df_are_those_asked_for_and_else_the_fits(ddf):
    asked, own = fitted("oats").emmeans("Variety", ddf=ddf), fitted("oats", ddf=ddf).emmeans("Variety")
    for table, other in zip(asked, own, strict=True):
        close(table.select_dtypes("number"), other.select_dtypes("number"), 5e-5)
        assert table.attrs["ddf"] == other.attrs["ddf"] == fitted("oats").joint_tests(ddf=ddf).attrs["ddf"] == ddf


def test_df_stay_above_3000_rows():
    model = fitted("long")
    for estimates, contrasts in (model.emmeans("A", ddf="Satterthwaite"), model.emmeans("A"), model.post_hoc("x", "A")):
        assert np.isfinite(estimates["DF"]).all() and np.isfinite(contrasts["DF"]).all()
    assert model.emmeans("A")[0]["DF"].max() < 100
    assert np.isinf(model.emmeans("A", ddf="asymptotic")[0]["DF"]).all()


# What the tables are


def test_columns_and_index():
    model = fitted("wool")
    estimates, contrasts = model.post_hoc("tension", "wool")
    assert list(estimates.columns) == ["tension", "wool", *ESTIMATED]
    assert list(contrasts.columns) == ["Contrast", "wool", *ESTIMATED, "T-stat", "P-val", "Sig"]
    assert list(estimates.index) == list(contrasts.index) == ["1", "2", "3", "4", "5", "6"]
    assert (estimates[ESTIMATED].dtypes == np.float64).all()
    assert contrasts["Contrast"].tolist() == ["L - M", "L - H", "M - H"] * 2
    assert contrasts["Sig"].map(type).eq(str).all()
    assert model.marginal_estimates is estimates and model.marginal_contrasts is contrasts
    estimates, contrasts = fitted("herds").emmeans("period")
    assert np.isinf(estimates["DF"]).all() and np.isinf(contrasts["DF"]).all()
    assert list(contrasts.columns) == ["Contrast", *ESTIMATED, "Z-stat", "P-val", "Sig"]


def test_limits_have_the_level_of_the_fit():
    wide, narrow = (fitted("oats", **how).emmeans("Variety", adjust="none") for how in ({}, {"conf_level": 0.9}))
    for level, low, high, tables in ((0.95, "2.5_ci", "97.5_ci", wide), (0.9, "5_ci", "95_ci", narrow)):
        for table in tables:
            assert table.attrs["level"] == level
            reach = stats.t.ppf((1 + level) / 2, table["DF"]) * table["SE"]
            close(table[low], table["Estimate"] - reach, 1e-9)
            close(table[high], table["Estimate"] + reach, 1e-9)


NAMES = {
    "cells": ("Variety", "emmean", "estimate"),
    "herds": ("period", "prob", "odds.ratio"),
    "ticks": ("YEAR", "rate", "ratio"),
    "pigs": ("source", "response", "ratio"),
    "root": ("source", "response", "estimate"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("type", ["response", "link"])
def test_tables_say_what_they_hold(name, type):
    variable, mean, contrast = NAMES[name]
    estimates, contrasts = fitted(name).emmeans(variable, type=type)
    if type == "link":
        mean, contrast = "emmean", "estimate"
    assert (estimates.attrs["estimate"], contrasts.attrs["estimate"]) == (mean, contrast)
    assert estimates.attrs["scale"] == type
    # Differences of roots can't be transformed back: they stay where they are, and say so.
    assert contrasts.attrs["scale"] == ("link" if name == "root" else type)
    ddf = "Satterthwaite" if name in ("cells", "pigs", "root") else "asymptotic"
    assert estimates.attrs["ddf"] == contrasts.attrs["ddf"] == ddf
    assert (estimates.attrs["adjust"], contrasts.attrs["adjust"]) == ("none", "tukey")


def test_an_adjustment_that_does_not_apply_is_told():
    _, contrasts = fitted("cells").emmeans("nitro", contrasts="consec")
    assert contrasts.attrs["adjust"] == "sidak"
    assert any("sidak" in text for text in contrasts.attrs["messages"])


def test_labels_keep_their_kind_and_order():
    estimates, contrasts = fitted("pigs").emmeans("source", "percent")
    assert list(estimates["source"].cat.categories) == ["fish", "soy", "skim"]
    assert estimates["percent"].unique().tolist() == contrasts["percent"].unique().tolist() == [9, 12, 15, 18]
    assert fitted("sleep").emmeans("half", "late")[1]["late"].tolist() == [False, True]
    some = fitted("pigs").emmeans("percent", "source", at={"percent": [9, 18.0], "source": ["soy", "fish"]})[0]
    assert list(zip(some["percent"], some["source"], strict=True)) == [(p, s) for s in ("soy", "fish") for p in (9, 18)]


def test_nested_factors():
    data = rows("Oats").assign(place=lambda d: np.where(d["Variety"] == "Victory", "north", "south"))
    model = fit("yield ~ place + Variety + nitro + (1 | Block)", data)
    estimates, contrasts = model.emmeans("Variety")
    assert list(estimates.columns) == ["Variety", "place", *ESTIMATED]
    assert list(estimates.index) == ["1", "2", "3"]
    assert contrasts["Contrast"].iloc[0] == "Victory north - Golden Rain south"
    within, apart = model.emmeans("Variety", "place")
    assert list(apart.columns[:2]) == ["Contrast", "place"]
    assert apart["Contrast"].tolist() == ["(nothing)", "Golden Rain - Marvellous"]  # the north has one cell
    for table in (estimates, contrasts, within, apart):
        assert any("nesting" in text for text in table.attrs["messages"])


def test_cells_without_data_are_missing():
    data = rows("Oats").query("not (Variety == 'Victory' and nitro == 0)")
    model = fit("yield ~ Variety * factor(nitro) + (1 | Block)", data)
    assert model.emmeans("Variety", "nitro")[0]["Estimate"].isna().tolist() == [False, False, True] + [False] * 9
    assert model.joint_tests()["F-stat"].notna().all()


# How it behaves


def test_post_hoc_prints_only_when_asked(capfd):
    model = fitted("pigs")
    assert model.post_hoc("source", summarize=False) is None
    assert capfd.readouterr() == ("", "")
    estimates, contrasts = model.post_hoc("source")
    printed = capfd.readouterr().out
    for text in ("link scale", "log (not the response) scale", "tukey"):
        assert text in printed
    assert estimates.attrs["scale"] == contrasts.attrs["scale"] == "link"
    assert (contrasts["Estimate"] != contrasts["Estimate"].round(3)).all()
    fitted("wool").post_hoc("wool", summarize=False, verbose=True)
    assert "involvement in interactions" in capfd.readouterr().out
    fitted("wool").emmeans("wool")
    assert capfd.readouterr() == ("", "")


def test_one_estimate_has_no_contrasts(capfd):
    model = fitted("oats")
    estimates, contrasts = model.post_hoc("nitro")
    assert len(estimates) == 1 and contrasts is None and model.marginal_contrasts is None
    assert (estimates.attrs["estimate"], estimates.attrs["variable"]) == ("trend", "nitro")
    assert model.emmeans("Variety", at={"Variety": "Victory"})[1] is None
    assert model.emmeans("Variety", contrasts=None)[1] is None
    assert "Pairwise" not in capfd.readouterr().out


def test_monte_carlo_repeats():
    one, two = (fitted("wool").emmeans(["wool", "tension"], adjust="mvt")[1] for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_a_fit_forgets_what_the_last_one_showed():
    model = fit("yield ~ Variety + (1 | Block)", rows("Oats"))
    coefs = model.coefs.copy()
    first, _ = model.emmeans("Variety")
    pd.testing.assert_frame_equal(first, model.emmeans("Variety")[0])
    model.emmeans("Variety", ddf="Kenward-Roger")
    pd.testing.assert_frame_equal(model.coefs, coefs)
    model.fit(factors={"Variety": ["Victory", "Marvellous", "Golden Rain"]}, REML=False, summarize=False)
    assert model.marginal_estimates is None and model.marginal_contrasts is None
    refitted, _ = model.emmeans("Variety")
    assert refitted["Variety"].tolist() == first["Variety"].tolist()[::-1]
    assert (refitted["SE"] < first["SE"].min()).all()
