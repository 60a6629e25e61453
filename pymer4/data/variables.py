"""The columns of a frame as the factors of a formula see them.

A factor that is a column as it stands (`x`, `C(g)`) gets an array of numbers, or categories with the levels and
contrasts of the fit. Any other expression gets a Series with the user's index: float64, int64, bool, text as objects,
a Categorical with its own categories.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NUMBERS, Column, normalise
from pymer4.data.factors import Coding, coding, conform, present_levels
from pymer4.data.ranks import Ranks, learned_ranks
from pymer4.data.terms import Reference
from pymer4.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """What a fit has learned about one column.

    Attributes:
        kind: the column in normal form, without its rows.
        names: names of its levels where it makes categories, in their order.
        labels: the same as the values that they are; coefficients are called after these.
        contrast: how they are coded; None leaves it to the formula.
    """

    kind: Column
    names: tuple[str, ...] = ()
    labels: tuple[Any, ...] = ()
    contrast: Coding | None = None
    ranks: Ranks | None = None

    @property
    def is_number(self) -> bool:
        """Whether the column counts as a number, and not as categories."""
        return self.kind.kind in NUMBERS and not self.names


class Rows:
    """Columns of a frame in normal form.

    Attributes:
        columns: name to column.
        others: name to Series and error, for what has no normal form (dates, lists); expressions may make use of it.
        missing: where a column has no value, shape (n,).
    """

    def __init__(self, frame: pd.DataFrame, names: Iterable[Any], borrowed: Mapping[str, np.ndarray]):
        self.frame, self.index, self.borrowed = frame, frame.index, borrowed
        self.columns: dict[Any, Column] = {}
        self.others: dict[Any, tuple[pd.Series, DataError]] = {}
        self.missing = np.zeros(len(frame), dtype=bool)
        for name in names:
            self.add(name)

    def add(self, name: Any) -> None:
        """Take in one more column."""
        if name in self.columns or name in self.others:
            return
        frame = self.frame
        if name in self.borrowed and name not in frame.columns:
            frame = pd.DataFrame({name: self.borrowed[name]}, index=self.index)
        try:
            self.columns[name] = normalise(frame, [name])[name]
            self.missing |= self.columns[name].missing
        except DataError as error:
            if isinstance(frame[name], pd.DataFrame):
                raise
            self.others[name] = (frame[name], error)
            self.missing |= frame[name].isna().to_numpy(dtype=bool)

    def __contains__(self, name: Any) -> bool:
        return name in self.frame.columns or name in self.borrowed

    @property
    def names(self) -> list[Any]:
        """The columns taken in."""
        return [*self.columns, *self.others]

    def at(self, rows: np.ndarray) -> Rows:
        """Return the same columns at the rows where `rows` is true."""
        if rows.all():
            return self
        borrowed = {name: values[rows] for name, values in self.borrowed.items()}
        return Rows(self.frame[rows], self.names, borrowed)


class View:
    """Rows as patsy looks things up in them, under the names and kinds that a fit has learned.

    Values count where `complete`, shape (n,); elsewhere they may be anything. Names in `hidden` are functions of the
    formula, whatever the columns are called. `new` are the `NewRows` that these are, None for rows of the fit.
    """

    def __init__(
        self,
        rows: Rows,
        known: Mapping[Any, Variable],
        complete: np.ndarray,
        hidden: Collection[str],
        new: Any = None,
    ):
        self.rows, self.known, self.complete, self.hidden, self.new = rows, known, complete, hidden, new
        self._plain: dict[Any, Any] = {}

    def at_complete(self) -> View:
        """Return a view of the complete rows."""
        every = np.ones(int(self.complete.sum()), dtype=bool)
        return View(self.rows.at(self.complete), self.known, every, self.hidden, self.new)

    def __getitem__(self, name: Any) -> Any:
        if name in self.hidden or name not in self.rows:
            raise KeyError(name)
        if name not in self._plain:
            self.rows.add(name)
            self._plain[name] = self._series(name)
        return self._plain[name]

    def referred(self, to: Reference) -> Mapping[Any, Any]:
        """Return a view in which one column is ready for the design, a number or a category."""
        return ChainMap({to.column: self._coded(to)}, self)  # type: ignore[arg-type]  # looked up in, and no more

    def _coded(self, to: Reference) -> Any:
        """Return a column as the design gets it: an array, or categories."""
        from patsy import builtins

        name = to.column
        self.rows.add(name)
        if name in self.rows.others and not to.marked:
            raise self.rows.others[name][1]
        known = self.known.get(name)
        if to.has_levels or name in self.rows.others:
            values = self[name].astype(object)
            return values.where(values.notna(), None).to_numpy()
        if known is None or not known.names:
            return self._numbers(name)
        categories = pd.Categorical.from_codes(self.codes(name, known), list(known.labels))
        return categories if known.contrast is None else builtins.C(categories, known.contrast)

    def _numbers(self, name: Any) -> np.ndarray:
        column, known = self.rows.columns[name], self.known.get(name)
        if known is not None:
            column = conform(column, known.kind, name, False)
        values = column.values if column.kind == "double" else column.values.astype(np.int64)
        return values if known is None or known.ranks is None else known.ranks.put(values)

    def codes(self, name: Any, known: Variable) -> np.ndarray:
        """Return the position of each row's level, −1 where the row does not count."""
        column = self.rows.columns[name]
        there = self.complete & ~column.missing
        found = replace(column, values=column.values[there])
        if known.kind.kind == "logical":
            found = conform(found, known.kind, name, False)
        fitted = Column("factor", found.values[:0], known.names)
        codes = np.full(len(there), -1, dtype=np.int64)
        codes[there] = conform(found, fitted, name, False).values - 1
        return codes

    def _series(self, name: Any) -> pd.Series:
        if name in self.rows.others:
            return self.rows.others[name][0]
        column, known = self.rows.columns[name], self.known.get(name)
        given = self.rows.frame[name] if name in self.rows.frame.columns else None
        is_category = given is not None and isinstance(given.dtype, pd.CategoricalDtype)
        if column.kind in NUMBERS or (known is not None and known.kind.kind in NUMBERS and not is_category):
            return pd.Series(self._numbers(name), index=self.rows.index)
        if is_category:
            return given
        missing = column.missing
        if column.kind == "factor":
            values = np.array([*column.levels, None], dtype=object)[np.where(missing, -1, column.values - 1)]
        else:
            values = np.where(missing, None, column.values == 1) if missing.any() else column.values == 1
        return pd.Series(values, index=self.rows.index, dtype=values.dtype)


def learn(
    rows: Rows,
    complete: np.ndarray,
    marked: Collection[Any],
    codings: Mapping[Any, Coding],
    ranked: Collection[Any],
) -> dict[Any, Variable]:
    """Return what a fit learns about its columns from the rows that it uses, shape (n,).

    Columns that are `marked` stand in a `C()`; `codings` are those of `fit(factors=)`.
    """
    known = {}
    for name, column in rows.columns.items():
        used = replace(column, values=column.values[complete])
        kind = replace(column, values=column.values[:0])
        how = codings.get(name)
        if how is None and used.ordered and len(levels := present_levels(used)) > 1:
            how = coding(name, levels, used, ordered=True)
        if how is not None:
            contrast = how if how.ordered or how.requested is not None else None
            known[name] = Variable(kind, how.levels, _labels(how.levels, name, used, rows), contrast)
        elif column.kind in ("factor", "logical") or name in marked:
            levels = present_levels(used)
            known[name] = Variable(kind, levels, _labels(levels, name, used, rows))
        else:
            known[name] = Variable(kind, ranks=learned_ranks(used.values) if name in ranked else None)
    return known


def _labels(names: tuple[str, ...], name: Any, used: Column, rows: Rows) -> tuple[Any, ...]:
    """Return levels as the values that they are: whole numbers as int, whatever they are stored as."""
    if used.kind == "logical":
        return tuple(level == "TRUE" for level in names)
    if used.kind in NUMBERS:
        return tuple(int(level) if level.lstrip("-").isdigit() else float(level) for level in names)
    dtype = rows.frame[name].dtype if name in rows.frame.columns else None
    if isinstance(dtype, pd.CategoricalDtype):
        value = dict(zip(used.levels, dtype.categories, strict=True))
        return tuple(value[level] for level in names)
    return names
