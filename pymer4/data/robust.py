"""Which covariance of the coefficients a fit asks for, and what its rows cluster by."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4.data.columns import as_factor, normalise
from pymer4.errors import DataError, OptionError, near, one_of, shown

Robust = Literal["hc0", "hc1", "hc2", "hc3", "hac", "cluster"]
"""Covariances that are robust to unequal variances; see `sandwich.covariance`."""


def robust_kind(robust: Any, cluster: str | None, default: Robust) -> str:
    """Return the covariance that `fit(robust=)` asks for, `"iid"` for the plain one.

    Args:
        robust: True, False or a type, in any case.
        cluster: name of a column, or None.
        default: what True means.

    Raises:
        OptionError: no such type, `"cluster"` without a column, or a cluster that is no name.
    """
    if cluster is not None and not isinstance(cluster, str):
        raise OptionError(f"cluster={shown(cluster)} is not a column of the data. Give the name of a column.")
    if robust is None or isinstance(robust, (bool, np.bool_)):
        return default if robust else "iid"
    kind = robust.lower() if isinstance(robust, str) else robust
    one_of("robust", kind, (True, False, *get_args(Robust)))
    if kind == "cluster" and cluster is None:
        raise OptionError("robust='cluster' needs cluster=, the name of the column whose groups the rows belong to.")
    return str(kind)


def se_type(kind: str) -> str:
    """Return what a table says of its standard errors."""
    return "non-robust" if kind == "iid" else f"robust ({kind})"


def group_codes(argument: str, name: Any, data: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the group of each row, shape (n,), −1 where it is missing, and the names of the groups.

    Args:
        argument: what the column was given as, for the messages.
        name: name of a column.
        data: the user's frame.

    Raises:
        OptionError: no such column.
        DataError: a column that holds nothing groups can be made of.
    """
    if not isinstance(name, str) or name not in data.columns:
        raise OptionError(
            f"{argument}={shown(name)} is not a column of the data.{near(name, data.columns)} Give the name of a "
            "column."
        )
    factor = as_factor(normalise(data, [name])[name])
    if not len(factor.levels):
        raise DataError(f"{argument}={name!r} is a column without a value.")
    return np.where(factor.missing, -1, factor.values - 1).astype(np.int64), factor.levels


def compact(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes that count from 0 without gaps, and the code that each stands for."""
    found, compacted = np.unique(codes, return_inverse=True)
    return compacted.ravel(), found
