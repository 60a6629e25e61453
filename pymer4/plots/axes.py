"""Axes: their dress, the room along them, the names of their places, and several of them side by side.

Names of terms and groups may be long and many. They are broken, shrunk, turned or
shortened as the room asks, and taken literally, never as mathematics.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_FAINT = "#5F5F5F"
_PAGE = 7.0  # inches; figures up to that width are shown as they are, larger ones reduced
_LINES = 3  # of a note under the axis
NAME = 34  # letters of a name on a y axis; longer ones are broken


def dress(ax: Axes | None, figsize: tuple[float, float], rows: str = "") -> Axes:
    """Return `ax`, or new axes of that size; axes that hold nothing yet are dressed, that of `rows` barest."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = _readable(plt.subplots(figsize=figsize, layout="constrained")[1], small=figsize[0] <= _PAGE)
    if not ax.has_data():
        ax.spines[["top", "right"]].set_visible(False)
        if rows:
            ax.spines["left" if rows == "y" else "bottom"].set_visible(False)
            ax.tick_params(axis=rows, length=0)
    return ax


def panels(
    ax: Axes | Sequence[Axes] | None,
    count: int,
    figsize: tuple[float, float],
    columns: int,
    rows: str = "",
    **shared: bool,
) -> list[Axes]:
    """Return dressed axes for `count` panels, those of `ax` or new ones in rows of at most `columns`.

    Args:
        ax: None, axes for a single panel, or as many as there are panels, in any shape.
        count: number of panels.
        figsize: inches of the whole figure, where one has to be made.
        columns: the most panels in a row.
        rows: the axis that is to be barest, "x" or "y".
        **shared: `sharex`, `sharey` of new axes.

    Raises:
        OptionError: another number of axes than of panels.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        wide = min(count, columns)
        grid = plt.subplots(-(-count // wide), wide, figsize=figsize, layout="constrained", squeeze=False, **shared)[1]
        for spare in grid.flat[count:]:
            spare.remove()
        given = [_readable(each, small=count > 1 or figsize[0] <= _PAGE) for each in grid.flat[:count]]
        for lowest in grid.flat[max(count - wide, 0) : count]:
            lowest.tick_params(labelbottom=True)
    else:
        given = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(given) != count:
            raise OptionError(
                f"ax holds {len(given)} axes for {count} panels. Give as many, or none to have a figure made."
            )
    return [dress(each, figsize, rows) for each in given]


def squeezed(drawn: Sequence[Axes]) -> Axes | np.ndarray:
    """Return the axes of a single panel as they are, and those of several as an array, shape (panels,)."""
    if len(drawn) == 1:
        return drawn[0]
    found = np.empty(len(drawn), dtype=object)
    found[:] = drawn
    return found


def title(ax: Axes, text: str) -> None:
    """Write a title, broken where the axes end, and literally."""
    width = _letters(ax, 0.55 * ax.title.get_size())
    ax.set_title("\n".join(textwrap.wrap(text, width, break_long_words=False)), parse_math=False)


def settle(ax: Axes) -> None:
    """Lay out a figure that was made here as far as it has come, so that the room along its axes is known."""
    engine = ax.figure.get_layout_engine()
    if engine is not None:
        engine.execute(ax.figure)


def caption(ax: Axes, text: str) -> None:
    """Write a small grey text under the label of the x axis, broken where the axes end, but not at hard spaces.

    What does not fit on three lines is left out.
    """
    size = 0.8 * ax.xaxis.label.get_size()
    width = _letters(ax, 0.5 * size)
    lines = textwrap.wrap(text, width, break_long_words=False, max_lines=_LINES, placeholder=" …")
    note = ax.annotate(
        "\n".join(lines).replace("\u00a0", " "),
        xy=(0.5, 0),
        xycoords=ax.xaxis.label,
        xytext=(0, -0.5 * size),
        textcoords="offset points",
        ha="center",
        va="top",
        size=size,
        color=_FAINT,
        annotation_clip=False,
    )
    note.set_parse_math(False)


def _letters(ax: Axes, wide: float) -> int:
    """Return how many letters that are so many points wide lie along the x axis; 20 at least."""
    return max(int(pitch(ax, "x", 1) / wide), 20)


def _readable(ax: Axes, small: bool = False) -> Axes:
    """Enlarge the texts of axes that were made here."""
    ticks, labels = ("medium", "large") if small else ("large", "x-large")
    ax.tick_params(labelsize=ticks)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_size(labels)
    return ax


def label(ax: Axes, xlabel: str, ylabel: str) -> Axes:
    """Label both axes, and keep a label that is there where the new one is empty."""
    ax.set(**{key: text for key, text in (("xlabel", xlabel), ("ylabel", ylabel)) if text})
    return ax


def floor(ax: Axes) -> float:
    """Return the zorder from which up to a half more is behind all that is drawn, and above the grid."""
    drawn = (*ax.lines, *ax.collections, *ax.patches, *ax.images, *ax.texts, *ax.artists, *ax.tables)
    return min((artist.get_zorder() for artist in drawn), default=2.5) - 0.5


def positions(ax: Axes, x: ArrayLike | Sequence[str]) -> tuple[np.ndarray, bool]:
    """Return places on the x axis, and whether they are categories.

    Categories go through the axis, so that they meet those which are on it already.
    """
    if not any(isinstance(value, str) for value in x):
        return np.asarray(x, dtype=float), False
    names = [str(value) for value in x]
    ax.xaxis.update_units(names)
    return np.asarray(ax.convert_xunits(names), dtype=float), True


def pitch(ax: Axes, axis: str, count: int) -> float:
    """Return the room, in points, that each of `count` rows has along an axis."""
    box = ax.get_window_extent()
    return 72 * (box.height if axis == "y" else box.width) / ax.figure.dpi / count


def name(ax: Axes, axis: str, at: np.ndarray, names: Sequence[object]) -> None:
    """Name places of an axis in names that are broken, shrunk, turned or shortened as the room asks."""
    texts, room = [str(each) for each in names], pitch(ax, axis, len(names))
    size = getattr(ax, f"{axis}axis").get_major_ticks(1)[0].label1.get_fontsize()
    look = {}
    if axis == "y":
        texts, size = _one_above_another(texts, room, size, 0.45 * pitch(ax, "x", 1) / 0.55)
    else:
        texts, size, look = _side_by_side(texts, room, size)
    getattr(ax, f"set_{axis}ticks")(at, texts, fontsize=size, parse_math=False, **look)


def _one_above_another(texts: list[str], room: float, size: float, width: float) -> tuple[list[str], float]:
    """Return names for a y axis and their size; the longest take about half of the width."""
    broken = [in_lines(text, NAME) for text in texts]
    lines = max(text.count("\n") + 1 for text in broken)
    for small in (size, 0.85 * size, 0.7 * size):
        if lines > 1 and 1.25 * small * (lines + 0.4) <= room:
            return _shortened(broken, 60), small
    size = min(size, 0.8 * room)
    return _shortened(texts, min(max(int(width / size), 24), 60)), size


def _side_by_side(texts: list[str], room: float, size: float) -> tuple[list[str], float, dict]:
    """Return names for an x axis, their size, and how they are turned where they can't lie."""
    for small in (size, 0.85 * size, 0.7 * size):
        width = int(room / (0.55 * small))
        broken = [in_lines(text, width) for text in texts]
        if max(len(line) for text in broken for line in text.split("\n")) <= width:
            return broken, small, {}
    size = min(size, 10, 0.8 * room)
    turn = {"rotation": 45, "va": "top"} if room > 1.6 * size else {"rotation": 90, "va": "center"}
    return _shortened(texts, 32), size, {"ha": "right", "rotation_mode": "anchor", **turn}


def in_lines(name: str, width: int) -> str:
    """Break a name that is wider than that, after its colons first, then after blanks and before brackets."""
    lines = [""]
    for part in re.split("(?<=:)", name) if len(name) > width else [name]:
        for piece in re.split(r"(?<= )|(?=\[)", part) if len(part) > width else [part]:
            if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines if line)


def _shortened(texts: list[str], most: int) -> list[str]:
    """Leave out the middle of lines longer than `most` characters, or than what keeps the names apart."""
    for limit in range(most, max(map(len, texts)), 4):
        keep = limit // 2 - 1
        short = [re.sub(f"(?m)^(.{{{keep}}}).{{3,}}(.{{{keep}}})$", r"\1…\2", text) for text in texts]
        if len(set(short)) == len(set(texts)):
            return short
    return texts
