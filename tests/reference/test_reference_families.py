"""Limits, p and columns of every family: what resampling gives against refits by the live R, one draw at a time."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference.lib.data import named_data
from reference.lib.files import Reference, compare, rscript
from reference.lib.mixed import GENERALIZED, Row, fit, make
from reference.lib.quantities import pair

from pymer4 import Lmer
from pymer4.errors import OptionError, RError
from pymer4.work import seed_stream

pytestmark = pytest.mark.r

SEED, DRAWS = 5, 5
SAME = 1e-8  # with one grouping factor one optimizer on one frame gives the same to 4e-16
REFITTED = 1e-4  # a refit starts where the fit ended, or elsewhere, and stops near the same optimum
PROFILE = 1e-5  # roots of splines

STATISTIC = {
    "gaussian": "T-stat", "gamma": "T-stat", "inverse_gaussian": "T-stat",
    "binomial": "Z-stat", "poisson": "Z-stat", "nbinom": "Z-stat",
}  # fmt: skip
ODDS = ["OR", "OR_2.5_ci", "OR_97.5_ci", "Prob", "Prob_2.5_ci", "Prob_97.5_ci"]

# lme4's own optimizers of generalized models, named: without a control refits take a quicker one.
OWN = "optimizer = c('bobyqa', 'Nelder_Mead')"
# One small model a family, and the gaussian one with a link.
ROWS = {
    row.id: row if row.linear else replace(row, control=OWN)
    for row in (
        Row("gaussian", "simulated", "level ~ x + cond + (1 | g)"),
        Row("binomial", "cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial"),
        Row("poisson", "simulated", "visits ~ x + (1 | g)", "poisson"),
        Row("gamma", "simulated", "wait ~ x + (1 | g)", "gamma", "log"),
        Row("inverse_gaussian", "simulated", "time ~ x + (1 | g)", "inverse_gaussian", "log"),
        Row("nbinom", "simulated", "bursts ~ x + (1 | g)", "nbinom", nAGQ="0"),
        Row("linked", "simulated", "level ~ x + (1 | g)", "gaussian", "log"),
        Row("slopes", "simulated", "level ~ x + (x | g)"),
    )
}
PROFILED = {
    row.id: row
    for row in (
        Row("herds", "cbpp", "cbind(incidence, size - incidence) ~ 1 + (1 | herd)", "binomial"),
        Row("visits", "simulated", "visits ~ x + (1 | g)", "poisson"),
        Row("bursts", "simulated", "bursts ~ 1 + (1 | g)", "nbinom"),
        Row("herds_quadrature", "cbpp", "proportion ~ 1 + (1 | herd)", "binomial", weights="size", nAGQ="5"),
    )
}
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def draws_of_r(refits_in_r):
    """All draws here are those that R makes under the same seeds."""


every = pytest.mark.parametrize("family", ROWS)


@cache
def seeds() -> pd.DataFrame:
    """Return the seeds of the draws that `fit(conf_int="boot", permute=)` makes."""
    stream = seed_stream(SEED, 2 * DRAWS)
    return pd.DataFrame({"boot": stream[:DRAWS], "permute": stream[DRAWS:]})


def ask_r(folder, rows: dict[str, Row], asked: str) -> Reference:
    fields = ["id", "data", "formula", "family", "link", "weights", "offset", "nAGQ", "control", "REML", "asked"]
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for row in rows.values():
            writer.writerow({name: getattr(row, name, "") for name in fields} | {"asked": asked})
    seeds().to_csv(folder / "seeds.csv", index=False)
    rscript("lib/resampled.R", folder)
    return Reference(folder / "resampled.csv")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    """What the live R makes of the same draws."""
    return ask_r(tmp_path_factory.mktemp("resampled"), ROWS, "boot;permute")


@cache
def fitted(family: str) -> Lmer:
    return fit(ROWS[family])


@cache
def bootstrapped(family: str) -> Lmer:
    return fit(ROWS[family], conf_int="boot", n_boot=DRAWS, seed=SEED)


@cache
def resampled(family: str) -> Lmer:
    return fit(ROWS[family], conf_int="boot", n_boot=DRAWS, permute=DRAWS, seed=SEED)


def expected_columns(family: str, permuted: bool) -> list[str]:
    kind = ROWS[family].family
    columns = ["Estimate", "2.5_ci", "97.5_ci", "SE", *(ODDS if kind == "binomial" else [])]
    if permuted:
        columns += ["Num_perm"]
    elif ROWS[family].linear:
        columns += ["DF"]
    return [*columns, STATISTIC[kind], "Perm-P-val" if permuted else "P-val", "Sig"]


@every
def test_columns(family):
    for model in (fitted(family), bootstrapped(family), resampled(family)):
        permuted = model is resampled(family)
        table = model.coefs
        assert list(table.columns) == expected_columns(family, permuted)
        assert table.index[0] == "(Intercept)"
        assert (table.drop(columns=["Sig", "Num_perm"], errors="ignore").dtypes == np.float64).all()
        assert {type(mark) for mark in table["Sig"]} == {str}
    other = fit(ROWS[family], conf_level=0.9).coefs
    assert list(other.columns)[1:3] == ["5_ci", "95_ci"]
    assert [c for c in other.columns if "_ci" in c] == [
        c.replace("97.5", "95").replace("2.5", "5") for c in fitted(family).coefs.columns if "_ci" in c
    ]


@every
def test_estimates_and_errors_are_r_s(family, reference):
    found = fitted(family).coefs[["Estimate", "SE"]]
    compare(pair("fit", found, reference.numbers(family, "fit"), found[["SE"]]), SAME)


@every
def test_what_a_fit_says_of_its_inference(family):
    plain, drawn = fitted(family), resampled(family)
    assert (plain.ci_type, plain.sig_type) == ("Wald", "parametric")
    assert (bootstrapped(family).ci_type, bootstrapped(family).sig_type) == (f"boot ({DRAWS})", "bootstrapped")
    assert (drawn.ci_type, drawn.sig_type) == (f"boot ({DRAWS})", f"permutation ({DRAWS})")
    assert (drawn.coefs["Num_perm"] == DRAWS).all()
    statistic = STATISTIC[ROWS[family].family]
    for column in ("Estimate", "SE", statistic):
        np.testing.assert_array_equal(drawn.coefs[column], plain.coefs[column])


def test_odds_and_probabilities_follow_the_estimates():
    table = bootstrapped("binomial").coefs
    for odds, probability, column in zip(ODDS[:3], ODDS[3:], ["Estimate", "2.5_ci", "97.5_ci"], strict=True):
        np.testing.assert_allclose(table[odds], np.exp(table[column]), rtol=1e-12)
        np.testing.assert_allclose(table[probability], 1 / (1 + np.exp(-table[column])), rtol=1e-12)
    probit = fit(Row("probit", "cbpp", ROWS["binomial"].formula, "binomial", "probit")).coefs
    assert list(probit.columns) == list(table.columns)
    assert probit[ODDS].isna().all(axis=None)


@every
def test_bootstrap_limits_are_of_r_s_refits(family, reference):
    """R simulates each draw with its own function under the same seed, and refits; percentiles are those of boot.ci."""
    expected = reference.numbers(family, "boot").to_numpy()
    limits, table = fitted(family).confint("boot", n_boot=DRAWS, seed=SEED), fitted(family).coefs
    size = np.concatenate([np.ones(len(limits) - len(table)), table["SE"]])[:, None]
    assert (np.abs(limits.to_numpy() - expected) <= REFITTED * size).all()
    drawn = resampled(family).coefs[["2.5_ci", "97.5_ci"]].to_numpy()
    assert (np.abs(drawn - expected[-len(table) :]) <= REFITTED * size[-len(table) :]).all()


@every
def test_bootstrapped_p_is_of_r_s_refits(family, reference):
    draws = reference.numbers(family, "draws").dropna().to_numpy()
    table = bootstrapped(family).coefs
    draws = draws[:, -len(table) :]
    p = 2 * np.minimum(1 + (draws <= 0).sum(axis=0), 1 + (draws >= 0).sum(axis=0)) / (len(draws) + 1)
    np.testing.assert_allclose(table["P-val"], np.minimum(p, 1), rtol=1e-12)
    stars = ["***" if x <= 0.001 else "**" if x <= 0.01 else "*" if x <= 0.05 else "." if x <= 0.1 else "" for x in p]
    assert table["Sig"].tolist() == stars


@every
def test_permuted_p_is_of_r_s_refits(family, reference):
    """A shuffle within groups, refitted by R; terms that are constant in each group have no p."""
    found, statistics = resampled(family).coefs, reference.numbers(family, "permute").dropna().to_numpy()
    observed = found[STATISTIC[ROWS[family].family]].to_numpy()
    hits = (np.abs(statistics) >= np.abs(observed) * (1 - 1e-6)).sum(axis=0)
    p = np.where(found.index == "(Intercept)", np.nan, (1 + hits) / (len(statistics) + 1))
    np.testing.assert_allclose(found["Perm-P-val"], p, rtol=1e-12)


@slow
@pytest.mark.parametrize("family", PROFILED)
def test_profile_limits_are_r_s(family, tmp_path_factory):
    row = PROFILED[family]
    expected = ask_r(tmp_path_factory.mktemp("profile"), {family: row}, "profile").numbers(family, "profile")
    model = fit(row, conf_int="profile")
    limits = model.confint("profile")
    assert list(limits.index) == list(expected.index)
    np.testing.assert_allclose(limits, expected, rtol=PROFILE, atol=PROFILE)
    fixed = expected.iloc[-len(model.coefs) :]
    np.testing.assert_allclose(model.coefs[["2.5_ci", "97.5_ci"]], fixed, rtol=PROFILE, atol=PROFILE)
    pd.testing.assert_frame_equal(model.ranef, fit(row).ranef)


@pytest.mark.parametrize("family", ["gamma", "inverse_gaussian", "linked"])
def test_no_profile_where_the_family_has_a_scale(family):
    for argument, ask in (
        ("conf_int", lambda: make(ROWS[family]).fit(conf_int="profile", summarize=False)),
        ("method", lambda: fitted(family).confint("profile")),
    ):
        with pytest.raises(OptionError, match=f"{argument}='profile'.*scale.*'boot' or 'Wald'"):
            ask()


def test_no_profile_without_laplace():
    with pytest.raises(RError, match=r"nAGQ = 0.*Use nAGQ = 1"):
        fitted("nbinom").confint("profile")


def test_the_models_are_of_every_family():
    assert {row.family for row in ROWS.values()} == {row.family for row in GENERALIZED.values()}
    assert named_data("simulated").notna().all(axis=None)
