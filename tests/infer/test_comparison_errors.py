"""Comparisons that are refused: models of other rows, outcomes, weights or families, and what is no likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from samples import fitted, regression, trial

from pymer4 import Lm, Lm2, Lmer, compare, lrt
from pymer4.errors import DataError, NotFittedError, OptionError
from pymer4.rbridge import bridge

FLAT = pd.DataFrame({"y": [0.0, 0.0, 0.0, 0.0], "x": [1.0, 2.0, 4.0, 3.0]})


def gap(name: str, row: int) -> pd.DataFrame:
    frame = trial()
    frame.loc[row, name] = np.nan
    return frame


def plain(right: str = "x", outcome: str = "y", frame: pd.DataFrame | None = None, how=None, **given) -> Lm:
    return regression(f"{outcome} ~ {right}", frame, given=given, **(how or {}))


def mixed(right: str = "x", outcome: str = "y", frame: pd.DataFrame | None = None, how=None, **given) -> Lmer:
    return fitted(f"{outcome} ~ {right} + (1 | g)", frame, given=given, **(how or {}))


def two_stage() -> Lm2:
    model = Lm2("y ~ x", trial(), "g")
    model.fit(summarize=False)
    return model


@pytest.mark.parametrize("shuffle", [False, True])
def test_other_rows_with_the_same_outcomes_are_other_rows(shuffle):
    """One 0 lost here and another there: the outcomes of the rows used are the same numbers."""
    zeros = np.flatnonzero(trial()["yes"] == 0)[:2]
    frames = [gap("x", zeros[0]), gap("z", zeros[1])]
    if shuffle:
        frames[1] = frames[1].sample(frac=1, random_state=1)
    models = [plain(x, "yes", frame, family="binomial") for x, frame in zip(("x", "x + z"), frames, strict=True)]
    with pytest.raises(DataError, match=rf"different rows: .*row\(s\) {zeros[0]}, {zeros[1]} of the data") as told:
        compare(*models)
    assert "239" in str(told.value)


PLAIN = {
    "none": (OptionError, "0 model", lambda: compare()),
    "one": (OptionError, "1 model", lambda: lrt([plain()])),
    "text": (TypeError, "Lmer or Lm, not a str", lambda: compare("y ~ x", plain())),
    "a list": (TypeError, "not a list.*lrt", lambda: compare([plain(), plain("z")])),
    "one model": (TypeError, "in one list", lambda: lrt(plain())),
    "a text": (TypeError, "in one list", lambda: lrt("y ~ x")),
    "two stages": (OptionError, "not Lm2.*each group.*Fit an Lmer", lambda: compare(plain(), two_stage())),
    "two stages, not fitted": (OptionError, "not Lm2", lambda: lrt([Lm2("y ~ x", trial(), "g"), plain()])),
    "not fitted": (NotFittedError, "'y ~ z'", lambda: compare(plain(), Lm("y ~ z", trial()))),
    "refit": (OptionError, "refit='no'", lambda: compare(plain("1"), plain(), refit="no")),
    "rows": (
        DataError, r"different rows: 240 in 'y ~ 1', 239 in 'y ~ x'; row\(s\) 3 of the data",
        lambda: compare(plain("1"), plain(frame=gap("x", 3))),
    ),
    "outcome": (DataError, "values of the outcome", lambda: compare(plain("1", "pos"), plain(outcome="np.log(pos)"))),
    "ranks": (DataError, "values of the outcome", lambda: compare(plain("1"), plain(how={"rank": True}))),
    "weights": (DataError, "different weights", lambda: compare(plain("1"), plain(how={"weights": trial()["w"]}))),
    "own weights": (
        OptionError, "variances of its own residuals.*weights=array",
        lambda: compare(plain(), plain("x + z", how={"weights": "g"})),
    ),
    "offsets": (DataError, "different offsets", lambda: compare(plain("1"), plain(offset="o"))),
    "families": (
        OptionError, r"gaussian \(identity\), poisson \(log\)",
        lambda: compare(plain("1", "count"), plain("x", "count", family="poisson")),
    ),
    "equal size": (OptionError, "3 parameters each.*AIC", lambda: compare(plain(), plain("z"))),
    "nothing left": (DataError, "log-likelihood of inf", lambda: compare(plain("1", frame=FLAT), plain(frame=FLAT))),
}  # fmt: skip
MIXED = {
    "restricted": (
        OptionError, r"restricted likelihood of 'y ~ x \+ \(1 \| g\)'.*refit=True",
        lambda: compare(plain(), mixed(), refit=False),
    ),
    "weights": (DataError, "different weights", lambda: compare(plain(), mixed(weights="w"))),
    "offset": (DataError, "different offsets", lambda: compare(plain(), mixed(offset="o"))),
    "outcome": (DataError, "values of the outcome", lambda: compare(plain(outcome="pos"), mixed(outcome="log(pos)"))),
    "not fitted": (NotFittedError, "y ~ x", lambda: compare(mixed("z"), Lmer("y ~ x + (1 | g)", trial()))),
    "rows": (DataError, "239.*240|240.*239", lambda: compare(mixed(), mixed("x + z", frame=trial()[1:]))),
    "families": (
        OptionError, "gaussian.*poisson",
        lambda: compare(mixed("x", "count"), mixed("x + z", "count", family="poisson", how={"nAGQ": 0})),
    ),
    "links": (
        OptionError, "log.*sqrt",
        lambda: compare(*(
            mixed("x", "count", family="poisson", link=link, how={"nAGQ": 0}) for link in ("sqrt", "log")
        )),
    ),
    "equal size": (OptionError, "4 parameters.*AIC", lambda: compare(mixed(), mixed("z"))),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "told", "act"),
    [*PLAIN.values(), *(pytest.param(*case, marks=pytest.mark.r) for case in MIXED.values())],
    ids=[*PLAIN, *(f"mixed, {name}" for name in MIXED)],
)
def test_errors(kind, told, act):
    with pytest.raises(kind, match=told):
        act()


# What depends on the lme4 at hand: whether its likelihood has all its constants, and the scale where it belongs.


def is_whole() -> bool:
    version = bridge.call("load_packages", packages=["lme4"]).value["versions"]["lme4"]
    return tuple(map(int, version.replace("-", ".").split(".")[:2])) >= (2, 1)


SCALED = ("gamma", "inverse_gaussian", "gaussian")
PARTS = {f"scale of {family}": ("pos", family, "log", 0, f"'{family}'.*takes the scale for 1") for family in SCALED}
PARTS["quadrature"] = ("yes", "binomial", None, 5, "nAGQ > 1.*nAGQ=1 beside an Lm")


@pytest.mark.r
@pytest.mark.parametrize("name", PARTS)
def test_likelihoods_that_are_no_likelihoods_are_refused(name):
    outcome, family, link, nAGQ, told = PARTS[name]
    smaller = plain("x", outcome, family=family, link=link)
    larger = mixed("x", outcome, family=family, link=link, how={"nAGQ": nAGQ})
    if is_whole():
        table = compare(smaller, larger)
        assert table.loc[1, "Df"] == 1 and table.loc[1, "Chisq"] == max(0, 2 * (larger.logLike - smaller.logLike))
    else:
        with pytest.raises(OptionError, match=told):
            compare(smaller, larger)
