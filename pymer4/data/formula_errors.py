"""Faults of patsy formulas, told with a next step."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pymer4.data.intake import one_level
from pymer4.errors import FormulaError, Pymer4Error, near

_LONG = 300

_OF_R = {
    "log": "np.log",
    "exp": "np.exp",
    "sqrt": "np.sqrt",
    "factor": "C",
    "ordered": "C(x, Poly)",
    "poly": "a stateful transform of your own, or x + I(x ** 2)",
    "ns": "cr",
    "s": "bs or cr",
    "offset": "the argument offset= of the model",
}
"""Functions of R's formulas, and what patsy has in their place."""


def formula_error(error: Exception, text: str, columns: Collection[Any]) -> Exception:
    """Return what to raise for an error of patsy's: ours where it wraps one, else its words and a next step."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Pymer4Error):
            return cause
        cause = cause.__cause__
    told = str(error)
    said = str(getattr(error, "message", ""))
    if len(said) > _LONG:
        told = told.replace(said, f"{said[: _LONG - 3]}...")
    if text not in told:
        told += f"\n    {text}"
    return FormulaError(f"{told}{advice(told, columns)}{_hiding(told, text, columns)}")


def _hiding(told: str, text: str, columns: Collection[Any]) -> str:
    """Return a next step where a column may stand before a function or a module of its name, or nothing."""
    if "is not callable" not in told and "has no attribute" not in told:
        return ""
    names = [name for name in re.findall(r"(\w+)\s*[.(]", text) if name in columns]
    return (
        f"\nHere {names[0]} is the column of the data, whatever else has that name. If another is meant, rename the "
        f"column: data.rename(columns={{{names[0]!r}: '{names[0]}_'}})."
        if names
        else ""
    )


def undefined(name: str, columns: Collection[Any]) -> str:
    """Return a next step for a name that is nowhere, on a line of its own."""
    texts = [str(column) for column in columns]
    if name in _OF_R:
        return f"\n{name} is a function of R's formulas. Use {_OF_R[name]}."
    if name == "np":
        return "\nIt is looked up where the model is made: import numpy as np there."
    shown = ", ".join(texts[:12]) + (", .." if len(texts) > 12 else "")
    return (
        f"\nIt is neither a column of the data nor a name where the model is made.{near(name, texts)} "
        f"The columns are: {shown}."
    )


def caret(factor: Any, text: str) -> str:
    """Return the formula with carets under a factor, where patsy knows its place."""
    return factor.origin.caretize(indent=4) if factor.origin is not None else f"    {text}"


def advice(text: str, columns: Collection[Any]) -> str:
    """Return a next step for a formula that patsy can't read, on a line of its own, or nothing."""
    odd = [str(c) for c in columns if not str(c).isidentifier() and str(c) in text]
    steps = []
    text = "\n".join(line for line in text.splitlines() if line.strip(" ^"))
    if odd:
        steps.append(f"A column whose name is no Python name is quoted: Q({odd[0]!r}).")
    elif "`" in text:
        steps.append("Backticks are R's; here a name is quoted with Q('my var').")
    if "^" in text and "**" not in text:
        steps.append("A power is written **, of a column I(x ** 2), of terms (a + b)**2; ^ is Python's exclusive or.")
    if "%in%" in text.replace(" ", ""):
        steps.append("R's a %in% b is b:a.")
    if "~" not in text and "=" in text:
        steps.append("The outcome stands on the left of ~.")
    if text.rstrip().endswith(("~ .", "+ .", "~.", "+.")):
        steps.append("There is no '.' for all other columns: name them.")
    return "\n" + " ".join(steps) if steps else ""


def require_levels(info: Any) -> None:
    """Refuse a predictor of categories that has one level in the rows used."""
    for own, factor in info.factor_infos.items():
        if factor.type == "categorical" and len(factor.categories) < 2:
            raise one_level(own.name(), str(factor.categories[0] if factor.categories else "missing"))
