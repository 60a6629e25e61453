"""Marginal means and slopes of a fitted `Lmer`, which R's emmeans makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pymer4.data.ranks import Ranks
from pymer4.errors import OptionError, also_spelled, issue_all, truth, verbosity
from pymer4.fit.distributions import Scale
from pymer4.infer import grids
from pymer4.infer.contrasts import adjusting
from pymer4.infer.estimable import noise_of
from pymer4.infer.grids import Adjust, Predictors
from pymer4.infer.options import InferOptions
from pymer4.infer.targets import Question, Target
from pymer4.models import printing
from pymer4.models.lmer_answering import LmerAnswering
from pymer4.models.marginal import Marginal
from pymer4.models.printing import Frames
from pymer4.rbridge import bridge

_SEED = 1  # of the Monte Carlo integrals behind "mvt", so that they repeat


class LmerMarginal(Marginal, LmerAnswering):
    """What `Lmer` asks emmeans."""

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

    def _marginal(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        plain, ddf = not asked["at"] and asked["trend"] is None, asked["ddf"]
        made = self._grids.get(ddf) if plain else None
        reply = bridge.call("marginal_mixed", model=self._for_new_rows, made=made, seed=_SEED, **asked)
        found = reply.value
        if "cells" in found:
            raise grids.unfit(asked["contrasts"], **found)
        if plain:
            self._grids[ddf] = found["grid"]
        self._keep_asked("marginal", _asked_again(found, asked["trend"] is not None, ddf))
        issue_all(reply.warnings)
        return found, list(reply.messages)

    def _joint(self, by: list[str], ddf: Any, options: InferOptions) -> tuple[dict[str, Any], list[str]]:
        if options.errors != "iid":
            raise OptionError(
                f"errors={options.errors!r} is not for how='joint' of an Lmer, whose tests are emmeans'. Use 'iid', or "
                "how='asymp'."
            )
        reply = bridge.call("joint_mixed", model=self._for_new_rows, by=by or None, ddf=ddf)
        issue_all(reply.warnings)
        return reply.value, list(reply.messages)

    def _grid_ranks(self) -> Mapping[str, Ranks]:
        return self._ranks

    def _grid_predictors(self) -> Predictors:
        """Return the variables of the fixed part, asked of R once a fit."""
        if self._grid_variables is None:
            found = bridge.call("marginal_variables", model=self._handle).value
            kinds = ({name: tuple(values) for name, values in dict(found[kind]).items()} for kind in found)
            self._grid_variables = Predictors(*kinds)
        return self._grid_variables

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


def _asked_again(found: Mapping[str, Any], sloped: bool, ddf: str) -> list[Question]:
    """Return marginal means or slopes and their contrasts, as R has them, as what is inferred."""
    noise = noise_of(np.asarray(found["quantities"]["estimates"]["L"]))
    kinds: Any = (("means", "estimates"), ("contrasts", "contrasts"))
    questions = []
    for about, part in kinds:
        told, rows = found[part], found["quantities"][part]
        if told is None:
            continue
        L, known, families = (np.asarray(rows[name]) for name in ("L", "known", "family"))
        link = "identity" if rows["undo"] is None else _scale(rows["undo"])
        curve = None if rows["curve"] is None else partial(_slopes, rows["curve"])
        adjust, tests, name = told["adjust"], None, "trend" if sloped and about == "means" else told["name"]
        if about == "contrasts":  # R has tukey of pairwise differences alone
            tests = adjusting(families - 1, L, noise, adjust, adjust == "tukey")[1]
        attrs = {"estimate": name, "scale": told["scale"], "adjust": adjust, "ddf": ddf}
        df, labels = None if rows["df"] is None else np.asarray(rows["df"]), told["labels"]
        target = Target(L, link, known, curve)
        questions.append(
            Question(about, target, labels=labels, contrast=told["contrast"], adjusted=tests, df=df, attrs=attrs)
        )
    return questions


def _scale(undo: bridge.Handle) -> Scale:
    """Return R's functions of an inverse and its slope."""

    def asked(eta: np.ndarray, slope: bool) -> np.ndarray:
        found = bridge.call("undo_scale", undo=undo, eta=np.ravel(eta), slope=slope).value["values"]
        return np.asarray(found, dtype=float).reshape(np.shape(eta))

    return Scale(partial(asked, slope=False), partial(asked, slope=True))


def _slopes(curve: bridge.Handle, b: np.ndarray) -> np.ndarray:
    return np.asarray(bridge.call("slopes_of", curve=curve, b=b).value["values"], dtype=float)
