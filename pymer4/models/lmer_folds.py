"""What an `Lmer` supplies to cross-validation: its rows, and predictions by refits without some of them.

The deviance engine refits linear models whose formula has no functions, which may learn from the rows; R all others.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from pymer4.infer.cv import HeldOut, Predicted
from pymer4.infer.options import InferOptions
from pymer4.infer.resample import counted
from pymer4.models.lmer_draws import LmerDraws, Sent, in_process, within_reach
from pymer4.rbridge import bridge
from pymer4.work import Advance, each_chunk


class LmerFolds(LmerDraws):
    """Rows of groups that are seen in training are predicted with their random effects, others by the population."""

    def _held_out(self) -> HeldOut:
        rows = bridge.call("held_out_rows", model=self._handle).value
        return HeldOut(
            y=np.where(rows["weights"] > 0, rows["outcome"], np.nan),
            weights=rows["weights"],
            law=(self.family, self.link),
            terms={name: term for name, term in zip(self.coefs.index, rows["terms"], strict=True) if term},
            groupings=dict(rows["groupings"]),
            X=self.design_matrix.to_numpy(),
            names=tuple(self.coefs.index),
            levels={name: self._frame[name][self._used] for name in rows["factors"] if name in self._frame},
            used=self._used,
        )

    def _refit(self, term: str | None, fold: np.ndarray, options: InferOptions, advance: Advance) -> Predicted:
        native = self._fold_predictions(term, fold, options, advance)
        if native is not None:
            return native
        k, n_jobs = int(fold.max()) + 1, options.n_jobs
        model = within_reach(self._handle, n_jobs)
        with bridge.in_parts() if n_jobs == 1 else contextlib.nullcontext():
            parts = each_chunk(
                _predicted, np.arange(k), n_jobs, model, term or "", fold, note=lambda part: advance(part["done"], 0)
            )
        mu = np.empty(len(fold))
        mu[np.argsort(fold, kind="stable")] = np.concatenate([part["prediction"] for part in parts])
        theta = np.concatenate([part["theta"] for part in parts])
        said = [text for part in parts for text in part["said"]]
        return Predicted(mu, theta if self.family == "nbinom" else None, _told(term, said, k), {"engine": "R"})

    def _fold_predictions(
        self, term: str | None, fold: np.ndarray, options: InferOptions, advance: Advance
    ) -> Predicted | None:
        """Return predictions by the deviance engine; None where that does not take the model, or the rows of a fold."""
        if self._refits == "R" or not self._linear:
            return None
        from pymer4.fit.mixed_terms import Unsuited
        from pymer4.models.lmer_refits import folded

        formula = term and bridge.call("formula_without", model=self._handle, term=term).value["formula"]
        found = folded(self, formula, fold)
        if found is None:
            return None
        try:
            mu, said = found.predictions(options.n_jobs, lambda part: advance(part["done"], 0))
        except Unsuited:
            return None
        return Predicted(mu, None, _told(term, said, int(fold.max()) + 1), {"engine": "native"})


def _told(term: str | None, said: list[str], k: int) -> list[str]:
    what = "Refits" if term is None else f"Refits without {term}"
    return [f"{what}, {counted(said, k)}"] if said else []


def _predicted(model: bridge.Handle | Sent, term: str, fold: np.ndarray, held: np.ndarray) -> dict[str, Any]:
    """Return predictions of the rows of some folds, one fold after the other, and the theta of each refit."""
    reply = bridge.call("predict_held_out", model=in_process(model), fold=fold + 1, term=term, held=held + 1)
    return {**reply.value, "said": reply.warnings, "done": len(held)}
