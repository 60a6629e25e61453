"""The one crossing between Python and R: every question is one R function, a *verb* of `R/*.R`, called once.

Only `rpy2.rinterface` is used, so nothing here depends on rpy2's converters or context, and any thread may call. One
lock is held round every call. R starts with the first call, without signal handlers of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymer4.errors import FormulaError, OptionError, RError, RUnavailable
from pymer4.rbridge import machine
from pymer4.rbridge.convert import Converter, Handle, retired
from pymer4.rbridge.machine import resource_path
from pymer4.rbridge.process import LEAST, guarded, kept_surroundings, stack
from pymer4.rbridge.start import start, unavailable
from pymer4.work.interrupts import Interrupts, hold_interrupts

__all__ = ["Handle", "Reply", "call", "in_parts", "resource_path", "started"]

_TOO_DEEP = (
    "What R was asked goes deeper than its stack. Use a shorter formula, or one that nests less; or call from a thread "
    "with a larger stack: threading.stack_size(64 * 2**20) before it is made."
)
_TOO_SMALL = (
    "Give it 2 MiB at least: threading.stack_size(8 * 2**20) before the thread is made, or call from the main thread."
)
_HALF_WAY = (
    "This process was forked while another thread of its parent was inside R, which is left half way through here. "
    "Fork before the call or after it, or start fresh processes: multiprocessing.get_context('spawn')."
)
_REFUSALS = {"formula": FormulaError, "option": OptionError}


@dataclass(frozen=True, slots=True, eq=False)
class _R:
    """R once it runs: rpy2's low-level interface, what turns values into R's and back, the R function of all verbs."""

    interface: Any
    values: Converter
    door: Any

    @property
    def rlib(self) -> Any:
        """R's own C functions and variables."""
        return self.interface.openrlib.rlib

    def interrupt(self, wanted: bool) -> None:
        """Tell R to stop what it does, or withdraw that."""
        self.rlib.R_interrupts_pending = int(wanted)


_lock = threading.RLock()
_running: _R | None = None
_forked = False
_parts = threading.local()


@dataclass(frozen=True, slots=True)
class Reply:
    """What R answered: the verb's plain value, and R's warnings and messages, each in order."""

    value: Any
    warnings: tuple[str, ...]
    messages: tuple[str, ...]


def call(verb: str, /, **arguments: Any) -> Reply:
    """Ask R one question.

    Args:
        verb: name of a function that the R files define.
        **arguments: its arguments, by the table of `convert`; `formula` is quoted in errors.

    Returns:
        The value with R's warnings and messages.

    Raises:
        FormulaError: the formula of the model has no answer to the question.
        OptionError: an argument that R does not take.
        RError: R stopped with an error; its own message, the verb and the formula.
        RUnavailable: R can't be used on this machine, or not after a fork during a call.
        KeyboardInterrupt: Ctrl-C during the call; R is ready for the next.

    Examples:
        >>> call("echo", value=[1.0, 2.0]).value
        array([1., 2.])
    """
    if _forked:
        raise RUnavailable(_HALF_WAY)
    _end_if_asked()
    with _lock:
        retired.clear()
        if (here := stack()) is not None and here.size < LEAST:
            raise RError(f"this thread has a stack of {here.size >> 10} KiB, too small for R", verb, advice=_TOO_SMALL)
        r = _started()
        with hold_interrupts(r.interrupt) as interrupts, guarded(r.rlib):
            answer = _answer(r, verb, arguments, interrupts)
    if interrupts.seen or "interrupted" in answer:
        raise KeyboardInterrupt
    if "refused" in answer:
        raise _REFUSALS[answer["of"]](answer["refused"])
    if "error" in answer:
        raise _told_by_r(answer, verb, arguments.get("formula"))
    return Reply(answer["value"], tuple(answer["warnings"]), tuple(answer["messages"]))


@contextlib.contextmanager
def in_parts() -> Iterator[None]:
    """Have one Ctrl-C end a question of several calls, also between two, and where the user's handler goes on."""
    before = getattr(_parts, "interrupts", None)
    try:
        with hold_interrupts(lambda _wanted: None) as _parts.interrupts:
            yield
            _end_if_asked()
    finally:
        _parts.interrupts = before


def _end_if_asked() -> None:
    interrupts = getattr(_parts, "interrupts", None)
    if interrupts is not None and interrupts.seen:
        raise KeyboardInterrupt


def _answer(r: _R, verb: str, arguments: Mapping[str, Any], interrupts: Interrupts) -> dict[str, Any]:
    """Return what R answers; a Ctrl-C that R meets outside its own trap counts as one inside."""
    given = r.values.to_r(arguments)
    try:
        # Elsewhere than under the door's R_tryEval an interrupt would leave R through a stack frame that is gone.
        with interrupts.passed_on():
            if interrupts.seen:
                return {"interrupted": True}
            told = r.door(verb, given)
    except r.interface.embedded.RRuntimeError:
        if interrupts.seen:
            return {"interrupted": True}
        raise
    return r.values.from_r(told)


def started() -> bool:
    """Return whether R runs in this process."""
    return _running is not None


def _told_by_r(answer: Mapping[str, Any], verb: str, formula: str | None) -> RError | RUnavailable:
    message = answer["error"]
    if answer["too_deep"]:
        return RError(message, verb, formula, _TOO_DEEP)
    found = machine.diagnose(message)
    if found.kind == "broken binary":
        return RUnavailable(f"{found.what}\nR said: {message}\nMend it with:\n    {found.remedy}")
    return RError(message, verb, formula)


def _started() -> _R:
    """Start R on first need, source the R files into one private environment, and return what speaks to it."""
    global _running
    if _running is None:
        with kept_surroundings():
            interface = start()
            with guarded(interface.openrlib.rlib):
                _running = _sourced(interface, Converter(interface))
    return _running


def _sourced(interface: Any, values: Converter) -> _R:
    """Return R with the R files read into one private environment."""
    base = interface.baseenv
    private = base["new.env"](parent=base["asNamespace"](values.to_r("stats")))
    for path in sorted(resource_path().glob("*.R")):
        base["sys.source"](values.to_r(str(path)), envir=private)
    found = _R(interface, values, private["run_verb"])
    answer = values.from_r(found.door("load_packages", values.to_r({"packages": ["lme4"], "later": ["lmerTest"]})))
    if "error" in answer:
        raise unavailable(answer["error"])
    return found


def _after_fork() -> None:
    """Look whether R was at work as this process was forked: then no thread here will ever release the lock."""
    global _forked
    if _lock.acquire(blocking=False):
        _lock.release()
    else:
        _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
