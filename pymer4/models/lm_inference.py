"""What an `Lm` supplies to inference: estimates with any errors, draws, and permutations, of any rows L b."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pymer4.data.intake import codes_of_rows
from pymer4.data.sample import Sample, self_told
from pymer4.errors import DataError, OptionError
from pymer4.fit import sandwich
from pymer4.fit.basis import Basis
from pymer4.fit.influence import jackknife
from pymer4.fit.robust_errors import errors_of, resolve_error_type
from pymer4.fit.sandwich import Errors
from pymer4.infer import replicates
from pymer4.infer.options import Drawing, InferOptions
from pymer4.infer.resample import MOST_KEPT, kept, of_two, offset_in, untestable
from pymer4.infer.targets import Draws, Estimates, Null, Question
from pymer4.infer.verb import Answer, require_shuffles
from pymer4.models.native_folds import LmFolds
from pymer4.work import progress, told_rows


class LmInference(LmFolds):
    """What `infer()` and `fit(conf_int=, permute=)` ask of an `Lm`.

    Bootstrap draws are rows with their weights and offsets, or whole clusters (Cameron, Gelbach & Miller 2008, Review
    of Economics and Statistics 90). Weights from a column are those of the data, in every draw.
    """

    # Estimates and their errors.

    def _estimates(self, question: Question, options: InferOptions) -> Estimates:
        L, errors = question.target.L, self._errors(options)
        with np.errstate(invalid="ignore"):
            se = np.sqrt(errors.variances(L))
        found = Estimates(L @ self._fit.b, se, errors.df_of(L), lambda: L @ errors.V @ L.T, self._asymptotic)
        return self._tested_as_asked(found, question)

    def _errors(self, options: InferOptions) -> Errors:
        """Return the covariance of the coefficients that was asked for; iid is that of the fit."""
        kind, df = resolve_error_type(options.errors, self._linear), self._fit.df
        if kind == "iid" and not np.ndim(df):
            return Errors(self._fit.vcov, lambda L: np.full(len(L), float(df)))
        found = self._sample()
        if kind == "iid":
            return Errors(self._fit.vcov, partial(sandwich.welch_df, found.X, found.groups, found.variances))
        clusters = self._clusters(found, options)
        if kind in ("cr0", "cr2") and clusters is None:
            raise OptionError(f"errors={options.errors!r} needs cluster=, the name of the column of the clusters.")
        cells = self._design.cells() if kind == "unequal_var" else None
        if kind == "unequal_var" and cells is None:
            raise OptionError(
                "errors='unequal_var' is one variance a cell of the factors, and the formula has none. Use "
                "errors='HC3'."
            )
        df = np.inf if self._asymptotic else None
        return errors_of(self._estimate, found.X, kind, clusters=clusters, cells=cells, df=df)

    def _joint_errors(self, options: InferOptions) -> Errors:
        return self._errors(options)

    def _answered(self, options: InferOptions) -> Answer:
        found = super()._answered(options)
        if options.how not in ("asymp", "perm", "joint"):
            return found
        kind = resolve_error_type(options.errors, self._linear)
        told = self_told(self._sample(), self._estimate, kind, "errors='HC1'", "errors='iid'")
        return replace(found, told=[*found.told, *told])

    # Draws.

    def _boot(self, questions: Sequence[Question], options: InferOptions) -> Sequence[Draws]:
        found, told = self._sample(), list[str]()
        clusters = self._clusters(found, options)
        if clusters is not None and not clusters.any():
            raise DataError(
                "All rows are in one cluster, which every draw would repeat. Leave cluster= out, or name the column of "
                "several independent ones."
            )
        b = self._draws(found, options.drawing, clusters, "how='asymp'", told)
        return [Draws(question.target.replicates(b), told) for question in questions]

    def _clusters(self, found: Sample, options: InferOptions) -> np.ndarray | None:
        """Return the codes of the clusters that `infer(cluster=)` names, by default those of the fit."""
        if options.cluster is None:
            return found.clusters
        return codes_of_rows("cluster", options.cluster, self._frame, found.used)

    def _left_out(self, options: InferOptions) -> int:
        found = self._sample()
        clusters = self._clusters(found, options)
        return len(found.y) if clusters is None else int(clusters.max()) + 1

    def _jackknife(self, question: Question, options: InferOptions) -> np.ndarray:
        found = self._sample()
        return question.target.replicates(jackknife(self._estimate, found.X, self._clusters(found, options)))

    def _coefficient_draws(self, found: Sample, how: Drawing) -> np.ndarray:
        told: list[str] = []
        draws = self._draws(found, how, found.clusters, "conf_int='standard'", told)
        self._warn(told)
        return draws

    def _draws(
        self, found: Sample, how: Drawing, clusters: np.ndarray | None, remedy: str, told: list[str]
    ) -> np.ndarray:
        """Return the coefficients of the fits to rows drawn with replacement, shape (n, p)."""
        with progress("bootstrap draws", how.n, how.verbose) as advance:
            given: dict[str, Any] = {"weights": found.weights, "clusters": clusters, "offset": found.offset}
            given |= {"n_jobs": how.n_jobs, "note": told_rows(advance)}
            if self._linear:
                draws = replicates.bootstrap_linear(found.X, found.y, how.n, how.seed, **given)
            else:
                given["start"] = self._estimate.b
                draws = replicates.bootstrap_generalized(found.X, found.y, *self._law, how.n, how.seed, **given)
        told += self._lost(np.isnan(draws).any(axis=1), "bootstrap draw", f"Use {remedy}.")
        told += [] if clusters is None else of_two(int(clusters.max()) + 1, "cluster", remedy)
        return draws

    def _lost(self, lost: np.ndarray, what: str, remedy: str) -> list[str]:
        """Tell how many replicates have no fit, shape (n,); refuse where none has one."""
        n = len(lost)
        if lost.all():
            why = "a predictor rests on too few rows"
            if not self._linear:
                why += f", or fits run into means that family {self.family!r} does not have with link {self.link!r}"
            raise DataError(f"Not one {what} of {n} could be fitted: {why}. {remedy}")
        return [f"{int(lost.sum())} of {n} {what}s could not be fitted and are left out"] if lost.any() else []

    # Permutations.

    def _coefficient_null(self, found: Sample, how: Drawing) -> Null:
        options, L = self._options, np.eye(len(self._fit.b))
        meat = {"kind": options.kind, "clusters": found.clusters, "n_lags": options.n_lags}
        asked = (found.clusters, options.scheme, np.zeros(len(L)), "a fit without permute=")
        return self._permutations(found, how, L, found.names, self._fit.tested.statistic, meat, *asked)

    def _null(self, question: Question, options: InferOptions) -> Null:
        require_shuffles(question, options, self._linear)
        found, own = self._sample(), self._options
        kinds: dict[str, Any] = {"iid": own.kind, "hetero": "hc3" if self._linear else "hc0", "CR0": "cluster"}
        kind = kinds.get(options.errors, options.errors.lower())
        within = self._clusters(found, options)
        meat = {"kind": kind, "clusters": within if kind == "cluster" else None, "n_lags": own.n_lags}
        if options.errors == "iid":
            meat["clusters"] = found.clusters
        est, scale = self._estimates(question, options), 1.0
        if options.errors == "CR0":  # CR0 has no factor for few clusters, and the errors of shuffles have it
            scale = np.sqrt(sandwich.cluster_factor(len(np.unique(within)), *found.X.shape))
        null = np.broadcast_to(options.null - question.target.offset, est.se.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = (est.values - null) / (est.se * scale)
        asked = (question.target.L, question.names, observed, meat, within, options.scheme, null)
        return self._permutations(found, options.drawing, *asked)

    def _permutations(
        self,
        found: Sample,
        how: Drawing,
        L: np.ndarray,
        names: Sequence[object],
        observed: np.ndarray,
        meat: dict[str, Any],
        within: np.ndarray | None,
        scheme: str,
        null: np.ndarray,
        plain: str = "how='asymp'",
    ) -> Null:
        """Return the statistics of rows of L, and those of shuffles; `null` is that of L b, shape (k,).

        `plain` is what has p where shuffles have none.
        """
        told: list[str] = []
        untested = self._untested(found, L, within, scheme, names, plain, told)
        there = ~np.isnan(L).any(axis=1)
        moved = there & ~untested & (null != 0) if scheme == "raw" else np.zeros(len(L), dtype=bool)
        told += offset_in(np.array(names, dtype=object)[moved], self._linear)
        untested = untested | moved
        given: dict[str, Any] = meat | {"offset": found.offset, "within": within, "n_jobs": how.n_jobs}
        with progress("permutations", how.n, how.verbose) as advance:
            given["note"] = told_rows(advance)
            given["L"] = None if np.array_equal(L, np.eye(len(self._fit.b))) else L[there]
            if not self._linear:
                given["weights"] = found.weights
                drawn = replicates.permute_generalized(found.X, found.y, *self._law, how.n, how.seed, **given)
            else:
                given |= {"scheme": scheme, "null": null[there]}
                given |= {"weights": found.weights} if found.groups is None else {"groups": found.groups}
                drawn = replicates.permute_linear(found.X, found.y, how.n, how.seed, **given)
        if found.groups is not None:
            # Variances of groups are estimated anew from the residuals of every shuffle, and so are those of the data.
            basis, of = Basis.of(found.X).toward(L[there]), sandwich.Meat.of(**meat)
            t, b = replicates.t_statistics(basis, found.free[None, :], of, found.groups)
            observed = np.full(len(L), np.nan)
            observed[there] = t[0] * (1 - null[there] / b[0])
        if not np.isnan(observed).all():
            told += self._lost(np.isnan(drawn).all(axis=1), "shuffled outcome", f"Take the p of {plain}.")
        values = np.full((how.n, len(L)), np.nan)
        values[:, there] = drawn
        return Null(np.where(untested, np.nan, observed), values, told)

    def _untested(
        self,
        found: Sample,
        L: np.ndarray,
        clusters: np.ndarray | None,
        scheme: str,
        given: Sequence[object],
        plain: str,
        told: list[str],
    ) -> np.ndarray:
        """Return which rows of L shuffling can't test, shape (k,), after saying what can."""
        there = ~np.isnan(L).any(axis=1)
        fixed, lasting = ~there, ~there
        fixed[there] = untestable(found.X, clusters, L[there])
        if not fixed[there].any():
            return fixed
        if self._linear:
            weights = None if found.groups is not None else found.weights
            lasting = fixed.copy()
            lasting[there] &= kept(found.X, weights, clusters, L[there]) > MOST_KEPT
        else:
            lasting = fixed
        raw, names = scheme == "raw", np.array(given, dtype=object)
        untested, able = (fixed, names[fixed & ~lasting]) if raw else (lasting, ())
        where = "where" if clusters is None else "within the clusters, where"
        parts = [f"No p for {', '.join(names[untested])}: constant, alone or added up, {where} the outcome is shuffled"]
        if raw and self._linear:
            what = f"tests {', '.join(able)}" if len(able) else "can't either"
            parts.append(f"scheme='freedman-lane' {what}")
        if lasting.any():
            parts.append(f"For {', '.join(names[lasting])} take the p of {plain}")
        if untested.any():
            told.append(". ".join(parts))
        return untested
