"""Reference grids, what can be estimated, and contrasts: by their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import samples
from samples import fit, regression

from pymer4 import Lm
from pymer4.infer.contrasts import _family, _number
from pymer4.infer.estimable import Estimable, independent_rows, noise_of
from pymer4.infer.reference import axes_of

pytestmark = pytest.mark.numeric


def crossed(n: int = 96) -> pd.DataFrame:
    """Return categories, numbers and truth values, with one level of each that a few rows alone have."""
    i = np.arange(n)
    data = pd.DataFrame(
        {"g": np.array(["c", "a", "b"])[i % 3], "h": i // 3 % 2 == 0, "k": i // 6 % 4, "x": np.cos(i) + 2}
    )
    data["size"] = pd.Categorical(np.array(["M", "S"])[i // 24 % 2], ["S", "M", "L"], ordered=True)
    return data.assign(two=5.0 - i // 12 % 2, y=np.sin(3.0 * i) + (i % 3))


def test_which_values_a_variable_has():
    axes = axes_of(regression("y ~ g * h + C(k) + size + x + two + np.log(x) + pd.cut(x, 3)", crossed())._design)
    levels = {name: axis.levels.tolist() for name, axis in axes.items()}
    assert levels["g"] == ["a", "b", "c"] and levels["h"] == [False, True] and levels["k"] == [0, 1, 2, 3]
    assert levels["size"] == ["S", "M"] and levels["two"] == [4.0, 5.0]
    assert len(levels["x"]) == len(np.unique(crossed().x))  # of which categories are computed
    assert {name for name, axis in axes.items() if axis.is_factor} == {"g", "h", "k", "size", "x"}


def test_a_truth_that_is_computed_makes_no_factor():
    axes = axes_of(fit(Lm("y ~ g + I(x > 2)", crossed()))._design)
    assert not axes["x"].is_factor and len(axes["x"].levels) == 0


@pytest.mark.parametrize(
    "formula", ["y ~ g * h + x", "y ~ 0 + g:h + np.log(x)", "y ~ bs(x, df=4) * g + h + two", "y ~ h/g + x"]
)
def test_means_are_averages_of_predictions(formula):
    """At covariates' means, over the levels of all others with equal weights."""
    data, x = crossed(), crossed().x.mean()
    model = regression(formula, data)
    grid = pd.MultiIndex.from_product([["a", "b", "c"], [False, True], [4.0, 5.0]], names=["g", "h", "two"]).to_frame(
        index=False
    )
    grid["fit"] = model.predict(grid.assign(x=x))
    specs = ["g", "h"] if "/" in formula else ["g"]
    found = model.emmeans(specs)[0]
    expected = grid.groupby(specs)["fit"].mean()
    keys = [tuple(row) if len(specs) > 1 else row[0] for row in found[specs].itertuples(index=False)]
    np.testing.assert_allclose(found["Estimate"], expected.loc[keys], rtol=1e-10)


def test_the_order_and_the_values_are_those_asked_for():
    found = regression("y ~ g * h + x", crossed()).emmeans(["h", "g"], at={"g": ["c", "a"], "h": True, "x": [1, 3]})[0]
    assert list(zip(found["h"], found["g"], strict=True)) == [(True, "c"), (True, "a")]
    wide = regression("y ~ g * h + x", crossed()).emmeans("x", at={"x": [3, 1]})[0]
    assert wide["x"].tolist() == [3.0, 1.0]


NESTED = {
    "y ~ place + g": {"g": ["place"]},
    "y ~ place/k": {"k": ["place"]},
    "y ~ place * g * h": {"g": ["place"]},
    "y ~ place/k/h": {"k": ["place"], "h": ["place", "k"]},
    "y ~ h + h:x": {},
    "y ~ g:h": {},
    "y ~ g * h": {},
}
"""Formula to what is nested in what."""


@pytest.mark.parametrize("formula", NESTED)
def test_what_is_nested(formula):
    data = crossed().assign(place=lambda d: np.where(d.g == "a", "north", "south"), k=lambda d: d.k.astype(str))
    assert dict(regression(formula, data)._grid({}).nesting) == NESTED[formula]


def test_a_row_can_be_estimated_if_rows_of_the_data_make_it():
    rng = np.random.default_rng(2)
    base = rng.normal(size=(40, 4)) * [1, 1e-6, 1e6, 1]
    X = np.column_stack([base, base[:, 0] - 1e6 * base[:, 1], np.zeros(40)])
    estimable = Estimable.of(X, np.array([True, True, True, True, False, False]))
    inside = rng.normal(size=(5, 40)) @ X
    assert estimable.free(inside).all() and not estimable.free(np.eye(6))[[0, 1, 4, 5]].any()
    assert estimable.free(np.eye(6))[[2, 3]].all()
    some = np.vstack([np.eye(6)[[0, 5]], inside])
    free = estimable.subspace(some)
    assert len(free) == 5 and estimable.free(free).all()
    b = rng.normal(size=4)
    np.testing.assert_allclose(estimable.rows(inside) @ b, inside[:, :4] @ b)
    assert np.isnan(estimable.rows(np.eye(6))[0]).all()


def test_independent_rows_do_not_hang_on_scales_nor_on_rounding():
    L = np.array([[1.0, 0, 1e8], [0, 1e-8, 0], [1, 1e-8, 1e8], [1e-16, 0, 0]])
    assert len(independent_rows(L, noise_of(L))) == 2
    assert len(independent_rows(np.zeros((3, 2)), np.zeros(2))) == 0


def test_polynomials_are_the_whole_numbers_of_tables():
    tables = {3: [[-1, 0, 1], [1, -2, 1]], 4: [[-3, -1, 1, 3], [1, -1, -1, 1], [-1, 3, -3, 1]]}
    tables[5] = [[-2, -1, 0, 1, 2], [2, -1, -2, -1, 2], [-1, 2, 0, -2, 1], [1, -4, 6, -4, 1]]
    for k, expected in tables.items():
        weights, names = _family("poly", ["a"] * k, " - ")
        np.testing.assert_array_equal(weights, expected)
        assert names == ["linear", "quadratic", "cubic", "quartic"][: k - 1]
    assert _family("poly", ["a"] * 9, " - ")[1][4:] == ["degree 5", "degree 6"]


def test_labels_of_contrasts():
    assert _family("pairwise", ["a", "b", "c"], " - ")[1] == ["a - b", "a - c", "b - c"]
    assert _family("trt.vs.ctrl", ["a", "(b-c)"], " / ")[1] == ["(b-c) / a"]
    assert _family("consec", ["a", "b", "c"], " - ")[1] == ["b - a", "c - b"]
    model = regression("y ~ C(level) + x", crossed().assign(level=lambda d: np.array(["a-1", "b", "c/d"])[d.index % 3]))
    assert model.emmeans("level")[1]["Contrast"].tolist() == ["(a-1) - b", "(a-1) - (c/d)", "b - (c/d)"]
    assert model.emmeans("x", at={"x": [1, -2]})[1]["Contrast"].tolist() == ["x1 - (x-2)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (0.5, "0.5"),
        (100000, "1e+05"),
        (123456, "123456"),
        (1e-5, "1e-05"),
        (0.0001, "1e-04"),
        (1 / 3, "0.333333333333333"),
        (-2.0, "-2"),
    ],
)
def test_numbers_as_r_spells_them(value, text):
    assert _number(value) == text


def test_cells_without_rows_are_told():
    data = samples.patchy().dropna()
    data = data[~((data.g == "a") & (data.h == "k"))]
    means, contrasts = regression("y ~ g * h", data).emmeans("g", "h")
    lost = ((means.g == "a") & (means.h == "k")).to_numpy()
    assert means["Estimate"].isna().tolist() == lost.tolist() == means["DF"].isna().tolist()
    assert any("a, k" in note for note in means.attrs["notes"])
    assert (
        contrasts[["Estimate", "2.5_ci", "SE", "P-val"]].isna().all(axis=1).tolist()
        == [True, True, False] + [False] * 3
    )
    assert contrasts.loc[contrasts["Estimate"].isna(), "Sig"].eq("").all()
