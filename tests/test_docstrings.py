"""Docstrings: every example runs and gives what stands there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import matplotlib.pyplot as plt
import pytest

import pymer4

pytestmark = pytest.mark.r

MODULES = sorted(module.name for module in pkgutil.walk_packages(pymer4.__path__, "pymer4."))


@pytest.mark.parametrize("name", ["pymer4", *MODULES])
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_the_examples_give_what_stands_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0
    plt.close("all")
