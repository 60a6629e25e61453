"""Positive semi-definite matrices, against Higham's example, R's `nearPD` and what defines the nearest one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymer4.errors import ConvergenceWarning, OptionError
from pymer4.statistics.psd import isPSD, nearestPSD

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

# Both stop at a relative change of 1e-7. nearPD takes eigenvalues below 1e-6 of the largest for 0, and lifts those
# of the result to 1e-8.
NEAR_PD = 1e-6
HIGHAM = 5e-5  # the paper prints four places
OPTIMAL = 1e-5  # relative slack of the variational inequality, for matrices that stop at a relative change of 1e-7

# The examples of R's help page of nearPD: Higham's, a random one, and the long one.
EXAMPLES = {
    "higham": [[1, 1, 0], [1, 1, 1], [0, 1, 1]],
    "random": [
        [1, 0.65, -0.46, -1.15, -0.76],
        [0.65, 1, 0.58, 0.50, -0.90],
        [-0.46, 0.58, 1, -0.45, -0.32],
        [-1.15, 0.50, -0.45, 1, 0.25],
        [-0.76, -0.90, -0.32, 0.25, 1],
    ],
    "long": [
        [1, 0.477, 0.644, 0.478, 0.651, 0.826],
        [0.477, 1, 0.516, 0.233, 0.682, 0.75],
        [0.644, 0.516, 1, 0.599, 0.581, 0.742],
        [0.478, 0.233, 0.599, 1, 0.741, 0.8],
        [0.651, 0.682, 0.581, 0.741, 1, 0.798],
        [0.826, 0.75, 0.742, 0.8, 0.798, 1],
    ],
    "covariance": [[4, 5.5, -3, 1], [5.5, 9, 2, 2], [-3, 2, 1, 0.5], [1, 2, 0.5, 16]],
}


def test_the_nearest_matrix_is_that_of_higham():
    """Higham (2002), p. 334."""
    found = nearestPSD(EXAMPLES["higham"])
    np.testing.assert_allclose(found[[0, 0], [1, 2]], [0.7607, 0.1573], atol=HIGHAM)
    assert np.linalg.norm(found - np.array(EXAMPLES["higham"])) == pytest.approx(0.52779033, abs=NEAR_PD)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_nearest_matrix_is_semi_definite_with_the_same_diagonal(name):
    given_matrix = np.array(EXAMPLES[name], dtype=float)
    before = given_matrix.copy()
    found = nearestPSD(given_matrix)
    np.testing.assert_array_equal(given_matrix, before)
    assert isPSD(found) and not isPSD(given_matrix)
    np.testing.assert_array_equal(np.diag(found), np.diag(given_matrix))
    np.testing.assert_array_equal(found, found.T)
    assert not np.array_equal(found, found.round(6)), "full precision"


def random_symmetric(seed: int, k: int) -> np.ndarray:
    raw = np.random.default_rng(seed).uniform(-1, 1, (k, k))
    matrix = (raw + raw.T) / 2
    np.fill_diagonal(matrix, 1)
    return matrix


def random_correlation(rng: np.random.Generator, k: int) -> np.ndarray:
    root = rng.normal(size=(k, rng.integers(1, k + 1)))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    return root @ root.T


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 6))
def test_no_matrix_with_the_same_diagonal_is_nearer(seed, k):
    """A - X makes an obtuse angle with Z - X for every such matrix Z, where X is the projection of A."""
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.5, 2, k) if seed % 2 else np.ones(k)
    A = random_symmetric(seed, k) * np.outer(sd, sd)
    X = nearestPSD(A, nit=10_000)
    assert isPSD(X)
    for _ in range(20):
        Z = random_correlation(rng, k) * np.outer(sd, sd)
        assert ((A - X) * (Z - X)).sum() <= OPTIMAL * np.linalg.norm(A - X) * np.linalg.norm(Z - X) + 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 5), scale=st.sampled_from([1e-6, 0.5, 1e6]))
def test_order_and_scale_do_not_matter(seed, k, scale):
    A = random_symmetric(seed, k)
    X = nearestPSD(A, nit=10_000)
    order = np.random.default_rng(seed).permutation(k)
    np.testing.assert_allclose(nearestPSD(A[np.ix_(order, order)], nit=10_000), X[np.ix_(order, order)], atol=1e-6)
    np.testing.assert_allclose(nearestPSD(scale * A, nit=10_000), scale * X, atol=1e-6 * scale)
    np.testing.assert_allclose(nearestPSD(X), X, atol=1e-15)
    assert isPSD(scale * A) == isPSD(A)


def test_a_semi_definite_matrix_comes_back_as_a_copy():
    matrix = np.ones((3, 3))
    found = nearestPSD(matrix)
    np.testing.assert_array_equal(found, matrix)
    assert found is not matrix


def test_a_zero_in_the_diagonal_empties_its_row():
    found = nearestPSD([[0, 1, 0], [1, 1, 2], [0, 2, 1]])
    np.testing.assert_allclose(found, [[0, 0, 0], [0, 1, 1], [0, 1, 1]], atol=1e-12)


def test_too_few_iterations_warn_and_still_give_a_semi_definite_matrix():
    with pytest.warns(ConvergenceWarning, match="nit=2") as told:
        found = nearestPSD(EXAMPLES["random"], nit=2)
    assert isPSD(found) and told[0].filename == __file__
    assert np.linalg.norm(found - EXAMPLES["random"]) >= np.linalg.norm(
        nearestPSD(EXAMPLES["random"]) - EXAMPLES["random"]
    )


@pytest.mark.parametrize(
    "matrix, answer",
    [
        (np.eye(3), True),
        (np.zeros((2, 2)), True),
        (np.ones((4, 4)), True),
        ([[1, 0.9], [0.9, 1]], True),
        ([[1, 1.1], [1.1, 1]], False),
        ([[-1]], False),
        ([[1, 0.5], [0.2, 1]], False),
        (pd.DataFrame([[2, 1], [1, 2]]), True),
        ([[1, 1 + 1e-12], [1 + 1e-12, 1]], True),
    ],
    ids=["identity", "zero", "singular", "positive", "indefinite", "negative", "asymmetric", "frame", "rounding"],
)
def test_which_are_semi_definite(matrix, answer):
    assert isPSD(matrix) is answer


def test_the_tolerance_is_a_share_of_the_largest_eigenvalue():
    matrix = np.diag([100.0, 1.0, -1e-4])
    assert not isPSD(matrix)
    assert isPSD(matrix, tol=1.1e-6)
    assert not isPSD(matrix, tol=0.9e-6)
    assert not isPSD(np.diag([1.0, -1e-300]), tol=0)


@pytest.mark.parametrize(
    "matrix, said",
    [
        ([1, 2, 3], "square"),
        ([[1, 2, 3], [4, 5, 6]], "square"),
        ([], "square"),
        ([[1, np.nan], [np.nan, 1]], "missing or infinite"),
        ([[1, np.inf], [np.inf, 1]], "missing or infinite"),
        ("text", "matrix of numbers"),
        ([[1, 2], [3]], "matrix of numbers"),
    ],
)
@pytest.mark.parametrize("function", [isPSD, nearestPSD])
def test_what_is_no_matrix_is_refused(function, matrix, said):
    with pytest.raises(OptionError, match=said):
        function(matrix)


@pytest.mark.parametrize(
    "matrix, said",
    [
        ([[1, 0, 0.5], [0, 1, 0], [0.2, 0, 1]], r"not symmetric: 0\.5 in row 1, column 3, but 0\.2 in row 3, column 1"),
        ([[1, 0], [0, -1]], "diagonal holds negative"),
    ],
)
def test_a_matrix_that_is_near_to_none_is_refused(matrix, said):
    with pytest.raises(OptionError, match=said):
        nearestPSD(matrix)


@pytest.mark.parametrize("nit", [0, -1, 1.5, True, None])
def test_an_illegal_number_of_iterations_is_refused(nit):
    with pytest.raises(OptionError, match="nit="):
        nearestPSD(EXAMPLES["higham"], nit)


@pytest.mark.parametrize("tol", [10**400, None, "1", [0.1], np.nan, -1, True])
def test_a_tolerance_is_a_number(tol):
    with pytest.raises(OptionError, match=r"tol=.*has to be a number of at least 0"):
        isPSD(np.eye(2), tol=tol)
