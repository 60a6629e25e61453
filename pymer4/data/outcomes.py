"""The outcome of a regression: from the left side of a formula to the numbers that a family takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.data.columns import Column
from pymer4.data.families import check_outcome
from pymer4.data.rformula import Response
from pymer4.errors import FormulaError


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What is modelled.

    Attributes:
        y: numbers, shape (n,); of a binomial model 0 and 1, or the share of successes.
        trials: number of trials of each row of `cbind(successes, failures)`, shape (n,), else None.
        levels: failure and success, where the outcome is of two levels; else empty.
    """

    y: np.ndarray
    trials: np.ndarray | None = None
    levels: tuple[Any, ...] = ()


def outcome(values: np.ndarray, levels: Sequence[Any], family: str, label: str, weighted: bool) -> Outcome:
    """Return the outcome of a family.

    A gaussian model takes booleans as 0 and 1, as R does. Of two levels, the first is failure.

    Args:
        values: left side of the formula, shape (n, k): numbers, or 0 and 1 in a column for each level.
        levels: the levels, empty where the values are numbers.
        family: error distribution.
        label: what the outcome is called.
        weighted: whether there are prior weights, which make a proportion an outcome of several trials.

    Raises:
        DataError: numbers or levels that the family does not take.
        FormulaError: several outcomes.
    """
    if all(isinstance(level, bool) for level in levels) and 0 < len(levels) < 3 - (family != "gaussian"):
        return Outcome(values @ np.array(levels, dtype=float), levels=tuple(levels))
    if levels:
        column = Column("factor", values.argmax(axis=1).astype(np.int32) + 1, tuple(map(str, levels)))
        _check(family, label, {label: column}, weighted)
        return Outcome(values[:, 1].copy(), levels=tuple(levels))
    if values.shape[1] == 2 and family == "binomial":
        return _counted(values, label)
    if values.shape[1] != 1:
        told = " Family 'binomial' takes cbind(successes, failures)." if family == "binomial" else ""
        raise FormulaError(
            f"The outcome {label!r} has {values.shape[1]} columns; a regression has one. Their sum is written "
            f"I(a + b).{told}"
        )
    y = values[:, 0].copy()
    if family != "gaussian":
        _check(family, label, {label: Column("double", y)}, weighted)
    return Outcome(y)


def _counted(values: np.ndarray, label: str) -> Outcome:
    parts = ("successes", "failures")
    columns = {part: Column("double", values[:, i]) for i, part in enumerate(parts)}
    counted = Response(label, parts, is_column=False, counts=parts)
    check_outcome("binomial", counted, columns, np.ones(len(values), dtype=bool), False)
    trials = values.sum(axis=1)
    if not trials.any():
        raise FormulaError(f"The outcome {label!r} has no trials: successes and failures are 0 in every row.")
    return Outcome(values[:, 0] / np.where(trials > 0, trials, 1.0), trials)


def _check(family: str, label: str, columns: dict[str, Column], weighted: bool) -> None:
    complete = np.ones(len(columns[label].values), dtype=bool)
    check_outcome(family, Response(label, (label,), is_column=True), columns, complete, weighted)
