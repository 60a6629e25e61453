"""Linear and generalized linear mixed models, fitted by R's lme4 and lmerTest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import frames, intake
from pymer4.data.factors import Coding
from pymer4.data.families import Family, check_family
from pymer4.data.mixed_design import MixedDesign, NeedsR
from pymer4.data.outcomes import check_outcome, part_counts
from pymer4.data.recoding import codings, contrast_matrices, with_factors, with_groups, with_ranks, without_unused
from pymer4.errors import ConvergenceWarning, ModelWarning, summary_wanted
from pymer4.models import printing
from pymer4.models.base import Ddf
from pymer4.models.convergence import Convergence, next_step, told_with_way_out
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_formula import read_formula, require_text
from pymer4.models.lmer_groups import group_coefficients, shown
from pymer4.models.lmer_options import Engine, LmerOptions, Method
from pymer4.models.lmer_script import LmerScript
from pymer4.models.lmer_state import LEFT_OUT, LmerFit
from pymer4.rbridge import bridge
from pymer4.work import Seed

_BY_GROUP = ("ranef", "fixef", "ranef_var", "ranef_corr")


class Lmer(LmerScript):
    """A mixed model in R's formula language, fitted by lme4 in embedded R, or by an engine of its own where asked.

    Text and bool columns are factors, a pandas Categorical keeps its order, rows with a missing value are left out and
    come back as NaN in `fits`. Attributes that all models share are listed in `models.base.Model`.

    Args:
        formula: an lme4 formula, such as `"Reaction ~ Days + (Days | Subject)"`.
        data: one row an observation: a pandas, polars (or lazy) or pyarrow frame, a DuckDB relation, or a dict of
            columns; it is copied.
        family: error distribution: gaussian, binomial, poisson, gamma, inverse_gaussian or nbinom.
        link: its link, by default R's; a gaussian model with another link than identity is a generalized one.
        weights: prior weights: a column's name, or one number a row.
        offset: a known part of the linear predictor, given likewise.

    Attributes:
        coefs: population coefficients with limits, standard error, df, t and p.
        ranef: deviations of each group; a list where there are several grouping factors, in the order of `grps`.
        fixef: coefficients of each group, as R's `coef()`: all terms, in a list where `ranef` is one.
        ranef_var: variances of the random effects and the residual.
        ranef_corr: their correlations; None where there is none.
        grps: grouping factor to its number of levels.
        theta: size of a negative binomial model, else None.
        ranef_se: conditional standard deviations of `ranef`, shaped like it; computed when first asked for.
        convergence: how the optimizer ended.
        anova_results: what `anova()` last returned.
        marginal_estimates: the means or slopes that `post_hoc()`, `emmeans()` or `emtrends()` last returned.
        marginal_contrasts: their contrasts.
        factors_prev_: `factors` before `anova(force_orthogonal=True)` put polynomials in their place.

    Raises:
        FormulaError: the formula can't be read, names what is not a column, or has no random part.
        DataError: the data are no frame of a known kind, empty, or have duplicate columns.
        OptionError: unknown family, or a link that it does not have.
        RError: R makes no terms of the formula; its own words.
        RUnavailable: R, which reads the formula, can't be used here; the message says how to fix it.

    Examples:
        >>> from pymer4 import Lmer, load_dataset
        >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
        >>> _ = model.fit(summarize=False)
        >>> model.coefs["Estimate"].round(3).to_dict()
        {'(Intercept)': 251.405, 'Days': 10.467}
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        family: Family = "gaussian",
        *,
        link: str | None = None,
        weights: str | Sequence[float] | None = None,
        offset: str | Sequence[float] | None = None,
    ):
        self.link = check_family(family, link)
        require_text(formula)
        also = frames.texts(weights, offset)
        super().__init__(formula, data, family, lambda names: [*read_formula(formula, names, True).columns, *also])
        self._reading = read_formula(formula, list(self._frame.columns), beside=True)
        self._weights = intake.checked("weights", weights, self._frame, positive=True)
        self._offset = intake.checked("offset", offset, self._frame)

    def fit(
        self,
        conf_int: Method = "Wald",
        n_boot: int = 500,
        factors: Mapping[str, Any] | None = None,
        permute: int | bool | None = False,
        ordered: bool = False,
        verbose: bool | int = False,
        REML: bool = True,
        rank: bool = False,
        rank_group: str = "",
        rank_exclude_cols: str | Sequence[str] = (),
        no_warnings: bool = False,
        control: str | Mapping[str, Any] = "",
        old_optimizer: bool = False,
        *,
        conf_level: float = 0.95,
        ddf: Ddf = "Satterthwaite",
        nAGQ: int = 1,
        seed: Seed = None,
        n_jobs: int = 1,
        permute_within: str | None = None,
        engine: Engine = "R",
        **kwargs: Any,
    ) -> pd.DataFrame | None:
        """Fit the model, print a summary and return its rounded table.

        Args:
            conf_int: limits by the normal quantile (`"Wald"`), by profile likelihood (`"profile"`), or as
                percentiles of a parametric bootstrap (`"boot"`), from which then p comes too.
            n_boot: number of bootstrap draws.
            factors: column to its levels in order, the first the reference (`["A", "B", "C"]`); to one contrast
                (`{"A": 1, "B": -.5, "C": -.5}`), to several (`{"A": [1, 0], "B": [-1, 1], "C": [0, -1]}`), or to
                several with names (`{"a_b": {"A": 1, "B": -1, "C": 0}, ...}`). Contrasts are weights of cell means;
                those not written are solved for, orthogonal to the others. Levels are in the order in which the list
                or the (first) contrast names them, in marginal means too. Numeric columns become factors.
            permute: number of shuffles of the outcome within clusters, whose statistics then give p; None for none.
            ordered: give `factors` with a list of levels orthogonal polynomials (`.L`, `.Q`, `.C`, `^4`).
            verbose: say what is fitted, and show the progress of draws and profiles on standard error; 2 has the
                optimizer report too.
            REML: restricted maximum likelihood; False for maximum likelihood, which generalized models always use.
            rank: rank the outcome and the numeric fixed predictors that do not group rows before the fit; `data` keeps
                its values.
            rank_group: rank within the groups of this column.
            rank_exclude_cols: columns that are not ranked.
            no_warnings: keep warnings in `.warnings` without issuing them.
            control: arguments of R's `lmerControl` (or `glmerControl`), as R text or as a dict.
            old_optimizer: use bobyqa, the default of lme4 before 1.1-20; not together with `control`.
            conf_level: level of the limits.
            ddf: denominator df of a linear model: `"Satterthwaite"`, `"Kenward-Roger"` (needs REML) or `"asymptotic"`.
            nAGQ: quadrature points of a generalized model; 1 is Laplace's approximation, 0 a faster and coarser one.
            seed: makes bootstrap draws and permutations repeatable.
            n_jobs: worker processes for them; the numbers don't depend on it.
            permute_within: grouping factor to shuffle in; by default the first of `grps`.
            engine: what finds the optimum of a linear model: lme4 (`"R"`), or the deviance engine of this package
                (`"native"`), which does not walk over the rows in R; see the page on it. R's object is then made at
                that optimum when it is first needed.
            **kwargs: `summarize` (or `summary`) False prints nothing and returns None.

        Returns:
            The coefficient table rounded to 3 places, or None.

        Raises:
            DataError: data that identify no model; see the message.
            OptionError: an argument out of its range.
            RError: R could not fit the model, or none of the draws or shuffles; its own words, and how often each. As
                after any error, the model is as it was.
            RUnavailable: R can't be used here; the message says how to fix it.

        Examples:
            >>> from pymer4 import load_dataset
            >>> herds = load_dataset("cbpp")
            >>> model = Lmer("incidence / size ~ period + (1 | herd)", herds, family="binomial", weights="size")
            >>> model.fit(factors={"period": ["1", "2", "3", "4"]}, summarize=False)
            >>> model.coefs[["Estimate", "OR"]].round(2)
                         Estimate    OR
            (Intercept)     -1.40  0.25
            period2         -0.99  0.37
            period3         -1.13  0.32
            period4         -1.58  0.21
        """
        show = summary_wanted(kwargs, Lmer.fit)
        options = LmerOptions.of(
            conf_int=conf_int, n_boot=n_boot, factors=factors, permute=permute, ordered=ordered, verbose=verbose,
            REML=REML, rank=rank, rank_group=rank_group, rank_exclude_cols=rank_exclude_cols, no_warnings=no_warnings,
            control=control, old_optimizer=old_optimizer, conf_level=conf_level, ddf=ddf, nAGQ=nAGQ, seed=seed,
            n_jobs=n_jobs, permute_within=permute_within, engine=engine,
        )  # fmt: skip
        return self._fit_with(options, show)

    def _told(self, _: Any) -> str:
        limits = f"{100 * self._options.conf_level:g}% {self._options.conf_int} limits"
        return f"Fitting {self.formula} ({self.family}, {self.link}), {limits}"

    def _idle(self, _: Any) -> list[str]:
        return self._options.idle(Lmer.fit)

    def _sample(self, outcome: bool = True) -> tuple[intake.Intake, dict[str, Coding]]:
        """Return the data of a fit, screened and recoded, and the coding of each factor that was asked for.

        Without the `outcome` its columns are left out.
        """
        options, reading = self._options, self._reading if outcome else self._reading.without_outcome()
        if outcome and not set(reading.response.columns) <= set(self._frame.columns):
            read_formula(self.formula, list(self._frame.columns))  # which says what is not there
        data = intake.take_in(reading, self._frame, self._weights, self._offset)
        if not self.fitted:
            intake.check_groups(reading, data, options.set_by_user(), self._linear)
        intake.check_levels(reading, data)
        if outcome:
            check_outcome(self.family, reading.response, data.columns, data.complete, self._weights is not None)
        coded = codings(data.columns, data.complete, options.factors, options.ordered)
        data = without_unused(with_groups(with_factors(data, coded), reading))
        if options.rank:
            data = with_ranks(data, reading, self._frame, options.rank_group, options.rank_exclude_cols)
        return data, coded

    def _estimate_from(self, sampled: tuple[intake.Intake, dict[str, Coding]]) -> None:
        """Have an engine fit the model, and store what it answers."""
        data, self._codings = sampled
        self._kinds, self._ranks = data.kinds(), data.ranks
        self._keep_codings(self._codings)
        design, left = None, []
        try:
            if self._options.engine == "native":
                design = mixed_design(self, data, self._codings)
        except NeedsR as why:
            left = [f"Fitted by R: the native engine leaves it to judge the model ({why})"]
        if design is None:
            with told_with_way_out(self.family, self.link):
                self._estimate_in_r(data)
            self._warn(left)
        else:
            self._estimate_natively(design)
        found = self._fit
        self.AIC, self.BIC, self.logLike, self.theta = found.AIC, found.BIC, found.log_likelihood, found.theta
        self.coefs = self._coef_table(found.fixed)

    def _estimate_natively(self, design: MixedDesign) -> None:
        from pymer4.models.lmer_native import NativeFit  # scipy's sparse matrices are not for every import

        options = self._options
        self._native = native = NativeFit.of(design, options.REML)
        for name in ("_handle", *_BY_GROUP, tables.FITS, tables.RESIDUALS):
            del vars(self)[name]
        self._fit = found = native.statistics()
        moments = None
        if options.ddf == "Kenward-Roger":
            L = np.eye(len(design.names))
            rows = bridge.call("rows_mixed", model=self._handle, L=L, ddf=options.ddf).value
            moments = np.sqrt(np.diagonal(rows["V"])), rows["df"]
        fixed = native.fixed(options.conf_level, options.ddf == "Satterthwaite", moments)
        self._fit = replace(found, fixed=fixed)
        self._used, self.grps, self.convergence = design.used, native.groups(), native.convergence()
        self._keep_messages([*design.warnings, *self.convergence.messages], design.dropped)
        self._tell_taken()

    def _estimate_in_r(self, data: intake.Intake) -> None:
        options = self._options
        reply = bridge.call(
            "fit_mixed",
            formula=self._reading.written,
            data=data.columns,
            weights=data.weights,
            offset=data.offset,
            REML=options.REML,
            control=options.optimizer(),
            verbose=int(options.verbose > 1),
            family=None if self._linear else {"name": self.family, "link": self.link},
            nAGQ=options.nAGQ,
            contrasts=contrast_matrices(self._codings),
            ddf=options.ddf,
            level=options.conf_level,
        )
        value = reply.value
        self._fit = LmerFit(vcov=value["vcov"], fixed=value["fixed"], **value["statistics"])
        self._handle = value["model"]
        self._used = np.ones(data.n_rows, dtype=bool)
        if value["omitted"] is not None:
            self._used[value["omitted"] - 1] = False
        record: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in value["convergence"].items()
        }
        self.convergence = Convergence(**record)
        parts = part_counts(self.family, value["parts"], int(self._used.sum()))
        self._keep_messages([*parts, *reply.warnings, *reply.messages], value["aliased"])
        self._keep_fits(value["fits"], value["residuals"], self._used)
        self.grps = dict(zip(value["groups"]["names"], map(int, value["groups"]["sizes"]), strict=True))
        self.ranef_var = tables.variance_table(value["variances"])
        self.ranef_corr = tables.correlation_table(value["correlations"])
        self.ranef = shown(list(value["ranef"].values()))
        del vars(self)["fixef"]

    def _keep_messages(self, texts: Sequence[str], aliased: Sequence[str] | None) -> None:
        if aliased:
            texts = [*texts, f"{LEFT_OUT}{', '.join(aliased)}"]
        record = self.convergence
        certifies, certified = self._linear and not self._options.no_warnings, ""
        for text in texts:
            doubted = text in record.messages or "converge" in text
            seen = record.certificate if doubted and certifies and "singular" not in text else None
            hint = next_step(text, record, seen)
            if seen is not None and not certified:
                certified = str(seen)
                hint = f"{hint}\n{certified}"
            self._warn([text], ConvergenceWarning if doubted else ModelWarning, hint)

    @property
    def design_matrix(self) -> pd.DataFrame:
        """The fixed-effects design of the rows used, with the user's index; None before `fit()`."""
        if self._design is None and self.fitted:
            index = self._frame.index[self._used]
            if self._native is None:
                self._design = bridge.call("design_matrix", model=self._handle).value["X"].set_axis(index)
            else:
                design = self._native.design
                self._design = pd.DataFrame(design.X, index, list(design.names), copy=True)
        return self._design

    _LATER: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **LmerScript._LATER,
        "ranef": lambda self: shown(self._native.ranef()),
        "fixef": lambda self: shown(group_coefficients(self.coefs[tables.ESTIMATE], self.ranef)),
        "ranef_var": lambda self: tables.variance_table(self._native.variances()[0]),
        "ranef_corr": lambda self: tables.correlation_table(self._native.variances()[1]),
        tables.FITS: lambda self: self._native.fits(),
        tables.RESIDUALS: lambda self: self._native.residuals(self.fits),
    }

    def _summary(self) -> str:
        return printing.mixed_summary(self)
