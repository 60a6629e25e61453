"""Regression coefficients on the scale of correlations.

With u the diagonal of (X'WX)⁻¹, 1/u is the sum of squares of a predictor once the others are taken out of it
(Frisch & Waugh 1933, Econometrica 1, 387-401). So b²/u is the rise of the explained sum of squares through that
predictor, and its share of the total is the squared semi-partial correlation, its share of what the others leave
the squared partial one (Cohen, Cohen, West & Aiken 2003, Applied Multiple Regression, 3.5.4).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pymer4.errors import one_of

Kind = Literal["semi", "partial"]


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
