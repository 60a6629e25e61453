"""What is inferred: rows of L applied to coefficients b, with their variances and the scale that they are shown on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymer4.fit.distributions import link_function
from pymer4.infer.asymptotic import Inference


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

    def inferred(self, estimates: np.ndarray, found: Inference) -> Inference:
        """Return what was inferred on the scale that is shown: limits are carried over, se by the delta method."""
        if self.link == "identity":
            return found
        lower, upper = np.sort([self.shown(found.lower), self.shown(found.upper)], axis=0)
        se = found.se * np.abs(link_function(self.link).derivative(estimates))
        return replace(found, se=se, lower=lower, upper=upper)
