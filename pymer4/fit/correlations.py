"""Regression coefficients on the scale of correlations, and the principal axes of a matrix.

With u the diagonal of (X'WX)⁻¹, 1/u is the sum of squares of a predictor once the others are taken out of it
(Frisch & Waugh 1933, Econometrica 1, 387-401). So b²/u is the rise of the explained sum of squares through that
predictor, and its share of the total is the squared semi-partial correlation, its share of what the others leave
the squared partial one (Cohen, Cohen, West & Aiken 2003, Applied Multiple Regression, 3.5.4).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pymer4.errors import one_of
from pymer4.fit.ties import ROUNDING

Kind = Literal["semi", "partial"]

_TIED = 1e-8
"""Largest distance of eigenvalues that are taken for equal, relative to the larger one."""

_LOST = 1e-6
"""Length of what is left of a coordinate axis that is taken for zero."""


def correlations(
    kind: Kind, b: np.ndarray, unscaled: np.ndarray, rss: np.ndarray, tss: np.ndarray, fisher: bool = False
) -> np.ndarray:
    """Return the correlation of the outcome with each predictor, the others taken out.

    Args:
        kind: `"semi"` takes the other predictors out of each predictor alone: r² is the drop in R² without it.
            `"partial"` takes them out of the outcome too, so it is never nearer to zero.
        b: coefficients, shape (..., p).
        unscaled: diagonal of (X'WX)⁻¹, shape (..., p).
        rss: weighted sum of squared residuals, shape (...).
        tss: that of the outcome, about its mean where there is an intercept, shape (...).
        fisher: return arctanh of the correlations.

    Returns:
        Shape (..., p), each of the sign of its coefficient.

    Raises:
        OptionError: no such kind.

    Examples:
        >>> correlations("semi", np.array([2.0]), np.array([0.1]), np.array(10.0), np.array(50.0)).round(3).tolist()
        [0.894]
    """
    one_of("corr_type", kind, ("semi", "partial"))
    total = np.asarray(tss)[..., None] if kind == "semi" else b**2 / unscaled + np.asarray(rss)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(b / np.sqrt(unscaled * total), -1.0, 1.0)
        return np.arctanh(r) if fisher else r


def principal_axes(matrix: np.ndarray) -> np.ndarray:
    """Return orthonormal eigenvectors of a symmetric matrix as columns, by ascending eigenvalue, shape (k, k).

    Where eigenvalues are equal but for rounding (within 1e-8), any rotation of their vectors would do. Theirs are
    the projections of the coordinate axes on the space they span, in the order of the axes, each freed from those
    before it; an axis that leaves less than 1e-6 of its length is passed over.
    """
    values, vectors = np.linalg.eigh(matrix)
    noise = ROUNDING * np.abs(values).max()
    parts = np.flatnonzero(np.diff(values) > noise + _TIED * np.abs(values[1:])) + 1
    return np.hstack([_settled(space) for space in np.split(vectors, parts, axis=1)])


def _settled(space: np.ndarray) -> np.ndarray:
    """Return that basis of the space which some orthonormal columns span."""
    if space.shape[1] == 1:
        return space
    found = np.empty((len(space), 0))
    for projection in space @ space.T:
        left = projection - found @ (found.T @ projection)
        length = np.linalg.norm(left)
        if length > _LOST and found.shape[1] < space.shape[1]:
            found = np.column_stack([found, left / length])
    return found
