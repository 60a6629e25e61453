"""Where the search for one outcome begins: the equations of moments with dense matrices, and balanced designs."""

import numpy as np
import pytest
from test_mixed import EVEN, INSIDE, ONE, STRUCTURES, WEIGHTS, G, H, N, X, Y, bar

from pymer4.fit import mixed
from pymer4.fit.mixed_blocks import blocks
from pymer4.fit.mixed_moments import moment_start
from pymer4.fit.mixed_outcomes import outcomes
from pymer4.fit.mixed_scale import given_theta

pytestmark = pytest.mark.numeric


def dense(bars, scales, y, weights):
    """Return theta of the scaled columns from tr(QV_iQV_j) s_j = e'V_ie, each V_i and Q as it stands."""
    root = np.ones(N) if weights is None else np.sqrt(weights)
    basis = np.linalg.qr(root[:, None] * X)[0]
    Q = np.eye(N) - basis @ basis.T
    e = Q @ (root * y)
    share_a_factor = all(np.array_equal(one.codes, bars[0].codes) for one in bars)
    V, places = [], []
    for b, one in enumerate(bars):
        Z, same = root[:, None] * (one.Z @ scales[b]), one.codes[:, None] == one.codes
        for c in range(Z.shape[1]):
            for r in range(c, Z.shape[1]):
                if r == c or share_a_factor:
                    across = np.outer(Z[:, r], Z[:, c]) * same
                    V.append(across if r == c else across + across.T)
                    places.append((b, r, c))
    QV = [Q @ part for part in (*V, np.eye(N))]
    M = np.array([[np.sum(one * other.T) for other in QV] for one in QV])
    s = np.linalg.solve(M, [e @ part @ e for part in (*V, np.eye(N))])
    relative = s[:-1] / max(s[-1], 0.05 * (e @ e) / N)
    theta = []
    for b, one in enumerate(bars):
        k = one.Z.shape[1]
        C = np.zeros((k, k))
        for (of, r, c), value in zip(places, relative, strict=True):
            if of == b:
                C[r, c] = C[c, r] = value
        values, axes = np.linalg.eigh(C)
        L = np.linalg.cholesky(axes @ np.diag(np.clip(values, 0.01, 100)) @ axes.T)
        theta += [L[r, c] for c in range(k) for r in range(c, k)]
    return np.array(theta)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_search_begins_where_moments_equal_their_expectations(name, weights):
    shape = blocks(X, STRUCTURES[name], weights)
    for y in Y.T:
        found = moment_start(shape, outcomes(shape, y[:, None]))
        wanted = dense(STRUCTURES[name], shape.scales, y, weights)
        assert found.shape == (1, shape.m)
        np.testing.assert_allclose(found[0], wanted, rtol=1e-6, atol=1e-6)


BALANCED = {"one factor": [bar(ONE, EVEN)], "two factors": [bar(ONE, EVEN), bar(ONE, np.tile(np.arange(10), 12))]}


@pytest.mark.parametrize("name", BALANCED)
def test_in_a_balanced_design_that_is_the_optimum(name):
    made = np.random.default_rng(5)
    y = made.normal(size=N) + made.normal(size=12)[EVEN] + made.normal(size=10)[np.tile(np.arange(10), 12)]
    shape = blocks(ONE, BALANCED[name])
    start = given_theta(shape, moment_start(shape, outcomes(shape, y[:, None])))
    np.testing.assert_allclose(start, mixed.fit(shape, y).theta, rtol=1e-6)


@pytest.mark.parametrize("codes", [G, H, INSIDE])
@pytest.mark.parametrize("spread", [0.0, 1e6])
def test_it_begins_within_bounds_where_there_is_no_variance_or_little_else(codes, spread):
    made = np.random.default_rng(6)
    y = made.normal(size=N) + spread * made.normal(size=codes.max() + 1)[codes]
    shape = blocks(X, [bar(ONE, codes)])
    found = moment_start(shape, outcomes(shape, y[:, None]))
    assert 0.1 * (1 - 1e-12) <= found.item() <= 10 * (1 + 1e-12)
