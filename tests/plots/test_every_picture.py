"""What holds for every picture: whose figure it is, its size, its labels, and that nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import artists
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_groups import blups
from test_marginal_pictures import cells

from pymer4.plots import inference
from pymer4.plots.forest import forest
from pymer4.plots.groups import caterpillar, caterpillars, group_lines
from pymer4.plots.marginal import marginal
from pymer4.plots.residuals import partial_regression, quantiles, residuals_against_fitted

VALUES, SPREAD = blups(6)
CURVE = ("sigma", np.linspace(1, 3, 5), np.linspace(-3, 3, 5))
CALLS = {
    "residuals": lambda **kw: residuals_against_fitted([1, 2, 3], [0.1, -0.2, 0.1], **kw),
    "quantiles": lambda **kw: quantiles([0.1, -0.2, 0.3], **kw),
    "partial": lambda **kw: partial_regression(np.array([1.0, 2, 4]), np.array([3, 2, 5]), np.ones((3, 1)), **kw),
    "caterpillars": lambda **kw: caterpillars(VALUES[["Days"]], SPREAD, **kw),
    "marginal": lambda **kw: marginal(cells(a=["x", "y"], b=["u", "v"]), **kw),
    "caterpillar": lambda **kw: caterpillar(VALUES["Days"], population=0.2, half_width=np.ones(6), **kw),
    "forest": lambda **kw: forest(VALUES.iloc[:2, 0], [-1, -1], [1, 2], points=VALUES.T, **kw),
    "draws": lambda **kw: inference.draws(VALUES[["Days"]], [0.1], [-0.5], [0.4], null=0.0, **kw),
    "nulls": lambda **kw: inference.nulls(VALUES[["Days"]], [0.4], [0.2], **kw),
    "folds": lambda **kw: inference.folds(VALUES["Days"], 0.1, **kw),
    "zetas": lambda **kw: inference.zetas([CURVE], [2.0], [1.3], [2.7], threshold=3.84, **kw),
    "group_lines": lambda **kw: group_lines(["x", "y"], VALUES, labels=VALUES.index, population=[0, 1], **kw),
}
every_call = pytest.mark.parametrize("draw", CALLS.values(), ids=CALLS)


@every_call
def test_a_figure_is_made_only_where_none_is_given(draw, ax):
    assert draw(ax=ax, xlabel="across", ylabel="up") is ax
    assert artists.labels(ax) == ("across", "up")
    assert plt.get_fignums() == []
    axes = draw(figsize=(5, 4))
    assert plt.get_fignums() == [axes.figure.number]
    np.testing.assert_array_equal(axes.figure.get_size_inches(), (5, 4))


@pytest.mark.parametrize("name", CALLS)
def test_figures_fit_a_page_and_nothing_global_changes(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    before = dict(matplotlib.rcParams)
    axes = CALLS[name]()
    assert dict(matplotlib.rcParams) == before
    np.testing.assert_array_equal(axes.figure.get_size_inches(), (7, 5))
    artists.check_texts(axes.figure)
    assert not axes.spines["top"].get_visible() and not axes.spines["right"].get_visible()


@every_call
def test_a_subfigure_and_axes_without_room_can_be_drawn_on(draw):
    panel = plt.figure(layout="constrained").subfigures(1, 2)[1].subplots()
    assert draw(ax=panel) is panel
    panel.figure.figure.canvas.draw()
    figure = draw(figsize=(0.2, 0.2)).figure
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        figure.canvas.draw()
    draw(ax=Figure().add_axes((0.5, 0.5, 0, 0)))


@every_call
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_a_figure_of_the_user_is_left_alone(draw, layout):
    figure, (mine, other) = plt.subplots(1, 2, layout=layout)
    before, engine = [panel.get_position().bounds for panel in (mine, other)], figure.get_layout_engine()
    draw(ax=mine)
    assert [panel.get_position().bounds for panel in (mine, other)] == before
    assert figure.get_layout_engine() is engine and figure.axes == [mine, other]
    assert not figure.texts and not figure.legends
    figure.canvas.draw()


ODD = pd.Index(["_a$x$", "I(cost$ + tax$)"], name="b$")
SQUARE = pd.DataFrame([[1.0, 2.0], [2.0, 1.0]], index=ODD, columns=ODD)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: forest(SQUARE.iloc[0], [0, 1], [2, 3], note="a\u00a0=\u00a0$2$"),
        lambda: group_lines(ODD, SQUARE, labels=ODD, note="a\u00a0=\u00a0$2$"),
        lambda: caterpillars(SQUARE, SQUARE)[0],
        lambda: inference.draws(SQUARE, *[[1.0, 1.0]] * 3)[0],
        lambda: marginal(cells(**{"c $": list(ODD), "t $": list(ODD), "s $": ["$1$", "2"]}))[0],
    ],
    ids=["forest", "group_lines", "caterpillars", "draws", "marginal"],
)
def test_names_are_taken_literally(draw):
    texts = [text for text in draw().figure.findobj(Text) if "$" in text.get_text()]
    assert {*ODD} <= {text.get_text() for text in texts}
    assert not any(text.get_parse_math() for text in texts if text.get_text() != "c $")  # a label is the caller's


def test_matplotlib_and_scipy_wait_until_a_picture_is_asked_for():
    code = """
import sys
import pymer4.models.pictures
from pymer4.plots import forest as f, groups as g, inference, residuals as d, marginal
assert not any(name.split(".")[0] in ("matplotlib", "rpy2", "scipy") for name in sys.modules)
import pandas as pd
from matplotlib.figure import Figure
d.quantiles([1, 2], ax=Figure().subplots())
f.forest(pd.Series({"a": 1.0, "b": 2.0}), [0, 1], [2, 3], note="a", ax=Figure().subplots())
g.group_lines([0, 1], [[1, 2]], labels=["a"], ax=Figure().subplots())
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
