"""Two-stage regressions: one regression a group, then the coefficients tested over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4.data.design import Design
from pymer4.data.families import Family
from pymer4.data.group_levels import Level, clusters_of, failures, grouping_columns, nest, ranks_within, upward
from pymer4.data.intake import RowValues, row_values
from pymer4.data.sample import Sample
from pymer4.errors import DataError, also_spelled, summary_wanted
from pymer4.fit.correlations import Kind, correlations
from pymer4.fit.grouped import OK, GroupedFit, grouped_generalized, grouped_least_squares
from pymer4.infer import second_level
from pymer4.infer.asymptotic import asymptotic
from pymer4.infer.second_level import PermOn, SecondLevel
from pymer4.models import printing, reporting
from pymer4.models.native import Lm2Fit
from pymer4.models.native_script import Lm2Script
from pymer4.models.options import Lm2Options, NativeMethod
from pymer4.work import Seed


class Lm2(Lm2Script):
    """One regression for each group, and one-sample tests of its coefficients over groups.

    This is the summary-statistics approach to data with repeated measures: intercept and slopes differ freely between
    groups, without the shrinkage of a mixed model. Formulas are patsy's, as in `Lm`. A group whose rows do not identify
    the coefficients (too few, or a predictor or factor level that does not vary there) has none, with a warning that
    names it. Attributes that all models share are listed in `models.base.Model`.

    Args:
        formula: a patsy formula, such as `"y ~ x * C(g)"`, or a `patsy.ModelDesc` that text describes.
        data: one row an observation: a pandas, polars (or lazy) or pyarrow frame, a DuckDB relation, or a dict of
            columns; it is copied.
        group: the column that groups are made of. Several are levels, the outermost first: regressions are run in each
            group of the last, their coefficients are averaged upwards, and tested over the groups of the first.
        family: error distribution of the regressions.
        link: its link, by default R's.

    Attributes:
        coefs: means of the coefficients over groups, with limits, standard error, df, t and p.
        fixef: coefficients of each group, in order of first appearance; a list, outermost first, for several levels.
        grps: column to its number of groups.
        rsquared: share of the variance of all rows that the regressions explain together.
        rsquared_adj: the same, adjusted for all their coefficients.
        rsquared_per_group: R² of each regression, a Series by group; None for generalized models.
        rsquared_adj_per_group: adjusted R², likewise.
        logLike: sum of the log-likelihoods of the regressions; AIC and BIC count all their parameters.
        iscorrs: whether `coefs` are correlations, and which: False, `"semi"` or `"partial"`.
        se_type: `"non-robust"` or `"robust (hc0)"`.

    Raises:
        FormulaError: the formula can't be read, names what is not there, has no outcome, or has a random part.
        DataError: the data are no frame of a known kind, empty, or have duplicate columns.
        OptionError: unknown family, link or group.

    Examples:
        >>> from pymer4 import Lm2, load_dataset
        >>> model = Lm2("DV ~ IV1", load_dataset("sample_data"), group="Group")
        >>> _ = model.fit(summarize=False)
        >>> model.coefs["Estimate"].round(2).to_dict()
        {'Intercept': 29.21, 'IV1': 1.06}
    """

    _likelihood: ClassVar[None] = None
    """No comparison of likelihoods takes this class."""

    def __init__(
        self,
        formula: Any,
        data: Any,
        group: str | Sequence[str],
        family: Family = "gaussian",
        *,
        link: str | None = None,
    ):
        super().__init__(formula, data, family, link, group)
        self._levels = grouping_columns(group, self._frame)
        self.group = group if isinstance(group, str) else list(group)

    def _grouped_by(self) -> str:
        return f", group={self.group!r}"

    def _forget(self) -> None:
        super()._forget()
        self.fixef = self.grps = self.rsquared_per_group = self.rsquared_adj_per_group = None
        self.iscorrs = False

    @also_spelled(ztrans_partial_corrs="ztrans_corrs")
    def fit(
        self,
        robust: bool | str = False,
        conf_int: NativeMethod = "standard",
        permute: int | bool | None = False,
        perm_on: PermOn = "tstat",
        rank: bool = False,
        verbose: bool | int = False,
        n_boot: int = 500,
        n_jobs: int = 1,
        n_lags: int = 1,
        to_corrs: bool | Kind = False,
        ztrans_corrs: bool = True,
        cluster: str | None = None,
        *,
        factors: Mapping[str, Any] | None = None,
        ordered: bool = False,
        conf_level: float = 0.95,
        seed: Seed = None,
        **kwargs: Any,
    ) -> pd.DataFrame | None:
        """Fit all regressions, print a summary and return its rounded table.

        Args:
            robust: standard errors of the second stage: `"hc0"` to `"hc3"`, `"hac"` (in the order of the groups),
                `"cluster"`; True is `"hc0"`.
            conf_int: limits by t, or with `"boot"` as percentiles of means of groups drawn with replacement, from which
                p then comes too. With `robust="cluster"` whole clusters are drawn.
            permute: number of random sign flips of the groups' coefficients, which then give p; False for none. With
                `robust="cluster"` the groups of a cluster are flipped together.
            perm_on: compare flips on `"tstat"` (or `"t-stat"`), with the standard errors of `robust`, or on `"coef"`,
                the mean.
            rank: put ranks within each group in the place of the outcome and of all numeric columns.
            verbose: say what is fitted, and show the progress of draws on standard error.
            n_boot: number of bootstrap draws.
            n_jobs: worker processes for draws and flips; the numbers don't depend on it.
            n_lags: number of lags of `"hac"`.
            to_corrs: test correlations in the place of coefficients: `"semi"` (or True) takes the other predictors out
                of each predictor, `"partial"` out of the outcome too. The intercept is left out.
            ztrans_corrs: test their Fisher z, arctanh.
            cluster: column whose groups the groups belong to, for `robust="cluster"`; else ignored, with a warning.
            factors: column to levels in order, or to contrasts, as in `Lmer.fit`.
            ordered: give `factors` with a list of levels orthogonal polynomials (`.L`, `.Q`, `.C`, `^4`).
            conf_level: level of the limits.
            seed: makes draws and flips repeatable.
            **kwargs: `summarize` (or `summary`) False prints nothing and returns None.

        Returns:
            The coefficient table rounded to 3 places, or None.

        Raises:
            DataError: data that no model can be fitted to, among them a single group.
            FormulaError: patsy can't evaluate the formula; its words.
            OptionError: an argument out of its range.

        Examples:
            >>> from pymer4 import Lm2, load_dataset
            >>> Lm2("DV ~ IV1", load_dataset("sample_data"), group="Group").fit(robust="hc3", summarize=False)
        """
        show = summary_wanted(kwargs, Lm2.fit)
        options = Lm2Options.of(
            robust=robust, conf_int=conf_int, permute=permute, perm_on=perm_on, rank=rank, verbose=verbose,
            n_boot=n_boot, n_jobs=n_jobs, n_lags=n_lags, to_corrs=to_corrs, ztrans_corrs=ztrans_corrs, cluster=cluster,
            factors=factors, ordered=ordered, conf_level=conf_level, seed=seed,
        )  # fmt: skip
        return self._fit_with(options, show)

    def _told(self, _: Any) -> str:
        groups = " within ".join(self._levels[::-1])
        return f"Fitting {self.formula} ({self.family}, {self.link}) to each group of {groups}"

    def _idle(self, _: Any) -> list[str]:
        options = self._options
        return options.idle(
            Lm2.fit, perm_on=(options.permute > 0, "permute="), ztrans_corrs=(bool(options.corrs), "to_corrs=")
        )

    def _row_values(self) -> RowValues:
        rows = row_values(self._frame, None, None, self._options.clustered_by, self._linear)
        return replace(rows, missing=rows.missing | self._frame[self._levels].isna().any(axis=1).to_numpy())

    def _learn(self, missing: np.ndarray | None) -> Design:
        design = self._design_of(self._frame, missing)
        if not self._options.rank:
            return design
        gone = np.zeros(len(self._frame), dtype=bool) if missing is None else missing
        return self._design_of(ranks_within(self._frame, design.columns, self._levels, gone), missing)

    def _estimate_from(self, found: Sample) -> None:
        levels = nest([self._frame[name][found.used].reset_index(drop=True) for name in self._levels])
        regressions = self._regressions(found, levels[-1])
        values = upward(self._coefficients(found, regressions), levels)
        self._require_groups(values[0], levels, regressions)
        options = self._options
        of_groups = clusters_of(levels[0], found.clusters, options.cluster)
        self._keep_regressions(found, levels, regressions, values)
        stage = SecondLevel(values[0], options.kind, of_groups, options.n_lags)
        means, se, df = second_level.tested(stage)
        self._fit = Lm2Fit(
            names=found.names,
            kept=found.kept,
            used=found.used,
            terms=self._terms_tested(found),
            b=means,
            vcov=second_level.covariance_of_means(stage, se),
            df_resid=len(levels[0]) - 1,
            df=df,
            tested=asymptotic(means, se, df, options.conf_level),
            of_groups=pd.DataFrame(regressions.b, levels[-1].index, pd.Index(found.names, dtype=object)),
            stage=stage,
        )

    def _terms_tested(self, found: Sample) -> tuple[str, ...]:
        return tuple(name for name in found.names if not self._options.corrs or name != "Intercept")

    def _regressions(self, found: Sample, level: Level) -> GroupedFit:
        if self._linear:
            return grouped_least_squares(found.X, found.y, level.codes, len(level), has_intercept=found.has_intercept)
        law = (self.family, self.link, found.weights, found.has_intercept)
        return grouped_generalized(found.X, found.y, level.codes, len(level), *law)

    def _coefficients(self, found: Sample, fit: GroupedFit) -> np.ndarray:
        """Return what is tested of each group, coefficients or correlations, shape (groups, terms)."""
        options = self._options
        if not options.corrs:
            return np.where(fit.separated[:, None], np.nan, fit.b)
        values = correlations(options.corrs, fit.b, fit.unscaled, fit.rss, fit.tss, options.ztrans_corrs)
        values[fit.without_correlations] = np.nan
        return values[:, np.array(found.names, dtype=object) != "Intercept"]

    def _require_groups(self, values: np.ndarray, levels: list[Level], regressions: GroupedFit) -> None:
        usable = int((~np.isnan(values).all(axis=1)).sum())
        if usable < 2:
            why = "".join(f" {text}." for text in failures(regressions, levels[-1]))
            raise DataError(
                f"Coefficients are tested over the groups of {self._levels[0]!r}, and of its {len(levels[0])} group(s) "
                f"{usable} have some: two are needed at least, better ten.{why} With a single group fit an Lm."
            )

    def _keep_regressions(self, found: Sample, levels: list[Level], fit: GroupedFit, values: list[np.ndarray]) -> None:
        """Store the first stage."""
        self.iscorrs = self._options.corrs
        names = pd.Index(self._terms_tested(found), dtype=object)
        frames = [pd.DataFrame(rows, level.index, names) for rows, level in zip(values, levels, strict=True)]
        self.fixef = frames if len(frames) > 1 else frames[0]
        self.grps = {name: len(level) for name, level in zip(self._levels, levels, strict=True)}
        self._keep_quality(found, levels[-1], fit)
        notes = failures(fit, levels[-1])
        if self.iscorrs and fit.without_correlations.any():
            some = levels[-1].named(fit.without_correlations)
            notes.append(
                f"No correlation in group(s) {some}: no residual df, an outcome that does not vary, or a perfect fit"
            )
        self._keep(found, fit, *notes)

    def _keep_quality(self, found: Sample, level: Level, fit: GroupedFit) -> None:
        """Store how well the regressions fit, together and each."""
        sound = fit.reason == OK
        rows = sound[level.codes]
        n, n_parameters = int(rows.sum()), float(fit.n_parameters[sound].sum())
        self.logLike = float(fit.log_likelihood[sound].sum())
        self.AIC = 2 * n_parameters - 2 * self.logLike
        self.BIC = float(np.log(n)) * n_parameters - 2 * self.logLike
        self.rsquared = self.rsquared_adj = np.nan
        if not self._linear:
            return
        y, n_coefficients = found.y[rows], sound.sum() * found.X.shape[1]
        center = y.mean() if found.has_intercept else 0.0
        left = float((fit.residuals[rows] ** 2).sum() / ((y - center) ** 2).sum())
        self.rsquared = 1 - left
        if n > n_coefficients:
            self.rsquared_adj = 1 - left * (n - found.has_intercept) / (n - n_coefficients)
        self.rsquared_per_group = pd.Series(fit.rsquared, index=level.index)
        self.rsquared_adj_per_group = pd.Series(fit.rsquared_adj, index=level.index)

    def _summary(self) -> str:
        return printing.two_stage_summary(self)

    def _story(self) -> reporting.Story:
        return reporting.two_stage(self)
