"""What R's formulas say of patsy's terms: their text, and columns of the values that were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, level_name
from pymer4.data.design import Design
from pymer4.data.sample import Sample
from pymer4.data.terms import reference, tree
from pymer4.models.r_expression import InR, Untold
from pymer4.models.r_script import free_name, symbol

_SAME = 1e-12  # relative; columns of patsy's design and those of R's


@dataclass(slots=True)
class Written:
    """A formula for R, and the columns that it needs, shape (n,) each.

    Attributes:
        columns: by name.
        contrasts: factor to its coding matrix and the names of its columns.
        matrices: name of a matrix to its columns.
        computed: what R does not compute but has the values of, in words.
        values: variable to its columns, shape (n, k), or a factor's codes, shape (n,).
        texts: variable to how the formula has it.
        outcome: the left side.
        is_plain: whether that is a column of the user's, or shares of trials.
        right: the right side; empty until it is known.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    contrasts: dict[str, tuple[np.ndarray, Sequence[str]]] = field(default_factory=dict)
    matrices: dict[str, Sequence[str]] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    outcome: str = ""
    is_plain: bool = False
    right: str = ""


def data_of(design: Design, found: Sample) -> tuple[Written, dict[str, str]]:
    """Return the formula and the data of a script, and the columns of the arguments weights and offset."""
    written = _terms_of(design, found) or _columns_of(design, found)
    named = {}
    for argument, values in (("weights", found.weights), ("offset", found.offset)):
        if values is not None:
            named[argument] = free_name(f".{argument}", written.columns)
            written.columns[named[argument]] = Column("double", values)
    return written, named


def with_codes(written: Written, name: str, codes: np.ndarray | None) -> str:
    """Put codes of groups into the data, and return the name of their column."""
    name = free_name(name, written.columns)
    written.columns[name] = Column("integer", np.asarray(codes, dtype=np.int32) + 1)
    return name


def _columns_of(design: Design, found: Sample) -> Written:
    """Return the columns of the design as they are, for a formula that R would read in another way."""
    written = Written(computed=["the formula, whose terms R would code in another way"])
    _add_outcome(written, design, found, ())
    names = [free_name(name, written.columns) for name in found.names]
    written.columns |= {name: Column("double", x) for name, x in zip(names, found.X.T, strict=True)}
    written.right = f"0 + {' + '.join(map(symbol, names))}"
    return written


def _terms_of(design: Design, found: Sample) -> Written | None:
    """Return patsy's terms as R's, None where R would make other columns of them."""
    info, view, written = design.matrices.info, design.seen(), Written()
    rows = found.used[design.matrices.used]
    numbers = _numeric(design)
    _add_outcome(written, design, found, numbers)
    names = {factor: factor.name() for factor in info.factor_infos}
    for factor, facts in info.factor_infos.items():
        value = factor.eval(facts.state, view)
        if facts.type == "categorical":
            _add_factor(written, factor, facts, value, _coding_of(info, factor), rows)
        else:
            told = _told(design, factor.factor, numbers)
            _add_numbers(written, factor, np.asarray(value, dtype=float)[rows], told, view, rows)
    terms = [[names[factor] for factor in term.factors] for term in info.terms]
    X = design.matrices.X[rows]
    slices = [info.term_slices[term] for term in info.terms]
    for columns, part in zip(_r_columns(written, terms, len(X)), slices, strict=True):
        if not _alike(columns, X[:, part]):
            return None
    parts = [":".join(written.texts[name] for name in term) for term in terms if term]
    written.right = " + ".join(["1" if [] in terms else "0", *parts])
    return written


def _numeric(design: Design) -> list[Any]:
    """Return the columns that expressions see as numbers."""
    return [name for name, told in design.variables.items() if told.is_number and isinstance(name, str)]


def _told(design: Design, factor: Any, numbers: Sequence[Any]) -> InR | None:
    try:
        return InR(tree(factor), numbers, design.scope)
    except Untold:
        return None


def _add_outcome(written: Written, design: Design, found: Sample, numbers: Sequence[Any]) -> None:
    """Put the outcome into the data, raw where R computes what was fitted."""
    factors = [factor for term in design.terms.sides[0] for factor in term.factors]
    to = reference(tree(factors[0]), design.frame.columns, design.scope) if len(factors) == 1 else None
    told = _told(design, factors[0], numbers) if len(factors) == 1 and found.trials is None else None
    if told is not None and to is None:
        rows, view = found.used[design.matrices.used], design.seen()
        written.columns |= {name: _column(view, name, rows) for name in told.columns}
        written.outcome = told.text
        return
    written.is_plain = to is not None or found.trials is not None
    name = "share" if found.trials is not None else design.terms.label if to is None else to.column
    written.columns[name] = Column("double", found.y)
    written.outcome = symbol(name)


def _column(view: Any, name: str, rows: np.ndarray) -> Column:
    return Column("double", np.asarray(view[name], dtype=float)[rows])


def _coding_of(info: Any, factor: Any) -> Any:
    """Return patsy's contrast matrix of a factor where it is coded by contrasts, None where it never is."""
    for subterms in info.term_codings.values():
        for subterm in subterms:
            found = subterm.contrast_matrices.get(factor)
            if found is not None and found.matrix.shape[1] < found.matrix.shape[0]:
                return found
    return None


def _name_of(written: Written, factor: Any) -> str:
    """Return the name of a new column: that of the user's, where it stands for one that is free."""
    own = factor.to.column if factor.to is not None else factor.name()
    name = free_name(own if own not in written.columns else factor.name(), written.columns)
    written.texts[factor.name()] = symbol(name)
    if factor.to is None:
        written.computed.append(f"the computation of {name}")
    return name


def _add_factor(written: Written, factor: Any, facts: Any, value: Any, coding: Any, rows: np.ndarray) -> None:
    name, place = _name_of(written, factor), {level: i for i, level in enumerate(facts.categories)}
    values = np.asarray(getattr(value, "data", value), dtype=object)
    codes = pd.Series(values[rows]).map(place).to_numpy(dtype=np.int32) + 1
    written.columns[name] = Column("factor", codes.astype(np.int32), tuple(map(level_name, facts.categories)))
    treatment = np.eye(len(place))[:, 1:]
    matrix = treatment if coding is None else np.asarray(coding.matrix, dtype=float)
    if not np.array_equal(matrix, treatment):
        suffixes = [suffix.strip("[]").removeprefix("T.") for suffix in coding.column_suffixes]
        written.contrasts[name] = (matrix, suffixes)
    written.values[factor.name()] = codes


def _add_numbers(written: Written, factor: Any, values: np.ndarray, told: InR | None, view: Any, rows: Any) -> None:
    written.values[factor.name()] = values.reshape(len(values), -1)
    if told is not None and factor.to is None:
        raw = {name: _column(view, name, rows) for name in told.columns}
        if all(written.columns.get(name, column).kind == "double" for name, column in raw.items()):
            written.columns = raw | written.columns
            written.texts[factor.name()] = told.text
            return
    name = _name_of(written, factor) if factor.to is None or not _is_there(written, factor, values) else ""
    if name and (values.ndim == 1 or values.shape[1] == 1):
        written.columns[name] = Column("double", values.ravel())
    elif name:
        parts = [f"{name}.{i}" for i in range(1, values.shape[1] + 1)]
        written.columns |= {part: Column("double", column) for part, column in zip(parts, values.T, strict=True)}
        written.matrices[name] = parts


def _is_there(written: Written, factor: Any, values: np.ndarray) -> bool:
    """Return whether the column is in the data already, as it stands."""
    column = written.columns.get(factor.to.column)
    same = column is not None and column.kind == "double" and np.array_equal(column.values, values.ravel())
    if same:
        written.texts[factor.name()] = symbol(factor.to.column)
    return same


def _r_columns(written: Written, terms: list[list[str]], n: int) -> list[np.ndarray]:
    """Return the columns that R makes of each term, shape (n, k) each, in some order.

    A factor is coded by contrasts where the term without it is within an earlier one, else by a column a level; without
    an intercept the first factor has a column a level too (R, `terms.formula` and `model.matrix`).
    """
    ordered = sorted((term for term in terms if term), key=len)
    needs_full = [] not in terms
    of_term: dict[tuple[str, ...], np.ndarray] = {(): np.ones((n, 1))}
    for i, term in enumerate(ordered):
        columns = np.ones((n, 1))
        for name in term:
            rest, part = set(term) - {name}, written.values[name]
            if part.ndim == 1:
                by_contrasts = (not rest or any(rest <= set(one) for one in ordered[:i])) and not needs_full
                needs_full = False
                part = _coded(written, name, by_contrasts)[part - 1]
            columns = (columns[:, :, None] * part[:, None, :]).reshape(n, -1)
        of_term[tuple(term)] = columns
    return [of_term[tuple(term)] for term in terms]


def _coded(written: Written, name: str, by_contrasts: bool) -> np.ndarray:
    column = next(own for own, column in written.columns.items() if symbol(own) == written.texts[name])
    full = np.eye(len(written.columns[column].levels))
    return written.contrasts.get(column, (full[:, 1:],))[0] if by_contrasts else full


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two designs have the same columns, in whatever order."""
    if one.shape != other.shape:
        return False
    weights = np.random.default_rng(0).normal(size=len(one))
    gap = one[:, np.argsort(weights @ one)] - other[:, np.argsort(weights @ other)]
    return bool(np.abs(gap).max(initial=0.0) <= _SAME * np.abs(other).max(initial=0.0))
