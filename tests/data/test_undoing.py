"""Functions of the outcome are told by what they compute, and undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from samples import fit
from scipy import special, stats

from pymer4 import Lm
from pymer4.data.undoing import Step, carried, slope_of, straightened, undoing
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.numeric

probit = stats.norm.ppf


def decibel(x: np.ndarray) -> np.ndarray:
    return 10 * np.log10(x)


def shrunk(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.log(1 + np.abs(x))


@cache
def pigs() -> pd.DataFrame:
    """Return conc from 24 to 60, and what is made of it by arithmetic."""
    conc = np.round(24 + 36 * np.sort(np.random.default_rng(5).beta(1, 2, 29)), 1)
    data = pd.DataFrame(
        {"conc": conc, "share": (conc - 20) / 60, "change": conc - 40, "n": np.resize([9.0, 12, 15], 29)}
    )
    return data.assign(g=np.resize(list("abc"), 29), two=5.0 + (conc > 38))


# The outcome, what leads from it to the raw one, and what differences of it are: ratios, differences, or neither.
UNDONE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "np.log(conc)": (np.exp, "ratio"),
    "np.log2(conc)": (np.exp2, "ratio"),
    "I(np.log(conc) / np.log(3))": (lambda z: 3**z, "ratio"),
    "I(10 * np.log10(conc))": (lambda z: 10 ** (z / 10), "ratio"),
    "decibel(conc)": (lambda z: 10 ** (z / 10), "ratio"),
    "np.log(conc / 100)": (lambda z: 100 * np.exp(z), "ratio"),
    "standardize(np.log(conc))": (
        lambda z: np.exp(np.log(pigs().conc).mean() + np.log(pigs().conc).std(ddof=0) * z), "ratio",
    ),
    "np.log(conc + 1)": (lambda z: np.exp(z) - 1, ""),
    "np.log1p(conc)": (np.expm1, ""),
    "np.sqrt(conc)": (np.square, ""),
    "np.cbrt(change)": (lambda z: z**3, ""),
    "np.arcsinh(conc)": (np.sinh, ""),
    "np.arcsin(np.sqrt(share))": (lambda z: np.sin(z) ** 2, ""),
    "special.logit(share)": (special.expit, ""),
    "probit(share)": (stats.norm.cdf, ""),
    "I(100 / conc)": (lambda z: 100 / z, ""),
    "I(conc ** 2)": (np.sqrt, ""),
    "I(change ** 3)": (np.cbrt, ""),
    "I((conc ** 0.3 - 1) / 0.3)": (lambda z: (0.3 * z + 1) ** (1 / 0.3), ""),
    "np.exp(conc / 50)": (lambda z: 50 * np.log(z), ""),
    "I(2 ** (conc / 20))": (lambda z: 20 * np.log2(z), ""),
    "standardize(conc)": (lambda z: pigs().conc.mean() + pigs().conc.std(ddof=0) * z, "difference"),
    "center(conc)": (lambda z: pigs().conc.mean() + z, "difference"),
    "I((conc - 32) * 5 / 9)": (lambda z: 32 + 9 / 5 * z, "difference"),
    "I(-conc)": (lambda z: -z, "difference"),
    "np.maximum(conc, 1)": (lambda z: z, "difference"),
    "I(3 * two)": (lambda z: z / 3, "difference"),
    "np.sqrt(two)": (np.square, ""),
}  # fmt: skip
MEASURES = ["I(conc - n)", "I(conc / n)", "I((conc + n) / 2)", "Q('conc')"]
UNKNOWN = [
    "conc.rank()", "np.cos(conc)", "I(change ** 2)", "np.abs(change)", "I(np.log(conc) - np.log(n))", "shrunk(change)",
    "I(np.sign(change) * np.sqrt(np.abs(change)))", "np.maximum(conc, 35)", "np.round(conc)", "two.rank()",
    "I(3 * two - 1)",
]  # fmt: skip


def fitted(outcome: str) -> Lm:
    return fit(Lm(f"{outcome} ~ g", pigs()))


@pytest.mark.parametrize("outcome", UNDONE)
def test_the_outcomes_are_given_back(outcome):
    inverse, _ = UNDONE[outcome]
    model = fitted(outcome)
    steps = undoing(model._design)
    z = model._design.matrices.outcome[:, 0]
    np.testing.assert_allclose(carried(z, steps), inverse(z), rtol=1e-9)
    h = 1e-6 * np.abs(z)
    np.testing.assert_allclose(slope_of(z, steps), (inverse(z + h) - inverse(z - h)) / (2 * h), rtol=1e-4)


@pytest.mark.parametrize("outcome", UNDONE)
def test_means_are_undone_and_contrasts_where_they_are_the_outcomes(outcome):
    inverse, kind = UNDONE[outcome]
    model = fitted(outcome)
    (means, compared), (linked, differences) = model.emmeans("g"), model.emmeans("g", type="link")
    z, d = linked["Estimate"].to_numpy(), differences["Estimate"].to_numpy()
    np.testing.assert_allclose(means["Estimate"], inverse(z), rtol=1e-9)
    np.testing.assert_allclose(means.iloc[:, 2:4], np.sort(inverse(linked.iloc[:, 2:4].to_numpy()), axis=1), rtol=1e-9)
    pairs = inverse(z)[[0, 0, 1]], inverse(z)[[1, 2, 2]]
    expected = {"ratio": pairs[0] / pairs[1], "difference": pairs[0] - pairs[1], "": d}[kind]
    np.testing.assert_allclose(compared["Estimate"], expected, rtol=1e-9, atol=1e-12)
    assert means.attrs["scale"] == "response" and compared.attrs["scale"] == ("response" if kind else "link")
    assert compared.attrs["estimate"] == ("ratio" if kind == "ratio" else "estimate")
    np.testing.assert_allclose(compared["P-val"], differences["P-val"], rtol=1e-9)


@pytest.mark.parametrize("outcome", MEASURES)
def test_what_columns_make_by_arithmetic_is_the_outcome(outcome):
    assert undoing(fitted(outcome)._design) == ()


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_what_is_not_undone_is_told(outcome):
    model = fitted(outcome)
    assert undoing(model._design) is None
    with pytest.warns(ModelWarning, match="on the link scale.*no inverse is known"):
        found = model.emmeans("g")
    for table, linked in zip(found, model.emmeans("g", type="link"), strict=True):
        pd.testing.assert_frame_equal(table, linked)
        assert table.attrs["scale"] == "link"


def test_lines_are_drawn_together():
    steps = (Step("identity", 1.0, 2.0), Step("log", 3.0, 4.0), Step("identity", 0.0, 5.0))
    shift, slope, left = straightened(steps)
    z = np.array([-0.3, 0.1])
    np.testing.assert_allclose(carried(shift + slope * z, left), carried(z, steps), rtol=1e-12)
    assert left == (Step("log"),)
    assert straightened((Step("log"), Step("identity", 1.0)))[2] == (Step("log"), Step("identity", 1.0))


@pytest.mark.parametrize(
    ("family", "outcome"), [("poisson", "I(2 * n)"), ("gamma", "np.sqrt(conc)"), ("gamma", "I(conc / 10)")]
)
def test_functions_behind_a_link(family, outcome):
    model = Lm(f"{outcome} ~ g", pigs(), family=family, link="log")
    model.fit(summarize=False)
    inverse = {"I(2 * n)": lambda mu: mu / 2, "np.sqrt(conc)": np.square, "I(conc / 10)": lambda mu: 10 * mu}[outcome]
    (means, compared), linked = model.emmeans("g"), model.emmeans("g", type="link")[0]["Estimate"].to_numpy()
    np.testing.assert_allclose(means["Estimate"], inverse(np.exp(linked)), rtol=1e-9)
    assert compared.attrs["estimate"] == ("estimate" if "sqrt" in outcome else "ratio")
