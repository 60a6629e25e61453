"""Arguments of `infer()`: what they change, and what is said of those that change nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from samples import fit, regression, trial

from pymer4 import Lm2
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.numeric

IDLE = {
    "which": {"how": "boot", "which": "ranef", "n_boot": 60},
    "n_steps": {"how": "boot", "n_steps": 5, "n_boot": 60},
    "threshold": {"how": "boot", "threshold": 3.0, "n_boot": 60},
    "conf_level": {"how": "joint", "conf_level": 0.8},
    "null": {"on": "predictions", "null": 3.0},
    "cluster": {"cluster": "g"},
    "scheme": {"scheme": "freedman-lane"},
}


@pytest.mark.parametrize("argument", IDLE)
def test_what_has_no_effect_is_said(argument):
    with pytest.warns(ModelWarning, match=f"{argument}=.* has no effect without") as told:
        regression("y ~ cond + x").infer(**IDLE[argument])
    assert len(told) == 1


def test_what_has_an_effect_is_not():
    model = regression("y ~ cond + x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.infer(errors="IID", null=1.0, conf_level=0.9, alternative="less")
        model.infer("boot", errors="iid", cluster="g", n_boot=60, ci_type="basic")


@pytest.mark.parametrize("how", ["asymp", "boot"])
def test_a_link_that_falls_turns_one_sided_limits(how):
    model = regression("size ~ x", given={"family": "gamma"})
    given = {"how": how, "on": "predictions", "seed": 1} | ({"n_boot": 99} if how == "boot" else {})
    both = model.infer(**given, conf_level=0.9)
    found = model.infer(**given, alternative="greater", conf_level=0.95)
    assert found.columns[1:3].tolist() == ["0_ci", "95_ci"] and (found["0_ci"] == 0).all()
    np.testing.assert_allclose(found["95_ci"], both["95_ci"], rtol=1e-12)


def test_one_sided_comparisons_say_how_they_are_adjusted():
    model = regression("y ~ cond + x")
    model.emmeans("cond")
    assert [model.infer(alternative=side)[1].attrs["adjust"] for side in ("two-sided", "less")] == ["tukey", "sidak"]


def test_tables_of_one_call_come_from_the_same_replicates():
    model = fit(Lm2("y ~ x", trial(), group="g"))
    model.emmeans("x", at={"x": [0, 1]})
    model.infer("boot", n_boot=60, ci_type="percentile")
    means, contrast = (frame.to_numpy() for frame in model.resamples)
    np.testing.assert_allclose(means[:, 0] - means[:, 1], contrast[:, 0], rtol=1e-9)


def test_limits_of_many_predictions_are_those_of_few(monkeypatch):
    model = regression("y ~ cond + x")
    whole = model.infer("boot", on="predictions", n_boot=60, seed=1)
    monkeypatch.setattr("pymer4.infer.verb._NUMBERS", 60 * 7)
    assert model.infer("boot", on="predictions", n_boot=60, seed=1).equals(whole)
