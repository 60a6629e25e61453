"""The forest plot that all models share, and which groups stand behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import OptionError, near, one_of
from pymer4.models.base import truth
from pymer4.plotting import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def coefficient_forest(
    coefs: pd.DataFrame,
    level: float,
    error_bars: str,
    plot_intercept: bool,
    points: pd.DataFrame | None = None,
    *,
    coef_fmt: str,
    ranef_alpha: float = 0.5,
    **how: Any,
) -> Axes:
    """Draw a table of coefficients, behind each the values of the groups.

    Args:
        coefs: coefficient table of a model.
        level: confidence level of its limits.
        error_bars: `"ci"` for those limits, `"se"` for one standard error either way.
        plot_intercept: whether to draw the intercept.
        points: one row a group, a column a term; None for no groups.
        coef_fmt: matplotlib format of the estimates.
        ranef_alpha: opacity of the groups' points.
        **how: further arguments of `plots.forest`.

    Raises:
        OptionError: an argument out of its range.
    """
    one_of("error_bars", error_bars, ("ci", "se"))
    if not truth("plot_intercept", plot_intercept):
        coefs = coefs.drop(index=["(Intercept)", "Intercept"], errors="ignore")
    estimates = coefs[tables.ESTIMATE]
    if error_bars == "ci":
        lower, upper = (coefs[name].to_numpy() for name in tables.limit_columns(level))
    else:
        lower, upper = ((estimates + side * coefs[tables.SE]).to_numpy() for side in (-1, 1))
    return plots.forest(
        estimates, lower, upper, points=points, fmt=coef_fmt, points_alpha=ranef_alpha, xlabel=tables.ESTIMATE, **how
    )


def grouping(which: int | str, names: Iterable[str]) -> int:
    """Return the place of a grouping factor, given by its name or as that place.

    Raises:
        OptionError: it is none of `names`.
    """
    names = list(names)
    if isinstance(which, str) and which in names:
        return names.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(names):
        return int(which)
    listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise OptionError(f"ranef_idx={which!r} is not a grouping factor. Use one of: {listed}.{near(str(which), names)}")


def of_factor(frames: pd.DataFrame | list[pd.DataFrame], index: int) -> pd.DataFrame:
    """Return the frame of one grouping factor, where a model with a single one has no list."""
    return frames[index] if isinstance(frames, list) else frames
