"""Small things that users of R expect, on all models."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lmer, load_dataset
from pymer4.errors import OptionError


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
