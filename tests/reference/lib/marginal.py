"""Questions about marginal means: those of `marginal_cases.csv`, put to `Lmer` and compared with `marginal.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import Lmer

from .data import REFERENCE
from .mixed import read_rows, read_table
from .quantities import Pair, pair


@dataclass(frozen=True)
class Question:
    """One row of the case file; all fields are text, empty for none."""

    id: str
    model: str
    verb: str
    specs: str
    by: str
    var: str
    at: str
    contrasts: str
    adjust: str
    type: str
    ddf: str

    def ask(self, model: Lmer) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Return the tables that the verb returns, the second None where there is none."""
        by, ddf = self.by.split(";") if self.by else None, self.ddf or None
        if self.verb == "joint_tests":
            return model.joint_tests(by, ddf=ddf), None
        specs = self.specs.split(";") if self.specs else None
        if self.verb == "post_hoc":
            model.post_hoc(specs, by, self.adjust, summarize=False)
            return model.marginal_estimates, model.marginal_contrasts
        given = {"at": _parts(self.at) or None, "contrasts": _contrasts(self.contrasts), "adjust": self.adjust}
        given |= {"type": self.type, "ddf": ddf}
        if self.verb == "emtrends":
            return model.emtrends(self.var, specs, by, **given)
        return model.emmeans(specs, by, **given)


def _parts(text: str) -> dict[str, list[Any]]:
    """Return `a:1;2|b:x` as a dict of lists, numbers where they are weights."""
    halves = (part.partition(":") for part in text.split("|") if part)
    return {name: [_value(value) for value in values.split(";")] for name, _, values in halves}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _contrasts(text: str) -> str | dict[str, list[float]] | None:
    return (_parts(text) if ":" in text else text) or None


MODELS = read_rows(REFERENCE / "marginal_models.csv")
QUESTIONS = {row["id"]: Question(**row) for row in read_table(REFERENCE / "marginal_cases.csv")}

_COLUMNS = {"estimate": "Estimate", "se": "SE", "df": "DF"}


def marginal_pairs(table: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Pair]:
    """Yield the quantities of a table of estimates or contrasts; infinite df are left to a comparison of their own."""
    low, high = (name for name in table.columns if str(name).endswith("_ci"))
    yield pair("estimates", table["Estimate"], expected["estimate"], expected["se"])
    yield pair("standard errors", table["SE"], expected["se"])
    yield pair("df", table["DF"], expected["df"])
    yield pair("limits", table[[low, high]], expected[["lower", "upper"]], expected[["se"]])
    if "p" in expected:
        statistic = next(name for name in ("T-stat", "Z-stat") if name in table.columns)
        yield pair("statistics", table[statistic], expected["statistic"], 1)
        yield pair("p", table["P-val"], expected["p"], 1 - expected["p"])


def labels(table: pd.DataFrame) -> list[str]:
    """Return what each row is called, its values with a bar between."""
    shown = table.iloc[:, : list(table.columns).index("Estimate")].astype(object).to_numpy()
    return ["|".join(map(spelled, row)) for row in shown]


def spelled(value: Any) -> str:
    """Return a level as R writes it."""
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
