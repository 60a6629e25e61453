"""Cross-validation of regressions, against a plain loop over fits to the rows trained on."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from samples import trial, with_holes
from scipy.special import xlog1py, xlogy

from pymer4 import Lm, Lm2, load_model, save_model
from pymer4.errors import DataError, ModelWarning, OptionError

pytestmark = pytest.mark.numeric

CLOSE = 1e-7  # relative: two ways to a maximum, of which deviances differ by the square of what is left to go
MEASURES = ["N", "RMSE", "MAE", "R2", "Deviance", "Accuracy"]

DEVIANCES: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": lambda y, mu, _: (y - mu) ** 2,
    "binomial": lambda y, mu, _: 2 * (xlogy(y, y) + xlog1py(1 - y, -y) - xlogy(y, mu) - xlog1py(1 - y, -mu)),
    "poisson": lambda y, mu, _: 2 * (xlogy(y, y) - xlogy(y, mu) - y + mu),
    "nbinom": lambda y, mu, size: 2 * (xlogy(y, y) - xlogy(y, mu) - (y + size) * np.log((y + size) / (mu + size))),
    "gamma": lambda y, mu, _: 2 * ((y - mu) / mu - np.log(y / mu)),
    "inverse_gaussian": lambda y, mu, _: (y - mu) ** 2 / (y * mu**2),
}

BENT = "bs(z, df=4, lower_bound=-9, upper_bound=9)"
CASES: dict[str, tuple[str, dict[str, str], dict[str, Any], str | None]] = {
    "factors": (
        "y ~ x * cond + z",
        {"x": "y ~ cond + z", "cond": "y ~ x + z", "x:cond": "y ~ x + cond + z", "z": "y ~ x * cond"},
        {}, None,
    ),
    "no intercept": ("y ~ 0 + cond + flag", {"cond": "y ~ 0 + flag", "flag": "y ~ 0 + cond"}, {}, None),
    "nothing left": ("y ~ 0 + cond", {"cond": "y ~ 1"}, {}, None),
    "learned": (f"y ~ center(x) + {BENT}", {"center(x)": f"y ~ {BENT}", BENT: "y ~ center(x)"}, {}, None),
    "whole columns": ("y ~ I((z - z.min()) ** 2) + dose", {"dose": "y ~ I((z - z.min()) ** 2)"}, {}, None),
    "weights": ("y ~ x + dose", {"dose": "y ~ x"}, {}, "array"),
    "variances": ("y ~ x + flag", {"flag": "y ~ x"}, {}, "cond"),
    "binomial": ("yes ~ x + cond", {"x": "yes ~ cond"}, {"family": "binomial"}, None),
    "trials": ("cbind(hits, misses) ~ x + z", {"z": "cbind(hits, misses) ~ x"}, {"family": "binomial"}, None),
    "counts": ("count ~ x + dose", {"dose": "count ~ x"}, {"family": "poisson", "offset": "o"}, "w"),
    "sizes of counts": ("spread ~ x", {"x": "spread ~ 1"}, {"family": "nbinom"}, None),
    "gamma": ("size ~ x + z", {"z": "size ~ x"}, {"family": "gamma", "link": "log"}, None),
    "times": ("time ~ x + z", {"z": "time ~ x"}, {"family": "inverse_gaussian", "link": "log"}, None),
}  # fmt: skip
OUTCOMES = {"cbind(hits, misses)": "share"}


@cache
def rows() -> pd.DataFrame:
    frame = with_holes(trial().assign(misses=lambda d: d.trials - d.hits))
    return frame.sample(frac=1, random_state=5)


def fitted(formula: str, data: pd.DataFrame, given: dict[str, Any], weights: str | None = None) -> Lm:
    model = Lm(formula, data, **given)
    model.fit(weights=data["w"].to_numpy() if weights == "array" else weights, summarize=False)
    return model


def looped(formula: str, fold: np.ndarray, y: np.ndarray, w: np.ndarray, given: dict[str, Any], weights: str | None):
    """Return predictions of rows by fits without their fold, and by fold its deviance, and that of the mean."""
    data, mu, parts = rows()[fold > 0], np.empty(len(y)), []
    fold = fold[fold > 0]
    for j in range(1, fold.max() + 1):
        train, test = fold != j, fold == j
        model = fitted(formula, data[train], given, weights)
        mu[test] = model.predict(data[test])
        mean = np.full(test.sum(), np.average(y[train], weights=w[train]))
        law = DEVIANCES[given.get("family", "gaussian")]
        parts.append([(w[test] * law(y[test], m, model.theta)).sum() for m in (mu[test], mean)])
    return mu, np.array(parts)


@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
@pytest.mark.parametrize("name", CASES)
def test_measures_and_pre_are_those_of_a_plain_loop(name):
    formula, ablated, given, weights = CASES[name]
    model = fitted(formula, rows(), given, weights)
    before = model.coefs.copy()
    table = model.infer("cv", k=4, seed=3)
    pd.testing.assert_frame_equal(model.coefs, before)
    fold = model.cv_folds.to_numpy()
    used = fold > 0
    assert (used == ~np.isnan(model.fits)).all()
    left = formula.split(" ~ ")[0]
    y = rows()[OUTCOMES.get(left, left)][used].to_numpy(dtype=float)
    linear = "family" not in given
    found = model._sample()
    w = np.ones(len(y)) if found.weights is None else found.weights
    mu, deviances = looped(formula, fold, y, w, given, weights)
    k = fold[used]
    trained = np.array([y[k != j].mean() for j in range(1, 5)])[k - 1]
    wanted = []
    for here in [*(k == j for j in range(1, 5)), k > 0]:
        e, total = y[here] - mu[here], ((y - trained)[here] ** 2).sum()
        right = ((mu > 0.5) == (y == 1))[here].mean() if left == "yes" else np.nan
        deviance = deviances[np.unique(k[here]) - 1, 0].sum()
        errors = [np.sqrt((e**2).mean()), np.abs(e).mean(), 1 - (e**2).sum() / total]
        wanted.append([here.sum(), *errors, deviance, right])
    assert list(model.cv.columns) == MEASURES and list(model.cv.index) == [1, 2, 3, 4, "overall"]
    np.testing.assert_allclose(model.cv.to_numpy(dtype=float), np.array(wanted), rtol=CLOSE)

    assert list(table.columns) == ["Estimate", "PRE", "PRE_sd"] and list(table.index) == list(model.coefs.index)
    np.testing.assert_array_equal(table["Estimate"], model.coefs["Estimate"])
    assert table.attrs["measure"] == ("variance explained" if linear else "deviance explained")
    assert np.isnan(table["PRE"].to_numpy()[table.index == "Intercept"]).all()

    def shares(mu: np.ndarray, deviances: np.ndarray) -> np.ndarray:
        if not linear:
            return 1 - deviances[:, 0] / deviances[:, 1]
        squares = [[(v[k == j] ** 2).sum() for v in (y - mu, y - trained)] for j in range(1, 5)]
        return 1 - np.divide(*np.array(squares).T)

    for term, less in ablated.items():
        added = shares(mu, deviances) - shares(*looped(less, fold, y, w, given, weights))
        own = table.loc[[name == term or _is_of(name, term) for name in table.index]]
        assert len(own)
        np.testing.assert_allclose(own[["PRE", "PRE_sd"]], [[added.mean(), added.std(ddof=1)]] * len(own), atol=CLOSE)


def _is_of(name: str, term: str) -> bool:
    """Whether a coefficient such as `x:cond[T.b]`, `dose.L` or `bs(z, df=4)[0]` belongs to a term."""
    return [re.sub(r"(\[[^]]*\]|\.[LQ])$", "", part) for part in name.split(":")] == term.split(":")


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_single_rows_are_left_out_in_turn(family):
    given = {} if family == "gaussian" else {"family": family}
    left = "y" if family == "gaussian" else "yes"
    model = fitted(f"{left} ~ x + z", rows(), given)
    table = model.infer("cv", k="loo")
    fold = model.cv_folds.to_numpy()
    y = rows()[left].to_numpy(dtype=float)[fold > 0]
    assert fold[fold > 0].tolist() == list(range(1, len(y) + 1))
    mu, deviances = looped(f"{left} ~ x + z", fold, y, np.ones(len(y)), given, None)
    _, fewer = looped(f"{left} ~ x", fold, y, np.ones(len(y)), given, None)
    each, overall = model.cv.iloc[:-1], model.cv.loc["overall"]
    np.testing.assert_allclose(each["RMSE"], np.abs(y - mu), rtol=CLOSE, atol=CLOSE)
    np.testing.assert_array_equal(each["RMSE"], each["MAE"])
    assert each[["R2", "Deviance", "Accuracy"]].isna().all(axis=None)
    np.testing.assert_allclose(overall["RMSE"], np.sqrt(((y - mu) ** 2).mean()), rtol=CLOSE)
    np.testing.assert_allclose(overall["Deviance"], deviances[:, 0].sum(), rtol=CLOSE)
    added = (fewer - deviances)[:, 0].sum() / deviances[:, 1].sum()
    np.testing.assert_allclose(table.loc["z", "PRE"], added, atol=CLOSE)
    assert table["PRE_sd"].isna().all()


def test_the_table_of_predictions_is_that_of_the_folds(tmp_path):
    model = fitted("y ~ x + cond", rows(), {})
    table = model.infer("cv", on="predictions", seed=4)
    pd.testing.assert_frame_equal(table, model.cv)
    model.infer("cv", seed=4)
    pd.testing.assert_frame_equal(table, model.cv)
    sizes = table["N"].to_numpy()[:-1]
    n = int(table["N"].iloc[-1])
    assert sorted(sizes, reverse=True) == [n // 10 + (j < n % 10) for j in range(10)]
    assert not model.infer("cv", seed=5).equals(model.infer("cv", seed=4))
    save_model(model, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    pd.testing.assert_frame_equal(loaded.cv, model.cv)
    pd.testing.assert_series_equal(loaded.cv_folds, model.cv_folds)


@pytest.mark.parametrize("k", [5, "loo"])
def test_groups_are_held_out_whole(k):
    model = fitted("y ~ x", rows().dropna(subset=["g"]), {})
    model.infer("cv", k=k, holdout_group="g", seed=1)
    used = model.cv_folds > 0
    groups = pd.Series(model.cv_folds[used]).groupby(model._frame["g"][used])
    assert (groups.nunique() == 1).all()
    assert model.cv_folds.max() == (24 if k == "loo" else 5)
    assert model.cv.attrs == {"how": "cv", "k": k, "holdout_group": "g"}


@pytest.mark.parametrize("formula", ["yes ~ x + cond", "yes ~ center(x)"])
def test_numbers_do_not_depend_on_workers(formula):
    model = fitted(formula, rows(), {"family": "binomial"})
    one = model.infer("cv", k="loo" if "cond" in formula else 5, seed=1)
    pd.testing.assert_frame_equal(model.infer("cv", k="loo" if "cond" in formula else 5, seed=1, n_jobs=2), one)


def test_progress_is_shown(capsys):
    fitted("y ~ x + z", rows(), {}).infer("cv", k=4, seed=1, verbose=True)
    assert "12/12" in capsys.readouterr().err


# ------------------------------------------------------------------ two stages


@pytest.mark.parametrize(
    ("family", "group"),
    [("gaussian", "h"), ("poisson", "h"), ("nbinom", "h"), ("gaussian", ["part", "h"]), ("learned", "h")],
)
def test_a_group_of_two_stages_is_predicted_by_the_others(family, group):
    frame = trial().assign(part=lambda d: np.array(list("pqrsuv"))[d.h.str[1:].astype(int) % 6])
    left = {"poisson": "count", "nbinom": "spread"}.get(family, "y")
    formula = f"{left} ~ center(x)" if family == "learned" else f"{left} ~ x"
    given = {} if family in ("gaussian", "learned") else {"family": family}

    def means(data: pd.DataFrame) -> Lm2:
        model = Lm2(formula, data, group=group, **given)
        model.fit(summarize=False)
        return model

    model = means(frame)
    table = model.infer("cv", k=3, seed=2)
    fold, outer = model.cv_folds.to_numpy(), group if isinstance(group, str) else group[0]
    assert (pd.Series(fold).groupby(frame[outer]).nunique() == 1).all()
    y, mu, less = frame[left].to_numpy(dtype=float), np.empty(240), np.empty(240)
    for j in (1, 2, 3):
        train, test = frame[fold != j], frame[fold == j]
        b = means(train).coefs["Estimate"].to_numpy()
        eta = b[0] + b[1] * (test.x - (train.x.mean() if family == "learned" else 0)).to_numpy()
        mu[fold == j] = eta if not given else np.exp(eta)
        if family == "gaussian":
            alone = Lm2(f"{left} ~ 1", train, group=group)
            alone.fit(summarize=False)
            less[fold == j] = alone.coefs["Estimate"].iloc[0]
    np.testing.assert_allclose(model.cv["RMSE"].iloc[-1], np.sqrt(((y - mu) ** 2).mean()), rtol=CLOSE)
    if family == "gaussian":
        squares = [[(v[fold == j] ** 2).sum() for j in (1, 2, 3)] for v in (y - mu, y - less)]
        total = [((y[fold == j] - y[fold != j].mean()) ** 2).sum() for j in (1, 2, 3)]
        added = np.subtract(squares[1], squares[0]) / total
        np.testing.assert_allclose(table.loc["x"].iloc[1:], [added.mean(), added.std(ddof=1)], rtol=CLOSE)
    assert np.isfinite(model.cv["Deviance"]).all() and np.isfinite(table.loc[table.index[1], "PRE"])


def test_a_class_left_out_is_predicted_by_its_school():
    frame = trial().assign(school=lambda d: d.h.str[1:].astype(int) % 4)
    model = Lm2("y ~ 1", frame, group=["school", "h"])
    model.fit(summarize=False)
    model.infer("cv", on="predictions", k="loo", holdout_group="h")
    classes = frame.groupby(["school", "h"])["y"].mean()
    wanted = [(classes[s].sum() - mean) / (len(classes[s]) - 1) for (s, _), mean in classes.items()]
    named = pd.Series(wanted, classes.index.get_level_values("h"))
    e = frame["y"] - frame["h"].map(named)
    np.testing.assert_allclose(model.cv.loc["overall", "RMSE"], np.sqrt((e**2).mean()), rtol=CLOSE)


# ------------------------------------------------------------------ refusals


def rare() -> pd.DataFrame:
    return trial().assign(
        kind=lambda d: np.where(d.index < 3, "rare", np.where(d.index % 2, "odd", "even")),
        other=lambda d: np.where((d.index < 3) | (d.index > 99), "u", "v"),
        part=lambda d: d.g.where(d.index != 9),
        flat=1,
    )


@pytest.mark.parametrize(
    ("formula", "given", "error", "said"),
    [
        ("y ~ x", {"k": 300}, OptionError, "k=300 folds can't be made of 240 rows"),
        ("y ~ x", {"k": 30, "holdout_group": "g"}, OptionError, "k=30 folds can't be made of 24 groups"),
        ("y ~ x", {"holdout_group": "flat", "k": "loo"}, OptionError, "'flat' has a single group in the rows used"),
        ("y ~ x", {"holdout_group": "kinds"}, OptionError, "'kinds' is not a column of the data. Did you mean 'kind'?"),
        ("y ~ x", {"holdout_group": "part"}, DataError, "holdout_group='part' is missing in 1 of the rows fitted"),
        ("y ~ kind", {"k": "loo", "holdout_group": "kind"}, DataError, "Fold 3 holds out all rows with kind = 'rare'"),
        ("y ~ I(kind == 'rare')", {"k": "loo", "holdout_group": "kind"}, DataError, "holds out all rows that tell of"),
        ("y ~ bs(x, df=4)", {}, DataError, "beyond its outermost knots: give lower_bound="),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_refusals_say_what_to_do(formula, given, error, said):
    model = fitted(formula, rare(), {})
    with pytest.raises(error) as raised:
        model.infer("cv", seed=1, **given)
    assert said in str(raised.value)
    assert model.cv is None and model.cv_folds is None


def test_a_level_that_an_expression_looks_at_may_be_held_out():
    model = fitted("y ~ x + I(kind == 'odd')", rare(), {})
    model.infer("cv", k="loo", holdout_group="other")
    assert len(model.cv) == 3
    with pytest.raises(DataError, match="holds out all rows with kind = 'rare'"):
        fitted("y ~ x + kind", rare(), {}).infer("cv", k="loo", holdout_group="other")


@pytest.mark.parametrize("column", [False, "g"])
def test_regressions_of_groups_are_held_out_whole(column):
    model = Lm2("y ~ x", trial(), group="h")
    model.fit(summarize=False)
    with pytest.raises(OptionError, match="whole groups are held out"):
        model.infer("cv", k=4, seed=1, holdout_group=column)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.filterwarnings("ignore:The outcome is 7")
def test_an_outcome_of_one_value_has_no_share_that_is_explained(family):
    model = fitted("same ~ x", trial().assign(same=7.0), {"family": family})
    with pytest.warns(ModelWarning, match="one value in all rows: nothing is left to explain"):
        found = model.infer("cv", k=3, seed=1)
    assert model.cv["R2"].isna().all() and found["PRE"].isna().all() and (model.cv["RMSE"] < 1e-6).all()


def test_options_of_folds_are_idle_elsewhere():
    with pytest.warns(ModelWarning, match="holdout_group='g' has no effect without how='cv'"):
        fitted("y ~ x", trial(), {}).infer("asymp", holdout_group="g")
