"""Turn the comparisons that a user writes into the coding matrix that a model is fitted with, and back.

A *contrast* says what a coefficient estimates: one weight for each level, with
sum 0. A *coding matrix* says what enters the design: a row for each level, a
column for each coefficient. With the intercept beside them, each is the inverse
of the other:

| contrasts, as people write them | coding, as R's `contrasts()` prints it |
| --- | --- |
| one row a contrast, one column a level | one row a level, one column a contrast |
| the mean row, `1/k` throughout, comes first | the intercept's column of ones comes first |
| `R2con(coding)` | `con2R(contrasts)` |

So in a balanced design a coefficient is exactly the weighted sum of cell means
that was written down, whatever the scale of its weights.

When fewer than k − 1 contrasts are given for k levels, the others are solved
for. They have unit length and are orthogonal to the mean row, to the contrasts
given and to each other: the last columns of Q in the Householder QR
decomposition of `[1, pinv(contrasts)]`. Numbers and signs are thus those of
`make.contrasts()` in the R package gmodels. They complete the model; their own
coefficients seldom mean much.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymer4.columns import NA, Column, level_name
from pymer4.errors import DataError, OptionError, near

_ZERO = 1e-8
"""Largest sum of weights, and shortest independent part of a contrast, taken for zero (relative to the weights)."""

_SHOWN = 12
"""How many levels an error message lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """How one factor enters a model.

    Attributes:
        levels: the k levels, in the order asked for; names as `columns.level_name` gives them.
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


def con2R(arr: object, names: Iterable[str] | None = None) -> np.ndarray | pd.DataFrame:
    """Return the coding matrix whose coefficients estimate the given contrasts.

    Args:
        arr: contrasts, shape (m, k) or (k,) for a single one: a row for each
            contrast, a column for each of the k levels, m < k.
        names: names of the contrasts, to get a frame; between m and k - 1 of them. The
            others are called by their position.

    Returns:
        Coding matrix, shape (k, k - 1): for the contrasts in their order, then for those solved for.

    Raises:
        OptionError: for what is not a contrast, and for contrasts that depend on each other.

    Examples:
        >>> con2R([[1, -0.5, -0.5], [0, 1, -1]]).round(3) + 0.0
        array([[ 0.667,  0.   ],
               [-0.333,  0.5  ],
               [-0.333, -0.5  ]])
        >>> list(con2R([1, -0.5, -0.5], names=["A.vs.rest"]).columns)
        ['A.vs.rest', '2']
    """
    contrasts = np.atleast_2d(_numbers(arr, "con2R"))
    if contrasts.ndim != 2 or contrasts.shape[1] < 2:
        raise OptionError(
            f"con2R was given an array of shape {np.shape(arr)}. "
            "Give one row for each contrast and one column for each level, two levels or more."
        )
    given, free = len(contrasts), contrasts.shape[1] - 1
    if names is None:
        _require_contrasts(contrasts, range(1, given + 1), "con2R")
        return _coding_matrix(contrasts)
    names = _listed(names, "con2R: names", "one name for each contrast")
    _require_contrasts(contrasts, range(1, given + 1), "con2R")
    if not given <= len(names) <= free:
        legal = str(given) if given == free else f"{given} to {free}"
        raise OptionError(
            f"con2R was given {len(names)} names for {given} contrasts. "
            f"Give {legal}: those beyond the contrasts written are for the ones solved for."
        )
    return pd.DataFrame(_coding_matrix(contrasts), columns=_extended(_checked_names(names, "con2R"), free))


def R2con(arr: object) -> np.ndarray:
    """Return what the intercept and the coefficients of a coding estimate: the inverse of `con2R`.

    Args:
        arr: coding matrix, shape (k, k - 1), as R's `contrasts()` prints it.

    Returns:
        Shape (k, k): weights of the cell means, a column for each level. The first row belongs
        to the intercept: it is the mean row, `1/k` throughout, for each coding whose columns sum to
        zero (sum, Helmert, polynomial, all of `con2R`), and picks out the reference level for a
        treatment coding. The contrasts follow.

    Raises:
        OptionError: for a matrix of another shape, or one that can't be inverted.

    Examples:
        >>> R2con([[0, 0], [1, 0], [0, 1]])
        array([[ 1.,  0.,  0.],
               [-1.,  1.,  0.],
               [-1.,  0.,  1.]])
    """
    matrix = _numbers(arr, "R2con")
    if matrix.ndim != 2 or matrix.shape[1] < 1 or matrix.shape[0] != matrix.shape[1] + 1:
        raise OptionError(
            f"R2con was given an array of shape {matrix.shape}. Give a coding matrix: one row for each "
            "level, and one column fewer than there are rows, as R's contrasts() prints it."
        )
    lengths = np.linalg.norm(matrix, axis=0)
    if (lengths > 0).all():
        columns = np.column_stack([np.ones(len(matrix)), matrix / lengths])
        if np.linalg.cond(columns) < 1 / _ZERO:
            return np.linalg.inv(columns) / np.r_[1.0, lengths][:, None]
    raise OptionError(
        "R2con was given a matrix whose columns depend on each other or on the intercept. "
        "Each column has to add something new; R's contr.treatment, contr.sum, contr.helmert and contr.poly all do."
    )


def treatment(k: int) -> np.ndarray:
    """Return the coding that compares each level with the first, shape (k, k - 1).

    Examples:
        >>> treatment(3)
        array([[0., 0.],
               [1., 0.],
               [0., 1.]])
    """
    return np.eye(k)[:, 1:]


def polynomial(k: int) -> np.ndarray:
    """Return orthonormal polynomials over k equally spaced levels, shape (k, k - 1).

    The columns rise in degree from linear on and end on a positive value; they equal R's
    `contr.poly(k)`. The values are the eigenvectors of the Jacobi matrix of the discrete
    Chebyshev polynomials (Golub and Welsch, 1969, Mathematics of Computation 23), which keeps
    full precision where a QR decomposition of raw powers loses it.

    Examples:
        >>> polynomial(3).round(4) + 0.0
        array([[-0.7071,  0.4082],
               [ 0.    , -0.8165],
               [ 0.7071,  0.4082]])
    """
    degree = np.arange(1, k)
    beside = degree / 2 * np.sqrt((k**2 - degree**2) / (4 * degree**2 - 1))
    _, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    values = (vectors * np.sign(vectors[0])).T[:, 1:]
    return (values + values[::-1] * (-1.0) ** degree) / 2


def polynomial_names(k: int) -> tuple[str, ...]:
    """Return R's names of the columns of `polynomial(k)`.

    Examples:
        >>> polynomial_names(5)
        ('.L', '.Q', '.C', '^4')
    """
    return (".L", ".Q", ".C", *(f"^{degree}" for degree in range(4, k)))[: k - 1]


def present_levels(column: Column) -> tuple[str, ...]:
    """Return the levels that occur in a column: a factor's in their order, numbers from the lowest, FALSE before TRUE.

    Examples:
        >>> present_levels(Column("double", np.array([2.0, 0.5, np.nan, 2.0])))
        ('0.5', '2')
    """
    return _occurring(column)[0]


def coding(column_name: str, spec: object, column: Column, ordered: bool = False) -> Coding:
    """Return the coding that one entry of `fit(factors=...)` asks for.

    Args:
        column_name: the column's name, for messages.
        spec: levels in a list, for treatment coding against the first of them; or weights:
            `{level: weight}` for one contrast, `{level: [weight, ..]}` for several, `{name: {level:
            weight}}` for several with names. Each names every level in the data once, as text or as the
            number it is; the order in which levels are written is the order they get.
        column: the data.
        ordered: give a list of levels orthogonal polynomials, as R gives an ordered factor.

    Returns:
        The coding. Contrasts that were not written are solved for; those without a name are
        called by their position.

    Raises:
        OptionError: for levels or contrasts that do not fit the data.
        DataError: for a column with fewer than two levels.

    Examples:
        >>> column = Column("factor", np.array([1, 2, 3, 1], dtype=np.int32), ("A", "B", "C"))
        >>> coding("g", ["C", "A", "B"], column).names
        ('A', 'B')
        >>> coding("g", ["A", "B", "C"], column, ordered=True).names
        ('.L', '.Q')
        >>> coding("g", {"A": 1, "B": -0.5, "C": -0.5}, column).names
        ('1', '2')
        >>> coding("g", {"rest": {"A": 1, "B": -0.5, "C": -0.5}}, column).names
        ('rest', '2')
    """
    held = _Held.of(column_name, column)
    if isinstance(spec, Mapping):
        levels, names, weights = _written(spec, held)
        _require_contrasts(weights, names or range(1, len(weights) + 1), held.where)
        return Coding(levels, _coding_matrix(weights), _extended(names, len(levels) - 1), requested=weights)
    levels = held.match(_listed(spec, held.where, f"the levels {held.shown()} in the order you want"))
    if ordered:
        return Coding(levels, polynomial(len(levels)), polynomial_names(len(levels)), ordered=True)
    return Coding(levels, treatment(len(levels)), levels[1:])


def recode(column: Column, coding: Coding) -> Column:
    """Return a column as the factor that a coding describes, its levels in the order asked for.

    Args:
        column: text, numbers or booleans: the column that was coded, or the same column of new data.
        coding: from `coding()`.

    Returns:
        A factor with exactly the levels of the coding; missing values stay missing.

    Raises:
        DataError: for a value that is none of the coding's levels.

    Examples:
        >>> column = Column("integer", np.array([1, 2, 1], dtype=np.int32))
        >>> recode(column, coding("dose", [2, 1], column)).values
        array([2, 1, 2], dtype=int32)
    """
    present, values = _occurring(column)
    place = {level: code for code, level in enumerate(coding.levels, start=1)}
    new = [level for level in present if level not in place]
    if new:
        raise DataError(
            f"The data hold {_listing(new)}, not among the levels of the factor: {_listing(coding.levels)}. "
            "Leave those rows out, or fit the model to data that have them."
        )
    codes = np.array([*(place[level] for level in present), NA], dtype=np.int32)
    return Column("factor", codes[values], coding.levels, coding.ordered)


# --- levels ---


@dataclass(frozen=True, slots=True)
class _Held:
    """The levels that a column holds, and how messages speak of them."""

    name: str
    kind: str
    levels: tuple[str, ...]
    unused: frozenset[str]

    @classmethod
    def of(cls, name: str, column: Column) -> _Held:
        levels = present_levels(column)
        if len(levels) < 2:
            only = f"has one value only, {levels[0]!r}" if levels else "has no values, only missing ones"
            raise DataError(f"Column {name!r} {only}. A factor needs two levels or more: drop it from factors=.")
        return cls(name, column.kind, levels, frozenset(column.levels) - set(levels))

    @property
    def where(self) -> str:
        return f"factors[{self.name!r}]"

    def shown(self, levels: Sequence[str] | None = None) -> str:
        return _listing(self.levels if levels is None else levels, self.kind)

    def match(self, written: Sequence[object]) -> tuple[str, ...]:
        """Return the column's names of the levels written; every one has to be there once."""
        found = tuple(self._level(level) for level in written)
        if len(set(found)) < len(found):
            twice = next(level for i, level in enumerate(found) if level in found[:i])
            raise OptionError(
                f"{self.where} names the level {self.shown([twice])} twice. Name each once: {self.shown()}."
            )
        left_out = [level for level in self.levels if level not in found]
        if left_out:
            raise OptionError(
                f"{self.where} leaves out {self.shown(left_out)}. Name every level in the data: {self.shown()}. "
                "To leave a level out of a contrast give it the weight 0; to leave it out of the model, drop its rows."
            )
        return found

    def _level(self, written: object) -> str:
        missing = isinstance(written, numbers.Real) and math.isnan(written)
        if missing or not isinstance(written, (str, bool, np.bool_, numbers.Real)):
            raise OptionError(f"{self.where} has {written!r} for a level. The levels in the data are {self.shown()}.")
        name = level_name(written)
        if name in self.levels:
            return name
        number = _number_of(written)
        if not isinstance(written, str) or self.kind in ("double", "integer"):
            same = [level for level in self.levels if _number_of(level, self.kind) == number]
            if len(same) == 1:
                return same[0]
        unused = f" ({name!r} is a category without rows.)" if name in self.unused else near(name, self.levels)
        raise OptionError(
            f"{self.where} names the level {written!r}, which the data do not have. Their levels are {self.shown()}.{unused}"
        )


def _occurring(column: Column) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the levels present, and for each row the position of its level, -1 where missing."""
    here = ~column.missing
    distinct, inverse = np.unique(column.values[here], return_inverse=True)
    if column.kind == "factor":
        levels = tuple(column.levels[code - 1] for code in distinct)
    elif column.kind == "logical":
        levels = tuple(level_name(bool(value)) for value in distinct)
    else:
        levels = tuple(level_name(value) for value in distinct)
    positions = np.full(len(column.values), -1)
    positions[here] = inverse
    return levels, positions


def _number_of(level: object, kind: str = "") -> float:
    """Return the number that a level is or spells, NaN for other text."""
    if kind == "logical":
        return float(level == "TRUE")
    try:
        return float(level)
    except (ValueError, OverflowError):
        return math.nan


def _listing(levels: Sequence[str], kind: str = "factor") -> str:
    spell = {"factor": repr, "logical": str.capitalize}.get(kind, str)
    text = ", ".join(spell(level) for level in levels[:_SHOWN])
    return text if len(levels) <= _SHOWN else f"{text}, .. ({len(levels)} in all)"


def _listed(given: object, where: str, wanted: str) -> list:
    if isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable) or np.ndim(given) > 1:
        raise OptionError(f"{where} is {given!r}. Give a list: {wanted}.")
    return list(given)


# --- contrasts ---


def _written(spec: Mapping, held: _Held) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return levels, names of contrasts (empty where there are none) and weights, shape (contrasts, levels)."""
    values = list(spec.values())
    if values and all(isinstance(value, Mapping) for value in values):
        names = _checked_names(spec, held.where)
        levels = held.match(list(values[0]))
        rows = [dict(zip(held.match(list(row)), row.values(), strict=True)) for row in values]
        weights = [[_weight(row[level], level, held) for level in levels] for row in rows]
        return levels, names, np.array(weights)
    several = [isinstance(value, (list, tuple, np.ndarray, pd.Series)) and np.ndim(value) == 1 for value in values]
    if any(several) and not all(several) or any(isinstance(value, Mapping) for value in values):
        raise OptionError(f"{held.where} mixes ways to write contrasts. Use one of: {_forms(held)}.")
    levels = held.match(list(spec))
    columns = [list(value) if many else [value] for value, many in zip(values, several, strict=True)]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        counts = ", ".join(f"{level!r}: {n}" for level, n in zip(levels, lengths, strict=True))
        raise OptionError(
            f"{held.where} gives the levels different numbers of weights, or none ({counts}). "
            f"Give each level one weight for each contrast, 1 to {len(levels) - 1} in all."
        )
    weights = [[_weight(w, level, held) for w in column] for level, column in zip(levels, columns, strict=True)]
    return levels, (), np.array(weights).T


def _weight(value: object, level: str, held: _Held) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise OptionError(
            f"{held.where} gives the level {level!r} the weight {value!r}, which is not a number. "
            f"Use one of: {_forms(held)}; or a list of the levels."
        )
    return float(value)


def _forms(held: _Held) -> str:
    first, second = (held.shown([level]) for level in held.levels[:2])
    return (
        f"{{{first}: 1, {second}: -1, ..}} for one contrast, {{{first}: [1, 0], {second}: [-1, 1], ..}} for several, "
        f"{{'name': {{{first}: 1, {second}: -1, ..}}, ..}} for contrasts with names"
    )


def _checked_names(names: Iterable[Hashable], where: str) -> tuple[str, ...]:
    texts = tuple(level_name(name) for name in names)
    if len(set(texts)) < len(texts) or "" in texts:
        raise OptionError(f"{where} names its contrasts {', '.join(map(repr, texts))}. Give each a name of its own.")
    return texts


def _extended(names: Sequence[str], n: int) -> tuple[str, ...]:
    """Return n names: those given, then positions, passing over a number that is already taken."""
    names = list(names)
    while len(names) < n:
        position = len(names) + 1
        while str(position) in names:
            position += 1
        names.append(str(position))
    return tuple(names)


def _numbers(arr: object, where: str) -> np.ndarray:
    try:
        return np.array(arr, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"{where} was given {arr!r}. Give rows of numbers, all of one length.") from None


def _require_contrasts(weights: np.ndarray, names: Iterable[object], where: str) -> None:
    """Raise OptionError unless the rows are independent contrasts, fewer than levels; shape (m, k)."""
    m, k = weights.shape
    if not 0 < m < k:
        raise OptionError(f"{where} gives {m} contrasts for {k} levels. Give 1 to {k - 1}; the others are solved for.")
    for i, (row, name) in enumerate(zip(weights, names, strict=True)):
        this = f"Contrast {name!r} of {where}, {_row(row)},"
        if not np.isfinite(row).all():
            raise OptionError(f"{this} has a weight that is not finite. Give each level a number; 0 leaves it out.")
        if not row.any():
            raise OptionError(f"{this} compares nothing. Give weights that are not all zero, with sum 0.")
        if np.ptp(row) == 0:
            raise OptionError(f"{this} is the mean row, which the intercept stands for. Leave it out.")
        if abs(row.sum()) > _ZERO * np.abs(row).max():
            raise OptionError(
                f"{this} sums to {row.sum():.6g}. The weights of a contrast sum to 0, "
                "as 1, -0.5, -0.5 do; write a third as 1/3, not as 0.33."
            )
        if i and _apart(row, weights[:i]) < _ZERO:
            raise OptionError(
                f"{this} says nothing new: it is a multiple or a sum of those before it. "
                f"Change or leave it out; up to {k - 1} contrasts are independent, and missing ones are solved for."
            )


def _row(row: np.ndarray) -> str:
    return "[" + ", ".join(f"{weight:.6g}" for weight in row) + "]"


def _apart(row: np.ndarray, others: np.ndarray) -> float:
    """Return the part of a row, as a share of its length, that lies outside the span of the others."""
    basis = _unit(others)[0].T
    row = _unit(row[None])[0][0]
    return float(np.linalg.norm(row - basis @ np.linalg.lstsq(basis, row, rcond=None)[0]))


def _unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of unit length, and their lengths, shape (m, 1)."""
    size = np.abs(rows).max(axis=1, keepdims=True)
    lengths = size * np.linalg.norm(rows / size, axis=1, keepdims=True)
    return rows / lengths, lengths


def _coding_matrix(contrasts: np.ndarray) -> np.ndarray:
    """Return the coding, shape (k, k - 1), of independent contrasts, shape (m, k)."""
    rows, lengths = _unit(contrasts)
    m, k = rows.shape
    if m < k - 1:
        Q, _ = np.linalg.qr(np.column_stack([np.ones(k), np.linalg.pinv(rows)]), mode="complete")
        rows = np.vstack([rows, Q[:, m + 1 :].T])
        lengths = np.vstack([lengths, np.ones((k - 1 - m, 1))])
    return np.linalg.inv(np.vstack([np.full(k, 1 / k), rows]))[:, 1:] / lengths.T
