"""Profiles of a function of one value and all else: limits, and traces, all values of a step side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_optimum import fell, newton_step

Array: TypeAlias = np.ndarray
Surface: TypeAlias = Callable[[Array, Array], tuple[Array, Callable[[], Array]]]
"""Given values held, (R,), and all else, (R, d), returns deviances, (R,), and what gives their gradients, (R, d)."""

_STEPS = 60
_STEP = 1e-5  # of differences of the gradient
_SETTLED = 1e-9  # fall of the deviance that a step promises, below which it is the last
_BELOW = 1e-4  # under the fit's deviance, from where on there is a better fit
_ROOT = 1e-7  # of the root of the rise at limits, to which these are found


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One parameter: limits, (2,), and `values` with `zeta`, the signed root of the deviance's rise, ascending."""

    limits: Array
    values: Array
    zeta: Array


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What can be held.

    Attributes:
        estimate: the value of least deviance.
        ends: of its range.
        step: about a standard error.
        start: all else at the estimate, shape (d,).
        surface: the deviance.
        theta: from a value and all else to theta of the given columns, shape (m,).
    """

    estimate: float
    ends: tuple[float, float]
    step: float
    start: Array
    surface: Surface
    theta: Callable[[float, Array], Array]


class BetterFit(Exception):
    """A point below the least deviance; its only argument is theta."""


def profile(held: Held, base: float, cutoff: float, steps: int) -> Profile:
    """Return limits, and a trace to a quarter beyond them, or ten steps where there are none."""
    rise = partial(_rise, held, base)
    limits = _limits(held, rise, np.sqrt(cutoff))
    if not steps:
        return Profile(limits, np.empty(0), np.empty(0))
    far = np.where(np.isfinite(limits), 1.25 * (limits - held.estimate), np.array([-10, 10]) * held.step)
    out = held.estimate + far[:, None] * np.arange(1, steps + 1) / steps
    sides = [np.setdiff1d(np.clip(side, *held.ends), [held.estimate]) for side in out]
    values = np.concatenate([sides[0], [held.estimate], sides[1]])
    zeta = np.sign(values - held.estimate) * rise(values)
    return Profile(limits, values, zeta)


def _rise(held: Held, base: float, values: Array) -> Array:
    """Return the root of the deviance's rise at values, shape (R,)."""
    x = np.broadcast_to(held.start, (len(values), len(held.start)))
    x, least = _least(held.surface, values, x)
    if least.min() < base - _BELOW:
        lowest = int(np.argmin(least))
        raise BetterFit(held.theta(float(values[lowest]), x[lowest]))
    return np.where(values == held.estimate, 0.0, np.sqrt(np.maximum(least - base, 0)))


def _least(surface: Surface, values: Array, x: Array) -> tuple[Array, Array]:
    """Return where the deviance is least at each value, (R, d), and what it is there, (R,), by Newton's steps."""
    x = x.copy()
    deviance, slopes = surface(values, x)
    deviance, gradient, d = deviance.copy(), slopes(), x.shape[1]
    active = np.arange(len(values) if d else 0)
    for _ in range(_STEPS):
        if not len(active):
            break
        at, held = x[active], values[active]
        H = np.empty((len(active), d, d))
        for j in range(d):
            shift = _STEP * np.maximum(1, np.abs(at[:, j]))
            moved = at.copy()
            moved[:, j] += shift
            H[:, j] = (surface(held, moved)[1]() - gradient[active]) / shift[:, None]
        step, slope = newton_step((H + H.transpose(0, 2, 1)) / 2, gradient[active], at)
        share, open_ = np.ones(len(active)), np.ones(len(active), dtype=bool)
        for _half in range(30):
            trial = at + share[:, None] * step
            reached, slopes = surface(held, trial)
            open_ = ~fell(reached, deviance[active], share * slope)
            if not open_.any():
                break
            share[open_] /= 2
        went = active[~open_]
        x[went], deviance[went], gradient[went] = trial[~open_], reached[~open_], slopes()[~open_]
        active = active[~open_ & (slope < -_SETTLED)]
    return x, deviance


def _limits(held: Held, rise: Callable[[Array], Array], far: float) -> Array:
    """Return where the root of the deviance's rise is `far`, or the ends of the range where it is not up to there."""
    found, sides = np.array(held.ends), np.array([-1.0, 1.0])
    for s in np.flatnonzero(np.isfinite(found)):
        if rise(found[[s]])[0] <= far:
            sides[s] = 0
    away = np.abs(found - held.estimate)
    inner, outer, below, above = np.zeros(2), np.minimum(held.step * far, away), np.full(2, -far), np.full(2, np.nan)
    for _ in range(60):  # outwards, by what the root of the rise, about linear, tells
        open_ = np.flatnonzero((sides != 0) & np.isnan(above))
        if not len(open_):
            break
        over = rise(held.estimate + sides[open_] * outer[open_]) - far
        above[open_[over >= 0]] = over[over >= 0]
        short = open_[over < 0]
        inner[short], below[short] = outer[short], over[over < 0]
        ahead = np.clip(1.2 * far / np.maximum(over[over < 0] + far, 1e-300), 1.1, 4) * outer[short]
        outer[short] = np.minimum(ahead, away[short])
    reached = np.flatnonzero((sides != 0) & ~np.isnan(above))
    lost = (sides != 0) & np.isnan(above)
    found[lost] = np.copysign(np.inf, sides[lost])
    a, b, fa, fb = inner[reached], outer[reached], below[reached], above[reached]
    last = np.zeros(len(reached))
    for _ in range(60):  # false position, an end that stays counting half (Dowell & Jarratt 1971, BIT 11)
        if (np.minimum(-fa, fb) <= _ROOT * far).all():
            break
        c = (a * fb - b * fa) / (fb - fa)
        fc = rise(held.estimate + sides[reached] * c) - far
        up = fc >= 0
        fa = np.where(up, np.where(last > 0, fa / 2, fa), fc)
        fb = np.where(up, fc, np.where(last < 0, fb / 2, fb))
        a, b, last = np.where(up, a, c), np.where(up, c, b), np.where(up, 1.0, -1.0)
    found[reached] = held.estimate + sides[reached] * np.where(-fa < fb, a, b)
    return found
