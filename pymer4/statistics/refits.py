"""Documented refits of regressions to samples of rows, from arrays; df of mixed models, and names of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from pymer4.data.columns import array
from pymer4.data.families import is_linear, named
from pymer4.data.outcomes import outcome
from pymer4.errors import DataError, ModelWarning, count, issue, one_of
from pymer4.fit import robust_errors
from pymer4.fit.basis import coefficient_operator
from pymer4.fit.distributions import Distribution
from pymer4.fit.influence import jackknife
from pymer4.fit.linear import least_squares
from pymer4.infer.asymptotic import satterthwaite_df
from pymer4.infer.replicates import coefficients_of, without_each

_CONTROL = (25, 1e-8)


def build_lm_coefficient_operator(
    X: Any, method: Literal["cholesky", "qr"] = "cholesky"
) -> Callable[[Any], np.ndarray]:
    """Return a function of outcomes, (n,) or (n, m), that gives their least-squares coefficients, (p,) or (p, m).

    The design, shape (n, p), is factorised once. Where columns are combinations of those before them, `"cholesky"`
    refuses it, and `"qr"` gives these NaN, as R's `lm`.

    Raises:
        DataError: aliased columns, or what is no design.
        OptionError: another method.

    Examples:
        >>> build_lm_coefficient_operator([[1, 2], [1, 3], [1, 4]])([5, 8, 11]).round(9).tolist()
        [-1.0, 3.0]
    """
    one_of("method", method, ("cholesky", "qr"))
    return coefficient_operator(array("X", X, None, None), aliased=method == "qr")


def compute_batched_ols_bootstrap(boot_indices: Any, X: Any, y: Any, chunk_size: int | None = None) -> np.ndarray:
    """Return least-squares coefficients of samples of rows, shape (n_boot, p); NaN where a sample has aliased columns.

    Args:
        boot_indices: rows of each sample, shape (n_boot, n).
        X: design, shape (n, p).
        y: outcome, shape (n,).
        chunk_size: samples to solve at once; by default what a processor's cache holds.

    Raises:
        DataError: arrays that don't fit together, or aliased columns.
        OptionError: no size.

    Examples:
        >>> X, y = np.array([[1.0, 0], [1, 1], [1, 3]]), np.array([1.0, 3, 7])
        >>> compute_batched_ols_bootstrap([[0, 1, 2], [0, 0, 1], [1, 1, 1]], X, y).round(9).tolist()
        [[1.0, 2.0], [1.0, 2.0], [nan, nan]]
    """
    X, y, _ = _regression(X, y)
    return coefficients_of(_rows(boot_indices, len(y)), X, y, size=_size(chunk_size))


def compute_batched_glm_bootstrap(
    boot_indices: Any,
    X: Any,
    y: Any,
    family: str | Distribution,
    *,
    weights: Any = None,
    max_iter: int = _CONTROL[0],
    tol: float = _CONTROL[1],
    chunk_size: int | None = None,
    link: str | None = None,
) -> np.ndarray:
    """Return the coefficients of generalized models of samples of rows, shape (n_boot, p); NaN where there is no fit.

    Args:
        boot_indices: as `X`, `y` and `chunk_size` in `compute_batched_ols_bootstrap`.
        X: design.
        y: outcome; of binomial models proportions, with the trials as weights.
        family: its name, such as `"poisson"`, or record.
        weights: prior weights, shape (n,), which rows take along.
        max_iter: has no effect, as `tol`: iterations end where coefficients stand still.
        tol: likewise.
        chunk_size: samples to fit at once.
        link: by default that of the family.

    Raises:
        DataError: arrays that don't fit together, aliased columns, or outcomes that the family does not take.
        OptionError: a family, link or size that there is not.

    Examples:
        >>> X, y = np.ones((4, 1)), np.array([1.0, 2, 3, 6])
        >>> np.exp(compute_batched_glm_bootstrap([[0, 1, 2, 3], [0, 0, 2, 2]], X, y, "poisson")).round(9).tolist()
        [[3.0], [2.0]]
    """
    if (count("max_iter", max_iter), float(array("tol", tol))) != _CONTROL:
        issue("max_iter and tol have no effect: iterations end where the coefficients stand still.", ModelWarning)
    names = named(family, link)
    X, y, weights = _regression(X, y, weights, names[0])
    return coefficients_of(_rows(boot_indices, len(y)), X, y, names, weights, _size(chunk_size))


def compute_jackknife_coefs(
    X: Any,
    y: Any,
    family: str | Distribution = "gaussian",
    *,
    link: str | None = None,
    weights: Any = None,
    offset: Any = None,
) -> np.ndarray:
    """Return the coefficients without each row in turn, shape (n, p), NaN where a row is needed to tell them.

    Arguments are those of `compute_batched_glm_bootstrap`; `offset` is a known part of the linear predictor, (n,).

    Raises:
        DataError: arrays that don't fit together, aliased columns, or outcomes that the family does not take.
        OptionError: a family or link that there is not.

    Examples:
        >>> compute_jackknife_coefs(np.ones((3, 1)), [1.0, 2.0, 6.0]).round(9).ravel().tolist()
        [4.0, 3.5, 1.5]
    """
    names = named(family, link)
    X, y, weights = _regression(X, y, weights, names[0])
    offset = None if offset is None else array("offset", offset, len(y))
    if is_linear(*names):
        return jackknife(least_squares(X, y, weights, offset), X)
    return without_each(X, y, names, weights, offset)


def compute_satterthwaite_emm_df(L: Any, vcov: Any, jacobian: Any, vcov_varpar: Any) -> np.ndarray:
    """Return Satterthwaite's df of the rows of L, shape (k, p): 2 (l V l')² / (g' A g), with g_j = l (∂V/∂φ_j) l'.

    Args:
        L: contrasts of the fixed effects, shape (k, p).
        vcov: V, their covariance, shape (p, p).
        jacobian: its derivatives by the m parameters φ = (theta, sigma), shape (m, p, p).
        vcov_varpar: A, the covariance of these, shape (m, m).

    Raises:
        DataError: arrays that don't fit together.

    Examples:
        >>> compute_satterthwaite_emm_df([[1.0]], [[0.5]], [[[1.0]]], [[0.05]]).tolist()
        [10.0]
    """
    L = array("L", L, None, None)
    p = L.shape[1]
    jacobian = array("jacobian", jacobian, None, p, p)
    A = array("vcov_varpar", vcov_varpar, len(jacobian), len(jacobian))
    return satterthwaite_df(L, array("vcov", vcov, p, p), jacobian, A)


def resolve_error_type(errors: str, family: str | Distribution = "gaussian") -> str:
    """Return the kind of errors that a name stands for: HC0 to HC3, CR0, CR2, iid or unequal_var.

    `"hetero"` is HC3, which small samples need, or HC0 in families other than gaussian.

    Raises:
        OptionError: another name or family, or unequal_var in another family.

    Examples:
        >>> resolve_error_type("hc1"), resolve_error_type("hetero"), resolve_error_type("hetero", "binomial")
        ('HC1', 'HC3', 'HC0')
    """
    kind = robust_errors.resolve_error_type(errors, is_linear(*named(family)))
    return kind if kind in ("iid", "unequal_var") else kind.upper()


def _rows(boot_indices: Any, n: int) -> np.ndarray:
    found = np.asarray(boot_indices)
    if found.ndim != 2 or not found.size or found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= n:
        raise DataError(f"boot_indices has to hold rows, whole numbers from 0 to {n - 1}, shape (n_boot, n).")
    return found.astype(np.intp)


def _regression(
    X: Any, y: Any, weights: Any = None, family: str = "gaussian"
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    X = array("X", X, None, None)
    y = outcome(array("y", y, len(X))[:, None], (), family, "y", weights is not None)[0]
    w = None if weights is None else array("weights", weights, len(X))
    if w is not None and not (w > 0).all():
        raise DataError("weights has to hold numbers above 0. Leave out other rows first.")
    return X, y, w


def _size(chunk_size: Any) -> int | None:
    return None if chunk_size is None else count("chunk_size", chunk_size)
