"""Data from known models: predictors with given correlations, linear and logistic models, with groups or without.

Everything random comes from `seed`; NumPy's global state is neither used nor touched.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4.data.columns import LARGEST_FLOAT, real_array
from pymer4.errors import ModelWarning, OptionError, also_spelled, count, issue, one_of, shown, truth
from pymer4.statistics.psd import isPSD, nearestPSD, symmetric_matrix
from pymer4.statistics.samples import numbers
from pymer4.work import Seed, generator

__all__ = ["easy_multivariate_normal", "simulate_lm", "simulate_lmm"]

_MOST = 10**9  # numbers that data, or a matrix of correlations, have: eight gigabytes

Family = Literal["gaussian", "binomial"]
"""Families that data can be simulated from."""


@also_spelled(forcePD="forcePSD")
def easy_multivariate_normal(
    num_obs: int,
    num_features: int,
    corrs: Any,
    mu: Any = 0.0,
    sigma: Any = 1.0,
    seed: Seed = None,
    forcePSD: bool = True,
    return_new_corrs: bool = False,
    nit: int = 100,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Draw from a multivariate normal distribution that is given by its correlations.

    The covariance is SD·R·SD. Correlations that no variables can have together are moved to the nearest ones that
    are possible, and a warning says how far.

    Args:
        num_obs: rows.
        num_features: columns, k.
        corrs: correlations of the columns: one for all pairs; the k(k - 1)/2 above the diagonal, row after row (for
            three columns 12, 13, 23); or the matrix, shape (k, k).
        mu: means, one for all or one a column.
        sigma: standard deviations, one for all or one a column.
        seed: a whole number, or a NumPy Generator, for draws that can be repeated.
        forcePSD: use the nearest possible correlations where those asked for are impossible; False raises an error.
        return_new_corrs: return the correlation matrix that was used as well.
        nit: most iterations in the search for it; see `nearestPSD`.

    Returns:
        Draws, shape (num_obs, num_features); with `return_new_corrs` also the correlations, shape (k, k).

    Raises:
        OptionError: sizes, correlations or moments that don't fit together, or are impossible.

    Warns:
        ModelWarning: the correlations were moved.
        ConvergenceWarning: `nit` iterations did not find the nearest.

    Examples:
        >>> X = easy_multivariate_normal(500, 2, 0.6, mu=[0, 10], sigma=[1, 2], seed=1)
        >>> X.shape, bool(abs(np.corrcoef(X.T)[0, 1] - 0.6) < 0.1)
        ((500, 2), True)
    """
    num_obs, num_features = count("num_obs", num_obs, most=_MOST), count("num_features", num_features)
    _require_room(num_obs, "num_features", num_features)
    force, return_corrs = truth("forcePSD", forcePSD), truth("return_new_corrs", return_new_corrs)
    R = _possible(_correlations(corrs, num_features), force, nit)
    means, sds = _per_column("mu", mu, num_features), _spreads("sigma", sigma, num_features)
    # The symmetric root is unique, so one seed gives one sample whatever signs a library gives to eigenvectors.
    values, vectors = np.linalg.eigh(R)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    draws = means + (generator(seed).standard_normal((num_obs, num_features)) @ root) * sds
    return (draws, R) if return_corrs else draws


def simulate_lm(
    num_obs: int,
    num_coef: int,
    coef_vals: Any = None,
    corrs: Any = None,
    mus: Any = 0.0,
    sigmas: Any = 1.0,
    noise_params: tuple[float, float] = (0, 1),
    family: Family = "gaussian",
    seed: Seed = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Simulate the data of a linear or logistic regression.

    Gaussian: DV = Xb + noise, the noise normal. Binomial: DV is 1 where Xb + noise > 0, the noise logistic, which with
    `noise_params=(0, 1)` is the logistic regression with coefficients b: P(DV = 1) = plogis(Xb). A location m
    and a scale s give (b₀ + m)/s for the intercept and b/s for the others; s = 0 leaves no chance at all.

    Args:
        num_obs: rows.
        num_coef: predictors; the intercept is not counted, and 0 leaves it alone.
        coef_vals: intercept and one coefficient a predictor; None draws them from the standard normal distribution.
        corrs: correlations of the predictors, as in `easy_multivariate_normal`; None for independent ones.
        mus: means of the predictors, one for all or one a predictor.
        sigmas: standard deviations of the predictors, likewise.
        noise_params: mean and standard deviation of the noise; location and scale in the binomial family.
        family: `"gaussian"` or `"binomial"`.
        seed: a whole number, or a NumPy Generator, for data that can be repeated. One seed gives the same predictors
            whatever coefficients, noise and family are.

    Returns:
        Data with the columns DV, IV1, IV2, ..., and the coefficients, shape (num_coef + 1,), intercept first.

    Raises:
        OptionError: sizes or values that don't fit together, or are impossible.

    Warns:
        ModelWarning: impossible correlations were moved; see `easy_multivariate_normal`.

    Examples:
        >>> data, b = simulate_lm(200, 2, coef_vals=[10, 2, -1], corrs=0.3, seed=1)
        >>> list(data.columns), b.tolist()
        (['DV', 'IV1', 'IV2'], [10.0, 2.0, -1.0])
    """
    rows, num_coef = _size(num_obs, num_coef)
    location, scale = _noise(noise_params, family)
    rng = generator(seed)
    X = _predictors(rng, rows, num_coef, corrs, mus, sigmas)
    b = _coefficients(rng, coef_vals, num_coef)
    noise = location + scale * _standard(rng, rows, family)
    return _frame(b[0] + X @ b[1:] + noise, X, family), b


def simulate_lmm(
    num_obs: int,
    num_coef: int,
    num_grps: int,
    coef_vals: Any = None,
    corrs: Any = None,
    grp_sigmas: Any = 0.25,
    mus: Any = 0.0,
    sigmas: Any = 1.0,
    noise_params: tuple[float, float] = (0, 1),
    family: Family = "gaussian",
    seed: Seed = None,
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Simulate the data of a linear or logistic mixed model with random intercepts and slopes.

    Each group has coefficients of its own, independent normal ones about the population's. Within a group the data
    are those of `simulate_lm`; every group draws predictors of its own.

    Args:
        num_obs: rows in each group.
        num_coef: predictors; the intercept is not counted.
        num_grps: groups.
        coef_vals: intercept and one coefficient a predictor, of the population; None draws them from the standard
            normal distribution.
        corrs: correlations of the predictors, as in `simulate_lm`; the arguments from `mus` on are those of it too.
        grp_sigmas: standard deviations of the groups' coefficients, one for all or one a coefficient, intercept first.
        mus: means of the predictors.
        sigmas: standard deviations of the predictors.
        noise_params: mean and standard deviation of the noise.
        family: `"gaussian"` or `"binomial"`.
        seed: a whole number, or a NumPy Generator.

    Returns:
        Data with the columns DV, IV1, IV2, ..., Group (1, 2, ...), rows in the order of the groups; the groups'
        coefficients, a frame with the columns Intercept, IV1, ... and the index Grp1, Grp2, ...; and the
        population's, shape (num_coef + 1,).

    Raises:
        OptionError: sizes or values that don't fit together, or are impossible.

    Warns:
        ModelWarning: impossible correlations were moved; see `easy_multivariate_normal`.

    Examples:
        >>> data, blups, b = simulate_lmm(20, 2, 10, coef_vals=[5, 1, -1], grp_sigmas=[1, 0.5, 0], seed=1)
        >>> data.shape, list(blups.columns), blups.index[0]
        ((200, 4), ['Intercept', 'IV1', 'IV2'], 'Grp1')
    """
    rows, num_coef = _size(num_obs, num_coef, num_grps)
    location, scale = _noise(noise_params, family)
    between, rng = _spreads("grp_sigmas", grp_sigmas, num_coef + 1), generator(seed)
    X = _predictors(rng, rows, num_coef, corrs, mus, sigmas)
    b = _coefficients(rng, coef_vals, num_coef)
    blups = b + rng.standard_normal((int(num_grps), num_coef + 1)) * between
    noise = location + scale * _standard(rng, rows, family)
    group = np.arange(rows) // (rows // len(blups))
    data = _frame(blups[group, 0] + (X * blups[group, 1:]).sum(axis=1) + noise, X, family)
    data["Group"] = group + 1
    index = pd.Index([f"Grp{i + 1}" for i in range(len(blups))], dtype=object)
    return data, pd.DataFrame(blups, columns=["Intercept", *_names(num_coef)], index=index), b


def discrete_inverse_logit(arr: Any) -> np.ndarray:
    """Return 1 where the inverse logit of a number is above one half, that is where the number is above 0, else 0.

    With logistic noise in the numbers this makes the outcomes of a logistic regression, with normal noise those of a
    probit regression.

    Args:
        arr: numbers, shape (n,).

    Returns:
        Integers 0 and 1, shape (n,); floats where a number is missing, NaN in its place.

    Raises:
        DataError: values that are no numbers.

    Examples:
        >>> discrete_inverse_logit([-2.0, 0.5, 3.0]).tolist()
        [0, 1, 1]
    """
    found = numbers("arr", arr)
    missing = np.isnan(found)
    classes = (found > 0).astype(int)
    return np.where(missing, np.nan, classes) if missing.any() else classes


def _size(num_obs: Any, num_coef: Any, num_grps: Any = 1) -> tuple[int, int]:
    """Return the numbers of rows, in all groups, and of predictors, unless no memory holds them."""
    num_obs, num_coef = count("num_obs", num_obs, most=_MOST), count("num_coef", num_coef, 0)
    rows = num_obs * count("num_grps", num_grps)
    _require_room(rows, "num_coef", num_coef)
    return rows, num_coef


def _require_room(rows: int, name: str, k: int) -> None:
    """Refuse more than a billion numbers, or correlations of so many predictors."""
    if max(rows * (k + 1), k * k) > _MOST:
        raise OptionError(
            f"{rows:,} rows and {name}={k:,} make more than the {_MOST:,} numbers that data may have here. Give fewer, "
            "or simulate in parts."
        )


def _correlations(corrs: Any, k: int) -> np.ndarray:
    """Return a correlation matrix, shape (k, k), from one correlation, those above the diagonal, or the matrix."""
    given, above = _reals(corrs), k * (k - 1) // 2
    if given.shape == (k, k):
        matrix = symmetric_matrix("corrs", given)
        if (np.abs(np.diag(matrix) - 1) > 1e-8).any():
            raise OptionError("corrs has to have 1 all along its diagonal. Standard deviations go into sigma.")
        np.fill_diagonal(matrix, 1.0)
    elif given.ndim == 0 or given.shape == (above,):
        matrix, upper = np.eye(k), np.triu_indices(k, 1)
        matrix[upper] = matrix.T[upper] = given
    else:
        raise OptionError(
            f"corrs has shape {given.shape}. For {k} columns give one number for all pairs, the {above} above the "
            f"diagonal, row after row, or a matrix of shape ({k}, {k})."
        )
    if not np.isfinite(matrix).all() or (np.abs(matrix) > 1).any() or not np.isfinite(given).all():
        raise OptionError(f"corrs={shown(corrs)} has to hold numbers between -1 and 1.")
    return matrix


def _possible(R: np.ndarray, force: bool, nit: int) -> np.ndarray:
    """Return the nearest correlation matrix, and say how far it is from the one asked for."""
    if isPSD(R):
        return R
    told = f"The correlations asked for are impossible together (smallest eigenvalue {np.linalg.eigvalsh(R)[0]:.3g})."
    if not force:
        raise OptionError(f"{told} Use forcePSD=True for the nearest that are possible.")
    nearest = nearestPSD(R, nit)
    moved = nearest - R
    far, distance = np.abs(moved).max(), np.linalg.norm(moved)
    text = f"{told} The nearest possible ones are used: up to {far:.3g} away, {distance:.3g} in the Frobenius norm."
    issue(text, ModelWarning)
    return nearest


def _reals(values: Any) -> np.ndarray:
    """Return numbers as floats; a NaN for what is none."""
    found = real_array(values)
    return np.asarray(np.nan) if found is None else found


def _per_column(argument: str, values: Any, k: int) -> np.ndarray:
    """Return one finite number a column."""
    found = _reals(values)
    if found.ndim and found.shape != (k,):
        raise OptionError(f"{argument} has shape {found.shape}; give one number, or {k} of them.")
    if not (np.abs(found) <= LARGEST_FLOAT).all():
        raise OptionError(f"{argument}={shown(values)} has to hold finite numbers, at most {LARGEST_FLOAT:g}.")
    return np.broadcast_to(found, (k,))


def _spreads(argument: str, values: Any, k: int) -> np.ndarray:
    """Return one standard deviation a column, shape (k,)."""
    found = _per_column(argument, values, k)
    if (found < 0).any():
        raise OptionError(f"{argument}={shown(values)} holds a negative number, which no standard deviation is.")
    return found


def _noise(noise_params: Any, family: str) -> tuple[float, float]:
    one_of("family", family, get_args(Family))
    found = _reals(noise_params)
    location, scale = found if found.shape == (2,) else (np.nan, np.nan)
    if not (np.abs([location, scale]) <= LARGEST_FLOAT).all() or scale < 0:
        raise OptionError(f"noise_params={shown(noise_params)} has to be two numbers, a mean and a standard deviation.")
    return location, scale


def _predictors(rng: np.random.Generator, rows: int, k: int, corrs: Any, mus: Any, sigmas: Any) -> np.ndarray:
    if k == 0:
        return np.empty((rows, 0))
    means, sds = _per_column("mus", mus, k), _spreads("sigmas", sigmas, k)
    return easy_multivariate_normal(rows, k, 0.0 if corrs is None else corrs, means, sds, rng)


def _standard(rng: np.random.Generator, rows: int, family: str) -> np.ndarray:
    return rng.standard_normal(rows) if family == "gaussian" else rng.logistic(size=rows)


def _coefficients(rng: np.random.Generator, given: Any, k: int) -> np.ndarray:
    # Drawn in any case, so that what is drawn next does not depend on whether they were given.
    drawn = rng.standard_normal(k + 1)
    if given is None:
        return drawn
    found = _reals(given)
    if found.shape != (k + 1,) or not (np.abs(found) <= LARGEST_FLOAT).all():
        raise OptionError(
            f"coef_vals={shown(given)} has to hold {k + 1} finite numbers: the intercept and one for each of {k} "
            "predictors."
        )
    return found


def _frame(linear: np.ndarray, X: np.ndarray, family: str) -> pd.DataFrame:
    outcome = discrete_inverse_logit(linear) if family == "binomial" else linear
    data = pd.DataFrame(X, columns=_names(X.shape[1]))
    data.insert(0, "DV", outcome)
    return data


def _names(k: int) -> list[str]:
    return [f"IV{i + 1}" for i in range(k)]
