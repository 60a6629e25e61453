"""The start of R inside this process."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from pymer4.errors import RUnavailable
from pymer4.rbridge import machine
from pymer4.work.interrupts import keep_interrupt_handler

# With lme4, R has some 1.6 million cells: from less it collects garbage time and again until it has loaded it.
_CELLS = "2500000"
_RAISED = r"(?ms).*^  File .*?^(?=\S)(.*)"  # what a traceback ends in: the error below its last place


def start() -> Any:
    """Start R, after a trial in a process that may die of it, and return rpy2's low-level interface.

    The caller puts the environment back. On the way rpy2 would start R in processes of its own, twice, to learn what
    R's front end sets there: R reads all of it by itself, but for the paths of libraries, which come too late for a
    process that runs.
    """
    evidence = machine.probe()
    if evidence is not None:
        raise unavailable(evidence)
    os.environ.setdefault("R_NSIZE", _CELLS)
    try:
        import rpy2.situation as situation

        with _answering(situation, "r_ld_library_path_from_subprocess", ""):
            import rpy2.rinterface as interface
    except Exception as error:
        raise unavailable(f"{type(error).__name__}: {error}") from error
    try:
        with keep_interrupt_handler(), _answering(interface, "_getrenvvars", ()):
            interface.initr()
    except Exception as error:
        raise unavailable(str(error)) from error
    return interface


def unavailable(evidence: str) -> RUnavailable:
    """Return the error that says what keeps R from being used, by the text of what failed."""
    found, seen = machine.diagnose(evidence), evidence.strip()
    if raised := re.search(_RAISED, seen):
        seen = raised[1]
    return RUnavailable(f"{found.what}\nSeen: {seen}\nMend it with:\n    {found.remedy}")


@contextlib.contextmanager
def _answering(module: ModuleType, name: str, answer: Any) -> Iterator[None]:
    """Have a function of rpy2 return this for the length of a block; on Windows and where there is none it stays."""
    asked = getattr(module, name, None)
    if asked is None or os.name != "posix":
        yield
        return
    setattr(module, name, lambda *_: answer)
    try:
        yield
    finally:
        setattr(module, name, asked)
