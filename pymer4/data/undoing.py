"""Functions of the outcome, such as `np.log(y)`, and what undoes them and a link.

A function is what it computes, not what it is called: an inverse counts where it gives the raw outcomes back from those
that were fitted.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pymer4.data.design import Design
from pymer4.data.lookup import plain
from pymer4.data.terms import Names, columns_named, reference, tree
from pymer4.fit.distributions import Array, Link, Scale, link_function

_CLOSE = 1e-8  # of the range of the outcomes
_FEW = 5  # different outcomes; through fewer too many curves lead
_SIGNS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)
_ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.Load, *_SIGNS)


def _above(eta: Array) -> Array:
    return np.maximum(eta, 0.0)


def _quarter(z: Array) -> Array:
    return np.clip(z, -np.pi / 2, np.pi / 2)


_LINKS = {
    "log": Link(np.log, np.exp, np.exp),
    "sqrt": Link(np.sqrt, lambda z: _above(z) ** 2, lambda z: 2 * _above(z)),
    "inverse": Link(lambda y: np.where(y > 0, 1 / y, np.nan), lambda z: 1 / _above(z), lambda z: -1 / _above(z) ** 2),
    "1/mu^2": Link(lambda y: y**-2.0, lambda z: 1 / np.sqrt(_above(z)), lambda z: -0.5 * _above(z) ** -1.5),
    "log1p": Link(np.log1p, np.expm1, np.exp),
    "exp": Link(np.exp, lambda z: np.log(_above(z)), lambda z: 1 / z),
    "expm1": Link(np.expm1, lambda z: np.log1p(np.maximum(z, -1.0)), lambda z: 1 / (1 + z)),
    "square": Link(
        lambda y: np.where(y >= 0, y, np.nan) ** 2, lambda z: np.sqrt(_above(z)), lambda z: 0.5 / np.sqrt(_above(z))
    ),
    "cbrt": Link(np.cbrt, lambda z: z**3, lambda z: 3 * z**2),
    "cube": Link(lambda y: y**3, np.cbrt, lambda z: 1 / (3 * np.cbrt(z) ** 2)),
    "arcsin": Link(np.arcsin, lambda z: np.sin(_quarter(z)), lambda z: np.cos(_quarter(z))),
    "arcsinh": Link(np.arcsinh, np.sinh, np.cosh),
    "sinh": Link(np.sinh, np.arcsinh, lambda z: 1 / np.sqrt(1 + z**2)),
    "arctanh": Link(np.arctanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "tanh": Link(np.tanh, lambda z: np.arctanh(np.clip(z, -1, 1)), lambda z: 1 / (1 - z**2)),
}
"""Links and functions of the outcome; beyond their ends inverses have their last value, as in emmeans."""

_KNOWN = [*_LINKS, "logit", "probit"]


@dataclass(frozen=True, slots=True)
class Step:
    """From z to the inverse of the function `name` at shift + slope z."""

    name: str
    shift: float = 0.0
    slope: float = 1.0

    @property
    def link(self) -> Link:
        """The function."""
        return _LINKS[self.name] if self.name in _LINKS else link_function(self.name)


Steps = tuple[Step, ...]


def carried(z: Array, steps: Sequence[Step]) -> Array:
    """Return numbers put through some steps, the first first."""
    with np.errstate(all="ignore"):
        for step in steps:
            z = step.link.inverse(step.shift + step.slope * z)
    return z


def slope_of(z: Array, steps: Sequence[Step]) -> Array:
    """Return the derivative of `carried`."""
    slope = np.ones_like(z)
    with np.errstate(all="ignore"):
        for step in steps:
            line = step.shift + step.slope * z
            slope, z = slope * step.slope * step.link.derivative(line), step.link.inverse(line)
    return slope


def scale_of(steps: Steps) -> Scale | Literal["identity"]:
    """Return what some steps lead to."""
    return Scale(partial(carried, steps=steps), partial(slope_of, steps=steps)) if steps else "identity"


def straightened(steps: Steps) -> tuple[float, float, Steps]:
    """Return the line that comes first and the steps that are left; of a logarithm that is the whole outcome's one.

    Steps that are lines, one of them perhaps a logarithm, are a line and that logarithm alone, unless something was
    added to the outcome before.
    """
    curved = [i for i, step in enumerate(steps) if step.name != "identity"]
    if not curved:
        ends = carried(np.array([0.0, 1.0]), steps)
        return float(ends[0]), float(ends[1] - ends[0]), ()
    first = curved[0]
    if len(curved) == 1 and steps[first].name == "log":
        before = carried(
            np.array([0.0, 1.0]), (*steps[:first], Step("identity", steps[first].shift, steps[first].slope))
        )
        after = carried(np.array([0.0, 1.0]), steps[first + 1 :])
        if after[0] == 0 and after[1] > 0:
            return float(before[0] + np.log(after[1])), float(before[1] - before[0]), (Step("log"),)
    return 0.0, 1.0, steps


def undoing(design: Design) -> Steps | None:
    """Return the steps from the outcome that was fitted to the raw one, None where none are known that lead there.

    What two columns or more make by arithmetic is the raw outcome itself, and so are counts and categories.
    """
    outcome, factors = design.matrices.outcome, [f for term in design.terms.sides[0] for f in term.factors]
    if design.matrices.levels or outcome.shape[1] != 1 or len(factors) != 1:
        return ()
    left, node, z = _Left(design), tree(factors[0]), outcome[:, 0]
    steps: Steps = ()
    while not left.is_raw(node):
        ways = ((part, values, _between(z, values)) for part, values in left.inside(node))
        way = next((way for way in ways if way[2] is not None), None)
        if way is None:
            return None
        node, z, made = way
        steps += made or ()
    return steps if not steps or _close(carried(outcome[:, 0], steps), z) else None


class _Left:
    """The left side of a formula, whose expressions are computed at the rows used."""

    def __init__(self, design: Design):
        self.view, self.scope = design.seen(), design.scope
        self.n = len(self.view.complete)

    def is_raw(self, node: ast.expr) -> bool:
        """Whether an expression is a column, or what several make by arithmetic."""
        names = Names(())
        names.visit(node)
        known = self.view.rows.names
        plainly = (isinstance(part, _ARITHMETIC) or _is_bracket(part) for part in ast.walk(node))
        several = len(columns_named(names, known, self.scope)) > 1
        return reference(node, known, self.scope) is not None or (several and all(plainly))

    def inside(self, node: ast.expr) -> Iterator[tuple[ast.expr, Array]]:
        """Yield the expressions within one that vary, the outer ones first, with their values."""
        for part in list(ast.walk(node))[1:]:
            values = self.values(part) if isinstance(part, ast.expr) else None
            if isinstance(part, ast.expr) and values is not None and np.ptp(values) > 0:
                yield part, values

    def values(self, node: ast.expr) -> Array | None:
        """Return the numbers that an expression makes, shape (n,), None where it makes none."""
        import patsy
        from patsy import builtins

        space = patsy.EvalEnvironment([self.scope.values, vars(builtins)])
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = plain(space.eval(ast.unparse(node), inner_namespace=self.view), self.n)
        except Exception:  # a part of a user's expression may raise anything by itself
            return None
        return found[:, 0] if found is not None and found.shape[1] == 1 and found.dtype.kind == "f" else None


def _is_bracket(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("I", "Q")


def _between(z: Array, y: Array) -> Steps | None:
    """Return the steps from one column of numbers to another, None where none are known."""
    pairs = [("identity", "identity"), *(("identity", name) for name in _KNOWN)]
    pairs += [*((name, "identity") for name in _KNOWN), ("exp", "log")]
    few = len(np.unique(y))  # through two points every line leads, but not every one through zero
    for first, last in pairs:
        before = () if first == "identity" else (Step(first),)
        with np.errstate(all="ignore"):
            w, t = carried(z, before), Step(last).link.value(y)
        if not (np.isfinite(w).all() and np.isfinite(t).all()):
            continue
        top, low = np.abs(w).argmax(), w.argmin()
        tilt = (t[w.argmax()] - t[low]) / np.ptp(w) if np.ptp(w) > 0 else np.nan
        tries = [(0.0, 1.0), (0.0, t[top] / w[top]), (t[low] - tilt * w[low], tilt)]
        for shift, slope in tries if few >= _FEW else tries[: few if first == last else 1]:
            steps = (*before, Step(last, float(shift), float(slope)))
            if np.isfinite(slope) and slope != 0 and _close(carried(z, steps), y):
                return tuple(step for step in steps if step != Step("identity"))
    return None


def _close(found: Array, raw: Array) -> bool:
    """Whether numbers are the raw outcomes."""
    with np.errstate(invalid="ignore"):
        return bool((np.abs(found - raw) <= _CLOSE * np.ptp(raw) + 1e-12 * np.abs(raw).max()).all())
