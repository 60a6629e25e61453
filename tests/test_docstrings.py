"""Docstrings: every example runs and gives what stands there, and what users call first has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import pymer4
from pymer4 import Lm, Lm2, Lmer

pytestmark = pytest.mark.r

MODULES = sorted(module.name for module in pkgutil.walk_packages(pymer4.__path__, "pymer4."))
FIRST = ("fit", "simulate", "confint")


@pytest.mark.parametrize("name", ["pymer4", *MODULES])
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_the_examples_give_what_stands_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.close("all")


@pytest.mark.parametrize("model", [Lmer, Lm, Lm2])
def test_what_users_call_first_has_an_example(model):
    methods = inspect.getmembers(model, inspect.isfunction)
    wanted = [name for name, _ in methods if name in FIRST or (name.startswith("plot") and name != "plot")]
    lacking = [
        name for name in [*wanted, "plot"] if hasattr(model, name) and ">>>" not in (getattr(model, name).__doc__ or "")
    ]
    assert lacking == []
