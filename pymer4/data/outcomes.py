"""Outcomes: what each family takes, and from the left side of a formula to the numbers that are modelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pymer4.data.columns import NUMBERS, Column
from pymer4.data.rformula import Response
from pymer4.errors import DataError, FormulaError, few


def outcome(
    values: np.ndarray, levels: Sequence[Any], family: str, label: str, weighted: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the outcome of a family from the left side of a formula, shape (n, k); of `cbind()` shares, and trials.

    These are numbers, or 0 and 1 in a column for each level, the first of two being failure. A gaussian model takes
    booleans as 0 and 1, as R does. Prior weights make a proportion an outcome of several trials.

    Raises:
        DataError: numbers or levels that the family does not take.
        FormulaError: several outcomes.
    """
    if all(isinstance(level, bool) for level in levels) and 0 < len(levels) < 3 - (family != "gaussian"):
        return values @ np.array(levels, dtype=float), None
    if levels:
        codes = values.argmax(axis=1).astype(np.int32) + 1
        _check_values(family, label, Column("factor", codes, tuple(map(str, levels))), True, weighted)
        return values[:, 1].copy(), None
    if values.shape[1] == 2 and family == "binomial":
        for i, part in enumerate(("successes", "failures")):
            _check_values(family, part, Column("double", values[:, i]), False, False)
        trials = values.sum(axis=1)
        if not trials.any():
            raise FormulaError(f"The outcome {label!r} has no trials: successes and failures are 0 in every row.")
        return values[:, 0] / np.where(trials > 0, trials, 1.0), trials
    if values.shape[1] != 1:
        told = " Family 'binomial' takes cbind(successes, failures)." if family == "binomial" else ""
        raise FormulaError(
            f"The outcome {label!r} has {values.shape[1]} columns; a regression has one. Their sum is written "
            f"I(a + b).{told}"
        )
    y = values[:, 0].copy()
    _check_values(family, label, Column("double", y), True, weighted)
    return y, None


def check_outcome(
    family: str, response: Response, columns: Mapping[str, Column], complete: np.ndarray, weighted: bool
) -> None:
    """Refuse an outcome of a mixed model that the family can't have; what is computed is left to R, but for `cbind()`.

    `complete` are the rows used, shape (n,); a DataError tells what the outcome holds, and what the family takes.
    """
    if family != "binomial" and response.counts is not None:
        raise DataError(
            f"The outcome {response.text} has several columns; family {family!r} takes one. Fit a model to each, "
            "or use family='binomial' for successes and failures."
        )
    names = (response.text,) if response.is_column else response.counts or ()
    for name in (name for name in names if name in columns):
        column = columns[name]
        used = Column(column.kind, column.values[complete], column.levels)
        if response.is_column and column.kind in NUMBERS and np.ptp(used.values) == 0:
            raise DataError(
                f"The outcome {name!r} is {used.values[0]:g} in every row used: there is nothing to explain."
            )
        _check_values(family, name, used, response.is_column, weighted)


def part_counts(family: str, parts: np.ndarray, n: int) -> list[str]:
    """Return a warning of counts that are no whole numbers, of `parts` among n rows used; none where all are."""
    if not len(parts):
        return []
    return [
        f"The outcome is no whole number in {len(parts)} of the {n} rows used, such as {parts[0]:g}. Family {family!r} "
        "is of counts, and gives these no likelihood: use counts, with offset= for what they are rates of, or 'gamma'"
    ]


def _check_values(family: str, name: str, column: Column, single: bool, weighted: bool) -> None:
    """Refuse what a family does not take; `single` is whether that is the whole outcome, and no part of `cbind()`."""
    if column.kind == "factor":
        found = [column.levels[code - 1] for code in np.unique(column.values)]
        if family != "binomial":
            raise DataError(
                f"The outcome {name!r} is a factor; family {family!r} takes numbers. {_numbers_of(name, found)}"
            )
        if len(found) != 2:
            raise DataError(
                f"The outcome {name!r} has {len(found)} levels ({', '.join(found[:8])}); family 'binomial' takes two, "
                "the first of which is failure. Merge or drop the others."
            )
    elif family != "gaussian" and (column.kind != "logical" or family != "binomial"):
        _check_numbers(family, name, column.values.astype(float), single, weighted)


def _numbers_of(name: str, levels: Sequence[str]) -> str:
    """Return how numbers come of a factor with these levels."""
    if len(levels) == 2:
        return "Use family='binomial' for two levels."
    if any(_is_number(level.replace(",", ".")) for level in levels) and not any(map(_is_number, levels)):
        return "Its text has decimal commas: read it with pandas.read_csv(..., decimal=',')."
    odd = [level for level in levels if not _is_number(level)]
    if len(odd) == len(levels):
        return f"It has {len(levels)} levels: {few(levels)}. Make a column of numbers."
    coerced = f", errors='coerce'), which makes {few(odd)} missing." if odd else ")."
    return f"Its levels are numbers as text: use pandas.to_numeric(data[{name!r}]{coerced}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_numbers(family: str, name: str, values: np.ndarray, single: bool, weighted: bool) -> None:
    low, high = values.min(), values.max()
    if family == "binomial" and single:
        if low < 0 or high > 1 or (not weighted and np.any((values != 0) & (values != 1))):
            found = np.unique(values)
            shown = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
            raise DataError(
                f"The outcome {name!r} holds {shown}. Family 'binomial' takes 0 and 1, two levels of text, booleans, "
                "cbind(successes, failures), or a proportion with the number of trials as weights=."
            )
    elif family in ("poisson", "nbinom", "binomial") and low < 0:
        raise DataError(
            f"The outcome {name!r} has values down to {low:g}; family {family!r} takes counts of at least 0."
        )
    elif family in ("gamma", "inverse_gaussian") and low <= 0:
        raise DataError(f"The outcome {name!r} has values down to {low:g}; family {family!r} takes numbers above 0.")
