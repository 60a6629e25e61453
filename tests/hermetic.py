"""R as a fresh machine has it: with the packages that the set-up names, and those that they need.

What a machine happens to have beside these would let a test pass here that fails there. So R gets a library of links to
the declared packages in the place of its site libraries, and none of the user. Packages in R's own library, where R
always looks, can't be hidden: there the run says which.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from pymer4.rbridge import machine

SETUP = Path(__file__).parents[1] / "scripts" / "setup.sh"
LIBRARY = "PYMER4_TEST_R_LIBRARY"
"""Names the library of links to the processes that a run starts."""


def declared() -> list[str]:
    """Return the R packages that the set-up names."""
    lists = re.findall(r"^r_(?:packages|compared)='(.*)'", SETUP.read_text("utf-8"), re.MULTILINE)
    return [name for names in lists for name in names.split()]


def installed(folders: Iterable[Path]) -> dict[str, Path]:
    """Return where each package lies, as R looks for it: in the first folder that has it."""
    found: dict[str, Path] = {}
    for folder in folders:
        for description in sorted(folder.glob("*/DESCRIPTION")):
            found.setdefault(description.parent.name, description.parent)
    return found


def needs(package: Path) -> set[str]:
    """Return the packages without which this one can't be loaded."""
    fields = re.split(r"\n(?=\S)", (package / "DESCRIPTION").read_text("utf-8", "replace"))
    named = [field.split(":", 1)[1] for field in fields if field.startswith(("Depends:", "Imports:", "LinkingTo:"))]
    names = {re.split(r"[\s(]", one.strip(), maxsplit=1)[0] for field in named for one in field.split(",")}
    return names - {"R", ""}


def closure(names: Iterable[str], packages: Mapping[str, Path]) -> set[str]:
    """Return the packages of these names that are there, with all that they need."""
    found: set[str] = set()
    todo = [name for name in names if name in packages]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for other in needs(packages[name]) if other in packages]
    return found


def folders() -> list[Path]:
    """Return the libraries of R, its own last; an empty list where there is no R."""
    if shutil.which("Rscript") is None:
        return []
    command = ["Rscript", "--vanilla", "-e", 'cat(.libPaths(), sep = "\\n")']
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in told.splitlines()]


def isolate() -> list[str]:
    """Hide what is not declared from every R that this process starts; return what can't be hidden."""
    places = folders()
    if not places:
        return []
    wanted = closure(declared(), installed(places))
    own = installed(places[-1:])
    if LIBRARY not in os.environ:
        library = Path(tempfile.mkdtemp(prefix="pymer4-r-library-"))
        atexit.register(shutil.rmtree, library, ignore_errors=True)
        for name, place in installed(places[:-1]).items():
            if name in wanted:
                (library / name).symlink_to(place)
        # R falls back on the user's library where R_LIBS_USER is empty, not where it names what is not there.
        os.environ |= {LIBRARY: str(library), "R_LIBS_SITE": str(library), "R_LIBS": ""}
        os.environ["R_LIBS_USER"] = str(library / "no-library-of-the-user")
    return sorted(name for name in set(own) - wanted if not _comes_with_r(own[name]))


def compare_with(package: str) -> None:
    """Skip the test that asks where R lacks a package with which only tests compare.

    Debian 13 has no performance, so that the set-up can't bring it. Debian 12 (R 4.2) has all of them: where the whole
    is checked, absence fails there.
    """
    if package in packages_at_hand():
        return
    r = machine.find_r()
    if os.environ.get("CI") and r is not None and machine.numbers(r.version) < (4, 5):
        pytest.fail(f"R lacks {package}, which `make setup` brings under R {r.version}")
    pytest.skip(f"R lacks {package}, with which this compares")


def of_python(package: str) -> ModuleType:
    """Import what the set-up brings where there are wheels of it for this Python; else skip the test that asks.

    The Pythons up to 3.13 have all of them: where the whole is checked, absence fails there.
    """
    if importlib.util.find_spec(package) is None:
        absent = pytest.fail if os.environ.get("CI") and sys.version_info < (3, 14) else pytest.skip
        absent(f"Python lacks {package}")
    return importlib.import_module(package)


@cache
def packages_at_hand() -> frozenset[str]:
    """Return the packages that R sees."""
    return frozenset(installed(folders()))


def _comes_with_r(package: Path) -> bool:
    text = (package / "DESCRIPTION").read_text("utf-8", "replace")
    return package.name == "translations" or bool(re.search(r"^Priority:\s*base", text, re.MULTILINE))
