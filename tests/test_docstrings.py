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


ASKED = ("fit", "simulate", "confint", "predict")


@pytest.mark.parametrize("model", [pymer4.Lmer, pymer4.Lm, pymer4.Lm2], ids=lambda model: model.__name__)
def test_what_fits_draws_and_pictures_has_an_example(model):
    named = [name for name in dir(model) if name in ASKED or name.startswith("plot")]
    assert len(named) > 4
    assert [name for name in named if ">>>" not in getattr(model, name).__doc__] == []
