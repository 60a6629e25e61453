"""What editors and type checkers see: names that are loaded on first use, and a user's script under strict mypy."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

import pymer4
from pymer4 import models

SCRIPT = Path(__file__).with_name("user_script.py")
WRONG = """
from pymer4 import Lmer, Lmr, load_dataset
model = Lmer("y ~ x + (1 | g)", load_dataset("sleepstudy"), familie="gaussian")
model.fit(ddf="Satterthwait")
model.plot_summary(figsize="wide")
model.post_hoc(3)
"""
PANDAS = (
    "class DataFrame:\n    def __getitem__(self, key: object) -> DataFrame: ...\nclass Series: ...\nclass Index: ...\n"
)


# ------------------------------------------------------------------ lazily loaded names


def static_names(module) -> dict[str, str]:
    """Return the names that a module imports for type checkers alone, and where from."""
    found = {}
    for node in ast.parse(Path(module.__file__).read_text("utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                assert isinstance(line, ast.ImportFrom) and all(alias.asname == alias.name for alias in line.names)
                found |= {alias.name: line.module for alias in line.names}
    return found


@pytest.mark.parametrize("module", [pymer4, models], ids=lambda module: module.__name__)
def test_the_names_seen_are_those_that_are_loaded(module):
    static = static_names(module)
    assert {name: home for name, home in static.items() if home != "pymer4"} == module._HOMES
    assert sorted(name for name in module.__all__ if name != "__version__") == sorted(module._HOMES)
    for name, home in static.items():
        assert getattr(module, name).__name__ == (f"pymer4.{name}" if home == "pymer4" else name)


# ------------------------------------------------------------------ a script, with the package installed


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An environment with the package as it is shipped, and beside it NumPy, which has types, but no pandas."""
    out = tmp_path_factory.mktemp("typed")
    venv.create(out / "env", with_pip=False, symlinks=True)
    python = next(path for name in ("bin/python", "Scripts/python.exe") if (path := out / "env" / name).exists())
    place = Path(sysconfig.get_path("purelib", vars={"base": str(out / "env")}))
    shutil.copytree(Path(pymer4.__file__).parent, place / "pymer4", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "numpy").symlink_to(Path(np.__file__).parent)
    return python


def checked(installed: Path, script: Path, folder: Path) -> list[str]:
    """Return what strict mypy says of a script."""
    out = installed.parents[2]
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed), "--config-file", "",
               "--cache-dir", str(out / "cache"), "--no-error-summary", str(script)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout.splitlines()


def revealed(text: str) -> dict[int, str]:
    """Return the types that a script says it reveals, by line."""
    lines = enumerate(text.splitlines(), 1)
    return {n: line.partition("  # ")[2] for n, line in lines if "reveal_type(" in line}


def plain(told: str) -> str:
    """Return a type as mypy spells it, by the last names of its classes: `numpy.ndarray[...]` is `ndarray`."""
    told = re.sub(r"(?<![\w.])(?:\w+\.)+(?=\w)", "", told)
    while (start := told.find("ndarray[")) >= 0:  # what an array is of is spelled otherwise in each NumPy
        end, depth = start + len("ndarray["), 1
        while depth:
            depth += {"[": 1, "]": -1}.get(told[end], 0)
            end += 1
        told = told[: start + len("ndarray")] + told[end:]
    return told


@pytest.mark.parametrize("pandas_has_types", [True, False])
def test_a_script_has_no_errors_and_real_types(installed, pandas_has_types, tmp_path):
    stubs = tmp_path / "pandas"
    if pandas_has_types:
        stubs.mkdir()
        (stubs / "__init__.pyi").write_text(PANDAS)
    script = shutil.copy(SCRIPT, tmp_path / "script.py")
    said = checked(installed, Path(script), tmp_path)
    assert [line for line in said if ": note: Revealed type is " not in line] == []
    notes = (re.search(r":(\d+): note: Revealed type is \"(.*)\"", line) for line in said)
    found = {int(note[1]): plain(note[2]) for note in notes}
    wanted = revealed(SCRIPT.read_text())
    if not pandas_has_types:
        wanted = {n: re.sub("DataFrame", "Any", told) for n, told in wanted.items()}
    assert {n: told for n, told in found.items() if not told.startswith(wanted[n])} == {}
    assert found.keys() == wanted.keys()


def test_what_is_wrong_is_seen(installed, tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text(WRONG)
    said = checked(installed, script, tmp_path)
    seen = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert seen == {2, 3, 4, 5, 6}, said
