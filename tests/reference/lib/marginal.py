"""Questions about marginal means: those of `marginal_cases.csv`, put to `Lmer` and compared with `marginal.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import Lmer

from .mixed import Row, read_rows
from .quantities import Pair, pair

MODELS, QUESTIONS = read_rows("marginal_models.csv"), read_rows("marginal_cases.csv")


def ask(row: Row, model: Lmer) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the tables that the verb of a question returns, the second None where there is none."""
    by, ddf = row.by.split(";") if row.by else None, row.ddf or None
    if row.verb == "joint_tests":
        return model.joint_tests(by, ddf=ddf), None
    specs = row.specs.split(";") if row.specs else None
    if row.verb == "post_hoc":
        model.post_hoc(specs, by, row.adjust, summarize=False)
        return model.marginal_estimates, model.marginal_contrasts
    given = {"at": _parts(row.at) or None, "contrasts": _contrasts(row.contrasts), "adjust": row.adjust}
    given |= {"type": row.type, "ddf": ddf}
    if row.verb == "emtrends":
        return model.emtrends(row.var, specs, by, **given)
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
