"""Contrasts: known values, exact inverses, R's own codings and coefficients, every refusal with its message."""

import doctest
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
from rounding import FACTOR, UNIT, condition

import pymer4
from pymer4 import utils
from pymer4.data import contrasts, factors
from pymer4.data.columns import NA, normalise_column
from pymer4.data.contrasts import R2con, con2R, polynomial, treatment
from pymer4.data.factors import coding, present_levels, with_levels
from pymer4.errors import DataError, OptionError

pytestmark = pytest.mark.numeric

THIRD = 1 / 3
untimed = settings(deadline=None, max_examples=60)


def column(values, **how):
    return normalise_column(pd.Series(values, **how), "g")


ABC = column(["B", "A", "C", None, "A", "B", "C"])
DOSE = column([0.5, 1.0, 2.0, np.nan, 0.5])


def recode(column, coding):
    return with_levels(column, coding.levels, coding.ordered, "g")


def mean_row_above(weights):
    weights = np.atleast_2d(weights)
    return np.vstack([np.full(weights.shape[1], 1 / weights.shape[1]), weights])


@pytest.mark.parametrize("module", [contrasts, factors])
def test_the_examples_in_the_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted >= 4
    assert outcome.failed == 0


def test_the_documented_names_are_these():
    assert (pymer4.con2R, pymer4.R2con) == (con2R, R2con) == (utils.con2R, utils.R2con)


# --- con2R and R2con ---


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


def test_a_list_a_row_an_array_and_a_frame_mean_the_same():
    same = [[1, -0.5, -0.5], [[1, -0.5, -0.5]], np.array([1, -0.5, -0.5]), pd.DataFrame([[1, -0.5, -0.5]])]
    for weights in same:
        np.testing.assert_array_equal(con2R(weights), con2R(same[0]))


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


@untimed
@given(written(), st.randoms(use_true_random=False))
def test_coefficients_are_the_weighted_sums_of_cell_means(weights, random):
    m, k = weights.shape
    means = np.array([random.uniform(-5, 5) for _ in range(k)])
    b = np.linalg.solve(np.column_stack([np.ones(k), con2R(weights)]), means)
    np.testing.assert_allclose(b[0], means.mean(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(b[1 : m + 1], weights @ means, rtol=1e-10, atol=1e-10)


@untimed
@given(written())
def test_the_coding_columns_have_sum_zero(weights):
    matrix = con2R(weights)
    np.testing.assert_allclose(matrix.sum(0) / np.abs(matrix).max(0), 0, atol=1e-10)


@untimed
@given(st.integers(2, 6).flatmap(lambda k: st.lists(st.integers(-3, 3), min_size=k * (k - 1), max_size=k * (k - 1))))
def test_con2r_is_the_inverse_of_r2con_but_for_the_place_of_zero(numbers):
    k = int((1 + np.sqrt(1 + 4 * len(numbers))) / 2)
    matrix = np.array(numbers, dtype=float).reshape(k, k - 1)
    assume(np.linalg.matrix_rank(np.column_stack([np.ones(k), matrix])) == k)
    np.testing.assert_allclose(con2R(R2con(matrix)[1:]), matrix - matrix.mean(0), atol=1e-10)


@untimed
@given(written(), st.randoms(use_true_random=False))
def test_a_new_order_of_contrasts_or_levels_gives_the_same_comparisons(weights, random):
    m, k = weights.shape
    rows, levels = random.sample(range(m), m), random.sample(range(k), k)
    here = con2R(weights)[:, :m]
    scale = np.abs(here).max(0)
    np.testing.assert_allclose((con2R(weights[rows])[:, :m] - here[:, rows]) / scale[rows], 0, atol=1e-10)
    np.testing.assert_allclose((con2R(weights[:, levels])[:, :m] - here[levels]) / scale, 0, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: con2R("abc"), "con2R was given 'abc'. Give rows of finite numbers, all of one length."),
        (lambda: con2R([[1, -1], [1]]), "con2R was given [[1, -1], [1]]. Give rows of finite numbers, all of one"),
        (lambda: con2R([1, -1, None]), "con2R was given [1, -1, None]. Give rows of finite numbers"),
        (lambda: con2R([np.inf, -1]), "con2R was given [inf, -1]. Give rows of finite numbers"),
        (lambda: con2R([[[1, -1]]]), "con2R was given 3 dimensions. Give a row a contrast, a column a level."),
        (lambda: con2R([1]), "Contrasts in con2R: 1, levels: 1. Give two levels or more."),
        (lambda: con2R([]), "Contrasts in con2R: 1, levels: 0. Give two levels or more."),
        (lambda: con2R(np.eye(3)), "Contrasts in con2R: 3, levels: 3. Give 1 to 2; the others are solved for."),
        (lambda: con2R(np.zeros((0, 3))), "Contrasts in con2R: 0, levels: 3. Give 1 to 2; the others are solved"),
        (lambda: con2R([0, 0, 0]), "Contrast 1 of con2R, (0, 0, 0), compares nothing. Give weights that are not all"),
        (lambda: con2R([THIRD] * 3), "is the mean row, which the intercept stands for. Leave it out."),
        (lambda: con2R([[1, -1, 0], [1, -0.33, -0.33]]), "Contrast 2 of con2R, (1, -0.33, -0.33), sums to 0.34."),
        (lambda: con2R([1, -1 + 2e-8]), "sums to 2e-08."),
        (lambda: con2R([1e6, -1e6 - 1]), "sums to -1."),
        (lambda: con2R([[1, -1, 0], [-3, 3, 0]]), "Contrast 2 of con2R, (-3, 3, 0), is a multiple or a sum of those"),
        (lambda: con2R([[1, -1, 0, 0], [0, 1, -1, 0], [1, 0, -1, 0]]), "Contrast 3 of con2R, (1, 0, -1, 0), is a"),
        (lambda: con2R([1, -1], names="ab"), "names is 'ab'. Give a list: one name for each contrast."),
        (lambda: con2R([1, -1], names=[]), "Names in con2R: 0, contrasts: 1. Give one for each."),
        (lambda: con2R([1, -1, 0, 0], names=list("abcd")), "Names in con2R: 4, contrasts: 1. Give one for each, and"),
        (lambda: con2R([1, -1, 0], names=["a", "a"]), "con2R names its contrasts 'a', 'a'. Give each a name of its"),
        (lambda: R2con("abc"), "R2con was given 'abc'. Give rows of finite numbers"),
        (lambda: R2con([[np.nan], [1]]), "R2con was given [[nan], [1]]. Give rows of finite numbers"),
        (lambda: R2con([0, 1]), "R2con was given an array of shape (2,). Give a coding matrix: one row for each level"),
        (lambda: R2con(np.eye(3)), "R2con was given an array of shape (3, 3)."),
        (lambda: R2con(np.zeros((1, 0))), "R2con was given an array of shape (1, 0)."),
        (lambda: R2con([[1, 2], [1, 2], [2, 4]]), "R2con was given columns that depend on each other or on the"),
        (lambda: R2con([[1, 1], [0, 1], [0, 1]]), "R2con was given columns that depend on each other or on the"),
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


# --- families ---


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


@pytest.mark.parametrize("k", [2, 3, 8, 60])
def test_polynomials_are_orthonormal_with_sum_zero_and_end_above_zero(k):
    whole = np.column_stack([np.full(k, k**-0.5), polynomial(k)])
    np.testing.assert_allclose(whole.T @ whole, np.eye(k), atol=1e-13)
    assert (polynomial(k)[-1] > 0).all()


# --- R at hand ---

R_CODE = """
numbers <- function(text) as.numeric(strsplit(text, " ")[[1]])
show <- function(x) cat(sprintf("%.17g", as.vector(x)), "\\n")
for (k in 2:20) show(t(contr.poly(k)))
for (family in list(contr.treatment, contr.sum, contr.helmert, contr.poly)) for (k in 2:6) {
  matrix <- family(k)
  show(t(matrix))
  show(t(solve(cbind(1, matrix))))
}
cat(colnames(contr.poly(6)), "\\n")
for (line in readLines(file("stdin"))) {
  fields <- strsplit(line, ";")[[1]]
  m <- as.integer(fields[1]); k <- as.integer(fields[2])
  given <- matrix(numbers(fields[3]), m, k, byrow = TRUE)
  value <- t(given) %*% solve(given %*% t(given))
  whole <- qr.qy(qr(cbind(1, value)), diag(k))[, 2:k, drop = FALSE]
  whole[, 1:m] <- value
  show(t(whole))
  y <- numbers(fields[5])
  g <- factor(rep(LETTERS[1:k], each = length(y) / k))
  contrasts(g) <- matrix(numbers(fields[4]), k, k - 1, byrow = TRUE)
  show(coef(lm(y ~ g)))
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
EACH = 6

# R settles a tie by rounding. It gets weights that stand off the tie, on the side that counts here.
NUDGE = 1e-7
NUDGED = {"linear of four": [[-3, -1 + NUDGE, 1 - NUDGE, 3]]}


def outcome(name):
    """Return a balanced outcome, EACH rows a level."""
    k = len(CASES[name][0])
    return np.random.default_rng(k).normal(size=EACH * k) + np.repeat(np.arange(k), EACH)


@pytest.fixture(scope="module")
def r_says():
    """Return R's polynomials by k, codings with their inverses, and completed codings and coefficients by case."""
    assert shutil.which("Rscript"), "this test needs R on the PATH"

    def spelled(values):
        return " ".join(repr(float(v)) for v in np.ravel(values))

    asked = "".join(
        f"{len(weights)};{len(weights[0])};{spelled(NUDGED.get(name, weights))};{spelled(con2R(weights))};"
        f"{spelled(outcome(name))}\n"
        for name, weights in CASES.items()
    )
    reply = subprocess.run(["Rscript", "--vanilla", "-e", R_CODE], input=asked, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    lines = reply.stdout.splitlines()
    assert len(lines) == 19 + 2 * 20 + 1 + 2 * len(CASES)
    names = lines.pop(59).split()
    rows = [np.array(line.split(), dtype=float) for line in lines]
    cases = {n: rows[i : i + 2] for n, i in zip(CASES, range(59, len(rows), 2), strict=True)}
    return {"poly": dict(zip(range(2, 21), rows, strict=False)), "codings": rows[19:59], "names": names, "cases": cases}


@pytest.mark.r
@pytest.mark.parametrize("k", range(2, 21))
def test_polynomials_are_those_of_r(k, r_says):
    """R takes the QR of raw powers about the middle, which costs it digits as k grows; the exact values are above."""
    powers = np.vander(np.arange(k) - (k - 1) / 2, k)
    lost = FACTOR * UNIT * condition(powers)
    np.testing.assert_allclose(polynomial(k), r_says["poly"][k].reshape(k, k - 1), rtol=0, atol=lost)


@pytest.mark.r
def test_names_of_polynomials_are_those_of_r(r_says):
    levels = list("ABCDEF")
    assert list(coding("g", levels, column(levels), ordered=True).names) == r_says["names"]
    assert coding("g", ["A", "B"], column(["A", "B"]), ordered=True).names == (".L",)


@pytest.mark.r
def test_the_inverse_of_each_coding_of_r_is_that_of_r(r_says):
    for matrix, inverse in zip(r_says["codings"][::2], r_says["codings"][1::2], strict=True):
        k = int(np.sqrt(len(inverse)))
        matrix, inverse = matrix.reshape(k, k - 1), inverse.reshape(k, k)
        np.testing.assert_allclose(R2con(matrix), inverse, rtol=0, atol=1e-14)
        if np.allclose(matrix.sum(0), 0):
            np.testing.assert_allclose(R2con(matrix)[0], 1 / k, rtol=1e-14)
            np.testing.assert_allclose(con2R(R2con(matrix)[1:]), matrix, rtol=0, atol=1e-14)


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_contrasts_are_completed_as_make_contrasts_does(name, r_says):
    matrix = con2R(CASES[name])
    theirs = r_says["cases"][name][0].reshape(matrix.shape)
    np.testing.assert_allclose(matrix, theirs, rtol=0, atol=10 * NUDGE if name in NUDGED else 1e-14)


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_lm_estimates_the_differences_of_cell_means_that_were_written(name, r_says):
    means = outcome(name).reshape(-1, EACH).mean(1)
    b = r_says["cases"][name][1]
    solved = R2con(con2R(CASES[name]))[1 + len(CASES[name]) :]
    wanted = np.vstack([mean_row_above(CASES[name]), solved]) @ means
    np.testing.assert_allclose(b, wanted, rtol=0, atol=1e-10)


# --- factor specs ---


def test_a_list_is_treatment_coding_against_its_first_level():
    made = coding("g", ["C", "A", "B"], ABC)
    assert (made.levels, made.names, made.ordered, made.requested) == (("C", "A", "B"), ("A", "B"), False, None)
    np.testing.assert_array_equal(made.matrix, treatment(3))


def test_an_ordered_list_is_polynomial_coding():
    made = coding("g", ["C", "A", "B"], ABC, ordered=True)
    assert (made.levels, made.names, made.ordered) == (("C", "A", "B"), (".L", ".Q"), True)
    np.testing.assert_array_equal(made.matrix, polynomial(3))


@pytest.mark.parametrize("ordered", [False, True])
def test_one_contrast_has_the_rest_solved_for(ordered):
    made = coding("g", {"C": 1, "A": -0.5, "B": -0.5}, ABC, ordered=ordered)
    assert (made.levels, made.names, made.ordered) == (("C", "A", "B"), ("1", "2"), False)
    np.testing.assert_array_equal(made.requested, [[1, -0.5, -0.5]])
    np.testing.assert_array_equal(made.matrix, con2R([1, -0.5, -0.5]))


@pytest.mark.parametrize("vector", [list, tuple, np.array, pd.Series])
def test_several_contrasts_stand_in_columns_of_weights(vector):
    made = coding("g", {level: vector(w) for level, w in zip("ABC", [[1, 0], [-1, 0.5], [0, -0.5]], strict=True)}, ABC)
    assert (made.levels, made.names) == (("A", "B", "C"), ("1", "2"))
    np.testing.assert_array_equal(made.requested, [[1, -1, 0], [0, 0.5, -0.5]])
    np.testing.assert_array_equal(made.matrix, con2R([[1, -1, 0], [0, 0.5, -0.5]]))


def test_named_contrasts_keep_their_names_and_need_no_common_order():
    spec = {"first": {"B": -1, "A": 1, "C": 0}, "second": {"A": 0, "C": -THIRD, "B": Fraction(1, 3)}}
    made = coding("g", spec, ABC)
    assert (made.levels, made.names) == (("B", "A", "C"), ("first", "second"))
    np.testing.assert_allclose(made.requested, [[-1, 1, 0], [THIRD, 0, -THIRD]], rtol=1e-15)
    np.testing.assert_allclose(R2con(made.matrix), mean_row_above(made.requested), atol=1e-15)


@pytest.mark.parametrize(("name", "names"), [("lin", ("lin", "2")), ("2", ("2", "3")), (2, ("2", "3"))])
def test_contrasts_that_are_solved_for_are_called_by_their_position(name, names):
    assert coding("g", {name: {"A": -1, "B": 0, "C": 1}}, ABC).names == names


def test_a_single_list_of_one_weight_each_is_one_contrast():
    one = coding("g", {"A": [1], "B": [-1], "C": [0]}, ABC)
    np.testing.assert_array_equal(one.requested, [[1, -1, 0]])


@pytest.mark.parametrize(
    "levels",
    [[2, 0.5, 1], [2.0, 0.5, 1.0], ["2", "0.5", "1"], np.array([2, 0.5, 1]), (2, 0.5, True),
     pd.Series([2, 0.5, 1]), pd.Index([2, 0.5, 1]), [np.int64(2), np.float32(0.5), Fraction(1)]],
)  # fmt: skip
def test_numbers_name_the_levels_of_numbers(levels):
    assert coding("dose", levels, DOSE).levels == ("2", "0.5", "1")


def test_numbers_that_are_written_as_text_keep_their_spelling():
    how = coding("dose", ["2.0", "0.50", "1e0"], DOSE)
    assert how.levels == ("2.0", "0.50", "1e0") and how.names == ("0.50", "1e0")
    np.testing.assert_array_equal(recode(DOSE, how).values, recode(DOSE, coding("dose", [2, 0.5, 1], DOSE)).values)


@pytest.mark.parametrize("values", [[1, 2], [1.0, 2.0], ["1", "2"], pd.Categorical([1, 2]), pd.Categorical([1.0, 2.0])])
@pytest.mark.parametrize("written", [[1, 2], [1.0, 2.0], ["1", "2"]])
def test_one_and_one_point_zero_are_one_level(values, written):
    assert coding("g", written, column(values)).levels == ("1", "2")
    assert coding("g", dict(zip(written, [1, -1], strict=True)), column(values)).levels == ("1", "2")


def test_numbers_name_levels_that_are_text_with_another_spelling():
    assert coding("g", [1, 2], column(["1.0", "2.0"])).levels == ("1.0", "2.0")
    assert coding("g", [1.0, "1.0"], column(["1", "1.0"])).levels == ("1", "1.0")


@pytest.mark.parametrize("written", [[True, False], ["TRUE", "FALSE"], [1, 0], [np.True_, np.False_]])
def test_booleans_are_levels(written):
    made = coding("g", written, column([True, False, None], dtype="boolean"))
    assert (made.levels, made.names) == (("TRUE", "FALSE"), ("FALSE",))
    assert coding("g", [True, False], column([0, 1])).levels == ("1", "0")


def test_a_list_overrides_an_ordered_categorical():
    values = pd.Categorical(["a", "b"], categories=["b", "a"], ordered=True)
    made = coding("g", ["a", "b"], column(values))
    assert (made.levels, made.ordered) == (("a", "b"), False)
    factor = recode(column(values), made)
    assert (factor.levels, factor.ordered, factor.values.tolist()) == (("a", "b"), False, [1, 2])


def test_levels_present_come_in_the_order_of_their_kind():
    unused = pd.Categorical(["z", "b", None], categories=["z", "unused", "b", "a"])
    assert present_levels(column(unused)) == ("z", "b")
    assert present_levels(column([10, 9, -1])) == ("-1", "9", "10")
    assert present_levels(column([True, False])) == ("FALSE", "TRUE")
    assert present_levels(column([np.nan, np.nan])) == ()


# --- recode ---


def labels(factor):
    return [None if code == NA else factor.levels[code - 1] for code in factor.values]


@untimed
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1), st.permutations(["a", "b", "c"]))
def test_recoding_keeps_each_rows_label(values, order):
    data = column(["a", "b", "c", *values])
    factor = recode(data, coding("g", order, data))
    assert (factor.kind, factor.levels, factor.values.dtype) == ("factor", tuple(order), np.int32)
    assert labels(factor) == ["a", "b", "c", *values]


def test_recoding_drops_unused_categories_and_keeps_missing_rows():
    data = column(pd.Categorical(["c", None, "a"], categories=["a", "b", "c"]))
    factor = recode(data, coding("g", ["c", "a"], data))
    assert (factor.levels, factor.values.tolist()) == (("c", "a"), [1, NA, 2])


def test_recoding_turns_numbers_and_booleans_into_factors():
    assert labels(recode(DOSE, coding("dose", [2, 1, 0.5], DOSE))) == ["0.5", "1", "2", None, "0.5"]
    data = column([True, False, None], dtype="boolean")
    assert labels(recode(data, coding("g", [True, False], data))) == ["TRUE", "FALSE", None]


def test_an_ordered_coding_makes_an_ordered_factor():
    assert recode(ABC, coding("g", ["A", "B", "C"], ABC, ordered=True)).ordered


def test_new_data_may_hold_some_of_the_levels_and_no_others():
    made = coding("dose", [2, 1, 0.5], DOSE)
    assert recode(column([1, 1]), made).values.tolist() == [2, 2]
    said = "Column 'g' has the level(s) '3', which the model was not fitted to. It knows: '2', '1', '0.5'."
    with pytest.raises(DataError, match=re.escape(said)):
        recode(column([1, 3]), made)


# --- refusals ---

FORMS = (
    "Give a list of the levels, or {'A': 1, 'B': -1, ..} for one contrast, {'A': [1, 0], 'B': [-1, 1], ..} for "
    "several, {'name': {'A': 1, 'B': -1, ..}, ..} for contrasts with names."
)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ABC", "factors['g'] is 'ABC'. Give a list: the levels 'A', 'B', 'C' in the order you want."),
        (None, "factors['g'] is None. Give a list: the levels 'A', 'B', 'C'"),
        ({"A"}, "factors['g'] is {'A'}. Give a list"),
        (3, "factors['g'] is 3. Give a list"),
        (np.eye(3), "Give a list: the levels"),
        (["A", "B", "D"], "factors['g'] names the level 'D', which the data lack. Their levels are 'A', 'B', 'C'."),
        (["A", "B", "C", 1], "factors['g'] names the level 1, which the data lack. Their levels are 'A', 'B', 'C'."),
        (["A", "B"], "factors['g'] leaves out 'C'. Name every level in the data: 'A', 'B', 'C'. To leave a level out"),
        ([], "factors['g'] leaves out 'A', 'B', 'C'."),
        ({}, "factors['g'] leaves out 'A', 'B', 'C'."),
        (["A", "B", "C", "A"], "factors['g'] names the level 'A' twice. Name each once: 'A', 'B', 'C'."),
        (["A", "B", None], "factors['g'] has None for a level. The levels in the data are 'A', 'B', 'C'."),
        (["A", "B", np.nan], "factors['g'] has nan for a level."),
        (["A", "B", pd.NA], "factors['g'] has <NA> for a level."),
        (["A", ["B", "C"]], "factors['g'] has ['B', 'C'] for a level."),
        ({"A": 1, "B": -1}, "factors['g'] leaves out 'C'. Name every level in the data: 'A', 'B', 'C'. To leave a "
                            "level out of a contrast give it the weight 0"),
        ({"n": {"A": 1, "B": -1}}, "factors['g'] leaves out 'C'."),
        ({"n": {"A": 1, "B": -1, "C": 0}, "m": {"A": 1, "B": 0, "D": -1}}, "factors['g'] names the level 'D'"),
        ({"A": 1, "B": -1, "C": "0"}, "factors['g'] gives the level 'C' the weight '0', which is not a finite number. "
                                       + FORMS),
        ({"A": 1, "B": -1, "C": True}, "gives the level 'C' the weight True, which is not a finite number."),
        ({"A": 1, "B": -1, "C": None}, "gives the level 'C' the weight None"),
        ({"A": 1, "B": -1, "C": np.nan}, "gives the level 'C' the weight nan"),
        ({"A": np.inf, "B": -1, "C": 0}, "gives the level 'A' the weight inf"),
        ({"A": [1, 0], "B": [-1, "x"], "C": [0, 1]}, "gives the level 'B' the weight 'x'"),
        ({"n": {"A": 1, "B": [-1], "C": 0}}, "gives the level 'B' the weight [-1]"),
        ({"A": 1, "B": -1, "C": {"A": 1}}, "gives the level 'C' the weight {'A': 1}"),
        ({"A": [1, 0], "B": [-1], "C": [0, 1]}, "gives the levels different numbers of weights, or none ('A': 2, 'B': "
         "1, 'C': 2). Give each level a number, or each a list of as many as there are contrasts, 1 to 2."),
        ({"A": [1], "B": -1, "C": 0}, "gives the levels different numbers of weights"),
        ({"A": [], "B": [], "C": []}, "gives the levels different numbers of weights, or none ('A': 0, 'B': 0, 'C':"),
        ({"A": [1, 0, 0], "B": [-1, 1, 0], "C": [0, -1, 0]}, "Contrasts in factors['g']: 3, levels: 3. Give 1 to"),
        ({"A": 1, "B": -0.5, "C": -0.4}, "Contrast 1 of factors['g'], (1, -0.5, -0.4), sums to 0.1. Weights sum to 0, "
                                         "as 1, -0.5, -0.5 do; for thirds write 1/3, not 0.33."),
        ({"n": {"A": 1, "B": 1, "C": 0}}, "Contrast 'n' of factors['g'], (1, 1, 0), sums to 2."),
        ({"A": 0, "B": 0, "C": 0}, "Contrast 1 of factors['g'], (0, 0, 0), compares nothing."),
        ({"A": 1, "B": 1, "C": 1}, "Contrast 1 of factors['g'], (1, 1, 1), is the mean row"),
        ({"A": [1, 2], "B": [-1, -2], "C": [0, 0]}, "Contrast 2 of factors['g'], (2, -2, 0), is a multiple or a sum "
         "of those before it. Leave it out, and one that is independent is solved for."),
        ({"": {"A": 1, "B": -1, "C": 0}}, "factors['g'] names its contrasts ''. Give each a name of its own."),
        ({1: {"A": 1, "B": -1, "C": 0}, "1": {"A": 0, "B": -1, "C": 1}}, "factors['g'] names its contrasts '1', '1'."),
    ],
)  # fmt: skip
def test_a_spec_that_does_not_fit_is_refused(spec, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        coding("g", spec, ABC)


@pytest.mark.parametrize(
    ("values", "spec", "said"),
    [
        (["low", "high"], ["low", "hihg"], "Their levels are 'high', 'low'. Did you mean 'high'?"),
        ([0.5, 1.0], [0.5, 2], "factors['g'] names the level 2, which the data lack. Their levels are 0.5, 1."),
        ([0.5, 1.0], [0.5, 1, "1.0"], "factors['g'] names the level 1 twice. Name each once: 0.5, 1."),
        ([0.5, 1.0], {0.5: 1, "0.50": -1}, "factors['g'] names the level 0.5 twice."),
        ([1, 2], {1: 1, 2: "x"}, "gives the level 2 the weight 'x', which is not a finite number. Give a list of the "
                                 "levels, or {1: 1, 2: -1, ..}"),
        ([True, False], [True], "factors['g'] leaves out False. Name every level in the data: False, True."),
        ([True, False], [True, False, 2], "factors['g'] names the level 2, which the data lack. Their levels are"),
        (["1", "2"], ["1", "2.5"], "factors['g'] names the level '2.5', which the data lack."),
        (["1", "2", "2.0"], ["1", "2", "2.00"], "factors['g'] names the level '2.00', which the data lack."),
        (["1.0", "1.00", "2"], [1, 2], "factors['g'] names the level 1, which the data lack."),
        (pd.Categorical(["a", "b"], categories=["a", "b", "c"]), ["a", "b", "c"], "names the level 'c', which the "
         "data lack. Their levels are 'a', 'b'. 'c' is a category without rows."),
        (np.arange(40.0), [1, 2], "leaves out 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, .. (38 in all)."),
    ],
)  # fmt: skip
def test_a_refusal_shows_the_levels_in_the_data(values, spec, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        coding("g", spec, column(values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            ["a", "a", None],
            "Column 'g' has one value only, 'a'. A factor has two levels or more: drop it from factors=.",
        ),
        ([np.nan, np.nan], "Column 'g' has no values, only missing ones. A factor has two levels or more"),
        (pd.Categorical(["a"], categories=["a", "b"]), "Column 'g' has one value only, 'a'."),
    ],
)
def test_a_column_with_one_value_is_no_factor(values, said):
    with pytest.raises(DataError, match=re.escape(said)):
        coding("g", ["a", "b"], column(values))
