"""The tests see no R package that the set-up does not bring."""

import os
import subprocess
import sys
from pathlib import Path

import hermetic
import pytest

from pymer4.rbridge import machine


def package(folder: Path, name: str, text: str = "") -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "DESCRIPTION").write_text(f"Package: {name}\nVersion: 1.0\n{text}")
    return place


def test_needs_are_followed_through_three_fields_and_suggestions_are_not(tmp_path):
    package(
        tmp_path / "site",
        "a",
        "Depends: R (>= 3.5.0), b,\n    absent (>= 1.5)\nImports: c\nSuggests: d\nLinkingTo: e\n",
    )
    package(tmp_path / "site", "b", "Imports: a,f\n")
    for name in ("a", "c", "d", "e", "f"):
        package(tmp_path / "own", name)
    packages = hermetic.installed([tmp_path / "site", tmp_path / "own"])
    assert packages["a"] == tmp_path / "site" / "a", "the first library wins"
    assert hermetic.closure(["a", "not there"], packages) == {"a", "b", "c", "e", "f"}


def test_the_set_up_names_what_a_fit_needs_and_what_tests_compare_with():
    assert {*machine.REQUIRED, "jsonlite", "performance", "sandwich", "clubSandwich", "boot"} <= set(
        hermetic.declared()
    )


@pytest.mark.r
def test_r_sees_what_is_declared_and_its_own_library():
    names = _seen_by_r()
    places = hermetic.folders()
    wanted = hermetic.closure(hermetic.declared(), hermetic.installed(places))
    assert set(names) == wanted | set(hermetic.installed(places[-1:]))


@pytest.mark.r
def test_a_package_that_a_machine_happens_to_have_is_hidden(tmp_path):
    """One in a site library, one in the library of the user, and one that R_LIBS names."""
    extra = {"R_LIBS_SITE": "site", "R_LIBS_USER": "user", "R_LIBS": "named"}
    for folder in extra.values():
        package(tmp_path / folder, f"happens.{folder}")
    environment = {name: value for name, value in os.environ.items() if name != hermetic.LIBRARY}
    site = os.pathsep.join([str(tmp_path / "site"), os.environ["R_LIBS_SITE"]])
    environment |= {name: str(tmp_path / folder) for name, folder in extra.items()} | {"R_LIBS_SITE": site}
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_hermetic as t\n"
        "before = t._seen_by_r(); t.hermetic.isolate(); after = t._seen_by_r()\n"
        "print(sorted(n for n in before if n.startswith('happens')), [n for n in after if n.startswith('happens')])\n"
        "print('lme4' in before, 'lme4' in after)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['happens.named', 'happens.site', 'happens.user'] []", "True True"]


@pytest.mark.parametrize(
    ("r", "ci", "fails"), [("4.2.2", "true", True), ("4.2.2", "", False), ("4.10.1", "true", False)]
)
def test_what_is_compared_with_may_be_absent_where_the_set_up_has_none(r, ci, fails, monkeypatch):
    monkeypatch.setattr(hermetic, "packages_at_hand", lambda: frozenset({"lme4"}))
    monkeypatch.setattr(machine, "find_r", lambda: machine.RInstall(Path("/usr/lib/R"), r))
    monkeypatch.setenv("CI", ci)
    with pytest.raises((pytest.fail if fails else pytest.skip).Exception, match="R lacks performance"):
        hermetic.compare_with("performance")
    hermetic.compare_with("lme4")


@pytest.mark.parametrize(
    ("python", "ci", "fails"), [((3, 12), "true", True), ((3, 12), "", False), ((3, 14), "true", False)]
)
def test_what_python_compares_with_may_be_absent_where_there_are_no_wheels(python, ci, fails, monkeypatch):
    monkeypatch.setattr(sys, "version_info", python)
    monkeypatch.setenv("CI", ci)
    with pytest.raises((pytest.fail if fails else pytest.skip).Exception, match="Python lacks no_such_package"):
        hermetic.of_python("no_such_package")
    assert hermetic.of_python("numpy")


def _seen_by_r() -> list[str]:
    code = 'cat(unique(basename(dirname(Sys.glob(file.path(.libPaths(), "*", "DESCRIPTION"))))), sep = "\\n")'
    command = ["Rscript", "--vanilla", "-e", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
