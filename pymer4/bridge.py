"""The one crossing between Python and R.

Every question is one R function (a *verb* of `R/*.R`), called once:
`call("fit_mixed", formula=..., data=...)`. Plain values cross by copy, numbers
through buffers; the one thing that stays in R is a model, held by a `Handle`; `crossing` has the table.

Only `rpy2.rinterface` is used: nothing here depends on rpy2's converters or
context, so any thread may call. One lock is held round every call. R starts
with the first call, without signal handlers of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymer4 import machine
from pymer4.crossing import Handle, from_r, retired, to_r, use
from pymer4.errors import RError, RUnavailable
from pymer4.interrupts import Interrupts, hold_interrupts, keep_interrupt_handler

__all__ = ["Handle", "Reply", "call", "from_r", "resource_path", "started", "to_r"]

_lock = threading.RLock()
_door: Any = None
_ri: Any = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What R answered.

    Attributes:
        value: the verb's plain value.
        warnings: R's warnings, in order.
        messages: R's messages, in order.
    """

    value: Any
    warnings: tuple[str, ...]
    messages: tuple[str, ...]


def call(verb: str, /, **arguments: Any) -> Reply:
    """Ask R one question.

    Args:
        verb: name of a function that the R files define.
        **arguments: its arguments, by the table of `crossing`; `formula` is quoted in errors.

    Returns:
        The value with R's warnings and messages.

    Raises:
        RError: R stopped with an error; its own message, the verb and the formula.
        RUnavailable: R can't be used on this machine.
        KeyboardInterrupt: Ctrl-C during the call; R is ready for the next.

    Examples:
        >>> call("echo", value=[1.0, 2.0]).value
        array([1., 2.])
    """
    with _lock:
        retired.clear()
        door = _started()
        with hold_interrupts(_interrupt, _forget_interrupt) as interrupts:
            answer = _answer(door, verb, arguments, interrupts)
    if "interrupted" in answer:
        raise KeyboardInterrupt
    if "error" in answer:
        _raise(answer["error"], verb, arguments.get("formula"))
    return Reply(answer["value"], tuple(answer["warnings"]), tuple(answer["messages"]))


def _answer(door: Any, verb: str, arguments: Mapping[str, Any], interrupts: Interrupts) -> dict[str, Any]:
    """Return what R answers; a Ctrl-C that R meets outside its own trap counts as one inside."""
    given = to_r(arguments)
    try:
        # Elsewhere than under the door's R_tryEval an interrupt would leave R through a stack frame that is gone.
        with interrupts.passed_on():
            if interrupts.seen:
                return {"interrupted": True}
            told = door(verb, given)
    except _ri.embedded.RRuntimeError:
        if interrupts.seen:
            return {"interrupted": True}
        raise
    return from_r(told)


def started() -> bool:
    """Return whether R runs in this process."""
    return _door is not None


def resource_path() -> Path:
    """Return the folder of the R files: beside the package in a source tree, inside it once installed."""
    inside = Path(__file__).parent / "R"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "R"


def _raise(message: str, verb: str, formula: str | None) -> None:
    found = machine.diagnose(message)
    if found.kind == "broken binary":
        raise RUnavailable(f"{found.what}\nR said: {message}\nMend it with:\n    {found.remedy}")
    raise RError(message, verb, formula)


def _started() -> Any:
    """Start R on first need, source the R files into one private environment, and return its door."""
    global _door
    if _door is None:
        rinterface = _import_rinterface()
        try:
            with keep_interrupt_handler():
                rinterface.initr()
        except Exception as error:
            raise _unavailable(str(error)) from error
        private = rinterface.baseenv["new.env"](parent=rinterface.baseenv["asNamespace"](to_r("stats")))
        for path in sorted(resource_path().glob("*.R")):
            rinterface.baseenv["sys.source"](to_r(str(path)), envir=private)
        door = private["run_verb"]
        _load_packages(door)
        _door = door
    return _door


def _load_packages(door: Any) -> None:
    answer = from_r(door("load_packages", to_r({"packages": ["lme4", "lmerTest"]})))
    if "error" in answer:
        raise _unavailable(answer["error"])


def _import_rinterface() -> Any:
    """Import rpy2's low-level interface, after a trial start of R in a process that may die of it."""
    global _ri
    if _ri is None:
        evidence = machine.probe()
        if evidence is not None:
            raise _unavailable(evidence)
        try:
            import rpy2.rinterface as rinterface
        except Exception as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from error
        _ri = rinterface
        use(rinterface)
    return _ri


def _unavailable(evidence: str) -> RUnavailable:
    found = machine.diagnose(evidence)
    return RUnavailable(f"{found.what}\nSeen: {evidence.strip()}\nMend it with:\n    {found.remedy}")


def _interrupt() -> None:
    _ri.openrlib.rlib.R_interrupts_pending = 1


def _forget_interrupt() -> None:
    _ri.openrlib.rlib.R_interrupts_pending = 0
