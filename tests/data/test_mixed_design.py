"""Designs of mixed models put together from R's reading: products of variables, and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymer4.data.mixed_design import _numbered, merged, scales
from pymer4.data.mixed_terms import Contrasts, Factor, Numbers, Terms

pytestmark = pytest.mark.numeric

F = Factor(np.array([0, 1, 2, 1]), ("a", "b", "c"))
SUM = Factor(F.codes, F.levels, Contrasts(np.array([[1.0, 0], [0, 1], [-1, -1]]), ("1", "2")))
X = Numbers(np.array([[1.0], [2], [-3], [0.5]]), ("",))
POLY = Numbers(np.arange(8.0).reshape(4, 2), ("1", "2"))


@pytest.mark.parametrize(
    ("intercept", "factors", "variables", "wanted"),
    [
        (True, [[1, 0, 1], [0, 1, 1]], (F, X), ["(Intercept)", "fb", "fc", "x", "fb:x", "fc:x"]),
        (False, [[1, 0, 1], [0, 1, 1]], (F, X), ["fa", "fb", "fc", "x", "fb:x", "fc:x"]),
        (False, [[0, 2], [1, 1]], (F, X), ["x", "fa:x", "fb:x", "fc:x"]),
        (True, [[1], [1]], (SUM, POLY), ["(Intercept)", "f1:x1", "f2:x1", "f1:x2", "f2:x2"]),
        (False, [[1], [1]], (SUM, POLY), ["fa:x1", "fb:x1", "fc:x1", "fa:x2", "fb:x2", "fc:x2"]),
        (False, np.zeros((2, 0)), (F, X), []),
    ],
)
def test_terms_are_products_of_which_the_first_factor_runs_fastest(intercept, factors, variables, wanted):
    f, x = variables
    coded = f.contrasts.matrix if f.contrasts else np.eye(3)[:, 1:]
    parts = {"(Intercept)": np.ones(4), "x": x.values[:, 0], "x1": x.values[:, 0], "x2": x.values[:, -1]}
    parts |= {f"f{name}": coded[f.codes, j] for j, name in enumerate("12" if f.contrasts else "bc")}
    parts |= {f"f{level}": (f.codes == code) * 1.0 for code, level in enumerate("abc") if f"f{level}" not in parts}
    terms = Terms(intercept, (0, 1), ("f", "x"), np.array(factors, dtype=np.int32))
    found, names = terms.matrix({0: f, 1: x}, 4)
    assert [*names] == wanted
    for column, name in zip(found.T, names, strict=True):
        np.testing.assert_array_equal(column, np.prod([parts[part] for part in name.split(":")], axis=0))
    assert found.flags.f_contiguous


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_cells_are_numbered_in_their_order_however_many_there_might_be(cells):
    cells = np.array(cells)
    present, wanted = np.unique(cells, return_inverse=True)
    for count in (51, 10**12):
        codes, found = _numbered(cells, count)
        np.testing.assert_array_equal(found, present)
        np.testing.assert_array_equal(codes, wanted.ravel())


def test_groups_of_one_label_are_one():
    groups = merged(np.array([0, 1, 2, 3]), ["a", "b", "a", "c"])
    assert groups.levels == ("a", "b", "c")
    assert groups.codes.tolist() == [0, 1, 0, 2]


def test_scales_are_of_columns_beyond_zero_and_one():
    half = np.array([0.0, 1, 1, 0])
    assert scales(np.column_stack([np.ones(4), half])) == (1, 1)
    assert scales(np.column_stack([half, 1e4 * half, 2 * half])) == pytest.approx(
        (2 * half.std(ddof=1), 1e4 * half.std(ddof=1))
    )
