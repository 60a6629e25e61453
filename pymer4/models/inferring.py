"""The verb of inference, which all models have: `infer()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import pandas as pd

from pymer4 import tables
from pymer4.errors import OptionError, issue_all, tells_keywords
from pymer4.fit.robust_errors import Named
from pymer4.infer import verb
from pymer4.infer.asymptotic import Alternative
from pymer4.infer.cv import HeldOut, Predicted, cross_validated
from pymer4.infer.draws import Interval
from pymer4.infer.options import How, InferOptions, On, Shuffles, Which
from pymer4.infer.targets import Draws, Estimates, Null, Question
from pymer4.models import answers
from pymer4.models.inference_pictures import InferencePictures
from pymer4.models.publishing import Publishing
from pymer4.work import Advance, Seed


class Inferring(InferencePictures, Publishing):
    """The method of all models that infers from what was computed."""

    resamples: Any
    cv: pd.DataFrame | None
    cv_folds: pd.Series | None
    profile: Any
    _latest: On
    _asked: dict[On, Sequence[Question]]
    _simulated: pd.DataFrame | None

    _ABLE: ClassVar[tuple[On, ...]] = ("coefs", "marginal", "predictions", "simulations")
    """What can be asked about."""

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **InferencePictures._ANEW,
        "_latest": lambda self: "coefs",
        "_asked": lambda self: {},
        "_simulated": lambda self: None,
    }

    # What `infer.verb` asks of a model; see there.
    _estimates: Callable[[Question, InferOptions], Estimates]
    _boot: Callable[[Sequence[Question], InferOptions], Sequence[Draws]]
    _jackknife: Callable[[Question, InferOptions], Any]
    _null: Callable[[Question, InferOptions], Null]
    _interval: Callable[[InferOptions], Interval]
    _held_out: Callable[[], HeldOut]
    _refit: Callable[[str | None, Any, InferOptions, Advance], Predicted]
    _own_questions: Callable[[On], Sequence[Question]]
    _joint_tests: Callable[[InferOptions], pd.DataFrame]
    _checked_ddf: Callable[[Any], str]

    def _forget(self) -> None:
        super()._forget()
        self.resamples = self.cv = self.cv_folds = self.profile = None
        self._latest, self._asked, self._simulated = "coefs", {}, None

    @tells_keywords()
    def infer(
        self,
        how: How = "asymp",
        *,
        on: On | None = None,
        conf_level: float | None = None,
        errors: Named = "iid",
        null: float = 0.0,
        alternative: Alternative = "two-sided",
        n_boot: int = 1000,
        n_perm: int = 1000,
        ci_type: Interval | None = None,
        scheme: Shuffles = "raw",
        which: Which = "fixef",
        cluster: str | None = None,
        seed: Seed = None,
        n_jobs: int = 1,
        save_resamples: bool = True,
        k: int | str = 10,
        holdout_group: str | bool | None = None,
        n_steps: int = 20,
        threshold: float | None = None,
        profile_auto: bool = True,
        verbose: bool | int = False,
    ) -> Any:
        """Return limits and tests of what was computed last, by one of six ways of inference.

        Coefficients, marginal effects and predictions are rows of L applied to the coefficients b, and every way
        treats them alike. The fit and its tables stay as they are.

        Args:
            how: `"asymp"`, by t or z; `"boot"`, from refits to resampled rows (`Lm`), groups (`Lm2`) or simulated
                outcomes (`Lmer`); `"perm"`, from shuffled outcomes; `"cv"`, out of sample; `"profile"`, limits of
                variances by the profile likelihood; `"joint"`, a test a term.
            on: `"coefs"`, `"marginal"` (what `emmeans()` or `emtrends()` returned), `"predictions"` (of `predict()`,
                else of the rows fitted; of an `Lm2` means over groups of what each regression predicts), `"variance"`,
                `"simulations"`; by default what was computed last, which copies and files do not keep.
            conf_level: level of the limits, by default the fit's.
            errors: what is held of the errors: `"iid"`, those of the fit (plain, unless `fit(robust=)`); `"HC0"` to
                `"HC3"`, unequal variances, or `"hetero"` (HC3, HC0 for a generalized model); `"unequal_var"`, one
                variance a cell of the factors, with Welch's df; `"CR0"` or `"CR2"`, clusters.
            null: what is held to be true of each quantity, on the scale of the coefficients.
            alternative: `"two-sided"`, `"greater"` or `"less"`; the limits are then one-sided too.
            n_boot: bootstrap draws.
            n_perm: permutations.
            ci_type: `"percentile"`, `"basic"` or `"bca"`; by default bca for coefficients and marginal effects of `Lm`
                and `Lm2`, percentile else.
            scheme: `"raw"` shuffles the outcome, `"freedman-lane"` the residuals of the model in which `null` holds.
            which: parameters of an `Lmer` that a bootstrap is about: `"fixef"`, `"ranef"`, or `"all"`.
            cluster: column of the clusters of CR0 and CR2, and of a bootstrap of whole clusters; the grouping factor
                within which the outcome of an `Lmer` is shuffled.
            seed: makes draws, shuffles and folds repeatable.
            n_jobs: worker processes; the numbers don't depend on it.
            save_resamples: keep draws as `resamples`.
            k: folds, or `"loo"`, which leaves out a row, or a group, at a time.
            holdout_group: column whose groups are held out whole; None takes those of an `Lmer` (the coarsest of nested
                ones; of crossed ones one has to be named) and of an `Lm2`, False holds out rows.
            n_steps: points of a profile on either side.
            threshold: takes the place of the chi-square quantile that bounds a profile.
            profile_auto: after "boot" or "perm" of a gaussian `Lmer`, profile its variances too, as `profile`.
            verbose: show progress on standard error.

        Returns:
            The table; of marginal effects means and contrasts, as `emmeans()`. It is as the table that it is about
            (asymp), or has Estimate, limits, SE, Num_boot, P-val (boot), Num_perm, statistic, Perm-P-val (perm).
            A bootstrap's p is `(1 + #{|b* − b| ≥ |b − null|}) / (n + 1)` and need not agree with its limits. p of draws
            is not adjusted for several tests. `attrs` tells how each number was got.
            Of cross-validation `cv` has N, RMSE, MAE, R2 (against the mean of the outcomes trained on), Deviance and
            Accuracy a fold and over all predictions, and `cv_folds` the fold of each row, 0 for one that is not used.
            Estimate, PRE and PRE_sd (coefs) tell how much of that R², or of the deviance explained, is lost without
            the term of a coefficient and, where it is a main effect, its interactions: mean and sd over folds. All is
            learned from the rows trained on, but for the ranks of `fit(rank=True)`. Rows of groups that were trained on
            are predicted with their random effects, others for the population.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range, or a question that this way does not answer, and what does.
            DataError: no replicate could be fitted, or rows held out of which those trained on tell nothing.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.infer("boot", n_boot=200, seed=1).columns.tolist()
            ['Estimate', '2.5_ci', '97.5_ci', 'SE', 'Num_boot', 'P-val', 'Sig']
        """
        self._require_fit("infer()")
        given: dict[str, Any] = {
            "how": how, "on": on, "conf_level": conf_level, "errors": errors, "null": null, "alternative": alternative,
            "n_boot": n_boot, "n_perm": n_perm, "ci_type": ci_type, "scheme": scheme, "which": which,
            "cluster": cluster, "seed": seed, "n_jobs": n_jobs, "save_resamples": save_resamples, "k": k,
            "holdout_group": holdout_group, "n_steps": n_steps, "threshold": threshold, "profile_auto": profile_auto,
            "verbose": verbose,
        }  # fmt: skip
        level = self._options.conf_level
        options = InferOptions.of(self._latest, self._ABLE, level, f"an {type(self).__name__}", **given)
        idle = options.idle(Inferring.infer, level)
        found = self._answered(options)
        issue_all([*idle, *found.told])
        used = str(getattr(self, "se_type", ""))
        if options.errors == "iid" and used.startswith("robust"):
            for table in found.tables:
                table.attrs |= {"errors": used} if "errors" in table.attrs else {}
        self._inferred = options, found
        if options.how in ("boot", "perm"):
            kept = found.resamples
            self.resamples = kept if kept is None or len(kept) > 1 else kept[0]
        ddf, trend = self._checked_ddf(None), (self._marginal_asked or {}).get("trend")
        shown = [answers.inferred(table, options, ddf, trend) for table in found.tables]
        paired = options.on == "marginal" and how != "joint"
        return answers.Pair((*shown, None)[:2]) if paired else shown[0]

    def _by_default(self) -> InferOptions:
        """Return what `infer()` takes by default."""
        return InferOptions.of("coefs", self._ABLE, self._options.conf_level, type(self).__name__, **_defaults())

    @property
    def _law(self) -> tuple[str, str]:
        """Family and link that the table of coefficients is of."""
        return self.family, self.link

    def _answered(self, options: InferOptions) -> verb.Answer:
        if options.on == "simulations":
            return verb.Answer([verb.simulations(self._simulated, options)])
        if options.how == "joint":
            return verb.Answer([self._joint_tests(options)])
        if options.how == "cv":
            return self._cross_validated(options)
        return verb.answer(self, options)

    def _cross_validated(self, options: InferOptions) -> verb.Answer:
        found = cross_validated(self, self.coefs[tables.ESTIMATE].to_dict(), options)
        self.cv, self.cv_folds = found.measures, found.folds
        return verb.Answer([self.cv if found.terms is None else found.terms], told=found.told)

    def _questions(self, on: On) -> Sequence[Question]:
        """Return what is asked, a table each: what was computed last of this kind, or what a fit has."""
        asked = self._asked.get(on)
        if asked is None and on == "marginal":
            raise OptionError(
                "There are no marginal effects yet; a copy keeps their tables alone. Call emmeans() or emtrends() "
                "first."
            )
        return self._own_questions(on) if asked is None else asked

    def _keep_simulated(self, drawn: pd.DataFrame) -> pd.DataFrame:
        """Remember outcomes that were simulated, and return them."""
        self._latest, self._simulated = "simulations", drawn.copy()
        return drawn

    def _keep_asked(self, on: On, questions: Sequence[Question]) -> None:
        """Remember what was computed last."""
        self._latest, self._asked = on, {**self._asked, on: questions}


@cache
def _defaults() -> Mapping[str, Any]:
    """Return what `infer()` takes for coefficients where nothing is given."""
    given = inspect.signature(Inferring.infer).parameters
    return {name: one.default for name, one in given.items() if name != "self"} | {"on": "coefs"}
