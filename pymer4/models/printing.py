"""Tables as a terminal shows them: significant digits, small p as such, 80 columns."""

from __future__ import annotations

import math
import numbers
from typing import Any

import pandas as pd

from pymer4 import tables

_LEAST_P = 0.001


def number(value: Any) -> str:
    """Return a number as text: three decimals, and never fewer than three significant digits.

    Examples:
        >>> [number(value) for value in (251.405105, 0.0123456, -0.00004, 12345678.9, 0, 17)]
        ['251.405', '0.0123', '-4.00e-05', '1.235e+07', '0.000', '17.000']
    """
    size = abs(float(value))
    if not math.isfinite(size):
        return str(float(value)).replace("nan", "NaN")
    if size >= 1e6:
        return f"{value:.3e}"
    if 0 < size < 1e-4:
        return f"{value:.2e}"
    return f"{value:#.3g}" if 0 < size < 0.1 else f"{value:.3f}"


def p_value(value: float) -> str:
    """Return p as text.

    Examples:
        >>> [p_value(p) for p in (2.3e-80, 0.001, 0.0449, 1.0)]
        ['< .001', '0.001', '0.045', '1.000']
    """
    return "< .001" if value < _LEAST_P else "NaN" if math.isnan(value) else f"{value:.3f}"


def block(table: pd.DataFrame) -> str:
    """Return a table as text; whole numbers and text stay as they are."""
    if table.empty:
        return "(none)"
    shown = {place: _column(name, table.iloc[:, place]) for place, name in enumerate(table.columns)}
    text = pd.DataFrame(shown, index=table.index).set_axis(table.columns, axis=1)
    return text.to_string(line_width=None)


def coefficients(table: pd.DataFrame) -> str:
    """Return a table of coefficients as text, odds ratios and probabilities in a block of their own below it."""
    plain, odds = tables.without_odds(table)
    if odds is None:
        return block(plain)
    return "\n".join(
        [block(plain), "", "Odds ratios, exp(Estimate), and probabilities, plogis(Estimate):", block(odds)]
    )


def _column(name: object, values: pd.Series) -> list[str]:
    as_text = p_value if name in (tables.P_VAL, tables.PERM_P_VAL) else number
    whole = pd.api.types.is_integer_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)
    return [str(v) if whole or not isinstance(v, numbers.Real) else as_text(float(v)) for v in values]
