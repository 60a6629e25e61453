"""Cross-validation of mixed models, against fresh fits of lme4 to the rows trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from against_r import inside, rinterface
from cases import rows_of
from samples import dataset, fitted, trial

from pymer4.errors import DataError, OptionError, RError

pytestmark = pytest.mark.r

CLOSE = 1e-5  # relative: of a deviance that two optimizers find to 1e-9 theta is known to 3e-5

_REFITTED = """function(model, fold, call, formula) {
  data <- environment(formula(model))$data
  omitted <- attr(model@frame, "na.action")
  if (length(omitted)) data <- data[-omitted, ]
  found <- numeric(length(fold))
  for (j in sort(unique(fold))) {
    d <- data[fold != j, ]
    f <- as.formula(formula)
    fit <- suppressMessages(suppressWarnings(eval(str2lang(call))))
    found[fold == j] <- predict(fit, data[fold == j, ], allow.new.levels = TRUE, type = "response")
  }
  list(mu = found)
}"""

LINEAR = "lme4::lmer(f, d)"
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], str, dict[str, str], str | None]] = {
    "groups": (
        "Reaction ~ Days + (Days | Subject)", "sleepstudy", {}, {}, LINEAR,
        {"Days": "Reaction ~ 1 + (Days | Subject)"}, "Subject",
    ),
    "rows": (
        "Reaction ~ Days + (1 | Subject)", "sleepstudy", {"REML": False}, {"holdout_group": False},
        "lme4::lmer(f, d, REML = FALSE)", {"Days": "Reaction ~ 1 + (1 | Subject)"}, None,
    ),
    "nested": ("strength ~ 1 + (1 | batch / cask)", "Pastes", {}, {}, LINEAR, {}, "batch"),
    "crossed": (
        "y ~ x * cond + (x | g) + (1 | h)", "trial", {}, {"holdout_group": "h"}, LINEAR,
        {
            "x": "y ~ cond + (x | g) + (1 | h)", "cond": "y ~ x + (x | g) + (1 | h)",
            "x:cond": "y ~ x + cond + (x | g) + (1 | h)",
        }, "h",
    ),
    "weighted": (
        "y ~ 0 + cond + (1 | g)", "holes", {"weights": "w", "offset": "o"}, {"holdout_group": "flag", "k": "loo"},
        "lme4::lmer(update(f, . ~ . + offset(o)), d, weights = w)", {}, "flag",
    ),
    "learned": (
        "y ~ poly(x, 2) + scale(z) + (1 | g)", "trial", {}, {"holdout_group": "h"}, LINEAR,
        {"scale(z)": "y ~ poly(x, 2) + (1 | g)"}, "h",
    ),
    "contrasts": (
        "y ~ 0 + cond + (1 | g)", "trial", {"factors": {"cond": {"a": 1, "b": -0.5, "C": -0.5}}}, {}, LINEAR,
        {"cond": "y ~ 1 + (1 | g)"}, "g",
    ),
    "shares": (
        "share ~ x + (1 | g)", "trial", {"family": "binomial", "weights": "trials"}, {},
        "lme4::glmer(f, d, binomial, weights = trials)", {"x": "share ~ 1 + (1 | g)"}, "g",
    ),
    "binary": (
        "yes ~ x + (1 | g)", "trial", {"family": "binomial", "nAGQ": 0}, {"holdout_group": False},
        "lme4::glmer(f, d, binomial, nAGQ = 0)", {"x": "yes ~ 1 + (1 | g)"}, None,
    ),
    "counts": (
        "spread ~ x + (1 | g)", "trial", {"family": "nbinom", "nAGQ": 0}, {"k": 2},
        "lme4::glmer.nb(f, d, nAGQ = 0)", {}, "g",
    ),
}  # fmt: skip


def deviance(family: str, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
    if family == "gaussian":
        return (y - mu) ** 2
    found = inside("function(y, mu) binomial()$dev.resids(y, mu, 1)", *map(rinterface.FloatSexpVector, (y, mu)))
    return np.asarray(found)


@pytest.mark.filterwarnings("ignore:Refits")
@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_fresh_fits(name):
    formula, data, given, asked, call, ablated, unit = CASES[name]
    frame = rows_of(data)
    model = fitted(formula, frame, **given)
    k = {"k": 4} | asked
    table = model.infer("cv", seed=5, **k)
    fold = model.cv_folds[model.cv_folds > 0].to_numpy()
    assert model.cv.attrs["holdout_group"] == (unit or False)
    by_r = "family" in given or "poly" in formula
    assert model.cv.attrs["engine"] == ("R" if by_r else "native")
    if unit is not None:
        assert (pd.Series(fold).groupby(frame.loc[model.cv_folds > 0, unit].to_numpy()).nunique() == 1).all()

    def refitted(formula: str) -> np.ndarray:
        codes, texts = rinterface.IntSexpVector(fold), map(lambda t: rinterface.StrSexpVector([t]), (call, formula))
        return np.asarray(inside(_REFITTED, model.model_obj, codes, *texts)["mu"])

    y = frame[formula.split(" ~ ")[0]].to_numpy(dtype=float)[model.cv_folds > 0]
    mu = refitted(formula)
    e = [(y - mu)[fold == j] for j in range(1, fold.max() + 1)]
    np.testing.assert_allclose(model.cv["RMSE"].iloc[:-1], [np.sqrt((part**2).mean()) for part in e], rtol=CLOSE)
    np.testing.assert_allclose(model.cv["MAE"].iloc[:-1], [np.abs(part).mean() for part in e], rtol=CLOSE)
    family = given.get("family", "gaussian")
    if family == "binomial":
        right = ((mu > 0.5) == y).mean() if formula.startswith("yes") else np.nan
        np.testing.assert_allclose(model.cv.loc["overall", "Accuracy"], right, rtol=CLOSE)
    w = frame[given["weights"]].to_numpy()[model.cv_folds > 0] if "weights" in given else np.ones(len(y))
    for term, less in ablated.items():
        other, added = refitted(less), []
        for j in range(1, fold.max() + 1):
            test, train = fold == j, fold != j
            mean = np.full(test.sum(), np.average(y[train], weights=w[train]))
            d = [(w[test] * deviance(family, y[test], m)).sum() for m in (mu[test], other[test], mean)]
            added.append((d[1] - d[0]) / d[2])
        own = table.loc[[label.startswith(term) and label.count(":") == term.count(":") for label in table.index]]
        assert len(own)
        wanted = [[np.mean(added), np.std(added, ddof=1)]] * len(own)
        np.testing.assert_allclose(own[["PRE", "PRE_sd"]], wanted, atol=CLOSE)


def test_what_a_formula_computes_of_a_column_is_that_of_the_rows_trained_on():
    shifted, plain = (fitted(f"y ~ {x} + (1 | g)", trial()) for x in ("I(s - min(s))", "s"))
    found, wanted = (model.infer("cv", on="predictions", k=4, seed=1) for model in (shifted, plain))
    pd.testing.assert_frame_equal(found, wanted, rtol=CLOSE)


def test_numbers_do_not_depend_on_workers():
    model = fitted("y ~ x + (1 | g)", trial())
    one = model.infer("cv", k=3, seed=1)
    measures = model.cv
    pd.testing.assert_frame_equal(model.infer("cv", k=3, seed=1, n_jobs=2), one)
    pd.testing.assert_frame_equal(model.cv, measures)


def test_groups_are_left_out_in_turn(capsys):
    model = fitted("Reaction ~ Days + (1 | Subject)", dataset("sleepstudy"))
    model.infer("cv", on="predictions", k="loo", verbose=True)
    assert "18/18" in capsys.readouterr().err
    assert len(model.cv) == 19 and (model.cv["N"].iloc[:-1] == 10).all()
    assert np.isfinite(model.cv.drop(columns="Accuracy")).all(axis=None)


def test_crossed_groupings_have_to_be_named():
    model = fitted("y ~ x + (1 | g) + (1 | h)", trial())
    with pytest.raises(OptionError, match=r"The groupings g, h are crossed.*holdout_group='g', or fold rows"):
        model.infer("cv")


def test_a_level_or_fold_without_a_fit_is_named():
    frame = trial().assign(kind=lambda d: np.where(d.index < 3, "rare", "plain"))
    with pytest.raises(DataError, match="Fold 2 holds out all rows with kind = 'rare'"):
        fitted("y ~ kind + (1 | g)", frame).infer("cv", k="loo", holdout_group="kind")
    with pytest.raises(DataError, match=r"Fold 1 holds out all rows that tell of factor\(s > 0\)TRUE"):
        half = frame.assign(s=lambda d: np.where(d.h == "i1", 1.0, -1.0))
        fitted("y ~ factor(s > 0) + (1 | g)", half).infer("cv", k="loo", holdout_group="h")
    with pytest.raises(RError, match="fold 1: number of levels of each grouping factor must be < number of obs"):
        pairs = trial().groupby("g").head(2).assign(half=lambda d: d.groupby("g").cumcount())
        fitted("y ~ x + (1 | g)", pairs).infer("cv", k="loo", holdout_group="half")
