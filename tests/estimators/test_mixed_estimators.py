"""`LmerRegressor` and `LmerClassifier`: folds by group, workers with an R each, groups that were not seen."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
from samples import dataset, fitted, trial
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from pymer4.errors import DataError, FormulaError
from pymer4.sklearn import LmerClassifier, LmerRegressor

pytestmark = pytest.mark.r

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return dataset("sleepstudy")


def r_squared(y, means) -> float:
    return 1 - ((y - means) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def test_groups_held_out_are_predicted_for_the_population(sleep):
    folds = GroupKFold(3)
    found = cross_val_score(LmerRegressor(FORMULA), sleep, sleep.Reaction, groups=sleep.Subject, cv=folds)
    for score, (train, test) in zip(found, folds.split(sleep, groups=sleep.Subject), strict=True):
        held = sleep.iloc[test]
        means = fitted(FORMULA, sleep.iloc[train]).predict(held)
        assert score == pytest.approx(r_squared(held.Reaction, means), rel=1e-9)


def test_groups_that_were_seen_have_their_effects(sleep):
    folds = KFold(3, shuffle=True, random_state=1)
    by_group, population = (
        cross_val_score(LmerRegressor(FORMULA, use_rfx=use), sleep, sleep.Reaction, cv=folds) for use in (True, False)
    )
    train, test = next(folds.split(sleep))
    means = fitted(FORMULA, sleep.iloc[train]).predict(sleep.iloc[test], use_rfx=True)
    assert by_group[0] == pytest.approx(r_squared(sleep.Reaction.iloc[test], means), rel=1e-9)
    assert (by_group > population + 0.2).all()


def test_known_and_new_groups_beside_each_other(sleep):
    model = LmerRegressor(FORMULA).fit(sleep[sleep.Subject != "308"])
    found, new = model.predict(sleep), sleep.Subject == "308"
    np.testing.assert_allclose(found[new], model.model_.predict(sleep[new]), rtol=1e-12)
    np.testing.assert_allclose(found[~new], model.model_.fits, rtol=1e-9)


def test_workers_have_an_r_each_and_the_same_numbers(sleep):
    how = {"groups": sleep.Subject, "cv": GroupKFold(3)}
    alone, two = (cross_val_predict(LmerRegressor(FORMULA), sleep, sleep.Reaction, n_jobs=n, **how) for n in (1, 2))
    np.testing.assert_array_equal(alone, two)


def test_fitted_estimators_travel(sleep, tmp_path):
    model = LmerRegressor(FORMULA).fit(sleep)
    wanted = model.predict(sleep)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(sleep), wanted)
    joblib.dump(model, tmp_path / "model")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model").predict(sleep), wanted)
    (away,) = joblib.Parallel(n_jobs=2)([joblib.delayed(model.predict)(sleep)])
    np.testing.assert_array_equal(away, wanted)


def test_a_search_goes_over_formulas_and_options(sleep):
    grid = {"formula": ["Reaction ~ 1 + (1 | Subject)", FORMULA], "fit_options": [{"REML": False}, None]}
    found = GridSearchCV(LmerRegressor(FORMULA), grid, cv=GroupKFold(3)).fit(
        sleep, sleep.Reaction, groups=sleep.Subject
    )
    assert found.best_params_["formula"] == FORMULA and len(found.cv_results_["params"]) == 4


def test_a_pipeline_ends_in_a_mixed_model(sleep):
    model = make_pipeline(FunctionTransformer(lambda d: d.assign(Days=d.Days * 2)), LmerRegressor(FORMULA))
    model.fit(sleep, sleep.Reaction)
    wanted = fitted(FORMULA, sleep).predict(sleep, use_rfx=True)
    np.testing.assert_allclose(model.predict(sleep), wanted, rtol=1e-5)  # lme4's optimum, in other units


def test_a_binomial_model_is_a_classifier():
    rows = trial().assign(b=lambda d: np.where(d.y > d.y.median(), "high", "low"))
    model = LmerClassifier("b ~ x + (1 | g)").fit(rows)
    wanted = fitted("b ~ x + (1 | g)", rows.assign(b=(rows.b == "low") * 1), family="binomial")
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], wanted.predict(rows, use_rfx=True), rtol=1e-9)
    scores = cross_val_score(model, rows, rows.b, groups=rows.g, cv=GroupKFold(3), scoring="neg_log_loss")
    assert np.isfinite(scores).all()
    assert 0.5 < cross_val_score(model, rows, rows.b, groups=rows.g, cv=GroupKFold(3)).mean() <= 1


def test_weights_and_offsets_are_columns():
    herds = dataset("cbpp").assign(share=lambda d: d.incidence / d["size"], o=0.2)
    model = LmerRegressor("share ~ period + (1 | herd)", family="binomial", weights="size", offset="o").fit(herds)
    how = {"family": "binomial", "weights": "size", "offset": "o"}
    np.testing.assert_array_equal(model.model_.coefs, fitted("share ~ period + (1 | herd)", herds, **how).coefs)
    with pytest.raises(FormulaError, match="give weights='n'"):
        LmerRegressor("incidence / size ~ period + (1 | herd)", family="binomial").fit(herds)


def test_a_dotted_or_ticked_name_is_a_column(sleep):
    for name, written in (("re.action", "re.action"), ("re action", "`re action`")):
        model = LmerRegressor(f"{written} ~ Days + (1 | Subject)").fit(sleep.drop(columns="Reaction"), sleep.Reaction)
        assert model.model_.nobs == 180 and name in model.model_.data


def test_the_engine_of_the_package_fits_too(sleep):
    model = LmerRegressor(FORMULA, fit_options={"engine": "native"}).fit(sleep)
    np.testing.assert_allclose(model.predict(sleep), LmerRegressor(FORMULA).fit(sleep).predict(sleep), rtol=1e-4)
    with pytest.raises(DataError, match="not a ndarray"):
        model.score(sleep.to_numpy(), sleep.Reaction)
