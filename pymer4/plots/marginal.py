"""Pictures of marginal means, slopes and their contrasts, from the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError
from pymer4.plots import axes
from pymer4.plots.axes import DISTINCT, INK, STROKES, Frame, turned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack

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
_KEY = 28  # letters in a line of the key, or of a contrast


def kind(estimates: pd.DataFrame) -> str:
    """Return in words what a table of marginal estimates or contrasts holds, from its `attrs`."""
    name, variable = estimates.attrs.get("estimate", "emmean"), estimates.attrs.get("variable")
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
    label: str = "",
    **frame: Unpack[Frame],
) -> Axes | np.ndarray:
    """Draw marginal means, slopes or contrasts with their intervals, from the table of one of the model's methods.

    The first variable of the table runs along the x axis, the second has a colour a level, with a mark and, along a
    number, a kind of line of its own, and each combination of the others has a panel. A number on the x axis gives a
    line and a band, with marks where it was estimated if these are few; categories (variables whose numbers are names
    too) give marks and bars, and a thin line joins those of one level of the second variable. A NaN estimate leaves a
    gap. Contrasts are listed down the page. Slopes and differences have a line at 0, ratios a log axis and a line at
    1. Return the axes of a single panel, or those of all, shape (panels,).
    """
    scene = _scene(estimates, frozenset(categories))
    count = len(scene.panels)
    wide = min(count, 2) if scene.down or count == 4 else min(count, 3)
    ax, size = frame.get("ax"), frame.get("figsize") or _size(scene, wide)
    drawn = axes.panels(ax, count, size, wide, "y" if scene.down else "", sharex=True, sharey=True)
    across, up = turned(scene.down, label or kind(estimates), "" if scene.down else scene.name)
    across, up = frame.get("xlabel") or across, frame.get("ylabel") or up
    neutral = _NO_EFFECT.get(estimates.attrs.get("estimate", ""))
    for number, panel in enumerate(drawn):
        _draw(panel, scene, number, neutral)
        lowest, leftmost = ax is not None or number + wide >= count, ax is not None or number % wide == 0
        axes.label(panel, {"xlabel": across if lowest else "", "ylabel": up if leftmost else ""})
    for panel in drawn if neutral == 1 else ():
        _count_in_ratios(panel, "x" if scene.down else "y")
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
        by: what the colours stand for; empty without a second variable.
        ticks: names of the places 0, 1, ..; empty for a number.
        colours: levels that have a colour, at least one.
        panels: titles.
        rows: place along the first variable, colour and panel of each estimate, and `middle`, `low` and `high`.
    """

    down: bool
    name: str
    by: str
    ticks: list[str]
    colours: list[str]
    panels: list[str]
    rows: pd.DataFrame


def _scene(estimates: pd.DataFrame, categories: frozenset[str]) -> _Scene:
    """Return the parts of a table; a user's variable may have the name of a column of ours, which come last."""
    names = list(estimates.columns)
    if tables.ESTIMATE not in names or not len(estimates):
        raise DataError("The table holds no estimate. Give one of emmeans(), emtrends() or post_hoc().")
    first = len(names) - 1 - names[::-1].index(tables.ESTIMATE)
    middle, low, high = estimates.iloc[:, first : first + 3].to_numpy(dtype=float).T
    finite = np.concatenate([middle, low, high])
    finite = finite[np.isfinite(finite)]
    if finite.size:  # limits without an end run as far as the rest
        low, high = np.clip([low, high], finite.min(), finite.max())
    rows = pd.DataFrame({"place": 0.0, "colour": 0, "panel": 0, "middle": middle, "low": low, "high": high})
    coded = [_codes(estimates.iloc[:, i]) for i in range(first)]
    name, by, *others = [str(name) for name in names[:first]] + [""] * (2 - first)
    ticks, colours, panels = ["overall"], [""], [""]
    if coded:
        rows["place"], ticks = coded[0]
        given = estimates.iloc[:, 0]
        numeric = pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given)
        if numeric and name not in categories and len(ticks) > 1:
            rows["place"], ticks = given.to_numpy(dtype=float), []
    if first > 1:
        rows["colour"], colours = coded[1]
    if others:
        codes, levels = zip(*coded[2:], strict=True)
        cells, place = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
        rows["panel"] = place.ravel()
        panels = [", ".join(f"{n} = {of[i]}" for n, of, i in zip(others, levels, cell, strict=True)) for cell in cells]
    return _Scene(name == tables.CONTRAST, name, by, ticks, colours, panels, rows)


def _codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return codes from 0 and levels as text: categories in their order, numbers ascending, others as they come."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        codes, levels = column.cat.codes.to_numpy().astype(int), column.cat.categories
    else:
        codes, levels = pd.factorize(column, sort=pd.api.types.is_numeric_dtype(column))
    return codes, [f"{level:g}" if isinstance(level, float) else str(level) for level in levels]


def _size(scene: _Scene, wide: int) -> tuple[float, float]:
    """Return inches for panels of which `wide` stand in a row: the width of a page."""
    high = -(-len(scene.panels) // wide)
    if scene.down:
        lines = max(axes.in_lines(name, _KEY).count("\n") + 1 for name in scene.ticks)
        return 7.0, max(3.0, 1 + (0.16 + 0.17 * lines) * len(scene.ticks) * high)
    return 7.0, (5.0 if len(scene.panels) == 1 else 2.6 * high + 1)


def _draw(ax: Axes, scene: _Scene, panel: int, neutral: float | None) -> None:
    """Draw one panel, with a line at the value that means no effect."""
    down, count = scene.down, len(scene.colours)
    if neutral is not None:
        axes.guide(ax, neutral, down, zorder=1.5)
    step = min(0.28 if down else 0.18, 0.64 / count)
    size = float(np.clip(0.9 * step * axes.pitch(ax, "y" if down else "x", max(len(scene.ticks), 1)), 5, 8))
    rows = scene.rows[scene.rows["panel"] == panel].sort_values("place", kind="stable")
    for level, name in enumerate(scene.colours):
        color = DISTINCT[level % len(DISTINCT)] if count > 1 else INK
        look: dict[str, Any] = {"color": color, "marker": _MARKERS[level % len(_MARKERS)], "label": name or None}
        columns = ["place", "middle", "low", "high"]
        x, middle, low, high = rows.loc[rows["colour"] == level, columns].to_numpy().T
        if scene.ticks:
            x = x + (level - (count - 1) / 2) * step
            (ax.hlines if down else ax.vlines)(x, low, high, colors=color, linewidth=2.2, zorder=2.2)
            look |= {"markersize": size if count > 1 else 8, "markeredgecolor": "white", "markeredgewidth": 1.0}
            look["linewidth"] = 0.8 if count > 1 and not down else 0
        else:
            stroke = STROKES[level % len(STROKES)]
            look |= {"linewidth": 2.2, "markersize": 6 if x.size <= _MARKED else 0, "linestyle": stroke}
            fill = {"facecolor": (color, 0.18), "edgecolor": (color, 0.6), "linewidth": 0.8 if count > 1 else 0}
            ax.fill_between(x, low, high, linestyle=stroke, zorder=2.0, **fill)
        ax.plot(*turned(down, middle, x), zorder=2.4, **look)


def _count_in_ratios(ax: Axes, axis: str) -> None:
    """Give an axis of ratios a log scale with plain numbers: 1, 2, 5 in each decade, even steps in less than one."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    ax.set(**{f"{axis}scale": "log"})
    ticks = getattr(ax, f"{axis}axis")
    low, high = ticks.get_view_interval()
    ticks.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if high < 10 * low else LogLocator(subs=(1, 2, 5)))
    ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
    ticks.set_minor_locator(NullLocator())


def _key(drawn: list[Axes], scene: _Scene, outside: bool) -> None:
    """List the levels of the second variable, beside a figure that was made here, else where there is room."""
    handles = [line for line in drawn[0].lines if line.get_label() in scene.colours]
    title, *labels = [axes.in_lines(text, _KEY) for text in (scene.by, *scene.colours)]
    owner, where = (drawn[0].figure, "outside right center") if outside else (drawn[-1], "best")
    axes.literal(owner.legend(handles=handles, labels=labels, title=title, loc=where, frameon=False))
