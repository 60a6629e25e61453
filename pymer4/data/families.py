"""Error distributions, their links, and the outcomes they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from pymer4.data.columns import Column
from pymer4.data.rformula import Response
from pymer4.errors import DataError, OptionError, one_of

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
    """Return the link of a family, its default where none is given.

    Args:
        family: error distribution.
        link: its link, or None.
        links: the links there are.

    Raises:
        OptionError: no such family, or no such link for it; the message lists those there are.

    Examples:
        >>> check_family("binomial", None)
        'logit'
    """
    one_of("family", family, get_args(Family))
    return links[family][0] if link is None else str(one_of(f"link (of family {family!r})", link, links[family]))


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
    """Refuse ranks where the outcome's family does not take them.

    Raises:
        OptionError: ranks for a model that is not linear.
    """
    if rank and not is_linear(family, link):
        raise OptionError(
            f"rank=True puts ranks in the place of the outcome, which family {family!r} with link {link!r} does not "
            "take. It is for linear models; rank predictors of others in the data, with data['x'].rank()."
        )


def check_outcome(
    family: str, response: Response, columns: Mapping[str, Column], complete: np.ndarray, weighted: bool
) -> None:
    """Refuse an outcome that a family can't have.

    Outcomes that are computed are left to R, but for `cbind(successes, failures)`.

    Args:
        family: the error distribution.
        response: left side of the formula.
        columns: the data, by name.
        complete: rows that are used, shape (n,).
        weighted: whether there are prior weights, which make a proportion an outcome of several trials.

    Raises:
        DataError: naming the outcome, what it holds, and what the family takes.
    """
    if family != "binomial" and response.counts is not None:
        raise DataError(
            f"The outcome {response.text} has several columns; family {family!r} takes one. Fit a model to each, "
            "or use family='binomial' for successes and failures."
        )
    if family == "gaussian" and response.is_column:
        _check_varies(response.text, columns, complete)
    for name in (response.text,) if response.is_column else response.counts or ():
        if name not in columns:
            continue
        column = columns[name]
        if column.kind == "factor":
            _check_factor(family, name, column, complete)
        elif column.kind != "logical" or family != "binomial":
            _check_numbers(family, name, column.values[complete].astype(float), response.is_column, weighted)


def part_counts(family: str, parts: np.ndarray, n: int) -> list[str]:
    """Return a warning of counts that are no whole numbers, none where all are.

    Args:
        family: of the model.
        parts: those counts.
        n: number of rows used.
    """
    if not len(parts):
        return []
    return [
        f"The outcome is no whole number in {len(parts)} of the {n} rows used, such as {parts[0]:g}. Family {family!r} "
        "is of counts, and gives these no likelihood: use counts, with offset= for what they are rates of, or 'gamma'"
    ]


def _check_varies(name: str, columns: dict[str, Column], complete: np.ndarray) -> None:
    column = columns.get(name)
    if column is not None and column.kind in ("double", "integer") and np.ptp(column.values[complete]) == 0:
        raise DataError(
            f"The outcome {name!r} is {column.values[complete][0]:g} in every row used: there is nothing to explain."
        )


def _check_factor(family: str, name: str, column: Column, complete: np.ndarray) -> None:
    found = [column.levels[code - 1] for code in np.unique(column.values[complete])]
    if family != "binomial":
        raise DataError(
            f"The outcome {name!r} is a factor; family {family!r} takes numbers. Use family='binomial' for two levels."
        )
    if len(found) != 2:
        raise DataError(
            f"The outcome {name!r} has {len(found)} levels ({', '.join(found[:8])}); family 'binomial' takes two, the "
            "first of which is failure. Merge or drop the others."
        )


def _check_numbers(family: str, name: str, values: np.ndarray, single: bool, weighted: bool) -> None:
    low, high = values.min(), values.max()
    if family == "binomial" and single:
        if low < 0 or high > 1 or (not weighted and np.any((values != 0) & (values != 1))):
            shown = ", ".join(f"{v:g}" for v in np.unique(values)[:6])
            raise DataError(
                f"The outcome {name!r} holds {shown}{', ...' if len(np.unique(values)) > 6 else ''}. Family 'binomial' "
                "takes 0 and 1, two levels of text, booleans, cbind(successes, failures), or a proportion with the "
                "number of trials as weights=."
            )
    elif family in ("poisson", "nbinom", "binomial"):
        if low < 0:
            raise DataError(
                f"The outcome {name!r} has values down to {low:g}; family {family!r} takes counts of at least 0."
            )
    elif family in ("gamma", "inverse_gaussian") and low <= 0:
        raise DataError(f"The outcome {name!r} has values down to {low:g}; family {family!r} takes numbers above 0.")
