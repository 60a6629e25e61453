"""Bootstrap iterations of a function that the user brings, and what came of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pymer4.data.columns import array
from pymer4.errors import ModelWarning, OptionError, count, issue, shown, truth, workers
from pymer4.errors import items as items_of
from pymer4.infer.draws import Interval, spread
from pymer4.work import Advance, Seed, each_chunk, generator, progress, seed_stream

_MANY = 0.1  # share of iterations without a result that is told of


class FailureWarning(ModelWarning, RuntimeWarning):
    """A warning about iterations that have no result."""


@dataclass(frozen=True, slots=True, eq=False)
class BootstrapResult:
    """What a bootstrap came to.

    Attributes:
        observed: estimates of the data, shape (k,).
        boot_samples: draws, shape (n_boot, k), NaN where there is none.
        ci_lower: lower limits, shape (k,).
        ci_upper: upper limits, shape (k,).
        param_names: names of the k parameters.
        n_boot: draws that were asked for.
        ci_type: kind of limits.
        level: confidence level.
        term_types: of each parameter `"fixef"` or `"ranef"`, where there are both.

    Examples:
        >>> draws = np.array([[1.0], [2.0], [3.0]])
        >>> found = BootstrapResult(np.array([2.0]), draws, draws[0], draws[2], ["x"], 3, "percentile", 0.5)
        >>> found.se.tolist(), [limits.tolist() for limits in found.ci]
        ([1.0], [[1.0], [3.0]])
    """

    observed: np.ndarray
    boot_samples: np.ndarray
    ci_lower: np.ndarray
    ci_upper: np.ndarray
    param_names: list[str]
    n_boot: int
    ci_type: Interval
    level: float
    term_types: list[str] | None = None

    @property
    def ci(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limits, each shape (k,)."""
        return self.ci_lower, self.ci_upper

    @property
    def se(self) -> np.ndarray:
        """Standard deviations of the draws, shape (k,), n − 1 in the denominator."""
        return spread(self.boot_samples)


def run_bootstrap_iterations(
    iteration_fn: Callable[..., Any],
    rngs: Sequence[Seed] | Seed,
    n_boot: int,
    iter_kwargs: Mapping[str, Any],
    n_jobs: int = 1,
    verbose: bool = False,
    desc: str = "Bootstrap",
) -> list[np.ndarray]:
    """Return what a function gives for each of many random generators, the same for every number of workers.

    Args:
        iteration_fn: called as `iteration_fn(rng=generator, **iter_kwargs)`; returns a number or an array of numbers,
            NaN where it has none. An error ends the run.
        rngs: a Generator or whole number for each iteration, or one seed for all. Generators are used in copies, so
            that the same ones give the same results again.
        n_boot: iterations.
        iter_kwargs: the other arguments.
        n_jobs: workers, as joblib counts them.
        verbose: whether to show progress.
        desc: what is called so there.

    Raises:
        OptionError: no function, or not as many generators as iterations.
        DataError: what is returned is no number.

    Examples:
        >>> def mean_of_sample(rng, x):
        ...     return np.mean(rng.choice(x, len(x)))
        >>> len(run_bootstrap_iterations(mean_of_sample, 1, 20, {"x": [1.0, 4.0, 9.0]}))
        20
    """
    if not callable(iteration_fn):
        raise OptionError(f"iteration_fn={shown(iteration_fn)} can't be called.")
    if not isinstance(iter_kwargs, Mapping) or not all(isinstance(name, str) for name in iter_kwargs):
        raise OptionError(f"iter_kwargs={shown(iter_kwargs)} has to be a dict of keyword arguments.")
    n_boot, n_jobs = count("n_boot", n_boot), workers(n_jobs)
    each = items_of(rngs)
    seeds = seed_stream(rngs, n_boot).tolist() if each is None else each
    if len(seeds) != n_boot:
        raise OptionError(f"There are {len(seeds)} rngs for {n_boot=} iterations. Give one for each, or one seed.")
    items = np.empty(n_boot, dtype=object)
    items[:] = [generator(copy.deepcopy(seed)) for seed in seeds]
    called = partial(iteration_fn, **iter_kwargs)
    with progress(_text("desc", desc), n_boot, truth("verbose", verbose)) as advance:
        note = partial(_told, advance)
        parts = each_chunk(_iterated, items, n_jobs, called, note=note)
    return [values for part in parts for values in part]


def collect_boot_samples(
    boot_samples_list: Sequence[Any], n_boot: int, context: str = "Bootstrap"
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the results of iterations as one array, which of them are valid, and how many failed.

    Args:
        boot_samples_list: numbers of each iteration, shape (k,); one that failed has only NaN.
        n_boot: iterations.
        context: what they are called in a warning.

    Returns:
        The draws, shape (n_boot, k); which have a number, shape (n_boot,); how many have none.

    Raises:
        DataError: another number of results than iterations, or results of different lengths.

    Warns:
        RuntimeWarning: more than a tenth failed.

    Examples:
        >>> draws, valid, failed = collect_boot_samples([[1.0, 2.0]] * 19 + [[np.nan, np.nan]], 20)
        >>> draws.shape, int(valid.sum()), failed
        ((20, 2), 19, 1)
    """
    found = array("boot_samples_list", boot_samples_list, count("n_boot", n_boot), None, missing=True)
    failed = np.array([_failed(values) for values in found])
    n_failed = int(failed.sum())
    warn_on_failures(n_failed, n_boot, context)
    return found, ~failed, n_failed


def warn_on_failures(n_failed: int, n_total: int, context: str = "Bootstrap") -> None:
    """Warn where more than a tenth of the iterations failed.

    Raises:
        OptionError: what is no number of iterations.

    Warns:
        RuntimeWarning: more than a tenth failed.

    Examples:
        >>> warn_on_failures(2, 20)
    """
    n_failed, n_total, context = count("n_failed", n_failed, 0), count("n_total", n_total), _text("context", context)
    if n_failed > _MANY * n_total:
        text = f"{context}: {n_failed} of {n_total} iterations failed ({n_failed / n_total:.0%}); they are left out."
        issue(text, FailureWarning)


def _iterated(func: Callable[..., Any], generators: np.ndarray) -> list[np.ndarray]:
    return [_numbers(func(rng=rng)) for rng in generators]


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{argument}={shown(value)} has to be text.")
    return value


def _told(advance: Advance, part: list[np.ndarray]) -> None:
    advance(len(part), sum(map(_failed, part)))


def _numbers(value: Any) -> np.ndarray:
    return array("What iteration_fn returns", value, ..., missing=True)


def _failed(values: np.ndarray) -> bool:
    return bool(np.isnan(values).all())
