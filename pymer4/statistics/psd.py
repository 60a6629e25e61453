"""Positive semi-definite matrices: which are, and which one is nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.data.columns import LARGEST_FLOAT, real_array
from pymer4.errors import ConvergenceWarning, OptionError, count, issue, shown

_CHANGE = 1e-7  # relative, between two iterations, at which the search ends, as in R's `nearPD`
_SYMMETRIC = 1e-8  # difference from the transpose that is taken for rounding, relative to the largest entry


def isPSD(mat: Any, tol: float = 1e-8) -> bool:
    """Return whether a matrix is symmetric and has no negative eigenvalue.

    A Cholesky decomposition can't tell: it fails on singular matrices, which are positive semi-definite.

    Args:
        mat: shape (k, k).
        tol: how far below zero an eigenvalue may be, as a share of the largest in size, before it counts as
            negative; the answer is the same for a matrix and its multiples.

    Returns:
        False for a matrix that is not symmetric.

    Raises:
        OptionError: `mat` is not a square matrix of finite numbers, or `tol` not a number of at least 0.

    Examples:
        >>> isPSD([[1, 0.5], [0.5, 1]]), isPSD([[1, 2], [2, 1]])
        (True, False)
    """
    matrix = _square_matrix("mat", mat)
    share = None if isinstance(tol, bool) else real_array(tol)
    if share is None or share.ndim or not share >= 0:
        raise OptionError(f"tol={shown(tol)} has to be a number of at least 0, such as 1e-8.")
    if not _is_symmetric(matrix):
        return False
    values = np.linalg.eigvalsh(matrix)
    return bool(values[0] >= -share * np.abs(values).max())


def nearestPSD(mat: Any, nit: int = 100) -> np.ndarray:
    """Return the nearest positive semi-definite matrix with the same diagonal.

    Nearest is in the Frobenius norm. A matrix with ones in the diagonal gives the nearest correlation matrix. The
    method is that of Higham (2002, IMA J. Numer. Anal. 22, 329-343): projections onto the positive semi-definite
    matrices and onto those with the diagonal wanted, in turn, with Dykstra's correction. It ends when an iteration
    changes the matrix by less than 1e-7 of its size, or after `nit` of them. The last step takes away the negative
    eigenvalues that the final projection has left, of the size of rounding, and scales the diagonal back.

    Args:
        mat: symmetric, shape (k, k), no negative number in its diagonal.
        nit: most iterations.

    Returns:
        Shape (k, k), full precision; a copy of `mat` where that is positive semi-definite already.

    Raises:
        OptionError: `mat` is not a symmetric matrix of finite numbers, its diagonal holds a negative number, or `nit`
            is not a whole number of at least 1.

    Warns:
        ConvergenceWarning: `nit` iterations were not enough. The matrix returned is positive semi-definite all the
            same, but others are nearer.

    Examples:
        >>> nearestPSD([[1, 1, 0], [1, 1, 1], [0, 1, 1]]).round(4)
        array([[1.    , 0.7607, 0.1573],
               [0.7607, 1.    , 0.7607],
               [0.1573, 0.7607, 1.    ]])
    """
    matrix, nit = symmetric_matrix("mat", mat), count("nit", nit)
    diagonal = np.diag(matrix).copy()
    if (diagonal < 0).any():
        raise OptionError("The diagonal holds negative numbers, and no positive semi-definite matrix has such a one.")
    if isPSD(matrix):
        return matrix.copy()
    # Where the diagonal is 0, positive semi-definite matrices have 0 in all the row.
    kept = np.ix_(diagonal > 0, diagonal > 0)
    nearest = np.zeros_like(matrix)
    nearest[kept], converged = _alternate(matrix[kept], diagonal[diagonal > 0], nit)
    if not converged:
        issue(
            f"The search for the nearest positive semi-definite matrix stopped after nit={nit} iterations, before they "
            f"changed it by less than {_CHANGE:.0e} of its size. The matrix found is positive semi-definite, but "
            "others are nearer: use a larger nit.",
            ConvergenceWarning,
        )
    return nearest


def symmetric_matrix(argument: str, value: Any) -> np.ndarray:
    """Return `value` as a symmetric matrix of floats, freed from asymmetry of the size of rounding, or refuse it."""
    matrix = _square_matrix(argument, value)
    if not _is_symmetric(matrix):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise OptionError(
            f"{argument} is not symmetric: {matrix[i, j]:g} in row {i + 1}, column {j + 1}, but {matrix[j, i]:g} in "
            f"row {j + 1}, column {i + 1}. For its symmetric part, give (A + A.T) / 2."
        )
    return (matrix + matrix.T) / 2


def _is_symmetric(matrix: np.ndarray) -> bool:
    return bool(np.abs(matrix - matrix.T).max() <= _SYMMETRIC * np.abs(matrix).max())


def _square_matrix(argument: str, value: Any) -> np.ndarray:
    """Return `value` as a square matrix of finite floats, or refuse it."""
    matrix = real_array(value)
    if matrix is None:
        raise OptionError(f"{argument} has to be a matrix of numbers: a list of rows, an array or a frame.")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise OptionError(f"{argument} has shape {matrix.shape}, and has to be a square matrix.")
    if not (np.abs(matrix) <= LARGEST_FLOAT).all():
        raise OptionError(f"{argument} holds numbers that are missing or infinite, or beyond {LARGEST_FLOAT:g}.")
    return matrix


def _alternate(matrix: np.ndarray, diagonal: np.ndarray, nit: int) -> tuple[np.ndarray, bool]:
    """Return the limit of Higham's projections, and whether it was reached; `diagonal` is positive."""
    nearest, correction, change = matrix.copy(), np.zeros_like(matrix), np.inf
    for _ in range(nit):
        shifted = nearest - correction
        projected = _without_negative(shifted)
        correction = projected - shifted
        last, nearest = nearest, projected.copy()
        np.fill_diagonal(nearest, diagonal)
        change = np.linalg.norm(nearest - last, np.inf) / np.linalg.norm(last, np.inf)
        if change <= _CHANGE:
            break
    nearest = _without_negative(nearest)
    scale = np.sqrt(diagonal / np.diag(nearest))
    nearest = (nearest + nearest.T) / 2 * np.outer(scale, scale)
    np.fill_diagonal(nearest, diagonal)
    return nearest, bool(change <= _CHANGE)


def _without_negative(matrix: np.ndarray) -> np.ndarray:
    """Return the nearest positive semi-definite matrix, whatever its diagonal: negative eigenvalues become 0."""
    values, vectors = np.linalg.eigh(matrix)
    kept = vectors[:, values > 0]
    return (kept * values[values > 0]) @ kept.T
