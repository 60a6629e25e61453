"""Replicates of a linear mixed model on the deviance engine: outcomes drawn from it or shuffled, fitted side by side.

A block of replicates draws from its own seeds alone, and the cut into blocks depends on the design and on how many are
wanted, so results do not depend on who works them off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from pymer4.errors import OptionError
from pymer4.fit import mixed
from pymer4.fit.cluster_rows import Members, batches
from pymer4.fit.mixed_blocks import Blocks, blocks
from pymer4.fit.mixed_scale import factors
from pymer4.fit.mixed_terms import Bar, components
from pymer4.infer.resample import shuffles
from pymer4.work import Note, each_chunk, one_blas_thread

Array: TypeAlias = np.ndarray
Draw: TypeAlias = Callable[[np.random.Generator, int], Array]
"""Given a stream and a number k, returns k outcomes as columns, shape (n, k)."""
Summary: TypeAlias = Callable[[mixed.MixedFit], Array]

_NUMBERS = 2**19  # that a block of outcomes takes
_WORTH = 2**31  # numbers in all replicates, from which on workers gain more than their start costs
_FALL = 1e-6  # of the deviance, which no rounding makes
_FACTORS = 2**25  # numbers in the Cholesky factors that colour residuals


@dataclass(frozen=True, slots=True, eq=False)
class MixedModel:
    """A linear mixed model at its fit.

    Attributes:
        X: design, shape (n, p).
        bars: random-effects terms.
        y: outcome less its offset, shape (n,).
        weights: prior weights, shape (n,), or None.
        fit: what the engine found.
    """

    X: Array
    bars: Sequence[Bar]
    y: Array
    weights: Array | None
    fit: mixed.MixedFit

    @classmethod
    def of(cls, X: Array, bars: Sequence[Bar], y: Array, weights: Array | None, reml: bool) -> MixedModel:
        """Return the model with its fit; an Unsuited where the engine has none."""
        with one_blas_thread():
            return cls(X, bars, y, weights, mixed.fit(blocks(X, bars, weights, reml), y))

    @property
    def blocks(self) -> Blocks:
        """Return its cross-products."""
        return self.fit.blocks

    @property
    def theta(self) -> Array:
        """Return theta of the given columns, shape (m,)."""
        return self.fit.theta[0]

    @property
    def fitted(self) -> Array:
        """Return X b, shape (n,)."""
        return self.X @ self.fit.b[0]

    @property
    def loadings(self) -> list[Array]:
        """Return ZΛ of each bar, the rows of its own group, shape (n, k)."""
        return [bar.Z @ L[0] for bar, L in zip(self.bars, factors(self.blocks, self.theta[None]), strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Replicates: how an outcome is drawn and what is kept of its fit; rows weigh as in the model, unless they move."""

    model: MixedModel
    draw: Draw
    summary: Summary
    moved: bool = False


def replicates(wanted: Wanted, seeds: Array, n_jobs: int, note: Note) -> list[dict[str, Any]]:
    """Return parts with the `values` of replicates, a row each, NaN where a fit failed, and the `reasons` of those.

    Args:
        wanted: what is drawn.
        seeds: one a replicate, shape (n,).
        n_jobs: workers, which are asked where that pays.
        note: is told of each part.
    """
    n, numbers = len(seeds), wanted.model.blocks.numbers
    starts = np.arange(0, n, max(1, _NUMBERS // numbers))
    spans = np.column_stack([starts, np.append(starts[1:], n)])
    n_jobs = n_jobs if n * numbers > _WORTH else 1
    return each_chunk(_refitted, spans, n_jobs, wanted, seeds.astype(np.uint32), note=note)


def _refitted(wanted: Wanted, seeds: Array, spans: Array) -> dict[str, Any]:
    values, reasons = [], []
    for start, stop in spans:
        rng, model = np.random.default_rng(seeds[start:stop]), wanted.model
        drawn = wanted.draw(rng, stop - start)
        fits = _each_weighted(model, drawn) if wanted.moved else [_of_two_starts(model.blocks, drawn, model.theta)]
        for fit in fits:
            why = np.where(fit.converged, "", "the optimum was not reached")
            reasons.append(np.where(np.isfinite(fit.deviance), why, "the model leaves nothing of the outcome"))
            values.append(np.where((reasons[-1] == "")[:, None], wanted.summary(fit), np.nan))
    return {"values": np.concatenate(values), "reasons": np.concatenate(reasons), "said": []}


def _of_two_starts(blocks: Blocks, drawn: Array, theta: Array) -> mixed.MixedFit:
    """Return the fits of outcomes (n, k) from a theta, or from lme4's start where that leads further down.

    It is tried where a fit has not settled, or is singular, as are those that do not get away from a singular theta.
    """
    fit = mixed.fit(blocks, drawn, theta)
    doubted = np.flatnonzero(np.isfinite(fit.deviance) & (fit.singular | ~fit.converged))
    if not len(doubted):
        return fit
    again = mixed.fit(blocks, drawn[:, doubted])
    fall = fit.deviance[doubted] - again.deviance
    better = (fall > _FALL) | (again.converged & ~fit.converged[doubted] & (fall > -_FALL))
    found, converged = fit.at.theta.copy(), fit.converged.copy()
    found[doubted[better]], converged[doubted[better]] = again.at.theta[better], again.converged[better]
    return mixed.MixedFit(blocks, fit.outcomes, found, converged)


def _each_weighted(model: MixedModel, rows: Array) -> list[mixed.MixedFit]:
    """Return the fits of outcomes from other rows, (n, k), that take their weights along: each has a design."""
    assert model.weights is not None
    designs = (blocks(model.X, model.bars, model.weights[at], model.blocks.reml) for at in rows.T)
    return [_of_two_starts(one, model.y[at, None], model.theta) for one, at in zip(designs, rows.T, strict=True)]


# ------------------------------------------------------------------ what is kept


def parameters(fit: mixed.MixedFit) -> Array:
    """Return standard deviations and correlations, sigma and coefficients, (R, k), named by `parameter_names`.

    A correlation with an effect that does not vary is NaN.
    """
    parts = []
    for V in fit.covariances:
        sd = np.sqrt(np.einsum("rii->ri", V))
        with np.errstate(invalid="ignore"):
            correlations = V / (sd[:, :, None] * sd[:, None, :])
        for j in range(V.shape[1]):
            parts += [sd[:, j : j + 1], correlations[:, j + 1 :, j]]
    return np.hstack([*parts, fit.sigma[:, None], fit.b])


def parameter_names(bars: Sequence[tuple[Sequence[str], str]], coefficients: Sequence[str]) -> list[str]:
    """Return what the parameters are called, from effects and group of each bar and names of coefficients.

    Examples:
        >>> parameter_names([(["(Intercept)", "x"], "g")], ["x"])
        ['sd_(Intercept)|g', 'cor_x.(Intercept)|g', 'sd_x|g', 'sigma', 'x']
    """
    names = []
    for effects, group in bars:
        for j, effect in enumerate(effects):
            names += [f"sd_{effect}|{group}", *(f"cor_{other}.{effect}|{group}" for other in effects[j + 1 :])]
    return [*names, "sigma", *coefficients]


def statistics(L: Array, null: Array | float, fit: mixed.MixedFit) -> Array:
    """Return (l b − null) / se of the rows of L, (k, p), shape (R, k)."""
    return (fit.b @ L.T - null) / np.sqrt(np.einsum("kp,rpq,kq->rk", L, fit.vcov, L, optimize=True))


# ------------------------------------------------------------------ what is drawn


def bootstrap(model: MixedModel) -> Wanted:
    """Return a parametric bootstrap: outcomes with new random effects and errors; all parameters are kept."""
    return Wanted(model, partial(simulated, model), parameters)


def simulated(model: MixedModel, rng: np.random.Generator, k: int) -> Array:
    """Return k outcomes from the model, with random effects drawn anew, the offset off, shape (n, k)."""
    n = len(model.y)
    drawn = rng.standard_normal((n, k))
    if model.weights is not None:
        drawn /= np.sqrt(model.weights)[:, None]
    for bar, loading in zip(model.bars, model.loadings, strict=True):
        for effect in loading.T:
            drawn += effect[:, None] * rng.standard_normal((bar.levels, k))[bar.codes]
    return model.fitted[:, None] + model.fit.sigma[0] * drawn


def shuffled(model: MixedModel, L: Array, within: Array) -> tuple[Wanted, Array]:
    """Return permutations of the outcome, with its weights, in groups of these codes (n,), and what is observed, (k,).

    Statistics of the rows of L are kept.
    """
    keep = partial(statistics, L, 0.0)
    observed = keep(mixed.fit(model.blocks, model.y, model.theta))[0]
    if model.weights is None:
        return Wanted(model, partial(_shuffled, model.y, within), keep), observed
    return Wanted(model, partial(_shuffled, np.arange(len(model.y)), within), keep, moved=True), observed


def _shuffled(values: Array, within: Array, rng: np.random.Generator, k: int) -> Array:
    return values[shuffles(len(values), k, rng, within)].T


def residuals_shuffled(model: MixedModel, l: Array, null: float) -> tuple[Wanted, float, float]:  # noqa: E741
    """Return permutations of residuals of the fit where l b is `null` (Freedman & Lane 1983, J. Bus. Econ. Stat. 1).

    With correlated rows these are made independent by the Cholesky factor of the marginal covariance, shuffled over all
    rows, and coloured by it again.

    Returns:
        the permutations, which keep the statistic of l b − null; what is observed; and the share of l b that shuffled
        residuals keep, which is that of a constant in its direction in independent coordinates.

    Raises:
        OptionError: groups so large, or crossed, that their covariance takes too much memory.
    """
    keep = partial(statistics, l[None], null)
    observed = keep(mixed.fit(model.blocks, model.y, model.theta))[0, 0]
    free = np.linalg.qr(l[:, None], mode="complete")[0][:, 1:]
    known = model.X @ (l * (null / (l @ l)))
    under = MixedModel.of(model.X @ free, model.bars, model.y - known, model.weights, model.blocks.reml)
    colours = Colours.of(under)
    mean = known + under.fitted
    white = colours.whitened(np.column_stack([model.X, model.y - mean]))
    X = white[:, :-1]
    own = X @ np.linalg.solve(X.T @ X, l)
    kept = own.sum() ** 2 / (len(own) * (own @ own))
    return Wanted(model, partial(_coloured, colours, mean, white[:, -1]), keep), float(observed), float(kept)


def _coloured(colours: Colours, mean: Array, white: Array, rng: np.random.Generator, k: int) -> Array:
    return mean[:, None] + colours(white[shuffles(len(white), k, rng)].T)


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """The Cholesky factor of a marginal covariance over sigma², block by block, its rows in their order.

    Attributes:
        parts: rows of B blocks of like size, (B, s), which of these are there, and the factors, (B, s, s).
    """

    parts: list[tuple[Array, Array, Array]]

    @classmethod
    def of(cls, model: MixedModel) -> Colours:
        """Return the factor; an OptionError where it takes too much memory."""
        codes = components(model.bars)
        members = Members.of(codes, int(codes.max()) + 1)
        if (members.sizes.astype(float) ** 2).sum() > _FACTORS:
            most = members.sizes.max()
            raise OptionError(
                f"scheme='freedman-lane' takes the covariance of up to {most:,} rows that share random effects, of "
                f"{len(codes):,} rows in all, which is too large. Use how='asymp', how='boot' or scheme='raw'."
            )
        loadings, parts = model.loadings, []
        for some in batches(members.sizes, members.sizes):
            at, there = members.padded(some)
            V = np.zeros((*at.shape, at.shape[1]))
            np.einsum("bii->bi", V)[:] = 1 if model.weights is None else np.where(there, 1 / model.weights[at], 1)
            for bar, loading in zip(model.bars, loadings, strict=True):
                rows, group = loading[at] * there[..., None], bar.codes[at]
                V += (rows @ rows.swapaxes(1, 2)) * (group[:, :, None] == group[:, None, :])
            parts.append((at, there, np.linalg.cholesky(V)))
        return cls(parts)

    def __call__(self, values: Array) -> Array:
        """Return columns of independent values, (n, k), with the covariance."""
        return self._mapped(np.matmul, values)

    def whitened(self, values: Array) -> Array:
        """Return columns that have the covariance, (n, k), made independent."""
        return self._mapped(np.linalg.solve, values)

    def _mapped(self, how: Callable[[Array, Array], Array], values: Array) -> Array:
        found = np.empty_like(values)
        for at, there, lower in self.parts:
            found[at[there]] = how(lower, values[at] * there[..., None])[there]
        return found
