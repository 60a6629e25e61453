"""Profile likelihoods of a linear mixed model: limits of its parameters, and traces.

A parameter is held at a value and the deviance of maximum likelihood, D = log|V/σ²| + n log(2πσ²) + r²/σ², is least in
all others; at given theta σ² is r²/n unless it is held (Bates et al. 2015, J. Stat. Softw. 67, sections 3.4 and 5.1). A
standard deviation or a correlation is held in the Cholesky factor of its bar, its effects in the order in which that is
the length of the first row, or the direction of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import mixed
from pymer4.fit.mixed_blocks import Blocks, blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_outcomes import Outcomes, outcomes
from pymer4.fit.mixed_scale import factors, given_theta, lower_factor, packed, scaled_theta
from pymer4.fit.mixed_terms import Bar
from pymer4.fit.profile_search import BetterFit, Held, Profile, profile

Array: TypeAlias = np.ndarray

_OFF = 0.02  # of a scaled column: no search begins nearer to a variance of 0, where the slope across is 0
_ATTEMPTS = 5


def profiles(
    X: Array, bars: Sequence[Bar], y: Array, weights: Array | None, cutoff: float, steps: int, parts: tuple[bool, bool],
    note: Callable[[], None],
) -> tuple[list[Profile], bool]:  # fmt: skip
    """Return profiles in the order of `infer.mixed_replicates.parameters`, and whether a better fit was found.

    Args:
        X: design, shape (n, p).
        bars: random-effects terms.
        y: outcome, the offset off, shape (n,).
        weights: prior weights, shape (n,), or None.
        cutoff: rise of the deviance at limits.
        steps: points of a trace on either side, to beyond the limits; 0 for no traces.
        parts: whether random part and sigma, and whether coefficients are asked for.
        note: is told of each parameter.

    Raises:
        DataError: better fits lead past one another.
    """
    model, start = _Model(X, bars, y, weights), None
    for attempt in range(_ATTEMPTS):
        base = mixed.fit(model.blocks, y, start)
        try:
            found = []
            for held in model.held(base, *parts):
                found.append(profile(held, float(base.deviance[0]), cutoff, steps))
                if not attempt:
                    note()
            return found, attempt > 0
        except BetterFit as better:
            start = better.args[0]
    raise DataError("The likelihood has maxima that lead past one another: no profile limits. Use other limits.")


class _Model:
    """A model, fitted by maximum likelihood, and what can be held of it."""

    def __init__(self, X: Array, bars: Sequence[Bar], y: Array, weights: Array | None) -> None:
        self.X, self.bars, self.y, self.weights = X, bars, y, weights
        self.blocks = blocks(X, bars, weights, reml=False)

    def held(self, base: mixed.MixedFit, random: bool, fixed: bool) -> Iterator[Held]:
        """Yield them."""
        for t, bar in enumerate(self.bars if random else ()):
            for j in range(bar.Z.shape[1]):
                yield self._sd(base, t, j)
                for i in range(j + 1, bar.Z.shape[1]):
                    yield self._correlation(base, t, i, j)
        if random:
            yield self._sigma(base)
        for j in range(self.X.shape[1] if fixed else 0):
            yield self._coefficient(base, j)

    def _ordered(self, base: mixed.MixedFit, t: int, first: list[int]) -> tuple[_Ordered, Array]:
        """Return the model with some effects of a bar first, and the fit's theta there, (m,), of the scaled columns."""
        bar = self.bars[t]
        order = [*first, *(j for j in range(bar.Z.shape[1]) if j not in first)]
        bars = [*self.bars[:t], Bar(bar.Z[:, order], bar.codes, bar.levels), *self.bars[t + 1 :]]
        design = blocks(self.X, bars, self.weights, reml=False, centred=False)
        model = _Ordered(design, outcomes(design, self.y[:, None]), t, order)
        parts = factors(design, base.theta)
        parts[t] = lower_factor(parts[t][:, order])
        return model, scaled_theta(design, np.hstack([packed(part) for part in parts]))[0]

    def _sd(self, base: mixed.MixedFit, t: int, j: int) -> Held:
        model, theta = self._ordered(base, t, [j])
        at, n, sigma = model.at, model.design.n, float(base.sigma[0])
        free = np.delete(np.arange(len(theta)), at)
        unit = sigma * abs(model.design.scales[t][0, 0])  # of theta, in values
        rate = np.sqrt(2 * n)  # by which log(sigma) is told in standard errors, about

        def whole(values: Array, x: Array) -> Array:
            out = np.empty((len(x), len(theta)))
            out[:, free], out[:, at] = x[:, :-1], values / unit * np.exp(-x[:, -1] / rate)
            return out

        def surface(values: Array, x: Array) -> tuple[Array, Callable[[], Array]]:
            found = Evaluation(model.design, model.outcomes, whole(values, x))
            s2 = sigma**2 * np.exp(2 * x[:, -1] / rate)

            def gradient() -> Array:
                slopes = found.slopes(1 / s2)
                own = 2 * n - 2 * found.r2 / s2 - slopes[:, at] * found.theta[:, at]
                return np.column_stack([slopes[:, free], own / rate])

            return _at_sigma(found, s2), gradient

        estimate, start = theta[at] * unit, np.append(_off(model.design, theta)[free], 0.0)
        step = 0.3 * max(estimate, unit)
        return Held(estimate, (0.0, np.inf), step, start, surface, model.theta_of(whole))

    def _correlation(self, base: mixed.MixedFit, t: int, i: int, j: int) -> Held:
        """All else: theta but for two rows, and the roots of the lengths of these, which are not below 0."""
        model, theta = self._ordered(base, t, [j, i])
        k, at = len(model.order), model.at
        rows = [at, at + 1, at + k]
        free = np.delete(np.arange(len(theta)), rows)

        def whole(values: Array, x: Array) -> Array:
            out = np.empty((len(x), len(theta)))
            out[:, free] = x[:, :-2]
            a, q = x[:, -2] ** 2, x[:, -1] ** 2
            out[:, rows] = np.column_stack([a, q * values, q * np.sqrt(np.maximum(0, 1 - values**2))])
            return out

        def surface(values: Array, x: Array) -> tuple[Array, Callable[[], Array]]:
            found = Evaluation(model.design, model.outcomes, whole(values, x))

            def gradient() -> Array:
                g = found.gradient
                along = values * g[:, at + 1] + np.sqrt(np.maximum(0, 1 - values**2)) * g[:, at + k]
                return np.column_stack([g[:, free], 2 * x[:, -2] * g[:, at], 2 * x[:, -1] * along])

            return found.deviance, gradient

        length = float(np.hypot(*theta[rows[1:]]))
        estimate = float(theta[at + 1] / length) if length > 0 and theta[at] > 0 else 0.0
        roots = np.sqrt(np.maximum([theta[at], length], _OFF))
        start = np.append(_off(model.design, theta)[free], roots)
        return Held(estimate, (-1.0, 1.0), 0.2, start, surface, model.theta_of(whole))

    def _sigma(self, base: mixed.MixedFit) -> Held:
        sigma, n = float(base.sigma[0]), self.blocks.n

        def surface(values: Array, x: Array) -> tuple[Array, Callable[[], Array]]:
            found = Evaluation(self.blocks, base.outcomes, x)
            return _at_sigma(found, values**2), partial(found.slopes, values**-2.0)

        def theta(_: float, x: Array) -> Array:
            return given_theta(self.blocks, x[None])[0]

        start = _off(self.blocks, base.at.theta[0])
        return Held(sigma, (1e-6 * sigma, np.inf), sigma / np.sqrt(2 * n), start, surface, theta)

    def _coefficient(self, base: mixed.MixedFit, j: int) -> Held:
        """Each value is an outcome of the model without the column, with nothing else to be searched for here."""
        rest, column = blocks(np.delete(self.X, j, axis=1), self.bars, self.weights, reml=False), self.X[:, j]

        def fitted(values: Array) -> mixed.MixedFit:
            return mixed.fit(rest, self.y[:, None] - values * column[:, None], base.theta[0])

        def surface(values: Array, x: Array) -> tuple[Array, Callable[[], Array]]:
            return fitted(values).deviance, partial(np.zeros, x.shape)

        step = float(np.sqrt(base.vcov[0, j, j]))
        return Held(
            float(base.b[0, j]), (-np.inf, np.inf), step, np.empty(0), surface,
            lambda value, _: fitted(np.array([value])).theta[0],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Ordered:
    """A model with the effects of bar t in an order, its columns scaled but not centred; `at` is its first theta."""

    design: Blocks
    outcomes: Outcomes
    t: int
    order: list[int]

    @property
    def at(self) -> int:
        return sum(k * (k + 1) // 2 for k in self.design.sizes[: self.t])

    def theta_of(self, whole: Callable[[Array, Array], Array]) -> Callable[[float, Array], Array]:
        """Return what gives theta of the columns as they were from a value and all else."""

        def theta(value: float, x: Array) -> Array:
            parts = factors(self.design, given_theta(self.design, whole(np.array([value]), x[None])))
            parts[self.t] = lower_factor(parts[self.t][:, np.argsort(self.order)])
            return np.hstack([packed(part) for part in parts])[0]

        return theta


def _at_sigma(found: Evaluation, s2: Array) -> Array:
    """Return the deviance at variances s², shape (R,)."""
    return found.logdets + found.blocks.n * np.log(2 * np.pi * s2) + found.r2 / s2 + found.blocks.constant


def _off(design: Blocks, theta: Array) -> Array:
    """Return theta with no entry of Lambda's diagonal near 0."""
    diagonal = np.concatenate([np.equal(*np.triu_indices(k)) for k in design.sizes])
    return np.where(diagonal & (np.abs(theta) < _OFF), _OFF, theta)
