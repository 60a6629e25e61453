"""Marginal means, slopes and joint tests of the models that need no R."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4.data.intake import numbers_of
from pymer4.data.ranks import Ranks
from pymer4.data.undoing import Step, Steps, carried, scale_of, slope_of, straightened, undoing
from pymer4.errors import OptionError, among, few, shown
from pymer4.fit.sandwich import Errors
from pymer4.infer.asymptotic import joint_df
from pymer4.infer.contrasts import adjusting, compared
from pymer4.infer.estimable import Estimable, noise_of
from pymer4.infer.extremes import f_tail
from pymer4.infer.grids import Predictors
from pymer4.infer.joint import joint_tests
from pymer4.infer.options import InferOptions
from pymer4.infer.reference import (
    Axis,
    Grid,
    Rows,
    Term,
    axes_of,
    covariate,
    means,
    reference_grid,
    terms_of,
    variables_of,
)  # fmt: skip
from pymer4.infer.targets import Estimates, Question, Target
from pymer4.infer.verb import columns
from pymer4.models.inferring import Inferring
from pymer4.models.marginal import Marginal

_FAMILIES = {"binomial": "prob", "poisson": "rate"}
_STEP = 1e-3  # of the range of a covariate, between the predictions that a slope is taken from


class NativeMarginal(Marginal, Inferring):
    """What a model fitted by NumPy answers where `Lmer` asks emmeans."""

    _axes: dict[str, Axis]
    _predictors: Predictors
    _grid_terms: list[Term]
    _undoing: Steps | None
    _design: Any
    _terms: Any
    _offset: str | np.ndarray | None = None

    @property
    def _asymptotic(self) -> bool:
        """Whether statistics are z."""
        return False

    @property
    def _has_df(self) -> bool:
        return not self._asymptotic

    @property
    def _ddf(self) -> str:
        """Where the df of tests come from."""
        return "asymptotic" if self._asymptotic else "residual"

    def _checked_ddf(self, ddf: Any) -> str:
        if not among(ddf, (None, "asymptotic")):
            raise OptionError(
                f"ddf={shown(ddf)} is for an Lmer. Tests of an {type(self).__name__} have the df of its fit: leave ddf "
                "out, or give 'asymptotic' for infinite ones."
            )
        return self._ddf if ddf is None else "asymptotic"

    def _tested_as_asked(self, found: Estimates, question: Question) -> Estimates:
        """Return estimates with infinite df where a table was asked for these."""
        if self._asymptotic or (question.attrs or {}).get("ddf") != "asymptotic":
            return found
        return replace(found, df=np.full(len(found.values), np.inf), z=True)

    def _joint_errors(self, options: InferOptions) -> Errors:
        """Return the covariance of the coefficients, and df, that joint tests take."""
        found = self._estimates(self._own_questions("coefs")[0], options)
        return Errors(found.covariance(), lambda L: np.full(len(L), found.df.max()))

    # The grid.

    def _axes_anew(self) -> dict[str, Axis]:
        design, name = self._design, self._offset
        axes = axes_of(design)
        if isinstance(name, str) and name not in axes:
            axes[name] = covariate(numbers_of("offset", name, self._frame)[design.matrices.used], alone=True)
        return axes

    def _forget(self) -> None:
        super()._forget()
        for name in NativeMarginal._ANEW.keys() - Inferring._ANEW.keys():
            self.__dict__.pop(name, None)

    def _predictors_anew(self) -> Predictors:
        kinds: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for name, axis in self._axes.items():
            kinds[not axis.is_factor][name] = tuple(axis.levels.tolist())
        return Predictors(*kinds)

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **Inferring._ANEW,
        "_axes": _axes_anew,
        "_predictors": _predictors_anew,
        "_grid_terms": lambda self: terms_of(self._design, self._axes),
        "_undoing": lambda self: () if self.family == "binomial" else undoing(self._design),
    }

    def _grid_ranks(self) -> Mapping[str, Ranks]:
        ranks = {name: known.ranks for name, known in self._design.variables.items() if name in self._axes}
        return {name: found for name, found in ranks.items() if found is not None}

    def _grid_predictors(self) -> Predictors:
        return self._predictors

    def _categories(self) -> list[str]:
        return [name for name, axis in self._axes.items() if axis.is_factor and axis.levels.dtype.kind in "if"]

    def _grid(self, at: Mapping[str, Any], around: bool = False, step: tuple[str, float] | None = None) -> Grid:
        """Return the reference grid; `step` moves a variable by so much in each of its rows."""

        def designed(rows: pd.DataFrame) -> np.ndarray:
            if step is not None:
                rows = rows.assign(**{step[0]: rows[step[0]] + step[1]})
            X = self._design.matrix(rows, "A reference grid", in_ranks=True)
            return np.column_stack([X, self._known_part(rows)])

        self._grid_predictors().require_size(at)
        return reference_grid(self._axes, at, around, designed, self._grid_terms)

    def _known_part(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the offset of each row of a grid; an array counts at its mean."""
        given = self._offset
        if isinstance(given, str):
            values, ranks = rows[given].to_numpy(dtype=float), self._grid_ranks().get(given)
            return values if ranks is None else np.interp(values, ranks.ranks, ranks.values)
        return np.full(len(rows), 0.0 if given is None else given[self._design.matrices.used].mean())

    def _offset_taken(self, at: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of the offset's column that nobody asked for, or the mean of an array."""
        given, free = self._offset, None
        if isinstance(given, str) and given not in at and not len(self._axes[given].levels):
            free = {given: self._axes[given].center}
        mean = float(self._known_part(pd.DataFrame(index=[0]))[0]) if isinstance(given, np.ndarray) else None
        return {"values": free, "mean": mean}

    def _estimable(self) -> Estimable:
        matrices = self._design.matrices
        return Estimable.of(matrices.X[self._fit.used[matrices.used]], self._fit.kept)

    # Tables.

    def _marginal(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        at, trend, undone = asked["at"] or {}, asked["trend"], self._undoing is not None
        link: Steps = () if self.link == "identity" else (Step(self.link),)
        response = asked["type"] == "response" and undone
        steps = (*link, *(self._undoing or ())) if response else ()
        grid, estimable, left, slopes = self._quantities(at, trend, steps)
        averaged = partial(means, specs=asked["specs"], by=asked["by"] or ())
        rows = averaged(grid)
        messages = _messages(grid, {*rows.labels, *([] if trend is None else [trend])})
        scale, family = "response" if response else "link", _FAMILIES.get(self.family, "response")
        name = "trend" if trend else "emmean" if not steps else family if steps == link else "response"
        curve = None if slopes is None else lambda b: averaged(replace(grid, X=slopes(b))).X.T
        questions = [self._question(grid, rows, estimable, left, curve, asked, estimate=name, scale=scale)]
        over = [name for name, values in grid.levels.items() if len(values) > 1 and name not in rows.labels]
        notes = [f"Averaged over the levels of {', '.join(over)}."] if over else []
        found: dict[str, Any] = {"estimates": self._told_of(questions[0], notes), "contrasts": None, "undone": undone}
        found |= {"outcome": " of ".join([*(step.name for step in link), self._terms.label])}
        ratio = "ratio" if left == (Step("log"),) else "odds.ratio" if left == link == (Step("logit"),) else ""
        contrasts = None if asked["contrasts"] is None else compared(rows, asked["contrasts"], ratio != "")
        if contrasts is not None:
            ratio = ratio if contrasts[1] else ""
            scale, left = "link" if left and not ratio else scale, (Step("log"),) if ratio else ()
            told = {"estimate": ratio or "estimate", "scale": scale}
            apart = None if curve is None else partial(_apart, rows, asked["contrasts"], curve)
            questions.append(self._question(grid, contrasts[0], estimable, left, apart, asked, **told))
            curved = link or self._undoing != ()
            notes = ["Contrasts are on the link scale."] if scale == "link" and curved else []
            found["contrasts"] = self._told_of(questions[1], notes)
            if found["contrasts"]["adjust"] == "sidak" != asked["adjust"]:
                messages.append(
                    f"adjust={asked['adjust']!r} is for one set of pairwise differences: here it is 'sidak'"
                )
        self._keep_asked("marginal", questions)
        return found | {"offset": self._offset_taken(at)}, messages

    def _quantities(
        self, at: Any, trend: str | None, steps: Steps
    ) -> tuple[Grid, Estimable, Steps, Callable[[np.ndarray], np.ndarray] | None]:
        """Return a grid of means or slopes, what of it can be estimated, and the steps that are left to their scale.

        Slopes that are no combinations of coefficients are there as their derivatives, beside what makes a grid of them
        from replicates of the coefficients, shape (n, p), its last axis n.
        """
        estimable, grid = self._estimable(), self._grid(at)
        shift, slope, left = straightened(steps)
        if trend is None:
            X = slope * grid.X
            X[..., -1] += shift
            return replace(grid, X=X), estimable, left, None
        step = _STEP * self._axes[trend].reach
        if not step:
            raise OptionError(f"var={trend!r} is {self._axes[trend].center:g} in every row used, and has no slope.")
        further = self._grid(at, step=(trend, step)).X
        if not left:
            return replace(grid, X=slope * (further - grid.X) / step), estimable, (), None
        ends = [(estimable.rows(X[..., :-1]), X[..., -1:]) for X in (grid.X, further)]

        def slopes(b: np.ndarray) -> np.ndarray:
            first, second = (carried(L @ b.T + known, steps) for L, known in ends)
            return (second - first) / step

        b = self._fit.b
        at_first, at_second = (slope_of(L @ b + known[..., 0], steps)[..., None] * L for L, known in ends)
        gradient = (at_second - at_first) / step
        X = np.concatenate([gradient, slopes(b[None]) - (gradient @ b)[..., None]], axis=-1)
        return replace(grid, X=X), Estimable.every(len(b)), (), slopes

    def _question(
        self,
        grid: Grid,
        rows: Rows,
        estimable: Estimable,
        left: Steps,
        curve: Callable[[np.ndarray], np.ndarray] | None,
        asked: Mapping[str, Any],
        **told: Any,
    ) -> Question:
        """Return means, slopes or contrasts as what is inferred."""
        L, known, adjust, tests = estimable.rows(rows.X[:, :-1]), rows.X[:, -1], "none", None
        if rows.contrasts is not None:
            noise = noise_of(grid.X[..., :-1])
            how = (asked["adjust"], asked["contrasts"] == "pairwise")
            adjust, tests = adjusting(rows.families, rows.X[:, :-1], noise, *how)
        return Question(
            "means" if rows.contrasts is None else "contrasts",
            Target(L, scale_of(left), np.where(np.abs(known) <= noise_of(grid.X[..., -1:]), 0.0, known), curve),
            labels=rows.labels,
            contrast=rows.contrasts,
            adjusted=tests,
            attrs={**told, "adjust": adjust, "ddf": asked["ddf"]},
        )

    def _told_of(self, question: Question, notes: Sequence[str]) -> dict[str, Any]:
        """Return what a table is made of, with notes on what can't be estimated behind those given."""
        found, told = self._estimates(question, self._by_default()), dict(question.attrs or {})
        lost = np.isnan(found.values)
        if lost.any():
            notes = [*notes, f"The data can't tell: {few(np.array(question.names, dtype=object)[lost])}."]
        table = question.told(**columns(question, found, self._options.conf_level))
        return {**table, **told, "name": told["estimate"], "notes": notes, "z": found.z}

    def _joint(self, by: list[str], ddf: Any, options: InferOptions) -> tuple[dict[str, Any], list[str]]:
        at, given = {}, self._offset
        if isinstance(given, str) and given not in self._design.predictors and given not in by:
            at[given] = [self._axes[given].center]
        grid = self._grid(at, around=True)
        for name in by:
            if not {*grid.nesting.get(name, ())} <= {*by}:
                raise OptionError(f"{name!r} is nested in {few(grid.nesting[name])}. Name these in by as well.")
        errors = self._joint_errors(options)
        df: Callable[..., float] = partial(joint_df, errors.df_of) if ddf != "asymptotic" else lambda *_: np.inf
        tests = joint_tests(grid, by, self._estimable(), self._fit.b, errors.V, df)
        df1, df2, f = (np.array([getattr(test, key) for test in tests], dtype=float) for key in ("df1", "df2", "f"))
        labels = {name: _alike([test.group[i] for test in tests], grid.levels[name]) for i, name in enumerate(by)}
        values = {"df1": df1, "df2": df2, "f": f, "chisq": f * df1, "p": f_tail(f, df1, df2)}
        reduced = list(dict.fromkeys(test.term for test in tests if test.reduced))
        notes = [f"A part of {few(reduced)} can't be estimated, and is not tested."] if reduced else []
        terms = [test.term for test in tests]
        return {"terms": terms, "labels": labels, "values": values, "notes": notes}, _messages(grid, set())


def _alike(values: list[Any], levels: Any) -> Any:
    """Return values as the levels that they are."""
    return pd.Categorical(values, dtype=levels.dtype) if isinstance(levels, pd.Categorical) else np.array(values)


def _apart(rows: Rows, wanted: Any, curve: Callable[[np.ndarray], np.ndarray], b: np.ndarray) -> np.ndarray:
    """Return contrasts, shape (n, k), of the means that `curve` makes of coefficients, shape (n, p)."""
    found = compared(replace(rows, X=curve(b).T), wanted, False)
    assert found is not None
    return found[0].X.T


def _messages(grid: Grid, asked: set[str]) -> list[str]:
    """Return which variables are nested, and whether those asked for take part in interactions."""
    found = [f"{name} %in% {' * '.join(nesters)}" for name, nesters in grid.nesting.items()]
    messages = [f"A nesting structure was found: {', '.join(found)}"] if found else []
    if asked and any(asked < variables_of(term) for term in grid.terms):
        messages.append("Results may be misleading: there are interactions with what was averaged over")
    return messages
