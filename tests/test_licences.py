"""The page of licences, held to what is imported and to what the installed packages say of themselves."""

import ast
import re
import subprocess
import sys
from importlib import metadata

import pytest
from test_packaging import EXTRAS, PROJECT, ROOT, split

from pymer4.rbridge import machine

PAGE = (ROOT / "docs/explanation/licences.md").read_text("utf-8")
# Where the name to import is not that of the distribution.
DISTRIBUTIONS = {"docx": "python-docx", "rpy2": "rpy2-rinterface", "sklearn": "scikit-learn"}
USERS_EXTRAS = set(EXTRAS) - {"test", "docs", "bench", "release"}
FAMILIES = ("0BSD", "Apache", "BSD", "CC0", "GPL", "MIT", "MPL", "PSF", "Zlib")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


LICENCES = {name: row[1] for row in rows("Python packages") for name in row[0].split(", ")}
SOURCES = {name: row[2] for row in rows("Python packages") for name in row[0].split(", ")}


def modules(node: ast.AST) -> set[str]:
    """Return what a piece of code imports from outside, but for types alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return set()
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return set() if node.level else {node.module.split(".")[0]}
    return set().union(*map(modules, ast.iter_child_nodes(node)))


def imported() -> set[str]:
    """Return the distributions that the package imports, anywhere in its modules."""
    found = set().union(*(modules(ast.parse(path.read_text("utf-8"))) for path in (ROOT / "pymer4").rglob("*.py")))
    return {DISTRIBUTIONS.get(name, name) for name in found - {*sys.stdlib_module_names, "pymer4"}}


def families(text: str) -> set[str]:
    """Return the kinds of licence that a text speaks of."""
    text = text.replace("Python Software Foundation", "PSF").replace("Mozilla Public License", "MPL")
    return {name for name in FAMILIES if re.search(rf"(?<![A-Z0-9]){name}(?![a-z])", text)}


def stated(name: str) -> str:
    """Return the licence that an installed package states: the expression, else the short field and the classifiers."""
    about = metadata.metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    field = (about.get("License") or "").partition("\n")[0]
    return about.get("License-Expression") or " ".join([field, *classifiers])


def test_the_page_lists_what_is_imported_and_what_users_may_ask_for():
    asked = {split(line)[0] for line in PROJECT["dependencies"]}
    offered = {split(line)[0] for extra in USERS_EXTRAS for line in EXTRAS[extra]}
    assert set(LICENCES) == imported() | asked | offered
    assert {name for name, source in SOURCES.items() if source == "always"} == asked
    for extra in USERS_EXTRAS:
        for line in EXTRAS[extra]:
            assert f"`{extra}`" in SOURCES[split(line)[0]]


@pytest.mark.parametrize("name", LICENCES)
def test_a_licence_is_that_of_the_installed_package(name):
    try:
        told = families(stated(name))
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert families(LICENCES[name]) and told <= families(LICENCES[name]), stated(name)
    # What comes with every installation leaves users free to choose a licence.
    assert SOURCES[name] != "always" or "GPL" not in told


@pytest.mark.r
def test_the_licences_of_r_packages_are_those_that_they_state():
    listed = {row[0]: row[1] for row in rows("R and its packages")}
    assert list(listed) == ["R", *machine.REQUIRED, "Matrix"]
    packages = [name for name in listed if name != "R"]
    ask = "for (p in commandArgs(TRUE)) cat(packageDescription(p)$License, '\\n')"
    done = subprocess.run(["Rscript", "-e", ask, *packages], capture_output=True, text=True, check=True)
    assert [line.strip() for line in done.stdout.splitlines()] == [listed[name] for name in packages]


def test_the_files_that_are_shipped_are_pymer4s_own():
    """Nothing compiled, and no licence text of others, lies among them."""
    kinds = {path.suffix for folder in ("pymer4", "R") for path in (ROOT / folder).rglob("*") if path.is_file()}
    assert kinds - {".pyc"} == {".py", ".typed", ".R", ".txt", ".csv"}
    assert [path.name for path in ROOT.glob("LICEN*")] == ["LICENSE"]
