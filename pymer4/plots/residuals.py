"""Pictures that question a fit. A few thousand rows are points; more are counted in hexagons, in a second or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import DataError
from pymer4.fit.lowess import lowess
from pymer4.plots import axes
from pymer4.plots.axes import GROUP, INK, MANY, Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from typing_extensions import Unpack

POINTS = 5000  # more than that are counted in hexagons, or thinned where they make a line
_TAIL = 500  # ordered residuals at either end that are never thinned
_ENVELOPE = 400
_SHADES = ("#CFE3F0", "#5AA5D2", GROUP)


@dataclass(frozen=True, slots=True)
class Residuals:
    """The residuals that the pictures of a model are of.

    Attributes:
        kind: what they are.
        fits: fitted values that they are drawn against, shape (n,).
        about: what these are, without the outcome.
        values: shape (n,).
        is_standard: whether they are standard normal under the right model, rather than normal.
        is_even: whether outliers are rare under it, which a smooth line then disregards.
    """

    kind: str
    fits: np.ndarray
    about: str
    values: np.ndarray
    is_standard: bool = False
    is_even: bool = True


def residuals_against_fitted(
    fitted: ArrayLike,
    residuals: ArrayLike,
    *,
    robust: bool = True,
    **frame: Unpack[Frame],
) -> Axes:
    """Draw residuals against fitted values, with a smooth line that should lie near zero.

    The line is R's `lowess` with its defaults, as in `plot(lm)` there; a robust one disregards outliers, which are not
    rare in residuals of counts, proportions, and 0 and 1. Pairs with a missing or infinite value are left out.
    """
    x, y = _complete(fitted, residuals)
    ax, made = axes.dress(frame)
    _cloud(ax, x, y, keyed=made)
    axes.guide(ax, 0, down=False, zorder=2.2)
    at, line = lowess(x, y, iterations=3 if robust else 0)
    if at.size > 1:
        _line(ax, at, line, "Smooth")
    return axes.label(ax, frame)


def quantiles(
    residuals: ArrayLike,
    *,
    conf_level: float | None = 0.95,
    is_standard: bool = False,
    **frame: Unpack[Frame],
) -> Axes:
    """Draw ordered residuals against the quantiles of a normal distribution; what is not finite is left out.

    The places are those of R's `qqnorm`, the line passes through both quartiles as R's `qqline`, or is that of the
    standard normal distribution. The band, unless `conf_level` is None, holds each ordered residual of a normal sample
    with that probability: the i-th of n uniform values is Beta(i, n - i + 1) (David & Nagaraja, 2003, Order
    Statistics, 2.3). It is pointwise: with many residuals some leave it by chance.
    """
    from scipy.special import ndtri

    (y,) = _complete(residuals)
    y = np.sort(y)
    n = y.size
    shift = 3 / 8 if n <= 10 else 1 / 2
    z = ndtri((np.arange(1, n + 1) - shift) / (n + 1 - 2 * shift))
    low, high = np.quantile(y, [0.25, 0.75])
    slope, middle = (1.0, 0.0) if is_standard else ((high - low) / (2 * ndtri(0.75)), (low + high) / 2)

    ax, _ = axes.dress(frame)
    kept = _thinned(z, POINTS, _TAIL)
    if conf_level is not None:
        at = kept[_thinned(z[kept], _ENVELOPE, _ENVELOPE // 8)]
        ends = _envelope(at + 1, n, conf_level)
        ax.fill_between(z[at], *(middle + slope * end for end in ends), color=INK, alpha=0.14, linewidth=0, zorder=1.5)
    ends = z[[0, -1]]
    ax.plot(ends, middle + slope * ends, color=INK, linewidth=1.6, label="Normal", zorder=2.2)
    look = {"color": GROUP, "markeredgewidth": 0, "alpha": 0.8 if n <= MANY else 0.5, "rasterized": kept.size > MANY}
    ax.plot(z[kept], y[kept], "o", markersize=_diameter(n), zorder=2.4, **look)
    return axes.label(ax, frame)


def partial_regression(
    x: np.ndarray,
    y: np.ndarray,
    others: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    **frame: Unpack[Frame],
) -> Axes:
    """Draw an added-variable plot: what the other columns leave of the outcome against what they leave of one column.

    The slope of the line is the column's coefficient in the regression of `y` on all columns, and the points show
    which rows it rests on (Frisch & Waugh, 1933, Econometrica 1; Lovell, 1963, Journal of the American Statistical
    Association 58). With weights all three regressions are weighted, and the area of a point is its weight. `x` and
    `y` have the shape (n,), the others (n, k), with the intercept's column where there is one; k may be 0.
    """
    w = np.ones_like(x) if weights is None else weights
    root, both = np.sqrt(w)[:, None], np.column_stack([x, y])
    left_x, left_y = (both - others @ np.linalg.lstsq(others * root, both * root, rcond=None)[0]).T
    spread = w @ left_x**2
    if spread <= 1e-14 * (w @ x**2):
        raise DataError("The other columns add up to this one, which leaves nothing of it to draw.")
    slope = (w @ (left_x * left_y)) / spread

    ax, made = axes.dress(frame)
    _cloud(ax, left_x, left_y, weights, keyed=made)
    ends = np.array([left_x.min(), left_x.max()])
    _line(ax, ends, slope * ends, "Slope")
    return axes.label(ax, frame)


def _complete(*columns: ArrayLike) -> np.ndarray:
    """Return the columns, one a row, where all are finite."""
    stacked = np.array(columns, dtype=float)
    finite = np.isfinite(stacked).all(axis=0)
    if not finite.any():
        raise DataError("There is nothing to draw: each row has a missing or an infinite value.")
    return stacked[:, finite]


def _diameter(count: int) -> float:
    """Return the diameter, in points, at which that many dots can be told apart."""
    return 6.0 if count <= 100 else 4.5 if count <= 1000 else 3.0


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Draw a black line that also stands out from dark hexagons."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=4.5, foreground="white")]
    ax.plot(x, y, color=INK, linewidth=2.2, label=name, zorder=2.5, path_effects=halo)


def _cloud(ax: Axes, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, keyed: bool = False) -> None:
    """Draw points, as large as their weights, or count them where they are many, with a key to the shades."""
    if x.size <= POINTS:
        area = _diameter(x.size) ** 2 * (1 if weights is None else weights / weights.mean())
        opacity = 0.7 if x.size <= 100 else 0.5 if x.size <= 1000 else 0.35
        dots = ax.scatter(x, y, color=GROUP, alpha=opacity, linewidths=0, zorder=2.0)
        dots.set(sizes=np.broadcast_to(area, x.shape), rasterized=x.size > MANY)
        return
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    shades = LinearSegmentedColormap.from_list("counts", _SHADES)
    box = ax.get_window_extent()
    across = 70
    size = (across, max(int(across * box.height / box.width / 3**0.5), 1))
    cells = ax.hexbin(x, y, C=weights, reduce_C_function=np.sum, gridsize=size, mincnt=1, cmap=shades, zorder=2.0)
    cells.set(norm=LogNorm(), linewidths=0.2, rasterized=True)
    if keyed:
        told = "Rows" if weights is None else "Sum of weights"
        ax.figure.colorbar(cells, ax=ax, label=told, shrink=0.6, aspect=30).outline.set_visible(False)


def _thinned(z: np.ndarray, most: int, tail: int) -> np.ndarray:
    """Return positions of at most about `most` ascending values, evenly apart between the tails, which stay whole."""
    if z.size <= most:
        return np.arange(z.size)
    even = np.searchsorted(z, np.linspace(z[tail], z[-tail - 1], most - 2 * tail))
    return np.unique(np.concatenate([np.arange(tail), even, np.arange(z.size - tail, z.size)]))


def _envelope(i: np.ndarray, n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of the i-th smallest (from 1) of n standard normal values."""
    from scipy.special import betaincinv, ndtri

    tail = (1 - level) / 2
    # The upper limit is read from the other end of the sample, where the beta quantile keeps its digits.
    return ndtri(betaincinv(i, n - i + 1, tail)), -ndtri(betaincinv(n - i + 1, i, tail))
