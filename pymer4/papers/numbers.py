"""Numbers as a paper prints them. Nothing else rounds."""

from __future__ import annotations

import math

_LEAST_P = 0.001
_NONE = "—"


def number(value: float, digits: int = 2) -> str:
    """Return a number with so many decimals, and never fewer than so many significant digits.

    Examples:
        >>> [number(value) for value in (10.4673, -0.00123, 0.0, 2.5e-7, float("nan"), float("-inf"))]
        ['10.47', '−0.0012', '0.00', '2.50e−07', '—', '−∞']
    """
    size = abs(value)
    if math.isnan(size):
        return _NONE
    if math.isinf(size):
        return "−∞" if value < 0 else "∞"
    if size and not 1e-4 <= size < 1e7:
        return _signed(f"{value:.{digits}e}")
    places = max(digits, digits - 1 - math.floor(math.log10(size))) if size else digits
    return _signed(f"{value if size else 0.0:.{places}f}")


def share(value: float, digits: int = 2) -> str:
    """Return what can't exceed 1 in size, without its leading zero.

    Examples:
        >>> share(0.722), share(1.0), share(-0.05)
        ('.72', '1.00', '−.05')
    """
    if math.isnan(value):
        return _NONE
    text = f"{value:.{digits}f}"
    return _signed(text.replace("0.", ".", 1) if abs(float(text)) < 1 else text)


def p_value(value: float) -> str:
    """Return p, `< .001` where it is smaller.

    Examples:
        >>> p_value(0.0004), p_value(0.0312), p_value(0.9999)
        ('< .001', '.031', '> .999')
    """
    if value < _LEAST_P:
        return "< .001"
    return "> .999" if value > 0.9995 and value <= 1 else share(value, 3)


def equated(value: str) -> str:
    """Return a value after a name: `= 0.5`, but `< .001` as it is."""
    return value if value[0] in "<>" else f"= {value}"


def interval(lower: float, upper: float, digits: int = 2) -> str:
    """Return limits in brackets; an empty text where there are none."""
    if math.isnan(lower) and math.isnan(upper):
        return ""
    return f"[{number(lower, digits)}, {number(upper, digits)}]"


def degrees(df: float, whole: bool) -> str:
    """Return degrees of freedom, with a decimal unless all of a table are whole numbers."""
    return number(df, 0 if whole else 1) if math.isfinite(df) else number(df)


def _signed(text: str) -> str:
    return text.replace("-", "−")
