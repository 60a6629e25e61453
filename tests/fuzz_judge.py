"""What may come of a call that the fuzz makes: it succeeds, or is refused by an error of `pymer4.errors`.

A TypeError that is raised on purpose refuses too. All else is a finding:

| kind | what happened |
| --- | --- |
| internal | an exception that no `raise` of pymer4 made, such as a KeyError |
| foreign | an exception out of NumPy, pandas or another library, or R's bare words for a wrong argument |
| changed | the arguments are not what they were, or an error left the model another one |
| warned | a warning that is none of pymer4's own, such as NumPy's RuntimeWarning |
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pickle
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import errors, models

_MATHEMATICAL = re.compile(
    r"Downdated VtV|PIRLS|pwrssUpdate|no convergence|NaN|singular|not positive|infinite|cannot find valid starting|"
    r"not finite|non-finite|objective in x0|random effects \(=|\(non-NA\) cases|in all \d+|None of the|"
    r"non-positive values not allowed|positive values only|response is constant|step-halvings|optimi[sz]er|profil|"
    r"not identifiable"
)
"""What R says of a fit that can't be had, which no check of arguments can foresee."""

_USERS_CODE = re.compile(r"'degree' must be|invalid power|^no$|^factor .* has new levels")
"""What R says of the functions that a formula spells, which are R code of the user's."""


FINE = ("ok", "refused")
"""How a call may end."""


@dataclass
class Call:
    """One call, and what came of it."""

    number: int
    subject: str
    told: str
    outcome: str = "ok"
    why: str = ""
    seconds: float = 0.0
    trace: str = field(default="", repr=False)


def imprint(value: Any) -> Any:
    """Return what has to be the same before and after a call."""
    if isinstance(value, (models.Lmer, models.Lm, models.Lm2)):
        for name in type(value)._LATER:
            getattr(value, name)
        kept = {name: v for name, v in vars(value).items() if not name.startswith("_") or name == "_frame"}
        # Objects that twins share are looked at when all calls are made.
        return type(value), {name: imprint(v) if type(v) in (dict, list) else id(v) for name, v in kept.items()}
    if isinstance(value, dict):
        return [(repr(name), imprint(one)) for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [imprint(one) for one in value]
    if isinstance(value, (np.random.Generator, Iterator)):
        return id(value)
    if isinstance(value, pd.DataFrame):
        parts = [(repr(name), imprint(value.iloc[:, i])) for i, name in enumerate(value.columns)]
        return len(value), parts, pickle.dumps(value.attrs)
    try:
        return pickle.dumps(value)
    except Exception:
        return id(value)


def judged(make: Callable[[], Any], model: Any, given: list[tuple[str, Any, str]], call: Call) -> None:
    """Make a call of a model with arguments, and note what came of it."""
    arguments, before = [imprint(value) for _, value, _ in given], imprint(model)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            make()
        except (Exception, SystemExit) as error:
            call.outcome, call.why = verdict(error)
            call.trace = traceback.format_exc()
    call.seconds = time.perf_counter() - start
    if call.outcome in FINE:
        # What a function of the user's warns of is the user's.
        others = [w for w in warned if not Path(w.filename).name.startswith("fuzz_")]
        strange = [w for w in others if not issubclass(w.category, errors.ModelWarning)]
        if arguments != [imprint(value) for _, value, _ in given]:
            call.outcome, call.why = "changed", "an argument"
        elif call.outcome == "refused" and before != imprint(model):
            call.outcome, call.why = "changed", f"the model: {', '.join(differing(before, imprint(model)))}"
        elif strange:
            w = strange[0]
            call.outcome, call.why = "warned", f"{w.category.__name__}: {w.message} ({place(w.filename)}:{w.lineno})"


def differing(before: Any, after: Any) -> list[str]:
    return [name for name in {**before[1], **after[1]} if before[1].get(name) != after[1].get(name)]


def verdict(error: BaseException) -> tuple[str, str]:
    """Return the kind of an error, and what it says."""
    said = f"{type(error).__name__}: {str(error)[:300]}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    where = f" ({place(last.filename)}:{last.lineno})"
    if isinstance(error, errors.RError):
        # A verb that stops on purpose speaks as pymer4 does: in sentences, with what to do.
        known = _MATHEMATICAL.search(error.message) or _USERS_CODE.search(error.message) or error.advice
        return ("refused", said) if known else ("foreign", said)
    if isinstance(error, errors.Pymer4Error):
        return "refused", said
    ours = f"{os.sep}pymer4{os.sep}" in last.filename
    if ours and isinstance(error, TypeError) and last.lineno in raises(last.filename):
        return "refused", said
    own = [one for one in frames if f"{os.sep}pymer4{os.sep}" in one.filename]
    if own and re.search(r"\bfunc\(", own[-1].line or ""):
        # What a function of the user's raises is the user's.
        return "refused", said
    inside = f" from {place(own[-1].filename)}:{own[-1].lineno}" if own and not ours else ""
    return ("internal" if ours else "foreign"), f"{said}{where}{inside}"


@cache
def raises(filename: str) -> set[int]:
    """Return the lines of a file that belong to a `raise`."""
    nodes = ast.walk(ast.parse(Path(filename).read_text("utf-8")))
    found = [node for node in nodes if isinstance(node, ast.Raise) and node.exc is not None]
    return {line for node in found for line in range(node.lineno, node.end_lineno + 1)}


def place(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])
