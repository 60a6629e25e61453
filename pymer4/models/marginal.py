"""Marginal means and slopes of any fitted model, their contrasts, and joint tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from pymer4 import tables
from pymer4.data.ranks import Ranks, at_ranks
from pymer4.errors import OptionError, issue_all, one_of, shown, tells_keywords
from pymer4.infer import grids
from pymer4.infer.grids import Adjust, Family, Predictors, Scale
from pymer4.infer.options import InferOptions
from pymer4.models import answers, printing
from pymer4.models.base import Ddf, Model
from pymer4.models.printing import Frames

Weights = Sequence[float] | Mapping[Any, float]


class Marginal(Model):
    """The methods that ask a reference grid, of `Lmer` through R's emmeans, of the other models by the same rules.

    Means are those of a reference grid: every combination of the levels of the factors, covariates at their means,
    all cells of equal weight (Searle, Speed & Milliken 1980, The American Statistician 34). A covariate with two
    values at most keeps them as levels. An offset is computed from the values in each row of the grid; as an argument
    of the model it counts at its mean. Limits have the level of the fit, and the adjustment of the tests; the
    step-wise ones have none, there limits are Bonferroni's. A variable with the name of a column of the tables is in
    one called name + " (variable)", with a warning.
    """

    @tells_keywords()
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

        On the response scale a link, or a function of the outcome such as `log(y) ~`, is undone after averaging.
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
            adjust: adjustment of the contrasts; where tukey does not apply it is sidak.
            type: `"response"` or `"link"`.
            ddf: denominator df, by default the fit's; of `Lm` and `Lm2` beside these `"asymptotic"`.

        Returns:
            Estimates and contrasts (None where there is none). `attrs` of each: `estimate`, what the estimate is
            (`emmean`, `prob`, `rate`, `response`; `estimate`, `ratio`, `odds.ratio`), `scale`, `ddf`, `adjust` as
            it was applied, `level`, `notes` and `messages`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
            RError: R could not answer for an `Lmer`; its own words.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV_l ~ C(IV3) + IV1", load_dataset("sample_data"), family="binomial")
            >>> _ = model.fit(summarize=False)
            >>> means, odds = model.emmeans("IV3", at={"IV1": 10})
            >>> odds[["Contrast", "Estimate", "P-val"]].round(2)
                      Contrast  Estimate  P-val
            1    IV30.5 / IV31      0.84   0.69
            2  IV30.5 / IV31.5      1.18   0.72
            3    IV31 / IV31.5      1.41   0.25
        """
        self._require_fit("emmeans()")
        specs, by = self._apart(specs=specs, by=by)
        if not specs:
            raise OptionError(f"specs names no variable. {self._grid_predictors().known()}")
        return self._ask_marginal(specs=specs, by=by, at=at, contrasts=contrasts, adjust=adjust, type=type, ddf=ddf)

    @tells_keywords()
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
            ddf: denominator df.

        Returns:
            Slopes and contrasts, as `emmeans()`. In `attrs` of the slopes `estimate` is `trend`, `variable` is `var`;
            a note says their scale.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range; `var` is a factor.
            RError: R could not answer for an `Lmer`; its own words.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1 * C(IV3)", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.emtrends("IV1", "IV3")[0].round(2)
               IV3  Estimate  2.5_ci  97.5_ci    SE     DF
            1  0.5      1.29    0.34     2.23  0.48  558.0
            2  1.0      1.21    0.22     2.20  0.50  558.0
            3  1.5      1.02    0.08     1.97  0.48  558.0
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

    @tells_keywords()
    def joint_tests(self, by: str | Sequence[str] | None = None, *, ddf: Ddf | None = None) -> pd.DataFrame:
        """Test each term of the fixed part as a whole, by contrasts of marginal means.

        Without covariates these are type III tests. A covariate is compared one unit to either side of its mean,
        and factors at its mean, where `anova()` tests them at 0. An offset has no part in them.

        Args:
            by: variables at each level of which the tests are made.
            ddf: denominator df, by default the fit's; of `Lm` and `Lm2` beside these `"asymptotic"`.

        Returns:
            One row a term: the `by` variables; NumDF, DenomDF, F-stat, P-val, Sig, or for a generalized model Chisq,
            Df, P-val, Sig. `attrs` holds `ddf`, `notes` and `messages`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: a variable that is not in the model, or nothing to test.
            RError: R could not answer for an `Lmer`; its own words.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1 * C(IV3)", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.joint_tests()[["NumDF", "F-stat"]].round(2)
                     NumDF  F-stat
            IV1        1.0   17.34
            IV3        2.0    2.95
            IV1:IV3    2.0    0.08
        """
        self._require_fit("joint_tests()")
        return answers.joint(self._joint_tests(self._by_default(), by, ddf))

    def _joint_tests(self, options: InferOptions, by: Any = None, ddf: Ddf | None = None) -> pd.DataFrame:
        """Return the tests of all terms, with the errors that `infer()` was asked for."""
        predictors = self._grid_predictors()
        names = predictors.named("by", by)
        if not any(name not in names for name in (*predictors.factors, *predictors.covariates)):
            beside = " beside those of by" if names else ""
            raise OptionError(f"There is no variable to test{beside}. {predictors.known()}")
        ddf = self._checked_ddf(ddf)
        found, told = self._joint(names, ddf, options)
        table = tables.joint_table(found, self._has_df)
        issue_all(printing.column_notes(table))
        table.attrs |= {"ddf": ddf, "notes": found["notes"], "messages": told}
        return table

    # What a model answers: its predictors; tables of means or slopes and contrasts, and of tests, with what was said.
    _grid_predictors: Callable[[], Predictors]
    _marginal: Callable[[dict[str, Any]], tuple[dict[str, Any], list[str]]]
    _joint: Callable[[list[str], Any, InferOptions], tuple[dict[str, Any], list[str]]]
    _grid_ranks: Callable[[], Mapping[str, Ranks]]
    _by_default: Callable[[], InferOptions]
    _checked_ddf: Callable[[Any], Any]

    @property
    def _has_df(self) -> bool:
        """Whether tests have denominator df."""
        return self._linear

    def _apart(self, **given: Any) -> tuple[list[str], list[str]]:
        """Return the variables that two arguments name, none of them in both."""
        (first, names), (second, others) = ((k, self._grid_predictors().named(k, value)) for k, value in given.items())
        grids.require_apart(first, names, second, others)
        return names, others

    def _ask_marginal(
        self, specs: Any, by: Any, contrasts: Any, adjust: str, type: str, ddf: Any, at: Any = None, trend: Any = None
    ) -> Frames:
        """Return estimates and contrasts, and keep them."""
        one_of("type", type, get_args(Scale))
        level, ddf = self._options.conf_level, self._checked_ddf(ddf)
        wanted = grids.comparisons(contrasts)
        at, in_ranks = at_ranks(at, self._grid_ranks())
        at = self._grid_predictors().values(at)
        asked = {"specs": specs, "by": by or None, "at": at, "trend": trend, "contrasts": wanted, "type": type}
        asked |= {"adjust": grids.adjustment("adjust", adjust), "level": level, "ddf": ddf}
        found, messages = self._marginal(asked)
        self._marginal_asked = asked
        told: dict[str, Any] = {"ddf": ddf, "level": level, "messages": [*messages, *in_ranks]}
        if trend is not None:
            found["estimates"]["name"], told["variable"] = "trend", trend
        notes = printing.grid_notes(found, trend is not None, type == "response")
        if type == "response" and not found["undone"]:
            issue_all(notes[-1:])
        estimates = tables.marginal_estimates(found["estimates"], level)
        self.marginal_estimates = _shown(printing.noted(estimates, found["estimates"], notes, told), False)
        self.marginal_contrasts = None
        if found["contrasts"] is not None:
            compared = tables.marginal_contrasts(found["contrasts"], level)
            self.marginal_contrasts = _shown(printing.noted(compared, found["contrasts"], (), told), True)
        issue_all(printing.column_notes(estimates))
        return answers.Pair((self.marginal_estimates, self.marginal_contrasts))


def _shown(table: pd.DataFrame, compared: bool) -> answers.Table:
    return answers.marginal(table, answers.means_notes(table.attrs, compared), table.attrs.get("variable"))
