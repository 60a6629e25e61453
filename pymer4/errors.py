"""The error tree, and the checks of arguments: every failure says what was given, what is allowed, and what to do.

Errors about arguments and data are each a `ValueError` as well, so that code which catches those keeps working.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np

__all__ = [
    "ConvergenceWarning",
    "DataError",
    "FileError",
    "FormulaError",
    "MissingFileError",
    "MissingLibrary",
    "ModelWarning",
    "NotFittedError",
    "OptionError",
    "Pymer4Error",
    "RError",
    "RUnavailable",
    "WorkerError",
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
    """R can't be used here; the message has the command that fixes it, and ends with the one that shows all."""

    def __str__(self) -> str:
        return f"{super().__str__()}\nTo see all of it:  python -m pymer4 doctor"


class MissingLibrary(Pymer4Error, ImportError):
    """A Python package that is not required and not there; the message ends with the command that installs it."""


class WorkerError(Pymer4Error, RuntimeError):
    """A worker process ended before its work did; the message says how, and what to do."""


class FileError(Pymer4Error, OSError):
    """A model file that can't be written or read; the message names it and says what to do."""


class MissingFileError(FileError, FileNotFoundError):
    """A model file, or one of the two, that is not there."""


class ModelWarning(UserWarning):
    """A warning about a model that was fitted nevertheless."""


class ConvergenceWarning(ModelWarning):
    """The optimizer stopped at a doubtful place, or at the edge of the parameter space."""


def shown(value: object, most: int = 120) -> str:
    """Return a value as an error quotes it: as Python spells it where that is short, else its kind, shape or start."""
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
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return None
    return list(value)


def few(values: Sequence[Any], most: int = 8, joint: str = " and") -> str:
    """Return the first values as a list for the eye, and how many more there are."""
    return ", ".join(map(str, values[:most])) + (f"{joint} {len(values) - most} more" if len(values) > most else "")


def among(value: object, allowed: Iterable[object]) -> bool:
    """Return whether a value is one of the legal ones, and of its type: neither 1 nor an array is True."""
    return any(value is a or (type(value) is type(a) and value == a) for a in allowed)


def one_of(argument: str, value: object, allowed: Iterable[object]) -> object:
    """Return `value` if it is legal, else raise an OptionError with the legal ones, and the nearest of them."""
    allowed = tuple(allowed)
    if among(value, allowed):
        return value
    legal = ", ".join(repr(a) for a in allowed)
    raise OptionError(f"{argument}={shown(value)} is not known. Use one of: {legal}.{near(value, allowed)}")


def once(argument: str, labels: Sequence[Any]) -> None:
    """Refuse labels of which one is there twice."""
    twice = [str(each) for i, each in enumerate(labels) if each in labels[:i]]
    if twice:
        raise OptionError(f"{argument} names {', '.join(dict.fromkeys(twice))} more than once. Name each once.")


_Function = TypeVar("_Function", bound=Callable[..., Any])


def also_spelled(**names: str) -> Callable[[_Function], _Function]:
    """Let a function take arguments under other spellings too: `other="name"`; both at once are a TypeError."""

    def decorated(function: _Function) -> _Function:
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
            _require_parameters(function, kwargs)
            return function(*args, **kwargs)

        return cast(_Function, taken)

    return decorated


def tells_keywords(**elsewhere: str) -> Callable[[_Function], _Function]:
    """Let a function that is given a keyword it lacks tell those that it has; `keyword="where it is for"` of others."""

    def decorated(function: _Function) -> _Function:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            for name in elsewhere.keys() & kwargs.keys():
                raise TypeError(f"{function.__name__}() has no argument {name!r}. {elsewhere[name]}")
            _require_parameters(function, kwargs)
            return function(*args, **kwargs)

        return cast(_Function, called)

    return decorated


def _require_parameters(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    parameters = _parameters(function)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        lacking = {name: value for name, value in given.items() if name not in parameters}
        check_keywords(lacking, (), function, function.__name__)


@functools.cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def check_keywords(given: Mapping[str, Any], extra: Iterable[str], method: Callable[..., Any], what: str = "") -> None:
    """Raise a TypeError for the first keyword that is no argument of a method and not in `extra`.

    Args:
        given: what the method's `**kwargs` caught.
        extra: names that are legal there.
        method: the method.
        what: what it is called in the message; by default as it was defined.
    """
    named = [name for name, p in _parameters(method).items() if p.kind is not p.VAR_KEYWORD and name != "self"]
    known = [*named, *extra]
    for name in given:
        if name not in extra:
            raise TypeError(
                f"{what or method.__qualname__}() has no argument {name!r}.{near(name, known)} It takes: "
                f"{', '.join(known)}."
            )


def summary_wanted(given: Mapping[str, Any], method: Callable[..., Any]) -> bool:
    """Return whether a `fit()` shows its table: `summarize`, or `summary`, of what its `**kwargs` caught."""
    check_keywords(given, ("summarize", "summary"), method)
    wanted = {name: truth(name, value) for name, value in given.items()}
    return wanted.get("summary", wanted.get("summarize", True))


def without_effect(
    method: Callable[..., Any], given: Mapping[str, Any], acting: Mapping[str, tuple[bool, str]]
) -> list[str]:
    """Return a warning for each argument of a method that was set and has no effect beside the others.

    Args:
        method: its defaults count as not set.
        given: checked arguments by name.
        acting: argument to whether it has an effect, and what it takes to have one.
    """
    defaults = _parameters(method)
    return [
        f"{name}={given[name]!r} has no effect without {needed}"
        for name, (acts, needed) in acting.items()
        if not acts and given[name] != defaults[name].default
    ]


MOST = 10**7
"""Draws that a call makes at most: a p of 1e-6 then has a standard error of a third of it."""


def truth(argument: str, value: Any) -> bool:
    """Return True or False, given as such or as 1 or 0; anything else is an OptionError, as in the checks below."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise OptionError(f"{argument}={shown(value)} has to be True or False.")


def verbosity(value: Any) -> int:
    """Return how much is shown: 0, 1 or 2, given as such or as False or True."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1, 2)):
        return int(value)
    raise OptionError(
        f"verbose={shown(value)} has to be False or 0 for nothing, True or 1 for what is fitted and its progress, or 2 "
        "for the optimizer's own report too."
    )


def confidence_level(level: float, argument: str = "conf_level") -> float:
    """Return a confidence level between 0 and 1; 95 means 0.95."""
    if isinstance(level, numbers.Real) and not isinstance(level, bool) and 0 < level < 100:
        share = float(level) / 100 if level >= 50 else float(level)
        if 1e-6 <= share < 1:
            return round(share, 12) if isinstance(level, np.floating) else share
    raise OptionError(f"{argument}={shown(level)} has to lie between 0 and 1, such as 0.95.")


def count(argument: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return a whole number from `least` to `most`, which may be given as a float, such as 1e3."""
    whole = _whole(value)
    if whole is None or whole < least:
        raise OptionError(f"{argument}={shown(value)} is not a whole number of at least {least}.")
    if whole > most:
        raise OptionError(f"{argument}={shown(value)} is too large. Give a whole number from {least} to {most:,}.")
    return whole


def permutations(permute: Any) -> int:
    """Return the number of permutations that `fit(permute=)` asks for; None and False are 0."""
    if permute is None or (isinstance(permute, (bool, np.bool_)) and not permute):
        return 0
    return count("permute", permute, least=0)


def workers(n_jobs: Any) -> int:
    """Return a number of workers as joblib counts them: 1, 2, ..., or -1 for all cores, -2 for all but one."""
    whole = _whole(n_jobs)
    if not whole:
        raise OptionError(f"n_jobs={shown(n_jobs)} is not a number of workers. Use 1, 2, ... or -1 for all cores.")
    return whole


def _whole(value: Any) -> int | None:
    """Return a whole number as an int, None for anything else."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return int(value) if is_whole else None


def issue(text: str, kind: type[ModelWarning]) -> None:
    """Issue a Python warning on the user's own line, the nearest one outside this package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pymer4":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level)


def issue_all(texts: Iterable[str]) -> None:
    """Issue what R said beside an answer, each text once."""
    for text in dict.fromkeys(texts):
        issue(text, ModelWarning)
