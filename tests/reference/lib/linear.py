"""The models of `linear_cases.csv`, made by `Lmer` as `linear.R` makes them, on frames by the rules of `frames.R`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import Lmer, load_dataset

from .mixed import Row, read_rows

# Here the optimizer stops far from any optimum, with a slope's sd of exactly 0 and two negative curvatures. The
# df of lmerTest are then what the steps of numDeriv make of it: up to 5 times as large with r = 6 in the place of
# its 4, up to 150 times with eps = 1e-5 in the place of 1e-4. In the other cases such changes move them by 5e-5 at
# most, and by 2e-3 in the overfitted one.
NO_DF = {"huge_predictor"}


CASES = read_rows("linear_cases.csv")


def pieces(text: str) -> list[str]:
    return text.split(";") if text else []


@cache
def _sampled(name: str) -> pd.DataFrame:
    data = load_dataset(name)
    return data if len(data) <= 5000 else data.iloc[np.arange(5000) * (len(data) // 5000)].reset_index(drop=True)


def full_data(case: Row) -> pd.DataFrame:
    data = _sampled(case.data).copy()
    i = np.arange(1, len(data) + 1)
    rules: dict[str, Callable[[], Any]] = {
        "weight": lambda: 1 + (i % 5) / 4,
        "shift": lambda: ((7 * i) % 11) / 4,
        "wave": lambda: ((37 * i) % 101) / 64,
        "tide": lambda: ((53 * i) % 89) / 32,
        "nights awake": lambda: data["Days"] + 1,
        "huge": lambda: data["Days"] * 1e6,
        "tiny": lambda: data["Reaction"] * 1e-6,
        "steep": lambda: 30 * data["Days"] + (data["Subject"].cat.codes + 1) % 5 + ((13 * i) % 17) / 4,
    }
    for name in pieces(case.added):
        data[name] = rules[name]()
    return data


def case_data(case: Row) -> pd.DataFrame:
    data = full_data(case)
    i = np.arange(1, len(data) + 1)
    for rule in pieces(case.missing):
        name, divisor, rest = rule.split(":")
        data[name] = data[name].mask(i % int(divisor) == int(rest))
    return data


def new_data(case: Row) -> pd.DataFrame:
    data = full_data(case)
    rows = data.iloc[np.arange(8) * (len(data) // 8)].copy()
    for name in pieces(case.moved):
        rows[name] = rows[name] + 2.5
    return rows


def unseen_data(case: Row) -> pd.DataFrame:
    rows = new_data(case)
    labels = rows[case.unseen].astype(str).to_numpy(dtype=object)
    labels[:4] = "unseen"
    return rows.assign(**{case.unseen: labels})


def make(case: Row, **changes) -> Lmer:
    given = {"weights": case.weights or None, "offset": case.offset or None} | changes
    return Lmer(case.formula, case_data(case), **given)


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    spec = CASES[case]
    model = make(spec)
    model.fit(REML=spec.REML == "TRUE", control=spec.control, summarize=False, no_warnings=True)
    return model
