"""What is inferred: rows of L applied to coefficients b, with their variances and the scale that they are shown on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pymer4.fit.distributions import link_function
from pymer4.infer.asymptotic import limits

Columns: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """k quantities L b + offset: predictions (L the design of their rows), means, contrasts, or coefficients (L = I).

    Attributes:
        L: shape (k, p).
        link: whose inverse carries a quantity to the scale that it is shown on.
        offset: shape (k,), or 0.
    """

    L: np.ndarray
    link: str = "identity"
    offset: np.ndarray | float = 0.0

    def estimates(self, b: np.ndarray) -> np.ndarray:
        """Return the quantities, shape (k,), on the scale of the coefficients."""
        return self.L @ b + self.offset

    def variances(self, V: np.ndarray) -> np.ndarray:
        """Return l V l' of each row l, shape (k,)."""
        return np.einsum("ij,ij->i", self.L @ V, self.L)

    def shown(self, estimates: np.ndarray) -> np.ndarray:
        """Return quantities on the scale that they are shown on."""
        return estimates if self.link == "identity" else link_function(self.link).inverse(estimates)

    def table(self, estimates: np.ndarray, se: np.ndarray, df: float | np.ndarray, level: float) -> Columns:
        """Return estimates, se and limits, each (k,), as shown: limits are carried over, se is by the delta method."""
        lower, upper = limits(estimates, se, df, level)
        if self.link == "identity":
            return estimates, se, lower, upper
        lower, upper = np.sort([self.shown(lower), self.shown(upper)], axis=0)
        return self.shown(estimates), se * np.abs(link_function(self.link).derivative(estimates)), lower, upper
