"""Design matrices from patsy formulas, learned once and used again for new data.

A design is learned from the complete rows: means, knots, levels and codings are theirs. Expressions are then evaluated
on all rows, so that a lag sees the row before it whether that is complete or not; one that can't take missing values
is evaluated on the complete rows alone. No pickle and no copy keeps a design: what patsy makes has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.evaluation import Evaluated, Kept, NewRows
from pymer4.data.factors import Coding
from pymer4.data.formula_errors import formula_error, require_levels
from pymer4.data.intake import first_rows, infinite_rows, no_complete_row, require_columns
from pymer4.data.recoding import codings
from pymer4.data.scope import Scope
from pymer4.data.terms import Reference, Terms, cbind, columns_named, reference, tree
from pymer4.data.variables import Rows, Variable, View, learn
from pymer4.data.whole_columns import carried
from pymer4.errors import DataError, FormulaError, ModelWarning, issue


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """What a formula makes of the rows used, and what it learned from them, which no pickle keeps.

    Attributes:
        outcome: left side, shape (n, k); numbers, or one column of 0 and 1 for each level of `levels`.
        levels: levels of an outcome that makes categories, else empty.
        X: right side, shape (n, p).
        names: names of its columns, as patsy has them.
        used: which rows of the data these are, shape (rows,).
        known: what was learned about each column.
        info: the `patsy.DesignInfo` of the right side.
        within: rows that expressions could look at, shape (rows,); None for all.
    """

    outcome: np.ndarray
    levels: tuple[Any, ...]
    X: np.ndarray
    names: tuple[str, ...]
    used: np.ndarray
    known: Mapping[Any, Variable]
    info: Any
    within: np.ndarray | None


class Design:
    """A formula fitted to data, with options of `fit()`, but for rows that are `missing` on another account, (rows,).

    Raises:
        DataError: no row is complete, or a column that is no predictor.
        FormulaError: patsy can't evaluate the formula; its words.
        OptionError: factors that do not fit the data.
    """

    def __init__(
        self,
        terms: Terms,
        frame: pd.DataFrame,
        scope: Scope,
        *,
        factors: Mapping[str, Any] | None = None,
        ordered: bool = False,
        rank: bool = False,
        missing: np.ndarray | None = None,
    ):
        scope.find(terms.text)
        self.terms, self.frame, self.scope = terms, frame, scope
        self._factors, self._ordered, self._rank, self._missing = factors, ordered, rank, missing
        self.codings: dict[str, Coding] = {}
        self._learned: Matrices | None = None
        self._carried: Mapping[Any, Any] | None = None

    @property
    def predictors(self) -> list[Any]:
        """Columns of the data on the right side, in the order of their first use."""
        return columns_named(self.terms.predictors, self.frame.columns, self.scope)

    @property
    def columns(self) -> list[Any]:
        """Columns of the data that the formula uses; a missing value in one of them leaves the row out."""
        outcome = columns_named(self.terms.outcome, self.frame.columns, self.scope)
        return list(dict.fromkeys([*outcome, *self.predictors]))

    @property
    def matrices(self) -> Matrices:
        """Outcome and predictors of the rows used."""
        if self._learned is None:
            self._learned = self._learn()
        return self._learned

    @property
    def variables(self) -> Mapping[Any, Variable]:
        """What was learned about each column."""
        return self.matrices.known

    def without(self, term: str, used: np.ndarray) -> Design:
        """Return the design of the formula less a term, on the rows that are `used`, shape (rows,)."""
        terms = self.terms.without(term)
        there = columns_named(terms.names, self.frame.columns, self.scope)
        factors = {name: how for name, how in (self._factors or {}).items() if name in there}
        return self._again(terms, self.frame, factors, ~used)

    def _again(self, terms: Terms, frame: pd.DataFrame, factors: Mapping[str, Any] | None, missing: Any) -> Design:
        how: dict[str, Any] = {"factors": factors or None, "ordered": self._ordered, "rank": self._rank}
        return Design(terms, frame, self.scope, **how, missing=missing)

    @property
    def is_learned(self) -> bool:
        """Whether the columns of the right side hang on more than the row and its levels: on means, knots, ranks."""
        learned, space = self.matrices, _space(self.scope)
        passes = (factor.memorize_passes_needed({}, space) for factor in learned.info.factor_infos)
        return any(passes) or bool(self._of_whole_columns(learned))

    def learned_without(self, held_out: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Return the right side of the rows used as those not held out, shape (rows,), teach it, shape (n, p).

        Raises:
            DataError: a row has no value then.
        """
        data = self.frame.assign(**{str(name): values for name, values in self._borrowed().items()})
        learned = self._again(self.terms, data[~held_out], self._factors, ~used[~held_out])
        X = np.full((len(data), len(learned.matrices.names)), np.nan)
        X[np.flatnonzero(~held_out)[learned.matrices.used]] = learned.matrices.X
        X[used & held_out] = learned.matrix(data[used & held_out], "infer(how='cv')")
        lost = np.isnan(X[used]).any(axis=1)
        if lost.any():
            raise DataError(
                f"A term has no value in row(s) {first_rows(np.flatnonzero(used)[lost])}, once it is learned from the "
                "rows trained on alone, such as bs() beyond its outermost knots: give lower_bound= and upper_bound=."
            )
        return X[used]

    def matrix(self, data: pd.DataFrame, purpose: str = "predict()", in_ranks: bool = False) -> np.ndarray:
        """Return the right side for new data, as the fit coded it, shape (rows, p); NaN in rows with a missing value.

        After a fit to ranks they are raw values, or `in_ranks`.

        Raises:
            DataError: a column is not there, is of another kind, or has a level that the fit has not seen.
            FormulaError: patsy can't evaluate the formula on these data; its words.
        """
        learned = self.matrices
        borrowed = self._borrowed_for(data, purpose)
        require_columns(self.predictors, data, purpose)
        infos = learned.info.factor_infos
        if not infos:
            return np.ones((len(data), 1))
        known = {n: replace(v, ranks=None) for n, v in learned.known.items()} if in_ranks else learned.known
        rows = Rows(data, [*self.predictors, *borrowed], borrowed)
        X, complete = np.full((len(data), len(learned.names)), np.nan), ~rows.missing
        if complete.any():
            widths = {f: facts.num_columns for f, facts in infos.items() if facts.num_columns}
            new = NewRows(self._of_whole_columns(learned), widths)
            view = View(rows, known, complete, self.terms.names.called, new).at_complete()
            (values,), used, _ = self._build([learned.info], view)
            X[np.flatnonzero(complete)[used]] = values
            for text in new.without_value(data, complete):
                issue(text, ModelWarning)
        return X

    def seen(self) -> View:
        """Return the columns of the rows used, as expressions see them."""
        borrowed = self._borrowed()
        rows = Rows(self.frame, [*self.columns, *borrowed], borrowed).at(self.matrices.used)
        every = np.ones(len(rows.index), dtype=bool)
        return View(rows, self.matrices.known, every, self.terms.names.called)

    def cells(self) -> np.ndarray | None:
        """Return which combination of the levels of all factors of the formula each row used is, None without any."""
        view, found = self.seen(), []
        for factor, facts in self.matrices.info.factor_infos.items():
            if facts.type == "categorical":
                value = factor.eval(facts.state, view)
                found.append(pd.factorize(np.asarray(getattr(value, "data", value), dtype=object))[0])
        return np.unique(np.column_stack(found), axis=0, return_inverse=True)[1].ravel() if found else None

    def _learn(self) -> Matrices:
        borrowed = self._borrowed()
        rows = Rows(self.frame, [*self.columns, *borrowed], borrowed)
        complete = ~rows.missing if self._missing is None else ~(rows.missing | self._missing)
        if not complete.any():
            raise no_complete_row({name: column.missing for name, column in rows.columns.items()}, len(complete))
        self.codings = codings(rows.columns, complete, self._factors, self._ordered)
        factors = {factor: reference(tree(factor), rows, self.scope) for factor in self.terms.factors}
        marked = {to.column for to in factors.values() if to is not None and to.marked}
        known = learn(rows, complete, marked, self.codings, self.columns if self._rank else ())
        view = View(rows, known, complete, self.terms.names.called)
        infos = self._infos(factors, view.at_complete())
        (outcome, X), kept, looked_at = self._build(infos, view)
        require_levels(infos[1])
        names = tuple(infos[1].column_names)
        found = (np.asarray(outcome), _levels_of(infos[0]), np.asarray(X), names, kept)
        matrices = Matrices(*found, known, infos[1], None if looked_at is view else complete)
        _require_finite(matrices, infos[0].column_names)
        return matrices

    def _infos(self, factors: Mapping[Any, Reference | None], view: View) -> list[Any]:
        """Return patsy's `DesignInfo` of either side, learned from complete rows."""
        import patsy

        own = {factor: Evaluated(factor, to) for factor, to in factors.items()}
        sides = [[patsy.Term([own[f] for f in term.factors]) for term in side] for side in self.terms.sides]
        try:
            return patsy.design_matrix_builders(sides, lambda: iter([view]), _space(self.scope), Kept(view.complete))
        except patsy.PatsyError as error:
            raise formula_error(error, self.terms.text, self.frame.columns) from error
        except ValueError as error:  # of patsy's DesignInfo, where two columns have one name
            raise FormulaError(
                f"Two columns of the design would have one name ({error}).\n    {self.terms.text}\n"
                "A column of the data that is called 'Intercept' has to be renamed."
            ) from error

    def _of_whole_columns(self, learned: Matrices) -> Mapping[Any, Any]:
        """Return what computes the factors whose value in a row hangs on the rows beside it."""
        if self._carried is None:
            borrowed, complete = self._borrowed(), learned.used
            rows = Rows(self.frame, [*self.predictors, *borrowed], borrowed)
            if learned.within is not None:
                rows, complete = rows.at(learned.within), complete[learned.within]
            self._carried = carried(learned.info, View(rows, learned.known, complete, self.terms.names.called))
        return self._carried

    def _build(self, infos: list[Any], view: View) -> tuple[list[np.ndarray], np.ndarray, View]:
        """Return the matrices of some design infos, the rows of a view that they are, and what was looked at.

        That is the view, or one of its complete rows where an expression can't take missing values. What is infinite
        is refused afterwards, in words.
        """
        import patsy

        action = Kept(view.complete)
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                return patsy.build_design_matrices(infos, view, NA_action=action), action.kept, view
        except patsy.PatsyError as error:
            if view.complete.all():
                raise formula_error(error, self.terms.text, self.frame.columns) from error
        found, used, looked_at = self._build(infos, view.at_complete())
        kept = view.complete.copy()
        kept[view.complete] = used
        return found, kept, looked_at

    def _borrowed(self) -> dict[str, np.ndarray]:
        """Return the arrays of the user's code that stand in the formula as columns do."""
        names = self.terms.names
        found = {
            name: _column_like(self.scope.values.get(name), self.frame.index)
            for name in names.values
            if name not in names.settings and name not in self.frame.columns
        }
        return {name: array for name, array in found.items() if array is not None}

    def _borrowed_for(self, data: pd.DataFrame, purpose: str) -> dict[str, np.ndarray]:
        found = {
            name: values
            for name, values in self._borrowed().items()
            if name not in data.columns and name in self.terms.predictors.values
        }
        for name, values in found.items():
            if len(values) != len(data):
                raise DataError(
                    f"The formula uses {name!r}, an array of {len(values)} values in your code, which can't be matched "
                    f"to {len(data)} rows. {purpose} takes it from the data where they have a column of that name."
                )
        return found


def _space(scope: Scope) -> Any:
    """Return what a formula sees beside the data."""
    import patsy

    return patsy.EvalEnvironment([scope.values, {"cbind": cbind}])


def _column_like(values: Any, index: pd.Index) -> np.ndarray | None:
    """Return an array of the user's code that has a value for each row, None for anything else."""
    if isinstance(values, pd.Series):
        return values.array if values.index.equals(index) else None
    if isinstance(values, (list, tuple)) or (isinstance(values, np.ndarray) and values.ndim == 1):
        return np.asarray(values) if len(values) == len(index) else None
    return None


def _levels_of(info: Any) -> tuple[Any, ...]:
    """Return the levels of an outcome that is one factor of categories."""
    found = [factor.categories for factor in info.factor_infos.values() if factor.type == "categorical"]
    return tuple(found[0]) if len(found) == 1 and len(info.factor_infos) == 1 else ()


def _require_finite(matrices: Matrices, outcome_names: list[str]) -> None:
    if not matrices.names:
        raise FormulaError("The formula has neither predictors nor an intercept. Write 'y ~ 1' for the mean alone.")
    if not matrices.used.any():
        raise DataError("No row is left: in each, an expression of the formula has no value (NaN).")
    for names, values in ((outcome_names, matrices.outcome), (matrices.names, matrices.X)):
        bad = np.isinf(values)
        if bad.any():
            column = int(np.flatnonzero(bad.any(axis=0))[0])
            infinite = matrices.used.copy()
            infinite[matrices.used] = bad[:, column]
            raise DataError(
                f"{names[column]!r} has {infinite_rows(infinite)}. Make them missing, "
                "data.replace([np.inf, -np.inf], np.nan), or drop the rows."
            )
