"""The columns of a frame as the factors of a formula see them.

A factor that is a column as it stands (`x`, `C(g)`) gets an array of numbers, or categories with the levels and
contrasts of the fit. Any other expression gets a plain Series with the user's index: float64, int64, bool, text
as objects, a Categorical with its own categories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NA, Column, as_factor, normalise
from pymer4.data.factors import Coding, coding
from pymer4.data.recoding import conform
from pymer4.data.terms import Reference
from pymer4.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """The coding of one factor, in the form that patsy asks for.

    Attributes:
        matrix: coding matrix, shape (k, k - 1).
        suffixes: what is added to the column's name.
    """

    matrix: np.ndarray
    suffixes: tuple[str, ...]

    def code_with_intercept(self, levels: Iterable[Any]) -> Any:
        """Return a column a level, as R codes a factor in a model without intercept."""
        import patsy

        levels = list(levels)
        return patsy.ContrastMatrix(np.eye(len(levels)), [f"[{level}]" for level in levels])

    def code_without_intercept(self, levels: Iterable[Any]) -> Any:
        """Return the coding that was asked for."""
        import patsy

        return patsy.ContrastMatrix(self.matrix, list(self.suffixes))


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """What a fit has learned about one column.

    Attributes:
        kind: the column in normal form, without its rows.
        names: names of its levels where it makes categories, in their order.
        labels: the same as the values that they are; coefficients are called after these.
        contrast: how they are coded; None leaves it to the formula.
        ranks: distinct values, and the rank of each, where ranks were fitted.
    """

    kind: Column
    names: tuple[str, ...] = ()
    labels: tuple[Any, ...] = ()
    contrast: Contrast | None = None
    ranks: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def is_number(self) -> bool:
        """Whether the column counts as a number, and not as categories."""
        return self.kind.kind in ("double", "integer") and not self.names


class Rows:
    """Columns of a frame in normal form.

    Attributes:
        index: the frame's index.
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

    Args:
        rows: the columns.
        known: what the fit has learned.
        complete: rows whose values count, shape (n,); the others may hold anything.
        hidden: names that are functions of the formula, whatever the columns are called.
        new: the `NewRows` that these are; None for rows of the fit.
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

    def __getitem__(self, name: Any) -> Any:
        if name in self.hidden or name not in self.rows:
            raise KeyError(name)
        if name not in self._plain:
            self.rows.add(name)
            self._plain[name] = self._series(name)
        return self._plain[name]

    def referred(self, to: Reference) -> Mapping[Any, Any]:
        """Return a view in which one column is a number or a category, ready for the design."""
        return _Referred(self, to)

    def coded(self, to: Reference) -> Any:
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
        categories = pd.Categorical.from_codes(self._codes(name), list(known.labels))
        return categories if known.contrast is None else builtins.C(categories, known.contrast)

    def _numbers(self, name: Any) -> np.ndarray:
        column, known = self.rows.columns[name], self.known.get(name)
        if known is not None:
            column = conform(column, known.kind, name, False)
        values = column.values if column.kind == "double" else column.values.astype(np.int64)
        return values if known is None or known.ranks is None else np.interp(values, *known.ranks)

    def _codes(self, name: Any) -> np.ndarray:
        """Return the position of each row's level, −1 where the row does not count."""
        column, known = self.rows.columns[name], self.known[name]
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
        if column.kind in ("double", "integer"):
            return pd.Series(self._numbers(name), index=self.rows.index)
        original = self.rows.frame[name] if name in self.rows.frame.columns else None
        if original is not None and isinstance(original.dtype, pd.CategoricalDtype):
            return original
        if known is not None and known.kind.kind in ("double", "integer"):
            return pd.Series(self._numbers(name), index=self.rows.index)
        missing = column.missing
        if column.kind == "logical" and not missing.any():
            return pd.Series(column.values.astype(bool), index=self.rows.index)
        values = np.array([*column.levels, None], dtype=object)[np.where(missing, -1, column.values - 1)]
        if column.kind == "logical":
            values = np.where(missing, None, column.values == 1)
        return pd.Series(values, index=self.rows.index, dtype=object)


class _Referred:
    """A view in which one name stands for a coded column."""

    def __init__(self, view: View, to: Reference):
        self._view, self._to = view, to

    def __getitem__(self, name: Any) -> Any:
        if name == self._to.column:
            return self._view.coded(self._to)
        return self._view[name]


def learn(
    rows: Rows,
    complete: np.ndarray,
    references: Iterable[Reference],
    codings: Mapping[Any, Coding],
    ranked: Collection[Any],
) -> dict[Any, Variable]:
    """Return what a fit learns about its columns from the rows that it uses.

    Args:
        rows: the data of the fit.
        complete: rows that are used, shape (n,).
        references: factors of the formula that are columns.
        codings: how columns of `fit(factors=)` are coded.
        ranked: columns of which ranks are fitted.

    Raises:
        DataError: categories of which there is one only.
    """
    marked = {reference.column for reference in references if reference.marked}
    known = {}
    for name, column in rows.columns.items():
        used = replace(column, values=column.values[complete])
        kind = replace(column, values=column.values[:0])
        how = codings.get(name) or _polynomial(name, used, rows)
        if how is not None:
            labels = _labels(how.levels, name, used, rows)
            is_coded = how.ordered or how.requested is not None
            contrast = Contrast(how.matrix, how.names) if is_coded else None
            known[name] = Variable(kind, how.levels, labels, contrast)
        elif column.kind in ("factor", "logical") or name in marked:
            names = _occurring(used)
            known[name] = Variable(kind, names, _labels(names, name, used, rows))
        else:
            ranks = _ranks(used.values) if name in ranked else None
            known[name] = Variable(kind, ranks=ranks)
    return known


def _polynomial(name: Any, used: Column, rows: Rows) -> Coding | None:
    levels = _occurring(used) if used.ordered else ()
    return coding(name, levels, used, ordered=True) if len(levels) > 1 else None


def _occurring(used: Column) -> tuple[str, ...]:
    """Return the names of the levels that occur, in their order."""
    factor = as_factor(used)
    return tuple(factor.levels[code - 1] for code in np.unique(factor.values[factor.values != NA]))


def _labels(names: tuple[str, ...], name: Any, used: Column, rows: Rows) -> tuple[Any, ...]:
    """Return levels as the values that they are: whole numbers as int, whatever they are stored as."""
    if used.kind == "logical":
        return tuple(level == "TRUE" for level in names)
    if used.kind in ("double", "integer"):
        return tuple(int(level) if _is_whole(level) else float(level) for level in names)
    dtype = rows.frame[name].dtype if name in rows.frame.columns else None
    if isinstance(dtype, pd.CategoricalDtype):
        value = dict(zip(used.levels, dtype.categories, strict=True))
        return tuple(value[level] for level in names)
    return names


def _is_whole(level: str) -> bool:
    return level.lstrip("-").isdigit()


def _ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct values and the rank of each, ties averaged."""
    distinct, counts = np.unique(values, return_counts=True)
    last = np.cumsum(counts)
    return distinct.astype(float), last - (counts - 1) / 2
