"""Arguments of a kind that nobody foresees are refused before work, in words that say what is allowed."""

from __future__ import annotations

import os
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2, Lmer, doctor, errors, simulate, stats
from pymer4.errors import MOST, DataError, FormulaError, OptionError, count
from pymer4.work import each_chunk

R = pytest.mark.r


def trial() -> pd.DataFrame:
    """Return 24 rows in 6 groups."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(list("ABCDEF"), 4), "c": np.tile(["a", "b", "d"], 8)})
    for name in ("x", "y", "Q", "I", "np"):
        data[name] = rng.normal(size=24)
    data["lists"], data["half"] = [[1]] * 24, (np.arange(24) % 4).astype(np.float16)
    return data


@pytest.mark.parametrize(
    "value, told",
    [
        ("x", "'x'"),
        (np.ones((2, 3)), "<ndarray of shape (2, 3)>"),
        (pd.DataFrame({"x": [1.0]}), "<DataFrame of shape (1, 1)>"),
        (10**400, "<int of 1329 bits>"),
        (np.array(1.0), "array(1.)"),
        (["x" * 500], "['" + "x" * 115 + "..."),
    ],
    ids=str,
)
def test_values_are_quoted_in_short(value, told):
    assert errors.shown(value) == told


LARGE = r"n_boot=.* is too large. Give a whole number from 1 to 10,000,000"
MEMORY = "1,000,000,000 numbers"
BEFORE = r"is the column of the data.* rename the column"
CONTROL = r"control sets .* Give"


def fits(kind, formula: str, *given, **how):
    return lambda: kind(formula, trial(), *given).fit(**how)


@pytest.mark.parametrize(
    "call, error, told",
    [
        *((lambda value=value: count("n_boot", value), OptionError, LARGE) for value in (MOST + 1, 10**400, 1e300)),
        (lambda: simulate.simulate_lm(10**9, 5), OptionError, MEMORY),
        (lambda: simulate.simulate_lmm(10**6, 2, 10**6), OptionError, MEMORY),
        (lambda: simulate.easy_multivariate_normal(10, 10**6, 0.1), OptionError, MEMORY),
        (lambda: stats.welch_dof([1e308, 1.0, 2.0], [1.0, 2.0, 3.0]), DataError, r"x holds 1e\+308, whose square"),
        (lambda: doctor.table(1), TypeError, r"what checks\(\) finds"),
        (fits(Lm, "y ~ np.log(x)"), FormulaError, BEFORE),
        (fits(Lm, "y ~ Q('x') + Q"), FormulaError, BEFORE),
        (fits(Lm2, "y ~ x", "lists"), DataError, "'lists' holds values of type list"),
        *(
            pytest.param(call, error, told, marks=R)
            for call, error, told in [
                (fits(Lmer, "y ~ g * x * c + (1 | half)"), FormulaError, "24 rows are used: nothing is left"),
                (fits(Lmer, "y ~ factor(x) + (1 | g)"), FormulaError, "24 rows are used: nothing is left"),
                (fits(Lmer, "y ~ x + (0 | g)"), FormulaError, r"\(0 \| g\) has no effect"),
                (fits(Lmer, "y ~ x + (1 | g)", control={"optimizer": {"a": {}}}), OptionError, CONTROL),
                (fits(Lmer, "y ~ x + (1 | g)", control={"optimizer": [1]}), OptionError, CONTROL),
                (fits(Lmer, "y ~ x + (1 | g)", control={"optCtrl": 3}), OptionError, CONTROL),
            ]
        ),
    ],
)
def test_a_call_is_refused(call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_workers_are_no_more_than_items_and_cores_call_for():
    with joblib.parallel_config(backend="threading"):
        found = each_chunk(np.negative, np.arange(3), 10**13)
    assert np.concatenate(found).tolist() == [0, -1, -2]


@pytest.mark.parametrize("name", ["rank", "ordered", "wls_dof_correction", "summarize", "verbose"])
@pytest.mark.parametrize("value", [np.array([True, False]), trial(), pd.NA], ids=["array", "frame", "NA"])
def test_where_a_truth_value_is_due(name, value):
    with pytest.raises(OptionError, match=rf"{name}=.* has to be"):
        Lm("y ~ x", trial()).fit(**{name: value})


def test_columns_may_have_the_names_that_patsy_uses_and_groups_half_floats():
    model = Lm("y ~ Q + I + np", trial())
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "Q", "I", "np"]
    assert np.isfinite(model.predict(trial())).all()
    grouped = Lm2("y ~ x", trial(), "half")
    grouped.fit(summarize=False)
    assert grouped.grps == {"half": 4}


def test_of_two_wrong_arguments_the_same_is_told_each_time():
    """Not the one that the hashes of their names bring first, which are others in each process."""
    code = (
        "import pandas as pd\nfrom pymer4 import Lm\n"
        "try: Lm('y ~ x', pd.DataFrame({'x': [1.0, 2, 4], 'y': [1.0, 3, 2]})).fit(n_boot=0, n_jobs=0, rank=3)\n"
        "except ValueError as error: print(error)"
    )
    seeds = ({**os.environ, "PYTHONHASHSEED": str(seed)} for seed in range(3))
    done = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True) for env in seeds]
    assert len({one.stdout for one in done}) == 1 and done[0].stdout.startswith("n_boot=0")
