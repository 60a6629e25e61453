"""Small things that users of R expect, on all models."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from against_r import ask, relative

from pymer4 import Lm, Lmer, load_dataset
from pymer4.errors import ModelWarning, OptionError


@pytest.fixture
def dosed() -> pd.DataFrame:
    """Doses that floating-point arithmetic made: 0.1 * 3 is 0.30000000000000004."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"dose": np.tile(np.arange(0, 0.5, 0.1), 24), "g": np.repeat(np.linspace(0.1, 1.2, 12), 10)})
    data["blk"] = np.arange(len(data)) % 2
    data["y"] = data["dose"] + rng.normal(size=len(data))
    return data


@pytest.mark.r
def test_levels_of_numbers_have_15_digits_as_in_r(dosed):
    model = Lmer("y ~ dose + (1 | g)", dosed)
    model.fit(factors={"dose": [0, 0.1, 0.2, 0.3, 0.4]}, summarize=False, no_warnings=True)
    assert list(model.coefs.index[1:]) == ["dose0.1", "dose0.2", "dose0.3", "dose0.4"]
    assert list(model.ranef.index)[:9] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]
    at = pd.DataFrame({"dose": [0.3, 0.1 * 3]})
    assert np.ptp(model.predict(at)) == 0
    native = Lm("y ~ dose", dosed)
    native.fit(factors={"dose": [0, 0.1, 0.2, 0.3, 0.4]}, summarize=False)
    assert len(native.coefs) == 5


@pytest.mark.r
def test_an_outcome_of_text_brings_no_warnings_of_its_own():
    verbs = load_dataset("VerbAgg").sample(800, random_state=1)
    model = Lmer("r2 ~ Anger + btype + (1 | id)", verbs, family="binomial")
    model.fit(summarize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.anova()
        model.predict(verbs.drop(columns="r2"), interval="confidence")


@pytest.mark.parametrize("model", [Lm, pytest.param(Lmer, marks=pytest.mark.r)])
def test_ranks_are_for_linear_models(model, dosed):
    dosed["hit"] = (dosed["y"] > 0).astype(float)
    formula = "hit ~ dose" + (" + (1 | g)" if model is Lmer else "")
    with pytest.raises(OptionError, match="linear models"):
        model(formula, dosed, family="binomial").fit(rank=True)


@pytest.mark.r
def test_ranks_within_a_column_that_the_formula_does_not_use(dosed, capsys):
    model = Lmer("y ~ dose + (1 | g)", dosed)
    model.fit(rank=True, rank_group="blk", no_warnings=True)
    assert "Ranks: " in capsys.readouterr().out
    ranked = dosed.assign(**dosed.round(9).groupby("blk")[["dose"]].rank(), y=dosed.groupby("blk")["y"].rank())
    plain = Lmer("y ~ dose + (1 | g)", ranked)
    plain.fit(summarize=False, no_warnings=True)
    pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-6)
    with pytest.raises(OptionError, match="rank_group"):
        model.fit(rank=True, rank_group="blok")


@pytest.mark.r
def test_variances_by_column_are_those_of_the_errors():
    """With a covariate the outcome varies for more reasons than its error."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(["a", "b"], [40, 15]), "x": rng.normal(size=55)})
    data["y"] = 3 * data["x"] + np.where(data["g"] == "a", 0.5, 2) * rng.normal(size=55)
    model = Lm("y ~ g + x", data)
    model.fit(weights="g", summarize=False)
    found = ask(
        """
        first <- lm(y ~ g + x)
        v <- tapply(resid(first)^2, g, sum) / tapply(1 - hatvalues(first), g, sum)
        answer$b <- coef(summary(lm(y ~ g + x, weights = 1 / v[as.character(g)])))[, 1]
        """,
        y=data["y"],
        g=(data["g"] == "b").to_numpy(),
        x=data["x"],
    )
    assert relative(model.coefs["Estimate"], found["b"]) < 1e-9
    shuffled = Lm("y ~ g + x", data)
    shuffled.fit(weights="g", permute=200, seed=1, summarize=False)
    np.testing.assert_allclose(shuffled.coefs["T-stat"], model.coefs["T-stat"], rtol=1e-12)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(None)])
def test_draws_make_no_significance_where_there_is_no_information(rows):
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(20, 3)), columns=["y", "x", "z"])[rows]
    if len(data) > 3:
        data["y"] = 2.0
    model = Lm("y ~ x + z", data)
    with pytest.warns(ModelWarning, match="no tests|nothing to explain"):
        model.fit(conf_int="boot", n_boot=50, seed=1, summarize=False)
    assert model.coefs[["2.5_ci", "97.5_ci", "P-val"]].isna().all(axis=None)
    assert (model.coefs["Sig"] == "").all()


def test_separation_is_said_whatever_the_errors():
    data = pd.DataFrame({"g": np.repeat(["a", "b"], 30), "hit": np.r_[np.arange(30) % 2, np.ones(30)]})
    model = Lm("hit ~ g", data, family="binomial")
    with pytest.warns(ModelWarning, match="Separation|fitted probabilities"):
        model.fit(robust="hc3", summarize=False)
