"""`LmRegressor`, `Lm2Regressor` and their classifiers: what scikit-learn asks of an estimator, and what it gets."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from samples import trial
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags

from pymer4 import Lm, Lm2
from pymer4.errors import DataError, FormulaError, OptionError
from pymer4.sklearn import Lm2Classifier, Lm2Regressor, LmClassifier, LmerClassifier, LmerRegressor, LmRegressor

EVERY = {
    "LmRegressor": LmRegressor("y ~ x"),
    "LmClassifier": LmClassifier("b ~ x"),
    "Lm2Regressor": Lm2Regressor("y ~ x", "g"),
    "Lm2Classifier": Lm2Classifier("b ~ x", "g"),
    "LmerRegressor": LmerRegressor("y ~ x + (1 | g)"),
    "LmerClassifier": LmerClassifier("b ~ x + (1 | g)"),
}
every = pytest.mark.parametrize("name", EVERY)

# Those of scikit-learn's checks that call no fit(): they fit arrays, in which a formula finds no names.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_mixin_order",
    "check_do_not_raise_errors_in_init_or_set_params",
]


@pytest.fixture
def rows() -> pd.DataFrame:
    return trial().assign(b=lambda d: np.where(d.y > d.y.median(), "high", "low"))


def fitted(model, *given, **how):
    model.fit(*given, summarize=False, **how)
    return model


# ------------------------------------------------------------------ what an estimator is


@every
@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_of_scikit_learn_that_need_no_array(name, check):
    getattr(estimator_checks, check)(name, EVERY[name])


@every
def test_parameters_are_those_of_the_signature_and_a_clone_has_them(name):
    model = clone(EVERY[name]).set_params(formula="y ~ 1", fit_options={"conf_level": 0.9})
    again = clone(model)
    assert again.get_params() == model.get_params() and again.get_params()["formula"] == "y ~ 1"
    assert is_classifier(model) == name.endswith("Classifier") != is_regressor(model)
    assert not get_tags(model).target_tags.required and get_tags(model).input_tags.allow_nan
    with pytest.raises(ValueError, match="Invalid parameter 'formel'"):
        model.set_params(formel="y ~ x")


@every
def test_before_a_fit_there_is_nothing_to_predict_with(name, rows):
    with pytest.raises(NotFittedError):
        clone(EVERY[name]).predict(rows)


def test_without_scikit_learn_the_error_names_the_extra():
    code = "import sys; sys.modules['sklearn'] = None; import pymer4\ntry: import pymer4.sklearn\n"
    told = f"{code}except pymer4.errors.MissingLibrary as error: print(error)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert 'pip install "pymer4[sklearn]"' in done.stdout


# ------------------------------------------------------------------ the same numbers as the models


@pytest.mark.parametrize("how", ["column", "series", "array", "one column", "other index"])
def test_the_outcome_is_a_column_or_y(how, rows):
    X = rows.drop(columns="y")
    y = {
        "column": None,
        "series": rows.y,
        "array": rows.y.to_numpy(),
        "one column": rows[["y"]],
        "other index": rows.y.set_axis(range(1000, 1000 + len(rows))),
    }[how]
    model = LmRegressor("y ~ x * cond").fit(rows if y is None else X, y)
    wanted = fitted(Lm("y ~ x * cond", rows))
    np.testing.assert_array_equal(model.model_.coefs, wanted.coefs)
    np.testing.assert_array_equal(model.predict(X), wanted.predict(X))
    assert model.score(rows) == model.score(X, rows.y) == pytest.approx(wanted.rsquared, rel=1e-12)
    assert list(model.feature_names_in_) == list(X) and model.n_features_in_ == X.shape[1]


def test_y_takes_the_place_of_the_column(rows):
    model = LmRegressor("y ~ x").fit(rows, 2 * rows.y)
    assert model.model_.coefs.loc["x", "Estimate"] == pytest.approx(
        2 * fitted(Lm("y ~ x", rows)).coefs.loc["x", "Estimate"]
    )


def test_family_link_weights_offset_and_options_reach_the_model(rows):
    counts = rows.assign(n=np.round(np.exp(rows.x / 4) * 5), e=0.1)
    given = {"family": "poisson", "link": "sqrt", "offset": "e"}
    model = LmRegressor("n ~ x", weights="w", fit_options={"conf_level": 0.9}, **given).fit(counts)
    wanted = fitted(Lm("n ~ x", counts, **given), weights=counts.w, conf_level=0.9)
    pd.testing.assert_frame_equal(model.model_.coefs, wanted.coefs)
    shares = rows.assign(share=0.25, n=8)
    of_trials = LmRegressor("share ~ 1", family="binomial", weights="n").fit(shares)
    np.testing.assert_allclose(of_trials.predict(shares), 0.25, rtol=1e-8)


def test_a_classifier_is_of_the_second_class(rows):
    X, y = rows.drop(columns="b"), rows.b
    model = LmClassifier("b ~ x + z").fit(X, y)
    wanted = fitted(Lm("b ~ x + z", rows.assign(b=(y == "low").astype(int)), family="binomial"))
    proba = model.predict_proba(X)
    assert list(model.classes_) == ["high", "low"] and proba.shape == (len(X), 2)
    np.testing.assert_allclose(proba[:, 1], wanted.predict(X), rtol=1e-12)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    predicted = model.predict(X)
    assert (predicted == np.where(proba[:, 1] >= 0.5, "low", "high")).all()
    assert model.score(X, y) == np.mean(predicted == y) == model.score(rows)
    scores = cross_val_score(model, X, y, cv=3, scoring="roc_auc")
    assert scores.shape == (3,) and (scores > 0.5).all()


@pytest.mark.parametrize("of", [bool, int, float, "category", pd.StringDtype()])
def test_classes_are_of_any_kind(of, rows):
    y = (rows.b == "low").map({True: "1", False: "0"})
    y = y.astype(of) if of in ("category", pd.StringDtype()) else y.astype(int).astype(of)
    model = LmClassifier("b ~ x").fit(rows, y)
    assert set(model.predict(rows)) <= set(model.classes_) == set(y)
    assert model.score(rows, y) > 0.5


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
@pytest.mark.parametrize("of", ["boolean", "string", "Int64", "category", object, "other objects"])
def test_classes_with_gaps_are_those_of_the_rows_that_have_one(of, gap, rows):
    low = (rows.b == "low").to_numpy()
    values = {"string": ("no", "yes"), "category": ("no", "yes"), "Int64": (0, 1), "other objects": (1, "no")}
    no, yes = values.get(of, (False, True))
    y = pd.Series([yes if one else no for one in low], dtype=object)
    y[3] = gap
    y = y if of in (object, "other objects") else y.astype(of)
    model = LmClassifier("b ~ x").fit(rows, y)
    whole = np.delete(np.arange(len(rows)), 3)
    wanted = LmClassifier("b ~ x").fit(rows.iloc[whole], low[whole])
    assert list(model.classes_) == [no, yes]
    np.testing.assert_allclose(model.predict_proba(rows), wanted.predict_proba(rows), rtol=1e-9)
    assert model.score(rows, y) == wanted.score(rows.iloc[whole], low[whole])


def test_groups_that_were_not_seen_have_the_mean_coefficients(rows):
    half = rows[rows.g.isin(sorted(rows.g.unique())[::2])]
    model = Lm2Regressor("y ~ x", "g").fit(half)
    wanted = fitted(Lm2("y ~ x", half, "g"))
    b, new = wanted.coefs["Estimate"], ~rows.g.isin(half.g)
    found = model.predict(rows)
    np.testing.assert_allclose(found[new], b["Intercept"] + b["x"] * rows.x[new], rtol=1e-12)
    np.testing.assert_allclose(found[~new], wanted.predict(rows[~new]), rtol=1e-12)
    share = Lm2Classifier("b ~ x", "g").fit(rows).predict_proba(rows.assign(g="nobody"))[:, 1]
    model = fitted(Lm2("b ~ x", rows.assign(b=(rows.b == "low") * 1.0), "g", family="binomial"))
    b = model.coefs["Estimate"]
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-b["Intercept"] - b["x"] * rows.x)), rtol=1e-9)


def test_correlations_predict_no_new_group(rows):
    model = fitted(Lm2("y ~ x + z", rows, "g"), to_corrs=True)
    np.testing.assert_allclose(model.predict(rows), model.fits, rtol=1e-9)
    with pytest.raises(OptionError, match="new_levels='population' takes the mean coefficients"):
        model.predict(rows, new_levels="population")


def test_rows_with_gaps_predict_nan_and_are_not_scored(rows):
    holes = rows.assign(x=rows.x.where(np.arange(len(rows)) % 7 > 0), y=rows.y.where(np.arange(len(rows)) % 5 > 0))
    model = LmRegressor("y ~ x").fit(holes)
    assert (np.isnan(model.predict(holes)) == holes.x.isna()).all()
    assert model.score(holes) == pytest.approx(model.score(holes.dropna(subset=["x", "y"])), rel=1e-12)
    two = LmClassifier("b ~ x").fit(holes, holes.b.where(holes.y.notna()))
    assert two.model_.nobs == (holes.x.notna() & holes.y.notna()).sum()
    with pytest.raises(DataError, match="rows lack a predictor, and have no class"):
        two.predict(holes)


# ------------------------------------------------------------------ folds, pipelines, searches, workers


def test_folds_by_group_are_those_made_by_hand(rows):
    model, folds = LmRegressor("y ~ x + cond"), GroupKFold(4)
    found = cross_val_score(model, rows, rows.y, groups=rows.g, cv=folds)
    for score, (train, test) in zip(found, folds.split(rows, groups=rows.g), strict=True):
        one, held = fitted(Lm("y ~ x + cond", rows.iloc[train])), rows.iloc[test]
        rest = ((held.y - one.predict(held)) ** 2).sum()
        assert score == pytest.approx(1 - rest / ((held.y - held.y.mean()) ** 2).sum(), rel=1e-10)
    np.testing.assert_array_equal(found, cross_val_score(model, rows, groups=rows.g, cv=folds))


def test_a_pipeline_hands_on_columns_with_names(rows):
    scaled = ColumnTransformer([("scale", StandardScaler(), ["x"])], remainder="passthrough",
                               verbose_feature_names_out=False).set_output(transform="pandas")  # fmt: skip
    model = make_pipeline(scaled, LmRegressor("y ~ x * cond"))
    X = rows.drop(columns="y")
    plain = cross_val_score(LmRegressor("y ~ x * cond"), X, rows.y, cv=KFold(3))
    np.testing.assert_allclose(cross_val_score(model, X, rows.y, cv=KFold(3)), plain, rtol=1e-9)
    with pytest.raises(DataError, match=r"not a ndarray.*set_output\(transform='pandas'\)"):
        make_pipeline(StandardScaler(), LmRegressor("y ~ x")).fit(rows[["x"]], rows.y)


def test_a_search_goes_over_formulas(rows):
    formulas = ["y ~ 1", "y ~ x", "y ~ x + cond"]
    found = GridSearchCV(LmRegressor("y ~ 1"), {"formula": formulas}, cv=GroupKFold(3)).fit(rows, rows.y, groups=rows.g)
    assert found.best_params_["formula"] != "y ~ 1"
    assert found.best_estimator_.model_.formula == found.best_params_["formula"]
    np.testing.assert_array_equal(found.predict(rows), found.best_estimator_.predict(rows))


def test_workers_and_pickles_change_nothing(rows):
    model = Lm2Regressor("y ~ x", "g")
    alone, two = (cross_val_predict(model, rows, rows.y, cv=3, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(alone, two)
    kept = LmClassifier("b ~ x").fit(rows)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kept)).predict(rows), kept.predict(rows))


def test_an_outcome_is_transformed_round_the_estimator(rows):
    data = rows.assign(y=np.exp(rows.y / 10))
    model = TransformedTargetRegressor(LmRegressor("y ~ x"), func=np.log, inverse_func=np.exp, check_inverse=False)
    wanted = np.exp(fitted(Lm("np.log(y) ~ x", data)).predict(data))
    np.testing.assert_allclose(model.fit(data, data.y).predict(data), wanted, rtol=1e-10)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("formula", ["np.log(y) ~ x", "y + z ~ x", "~ x", "cbind(a, b) ~ x", 3])
def test_the_left_side_is_one_column(formula, rows):
    with pytest.raises(FormulaError, match="left side of the formula of an estimator is one column"):
        LmRegressor(formula).fit(rows)


def test_a_name_in_quotes_is_a_column(rows):
    model = LmRegressor("Q('an y') ~ x").fit(rows, rows.y)
    np.testing.assert_array_equal(model.model_.coefs, LmRegressor("y ~ x").fit(rows).model_.coefs)


@pytest.mark.parametrize(
    "fit, error, told",
    [
        (lambda d: LmRegressor("nothing ~ x").fit(d), DataError, "and no y, asks for the column 'nothing'"),
        (lambda d: LmRegressor("y ~ x").fit(d, d.y[:-1]), DataError, "one value for each of the 240 rows"),
        (lambda d: LmRegressor("y ~ x").fit(d, d[["x", "y"]]), DataError, r"shape \(240, 2\).*fit_many"),
        (lambda d: LmRegressor("y ~ x", weights="no").fit(d), DataError, "weights asks for the column 'no'"),
        (lambda d: LmRegressor("y ~ x", fit_options=3).fit(d), OptionError, "fit_options=3 has to be a dict"),
        (lambda d: LmRegressor("y ~ x", fit_options={"rubust": 1}).fit(d), TypeError, "no argument 'rubust'"),
        (lambda d: LmRegressor("y ~ x", fit_options={"rank": True}).fit(d), OptionError, "predictions would be ranks"),
        (
            lambda d: LmRegressor("y ~ x", weights="w", fit_options={"weights": "g"}).fit(d),
            OptionError,
            "fit_options has 'weights', which the estimator has an argument for",
        ),
        (lambda d: LmClassifier("y ~ x").fit(d), DataError, "'y' has 240 class"),
        (lambda d: LmRegressor("y ~ x").fit(d).score(d, np.full(240, np.nan)), DataError, "nothing to score"),
        (lambda d: LmRegressor("y ~ x").fit(d).predict(d.to_numpy()), DataError, "not a ndarray"),
    ],
)
def test_what_does_not_fit_is_told(fit, error, told, rows):
    with pytest.raises(error, match=told):
        fit(rows)


def test_a_fit_that_fails_leaves_the_estimator_as_it_was(rows):
    model = LmRegressor("y ~ x").fit(rows)
    before = model.predict(rows)
    with pytest.raises(FormulaError, match="'x' is not defined"):
        model.fit(rows.drop(columns="x"))
    np.testing.assert_array_equal(model.predict(rows), before)


def test_a_factor_keeps_its_levels():
    pigs = pd.DataFrame({"conc": [27.8, 32.1, 38.0, 27.2, 39.3, 48.5], "source": ["fish", "soy", "skim"] * 2})
    model = LmRegressor("conc ~ source", fit_options={"factors": {"source": ["soy", "fish", "skim"]}}).fit(pigs)
    assert list(model.model_.coefs.index) == ["Intercept", "source[T.fish]", "source[T.skim]"]


def test_frames_of_polars_are_taken_in_folds_too():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.repeat(["a", "b", "c"], 20)})
    y = data["x"] + rng.normal(size=60)
    scores = [cross_val_score(LmRegressor("y ~ x + g"), X, outcome, cv=KFold(3, shuffle=True, random_state=1))
              for X, outcome in ((data, y), (pl.from_pandas(data), pl.Series(y)))]  # fmt: skip
    np.testing.assert_array_equal(*scores)
