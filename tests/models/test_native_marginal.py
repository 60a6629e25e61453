"""Marginal means, slopes and joint tests of regressions, beside those that R's emmeans makes of R's fits."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import emmeans
import numpy as np
import pandas as pd
import pytest
import samples

from pymer4 import Lm
from pymer4.errors import ModelWarning, OptionError

pytestmark = pytest.mark.r

_TIGHT = ", control = glm.control(epsilon = 1e-14, maxit = 100)"
_GLM = 3e-7  # R's covariance is that of the step before the last
_CAUCHIT = 5e-6  # whose steps R stops before
_RANGE = 2e-5  # R's qtukey stops at 1e-4 of the quantile, most often at less
_DUNNETT = 3e-4  # emmeans takes uniroot's default


@cache
def rows(name: str) -> pd.DataFrame:
    if name == "trial":
        return samples.trial().rename(columns={"count": "k"})
    if name in ("nested", "ragged"):
        r = np.arange(36)
        data = pd.DataFrame({"a": np.array(["a1", "a2", "a3"])[r // 12], "k": np.array(["k1", "k2", "k3"])[r % 3]})
        data = data.assign(b=data.a + data.k, c=np.array(["u", "v"])[r // 3 % 2], x=np.cos(7.0 * r), y=np.sin(5.0 * r))
        return data if name == "nested" else data[data.b != "a2k3"].reset_index(drop=True)
    data = samples.dataset(name).rename(columns={"yield": "crop"})
    data["half"] = np.arange(len(data)) // 7 % 2 + 1.0
    return data


@cache
def fitted(name: str) -> Lm:
    data, formula, _, given = MODELS[name]
    own = {key: given[key] for key in ("family", "link", "offset") if key in given}
    model = Lm(formula, rows(data), **own)
    how = {key: rows(data)[value] if key == "weights" else value for key, value in given.items() if key not in own}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model.fit(summarize=False, **how)
    return model


# The data, the formula, R's fit of these where its formula is another, and what else the model is told.
MODELS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "warp": ("warpbreaks", "breaks ~ wool * tension", "", {}),
    "pigs": ("pigs", "np.log(conc) ~ source + C(percent)", "log(conc) ~ source + factor(percent)", {}),
    "root": ("pigs", "np.sqrt(conc) ~ source * percent", "sqrt(conc) ~ source * percent", {}),
    "oats": ("Oats", "crop ~ Variety * nitro + Block", "", {}),
    "fiber": ("fiber", "strength ~ diameter * machine", "", {}),
    "teeth": ("ToothGrowth", "len ~ supp * C(dose)", "len ~ supp * factor(dose)", {}),
    "holes": ("nutrition", "gain ~ (age + group + race)**2", "gain ~ (age + group + race)^2", {}),
    "more holes": ("nutrition", "gain ~ age * group * race", "", {}),
    "functions": (
        "oranges",
        "sales1 ~ np.log(price1) * day + center(price2) + half",
        "sales1 ~ log(price1) * day + scale(price2, scale = FALSE) + half",
        {},
    ),
    "spline": ("oranges", "sales1 ~ bs(price1, df=4) + day + store", "", {}),
    "flags": ("trial", "y ~ flag * dose + x", "", {}),
    "weights": ("trial", "y ~ cond * x", "", {"weights": "w"}),
    "trials": ("trial", "cbind(hits, trials - hits) ~ cond * x + flag", "", {"family": "binomial"}),
    "probit": ("trial", "yes ~ cond + x", "", {"family": "binomial", "link": "probit"}),
    "cauchit": ("trial", "yes ~ cond + x", "", {"family": "binomial", "link": "cauchit"}),
    "counts": ("trial", "k ~ cond * x + flag", "", {"family": "poisson"}),
    "rates": ("trial", "k ~ cond + x", "", {"family": "poisson", "offset": "o"}),
    "roots": ("trial", "k ~ cond", "", {"family": "poisson", "link": "sqrt"}),
    "sizes": ("trial", "size ~ cond * x", "", {"family": "gamma", "link": "log"}),
    "inverse": ("trial", "size ~ cond", "", {"family": "gamma"}),
    "spread": ("trial", "spread ~ cond * x", "", {"family": "nbinom"}),
    "absent": ("quine", "Days ~ Age * Lrn + Sex", "", {"family": "nbinom"}),  # with an empty cell
}
TOLERANCE = {name: _GLM for name, (*_, given) in MODELS.items() if "family" in given}
TOLERANCE |= {"cauchit": _CAUCHIT, "spread": 1e-5, "absent": 1e-5}


def in_r(name: str) -> str:
    """Return R's fit of a model as code."""
    _, formula, other, given = MODELS[name]
    formula, family = other or formula, given.get("family")
    more = "".join(f", {key} = {given[key]}" for key in ("weights", "offset") if key in given)
    if family is None:
        return f"lm({formula}, data{more})"
    if family == "nbinom":
        return f"MASS::glm.nb({formula}, data{_TIGHT})"
    link = f"'{given['link']}'" if "link" in given else ""
    return f"glm({formula}, {family.replace('gamma', 'Gamma')}({link}), data{more}{_TIGHT})"


def check(
    name: str, specs: Any, by: Any = None, at: Any = None, contrasts: Any = "pairwise", var: Any = None, **how: Any
) -> None:
    """Compare the tables of a question; adjusted by Holm's method unless told otherwise."""
    model, rtol = fitted(name), TOLERANCE.get(name, 1e-7)
    how = {"adjust": "holm", "type": "link" if var else "response"} | how
    ask = model.emmeans if var is None else lambda *given, **more: model.emtrends(var, *given, **more)
    ours = ask(specs, by, at, contrasts=contrasts, **how)
    method = (
        {key: np.array(value, dtype=float) for key, value in contrasts.items()}
        if isinstance(contrasts, dict)
        else contrasts
    )
    asked = emmeans.asked(specs, by, at, var, how["type"])
    told = emmeans.said(rows(MODELS[name][0]), in_r(name), asked, method or "none", how["adjust"], how["type"])
    limits = {"tukey": _RANGE, "dunnettx": _DUNNETT}.get(how["adjust"], 10 * rtol)
    assert (ours[1] is None) == (len(told) == 1)
    for found, said in zip(ours, told, strict=False):
        emmeans.compare(found, said, rtol, limits)


ADJUST = [
    "none",
    "tukey",
    "bonferroni",
    "holm",
    "hochberg",
    "hommel",
    "fdr",
    "BH",
    "BY",
    "sidak",
    "scheffe",
    "dunnettx",
]
FAMILIES = ["pairwise", "trt.vs.ctrl", "consec", "poly", "eff", None, {"low": [1, -0.5, -0.5], "mean": [1, 0, 0]}]


@pytest.mark.parametrize("adjust", ADJUST)
@pytest.mark.parametrize(
    ("specs", "by", "contrasts"), [(["tension", "wool"], None, "pairwise"), ("tension", "wool", "eff")]
)
def test_every_adjustment(adjust, specs, by, contrasts):
    check("warp", specs, by, contrasts=contrasts, adjust=adjust)


@pytest.mark.parametrize("by", [None, "wool"])
@pytest.mark.parametrize("contrasts", FAMILIES, ids=str)
def test_every_family_of_contrasts(contrasts, by):
    check("warp", "tension", by, contrasts=contrasts)


def test_mvt_to_the_error_of_its_integrals():
    found = fitted("warp").emmeans(["tension", "wool"], contrasts="consec", adjust="mvt")[1]
    _, told = emmeans.said(rows("warpbreaks"), in_r("warp"), emmeans.asked(["tension", "wool"]), "consec", "mvt")
    np.testing.assert_allclose(found["P-val"], np.asarray(told["values"])[:, -1], atol=1e-3)
    np.testing.assert_allclose(found["2.5_ci"], np.asarray(told["values"])[:, 1], rtol=5e-3)


# What each model is asked beside means of its first factor.
ASKED: list[tuple[str, Any, Any, Any]] = [
    ("pigs", "percent", "source", None),
    ("pigs", ["percent", "source"], None, {"percent": [18, 9], "source": ["soy", "fish"]}),
    ("root", "percent", "source", {"percent": [10, 15.5, 100000]}),
    ("root", "source", None, {"percent": [10, 15]}),
    ("oats", "Variety", None, None),
    ("fiber", "machine", None, {"diameter": -1}),
    ("teeth", ["supp", "dose"], None, None),
    ("holes", "group", "race", None),
    ("more holes", ["age", "group", "race"], None, None),
    ("functions", "day", None, None),
    ("functions", "half", "day", {"price1": 50}),
    ("spline", "day", "store", None),
    ("flags", "dose", "flag", None),
    ("flags", ["flag", "dose"], None, {"flag": [True, False]}),
    ("weights", "cond", None, None),
    *(
        (name, "cond", None, None)
        for name in ("trials", "probit", "cauchit", "counts", "rates", "roots", "sizes", "inverse", "spread")
    ),
    ("trials", "x", "cond", {"x": [0, 2.5]}),
    ("absent", "Age", "Lrn", None),
]


@pytest.mark.parametrize("type", ["response", "link"])
@pytest.mark.parametrize(("name", "specs", "by", "at"), ASKED)
def test_means(name, specs, by, at, type):
    check(name, specs, by, at, type=type)


@pytest.mark.parametrize("contrasts", ["eff", {"a": [1, -1, 0], "sum": [0.5, 0.5, 0]}], ids=["eff", "own"])
@pytest.mark.parametrize("name", ["trials", "counts", "roots", "sizes"])
def test_contrasts_that_are_none_of_a_link(name, contrasts):
    check(name, "cond", contrasts=contrasts)


SLOPES = [
    ("root", "percent", "source", None),
    ("root", "percent", None, None),
    ("oats", "nitro", "Variety", None),
    ("fiber", "diameter", "machine", None),
    ("functions", "price1", "day", {"price1": [30, 60]}),
    ("functions", "price2", None, None),
    ("functions", "half", None, None),
    ("spline", "price1", None, None),
    ("trials", "x", "cond", None),
    ("counts", "x", ["cond", "flag"], {"x": 0.5}),
    ("probit", "x", None, None),
    ("sizes", "x", "cond", {"x": [0, 1]}),
    ("spread", "x", "cond", None),
]


@pytest.mark.parametrize("type", ["response", "link"])
@pytest.mark.parametrize(("name", "var", "specs", "at"), SLOPES)
def test_slopes(name, var, specs, at, type):
    check(name, specs, at=at, var=var, type=type, contrasts=None if specs is None else "pairwise")


STOPPED = (("more holes", None), ("absent", "first"))


# emmeans tells F to 3 and df to 2 places, and p of them as they were.
@pytest.mark.parametrize("by", [None, "first"])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("rates", "cauchit")])
def test_joint_tests(name, by):
    model = fitted(name)
    by = by and next(iter(model._grid_predictors().factors))
    if by and len(model._grid_predictors().factors) + len(model._grid_predictors().covariates) == 1:
        with pytest.raises(OptionError, match="no variable to test beside those of by"):
            model.joint_tests(by)
        return
    if (name, by and "first") in STOPPED and emmeans.leaves_out():
        pytest.skip("this emmeans stops with an error of its own")
    told = emmeans.said(rows(MODELS[name][0]), in_r(name), f"joint_tests(m{f', by = {by!r}' if by else ''})", None)
    found = model.joint_tests(by)
    joint_alike(found, told, 10 * TOLERANCE.get(name, 1e-7))


def joint_alike(found: pd.DataFrame, told: dict[str, Any], rtol: float) -> None:
    values = np.asarray(told["values"], dtype=float)
    assert list(found.index) == list(told["terms"])
    df1 = found["NumDF" if "NumDF" in found else "Df"]
    f = found["F-stat"] if "F-stat" in found else found["Chisq"] / df1
    plain = np.array([term != "(confounded)" for term in found.index])
    np.testing.assert_array_equal(df1, values[:, 0])
    np.testing.assert_allclose(f[plain], values[plain, 2], atol=6e-4)
    np.testing.assert_allclose(found["P-val"][plain], values[plain, 3], rtol=rtol, atol=1e-12)
    known = ~plain & ~np.isnan(values[:, 2])  # of rounded numbers, and none where there is nothing beside it
    np.testing.assert_allclose(f[known], values[known, 2], atol=2e-2)


NESTED = ["a/b", "a + b", "a * b", "a/k", "(a/k) * c", "b * c + a", "a/b + x", "a:k", "a/k/c"]


@pytest.mark.parametrize("formula", NESTED)
@pytest.mark.parametrize("name", ["nested", "ragged"])
def test_nested_factors(name, formula):
    model = samples.regression(f"y ~ {formula}", rows(name))
    inner = "b" if "b" in formula else "k"
    asked = [
        ("a", None),
        (inner, None),
        (inner, "a"),
        (["a", inner], None),
        *((("c", None), ("c", "a")) if "c" in formula else ()),
    ]
    for specs, by in asked:
        ours = model.emmeans(specs, by, adjust="holm")
        told = emmeans.said(rows(name), f"lm(y ~ {formula}, data)", emmeans.asked(specs, by), "pairwise", "holm")
        for found, said in zip(ours, told, strict=True):
            emmeans.compare(found, said)
    joint_alike(model.joint_tests(), emmeans.said(rows(name), f"lm(y ~ {formula}, data)", "joint_tests(m)", None), 1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_designs_drawn_at_random(seed):
    """Crossed factors with few rows, so that cells are empty and columns aliased, and covariates among them."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(25, 60))
    data = pd.DataFrame(
        {
            name: rng.choice([f"{name}{i}" for i in range(k)], n)
            for name, k in zip("fgh", rng.integers(2, 5, 3), strict=True)
        }
    )
    data = data.assign(x=rng.normal(size=n), y=rng.normal(size=n))
    formula = "y ~ " + str(
        rng.choice(["f * g + h", "f * g * x", "f + g:h + x", "(f + g + h)**2", "f/g + h * x", "f:g + x"])
    )
    fit = f"lm({formula.replace('**', '^')}, data)"
    model = samples.regression(formula, data)
    for specs, by in (("f", None), ("g", "f"), (["f", "g"], None)):
        ours = model.emmeans(specs, by, contrasts="trt.vs.ctrl", adjust="none")
        for found, said in zip(ours, emmeans.said(data, fit, emmeans.asked(specs, by), "trt.vs.ctrl"), strict=True):
            emmeans.compare(found, said)
    joint_alike(model.joint_tests(), emmeans.said(data, fit, "joint_tests(m)", None), 1e-6)


@pytest.mark.parametrize("kind", ["hc0", "hc3", "cluster"])
def test_robust_errors(kind):
    model = samples.regression("y ~ cond * x", rows("trial"), robust=kind, cluster="g" if kind == "cluster" else None)
    V = "sandwich::vcovCL(m, data$g, type = 'HC1')" if kind == "cluster" else f"sandwich::vcovHC(m, '{kind.upper()}')"
    df = 24 - 6 if kind == "cluster" else 240 - 6
    told = emmeans.said(
        rows("trial"), "lm(y ~ cond * x, data)", f"emmeans(m, 'cond', vcov. = {V}, df = {df})", "eff", "fdr"
    )
    for found, said in zip(model.emmeans("cond", contrasts="eff", adjust="fdr"), told, strict=True):
        emmeans.compare(found, said)
