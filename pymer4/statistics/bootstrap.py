"""Bootstrap limits: of a function that the user brings, and of Cohen's d."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import real_array
from pymer4.data.frames import plain
from pymer4.errors import DataError, ModelWarning, OptionError, also_spelled, count, issue, shown, truth, workers
from pymer4.infer.draws import quantiles
from pymer4.statistics import samples
from pymer4.statistics.samples import number
from pymer4.work import BLOCK, Seed, blocks, each_chunk, map_chunks

Measure = Callable[[Any, Any], np.ndarray]
"""A statistic of one sample, or of two, a row each: shapes (draws, n) and (draws, m) or None to (draws,)."""

_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})

_LEVEL = 0.95
_CALLS = 10  # of a user's function in one block; it may be slow, and every worker should have some


@also_spelled(function="func")
def boot_func(
    x: Any,
    y: Any = None,
    func: Callable[..., Any] | None = None,
    func_args: Mapping[str, Any] = _NO_ARGUMENTS,
    paired: bool = False,
    n_boot: int = 500,
    n_jobs: int = 1,
    seed: Seed = None,
) -> tuple[Any, np.ndarray]:
    """Return a function of one sample or of two, with limits by the percentile bootstrap.

    Args:
        x: observations, one a row: a list, array, Series or frame. The function gets an array, and missing values
            are in it as they are in the data: what becomes of them is for the function to say.
        y: observations of a second sample, likewise.
        func: called as `func(x, **func_args)`, or `func(x, y, **func_args)` where y is given; returns a number, or
            an array of the same shape at every call.
        func_args: keyword arguments of `func`.
        paired: draw rows of x and y together; else each sample is drawn for itself.
        n_boot: resamples.
        n_jobs: workers, as joblib counts them; the result does not depend on it.
        seed: for limits that can be repeated.

    Returns:
        The function's value of the data, and its lower and upper 95 % limits, shape (2,), or (2, ...) where the
        function returns an array.

    Raises:
        OptionError: no function, `func_args` without names, `paired` without y, or an illegal number.
        DataError: empty data, pairs of unequal length, or values of the function that are no numbers.

    Warns:
        ModelWarning: the function was NaN or infinite for some resamples, which are left out.

    Examples:
        >>> import numpy as np
        >>> value, limits = boot_func([3.1, 4.0, 2.2, 5.8, 4.4], func=np.median, seed=1)
        >>> value, limits.shape
        (4.0, (2,))
    """
    if not callable(func):
        raise OptionError(f"func={shown(func)} can't be called. Give a function such as numpy.median.")
    if not isinstance(func_args, Mapping) or not all(isinstance(name, str) for name in func_args):
        raise OptionError(f"func_args={shown(func_args)} has to be a dict of keyword arguments, such as {{'axis': 0}}.")
    n_boot, n_jobs, paired = count("n_boot", n_boot), workers(n_jobs), truth("paired", paired)
    data = [_rows("x", x)] + ([] if y is None else [_rows("y", y)])
    if paired and y is None:
        raise OptionError("paired=True needs y, the second sample.")
    if paired and len(data[0]) != len(data[1]):
        raise DataError(
            f"With paired=True x and y have to be of one length: x has {len(data[0])} rows, y {len(data[1])}."
        )
    with np.errstate(all="ignore"):
        value = _numeric(func(*(values.copy() for values in data), **func_args))
    work = blocks(seed, n_boot, BLOCK // _CALLS)
    parts = each_chunk(_called, work, n_jobs, data, func, dict(func_args), paired)
    drawn = [values for part in parts for values in part]
    shapes = {values.shape for values in drawn}
    if len(shapes) > 1:
        raise DataError(f"func returns arrays of changing shape: {', '.join(map(str, sorted(shapes)))}.")
    return (value.item() if value.ndim == 0 else value), _limits(np.stack(drawn), "func")


def cohens_d(
    x: Any,
    y: Any = None,
    paired: bool = False,
    n_boot: int = 1000,
    equal_var: bool = False,
    value: float = 0,
    n_jobs: int = 1,
    seed: Seed = None,
) -> float | tuple[float, np.ndarray]:
    """Return Cohen's d of one sample, of two, or of pairs, with limits by the percentile bootstrap.

    | samples | d |
    | --- | --- |
    | x | (mean(x) − value) / sd(x) |
    | x and y, `equal_var=False` | (mean(x) − mean(y) − value) / √((s²ₓ + s²ᵧ) / 2) |
    | x and y, `equal_var=True` | (mean(x) − mean(y) − value) / pooled sd |
    | pairs | d_z = (mean(x − y) − value) / sd(x − y) |

    Variances have n − 1 in the denominator (Cohen 1988, Statistical Power Analysis; Lakens 2013, Front. Psychol. 4,
    863, for d_z). Missing values are left out, from each sample or by pairs.

    Args:
        x: numbers of the first sample.
        y: numbers of the second sample; None for one sample.
        paired: take x and y for pairs; `equal_var` has no say then.
        n_boot: resamples for the limits; 0 for none.
        equal_var: pool the variances of two samples, weighted by their df.
        value: taken from the mean, or difference of means, before it is divided.
        n_jobs: workers, as joblib counts them; the result does not depend on it.
        seed: for limits that can be repeated.

    Returns:
        d, and its lower and upper 95 % limits, shape (2,); d alone with `n_boot=0`.

    Raises:
        OptionError: an argument that is not among those above, or `paired` without y.
        DataError: too few numbers, no spread, or pairs of unequal length.

    Warns:
        ModelWarning: resamples that have no spread, which are left out.

    Examples:
        >>> cohens_d([5.0, 6.0, 7.0], [3.0, 4.0, 5.0], n_boot=0)
        2.0
    """
    paired, equal_var, value = truth("paired", paired), truth("equal_var", equal_var), number("value", value)
    n_boot, n_jobs = count("n_boot", n_boot, 0), workers(n_jobs)
    first, second = samples.compared(x, y, paired, "paired=True")
    samples.require_spread(first, second, "Cohen's d")
    measure = partial(samples.cohen, equal_var=equal_var, value=value)
    d = float(measure(first, second))
    return (d, bootstrap_limits(first, second, measure, n_boot, n_jobs, seed, "d")) if n_boot else d


def bootstrap_limits(
    first: np.ndarray, second: np.ndarray | None, measure: Measure, n_boot: int, n_jobs: int, seed: Seed, what: str
) -> np.ndarray:
    """Return percentile limits of a statistic of one sample, or of two, shape (2,)."""
    work = blocks(seed, n_boot, len(first) + (0 if second is None else len(second)))
    return _limits(map_chunks(_measured, work, n_jobs, first, second, measure), what)


def _measured(first: np.ndarray, second: np.ndarray | None, measure: Measure, work: np.ndarray) -> np.ndarray:
    """Return the statistics of the resamples of some blocks."""
    found = []
    for seed, draws in work:
        rng = np.random.default_rng(seed)
        x, y = (
            None if values is None else values[rng.integers(0, len(values), size=(draws, len(values)))]
            for values in (first, second)
        )
        found.append(measure(x, y))
    return np.concatenate(found)


def _called(
    data: list[np.ndarray], func: Callable[..., Any], func_args: dict[str, Any], paired: bool, work: np.ndarray
) -> list[np.ndarray]:
    """Return the function's values of the resamples of some blocks."""
    found = []
    for seed, draws in work:
        rng = np.random.default_rng(seed)
        for _ in range(draws):
            rows = [rng.integers(0, len(values), size=len(values)) for values in data[: 1 if paired else 2]]
            rows = rows * len(data) if paired else rows
            with np.errstate(all="ignore"):  # numbers that come to nothing are counted
                found.append(_numeric(func(*(v[i] for v, i in zip(data, rows, strict=True)), **func_args)))
    return found


def _rows(argument: str, values: Any) -> np.ndarray:
    values = plain(values)
    found = values.to_numpy() if isinstance(values, (pd.Series, pd.DataFrame)) else np.asarray(values)
    if found.ndim == 0 or not len(found):
        raise DataError(f"{argument} has to hold observations, one a row: a list, array, Series or frame.")
    return found


def _numeric(value: Any) -> np.ndarray:
    found = real_array(value)
    if found is None:
        raise DataError(f"func has to return a number or an array of numbers, not a {type(value).__name__}.")
    return found


def _limits(drawn: np.ndarray, what: str) -> np.ndarray:
    """Return 95 % percentile limits of the draws that are finite, shape (2, ...), and warn of the others."""
    finite = np.isfinite(drawn).reshape(len(drawn), -1).all(axis=1)
    lost = len(drawn) - int(finite.sum())
    if lost:
        text = f"In {lost} of {len(drawn)} resamples {what} is NaN or infinite; the limits are those of the others."
        issue(text, ModelWarning)
    kept = drawn[finite] if finite.any() else np.full_like(drawn[:1], np.nan)
    return quantiles(kept, np.array([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))
