"""What was drawn, read back from axes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.collections import LineCollection, PathCollection, PolyCollection


def labelled(axes, label):
    """Return the one line of that label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def cloud(axes):
    """Return the one scatter."""
    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    return dots


def points(axes):
    """Return the places of the one scatter, shape (n, 2)."""
    return np.asarray(cloud(axes).get_offsets())


def dots(axes):
    """Return the one line of marks alone, shape (n, 2)."""
    (line,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    return line.get_xydata()


def bars(axes):
    """Return the ends of all bars, shape (n, 2, 2)."""
    return np.concatenate([c.get_segments() for c in axes.collections if isinstance(c, LineCollection)])


def band(axes, x):
    """Return the lower and the upper edge of the one band at the places x."""
    (area,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    corners = area.get_paths()[0].vertices
    found = [corners[np.isclose(corners[:, 0], place, rtol=1e-12), 1] for place in x]
    return np.array([f.min() for f in found]), np.array([f.max() for f in found])


def span(axes):
    """Return the ends of the one vertical strip."""
    (strip,) = axes.patches
    return strip.get_extents().transformed(axes.transData.inverted()).intervalx


def slope(line):
    """Return the slope of a straight line."""
    (x0, y0), (x1, y1) = line.get_xydata()[[0, -1]]
    return (y1 - y0) / (x1 - x0)


def names(axes, axis="x"):
    """Return the names of an axis."""
    return [tick.get_text() for tick in getattr(axes, f"get_{axis}ticklabels")()]


def drawn(axes):
    """Return every artist that a picture can add."""
    return [*axes.lines, *axes.collections, *axes.patches]


def note(axes):
    """Return what is written under the axis, with plain blanks; empty where there is nothing."""
    return " ".join(text.get_text().replace("\u00a0", " ") for text in axes.texts)


def labels(axes):
    """Return the labels of both axes."""
    return axes.get_xlabel(), axes.get_ylabel()


def _ticks(axes, axis):
    """Return the names that are drawn along an axis, not those beyond its ends."""
    along = getattr(axes, f"{axis}axis")
    low, high = sorted(along.get_view_interval())
    return _shown(tick.label1 for tick in along.get_major_ticks() if low <= tick.get_loc() <= high)


def _shown(texts):
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def _boxes(texts):
    return [text.get_window_extent() for text in texts]


def check_texts(figure):
    """Check that every text can be read and lies within the figure, and that neighbours are apart."""
    figure.canvas.draw()
    keys = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    texts = _shown(text for key in keys for text in (*key.get_texts(), key.get_title()))
    for axes in figure.axes:
        down, across = (_ticks(axes, axis) for axis in "yx")
        below = _shown([axes.xaxis.label, *axes.texts])
        texts += [*down, *across, *below, *_shown([axes.yaxis.label, axes.title])]
        _check_apart(_boxes(down), down=True)
        if across and across[0].get_rotation():
            # Turned by half a right angle, they are apart when their lines are.
            between = np.diff([axes.transData.transform((text.get_position()[0], 0))[0] for text in across]) / 2**0.5
            assert (between >= 1.1 * across[0].get_fontsize() * figure.dpi / 72).all()
        else:
            _check_apart(_boxes(across))
        _check_apart(_boxes([*across[:1], *below]), down=True)
    for row in {round(axes.get_position().y0, 3) for axes in figure.axes}:
        panels = [axes for axes in figure.axes if round(axes.get_position().y0, 3) == row]
        _check_apart(_boxes(_shown(axes.title for axes in panels)))
        _check_apart(_boxes(_shown(axes.xaxis.label for axes in panels)))
    boxes, whole = _boxes(texts), figure.bbox
    assert min(text.get_fontsize() for text in texts) >= 7
    assert min(box.x0 for box in boxes) >= -1 and max(box.x1 for box in boxes) <= whole.x1 + 1
    assert min(box.y0 for box in boxes) >= -1 and max(box.y1 for box in boxes) <= whole.y1 + 1


def _check_apart(boxes, down=False):
    if down:
        assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(sorted(boxes, key=lambda box: -box.y0)))
    else:
        assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))
