"""Tests of the terms of a fitted `Lmer`, limits of its parameters, and the draws that limits and p can come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.factors import present_levels
from pymer4.errors import OptionError, count, issue_all, one_of, shown, tells_keywords, verbosity, workers
from pymer4.infer.compare import Likelihood
from pymer4.infer.draws import from_null, inverted_p, percentiles
from pymer4.models import answers
from pymer4.models.base import Ddf
from pymer4.models.lmer_folds import LmerFolds
from pymer4.models.lmer_options import Method, check_kenward_roger, check_profile
from pymer4.rbridge import bridge
from pymer4.work import Seed, seed_stream

Type = Literal[1, 2, 3]


class LmerInference(LmerFolds):
    """The methods of `Lmer` that test and bound what was estimated."""

    @tells_keywords()
    def anova(self, force_orthogonal: bool = False, *, type: Type = 3, ddf: Ddf | None = None) -> pd.DataFrame:
        """Test each term of the fixed part as a whole.

        A linear model gets the F tests of lmerTest, a generalized one Wald's chi-square tests. Type 3 compares
        means over all cells with equal weights and does not depend on the coding of factors; a factor is
        tested where the covariates that it interacts with are 0 (Goodnight 1976; SAS). Type 1 adds one term after
        the other, in the order of the formula. Type 2 adds each term last, leaving out those that contain it; for a
        generalized model a term of factors is contained in their interactions with covariates too (Fox & Weisberg
        2019), while lmerTest tests it at 0 of the covariate.

        Args:
            force_orthogonal: refit first, with orthogonal polynomials for the factors of the fixed part and all else
                as in the last `fit()`. `factors` then names them, `factors_prev_` keeps what it was. Type 3 gives
                the same numbers without it.
            type: which hypotheses are tested: 1, 2 or 3.
            ddf: denominator df of a linear model, by default the fit's: `"Satterthwaite"`, `"Kenward-Roger"` (needs
                REML) or `"asymptotic"` (infinite). A generalized model has none.

        Returns:
            The table, also kept in `anova_results`, one row a model term, the intercept left out. Linear: SS, MS,
            NumDF, DenomDF, F-stat, P-val, Sig. Generalized: Chisq, Df, P-val, Sig. A term that can't be told from
            others, since they add up to it, has NaN, and a warning names it; the tests of the rest are those of a fit
            without the aliased columns. `attrs` holds `type` and `ddf`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an unknown type or ddf, or a ddf that the model has not.
            RError: R could not compute the tests; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> model.anova()[["NumDF", "DenomDF", "F-stat"]].round(2)
                  NumDF  DenomDF  F-stat
            Days    1.0     17.0   45.85
        """
        self._require_fit("anova()")
        if not isinstance(force_orthogonal, bool):
            said = f"force_orthogonal={shown(force_orthogonal)} has to be True or False"
            raise OptionError(f"{said}; which hypotheses are tested is type=2.")
        one_of("type", type, get_args(Type))
        ddf = self._checked_ddf(ddf)
        if force_orthogonal:
            self._fit_orthogonal()
        reply = bridge.call("anova_mixed", model=self._handle, type=type, ddf=ddf)
        issue_all((*reply.warnings, *reply.messages))
        found = tables.term_tests(reply.value["table"], self._linear)
        found.attrs |= {"type": type, "ddf": ddf}
        self.anova_results = answers.terms(found, self._linear)
        return self.anova_results

    def _fit_orthogonal(self) -> None:
        """Fit again with orthogonal polynomials for the factors of the fixed part, unless they are there already."""
        data = intake.take_in(self._reading, self._frame, self._weights, self._offset)
        factors = {}
        for name in self._predictors(use_rfx=False):
            column = data.columns[name]
            if name in self._codings:
                factors[name] = list(self._codings[name].levels)
            elif column.kind in ("factor", "logical"):
                factors[name] = list(present_levels(replace(column, values=column.values[data.complete])))
        if not factors or (self.factors == factors and self._options.ordered):
            return
        previous = self.factors
        self.fit(**self._options.arguments(factors=factors, ordered=True), summarize=False)
        self.factors_prev_ = previous

    def _checked_ddf(self, ddf: Ddf | None) -> Ddf:
        """Return the kind of denominator df asked for, by default the fit's."""
        if ddf is not None:
            one_of("ddf", ddf, get_args(Ddf))
        if not self._linear:
            if ddf not in (None, "asymptotic"):
                raise OptionError(
                    f"ddf={ddf!r} is for linear models. The tests of a {self.family} ({self.link}) model are "
                    "asymptotic: leave ddf out."
                )
            return "asymptotic"
        ddf = self._options.ddf if ddf is None else ddf
        if ddf == "Kenward-Roger":
            check_kenward_roger(self._options.REML, self._weights is not None)
        return ddf

    def ranova(self) -> pd.DataFrame:
        """Test each random-effects term by a likelihood-ratio test, as lmerTest's `ranova`.

        Each row is the model with one effect less: `Days in (Days | Subject)` has `(1 | Subject)`. The fit's
        likelihood is used, restricted or not. A variance can't be negative, so p is too large, about twice for a
        single variance (Self & Liang 1987, JASA 82).

        Returns:
            One row a term left out, `<none>` first: npar, log-likelihood, AIC, Chisq, Df, P-val, Sig.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: the model is a generalized one.
            RError: R could not fit a smaller model; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> model.ranova()[["npar", "Chisq", "Df"]].round(2)
                                      npar  Chisq   Df
            <none>                       6    NaN  NaN
            Days in (Days | Subject)     4  42.84  2.0
        """
        self._require_fit("ranova()")
        if not self._linear:
            raise OptionError(
                "ranova() is for linear models. Fit the model without the random effect, and compare() the two."
            )
        reply = bridge.call("ranova_mixed", model=self._handle)
        issue_all((*reply.warnings, *reply.messages))
        return answers.random_terms(tables.random_tests(reply.value["table"]), self._options.REML)

    def _likelihood(self, refit: bool) -> Likelihood:
        """Return what a comparison needs of this model, refitted by ML where asked for; the model stays as it is."""
        reply = bridge.call("likelihood_mixed", model=self._handle, refit=bool(refit))
        issue_all((*reply.warnings, *reply.messages))
        found = reply.value | {"fixed": tuple(reply.value["fixed"])}
        # Rows without trials have no part in a likelihood, and an Lm leaves them out.
        counting, used = found["weights"] > 0, self._used.copy()
        used[used] = counting
        return Likelihood(
            **found | {name: found[name][counting] for name in ("outcome", "weights", "offset")},
            formula=self.formula,
            family=self.family,
            link=self.link,
            is_mixed=True,
            design=lambda: self.design_matrix.to_numpy()[counting],
            used=used,
            labels=self._frame.index,
        )

    @tells_keywords()
    def confint(
        self,
        method: Method = "Wald",
        *,
        conf_level: float | None = None,
        n_boot: int = 500,
        seed: Seed = None,
        n_jobs: int = 1,
        verbose: bool | int = False,
    ) -> pd.DataFrame:
        """Return confidence limits of all parameters: random-effects sd and correlations, sigma, coefficients.

        Args:
            method: `"Wald"` (NaN for the variances, as in R), `"profile"`, or `"boot"` (percentiles). lme4 profiles no
                generalized model whose family has a scale, and none fitted with `nAGQ=0`. Limits of a linear model with
                weights, or whose profile fails in lme4, are found on the likelihood itself.
            conf_level: level of the limits, by default that of the fit.
            n_boot: bootstrap draws.
            seed: makes them repeatable.
            n_jobs: worker processes for them.
            verbose: show the progress of draws or profiles on standard error.

        Returns:
            One row a parameter, columns such as `2.5 %` and `97.5 %`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
            RError: R could not profile the model, or none of the draws could be fitted; its own words, and how often.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (1 | Subject)", load_dataset("sleepstudy"))
            >>> model.fit(summarize=False)
            >>> model.confint("profile").round(2)
                                    2.5 %  97.5 %
            sd_(Intercept)|Subject  26.01   52.94
            sigma                   27.81   34.59
            (Intercept)            231.99  270.82
            Days                     8.89   12.05
        """
        self._require_fit("confint()")
        n_jobs, n_boot, shown = workers(n_jobs), count("n_boot", n_boot), verbosity(verbose)
        one_of("method", method, get_args(Method))
        check_profile("method", method, self.family, self.link)
        level = self._level(conf_level)
        if method == "boot":
            drawn = self._parameter_draws(seed_stream(seed, n_boot), n_jobs, shown)
            issue_all(drawn["told"])
            table = tables.confint_table(*percentiles(drawn["values"], level), drawn["names"], level)
            table.attrs["engine"] = drawn["engine"]
            return table
        if method == "profile":
            found, said = self._profile_limits(level, shown)
            issue_all(said)
        else:
            found = bridge.call("confint_mixed", model=self._handle, interval={"method": method, "level": level}).value
        return tables.confint_table(found["lower"], found["upper"], found["names"], level)

    def _infer_from(self, _: Any) -> None:
        """Put the limits and p that the fit asked for into the coefficient table."""
        options = self._options
        fixed: pd.DataFrame = self._fit.fixed
        if options.conf_int == "Wald" and not options.permute:
            return
        how = options.n_jobs, options.verbose
        seeds = seed_stream(options.seed, options.n_boot + options.permute)
        found: dict[str, Any] = {}
        attrs: dict[str, Any] = {}
        if options.conf_int == "profile":
            limits, said = self._profile_limits(options.conf_level, options.verbose, random=False)
            self._warn(said)
            found = {end: np.asarray(limits[end])[len(limits[end]) - len(fixed) :] for end in ("lower", "upper")}
        elif options.conf_int == "boot":
            drawn = self._parameter_draws(seeds[: options.n_boot], *how)
            self._warn(drawn["told"])
            values = drawn["values"][:, drawn["values"].shape[1] - len(fixed) :]
            lower, upper = percentiles(values, options.conf_level)
            found = {"lower": lower, "upper": upper, "p": inverted_p(values)}
            attrs["engine"] = drawn["engine"]
        if options.permute:
            found["p"], attrs["engine"] = self._permuted_p(fixed, seeds[options.n_boot :], how)
        self.coefs = self._coef_table(fixed.assign(**found))
        self.coefs.attrs |= attrs

    def _permuted_p(self, fixed: pd.DataFrame, seeds: np.ndarray, how: tuple[int, int]) -> tuple[np.ndarray, str]:
        """Return p from shuffles, shape (p,), and what fitted them; NaN, and a warning, for what they can't test."""
        drawn = self._shuffles(np.eye(len(fixed)), self._options.permute_within, seeds, *how)
        told, p = drawn["told"], from_null(drawn["observed"], drawn["values"])
        p = np.where(drawn["untested"], np.nan, p)
        if np.isnan(p).any():
            told.append(
                f"No p for {', '.join(fixed.index[np.isnan(p)])}: constant within the clusters, where the outcome is "
                "shuffled. To test such a term fit the model without it, and compare() the two."
            )
        self._warn(told)
        return p, drawn["engine"]
