"""A call of a plotting method that can't be drawn is refused in our words, and leaves the axes it was given alone."""

from __future__ import annotations

import inspect
import itertools
from functools import cache

import artists
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pymer4 import Lm, Lm2, Lmer, load_dataset
from pymer4.errors import NotFittedError, OptionError

NEEDED = {"plot": ["Days"], "plot_partial": ["Days"]}
METHODS = [
    (cls, name)
    for cls in (Lm, Lm2, Lmer)
    for name in sorted(dir(cls))
    if name.startswith("plot") and name != "plot_inference"
]
NOT_FLAGS = ["yes", 2, None, np.nan, [True], 0.5]
NOT_TEXT = [5, ["a"], {"a": 1}, b"a", True]
BAD = {
    "figsize": [
        (7,), (7, 5, 3), (-7, 5), (0, 5), (7, np.nan), (np.inf, 5), ("7", "5"), "big", 7, (True, 5), [[7, 5]], (1e9, 5),
        np.ones((2, 2)), {7, 5}, (7, None), [], (10**400, 5),
    ],
    "ax": [
        "ax", 3, np.array(3), {"a": 1}, lambda: Figure(), lambda: plt.Figure, lambda: polar(), lambda: removed(),
        lambda: [polar()], lambda: ["ax"], lambda: [], lambda: [axes(), None], lambda: twice(),
    ],
    "axlim": [
        (1,), (0, 1, 2), ("a", "b"), (np.nan, 1), (0, np.inf), (1, 0), (1, 1), "01", 5, [[0, 1]], {0, 1}, (None, 1),
        (True, 2), (0, 1j), (0, 10**400),
    ],
    "coef_fmt": ["zz", "o-x", "o o", 5, None, ["o"], "reddish"],
    "xlabel": NOT_TEXT,
    "ylabel": NOT_TEXT,
    "ranef_alpha": [-0.1, 1.1, np.nan, "0.5", None, True, [0.5]],
    "error_bars": ["sd", None, ["ci"], 1],
    "orient": ["x", None, ["v"], 1],
    "order": ["down", None, ["value"], 1],
    "ranef_idx": [9, -1, "nope", None, [0], True, 1.5, np.array([0, 1]), np.arange(9000), 10**5000],
    "grps": [
        None, ["nope"], ["308", "308"], ["308", 308], 308, [None], [["308"]], np.array(308), {"nope": 1}, range(9000),
    ],
    "terms": ["days", ["Days", "Days"], ["Days", 3], 5, [], [None], [["Days"]], np.array(["day"])],
    "param": ["days", None, 5, ["Days"], ("Days",)],
    "term": ["days", None, 5, ["Days"], ("Days",)],
    "seed": [-1, "x", 1.5, True, [1]],
    "conf_level": [0, 1, np.nan, "x", True, [0.9]],
    **dict.fromkeys(("ranef", "plot_intercept", "plot_fixef", "plot_ci", "contrasts"), NOT_FLAGS),
}  # fmt: skip


def axes():
    return Figure().subplots()


@cache
def polar():
    return Figure().add_subplot(projection="polar")


@cache
def removed():
    ax = axes()
    ax.remove()
    return ax


def twice():
    return [axes()] * 2


def case(cls, name, *more):
    """Return a method, and an argument of it, as parameters of a test."""
    marks = pytest.mark.r if cls is Lmer else ()
    return pytest.param(cls, name, *more, marks=marks, id=".".join([cls.__name__, name, *more]))


def methods(*names):
    return [case(cls, name) for cls, name in METHODS if not names or name in names]


def cases() -> list:
    return [
        case(cls, name, argument)
        for cls, name in METHODS
        for argument, p in list(inspect.signature(getattr(cls, name)).parameters.items())[1:]
        if p.kind is not p.VAR_KEYWORD
    ]


@cache
def model(cls):
    """Return a fitted model with two random effects and means to draw."""
    data = load_dataset("sleepstudy") if cls is Lmer else _like_sleep()
    made = cls("Reaction ~ Days" + " + (Days | Subject)" * (cls is Lmer), data, *["Subject"] * (cls is Lm2))
    made.fit(summarize=False)
    table = pd.DataFrame({"a": ["u", "v"], "Estimate": [1.0, 2.0], "2.5_ci": [0.5, 1.5], "97.5_ci": [1.5, 2.5]})
    made.marginal_estimates = made.marginal_contrasts = table
    return made


@cache
def panels_of(cls, name) -> int:
    """Return how many panels a picture has."""
    count = np.size(np.asarray(asked(cls, name), dtype=object))
    plt.close("all")
    return count


@cache
def untouched(count) -> list:
    """Return axes that no refused call changes, so that all can be given the same."""
    return [axes() for _ in range(count)]


def _like_sleep() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"Days": np.tile(np.arange(10.0), 6), "Subject": np.repeat(list("abcdef"), 10)})
    return frame.assign(Reaction=250 + 10 * frame["Days"] + rng.normal(size=60))


def asked(cls, name, **given):
    """Call a method with what it needs, but for what is given."""
    method = getattr(model(cls), name)
    needed = dict(zip(list(inspect.signature(method).parameters), NEEDED.get(name, []), strict=False))
    return method(**{**needed, **given})


def state(mine):
    """Return what a picture can change of axes."""
    return [
        (
            [id(child) for child in ax.get_children()], [spine.get_visible() for spine in ax.spines.values()],
            ax.get_xlim(), ax.get_ylim(), ax.get_xlabel(), ax.get_ylabel(), ax.get_title(),
        )
        for ax in np.ravel(np.asarray(mine, dtype=object))
    ]  # fmt: skip


@pytest.mark.parametrize(("cls", "name"), methods())
def test_the_call_that_the_others_spoil_is_sound(cls, name):
    drawn = np.ravel(np.asarray(asked(cls, name), dtype=object))
    assert all(ax.has_data() for ax in drawn)
    mine = [axes() for _ in drawn]
    before = state(mine)
    asked(cls, name, ax=[mine] if len(mine) > 1 else mine[0])
    assert all(new != old for new, old in zip(state(mine), before, strict=True))


@pytest.mark.parametrize(("cls", "name", "argument"), cases())
def test_a_wrong_argument_is_refused_before_anything_is_drawn(cls, name, argument):
    count = panels_of(cls, name)
    mine = untouched(count)
    before = state(mine)
    for value in BAD[argument]:
        value = value() if callable(value) else value
        given = {"ax": mine if count > 1 else mine[0], argument: value}
        try:
            asked(cls, name, **given)
        except OptionError as refused:
            text = str(refused)
        else:
            pytest.fail(f"{argument}={value!r} was taken")
        assert argument in text, (value, text)
        assert text.endswith((".", "?")) and len(text) < 400, (value, text)
        assert state(mine) == before, value
        assert plt.get_fignums() == [], value


@pytest.mark.parametrize(("cls", "name"), methods())
def test_another_number_of_axes_than_of_panels_is_refused(cls, name):
    count = panels_of(cls, name)
    mine = untouched(count + 1)
    before = state(mine)
    for given in (mine, np.array(mine, dtype=object), tuple(mine)):
        with pytest.raises(OptionError, match=r"ax holds \d axes( for \d|, and this picture has one) panel"):
            asked(cls, name, ax=given)
    assert state(mine) == before


@pytest.mark.parametrize(("cls", "name"), methods())
def test_an_unknown_keyword_is_refused_with_the_near_one(cls, name):
    (mine,) = untouched(1)
    before = state(mine)
    with pytest.raises(TypeError, match=rf"{cls.__name__}.{name}\(\) has no argument 'figsise'.*'figsize'.*takes: "):
        asked(cls, name, ax=mine, figsise=(7, 5))
    with pytest.raises(TypeError, match=rf"{cls.__name__}.{name}\(\): .*It takes: "):
        getattr(model(cls), name)(*range(20))
    assert state(mine) == before


@pytest.mark.parametrize(("cls", "name"), methods())
def test_a_fit_is_asked_for_first(cls, name):
    unfitted = cls("Reaction ~ Days" + " + (1 | Subject)" * (cls is Lmer), _like_sleep(), *["Subject"] * (cls is Lm2))
    with pytest.raises(NotFittedError, match=rf"{name}\(\) needs a fitted model"):
        getattr(unfitted, name)(*NEEDED.get(name, []), figsize="big")


@pytest.mark.parametrize(
    ("cls", "name"), [*methods("plot_summary"), *methods("plot", "plot_ranef"), *methods("plot_qq")[:1]]
)
def test_plain_forms_of_an_argument_are_taken(cls, name):
    known = inspect.signature(getattr(cls, name)).parameters
    plain = {
        "figsize": [[6, 4], np.array([6.0, 4.0]), (np.int64(6), np.float32(4))], "axlim": [[-1, 5], np.array([-1, 5])],
        "coef_fmt": ["s", "none", "C1D", "teal", "r^"], "xlabel": [None, "x"], "ranef_alpha": [0, 1, np.float64(0.3)],
        "plot_ci": [1, np.True_], "contrasts": [0, np.False_], "seed": [None, 3, np.random.default_rng(1)],
        "grps": ["308", ("308",), np.array(["308", "309"]), pd.Index(["308"]), [308]],
        "terms": ["Days", ("Days",), pd.Index(["Days", "(Intercept)"])],
    }  # fmt: skip
    for argument, value in itertools.chain(*([(a, v) for v in values] for a, values in plain.items() if a in known)):
        drawn = np.ravel(np.asarray(asked(cls, name, **{argument: value}), dtype=object))
        if argument == "figsize":
            np.testing.assert_array_equal(drawn[0].figure.get_size_inches(), (6, 4))
        plt.close("all")


@pytest.mark.parametrize(("cls", "name"), methods())
def test_default_sizes_fit_a_page_or_are_documented(cls, name):
    figure = np.ravel(np.asarray(asked(cls, name), dtype=object))[0].figure
    documented = {"plot": (8, 6), "plot_summary": (12, 6)}
    width, height = figure.get_size_inches()
    assert (width, height) == documented[name] if name in documented else width <= 7 and height <= 9
    artists.check_texts(figure)


def test_a_label_that_can_not_be_drawn_is_refused_and_letters_that_the_font_lacks_are_told_as_they_are_drawn():
    with pytest.raises(OptionError, match=r"xlabel=.*ud800.* without halves of characters"):
        model(Lm).plot_residuals(xlabel="\ud800")
    ax = model(Lm).plot_residuals(xlabel="\u4e2d\u6587")
    with pytest.warns(UserWarning, match="Glyph"):
        ax.figure.canvas.draw()
