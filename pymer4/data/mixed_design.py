"""The arrays of a mixed model, from R's reading of its formula and the columns, without a walk of R over the rows.

`models.lmer_arrays.mixed_design(model, *model._sample())` asks R and returns the `MixedDesign` of a fit. R reads the
formula on no rows, once for columns of the same kinds (`Plan`), and computes those variables alone that functions
make. Everything else is put together here: design matrices by `data.mixed_terms`, groups, the rows used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.intake import Intake
from pymer4.data.mixed_terms import Contrasts, Factor, Numbers, Terms, Variable
from pymer4.fit.cluster_rows import tells_variances
from pymer4.fit.linear import independent_columns


class NeedsR(Exception):
    """The engine in R is to judge the model: it refuses it in words that users know, or asks for what is not done here.

    Raised for a grouping factor of one level, groups or random effects as many as the rows, coefficients likewise, a
    value that is not finite, and whatever R stops at while it computes a variable.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """One random-effects term, of k effects that differ between L groups.

    Attributes:
        Z: its own columns, shape (n, k), by column: row i has the effects `Z[i]` of its group.
        codes: group of each row from 0 to L − 1, shape (n,), int64; one object for all terms of a grouping factor.
        levels: names of the groups, L of them, as R orders them.
        names: of the columns of Z.
        group: name of the grouping factor as R spells it, such as `a:b`.
    """

    Z: np.ndarray
    codes: np.ndarray
    levels: tuple[str, ...]
    names: tuple[str, ...]
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class MixedDesign:
    """The arrays of a gaussian mixed model on the n rows used; none may be written to.

    Attributes:
        X: design of the fixed part, shape (n, p), by column, its columns independent; R's `model.matrix` to the bit.
        names: of these columns.
        dropped: names of the columns left out, since those before add up to them, as lme4 leaves them out.
        bars: the random-effects terms in lme4's order.
        y: outcome, shape (n,); None where it was not asked for.
        offset: known part of the outcome, shape (n,), or None.
        weights: prior weights, shape (n,), or None.
        used: which rows of the data are used, shape (rows,).
        warnings: what R says while it computes variables, and of dropped columns and of scales that differ.
    """

    X: np.ndarray
    names: tuple[str, ...]
    dropped: tuple[str, ...]
    bars: tuple[Bar, ...]
    y: np.ndarray | None
    offset: np.ndarray | None
    weights: np.ndarray | None
    used: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class BarTerms:
    """What R reads in a random-effects term: terms, and grouping factor `group`.

    The groups cross the columns `crossed`; None where a function, of this text, makes them of the columns `made`.
    """

    terms: Terms
    group: str
    text: str
    crossed: tuple[str, ...] | None
    made: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """R's reading of a formula for columns of some kinds.

    Attributes:
        columns: what each variable of the model frame is: a column as it stands, or "" where a function makes it.
        takes: the columns that make it.
        response: the place of the outcome among them.
        offsets: the places of known parts of it.
        fixed: terms of the fixed part.
        bars: random-effects terms as R's `findbars()` has them, none with `/` or `||`.
        contrasts: by factor, where they are not treatment contrasts.
        unread: parts of the formula that only R knows how to fit.
    """

    columns: tuple[str, ...]
    takes: tuple[tuple[str, ...], ...]
    response: int
    offsets: tuple[int, ...]
    fixed: Terms
    bars: tuple[BarTerms, ...]
    contrasts: Mapping[str, Contrasts]
    unread: tuple[str, ...]

    def bare(self, outcome: bool) -> tuple[int, ...]:
        """Return the places of the variables that are columns, with or without the outcome."""
        return tuple(i for i, name in enumerate(self.columns) if name and (outcome or i != self.response))

    def computed(self, outcome: bool) -> tuple[int, ...]:
        """Return the places of those that functions make."""
        return tuple(i for i, name in enumerate(self.columns) if not name and (outcome or i != self.response))

    def coded(self) -> dict[int, str]:
        """Return the columns that stand in terms, by place."""
        sides = (self.fixed, *(bar.terms for bar in self.bars))
        return {place: self.columns[place] for side in sides for place in side.in_use if self.columns[place]}


def as_plan(told: Mapping[str, Any]) -> Plan:
    """Return what R's `read_design()` tells; NeedsR where a bar has effects of what is not in the model frame."""
    bars = []
    for bar in told["random"]:
        crossed = None if bar["crossed"] is None else tuple(bar["crossed"])
        bars.append(BarTerms(_terms(bar), bar["group"], bar["text"], crossed, tuple(bar["made"])))
    return Plan(
        columns=tuple(told["variables"]["columns"]),
        takes=tuple(map(tuple, told["variables"]["takes"])),
        response=told["response"] - 1,
        offsets=_places(told["offsets"]),
        fixed=_terms(told["fixed"]),
        bars=tuple(bars),
        contrasts={name: _contrasts(coding) for name, coding in dict(told["codings"]).items()},
        unread=tuple(told["unread"]),
    )


def _terms(told: Mapping[str, Any]) -> Terms:
    if np.isnan(told["variables"]).any():
        raise NeedsR("effects of a variable that is not in the model frame")
    return Terms(told["intercept"], _places(told["variables"]), tuple(told["labels"]), told["factors"])


def _places(told: np.ndarray) -> tuple[int, ...]:
    return tuple(int(place) - 1 for place in told)


def _contrasts(told: Mapping[str, Any]) -> Contrasts:
    return Contrasts(told["matrix"], _named(told["names"], told["matrix"]))


def _named(names: Sequence[str] | None, columns: np.ndarray) -> tuple[str, ...]:
    """Return the names of columns; R numbers them where there are none."""
    return tuple(map(str, range(1, columns.shape[1] + 1))) if names is None else tuple(names)


def as_variable(told: Mapping[str, Any]) -> Variable:
    """Return a variable that R's `computed_variables()` made."""
    if "numbers" in told:
        return Numbers(told["numbers"], _named(told["names"], told["numbers"]))
    return Factor(told["codes"], tuple(told["levels"]), told["coding"] and _contrasts(told["coding"]))


def as_groups(told: Mapping[str, Any]) -> Factor:
    """Return groups that R's `computed_groups()` made."""
    return Factor(told["codes"].astype(np.int64), tuple(told["levels"]))


def complete_rows(plan: Plan, data: Intake, outcome: bool) -> np.ndarray:
    """Return the rows that no column of the model frame, weight or offset lacks, shape (rows,).

    What is missing in a column that a function takes may be there in what the function makes of it.
    """
    names = dict.fromkeys(plan.columns[place] for place in plan.bare(outcome))
    names |= dict.fromkeys(each for each in (data.weights, data.offset) if isinstance(each, str))
    complete = np.ones(data.n_rows, dtype=bool)
    for name in names:
        complete &= ~data.columns[name].missing
    for given in (data.weights, data.offset):
        if isinstance(given, np.ndarray):
            complete &= ~np.isnan(given)
    return complete


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The model frame on the rows used.

    Attributes:
        used: which rows these are, shape (rows,).
        variables: variables of the model frame that terms, offset and outcome use, by place.
        factors: columns that group rows, by name.
        groups: grouping factors that functions make, by name.
    """

    used: np.ndarray
    variables: Mapping[int, Variable]
    factors: Mapping[str, Factor]
    groups: Mapping[str, Factor]


def assemble(plan: Plan, data: Intake, rows: Rows, outcome: bool = True) -> MixedDesign:
    """Return the arrays of a model; a NeedsR tells that R refuses it."""
    n = int(rows.used.sum())
    X, names = _matrix(plan.fixed, rows.variables, n)
    y = _numbers(rows.variables[plan.response]) if outcome else None
    weights, offset = (_given(each, data, rows.used) for each in (data.weights, data.offset))
    for place in plan.offsets:
        offset = (0.0 if offset is None else offset) + _numbers(rows.variables[place])
    bars = _bars(plan, rows, n)
    _require_finite(y, offset)
    kept = independent_columns(X)
    dropped = tuple(compress(names, ~kept))
    if dropped:
        X, names = np.asfortranarray(X[:, kept]), tuple(compress(names, kept))
    if X.shape[1] >= n:
        raise NeedsR("as many coefficients as rows")
    return MixedDesign(X, names, dropped, bars, y, offset, weights, rows.used)


def _matrix(terms: Terms, variables: Mapping[int, Variable], n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if terms.flat(variables):
        raise NeedsR("a factor of one level")
    X, names = terms.matrix(variables, n)
    _require_finite(X)
    return X, names


def _require_finite(*arrays: np.ndarray | None) -> None:
    if not all(np.isfinite(each.sum()) for each in arrays if each is not None):
        raise NeedsR("values that are not finite")


def scales(X: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest standard deviation of the columns that hold more than 0 and 1; else 1 and 1."""
    columns = [column for column in X.T if not ((column == 0) | (column == 1)).all()]
    found = [float(column.std(ddof=1)) for column in columns] or [1.0]
    return min(found), max(found)


def _given(given: str | np.ndarray | None, data: Intake, used: np.ndarray) -> np.ndarray | None:
    """Return weights or an offset at the rows used."""
    values = data.columns[given].values if isinstance(given, str) else given
    return None if values is None else values[used].astype(np.float64, copy=False)


def _numbers(variable: Variable) -> np.ndarray:
    """Return an outcome or offset as numbers, shape (n,): booleans are 0 and 1, and R has no use for other factors."""
    if isinstance(variable, Numbers) and variable.values.shape[1] == 1:
        return variable.values[:, 0]
    if isinstance(variable, Factor) and variable.levels == ("FALSE", "TRUE"):
        return variable.codes.astype(np.float64)
    raise NeedsR("an outcome or offset that is not a column of numbers")


def _bars(plan: Plan, rows: Rows, n: int) -> tuple[Bar, ...]:
    """Return the random-effects terms: as written unless one has more groups than that before, else by their groups."""
    groupings: dict[str, Factor] = {}
    bars = []
    for bar in plan.bars:
        grouping = groupings[bar.group] = groupings.get(bar.group) or _grouping(bar, rows)
        own = {place: rows.factors[name] for place in bar.terms.in_use if (name := plan.columns[place]) in bar.made}
        Z, names = _matrix(bar.terms, {**rows.variables, **own}, n)
        if not tells_variances(len(grouping.levels), Z.shape[1], n):
            raise NeedsR("one group, or as many groups or effects as rows")
        bars.append(Bar(Z, grouping.codes, grouping.levels, names, bar.group))
    sizes = [len(bar.levels) for bar in bars]
    if all(a >= b for a, b in pairwise(sizes)):
        return tuple(bars)
    return tuple(bars[i] for i in sorted(range(len(bars)), key=sizes.__getitem__)[::-1])


def _grouping(bar: BarTerms, rows: Rows) -> Factor:
    """Return the groups that occur: of crossed columns in the order of the first one's levels, then of the next."""
    if bar.crossed is None:
        return rows.groups[bar.group]
    first, *others = (rows.factors[name] for name in bar.crossed)
    codes, present = _numbered(first.codes.astype(np.int64), len(first.levels))
    labels = [first.levels[i] for i in present]
    for factor in others:
        size = len(factor.levels)
        codes, present = _numbered(codes * size + factor.codes, len(labels) * size)
        labels = [f"{labels[cell // size]}:{factor.levels[cell % size]}" for cell in present.tolist()]
    return merged(codes, labels)


def _numbered(cells: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells, of `count`, that occur, ascending, and of each row which of them it is in: codes, cells."""
    if count > 2 * len(cells):
        codes, found = pd.factorize(cells)
        order = np.argsort(found)
        return np.argsort(order)[codes], found[order]
    occurs = np.bincount(cells, minlength=count) > 0
    return (cells if occurs.all() else (np.cumsum(occurs) - 1)[cells]), np.flatnonzero(occurs)


def merged(codes: np.ndarray, labels: Sequence[str]) -> Factor:
    """Return groups, those of one label made one, as R makes them."""
    place = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    if len(place) < len(labels):
        codes = np.array([place[label] for label in labels])[codes]
    return Factor(codes, tuple(place))
