"""Confidence limits of all parameters of an `Lmer`, and the draws that limits and p can come from."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import RError, confidence_level, count, issue_all, one_of, verbosity, workers
from pymer4.infer.draws import from_null, inverted_p, percentiles
from pymer4.infer.resample import counted
from pymer4.models.lmer_options import Method, check_profile
from pymer4.models.lmer_state import LmerState
from pymer4.rbridge import bridge
from pymer4.work import Seed, each_chunk, progress, seed_stream


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A model on its way to workers.

    Attributes:
        name: no other has it.
        content: what R's `serialize` makes of it, as uint8: an array, since joblib has workers share large ones.
    """

    name: str
    content: np.ndarray


_received: tuple[str, bridge.Handle] | None = None


class LmerResampling(LmerState):
    """The resampling methods of `Lmer`."""

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
        level = self._options.conf_level if conf_level is None else confidence_level(conf_level)
        if method == "boot":
            made = self._draws("bootstrap draws", _bootstrap_chunk, seed_stream(seed, n_boot), n_jobs, shown)
            values, told = self._fitted_draws(made, "bootstrap")
            issue_all(told)
            names = bridge.call("parameter_names", model=self._handle).value["names"]
            return tables.confint_table(*percentiles(values, level), names, level)
        reply = bridge.call("confint_mixed", model=self._handle, interval=self._interval(method, level, shown))
        issue_all((*reply.warnings, *reply.messages))
        return tables.confint_table(reply.value["lower"], reply.value["upper"], reply.value["names"], level)

    def _interval(self, method: str, level: float, shown: int) -> dict[str, Any]:
        """Return the argument `interval` of R's verbs, with the profile that limits come from."""
        made = self._profile(level, shown) if method == "profile" else None
        return {"method": method, "level": level, "made": made}

    def _profile(self, level: float, shown: int) -> list[dict[str, Any]]:
        """Return lme4's profile of each parameter, up to one that it can't profile; none where limits are not its."""
        parts: list[dict[str, Any]] = []
        n = bridge.call("profile_parts", model=self._handle).value["n"]
        with bridge.in_parts(), progress("profiled parameters", n, shown and n > 0) as advance:
            while len(parts) < n and not (parts and "error" in parts[-1]):
                part = bridge.call("profile_part", model=self._handle, level=level, which=len(parts) + 1).value
                parts.append(part)
                advance(1, int("error" in part or not part["monotonic"].all()))
        return parts

    def _infer_from(self, _: Any) -> None:
        """Put the limits and p that the fit asked for into the coefficient table."""
        options = self._options
        fixed: pd.DataFrame = self._fit.fixed
        if options.conf_int == "Wald" and not options.permute:
            return
        how = (options.n_jobs, options.verbose)
        seeds = seed_stream(options.seed, options.n_boot + options.permute)
        found: dict[str, Any] = {}
        if options.conf_int == "profile":
            interval = self._interval("profile", options.conf_level, options.verbose)
            reply = bridge.call("fixed_limits", model=self._handle, interval=interval)
            self._warn((*reply.warnings, *reply.messages))
            found = dict(reply.value)
        elif options.conf_int == "boot":
            made = self._draws("bootstrap draws", _bootstrap_chunk, seeds[: options.n_boot], *how)
            values = self._kept_draws(made, "bootstrap")[:, -len(fixed) :]
            lower, upper = percentiles(values, options.conf_level)
            found = {"lower": lower, "upper": upper, "p": inverted_p(values)}
        if options.permute:
            found["p"] = self._permuted_p(seeds[options.n_boot :], how)
        self.coefs = self._coef_table(fixed.assign(**found))
        if options.permute:
            self._warn_of_untested()

    def _permuted_p(self, seeds: np.ndarray, how: tuple[int, int]) -> np.ndarray:
        """Return p from shuffles, shape (p,); NaN for what they can't test."""
        within = self._options.permute_within
        made = self._draws("permutations", _permute_chunk, seeds, *how, within)
        fixed: pd.DataFrame = self._fit.fixed
        p = from_null(fixed["statistic"].to_numpy(dtype=float), self._kept_draws(made, "permuted"))
        untested = bridge.call("untested_mixed", model=self._handle, within=within).value["untested"]
        return np.where(untested, np.nan, p)

    def _kept_draws(self, made: dict[str, Any], kind: str) -> np.ndarray:
        """Return the draws that could be fitted, after a warning of the others."""
        values, told = self._fitted_draws(made, kind)
        self._warn(told)
        return values

    def _fitted_draws(self, made: dict[str, Any], kind: str) -> tuple[np.ndarray, list[str]]:
        """Return the draws that could be fitted, and what there is to tell: what R said, and why others could not.

        Raises:
            RError: none could.
        """
        values = made["values"]
        # A correlation is missing too where a variance is drawn as 0.
        failed, n = np.isnan(values).all(axis=1), len(values)
        if not failed.any():
            return values, made["said"]
        why = counted([reason for reason, lost in zip(made["reasons"], failed, strict=True) if lost], n)
        if failed.all():
            raise RError(f"none of the {n} {kind} fits succeeded. {why}", f"{kind} draws", self.formula)
        text = f"{failed.sum()} of {n} {kind} fits failed and were left out. {why}"
        return values[~failed], [*made["said"], text]

    def _warn_of_untested(self) -> None:
        untested = list(self.coefs.index[self.coefs[tables.PERM_P_VAL].isna()])
        if untested:
            text = (
                f"No p for {', '.join(untested)}: constant within the clusters, where the outcome is shuffled. "
                "To test such a term fit the model without it, and compare() the two."
            )
            self._warn([text])

    def _draws(
        self, what: str, work: Callable[..., Any], seeds: np.ndarray, n_jobs: int, shown: int, *fixed: Any
    ) -> dict[str, Any]:
        """Return draws: `values`, one row a seed, `reasons` of those that failed, and what was `said`."""
        model: bridge.Handle | _Sent = self._handle
        if n_jobs != 1:
            sent = bridge.call("serialize_model", model=self._handle).value["bytes"]
            model = _Sent(uuid.uuid4().hex, np.frombuffer(sent, dtype=np.uint8))
        # What waits for workers hears Ctrl-C by itself.
        here = bridge.in_parts() if n_jobs == 1 else contextlib.nullcontext()
        with here, progress(what, len(seeds), shown) as advance:
            parts = each_chunk(
                work,
                seeds,
                n_jobs,
                model,
                *fixed,
                note=lambda part: advance(len(part["reasons"]), sum(map(bool, part["reasons"]))),
            )
        return {
            "values": np.concatenate([part["values"] for part in parts]),
            "reasons": [reason for part in parts for reason in part["reasons"]],
            "said": list(dict.fromkeys(text for part in parts for text in part["said"])),
        }


def _bootstrap_chunk(model: bridge.Handle | _Sent, seeds: np.ndarray) -> dict[str, Any]:
    reply = bridge.call("bootstrap_mixed", model=_here(model), seeds=seeds)
    return {**reply.value, "said": reply.warnings}


def _permute_chunk(model: bridge.Handle | _Sent, within: str | None, seeds: np.ndarray) -> dict[str, Any]:
    reply = bridge.call("permute_mixed", model=_here(model), within=within, seeds=seeds)
    return {**reply.value, "said": reply.warnings}


def _here(model: bridge.Handle | _Sent) -> bridge.Handle:
    """Return a model in this process. A worker keeps the one that it was sent last, for its next chunk."""
    global _received
    if isinstance(model, bridge.Handle):
        return model
    held = _received
    if held is None or held[0] != model.name:
        held = model.name, bridge.call("unpack_model", bytes=model.content.tobytes()).value["model"]
        _received = held
    return held[1]
