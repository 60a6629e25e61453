"""`Lmer.fit_many` and `Lmer.fit_by`: one model for many outcomes, or for parts of the data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pymer4.errors import tells_keywords
from pymer4.models.lmer_options import Engine
from pymer4.models.lmer_pictures import LmerPictures
from pymer4.work import Seed

if TYPE_CHECKING:
    from pymer4.infer.many import Statistic
    from pymer4.models.many_result import ManyFits

_OF_MANY = "It is for many outcomes of one design, fit_many(). Parts have designs of their own: fit an Lmer to each."
_OF_MODEL = "Weights of parts are those of the model: Lmer(..., weights=)."


class LmerMany(LmerPictures):
    """Fits of one model to many outcomes, or to parts of the data."""

    @tells_keywords()
    def fit_many(
        self,
        Y: Any,
        *,
        weights: Any = None,
        engine: Engine = "native",
        n_jobs: int = 1,
        adjust: str = "fdr",
        permute: int = 0,
        cache: str | os.PathLike[str] | None = None,
        verbose: bool | int = False,
        seed: Seed = None,
        statistic: Statistic | None = None,
    ) -> ManyFits:
        """Fit the model to each of many outcomes: voxels, genes, channels by times.

        The fixed and random parts are those of the formula, and the settings (REML, factors, ddf, conf_level, prior
        weights) those of the last `fit()`, or its defaults. The formula's own outcome is not used, nor does the model
        change. Limits are Wald's. The design is worked up once, and outcomes are fitted side by side by the deviance
        engine, to the optimum that lme4 looks for; R is not asked.

        Args:
            Y: a frame, or an array of shape (n, ...), one row a row of the data, in their order; or a list of columns
                of the data. Where an outcome is missing, its row is left out for that outcome alone; what functions
                make of predictors is computed on all rows.
            weights: prior weights, one a row, or one for each number of Y, in the place of the model's.
            engine: `"native"`, or `"R"` for lme4 itself, which takes about thirty times as long.
            n_jobs: worker processes; the numbers don't depend on it.
            adjust: how p are adjusted over the outcomes, within each term, by R's names: none, bonferroni, holm,
                hochberg, hommel, fdr, BH, BY, or sidak.
            permute: number of permutations within the levels of the first of `grps`, the same for all outcomes, from
                which p comes, and p against the largest `|t|` of all outcomes (Westfall & Young 1993).
            cache: a folder that keeps what is done; the same call goes on there where one was stopped.
            verbose: show progress on standard error.
            seed: makes permutations repeatable.
            statistic: with `permute`, a function of a term's t, in the shape of an observation of Y and NaN where there
                is none, such as the size of the largest cluster; it returns a number or several, never NaN, and
                `result.permuted.p(term)` tests them.

        Returns:
            A `ManyFits`: `.table`, `.variances`, `.logLike`, `.flags`, `.to_array(column, term)`, `.top(term, n)`.
            An outcome that can't be fitted has NaN, and a flag that says why.

        Raises:
            DataError: Y or weights that do not fit the data, or data that identify no model.
            OptionError: an argument out of its range, a model that is not gaussian, or a cache of another run.
            RError: R makes nothing of the formula or the data; its own words.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> sleep = load_dataset("sleepstudy")
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", sleep)
            >>> many = model.fit_many(sleep[["Reaction"]].assign(half=sleep["Reaction"] / 2))
            >>> many.to_array("Estimate", "Days").round(3).tolist()
            [10.467, 5.234]
        """
        from pymer4.models.lmer_outcomes import Asked, fit_outcomes

        asked = Asked.of(engine, n_jobs, adjust, permute, cache, verbose, seed, statistic)
        return fit_outcomes(self, Y, weights, asked)

    @tells_keywords(weights=_OF_MODEL, **dict.fromkeys(("permute", "cache", "seed", "statistic"), _OF_MANY))
    def fit_by(
        self,
        columns: str | Sequence[str],
        *,
        engine: Engine = "native",
        n_jobs: int = 1,
        adjust: str = "fdr",
        verbose: bool | int = False,
    ) -> ManyFits:
        """Fit the model to each part of the data: rows that have the same values in some columns.

        Settings are those of the last `fit()`, or its defaults. Factors have the levels of the part. A part that
        identifies no model has NaN, and a flag that says why. Rows without a value in these columns are in no part.

        Args:
            columns: a column, or several.
            engine: `"native"`, or `"R"` for lme4 itself.
            n_jobs: worker processes of the native engine.
            adjust: how p are adjusted over the parts, within each term; see `fit_many`.
            verbose: show progress on standard error.

        Returns:
            A `ManyFits`, whose tables have these columns in the place of `response`.

        Raises:
            OptionError: no such column, an argument out of its range, or a model that is not gaussian.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> penicillin = load_dataset("Penicillin")
            >>> halves = penicillin.assign(half=penicillin["plate"].isin(list("abcdefghijkl")))
            >>> found = Lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", halves).fit_by("half")
            >>> found.table[["half", "term", "Estimate"]].round(3)
                half         term  Estimate
            0  False  (Intercept)    22.875
            1   True  (Intercept)    23.069
        """
        from pymer4.models.lmer_outcomes import Asked
        from pymer4.models.lmer_parts import fit_parts

        return fit_parts(self, columns, Asked.of(engine, n_jobs, adjust, 0, None, verbose, None, None))
