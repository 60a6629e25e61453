"""Limits and p of an `Lm` from bootstrap draws and from permutations."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.data.sample import Sample
from pymer4.errors import DataError
from pymer4.fit.basis import Basis, Meat
from pymer4.infer.draws import from_null
from pymer4.infer.replicates import (
    bootstrap_generalized,
    bootstrap_linear,
    permute_generalized,
    permute_linear,
    t_statistics,
)
from pymer4.infer.resample import MOST_KEPT, kept, untestable
from pymer4.models.lm_state import LmState
from pymer4.work import Note, progress, told_rows


class LmResampling(LmState):
    """The resampling methods of `Lm`.

    Bootstrap draws are rows with their weights and offsets, or whole clusters (Cameron, Gelbach & Miller 2008, Review
    of Economics and Statistics 90). Weights from a column are those of the data, in every draw.
    """

    def _draws(self, found: Sample, seed: int) -> np.ndarray:
        """Return the coefficients of the fits to rows drawn with replacement, shape (n_boot, p)."""
        options, X, y = self._options, found.X, found.y
        with progress("bootstrap draws", options.n_boot, options.verbose) as advance:
            how: dict[str, Any] = {"weights": found.weights, "clusters": found.clusters, "offset": found.offset}
            how |= {"n_jobs": options.n_jobs, "note": told_rows(advance)}
            if self._linear:
                draws = bootstrap_linear(X, y, options.n_boot, seed, **how)
            else:
                how["start"] = self._estimate.b
                draws = bootstrap_generalized(X, y, self.family, self.link, options.n_boot, seed, **how)
        self._warn_of_lost(np.isnan(draws).any(axis=1), "bootstrap draw", "Use conf_int='standard'.")
        return draws

    def _warn_of_lost(self, lost: np.ndarray, what: str, remedy: str) -> None:
        """Tell how many draws have no fit, shape (n,); refuse where none has one."""
        n = len(lost)
        if lost.all():
            why = "a predictor rests on too few rows"
            if not self._linear:
                why += f", or fits run into means that family {self.family!r} does not have with link {self.link!r}"
            raise DataError(f"Not one {what} of {n} could be fitted: {why}. {remedy}")
        if lost.any():
            self._warn([f"{int(lost.sum())} of {n} {what}s could not be fitted and are left out"])

    def _permuted_p(self, found: Sample, seed: int) -> np.ndarray:
        """Return p from shuffles, shape (p,); NaN for what they can't test."""
        fixed = untestable(found.X, found.clusters)
        if fixed.any():
            fixed = self._warn_of_untested(found, fixed)
        with progress("permutations", self._options.permute, self._options.verbose) as advance:
            observed, null = self._statistics(found, seed, told_rows(advance))
        if not np.isnan(observed).all():
            self._warn_of_lost(np.isnan(null).all(axis=1), "shuffled outcome", "Leave permute= out.")
        p = from_null(observed, null)
        return np.where(fixed | np.isnan(observed), np.nan, p)

    def _warn_of_untested(self, found: Sample, fixed: np.ndarray) -> np.ndarray:
        """Return which coefficients have no p, shape (p,), after a warning that says what tests them."""
        names = np.array(found.names, dtype=object)
        lasting = fixed
        if self._linear:
            weights = None if found.groups is not None else found.weights
            lasting = fixed & (kept(found.X, weights, found.clusters) > MOST_KEPT)
        raw = self._options.scheme == "raw"
        untested, able = (fixed, names[fixed & ~lasting]) if raw else (lasting, ())
        where = "where" if found.clusters is None else "within the clusters, where"
        told = [f"No p for {', '.join(names[untested])}: constant, alone or added up, {where} the outcome is shuffled"]
        if raw and self._linear:
            what = f"tests {', '.join(able)}" if len(able) else "can't either"
            told.append(f"scheme='freedman-lane' {what}")
        if lasting.any():
            told.append(f"For {', '.join(names[lasting])} take the p of a fit without permute=")
        if untested.any():
            self._warn([". ".join(told)])
        return untested

    def _statistics(self, found: Sample, seed: int, note: Note) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistics of the data, shape (p,), and those of shuffled outcomes, shape (permute, p)."""
        options, X, y, observed = self._options, found.X, found.y, self._fit.tested.statistic
        of: dict[str, Any] = {"kind": options.kind, "clusters": found.clusters, "n_lags": options.n_lags}
        how = of | {"offset": found.offset, "within": found.clusters, "n_jobs": options.n_jobs, "note": note}
        asked = (options.permute, seed)
        if not self._linear:
            return observed, permute_generalized(X, y, self.family, self.link, *asked, weights=found.weights, **how)
        how["scheme"] = options.scheme
        if found.groups is None:
            return observed, permute_linear(X, y, *asked, weights=found.weights, **how)
        # Variances of groups are estimated anew from the residuals of every shuffle, and so are those of the data here.
        observed = t_statistics(Basis.of(X), found.free[None, :], Meat.of(**of), found.groups)[0][0]
        return observed, permute_linear(X, y, *asked, groups=found.groups, **how)
