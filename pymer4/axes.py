"""Axes: their dress, the room along them, and the names of their places.

Names of terms and groups may be long and many. They are broken, shrunk, turned or
shortened as the room asks, and taken literally, never as mathematics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def dress(ax: Axes | None, figsize: tuple[float, float], rows: str = "") -> Axes:
    """Return `ax`, or new axes of that size; axes that hold nothing yet are dressed, that of `rows` barest."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=figsize, layout="constrained")[1]
        ax.tick_params(labelsize="large")
        ax.xaxis.label.set_size("x-large")
        ax.yaxis.label.set_size("x-large")
    if not ax.has_data():
        ax.spines[["top", "right"]].set_visible(False)
        if rows:
            ax.spines["left" if rows == "y" else "bottom"].set_visible(False)
            ax.tick_params(axis=rows, length=0)
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
        broken = [_broken(text, 34) for text in texts]
        fits = 1.25 * size * max(text.count("\n") + 1 for text in broken) <= room
        texts, size = _shortened(broken if fits else texts, 60), min(size, 0.8 * room)
    else:
        texts, size, look = _side_by_side(texts, room, size)
    getattr(ax, f"set_{axis}ticks")(at, texts, fontsize=size, parse_math=False, **look)


def _side_by_side(texts: list[str], room: float, size: float) -> tuple[list[str], float, dict]:
    """Return names for an x axis, their size, and how they are turned where they can't lie."""
    for small in (size, 0.85 * size, 0.7 * size):
        width = int(room / (0.55 * small))
        broken = [_broken(text, width) for text in texts]
        if max(len(line) for text in broken for line in text.split("\n")) <= width:
            return broken, small, {}
    size = min(size, 10, 0.8 * room)
    turn = {"rotation": 45, "va": "top"} if room > 1.6 * size else {"rotation": 90, "va": "center"}
    return _shortened(texts, 32), size, {"ha": "right", "rotation_mode": "anchor", **turn}


def _broken(name: str, width: int) -> str:
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
