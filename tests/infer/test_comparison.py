"""Likelihood-ratio tests of regressions beside mixed models and beside each other, with R's `anova` as the judge."""

from __future__ import annotations

import subprocess
import sys
import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from against_r import ask

from pymer4 import Lm, Lm2, Lmer, compare, load_dataset, lrt
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.rbridge import bridge

SAME = 1e-7  # a log-likelihood at the optimum of lme4's optimizer, by the same steps on the same machine
COLUMNS = ["model", "npar", "AIC", "BIC", "log-likelihood", "deviance", "Chisq", "Df", "P-val", "Sig"]


@cache
def rows() -> pd.DataFrame:
    """Return 120 rows in groups of six, an outcome of each family, and two rows with a gap."""
    rng = np.random.default_rng(12)
    group = np.repeat(np.arange(20), 6)
    x, shift = rng.normal(size=(2, 120))
    eta = 0.4 + 0.5 * x + 0.8 * rng.normal(size=20)[group]
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=120), "shift": 0.3 * shift, "g": [f"g{k}" for k in group]})
    frame["y"] = 5 + eta + rng.normal(size=120)
    frame["w"] = rng.uniform(0.5, 2, 120)
    frame["hit"] = (rng.random(120) < 1 / (1 + np.exp(-eta))).astype(float)
    frame["n"] = rng.integers(3, 9, 120).astype(float)
    frame["won"] = rng.binomial(frame["n"].astype(int), 1 / (1 + np.exp(-eta))).astype(float)
    frame["share"] = frame["won"] / frame["n"]
    frame["count"] = rng.poisson(np.exp(eta + frame["shift"])).astype(float)
    frame["crowd"] = rng.negative_binomial(2, 2 / (2 + np.exp(eta + 1))).astype(float)
    frame.loc[[4, 50], "x"] = np.nan
    return frame


class Case(NamedTuple):
    """Two models of one outcome, as pymer4 and as R are told of them."""

    outcome: str
    family: str = "gaussian"
    plain: dict = {}  # noqa: RUF012
    mixed: dict = {}  # noqa: RUF012
    weights: str | None = None
    fit: dict = {}  # noqa: RUF012
    r: tuple[str, str] = ("lm(%s)", "lmer(%s, REML = FALSE)")


_GLM = ("glm(%s, family = {0})", "glmer(%s, family = {0})")


def glm(family: str) -> tuple[str, str]:
    return tuple(code.format(family) for code in _GLM)


CASES = {
    "gaussian": Case("y"),
    "weights": Case("y", weights="w", r=("lm(%s, weights = w)", "lmer(%s, weights = w, REML = FALSE)")),
    "offset": Case(
        "y",
        plain={"offset": "shift"},
        mixed={"offset": "shift"},
        r=("lm(%s, offset = shift)", "lmer(%s, offset = shift, REML = FALSE)"),
    ),
    "logarithm": Case("log(y)"),
    "binary": Case("hit", "binomial", r=glm("binomial")),
    "binary, nAGQ=0": Case(
        "hit", "binomial", fit={"nAGQ": 0}, r=(glm("binomial")[0], "glmer(%s, family = binomial, nAGQ = 0)")
    ),
    "successes": Case("cbind(won, n - won)", "binomial", r=glm("binomial")),
    "shares": Case(
        "share",
        "binomial",
        weights="n",
        r=tuple(code.replace(", f", ", weights = n, f") for code in glm("binomial")),
    ),
    "counts": Case(
        "count",
        "poisson",
        plain={"offset": "shift"},
        mixed={"offset": "shift"},
        r=tuple(code.replace(", f", ", offset = shift, f") for code in glm("poisson")),
    ),
    "crowds": Case("crowd", "nbinom", r=("MASS::glm.nb(%s)", "glmer.nb(%s)")),
}


def both(case: Case) -> tuple[Lm, Lmer]:
    weights = {} if case.weights is None else {"weights": case.weights}
    outcome = case.outcome.replace("log(", "np.log(")
    plain = Lm(f"{outcome} ~ x", rows(), case.family, **case.plain)
    mixed = Lmer(f"{case.outcome} ~ x + (1 | g)", rows(), case.family, **case.mixed, **weights)
    plain.fit(summarize=False, weights=None if case.weights is None else rows()[case.weights])
    mixed.fit(summarize=False, no_warnings=True, **case.fit)
    return plain, mixed


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """R's `anova` of each case: npar, AIC, BIC, logLik, Chisq, Df and p, two rows."""
    numbers = rows().assign(g=pd.factorize(rows()["g"])[0])
    lines = ["library(lme4); d <- data.frame(x, z, shift, g = factor(g), y, w, hit, n, won, share, count, crowd)"]
    for i, case in enumerate(CASES.values()):
        plain, mixed = (
            code % f"{case.outcome} ~ {fixed}, data = d"
            for code, fixed in zip(case.r, ("x", "x + (1 | g)"), strict=True)
        )
        lines.append(
            f"""a <- {plain}; b <- suppressMessages(suppressWarnings({mixed}))
            t <- suppressMessages(anova(b, a, refit = FALSE))
            answer$case{i} <- as.matrix(t[, c("npar", "AIC", "BIC", "logLik", "Chisq", "Df", "Pr(>Chisq)")])"""
        )
    return ask("\n".join(lines), **{name: numbers[name].to_numpy() for name in numbers})


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_a_regression_beside_a_mixed_model_is_r_s_anova(name, expected):
    plain, mixed = both(CASES[name])
    table, wanted = compare(mixed, plain), expected[f"case{list(CASES).index(name)}"]
    assert list(table.columns) == COLUMNS and list(table.index) == [0, 1]
    assert list(table["model"]) == [plain.formula, mixed.formula]
    # Both engines stop within 1e-4 of the optimum of theta, where the likelihood is flat to 1e-6 of itself.
    rtol = 2e-6 if name == "crowds" else SAME
    np.testing.assert_allclose(table[["npar", "AIC", "BIC", "log-likelihood", "Df"]], wanted[:, [0, 1, 2, 3, 5]], rtol)
    np.testing.assert_allclose(table["deviance"], -2 * wanted[:, 3], rtol)
    np.testing.assert_allclose(table.loc[1, "Chisq"], wanted[1, 4], atol=rtol * 2 * abs(wanted[:, 3]).sum())
    np.testing.assert_allclose(table.loc[1, "P-val"], wanted[1, 6], rtol=1e-3)
    assert table.loc[0, "Sig"] == "" and lrt([plain, mixed]).equals(table)


@pytest.mark.r
def test_known_comparisons():
    sleep, cbpp = load_dataset("sleepstudy"), load_dataset("cbpp")
    models = [Lm("Reaction ~ Days", sleep), Lmer("Reaction ~ Days + (1 | Subject)", sleep)]
    for model in models:
        model.fit(summarize=False)
    row = compare(*models).loc[1]
    np.testing.assert_allclose(row[["Chisq", "Df", "P-val"]].astype(float), [106.214413351, 1, 6.61735945828e-25], 1e-6)
    assert models[1].coefs.loc["Days", "DF"] > 100 and models[1]._by_reml, "the model stays as it was fitted"
    models = [
        Lm("cbind(incidence, size - incidence) ~ period", cbpp, "binomial"),
        Lmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, "binomial"),
    ]
    for model in models:
        model.fit(summarize=False)
    # Of lme4 1.1; from 2.1 on Laplace's approximation is taken at the last weights, not at those before.
    np.testing.assert_allclose(compare(*models).loc[1, ["Chisq", "Df"]].astype(float), [14.00527, 1], 1e-4)


@pytest.mark.r
def test_three_models_of_two_classes():
    models = [
        fitted("y ~ 1"),
        fitted("y ~ x"),
        Lmer("y ~ x + (1 | g)", whole()),
        Lmer("y ~ x + (x | g)", whole()),
    ]
    for model in models[2:]:
        model.fit(summarize=False, no_warnings=True)
    table = compare(*models[::-1])
    assert list(table["npar"]) == [2, 3, 4, 6] and list(table["Df"])[1:] == [1, 1, 2]
    np.testing.assert_allclose(table["Chisq"][1:], 2 * np.diff(table["log-likelihood"]), 1e-9)


# ------------------------------------------------------------------ regressions beside each other


def whole() -> pd.DataFrame:
    return rows().dropna().reset_index(drop=True)


def fitted(formula: str, frame: pd.DataFrame | None = None, family: str = "gaussian", offset=None, **how) -> Lm:
    model = Lm(formula, whole() if frame is None else frame, family, offset=offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model.fit(summarize=False, **how)
    return model


@pytest.mark.r
@pytest.mark.parametrize(
    "outcome, family, code",
    [
        ("y", "gaussian", "lm(y ~ %s)"),
        ("hit", "binomial", "glm(hit ~ %s, family = binomial)"),
        ("count", "poisson", "glm(count ~ %s, family = poisson)"),
        ("y", "gamma", 'glm(y ~ %s, family = Gamma("inverse"))'),
        ("y", "inverse_gaussian", "glm(y ~ %s, family = inverse.gaussian)"),
    ],
)
def test_regressions_beside_each_other(outcome, family, code):
    table = compare(*(fitted(f"{outcome} ~ {terms}", family=family) for terms in ("x", "x + z")))
    wanted = ask(
        f"answer$found <- sapply(list({code % 'x'}, {code % 'x + z'}), function(m)"
        " c(attr(logLik(m), 'df'), AIC(m), BIC(m), logLik(m)))",
        **{name: whole()[name] for name in ("x", "z", outcome)},
    )["found"].T
    np.testing.assert_allclose(table[["npar", "AIC", "BIC", "log-likelihood"]], wanted, 1e-8)
    np.testing.assert_allclose(table.loc[1, "Chisq"], 2 * np.diff(wanted[:, 3])[0], 1e-6)


def test_regressions_wake_no_r():
    code = """
import sys, numpy as np, pandas as pd
from pymer4 import Lm, compare
d = pd.DataFrame({"y": [1.0, 2, 4, 3, 6], "x": [0.0, 1, 2, 3, 4]})
models = [Lm("y ~ 1", d), Lm("y ~ x", d)]
[m.fit(summarize=False) for m in models]
assert list(compare(*models)["npar"]) == [2, 3]
assert not any(name.startswith("rpy2") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_robust_errors_play_no_part_and_that_is_said_once():
    models = [fitted("y ~ x", robust="hc3"), fitted("y ~ x + z", robust="hc1"), fitted("y ~ x + z + w")]
    with pytest.warns(ModelWarning, match=r"'y ~ x' \(hc3\), 'y ~ x \+ z' \(hc1\)") as told:
        table = compare(*models)
    assert len(told) == 1 and told[0].filename == __file__
    pd.testing.assert_frame_equal(table, compare(*(fitted(model.formula) for model in models)))


def test_an_offset_may_be_what_a_coefficient_is_held_to():
    free, held = fitted("y ~ x + shift"), fitted("y ~ x", offset="shift")
    row = compare(free, held).loc[1]
    t = (free.coefs.loc["shift", "Estimate"] - 1) / free.coefs.loc["shift", "SE"]
    assert row["Df"] == 1
    np.testing.assert_allclose(row["Chisq"], len(whole()) * np.log1p(t**2 / (len(whole()) - 3)), 1e-9)


def test_rows_may_come_in_another_order_and_under_other_labels():
    shuffled = whole().sample(frac=1, random_state=3)
    first, same = fitted("y ~ x"), fitted("y ~ x + z")
    for frame in (shuffled, shuffled.reset_index(drop=True), shuffled.set_index(np.zeros(len(shuffled)))):
        other = fitted("y ~ x + z", frame, weights=np.ones(len(frame)))
        np.testing.assert_allclose(compare(first, other)["Chisq"][1], compare(first, same)["Chisq"][1], 1e-9)


def gap(name: str, row: int) -> pd.DataFrame:
    frame = whole()
    frame.loc[row, name] = np.nan
    return frame


@pytest.mark.parametrize("shuffle", [False, True])
def test_other_rows_with_the_same_outcomes_are_other_rows(shuffle):
    """One 0 lost here and another there: the outcomes of the rows used are the same numbers."""
    zeros = np.flatnonzero(whole()["hit"] == 0)[:2]
    frames = [gap("x", zeros[0]), gap("z", zeros[1])]
    if shuffle:
        frames[1] = frames[1].sample(frac=1, random_state=1)
    models = [fitted(f"hit ~ {x}", frame, "binomial") for x, frame in zip(("x", "x + z"), frames, strict=True)]
    with pytest.raises(DataError, match=rf"different rows: .*row\(s\) {zeros[0]}, {zeros[1]} of the data") as told:
        compare(*models)
    assert str(len(whole()) - 1) in str(told.value)


# ------------------------------------------------------------------ errors


def mixed(formula: str = "y ~ x + (1 | g)", family: str = "gaussian", given: dict | None = None, **fit) -> Lmer:
    model = Lmer(formula, whole(), family, **(given or {}))
    model.fit(summarize=False, no_warnings=True, **fit)
    return model


def two_stage() -> Lm2:
    model = Lm2("y ~ x", whole(), "g")
    model.fit(summarize=False)
    return model


PLAIN = {
    "text": (TypeError, "Lmer or Lm, not a str", lambda: compare("y ~ x", fitted("y ~ x"))),
    "a list": (TypeError, "not a list.*lrt", lambda: compare([fitted("y ~ x"), fitted("y ~ z")])),
    "one model": (TypeError, "in one list", lambda: lrt(fitted("y ~ x"))),
    "a text": (TypeError, "in one list", lambda: lrt("y ~ x")),
    "two stages": (OptionError, "not Lm2.*each group.*Fit an Lmer", lambda: compare(fitted("y ~ x"), two_stage())),
    "two stages, not fitted": (OptionError, "not Lm2", lambda: lrt([Lm2("y ~ x", whole(), "g"), fitted("y ~ x")])),
    "not fitted": (NotFittedError, "'y ~ z'", lambda: compare(fitted("y ~ x"), Lm("y ~ z", whole()))),
    "refit": (OptionError, "refit='no'", lambda: compare(fitted("y ~ 1"), fitted("y ~ x"), refit="no")),
    "rows": (
        DataError,
        r"different rows: 118 in 'y ~ 1', 117 in 'y ~ x'; row\(s\) 3 of the data",
        lambda: compare(fitted("y ~ 1"), fitted("y ~ x", gap("x", 3))),
    ),
    "outcome": (
        DataError,
        "values of the outcome",
        lambda: compare(fitted("y ~ 1"), fitted("np.log(y) ~ x")),
    ),
    "ranks": (
        DataError,
        "values of the outcome",
        lambda: compare(fitted("y ~ 1"), fitted("y ~ x", rank=True)),
    ),
    "weights": (
        DataError,
        "different weights",
        lambda: compare(fitted("y ~ 1"), fitted("y ~ x", weights=whole()["w"])),
    ),
    "own weights": (
        OptionError,
        "variances of its own residuals.*weights=array",
        lambda: compare(fitted("y ~ x"), fitted("y ~ x + z", weights="g")),
    ),
    "offsets": (DataError, "different offsets", lambda: compare(fitted("y ~ 1"), fitted("y ~ x", offset="shift"))),
    "families": (
        OptionError,
        r"gaussian \(identity\), poisson \(log\)",
        lambda: compare(fitted("count ~ 1"), fitted("count ~ x", family="poisson")),
    ),
    "equal size": (OptionError, "3 parameters each.*AIC", lambda: compare(fitted("y ~ x"), fitted("y ~ z"))),
    "nothing left": (
        DataError,
        "log-likelihood of inf",
        lambda: compare(fitted("y ~ 1", FLAT), fitted("y ~ x", FLAT)),
    ),
}
FLAT = pd.DataFrame({"y": [0.0, 0.0, 0.0, 0.0], "x": [1.0, 2.0, 4.0, 3.0]})
MIXED = {
    "restricted": (
        OptionError,
        r"restricted likelihood of 'y ~ x \+ \(1 \| g\)'.*refit=True",
        lambda: compare(fitted("y ~ x"), mixed(), refit=False),
    ),
    "weights": (DataError, "different weights", lambda: compare(fitted("y ~ x"), mixed(given={"weights": "w"}))),
    "offset": (DataError, "different offsets", lambda: compare(fitted("y ~ x"), mixed(given={"offset": "shift"}))),
    "outcome": (DataError, "values of the outcome", lambda: compare(fitted("y ~ x"), mixed("log(y) ~ x + (1 | g)"))),
    "two stages": (OptionError, "not Lm2", lambda: compare(mixed(), two_stage())),
}


@pytest.mark.parametrize("name", PLAIN)
def test_errors_of_regressions(name):
    kind, told, act = PLAIN[name]
    with pytest.raises(kind, match=told):
        act()


@pytest.mark.r
@pytest.mark.parametrize("name", MIXED)
def test_errors_beside_mixed_models(name):
    kind, told, act = MIXED[name]
    with pytest.raises(kind, match=told):
        act()


@pytest.mark.r
def test_a_fit_by_ml_needs_no_other():
    table = compare(fitted("y ~ x"), mixed(REML=False), refit=False)
    pd.testing.assert_frame_equal(table, compare(fitted("y ~ x"), mixed()), rtol=1e-6)


# ------------------------------------------------------------------ what depends on the lme4 at hand


def of_family(family: str, link: str) -> Lm:
    model = Lm("y ~ x", whole(), family, link=link)
    model.fit(summarize=False)
    return model


def is_whole() -> bool:
    """Whether lme4's likelihood has all its constants, and the scale where it belongs."""
    version = bridge.call("load_packages", packages=["lme4"]).value["versions"]["lme4"]
    return tuple(map(int, version.replace("-", ".").split(".")[:2])) >= (2, 1)


PARTS = {
    "quadrature": (
        lambda: fitted("hit ~ x", family="binomial"),
        lambda: mixed("hit ~ x + (1 | g)", "binomial", nAGQ=5),
        "nAGQ > 1.*nAGQ=1 beside an Lm",
    )
} | {
    f"scale of {family}": (
        lambda family=family: of_family(family, "log"),
        lambda family=family: mixed("y ~ x + (1 | g)", family, {"link": "log"}, nAGQ=0),
        f"'{family}'.*takes the scale for 1",
    )
    for family in ("gamma", "inverse_gaussian", "gaussian")
}


@pytest.mark.r
@pytest.mark.parametrize("name", PARTS)
def test_likelihoods_that_are_no_likelihoods_are_refused(name):
    plain, larger, told = PARTS[name]
    plain, larger = plain(), larger()
    if is_whole():
        table = compare(plain, larger)
        assert table.loc[1, "Df"] == 1 and table.loc[1, "Chisq"] == max(0, 2 * (larger.logLike - plain.logLike))
    else:
        with pytest.raises(OptionError, match=told):
            compare(plain, larger)
