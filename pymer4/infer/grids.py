"""What users ask of a reference grid: variables, values and comparisons, checked against a model's predictors."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from pymer4.data.columns import Column, level_name, places, real_array
from pymer4.data.frames import plain
from pymer4.errors import OptionError, few, items, near, one_of, shown

Adjust = Literal[
    "none", "tukey", "bonferroni", "holm", "hochberg", "hommel", "fdr", "BH", "BY", "sidak", "scheffe", "dunnettx",
    "mvt", "bonf", "dunnet",
]  # fmt: skip
"""Adjustments for several tests under R's names, and two short ones."""

Family = Literal["pairwise", "trt.vs.ctrl", "consec", "poly", "eff"]
"""Families of contrasts under R's names."""

Scale = Literal["response", "link"]

_R_NAMES = {"bonf": "bonferroni", "dunnet": "dunnettx"}
_LISTED = 12

_PLACES = 60
_TRUTH = ("FALSE", "TRUE")

_ROWS = 10_000
"""Rows that emmeans gives a grid at most."""


@dataclass(frozen=True, slots=True)
class Predictors:
    """The variables of the fixed part of a model.

    Attributes:
        factors: factor to its levels in order; text, truth values, or numbers that the formula makes a factor.
        covariates: covariate to its values where these are two at most, which a grid keeps as levels; else empty.
    """

    factors: Mapping[str, tuple[Any, ...]]
    covariates: Mapping[str, tuple[float, ...]]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a variable."""
        return name in self.factors or name in self.covariates

    def named(self, argument: str, given: str | Sequence[str] | None) -> list[str]:
        """Return the variables that an argument names, each once; an empty list for None.

        Raises:
            OptionError: one of them is not in the fixed part of the model.
        """
        names = [] if given is None else [given] if isinstance(given, str) else items(given)
        if names is None:
            raise OptionError(
                f"{argument}={shown(given)} is not the name of a variable, nor a list of names. {self.known()}"
            )
        for name in names:
            if not isinstance(name, str) or name not in self:
                hint = near(name, [*self.factors, *self.covariates])
                raise OptionError(
                    f"{argument} names {shown(name)}, which is not in the fixed part of the model.{hint} {self.known()}"
                )
        return list(dict.fromkeys(names))

    def known(self) -> str:
        """Return a sentence that lists the variables."""
        kinds = (("factors", self.factors), ("covariates", self.covariates))
        return f"It has {'; '.join(f'{kind}: {_listing(names)}' for kind, names in kinds)}."

    def values(self, at: Mapping[str, Any] | None) -> dict[str, np.ndarray | list[str]] | None:
        """Return the values that `at` asks for, as R takes them: text, truth values or numbers.

        Args:
            at: variable to one value, or to a sequence of values.

        Raises:
            OptionError: an unknown variable, an unknown level of a factor, a covariate's value that is no number, or
                more values than a grid may have.
        """
        if at is None:
            return None
        if not isinstance(at, Mapping):
            raise OptionError(f"at={shown(at)} is not a dict of variables and values, such as {{'x': [0, 1]}}.")
        self.named("at", list(at))
        chosen = {name: self._chosen(name, values) for name, values in at.items()}
        self.require_size(chosen)
        return chosen

    def require_size(self, chosen: Mapping[str, Any]) -> None:
        """Raise an OptionError for a grid with more rows than it may have, some variables with the values chosen."""
        sizes = {name: max(1, len(values)) for name, values in {**self.factors, **self.covariates, **chosen}.items()}
        if math.prod(sizes.values()) > _ROWS:
            listed = " × ".join(f"{name} {size}" for name, size in sizes.items() if size > 1)
            raise OptionError(
                f"The grid would have {math.prod(sizes.values()):,} rows ({listed}), and {_ROWS:,} at most. Give fewer "
                "values in at=."
            )

    def _chosen(self, name: str, values: Any) -> np.ndarray | list[str]:
        values = plain(values)
        if isinstance(values, Mapping) or np.ndim(values) > 1:
            raise OptionError(f"at[{name!r}] is {shown(values)}. Give one value, or a list of values.")
        single = isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or np.ndim(values) == 0
        wanted = [values] if single else list(values)
        if not wanted:
            raise OptionError(f"at[{name!r}] is empty. Give at least one value, or leave it out.")
        if name in self.covariates:
            if not all(_is_number(value) for value in wanted):
                raise OptionError(f"at[{name!r}]={shown(values)} has to be numbers: {name!r} is a covariate.")
            return np.array(list(dict.fromkeys(map(float, wanted))))
        levels = {level_name(level): level for level in self.factors[name]}
        found = places([level_name(value) for value in wanted], list(levels))
        if min(found) < 0:
            unknown = wanted[found.index(-1)]
            raise OptionError(
                f"at[{name!r}] has {shown(unknown)}, not among the levels: {_listing(levels)}."
                f"{near(level_name(unknown), levels)}"
            )
        chosen = [self.factors[name][place] for place in dict.fromkeys(found)]
        return chosen if isinstance(chosen[0], str) else np.array(chosen)


def along(column: Column, levels: np.ndarray | None) -> tuple[np.ndarray | list[str], Column]:
    """Return places from end to end of a predictor, numbers or names of levels, and the column that has them.

    The column has no missing values; `levels` are its values where the formula makes a factor of a number.
    """
    if column.kind == "factor":
        return list(column.levels), replace(column, values=np.arange(1, len(column.levels) + 1, dtype=np.int32))
    if column.kind == "logical":
        return list(_TRUTH), replace(column, values=np.array([0, 1], dtype=np.int32))
    x = np.linspace(column.values.min(), column.values.max(), _PLACES) if levels is None else levels
    named = levels is not None and len(levels) <= _PLACES
    return [level_name(value) for value in x] if named else x, Column("double", x)


def held(column: Column, n: int, levels: np.ndarray | None) -> Column:
    """Return `n` rows at the mean of a number, or at the first level of a factor; see `along`."""
    if column.kind in ("double", "integer"):
        return Column("double", np.full(n, column.values.mean() if levels is None else levels[0]))
    return replace(column, values=np.full(n, 1 if column.kind == "factor" else 0, dtype=np.int32))


def told(columns: Mapping[str, Column], offset: float | None) -> list[str]:
    """Return at which values predictors and offset are held, as one sentence; none where there is nothing to tell."""
    values = {}
    for name, column in columns.items():
        first = column.values[0]
        if column.kind == "factor":
            values[name] = column.levels[first - 1]
        else:
            values[name] = _TRUTH[first] if column.kind == "logical" else f"{first:.4g}"
    if offset is not None:
        values["offset"] = f"{offset:.4g}"
    listed = ", ".join(f"{name}\u00a0=\u00a0{value}" for name, value in values.items())
    return [f"Other predictors at: {listed}"] if listed else []


def require_apart(first: str, names: Sequence[str], second: str, others: Sequence[str]) -> None:
    """Raise OptionError for a variable that two arguments name."""
    both = [name for name in names if name in others]
    if both:
        raise OptionError(f"{both[0]!r} is in {first} and in {second}. Name it in one of the two.")


def adjustment(argument: str, value: object) -> str:
    """Return R's name of an adjustment for several tests.

    Raises:
        OptionError: there is none of this name; the message lists those there are.

    Examples:
        >>> adjustment("p_adjust", "bonf")
        'bonferroni'
    """
    known = str(one_of(argument, value, get_args(Adjust)))
    return _R_NAMES.get(known, known)


def comparisons(contrasts: object) -> str | dict[str, dict[str, Any]] | None:
    """Return contrasts as R takes them: a family's name, or weights and perhaps the cells they belong to.

    Args:
        contrasts: None, a family, or name to weights: a sequence in the order of the cells, or a dict by cell,
            a level or a tuple of levels, where a cell that is left out has weight 0.

    Raises:
        OptionError: no such family, or weights that are none.

    Examples:
        >>> comparisons({"a or b": {"a": 0.5, "b": 0.5, "c": -1}})["a or b"]["cells"]
        [['a'], ['b'], ['c']]
    """
    if contrasts is None:
        return None
    if not isinstance(contrasts, Mapping):
        if isinstance(contrasts, str) and contrasts in get_args(Family):
            return contrasts
        legal = ", ".join(map(repr, get_args(Family)))
        raise OptionError(
            f"contrasts={shown(contrasts)} is not known. Use one of: {legal}, None for none, or a dict of weights "
            f"such as {{'a - b': [1, -1]}}.{near(contrasts, get_args(Family))}"
        )
    if not contrasts:
        raise OptionError("contrasts={} names no contrast. Use None for none, or {'name': weights}.")
    return {str(name): _weights(name, given) for name, given in contrasts.items()}


def unfit(
    contrasts: Mapping[str, Mapping[str, Any]], contrast: str, cell: int, cells: Mapping[str, Sequence[Any]]
) -> OptionError:
    """Return the error for weights of `comparisons()` that do not fit the cells, a sequence of levels a variable.

    `cell` is the place from 1 of the weight that belongs to no cell; 0 where their number is wrong.
    """
    names = [_cell_name([level_name(level) for level in levels]) for levels in zip(*cells.values(), strict=True)]
    wanted = contrasts[contrast]
    if cell:
        given = _cell_name(wanted["cells"][cell - 1])
        fault = f"has a weight for {given!r}, which is no cell.{near(given, names)}"
    else:
        fault = f"has {len(wanted['weights'])} weights for {len(names)} cells."
    return OptionError(f"contrasts[{contrast!r}] {fault} The cells are, in this order: {_listing(names)}.")


def _cell_name(levels: Sequence[str]) -> str:
    return levels[0] if len(levels) == 1 else f"({', '.join(levels)})"


def _weights(name: object, given: Any) -> dict[str, Any]:
    cells = None
    if isinstance(given, Mapping):
        cells = [[level_name(level) for level in (cell if isinstance(cell, tuple) else (cell,))] for cell in given]
        given = list(given.values())
    listed = [] if isinstance(given, (str, bytes)) or not isinstance(given, Iterable) else list(given)
    if not listed or not all(_is_number(weight) for weight in listed):
        raise OptionError(
            f"contrasts[{name!r}] is {shown(given)}. Give one finite number a cell, in a list or in a dict by cell."
        )
    return {"cells": cells, "weights": np.array(listed, dtype=float)}


def _is_number(value: object) -> bool:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        return False
    found = real_array(value)
    return found is not None and bool(np.isfinite(found))


def _listing(names: Iterable[str]) -> str:
    return few(list(names), _LISTED, ", and") or "none"
