"""Kernels of OpenBLAS: those that the processor has, and the tests that run under two of them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMERIC = re.compile(r"^(?:from|import) pymer4\.(?:fit|infer|statistics|stats|simulate|data\.contrasts)\b", re.M)
# They take a helper from one of those, and ask R, about processes, or about messages.
NOT_NUMERIC = {
    "test_fit_many_work",
    "test_reference_families",
    "test_reference_marginal",
    "test_workers",
    "test_argument_errors",
    "test_model_pictures",
}


def script():
    spec = importlib.util.spec_from_file_location("kernels", ROOT / "scripts" / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_kernel_runs_code_of_its_own():
    kernels = script()
    found = kernels.kernels()
    cores = [kernels.core(kernel) for kernel in found]
    assert all(cores) and len(set(cores)) == len(cores)
    assert found == [kernel for kernel in kernels.KERNELS if kernel in found]


def test_a_kernel_that_the_processor_lacks_is_left_out(monkeypatch):
    kernels = script()
    monkeypatch.setattr(kernels, "_TRIAL", "import os; os.abort()")
    assert kernels.core("Haswell") == "" and kernels.kernels() == []


@pytest.mark.parametrize(
    "cores, found",
    [
        ({"Haswell": "Haswell", "Zen": "Haswell", "Prescott": "Katmai"}, ["Haswell", "Prescott"]),
        ({"SkylakeX": "Haswell", "Haswell": "Haswell"}, ["Haswell"]),
        ({"SkylakeX": "Zen", "Haswell": "Zen"}, ["SkylakeX"]),
        ({}, []),
    ],
)
def test_code_that_processors_share_is_run_once(cores, found, monkeypatch):
    kernels = script()
    monkeypatch.setattr(kernels, "core", lambda kernel: cores.get(kernel, ""))
    monkeypatch.setattr(kernels.platform, "machine", lambda: "x86_64")
    assert kernels.kernels() == found
    monkeypatch.setattr(kernels.platform, "machine", lambda: "aarch64")
    assert kernels.kernels() == []


@pytest.mark.parametrize(
    "n, chosen", [(1, ["a"]), (2, ["a", "d"]), (3, ["a", "c", "d"]), (4, list("abcd")), (9, list("abcd"))]
)
def test_few_kernels_are_far_apart(n, chosen):
    assert script().spread(list("abcd"), n) == chosen
    assert script().spread([], n) == []


def test_what_tests_numbers_made_here_is_marked():
    texts = {path.stem: path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py"))}
    marked = {name for name, text in texts.items() if re.search(r"^pytestmark = .*pytest\.mark\.numeric\b", text, re.M)}
    assert {name for name, text in texts.items() if NUMERIC.search(text)} - NOT_NUMERIC <= marked
    assert len(marked) > 15 and sys.modules[__name__].__name__ not in marked
