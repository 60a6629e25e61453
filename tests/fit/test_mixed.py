"""The deviance engine beside dense algebra, and derivatives beside differences."""

from dataclasses import replace

import numpy as np
import pytest

from pymer4.fit import mixed
from pymer4.fit.mixed_blocks import blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_optimum import newton_step
from pymer4.fit.mixed_outcomes import outcomes
from pymer4.fit.mixed_rest import SparseMap
from pymer4.fit.mixed_scale import factors, given_theta, scaled_theta, theta_derivatives
from pymer4.fit.mixed_terms import Bar
from pymer4.fit.stacks import cholesky, inverse_of_blocks

pytestmark = pytest.mark.numeric

N = 120
rng = np.random.default_rng(11)
x, z, v = rng.normal(3, 2, N), rng.normal(size=N), rng.normal(size=N)
ONE = np.ones((N, 1))
X = np.column_stack([ONE, x, z])
TWO, THREE, FOUR = X[:, :2], X, np.column_stack([X, v])
G, H = rng.integers(0, 9, N), rng.integers(0, 7, N)
INSIDE = np.unique(G * 3 + rng.integers(0, 3, N), return_inverse=True)[1]
EVEN = np.repeat(np.arange(12), 10)
Y = np.column_stack([X @ [1, 2, 3] + rng.normal(size=N) + rng.normal(size=9)[G], rng.normal(size=N), x**2])
WEIGHTS = rng.uniform(0.5, 2, N)


def bar(Z, codes):
    return Bar(Z, codes, int(codes.max()) + 1)


STRUCTURES = {
    "intercept": [bar(ONE, G)],
    "balanced": [bar(ONE, EVEN)],
    "slope": [bar(TWO, G)],
    "three": [bar(THREE, G)],
    "four": [bar(FOUR, G)],
    "uncorrelated": [bar(ONE, G), bar(TWO[:, 1:], G)],
    "crossed": [bar(TWO, G), bar(ONE, H)],
    "crossed slopes": [bar(FOUR, G), bar(THREE, H)],
    "three factors": [bar(FOUR, G), bar(TWO, H), bar(ONE, EVEN)],
    "nested": [bar(TWO, INSIDE), bar(ONE, G)],
    "nested and crossed": [bar(ONE, INSIDE), bar(TWO, G), bar(ONE, H)],
}


class Dense:
    """The definition, with V as it stands."""

    def __init__(self, bars, theta, y, weights=None, reml=True):
        W = np.ones(N) if weights is None else weights
        shape = blocks(X, bars)
        self.parts = []
        for one, L in zip(bars, factors(shape, theta[None]), strict=True):
            Z = np.zeros((N, one.levels, one.Z.shape[1]))
            Z[np.arange(N), one.codes] = one.Z
            self.parts.append((Z.reshape(N, -1), np.kron(np.eye(one.levels), L[0])))
        self.V = np.diag(1 / W) + sum(Z @ L @ L.T @ Z.T for Z, L in self.parts)
        inverse = np.linalg.inv(self.V)
        XVX = X.T @ inverse @ X
        self.b = np.linalg.solve(XVX, X.T @ inverse @ y)
        residual = y - X @ self.b
        r2 = residual @ inverse @ residual
        df = N - 3 * reml
        self.sigma = np.sqrt(r2 / df)
        self.deviance = np.linalg.slogdet(self.V)[1] + df * (1 + np.log(2 * np.pi * r2 / df))
        self.deviance += np.linalg.slogdet(XVX)[1] if reml else 0.0
        self.vcov = self.sigma**2 * np.linalg.inv(XVX)
        self.modes = [(L @ L.T @ Z.T @ inverse @ residual) for Z, L in self.parts]
        Z, L = (np.hstack([part[0] for part in self.parts]), [part[1] for part in self.parts])
        size = sum(len(one) for one in L)
        Lambda, at = np.zeros((size, size)), 0
        for one in L:
            Lambda[at : at + len(one), at : at + len(one)] = one
            at += len(one)
        inner = Lambda.T @ Z.T @ (W[:, None] * Z) @ Lambda + np.eye(size)
        self.mode_covariance = self.sigma**2 * Lambda @ np.linalg.inv(inner) @ Lambda.T


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_fit_is_that_of_the_definition(name, weights, reml):
    bars = STRUCTURES[name]
    fitted = mixed.fit(blocks(X, bars, weights, reml), Y[:, 0])
    dense = Dense(bars, fitted.theta[0], Y[:, 0], weights, reml)
    assert fitted.converged.all()
    np.testing.assert_allclose(fitted.deviance[0], dense.deviance, atol=1e-9)
    np.testing.assert_allclose(fitted.b[0], dense.b, rtol=1e-9)
    np.testing.assert_allclose(fitted.vcov[0], dense.vcov, rtol=1e-7, atol=1e-9 * np.abs(dense.vcov).max())
    np.testing.assert_allclose(fitted.sigma[0], dense.sigma, rtol=1e-9)
    assert np.abs(fitted.gradient[0][fitted.at.theta[0] != 0]).max(initial=0) < 1e-5
    for found, expected in zip(fitted.modes(), dense.modes, strict=True):
        np.testing.assert_allclose(found[0].ravel(), expected, atol=1e-8)
    at = 0
    for found in fitted.mode_covariances():
        _, q, k, _ = found.shape
        for level in range(q):
            expected = dense.mode_covariance[at : at + k, at : at + k]
            np.testing.assert_allclose(found[0, level], expected, atol=1e-9)
            at += k


@pytest.mark.parametrize("name", STRUCTURES)
def test_no_theta_nearby_is_better(name):
    bars = STRUCTURES[name]
    design = blocks(X, bars)
    fitted = mixed.fit(design, Y[:, 0])
    near = fitted.theta + np.random.default_rng(1).normal(size=(200, design.m)) * np.repeat([1e-3, 0.3], 100)[:, None]
    values = Evaluation(design, outcomes(design, Y[:, :1]), scaled_theta(design, near)).deviance
    assert values.min() >= fitted.deviance[0] - 1e-8


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", STRUCTURES)
def test_derivatives_are_those_of_differences(name, reml):
    design = blocks(X, STRUCTURES[name], WEIGHTS, reml)
    many = outcomes(design, Y)
    theta = np.random.default_rng(2).normal(size=(3, design.m))
    at, h = Evaluation(design, many, theta), 1e-5
    for j in range(design.m):
        shift = np.eye(design.m)[j] * h
        up, down = (Evaluation(design, many, theta + side * shift) for side in (1, -1))
        tolerance = 1e-6 * np.abs(at.gradient).max()
        np.testing.assert_allclose(at.gradient[:, j], (up.deviance - down.deviance) / (2 * h), atol=tolerance)
        np.testing.assert_allclose(at.r2_gradient[:, j], (up.r2 - down.r2) / (2 * h), atol=1e-6 * np.abs(at.r2).max())


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_jacobian_of_vcov_is_that_of_differences(name):
    design = blocks(X, STRUCTURES[name])
    fitted = mixed.fit(design, Y[:, 0])
    free = mixed.MixedFit(design, fitted.outcomes, np.full((1, design.m), 0.7), fitted.converged)
    h = 1e-5
    for j in range(design.m):
        shift = np.eye(design.m)[j] * h
        up, down = (
            mixed.MixedFit(design, fitted.outcomes, free.at.theta + side * shift, fitted.converged) for side in (1, -1)
        )
        # sigma is held: only vcov over sigma² moves
        moved = (up.vcov / up.sigma**2 - down.vcov / down.sigma**2) / (2 * h) * free.sigma**2
        np.testing.assert_allclose(free.jacobian[:, j], moved, atol=1e-6 * np.abs(free.vcov).max())


@pytest.mark.parametrize("name", STRUCTURES)
def test_outcomes_side_by_side_are_fitted_as_one_by_one(name):
    design = blocks(X, STRUCTURES[name], WEIGHTS)
    many = mixed.fit(design, Y)
    for r in range(Y.shape[1]):
        one = mixed.fit(design, Y[:, r])
        np.testing.assert_allclose(many.deviance[r], one.deviance[0], atol=2e-8)
        np.testing.assert_allclose(many.b[r], one.b[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(many.coefficient_df()[r], one.coefficient_df()[0], rtol=1e-4)


def test_theta_goes_there_and_back():
    design = blocks(X, STRUCTURES["crossed slopes"])
    theta = np.abs(np.random.default_rng(3).normal(size=(5, design.m)))
    np.testing.assert_allclose(given_theta(design, scaled_theta(design, theta)), theta, rtol=1e-10)


@pytest.mark.parametrize("name", ["crossed slopes", "three", "uncorrelated"])
def test_derivatives_of_theta_are_those_of_differences(name):
    design = blocks(X, STRUCTURES[name])
    theta = np.random.default_rng(5).normal(size=design.m)
    G, h = theta_derivatives(design, theta), 1e-6
    for j in range(design.m):
        shift = h * np.eye(design.m)[j]
        moved = (given_theta(design, (theta + shift)[None]) - given_theta(design, (theta - shift)[None]))[0] / (2 * h)
        np.testing.assert_allclose(G[:, j], moved, atol=1e-6 * np.abs(G).max())


def test_a_variance_of_nothing_is_exactly_nothing():
    r = np.random.default_rng(4).normal(size=N)
    r -= np.bincount(EVEN, r)[EVEN] / 10
    fitted = mixed.fit(blocks(ONE, [bar(ONE, EVEN)]), r)
    assert fitted.theta[0, 0] == 0 and fitted.singular[0]
    assert (fitted.modes()[0] == 0).all()


def test_what_rounding_would_eat_is_refused():
    with pytest.raises(mixed.Unsuited, match=r"engine='R'"):
        mixed.fit(blocks(X, [bar(ONE, G)]), X @ [1.0, 2.0, 3.0])


def test_a_step_onto_a_saddle_is_left_again():
    design = blocks(ONE, [bar(ONE, EVEN)])
    y = rng.normal(size=12)[EVEN] + rng.normal(size=N)
    fitted = mixed.fit(design, y, start=np.zeros(1))
    np.testing.assert_allclose(fitted.theta, mixed.fit(design, y).theta, rtol=1e-6)
    assert fitted.theta[0, 0] > 0.5


def test_means_far_from_zero_cost_no_digits():
    far = X + np.array([0.0, 2000.0, -500.0])
    there = mixed.fit(blocks(far, [bar(far, G)]), Y[:, 0] + 1e5)
    here = mixed.fit(blocks(X, [bar(X, G)]), Y[:, 0])
    np.testing.assert_allclose(there.deviance, here.deviance, atol=1e-9)
    np.testing.assert_allclose(there.b[0, 1:], here.b[0, 1:], rtol=1e-7)


def test_components_of_many_sizes_share_a_few_stacks():
    rng = np.random.default_rng(6)
    sizes = np.r_[np.arange(1, 31), 60]
    inner = np.repeat(np.arange(sizes.sum()), 3)
    outer = np.repeat(np.arange(len(sizes)), sizes)[inner]
    n = len(inner)
    X, one = np.column_stack([np.ones(n), rng.normal(size=n)]), np.ones((n, 1))
    y = rng.normal(size=len(sizes))[outer] + rng.normal(size=sizes.sum())[inner] + rng.normal(size=n)
    third = inner // 2  # joins pairs of inner levels, across some outer ones
    design = blocks(X, [bar(X, inner), bar(X, third), bar(one, outer)])
    assert len(design.rest.stacks) < 20 < len(sizes)
    theta = np.full((1, design.m), 0.4)
    at = Evaluation(design, outcomes(design, y[:, None]), theta)
    Z = []
    for codes, columns in ((inner, X), (third, X), (outer, one)):
        scaled = columns @ design.scales[len(Z)]
        part = np.zeros((n, codes.max() + 1, columns.shape[1]))
        part[np.arange(n), codes] = scaled
        k = columns.shape[1]
        L = np.kron(np.eye(codes.max() + 1), np.tril(np.full((k, k), 0.4)))
        Z.append(part.reshape(n, -1) @ L)
    V = np.eye(n) + sum(part @ part.T for part in Z)
    W = np.linalg.solve(np.linalg.cholesky(V), np.column_stack([X, y]))
    G = W.T @ W
    r2 = G[2, 2] - G[2, :2] @ np.linalg.solve(G[:2, :2], G[:2, 2])
    expected = (
        np.linalg.slogdet(V)[1] + np.linalg.slogdet(G[:2, :2])[1] + (n - 2) * (1 + np.log(2 * np.pi * r2 / (n - 2)))
    )
    np.testing.assert_allclose(at.deviance[0], expected, atol=1e-8)


def test_blocks_multiplied_out_are_those_of_the_map():
    rng = np.random.default_rng(7)
    a, b = np.divmod(np.arange(600), 30)
    Z = np.column_stack([np.ones(600), rng.normal(size=(600, 3))])
    y = rng.normal(size=20)[a] + rng.normal(size=30)[b] + rng.normal(size=600)
    design = blocks(Z, [bar(Z, a), bar(Z[:, :2], b)])
    rest, U = design.rest, len(design.counts)
    mapped = SparseMap.of(*rest.joined, design.distinct, U, rest.starts, len(rest.A22))
    both = [design, replace(design, rest=replace(rest, map=mapped))]
    assert type(both[0].rest.map) is not type(both[1].rest.map)
    at = [Evaluation(one, outcomes(one, y[:, None]), np.full((2, design.m), 0.3)) for one in both]
    np.testing.assert_allclose(at[0].deviance, at[1].deviance, rtol=1e-12)
    np.testing.assert_allclose(at[0].gradient, at[1].gradient, rtol=1e-8)


def test_what_hangs_together_too_widely_is_refused():
    rng = np.random.default_rng(8)
    n = 30_000
    codes = [rng.integers(0, q, n) for q in (9000, 5000)]
    one = np.ones((n, 1))
    with pytest.raises(mixed.Unsuited, match=r"hang together, over 4,000: .* engine='R'"):
        blocks(one, [bar(one, c) for c in codes])


def test_weights_over_twelve_orders_are_right_or_refused():
    weights = 10 ** np.random.default_rng(9).uniform(-6, 6, N)
    fitted = mixed.fit(blocks(X, STRUCTURES["slope"], weights), Y[:, 0])
    dense = Dense(STRUCTURES["slope"], fitted.theta[0], Y[:, 0], weights)
    np.testing.assert_allclose(fitted.deviance[0], dense.deviance, atol=1e-6)
    np.testing.assert_allclose(fitted.b[0], dense.b, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1e-5, 1e6])
def test_df_do_not_hang_on_the_unit_of_the_outcome(unit):
    design = blocks(X, STRUCTURES["slope"])
    here, there = mixed.fit(design, Y[:, 0]), mixed.fit(design, Y[:, 0] * unit)
    np.testing.assert_allclose(there.coefficient_df(), here.coefficient_df(), rtol=1e-6)


def test_many_columns_take_another_way_to_the_same_numbers(monkeypatch):
    few = mixed.fit(blocks(X, STRUCTURES["three"], WEIGHTS), Y)
    monkeypatch.setattr("pymer4.fit.mixed_outcomes._MOMENTS", 0)
    many = mixed.fit(blocks(X, STRUCTURES["three"], WEIGHTS), Y)
    np.testing.assert_allclose(many.deviance, few.deviance, rtol=1e-10)
    np.testing.assert_allclose(many.coefficient_df(), few.coefficient_df(), rtol=1e-5)
    np.testing.assert_allclose(many.modes()[0], few.modes()[0], atol=1e-6)


def test_a_column_that_varies_by_rounding_alone_is_not_centred():
    Z = np.column_stack([ONE, np.full(N, 2.0)])
    fitted = mixed.fit(blocks(ONE, [bar(Z, EVEN)]), rng.normal(size=12)[EVEN] + rng.normal(size=N))
    assert all(np.abs(part).max() < 100 for part in (*fitted.modes(), *fitted.covariances))


def test_what_is_not_positive_definite_has_no_deviance():
    S = np.array([np.eye(5), np.diag([1.0, 1, -1, 1, 1])])
    inverted, logdet = inverse_of_blocks(S)
    assert logdet[0] == 0 and np.isnan(logdet[1]) and np.isnan(inverted[1]).all()
    np.testing.assert_array_equal(np.isnan(cholesky(S)).any(axis=(1, 2)), [False, True])


def test_a_hessian_that_is_not_known_makes_no_step_and_stops_no_other():
    H = np.stack([np.eye(2), np.full((2, 2), np.nan)])
    step, slope = newton_step(H, np.array([[0.1, 0.2], [0.1, 0.2]]), np.ones((2, 2)))
    np.testing.assert_allclose(step[0], [-0.1, -0.2])
    assert np.isnan(step[1]).all() and np.isnan(slope[1])


def test_columns_that_rounding_makes_dependent_are_refused():
    near = np.column_stack([X, X[:, 1] * (1 + 1e-16)])
    with pytest.raises(mixed.Unsuited, match=r"added up, but for rounding.*engine='R'"):
        blocks(near, [bar(ONE, G)])


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_weights_whose_products_are_out_of_range_are_refused(size):
    with pytest.raises(mixed.Unsuited, match=r"weights add up to 1e.*out of a number's range"):
        blocks(X, STRUCTURES["slope"], np.full(N, size))
    assert mixed.fit(blocks(X, STRUCTURES["slope"], np.full(N, size**0.02)), Y[:, 0]).converged.all()
