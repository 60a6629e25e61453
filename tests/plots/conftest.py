"""Pictures are drawn without a screen, and nothing may warn."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def strictly(strict: None) -> None:
    """Have `strict` hold for every test here."""


@pytest.fixture
def ax() -> Axes:
    """Axes of a figure that pyplot doesn't know."""
    return Figure(figsize=(8, 6)).subplots()
