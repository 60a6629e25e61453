"""What `Lmer.fit_many` does: arrays, outcomes and weights, the fits, p and the result."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from typing import Any, get_args

import numpy as np

from pymer4 import tables
from pymer4.data.intake import Intake, per_row
from pymer4.data.mixed_design import MixedDesign, NeedsR
from pymer4.data.recoding import contrast_matrices
from pymer4.data.responses import Responses, by_position, response_weights, responses
from pymer4.errors import ModelWarning, OptionError, RError, issue, one_of, permutations, shown, verbosity, workers
from pymer4.fit.mixed_many import (
    LACKS_TERMS,
    LOST,
    NOT_CONVERGED,
    SINGULAR,
    UNFITTED,
    Case,
    Design,
    Fits,
    Fitter,
    at_once,
    cases,
    fit_case,
)
from pymer4.fit.mixed_terms import Unsuited
from pymer4.infer.adjust import OF_P
from pymer4.infer.many import Shuffled, Statistic, constant_terms, statistics_of
from pymer4.infer.resample import counted
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_engine import bar_groups, engine_bars
from pymer4.models.lmer_options import Engine, LmerOptions
from pymer4.models.lmer_state import LEFT_OUT
from pymer4.models.many_cache import Cache, digest, function_mark
from pymer4.models.many_result import ManyFits, Told, flag_texts, result
from pymer4.models.many_runs import Run, run_fits, run_shuffles
from pymer4.rbridge import bridge
from pymer4.work import seed_stream, whole_seed

_SIDE_BY_SIDE = 50  # outcomes that R is asked for at a time


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The arguments of `fit_many`, checked."""

    engine: str
    n_jobs: int
    adjust: str
    permute: int
    cache: str | os.PathLike[str] | None
    verbose: int
    seed: int | None
    statistic: Statistic | None

    @classmethod
    def of(
        cls, engine: Any, n_jobs: Any, adjust: Any, permute: Any, cache: Any, verbose: Any, seed: Any, statistic: Any
    ) -> Asked:
        """Return the arguments in plain form; an OptionError for one out of its range."""
        one_of("engine", engine, get_args(Engine))
        one_of("adjust", adjust, OF_P)
        permute = permutations(permute)
        if statistic is not None and not callable(statistic):
            raise OptionError(f"statistic={shown(statistic)} is no function of t, in the shape of the outcomes.")
        if statistic is not None and not permute:
            raise OptionError("statistic= is held against permutations. Give permute=1000 too, or leave it out.")
        return cls(engine, workers(n_jobs), adjust, permute, cache, verbosity(verbose), whole_seed(seed), statistic)


@dataclass(frozen=True, slots=True, eq=False)
class InR:
    """Fits outcomes in R, by lme4's deviance function; see `mixed_many.Fitter`.

    Attributes:
        asked: arguments of R's `fit_outcomes` but for rows and outcomes.
        data: columns, and the offset, of all rows.
        used: which rows are used, as numbers, shape (n,).
        known: the offset that was taken off, shape (n,), or None.
        terms: coefficients of the whole design.
    """

    asked: Mapping[str, Any]
    data: Intake
    used: np.ndarray
    known: np.ndarray | None
    terms: tuple[str, ...]

    def __call__(self, of: Case, weights: np.ndarray | None, Y: np.ndarray, with_df: bool) -> Fits:
        """Return the fits of outcomes, shape (rows of the case, R)."""
        whole = len(of.rows) == len(self.used)
        p, v = len(self.terms), of.design.n_variances
        found = Fits.missing(Y.shape[1], p, v, LACKS_TERMS * (not of.told.all()))
        try:
            told = bridge.call(
                "fit_outcomes",
                **{**self.asked, **({} if with_df else {"ddf": "asymptotic"})},
                data=self.data.columns,
                outcomes=Y if self.known is None else Y + self.known[of.rows, None],
                terms=list(compress(self.terms, of.kept)),
                rows=self.used[of.rows] + 1,
                weights=weights,
                offset=self.data.offset,
            ).value
        except RError as error:
            if whole:
                raise
            # What R stops at for want of rows does not stop the other outcomes.
            issue(f"R fitted none of {Y.shape[1]} outcomes with {len(of.rows)} rows: {error.message}", ModelWarning)
            found.flags[:] |= LOST
            return found
        if any(told["reasons"]):
            issue(f"R could not fit {counted(filter(None, told['reasons']), Y.shape[1])}", ModelWarning)
        values, k = told["values"], int(of.kept.sum())
        b, se, df, variances, rest = np.split(values, [k, 2 * k, 3 * k, 3 * k + v], axis=1)
        for name, part in (("b", b), ("se", se), ("df", df)):
            getattr(found, name)[:, of.kept] = part
            getattr(found, name)[:, ~of.told] = np.nan
        found.variances[:], found.log_likelihood[:] = variances, rest[:, 0]
        failed = np.isnan(values[:, 0]) if k else np.isnan(rest[:, 0])
        found.flags[:] |= np.where(failed, LOST, SINGULAR * (rest[:, 1] == 1) | NOT_CONVERGED * (rest[:, 2] == 0))
        return found


def fit_outcomes(model: Any, Y: Any, weights: Any, asked: Asked) -> ManyFits:
    """Return the fits of an `Lmer` to many outcomes; see `Lmer.fit_many`."""
    draft = draft_of(model, "fit_many()", "to each of the outcomes", asked.engine)
    given = responses(Y, model._frame)
    data, codings = draft._sample(outcome=False)
    own = data.weights if weights is None else by_position("weights", weights, model._frame)
    design = _arrays(draft, replace(data, weights=None), codings)
    used, options = design.used, draft._options
    if own is not None and np.ndim(own) > 1:
        prior = response_weights(own, given, model._frame)[used]
    else:
        prior = None if own is None else per_row("weights", own, model._frame, positive=True)[used]
    free = given.values if used.all() else given.values[used]
    if design.offset is not None:
        free = free - design.offset[:, None]
    shared = Design(design.X, tuple(engine_bars(design)), options.REML)
    fitter: Fitter = fit_case
    if asked.engine == "R":
        fitter, most = _in_r(draft, data, codings, design), _SIDE_BY_SIDE
    else:
        most = at_once(shared)
    run = Run(shared, free, cases(free, prior), options.ddf != "asymptotic", asked.n_jobs, asked.verbose, fitter, most)
    with bridge.in_parts() if asked.engine == "R" and asked.n_jobs == 1 else contextlib.nullcontext():
        return _result(model, given, design, run, asked, options, _shuffled_in(draft, design))


def _result(
    model: Any,
    given: Responses,
    design: MixedDesign,
    run: Run,
    asked: Asked,
    options: LmerOptions,
    within: np.ndarray,
) -> ManyFits:
    """Return what the run comes to, with permutations within clusters where they are asked for."""
    kept = _cache(asked, run, options, within)
    fits = run_fits(run, kept)
    told = Told(
        model.formula, design.names, dict([(tables.long_names[0], given.labels)]), given.labels, given.shape,
        *variance_names(design), options.conf_level, asked.adjust,
        {"REML": options.REML, "ddf": options.ddf, "engine": asked.engine, "adjust": asked.adjust},
    )  # fmt: skip
    _tell(fits.flags, design)
    if not asked.permute:
        return result(fits, told)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(constant_terms(run.design, run.cases, within), np.nan, fits.b / fits.se)
    seeds = seed_stream(kept.seed if kept else asked.seed, asked.permute)
    shuffled = Shuffled(within, seeds, t, given.shape, asked.statistic)
    statistics_of(t[None], shuffled)  # what it can't be computed of stops before the permutations
    _tell_untested(t, fits.b, design.names)
    return result(fits, told, shuffled, run_shuffles(run, shuffled, kept))


def draft_of(model: Any, what: str, each: str, engine: str) -> Any:
    """Return an unfitted model with the settings of the last fit, or the defaults of `fit`."""
    if not model._linear:
        raise OptionError(
            f"{what} is for gaussian models with the identity link; this one has family {model.family!r} and link "
            f"{model.link!r}. Fit an Lmer {each} in a loop."
        )
    options = model._options
    if options is None:
        defaults = inspect.signature(type(model).fit).parameters
        options = LmerOptions.of(**{f.name: defaults[f.name].default for f in fields(LmerOptions)})
    if options.rank:
        raise OptionError(f"{what} fits no ranks. Rank the outcomes and predictors first, and fit with rank=False.")
    if engine == "native" and options.ddf == "Kenward-Roger":
        raise OptionError(
            "The native engine has no ddf='Kenward-Roger'. Call fit() with ddf='Satterthwaite' or 'asymptotic' "
            "first, or use engine='R'."
        )
    draft: Any = model._draft()
    draft._options = options
    options.check(draft)
    return draft


def _shuffled_in(model: Any, design: MixedDesign) -> np.ndarray:
    """Return the group of each row that permutations shuffle in, shape (n,)."""
    within = model._options.permute_within
    if within is None:
        return design.bars[0].codes
    grouping = next(each for each in model._reading.groupings if each.is_called(within))
    return next(bar.codes for bar in design.bars if grouping.is_called(bar.group))


def _arrays(draft: Any, data: Intake, codings: Any) -> MixedDesign:
    try:
        return mixed_design(draft, data, codings, outcome=False)
    except NeedsR as error:
        raise Unsuited(str(error)[:1].upper() + str(error)[1:]) from error


def _in_r(draft: Any, data: Intake, codings: Any, design: MixedDesign) -> InR:
    options = draft._options
    offset = None if data.offset is None else per_row("offset", data.offset, draft._frame)
    asked = {
        "formula": draft._reading.written, "REML": options.REML, "control": options.optimizer(),
        "contrasts": contrast_matrices(codings), "ddf": options.ddf,
    }  # fmt: skip
    return InR(asked, replace(data, offset=offset), np.flatnonzero(design.used), design.offset, design.names)


def _cache(asked: Asked, run: Run, options: LmerOptions, within: np.ndarray) -> Cache | None:
    if asked.cache is None:
        return None
    bars = [part for bar in run.design.bars for part in (bar.Z, bar.codes)]
    statistic = asked.statistic and function_mark(asked.statistic)
    settings = [asked.engine, options.REML, options.ddf, options.control, asked.permute, statistic]
    settings += [within] if asked.permute else []
    marks = {
        "design": digest([run.design.X, *bars]),
        "outcomes": digest([run.Y, run.cases.missing, run.cases.weights, run.cases.of]),
        "settings": digest(settings),
    }
    return Cache(asked.cache, marks, asked.seed if asked.permute else None)


def variance_names(design: MixedDesign) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return group and term of each variance, as in `ranef_var`."""
    pairs = [(group, name) for group, bar in zip(bar_groups(design), design.bars, strict=True) for name in bar.names]
    groups, names = zip(*pairs, strict=True)
    return groups, names


def _tell(flags: np.ndarray, design: MixedDesign) -> None:
    """Warn of fits that are not there, and of columns left out."""
    for text in design.warnings:
        issue(text, ModelWarning)
    if design.dropped:
        issue(f"{LEFT_OUT}{', '.join(design.dropped)}", ModelWarning)
    lost = flags[(flags & UNFITTED) > 0]
    if len(lost):
        said = ", ".join(f"{text} {n:,}" for text, n in Counter(flag_texts(lost & UNFITTED)).items())
        issue(f"{len(lost):,} of {len(flags):,} have no fit: {said}. .flags says which.", ModelWarning)


def _tell_untested(t: np.ndarray, b: np.ndarray, names: Sequence[str]) -> None:
    untested = [
        name for name, none in zip(names, np.isnan(t).all(axis=0) & ~np.isnan(b).all(axis=0), strict=True) if none
    ]
    if untested:
        issue(
            f"No p for {', '.join(untested)}: constant within the clusters, where outcomes are shuffled. To test "
            "such a term leave permute out.",
            ModelWarning,
        )
