"""What the arguments of a picture may be: each check returns a value in plain form, or raises an `OptionError`.

They run before anything is drawn, so that a call that is refused leaves the axes it was given as they were. `picture`
and `panels` are the door that every plotting method of a model has.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from pymer4.errors import OptionError, check_keywords, items, near, once, one_of, shown, truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 500  # inches; matplotlib draws no more than 65,536 pixels a side


def one_axes(argument: str, value: Any) -> Axes:
    """Return the axes of a picture that has one panel."""
    if _is_several(value):
        raise OptionError(
            f"{argument} holds {np.size(np.asarray(value, dtype=object))} axes, and this picture has one panel. Give "
            "one matplotlib Axes, such as axes[0], or none to have a figure made."
        )
    return _sound(argument, value)


def some_axes(argument: str, value: Any) -> Axes | list[Axes]:
    """Return the axes of a picture that may have several panels: one, or several in any shape."""
    from matplotlib.cbook import flatten

    if not _is_several(value):
        return _sound(argument, value)
    held = [_sound(f"a panel of {argument}", each) for each in flatten(value)]
    if len(set(held)) < len(held):
        raise OptionError(f"{argument} holds the same Axes more than once. Give one a panel.")
    return held


def size(argument: str, value: Any) -> tuple[float, float]:
    """Return width and height of a figure, in inches."""
    found = _pair(value)
    if found is None or min(found) <= 0 or max(found) > _LARGEST:
        raise OptionError(
            f"{argument}={shown(value)} has to be width and height in inches, two numbers above 0 and at most "
            f"{_LARGEST}, such as (7, 5)."
        )
    return found


def limits(argument: str, value: Any) -> tuple[float, float]:
    """Return the ends of an axis."""
    found = _pair(value)
    if found is None or found[0] >= found[1]:
        raise OptionError(
            f"{argument}={shown(value)} has to be the two ends of the axis, finite numbers, the lower one first, such "
            "as (-1, 1). Leave it out for all that is drawn."
        )
    return found


def marks(argument: str, value: Any) -> str:
    """Return a format string of matplotlib, or "none"."""
    from matplotlib.figure import Figure

    if isinstance(value, str):
        if value.lower() == "none":
            return value
        with contextlib.suppress(ValueError):
            Figure().subplots().plot([0], [0], value)
            return value
    raise OptionError(
        f"{argument}={shown(value)} is not a format of matplotlib. Use a mark, such as 'o', 's' or 'D', with a colour "
        "where it is not to be black, such as 'rs', or 'none' for bars alone."
    )


def opacity(argument: str, value: Any) -> float:
    """Return a number from 0 to 1."""
    if _is_number(value) and 0 <= value <= 1:
        return float(value)
    raise OptionError(f"{argument}={shown(value)} has to be an opacity from 0, not to be seen, to 1.")


def label(argument: str, value: Any) -> str:
    """Return the label of an axis; None is an empty one, in whose place stands what is drawn there."""
    if value is None:
        return ""
    if isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value):
        return value
    raise OptionError(
        f"{argument}={shown(value)} has to be text, without halves of characters, and '' for the default."
    )


def names_among(argument: str, value: Any, known: Sequence[str]) -> list[str]:
    """Return names that are known, each given once; a single one may stand alone."""
    given = [str(each) if isinstance(each, str) else each for each in listed(argument, value)]
    for each in given:
        one_of(argument, each, known)
    once(argument, given)
    if not given:
        raise OptionError(f"{argument} is empty. Leave it out for all.")
    return given


def place(argument: str, which: int | str, names: Iterable[str]) -> int:
    """Return the place of a grouping factor, given by its name or as that place."""
    names = list(names)
    if isinstance(which, str) and which in names:
        return names.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(names):
        return int(which)
    known = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise OptionError(f"{argument}={shown(which)} is not a grouping factor. Use one of: {known}.{near(which, names)}")


def listed(argument: str, value: Any) -> list[Any]:
    """Return what was given as a list; a text is one label."""
    found = [value] if isinstance(value, str) else items(value)
    if found is None:
        raise OptionError(f"{argument}={shown(value)} has to be a list of labels. Leave it out for all.")
    return found


def _sound(argument: str, value: Any) -> Axes:
    """Return axes on which straight lines are straight, and which belong to a figure."""
    from matplotlib.axes import Axes

    if isinstance(value, Axes) and value.figure is not None and value.name == "rectilinear":
        return value
    if isinstance(value, Axes) and value.figure is None:
        raise OptionError(f"{argument} is an Axes that was removed from its figure. Give one that is still there.")
    raise OptionError(
        f"{argument}={shown(value)} is not a plain matplotlib Axes of a figure. Give what plt.subplots() returns "
        "beside the figure, or none to have a figure made."
    )


def _is_several(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _pair(value: Any) -> tuple[float, float] | None:
    """Return two finite numbers as floats; None for anything else."""
    given = list(value) if _is_several(value) else []
    if len(given) != 2 or not all(map(_is_number, given)):
        return None
    try:
        low, high = map(float, given)
    except OverflowError:
        return None
    return (low, high) if np.isfinite([low, high]).all() else None


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "figsize": size,
    "ax": one_axes,
    "axlim": limits,
    "coef_fmt": marks,
    "ranef_alpha": opacity,
    "xlabel": label,
    "ylabel": label,
    "grps": listed,
    **dict.fromkeys(("ranef", "plot_intercept", "plot_fixef", "plot_ci", "contrasts"), truth),
}
"""Argument to its check. What only the model knows, such as its terms, the methods check before they draw."""


_Method = TypeVar("_Method", bound=Callable[..., Any])


def picture(method: _Method, ax: Callable[[str, Any], Any] = one_axes) -> _Method:
    """Let a plotting method have its arguments checked, and put in plain form, once there is a fit.

    An argument that is left out, or equal to its default, needs no check. One that the method does not have, or lacks,
    is a TypeError.
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

    return cast(_Method, drawn)


def panels(method: Callable[..., Any]) -> Callable[..., Any]:
    """Do as `picture` for a method that draws several panels, and takes as many axes."""
    return picture(method, some_axes)
