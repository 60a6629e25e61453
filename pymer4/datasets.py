"""Example data: R's own, and the bundled sample."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from pymer4.errors import OptionError
from pymer4.rbridge import bridge
from pymer4.utils import get_resource_path

__all__ = ["load_dataset"]


def load_dataset(name: str) -> pd.DataFrame:
    """Return an example data set.

    Text and factors arrive as Categoricals in R's order of levels.

    Args:
        name: a data set of lme4, lmerTest, emmeans, nlme, MASS or R itself (`"sleepstudy"`,
            `"cbpp"`, `"pigs"`, ...), or `"sample_data"` for the one that comes with pymer4
            and needs no R.

    Returns:
        The data, rows in R's order.

    Raises:
        OptionError: no such data set, or no name of one.
        TypeError: `name` is no text.

    Examples:
        >>> load_dataset("sleepstudy").shape
        (180, 3)
    """
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} has to be a text, such as 'sleepstudy', not a {type(name).__name__}.")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._]*", name):
        raise OptionError(f"name={name!r} is not the name of a data set. Read a file of your own with pandas.")
    if name == "sample_data":
        return pd.read_csv(Path(get_resource_path()) / "sample_data.csv")
    data = bridge.call("dataset", name=name).value["data"]
    if data is None:
        raise OptionError(f"R's packages here have no data set {name!r}. Try 'sleepstudy', or 'sample_data'.")
    return data
