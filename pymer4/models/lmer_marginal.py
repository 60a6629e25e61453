"""Marginal means and slopes of a fitted `Lmer`, and their contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from pymer4 import tables
from pymer4.data.ranks import at_ranks
from pymer4.errors import OptionError, also_spelled, issue_all, one_of, shown, truth, verbosity
from pymer4.infer import grids
from pymer4.infer.grids import Adjust, Family, Predictors, Scale
from pymer4.models import printing
from pymer4.models.base import Ddf
from pymer4.models.lmer_answering import LmerAnswering
from pymer4.models.printing import Frames
from pymer4.rbridge import bridge

Weights = Sequence[float] | Mapping[Any, float]

_SEED = 1  # of the Monte Carlo integrals behind "mvt", so that they repeat


class LmerMarginal(LmerAnswering):
    """The methods of `Lmer` that ask emmeans.

    Means are those of a reference grid: every combination of the levels of the factors, covariates at their means,
    all cells of equal weight (Searle, Speed & Milliken 1980, The American Statistician 34). A covariate with two
    values at most keeps them as levels. An offset is computed from the values in each row of the grid; as an argument
    of the model it counts at its mean. Limits have the level of the fit, and the adjustment of the tests; the
    step-wise ones have none, there limits are Bonferroni's. A variable with the name of a column of the tables is in
    one called name + " (variable)", with a warning.
    """

    @also_spelled(marginal_var="marginal_vars")
    def post_hoc(
        self,
        marginal_vars: str | Sequence[str],
        grouping_vars: str | Sequence[str] | None = None,
        p_adjust: Adjust = "tukey",
        summarize: bool = True,
        verbose: bool | int = False,
    ) -> Frames | None:
        """Estimate means or slopes and compare each with each, on the link scale.

        Factors have means: one for each combination of their levels, at each level of the grouping variables. A
        covariate has slopes: one for each level of the first grouping variable, at each level of the others. Tests
        in one group are a family, for which p is adjusted.

        Args:
            marginal_vars: factors, or one covariate.
            grouping_vars: factors at whose levels means, slopes and comparisons are made.
            p_adjust: adjustment for several tests: tukey, bonf, fdr, hochberg, hommel, holm, dunnet (an
                approximation for comparisons with a control), mvt (exact, by Monte Carlo), or another of R's names.
            summarize: print both tables; False prints nothing and returns None.
            verbose: print R's messages.

        Returns:
            Estimates, and their pairwise differences (None where there is but one estimate), not rounded. Both stay
            on the model as `marginal_estimates` and `marginal_contrasts`, and say in `attrs` what `emmeans()` says.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: a variable that is not in the model or does not fit its place, or an unknown adjustment.
            RError: R could not answer; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("yield ~ Variety * nitro + (1 | Block)", load_dataset("Oats"))
            >>> _ = model.fit(summarize=False)
            >>> model.post_hoc("nitro", "Variety", summarize=False)
            >>> model.marginal_estimates[["Variety", "Estimate", "SE"]].round(2)
                   Variety  Estimate     SE
            1  Golden Rain     75.33  14.13
            2   Marvellous     64.58  14.13
            3      Victory     81.08  14.13
        """
        self._require_fit("post_hoc()")
        summarize, verbose = truth("summarize", summarize), verbosity(verbose)
        adjust = grids.adjustment("p_adjust", p_adjust)
        marginal, grouping = self._post_hoc_variables(marginal_vars, grouping_vars)
        asked: dict[str, Any] = {"specs": marginal, "by": grouping}
        if marginal[0] not in self._grid_predictors().factors:
            asked = {"specs": grouping[:1], "by": grouping[1:], "trend": marginal[0]}
        frames = self._ask_marginal(**asked, contrasts="pairwise", adjust=adjust, type="link", ddf=None)
        for text in frames[0].attrs["messages"] if verbose and not summarize else ():
            print(text)
        if not summarize:
            return None
        one_scale = self._linear and self._reading.response.is_column
        print(printing.marginal_summary(frames, marginal, grouping, one_scale))
        return frames

    def emmeans(
        self,
        specs: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        contrasts: Family | Mapping[str, Weights] | None = "pairwise",
        adjust: Adjust = "tukey",
        type: Scale = "response",
        ddf: Ddf | None = None,
    ) -> Frames:
        """Estimate marginal means and contrasts between them.

        On the response scale a link, or a function of the outcome such as `log(y, 10) ~`, is undone after averaging.
        Differences of logs are then ratios, of logits odds ratios; those of other links stay on the link scale. An
        inverse counts where it gives the raw outcomes back from those that were fitted; where none is known to, means
        are on the link scale, with a warning.

        Args:
            specs: variables; there is a mean for each combination of their levels.
            by: variables at each level of which contrasts are made, a family of tests each.
            at: values of variables that the grid shall have, those of an offset too, such as
                `{"x": [0, 1], "g": ["a", "b"]}`; covariates are at their means otherwise. After `fit(rank=True)` they
                are put on the ranks of the data.
            contrasts: `"pairwise"`, `"trt.vs.ctrl"` (with the first level), `"consec"`, `"poly"`, `"eff"` (with the
                mean of all), None, or `{name: weights}` with a weight a cell, in a list or in a dict by level, or by
                the tuple of levels where there are several specs.
            adjust: adjustment of the contrasts; where R says that tukey does not apply it is sidak.
            type: `"response"` or `"link"`.
            ddf: denominator df of a linear model, by default the fit's.

        Returns:
            Estimates and contrasts (None where there is none). `attrs` of each: `estimate`, what the estimate is
            (`emmean`, `prob`, `rate`, `response`; `estimate`, `ratio`, `odds.ratio`), `scale`, `ddf`, `adjust` as
            it was applied, `level`, R's `notes` and `messages`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
            RError: R could not answer; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("log(yield) ~ Variety + nitro + (1 | Block)", load_dataset("Oats"))
            >>> _ = model.fit(summarize=False)
            >>> means, ratios = model.emmeans("Variety", at={"nitro": 0})
            >>> ratios[["Contrast", "Estimate", "DF"]].round(2)
                               Contrast  Estimate    DF
            1  Golden Rain / Marvellous      0.94  63.0
            2     Golden Rain / Victory      1.08  63.0
            3      Marvellous / Victory      1.15  63.0
        """
        self._require_fit("emmeans()")
        specs, by = self._apart(specs=specs, by=by)
        if not specs:
            raise OptionError(f"specs names no variable. {self._grid_predictors().known()}")
        return self._ask_marginal(specs=specs, by=by, at=at, contrasts=contrasts, adjust=adjust, type=type, ddf=ddf)

    def emtrends(
        self,
        var: str,
        specs: str | Sequence[str] | None = None,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        contrasts: Family | Mapping[str, Weights] | None = "pairwise",
        adjust: Adjust = "tukey",
        type: Scale = "link",
        ddf: Ddf | None = None,
    ) -> Frames:
        """Estimate marginal slopes and contrasts between them.

        A slope is the difference quotient of predictions, their offset included, a thousandth of the range of the
        variable apart. On the response scale predictions are transformed back first (`regrid = "response"` in R), so
        that slopes differ along a link; their SE is by the delta method.

        Args:
            var: a covariate.
            specs: variables; there is a slope for each combination of their levels. One overall slope by default.
            by: as in `emmeans()`, as all that follows.
            at: values of variables, that of `var` too.
            contrasts: between slopes.
            adjust: adjustment of the contrasts.
            type: `"link"` or `"response"`.
            ddf: denominator df of a linear model.

        Returns:
            Slopes and contrasts, as `emmeans()`. In `attrs` of the slopes `estimate` is `trend`, `variable` is `var`;
            a note says their scale.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range; `var` is a factor.
            RError: R could not answer; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> model.emtrends("Days")[0].round(2)
               Estimate  2.5_ci  97.5_ci    SE    DF
            1     10.47    7.21    13.73  1.55  17.0
        """
        self._require_fit("emtrends()")
        predictors = self._grid_predictors()
        if not isinstance(var, str):
            raise OptionError(f"var={shown(var)} is not the name of one covariate. {predictors.known()}")
        predictors.named("var", var)
        if var in predictors.factors:
            raise OptionError(
                f"var={var!r} is a factor, which has no slope. Use emmeans({var!r}). {predictors.known()}"
            )
        specs, by = self._apart(specs=specs, by=by)
        asked: dict[str, Any] = {"contrasts": contrasts, "adjust": adjust, "type": type, "ddf": ddf}
        return self._ask_marginal(specs=specs, by=by, at=at, trend=var, **asked)

    def joint_tests(self, by: str | Sequence[str] | None = None, *, ddf: Ddf | None = None) -> pd.DataFrame:
        """Test each term of the fixed part as a whole, by contrasts of marginal means.

        Without covariates these are type III tests. A covariate is compared one unit to either side of its mean,
        and factors at its mean, where `anova()` tests them at 0. An offset has no part in them.

        Args:
            by: variables at each level of which the tests are made.
            ddf: denominator df of a linear model, by default the fit's.

        Returns:
            One row a term: the `by` variables; NumDF, DenomDF, F-stat, P-val, Sig, or for a generalized model Chisq,
            Df, P-val, Sig. `attrs` holds `ddf`, and R's `notes` and `messages`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: a variable that is not in the model, or nothing to test.
            RError: R could not answer; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("yield ~ Variety * factor(nitro) + (1 | Block)", load_dataset("Oats"))
            >>> _ = model.fit(summarize=False)
            >>> model.joint_tests(by="Variety")[["Variety", "F-stat"]].round(2)
                       Variety  F-stat
            nitro  Golden Rain    9.07
            nitro   Marvellous    6.93
            nitro      Victory   10.67
        """
        self._require_fit("joint_tests()")
        predictors = self._grid_predictors()
        names = predictors.named("by", by)
        if not any(name not in names for name in (*predictors.factors, *predictors.covariates)):
            raise OptionError(f"There is no variable to test beside those of by. {predictors.known()}")
        ddf = self._checked_ddf(ddf)
        reply = bridge.call("joint_mixed", model=self._for_new_rows, by=names or None, ddf=ddf)
        issue_all(reply.warnings)
        table = tables.joint_table(reply.value, self._linear)
        issue_all(printing.column_notes(table))
        table.attrs |= {"ddf": ddf, "notes": reply.value["notes"], "messages": list(reply.messages)}
        return table

    def _grid_predictors(self) -> Predictors:
        """Return the variables of the fixed part, asked of R once a fit."""
        if self._grid_variables is None:
            found = bridge.call("marginal_variables", model=self._handle).value
            kinds = ({name: tuple(values) for name, values in dict(found[kind]).items()} for kind in found)
            self._grid_variables = Predictors(*kinds)
        return self._grid_variables

    def _apart(self, **given: Any) -> tuple[list[str], list[str]]:
        """Return the variables that two arguments name, none of them in both."""
        (first, names), (second, others) = ((k, self._grid_predictors().named(k, value)) for k, value in given.items())
        grids.require_apart(first, names, second, others)
        return names, others

    def _post_hoc_variables(self, marginal_vars: Any, grouping_vars: Any) -> tuple[list[str], list[str]]:
        """Return marginal and grouping variables, the marginal ones factors or a single covariate."""
        predictors = self._grid_predictors()
        marginal, grouping = self._apart(marginal_vars=marginal_vars, grouping_vars=grouping_vars)
        covariates = [name for name in marginal if name in predictors.covariates]
        if not marginal:
            raise OptionError(f"marginal_vars names no variable. {predictors.known()}")
        if covariates and len(marginal) > 1:
            raise OptionError(
                f"marginal_vars has the covariate {covariates[0]!r} beside {len(marginal) - 1} more. Factors have "
                f"means, a covariate has slopes: give factors only, or {covariates[0]!r} alone. {predictors.known()}"
            )
        for name in grouping:
            if not predictors.factors.get(name) and not predictors.covariates.get(name):
                raise OptionError(
                    f"grouping_vars has the covariate {name!r}, which has no levels. Make it a factor with "
                    f"fit(factors=), or choose its values with emmeans(.., by={name!r}, at={{{name!r}: [..]}})."
                )
        return marginal, grouping

    def _ask_marginal(
        self, specs: Any, by: Any, contrasts: Any, adjust: str, type: str, ddf: Any, at: Any = None, trend: Any = None
    ) -> Frames:
        """Return estimates and contrasts, and keep them."""
        one_of("type", type, get_args(Scale))
        level, ddf = self._options.conf_level, self._checked_ddf(ddf)
        wanted: Any = grids.comparisons(contrasts)
        at, in_ranks = at_ranks(at, self._ranks)
        at = self._grid_predictors().values(at)
        asked = {"specs": specs, "by": by or None, "at": at, "trend": trend, "contrasts": wanted, "type": type}
        asked |= {"adjust": grids.adjustment("adjust", adjust), "level": level, "ddf": ddf, "seed": _SEED}
        plain = not at and trend is None
        made = self._grids.get(ddf) if plain else None
        reply = bridge.call("marginal_mixed", model=self._for_new_rows, made=made, **asked)
        found = reply.value
        if "cells" in found:
            raise grids.unfit(wanted, **found)
        if plain:
            self._grids[ddf] = found["grid"]
        issue_all(reply.warnings)
        told: dict[str, Any] = {"ddf": ddf, "level": level, "messages": [*reply.messages, *in_ranks]}
        if trend is not None:
            found["estimates"]["name"], told["variable"] = "trend", trend
        notes = printing.grid_notes(found, trend is not None, type == "response")
        if type == "response" and not found["undone"]:
            issue_all(notes[-1:])
        estimates = tables.marginal_estimates(found["estimates"], level)
        self.marginal_estimates = printing.noted(estimates, found["estimates"], notes, told)
        self.marginal_contrasts = None
        if found["contrasts"] is not None:
            compared = tables.marginal_contrasts(found["contrasts"], level)
            self.marginal_contrasts = printing.noted(compared, found["contrasts"], (), told)
        issue_all(printing.column_notes(estimates))
        return self.marginal_estimates, self.marginal_contrasts
