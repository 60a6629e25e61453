"""Outcomes drawn from models: their moments, and random effects against lme4's factor."""

from __future__ import annotations

import numpy as np
import pytest
from against_r import ask, relative

from pymer4 import resampling as rs
from pymer4.errors import DataError, ModelWarning, OptionError
from pymer4.fit.distributions import distribution

pytestmark = pytest.mark.numeric

EXACT = 1e-11  # relative: the same sums in another order


@pytest.mark.parametrize(
    ("family", "mu", "how", "variance"),
    [
        ("gaussian", -2.0, {"dispersion": 4.0, "weights": 2.0}, 2.0),
        ("binomial", 0.3, {}, 0.21),
        ("binomial", 0.3, {"weights": 5.0}, 0.042),
        ("poisson", 4.0, {}, 4.0),
        ("gamma", 3.0, {"dispersion": 0.5}, 4.5),
        ("inverse_gaussian", 2.0, {"dispersion": 0.1, "weights": 2.0}, 0.4),
        ("nbinom", 3.0, {"theta": 2.0}, 7.5),
        ("nbinom", 3.0, {"theta": np.inf}, 3.0),
    ],
)
def test_outcomes_have_the_moments_of_their_family(family, mu, how, variance):
    n = 40_000
    how = {name: np.full(n, value) if name == "weights" else value for name, value in how.items()}
    y = rs.simulate_response(3, np.full(n, mu), family, **how)
    squares = (y - mu) ** 2
    assert y.shape == (n,) and abs(y.mean() - mu) < 5 * np.sqrt(variance / n)
    assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(n)


def test_families_under_their_own_names():
    mu = np.full(9, 0.4)
    assert np.array_equal(rs.simulate_gaussian(2, mu, 3.0), rs.simulate_response(2, mu, "gaussian", 3.0))
    assert np.array_equal(
        rs.simulate_binomial(2, mu, mu * 10), rs.simulate_response(2, mu, "binomial", weights=mu * 10)
    )
    assert np.array_equal(rs.simulate_poisson(2, mu), rs.simulate_response(2, mu, distribution("poisson")))
    with pytest.warns(ModelWarning, match="no say"):
        rs.simulate_response(1, mu, "poisson", weights=mu)


STRUCTURES = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", [18], "slope", None),
    "and intercepts": ("Reaction ~ Days + (1 | Days) + (Days | Subject)", [18, 10], ["slope", "intercept"], None),
    "apart": ("Reaction ~ Days + (Days || Subject)", [18, 18], "crossed", None),
    "three": ("Reaction ~ Days + (Days + I(Days^2) | Subject)", [18], [{"type": "slope"}], {"n_effects": [3]}),
}


@pytest.mark.r
@pytest.mark.parametrize("name", STRUCTURES)
def test_random_effects_are_those_of_lme4s_factor(name):
    formula, groups, structure, metadata = STRUCTURES[name]
    script = f"""
    m <- lme4::lFormula({formula}, lme4::sleepstudy)
    answer$theta <- m$reTrms$theta + seq_along(m$reTrms$theta) / seven
    m$reTrms$Lambdat@x <- answer$theta[m$reTrms$Lind]
    answer$L <- as.matrix(Matrix::t(m$reTrms$Lambdat)); answer$Z <- as.matrix(Matrix::t(m$reTrms$Zt))
    """
    told = ask(script, seven=[7.0])
    theta, L, Z = told["theta"], told["L"], told["Z"]
    beta, sigma = [250.0, 10.0, 1.0], 25.0
    design = np.column_stack([np.ones(180), np.tile(np.arange(10.0), 18), np.ones(180)])
    rng = np.random.default_rng(4)
    u = rng.standard_normal(Z.shape[1])
    eta = design @ beta + sigma * Z @ L @ u
    found = rs.simulate_from_lmer(np.random.default_rng(4), design, Z, beta, theta, sigma, groups, structure, metadata)
    assert relative(found, eta + sigma * rng.standard_normal(180)) < EXACT
    small = rs.simulate_from_glmer(
        np.random.default_rng(4), design * 0.01, Z, beta, theta * 0.1, "poisson", groups, structure, metadata
    )
    rng = np.random.default_rng(4)
    u = rng.standard_normal(Z.shape[1])
    assert np.array_equal(small, rng.poisson(np.exp(0.01 * design @ beta + 0.1 * Z @ L @ u)))


def test_a_sparse_design_and_diagonal_effects():
    from scipy.sparse import csc_matrix

    Z = np.kron(np.eye(30), [[1.0, 0], [1, 1], [1, 2]])
    args = ([[1.0]] * 90, Z, [2.0], [0.5, 3.0], 1.0, [30], "diagonal")
    rng = np.random.default_rng(1)
    b = rng.standard_normal(60) * np.tile([0.5, 3.0], 30)
    wanted = 2 + Z @ b + rng.standard_normal(90)
    assert np.allclose(rs.simulate_from_lmer(np.random.default_rng(1), *args), wanted)
    sparse = (args[0], csc_matrix(Z), *args[2:])
    assert np.allclose(rs.simulate_from_lmer(np.random.default_rng(1), *sparse), wanted)


# ------------------------------------------------------------------ what is refused

X = np.ones((40, 3))
REFUSED = [
    (lambda: rs.simulate_response(1, [0.5], "nbinom"), OptionError, "takes theta="),
    (lambda: rs.simulate_response(1, [0.5], distribution("nbinom", 2.0)), OptionError, "Give the name"),
    (lambda: rs.simulate_binomial(1, [0.5, 1.5]), DataError, "mu holds 1.5"),
    (lambda: rs.simulate_binomial(1, [0.5], [1.5]), DataError, "weights holds 1.5, which binomial trials"),
    (lambda: rs.simulate_gaussian(1, [0.5], -1), DataError, "dispersion holds -1"),
    (lambda: rs.simulate_from_lmer(1, X, X, [1, 1, 1], [1.0], 1.0, [2], "intercept"), DataError, r"\(40, 2\)"),
    (lambda: rs.simulate_from_lmer(1, X, X, [1, 1, 1], [1.0], 1.0, [3], "full"), OptionError, "re_structure='full'"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
