"""The door that every plotting method of a model has: what is wrong with a call is said before anything is drawn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pymer4.errors import check_keywords, truth
from pymer4.plots import arguments

_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "figsize": arguments.size,
    "ax": arguments.one_axes,
    "axlim": arguments.limits,
    "coef_fmt": arguments.marks,
    "ranef_alpha": arguments.opacity,
    "xlabel": arguments.label,
    "ylabel": arguments.label,
    "param": arguments.one_name,
    "term": arguments.one_name,
    "grps": arguments.listed,
    **dict.fromkeys(("ranef", "plot_intercept", "plot_fixef", "plot_ci", "contrasts"), truth),
}
"""Argument to its check. What only the model knows, such as its terms, the methods check before they draw."""


def picture(method: Callable) -> Callable:
    """Let a plotting method have its arguments checked, and put in plain form, before it is called.

    An argument that is left out, or equal to its default, needs no check.

    Raises:
        NotFittedError: before `fit()`.
        OptionError: an argument out of its range; see `plotting.arguments`.
        TypeError: an argument that the method does not have, or lacks.
    """
    return _checked(method, _CHECKS)


def panels(method: Callable) -> Callable:
    """Do as `picture` for a method that draws several panels, and takes as many axes."""
    return _checked(method, {**_CHECKS, "ax": arguments.some_axes})


def _checked(method: Callable, checks: Mapping[str, Callable[[str, Any], Any]]) -> Callable:
    signature = inspect.signature(method)
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
