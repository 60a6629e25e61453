"""What an `Lmer` supplies to inference: rows of L over its coefficients, their draws, and permutations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pymer4 import tables
from pymer4.data.families import has_scale
from pymer4.data.group_levels import coarsest
from pymer4.data.intake import codes_of_rows
from pymer4.errors import OptionError, few, near
from pymer4.fit.cluster_robust import clustered
from pymer4.fit.cluster_rows import RandomPart, nests
from pymer4.fit.sandwich import Errors
from pymer4.infer import verb
from pymer4.infer.draws import Interval
from pymer4.infer.options import InferOptions, On
from pymer4.infer.resample import MOST_KEPT, offset_in
from pymer4.infer.targets import Draws, Estimates, Null, Question, Target
from pymer4.models.base import spread
from pymer4.models.lmer_inference import LmerInference
from pymer4.rbridge import bridge
from pymer4.work import seed_stream

_CANCELLED = 1e-10  # share of the largest offset, below which what a contrast leaves of offsets is rounding


class LmerAnswering(LmerInference):
    """What `infer()` asks of an `Lmer`."""

    _ABLE: ClassVar[tuple[On, ...]] = ("coefs", "marginal", "predictions", "variance", "simulations")

    def _answered(self, options: InferOptions) -> verb.Answer:
        if options.how == "profile":
            return self._profiled(options)
        if options.how not in ("asymp", "boot", "perm") or options.on == "simulations":
            return super()._answered(options)
        self._check(options)
        found = self._of_parameters(options) if _is_of_parameters(options) else verb.answer(self, options)
        told = () if options.how == "asymp" else self._profiled_too(options)
        return replace(found, told=[*found.told, *told])

    def _check(self, options: InferOptions) -> None:
        """Refuse what rows in groups do not allow."""
        errors = options.errors
        if errors not in ("iid", "CR0", "CR2"):
            robust = "errors='CR2' (of groups that are not crossed), or " if self._linear else ""
            raise OptionError(
                f"errors={errors!r} takes rows for independent, and those of a group are not. Use {robust}how='boot'."
            )
        if errors != "iid" and options.how == "perm":
            raise OptionError(
                f"errors={errors!r} is not for how='perm' of an Lmer, whose shuffles have the standard errors of the "
                "model. Use errors='iid', or how='asymp'."
            )
        if options.how == "boot" and options.cluster is not None:
            raise OptionError(
                f"cluster={options.cluster!r} is not for how='boot' of an Lmer, which draws new random effects for all "
                "groups. Leave it out."
            )
        if options.how == "perm" and options.scheme != "raw" and options.cluster is not None:
            raise OptionError(
                f"cluster={options.cluster!r} is not for scheme={options.scheme!r} of an Lmer, which shuffles whitened "
                "residuals over all rows. Leave it out."
            )
        if options.which != "fixef" and options.how == "boot" and options.on not in ("coefs", "variance"):
            raise OptionError(
                f"which={options.which!r} is about the parameters of the model, not about on={options.on!r}. Leave one "
                "of the two out."
            )

    # Questions.

    def _own_questions(self, on: On) -> Sequence[Question]:
        names = self.coefs.index
        if on == "coefs":
            if not len(names):
                raise OptionError("The model has no coefficients. Use on='variance' with how='boot' or 'profile'.")
            return [Question("coefs", Target(np.eye(len(names))), rows=names)]
        asked = self._predicted
        if asked is None:
            rows, complete, index, link = None, self._used, self._frame.index, self.link
            found = bridge.call("fitted_rows", model=self._handle).value
        else:
            rows, complete, index, link = asked.rows, asked.complete, asked.index, asked.link
            if rows is not None:
                found = bridge.call("prediction_rows", model=self._for_new_rows, **rows).value
        X, known = np.full((len(complete), len(names)), np.nan), np.full(len(complete), np.nan)
        if complete.any():
            X[complete], known[complete] = found["X"], found["known"]
        if asked is None:
            X, known, index = X[complete], known[complete], index[complete]
        return [Question("predictions", Target(X, link, known), rows=index)]

    @property
    def _is_conditional(self) -> bool:
        """Whether what was predicted last are groups, not the population."""
        return self._predicted is not None and bool((self._predicted.rows or {}).get("conditional"))

    # Estimates and their errors.

    def _estimates(self, question: Question, options: InferOptions) -> Estimates:
        if _is_of_parameters(options):
            found = self._parameters()[0][: len(question.names)]
            none = np.full(len(found), np.nan)
            return Estimates(found, none, none, lambda: np.diag(none), False)
        L = question.target.L
        b = self.coefs[tables.ESTIMATE].to_numpy()
        if question.about == "predictions" and self._is_conditional:
            if options.errors != "iid":
                raise OptionError(
                    f"errors={options.errors!r} is of the coefficients, and predictions with use_rfx=True have random "
                    "effects too. Use errors='iid', or predict(use_rfx=False) first."
                )
            se, df = self._of_groups(options)
            return Estimates(L @ b, se, df, lambda: np.full((len(L), len(L)), np.nan), not np.isfinite(df).any())
        if options.errors != "iid":
            errors = self._clustered(options)
        else:
            ddf = (question.attrs or {}).get("ddf", self._options.ddf) if self._linear else "asymptotic"
            found = bridge.call("rows_mixed", model=self._handle, L=L, ddf=ddf).value
            df_known = np.asarray(found["df"]) if question.df is None else question.df
            errors = Errors(np.asarray(found["V"]), lambda _: df_known)
        with np.errstate(invalid="ignore"):
            se, df = np.sqrt(errors.variances(L)), errors.df_of(L)
        z = not has_scale(self.family) if question.about == "coefs" else not np.isfinite(df).any()
        return Estimates(L @ b, se, df, lambda: L @ errors.V @ L.T, z)

    def _clustered(self, options: InferOptions) -> Errors:
        """Return errors that are robust within clusters, by default the groups in which all others are nested."""
        what: str = f"errors={options.errors!r}"
        kind: Any = options.errors.lower()
        if not self._linear:
            raise OptionError(f"{what} is for linear models, and this is a generalized one. Use how='boot'.")
        found = bridge.call("working_mixed", model=self._handle).value
        groups = {name: np.asarray(codes) for name, codes in dict(found["groups"]).items()}
        clusters = self._clusters(groups, what, options.cluster)
        random = RandomPart(*(np.asarray(found[name]) for name in ("rows", "columns", "values")))
        weights = None if found["weights"] is None else np.asarray(found["weights"])
        return clustered(np.asarray(found["X"]), np.asarray(found["e"]), clusters, kind, weights, random)

    def _clusters(self, groups: Mapping[str, np.ndarray], what: str, given: str | None) -> np.ndarray:
        """Return codes of clusters that share no group, shape (n,)."""
        if given is None:
            name = coarsest(groups)
            if name is not None:
                return groups[name]
            crossed = " and ".join(groups)
            raise OptionError(f"{what} needs independent groups, and {crossed} are crossed. Use how='boot'.")
        codes = codes_of_rows("cluster", given, self._frame, self._used)
        split = [name for name, inner in groups.items() if not nests(codes, inner)]
        if split:
            raise OptionError(f"cluster={given!r} splits groups of {few(split)}, whose rows depend. Use how='boot'.")
        return codes

    def _of_groups(self, options: InferOptions) -> tuple[np.ndarray, np.ndarray]:
        """Return standard errors and df of predictions of groups, which are no rows of coefficients alone."""
        assert self._predicted is not None and self._predicted.rows is not None
        interval = self._limits_asked("confidence", options.conf_level, True, "link", None)
        asked: dict[str, Any] = {"type": "link", "interval": interval, **self._predicted.rows}
        found = bridge.call("predict_mixed", model=self._for_new_rows, **asked).value
        se, df = (spread(found.get(name, np.inf), self._predicted.complete) for name in ("se", "df"))
        return se, df

    # Draws.

    def _interval(self, options: InferOptions) -> Interval:
        if options.ci_type == "bca":
            raise OptionError(
                "ci_type='bca' takes the estimates without each row, or group, in turn, and a parametric bootstrap "
                "leaves none out. Use ci_type='percentile' or 'basic'."
            )
        return options.ci_type or "percentile"

    def _boot(self, questions: Sequence[Question], options: InferOptions) -> Sequence[Draws]:
        if any(question.about == "predictions" for question in questions) and self._is_conditional:
            raise OptionError(
                "Predictions with use_rfx=True have no draws: a parametric bootstrap draws the random effects of all "
                "groups anew. Use how='asymp', or predict(use_rfx=False) first."
            )
        drawn = self._parameter_draws(seed_stream(options.seed, options.n_boot), options.n_jobs, options.verbose)
        values, told, attrs = drawn["values"], drawn["told"], {"engine": drawn["engine"]}
        if _is_of_parameters(options):
            return [Draws(values[:, : len(question.names)], told, attrs) for question in questions]
        b = values[:, values.shape[1] - len(self.coefs) :]
        return [Draws(question.target.replicates(b), told, attrs) for question in questions]

    def _of_parameters(self, options: InferOptions) -> verb.Answer:
        """Return bootstrap limits of the variances, and with `which="all"` of the coefficients beside them."""
        names = self._parameters()[1]
        random = len(names) - len(self.coefs)
        every = options.which == "all"
        rows = names if every else names[:random]
        found = verb.answer(self, options, [Question("coefs", Target(np.eye(len(rows))), rows=rows)])
        table, is_random = found.tables[0], np.arange(len(rows)) < random
        if not every:
            return replace(found, tables=[table.iloc[:, :3]])
        # A variance of 0 is no hypothesis that draws around the estimate could test.
        p, stars = table[tables.P_VAL].mask(is_random), table[tables.SIG].mask(is_random, "")
        return replace(found, tables=[table.assign(**{tables.P_VAL: p, tables.SIG: stars})])

    # Permutations.

    def _null(self, question: Question, options: InferOptions) -> Null:
        verb.require_shuffles(question, options, self._linear)
        target, raw = question.target, options.scheme == "raw"
        there = ~np.isnan(target.L).any(axis=1)
        if not there.any():
            return Null(np.full(len(there), np.nan), np.full((options.n_perm, len(there)), np.nan))
        null = np.broadcast_to(options.null - target.offset, there.shape)[there]
        seeds = seed_stream(options.seed, self._options.n_boot + options.n_perm)[self._options.n_boot :]
        how = seeds, options.n_jobs, options.verbose
        names, told = np.array(list(map(str, question.names)), dtype=object)[there], []
        if raw:
            drawn = self._shuffles(target.L[there], self._within(options), *how)
            lost, moved = drawn["untested"], np.abs(null) > _CANCELLED * drawn["offset"]
            remedy = "scheme='freedman-lane' is for such" if self._linear else "how='asymp' and 'boot' have one"
            why = f"constant, alone or added up, within the clusters, where the outcome is shuffled; {remedy}"
            told = offset_in(names[moved & ~lost], self._linear)
        else:
            drawn = self._residual_shuffles(target.L[there], null, *how)
            lost, moved = drawn["kept"] > MOST_KEPT, False
            why = "shuffled residuals keep most of them; take how='asymp' or 'boot'"
        if lost.any():
            told = [f"No p for {', '.join(names[lost])}: {why}", *told]
        observed, values = np.full(len(there), np.nan), np.full((len(drawn["values"]), len(there)), np.nan)
        observed[there], values[:, there] = np.where(lost | moved, np.nan, drawn["observed"]), drawn["values"]
        return Null(observed, values, [*drawn["told"], *told], {"engine": drawn["engine"]})

    def _within(self, options: InferOptions) -> str | None:
        """Return the grouping factor to shuffle in."""
        if options.cluster is None:
            return self._options.permute_within
        groupings = self._reading.groupings
        if not any(grouping.is_called(options.cluster) for grouping in groupings):
            known = [grouping.label for grouping in groupings]
            raise OptionError(
                f"cluster={options.cluster!r} is not a grouping factor of the model.{near(options.cluster, known)} Use "
                f"one of: {', '.join(map(repr, known))}."
            )
        return options.cluster


def _is_of_parameters(options: InferOptions) -> bool:
    """Whether variances are asked about, beside coefficients or alone."""
    return options.how == "boot" and (options.on == "variance" or options.which != "fixef")
