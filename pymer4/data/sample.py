"""What one regression is made from: the rows used, their weights and groups, the independent columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data import intake
from pymer4.data.columns import as_factor, have_squares, normalise, require_squares
from pymer4.data.design import Design
from pymer4.data.families import is_linear, part_counts
from pymer4.data.outcomes import Outcome, outcome
from pymer4.errors import DataError, OptionError, near, shown
from pymer4.fit.glm import GeneralizedFit
from pymer4.fit.influence import self_fitted, untold_by_others
from pymer4.fit.linear import Factor, LinearFit, factor, independent_columns
from pymer4.fit.sandwich import group_variances
from pymer4.fit.scoring import GLM_TOLERANCE

_LISTED = 8


@dataclass(frozen=True, slots=True, eq=False)
class RowValues:
    """What the arguments of a fit say about each row of the data.

    Attributes:
        weights: prior weights, or inverse variances, shape (rows,), NaN where missing; or None.
        offset: shape (rows,), likewise.
        groups: codes of the groups that have a variance each, shape (rows,), −1 where missing; or None.
        group_names: what the groups are called.
        clusters: codes of the clusters, likewise; or None.
        missing: rows left out on their account, shape (rows,).
    """

    weights: np.ndarray | None
    offset: np.ndarray | None
    groups: np.ndarray | None
    group_names: tuple[str, ...]
    clusters: np.ndarray | None
    missing: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The rows used, and the columns that are no combination of those before them.

    Attributes:
        X: design, shape (n, p).
        names: its columns.
        kept: which columns of the formula's design these are.
        outcome: what is modelled, of n rows.
        weights: inverse variances, or prior weights times trials, shape (n,); or None.
        offset: shape (n,), or None.
        groups: codes of the groups that have a variance each, shape (n,); or None.
        variances: those variances, shape (groups,); or None.
        clusters: codes, shape (n,); or None.
        used: which rows of the data these are, shape (rows,).
        has_intercept: whether the formula has an intercept.
        factored: triangular factor of the design of a linear model, else None.
        notes: what a user should be told.
    """

    X: np.ndarray
    names: tuple[str, ...]
    kept: np.ndarray
    outcome: Outcome
    weights: np.ndarray | None
    offset: np.ndarray | None
    groups: np.ndarray | None
    variances: np.ndarray | None
    clusters: np.ndarray | None
    used: np.ndarray
    has_intercept: bool
    factored: Factor | None
    notes: tuple[str, ...]

    @property
    def y(self) -> np.ndarray:
        """Numbers that are modelled, shape (n,)."""
        return self.outcome.y

    @property
    def free(self) -> np.ndarray:
        """The outcome of a linear model less the offset, shape (n,)."""
        return self.y if self.offset is None else self.y - self.offset


def row_values(data: pd.DataFrame, weights: Any, offset: Any, cluster: str | None, linear: bool) -> RowValues:
    """Return weights, offset and groups of each row of the data.

    Args:
        data: the user's frame.
        weights: a column's name, or one number a row.
        offset: likewise.
        cluster: a column's name.
        linear: whether a name in `weights` is a column whose values have a variance each, rather than prior weights.

    Raises:
        DataError: values that are no weights or no offset.
        OptionError: no such column.
    """
    missing = np.zeros(len(data), dtype=bool)
    groups, group_names, clusters, values = None, (), None, None
    if linear and isinstance(weights, str):
        groups, group_names = group_codes("weights", weights, data)
        missing |= groups < 0
    elif weights is not None:
        values = numbers("weights", intake.per_row("weights", weights, data, positive=True), data)
        missing |= np.isnan(values)
    offsets = None if offset is None else numbers("offset", offset, data)
    if offsets is not None:
        missing |= np.isnan(offsets)
    if cluster is not None:
        clusters = group_codes("cluster", cluster, data)[0]
        missing |= clusters < 0
    return RowValues(values, offsets, groups, group_names, clusters, missing)


def numbers(argument: str, given: str | np.ndarray, data: pd.DataFrame) -> np.ndarray:
    """Return a column of numbers, or an array, as float64 with NaN where missing, shape (rows,)."""
    if not isinstance(given, str):
        return given
    column = normalise(data, [given])[given]
    if column.kind not in ("double", "integer"):
        raise DataError(f"{argument}={given!r} is a column of kind {column.kind}. It has to hold numbers.")
    return np.where(column.missing, np.nan, column.values.astype(float))


def sample(design: Design, rows: RowValues, family: str, link: str) -> Sample:
    """Return what a fit is made from.

    Raises:
        DataError: outcome, weights or groups that no model can be fitted to.
    """
    matrices = design.matrices
    used, linear, label = matrices.used, is_linear(family, link), design.terms.label
    found = outcome(matrices.outcome, matrices.levels, family, label, rows.weights is not None)
    X, notes = matrices.X, []
    require_squares(f"The outcome {label!r}", found.y)
    for name, column in () if have_squares(X) else zip(matrices.names, X.T, strict=True):
        require_squares(f"The term {name!r}", column)
    if rows.offset is not None:
        require_squares("offset", rows.offset[used])
    if found.trials is not None and (found.trials == 0).any():
        some = found.trials > 0
        notes.append(f"Left out: {int((~some).sum())} row(s) without trials")
        found, X, used = Outcome(found.y[some], found.trials[some]), X[some], used.copy()
        used[np.flatnonzero(used)[~some]] = False
    weights = None if rows.weights is None else rows.weights[used]
    groups, variances = None, None
    offset = None if rows.offset is None else rows.offset[used]
    if rows.groups is not None:
        groups, present = compact(rows.groups[used])
        variances = _variances(X, found.y, offset, groups, [rows.group_names[i] for i in present])
        weights = 1 / variances[groups]
    if found.trials is not None:
        weights = found.trials if weights is None else weights * found.trials
    factored = factor(X, weights) if linear else None
    kept = factored.kept if linear else independent_columns(X, tol=GLM_TOLERANCE)
    if not kept.any():
        raise DataError("Every column of the design is 0 in the rows used: there is nothing to estimate.")
    names = np.array(matrices.names, dtype=object)
    if not kept.all():
        notes.append(f"Left out, since other terms add up to them: {', '.join(names[~kept])}")
        X = X[:, kept]
    return Sample(
        X=X,
        names=tuple(names[kept]),
        kept=kept,
        outcome=found,
        weights=weights,
        offset=offset,
        groups=groups,
        variances=variances,
        clusters=None if rows.clusters is None else compact(rows.clusters[used])[0],
        used=used,
        has_intercept=design.terms.has_intercept,
        factored=factored if linear and kept.all() else None,
        notes=tuple(notes),
    )


def _variances(
    X: np.ndarray, y: np.ndarray, offset: np.ndarray | None, groups: np.ndarray, names: list[str]
) -> np.ndarray:
    """Return the variance of the errors in each group, shape (groups,).

    Raises:
        OptionError: no group has two rows.
        DataError: a group whose variance can't be told, or is 0.
    """
    counts = np.bincount(groups)
    if counts.max() == 1:
        raise OptionError(
            "weights= names a column whose values occur once each. A name stands for a column with one variance per "
            "value, which takes several rows a value. For weights that are 1 / variance pass data['w'] itself."
        )
    variances = group_variances(X[:, independent_columns(X)], y, groups, len(counts), offset)
    alone = counts == 1
    for told, bad in {
        "one row": alone,
        "too few rows": np.isnan(variances) & ~alone,
        "errors that do not vary": variances == 0,
    }.items():
        if bad.any():
            shown = ", ".join(repr(names[i]) for i in np.flatnonzero(bad)[:_LISTED])
            raise DataError(
                f"weights= names a column whose value(s) {shown} have {told}, and so no variance that could be a "
                "weight. Merge or drop them, or pass weights that are 1 / variance, one a row."
            )
    return variances


def _parts(family: str, y: np.ndarray) -> list[str]:
    is_count = family in ("poisson", "nbinom")
    return part_counts(
        family, y[np.abs(y - np.round(y)) > 1e-9 * np.maximum(1, np.abs(y))] if is_count else y[:0], len(y)
    )


def doubts(found: Sample, fit: LinearFit | GeneralizedFit, kind: str) -> list[str]:
    """Return what makes the numbers of a fit doubtful, in R's words where it has some.

    Args:
        found: what was fitted.
        fit: the fit.
        kind: which standard errors, as in `sandwich.covariance`.
    """
    linear = isinstance(fit, LinearFit)
    texts = [] if linear else [*fit.messages, *_parts(fit.family, found.y)]
    if not linear and fit.separated and not any("fitted" in text for text in texts):
        texts.append(
            "Separation: a predictor tells the outcomes apart, and a coefficient grows without limit. Its numbers are "
            "where the iterations stopped; drop the predictor or merge its levels"
        )
    if getattr(fit, "theta", None) is not None and np.isinf(fit.theta):
        texts.append(
            "The counts are not more dispersed than Poisson's: theta has no finite estimate. Use family='poisson'"
        )
    if fit.df_resid == 0 and np.isnan(fit.se).all():
        texts.append(f"No residual degrees of freedom: {len(fit.b)} coefficients for {len(found.y)} rows, so no tests")
    elif linear and np.ptp(found.free) == 0:
        texts.append(f"The outcome is {found.free[0]:g} in every row used: there is nothing to explain, or to test")
    elif linear and fit.is_perfect:
        texts.append("essentially perfect fit: summary may be unreliable")
    rows = np.flatnonzero(found.used)[self_fitted(fit, found.X)] if kind in ("hc2", "hc3") and fit.df_resid else []
    if len(rows):
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        texts.append(f"Leverage is 1 in row(s) {shown} counted from 0, where {kind} is not defined; robust='hc1' is")
    elif kind != "iid" and fit.df_resid and (untold := untold_by_others(fit, found.X)).any():
        names = ", ".join(name for name, hidden in zip(found.names, untold, strict=True) if hidden)
        texts.append(
            f"No residual tells the error of {names}: only rows with leverage 1 do, which fit themselves. Its robust "
            "standard error is missing; robust=False takes that of the others"
        )
    return texts


def group_codes(argument: str, name: Any, data: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the group of each row, shape (n,), −1 where it is missing, and the names of the groups.

    Args:
        argument: what the column was given as, for the messages.
        name: name of a column.
        data: the user's frame.

    Raises:
        OptionError: no such column.
        DataError: a column that holds nothing groups can be made of.
    """
    if not isinstance(name, str) or name not in data.columns:
        raise OptionError(
            f"{argument}={shown(name)} is not a column of the data.{near(name, data.columns)} Give the name of a "
            "column."
        )
    factor = as_factor(normalise(data, [name])[name])
    if not len(factor.levels):
        raise DataError(f"{argument}={name!r} is a column without a value.")
    return np.where(factor.missing, -1, factor.values - 1).astype(np.int64), factor.levels


def compact(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes that count from 0 without gaps, and the code that each stands for."""
    found, compacted = np.unique(codes, return_inverse=True)
    return compacted.ravel(), found
