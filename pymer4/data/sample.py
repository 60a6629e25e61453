"""What one regression is made from: the rows used, their weights and groups, the independent columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.data.columns import have_squares, require_squares
from pymer4.data.design import Design
from pymer4.data.families import is_linear
from pymer4.data.intake import RowValues, first_rows
from pymer4.data.outcomes import outcome, part_counts
from pymer4.errors import DataError, OptionError
from pymer4.fit.glm import GeneralizedFit
from pymer4.fit.influence import self_fitted, untold_by_others
from pymer4.fit.linear import GLM_TOLERANCE, Factor, LinearFit, factor, independent_columns
from pymer4.fit.sandwich import group_variances

_LISTED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The rows used, and the columns that are no combination of those before them.

    Attributes:
        X: design, shape (n, p).
        kept: which columns of the formula's design these are.
        y: what is modelled, shape (n,); of a binomial model 0 and 1, or the share of successes.
        trials: number of trials of `cbind(successes, failures)`, shape (n,); or None.
        weights: inverse variances, or prior weights times trials, shape (n,); or None.
        offset: shape (n,), or None.
        groups: codes of the groups that have a variance each, shape (n,); or None.
        variances: those variances, shape (groups,); or None.
        clusters: codes, shape (n,); or None.
        used: which rows of the data these are, shape (rows,).
        factored: triangular factor of the design of a linear model, else None.
        notes: what a user should be told.
    """

    X: np.ndarray
    names: tuple[str, ...]
    kept: np.ndarray
    y: np.ndarray
    trials: np.ndarray | None
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
    def free(self) -> np.ndarray:
        """The outcome of a linear model less the offset, shape (n,)."""
        return self.y if self.offset is None else self.y - self.offset


def sample(design: Design, rows: RowValues, family: str, link: str) -> Sample:
    """Return what a fit is made from; a DataError tells of outcome, weights or groups that allow none."""
    matrices = design.matrices
    used, linear, label = matrices.used, is_linear(family, link), design.terms.label
    y, trials = outcome(matrices.outcome, matrices.levels, family, label, rows.weights is not None)
    X, notes = matrices.X, []
    require_squares(f"The outcome {label!r}", y)
    for name, column in () if have_squares(X) else zip(matrices.names, X.T, strict=True):
        require_squares(f"The term {name!r}", column)
    if rows.offset is not None:
        require_squares("offset", rows.offset[used])
    if trials is not None and (trials == 0).any():
        some = trials > 0
        notes.append(f"Left out: {int((~some).sum())} row(s) without trials")
        y, trials, X, used = y[some], trials[some], X[some], used.copy()
        used[np.flatnonzero(used)[~some]] = False
    weights = None if rows.weights is None else rows.weights[used]
    groups, variances = None, None
    offset = None if rows.offset is None else rows.offset[used]
    if rows.groups is not None:
        groups, present = compact(rows.groups[used])
        variances = _variances(X, y, offset, groups, [rows.group_names[i] for i in present])
        weights = 1 / variances[groups]
    if trials is not None:
        weights = trials if weights is None else weights * trials
    factored = factor(X, weights) if linear else None
    kept = independent_columns(X, tol=GLM_TOLERANCE) if factored is None else factored.kept
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
        y=y,
        trials=trials,
        weights=weights,
        offset=offset,
        groups=groups,
        variances=variances,
        clusters=None if rows.clusters is None else compact(rows.clusters[used])[0],
        used=used,
        has_intercept=design.terms.has_intercept,
        factored=factored if kept.all() else None,
        notes=tuple(notes),
    )


def _variances(
    X: np.ndarray, y: np.ndarray, offset: np.ndarray | None, groups: np.ndarray, names: list[str]
) -> np.ndarray:
    """Return the variance of the errors in each group, shape (groups,), refused where it can't be told or is 0."""
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


def doubts(found: Sample, fit: LinearFit | GeneralizedFit, kind: str) -> list[str]:
    """Return what makes the numbers of a fit doubtful, in R's words where it has some; `kind` is of standard errors."""
    texts = _generalized_doubts(found, fit) if isinstance(fit, GeneralizedFit) else []
    linear = isinstance(fit, LinearFit)
    if fit.df_resid == 0 and np.isnan(fit.se).all():
        texts.append(f"No residual degrees of freedom: {len(fit.b)} coefficients for {len(found.y)} rows, so no tests")
    elif linear and np.ptp(found.free) == 0:
        texts.append(f"The outcome is {found.free[0]:g} in every row used: there is nothing to explain, or to test")
    elif isinstance(fit, LinearFit) and fit.is_perfect:
        texts.append("essentially perfect fit: summary may be unreliable")
    return [*texts, *self_told(found, fit, kind, "robust='hc1'", "robust=False")]


def self_told(found: Sample, fit: LinearFit | GeneralizedFit, kind: str, defined: str, plain: str) -> list[str]:
    """Return what rows that fit themselves keep standard errors of a kind from, and the arguments for others."""
    if kind == "iid" or not fit.df_resid:
        return []
    rows = np.flatnonzero(found.used)[self_fitted(fit, found.X)] if kind in ("hc2", "hc3") else []
    if len(rows):
        return [f"Leverage is 1 in row(s) {first_rows(rows)}, where {kind} is not defined; {defined} is"]
    names = ", ".join(np.array(found.names, dtype=object)[untold_by_others(fit, found.X)])
    if not names:
        return []
    return [
        f"No residual tells the error of {names}: only rows with leverage 1 do, which fit themselves. Its robust "
        f"standard error is missing; {plain} takes that of the others"
    ]


def _generalized_doubts(found: Sample, fit: GeneralizedFit) -> list[str]:
    texts, y = list(fit.messages), found.y
    if fit.family in ("poisson", "nbinom"):
        texts += part_counts(fit.family, y[np.abs(y - np.round(y)) > 1e-9 * np.maximum(1, np.abs(y))], len(y))
    if fit.separated and not any("fitted" in text for text in texts):
        texts.append(
            "Separation: a predictor tells the outcomes apart, and a coefficient grows without limit. Its numbers are "
            "where the iterations stopped; drop the predictor or merge its levels"
        )
    if fit.theta is not None and np.isinf(fit.theta):
        texts.append(
            "The counts are not more dispersed than Poisson's: theta has no finite estimate. Use family='poisson'"
        )
    return texts


def compact(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes that count from 0 without gaps, and the code that each stands for."""
    found, compacted = np.unique(codes, return_inverse=True)
    return compacted.ravel(), found
