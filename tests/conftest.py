"""What every run of the tests begins with."""

from __future__ import annotations

import hermetic

_IN_SIGHT = hermetic.isolate()


def pytest_report_header() -> str:
    """Say which undeclared R packages a test could use by chance."""
    if not _IN_SIGHT:
        return "R sees the packages that the set-up names, and no others"
    named = ", ".join(_IN_SIGHT)
    return f"R's own library has packages that the set-up does not name, which can't be hidden: {named}"
