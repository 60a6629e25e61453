"""Many outcomes of one design: cases, shared starts, and fits beside those of one outcome at a time."""

import numpy as np
import pytest

from pymer4.fit import mixed
from pymer4.fit import mixed_many as many
from pymer4.fit.mixed_blocks import blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_outcomes import outcomes
from pymer4.fit.mixed_start import shared_deviance
from pymer4.fit.mixed_terms import Bar
from pymer4.infer.many import Counts

pytestmark = pytest.mark.numeric

N, R = 120, 40
rng = np.random.default_rng(3)
x = rng.normal(3, 2, N)
ONE = np.ones((N, 1))
X = np.column_stack([ONE, x, rng.normal(size=N)])
G, H = rng.integers(0, 9, N), rng.integers(0, 7, N)
WEIGHTS = rng.uniform(0.5, 2, N)
LEVELS = rng.normal(size=(9, R))[G] * rng.choice([0, 0.1, 1], R)
Y = 1 + x[:, None] * rng.normal(size=R) + LEVELS + rng.normal(size=(7, R))[H] + rng.normal(size=(N, R))


def bar(Z, codes):
    return Bar(Z, codes, int(codes.max()) + 1)


STRUCTURES = {
    "intercept": [bar(ONE, G)],
    "slope": [bar(X[:, :2], G)],
    "crossed": [bar(ONE, G), bar(ONE, H)],
    "crossed slopes": [bar(X[:, :2], G), bar(X[:, :2], H)],
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_outcomes_side_by_side_have_the_optimum_of_each(name, weights):
    design = many.Design(X, tuple(STRUCTURES[name]), True)
    of = many.case(design, np.zeros(N, dtype=bool))
    found = many.fit_case(of, weights, Y, True)
    whole = blocks(X, design.bars, weights)
    assert not (found.flags & ~many.SINGULAR).any()
    for r in range(0, R, 4):
        one = mixed.fit(whole, Y[:, r])
        np.testing.assert_allclose(found.log_likelihood[r], -one.deviance[0] / 2, atol=1e-7)
        np.testing.assert_allclose(found.b[r], one.b[0], atol=1e-5 * found.se[r].max())
        np.testing.assert_allclose(found.df[r], one.coefficient_df()[0], rtol=1e-3)


@pytest.mark.parametrize("name", ["slope", "crossed"])
def test_a_shared_theta_has_the_deviance_of_each_outcome(name):
    design = blocks(X, STRUCTURES[name], WEIGHTS)
    theta = np.random.default_rng(4).uniform(0.1, 2, (5, design.m))
    found = shared_deviance(design, outcomes(design, Y), theta)
    each = np.array([Evaluation(design, outcomes(design, Y), np.tile(one, (R, 1))).deviance for one in theta])
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(each, axis=0), atol=1e-8)


def test_outcomes_with_the_same_gaps_and_weights_are_one_case():
    gaps = Y[:, :6].copy()
    gaps[:4, [1, 4]] = gaps[7, 5] = np.nan
    gaps[:, 2], gaps[3, 3] = 5.0, np.inf
    found = many.cases(gaps)
    assert found.of.tolist() == [0, 1, 0, 0, 1, 2] and found.missing.sum(axis=1).tolist() == [0, 4, 1]
    assert found.flags.tolist() == [0, 0, many.CONSTANT, many.INFINITE, 0, 0]
    assert found.order.tolist() == [0, 1, 4, 5]
    assert found.items(1).tolist() == [
        [0, 0, 1],
        [1, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
    ]
    weights = np.tile(WEIGHTS[:, None], 6)
    weights[5, 4], weights[2, 0] = 3.0, np.nan
    both = many.cases(gaps, weights)
    assert both.of.tolist() == [0, 1, 2, 2, 3, 4]
    assert both.weights_of(3, np.array([5])) == 3.0 and both.missing[0].tolist() == (np.arange(N) == 2).tolist()


def test_a_case_tells_the_coefficients_that_its_rows_do():
    cell = np.eye(3)[np.arange(N) % 3]
    design = many.Design(np.column_stack([ONE, x, cell[:, 1:]]), (bar(ONE, G),), True)
    of = many.case(design, cell[:, 0] == 1)
    assert of.told.tolist() == [False, True, False, False] and of.design.X.shape == (80, 3)
    assert many.case(design, cell[:, 2] == 1).told.tolist() == [True, True, True, False]
    assert many.case(design, G > 0).flag == many.TOO_FEW


def test_p_against_the_largest_are_those_of_the_definition():
    maxima, observed = rng.normal(size=(50, 2)), rng.normal(size=(R, 2))
    maxima[:, 1] = np.nan
    observed[3, 0] = np.nan
    p = Counts(np.zeros((R, 2)), np.zeros((R, 2)), np.abs(maxima), np.empty((50, 2, 0))).adjusted_p(observed)
    for r in set(range(R)) - {3}:
        assert p[r, 0] == (1 + (np.abs(maxima[:, 0]) >= abs(observed[r, 0])).sum()) / 51
    assert np.isnan(p[:, 1]).all() and np.isnan(p[3, 0])
