"""An `Lm` or an `Lm2` as an R script: patsy's terms as R's, each variable a column of the values that were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, level_name
from pymer4.data.design import Design
from pymer4.data.sample import Sample
from pymer4.models.lm2_inference import Lm2Inference
from pymer4.models.lm_answers import LmAnswers
from pymer4.models.r_script import Script, fragment, free_name, literal, symbol
from pymer4.models.scripted import Scripted, call_of, refused

_SAME = 1e-12  # relative; columns of patsy's design and those of R's


@dataclass(slots=True)
class _Written:
    """The right side of a formula for R, and the columns that it needs, shape (n,) each.

    Attributes:
        columns: by name.
        contrasts: factor to its coding matrix and the names of its columns.
        matrices: name of a matrix to its columns.
        computed: variables that are no columns of the user's, as the formula has them.
        right: the right side; empty until it is known.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    contrasts: dict[str, tuple[np.ndarray, Sequence[str]]] = field(default_factory=dict)
    matrices: dict[str, Sequence[str]] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)
    right: str = ""


class LmScript(Scripted, LmAnswers):
    """What a script of an `Lm` says."""

    def _script(self) -> Script:
        found, options = self._sample(), self._options
        written, outcome, named = _data_of(self._design, found)
        untold, packages = [*self._resampled(), *_notes(self, written)], []
        moments, more = self._moments(found, written)
        means, note = self._means_of_native(written, found)
        if self.family == "nbinom":
            packages.append("MASS")
        packages += ["sandwich"] if options.robust else []
        packages += ["emmeans"] if means else []
        body = [
            fragment("model", call=self._call(f"{symbol(outcome)} ~ {written.right}", named)),
            *([] if self._linear or self.family == "nbinom" else [fragment("again")]),
            moments,
            *more,
            fragment("native limits", level=literal(options.conf_level)),
            fragment("table"),
            *([fragment("odds")] if (self.family, self.link) == ("binomial", "logit") else []),
            fragment("measures"),
            *means,
        ]
        return _script(self, "Lm", written, body, packages, [*untold, *note])

    def _call(self, formula: str, named: dict[str, str]) -> str:
        if self._linear:
            return call_of("lm", formula, named)
        control = fragment("tight").strip()
        if self.family == "nbinom":
            return call_of("glm.nb", formula, named, link=self.link, control=control)
        return call_of("glm", formula, named, family=self._family_call(), control=control)

    def _moments(self, found: Sample, written: _Written) -> tuple[str, list[str]]:
        """Return what computes estimates, covariance and df, and the columns it needs are put into the data."""
        options, kind = self._options, self._options.kind
        told = {"type": literal(kind.upper()), "lags": literal(options.n_lags)}
        if kind == "cluster":
            told["group"] = literal(_with_codes(written, ".cluster", found.clusters))
        robust = "hc" if kind.startswith("hc") else kind
        covariance = fragment(f"covariance {robust}", **told).strip()
        df = "Inf" if self._asymptotic else fragment("df cluster" if kind == "cluster" else "df", **told).strip()
        moments = fragment("native moments", covariance=covariance, df=df)
        if np.ndim(self._fit.df) == 0 or found.groups is None:
            return moments, []
        group = literal(_with_codes(written, ".group", found.groups))
        return moments, [fragment("welch", group=group, weights=literal(".weights"))]

    def _means_of_native(self, written: _Written, found: Sample) -> tuple[list[str], list[str]]:
        asked = self._marginal_asked
        if asked is None:
            return [], []
        if written.computed or written.matrices:
            why = "variables are computed before R sees them"
        elif np.ndim(self._fit.df):
            why = "each coefficient has df of its own"
        elif asked["type"] == "response" and self._terms.label not in (*written.columns, "") and found.trials is None:
            why = "the outcome is computed before R sees it"
        else:
            df = "Inf" if self._asymptotic or asked["ddf"] == "asymptotic" else fragment("df of means").strip()
            return self._marginal_calls(found.offset is not None, **{"vcov.": "V", "df": df}), []
        return [], [f"the marginal means, since {why}."]


class Lm2Script(Scripted, Lm2Inference):
    """What a script of an `Lm2` says."""

    def _script(self) -> Script:
        options = self._options
        for name, asked in (("robust", options.robust), ("to_corrs", options.to_corrs)):
            if asked:
                raise refused(f"{name}={asked!r} is of its second level", f"Fit it without {name}= for a script.")
        if len(self._levels) > 1 or self.family == "nbinom":
            why = "its groups lie in groups" if len(self._levels) > 1 else "its family is nbinom"
            raise refused(why, "Write an Lm of each group, or fit with one grouping column and another family.")
        found = self._sample()
        written, outcome, named = _data_of(self._design, found)
        fitted = np.isfinite(self.fits[found.used])
        codes, labels = pd.factorize(self._frame[self._levels[0]].to_numpy(dtype=object)[found.used])
        place = free_name(self._levels[0], written.columns)
        written.columns[place] = Column("factor", (codes + 1).astype(np.int32), tuple(map(level_name, labels)))
        written.columns = {name: replace(c, values=c.values[fitted]) for name, c in written.columns.items()}
        formula = f"{symbol(outcome)} ~ {written.right}"
        more = {} if self._linear else {"family": self._family_call(), "control": fragment("tight").strip()}
        note = ["the marginal means, which are of coefficients averaged over groups."] if self._marginal_asked else []
        note += [] if fitted.all() else [f"{int((~fitted).sum())} row(s) of groups that have no regression."]
        body = [
            fragment(
                "groups", group=literal(place), call=call_of("lm" if self._linear else "glm", formula, named, **more)
            ),
            fragment("native limits", level=literal(options.conf_level)),
            fragment("table"),
        ]
        return _script(self, "Lm2", written, body, [], [*self._resampled(), *_notes(self, written), *note])


def _script(
    model: Any, kind: str, written: _Written, body: list[str], packages: list[str], missing: list[str]
) -> Script:
    title = f"{kind}({model.formula!r}{model._grouped_by()}), family {model.family}, link {model.link}"
    return Script(
        title, written.columns, body, packages, contrasts=written.contrasts, matrices=written.matrices, missing=missing
    )


def _notes(model: Any, written: _Written) -> list[str]:
    """Return what the data are, where they are not the user's."""
    told = [f"{name}; the data have its values." for name in written.computed]
    lost = int((~model._sample().used).sum())
    told += [f"{lost} row(s) that were left out."] if lost else []
    told += ["the values: the data are their ranks, as they were fitted."] if model.ranked_data else []
    return told


def _with_codes(written: _Written, name: str, codes: np.ndarray | None) -> str:
    """Put codes of groups into the data, and return the name of their column."""
    name = free_name(name, written.columns)
    written.columns[name] = Column("integer", np.asarray(codes, dtype=np.int32) + 1)
    return name


def _data_of(design: Design, found: Sample) -> tuple[_Written, str, dict[str, str]]:
    """Return the right side and the data of a script, the name of the outcome, and the columns of arguments."""
    rows = found.used[design.matrices.used]
    label = design.terms.label if found.trials is None else "share"
    written = _terms_of(design, rows, label) or _columns_of(design, found, label)
    columns = {label: Column("double", found.y)} | written.columns
    named = {}
    for argument, values in (("weights", found.weights), ("offset", found.offset)):
        if values is not None:
            named[argument] = free_name(f".{argument}", columns)
            columns[named[argument]] = Column("double", values)
    written.columns = columns
    return written, label, named


def _columns_of(design: Design, found: Sample, label: str) -> _Written:
    """Return the columns of the design as they are, for a formula that R would read in another way."""
    names = [free_name(name, [label]) for name in found.names]
    columns = {name: Column("double", x) for name, x in zip(names, found.X.T, strict=True)}
    return _Written(columns, computed=["the formula, whose terms R would code in another way"],
                    right=f"0 + {' + '.join(map(symbol, names))}")  # fmt: skip


def _terms_of(design: Design, rows: np.ndarray, label: str) -> _Written | None:
    """Return patsy's terms as R's, None where R would make other columns of them."""
    info, view, written = design.matrices.info, design.seen(), _Written()
    names: dict[Any, str] = {}
    for factor, facts in info.factor_infos.items():
        own = factor.to.column if factor.to is not None else factor.name()
        names[factor] = name = own if own not in (*names.values(), label) else factor.name()
        if name in (*list(names.values())[:-1], label):
            return None
        if factor.to is None:
            written.computed.append(f"the computation of {name}")
        value = factor.eval(facts.state, view)
        if facts.type == "categorical":
            _add_factor(written, name, facts, value, _coding_of(info, factor), rows)
        else:
            _add_numbers(written, name, np.asarray(value, dtype=float)[rows])
    terms = [[names[factor] for factor in term.factors] for term in info.terms]
    X = design.matrices.X[rows]
    slices = [info.term_slices[term] for term in info.terms]
    for columns, part in zip(_r_columns(written, terms), slices, strict=True):
        if not _alike(columns, X[:, part]):
            return None
    told = [":".join(map(symbol, term)) for term in terms if term]
    written.right = " + ".join(["1" if [] in terms else "0", *told])
    return written


def _coding_of(info: Any, factor: Any) -> Any:
    """Return patsy's contrast matrix of a factor where it is coded by contrasts, None where it never is."""
    for subterms in info.term_codings.values():
        for subterm in subterms:
            found = subterm.contrast_matrices.get(factor)
            if found is not None and found.matrix.shape[1] < found.matrix.shape[0]:
                return found
    return None


def _add_factor(written: _Written, name: str, facts: Any, value: Any, coding: Any, rows: np.ndarray) -> None:
    place = {level: i for i, level in enumerate(facts.categories)}
    values = np.asarray(getattr(value, "data", value), dtype=object)
    codes = pd.Series(values[rows]).map(place).to_numpy(dtype=np.int32) + 1
    written.columns[name] = Column("factor", codes.astype(np.int32), tuple(map(level_name, facts.categories)))
    matrix = np.eye(len(place))[:, 1:] if coding is None else np.asarray(coding.matrix, dtype=float)
    if not np.array_equal(matrix, np.eye(len(place))[:, 1:]):
        suffixes = [suffix.strip("[]").removeprefix("T.") for suffix in coding.column_suffixes]
        written.contrasts[name] = (matrix, suffixes)


def _add_numbers(written: _Written, name: str, values: np.ndarray) -> None:
    if values.ndim == 1 or values.shape[1] == 1:
        written.columns[name] = Column("double", values.ravel())
        return
    parts = [f"{name}.{i}" for i in range(1, values.shape[1] + 1)]
    written.columns |= {part: Column("double", column) for part, column in zip(parts, values.T, strict=True)}
    written.matrices[name] = parts


def _r_columns(written: _Written, terms: list[list[str]]) -> list[np.ndarray]:
    """Return the columns that R makes of each term, shape (n, k) each, in some order.

    A factor is coded by contrasts where the term without it is within an earlier one, else by a column a level; without
    an intercept the first factor has a column a level too (R, `terms.formula` and `model.matrix`).
    """
    n = len(next(iter(written.columns.values())).values) if written.columns else 0
    ordered = sorted((term for term in terms if term), key=len)
    full, found = False, []
    of_term = {}
    for i, term in enumerate(ordered):
        columns = np.ones((n, 1))
        for name in term:
            rest = set(term) - {name}
            by_contrasts = not rest or any(rest <= set(earlier) for earlier in ordered[:i])
            is_factor = name in written.columns and written.columns[name].kind == "factor"
            if is_factor and [] not in terms and not full:
                by_contrasts, full = False, True
            part = _variable(written, name, by_contrasts)
            columns = (columns[:, :, None] * part[:, None, :]).reshape(n, -1)
        of_term[tuple(term)] = columns
    for term in terms:
        found.append(of_term[tuple(term)] if term else np.ones((n, 1)))
    return found


def _variable(written: _Written, name: str, by_contrasts: bool) -> np.ndarray:
    if name in written.matrices:
        return np.column_stack([written.columns[part].values for part in written.matrices[name]])
    column = written.columns[name]
    if column.kind != "factor":
        return column.values[:, None]
    full = np.eye(len(column.levels))
    matrix = written.contrasts.get(name, (full[:, 1:],))[0] if by_contrasts else full
    return matrix[column.values - 1]


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two designs have the same columns, in whatever order."""
    if one.shape != other.shape:
        return False
    size = max(np.abs(other).max(initial=0.0), np.finfo(float).tiny)
    gaps = [np.abs(one - column[:, None]).max(axis=0, initial=0.0) for column in other.T]
    nearest = {int(gap.argmin()) for gap in gaps}
    return len(nearest) == len(gaps) and max((gap.min() for gap in gaps), default=0.0) <= _SAME * size
