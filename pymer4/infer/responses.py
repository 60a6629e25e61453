"""Outcomes drawn from generalized models and from mixed ones, as the parametric bootstrap takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pymer4.data.columns import array
from pymer4.data.families import named
from pymer4.errors import DataError, ModelWarning, OptionError, count, issue, items, one_of, shown
from pymer4.fit.distributions import Array, Distribution, link_function
from pymer4.work import Seed, generator

_EFFECTS = {"intercept": 1, "slope": 2, "diagonal": 2}  # of a term among several, unless metadata tells
_CROSSINGS = ("crossed", "nested")  # of random intercepts

_MOST = 1e15  # counts, which numbers have to hold
_TINY = np.nextafter(0, 1)
_RANGES = {"binomial": (0, 1), "gamma": (_TINY, np.inf), "inverse_gaussian": (_TINY, np.inf)}
_RANGES |= dict.fromkeys(["poisson", "nbinom"], (0, _MOST))

_LAWS: dict[str, Callable[[np.random.Generator, Array, Array], Array]] = {
    "gaussian": lambda rng, mu, phi: rng.normal(mu, np.sqrt(phi)),
    "poisson": lambda rng, mu, _: rng.poisson(mu),
    "gamma": lambda rng, mu, phi: rng.gamma(1 / phi, mu * phi),
    "inverse_gaussian": lambda rng, mu, phi: rng.wald(mu, 1 / phi),
}
"""Draws of a mean and a dispersion."""


def simulate_response(
    rng: Seed,
    mu: Any,
    family: str | Distribution,
    dispersion: Any = 1.0,
    weights: Any = None,
    *,
    theta: Any = None,
) -> Array:
    """Draw an outcome for each mean; a binomial one is a proportion, whose trials are the weights.

    Args:
        rng: a seed, or a Generator, which moves on.
        mu: means on the scale of the outcome, shape (n,).
        family: gaussian, binomial, poisson, gamma, inverse_gaussian or nbinom, or its record.
        dispersion: φ in the variance φ V(mu), such as σ² of gaussian outcomes, one for all or one a row.
        weights: trials, shape (n,), by default 1; in families with a dispersion divide it, and else have no say, as in
            R's `simulate`.
        theta: size of the negative binomial, whose variance is mu + mu²/theta, one for all or one a row.

    Raises:
        OptionError: a family that there is not, or nbinom without theta.
        DataError: means, dispersions or weights that the family can't have.

    Warns:
        ModelWarning: weights of counts.

    Examples:
        >>> simulate_response(1, [0.2, 0.9], "binomial", weights=[10, 10]).round(1).tolist()
        [0.1, 0.6]
    """
    draw, name = generator(rng), named(family)[0]
    mu, phi = array("mu", mu, ...), array("dispersion", dispersion, ...)
    w = np.ones(mu.shape) if weights is None else array("weights", weights, *mu.shape)
    low, high = _RANGES.get(name, (-np.inf, np.inf))
    _require("mu", mu, (low <= mu) & (mu <= high), name)
    if name == "binomial":
        _require("weights", w, (w >= 0) & (w <= _MOST) & (w == np.round(w)), "binomial trials")
        return np.asarray(draw.binomial(w.astype(np.int64), mu) / np.maximum(w, 1))
    _require("weights", w, w > 0, name)
    if name == "nbinom":
        size = array("theta", np.nan if theta is None else theta, ..., missing=True)
        size = array("theta", size, *(mu.shape if size.ndim else ()), missing=True)
        if not (size > 0).all():
            raise OptionError(f"family='nbinom' takes theta=, its size, above 0; it is {shown(theta)}.")
        _require("mu", mu, mu <= _MOST * np.minimum(size, 1.0), f"nbinom with theta={shown(theta)}")
        known = np.where(np.isinf(size), 1.0, size)
        mu, name = np.where(np.isinf(size), mu, draw.gamma(known, mu / known)), "poisson"
    if name == "poisson" and weights is not None:
        issue("Weights of counts have no say in what is drawn.", ModelWarning)
    phi = array("dispersion", phi, *(mu.shape if phi.ndim else ()))
    _require("dispersion", phi, (phi > 0) | ((phi == 0) & (name == "gaussian")), name)
    return np.asarray(_LAWS[name](draw, mu, phi / w), dtype=float)


def simulate_gaussian(rng: Seed, mu: Any, dispersion: Any) -> Array:
    """Draw normal outcomes of means, shape (n,), with the variance `dispersion`; see `simulate_response`.

    Raises:
        DataError: what is no number, or a negative variance.

    Examples:
        >>> simulate_gaussian(1, [1.0, 2.0], 0.0).tolist()
        [1.0, 2.0]
    """
    return simulate_response(rng, mu, "gaussian", dispersion)


def simulate_binomial(rng: Seed, mu: Any, weights: Any = None) -> Array:
    """Draw proportions of probabilities, shape (n,), in `weights` trials, by default one; see `simulate_response`.

    Raises:
        DataError: probabilities outside [0, 1], or trials that are no whole numbers.

    Examples:
        >>> simulate_binomial(1, [0.0, 1.0, 1.0], [1, 2, 3]).tolist()
        [0.0, 1.0, 1.0]
    """
    return simulate_response(rng, mu, "binomial", weights=weights)


def simulate_poisson(rng: Seed, mu: Any) -> Array:
    """Draw counts of rates, shape (n,), as floats; see `simulate_response`.

    Raises:
        DataError: rates below 0.

    Examples:
        >>> simulate_poisson(1, [0.0, 3.0, 300.0]).shape
        (3,)
    """
    return simulate_response(rng, mu, "poisson")


def simulate_from_lmer(
    rng: Seed,
    X: Any,
    Z: Any,
    beta: Any,
    theta: Any,
    sigma: float,
    n_groups_list: Sequence[int],
    re_structure: Any,
    metadata: Mapping[str, Any] | None = None,
) -> Array:
    """Draw the outcomes of a linear mixed model, X beta + Z b + e with b ~ N(0, σ²ΛΛ') and e ~ N(0, σ²I).

    Z has the order of lme4: term after term, in a term group after group, in a group effect after effect. Λ is then
    diagonal in blocks, a lower triangle T for each group of a term, filled from theta column by column.

    Args:
        rng: a seed, or a Generator, which moves on.
        X: design of the fixed effects, shape (n, p).
        Z: design of the random effects, shape (n, q), a matrix or a sparse one.
        beta: fixed effects, shape (p,).
        theta: elements of the triangles, term after term, relative to sigma.
        sigma: residual standard deviation.
        n_groups_list: groups of each term.
        re_structure: `"intercept"`, `"slope"` (T is full) or `"diagonal"`, one for all terms or one for each, as text
            or as `{"type": text}`; `"crossed"` and `"nested"` are intercepts. `(x || g)` is two terms of intercepts.
        metadata: `{"n_effects": [...]}`, the effects of each term, where there are others beside a term with more than
            an intercept and one slope. Other keys have no say.

    Raises:
        OptionError: another structure.
        DataError: arrays that don't fit together.

    Examples:
        >>> X, Z = np.ones((4, 1)), np.kron(np.eye(2), np.ones((2, 1)))
        >>> y = simulate_from_lmer(1, X, Z, [10.0], [2.0], 0.5, [2], "intercept")
        >>> y.shape, bool(abs(y - 10).max() < 5)
        ((4,), True)
    """
    draw, sigma = generator(rng), float(array("sigma", sigma))
    if sigma < 0:
        raise DataError(f"sigma={sigma} is negative, which no standard deviation is.")
    fixed, random = _parts(draw, X, Z, beta, theta, n_groups_list, re_structure, metadata)
    return fixed + sigma * (random + draw.standard_normal(len(fixed)))


def simulate_from_glmer(
    rng: Seed,
    X: Any,
    Z: Any,
    beta: Any,
    theta: Any,
    family: str | Distribution,
    n_groups_list: Sequence[int],
    re_structure: Any,
    metadata: Mapping[str, Any] | None = None,
    weights: Any = None,
    *,
    link: str | None = None,
    dispersion: Any = 1.0,
) -> Array:
    """Draw the outcomes of a generalized mixed model, whose linear predictor is X beta + Z b with b ~ N(0, ΛΛ').

    Args:
        rng: as all up to `theta`, and those on the groups, in `simulate_from_lmer`.
        X: fixed design, shape (n, p).
        Z: random design, shape (n, q).
        beta: shape (p,).
        theta: elements of Λ.
        family: as `dispersion` and `weights` in `simulate_response`.
        n_groups_list: groups of each term.
        re_structure: of the terms.
        metadata: more of it.
        weights: trials.
        link: by default that of the family.
        dispersion: φ.

    Raises:
        OptionError: a structure, family or link that there is not; nbinom, whose theta has no place here.
        DataError: arrays that don't fit together.

    Examples:
        >>> X, Z = np.ones((4, 1)), np.kron(np.eye(2), np.ones((2, 1)))
        >>> set(simulate_from_glmer(1, X, Z, [0.0], [1.0], "binomial", [2], "intercept").tolist()) <= {0.0, 1.0}
        True
    """
    draw, (name, link) = generator(rng), named(family, link)
    fixed, random = _parts(draw, X, Z, beta, theta, n_groups_list, re_structure, metadata)
    eta, g = fixed + random, link_function(link)
    if not g.legal(eta).all():
        raise DataError(f"The linear predictor {eta[~g.legal(eta)][0]:g} is none that link {link!r} has a mean for.")
    return simulate_response(draw, g.inverse(eta), name, dispersion, weights)


def _parts(
    rng: np.random.Generator, X: Any, Z: Any, beta: Any, theta: Any, groups: Any, structure: Any, metadata: Any
) -> tuple[Array, Array]:
    """Return X beta and Z Λ u of a standard normal u, each shape (n,)."""
    from scipy.sparse import issparse

    X = array("X", X, None, None)
    Z = Z if issparse(Z) else array("Z", Z, len(X), None)
    beta, theta = array("beta", beta, X.shape[1]), array("theta", theta, None)
    n_groups = [count("n_groups_list", n) for n in _listed("n_groups_list", groups)]
    kinds = _kinds(structure, len(n_groups))
    sizes = _sizes(kinds, n_groups, Z.shape[1], metadata)
    lengths = [k if kind == "diagonal" else k * (k + 1) // 2 for kind, k in zip(kinds, sizes, strict=True)]
    columns = sum(n * k for n, k in zip(n_groups, sizes, strict=True))
    if Z.shape != (len(X), columns) or len(theta) != sum(lengths):
        raise DataError(
            f"{n_groups} groups with {sizes} effects take a Z of shape ({len(X)}, {columns}) and {sum(lengths)} "
            f"numbers in theta. Z has shape {Z.shape}, theta {len(theta)} numbers; metadata={{'n_effects': [...]}} "
            "tells the effects of each term."
        )
    b = []
    for kind, n, k, own in zip(kinds, n_groups, sizes, np.split(theta, np.cumsum(lengths)[:-1]), strict=True):
        T = np.zeros((k, k))
        T.T[np.diag_indices(k) if kind == "diagonal" else np.triu_indices(k)] = own
        b.append((rng.standard_normal((n, k)) @ T.T).ravel())
    return X @ beta, Z @ np.concatenate(b)


def _kinds(structure: Any, n_terms: int) -> list[str]:
    """Return intercept, slope or diagonal for each term."""
    given = [structure] * n_terms if isinstance(structure, (str, Mapping)) else _listed("re_structure", structure)
    if len(given) != n_terms:
        raise DataError(f"re_structure has {len(given)} terms, n_groups_list {n_terms}.")
    told = [one.get("type") if isinstance(one, Mapping) else one for one in given]
    told = [one_of("re_structure", one, (*_EFFECTS, *_CROSSINGS)) for one in told]
    return ["intercept" if one in _CROSSINGS else str(one) for one in told]


def _sizes(kinds: list[str], n_groups: list[int], columns: int, metadata: Mapping[str, Any] | None) -> list[int]:
    """Return the number of effects of each term; of the only one with slopes what the others leave of the columns."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise OptionError(f"metadata={shown(metadata)} has to be a dict, such as {{'n_effects': [1, 3]}}.")
    if metadata and "n_effects" in metadata:
        told = [count("n_effects", k) for k in _listed("n_effects", metadata["n_effects"])]
        if len(told) != len(kinds):
            raise DataError(f"metadata tells the n_effects of {len(told)} terms, n_groups_list has {len(kinds)}.")
        return told
    sizes = [_EFFECTS[kind] for kind in kinds]
    sloped = [i for i, kind in enumerate(kinds) if kind != "intercept"]
    if len(sloped) == 1:
        rest = sum(n for n, kind in zip(n_groups, kinds, strict=True) if kind == "intercept")
        sizes[sloped[0]] = max(1, (columns - rest) // n_groups[sloped[0]])
    return sizes


def _listed(argument: str, given: Any) -> list[Any]:
    found = items(given)
    if not found:
        raise OptionError(f"{argument}={shown(given)} has to be a list with one entry for each random-effects term.")
    return found


def _require(argument: str, values: Array, legal: Array, what: str) -> None:
    if not legal.all():
        raise DataError(f"{argument} holds {values[~legal].ravel()[0]:g}, which {what} can't have.")
