"""Example data: R's own, and the bundled sample."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pymer4 import bridge
from pymer4.errors import OptionError
from pymer4.utils import get_resource_path


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
        OptionError: no such data set.

    Examples:
        >>> load_dataset("sleepstudy").shape
        (180, 3)
    """
    bundled = Path(get_resource_path()) / f"{name}.csv"
    if bundled.is_file():
        return pd.read_csv(bundled)
    data = bridge.call("dataset", name=str(name)).value["data"]
    if data is None:
        raise OptionError(f"R's packages here have no data set {name!r}. Try 'sleepstudy', or 'sample_data'.")
    return data
