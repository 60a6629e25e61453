"""Limits and p of an `Lm` from bootstrap draws and from permutations."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pymer4.errors import DataError, ModelWarning
from pymer4.numerics import inference
from pymer4.numerics.resample import seed_stream
from pymer4.regression_rows import Sample

Scheme = Literal["raw", "freedman-lane"]
"""What a permutation shuffles."""


class LmResampling:
    """The resampling methods of `Lm`.

    Bootstrap draws are rows with their weights and offsets, or whole clusters (Cameron, Gelbach & Miller 2008, Review
    of Economics and Statistics 90). Weights from a column are those of the data, in every draw.
    """

    def _resample(self, found: Sample) -> None:
        """Put the limits and p that were asked for into the coefficient table."""
        given, tested = self._settings, self._facts["inference"]
        lower, upper, p = tested.lower, tested.upper, tested.p
        for_boot, for_permutation = (int(seed) for seed in seed_stream(given["seed"], 2))
        if given["conf_int"] == "boot":
            if not np.isnan(tested.se).all():
                drawn = inference.from_draws(self._estimate.b, self._draws(found, for_boot), given["level"])
                lower, upper, p = drawn.lower, drawn.upper, drawn.p
            self.ci_type, self.sig_type = f"boot ({given['n_boot']})", "bootstrapped"
        if given["permute"]:
            p = self._permuted_p(found, for_permutation)
            self.sig_type = f"permutation ({given['permute']})"
        self.coefs = self._table(lower, upper, p)

    def _draws(self, found: Sample, seed: int) -> np.ndarray:
        """Return the coefficients of the fits to rows drawn with replacement, shape (n_boot, p)."""
        given = self._settings
        how = {"weights": found.weights, "clusters": found.clusters, "offset": found.offset, "n_jobs": given["n_jobs"]}
        if self._linear:
            from pymer4.numerics.replicates import bootstrap_linear

            draws = bootstrap_linear(found.X, found.y, given["n_boot"], seed, **how)
        else:
            from pymer4.numerics.generalized_replicates import bootstrap_generalized

            how["start"] = self._estimate.b
            draws = bootstrap_generalized(found.X, found.y, self.family, self.link, given["n_boot"], seed, **how)
        lost = int(np.isnan(draws).any(axis=1).sum())
        if lost == given["n_boot"]:
            raise DataError(
                "Not one bootstrap draw could be fitted: a predictor rests on too few rows. Use conf_int='standard'."
            )
        if lost:
            told = f"{lost} of {given['n_boot']} bootstrap draws could not be fitted and are left out"
            self._warn([told], ModelWarning, False)
        return draws

    def _permuted_p(self, found: Sample, seed: int) -> np.ndarray:
        """Return p from shuffles, shape (p,); NaN for what they can't test."""
        names = np.array(found.names, dtype=object)
        fixed = untestable(found.X, found.clusters)
        if found.clusters is not None and fixed[int(found.has_intercept) :].any():
            told = (
                f"No p for {', '.join(names[fixed])}: constant within the clusters, where the outcome is shuffled. "
                "Leave cluster= out, or take the p of a fit without permute=, which cluster= makes robust."
            )
            self._warn([told], ModelWarning, False)
        observed, null = self._statistics(found, seed)
        p = inference.from_null(observed, null)
        return np.where(fixed | np.isnan(observed), np.nan, p)

    def _statistics(self, found: Sample, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistics of the data, shape (p,), and those of shuffled outcomes, shape (permute, p)."""
        given: dict[str, Any] = self._settings
        of = {"kind": given["kind"], "clusters": found.clusters, "n_lags": given["n_lags"]}
        within, n_jobs = found.clusters, given["n_jobs"]
        if not self._linear:
            from pymer4.numerics.generalized_replicates import permute_generalized

            null = permute_generalized(
                found.X,
                found.y,
                self.family,
                self.link,
                given["permute"],
                seed,
                weights=found.weights,
                offset=found.offset,
                within=within,
                n_jobs=n_jobs,
                **of,
            )
            return self._facts["inference"].statistic, null
        from pymer4.numerics.replicates import permute_linear, permuted_statistics

        # Variances of groups are estimated anew from the residuals of every shuffle, and so are those of the data here.
        weighted = {"groups": found.groups} if found.groups is not None else {"weights": found.weights}
        observed = self._facts["inference"].statistic
        if found.groups is not None:
            observed = permuted_statistics(found.X, found.free[None, :], **of, **weighted)[0][0]
        null = permute_linear(
            found.X,
            found.y,
            given["permute"],
            seed,
            offset=found.offset,
            within=within,
            scheme=given["scheme"],
            n_jobs=n_jobs,
            **of,
            **weighted,
        )
        return observed, null


def untestable(X: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Return which columns do not vary within any cluster, so that shuffling there says nothing of them, shape (p,)."""
    if clusters is None:
        clusters = np.zeros(len(X), dtype=np.int64)
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(clusters[order]) != 0])
    ordered = X[order]
    reach = np.maximum.reduceat(ordered, starts) - np.minimum.reduceat(ordered, starts)
    return (reach <= 1e-12 * np.abs(X).max(axis=0)).all(axis=0)
