"""What the models that need no R share: the attributes of a fit, and the arguments that all of them take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4.data.families import check_rank, is_linear
from pymer4.data.robust import Robust, robust_kind
from pymer4.errors import (
    ModelWarning,
    confidence_level,
    count,
    one_of,
    permutations,
    truth,
    verbosity,
    without_effect,
    workers,
)
from pymer4.models.base import Model
from pymer4.work import whole_seed

Method = Literal["standard", "boot"]
"""How confidence limits are computed."""


class NativeModel(Model):
    """A model that is fitted by NumPy."""

    def _forget(self) -> None:
        super()._forget()
        self.rsquared: float | None = None
        self.rsquared_adj: float | None = None
        self.se_type: str | None = None
        self.sig_type: str | None = None
        self.ci_type: str | None = None
        self.factors: Mapping[str, Any] | None = None
        self.contrast_codes: dict[str, np.ndarray] | None = None
        self.ranked_data = False
        self.marginal_estimates: pd.DataFrame | None = None
        self.marginal_contrasts: pd.DataFrame | None = None
        self.model_obj = None
        self._settings: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}

    @property
    def _linear(self) -> bool:
        return is_linear(self.family, self.link)

    def _ranked(self, variables: Mapping[Any, Any]) -> list[Any]:
        """Return the columns of which ranks were fitted, of what a design has learned of each."""
        return [name for name, told in variables.items() if told.is_number] if self.ranked_data else []

    def _warn_of_idle(self, method: Callable, given: Mapping[str, Any], **acting: tuple[bool, str]) -> None:
        """Warn of the arguments of `fit()` that were set and have no effect beside the others.

        `n_jobs` and `seed` are never among them: they say how resampling may be done, not that it be done.

        Args:
            method: `fit`, whose defaults count as not set.
            given: checked arguments by name.
            **acting: argument to whether it has an effect, and what it takes to have one.
        """
        lists = any(not isinstance(how, Mapping) for how in (given["factors"] or {}).values())
        acting |= {
            "cluster": (given["kind"] == "cluster", "robust='cluster'"),
            "n_lags": (given["kind"] == "hac", "robust='hac'"),
            "n_boot": (given["conf_int"] == "boot", "conf_int='boot'"),
            "ordered": (lists, "a list of levels in factors="),
        }
        self._warn(without_effect(method, given, acting), ModelWarning, False)

    def _checked_arguments(self, given: dict[str, Any], default: Robust) -> dict[str, Any]:
        """Return the arguments of `fit()` that all native models take, checked and in plain form.

        Args:
            given: arguments by name; changed in place.
            default: the covariance that robust=True means.

        Raises:
            OptionError: an argument out of its range.
        """
        one_of("conf_int", given["conf_int"], get_args(Method))
        for name in ("rank", "ordered"):
            given[name] = truth(name, given[name])
        given["verbose"] = verbosity(given["verbose"])
        check_rank(given["rank"], self.family, self.link)
        given["kind"] = robust_kind(given["robust"], given["cluster"], default)
        given["level"] = confidence_level(given["conf_level"])
        given["permute"] = permutations(given["permute"])
        given["n_boot"], given["n_lags"] = count("n_boot", given["n_boot"]), count("n_lags", given["n_lags"], least=0)
        given["n_jobs"] = workers(given["n_jobs"])
        given["seed"] = whole_seed(given["seed"])
        return given


def cluster_of(given: Mapping[str, Any]) -> str | None:
    """Return the column whose groups the rows of a fit cluster by, if any."""
    return given["cluster"] if given["kind"] == "cluster" else None
