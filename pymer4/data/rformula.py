"""R's reading of a model formula, as a plain record that is kept, pickled and saved with the model.

Every `columns` names columns of the data, in order of first appearance: what R looks up elsewhere, such as `pi` or a
function that is passed to a function, is in none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

_PART = re.compile(r"`(?:\\.|[^`\\])+`|[^\s:()`]+")


@dataclass(frozen=True, slots=True)
class Response:
    """The left side of a formula as R writes it, columns without backticks.

    Attributes:
        is_column: whether it is a column as it stands.
        counts: of `cbind()` the arguments that are names; None for all else.
    """

    text: str
    columns: tuple[str, ...]
    is_column: bool
    counts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FixedTerm:
    """One term of the fixed part, as R's `terms()` has it, such as `Days` or `log(x):g`."""

    label: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """One grouping of a random-effects term; `a/b` has two, `a` and `a:b`. Crossing, it computes nothing."""

    label: str
    columns: tuple[str, ...]
    is_crossing: bool

    def is_called(self, name: str) -> bool:
        """Return whether a name is that of this grouping; crossed columns may come in any order.

        Examples:
            >>> [Grouping("a:b", ("a", "b"), True).is_called(name) for name in ("a:b", "(b : a)", "a", "(b:a")]
            [True, True, False, False]
        """
        balanced = name.count("(") == name.count(")")
        return name == self.label or (balanced and sorted(_PART.findall(name)) == sorted(_PART.findall(self.label)))


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One random-effects term as it is written: `a/b` and `||` are not taken apart.

    Attributes:
        text: such as `1 + x | g`, or `cs(1 + x | g)`.
        effects: left of the bar, which are `correlated` but for `||` and `diag()`.
        varying: the columns there.
        groupings: right of the bar.
    """

    text: str
    effects: str
    varying: tuple[str, ...]
    columns: tuple[str, ...]
    correlated: bool
    groupings: tuple[Grouping, ...]


@dataclass(frozen=True, slots=True)
class RFormula:
    """A formula with the columns of the data that its parts use.

    Attributes:
        written: what R fits: the formula as it was given, or with the columns that `.` stands for written out.
        fixed: columns of the fixed part, those that are taken out again with `-` too.
        offset: columns of `offset()` in the formula.
        functions: what is applied to a predictor, such as `log` or `splines::ns`, operators beyond those of formulas
            included.
    """

    written: str
    response: Response
    fixed: tuple[str, ...]
    terms: tuple[FixedTerm, ...]
    offset: tuple[str, ...]
    random: tuple[RandomTerm, ...]
    functions: tuple[str, ...]
    columns: tuple[str, ...]

    def without_outcome(self) -> RFormula:
        """Return the formula for an outcome that is given beside the data: the columns of its own are left out."""
        others = {*self.fixed, *self.offset, *(name for term in self.random for name in term.columns)}
        left_out = set(self.response.columns) - others
        return replace(self, columns=tuple(name for name in self.columns if name not in left_out))

    @property
    def predictors(self) -> tuple[str, ...]:
        """The columns that terms of the fixed part, or the offset, use."""
        return _once(name for columns in (*(term.columns for term in self.terms), self.offset) for name in columns)

    @property
    def varying(self) -> tuple[str, ...]:
        """The columns whose effects differ between groups."""
        return _once(name for term in self.random for name in term.varying)

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The groupings of all random-effects terms, each once."""
        return tuple(dict.fromkeys(grouping for term in self.random for grouping in term.groupings))

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns that stand right of a bar."""
        return _once(name for grouping in self.groupings for name in grouping.columns)


def as_record(told: Mapping[str, Any]) -> RFormula:
    """Return the record of what R's `read_formula()` tells, whose names are those of the attributes."""
    random = []
    for term in told["random"]:
        groupings = tuple(Grouping(**_tuples(grouping)) for grouping in term["groupings"])
        random.append(RandomTerm(**_tuples(term) | {"groupings": groupings}))
    parts = {
        "response": Response(**_tuples(told["response"])),
        "terms": tuple(FixedTerm(**_tuples(term)) for term in told["terms"]),
        "random": tuple(random),
    }
    return RFormula(**_tuples(told) | parts)


def _tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
