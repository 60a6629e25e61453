"""Which columns a formula uses, and what is wrong with names that are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from pymer4.data.formula import Formula, leaves, variables
from pymer4.data.grammar import error_at
from pymer4.data.syntax import CONSTANT_WORDS, Literal, needs_quotes, passed_on
from pymer4.errors import FormulaError, near

_CONSTANT_NAMES = ("T", "F", "pi", "LETTERS", "letters", "month.abb", "month.name")


def columns_used(formula: Formula, columns: Sequence[str], is_function: Callable = lambda name: True) -> list[str]:
    """Return the columns of a data frame that a formula needs.

    A column wins over R's constant of the same name: `T`, `F` and `pi` are columns where the frame has them. The
    reserved words, such as `NA`, need backticks to be one.

    Args:
        formula: a parsed formula.
        columns: the names of the frame's columns.
        is_function: whether R has a function of a name, asked where one may stand and there is no such column; by
            default every name is taken for one there.

    Returns:
        Names in order of first appearance; where `.` is used, all columns in the order of the frame.

    Raises:
        FormulaError: naming the variable that is not there, and the nearest one that is; or a constant in its place.

    Example:
        >>> from pymer4.data.formula import parse
        >>> columns_used(parse("y ~ x + I(z * pi) + (1 | g)"), ["g", "x", "y", "z", "w"])
        ['y', 'x', 'z', 'g']
    """
    columns, known, used = list(columns), frozenset(columns), {}
    _refuse_constants(formula, known)
    passed = {id(symbol) for symbol in passed_on(formula.node)}
    for symbol in variables(formula):
        if symbol.name in known:
            used[symbol.name] = None
        elif symbol.name not in _CONSTANT_NAMES and not (id(symbol) in passed and is_function(symbol.name)):
            more = f", and {len(columns) - 12} more" if len(columns) > 12 else ""
            have = f"The columns are: {', '.join(map(str, columns[:12]))}{more}."
            missing = f"{symbol.name!r} is not a column of the data.{near(symbol.name, columns)} {have}"
            raise error_at(missing, formula.text, symbol.at)
    return columns if formula.uses_dot else list(used)


@contextmanager
def quotes_advised(text: Any, data: Any) -> Iterator[None]:
    """Add to an error of a formula how to write the columns in it whose names R does not read bare.

    Args:
        text: the formula, not yet checked.
        data: the frame, not yet checked.
    """
    try:
        yield
    except FormulaError as error:
        columns = data.columns if isinstance(data, pd.DataFrame) else ()
        bare = [str(name) for name in columns if str(name) in str(text) and f"`{name}`" not in str(text)]
        odd = [f"`{name}`" for name in bare if re.search(r"[^\W\d]|_", name) and "`" not in name and needs_quotes(name)]
        if not odd:
            raise
        raise FormulaError(f"{error}\nA name that R does not read bare goes in backticks: {', '.join(odd)}.") from None


def _refuse_constants(formula: Formula, columns: Collection[str]) -> None:
    """Raise `FormulaError` at a constant of R that is the name of a column, or that is no term."""
    for side in (formula.response, formula.node.args[1][1]):
        for node, term in leaves(side, True):
            word = node.text if isinstance(node, Literal) else ""
            if term and word in CONSTANT_WORDS and (word in columns or word not in ("TRUE", "FALSE", "NULL")):
                at = re.search(rf"(?<![\w.`]){word}(?![\w.`])", formula.text)
                raise error_at(f"{word!r} is a constant of R, not a variable.", formula.text, at.start() if at else 0)
