"""The arguments of `fit()`: frozen records, one a class, each argument checked once and in plain form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np

from pymer4.data.families import check_rank, is_linear
from pymer4.errors import (
    OptionError,
    confidence_level,
    count,
    one_of,
    permutations,
    shown,
    truth,
    verbosity,
    without_effect,
    workers,
)
from pymer4.fit.correlations import Kind
from pymer4.fit.sandwich import Kind as Covariance
from pymer4.infer.second_level import PermOn
from pymer4.work import whole_seed

Robust = Literal["hc0", "hc1", "hc2", "hc3", "hac", "cluster"]
"""Covariances that are robust to unequal variances; see `sandwich.covariance`."""

Scheme = Literal["raw", "freedman-lane"]
"""What a permutation shuffles."""

NativeMethod = Literal["standard", "boot"]
"""How confidence limits of a native model are computed."""

_Options = TypeVar("_Options", bound="FitOptions")


def legal(name: str, values: Any) -> Callable[[Any], Any]:
    """Return what refuses a value of an argument that is none of a `Literal`."""
    return partial(one_of, name, allowed=get_args(values))


def _perm_on(given: Any) -> Any:
    """Return what sign flips are compared on, by one name."""
    return "tstat" if one_of("perm_on", given, get_args(PermOn)) == "t-stat" else given


def _clusters(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise OptionError(f"cluster={shown(given)} is not a column of the data. Give the name of a column.")
    return given


def _covariance(plainly: Robust, robust: Any) -> Any:
    """Return the kind of covariance, `plainly` for True."""
    if robust is None or isinstance(robust, (bool, np.bool_)):
        return plainly if robust else False
    kind = robust.lower() if isinstance(robust, str) else robust
    return str(one_of("robust", kind, (True, False, *get_args(Robust))))


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "permute": permutations,
    "verbose": verbosity,
    "conf_level": confidence_level,
    "seed": whole_seed,
    "n_jobs": workers,
    "n_boot": partial(count, "n_boot"),
    "n_lags": partial(count, "n_lags", least=0),
    "weights": deepcopy,
    "cluster": _clusters,
    "robust": partial(_covariance, "hc1"),
    "scheme": legal("scheme", Scheme),
    "perm_on": _perm_on,
    "to_corrs": partial(one_of, "to_corrs", allowed=(False, True, *get_args(Kind))),
    **{
        name: partial(truth, name)
        for name in ("rank", "ordered", "wls_dof_correction", "ztrans_corrs", "REML", "no_warnings", "old_optimizer")
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What all models take: the arguments of `fit()`, each checked once and in plain form; no permutation is 0."""

    conf_int: str
    n_boot: int
    permute: int
    rank: bool
    verbose: int
    factors: Mapping[str, Any] | None
    ordered: bool
    conf_level: float
    seed: int | None
    n_jobs: int

    PLAIN: ClassVar[Mapping[str, Callable[[Any], Any]]] = _PLAIN
    """What makes an argument plain, or refuses it."""

    @classmethod
    def of(cls: type[_Options], **given: Any) -> _Options:
        """Return what `fit()` was given, each argument checked and in plain form; OptionError for one out of range."""
        names = [field.name for field in fields(cls) if field.name in cls.PLAIN]
        return cls(**given | {name: cls.PLAIN[name](given[name]) for name in names})

    def check(self, model: Any) -> None:
        """Refuse, by an OptionError, what does not go with a model that is to be fitted so."""
        check_rank(self.rank, model.family, model.link)

    def arguments(self, **changed: Any) -> dict[str, Any]:
        """Return the arguments of `fit()` that ask for the same again, but for those that are changed."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | changed

    def idle(self, method: Callable[..., Any], **acting: tuple[bool, str]) -> list[str]:
        """Return a warning for each argument of `fit` that was set and has no effect; see `errors.without_effect`.

        `n_jobs` and `seed` are never among them: they say how resampling may be done, not that it be done.
        """
        lists = any(not isinstance(how, Mapping) for how in (self.factors or {}).values())
        acting |= {
            "n_boot": (self.conf_int == "boot", "conf_int='boot'"),
            "ordered": (lists, "a list of levels in factors="),
        }
        return without_effect(method, self.arguments(), acting)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeOptions(FitOptions):
    """What `Lm` and `Lm2` take beside it; a plain covariance is False."""

    robust: Robust | Literal[False]
    n_lags: int
    cluster: str | None

    PLAIN: ClassVar[Mapping[str, Callable[[Any], Any]]] = _PLAIN | {"conf_int": legal("conf_int", NativeMethod)}

    def check(self, model: Any) -> None:
        """Refuse what does not go with a model; see `FitOptions.check`."""
        FitOptions.check(self, model)
        if self.robust == "cluster" and self.cluster is None:
            raise OptionError(
                "robust='cluster' needs cluster=, the name of the column whose groups the rows belong to."
            )

    @property
    def kind(self) -> Covariance:
        """Which covariance, as in `sandwich.covariance`."""
        return self.robust or "iid"

    @property
    def clustered_by(self) -> str | None:
        """The column whose groups the rows cluster by, if any."""
        return self.cluster if self.robust == "cluster" else None

    @property
    def se_type(self) -> str:
        """What a table says of its standard errors."""
        return f"robust ({self.robust})" if self.robust else "non-robust"

    def idle(self, method: Callable[..., Any], **acting: tuple[bool, str]) -> list[str]:
        """Return a warning for each argument that was set and has no effect beside the others."""
        acting |= {
            "cluster": (self.robust == "cluster", "robust='cluster'"),
            "n_lags": (self.robust == "hac", "robust='hac'"),
        }
        return FitOptions.idle(self, method, **acting)


@dataclass(frozen=True, slots=True, kw_only=True)
class LmOptions(NativeOptions):
    """What `Lm.fit` takes; its weights are a copy."""

    weights: Any
    wls_dof_correction: bool
    scheme: str

    def check(self, model: Any) -> None:
        """Refuse what does not go with a model; see `FitOptions.check`."""
        NativeOptions.check(self, model)
        if self.scheme != "raw" and not is_linear(model.family, model.link):
            raise OptionError(
                "scheme='freedman-lane' shuffles residuals, which is defined for linear models. Use scheme='raw'."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lm2Options(NativeOptions):
    """What `Lm2.fit` takes."""

    perm_on: PermOn
    to_corrs: bool | Kind
    ztrans_corrs: bool

    PLAIN: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**NativeOptions.PLAIN, "robust": partial(_covariance, "hc0")}

    def check(self, model: Any) -> None:
        """Refuse what does not go with a model; see `FitOptions.check`."""
        NativeOptions.check(self, model)
        if self.to_corrs and not is_linear(model.family, model.link):
            raise OptionError(
                f"to_corrs={self.to_corrs!r} is for linear models; this one has family {model.family!r} and link "
                f"{model.link!r}."
            )

    @property
    def corrs(self) -> Kind | Literal[False]:
        """Which correlations are tested, False for coefficients."""
        return "semi" if self.to_corrs is True else self.to_corrs
