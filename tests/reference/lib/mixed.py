"""The models of case files, made by `Lmer` as `mixed.R` makes them by lme4."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymer4 import Lmer

from .data import REFERENCE, named_data


@dataclass(frozen=True)
class Row:
    """One model of a case file; all fields are text, empty for the default."""

    id: str
    data: str
    formula: str
    family: str = "gaussian"
    link: str = ""
    weights: str = ""
    offset: str = ""
    nAGQ: str = ""
    control: str = ""
    unseen: str = ""
    slow: str = ""
    REML: str = ""
    ddf: str = ""
    kenward_roger: str = ""

    @property
    def linear(self) -> bool:
        """Whether it is a linear mixed model."""
        return self.family == "gaussian" and not self.link


def read_rows(path: Path) -> dict[str, Row]:
    """Return the models of a case file by their ids."""
    return {row["id"]: Row(**row) for row in read_table(path)}


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, all values as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make(row: Row) -> Lmer:
    """Return the model of a row, not fitted."""
    given = {name: getattr(row, name) or None for name in ("link", "weights", "offset")}
    return Lmer(row.formula, named_data(row.data), row.family, **given)


def fit(row: Row, **changes: Any) -> Lmer:
    """Return the model of a row, fitted without a word."""
    given: dict[str, Any] = {"control": row.control, "REML": row.REML != "FALSE"}
    given |= {"nAGQ": int(row.nAGQ)} if row.nAGQ else {}
    given |= {"ddf": row.ddf} if row.ddf else {}
    model = make(row)
    model.fit(summarize=False, no_warnings=True, **given | changes)
    return model


GENERALIZED = read_rows(REFERENCE / "generalized_cases.csv")
