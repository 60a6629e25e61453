"""Tables of the groups of an `Lmer`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def shown(frames: list[pd.DataFrame]) -> Any:
    """Return frames as attributes show them: a list of several, or the one."""
    return frames if len(frames) > 1 else frames[0]


def group_coefficients(estimates: pd.Series, ranef: pd.DataFrame | list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the coefficients of the groups of each grouping factor: the population's plus the group's deviation.

    As R's `coef` every frame has all terms, the fixed ones and those that vary between the groups of any factor. Those
    without a fixed part come first, and are 0 where they do not vary.

    Args:
        estimates: fixed effects, one value a term.
        ranef: deviations, one frame a factor, one row a group, one column a term.
    """
    ranef = ranef if isinstance(ranef, list) else [ranef]
    extra = dict.fromkeys(term for frame in ranef for term in frame.columns if term not in estimates.index)
    terms = [*extra, *estimates.index]
    population = np.concatenate([np.zeros(len(extra)), estimates.to_numpy(dtype=float)])
    found = []
    for frame in ranef:
        values = np.tile(population, (len(frame), 1))
        values[:, [terms.index(term) for term in frame.columns]] += frame.to_numpy()
        found.append(pd.DataFrame(values, index=frame.index, columns=pd.Index(terms, dtype=object)))
    return found
