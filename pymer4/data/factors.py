"""Factors as users specify them: levels and contrasts, matched to the values that a column holds."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.data.columns import NA, NUMBERS, Column, as_factor, level_name, number_name, places
from pymer4.data.contrasts import (
    as_list,
    checked_names,
    coding_matrix,
    extended_names,
    polynomial,
    require_contrasts,
    treatment,
)
from pymer4.errors import DataError, OptionError, near, shown

_LISTED = 12


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """How one factor enters a model.

    Attributes:
        levels: the k levels, in the order asked for; numbers as they were spelled, else as `columns.level_name` does.
        matrix: coding matrix, shape (k, k - 1), its rows in the order of `levels`.
        names: names of the k - 1 columns; a coefficient is called column name + this.
        ordered: whether this is a polynomial coding, that of R's ordered factors.
        requested: the contrasts as they were written, shape (number written, k), columns in the order
            of `levels`; None where levels alone were given.
    """

    levels: tuple[str, ...]
    matrix: np.ndarray
    names: tuple[str, ...]
    ordered: bool = False
    requested: np.ndarray | None = None

    def code_with_intercept(self, levels: Iterable[Any]) -> Any:
        """Return for patsy a column a level, as R codes a factor in a model without intercept."""
        import patsy

        return patsy.ContrastMatrix(np.eye(len(self.levels)), [f"[{level}]" for level in levels])

    def code_without_intercept(self, levels: Iterable[Any]) -> Any:
        """Return for patsy the coding that was asked for."""
        import patsy

        return patsy.ContrastMatrix(self.matrix, list(self.names))


def coding(column_name: str, spec: object, column: Column, ordered: bool = False) -> Coding:
    """Return the coding of a column that one entry of `fit(factors=...)` asks for.

    `spec` is a list of levels, for treatment coding against the first, or polynomials where `ordered`; or weights:
    `{level: weight}` for one contrast, `{level: [weight, ..]}` for several, `{name: {level: weight}}` for several with
    names. Each names every level in the data once, as text or as the number it is, in the order that they get.
    Contrasts that were not written are solved for; those without a name are called by their position.

    Raises:
        OptionError: for levels or contrasts that do not fit the data.
        DataError: for a column with fewer than two levels.

    Examples:
        >>> column = Column("factor", np.array([1, 2, 3, 1], dtype=np.int32), ("A", "B", "C"))
        >>> coding("g", ["C", "A", "B"], column).names
        ('A', 'B')
        >>> coding("g", ["A", "B", "C"], column, ordered=True).names
        ('.L', '.Q')
        >>> coding("g", {"rest": {"A": 1, "B": -0.5, "C": -0.5}}, column).names
        ('rest', '2')
    """
    held = _Held(f"factors[{column_name!r}]", column, present_levels(column))
    if len(held.levels) < 2:
        only = f"one value only, {held.levels[0]!r}" if held.levels else "no values, only missing ones"
        raise DataError(f"Column {column_name!r} has {only}. A factor has two levels or more: drop it from factors=.")
    if isinstance(spec, Mapping):
        levels, names, weights = _written(spec, held)
        require_contrasts(weights, names, held.where)
        return Coding(levels, coding_matrix(weights), extended_names(names, len(levels) - 1), requested=weights)
    spec = as_list(spec, held.where, f"the levels {held.listing()} in the order you want")
    levels = held.spelled(spec, held.match(spec))
    if ordered:
        names = (".L", ".Q", ".C", *(f"^{degree}" for degree in range(4, len(levels))))
        return Coding(levels, polynomial(len(levels)), names[: len(levels) - 1], ordered=True)
    return Coding(levels, treatment(len(levels)), levels[1:])


def present_levels(column: Column) -> tuple[str, ...]:
    """Return the levels that occur: a factor's in their order, numbers from the lowest, FALSE before TRUE."""
    factor = as_factor(column)
    return tuple(factor.levels[code - 1] for code in np.flatnonzero(np.bincount(factor.values[~factor.missing])))


def conform(column: Column, fitted: Column, name: str, grouping: bool) -> Column:
    """Return a column of new data as the kind of column that the model was fitted to.

    Args:
        column: the new column.
        fitted: the column of the fit; its kind and levels count.
        name: its name, for messages.
        grouping: whether it only names groups; levels that are new then stay, behind those of the fit.

    Raises:
        DataError: another kind of values, or a level that the fit has not seen.
    """
    if fitted.kind == "factor":
        return with_levels(column, fitted.levels, fitted.ordered, name, grouping)
    if fitted.kind == "logical":
        return _truths(column, name)
    if column.kind == "factor":
        raise DataError(f"Column {name!r} holds text; the model was fitted to numbers there.")
    if column.kind == "logical":
        return Column("double", np.where(column.missing, np.nan, column.values))
    return column


def with_levels(column: Column, levels: tuple[str, ...], ordered: bool, name: str, grouping: bool = False) -> Column:
    """Return a column as a factor of these levels; see `conform`."""
    factor = as_factor(column)
    # Of names of groups that are text on both sides, "01" and "1" may be two.
    as_numbers = not grouping or column.kind != "factor" or all(number_name(g) == g for g in levels)
    found = np.array([*places(factor.levels, levels, as_numbers), NA])
    present = np.unique(factor.values[~factor.missing]) - 1
    unseen = [factor.levels[code] for code in present if found[code] < 0]
    if unseen and not grouping:
        raise DataError(
            f"Column {name!r} has the level(s) {', '.join(map(repr, unseen[:8]))}, which the model was not fitted to. "
            f"It knows: {', '.join(map(repr, levels[:12]))}{', ...' if len(levels) > 12 else ''}."
        )
    for code, level in enumerate(unseen, len(levels)):
        found[factor.levels.index(level)] = code
    codes = np.where(found < 0, NA, found + 1).astype(np.int32)
    return Column("factor", codes[np.where(factor.missing, -1, factor.values - 1)], (*levels, *unseen), ordered)


def _truths(column: Column, name: str) -> Column:
    factor = as_factor(column)
    truth = {"0": 0, "1": 1, "FALSE": 0, "TRUE": 1, "False": 0, "True": 1}
    used = set(present_levels(column))
    if not used <= truth.keys():
        listed = ", ".join(sorted(used - truth.keys())[:8])
        raise DataError(f"Column {name!r} holds {listed}; the model was fitted to booleans there.")
    codes = np.array([truth.get(level, NA) for level in factor.levels] + [NA], dtype=np.int32)
    return Column("logical", codes[np.where(factor.missing, -1, factor.values - 1)])


@dataclass(frozen=True, slots=True)
class _Held:
    """The levels that a column holds, and what messages call the argument that names them."""

    where: str
    column: Column
    levels: tuple[str, ...]

    def listing(self, levels: Sequence[str] | None = None) -> str:
        return _listing(self.levels if levels is None else levels, self.column.kind)

    def match(self, written: Iterable[object]) -> tuple[str, ...]:
        """Return the column's names of the levels written; every one has to be there once."""
        found = tuple(self._level(level) for level in written)
        twice = [level for i, level in enumerate(found) if level in found[:i]]
        if twice:
            raise OptionError(
                f"{self.where} names the level {self.listing(twice[:1])} twice. Name each once: {self.listing()}."
            )
        left_out = [level for level in self.levels if level not in found]
        if left_out:
            raise OptionError(
                f"{self.where} leaves out {self.listing(left_out)}. Name every level in the data: {self.listing()}. "
                "To leave a level out of a contrast give it the weight 0; to leave it out of the model, drop its rows."
            )
        return found

    def spelled(self, written: Iterable[object], levels: Sequence[str]) -> tuple[str, ...]:
        """Return names of levels: those of the data, but for numbers that are written as text."""
        numeric = self.column.kind in NUMBERS
        pairs = zip(written, levels, strict=True)
        return tuple(one if numeric and isinstance(one, str) else level for one, level in pairs)

    def _level(self, written: object) -> str:
        if not isinstance(written, (str, np.bool_, numbers.Real)) or written != written:
            raise OptionError(
                f"{self.where} has {shown(written)} for a level. The levels in the data are {self.listing()}."
            )
        name, kind = level_name(written), self.column.kind
        alike = [name]
        if kind == "logical":
            alike += {"1": ["TRUE"], "0": ["FALSE"]}.get(name, [])
        elif isinstance(written, (bool, np.bool_)):
            alike += ["1" if written else "0"]
        place = max(places(alike, self.levels))
        if place >= 0:
            return self.levels[place]
        hint = near(name, self.levels) if kind == "factor" else ""
        if name in self.column.levels:
            hint = f" {name!r} is a category without rows."
        raise OptionError(
            f"{self.where} names the level {shown(written)}, which the data lack. Their levels are {self.listing()}."
            f"{hint}"
        )


def _listing(levels: Sequence[str], kind: str = "factor") -> str:
    spell = {"factor": repr, "logical": str.capitalize}.get(kind, str)
    text = ", ".join(spell(level) for level in levels[:_LISTED])
    return text if len(levels) <= _LISTED else f"{text}, .. ({len(levels)} in all)"


def _written(spec: Mapping[Any, Any], held: _Held) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return levels, names of contrasts (empty where there are none) and weights, shape (contrasts, levels)."""
    values = list(spec.values())
    if values and all(isinstance(value, Mapping) for value in values):
        names = checked_names(spec, held.where)
        levels = held.match(values[0])
        rows = [dict(zip(held.match(row), row.values(), strict=True)) for row in values]
        weights = np.array([[_weight(row[level], level, held) for level in levels] for row in rows])
        return held.spelled(values[0], levels), names, weights
    levels = held.match(spec)
    vectors = [isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1 for value in values]
    columns = [list(value) if vector else [value] for value, vector in zip(values, vectors, strict=True)]
    counts = [len(column) for column in columns]
    if len(set(vectors)) > 1 or len(set(counts)) > 1 or not counts[0]:
        given = ", ".join(f"{level}: {n}" for level, n in zip(map(repr, spec), counts, strict=True))
        raise OptionError(
            f"{held.where} gives the levels different numbers of weights, or none ({given}). "
            f"Give each level a number, or each a list of as many as there are contrasts, 1 to {len(levels) - 1}."
        )
    weights = [[_weight(w, level, held) for w in column] for level, column in zip(levels, columns, strict=True)]
    return held.spelled(spec, levels), (), np.array(weights).T


def _weight(value: object, level: str, held: _Held) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(float(value)):
        return float(value)
    a, b = (held.listing([level]) for level in held.levels[:2])
    raise OptionError(
        f"{held.where} gives the level {held.listing([level])} the weight {shown(value)}, which is not a finite "
        f"number. Give a list of the levels, or {{{a}: 1, {b}: -1, ..}} for one contrast, "
        f"{{{a}: [1, 0], {b}: [-1, 1], ..}} for several, {{'name': {{{a}: 1, {b}: -1, ..}}, ..}} for contrasts with "
        "names."
    )
