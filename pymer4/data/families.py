"""Error distributions and their links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pymer4.errors import OptionError, one_of
from pymer4.fit.distributions import Distribution, name_of

Family = Literal["gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "nbinom"]

LINKS: dict[str, tuple[str, ...]] = {
    "gaussian": ("identity", "log", "inverse"),
    "binomial": ("logit", "probit", "cloglog", "cauchit", "log"),
    "poisson": ("log", "sqrt", "identity"),
    "gamma": ("inverse", "log", "identity"),
    "inverse_gaussian": ("1/mu^2", "inverse", "log", "identity"),
    "nbinom": ("log",),
}
"""The links of each family, its default first."""

NATIVE_LINKS = LINKS | {"nbinom": ("log", "sqrt", "identity")}
"""Those of the models that are fitted without R; lme4's `glmer.nb` has the log alone."""

_MEANS = {"binomial": "probability", "poisson": "rate", "nbinom": "rate"}


def check_family(family: str, link: str | None, links: Mapping[str, tuple[str, ...]] = LINKS) -> str:
    """Return the link of a family, its default where none is given; an OptionError lists those that there are.

    Examples:
        >>> check_family("binomial", None)
        'logit'
    """
    one_of("family", family, get_args(Family))
    return links[family][0] if link is None else str(one_of(f"link (of family {family!r})", link, links[family]))


def named(family: str | Distribution, link: str | None = None) -> tuple[str, str]:
    """Return the names of a family, given by its name or its record, and of its link, by default its own."""
    name = name_of(family) if isinstance(family, Distribution) else family
    if name is None:
        raise OptionError("The record of this family has no name. Give the name, such as family='nbinom'.")
    return name, check_family(name, link, NATIVE_LINKS)


def is_linear(family: str, link: str) -> bool:
    """Whether the model is a linear mixed model, and not a generalized one."""
    return (family, link) == ("gaussian", "identity")


def link_named(family: str, link: str) -> str:
    """Return what stands before an outcome on the scale of a link."""
    if link == "log":
        return f"log {_MEANS.get(family, 'mean')} of "
    return {"identity": "", "logit": "log odds of "}.get(link, f"{link} of ")


def has_scale(family: str) -> bool:
    """Whether the family has a scale that is estimated with the coefficients."""
    return family in ("gaussian", "gamma", "inverse_gaussian")


def check_rank(rank: bool, family: str, link: str) -> None:
    """Refuse ranks for a model that is not linear, whose outcome does not take them."""
    if rank and not is_linear(family, link):
        raise OptionError(
            f"rank=True puts ranks in the place of the outcome, which family {family!r} with link {link!r} does not "
            "take. It is for linear models; rank predictors of others in the data, with data['x'].rank()."
        )
