"""Axes: their colours and dress, the room along them, the names of their places, and several of them side by side.

Matplotlib's constrained layout places what stands round the axes of a figure that is made here; one that was made
elsewhere is left to its maker. Names of terms and groups may be long and many, and are taken literally: see `name`.
"""

from __future__ import annotations

import math
import re
import textwrap
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from pymer4.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# Blue is a group, black the population. The colours are told apart by colour-blind readers and survive a grey printer:
# Okabe and Ito, 2008, for the pair; Tol, 2021, "muted", for a handful of groups.
INK, GROUP, GUIDE, _FAINT = "#1A1A1A", "#0072B2", "#8A8A8A", "#5F5F5F"
DISTINCT = ("#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#44AA99", "#AA4499")
STROKES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MANY = 500  # marks; more are pixels, not paths, in a vector file
_PAGE = 7.0  # inches; figures up to that width are shown as they are, larger ones reduced
_NOTE = 300  # letters of a note under the axis
_LINE = 1.2  # height of a line, in sizes of its letters
LEAST = 7.0  # points; smaller letters can't be read
_SEAM = "\v"  # where a name may be broken


class Frame(TypedDict, total=False):
    """Where a picture is drawn, how large where that is made here, and what its axes are called."""

    ax: Any
    figsize: tuple[float, float] | None
    xlabel: str
    ylabel: str


def framed(frame: Frame, **default: Any) -> Frame:
    """Return a frame with labels, or a size, where it has none."""
    filled: Any = {**frame, **{key: frame.get(key) or value for key, value in default.items()}}
    return filled


def dress(frame: Frame, rows: str = "", figsize: tuple[float, float] = (_PAGE, 5.0)) -> tuple[Axes, bool]:
    """Return the axes of a frame, or new ones, dressed as by `panels`, and whether they are new."""
    ax = frame.get("ax")
    return panels(ax, 1, frame.get("figsize") or figsize, 1, rows)[0], ax is None


def panels(
    ax: Axes | Sequence[Axes] | None,
    count: int,
    figsize: tuple[float, float],
    columns: int,
    rows: str = "",
    **shared: bool,
) -> list[Axes]:
    """Return axes for `count` panels, those of `ax`, in any shape, or new ones, as many as `columns` in a row.

    Those that hold nothing yet are dressed, along `rows` ("x" or "y") barest. `shared` are `sharex` and `sharey`.
    """
    if ax is None:
        drawn = _made(count, figsize, columns, **shared)
    else:
        drawn = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(drawn) != count:
            raise OptionError(
                f"ax holds {len(drawn)} axes for {count} panels. Give as many, or none to have a figure made."
            )
    for empty in (each for each in drawn if not each.has_data()):
        empty.spines[["top", "right"]].set_visible(False)
        if rows:
            empty.spines["left" if rows == "y" else "bottom"].set_visible(False)
            empty.tick_params(axis=rows, length=0)
    return drawn


def squeezed(drawn: Sequence[Axes]) -> Axes | np.ndarray:
    """Return the axes of a single panel as they are, and those of several as an array, shape (panels,)."""
    return drawn[0] if len(drawn) == 1 else np.array(drawn, dtype=object)


def turned(down: bool, along: Any, across: Any) -> tuple[Any, Any]:
    """Return (x, y) of what lies along the value axis and across it."""
    return (along, across) if down else (across, along)


def guide(ax: Axes, at: float, down: bool = True, zorder: float = 2.0) -> None:
    """Draw a dashed line across the value axis."""
    (ax.axvline if down else ax.axhline)(at, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=zorder)


def write(ax: Axes, text: Text, words: str) -> None:
    """Write a title or the label of the x axis, broken and shrunk as the axes are narrow, and literally."""
    wide, least = pitch(ax, "x", 1), min(text.get_size(), LEAST)
    broken, size = _fitted([words], 0.95 * wide, wide, text.get_size()) or ([in_lines(words, 20)], least)
    text.set(text=broken[0], size=size, parse_math=False)


def settle(ax: Axes, made: bool) -> None:
    """Lay out a figure that was made here, so that the room along its axes is known; a small one warns when drawn."""
    if made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ax.figure.get_layout_engine().execute(ax.figure)


def caption(ax: Axes, text: str) -> None:
    """Write a small grey text under the x axis, in lines as wide as axes among others, or as a figure of one.

    A long one is cut.
    """
    size = 0.8 * ax.xaxis.label.get_size()
    cut = textwrap.wrap(text, _NOTE, max_lines=1, placeholder=" …")[0]
    if ax.figure.axes[1:]:
        cut = textwrap.fill(cut, max(int(pitch(ax, "x", 1) / (0.55 * size)), 20), break_long_words=False)
    under = {"xycoords": ax.xaxis.label, "xytext": (0, -0.5 * size), "textcoords": "offset points"}
    look = {"ha": "center", "va": "top", "size": size, "color": _FAINT, "annotation_clip": False, "parse_math": False}
    ax.annotate(cut, (0.5, 0), wrap=True, **under, **look)


def label(ax: Axes, frame: Frame) -> Axes:
    """Label both axes, and keep a label that is there where the new one is empty."""
    ax.set(**{key: frame[key] for key in ("xlabel", "ylabel") if frame.get(key)})
    return ax


def floor(ax: Axes) -> float:
    """Return the zorder from which up to a half more is behind all that is drawn, and above the grid."""
    drawn = (*ax.lines, *ax.collections, *ax.patches, *ax.images, *ax.texts, *ax.artists, *ax.tables)
    return min((artist.get_zorder() for artist in drawn), default=2.5) - 0.5


def literal(key: Any) -> None:
    """Take the texts of a legend literally, never as mathematics."""
    for text in (*key.get_texts(), key.get_title()):
        text.set_parse_math(False)


def pitch(ax: Axes, axis: str, count: int) -> float:
    """Return the room, in points, that each of `count` rows has along an axis; axes without room count as a pixel."""
    box = ax.get_window_extent()
    return 72 * max(box.height if axis == "y" else box.width, 1.0) / ax.figure.dpi / count


def name(drawn: Sequence[Axes], axis: str, at: np.ndarray, names: Sequence[object], made: bool = False) -> None:
    """Name places of an axis: crowded names shrink, to 7 points, and where they still touch every k-th is left.

    Long ones are broken in lines, else they lose their middle; on an x axis they are turned where they can't lie. As
    names move the axes, those of a figure made here are looked at again.
    """
    texts = [str(each) for each in names]
    full = getattr(drawn[0], f"{axis}axis").get_major_ticks(1)[0].label1.get_fontsize()
    settle(drawn[0], made)
    wide, high = (pitch(drawn[0], each, 1) for each in "xy")
    for again in (False, True)[: 1 + made]:
        settle(drawn[0], again)
        for ax in drawn:
            room, longest, fit, look = pitch(ax, axis, len(texts)), 0.4 * wide, None, {}
            if axis == "x":
                fit, longest = _fitted(texts, 0.95 * room, high / 6, full), min(wide, high) / 2
            if axis == "x" and fit is None:
                room, look = room / 2**0.5, {"rotation": 45, "rotation_mode": "anchor", "ha": "right", "va": "top"}
            fit = fit or _fitted(texts, longest, room, full)
            shown, size = fit or (_shortened(texts, int(longest / (0.55 * LEAST))), min(full, LEAST))
            k = 1 if fit else math.ceil(_LINE * size / room - 0.01)
            getattr(ax, f"set_{axis}ticks")(at[::k], shown[::k], fontsize=size, parse_math=False, **look)


def in_lines(name: str, width: int) -> str:
    """Break a name wider than that, after blanks, colons and underscores and before brackets."""
    if len(name) <= width:
        return name
    parts = re.sub(r"(?<=[:_])(?=[^\W_])|(?=\[)", _SEAM, name)
    return textwrap.fill(parts, width, break_long_words=False, replace_whitespace=False).replace(_SEAM, "")


def _made(count: int, figsize: tuple[float, float], columns: int, **shared: bool) -> list[Axes]:
    """Return axes of a new figure, with larger texts, in rows of which the last may be shorter."""
    import matplotlib.pyplot as plt

    wide = min(count, columns)
    grid = plt.subplots(-(-count // wide), wide, figsize=figsize, layout="constrained", squeeze=False, **shared)[1]
    for spare in grid.flat[count:]:
        spare.remove()
    drawn = list(grid.flat[:count])
    ticks, labels = ("medium", "large") if count > 1 or figsize[0] <= _PAGE else ("large", "x-large")
    for ax in drawn:
        ax.tick_params(labelsize=ticks)
        for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
            text.set_size(labels)
    for lowest in drawn[max(count - wide, 0) :]:
        lowest.tick_params(labelbottom=True)
    return drawn


def _fitted(texts: Sequence[str], along: float, across: float, full: float) -> tuple[list[str], float] | None:
    """Return texts in lines of so many points, within so many points across, and the size of their letters, if any."""
    letter = _letter(texts)
    for size in np.linspace(full, min(full, LEAST), 5):
        most = int(along / (letter * size))
        shown = [in_lines(text, max(most, 1)) for text in texts]
        lines = [text.split("\n") for text in shown]
        high = max(map(len, lines))
        longest = max(len(line) for each in lines for line in each)
        if size * (_LINE * high + 0.3 * (high > 1)) <= across and longest <= most:
            return shown, size
    return None


def _letter(texts: Sequence[str]) -> float:
    """Return the width of a letter of the widest text, in sizes. Those that the font has not are told when drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        boxes = [text_to_path.get_text_width_height_descent(text, FontProperties(size=1), False) for text in texts]
    return max(box[0] / max(len(text), 1) for box, text in zip(boxes, texts, strict=True)) or 1.0


def _shortened(texts: list[str], most: int) -> list[str]:
    """Leave out the middle of texts longer than `most` letters, or than what keeps them apart."""
    for limit in range(max(most, 16), max(map(len, texts)), 4):
        keep = limit // 2 - 1
        short = [re.sub(f"^(.{{{keep}}}).{{3,}}(.{{{keep}}})$", r"\1…\2", text) for text in texts]
        if len(set(short)) == len(set(texts)):
            return short
    return texts
