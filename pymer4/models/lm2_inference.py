"""What an `Lm2` supplies to inference: rows L b of each group, averaged and tested over groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pymer4.data.group_levels import nest, upward
from pymer4.data.sample import Sample
from pymer4.errors import OptionError
from pymer4.fit import sandwich
from pymer4.infer import second_level
from pymer4.infer.options import Drawing, InferOptions
from pymer4.infer.resample import of_two
from pymer4.infer.second_level import PermOn, SecondLevel
from pymer4.infer.targets import Draws, Estimates, Null, Question
from pymer4.infer.verb import require_rows
from pymer4.models.native_folds import Lm2Folds
from pymer4.work import progress, told_rows

_KINDS: dict[str, sandwich.Kind] = {"HC0": "hc0", "HC1": "hc1", "HC2": "hc2", "HC3": "hc3", "hetero": "hc3"}


class Lm2Inference(Lm2Folds):
    """What `infer()` and `fit(conf_int=, permute=)` ask of an `Lm2`: groups are drawn, flipped, and left out."""

    def _stage(self, question: Question, options: InferOptions) -> SecondLevel:
        """Return the values L b of the groups, and how their means are tested."""
        stage = self._fit.stage
        if options.cluster is not None and options.how in ("boot", "perm"):
            raise OptionError(
                f"cluster={options.cluster!r} is not for an Lm2, which draws and flips groups. Leave it out; "
                "fit(robust='cluster', cluster=) takes clusters of groups."
            )
        if options.errors != "iid":
            if options.errors not in _KINDS:
                raise OptionError(
                    f"errors={options.errors!r} is not for an Lm2, whose rows of the second level are groups. Use iid, "
                    "HC0 to HC3 or hetero; fit(robust='cluster', cluster=) takes clusters of groups."
                )
            stage = replace(stage, kind=_KINDS[options.errors])
        if question.about == "coefs":
            return stage
        if self.iscorrs:
            raise OptionError("After fit(to_corrs=) correlations were tested. Fit with to_corrs=False for this.")
        inner = self.fixef[-1] if isinstance(self.fixef, list) else self.fixef
        levels = nest([self._frame[name][self._fit.used].reset_index(drop=True) for name in self._levels])
        return replace(stage, values=upward(inner.to_numpy() @ question.target.L.T, levels)[0])

    def _estimates(self, question: Question, options: InferOptions) -> Estimates:
        stage = self._stage(question, options)
        means, se, df = second_level.tested(stage)
        found = Estimates(means, se, df, lambda: second_level.covariance_of_means(stage, se), z=False)
        return self._tested_as_asked(found, question)

    def _boot(self, questions: Sequence[Question], options: InferOptions) -> Sequence[Draws]:
        draw, told = partial(self._means, how=options.drawing), of_two(self._fit.stage.units(), "group", "how='asymp'")
        return [Draws(self._replicates(question, options, draw), told) for question in questions]

    def _replicates(
        self, question: Question, options: InferOptions, of: Callable[[SecondLevel], np.ndarray]
    ) -> np.ndarray:
        """Return replicates of the means, of what is no row of coefficients by those of the coefficients."""
        if question.target.curve is None:
            return of(self._stage(question, options))
        return question.target.replicates(of(self._stage(self._own_questions("coefs")[0], options)))

    def _means(self, stage: SecondLevel, how: Drawing) -> np.ndarray:
        with progress("bootstrap draws", how.n * len(stage.patterns()), how.verbose) as advance:
            return second_level.bootstrap_means(stage, how.n, how.seed, how.n_jobs, told_rows(advance))

    def _left_out(self, _: InferOptions) -> int:
        return self._fit.stage.units()

    def _jackknife(self, question: Question, options: InferOptions) -> np.ndarray:
        return self._replicates(question, options, second_level.without_each)

    def _coefficient_draws(self, _: Sample, how: Drawing) -> np.ndarray:
        self._warn(of_two(self._fit.stage.units(), "group", "conf_int='standard'"))
        return self._means(self._fit.stage, how)

    def _coefficient_null(self, _: Sample, how: Drawing) -> Null:
        return self._flipped(self._fit.stage, self._options.perm_on, how)

    def _null(self, question: Question, options: InferOptions) -> Null:
        if options.scheme != "raw":
            raise OptionError(
                "scheme='freedman-lane' is not for an Lm2, which flips the signs of each group's value less null. Use "
                "scheme='raw'."
            )
        require_rows(question)
        stage = self._stage(question, options)
        return self._flipped(replace(stage, values=stage.values - options.null), "tstat", options.drawing)

    def _flipped(self, stage: SecondLevel, on: PermOn, how: Drawing) -> Null:
        means, se, _ = second_level.tested(stage)
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = means if on == "coef" else means / se
        with progress("sign flips", how.n * len(stage.patterns()), how.verbose) as advance:
            drawn = second_level.flipped_statistics(stage, on, how.n, how.seed, how.n_jobs, told_rows(advance))
        return Null(observed, drawn)

    @property
    def _law(self) -> tuple[str, str]:
        """Means are tested by t, whatever the regressions are."""
        return "gaussian", "identity"
