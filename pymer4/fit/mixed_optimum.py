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
from pymer4.fit.mixed_moments import moment_start
from pymer4.fit.mixed_outcomes import Outcomes

Array: TypeAlias = np.ndarray

STEPS = 100
_FEW = 3  # thetas up to which Newton's steps begin at once
_LARGE = 2**17  # entries of blocks from which an evaluation costs more than what surrounds it
_AT_ONCE = 2**22  # numbers of all blocks that points evaluated together may take
_STEP = 1e-4  # of differences of the gradient
_LONGEST = 0.8  # of theta: no step ends at a Lambda of 0, where the gradient says nothing
_SADDLE, _AWAY = 1e-6, 0.1  # negative curvature, relative, that is left, and the step that leaves it
_SETTLED = 1e-5  # step, relative, after which a theta is found: steps are squared each time
_MENDED = 1e-8  # likewise, where the Hessian is mended: steps shrink by a tenth or better
_SAME = 1e-8  # step, relative, over which the Hessian stays as good as its differences
_LOST = 1e-6  # fall of the deviance that a step promised, below which rounding may hide it
_FORETOLD = 0.1  # of a gradient, that a Hessian may miss
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
        at: the evaluation at theta, unless some of it was set to 0.
    """

    theta: Array
    deviance: Array
    converged: Array
    hessian: Array | None
    at: Evaluation | None


def optimum(blocks: Blocks, outcomes: Outcomes, start: Array | None = None) -> Optimum:
    """Return the optimum of each outcome, from a start of shape (m,) or (R, m).

    By default one outcome begins at its moments, several at lme4's start, Lambda = I.
    """
    R, H = len(outcomes.total), None
    if start is None:
        start = moment_start(blocks, outcomes) if R == 1 and np.isfinite(outcomes.total[0]) else unit(blocks)
    theta = np.broadcast_to(start, (R, blocks.m)).copy()
    if R > 1:
        theta, converged = _newton(blocks, outcomes, theta)
    else:
        if blocks.m > _FEW:
            theta = _descend(blocks, outcomes, theta)
        elif blocks.rest is not None and len(blocks.rest.A22) > _LARGE:
            theta, _ = _newton(blocks, outcomes, theta, _SETTLED)
        theta, H, converged = _newton_one(blocks, outcomes, theta)
    at = Evaluation(blocks, outcomes, theta)
    found, deviance = _bounded(at)
    same = bool((found == theta).all())
    return Optimum(found, deviance, converged & np.isfinite(deviance), H if same else None, at if same else None)


def diagonal(blocks: Blocks) -> Array:
    """Return which thetas stand on the diagonal of Lambda, shape (m,)."""
    return np.concatenate([np.equal(*np.triu_indices(k)) for k in blocks.sizes])


def unit(blocks: Blocks) -> Array:
    """Return the theta of Lambda = I."""
    return diagonal(blocks).astype(float)


def hessian(blocks: Blocks, outcomes: Outcomes, theta: Array, centre: Array | None = None) -> Array:
    """Return the Hessian of the deviance of each outcome at its theta, (R, m, m), from differences of its gradient.

    Args:
        blocks: the design.
        outcomes: R of them.
        theta: shape (R, m).
        centre: the gradient there, (R, m), from which differences are to one side; by default they are to both, and
            right to the square of the step.
    """
    if len(theta) == 1 and centre is None:
        return _stencil(blocks, outcomes, theta)[2]
    R, m = theta.shape
    steps = _STEP * np.maximum(1, np.abs(theta))
    H = np.empty((R, m, m))
    for j in range(m):
        shift = np.zeros((R, m))
        shift[:, j] = steps[:, j]
        up = Evaluation(blocks, outcomes, theta + shift).gradient
        down = Evaluation(blocks, outcomes, theta - shift).gradient if centre is None else centre
        H[:, j] = (up - down) / ((1 if centre is not None else 2) * steps[:, j, None])
    return (H + H.transpose(0, 2, 1)) / 2


def _stencil(blocks: Blocks, outcome: Outcomes, theta: Array) -> tuple[Array, Array, Array]:
    """Return deviance (1,), gradient (1, m) and Hessian (1, m, m) of one outcome, from points evaluated together."""
    m = blocks.m
    steps = _STEP * np.maximum(1, np.abs(theta[0]))
    shifts = np.diag(steps)
    points = np.vstack([theta, theta + shifts, theta - shifts])
    size = m if blocks.rest is None else len(blocks.rest.A22)
    share = max(1, _AT_ONCE // size)
    parts = [Evaluation(blocks, outcome, points[i : i + share]) for i in range(0, len(points), share)]
    gradient = np.concatenate([part.gradient for part in parts])
    H = (gradient[1 : m + 1] - gradient[m + 1 :]) / (2 * steps[:, None])
    known = np.isfinite(H).all()
    return parts[0].deviance[:1] if known else np.array([np.nan]), gradient[:1], ((H + H.T) / 2)[None]


def _descend(blocks: Blocks, outcomes: Outcomes, theta: Array) -> Array:
    """Return theta after L-BFGS on deviance/n."""

    def value(x: Array) -> tuple[float, Array]:
        at = Evaluation(blocks, outcomes, x[None])
        if not np.isfinite(at.deviance[0]):
            return np.inf, np.zeros(blocks.m)
        return at.deviance[0] / blocks.n, at.gradient[0] / blocks.n

    options = {"maxiter": 1000, "maxfun": 5000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 20}
    return minimize(value, theta[0], jac=True, method="L-BFGS-B", options=options).x[None]


def _newton_one(blocks: Blocks, outcome: Outcomes, theta: Array) -> tuple[Array, Array | None, Array]:
    """Return theta (1, m), the Hessian if it was taken there, and whether the last step was small, after Newton's."""
    deviance, gradient, H = _stencil(blocks, outcome, theta)
    for _ in range(STEPS):
        if not np.isfinite(deviance[0]):
            break
        step, slope = newton_step(H, gradient, theta)
        if _small(step, theta)[0]:
            return theta + step, H if _small(step, theta, _SAME)[0] else None, np.array([True])
        for share in 0.5 ** np.arange(40):
            moved, *looked = theta + share * step, *_stencil(blocks, outcome, theta + share * step)
            if fell(looked[0], deviance, share * slope)[0]:
                break
        else:
            return theta, H, -slope <= _LOST
        theta, (deviance, gradient, H) = moved, looked
    return theta, H, np.array([False])


def _newton(blocks: Blocks, outcomes: Outcomes, theta: Array, settled: float = _MENDED) -> tuple[Array, Array]:
    """Return theta, and whether the last step was small, after Newton's steps of each outcome.

    A Hessian is taken anew only where it did not foretell the gradient; else it is mended by what that was (Powell's
    symmetric form of Broyden's update: Dennis & Schnabel 1983, Numerical Methods, 9.1).
    """
    R, m = theta.shape
    theta, converged = theta.copy(), np.zeros(R, dtype=bool)
    at = Evaluation(blocks, outcomes, theta)
    active = np.flatnonzero(np.isfinite(at.deviance))
    here, deviance, gradient = outcomes.among(active), at.deviance[active], at.gradient[active]
    H, stale = np.empty((len(active), m, m)), np.ones(len(active), dtype=bool)
    for _ in range(STEPS):
        if stale.any():
            H[stale] = hessian(blocks, here.among(stale), theta[active[stale]], gradient[stale])
        step, slope = newton_step(H, gradient, theta[active])
        done = _small(step, theta[active], settled)
        if done.any():
            theta[active[done]] += step[done]
            converged[active[done]] = True
            here = here.among(~done)
            active, deviance, gradient, H, step, slope = (
                values[~done] for values in (active, deviance, gradient, H, step, slope)
            )
        if not len(active):
            break
        moved, deviance, after, stuck = _search(blocks, here, theta[active], deviance, step, slope)
        hidden = -slope[stuck] <= _LOST
        converged[active[stuck[hidden]]] = True
        stuck, again = stuck[hidden | stale[stuck]], stuck
        stale = _mended(H, moved - theta[active], gradient, after)
        stale[again] = True
        theta[active] = moved
        keep = np.delete(np.arange(len(active)), stuck)
        here, active, deviance, gradient = here.among(keep), active[keep], deviance[keep], after[keep]
        H, stale = H[keep], stale[keep]
    return theta, converged


def _mended(H: Array, step: Array, before: Array, after: Array) -> Array:
    """Mend Hessians, (R, m, m), by gradients before and after a step, and return where they foretold too little."""
    missed = after - before - np.einsum("rij,rj->ri", H, step)
    square = np.maximum((step**2).sum(axis=1, keepdims=True), np.finfo(float).tiny)
    half = (missed - step * ((missed * step).sum(axis=1, keepdims=True) / (2 * square))) / square
    H += half[:, :, None] * step[:, None, :] + step[:, :, None] * half[:, None, :]
    return np.linalg.norm(missed, axis=1) > _FORETOLD * np.linalg.norm(before, axis=1)


def _small(step: Array, theta: Array, bound: float = _SETTLED) -> Array:
    return np.abs(step).max(axis=1) <= bound * np.maximum(1, np.abs(theta).max(axis=1))


def fell(value: Array, deviance: Array, slope: Array) -> Array:
    """Return whether the deviance fell enough on a step, but for rounding."""
    return value <= deviance + 1e-4 * slope + 1e-12 * np.maximum(1, np.abs(deviance))


def newton_step(H: Array, gradient: Array, theta: Array) -> tuple[Array, Array]:
    """Return Newton's steps, shorter than theta is or 1, and the slopes along them.

    Where the gradient is nothing beside a negative curvature (a variance at 0 that should not be), they go along it;
    where a Hessian is not known they are NaN.
    """
    known = np.isfinite(H).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], H, 0.0))
    values[~known] = np.nan
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
) -> tuple[Array, Array, Array, Array]:
    """Return theta, deviance and gradient after steps halved until the deviance falls, and which never fell."""
    moved = theta + step
    at = Evaluation(blocks, outcomes, moved)
    value = at.deviance.copy()
    high = np.flatnonzero(~fell(value, deviance, slope))
    if not len(high):
        return moved, value, at.gradient, high
    for share in 0.5 ** np.arange(1, 40):
        moved[high] = theta[high] + share * step[high]
        value[high] = Evaluation(blocks, outcomes.among(high), moved[high]).deviance
        high = high[~fell(value[high], deviance[high], share * slope[high])]
        if not len(high):
            break
    moved[high], value[high] = theta[high], deviance[high]
    return moved, value, Evaluation(blocks, outcomes, moved).gradient, high


def _bounded(at: Evaluation) -> tuple[Array, Array]:
    """Return theta with entries of the diagonal at 0, where they are small and that costs nothing, and the deviance."""
    theta, deviance = at.theta.copy(), at.deviance.copy()
    for j in np.flatnonzero(diagonal(at.blocks)):
        near = np.flatnonzero((np.abs(theta[:, j]) < _BOUND) & np.isfinite(deviance))
        if not len(near):
            continue
        trial = theta[near].copy()
        trial[:, j] = 0.0
        value = Evaluation(at.blocks, at.outcomes.among(near), trial).deviance
        kept = value <= deviance[near] + _RISE
        theta[near[kept]] = trial[kept]
        deviance[near[kept]] = value[kept]
    return theta, deviance
