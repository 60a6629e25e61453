"""Pictures of what inference rests on: bootstrap draws, null distributions, folds, and profiles of the likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import DataError
from pymer4.plots import axes
from pymer4.plots.axes import GROUP, GUIDE, INK, Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series
    from typing_extensions import Unpack

MOST = 24
"""Panels of a picture that can still be read."""

_WIDE = 3  # panels in a row
_TIE = 1e-9  # relative; statistics that are as large but for rounding


def draws(
    values: DataFrame,
    estimates: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    null: float | None = None,
    **frame: Unpack[Frame],
) -> Axes | np.ndarray:
    """Draw the bootstrap distribution of each column, a panel each, with the estimate and its interval.

    The interval is the thick bar under the bars; one without an end runs to the edge. A dashed line is the `null`,
    where that is as near to the draws as they are wide. A column without finite draws has its estimate alone. Return
    the axes of a single panel, or those of all, shape (panels,).

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> drawn = pd.DataFrame({"x": [0.9, 1.0, 1.2, 1.1]})
        >>> draws(drawn, [1.0], [0.9], [1.2], ax=Figure().subplots()).get_title()
        'x'
    """
    b, low, high = (np.asarray(each, dtype=float) for each in (estimates, lower, upper))

    def panel(ax: Axes, j: int) -> None:
        found = _finite(values.iloc[:, j])
        held = _finite([b[j], low[j], high[j], *found])
        if null is not None and held.min() - np.ptp(held) <= null <= held.max() + np.ptp(held):
            axes.guide(ax, null)
            held = np.append(held, null)
        ends = _span(held)
        if found.size:
            ax.hist(found, _bins(found), color=GROUP, alpha=0.4, zorder=2.1)
        top = ax.get_ylim()[1] if found.size else 1.0
        ax.axvline(b[j], color=INK, linewidth=1.6, zorder=2.3)
        bar = np.clip([low[j], high[j]], *ends)
        ax.plot(bar, [-0.05 * top] * 2, color=INK, linewidth=4, solid_capstyle="butt", zorder=2.4)
        ax.set(xlim=ends, ylim=(-0.1 * top, 1.02 * top))

    return _panels(list(values.columns), panel, axes.framed(frame, ylabel="Draws"))


def nulls(
    values: DataFrame, observed: ArrayLike, p: ArrayLike, *, alternative: str = "two-sided", **frame: Unpack[Frame]
) -> Axes | np.ndarray:
    """Draw the distribution of each statistic under its null hypothesis, a panel each, and where the data's is.

    The statistic of the data is the thick line; what counts against the null hypothesis, as far out or farther, is in
    colour, and p stands in the corner. Return the axes of a single panel, or those of all, shape (panels,).

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> shuffled = pd.DataFrame({"x": [-1.0, 0.4, 0.1, 2.0]})
        >>> nulls(shuffled, [2.5], [0.2], ax=Figure().subplots()).texts[0].get_text()
        'p = 0.2'
    """
    t, shown = np.asarray(observed, dtype=float), np.asarray(p, dtype=float)

    def panel(ax: Axes, j: int) -> None:
        found = _finite(values.iloc[:, j])
        as_far = {"greater": found - t[j], "less": t[j] - found}.get(alternative, np.abs(found) - abs(t[j]))
        beyond = as_far >= -_TIE * abs(t[j])
        mirrored = [-t[j]] if alternative == "two-sided" else []
        ends = _span(_finite([t[j], *mirrored, *found]))
        if found.size:
            look = {"color": [GUIDE, GROUP], "alpha": 0.5, "zorder": 2.1}
            ax.hist([found[~beyond], found[beyond]], _bins(found), stacked=True, **look)
        top = ax.get_ylim()[1]
        ax.plot([t[j], t[j]], [0, top], color=INK, linewidth=2.2, zorder=2.3)
        for other in mirrored:
            ax.plot([other, other], [0, top], color=GUIDE, linewidth=1, dashes=(4, 3), zorder=2.2)
        ax.set(xlim=ends, ylim=(0, 1.2 * top))
        where = {"xycoords": "axes fraction", "ha": "left" if t[j] > np.mean(ends) else "right", "va": "top"}
        place = 0.03 if t[j] > np.mean(ends) else 0.97
        ax.annotate(f"p = {shown[j]:.3g}", (place, 0.97), color=INK, parse_math=False, **where)

    return _panels(list(values.columns), panel, axes.framed(frame, xlabel="Statistic", ylabel="Shuffles"))


def folds(errors: Series, overall: float, **frame: Unpack[Frame]) -> Axes:
    """Draw the error of prediction of each fold, and that of all rows as a line.

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> folds(pd.Series([1.0, 1.2, 0.9]), 1.05, ax=Figure().subplots()).get_xlabel()
        'Fold'
    """
    ax, _ = axes.dress(frame)
    at = np.arange(1, len(errors) + 1)
    axes.guide(ax, overall, down=False)
    ax.vlines(at, overall, errors, colors=GROUP, linewidth=1.2, alpha=0.5, zorder=2.2)
    ax.plot(at, errors, "o", color=GROUP, markersize=min(7.0, max(2.0, 200 / len(at))), zorder=2.3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(0.5, len(at) + 0.5)
    return axes.label(ax, axes.framed(frame, xlabel="Fold"))


def zetas(
    curves: Sequence[tuple[str, np.ndarray, np.ndarray]],
    estimates: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    threshold: float,
    **frame: Unpack[Frame],
) -> Axes | np.ndarray:
    """Draw the profile of each parameter, a panel each: the signed root of the rise of the deviance at its values.

    Dashed lines are the root of the threshold on both sides. The bar has a dot at the estimate, and ends at the limits:
    where the curve crosses the dashed lines, or where the parameter's range ends. A straight curve is a likelihood that
    is normal in the parameter. Return the axes of a single panel, or those of all, shape (panels,).

    Args:
        curves: name, values (n,) and zeta (n,) of each parameter.
        estimates: shape (k,).
        lower: limits, likewise.
        upper: limits, likewise.
        threshold: rise of the deviance at the limits.
        **frame: where, how large, and labels.

    Example:
        >>> from matplotlib.figure import Figure
        >>> x = np.linspace(0.5, 1.5, 5)
        >>> curve = ("sigma", x, 4 * (x - 1))
        >>> zetas([curve], [1.0], [0.51], [1.49], threshold=3.84, ax=Figure().subplots()).get_ylabel()
        'ζ'
    """
    b, low, high = (np.asarray(each, dtype=float) for each in (estimates, lower, upper))
    far = np.sqrt(threshold)

    def panel(ax: Axes, j: int) -> None:
        _, values, zeta = curves[j]
        near = np.abs(zeta) <= 1.6 * far
        ends = _span(_finite([b[j], low[j], high[j], *values[near]]))
        for level in (-far, far):
            axes.guide(ax, level, down=False)
        for limit in (low[j], high[j]):
            ax.plot([limit, limit], [0, np.interp(limit, values, zeta)], color=GUIDE, linewidth=1, zorder=2.1)
        ax.plot(np.clip([low[j], high[j]], *ends), [0, 0], color=INK, linewidth=3, solid_capstyle="butt", zorder=2.3)
        ax.plot([b[j]], [0], "o", color=INK, markeredgecolor="white", markeredgewidth=1.2, markersize=8, zorder=2.5)
        ax.plot(values, zeta, ".-", color=GROUP, linewidth=1.6, markersize=5, zorder=2.4)
        ax.set(xlim=ends, ylim=(-1.6 * far, 1.6 * far))

    return _panels([name for name, *_ in curves], panel, axes.framed(frame, ylabel="ζ"))


def _panels(names: Sequence[object], draw: Callable[[Axes, int], None], frame: Frame) -> Axes | np.ndarray:
    """Draw a panel a name, and name and label them."""
    if not names:
        raise DataError("There is nothing to draw. Name what is to be drawn with terms=, or infer it first.")
    count, ax = len(names), frame.get("ax")
    wide = 2 if count == 4 else min(count, _WIDE)
    size = frame.get("figsize") or (7.0, 5.0 if count == 1 else 0.8 + 2.2 * -(-count // wide))
    drawn = axes.panels(ax, count, size, wide)
    for j, panel in enumerate(drawn):
        draw(panel, j)
        panel.locator_params(axis="x", nbins=4)
        lowest, leftmost = ax is not None or j + wide >= count, ax is not None or j % wide == 0
        axes.label(panel, {"ylabel": frame["ylabel"] if leftmost else ""})
        if lowest and frame.get("xlabel"):
            axes.write(panel, panel.xaxis.label, frame["xlabel"])
    axes.settle(drawn[0], ax is None)
    for name, panel in zip(names, drawn, strict=True):
        axes.write(panel, panel.title, str(name))
    return axes.squeezed(drawn)


def _finite(values: ArrayLike) -> np.ndarray:
    flat = np.asarray(values, dtype=float)
    return flat[np.isfinite(flat)]


def _bins(values: np.ndarray) -> int:
    """Return how many bars a histogram has: the more, the more values there are."""
    return int(np.clip(np.sqrt(values.size), 5, 40))


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis with a margin of a twentieth."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin
