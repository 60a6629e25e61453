"""Marginal means of functions of the outcome: on the raw scale where an inverse is known to lead there, else told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples
from against_r import rinterface
from scipy import special, stats

from pymer4 import Lmer
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r


_CONC = (
    "27.8 23.7 31.5 28.5 32.8 34.0 28.3 30.6 32.7 33.7 39.3 34.8 29.8 39.8 40.0 39.1 38.5 39.2 40.0 42.9 40.6 31.0 "
    "34.6 42.9 50.1 37.4 59.5 41.4 59.8"
)
CONC = np.array(_CONC.split(), dtype=float)
PERCENT = np.repeat(np.tile([9.0, 12, 15, 18], 3), [2, 3, 2, 3, 3, 3, 3, 1, 3, 3, 2, 1])
SOURCE = pd.Categorical(np.repeat(["fish", "soy", "skim"], [10, 10, 9]), ["fish", "soy", "skim"])


def pigs() -> pd.DataFrame:
    """Return conc from 25 to 60, and what is made of it by arithmetic; the first `percent` is missing."""
    data = pd.DataFrame({"source": SOURCE, "percent": PERCENT, "conc": CONC})
    data = data.assign(pen=np.arange(len(data)) % 7, share=(data.conc - 20) / 60, change=data.conc - 40, n=data.percent)
    data.loc[0, "percent"] = np.nan
    return data


@dataclass(frozen=True)
class Undone:
    """A function of the outcome: its inverse, the slope of that, and whether differences are differences or ratios."""

    inverse: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    contrasts: str = ""


def straight(shift: float, slope: float) -> Undone:
    return Undone(lambda z: shift + slope * z, lambda z: np.full_like(z, slope), "difference")


def raised(base: float, scale: float = 1.0, shift: float = 0.0) -> Undone:
    """Ratios are those of the outcome where nothing was added to it."""
    contrasts = "" if shift else "ratio"
    return Undone(lambda z: scale * base**z - shift, lambda z: scale * np.log(base) * base**z, contrasts)


ROWS = pigs().dropna()
UNDONE = {
    "log(conc)": raised(np.e),
    "log(conc, base = 2)": raised(2),
    "log(base = 3, conc)": raised(3),
    "logb(conc, 2)": raised(2),
    "base::log(conc)": raised(np.e),
    "log2(conc)": raised(2),
    "10 * log10(conc)": raised(10**0.1),
    "log(conc / 100)": raised(np.e, 100),
    "log(conc + 1)": raised(np.e, 1, 1),
    "log(2 * conc + 3, 10) * 5 - 1": raised(10**0.2, 10**0.2 / 2, 1.5),
    "scale(log(conc))": raised(
        np.exp(np.log(pigs().conc).std()), np.exp(np.log(pigs().conc).mean())
    ),
    "log1p(conc)": Undone(np.expm1, np.exp),
    "sqrt(conc)": Undone(np.square, lambda z: 2 * z),
    "asinh(conc)": Undone(np.sinh, np.cosh),
    "asin(sqrt(share))": Undone(lambda z: np.sin(z) ** 2, lambda z: np.sin(2 * z)),
    "qlogis(share)": Undone(special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "stats::qnorm(share)": Undone(stats.norm.cdf, stats.norm.pdf),
    "100 / conc": Undone(lambda z: 100 / z, lambda z: 100 / z**2),
    "conc^2": Undone(np.sqrt, lambda z: 0.5 / np.sqrt(z)),
    "change^3": Undone(np.cbrt, lambda z: 1 / (3 * np.cbrt(z) ** 2)),
    "(conc^0.3 - 1) / 0.3": Undone(lambda z: (0.3 * z + 1) ** (1 / 0.3), lambda z: (0.3 * z + 1) ** (0.7 / 0.3)),
    "exp(conc / 50)": Undone(lambda z: 50 * np.log(z), lambda z: 50 / z),
    "2^(conc / 20)": Undone(lambda z: 20 * np.log2(z), lambda z: 20 / np.log(2) / z),
    "scale(conc)": straight(pigs().conc.mean(), pigs().conc.std()),
    "conc - mean(conc)": straight(pigs().conc.mean(), 1),
    "I(conc / 10)": straight(0, 10),
    "(conc - 32) * 5 / 9": straight(32, 9 / 5),
    "50 - conc": straight(50, -1),
    "-conc": straight(0, -1),
    "as.numeric(conc)": straight(0, 1),
    "pmax(conc, 1)": straight(0, 1),
}  # fmt: skip


@cache
def modelled(outcome: str) -> Lmer:
    return fitted(outcome)


def fitted(outcome: str, data: pd.DataFrame | None = None) -> Lmer:
    return samples.fitted(f"{outcome} ~ source * percent + (1 | pen)", pigs() if data is None else data)


@pytest.mark.parametrize("outcome", UNDONE)
def test_functions_of_the_outcome_are_undone(outcome):
    undone, model = UNDONE[outcome], modelled(outcome)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means, contrasts = model.emmeans("source")
        linked, differences = model.emmeans("source", type="link")
    z, se = linked["Estimate"].to_numpy(), linked["SE"].to_numpy()
    np.testing.assert_allclose(means["Estimate"], undone.inverse(z), rtol=1e-8)
    np.testing.assert_allclose(means["SE"], np.abs(undone.slope(z)) * se, rtol=1e-7)
    limits = np.sort(undone.inverse(linked[["2.5_ci", "97.5_ci"]].to_numpy()), axis=1)
    np.testing.assert_allclose(means[["2.5_ci", "97.5_ci"]], limits, rtol=1e-8)
    np.testing.assert_allclose(means["DF"], linked["DF"], rtol=1e-7)
    assert means.attrs["scale"] == "response"
    assert linked.attrs["scale"] == differences.attrs["scale"] == "link"
    # What is undone is the outcome that was measured: its mean is near.
    column = next(name for name in ("conc", "share", "change") if name in outcome)
    assert abs(means["Estimate"].mean() - ROWS[column].mean()) < 0.1 * np.ptp(ROWS[column])

    d = differences["Estimate"].to_numpy()
    if undone.contrasts == "ratio":
        end = undone.inverse(-np.inf * np.sign(undone.slope(z)))[0]
        d = (undone.inverse(z[0] + d) - end) / (undone.inverse(z[0]) - end)
    elif undone.contrasts == "difference":
        d = undone.slope(d) * d
    np.testing.assert_allclose(contrasts["Estimate"], d, rtol=1e-8)
    np.testing.assert_allclose(contrasts["T-stat"].abs(), differences["T-stat"].abs(), rtol=1e-6)
    np.testing.assert_allclose(contrasts["P-val"], differences["P-val"], rtol=1e-6, atol=1e-12)
    assert contrasts.attrs["scale"] == ("response" if undone.contrasts else "link")
    assert contrasts.attrs["estimate"] == ("ratio" if undone.contrasts == "ratio" else "estimate")


@pytest.mark.parametrize("outcome", UNDONE)
def test_slopes_are_behind_the_function_of_the_outcome(outcome):
    undone, model = UNDONE[outcome], modelled(outcome)
    step = 1e-3 * np.ptp(ROWS["percent"])
    at = [{"percent": value} for value in (ROWS["percent"].mean(), ROWS["percent"].mean() + step)]
    ends = [undone.inverse(model.emmeans("source", at=x, type="link")[0]["Estimate"].to_numpy()) for x in at]
    slopes = model.emtrends("percent", "source", type="response")[0]
    np.testing.assert_allclose(slopes["Estimate"], (ends[1] - ends[0]) / step, rtol=1e-6)
    linked = model.emtrends("percent", "source")[0]
    assert (slopes.attrs["scale"], linked.attrs["scale"]) == ("response", "link")
    assert "Slopes are on the link scale." in linked.attrs["notes"]
    fixed = model.coefs["Estimate"]
    np.testing.assert_allclose(linked["Estimate"].iloc[0], fixed["percent"], rtol=1e-6)


UNKNOWN = [
    "rank(conc)", "cos(conc)", "change^2", "abs(change)", "cut(conc, 3, labels = FALSE)", "log(conc) - log(n)",
    "sign(change) * sqrt(abs(change))", "pnorm(conc, 36, 10)", "pmax(conc, 35)", "round(conc)",
]  # fmt: skip


@pytest.mark.parametrize("outcome", UNKNOWN)
@pytest.mark.parametrize("ask", [lambda m, **k: m.emmeans("source", **k), lambda m, **k: m.emtrends("percent", **k)])
def test_what_is_not_undone_is_told(outcome, ask):
    model = modelled(outcome)
    with pytest.warns(ModelWarning, match="on the link scale, that of .*no inverse is known"):
        tables = ask(model, type="response")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linked = ask(model, type="link")
    for found, plain in zip(tables, linked, strict=True):
        if found is not None:
            pd.testing.assert_frame_equal(found, plain)
            assert found.attrs["scale"] == "link"
    assert any("no inverse is known" in note for note in tables[0].attrs["notes"])


def test_a_function_of_the_user_counts_for_what_it_computes():
    run = rinterface.evalr
    run("decibel <- function(x) 10 * base::log10(x); tanh <- function(x) x^2; scale10 <- function(x) x / 10 + 3")
    try:
        with pytest.warns(ModelWarning, match="no inverse"):
            assert fitted("decibel(conc)").emmeans("source")[0].attrs["scale"] == "link"
        with pytest.warns(ModelWarning, match="no inverse"):
            assert fitted("tanh(share)").emmeans("source")[0].attrs["scale"] == "link"
        found, plain = (fitted(outcome).emmeans("source") for outcome in ("scale10(conc)", "conc"))
    finally:
        run("rm(decibel, tanh, scale10)")
    for table, expected in zip(found, plain, strict=True):
        np.testing.assert_allclose(table.iloc[:, 1:5].to_numpy(), expected.iloc[:, 1:5].to_numpy(), rtol=1e-6)
        assert table.attrs["scale"] == "response"


@pytest.mark.parametrize("outcome", ["conc - n", "conc / n", "(conc + n) / 2"])
def test_what_two_columns_make_is_the_outcome(outcome):
    made = fitted("made", pigs().eval(f"made = {outcome}")).emmeans("source")
    for found, plain in zip(fitted(outcome).emmeans("source"), made, strict=True):
        pd.testing.assert_frame_equal(found, plain)
        assert found.attrs == plain.attrs
    logs = fitted("log(made)", pigs().eval(f"made = {outcome}").query("made > 0")).emmeans("source")
    inside = fitted(f"log({outcome})", pigs().query(f"{outcome} > 0")).emmeans("source")
    for found, plain in zip(inside, logs, strict=True):
        pd.testing.assert_frame_equal(found, plain)


def test_two_outcomes_tell_no_function():
    """Through two points every line leads: a function that is not known is not undone."""
    data = pigs().assign(two=lambda d: 5.0 + (d.conc > 38))
    with pytest.warns(ModelWarning, match="no inverse"):
        assert fitted("rank(two)", data).emmeans("source")[0].attrs["scale"] == "link"
    found, plain = (fitted(outcome, data).emmeans("source")[0] for outcome in ("I(2 * two)", "two"))
    np.testing.assert_allclose(found["Estimate"], plain["Estimate"], rtol=1e-6)


# Generalized models: behind their link is the outcome that was fitted, behind that the raw one.


# Family, link, outcome, what undoes that, and what contrasts are.
GENERALIZED = [
    ("gamma", "log", "I(size / 10)", lambda mu: 10 * mu, "ratio"),
    ("gamma", "log", "I(size + 1)", lambda mu: mu - 1, "estimate"),
    ("gamma", "log", "sqrt(size)", np.square, "estimate"),
    ("gamma", "identity", "I(size / 10)", lambda mu: 10 * mu, "estimate"),
    ("gaussian", "log", "I(2 * pos + 1)", lambda mu: (mu - 1) / 2, "estimate"),
    ("poisson", None, "I(count)", lambda mu: mu, "ratio"),
    ("poisson", None, "I(2 * count)", lambda mu: mu / 2, "ratio"),
    ("binomial", None, "I(1 - yes)", lambda mu: mu, "odds.ratio"),
    ("binomial", None, "factor(yes)", lambda mu: mu, "odds.ratio"),
]


@pytest.mark.parametrize(("family", "link", "outcome", "inverse", "contrasts"), GENERALIZED)
def test_functions_of_the_outcome_behind_a_link(family, link, outcome, inverse, contrasts):
    model = samples.fitted(f"{outcome} ~ flag + x + (1 | g)", given={"family": family, "link": link})
    behind = {"log": np.exp, "identity": np.asarray, "logit": special.expit}[model.link]
    means, compared = model.emmeans("flag")
    linked, differences = model.emmeans("flag", type="link")
    np.testing.assert_allclose(means["Estimate"], inverse(behind(linked["Estimate"])), rtol=1e-8)
    assert means.attrs["scale"] == "response"
    assert compared.attrs["estimate"] == contrasts
    np.testing.assert_allclose(compared["Z-stat"], differences["Z-stat"], rtol=1e-7)
    expected = np.exp(differences["Estimate"]) if "ratio" in contrasts else differences["Estimate"]
    scale = 10 if model.link == "identity" else 1
    np.testing.assert_allclose(compared["Estimate"], scale * expected, rtol=1e-8)


def test_an_unknown_function_behind_a_link_is_told():
    model = samples.fitted("rank(size) ~ flag + x + (1 | g)", given={"family": "gamma", "link": "log"})
    with pytest.warns(ModelWarning, match=r"that of log of rank\(size\)"):
        assert model.emmeans("flag")[0].attrs["scale"] == "link"
