"""What the models that need no R share: formula and design, the record of a fit, its table, copies and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import frames
from pymer4.data.design import Design
from pymer4.data.families import NATIVE_LINKS, Family, check_family
from pymer4.data.intake import RowValues, numbers_of
from pymer4.data.sample import Sample, sample
from pymer4.data.scope import Scope
from pymer4.data.terms import Terms, named, parse
from pymer4.errors import OptionError, count, tells_keywords
from pymer4.fit.glm import GeneralizedFit
from pymer4.fit.grouped import GroupedFit
from pymer4.fit.linear import LinearFit
from pymer4.fit.quantile_residuals import quantile_residuals
from pymer4.infer.asymptotic import Inference
from pymer4.infer.draws import Interval, from_draws, from_null
from pymer4.infer.options import Drawing, InferOptions, On
from pymer4.infer.responses import simulate_response
from pymer4.infer.second_level import SecondLevel
from pymer4.infer.targets import Null, Question, Target
from pymer4.models.base import spread
from pymer4.models.native_marginal import NativeMarginal
from pymer4.models.options import Lm2Options, LmOptions, NativeOptions
from pymer4.plots.residuals import Residuals
from pymer4.work import Seed, generator, one_blas_thread, seed_stream

_MOST_LEFT_OUT = 50_000_000  # numbers, 0.4 GB
_WHOLE = 1e-3  # how far R's glm() lets counts be from whole numbers


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NativeFit:
    """What a fit of a native model found.

    Attributes:
        names: coefficients, as the design has them.
        kept: which columns of the formula's design these are.
        used: which rows of the data were used, shape (rows,).
        terms: what is tested.
        b: its estimates, shape (p,).
        vcov: their covariance.
        df_resid: residual degrees of freedom.
        df: degrees of freedom of the tests, a number or shape (p,); infinite for z.
        tested: tests and limits that follow from the covariance.
    """

    names: tuple[str, ...]
    kept: np.ndarray
    used: np.ndarray
    terms: tuple[str, ...]
    b: np.ndarray
    vcov: np.ndarray
    df_resid: float
    df: float | np.ndarray
    tested: Inference


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LmFit(NativeFit):
    """What a fit of an `Lm` found: also the variances of the groups that have one each, or None."""

    variances: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lm2Fit(NativeFit):
    """What a fit of an `Lm2` found.

    Attributes:
        of_groups: coefficients of each regression, a row a group.
        stage: what is tested of the groups, and how.
    """

    of_groups: pd.DataFrame
    stage: SecondLevel


class NativeModel(NativeMarginal):
    """A model that is fitted by NumPy.

    No copy and no file keeps its design, which is learned again from the same formula, rows and settings.
    """

    rsquared: float | None
    rsquared_adj: float | None
    se_type: str | None
    model_obj: None
    _options: NativeOptions
    _fit: NativeFit
    _terms: Terms
    _scope: Scope
    _designed: Any

    def __init__(self, formula: Any, data: Any, family: Family, link: str | None, also: Any):
        """Make the model; `also` names, or lists, columns that it needs beside those of the formula."""
        self.link = check_family(family, link, NATIVE_LINKS)
        self._designed = None
        super().__init__(
            formula,
            data,
            family,
            lambda columns: [*named(*parse(formula, columns, self), columns), *frames.texts(also)],
        )
        self._terms, self._scope = parse(formula, self._frame.columns, self)
        self.formula = self._terms.text

    def _fit_with(self, options: Any, show: bool) -> pd.DataFrame | None:
        with one_blas_thread(self.data.size):
            return super()._fit_with(options, show)

    def _forget(self) -> None:
        super()._forget()
        self.rsquared = self.rsquared_adj = self.se_type = self.model_obj = None

    # What a fit is made from.

    _row_values: Callable[[], RowValues]
    _learn: Callable[[np.ndarray | None], Design]

    def _design_of(self, frame: pd.DataFrame, missing: np.ndarray | None, rank: bool = False) -> Design:
        factors, ordered = self._options.factors, self._options.ordered
        return Design(self._terms, frame, self._scope, factors=factors, ordered=ordered, rank=rank, missing=missing)

    def _sample(self) -> Sample:
        rows, options = self._row_values(), self._options
        missing = rows.missing if rows.missing.any() else None
        key = (repr(options.factors), options.ordered, options.rank, None if missing is None else missing.tobytes())
        designed = self.__dict__.get("_designed")  # asked as an attribute it would be made anew by this
        if designed is None or designed[0] != key:
            self._designed = (key, self._learn(missing))
        return sample(self._design, rows, self.family, self.link)

    def _new_rows(self, data: Any, *also: Any) -> pd.DataFrame:
        """Return new rows in pandas; of another kind of frame the columns that predict, and those named in `also`."""
        return frames.frame("data", data, lambda _: [*self._design.predictors, *frames.texts(*also)])

    @property
    def _design(self) -> Design:
        """The design of the last sample."""
        return self._designed[1]

    @property
    def design_matrix(self) -> pd.DataFrame:
        """The design of the rows used, a column a coefficient, with the user's index; None before `fit()`."""
        if not self.fitted:
            return None
        found, matrices = self._fit, self._design.matrices
        X = matrices.X[found.used[matrices.used]][:, found.kept]
        return pd.DataFrame(X, self._frame.index[found.used], pd.Index(found.names, dtype=object))

    # What inference asks.

    _left_out: Callable[[InferOptions], int]  # how many units bca leaves out in turn

    def _own_questions(self, on: On) -> Sequence[Question]:
        fit = self._fit
        if on == "coefs":
            return [Question("coefs", Target(np.eye(len(fit.b))), rows=fit.terms)]
        found = self._sample()
        target = Target(found.X, self.link, 0.0 if found.offset is None else found.offset)
        return [Question("predictions", target, rows=self._frame.index[found.used])]

    def _interval(self, options: InferOptions) -> Interval:
        kind = options.ci_type or ("percentile" if options.on == "predictions" else "bca")
        if kind == "bca" and options.on == "predictions":
            m, k = self._left_out(options), len(self._questions(options.on)[0].target.L)
            if m * k > _MOST_LEFT_OUT:
                raise OptionError(
                    f"ci_type='bca' would hold {k} predictions without each of {m} units in turn, which takes "
                    f"{m * k * 8 / 1e9:.1f} GB. Use ci_type='percentile', or predict() fewer rows first."
                )
        return kind

    # What a fit shows.

    _coefficient_draws: Callable[[Sample, Drawing], np.ndarray]
    _coefficient_null: Callable[[Sample, Drawing], Null]

    def _keep(self, found: Sample, fit: LinearFit | GeneralizedFit | GroupedFit, *notes: str) -> None:
        """Store what all fits show beside their measures."""
        self.se_type = self._options.se_type
        self._keep_codings(self._design.codings)
        self._warn([*found.notes, *notes])
        self._keep_fits(fit.fitted, fit.residuals, found.used)

    def _infer_from(self, found: Sample) -> None:
        options, tested = self._options, self._fit.tested
        lower, upper, p = tested.lower, tested.upper, tested.p
        seeds, how = seed_stream(options.seed, 2), (options.n_jobs, options.verbose)
        if options.conf_int == "boot" and not np.isnan(tested.se).all():
            draws = self._coefficient_draws(found, Drawing(options.n_boot, int(seeds[0]), *how))
            drawn = from_draws(self._fit.b, draws, options.conf_level)
            lower, upper, p = drawn.lower, drawn.upper, drawn.p
        if options.permute:
            null = self._coefficient_null(found, Drawing(options.permute, int(seeds[1]), *how))
            self._warn(null.told)
            p = from_null(null.observed, null.values)
        self.coefs = self._table(lower, upper, p)

    def _table(self, lower: np.ndarray, upper: np.ndarray, p: np.ndarray) -> pd.DataFrame:
        """Return the coefficient table with these limits and p."""
        found, options = self._fit, self._options
        values = {"estimate": found.b, "lower": lower, "upper": upper, "se": found.tested.se, "df": found.df}
        values |= {"statistic": found.tested.statistic, "p": p}
        return tables.mixed_coefs(values, found.terms, options.conf_level, *self._law, options.permute)

    def _ranked(self) -> list[Any]:
        """Return the columns of which ranks were fitted."""
        variables = self._design.variables if self.ranked_data else {}
        return [name for name, told in variables.items() if told.is_number]

    def _term_names(self) -> list[str]:
        return [term.name() for term in self._terms.sides[1] if term.factors]

    def _outcome(self) -> tuple[str, list[str]]:
        used = self._terms.outcome
        names = [name for name in (*used.values, *used.quoted) if name in self._frame.columns]
        return f"rank of {self._terms.label}" if self.ranked_data else self._terms.label, names

    # What marginaleffects asks.

    def _rows_used(self) -> np.ndarray:
        return self._fit.used

    def _offsets(self) -> set[str]:
        return {self._offset} if isinstance(self._offset, str) else set()

    def _df_of_limits(self) -> float:
        df = np.unique(self._fit.df)
        if len(df) > 1:
            raise OptionError(
                "to_marginaleffects() can't take this model: its coefficients have df of their own each, and "
                "marginaleffects takes one number. Weights as an array, data['w'], or groups that all have a "
                "regression, leave one."
            )
        return float(df[0])

    def _fixed_rows(self, data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the design of rows, and their offset."""
        X = self._design.matrix(data, "to_marginaleffects()")[:, self._fit.kept]
        known = [numbers_of("offset", name, data) for name in self._offsets()]
        return X, sum(known, np.zeros(len(data)))

    def _quantile_residuals(self, seed: int | None) -> Residuals | None:
        """Return the quantile residuals of the fitted distributions; see `plot_residuals()`."""
        found = self._sample()
        mu, trials = self.fits[found.used], found.trials
        weights = np.ones_like(mu) if found.weights is None else found.weights
        if self.family == "binomial":
            trials = weights if trials is None else trials
        if not _has_distribution(self.family, found.y, trials):
            return None
        dispersion, theta = self._dispersions(found, mu, weights)
        places = np.random.default_rng(seed).random(len(mu))
        values = quantile_residuals(
            found.y, mu, self.family, places, trials=trials, dispersion=dispersion / weights, theta=theta
        )
        drawn = spread(values, found.used)
        return Residuals("Quantile residuals", self.fits, self._fits_named(), drawn, is_standard=True)

    @tells_keywords()
    def simulate(self, num_datasets: int = 1, *, seed: Seed = None) -> pd.DataFrame:
        """Draw new outcomes from the fitted model, around the means of the rows that were fitted.

        Dispersions are those of the fit, of an `Lm2` those of each group's regression; weights are taken as R's
        `simulate` takes them: a binomial outcome has them for trials, others a variance over them, counts none.

        Args:
            num_datasets: how many.
            seed: makes them repeatable.

        Returns:
            A column `sim_1`, `sim_2`, .. a data set, a row a row used: successes where the outcome is `cbind(successes,
            failures)`; of a transformed outcome such as `np.log(y)` what was fitted. NaN in a group without regression.

        Raises:
            NotFittedError: before `fit()`.
            DataError: weights of a binomial model that are no numbers of trials.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.simulate(3, seed=1).shape
            (564, 3)
        """
        self._require_fit("simulate()")
        found, n = self._sample(), count("num_datasets", num_datasets)
        mu, w = self.fits[found.used], found.weights
        dispersion, theta = self._dispersions(found, mu, np.ones_like(mu) if w is None else w)
        there = ~np.isnan(mu)
        phi, size = (np.broadcast_to(np.nan if each is None else each, mu.shape)[there] for each in (dispersion, theta))
        given = None if w is None or self.family in ("poisson", "nbinom") else w[there]
        rng, drawn = generator(seed), np.full((n, len(mu)), np.nan)
        for one in drawn:
            one[there] = simulate_response(rng, mu[there], self.family, phi, given, theta=size)
        drawn = drawn if found.trials is None else np.round(drawn * found.trials)
        return self._keep_simulated(tables.simulation_table(drawn.T, self._frame.index[found.used]))

    # Dispersions of the rows, 1 for a family without one, and its theta, if any.
    _dispersions: Callable[[Sample, np.ndarray, np.ndarray], tuple[Any, Any]]

    # Copies and files.

    def _designed_anew(self) -> Any:
        if self.fitted:
            self._sample()
        return self.__dict__.get("_designed")

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**NativeMarginal._ANEW, "_designed": _designed_anew}
    _RECORDS: ClassVar[tuple[type, ...]] = (Inference, SecondLevel, LmFit, Lm2Fit, LmOptions, Lm2Options)
    _PLAIN: ClassVar[Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
        "_terms": (attrgetter("text"), Terms),
        "_scope": (Scope.told, Scope.read),
    }


def _has_distribution(family: str, y: np.ndarray, trials: np.ndarray | None) -> bool:
    """Return whether a family gives such outcomes: counts are whole, the others above 0."""
    if family in ("gamma", "inverse_gaussian"):
        return bool((y > 0).all())
    if family == "gaussian":
        return True
    counts = y if trials is None else np.concatenate([trials, y * trials])
    return bool((np.abs(counts - np.round(counts)) <= _WHOLE).all())
