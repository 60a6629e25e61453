"""The arguments of `Lmer.fit()`: which values are legal, and which do nothing where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from pymer4.data.families import check_rank, has_scale, is_linear
from pymer4.data.formula import Formula, names_in, parse, parse_arguments
from pymer4.data.intake import crossings
from pymer4.data.syntax import Name, deparse
from pymer4.data.used import columns_used
from pymer4.errors import (
    FormulaError,
    OptionError,
    among,
    confidence_level,
    count,
    items,
    near,
    one_of,
    permutations,
    shown,
    truth,
    verbosity,
    without_effect,
    workers,
)
from pymer4.models.base import Ddf
from pymer4.work import whole_seed

_POINTS = 100
"""Quadrature points that lme4 has rules for."""

Method = Literal["Wald", "profile", "boot"]
"""How confidence limits are computed."""


def plain_options(
    given: Mapping[str, Any], family: str, link: str, weighted: bool, formula: Formula, columns: Sequence[Any]
) -> dict[str, Any]:
    """Return the arguments of a fit, checked, numbers and truth values in plain form.

    Args:
        given: arguments by name.
        family: of the model.
        link: of the model.
        weighted: whether the model has prior weights.
        formula: of the model.
        columns: of the user's frame.

    Raises:
        OptionError: an argument out of its range, or one that does not go with the model.
    """
    linear = is_linear(family, link)
    one_of("conf_int", given["conf_int"], get_args(Method))
    one_of("ddf", given["ddf"], get_args(Ddf))
    plain = {name: truth(name, given[name]) for name in ("REML", "ordered", "rank", "no_warnings", "old_optimizer")}
    plain["verbose"] = verbosity(given["verbose"])
    check_rank(plain["rank"], family, link)
    check_profile("conf_int", given["conf_int"], family, link)
    if given["ddf"] == "Kenward-Roger":
        _check_kenward_roger(linear and plain["REML"], weighted)
    plain["conf_level"] = confidence_level(given["conf_level"])
    plain["n_boot"] = count("n_boot", given["n_boot"])
    plain["nAGQ"] = count("nAGQ", given["nAGQ"], least=0, most=_POINTS)
    plain["permute"], plain["n_jobs"] = permutations(given["permute"]), workers(given["n_jobs"])
    plain["seed"] = whole_seed(given["seed"])
    if linear and plain["nAGQ"] != 1:
        raise OptionError(f"nAGQ={plain['nAGQ']} is for generalized models; a linear mixed model needs no quadrature.")
    if family == "nbinom" and plain["nAGQ"] > 1:
        raise OptionError(
            f"nAGQ={plain['nAGQ']} can't be used for family 'nbinom', whose theta is estimated: use 0 or 1."
        )
    plain["rank_exclude_cols"] = unranked(given)
    _check_within(given["permute_within"], formula)
    _check_ranked(given["rank_group"], plain["rank_exclude_cols"], formula, columns)
    return {**given, **plain}


def _check_kenward_roger(defined: bool, weighted: bool) -> None:
    if not defined:
        raise OptionError(
            "ddf='Kenward-Roger' is defined for linear models fitted with REML=True. Use ddf='Satterthwaite'."
        )
    if weighted:
        raise OptionError(
            "ddf='Kenward-Roger' is computed by pbkrtest, which leaves weights out. Use ddf='Satterthwaite'."
        )


def check_profile(argument: str, method: str, family: str, link: str) -> None:
    """Refuse a profile where lme4 has none.

    Args:
        argument: `conf_int` or `method`, for the message.
        method: how limits are computed.
        family: of the model.
        link: of the model.
    """
    if method == "profile" and not is_linear(family, link) and has_scale(family):
        raise OptionError(
            f"{argument}='profile' can't be had for family {family!r} with link {link!r}: lme4 profiles "
            f"no generalized model whose family has a scale. Use {argument}='boot' or 'Wald'."
        )


def _check_within(within: Any, formula: Formula) -> None:
    """Refuse a grouping factor that the formula does not have. A crossing may be named in any order."""
    if within is None:
        return
    groups = [group for term in formula.random for group in crossings(term.group)]
    labels = [group.name if isinstance(group, Name) else deparse(group) for group in groups]
    if isinstance(within, str) and (within in labels or _columns_of(within) in [set(names_in(g)) for g in groups]):
        return
    known = dict.fromkeys(labels)
    raise OptionError(
        f"permute_within={shown(within)} is not a grouping factor of the model.{near(within, known)} "
        f"Use one of: {', '.join(map(repr, known))}."
    )


def _columns_of(group: str) -> set[str]:
    """Return the columns that the text of a grouping names; none where it can't be read."""
    try:
        return set(names_in(parse(f"y ~ (1 | {group})").random[0].group))
    except (FormulaError, IndexError):
        return set()


def unranked(given: Mapping[str, Any]) -> list[Any]:
    """Return the columns that `rank_exclude_cols` names."""
    names = given["rank_exclude_cols"]
    listed = [names] if isinstance(names, str) else items(names)
    if listed is None:
        raise OptionError(f"rank_exclude_cols={shown(names)} has to be a column's name, or a list of them.")
    return listed


def _check_ranked(within: Any, without: list[Any], formula: Formula, columns: Sequence[Any]) -> None:
    if not among(within, (None, "", *columns)):
        raise OptionError(f"rank_group={shown(within)} is not a column of the data.{near(within, columns)}")
    used = columns_used(formula, list(columns))
    for name in without:
        if not among(name, used):
            raise OptionError(
                f"rank_exclude_cols names {shown(name)}, which the formula does not use.{near(name, used)} "
                f"It uses: {', '.join(used)}."
            )


def idle_options(method: Callable, given: Mapping[str, Any]) -> list[str]:
    """Return a warning for each argument that was set and has no effect where it stands.

    Args:
        method: `Lmer.fit`.
        given: what `plain_options` returns.
    """
    lists = any(not isinstance(how, Mapping) for how in (given["factors"] or {}).values())
    acting = {
        "n_boot": (given["conf_int"] == "boot", "conf_int='boot'"),
        "ordered": (lists, "a list of levels in factors="),
        "permute_within": (given["permute"] > 0, "permute="),
        "rank_group": (given["rank"], "rank=True"),
        "rank_exclude_cols": (given["rank"] or not given["rank_exclude_cols"], "rank=True"),
    }
    return without_effect(method, given, acting)


def optimizer_control(control: Any, old_optimizer: bool) -> str | dict[str, Any] | None:
    """Return R's control arguments, None for the default.

    Raises:
        OptionError: neither text nor a dict, entries of another kind than R's, one beside `old_optimizer`, or one that
            scales predictors.
    """
    if not isinstance(control, (str, Mapping)):
        raise OptionError(
            f"control has to be R text such as \"optimizer='bobyqa'\" or a dict, not a {type(control).__name__}."
        )
    if isinstance(control, Mapping):
        _check_entries(control)
    if old_optimizer:
        if control:
            raise OptionError("old_optimizer=True is short for control=\"optimizer='bobyqa'\"; give one of the two.")
        return {"optimizer": "bobyqa"}
    if "autoscale" in names_set(control):
        raise OptionError(
            "control sets 'autoscale', with which lme4 2 keeps estimates and design on different scales. Write "
            "scale(x) in the formula for the predictors that are to be scaled, and leave it out."
        )
    return (control if isinstance(control, str) else dict(control)) or None


def _check_entries(control: Mapping[str, Any]) -> None:
    named, settings = control.get("optimizer"), control.get("optCtrl", {})
    names = [named] if isinstance(named, str) else items(named)
    if named is not None and not (names and all(isinstance(name, str) for name in names)):
        raise OptionError(
            f"control sets optimizer={shown(named)}. Give a name, such as 'bobyqa', or None for no optimization."
        )
    if not isinstance(settings, Mapping):
        raise OptionError(f"control sets optCtrl={shown(settings)}. Give a dict, such as {{'maxfun': 20000}}.")


def names_set(control: str | Mapping[str, Any] | None) -> set[str]:
    """Return the names of the arguments that `control` sets."""
    return set(parse_arguments(control) if isinstance(control, str) else control or ())
