"""Factors of a patsy formula that are computed from a whole column, such as `x - x.mean()`, for new rows.

What a row predicts must not depend on the rows beside it. patsy sees to that for its stateful transforms, where they
are called by their bare names. Every other factor is tried out: rows of the fit by themselves, and rows of any make
apart and together. One that does not pass is computed for new rows as it was in the fit, or looked up, or refused.
"""

from __future__ import annotations

import ast
import numbers
import warnings
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.evaluation import told_as_patsy
from pymer4.data.lookup import Lookup, plain, same
from pymer4.errors import FormulaError

Columns = Mapping[Any, pd.Series]
Compute = Callable[[Columns], Any]

_ROWS = "_rows_at_hand"
_OPAQUE = (ast.Name, ast.Constant, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def carried(info: Any, columns: Any) -> dict[Any, Compute]:
    """Return what computes, for new rows, the factors of patsy's `DesignInfo` that depend on the rows beside them.

    `columns` are a `View` of the rows of the fit, of which those that are complete count.
    """
    fits = {f: _Fit(f, facts.state, columns) for f, facts in info.factor_infos.items() if f.to is None}
    return {
        factor: fit.carried()
        for factor, fit in fits.items()
        if fit.values is not None and not fit.stands_alone(fit.compute, fit.seen, fit.values)
    }


class _Seen(dict[Any, Any]):
    """Columns of a view, with those that were asked for."""

    def __init__(self, columns: Any):
        self.columns = columns

    def __missing__(self, name: Any) -> Any:
        self[name] = value = self.columns[name]
        return value


class _Fit:
    """A factor at the rows of the fit."""

    def __init__(self, factor: Any, state: Any, columns: Any):
        self.factor, self.state, self.columns = factor, state, columns
        self.rows, self.n = np.flatnonzero(columns.complete), len(columns.complete)
        self.seen = _Seen(columns)
        self.raw = _tried(self.compute, self.seen)
        self.values = plain(self.raw, self.n) if self.seen else None
        self.known: dict[str, Any] = {}

    def compute(self, columns: Columns) -> Any:
        """Return the factor as the formula has it."""
        return self.factor.value(self.state, columns)

    def carried(self) -> Compute:
        """Return what computes the factor for new rows."""
        if self.values is None or not same(plain(_tried(self.compute, self.seen), self.n), self.values):
            return self.refused
        return self.compiled(self.rewritten(ast.parse(self.state["eval_code"], mode="eval").body))

    def refused(self, columns: Columns) -> Any:
        """Refuse what is another thing each time that it is computed."""
        raise FormulaError(
            f"{self.factor.name()} is not the same when it is computed again, so that the fit tells nothing of new "
            "rows. Make it a column of the data before the fit."
        )

    def compiled(self, node: ast.AST) -> Compute:
        """Return what evaluates an expression on columns, `by_rows` where it may be any of those at hand."""
        text, state = ast.unparse(node), self.state

        def compute(columns: Columns) -> Any:
            spaces = [{_ROWS: columns}, self.known, columns, state["transforms"]]
            try:
                return state["eval_env"].eval(text, inner_namespace=ChainMap(*spaces))
            except FormulaError:
                raise
            except Exception as error:  # of a user's expression, told as patsy tells it
                raise told_as_patsy(error, self.factor) from error

        vars(compute)["by_rows"] = not any(isinstance(value, Lookup) for value in self.known.values())
        return compute

    def bound(self, value: Any) -> ast.Name:
        """Return a name for a value of the fit."""
        name = f"_of_fit_{len(self.known)}"
        self.known[name] = value
        return ast.Name(name, ast.Load())

    def rewritten(self, node: ast.expr) -> ast.expr:
        """Return an expression in which what has not a value for each row, such as a mean, is what it was in the fit.

        The calls inside it keep what they learned there. What depends on the rows beside it even then is looked up.
        """
        if isinstance(node, _OPAQUE):
            return node
        seen = _Seen(self.columns)
        raw = _tried(self.compiled(node), seen)
        if not seen and raw is not None:
            return node
        if _is_constant(raw, self.n):
            return self.bound(raw)
        for name, child in ast.iter_fields(node):
            setattr(node, name, self._child(child))
        values = plain(raw, self.n) if seen else None
        if values is None:
            return node
        node = self.remembering(node)
        compute = self.compiled(node)
        again = plain(_tried(compute, seen), self.n)
        is_same = again is not None and same(again[self.rows], values[self.rows])
        if is_same and self.stands_alone(compute, seen, values):
            return node
        return ast.Call(self.bound(Lookup(raw, dict(seen), self.factor.name())), [ast.Name(_ROWS, ast.Load())], [])

    def _child(self, child: Any) -> Any:
        if isinstance(child, list):
            return [self._child(one) for one in child]
        if isinstance(child, (ast.keyword, ast.Starred)):
            child.value = self._child(child.value)
            return child
        return self.rewritten(child) if isinstance(child, ast.expr) else child

    def remembering(self, node: ast.expr) -> ast.expr:
        """Return a call of a function that learns from its first data, here those of the fit."""
        if isinstance(node, ast.Call):
            function = _tried(self.compiled(node.func), {})
            stateful = getattr(function, "__patsy_stateful_transform__", None)
            if stateful is not None:
                node.func = self.bound(_Learning(stateful()))
            elif function in (pd.cut, pd.qcut):
                node.func = self.bound(_Bins(function))
        return node

    def stands_alone(self, compute: Compute, columns: Columns, values: np.ndarray) -> bool:
        """Whether rows of the fit have their values one by one, and rows of any make the same apart and together."""
        rows, scale = self._telling(columns, values), values[self.rows]
        if not same(_one_by_one(compute, {n: column.iloc[rows] for n, column in columns.items()}), values[rows], scale):
            return False
        labels = pd.RangeIndex(2 * len(rows), 0, -1)  # in no order that sorting keeps
        turned = [np.r_[rows, np.roll(rows, by)] for by in range(len(columns))]  # each row, then what no row was
        mixed = {n: c.iloc[at].set_axis(labels) for (n, c), at in zip(columns.items(), turned, strict=True)}
        together = _values(compute, mixed)
        return together is None or same(_one_by_one(compute, mixed), together, scale)

    def _telling(self, columns: Columns, values: np.ndarray) -> np.ndarray:
        """Return rows at which a dependence shows: the ends of columns and values, and some between."""
        of_rows = [column.iloc[self.rows] for column in columns.values()]
        between = np.linspace(0, len(self.rows) - 1, 5).round().astype(int)
        return self.rows[np.unique(np.concatenate([between, *map(_ends, of_rows), _ends(values[self.rows, 0])]))]


class _Learning:
    """A stateful transform that is called as a function: it learns from the first data that it gets."""

    def __init__(self, transform: Any):
        self.transform, self.learned = transform, False

    def __call__(self, *args: Any, **given: Any) -> Any:
        if not self.learned:
            self.transform.memorize_chunk(*args, **given)
            self.transform.memorize_finish()
            self.learned = True
        return self.transform.transform(*args, **given)


class _Bins:
    """`pd.cut` or `pd.qcut` with the bins and labels of the first data that it gets."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.edges: Any = None
        self.labels: Any = None

    def __call__(self, x: Any, *args: Any, **given: Any) -> Any:
        if self.edges is None:
            made, self.edges = self.function(x, *args, **{**given, "retbins": True})
            categories = getattr(made, "cat", made)
            self.labels = list(categories.categories) if hasattr(categories, "categories") else False
            return made
        kept = {name: value for name, value in given.items() if name in ("right", "ordered")}
        lowest = self.function is pd.qcut or given.get("include_lowest", False)
        return pd.cut(x, self.edges, labels=self.labels, include_lowest=lowest, **kept)


def _ends(values: Any) -> np.ndarray:
    """Return the places of the lowest and the highest value, of others than numbers in the order they come."""
    array = np.asarray(values)
    array = array.astype(float) if array.dtype.kind in "biuf" else pd.factorize(array)[0].astype(float)
    return np.array([], dtype=int) if np.isnan(array).all() else np.array([np.nanargmin(array), np.nanargmax(array)])


def _tried(compute: Compute, columns: Columns) -> Any:
    """Return what a computation makes, None where it can't."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return compute(columns)
    except Exception:  # a user's function may raise anything for rows that are not those of the fit
        return None


def _values(compute: Compute, columns: Columns) -> np.ndarray | None:
    return plain(_tried(compute, columns), len(next(iter(columns.values()))))


def _one_by_one(compute: Compute, columns: Columns) -> np.ndarray | None:
    """Return the values of each row by itself, None where one has none."""
    n = len(next(iter(columns.values())))
    parts = [_values(compute, {name: column.iloc[i : i + 1] for name, column in columns.items()}) for i in range(n)]
    there = [part for part in parts if part is not None]
    return np.vstack(there) if len(there) == n and len({part.shape[1] for part in there}) == 1 else None


def _is_constant(value: Any, n: int) -> bool:
    """Whether a value is a number, a text or a few of them, not one for each of n rows."""
    if isinstance(value, (np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, list, tuple)):
        return getattr(value, "ndim", 1) == 0 or len(value) != n
    return isinstance(value, (numbers.Number, np.generic, str, bytes, pd.Timestamp, pd.Timedelta, pd.Interval))
