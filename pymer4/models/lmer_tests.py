"""Tests of the terms of a fitted `Lmer`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.factors import present_levels
from pymer4.errors import OptionError, issue_all, one_of, shown
from pymer4.infer.compare import Likelihood
from pymer4.models.base import Ddf
from pymer4.models.lmer_options import check_kenward_roger
from pymer4.models.lmer_predict import LmerPredictions
from pymer4.rbridge import bridge

Type = Literal[1, 2, 3]


class LmerTests(LmerPredictions):
    """The testing methods of `Lmer`."""

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
        self.anova_results = tables.term_tests(reply.value["table"], self._linear)
        self.anova_results.attrs |= {"type": type, "ddf": ddf}
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
        return tables.random_tests(reply.value["table"])

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
