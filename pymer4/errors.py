"""The error tree: every failure says what was given, what is allowed, and what to do next.

Errors about arguments and data are `ValueError`s as well, so that code which
catches those keeps working. What R itself says arrives as `RError`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = [
    "ConvergenceWarning",
    "DataError",
    "FileError",
    "FormulaError",
    "MissingFileError",
    "ModelWarning",
    "NotFittedError",
    "OptionError",
    "Pymer4Error",
    "RError",
    "RUnavailable",
]


class Pymer4Error(Exception):
    """Base class of every error that pymer4 raises on purpose."""


class FormulaError(Pymer4Error, ValueError):
    """A model formula that can't be read, or that names what is not there."""


class DataError(Pymer4Error, ValueError):
    """A data frame, or a column of one, that a model can't be fitted to."""


class OptionError(Pymer4Error, ValueError):
    """An argument whose value is not among the legal ones."""


class NotFittedError(Pymer4Error, RuntimeError):
    """A result was asked of a model before `fit()`."""


class RError(Pymer4Error, RuntimeError):
    """An error raised by R, in R's own words.

    Attributes:
        message: what R said.
        verb: the question R was answering.
        formula: the model formula, where there was one.
        advice: what to do about it, where that is known.
    """

    def __init__(self, message: str, verb: str, formula: str | None = None, advice: str = ""):
        self.message, self.verb, self.formula, self.advice = message, verb, formula, advice
        about = f"\n  formula: {formula}" if formula else ""
        super().__init__(f"R stopped in {verb}: {message}{about}" + (f"\n{advice}" if advice else ""))

    def __reduce__(self) -> tuple[type[RError], tuple[str, str, str | None, str]]:
        """Return what makes the error again in the process that asked a worker."""
        return type(self), (self.message, self.verb, self.formula, self.advice)


class RUnavailable(Pymer4Error, ImportError):
    """R can't be used here; the message ends with the command that mends it."""


class FileError(Pymer4Error, OSError):
    """A model file that can't be written or read; the message names it and says what to do."""


class MissingFileError(FileError, FileNotFoundError):
    """A model file, or one of the two, that is not there."""


class ModelWarning(UserWarning):
    """A warning about a model that was fitted nevertheless."""


class ConvergenceWarning(ModelWarning):
    """The optimizer stopped at a doubtful place, or at the edge of the parameter space."""


def shown(value: object, most: int = 120) -> str:
    """Return a value as an error quotes it: as Python spells it where that is short, else its kind, shape or start.

    Examples:
        >>> import numpy as np
        >>> shown("x"), shown(np.ones((2, 3)))
        ("'x'", '<ndarray of shape (2, 3)>')
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"<{type(value).__name__} of shape {shape}>"
    if isinstance(value, int) and value.bit_length() > 4 * most:
        return f"<int of {value.bit_length()} bits>"
    with np.errstate(all="ignore"):  # pandas casts the numbers of a frame to spell it
        text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def near(name: object, allowed: Iterable[object]) -> str:
    """Return `" Did you mean 'x'?"` for the legal name nearest to a text, or an empty text."""
    if not isinstance(name, str):
        return ""
    legal = {str(a).lower(): a for a in allowed}
    found = difflib.get_close_matches(name.lower(), legal, n=1)
    return f" Did you mean {str(legal[found[0]])!r}?" if found else ""


def items(value: object) -> list[Any] | None:
    """Return what a list holds, or anything else that is gone through like one; None for text, a dict, or one thing."""
    alone = isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable)
    return None if alone or getattr(value, "ndim", 1) == 0 else list(value)


def among(value: object, allowed: Iterable[object]) -> bool:
    """Return whether a value is one of the legal ones, and of its type: neither 1 nor an array is True."""
    return any(value is a or (type(value) is type(a) and value == a) for a in allowed)


def one_of(argument: str, value: object, allowed: Iterable[object]) -> object:
    """Return `value` if it is legal.

    Args:
        argument: the argument's name, for the message.
        value: what was given.
        allowed: the legal values.

    Raises:
        OptionError: naming the value, the legal ones, and the nearest of them.
    """
    allowed = tuple(allowed)
    if among(value, allowed):
        return value
    legal = ", ".join(repr(a) for a in allowed)
    raise OptionError(f"{argument}={shown(value)} is not known. Use one of: {legal}.{near(value, allowed)}")


def also_spelled(**names: str) -> Callable[[Callable], Callable]:
    """Let a function take arguments under other spellings too, beside those in its signature.

    Args:
        **names: other spelling to the argument's own name.

    Raises:
        TypeError: where the function is called with both spellings of one argument.
    """

    def decorated(function: Callable) -> Callable:
        places = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def taken(*args: Any, **kwargs: Any) -> Any:
            for other in names.keys() & kwargs.keys():
                name = names[other]
                if name in kwargs or name in places[: len(args)]:
                    raise TypeError(
                        f"{function.__qualname__}() was given {name} and {other}, which are one argument. Give one."
                    )
                kwargs[name] = kwargs.pop(other)
            return function(*args, **kwargs)

        return taken

    return decorated


def issue(text: str, kind: type[ModelWarning]) -> None:
    """Issue a Python warning on the user's own line, the nearest one outside this package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pymer4":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level)
