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

import numbers
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymer4.columns import NA, Column, level_name
from pymer4.errors import DataError, OptionError, near

_ZERO = 1e-8
"""Largest sum of weights, and shortest independent part of a contrast, taken for zero (relative to the weights)."""

_LISTED = 12
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
    if contrasts.ndim != 2:
        raise OptionError(f"con2R was given {contrasts.ndim} dimensions. Give a row a contrast, a column a level.")
    _require_contrasts(contrasts, (), "con2R")
    matrix = _coding_matrix(contrasts)
    if names is None:
        return matrix
    names = _checked_names(_listed(names, "names", "one name for each contrast"), "con2R")
    given, most = len(contrasts), matrix.shape[1]
    if not given <= len(names) <= most:
        more = f", and up to {most - given} more for those that are solved for" if given < most else ""
        raise OptionError(f"con2R was given {len(names)} names for {given} contrasts. Give one for each{more}.")
    return pd.DataFrame(matrix, columns=_extended(names, most))


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
    whole = np.column_stack([np.ones(len(matrix)), matrix])
    scale = np.abs(whole).max(axis=0)
    if not scale.all() or np.linalg.cond(whole / scale) > 1 / _ZERO:
        raise OptionError(
            "R2con was given columns that depend on each other or on the intercept. Each column has to "
            "add something new, as those of R's contr.treatment, contr.sum, contr.helmert and contr.poly do."
        )
    return np.linalg.inv(whole / scale) / scale[:, None]


def treatment(k: int) -> np.ndarray:
    """Return the coding that compares each level with the first, shape (k, k - 1)."""
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
        >>> coding("g", {"rest": {"A": 1, "B": -0.5, "C": -0.5}}, column).names
        ('rest', '2')
    """
    held = _Held(f"factors[{column_name!r}]", column, present_levels(column))
    if len(held.levels) < 2:
        only = f"one value only, {held.levels[0]!r}" if held.levels else "no values, only missing ones"
        raise DataError(f"Column {column_name!r} has {only}. A factor has two levels or more: drop it from factors=.")
    if isinstance(spec, Mapping):
        levels, names, weights = _written(spec, held)
        _require_contrasts(weights, names, held.where)
        return Coding(levels, _coding_matrix(weights), _extended(names, len(levels) - 1), requested=weights)
    levels = held.match(_listed(spec, held.where, f"the levels {held.listing()} in the order you want"))
    if ordered:
        names = (".L", ".Q", ".C", *(f"^{degree}" for degree in range(4, len(levels))))
        return Coding(levels, polynomial(len(levels)), names[: len(levels) - 1], ordered=True)
    return Coding(levels, treatment(len(levels)), levels[1:])


def recode(column: Column, coding: Coding) -> Column:
    """Return a column as the factor that a coding describes, its levels in the order asked for.

    Args:
        column: the column that was coded, or the same one of new data.
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
    present, positions = _occurring(column)
    place = {level: code for code, level in enumerate(coding.levels, start=1)}
    new = [level for level in present if level not in place]
    if new:
        raise DataError(
            f"The data hold {_listing(new)}, not among the levels of the factor: {_listing(coding.levels)}. "
            "Leave those rows out, or fit the model to data that have them."
        )
    codes = np.array([*(place[level] for level in present), NA], dtype=np.int32)
    return Column("factor", codes[positions], coding.levels, coding.ordered)


def present_levels(column: Column) -> tuple[str, ...]:
    """Return the levels that occur: a factor's in their order, numbers from the lowest, FALSE before TRUE."""
    return _occurring(column)[0]


# --- levels ---


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

    def _level(self, written: object) -> str:
        if not isinstance(written, (str, np.bool_, numbers.Real)) or written != written:
            raise OptionError(f"{self.where} has {written!r} for a level. The levels in the data are {self.listing()}.")
        name, kind = level_name(written), self.column.kind
        if name in self.levels:
            return name
        if not isinstance(written, str) or kind in ("double", "integer"):
            same = [level for level in self.levels if _number_of(level, kind) == _number_of(written)]
            if len(same) == 1:
                return same[0]
        hint = f" {name!r} is a category without rows." if name in self.column.levels else near(name, self.levels)
        raise OptionError(
            f"{self.where} names the level {written!r}, which the data lack. Their levels are {self.listing()}.{hint}"
        )


def _occurring(column: Column) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the levels present, and for each row the position of its level, -1 where missing."""
    here = ~column.missing
    distinct, inverse = np.unique(column.values[here], return_inverse=True)
    if column.kind == "factor":
        levels = tuple(column.levels[code - 1] for code in distinct)
    else:
        levels = tuple(level_name(value) for value in (distinct > 0 if column.kind == "logical" else distinct))
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
        return np.nan


def _listing(levels: Sequence[str], kind: str = "factor") -> str:
    spell = {"factor": repr, "logical": str.capitalize}.get(kind, str)
    text = ", ".join(spell(level) for level in levels[:_LISTED])
    return text if len(levels) <= _LISTED else f"{text}, .. ({len(levels)} in all)"


def _listed(given: object, where: str, wanted: str) -> list:
    no_list = isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable)
    if no_list or getattr(given, "ndim", 1) != 1:
        raise OptionError(f"{where} is {given!r}. Give a list: {wanted}.")
    return list(given)


# --- contrasts ---


def _written(spec: Mapping, held: _Held) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return levels, names of contrasts (empty where there are none) and weights, shape (contrasts, levels)."""
    values = list(spec.values())
    if values and all(isinstance(value, Mapping) for value in values):
        names = _checked_names(spec, held.where)
        levels = held.match(values[0])
        rows = [dict(zip(held.match(row), row.values(), strict=True)) for row in values]
        return levels, names, np.array([[_weight(row[level], level, held) for level in levels] for row in rows])
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
    return levels, (), np.array(weights).T


def _weight(value: object, level: str, held: _Held) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(float(value)):
        return float(value)
    a, b = (held.listing([level]) for level in held.levels[:2])
    raise OptionError(
        f"{held.where} gives the level {held.listing([level])} the weight {value!r}, which is not a finite number. "
        f"Give a list of the levels, or {{{a}: 1, {b}: -1, ..}} for one contrast, {{{a}: [1, 0], {b}: [-1, 1], ..}} "
        f"for several, {{'name': {{{a}: 1, {b}: -1, ..}}, ..}} for contrasts with names."
    )


def _checked_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    texts = tuple(level_name(name) for name in names)
    if len(set(texts)) < len(texts) or "" in texts:
        raise OptionError(f"{where} names its contrasts {', '.join(map(repr, texts))}. Give each a name of its own.")
    return texts


def _extended(names: Sequence[str], n: int) -> tuple[str, ...]:
    """Return n names: those given, then positions, passing over a number that is already taken."""
    names = list(names)
    while len(names) < n:
        names.append(next(str(i) for i in range(len(names) + 1, 2 * n + 1) if str(i) not in names))
    return tuple(names)


def _numbers(arr: object, where: str) -> np.ndarray:
    try:
        array = np.array(arr, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.isfinite(array).all():
        raise OptionError(f"{where} was given {arr!r}. Give rows of finite numbers, all of one length.")
    return array


def _require_contrasts(weights: np.ndarray, names: Sequence[str], where: str) -> None:
    """Raise OptionError unless the rows are independent contrasts, fewer than levels; shape (m, k)."""
    m, k = weights.shape
    if not 0 < m < k:
        legal = f"Give 1 to {k - 1}; the others are solved for" if k > 1 else "Give two levels or more"
        raise OptionError(f"{where} gives {m} contrasts for {k} levels. {legal}.")
    rows = weights / np.maximum(np.abs(weights).max(axis=1, keepdims=True), np.finfo(float).tiny)
    for i, row in enumerate(rows):
        if not row.any():
            fault = "compares nothing. Give weights that are not all zero, with sum 0"
        elif np.ptp(row) == 0:
            fault = "is the mean row, which the intercept stands for. Leave it out"
        elif abs(row.sum()) > _ZERO:
            fault = (
                f"sums to {weights[i].sum():.6g}. Weights sum to 0, as 1, -0.5, -0.5 do; for thirds write 1/3, not 0.33"
            )
        elif i and _distance(row, rows[:i]) < _ZERO * np.linalg.norm(row):
            fault = "is a multiple or a sum of those before it. Leave it out, and one that is independent is solved for"
        else:
            continue
        name = repr(names[i]) if names else i + 1
        raise OptionError(f"Contrast {name} of {where}, ({', '.join(f'{w:.6g}' for w in weights[i])}), {fault}.")


def _distance(row: np.ndarray, others: np.ndarray) -> float:
    """Return how far a row is from the span of the others."""
    return float(np.linalg.norm(row - others.T @ np.linalg.lstsq(others.T, row, rcond=None)[0]))


def _coding_matrix(contrasts: np.ndarray) -> np.ndarray:
    """Return the coding, shape (k, k - 1), of independent contrasts, shape (m, k)."""
    m, k = contrasts.shape
    scale = np.r_[np.abs(contrasts).max(axis=1), np.ones(k - 1 - m)]
    rows = contrasts / scale[:m, None]
    Q, _ = np.linalg.qr(np.column_stack([np.ones(k), np.linalg.pinv(rows)]), mode="complete")
    return np.linalg.inv(np.vstack([np.full(k, 1 / k), rows, Q[:, m + 1 :].T]))[:, 1:] / scale
