"""The arguments of `Lmer.fit()`: which values are legal, and which do nothing where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import pandas as pd

from pymer4.data.families import has_scale, is_linear
from pymer4.data.frames import absent
from pymer4.data.rformula import RFormula
from pymer4.errors import OptionError, among, count, items, near, shown
from pymer4.models.base import Ddf
from pymer4.models.lmer_formula import argument_names, readable
from pymer4.models.options import FitOptions, legal

_POINTS = 100  # of quadrature, that lme4 has rules for

Engine = Literal["R", "native"]
"""What finds the optimum."""

Method = Literal["Wald", "profile", "boot"]
"""How confidence limits are computed."""


def _listed(names: Any) -> list[Any]:
    """Return the columns that `rank_exclude_cols` names."""
    listed = [names] if isinstance(names, str) else items(names)
    if listed is None:
        raise OptionError(f"rank_exclude_cols={shown(names)} has to be a column's name, or a list of them.")
    return listed


@dataclass(frozen=True, slots=True, kw_only=True)
class LmerOptions(FitOptions):
    """What `Lmer.fit` takes, whose docstring says what each is; `rank_exclude_cols` is a list here."""

    REML: bool
    rank_group: str | None
    rank_exclude_cols: list[Any]
    no_warnings: bool
    control: str | Mapping[str, Any]
    old_optimizer: bool
    ddf: Ddf
    nAGQ: int
    permute_within: str | None
    engine: Engine = "R"

    PLAIN: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **FitOptions.PLAIN,
        "conf_int": legal("conf_int", Method),
        "ddf": legal("ddf", Ddf),
        "engine": legal("engine", Engine),
        "nAGQ": partial(count, "nAGQ", least=0, most=_POINTS),
        "rank_exclude_cols": _listed,
    }

    def check(self, model: Any) -> None:
        """Refuse what does not go with a model; see `FitOptions.check`."""
        FitOptions.check(self, model)
        check_profile("conf_int", self.conf_int, model.family, model.link)
        linear = is_linear(model.family, model.link)
        if self.ddf == "Kenward-Roger":
            check_kenward_roger(linear and self.REML, model._weights is not None)
        if linear and self.nAGQ != 1:
            raise OptionError(f"nAGQ={self.nAGQ} is for generalized models; a linear mixed model needs no quadrature.")
        if model.family == "nbinom" and self.nAGQ > 1:
            raise OptionError(
                f"nAGQ={self.nAGQ} can't be used for family 'nbinom', whose theta is estimated: use 0 or 1."
            )
        self._check_columns(model._reading, model._frame)
        if self.optimizer() is not None and self.engine == "native":
            raise OptionError(
                "control and old_optimizer are about lme4's optimizers. Leave them out, or use engine='R'."
            )
        if not linear and self.engine == "native":
            raise OptionError(
                f"engine='native' is for linear models, and this one is {model.family} with link {model.link!r}. Use "
                "engine='R'."
            )

    def _check_columns(self, formula: RFormula, data: pd.DataFrame) -> None:
        """Refuse names of groupings and columns that the model does not have. A crossing may be named in any order."""
        within, known = self.permute_within, [grouping.label for grouping in formula.groupings]
        if within is not None and not (
            isinstance(within, str) and any(grouping.is_called(within) for grouping in formula.groupings)
        ):
            raise OptionError(
                f"permute_within={shown(within)} is not a grouping factor of the model.{near(within, known)} "
                f"Use one of: {', '.join(map(repr, known))}."
            )
        if not among(self.rank_group, (None, "", *data.columns)):
            raise OptionError(
                f"rank_group={shown(self.rank_group)} is not a column of the data.{absent(self.rank_group, data)}"
            )
        for name in self.rank_exclude_cols:
            if not among(name, formula.columns):
                raise OptionError(
                    f"rank_exclude_cols names {shown(name)}, which the formula does not use."
                    f"{near(name, formula.columns)} It uses: {', '.join(formula.columns)}."
                )

    def optimizer(self) -> str | dict[str, Any] | None:
        """Return R's control arguments, None for the default; OptionError for what R does not take."""
        control = self.control
        if not isinstance(control, (str, Mapping)):
            raise OptionError(
                f"control has to be R text such as \"optimizer='bobyqa'\" or a dict, not a {type(control).__name__}."
            )
        if isinstance(control, Mapping):
            _check_entries(control)
        if self.old_optimizer:
            if control:
                raise OptionError(
                    "old_optimizer=True is short for control=\"optimizer='bobyqa'\"; give one of the two."
                )
            return {"optimizer": "bobyqa"}
        return (readable(control.strip()) if isinstance(control, str) else dict(control)) or None

    def set_by_user(self) -> set[str]:
        """Return the names of R's control arguments that are set; none may scale predictors."""
        control = self.optimizer()
        names = set(argument_names(control) if isinstance(control, str) else control or ())
        if "autoscale" in names:
            raise OptionError(
                "control sets 'autoscale', with which lme4 2 keeps estimates and design on different scales. Write "
                "scale(x) in the formula for the predictors that are to be scaled, and leave it out."
            )
        return names

    def idle(self, method: Callable[..., Any], **acting: tuple[bool, str]) -> list[str]:
        """Return a warning for each argument that was set and has no effect beside the others."""
        acting |= {
            "permute_within": (self.permute > 0, "permute="),
            "rank_group": (self.rank, "rank=True"),
            "rank_exclude_cols": (self.rank or not self.rank_exclude_cols, "rank=True"),
        }
        return FitOptions.idle(self, method, **acting)


def check_kenward_roger(defined: bool, weighted: bool) -> None:
    """Refuse these df where they are not defined, or where R's package would compute others."""
    if not defined:
        raise OptionError(
            "ddf='Kenward-Roger' is defined for linear models fitted with REML=True. Use ddf='Satterthwaite'."
        )
    if weighted:
        raise OptionError(
            "ddf='Kenward-Roger' is computed by pbkrtest, which leaves weights out. Use ddf='Satterthwaite'."
        )


def check_profile(argument: str, method: str, family: str, link: str, instead: str = "") -> None:
    """Refuse a profile where lme4 has none; `argument`, such as `conf_int`, asked for limits by this method."""
    if method == "profile" and not is_linear(family, link) and has_scale(family):
        instead = instead or f"{argument}='boot' or 'Wald'"
        raise OptionError(
            f"{argument}='profile' can't be had for family {family!r} with link {link!r}: lme4 profiles "
            f"no generalized model whose family has a scale. Use {instead}."
        )


def _check_entries(control: Mapping[str, Any]) -> None:
    named, settings = control.get("optimizer"), control.get("optCtrl", {})
    names = [named] if isinstance(named, str) else items(named)
    if named is not None and not (names and all(isinstance(name, str) for name in names)):
        raise OptionError(
            f"control sets optimizer={shown(named)}. Give a name, such as 'bobyqa', or None for no optimization."
        )
    if not isinstance(settings, Mapping):
        raise OptionError(f"control sets optCtrl={shown(settings)}. Give a dict, such as {{'maxfun': 20000}}.")
