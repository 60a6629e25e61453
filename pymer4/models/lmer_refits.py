"""A fitted linear `Lmer` on the deviance engine, to be fitted again to other outcomes and rows.

It brings SciPy along, so that what uses it imports it on need.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymer4.data.mixed_design import MixedDesign, NeedsR, Plan
from pymer4.data.rformula import Grouping, RFormula
from pymer4.errors import FormulaError
from pymer4.fit.mixed_profile import profiles
from pymer4.fit.mixed_terms import Unsuited
from pymer4.infer import mixed_replicates
from pymer4.infer.mixed_folds import Folded
from pymer4.infer.mixed_replicates import MixedModel, Wanted
from pymer4.infer.resample import untestable
from pymer4.models.lmer_arrays import Read, mixed_design
from pymer4.models.lmer_engine import engine_bars, known_part_off
from pymer4.models.lmer_native import NativeFit
from pymer4.models.lmer_state import LmerState
from pymer4.work import Note, one_blas_thread

_SHORT = 1e-3  # of the deviance, from which on a fit is not where the engine's is, nor are its draws


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """A model at its fit, and what its arrays are called: what it draws, and what is told beside draws."""

    model: MixedModel
    design: MixedDesign

    @property
    def names(self) -> list[str]:
        """Return what all parameters are called."""
        bars = [(bar.names, bar.group) for bar in self.design.bars]
        return mixed_replicates.parameter_names(bars, self.design.names)

    @property
    def parameters(self) -> np.ndarray:
        """Return their estimates."""
        return mixed_replicates.parameters(self.model.fit)[0]

    def count(self, random: bool, fixed: bool) -> int:
        """Return how many parameters there are in the random part, with sigma, and in the fixed part."""
        p = len(self.design.names)
        return (len(self.names) - p) * random + p * fixed

    def profiles(
        self, cutoff: float, steps: int, parts: tuple[bool, bool], note: Callable[[], None]
    ) -> tuple[dict[str, Any], bool]:
        """Return `names`, limits and traces of parameters, and whether a better fit was found; see `mixed_profile`."""
        model = self.model
        with one_blas_thread():
            found, better = profiles(model.X, model.bars, model.y, model.weights, cutoff, steps, parts, note)
        p, limits = self.count(*parts), np.array([part.limits for part in found]).reshape(-1, 2)
        told = {
            "names": self.names[:p] if parts[0] else self.names[len(self.names) - p :],
            "lower": limits[:, 0],
            "upper": limits[:, 1],
            "points": [len(part.values) for part in found],
            "value": np.concatenate([np.empty(0), *(part.values for part in found)]),
            "zeta": np.concatenate([np.empty(0), *(part.zeta for part in found)]),
        }
        return told, better

    def parameter_draws(self) -> tuple[Wanted, dict[str, Any]]:
        """Return a parametric bootstrap of all parameters, and their `names`."""
        return mixed_replicates.bootstrap(self.model), {"names": self.names}

    def shuffles(self, L: np.ndarray, within: str | None) -> tuple[Wanted, dict[str, Any]]:
        """Return outcomes shuffled within a grouping factor, by default the first, and what `LmerDraws` tells of it."""
        bars, offset = self.design.bars, self.design.offset
        named = (bar.codes for bar in bars if Grouping(bar.group, (), True).is_called(within or ""))
        codes = next(named, bars[0].codes)
        wanted, observed = mixed_replicates.shuffled(self.model, L, codes)
        reach = 0.0 if offset is None else float(np.abs(offset).max())
        return wanted, {"observed": observed, "untested": untestable(self.model.X, codes, L), "offset": reach}

    def residual_shuffles(self, row: np.ndarray, null: float) -> tuple[Wanted, dict[str, Any]]:
        """Return shuffled residuals, what is observed, and the share that they keep."""
        wanted, observed, kept = mixed_replicates.residuals_shuffled(self.model, row, null)
        return wanted, {"observed": observed, "kept": kept}

    @staticmethod
    def parts(wanted: Wanted, seeds: np.ndarray, n_jobs: int, note: Note) -> list[dict[str, Any]]:
        """Return replicates in parts."""
        return mixed_replicates.replicates(wanted, seeds, n_jobs, note)


def refits(model: LmerState, may_be_short: bool) -> Refits | None:
    """Return a model on the engine; None where that is not taken, or, if it matters, R's fit stopped short of it."""
    native = model._native
    with contextlib.suppress(NeedsR, Unsuited, FormulaError):
        native = native or NativeFit.of(mixed_design(model, *model._sample()), model._options.REML)
        design, fit = native.design, native.found
        near = may_be_short or fit.deviance[0] > model._fit.criterion - _SHORT
        if near and design.names == tuple(model.coefs.index):
            made = MixedModel(design.X, engine_bars(design), known_part_off(design), design.weights, fit)
            return Refits(made, design)
    return None


@dataclass(slots=True)
class _Smaller:
    """A formula of which no model is kept."""

    _reading: RFormula
    _plan: tuple[Any, Plan] | None = None


def folded(model: LmerState, formula: str | None, fold: np.ndarray) -> Folded | None:
    """Return a model on the engine, or one of a smaller formula, with its folds; None where that is R's to fit.

    Functions in a formula may learn from the rows, and then from those trained on alone.
    """
    with contextlib.suppress(NeedsR, Unsuited, FormulaError):
        read: Read = _Smaller(replace(model._reading, written=formula)) if formula else model
        design = mixed_design(read, *model._sample())
        assert read._plan is not None
        plan = read._plan[1]
        learned = plan.computed(outcome=True) or any(bar.crossed is None for bar in plan.bars)
        if learned or not np.array_equal(design.used, model._used):
            return None
        bars, y, reml = engine_bars(design), known_part_off(design), model._options.REML
        whole = MixedModel.of(design.X, bars, y, design.weights, reml)
        return Folded(whole, 0.0 if design.offset is None else design.offset, fold)
    return None
