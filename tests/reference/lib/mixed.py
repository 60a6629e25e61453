"""The models of case files, made by `Lmer` as `mixed.R` makes them by lme4."""

from __future__ import annotations

import csv
from dataclasses import make_dataclass
from typing import Any

from pymer4 import Lmer

from .data import REFERENCE, named_data

_COLUMNS = """id data formula family link weights offset nAGQ control unseen slow REML ddf kenward_roger missing added
profile moved r_formula group kinds model verb specs by var at contrasts adjust type variable"""


_DEFAULTS = dict.fromkeys(_COLUMNS.split(), "") | {"family": "gaussian"}


class Row(make_dataclass("_Row", [(name, str, default) for name, default in _DEFAULTS.items()], frozen=True)):
    """One row of a case file; all fields are text, empty for the default or where a file has no such column."""

    @property
    def linear(self) -> bool:
        """Whether it is a linear model."""
        return self.family == "gaussian" and not self.link


def read_rows(name: str) -> dict[str, Row]:
    """Return the rows of a case file of this folder by their ids."""
    with (REFERENCE / name).open(newline="", encoding="utf-8") as file:
        return {row["id"]: Row(**row) for row in csv.DictReader(file)}


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


GENERALIZED = read_rows("generalized_cases.csv")
