"""The optimum of the deviance in theta, for one outcome or many side by side.

Lambda may have any sign on its diagonal here: the deviance does not change with the sign of a column, so that there are
no bounds to stop at, and a variance of zero is a point like another. Newton's steps take the absolute values of the
Hessian's eigenvalues, which leave a saddle downhill (Gill, Murray & Wright 1981, Practical Optimization, 4.4.2.1); the
Hessian is that of differences of the analytic gradient. From four thetas on, one outcome starts by L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize

from pymer4.fit.mixed_blocks import Blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_outcomes import Outcomes

Array: TypeAlias = np.ndarray

STEPS = 100
_FEW = 3  # thetas up to which Newton's steps begin at once
_LARGE = 2**17  # entries of blocks from which an evaluation costs more than what surrounds it
_AT_ONCE = 2**22  # numbers of all blocks that points evaluated together may take
_STEP = 1e-4  # of differences of the gradient
_LONGEST = 0.8  # of theta: no step ends at a Lambda of 0, where the gradient says nothing
_SADDLE, _AWAY = 1e-6, 0.1  # negative curvature, relative, that is left, and the step that leaves it
_SETTLED = 1e-8  # step, relative, after which a theta is found
_BOUND = 1e-3  # below it a theta may be 0
_RISE = 1e-8  # of the deviance, that a theta at 0 may cost


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where R outcomes have the least deviance.

    Attributes:
        theta: shape (R, m), for the scaled columns.
        deviance: shape (R,); NaN where an outcome has none.
        converged: shape (R,).
        hessian: of the deviance, where one outcome's last step had it; else None.
    """

    theta: Array
    deviance: Array
    converged: Array
    hessian: Array | None = None


def optimum(blocks: Blocks, outcomes: Outcomes, start: Array | None = None) -> Optimum:
    """Return the optimum of each outcome, from lme4's start (Lambda = I) or from one of shape (m,) or (R, m)."""
    R = len(outcomes.total)
    theta = np.broadcast_to(unit(blocks) if start is None else start, (R, blocks.m)).copy()
    if R == 1 and (blocks.m > _FEW or (blocks.rest is not None and len(blocks.rest.A22) > _LARGE)):
        theta = _descend(blocks, outcomes, theta)
    theta, deviance, converged = _newton(blocks, outcomes, theta)
    theta, deviance = _bounded(blocks, outcomes, theta, deviance)
    return Optimum(theta, deviance, converged & np.isfinite(deviance))


def diagonal(blocks: Blocks) -> Array:
    """Return which thetas stand on the diagonal of Lambda, shape (m,)."""
    return np.concatenate([np.equal(*np.triu_indices(k)) for k in blocks.sizes])


def unit(blocks: Blocks) -> Array:
    """Return the theta of Lambda = I."""
    return diagonal(blocks).astype(float)


def hessian(blocks: Blocks, outcomes: Outcomes, theta: Array, both: bool = True) -> Array:
    """Return the Hessian of the deviance at theta, (R, m, m), from differences of its gradient.

    Args:
        blocks: the design.
        outcomes: R, or one.
        theta: shape (R, m).
        both: to both sides, which is right to the square of the step.
    """
    R, m = theta.shape
    steps = _STEP * np.maximum(1, np.abs(theta))
    sides = (1.0, -1.0) if both else (1.0, 0.0)
    H = np.empty((R, m, m))
    shared = R == 1 and 2 * m * (1 if blocks.rest is None else len(blocks.rest.A22)) <= _AT_ONCE
    if shared:
        shifts = np.diag(steps[0])
        points = np.vstack([theta + side * shifts for side in sides])
        up, down = Evaluation(blocks, outcomes, points).gradient.reshape(2, m, m)
        H[0] = (up - down) / ((sides[0] - sides[1]) * steps.T)
    else:
        centre = None if both else Evaluation(blocks, outcomes, theta).gradient
        for j in range(m):
            shift = np.zeros((R, m))
            shift[:, j] = steps[:, j]
            up = Evaluation(blocks, outcomes, theta + shift).gradient
            down = Evaluation(blocks, outcomes, theta - shift).gradient if centre is None else centre
            H[:, j] = (up - down) / ((sides[0] - sides[1]) * steps[:, j, None])
    return (H + H.transpose(0, 2, 1)) / 2


def _descend(blocks: Blocks, outcomes: Outcomes, theta: Array) -> Array:
    """Return theta after L-BFGS on deviance/n."""

    def value(x: Array) -> tuple[float, Array]:
        at = Evaluation(blocks, outcomes, x[None])
        if not np.isfinite(at.deviance[0]):
            return np.inf, np.zeros(blocks.m)
        return at.deviance[0] / blocks.n, at.gradient[0] / blocks.n

    options = {"maxiter": 1000, "maxfun": 5000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 20}
    return minimize(value, theta[0], jac=True, method="L-BFGS-B", options=options).x[None]


def _newton(blocks: Blocks, outcomes: Outcomes, theta: Array) -> tuple[Array, Array, Array]:
    """Return theta, deviance and whether the last step was small, after Newton's steps of each outcome."""
    R = len(theta)
    theta = theta.copy()
    at = Evaluation(blocks, outcomes, theta)
    deviance = at.deviance.copy()
    converged = np.zeros(R, dtype=bool)
    active = np.flatnonzero(np.isfinite(deviance))
    here = outcomes if len(active) == R else outcomes.among(active)
    gradient = at.gradient if len(active) == R else at.gradient[active]
    for _ in range(STEPS):
        if not len(active):
            break
        H = hessian(blocks, here, theta[active], both=R == 1)
        step, gain = _step(H, gradient, theta[active])
        moved, value, gradient = _search(blocks, here, theta[active], deviance[active], step, gain)
        small = np.abs(moved - theta[active]).max(axis=1) <= _SETTLED * np.maximum(1, np.abs(moved).max(axis=1))
        theta[active], deviance[active] = moved, value
        converged[active[small]] = True
        if small.any():
            here, active, gradient = here.among(~small) if R > 1 else here, active[~small], gradient[~small]
    return theta, deviance, converged


def _step(H: Array, gradient: Array, theta: Array) -> tuple[Array, Array]:
    """Return Newton's steps, shorter than theta is or 1, and the slopes along them.

    Where the gradient is nothing beside a negative curvature (a variance at 0 that should not be), they go along it.
    """
    values, vectors = np.linalg.eigh(H)
    curvature = np.abs(values)
    curvature = np.maximum(curvature, 1e-10 * np.maximum(curvature.max(axis=1, keepdims=True), 1e-8))
    inner = np.einsum("rji,rj->ri", vectors, gradient)
    step = -np.einsum("rij,rj->ri", vectors, inner / curvature)
    saddle = (np.abs(step).max(axis=1) < _BOUND) & (values[:, 0] < -_SADDLE * curvature.max(axis=1))
    step[saddle] += _AWAY * vectors[saddle, :, 0]
    length = np.linalg.norm(step, axis=1)
    most = _LONGEST * np.maximum(1, np.linalg.norm(theta, axis=1))
    step *= np.minimum(1, most / np.maximum(length, np.finfo(float).tiny))[:, None]
    return step, (step * gradient).sum(axis=1)


def _search(
    blocks: Blocks, outcomes: Outcomes, theta: Array, deviance: Array, step: Array, slope: Array
) -> tuple[Array, Array, Array]:
    """Return theta, deviance and gradient after steps halved until the deviance falls; those that never fall stay."""
    noise = 1e-12 * np.maximum(1, np.abs(deviance))
    moved, value = theta + step, deviance.copy()
    at = Evaluation(blocks, outcomes, moved)
    value[:] = at.deviance
    open_ = np.flatnonzero(~(value <= deviance + 1e-4 * slope + noise))
    if not len(open_):
        return moved, value, at.gradient
    share = 1.0
    for _ in range(40):
        share /= 2
        moved[open_] = theta[open_] + share * step[open_]
        value[open_] = Evaluation(blocks, _part(outcomes, open_), moved[open_]).deviance
        fell = value[open_] <= deviance[open_] + 1e-4 * share * slope[open_] + noise[open_]
        open_ = open_[~fell]
        if not len(open_):
            break
    moved[open_], value[open_] = theta[open_], deviance[open_]
    return moved, value, Evaluation(blocks, outcomes, moved).gradient


def _part(outcomes: Outcomes, index: Array) -> Outcomes:
    return outcomes if len(outcomes.total) == 1 else outcomes.among(index)


def _bounded(blocks: Blocks, outcomes: Outcomes, theta: Array, deviance: Array) -> tuple[Array, Array]:
    """Return theta with entries of the diagonal at 0, where they are small and that costs nothing."""
    theta, deviance = theta.copy(), deviance.copy()
    for j in np.flatnonzero(diagonal(blocks)):
        near = np.flatnonzero((np.abs(theta[:, j]) < _BOUND) & np.isfinite(deviance))
        if not len(near):
            continue
        trial = theta[near].copy()
        trial[:, j] = 0.0
        value = Evaluation(blocks, _part(outcomes, near), trial).deviance
        kept = value <= deviance[near] + _RISE
        theta[near[kept]] = trial[kept]
        deviance[near[kept]] = value[kept]
    return theta, deviance
