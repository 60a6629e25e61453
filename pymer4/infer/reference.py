"""Reference grids: all combinations of the levels of factors, covariates at their means; and averages over them.

Which values a variable has, and what is nested in what, follow the rules of R's emmeans. A row of a grid is one of the
design; the offset there is a further, last column of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import normalise
from pymer4.data.design import Design
from pymer4.data.terms import Names, columns_named, reference, tree
from pymer4.data.variables import View

Term = tuple[Any, ...]
"""The factors of a term: a variable's name, or of an expression a tuple with the names in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A variable, and the values that a grid may have of it.

    Attributes:
        levels: those of a factor, or of a covariate with two values at most, as tables show them, shape (k,).
        given: the same as the data have them.
        codes: the place of each row used among them, shape (n,).
        is_factor: whether they are levels of a factor.
        center: the mean of a covariate.
        reach: its range.
    """

    levels: Any
    given: Any
    codes: np.ndarray
    is_factor: bool
    center: float = np.nan
    reach: float = np.nan


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A reference grid over m variables.

    Attributes:
        levels: variable to its values, as tables show them.
        X: designs and offsets, shape (k1, .., km, p + 1); NaN where an expression has no value.
        counts: rows of the fit with the levels of a cell, shape (k1, .., km).
        nesting: variable to those that it is nested in.
        terms: of the model, those with fewer factors first.
    """

    levels: Mapping[str, Any]
    X: np.ndarray
    counts: np.ndarray
    nesting: Mapping[str, Sequence[str]]
    terms: Sequence[Term]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """k rows of a table, of means or of contrasts.

    Attributes:
        labels: variable to its value in each row, shape (k,).
        X: designs and offsets, shape (k, p + 1).
        by: variables at each level of which contrasts are made.
        families: the combination of these that a row belongs to, counted from 0, shape (k,).
        contrasts: what contrasts are called, shape (k,).
    """

    labels: Mapping[str, Any]
    X: np.ndarray
    by: Sequence[str]
    families: np.ndarray
    contrasts: tuple[str, ...] | None = None


def axes_of(design: Design) -> dict[str, Axis]:
    """Return the variables of the right side, in the order of their first use; a DataError names what is none."""
    known, view = design.variables, design.seen()
    borrowed = [n for n in known if n not in design.frame.columns and n in design.terms.predictors.values]
    names = [*design.predictors, *borrowed]
    normalise(design.frame, [name for name in names if name not in known])
    computed: set[str] = set()  # what categories are made of, other than the answers to a question
    for factor, facts in design.matrices.info.factor_infos.items():
        made = factor.to is None and facts.type == "categorical"
        truths = made and all(isinstance(c, (bool, np.bool_)) for c in facts.categories)
        if made and (not truths or factor.name().startswith("C(")):
            computed.update(columns_named(Names([factor.factor]), names, design.scope))
    return {name: _axis(design, view, name, name in computed) for name in names}


def _axis(design: Design, view: View, name: str, computed: bool) -> Axis:
    known, values = design.variables[name], view[name]
    if not known.names:
        return covariate(values.to_numpy(), computed)
    of_text = known.kind.kind == "factor"
    given: Any = np.array(known.labels, dtype=object if of_text else None)
    if isinstance(values.dtype, pd.CategoricalDtype):
        given = pd.Categorical(given, dtype=values.dtype)
    shown: Any = given
    if of_text or name in design.codings:
        shown = pd.Categorical(known.names, known.names, ordered=known.kind.ordered)
    return Axis(shown, given, view.codes(name, known), True)


def covariate(x: np.ndarray, computed: bool = False, alone: bool = False) -> Axis:
    """Return the axis of numbers, all of which are levels if categories are `computed` from them.

    Two values are levels as well, unless the numbers stand `alone`, as an offset.
    """
    low, high = x.min(), x.max()
    levels, codes = x[:0], np.zeros(0, dtype=int)
    if computed or (((x == low) | (x == high)).all() and not alone):
        levels, codes = np.unique(x, return_inverse=True)
    return Axis(levels, levels, codes.ravel(), computed, float(x.mean()), float(high - low))


def terms_of(design: Design, axes: Mapping[str, Axis]) -> list[Term]:
    """Return the terms of the right side, those with fewer factors first.

    A factor that is one column as it stands, or any function of one factor, is called by its name.
    """

    def called(factor: Any) -> Any:
        names = columns_named(Names([factor]), axes.keys(), design.scope)
        as_it_stands = reference(tree(factor), axes, design.scope) is not None
        return names[0] if len(names) == 1 and (as_it_stands or axes[names[0]].is_factor) else tuple(names)

    found = [tuple(dict.fromkeys(map(called, term.factors))) for term in design.terms.sides[1]]
    return sorted((term for term in found if term), key=len)


def variables_of(term: Term) -> set[str]:
    """Return the variables in a term."""
    return {name for part in term for name in ((part,) if isinstance(part, str) else part)}


def reference_grid(
    axes: Mapping[str, Axis],
    at: Mapping[str, Any],
    around: bool,
    design: Callable[[pd.DataFrame], np.ndarray],
    terms: Sequence[Term],
) -> Grid:
    """Return the grid of some variables.

    Args:
        axes: the variables.
        at: variable to the values that the grid shall have, checked.
        around: whether covariates without levels are taken one unit to either side of their means, not at these.
        design: from rows of variables to their design and offset, shape (rows, p + 1).
        terms: of the model; see `terms_of`.
    """
    levels, given, chosen = {}, {}, {}
    for name, axis in axes.items():
        if len(axis.levels) and (axis.is_factor or name not in at):
            every = list(axis.levels)
            chosen[name] = some = np.array([every.index(value) for value in at.get(name, every)])
            levels[name], given[name] = axis.levels[some], axis.given[some]
        else:
            usual = axis.center + (np.array([-1.0, 1.0]) if around else np.zeros(1))
            levels[name] = given[name] = np.asarray(at.get(name, usual), dtype=float)
    sizes = tuple(len(values) for values in levels.values())
    places = np.indices(sizes).reshape(len(sizes), math.prod(sizes))
    rows = {name: values[place] for (name, values), place in zip(given.items(), places, strict=True)}
    X = design(pd.DataFrame(rows, index=range(math.prod(sizes))))
    counts = np.broadcast_to(_counts(axes, chosen, list(levels)), sizes)
    return Grid(levels, X.reshape(*sizes, X.shape[1]), counts, _nesting(list(levels), counts, terms), terms)


def _counts(axes: Mapping[str, Axis], chosen: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return how many rows of the fit have the chosen levels, 1 wide along variables that have none."""
    if not chosen:
        return np.ones((1,) * len(names))
    place = {name: np.full(len(axes[name].levels), -1) for name in chosen}
    for name, some in chosen.items():
        place[name][some] = np.arange(len(some))
    places = np.array([place[name][axes[name].codes] for name in chosen])
    sizes = [len(some) for some in chosen.values()]
    cells = np.ravel_multi_index(list(places[:, (places >= 0).all(axis=0)]), sizes)
    wide = [len(chosen[name]) if name in chosen else 1 for name in names]
    return np.bincount(cells, minlength=math.prod(sizes)).reshape(wide)


def _nesting(names: list[str], counts: np.ndarray, terms: Sequence[Term]) -> dict[str, list[str]]:
    """Return what each variable is nested in, told by cells without rows, and by terms without the ones they contain.

    One is nested in another if each of its levels occurs with one level of that. It is as well if it is in no term by
    itself, and a term that it is in lacks the one without it, as `b` in `a + a:b`.
    """
    wide = [name for name, size in zip(names, counts.shape, strict=True) if size > 1]
    found: dict[str, list[str]] = {}
    for name in wide if len(wide) > 1 else ():
        around = {
            n: _sum_over(counts, names, (name, n)) > 0 for n in wide if n != name and name not in found.get(n, ())
        }
        single = [n for n, there in around.items() if there.sum(axis=names.index(n)).max() == 1]
        if single:
            found[name] = single

    def lacks(term: Term, part: str) -> bool:
        rest = set(term) - {part}
        return bool(rest) and not any(rest <= set(other) for other in terms[: terms.index(term)])

    inside = [name for name in wide if any(name in term for term in terms)] if len(wide) > 1 else []
    for name in (name for name in inside if (name,) not in terms):
        own = [term for term in terms if name in term]
        own = [term for term in own if not lacks(term, name)] or own
        lacking = [{n for n in inside if n in term and n != name and lacks(term, n)} for term in own]
        least = set().union(*(one for one in lacking if not any(other < one for other in lacking)))
        if least:
            found[name] = list(dict.fromkeys([*found.get(name, []), *(n for n in inside if n in least)]))
    for name, nesters in found.items():
        found[name] = list(dict.fromkeys([*(n for own in nesters for n in found.get(own, ())), *nesters]))
    return {name: nesters for name, nesters in found.items() if name not in nesters}


def _sum_over(counts: np.ndarray, names: Sequence[str], kept: Iterable[str]) -> np.ndarray:
    """Return sums over all variables but those kept, along whose axes they are 1 wide."""
    return counts.sum(axis=tuple(i for i, name in enumerate(names) if name not in kept), keepdims=True)


def means(grid: Grid, specs: Sequence[str], by: Sequence[str]) -> Rows:
    """Return the averages of a grid for each combination of the levels of `specs` and `by`, the first varying fastest.

    Beside a variable stand those that it is nested in, and only the combinations that there are.
    """
    nested = [name for name in dict.fromkeys([*specs, *by]) if name in grid.nesting]
    nesters = [n for name in nested for n in grid.nesting[name]]
    kept = list(dict.fromkeys([*nested, *nesters, *specs, *(name for name in by if name not in nested)]))
    names, X, counts = _averaged(list(grid.levels), grid.X, grid.counts, kept, grid.nesting)
    order = [names.index(name) for name in reversed(kept)]
    X, counts = X.transpose(*order, -1), counts.transpose(order)
    shown = np.ones(counts.shape, dtype=bool)
    for name in nested:
        shown &= _sum_over(counts, kept[::-1], (name, *grid.nesting[name])) > 0
    places = np.indices(counts.shape).reshape(len(kept), counts.size)[::-1, shown.ravel()]
    labels = {name: grid.levels[name][place] for name, place in zip(kept, places, strict=True)}
    groups = list(dict.fromkeys([*(n for name in by for n in grid.nesting.get(name, ())), *by]))
    families = numbered(places[[kept.index(name) for name in groups]])
    return Rows(labels, X.reshape(-1, X.shape[-1])[shown.ravel()], groups, families)


def numbered(places: np.ndarray) -> np.ndarray:
    """Return for each column of places, shape (variables, k), the number of its combination in the order they come."""
    if not len(places):
        return np.zeros(places.shape[1], dtype=int)
    return pd.factorize(np.ravel_multi_index(list(places), places.max(axis=1) + 1))[0]


def _averaged(
    names: list[str], X: np.ndarray, counts: np.ndarray, kept: Iterable[str], nesting: Mapping[str, Sequence[str]]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Average over all variables but those kept: of a nested one over the levels that there are, these first."""
    nested = [name for name in nesting if name in names and name not in kept]
    if nested:
        inner = sorted(nested, key=lambda name: len(nesting[name]))[-1]
        around = [*nesting[inner], *(name for name in nested if name != inner)]
        there, axis = _sum_over(counts, names, (inner, *around)) > 0, names.index(inner)
        with np.errstate(invalid="ignore"):
            X = np.where(there[..., None], X, 0.0).sum(axis=axis) / there.sum(axis=axis)[..., None]
        left = [name for name in names if name != inner]
        names, X, counts = _averaged(left, X, counts.sum(axis=axis), [*kept, *around], {})
        return _averaged(names, X, counts, kept, {name: nesting[name] for name in nesting if name != inner})
    over = tuple(i for i, name in enumerate(names) if name not in kept)
    return [name for name in names if name in kept], X.mean(axis=over), counts.sum(axis=over)
