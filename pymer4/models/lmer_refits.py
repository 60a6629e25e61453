"""A fitted linear `Lmer` on the deviance engine, to be fitted again to other outcomes and rows.

It brings SciPy along, so that what uses it imports it on need.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.data.mixed_design import MixedDesign, NeedsR
from pymer4.data.rformula import Grouping
from pymer4.errors import FormulaError
from pymer4.fit.mixed_terms import Unsuited
from pymer4.infer import mixed_replicates
from pymer4.infer.mixed_replicates import MixedModel, Wanted
from pymer4.infer.resample import untestable
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_engine import engine_bars
from pymer4.models.lmer_native import NativeFit
from pymer4.models.lmer_state import LmerState
from pymer4.work import Note

_SHORT = 1e-3  # of the deviance, from which on a fit is not where the engine's is, nor are its draws


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """A model at its fit, and what its arrays are called: what it draws, and what is told beside draws."""

    model: MixedModel
    design: MixedDesign

    def parameter_draws(self) -> tuple[Wanted, dict[str, Any]]:
        """Return a parametric bootstrap of all parameters, and their `names`."""
        bars = [(bar.names, bar.group) for bar in self.design.bars]
        names = mixed_replicates.parameter_names(bars, self.design.names)
        return mixed_replicates.bootstrap(self.model), {"names": names}

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


def refits(model: LmerState) -> Refits | None:
    """Return a model on the engine; None where refits are R's to do, as where its fit stopped short."""
    native = model._native
    with contextlib.suppress(NeedsR, Unsuited, FormulaError):
        native = native or NativeFit.of(mixed_design(model, *model._sample()), model._options.REML)
        design, fit = native.design, native.found
        if design.names == tuple(model.coefs.index) and fit.deviance[0] > model._fit.criterion - _SHORT:
            y = design.y if design.offset is None else design.y - design.offset
            return Refits(MixedModel(design.X, engine_bars(design), y, design.weights, fit), design)
    return None
