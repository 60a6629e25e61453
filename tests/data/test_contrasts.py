"""Contrasts and factors: known values, exact inverses, R's completions, every refusal with its message."""

from __future__ import annotations

import re
import shutil
import subprocess
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pymer4.data.contrasts import R2con, con2R, polynomial, treatment
from pymer4.errors import OptionError

pytestmark = pytest.mark.numeric

THIRD = 1 / 3
untimed = settings(deadline=None, max_examples=60)


def mean_row_above(weights):
    weights = np.atleast_2d(weights)
    return np.vstack([np.full(weights.shape[1], 1 / weights.shape[1]), weights])


@pytest.mark.parametrize(
    ("weights", "matrix"),
    [
        ([1, -1], [[0.5], [-0.5]]),
        ([[-1, 1, 0], [-1, 0, 1]], [[-THIRD, -THIRD], [2 * THIRD, -THIRD], [-THIRD, 2 * THIRD]]),
        ([[1, 0, -1], [0, 1, -1]], [[2 * THIRD, -THIRD], [-THIRD, 2 * THIRD], [-THIRD, -THIRD]]),
        ([[2 * THIRD, -THIRD, -THIRD], [-THIRD, 2 * THIRD, -THIRD]], [[1, 0], [0, 1], [-1, -1]]),
        ([[1, -0.5, -0.5], [0, 1, -1]], [[2 * THIRD, 0], [-THIRD, 0.5], [-THIRD, -0.5]]),
    ],
    ids=["two levels", "against the first", "against the last", "deviations", "A against the rest"],
)
def test_full_sets_of_contrasts_have_known_codings(weights, matrix):
    np.testing.assert_allclose(con2R(weights), matrix, atol=1e-15)


def test_one_contrast_is_completed_with_an_orthogonal_one_of_unit_length():
    matrix = con2R([1, -0.5, -0.5])
    np.testing.assert_allclose(matrix[:, 0], [2 * THIRD, -THIRD, -THIRD], atol=1e-15)
    # make.contrasts(c(1, -.5, -.5)) of gmodels
    np.testing.assert_allclose(matrix[:, 1], [0, -np.sqrt(0.5), np.sqrt(0.5)], atol=1e-15)


@pytest.mark.parametrize("kind", [np.array, lambda row: [row], lambda row: pd.DataFrame([row])])
def test_a_list_a_row_an_array_and_a_frame_mean_the_same(kind):
    np.testing.assert_array_equal(con2R(kind([1, -0.5, -0.5])), con2R([1, -0.5, -0.5]))


def test_arguments_stay_as_they_were():
    weights, matrix = np.array([[1.0, -0.5, -0.5]]), treatment(3)
    con2R(weights, names=["a"])
    R2con(matrix)
    np.testing.assert_array_equal(weights, [[1, -0.5, -0.5]])
    np.testing.assert_array_equal(matrix, treatment(3))


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["rest"], ["rest", "2", "3"]),
        (["rest", "x"], ["rest", "x", "3"]),
        (np.array(["a", "b", "c"]), ["a", "b", "c"]),
        (["2"], ["2", "3", "4"]),
        ([1], ["1", "2", "3"]),
    ],
)
def test_names_give_a_frame_and_the_other_columns_get_theirs(names, columns):
    frame = con2R([1, -1, 0, 0], names=names)
    assert list(frame.columns) == columns
    np.testing.assert_array_equal(frame, con2R([1, -1, 0, 0]))


@pytest.mark.parametrize(
    ("matrix", "rows"),
    [
        (treatment(3), [[1, 0, 0], [-1, 1, 0], [-1, 0, 1]]),
        ([[1, 0], [0, 1], [-1, -1]], [[THIRD] * 3, [2 * THIRD, -THIRD, -THIRD], [-THIRD, 2 * THIRD, -THIRD]]),
        ([[-1, -1], [1, -1], [0, 2]], [[THIRD] * 3, [-0.5, 0.5, 0], [-1 / 6, -1 / 6, THIRD]]),
        (polynomial(3), np.vstack([[THIRD] * 3, polynomial(3).T])),
        ([[0], [1]], [[1, 0], [-1, 1]]),
    ],
    ids=["treatment", "sum", "helmert", "poly", "two levels"],
)
def test_the_codings_of_r_have_known_contrasts(matrix, rows):
    np.testing.assert_allclose(R2con(matrix), rows, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_the_scale_of_weights_costs_no_precision(scale):
    weights = np.array([[1, -1, 0], [0.5 * scale, 0.5 * scale, -scale]])
    np.testing.assert_allclose(
        R2con(con2R(weights))[1:] / weights.max(1)[:, None], [[1, -1, 0], [1, 1, -2]], rtol=1e-12
    )


@st.composite
def written(draw, least=1):
    """Draw contrasts, shape (m, k): whole numbers with sum 0, on scales of their own."""
    k = draw(st.integers(2, 7))
    m = draw(st.integers(least, k - 1))
    free = draw(st.lists(st.lists(st.integers(-4, 4), min_size=k - 1, max_size=k - 1), min_size=m, max_size=m))
    weights = np.array([[*row, -sum(row)] for row in free], dtype=float)
    assume(np.linalg.matrix_rank(weights) == m)
    scales = draw(st.lists(st.sampled_from([0.01, 0.25, 1, 3, 100]), min_size=m, max_size=m))
    return weights * np.array(scales)[:, None]


TIED = [
    [[-3, -1, 1, 3]],
    [[-3, -1, 3, 1]],
    [[3, 1, 2, -6]],
    [[3, 1, 3, -7]],
    [[0, 0, 0, 1, -1]],
    [[0, 0, 2, 3, -5]],
    [[-3, 0, 1, 2], [3, -1, -3, 1]],
    [[3, 1, 1, -5], [-3, -3, -1, 7]],
    [[0, 0, -3, -1, 1, -1, -1, 5]],
]


def test_the_other_contrasts_of_a_linear_trend_are_known():
    whole, roots = [[-6, -2, 22, -14], [3, 1, -11, 7]], [[3, -5, 1, 1], [6, -10, 2, 2]]
    solved = (np.array(whole) + np.sqrt(5) * np.array(roots)) / 30
    np.testing.assert_allclose(R2con(con2R(TIED[0]))[2:], solved, atol=1e-15)


@pytest.mark.parametrize("weights", TIED)
@pytest.mark.parametrize("size", [1e-16, 1e-12, 1e-9])
def test_no_rounding_turns_the_contrasts_that_are_solved_for(weights, size):
    """Every kernel of a linear algebra library rounds in its own way, which noise in the weights stands for."""
    weights = np.array(weights, dtype=float)
    exact, random = con2R(weights), np.random.default_rng(1)
    for _ in range(50):
        noise = random.uniform(-size, size, weights.shape)
        found = con2R(weights + (noise - noise.mean(axis=1, keepdims=True)) * np.abs(weights).max())
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-14 + 100 * size)


@untimed
@given(written())
def test_r2con_gives_back_what_was_written_below_the_mean_row(weights):
    rows = R2con(con2R(weights))
    m, k = weights.shape
    largest = np.abs(weights).max()
    np.testing.assert_allclose(rows[: m + 1], mean_row_above(weights), rtol=1e-10, atol=1e-12 * largest)
    solved = rows[m + 1 :]
    np.testing.assert_allclose(solved @ solved.T, np.eye(k - 1 - m), atol=1e-10)
    np.testing.assert_allclose(
        solved @ np.vstack([np.ones(k), weights / np.abs(weights).max(1)[:, None]]).T, 0, atol=1e-10
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: con2R("abc"), "con2R was given 'abc'. Give rows of finite numbers, all of one length."),
        (lambda: con2R([[1, -1], [1]]), "con2R was given [[1, -1], [1]]. Give rows of finite numbers, all of one"),
        (lambda: con2R([np.inf, -1]), "con2R was given [inf, -1]. Give rows of finite numbers"),
        (lambda: con2R([[[1, -1]]]), "con2R was given 3 dimensions. Give a row a contrast, a column a level."),
        (lambda: con2R([1]), "Contrasts in con2R: 1, levels: 1. Give two levels or more."),
        (lambda: con2R(np.eye(3)), "Contrasts in con2R: 3, levels: 3. Give 1 to 2; the others are solved for."),
        (lambda: con2R([0, 0, 0]), "Contrast 1 of con2R, (0, 0, 0), compares nothing. Give weights that are not all"),
        (lambda: con2R([THIRD] * 3), "is the mean row, which the intercept stands for. Leave it out."),
        (lambda: con2R([[1, -1, 0], [1, -0.33, -0.33]]), "Contrast 2 of con2R, (1, -0.33, -0.33), sums to 0.34."),
        (lambda: con2R([1, -1 + 2e-8]), "sums to 2e-08."),
        (lambda: con2R([[1, -1, 0], [-3, 3, 0]]), "Contrast 2 of con2R, (-3, 3, 0), is a multiple or a sum of those"),
        (lambda: con2R([1, -1], names="ab"), "names is 'ab'. Give a list: one name for each contrast."),
        (lambda: con2R([1, -1], names=[]), "Names in con2R: 0, contrasts: 1. Give one for each."),
        (lambda: con2R([1, -1, 0, 0], names=list("abcd")), "Names in con2R: 4, contrasts: 1. Give one for each, and"),
        (lambda: con2R([1, -1, 0], names=["a", "a"]), "con2R names its contrasts 'a', 'a'. Give each a name of its"),
        (lambda: R2con("abc"), "R2con was given 'abc'. Give rows of finite numbers"),
        (lambda: R2con([0, 1]), "R2con was given an array of shape (2,). Give a coding matrix: one row for each level"),
        (lambda: R2con([[1, 2], [1, 2], [2, 4]]), "R2con was given columns that depend on each other or on the"),
        (lambda: R2con([[0, 0], [0, 1], [0, 2]]), "R2con was given columns that depend on each other or on the"),
    ],
)  # fmt: skip
def test_what_is_no_contrast_is_refused(call, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        call()


def test_weights_within_rounding_of_zero_sum_pass():
    weights = [-3 / 3, 0.1 + 0.2, 0.3, 0.4]
    np.testing.assert_allclose(R2con(con2R(weights))[1], weights, atol=1e-15)
    con2R([1, -1 + 5e-9])


def exact_polynomial(k):
    """Return contr.poly(k) by Gram-Schmidt in fractions, rounded once."""
    x, basis = [Fraction(2 * i - k + 1) for i in range(k)], []
    for degree in range(k):
        p = [t**degree for t in x]
        for q in basis:
            share = sum(a * b for a, b in zip(p, q, strict=True)) / sum(b * b for b in q)
            p = [a - share * b for a, b in zip(p, q, strict=True)]
        basis.append(p)
    with localcontext() as context:
        context.prec = 40
        lengths = [(Decimal(n.numerator) / n.denominator).sqrt() for n in (sum(a * a for a in p) for p in basis)]
        columns = [
            [float(Decimal(a.numerator) / a.denominator / n) for a in p] for p, n in zip(basis, lengths, strict=True)
        ]
    return np.array(columns[1:]).T


@pytest.mark.parametrize("k", range(2, 21))
def test_polynomials_are_exact_to_rounding(k):
    np.testing.assert_allclose(polynomial(k), exact_polynomial(k), rtol=0, atol=1e-14)


@pytest.mark.parametrize("k", [21, 60])
def test_polynomials_are_orthonormal_with_sum_zero_and_end_above_zero(k):
    whole = np.column_stack([np.full(k, k**-0.5), polynomial(k)])
    np.testing.assert_allclose(whole.T @ whole, np.eye(k), atol=1e-13)
    assert (polynomial(k)[-1] > 0).all()


R_CODE = """
numbers <- function(text) as.numeric(strsplit(text, " ")[[1]])
for (line in readLines(file("stdin"))) {
  fields <- strsplit(line, ";")[[1]]
  m <- as.integer(fields[1]); k <- as.integer(fields[2])
  given <- matrix(numbers(fields[3]), m, k, byrow = TRUE)
  value <- t(given) %*% solve(given %*% t(given))
  whole <- qr.qy(qr(cbind(1, value)), diag(k))[, 2:k, drop = FALSE]
  whole[, 1:m] <- value
  cat(sprintf("%.17g", as.vector(t(whole))), "\\n")
}
"""
CASES = {
    "one of two": [[1, -1]],
    "one of three": [[1, -0.5, -0.5]],
    "first of three not named": [[0, 1, -1]],
    "one of four": [[-1, 0, 0, 1]],
    "linear of four": [[-3, -1, 1, 3]],
    "two of four, oblique": [[1, -1, 0, 0], [1, 0, -1, 0]],
    "two of five, other scales": [[10, -10, 0, 0, 0], [0.5, 0.5, -THIRD, -THIRD, -THIRD]],
    "three of four, oblique": [[-1, 0, 0, 1], [-0.5, -0.5, 0.5, 0.5], [-3 / 3, THIRD, THIRD, THIRD]],
    "against the first": [[-1, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1]],
    "two of seven": [[1, 1, 1, -1, -1, -1, 0], [0, 0, 1, 1, -1, -1, 0]],
}

# R settles a tie by rounding. It gets weights that stand off the tie, on the side that counts here.
NUDGE = 1e-7
NUDGED = {"linear of four": [[-3, -1 + NUDGE, 1 - NUDGE, 3]]}


@pytest.fixture(scope="module")
def r_says():
    """Return R's completed codings by case."""
    assert shutil.which("Rscript"), "this test needs R on the PATH"
    rows = {name: np.array(NUDGED.get(name, weights), dtype=float) for name, weights in CASES.items()}
    asked = [f"{w.shape[0]};{w.shape[1]};{' '.join(map(repr, w.ravel().tolist()))}" for w in rows.values()]
    command = ["Rscript", "--vanilla", "-e", R_CODE]
    reply = subprocess.run(command, input="\n".join(asked) + "\n", capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    told = [np.array(line.split(), dtype=float) for line in reply.stdout.splitlines()]
    return dict(zip(CASES, told, strict=True))


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_contrasts_are_completed_as_make_contrasts_does(name, r_says):
    matrix = con2R(CASES[name])
    theirs = r_says[name].reshape(matrix.shape)
    np.testing.assert_allclose(matrix, theirs, rtol=0, atol=10 * NUDGE if name in NUDGED else 1e-14)
