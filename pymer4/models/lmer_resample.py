"""Confidence limits of all parameters of an `Lmer`, and the draws that limits and p can come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from pymer4 import bridge, tables
from pymer4.errors import ModelWarning, one_of
from pymer4.models.base import confidence_level, issue_all
from pymer4.models.lmer_options import Method, check_profile
from pymer4.numerics.resample import Seed, count, each_chunk, seed_stream, workers


class LmerResampling:
    """The resampling methods of `Lmer`."""

    def confint(
        self,
        method: Method = "Wald",
        *,
        conf_level: float | None = None,
        n_boot: int = 500,
        seed: Seed = None,
        n_jobs: int = 1,
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

        Returns:
            One row a parameter, columns such as `2.5 %` and `97.5 %`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
            RError: R could not profile the model, or none of the draws could be fitted; its own words, and how often.
        """
        self._require_fit("confint()")
        n_jobs = workers(n_jobs)
        one_of("method", method, get_args(Method))
        check_profile("method", method, self.family, self.link)
        level = self._facts["level"] if conf_level is None else confidence_level(conf_level)
        seeds = seed_stream(seed, count("n_boot", n_boot)) if method == "boot" else None
        asked = interval(method, level, seeds)
        if method == "boot" and n_jobs != 1:
            asked["made"] = self._draws(_bootstrap_chunk, seeds, n_jobs)
        reply = bridge.call("confint_mixed", model=self._handle, interval=asked)
        issue_all((*reply.warnings, *reply.messages))
        return tables.confint_table(*(reply.value[k] for k in ("lower", "upper", "names")), level)

    def _resampling(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments `interval` and `permute` of R's verbs, each with the seeds of its draws."""
        boot, n_boot = given["conf_int"] == "boot", given["n_boot"]
        seeds = seed_stream(given["seed"], n_boot + given["permute"])
        limits = interval(given["conf_int"], given["conf_level"], seeds[:n_boot] if boot else None)
        if not given["permute"]:
            return {"interval": limits}
        return {"interval": limits, "permute": {"within": given["permute_within"], "seeds": seeds[n_boot:]}}

    def _resample_in_workers(self, resampling: dict[str, Any], n_jobs: int, quiet: bool) -> None:
        """Make the draws in fresh processes, and the coefficient table from them."""
        limits, permute = resampling["interval"], resampling.get("permute")
        if limits["method"] == "boot":
            limits["made"] = self._draws(_bootstrap_chunk, limits["seeds"], n_jobs)
        if permute:
            permute["made"] = self._draws(_permute_chunk, permute["seeds"], n_jobs, permute["within"])
        reply = bridge.call("fixed_mixed", model=self._handle, ddf=self._facts["ddf"], **resampling)
        self._warn(reply.warnings, ModelWarning, quiet)
        self.coefs = self._coef_table(reply.value["fixed"])

    def _warn_of_untested(self, quiet: bool) -> None:
        untested = list(self.coefs.index[self.coefs[tables.PERM_P_VAL].isna()])
        if untested:
            text = (
                f"No p for {', '.join(untested)}: constant within the clusters, where the outcome is shuffled. "
                "To test such a term fit the model without it, and compare() the two."
            )
            self._warn([text], ModelWarning, quiet)

    def _draws(self, work: Callable, seeds: np.ndarray, n_jobs: int, *fixed: Any) -> dict[str, Any]:
        """Return draws of fresh worker processes, which get the model as bytes: `values`, one row a seed, `reasons`."""
        model = bridge.call("serialize_model", model=self._handle).value["bytes"]
        parts = each_chunk(work, seeds, n_jobs, model, *fixed)
        return {
            "values": np.concatenate([part["values"] for part in parts]),
            "reasons": [reason for part in parts for reason in part["reasons"]],
        }


def _bootstrap_chunk(model: bytes, seeds: np.ndarray) -> dict[str, Any]:
    return bridge.call("bootstrap_mixed", model=model, seeds=seeds).value


def _permute_chunk(model: bytes, within: str | None, seeds: np.ndarray) -> dict[str, Any]:
    return bridge.call("permute_mixed", model=model, within=within, seeds=seeds).value


def interval(method: str, level: float, seeds: np.ndarray | None) -> dict[str, Any]:
    """Return the argument `interval` of R's verbs."""
    return {"method": method, "level": level, "seeds": seeds}
