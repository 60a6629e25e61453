"""A fit by the deviance engine, in the terms in which R's verb `fit_mixed` describes one: what `engine="native"` finds.

Tables of groups, fits and standard errors of random effects are made when they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from pymer4.data.mixed_design import MixedDesign
from pymer4.fit import mixed
from pymer4.fit.mixed_scale import factors, theta_derivatives
from pymer4.infer.asymptotic import p_value, t_quantile, t_statistic
from pymer4.models.base import spread
from pymer4.models.convergence import Convergence
from pymer4.models.lmer_engine import bar_groups, engine_blocks, known_part_off
from pymer4.models.lmer_state import LmerFit
from pymer4.work import one_blas_thread

Array: TypeAlias = np.ndarray

_SMALL = 100_000  # rows below which threads of BLAS cost more than they bring
_BOUNDARY = "boundary (singular) fit: see help('isSingular')"
_UNSETTLED = "The native optimizer did not settle: the model may have failed to converge"


@dataclass(frozen=True, slots=True, eq=False)
class NativeFit:
    """A design and its fit.

    Attributes:
        design: the arrays of the model.
        found: what the engine found, of one outcome.
    """

    design: MixedDesign
    found: mixed.MixedFit

    @classmethod
    def of(cls, design: MixedDesign, reml: bool) -> NativeFit:
        """Return the fit of a design to its outcome; Unsuited where the engine can't take it."""
        y = known_part_off(design)
        with one_blas_thread(0 if len(y) > _SMALL else np.inf):
            return cls(design, mixed.fit(engine_blocks(design, reml), y))

    @property
    def theta(self) -> Array:
        """Return theta of lme4, shape (m,)."""
        return self.found.theta[0]

    def statistics(self, fixed: pd.DataFrame | None = None) -> LmerFit:
        """Return what was found, and the table of coefficients where there is one."""
        found, n = self.found, len(self.design.X)
        deviance, parameters = float(found.deviance[0]), len(self.design.names) + found.blocks.m + 1
        return LmerFit(
            AIC=deviance + 2 * parameters,
            BIC=deviance + np.log(n) * parameters,
            log_likelihood=-deviance / 2,
            criterion=deviance,
            n_parameters=parameters,
            n_used=n,
            sigma=float(found.sigma[0]),
            vcov=found.vcov[0],
            parameters=self.theta,
            fixed=fixed,
        )

    def fixed(self, level: float, satterthwaite: bool, moments: tuple[Array, Array] | None = None) -> pd.DataFrame:
        """Return estimates, Wald limits and t tests; `moments` are standard errors and df of another kind."""
        b, se = self.found.b[0], np.sqrt(np.diagonal(self.found.vcov[0]))
        half = t_quantile((1 - level) / 2, np.array(np.inf)) * se
        limits = {"estimate": b, "lower": b - half, "upper": b + half}
        df = self.found.coefficient_df()[0] if satterthwaite else np.full(len(b), np.inf)
        if moments is not None:
            se, df = moments
        t = t_statistic(b, se, 0.0)
        columns = limits | {"se": se, "df": df, "statistic": t, "p": p_value(t, df)}
        return pd.DataFrame(columns, index=list(self.design.names))

    def satterthwaite(self) -> dict[str, Array] | None:
        """Return vcov, its derivatives by (theta, sigma) as columns, and the covariance of these, for R's object.

        None where theta is at a kink of the columns given, where R takes differences of its own.
        """
        found, sigma = self.found, float(self.found.sigma[0])
        G = theta_derivatives(found.blocks, found.at.theta[0])
        if G is None:
            return None
        size = len(G) + 1
        to_given = np.zeros((size, size))
        to_given[:-1, :-1], to_given[-1, -1] = G, sigma
        jacobian = np.linalg.solve(to_given.T, found.jacobian[0].reshape(size, -1))
        return {"V": found.vcov[0], "jacobian": jacobian.T, "A": to_given @ found.parameter_vcov[0] @ to_given.T}

    def convergence(self) -> Convergence:
        """Return how the optimizer ended."""
        theta, blocks = self.found.theta, self.found.blocks
        parts = zip(self.design.bars, factors(blocks, theta), strict=True)
        flat = tuple(bar.group for bar, L in parts if np.linalg.svd(L[0], compute_uv=False)[-1] < mixed.FLAT)
        singular = bool(self.found.singular[0])
        settled = bool(self.found.converged[0])
        messages = (*([] if settled else [_UNSETTLED]), *([_BOUNDARY] if singular else []))
        largest = float(np.abs(self.found.gradient[0]).max())
        return Convergence("native", int(not settled), messages, largest, singular, flat)

    def groups(self) -> dict[str, int]:
        """Return the grouping factors and their sizes."""
        return {bar.group: len(bar.levels) for bar in self.design.bars}

    def variances(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return variances and correlations of the random effects, as `tables` takes them."""
        rows: list[tuple[str, str | None, float, float]] = []
        pairs: list[tuple[str, str, str, float]] = []
        for name, bar, G in zip(bar_groups(self.design), self.design.bars, self.found.covariances, strict=True):
            sd = np.sqrt(np.diagonal(G[0]))
            rows += [(name, term, s**2, s) for term, s in zip(bar.names, sd.tolist(), strict=True)]
            with np.errstate(invalid="ignore"):
                R = G[0] / np.outer(sd, sd)
            for j, i in zip(*np.triu_indices(len(sd), 1), strict=True):
                pairs.append((name, bar.names[j], bar.names[i], R[i, j]))
        sigma = float(self.found.sigma[0])
        variances = pd.DataFrame([*rows, ("Residual", None, sigma**2, sigma)])
        names = ["group", "first", "second", "correlation"]
        return variances.set_axis(["group", "term", "variance", "sd"], axis=1), pd.DataFrame(pairs, columns=names)

    def ranef(self) -> list[pd.DataFrame]:
        """Return the conditional modes, a frame a grouping factor."""
        return self._by_group([part[0] for part in self.found.modes()])

    def ranef_se(self) -> list[pd.DataFrame]:
        """Return their conditional standard deviations, likewise."""
        return self._by_group([np.sqrt(np.diagonal(V[0], axis1=1, axis2=2)) for V in self.found.mode_covariances()])

    def fits(self, of_groups: bool = True) -> Array:
        """Return fitted values of all rows of the data, of groups or the population; NaN where a row was not used."""
        design = self.design
        mu = design.X @ self.found.b[0]
        for bar, u in zip(design.bars, self.found.modes(), strict=True) if of_groups else ():
            for z, effect in zip(bar.Z.T, u[0].T, strict=True):
                mu += z * effect[bar.codes]
        return spread(mu if design.offset is None else mu + design.offset, design.used)

    def residuals(self, fits: Array) -> Array:
        """Return the outcome less fitted values."""
        assert self.design.y is not None
        return spread(self.design.y, self.design.used) - fits

    def _by_group(self, parts: list[Array]) -> list[pd.DataFrame]:
        found: dict[str, list[int]] = {}
        for i, bar in enumerate(self.design.bars):
            found.setdefault(bar.group, []).append(i)
        frames = []
        for members in found.values():
            bars = [self.design.bars[i] for i in members]
            columns = [name for bar in bars for name in bar.names]
            frames.append(pd.DataFrame(np.hstack([parts[i] for i in members]), list(bars[0].levels), columns))
        return frames
