"""Documented names of small utilities."""

from __future__ import annotations

import os
from importlib import resources

from pymer4.data.contrasts import R2con, con2R
from pymer4.statistics.psd import isPSD, nearestPSD

__all__ = ["R2con", "con2R", "get_resource_path", "isPSD", "nearestPSD"]


def get_resource_path() -> str:
    """Return the folder of the bundled sample data, ending in a separator.

    Examples:
        >>> get_resource_path().endswith("/")
        True
    """
    return os.path.join(str(resources.files("pymer4") / "resources"), "")
