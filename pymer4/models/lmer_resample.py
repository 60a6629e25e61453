"""Confidence limits of all parameters of an `Lmer`, and the draws that limits and p can come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import bridge, tables
from pymer4.errors import ModelWarning, OptionError, one_of
from pymer4.families import has_scale
from pymer4.models.base import confidence_level, issue_all
from pymer4.numerics.resample import Seed, count, map_chunks, seed_stream, workers

Method = Literal["Wald", "profile", "boot"]


class LmerResampling:
    """The resampling methods of `Lmer`."""

    def confint(
        self,
        method: Method = "Wald",
        *,
        conf_level: float = 0.95,
        n_boot: int = 500,
        seed: Seed = None,
        n_jobs: int = 1,
    ) -> pd.DataFrame:
        """Return confidence limits of all parameters: random-effects sd and correlations, sigma, coefficients.

        Args:
            method: `"Wald"` (NaN for the variances, as in R), `"profile"`, or `"boot"` (percentiles). lme4 profiles no
                generalized model whose family has a scale, and none fitted with `nAGQ=0`.
            conf_level: level of the limits.
            n_boot: bootstrap draws.
            seed: makes them repeatable.
            n_jobs: worker processes for them.

        Returns:
            One row a parameter, columns such as `2.5 %` and `97.5 %`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
        """
        self._require_fit("confint()")
        n_jobs = workers(n_jobs)
        one_of("method", method, get_args(Method))
        self._check_profile("method", method)
        level = confidence_level(conf_level)
        seeds = seed_stream(seed, count("n_boot", n_boot)) if method == "boot" else None
        asked = interval(method, level, seeds)
        if method == "boot" and n_jobs != 1:
            asked["draws"] = self._draws(_bootstrap_chunk, seeds, n_jobs)
        reply = bridge.call("confint_mixed", model=self._handle, interval=asked)
        issue_all((*reply.warnings, *reply.messages))
        return tables.confint_table(*(reply.value[k] for k in ("lower", "upper", "names")), level)

    def _resampling(
        self, conf_int: str, level: float, n_boot: int, permute: int, within: str | None, seed: Seed
    ) -> dict[str, Any]:
        """Return the arguments `interval` and `permute` of R's verbs, each with the seeds of its draws."""
        self._check_profile("conf_int", conf_int)
        seeds = seed_stream(seed, n_boot + permute)
        arguments = {"interval": interval(conf_int, level, seeds[:n_boot] if conf_int == "boot" else None)}
        if permute:
            arguments["permute"] = {"within": within, "seeds": seeds[n_boot:]}
        return arguments

    def _check_profile(self, argument: str, method: str) -> None:
        """Refuse a profile where lme4 has none."""
        if method == "profile" and not self._linear and has_scale(self.family):
            raise OptionError(
                f"{argument}='profile' can't be had for family {self.family!r} with link {self.link!r}: lme4 profiles "
                f"no generalized model whose family has a scale. Use {argument}='boot' or 'Wald'."
            )

    def _resample_in_workers(self, resampling: dict[str, Any], n_jobs: int, quiet: bool) -> None:
        """Make the draws in fresh processes, and the coefficient table from them."""
        limits, permute = resampling["interval"], resampling.get("permute")
        if limits["method"] == "boot":
            limits["draws"] = self._draws(_bootstrap_chunk, limits["seeds"], n_jobs)
        if permute:
            permute["statistics"] = self._draws(_permute_chunk, permute["seeds"], n_jobs, permute["within"])
        reply = bridge.call("fixed_mixed", model=self._handle, ddf=self._facts["ddf"], **resampling)
        self._warn(reply.warnings, ModelWarning, quiet)
        self.coefs = self._coef_table(reply.value["fixed"])

    def _warn_of_untested(self, quiet: bool) -> None:
        untested = list(self.coefs.index[self.coefs[tables.PERM_P_VAL].isna()])
        if untested:
            text = f"No p for {', '.join(untested)}: constant within the clusters, where the outcome is shuffled. " + (
                "Freedman and Lane's scheme tests such terms."
                if self._linear
                else "Freedman and Lane's scheme tests such terms in linear models; here the p of a fit without "
                "permute= stands."
            )
            self._warn([text], ModelWarning, quiet)

    def _draws(self, work: Callable, seeds: np.ndarray, n_jobs: int, *fixed: Any) -> np.ndarray:
        """Return one row a seed from fresh worker processes, which get the model as bytes."""
        model = bridge.call("serialize_model", model=self._handle).value["bytes"]
        return map_chunks(work, seeds, n_jobs, model, *fixed)


def _bootstrap_chunk(model: bytes, seeds: np.ndarray) -> np.ndarray:
    return bridge.call("bootstrap_mixed", model=model, seeds=seeds).value["draws"]


def _permute_chunk(model: bytes, within: str | None, seeds: np.ndarray) -> np.ndarray:
    return bridge.call("permute_mixed", model=model, within=within, seeds=seeds).value["statistics"]


def interval(method: str, level: float, seeds: np.ndarray | None) -> dict[str, Any]:
    """Return the argument `interval` of R's verbs."""
    return {"method": method, "level": level, "seeds": seeds}
