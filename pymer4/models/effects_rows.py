"""The rows of a fit in the kinds of column that the package marginaleffects takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, normalise_column
from pymer4.errors import DataError, OptionError

_RESERVED = {"rowid", "rowidcf", "type", "group", "estimate", "std_error", "p_value", "s_value", "conf_low"}
_RESERVED |= {"conf_high", "term", "contrast", "statistic"}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of the fit.

    Attributes:
        frame: their columns, with factors as Categoricals of text.
        columns: the same in normal form, by name.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """What is handed over of a model.

    Attributes:
        model: the fitted model.
        rows: the rows of its fit.
        outcome: what its outcome is called.
        predictors: columns of the fixed part.
        factors: those of them that are factors, numbers too.
        link: whose inverse carries x b to what is predicted.
        is_plain: whether no row has an offset.
        df: of limits; infinite for the normal quantile.
    """

    model: Any
    rows: Rows
    outcome: str
    predictors: tuple[str, ...]
    factors: frozenset[str]
    link: str
    is_plain: bool
    df: float


def shown_rows(frame: pd.DataFrame, needed: Iterable[str]) -> Rows:
    """Return rows with the columns that can be handed over: those needed, and others of a kind that a model could use.

    Raises:
        OptionError: a column that is needed has a name that the package keeps for its results, or one with a backtick.
    """
    bad = [name for name in needed if name in _RESERVED or "`" in name]
    if bad:
        raise OptionError(
            f"to_marginaleffects() can't take this model: the package marginaleffects has its own use for the "
            f"column name(s) {', '.join(map(repr, bad))}. Rename them in the data, and fit again."
        )
    columns: dict[str, Column] = {}
    for name in frame.columns:
        if isinstance(name, str) and name not in _RESERVED:
            try:
                columns[name] = normalise_column(frame[name], name)
            except DataError:  # dates and the like, which no model uses
                continue
            if columns[name].kind == "logical" and columns[name].missing.any():
                del columns[name]  # beside the model, whose rows are whole
    kept = {name: _plain(column) for name, column in columns.items()}
    return Rows(pd.DataFrame(kept, index=frame.index), columns)


def _plain(column: Column) -> Any:
    if column.kind == "factor":
        codes = np.where(column.missing, 0, column.values) - 1
        return pd.Categorical.from_codes(codes, categories=list(column.levels), ordered=column.ordered)
    if column.kind == "logical":
        return column.values.astype(bool)
    return np.where(column.missing, np.nan, column.values) if column.missing.any() else column.values
