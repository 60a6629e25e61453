"""What many fits of one model came to: tables, arrays in the shape of the outcomes, and p over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import OptionError, count, near, shown
from pymer4.fit import mixed_many
from pymer4.fit.mixed_many import Fits
from pymer4.infer.adjust import adjusted_p
from pymer4.infer.asymptotic import p_value, t_quantile
from pymer4.infer.draws import TIE
from pymer4.infer.many import Counts, Shuffled, statistics_of
from pymer4.papers.content import Part
from pymer4.papers.numbers import number
from pymer4.papers.sheet import Sheet, Shown

_, _TERM, _GROUP, _FLAG = tables.long_names
_FLAGS = {
    mixed_many.ALL_MISSING: "all missing",
    mixed_many.INFINITE: "infinite",
    mixed_many.TOO_FEW: "too few rows",
    mixed_many.CONSTANT: "constant",
    mixed_many.LOST: "not fitted",
    mixed_many.LACKS_TERMS: "terms not told",
    mixed_many.NOT_CONVERGED: "not converged",
    mixed_many.SINGULAR: "singular",
}


@dataclass(frozen=True, slots=True, eq=False)
class Permutations:
    """What permutations of all outcomes came to.

    Attributes:
        maxima: the largest absolute t over outcomes, one row a permutation, one column a term.
        null: what `statistic` made of each permutation by term, shape (n, ...); empty where none was asked for.
        observed: what it made of the outcomes as they are, by term.
    """

    maxima: pd.DataFrame
    null: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray]

    def p(self, term: str) -> np.ndarray:
        """Return p of the statistic of a term: (1 + permutations that reach it) / (n + 1)."""
        if term not in self.null:
            raise OptionError(f"term={shown(term)} has no statistic. There are: {', '.join(self.null) or 'none'}.")
        null, observed = self.null[term], self.observed[term]
        slack = TIE * np.maximum(1, np.abs(observed))
        return (1 + (null >= observed - slack).sum(axis=0)) / (len(null) + 1)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ManyFits(Shown):
    """Many fits of one model, one for each outcome, or for each part of the data.

    Attributes:
        formula: of the model.
        terms: its coefficients.
        table: one row a fit and term: which fit, `term`, the columns of `coefs`, p adjusted over all fits of a term
            (Adj-P-val), p against the largest statistic of all fits (MaxT-P-val, with permutations), and `flag`.
        variances: of the random effects and the residual, one row each.
        logLike: log-likelihood by fit, restricted where the fits are.
        flags: what is to be said of each fit, empty where there is nothing.
        permuted: what permutations came to, or None.
        attrs: how the fits were made: REML, ddf, engine, adjust.
    """

    formula: str
    terms: tuple[str, ...]
    table: pd.DataFrame
    variances: pd.DataFrame
    logLike: pd.Series
    flags: pd.Series
    permuted: Permutations | None
    attrs: Mapping[str, Any]
    _shape: tuple[int, ...]

    def to_array(self, column: str, term: str) -> np.ndarray:
        """Return a column of the table for one term, in the shape that an observation of the outcomes had."""
        if column not in self.table.columns:
            raise OptionError(
                f"column={shown(column)} is not in the table.{near(column, self.table.columns)} It has: "
                f"{', '.join(map(str, self.table.columns))}."
            )
        return self.table[column].to_numpy()[self._place(term) :: len(self.terms)].reshape(self._shape)

    def top(self, term: str, n: int = 10) -> pd.DataFrame:
        """Return the n rows of a term with the least p, the larger statistic first among equals."""
        rows = self.table.iloc[self._place(term) :: len(self.terms)]
        permuted = tables.PERM_P_VAL in rows
        p = rows[tables.PERM_P_VAL if permuted else tables.P_VAL].to_numpy()
        order = np.lexsort((-np.abs(rows[tables.T_STAT].to_numpy()), p))
        return rows.iloc[order[: count("n", n)]]

    def _place(self, term: str) -> int:
        if term not in self.terms:
            raise OptionError(
                f"term={shown(term)} is not a coefficient of the model.{near(term, self.terms)} There are: "
                f"{', '.join(self.terms)}."
            )
        return self.terms.index(term)

    def __repr__(self) -> str:
        return repr(self._shown())

    def _shown(self) -> Sheet:
        """Return how many fits there are, what is to be said of them, and how many p are small."""
        how, said = self.attrs, self.flags[self.flags != ""].value_counts()
        by = f"by {'REML' if how['REML'] else 'maximum likelihood'}, ddf: {how['ddf']}, engine: {how['engine']}"
        small = {tables.ADJUSTED_P: f"p ≤ .05 ({how['adjust']})", tables.MAX_T_P: "p ≤ .05 (max T)"}
        small = {name: label for name, label in small.items() if name in self.table}
        rows = []
        for term in self.terms:
            estimates = self.to_array(tables.ESTIMATE, term)
            median = float(np.nanmedian(estimates)) if np.isfinite(estimates).any() else np.nan
            rows.append((term, number(median), *(f"{(self.to_array(name, term) <= 0.05).sum():,}" for name in small)))
        flagged = tuple(f"{flag}: {times:,}" for flag, times in said.items())
        columns, plural = ("median estimate", *small.values()), "s" * (len(self.flags) != 1)
        parts = (Part("Terms", tuple(rows)),)
        return Sheet(f"{len(self.flags):,} fit{plural} of {self.formula}", (by, *flagged), columns, parts)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a result says beside its numbers.

    Attributes:
        formula, terms: of the model.
        labels: what tells fits apart, by name.
        index: likewise, of the series.
        shape: of one row of the outcomes.
        groups, names: of the variances, the residual's left out.
        level, adjust: of the limits, and of p.
        attrs: how the fits were made.
    """

    formula: str
    terms: tuple[str, ...]
    labels: Mapping[str, Sequence[Any]]
    index: pd.Index
    shape: tuple[int, ...]
    groups: tuple[str, ...]
    names: tuple[str, ...]
    level: float
    adjust: str
    attrs: Mapping[str, Any]


def result(
    fits: Fits,
    told: Told,
    shuffled: Shuffled | None = None,
    counts: Counts | None = None,
    said: np.ndarray | None = None,
) -> ManyFits:
    """Return the result of R fits, with p from permutations where there are some, and flags in words of their own."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = fits.b / fits.se
    reach = t_quantile((1 - told.level) / 2, np.array([np.inf]))[0] * fits.se
    p = p_value(t, fits.df) if counts is None else counts.p
    if shuffled is not None:
        p = np.where(np.isnan(shuffled.observed), np.nan, p)
    adjusted = [adjusted_p(column, told.adjust) for column in p.T]
    fixed = {"estimate": fits.b, "lower": fits.b - reach, "upper": fits.b + reach, "se": fits.se, "df": fits.df}
    fixed |= {"statistic": t, "p": p, "adjusted_p": np.array(adjusted).T.reshape(p.shape)}
    permuted = None
    if shuffled is not None and counts is not None:
        fixed["max_t_p"] = counts.adjusted_p(shuffled.observed)
        permuted = _permutations(shuffled, counts, told.terms)
    flags = flag_texts(fits.flags) if said is None else said
    n_permuted = 0 if shuffled is None else len(shuffled.seeds)
    return ManyFits(
        formula=told.formula,
        terms=told.terms,
        table=_coefs(fixed, told, flags, n_permuted),
        variances=_variances(fits.variances, told),
        logLike=pd.Series(fits.log_likelihood, told.index, name="logLike"),
        flags=pd.Series(flags, told.index, name=_FLAG, dtype=object),
        permuted=permuted,
        attrs=told.attrs,
        _shape=told.shape,
    )


def flag_texts(flags: np.ndarray) -> np.ndarray:
    """Return flags in words, shape (R,)."""
    distinct, inverse = np.unique(flags, return_inverse=True)
    texts = [", ".join(text for bit, text in _FLAGS.items() if flag & bit) for flag in distinct]
    return np.array(texts, dtype=object)[inverse.ravel()]


def _coefs(fixed: Mapping[str, np.ndarray], told: Told, flags: np.ndarray, n_permuted: int) -> pd.DataFrame:
    """Return the coefficients of R fits, all terms of the first, then of the next; `fixed` are of shape (R, p)."""
    k, values = len(told.terms), {name: np.ravel(found) for name, found in fixed.items()}
    rows = pd.RangeIndex(len(flags) * k)
    table = tables.mixed_coefs(values, rows, told.level, n_permuted=n_permuted)
    ours = [(_TERM, np.tile(np.array(told.terms, dtype=object), len(flags)))]
    ours += [(str(name), table[name].to_numpy()) for name in table.columns]
    names = {tables.ADJUSTED_P: "adjusted_p", tables.MAX_T_P: "max_t_p"}
    ours += [(name, values[key]) for name, key in names.items() if key in values]
    ours.append((_FLAG, np.repeat(flags, k)))
    return tables.beside(ours, _repeated(told, k), [name for name, _ in ours], rows)


def _variances(variances: np.ndarray, told: Told) -> pd.DataFrame:
    R, v = variances.shape
    ours = [(_GROUP, np.tile(np.array([*told.groups, "Residual"], dtype=object), R))]
    ours += [(tables.NAME, np.tile(np.array([*told.names, ""], dtype=object), R))]
    ours += [(tables.VARIANCE, variances.ravel()), (tables.STD, np.sqrt(variances.ravel()))]
    return tables.beside(ours, _repeated(told, v), [name for name, _ in ours], pd.RangeIndex(R * v))


def _repeated(told: Told, times: int) -> dict[str, Any]:
    return {name: pd.Index(values, tupleize_cols=False).repeat(times) for name, values in told.labels.items()}


def _permutations(shuffled: Shuffled, counts: Counts, terms: Sequence[str]) -> Permutations:
    maxima = pd.DataFrame(counts.maxima, columns=pd.Index(terms, dtype=object))
    if shuffled.statistic is None:
        return Permutations(maxima, {}, {})
    observed = statistics_of(shuffled.observed[None], shuffled)[0]
    tested = [j for j in range(len(terms)) if not np.isnan(shuffled.observed[:, j]).all()]
    return Permutations(
        maxima, {terms[j]: counts.statistics[:, j] for j in tested}, {terms[j]: observed[j] for j in tested}
    )
