"""What pictures call the outcome of a model, its fitted values and its coefficients, on which scale."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pymer4 import tables
from pymer4.data.families import is_linear

_MEANS = {"binomial": "probability", "poisson": "rate", "nbinom": "rate"}


class OutcomeNames:
    """Names for the axes of a model's pictures. What the outcome is called a model tells by `_outcome`."""

    def _outcome(self) -> tuple[str, list[str]]:
        """Return the left side of the formula as text, and the columns it names; empty where they are not known."""
        return "", []

    def _is_least_squares(self) -> bool:
        return is_linear(self.family, self.link)

    def _fits_named(self) -> str:
        return "Fitted probabilities" if self.family == "binomial" else "Fitted values"

    def _outcome_drawn(self, scale: str, undone: bool = False, sloped: bool = False) -> str:
        """Return what the outcome is called on a scale.

        Args:
            scale: "response" or "link".
            undone: whether a function of the outcome was undone.
            sloped: whether it is a slope or a difference.
        """
        text, columns = self._outcome()
        if not text:
            return ""
        if self._is_least_squares():
            if undone and columns:
                return columns[0]
            return "" if sloped and scale == "response" and text not in columns else text
        if self.family == "binomial":
            text = columns[0] if columns else text
            text = f"probability of {text}" if sloped and scale == "response" else text
        return f"{_link_named(self.family, self.link)}{text}" if scale == "link" else text

    def _estimates_drawn(self) -> str:
        """Return what the coefficients are, on which scale, and of which outcome."""
        return labelled(tables.ESTIMATE, self._outcome_drawn("link"))


def labelled(what: str, outcome: str) -> str:
    """Return a label with the outcome in brackets, where that has a name."""
    return f"{what} ({outcome})" if outcome else what


def scale_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scale of a table of marginal estimates and contrasts, as `_outcome_drawn` takes it."""
    name = table.attrs.get("estimate", "emmean")
    return {
        "scale": table.attrs.get("scale", "response"),
        "undone": name in ("response", "ratio"),
        "sloped": name in ("trend", "estimate"),
    }


def _link_named(family: str, link: str) -> str:
    """Return what stands before an outcome on the scale of a link."""
    if link == "log":
        return f"log {_MEANS.get(family, 'mean')} of "
    return {"identity": "", "logit": "log odds of "}.get(link, f"{link} of ")
