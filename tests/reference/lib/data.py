"""Data by name, made by the rules of `data.R`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from pymer4 import load_dataset

REFERENCE = Path(__file__).parents[1]


@cache
def named_data(name: str) -> pd.DataFrame:
    """Return a frame that callers only read."""
    rules: dict[str, Callable[[], pd.DataFrame]] = {
        "VerbAgg": _every_fourth_person,
        "cbpp": _proportions,
        "cbpp_holes": _holes,
        "simulated": lambda: pd.read_csv(REFERENCE / "simulated.csv"),
        "natives": _outcomes,
        "pigs": _animals,
        "warpbreaks": lambda: load_dataset("warpbreaks").assign(piece=lambda d: np.arange(1, len(d) + 1)),
        "MOats": _lengthened,
    }
    return rules[name]() if name in rules else load_dataset(name)


def _outcomes() -> pd.DataFrame:
    """Return the simulated data with weights, an offset, proportions and gaps."""
    data = pd.read_csv(REFERENCE / "simulated.csv")
    i = np.arange(1, len(data) + 1)
    data = data.assign(part=np.where(i % 2 == 1, "k", "l"), weight=1 + (i % 5) / 4, shift=((7 * i) % 11) / 44)
    data = data.assign(odd=data["visits"] % 2, trials=3 + i % 5, block=data["g"] % 5)
    data = data.assign(hits=data["visits"] % (data["trials"] + 1))
    return data.assign(
        share=data["hits"] / data["trials"],
        gappy=data["level"].mask(i % 31 == 4),
        hollow=data["x"].mask(i % 37 == 2),
    )


def _every_fourth_person() -> pd.DataFrame:
    """Return all answers of every fourth person, the outcome as text."""
    data = load_dataset("VerbAgg")
    data = data[np.arange(len(data)) % 316 % 4 == 0].reset_index(drop=True)
    return data.assign(r2=data["r2"].astype(str))


def _proportions() -> pd.DataFrame:
    data = load_dataset("cbpp")
    return data.assign(proportion=data["incidence"] / data["size"], row=np.arange(1, len(data) + 1))


def _holes() -> pd.DataFrame:
    data = _proportions()
    i = np.arange(1, len(data) + 1)
    return data.assign(incidence=data["incidence"].mask(i % 13 == 0), period=data["period"].mask(i % 17 == 5))


def _animals() -> pd.DataFrame:
    data = load_dataset("pigs")
    return data.assign(animal=data.groupby(["source", "percent"], observed=True).cumcount() + 1)


def _lengthened() -> pd.DataFrame:
    """Return one row a plot, from one row a whole plot with a column for each amount of nitrogen."""
    wide = load_dataset("MOats")
    long = wide.melt(["Variety", "Block"], var_name="nitro", value_name="yield")
    return long.assign(nitro=long["nitro"].str.removeprefix("yield.").astype(float))
