"""Profiles of the deviance engine: gradients beside differences, and points beside the model that they stand for."""

import numpy as np
import pytest

from pymer4.fit import mixed
from pymer4.fit.mixed_profile import _Model, profiles
from pymer4.fit.mixed_terms import Bar

pytestmark = pytest.mark.numeric

N = 150
rng = np.random.default_rng(4)
X = np.column_stack([np.ones(N), rng.normal(3, 2, N)])
Z = np.column_stack([X, rng.normal(1, 1, N)])
G, H = rng.integers(0, 12, N), rng.integers(0, 8, N)
Y = X @ [1.0, 0.5] + (Z * rng.normal(size=(12, 3))[G]).sum(axis=1) + rng.normal(size=8)[H] + rng.normal(size=N)
BARS = [Bar(Z, G, 12), Bar(np.ones((N, 1)), H, 8)]
WEIGHTS = rng.uniform(0.5, 2, N)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_a_point_has_the_slope_and_the_deviance_of_its_model(weights):
    model = _Model(X, BARS, Y, weights)
    base = mixed.fit(model.blocks, Y)
    held = list(model.held(base, random=True, fixed=False))
    assert len(held) == 8
    for number, one in enumerate(held):
        value = np.array([0.8 * one.estimate + 0.05])
        x = one.start[None] + np.random.default_rng(number).normal(0, 0.05, (1, len(one.start)))
        deviance, slopes = one.surface(value, x)
        h = 1e-5
        for j, slope in enumerate(slopes()[0]):
            shift = h * np.eye(x.shape[1])[j]
            up, down = (one.surface(value, x + side * shift)[0][0] for side in (1, -1))
            assert slope == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-4)
        at = mixed.at(model.blocks, Y, one.theta(float(value[0]), x[0]))
        if number in (1, 2, 4):  # correlations leave sigma at its best
            assert at.deviance[0] == pytest.approx(deviance[0], abs=1e-8)
            sd = np.sqrt(np.diagonal(at.covariances[0][0]))
            first, second = {1: (0, 1), 2: (0, 2), 4: (1, 2)}[number]
            assert at.covariances[0][0][first, second] / sd[first] / sd[second] == pytest.approx(value[0])
        else:
            assert at.deviance[0] <= deviance[0] + 1e-8


def test_limits_are_roots_and_a_trace_goes_beyond_them():
    found, better = profiles(X, BARS[1:], Y, None, 2.0, 6, (True, True), lambda: None)
    assert not better and len(found) == 4
    for part in found:
        assert (np.diff(part.values) > 0).all() and (np.diff(part.zeta) > 0).all()
        at, ends = np.interp(part.limits, part.values, part.zeta), part.limits == 0
        np.testing.assert_allclose(at[~ends], np.array([-np.sqrt(2), np.sqrt(2)])[~ends], atol=0.02)
    assert found[0].limits[0] == 0  # of a standard deviation that may be nothing
    model = _Model(X, BARS[1:], Y, None)
    slope = model.X[:, 1]
    for limit in found[3].limits:
        rest = mixed.fit(_Model(X[:, :1], BARS[1:], Y, None).blocks, Y - limit * slope)
        assert rest.deviance[0] - mixed.fit(model.blocks, Y).deviance[0] == pytest.approx(2, abs=1e-5)
