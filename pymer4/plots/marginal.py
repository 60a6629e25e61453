"""Pictures of marginal means, slopes and their contrasts, from the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError
from pymer4.plots import axes
from pymer4.plots.forest import DISTINCT, GUIDE, INK, STROKES, turned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = {
    "emmean": "Marginal mean",
    "response": "Marginal mean",
    "prob": "Probability",
    "rate": "Rate",
    "trend": "Slope",
    "estimate": "Difference",
    "ratio": "Ratio",
    "odds.ratio": "Odds ratio",
}
_NO_EFFECT = {"trend": 0.0, "estimate": 0.0, "ratio": 1.0, "odds.ratio": 1.0}
_MARKERS = "osD^vPX"
_MARKED = 12  # places along a number; more, and the line alone shows them
_KEY = 28  # letters in a line of the key


def kind(estimates: pd.DataFrame) -> str:
    """Return in words what a table of marginal estimates or contrasts holds, from its `attrs`.

    Example:
        >>> table = pd.DataFrame({"Estimate": [0.2]})
        >>> table.attrs["estimate"] = "prob"
        >>> kind(table)
        'Probability'
    """
    name = estimates.attrs.get("estimate", "emmean")
    variable = estimates.attrs.get("variable")
    words = _KINDS.get(name, str(name))
    if variable is None:
        return words
    return f"Slope of {variable}" if name == "trend" else f"{words} of slopes of {variable}"


def scale_of(estimates: pd.DataFrame) -> dict[str, Any]:
    """Return the scale of a table of marginal estimates and contrasts, as the name of an outcome depends on it."""
    name = estimates.attrs.get("estimate", "emmean")
    return {
        "scale": estimates.attrs.get("scale", "response"),
        "undone": name in ("response", "ratio"),
        "sloped": name in ("trend", "estimate"),
    }


def marginal(
    estimates: pd.DataFrame,
    *,
    categories: Iterable[str] = (),
    figsize: tuple[float, float] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | Sequence[Axes] | None = None,
) -> Axes | np.ndarray:
    """Draw marginal means, slopes or contrasts with their intervals.

    The first variable of the table runs along the x axis, the second has a colour a level, with a mark and, along a
    number, a kind of line of its own, and each combination of the others has a panel. A number on the x axis gives a
    line and a band, with marks where it was estimated if these are few; categories give marks and bars, and a thin
    line joins those of one level of the second variable. Contrasts are listed down the page. Slopes and differences
    have a line at 0, ratios a log axis and a line at 1.

    Args:
        estimates: a table of `emmeans()`, `emtrends()` or `post_hoc()`: variables, Estimate, lower and upper limit;
            `attrs["estimate"]` says what it holds. A NaN estimate leaves a gap.
        categories: variables whose numbers are names of levels.
        figsize: inches of the whole figure, where one has to be made; by default 7 wide, as a page, and as high as
            the panels need.
        xlabel: label of the x axis; by default the first variable, for contrasts what they are.
        ylabel: label of the y axis; by default what the estimates are, for contrasts nothing.
        ax: axes to draw on, one a panel.

    Returns:
        The axes of a single panel, or the axes of all, shape (panels,).

    Raises:
        DataError: a table without estimates.
        OptionError: another number of axes than of panels.

    Example:
        >>> from matplotlib.figure import Figure
        >>> means = pd.DataFrame(
        ...     {"dose": ["low", "high"], "Estimate": [1.0, 3.0], "2.5_ci": [0.5, 2.0], "97.5_ci": [1.5, 4.0]}
        ... )
        >>> ax = marginal(means, ax=Figure().subplots())
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('dose', 'Marginal mean')
    """
    scene = _scene(estimates, frozenset(categories))
    count = len(scene.panels)
    wide = min(count, 2) if scene.down or count == 4 else min(count, 3)
    size = figsize or _size(scene, wide)
    drawn = axes.panels(ax, count, size, wide, "y" if scene.down else "", sharex=True, sharey=True)
    neutral = _NO_EFFECT.get(estimates.attrs.get("estimate", ""))
    for number, panel in enumerate(drawn):
        _draw(panel, scene, scene.panel == number, neutral)
        labels = (
            turned(scene.down, xlabel or kind(estimates), ylabel)
            if scene.down
            else (xlabel or scene.name, ylabel or kind(estimates))
        )
        lowest, leftmost = number + wide >= count, number % wide == 0
        axes.label(
            panel,
            *(text if ax is not None or outer else "" for text, outer in zip(labels, (lowest, leftmost), strict=True)),
        )
    if len(scene.colours) > 1:
        _key(drawn, scene, outside=ax is None)
    axes.settle(drawn[0], ax is None)
    for text, panel in zip(scene.panels, drawn, strict=True):
        if text:
            axes.write(panel, panel.title, text)
    if scene.ticks:
        axis, ends = ("y", (len(scene.ticks) - 0.5, -0.5)) if scene.down else ("x", (-0.5, len(scene.ticks) - 0.5))
        for panel in drawn:
            panel.set(**{f"{axis}lim": ends})
        axes.name(drawn, axis, np.arange(len(scene.ticks)), scene.ticks, ax is None)
    return axes.squeezed(drawn)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is drawn where.

    Attributes:
        down: whether the first variable runs down the page.
        name: the first variable.
        x: place of each row along it, shape (n,).
        ticks: names of the places 0, 1, ..; empty for a number.
        by: what the colours stand for; empty without a second variable.
        colours: levels that have a colour, at least one.
        colour: level of each row, shape (n,).
        panels: titles.
        panel: panel of each row, shape (n,).
        middle: estimates, shape (n,).
        low: lower limits, shape (n,).
        high: upper limits, shape (n,).
    """

    down: bool
    name: str
    x: np.ndarray
    ticks: list[str]
    by: str
    colours: list[str]
    colour: np.ndarray
    panels: list[str]
    panel: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _scene(estimates: pd.DataFrame, categories: frozenset[str]) -> _Scene:
    """Return the parts of a table; a user's variable may have the name of a column of ours, which come last."""
    names = list(estimates.columns)
    if tables.ESTIMATE not in names or not len(estimates):
        raise DataError("The table holds no estimate. Give one of emmeans(), emtrends() or post_hoc().")
    first = len(names) - 1 - names[::-1].index(tables.ESTIMATE)
    middle, low, high = (estimates.iloc[:, first + i].to_numpy(dtype=float) for i in range(3))
    variables = [estimates.iloc[:, i] for i in range(first)]
    x, ticks, name = np.zeros(len(estimates)), ["overall"], ""
    if variables:
        name = str(names[0])
        x, ticks = _codes(variables[0])
        numeric = pd.api.types.is_numeric_dtype(variables[0]) and not pd.api.types.is_bool_dtype(variables[0])
        if numeric and name not in categories and len(ticks) > 1:
            x, ticks = variables[0].to_numpy(dtype=float), []
    colour, colours = _codes(variables[1]) if len(variables) > 1 else (np.zeros(len(estimates), dtype=int), [""])
    panel, panels = np.zeros(len(estimates), dtype=int), [""]
    if len(variables) > 2:
        coded = [_codes(variable) for variable in variables[2:]]
        rows = list(zip(*(codes for codes, _ in coded), strict=True))
        cells = [cell for cell in product(*(range(len(levels)) for _, levels in coded)) if cell in set(rows)]
        panel = np.array([cells.index(row) for row in rows])
        panels = [
            ", ".join(
                f"{which} = {coded[i][1][code]}"
                for i, (which, code) in enumerate(zip(names[2:first], cell, strict=True))
            )
            for cell in cells
        ]
    by = str(names[1]) if len(variables) > 1 else ""
    return _Scene(name == tables.CONTRAST, name, x, ticks, by, colours, colour, panels, panel, middle, low, high)


def _codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return codes from 0 and levels as text: categories in their order, numbers ascending, others as they come."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        return column.cat.codes.to_numpy().astype(int), [_text(level) for level in column.cat.categories]
    codes, levels = pd.factorize(column, sort=pd.api.types.is_numeric_dtype(column))
    return codes, [_text(level) for level in levels]


def _text(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def _size(scene: _Scene, wide: int) -> tuple[float, float]:
    """Return inches for panels of which `wide` stand in a row: the width of a page."""
    high = -(-len(scene.panels) // wide)
    if scene.down:
        lines = max(axes.in_lines(name, axes.NAME).count("\n") + 1 for name in scene.ticks)
        return 7.0, max(3.0, 1 + (0.16 + 0.17 * lines) * len(scene.ticks) * high)
    return 7.0, (5.0 if len(scene.panels) == 1 else 2.6 * high + 1)


def _draw(ax: Axes, scene: _Scene, rows: np.ndarray, neutral: float | None) -> None:
    """Draw one panel."""
    from matplotlib.colors import to_rgba

    down = scene.down
    if neutral is not None:
        (ax.axvline if down else ax.axhline)(neutral, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=1.5)
    if neutral == 1:
        _count_in_ratios(ax, "x" if down else "y")
    count = len(scene.colours)
    step = min(0.28 if down else 0.18, 0.64 / count)
    room = step * axes.pitch(ax, "y" if down else "x", max(len(scene.ticks), 1))
    for level in range(count):
        color = DISTINCT[level % len(DISTINCT)] if count > 1 else INK
        look = {"color": color, "marker": _MARKERS[level % len(_MARKERS)], "label": scene.colours[level] or None}
        at = np.flatnonzero(rows & (scene.colour == level))
        at = at[np.argsort(scene.x[at], kind="stable")]
        x, middle = scene.x[at], scene.middle[at]
        low, high = _within(scene, scene.low[at]), _within(scene, scene.high[at])
        if scene.ticks:
            x = x + (level - (count - 1) / 2) * step
            (ax.hlines if down else ax.vlines)(x, low, high, colors=color, linewidth=2.2, zorder=2.2)
            look |= {
                "markersize": float(np.clip(0.9 * room, 5, 8)) if count > 1 else 8,
                "markeredgecolor": "white",
                "markeredgewidth": 1.0,
            }
            look["linewidth"] = 0.8 if count > 1 and not down else 0
        else:
            look |= {"linewidth": 2.2, "markersize": 6 if x.size <= _MARKED else 0}
            look["linestyle"] = stroke = STROKES[level % len(STROKES)]
            band = ax.fill_between(x, low, high, linestyle=stroke, linewidth=0.8 if count > 1 else 0, zorder=2.0)
            band.set(facecolor=to_rgba(color, 0.18), edgecolor=to_rgba(color, 0.6))
        ax.plot(*turned(down, middle, x), zorder=2.4, **look)


def _within(scene: _Scene, limits: np.ndarray) -> np.ndarray:
    """Return limits that end where all that is finite ends."""
    drawn = np.concatenate([scene.low, scene.middle, scene.high])
    drawn = drawn[np.isfinite(drawn)]
    return np.clip(limits, drawn.min(), drawn.max()) if drawn.size else limits


def _count_in_ratios(ax: Axes, axis: str) -> None:
    """Give an axis a log scale, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    class Ticks(LogLocator):
        """1, 2, 5 in each decade; round numbers at equal distances where the range is less than one."""

        def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
            close = 0 < vmin < vmax < 10 * vmin
            return (
                MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)
                if close
                else super().tick_values(vmin, vmax)
            )

    ax.set(**{f"{axis}scale": "log"})
    ticks = getattr(ax, f"{axis}axis")
    ticks.set_major_locator(Ticks(subs=(1, 2, 5)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_locator(NullLocator())


def _key(drawn: list[Axes], scene: _Scene, outside: bool) -> None:
    """List the levels of the second variable, beside a figure that was made here, else where there is room."""
    handles = [line for line in drawn[0].lines if line.get_label() in scene.colours]
    names = {"labels": [axes.in_lines(level, _KEY) for level in scene.colours], "title": axes.in_lines(scene.by, _KEY)}
    if outside:
        key = drawn[0].figure.legend(handles=handles, loc="outside right center", frameon=False, **names)
    else:
        key = drawn[-1].legend(handles=handles, loc="best", frameon=False, **names)
    for text in (*key.get_texts(), key.get_title()):
        text.set_parse_math(False)
