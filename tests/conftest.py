"""What every run of the tests begins with."""

from __future__ import annotations

import hermetic
import hypothesis
import no_r
import pytest

if no_r.is_asked():
    no_r.hide()
_IN_SIGHT = hermetic.isolate()

hypothesis.settings.register_profile("the same each time", derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """Draw the same examples on every machine; new ones where the slow tests run, which look for what is unknown."""
    if "not slow" in config.option.markexpr.replace("slow or not slow", ""):
        hypothesis.settings.load_profile("the same each time")


def pytest_report_header() -> str:
    """Say which undeclared R packages a test could use by chance, or that there is no R."""
    if no_r.is_asked():
        return "R is hidden"
    if not _IN_SIGHT:
        return "R sees the packages that the set-up names, and no others"
    named = ", ".join(_IN_SIGHT)
    return f"R's own library has packages that the set-up does not name, which can't be hidden: {named}"
