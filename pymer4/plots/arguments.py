"""What the arguments of a picture may be: each check returns the value in plain form, or says what is allowed.

They run before anything is drawn, so that a call that is refused leaves the axes it was given as they were. `picture`
and `panels` are the door that every plotting method of a model has.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymer4.errors import OptionError, check_keywords, items, near, once, shown, truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 500  # inches; matplotlib draws no more than 65,536 pixels a side
_SHOWN = 12


def one_axes(argument: str, value: Any) -> Axes:
    """Return the axes of a picture that has one panel.

    Raises:
        OptionError: anything else, or axes that can't be drawn on.
    """
    from matplotlib.axes import Axes

    if isinstance(value, Axes):
        return _sound(argument, value)
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(np.asarray(value, dtype=object)):
        raise OptionError(
            f"{argument} is {_kind(value)} of {np.size(np.asarray(value, dtype=object))}, and this picture has one "
            "panel. Give one matplotlib Axes, such as axes[0], or none to have a figure made."
        )
    raise OptionError(
        f"{argument}={shown(value)} is {_kind(value)}, not a matplotlib Axes. Give what plt.subplots() returns beside "
        "the figure, or none to have a figure made."
    )


def some_axes(argument: str, value: Any) -> Axes | list[Axes]:
    """Return the axes of a picture that may have several panels: one, or several in any shape.

    Raises:
        OptionError: anything else, the same axes twice, or axes that can't be drawn on.
    """
    if not isinstance(value, (list, tuple, np.ndarray)) or np.ndim(np.asarray(value, dtype=object)) == 0:
        return one_axes(argument, value)
    from matplotlib.axes import Axes

    held = list(_flat(value))
    for each in held:
        if not isinstance(each, Axes):
            raise OptionError(
                f"{argument} holds {shown(each)}, {_kind(each)}. Each has to be a matplotlib Axes, one a panel."
            )
        _sound(argument, each)
    if len({id(each) for each in held}) < len(held):
        raise OptionError(f"{argument} holds the same Axes more than once. Give one a panel.")
    return held


def size(argument: str, value: Any) -> tuple[float, float]:
    """Return width and height of a figure.

    Raises:
        OptionError: they are not two numbers above 0.
    """
    found = _pair(value)
    if found is None or min(found) <= 0 or max(found) > _LARGEST:
        raise OptionError(
            f"{argument}={shown(value)} has to be width and height in inches, two numbers above 0 and at most "
            f"{_LARGEST}, such as (7, 5)."
        )
    return found


def limits(argument: str, value: Any) -> tuple[float, float]:
    """Return the ends of an axis.

    Raises:
        OptionError: they are not two finite numbers, the lower first.
    """
    found = _pair(value)
    if found is None:
        raise OptionError(
            f"{argument}={shown(value)} has to be the two ends of the axis, finite numbers, such as (-1, 1). Leave it "
            "out for all that is drawn."
        )
    if not found[0] < found[1]:
        raise OptionError(
            f"{argument}={shown(value)} has to name the lower end first, and another one second, such as "
            f"({min(found):g}, {max(found) if found[0] != found[1] else found[0] + 1:g})."
        )
    return found


def marks(argument: str, value: Any) -> str:
    """Return a format string of matplotlib, or "none".

    Raises:
        OptionError: matplotlib does not know it.
    """
    if isinstance(value, str):
        if value.lower() == "none":
            return value
        from matplotlib.figure import Figure

        try:
            Figure().subplots().plot([0], [0], value)
        except ValueError:
            pass
        else:
            return value
    raise OptionError(
        f"{argument}={shown(value)} is not a format of matplotlib. Use a mark, such as 'o', 's' or 'D', with a colour "
        "where it is not to be black, such as 'rs', or 'none' for bars alone."
    )


def opacity(argument: str, value: Any) -> float:
    """Return a number from 0 to 1.

    Raises:
        OptionError: it is none.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise OptionError(f"{argument}={shown(value)} has to be an opacity from 0, not to be seen, to 1.")


def label(argument: str, value: Any) -> str:
    """Return the label of an axis; None is an empty one, in whose place stands what is drawn there.

    Raises:
        OptionError: it is no text, or none that can be drawn.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise OptionError(f"{argument}={shown(value)} has to be text, and '' for the default.")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise OptionError(f"{argument}={shown(value)} holds half of a character, which can't be drawn. Mend the text.")
    return value


def one_name(argument: str, value: Any) -> str:
    """Return a name; whether there is such a thing only the model knows.

    Raises:
        OptionError: it is no text.
    """
    if isinstance(value, str):
        return value
    raise OptionError(f"{argument}={shown(value)} is {_kind(value)}. Give one name, as text.")


def names_among(argument: str, value: Any, known: Sequence[str]) -> list[str]:
    """Return names that are known, each given once; a single one may stand alone.

    Raises:
        OptionError: others, the same twice, or none.
    """
    given = listed(argument, value)
    listing = ", ".join(map(str, known[:_SHOWN])) + (", …" if len(known) > _SHOWN else "")
    for each in given:
        if not isinstance(each, str) or each not in known:
            raise OptionError(f"{argument} has {shown(each)}, which is none of: {listing}.{near(str(each), known)}")
    once(argument, given)
    if not given:
        raise OptionError(f"{argument} is empty. Name some of: {listing}, or leave it out for all.")
    return given


def place(argument: str, which: int | str, names: Iterable[str]) -> int:
    """Return the place of a grouping factor, given by its name or as that place.

    Raises:
        OptionError: it is none of `names`.
    """
    names = list(names)
    if isinstance(which, str) and which in names:
        return names.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(names):
        return int(which)
    listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise OptionError(f"{argument}={shown(which)} is not a grouping factor. Use one of: {listed}.{near(which, names)}")


def listed(argument: str, value: Any) -> list[Any]:
    """Return what was given as a list; a text is one label.

    Raises:
        OptionError: it can't be listed.
    """
    found = [value] if isinstance(value, str) else items(value)
    if found is None:
        raise OptionError(f"{argument}={shown(value)} has to be a list of labels. Leave it out for all.")
    return found


def _sound(argument: str, ax: Axes) -> Axes:
    """Return axes on which straight lines are straight, and which belong to a figure."""
    if ax.figure is None:
        raise OptionError(f"{argument} is an Axes that was removed from its figure. Give one that is still there.")
    if ax.name != "rectilinear":
        raise OptionError(
            f"{argument} is an Axes with {ax.name} projection. Give a plain one, as plt.subplots() makes it."
        )
    return ax


def _pair(value: Any) -> tuple[float, float] | None:
    """Return two finite numbers as floats; None for anything else."""
    if isinstance(value, (tuple, list, np.ndarray)) and len(np.shape(np.asarray(value, dtype=object))) == 1:
        given = list(value)
        if len(given) == 2 and all(isinstance(v, numbers.Real) and not isinstance(v, (bool, np.bool_)) for v in given):
            try:
                found = float(given[0]), float(given[1])
            except OverflowError:
                return None
            return found if np.isfinite(found).all() else None
    return None


def _flat(value: Any) -> Iterable[Any]:
    for each in value:
        if isinstance(each, (list, tuple, np.ndarray)):
            yield from _flat(each)
        else:
            yield each


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "figsize": size,
    "ax": one_axes,
    "axlim": limits,
    "coef_fmt": marks,
    "ranef_alpha": opacity,
    "xlabel": label,
    "ylabel": label,
    "param": one_name,
    "term": one_name,
    "grps": listed,
    **dict.fromkeys(("ranef", "plot_intercept", "plot_fixef", "plot_ci", "contrasts"), truth),
}
"""Argument to its check. What only the model knows, such as its terms, the methods check before they draw."""


def picture(method: Callable, ax: Callable[[str, Any], Any] = one_axes) -> Callable:
    """Let a plotting method have its arguments checked, and put in plain form, before it is called.

    An argument that is left out, or equal to its default, needs no check.

    Args:
        method: of a model.
        ax: the check of the axes.

    Raises:
        NotFittedError: before `fit()`.
        OptionError: an argument out of its range.
        TypeError: an argument that the method does not have, or lacks.
    """
    checks, signature = {**_CHECKS, "ax": ax}, inspect.signature(method)
    known = {name: p for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}

    @functools.wraps(method)
    def drawn(self: Any, *args: Any, **kwargs: Any) -> Any:
        what = f"{type(self).__name__}.{method.__name__}"
        check_keywords({name: value for name, value in kwargs.items() if name not in known}, (), method, what)
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{what}(): {error}. It takes: {', '.join(list(known)[1:])}.") from None
        self._require_fit(f"{method.__name__}()")
        for name, value in given.arguments.items():
            if name in checks and value is not known[name].default:
                given.arguments[name] = checks[name](name, value)
        return method(*given.args, **given.kwargs)

    return drawn


def panels(method: Callable) -> Callable:
    """Do as `picture` for a method that draws several panels, and takes as many axes."""
    return picture(method, some_axes)
