"""From the comparisons that a user writes to the coding matrix that a model is fitted with, and back.

Contrasts, a row each below the mean row, and coding, a column each beside the intercept's ones, are inverse matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import level_name, real_array
from pymer4.errors import OptionError, shown

_ZERO = 1e-8  # largest sum of weights, and shortest independent part of a contrast, taken for zero (of the weights)
_TIE = 1e-6  # largest leading element taken for zero (of its column): more than weights within _ZERO can make of one


def con2R(arr: object, names: Iterable[str] | None = None) -> np.ndarray | pd.DataFrame:
    """Return the coding matrix whose coefficients estimate the given contrasts.

    In a balanced design each is exactly the weighted sum of cell means that was written, whatever the scale of its
    weights. Where fewer than k − 1 are given, the others are solved for: of unit length, orthogonal to the mean row,
    to those given and to each other, as the last columns of Q in the Householder QR of `[1, pinv(contrasts)]`. Numbers
    and signs are those of `make.contrasts()` in the R package gmodels, but for a tie: a step whose leading element is
    below 1e-6 of the column's length takes it for +0, where there rounding decides.

    Args:
        arr: contrasts, shape (m, k) or (k,) for a single one: a row for each, a column for each of the k levels, m < k.
        names: names of the contrasts, to get a frame; between m and k - 1. The others are called by their position.

    Returns:
        Coding matrix, shape (k, k - 1): for the contrasts in their order, then for those solved for.

    Raises:
        OptionError: for what is not a contrast, and for contrasts that depend on each other.

    Examples:
        >>> con2R([[1, -0.5, -0.5], [0, 1, -1]]).round(3) + 0.0
        array([[ 0.667,  0.   ],
               [-0.333,  0.5  ],
               [-0.333, -0.5  ]])
        >>> list(con2R([1, -0.5, -0.5], names=["A.vs.rest"]).columns)
        ['A.vs.rest', '2']
    """
    contrasts = np.atleast_2d(_numbers(arr, "con2R"))
    if contrasts.ndim != 2:
        raise OptionError(f"con2R was given {contrasts.ndim} dimensions. Give a row a contrast, a column a level.")
    require_contrasts(contrasts, (), "con2R")
    matrix = coding_matrix(contrasts)
    if names is None:
        return matrix
    names = checked_names(as_list(names, "names", "one name for each contrast"), "con2R")
    given, most = len(contrasts), matrix.shape[1]
    if not given <= len(names) <= most:
        more = f", and up to {most - given} more for those that are solved for" if given < most else ""
        raise OptionError(f"Names in con2R: {len(names)}, contrasts: {given}. Give one for each{more}.")
    return pd.DataFrame(matrix, columns=extended_names(names, most))


def R2con(arr: object) -> np.ndarray:
    """Return what the intercept and the coefficients of a coding estimate: the inverse of `con2R`.

    Args:
        arr: coding matrix, shape (k, k - 1), as R's `contrasts()` prints it.

    Returns:
        Shape (k, k): weights of the cell means, a column for each level. The first row belongs to the intercept: the
        mean row, `1/k` throughout, for each coding whose columns sum to zero (sum, Helmert, polynomial, all of
        `con2R`), the reference level alone for a treatment coding. The contrasts follow.

    Raises:
        OptionError: for a matrix of another shape, or one that can't be inverted.

    Examples:
        >>> R2con([[0, 0], [1, 0], [0, 1]])
        array([[ 1.,  0.,  0.],
               [-1.,  1.,  0.],
               [-1.,  0.,  1.]])
    """
    matrix = _numbers(arr, "R2con")
    if matrix.ndim != 2 or matrix.shape[1] < 1 or matrix.shape[0] != matrix.shape[1] + 1:
        raise OptionError(
            f"R2con was given an array of shape {matrix.shape}. Give a coding matrix: one row for each "
            "level, and one column fewer than there are rows, as R's contrasts() prints it."
        )
    whole = np.column_stack([np.ones(len(matrix)), matrix])
    scale = np.abs(whole).max(axis=0)
    if not scale.all() or np.linalg.cond(whole / scale) > 1 / _ZERO:
        raise OptionError(
            "R2con was given columns that depend on each other or on the intercept. Each column has to "
            "add something new, as those of R's contr.treatment, contr.sum, contr.helmert and contr.poly do."
        )
    return np.linalg.inv(whole / scale) / scale[:, None]


def treatment(k: int) -> np.ndarray:
    """Return the coding that compares each level with the first, shape (k, k - 1)."""
    return np.eye(k)[:, 1:]


def polynomial(k: int) -> np.ndarray:
    """Return orthonormal polynomials over k equally spaced levels, shape (k, k - 1).

    They rise in degree from linear on and end above 0, as R's `contr.poly(k)`: eigenvectors of the Jacobi matrix of the
    discrete Chebyshev polynomials (Golub and Welsch, 1969, Mathematics of Computation 23), precise for each k.

    Examples:
        >>> polynomial(3).round(4) + 0.0
        array([[-0.7071,  0.4082],
               [ 0.    , -0.8165],
               [ 0.7071,  0.4082]])
    """
    degree = np.arange(1, k)
    beside = degree / 2 * np.sqrt((k**2 - degree**2) / (4 * degree**2 - 1))
    _, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    values = (vectors * np.sign(vectors[0])).T[:, 1:]
    return (values + values[::-1] * (-1.0) ** degree) / 2


def as_list(given: Any, where: str, wanted: str) -> list[Any]:
    """Return a one-dimensional collection as a list; `where` and `wanted` say what else to give."""
    no_list = isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable)
    if no_list or getattr(given, "ndim", 1) != 1:
        raise OptionError(f"{where} is {shown(given)}. Give a list: {wanted}.")
    return list(given)


def checked_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    """Return names of contrasts as text, each there once."""
    texts = tuple(level_name(name) for name in names)
    if len(set(texts)) < len(texts) or "" in texts:
        raise OptionError(f"{where} names its contrasts {', '.join(map(repr, texts))}. Give each a name of its own.")
    return texts


def extended_names(names: Sequence[str], n: int) -> tuple[str, ...]:
    """Return n names: those given, then positions, passing over a number that is already taken."""
    names = list(names)
    while len(names) < n:
        names.append(next(str(i) for i in range(len(names) + 1, 2 * n + 1) if str(i) not in names))
    return tuple(names)


def _numbers(arr: object, where: str) -> np.ndarray:
    array = real_array(arr)
    if array is None or not np.isfinite(array).all():
        raise OptionError(f"{where} was given {shown(arr)}. Give rows of finite numbers, all of one length.")
    return array


def require_contrasts(weights: np.ndarray, names: Sequence[str], where: str) -> None:
    """Raise OptionError unless the rows are independent contrasts, fewer than levels; shape (m, k)."""
    m, k = weights.shape
    if not 0 < m < k:
        legal = f"Give 1 to {k - 1}; the others are solved for" if k > 1 else "Give two levels or more"
        raise OptionError(f"Contrasts in {where}: {m}, levels: {k}. {legal}.")
    rows = weights / np.maximum(np.abs(weights).max(axis=1, keepdims=True), np.finfo(float).tiny)
    for i, row in enumerate(rows):
        if not row.any():
            fault = "compares nothing. Give weights that are not all zero, with sum 0"
        elif np.ptp(row) == 0:
            fault = "is the mean row, which the intercept stands for. Leave it out"
        elif abs(row.sum()) > _ZERO:
            fault = (
                f"sums to {weights[i].sum():.6g}. Weights sum to 0, as 1, -0.5, -0.5 do; for thirds write 1/3, not 0.33"
            )
        elif i and _distance(row, rows[:i]) < _ZERO * np.linalg.norm(row):
            fault = "is a multiple or a sum of those before it. Leave it out, and one that is independent is solved for"
        else:
            continue
        name = repr(names[i]) if names else i + 1
        raise OptionError(f"Contrast {name} of {where}, ({', '.join(f'{w:.6g}' for w in weights[i])}), {fault}.")


def _distance(row: np.ndarray, others: np.ndarray) -> float:
    """Return how far a row is from the span of the others."""
    return float(np.linalg.norm(row - others.T @ np.linalg.lstsq(others.T, row, rcond=None)[0]))


def coding_matrix(contrasts: np.ndarray) -> np.ndarray:
    """Return the coding, shape (k, k - 1), of independent contrasts, shape (m, k)."""
    m, k = contrasts.shape
    scale = np.r_[np.abs(contrasts).max(axis=1), np.ones(k - 1 - m)]
    rows = contrasts / scale[:m, None]
    solved = _completion(np.column_stack([np.ones(k), np.linalg.pinv(rows)]))
    return np.linalg.inv(np.vstack([np.full(k, 1 / k), rows, solved.T]))[:, 1:] / scale


def _completion(columns: np.ndarray) -> np.ndarray:
    """Return the last columns of Q in the Householder QR of (k, m) columns, shape (k, k - m); ties as above."""
    k, m = columns.shape
    left, mirrors = columns.copy(), []
    for j in range(m):
        v = left[j:, j].copy()
        length = np.linalg.norm(v)
        v[0] += np.copysign(length, v[0] if abs(v[0]) > _TIE * length else 1.0)
        mirrors.append(v / np.linalg.norm(v))
        left[j:] = _mirrored(left[j:], mirrors[j])
    last = np.eye(k)[:, m:]
    for j in reversed(range(m)):
        last[j:] = _mirrored(last[j:], mirrors[j])
    return last


def _mirrored(columns: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return columns - 2 * np.outer(normal, normal @ columns)
