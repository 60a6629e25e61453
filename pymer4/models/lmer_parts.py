"""What `Lmer.fit_by` does: a model of each part of the data, their fits, and one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_hashable

from pymer4 import tables
from pymer4.data.frames import absent
from pymer4.data.mixed_design import MixedDesign, NeedsR
from pymer4.errors import ModelWarning, OptionError, Pymer4Error, RUnavailable, few, issue, items, once, shown
from pymer4.fit.mixed_many import LACKS_TERMS, LOST, NOT_CONVERGED, SINGULAR, Case, Design, Fits, fit_case, whole
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_engine import engine_bars, known_part_off
from pymer4.models.lmer_outcomes import Asked, draft_of, variance_names
from pymer4.models.lmer_state import LEFT_OUT
from pymer4.models.many_result import ManyFits, Told, flag_texts, result
from pymer4.work import each_chunk, progress

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One fit: its coefficients, variances, each with what it is of, and its flag."""

    terms: tuple[str, ...]
    variances: tuple[_Key, ...]
    fits: Fits


def fit_parts(model: Any, columns: Any, asked: Asked) -> ManyFits:
    """Return the fits of an `Lmer` to parts of its data; see `Lmer.fit_by`."""
    draft = draft_of(model, "fit_by()", "to each part of the data", asked.engine)
    names = _columns(columns, model._frame)
    grouped = model._frame.groupby(names, sort=True, observed=True)
    labels, codes = grouped.size().index, grouped.ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.searchsorted(codes[order], np.arange(len(labels) + 1)))[1:-1]
    if not rows:
        raise OptionError(f"columns={shown(columns)} have no value in any row, so there is no part to fit.")
    fit = _in_r if asked.engine == "R" else _natively
    parts, said = fit(draft, rows, asked)
    if not any(part.terms for part in parts):
        raise OptionError(f"None of the {len(parts)} parts can be fitted: {few(sorted(set(said)), 3)}.")
    terms = tuple(dict.fromkeys(term for part in parts for term in part.terms))
    variances = tuple(dict.fromkeys(key for part in parts for key in part.variances))
    fits = _joined(parts, terms, variances)
    told = Told(
        model.formula, terms, {name: labels.get_level_values(name) for name in names}, labels, (len(parts),),
        tuple(group for group, _ in variances[:-1]), tuple(name for _, name in variances[:-1]),
        draft._options.conf_level, asked.adjust,
        {"REML": draft._options.REML, "ddf": draft._options.ddf, "engine": asked.engine, "adjust": asked.adjust},
    )  # fmt: skip
    lost = sum(not part.terms for part in parts)
    if lost:
        issue(f"{lost} of {len(parts)} parts have no fit. .flags says why.", ModelWarning)
    return result(fits, told, said=np.where(said == "", flag_texts(fits.flags), said))


def _columns(columns: Any, frame: pd.DataFrame) -> list[Any]:
    names = [columns] if isinstance(columns, str) else items(columns)
    if not names:
        raise OptionError(f"columns={shown(columns)} has to be the name of a column, or a list of them.")
    for name in names:
        if not is_hashable(name) or name not in frame.columns:
            raise OptionError(f"columns names {shown(name)}, which the data do not have.{absent(name, frame)}")
    once("columns", names)
    return names


def _part_of(draft: Any, rows: np.ndarray) -> Any:
    """Return an unfitted model of some rows."""
    part = draft._draft()
    part._frame = draft._frame.iloc[rows]
    for name in ("_weights", "_offset"):
        given = getattr(draft, name)
        setattr(part, name, given[rows] if isinstance(given, np.ndarray) else given)
    part.data, part._options, part._plan = part._frame.copy(), draft._options, draft._plan
    return part


def _nothing(error: Exception) -> tuple[_Part, str]:
    said = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
    return _Part((), (), Fits.missing(1, 0, 0, int(LOST))), said


def _natively(draft: Any, rows: list[np.ndarray], asked: Asked) -> tuple[list[_Part], np.ndarray]:
    found: dict[int, tuple[_Part, str]] = {}
    designs: dict[int, MixedDesign] = {}
    for i, some in enumerate(rows):
        part = _part_of(draft, some)
        try:
            designs[i] = mixed_design(part, *part._sample())
        except RUnavailable:
            raise
        except (Pymer4Error, NeedsR) as error:
            found[i] = _nothing(error)
        draft._plan = part._plan
    work = [_work(design, draft._options.REML) for design in designs.values()]
    with progress("parts", len(work), asked.verbose) as advance:
        given = (work, draft._options.ddf != "asymptotic")
        parts = (
            each_chunk(_fitted, np.arange(len(work)), asked.n_jobs, *given, note=lambda part: advance(len(part), 0))
            if work
            else []
        )
    for (i, design), fits in zip(designs.items(), (one for part in parts for one in part), strict=True):
        variances = (*zip(*variance_names(design), strict=True), ("Residual", ""))
        fits.flags[:] |= LACKS_TERMS * bool(design.dropped)
        found[i] = _Part(design.names, variances, fits), ""
    return [found[i][0] for i in range(len(rows))], np.array([found[i][1] for i in range(len(rows))], dtype=object)


def _work(design: MixedDesign, reml: bool) -> tuple[Case, np.ndarray | None, np.ndarray]:
    shared = Design(design.X, tuple(engine_bars(design)), reml)
    return whole(shared), design.weights, known_part_off(design)[:, None]


def _fitted(work: list[tuple[Case, np.ndarray | None, np.ndarray]], with_df: bool, which: np.ndarray) -> list[Fits]:
    return [fit_case(case, weights, y, with_df) for case, weights, y in (work[i] for i in which)]


def _in_r(draft: Any, rows: list[np.ndarray], asked: Asked) -> tuple[list[_Part], np.ndarray]:
    quiet = replace(draft._options, conf_int="Wald", permute=0, verbose=0, no_warnings=True, engine="R")
    found = []
    with progress("parts", len(rows), asked.verbose) as advance:
        for some in rows:
            part = _part_of(draft, some)
            try:
                part._fit_with(quiet, False)
                found.append((_of_model(part), ""))
            except RUnavailable:
                raise
            except Pymer4Error as error:
                found.append(_nothing(error))
            advance(1, 0)
    return [part for part, _ in found], np.array([said for _, said in found], dtype=object)


def _of_model(model: Any) -> _Part:
    table, random = model.coefs, model.ranef_var
    b, se, df = (table[name].to_numpy()[None] for name in (tables.ESTIMATE, tables.SE, tables.DF))
    record, dropped = model.convergence, any(text.startswith(LEFT_OUT) for text in model.warnings)
    flag = SINGULAR * record.singular | NOT_CONVERGED * (record.code != 0) | LACKS_TERMS * dropped
    fits = Fits(b, se, df, random[tables.VARIANCE].to_numpy()[None], np.array([model.logLike]), np.array([flag]))
    return _Part(tuple(table.index), tuple(zip(random.index, random[tables.NAME], strict=True)), fits)


def _joined(parts: Sequence[_Part], terms: tuple[str, ...], variances: tuple[_Key, ...]) -> Fits:
    """Return the fits of all parts, NaN where one lacks a term."""
    found = Fits.missing(len(parts), len(terms), len(variances))
    for i, part in enumerate(parts):
        cells, own = [terms.index(term) for term in part.terms], [variances.index(key) for key in part.variances]
        found.b[i, cells], found.se[i, cells], found.df[i, cells] = part.fits.b[0], part.fits.se[0], part.fits.df[0]
        found.variances[i, own] = part.fits.variances[0]
        found.log_likelihood[i], found.flags[i] = part.fits.log_likelihood[0], part.fits.flags[0]
    return found
