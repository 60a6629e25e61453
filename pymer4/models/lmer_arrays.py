"""The arrays of a gaussian mixed model: R is asked what its formula means, and what functions make of columns.

    design = mixed_design(model, *model._sample())

A reading of the formula is kept with the model, and holds for columns of the same kinds; see `data.mixed_design`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from pymer4.data.columns import Column, as_factor
from pymer4.data.factors import Coding
from pymer4.data.intake import Intake, at_rows
from pymer4.data.mixed_design import (
    MixedDesign,
    NeedsR,
    Plan,
    Rows,
    as_groups,
    as_plan,
    as_variable,
    assemble,
    complete_rows,
    merged,
    scales,
)
from pymer4.data.mixed_terms import Factor, Variable, variable_of
from pymer4.data.recoding import contrast_matrices, without_unused
from pymer4.data.rformula import RFormula
from pymer4.errors import FormulaError, RError
from pymer4.rbridge import bridge

_SCALES = 1e3  # lme4 warns where a standard deviation, or a ratio of two, is beyond this or its inverse

_Codings = Mapping[str, Mapping[str, Any]]


class Read(Protocol):
    """A formula as R reads it, and the reading that is kept of its design."""

    _reading: RFormula
    _plan: tuple[Any, Plan] | None


def mixed_design(model: Read, data: Intake, codings: Mapping[str, Coding], outcome: bool = True) -> MixedDesign:
    """Return the arrays of a fit from what `model._sample()` took in.

    Args:
        model: whose formula counts.
        data: columns, weights and offset.
        codings: how factors were asked to be coded.
        outcome: whether that of the formula is used; if not, it need not be in the data, and its gaps drop no row.

    Raises:
        NeedsR: the engine in R is to judge the model.
        FormulaError: the formula has a part that R alone can fit.
    """
    contrasts = contrast_matrices(codings)
    plan = _plan(model, data, contrasts)
    used = complete_rows(plan, data, outcome)
    computed, warnings = _computed(model, plan, data, contrasts, used, outcome)
    if not used.any():
        raise NeedsR("no row is complete")
    lost = _lost_levels(plan, data, used)
    if lost:
        data = without_unused(replace(data, complete=used))
        plan = _plan(model, data, {name: coding for name, coding in contrasts.items() if name not in lost})
        warnings += [f"contrasts dropped from factor {name} due to missing levels" for name in lost & contrasts.keys()]
    coded = plan.coded() | {i: plan.columns[i] for i in (*plan.offsets, plan.response) if i in plan.bare(outcome)}
    bare = {i: variable_of(at_rows(data.columns[name], used), plan.contrasts.get(name)) for i, name in coded.items()}
    factors = {name: _factor(at_rows(data.columns[name], used)) for bar in plan.bars for name in bar.made}
    rows = Rows(used, bare | computed, factors, _groups(plan, factors))
    with np.errstate(over="ignore", invalid="ignore"):
        design = assemble(plan, data, rows, outcome)
    return replace(design, warnings=(*warnings, *_said_of(design)))


def _plan(model: Read, data: Intake, contrasts: _Codings) -> Plan:
    """Return R's reading of the formula for columns of these kinds, which the model keeps."""
    in_terms = {*model._reading.predictors, *model._reading.varying}
    kinds = {
        name: replace(column, levels=column.levels if name in in_terms else ()) for name, column in data.kinds().items()
    }
    codings = {name: coding for name, coding in contrasts.items() if name in in_terms}
    written = [(name, coding["names"], coding["matrix"].tolist()) for name, coding in codings.items()]
    key = ([(name, column.kind, column.levels, column.ordered) for name, column in kinds.items()], written)
    if model._plan is None or model._plan[0] != key:
        with _left_to_r():
            told = bridge.call("read_design", formula=model._reading.written, data=kinds, contrasts=codings).value
        model._plan = (key, as_plan(told))
    plan = model._plan[1]
    if plan.unread:
        raise FormulaError(
            f"The native engine does not read {', '.join(plan.unread)} in {model._reading.written!r}. Fit it with "
            "engine='R'."
        )
    return plan


def _computed(
    model: Read, plan: Plan, data: Intake, contrasts: _Codings, used: np.ndarray, outcome: bool
) -> tuple[dict[int, Variable], list[str]]:
    """Return the variables that functions make, and what R warned of; rows that lack one are no longer `used`."""
    places = plan.computed(outcome)
    if not places or not used.any():
        return {}, []
    names = {name for place in places for name in plan.takes[place]} or set(data.columns)
    with _left_to_r():
        reply = bridge.call(
            "computed_variables",
            formula=model._reading.written,
            which=[place + 1 for place in places],
            data={name: column for name, column in data.columns.items() if name in names},
            rows=None if used.all() else used,
            contrasts={name: coding for name, coding in contrasts.items() if name in names},
        )
    used[np.flatnonzero(used)[reply.value["omitted"] - 1]] = False
    variables = dict(zip(places, map(as_variable, reply.value["values"]), strict=True))
    if any(variable.n != used.sum() for variable in variables.values()):
        raise NeedsR("a variable that is not a value a row")
    return variables, [*reply.warnings, *reply.messages]


def _lost_levels(plan: Plan, data: Intake, used: np.ndarray) -> set[str]:
    """Return the factors in terms of which no row used has some level."""
    columns = {name: data.columns[name] for name in plan.coded().values() if data.columns[name].kind == "factor"}
    return {n for n, c in columns.items() if not np.bincount(c.values[used], minlength=len(c.levels) + 1)[1:].all()}


def _factor(column: Column) -> Factor:
    """Return a column without gaps as lme4 makes it a factor, to group rows."""
    if column.kind != "double":
        factor = as_factor(column)
        return Factor(factor.values - 1, factor.levels)
    values, codes = np.unique(column.values, return_inverse=True)
    return merged(codes.ravel(), bridge.call("number_levels", values=values).value["levels"])


def _groups(plan: Plan, factors: Mapping[str, Factor]) -> dict[str, Factor]:
    """Return the grouping factors that functions make, by name."""
    bars = {bar.group: bar for bar in plan.bars if bar.crossed is None}
    if not bars:
        return {}
    names = {name for bar in bars.values() for name in bar.made}
    data = {name: Column("factor", factors[name].codes + 1, factors[name].levels) for name in names}
    with _left_to_r():
        made = bridge.call("computed_groups", groups=[bar.text for bar in bars.values()], data=data).value["groups"]
    return dict(zip(bars, map(as_groups, made), strict=True))


def _said_of(design: MixedDesign) -> tuple[str, ...]:
    """Return what lme4 says of columns that it drops, and of scales that differ."""
    low, high = scales(design.X)
    alike = high <= _SCALES and low * _SCALES >= max(high, 1.0)
    if alike and not design.dropped:
        return ()
    reply = bridge.call("say_of_design", dropped=len(design.dropped), scales=[low, high])
    return (*reply.warnings, *reply.messages)


@contextmanager
def _left_to_r() -> Iterator[None]:
    """Leave what R stops at to its own engine."""
    try:
        yield
    except RError as error:
        raise NeedsR(str(error)) from error
