"""Two-stage regressions: one regression a group, then the coefficients tested over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.design import Design
from pymer4.data.families import NATIVE_LINKS, Family, check_family
from pymer4.data.group_levels import Level, clusters_of, failures, grouping_columns, nest, ranks_within, upward
from pymer4.data.robust import group_codes, se_type
from pymer4.data.sample import RowValues, Sample, sample
from pymer4.data.terms import parse
from pymer4.errors import DataError, ModelWarning, OptionError, also_spelled, one_of, summary_wanted, truth
from pymer4.fit.correlations import Kind, correlations
from pymer4.fit.grouped import OK, GroupedFit, grouped_generalized, grouped_least_squares
from pymer4.infer.asymptotic import asymptotic
from pymer4.infer.boot import from_draws
from pymer4.infer.perm import from_null
from pymer4.infer.second_level import PermOn, SecondLevel, bootstrap_means, flipped_statistics, tested
from pymer4.models import summaries
from pymer4.models.lm2_plots import Lm2Plots
from pymer4.models.lm2_predict import Lm2Predictions
from pymer4.models.lm_state import Lm2State
from pymer4.models.native import Method, NativeModel, cluster_of
from pymer4.work import Seed, progress, seed_stream, told_rows


class Lm2(Lm2State, Lm2Predictions, Lm2Plots, NativeModel):
    """One regression for each group, and one-sample tests of its coefficients over groups.

    This is the summary-statistics approach to data with repeated measures: intercept and slopes differ freely between
    groups, without the shrinkage of a mixed model. Formulas are patsy's, as in `Lm`. A group whose rows do not identify
    the coefficients (too few, or a predictor or factor level that does not vary there) has none, with a warning that
    names it.

    Args:
        formula: a patsy formula, such as `"y ~ x * C(g)"`, or a `patsy.ModelDesc`.
        data: one row an observation; it is copied.
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
        sig_type: `"parametric"`, `"bootstrapped"` or `"permutation (n)"`.
        ci_type: `"standard"` or `"boot (n)"`.
        factors: what `fit(factors=)` was given.
        contrast_codes: column to its coding matrix, shape (levels, levels - 1).
        ranked_data: whether ranks were fitted.
        model_obj: None; no R is involved.

    Raises:
        FormulaError: the formula can't be read, names what is not there, has no outcome, or has a random part.
        DataError: the data are no frame, empty, or have duplicate columns.
        OptionError: unknown family, link or group.

    Examples:
        >>> import pandas as pd
        >>> from pymer4.models import Lm2
        >>> x = [0.0, 1.0, 2.0] * 3
        >>> y = [1.0, 2.0, 3.5, 0.0, 2.0, 4.5, 2.0, 2.5, 3.0]
        >>> model = Lm2("y ~ x", pd.DataFrame({"y": y, "x": x, "g": list("aaabbbccc")}), group="g")
        >>> _ = model.fit(summarize=False)
        >>> model.coefs["Estimate"].round(3).to_dict()
        {'Intercept': 0.944, 'x': 1.333}
    """

    _likelihood: ClassVar[None] = None
    """No comparison of likelihoods takes this class."""

    def __init__(
        self,
        formula: Any,
        data: pd.DataFrame,
        group: str | Sequence[str],
        family: Family = "gaussian",
        *,
        link: str | None = None,
    ):
        self.link = check_family(family, link, NATIVE_LINKS)
        super().__init__(formula, data, family)
        self._terms, self._scope = parse(formula, self._frame.columns, self)
        self.formula = self._terms.text
        self._levels = grouping_columns(group, self._frame)
        self.group = group if isinstance(group, str) else list(group)

    def __repr__(self) -> str:
        """Return formula, groups, family and state."""
        state = "fitted" if self.fitted else "not fitted"
        return (
            f"{type(self).__name__}({self.formula!r}, group={self.group!r}, family={self.family!r}): "
            f"{len(self._frame)} rows, {state}"
        )

    def _forget(self) -> None:
        super()._forget()
        self.fixef: pd.DataFrame | list[pd.DataFrame] | None = None
        self.grps: dict[str, int] | None = None
        self.rsquared_per_group: pd.Series | None = None
        self.rsquared_adj_per_group: pd.Series | None = None
        self.iscorrs: bool | str = False
        self._design: Design | None = None

    @also_spelled(ztrans_partial_corrs="ztrans_corrs")
    def fit(
        self,
        robust: bool | str = False,
        conf_int: Method = "standard",
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
            perm_on: compare flips on `"tstat"`, with the standard errors of `robust`, or on `"coef"`, the mean.
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
            >>> data = pd.DataFrame({"g": list("aaabbbccc"), "x": [1, 2, 3] * 3, "y": [1, 3, 3, 2, 2, 5, 0, 4, 3]})
            >>> Lm2("y ~ x", data, group="g").fit(robust="hc3", summarize=False)
        """
        settings = {name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")}
        show = summary_wanted(kwargs, Lm2.fit)
        settings = self._checked(settings)
        design, found, clusters = self._sample(settings)
        levels = nest([self._frame[name][found.used].reset_index(drop=True) for name in self._levels])
        regressions = self._regressions(found, levels[-1])
        values = upward(self._tested(found, regressions, settings), levels)
        self._require_groups(values[0], levels, regressions)
        stage = SecondLevel(
            values[0],
            settings["kind"],
            clusters_of(levels[0], clusters, found.used, settings["cluster"]),
            settings["n_lags"],
        )
        draft = self._draft()
        draft._settings, draft._design = settings, design
        draft._keep_regressions(found, levels, regressions, values)
        draft._warn_of_idle(
            Lm2.fit,
            settings,
            perm_on=(bool(settings["permute"]), "permute="),
            ztrans_corrs=(bool(settings["corrs"]), "to_corrs="),
        )
        draft._keep_means(stage)
        draft.fitted = True
        self._become(draft)
        return self.summary() if show else None

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a fit, checked and in plain form."""
        self._checked_arguments(given, "hc0")
        one_of("perm_on", given["perm_on"], get_args(PermOn))
        one_of("to_corrs", given["to_corrs"], (False, True, *get_args(Kind)))
        given["ztrans_corrs"] = truth("ztrans_corrs", given["ztrans_corrs"])
        given["corrs"] = "semi" if given["to_corrs"] is True else given["to_corrs"]
        if given["corrs"] and not self._linear:
            raise OptionError(
                f"to_corrs={given['to_corrs']!r} is for linear models; this one has family {self.family!r} and link "
                f"{self.link!r}."
            )
        if given["verbose"]:
            groups = " within ".join(self._levels[::-1])
            print(f"Fitting {self.formula} ({self.family}, {self.link}) to each group of {groups}")
        return given

    def _sample(self, given: Mapping[str, Any]) -> tuple[Design, Sample, np.ndarray | None]:
        """Return the design, the rows used, and the cluster of each row of the data."""
        missing = self._frame[self._levels].isna().any(axis=1).to_numpy()
        clusters = None
        if cluster_of(given) is not None:
            clusters = group_codes("cluster", given["cluster"], self._frame)[0]
            missing = missing | (clusters < 0)
        how = {"factors": given["factors"], "ordered": given["ordered"], "missing": missing if missing.any() else None}
        design = Design(self._terms, self._frame, self._scope, **how)
        if given["rank"]:
            ranked = ranks_within(self._frame, design.columns, self._levels, missing)
            design = Design(self._terms, ranked, self._scope, **how)
        rows = RowValues(None, None, None, (), None, missing)
        return design, sample(design, rows, self.family, self.link), clusters

    def _regressions(self, found: Sample, level: Level) -> GroupedFit:
        if self._linear:
            return grouped_least_squares(found.X, found.y, level.codes, len(level), has_intercept=found.has_intercept)
        how = {"weights": found.weights, "has_intercept": found.has_intercept}
        return grouped_generalized(found.X, found.y, level.codes, len(level), self.family, self.link, **how)

    def _tested(self, found: Sample, regressions: GroupedFit, given: Mapping[str, Any]) -> np.ndarray:
        """Return what is tested of each group, coefficients or correlations, shape (groups, terms)."""
        if not given["corrs"]:
            return np.where(regressions.separated[:, None], np.nan, regressions.b)
        fit = regressions
        values = correlations(given["corrs"], fit.b, fit.unscaled, fit.rss, fit.tss, given["ztrans_corrs"])
        values[regressions.without_correlations] = np.nan
        return values[:, np.array(found.names, dtype=object) != "Intercept"]

    def _require_groups(self, values: np.ndarray, levels: list[Level], regressions: GroupedFit) -> None:
        usable = int((~np.isnan(values).all(axis=1)).sum())
        if usable < 2:
            why = "".join(f" {text}." for text in failures(regressions, levels[-1]))
            raise DataError(
                f"Coefficients are tested over the groups of {self._levels[0]!r}, and of its {len(levels[0])} group(s) "
                f"{usable} have some: two are needed at least, better ten.{why} With a single group fit an Lm."
            )

    def _keep_regressions(
        self, found: Sample, levels: list[Level], regressions: GroupedFit, values: list[np.ndarray]
    ) -> None:
        """Store the first stage."""
        given, fit = self._settings, regressions
        self.factors, self.ranked_data, self.iscorrs = given["factors"], given["rank"], given["corrs"]
        self.contrast_codes = {name: how.matrix for name, how in self._design.codings.items()} or None
        names = [name for name in found.names if not given["corrs"] or name != "Intercept"]
        self._facts = {
            "names": names,
            "design_names": found.names,
            "kept": found.kept,
            "used": found.used,
            "b": pd.DataFrame(fit.b, index=levels[-1].index, columns=pd.Index(found.names, dtype=object)),
        }
        frames = [
            pd.DataFrame(rows, index=level.index, columns=pd.Index(names, dtype=object))
            for rows, level in zip(values, levels, strict=True)
        ]
        self.fixef = frames if len(frames) > 1 else frames[0]
        self.grps = {name: len(level) for name, level in zip(self._levels, levels, strict=True)}
        self._keep_quality(found, levels[-1], fit)
        notes = [*found.notes, *failures(fit, levels[-1])]
        if given["corrs"] and fit.without_correlations.any():
            some = levels[-1].named(fit.without_correlations)
            notes.append(
                f"No correlation in group(s) {some}: no residual df, an outcome that does not vary, or a perfect fit"
            )
        self._warn(notes, ModelWarning, False)
        self._keep_fits(fit.fitted, fit.residuals, found.used, False)

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

    def _keep_means(self, stage: SecondLevel) -> None:
        """Store the second stage."""
        given = self._settings
        self.se_type, self.ci_type, self.sig_type = se_type(given["kind"]), "standard", "parametric"
        means, se, df = tested(stage)
        found = asymptotic(means, se, df, given["level"])
        lower, upper, p = found.lower, found.upper, found.p
        for_boot, for_flips = (int(seed) for seed in seed_stream(given["seed"], 2))
        if given["conf_int"] == "boot":
            with progress(
                "bootstrap draws, by coefficient", given["n_boot"] * stage.testable, given["verbose"]
            ) as advance:
                draws = bootstrap_means(stage, given["n_boot"], for_boot, given["n_jobs"], told_rows(advance))
            drawn = from_draws(means, draws, given["level"])
            lower, upper, p = drawn.lower, drawn.upper, drawn.p
            self.ci_type, self.sig_type = f"boot ({given['n_boot']})", "bootstrapped"
        if given["permute"]:
            asked = (stage, given["perm_on"], given["permute"], for_flips, given["n_jobs"])
            with progress("sign flips", given["permute"] * stage.testable, given["verbose"]) as advance:
                null = flipped_statistics(*asked, told_rows(advance))
            p = from_null(means if given["perm_on"] == "coef" else found.statistic, null)
            self.sig_type = f"permutation ({given['permute']})"
        columns = {"estimate": means, "lower": lower, "upper": upper, "se": se, "df": df}
        columns |= {"statistic": found.statistic, "p": p}
        table = pd.DataFrame(columns, index=pd.Index(self._facts["names"], dtype=object))
        self.coefs = tables.mixed_coefs(table, given["level"], n_permuted=given["permute"])

    def summary(self) -> pd.DataFrame:
        """Print the fit and return the coefficient table, rounded to 3 places.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("summary()")
        settings, ranked = self._settings, self._ranked(self._design.variables)
        print(summaries.two_stage_summary(self, settings["level"], settings["ztrans_corrs"], ranked))
        return tables.rounded(self.coefs)
