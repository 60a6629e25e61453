"""What is inferred: rows of L applied to coefficients b, with their variances and the scale that they are shown on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from pymer4.fit.distributions import Link, Scale, link_function
from pymer4.infer.asymptotic import Alternative, limits

Columns: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """k quantities L b + offset: predictions (L the design of their rows), means, contrasts, or coefficients (L = I).

    Attributes:
        L: shape (k, p).
        link: whose inverse carries a quantity to the scale that it is shown on, or its name.
        offset: shape (k,), or 0.
        curve: of quantities that are no such rows, of which L has the derivatives at the estimate: from coefficients,
            shape (n, p), to the quantities, shape (n, k).
    """

    L: np.ndarray
    link: str | Scale = "identity"
    offset: np.ndarray | float = 0.0
    curve: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def _link(self) -> Link | Scale:
        return link_function(self.link) if isinstance(self.link, str) else self.link

    def estimates(self, b: np.ndarray) -> np.ndarray:
        """Return the quantities, shape (k,), on the scale of the coefficients."""
        return self.L @ b + self.offset

    def replicates(self, b: np.ndarray) -> np.ndarray:
        """Return the quantities without their offset, shape (n, k), of replicates of the coefficients, shape (n, p)."""
        return b @ self.L.T if self.curve is None else self.curve(b) - self.offset

    def variances(self, V: np.ndarray) -> np.ndarray:
        """Return l V l' of each row l, shape (k,)."""
        return np.einsum("ij,ij->i", self.L @ V, self.L)

    def shown(self, estimates: np.ndarray) -> np.ndarray:
        """Return quantities on the scale that they are shown on."""
        return estimates if self.link == "identity" else self._link.inverse(estimates)

    def side(self, alternative: Alternative, estimates: np.ndarray) -> Alternative:
        """Return which limits are infinite as shown: a link that falls puts what is greater below."""
        if alternative == "two-sided" or self.link == "identity":
            return alternative
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            falls = np.nansum(np.sign(self._link.derivative(estimates))) < 0
        return ("less" if alternative == "greater" else "greater") if falls else alternative

    def table(self, estimates: np.ndarray, se: np.ndarray, df: float | np.ndarray, level: float) -> Columns:
        """Return estimates, se and limits, each (k,), as shown: limits are carried over, se is by the delta method."""
        return self.carried(estimates, se, *limits(estimates, se, df, level))

    def carried(self, estimates: np.ndarray, se: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Columns:
        """Return estimates, se and limits of the scale of the coefficients, each (k,), as shown."""
        if self.link == "identity":
            return estimates, se, lower, upper
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            lower, upper = np.sort([self.shown(lower), self.shown(upper)], axis=0)
            return self.shown(estimates), se * np.abs(self._link.derivative(estimates)), lower, upper


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """The quantities of one table.

    Attributes:
        about: what they are.
        target: the quantities.
        rows: their names; None for `"1"`, `"2"`, ...
        labels: variables to their values in each row, or None.
        contrast: what contrasts are called, or None.
        adjusted: p and critical values of contrasts, adjusted for several tests: given estimates, statistics (k,), the
            level and the alternative, returns p and the half widths of limits in standard errors, (k,) each; None for
            plain ones.
        df: their degrees of freedom with the model's own errors, shape (k,); None for those of the rows of L.
        attrs: what the table says of itself.
    """

    about: Literal["coefs", "means", "contrasts", "predictions"]
    target: Target
    rows: Sequence[object] | None = None
    labels: Mapping[str, Any] | None = None
    contrast: Sequence[str] | None = None
    adjusted: Adjusted | None = None
    df: np.ndarray | None = None
    attrs: Mapping[str, Any] | None = None

    @property
    def names(self) -> list[object]:
        """What the quantities are called: their rows, or contrast and levels."""
        if self.rows is not None:
            return list(self.rows)
        parts = [*([self.contrast] if self.contrast is not None else []), *(self.labels or {}).values()]
        if not parts:
            return [str(i + 1) for i in range(len(self.target.L))]
        return [", ".join(map(str, row)) for row in zip(*parts, strict=True)]

    def told(self, **values: Any) -> dict[str, Any]:
        """Return what a table is made of: these values, a number a row each, and what they are called."""
        return {"values": values, "labels": self.labels, "contrast": self.contrast, "rows": self.rows}


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """k quantities as a model estimates them, on the scale of the coefficients.

    Attributes:
        values: without their offset, shape (k,).
        se: standard errors, shape (k,).
        df: degrees of freedom, shape (k,), infinite for z.
        covariance: returns the covariance of the quantities, shape (k, k).
        z: whether they are tested by z.
    """

    values: np.ndarray
    se: np.ndarray
    df: np.ndarray
    covariance: Callable[[], np.ndarray]
    z: bool


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Replicates of k quantities, on the scale of the coefficients, without their offset.

    Attributes:
        values: shape (n, k), NaN where a replicate has none.
        told: what is to be said of those that failed.
        attrs: what the table says of them.
    """

    values: np.ndarray
    told: Sequence[str] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """Statistics under the null hypothesis.

    Attributes:
        observed: those of the data, shape (k,), NaN for what can't be tested so.
        values: shape (n, k).
        told: what is to be said of those.
        attrs: what the table says of them.
    """

    observed: np.ndarray
    values: np.ndarray
    told: Sequence[str] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


Adjusted: TypeAlias = Callable[[Estimates, np.ndarray, float, Alternative], tuple[np.ndarray, np.ndarray]]
"""Given estimates, their statistics, the level and the alternative: p and half widths of limits in standard errors."""
