"""One version and one list of requirements, in every file that tells of a release."""

import hashlib
import re
import subprocess
import sys
import tarfile

import pytest
import yaml
from test_packaging import CONDA_NAMES, EXTRAS, PROJECT, ROOT, conda_packages, split

from pymer4 import __version__
from pymer4.rbridge import machine

RECIPE = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text("utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


@pytest.fixture
def release_recipe(monkeypatch):
    """The script of that name, as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import release_recipe

    return release_recipe


def run_requirements() -> dict[str, str]:
    """Return what the conda package asks for, with the oldest Python written out."""
    python_min = RECIPE["context"]["python_min"]
    lines = [line.replace("${{ python_min }}", python_min) for line in RECIPE["requirements"]["run"]]
    return {name: bounds for name, _, bounds in (line.partition(" ") for line in lines)}


def test_every_file_tells_the_same_version():
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1]
    assert {RECIPE["context"]["version"], str(CITATION["version"]), newest} == {__version__}


def test_the_conda_package_asks_for_what_the_wheel_does_and_for_r():
    asked = dict(map(split, [*PROJECT["dependencies"], *EXTRAS["r"]]))
    asked = {CONDA_NAMES.get(name, name): bounds for name, bounds in asked.items()}
    found = run_requirements()
    r_packages = {f"r-{package.lower()}" for package in machine.REQUIRED}
    oldest_r = ".".join(map(str, machine.OLDEST_R))
    assert found == {
        **asked,
        "python": PROJECT["requires-python"],
        "r-base": f">={oldest_r}",
        **dict.fromkeys(r_packages, ""),
    }


def test_the_environment_holds_the_conda_package_in_the_same_bounds():
    environment = conda_packages()
    found = run_requirements()
    assert found == {name: environment.get(name) for name in found}


def test_the_conda_package_is_built_by_what_builds_the_wheel():
    system = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    host = RECIPE["requirements"]["host"]
    assert {line.replace(" ", "") for line in host} >= {*re.findall(r'"(.*?)"', system), "pip"}
    assert "python ${{ python_min }}.*" in host and RECIPE["build"]["noarch"] == "python"


def test_the_conda_package_tells_what_pyproject_does():
    about = RECIPE["about"]
    assert (about["license"], [about["license_file"]]) == (PROJECT["license"], PROJECT["license-files"])
    assert about["summary"] == PROJECT["description"]
    (contents,) = (test["package_contents"] for test in RECIPE["tests"] if "package_contents" in test)
    for file in contents["site_packages"]:
        assert (ROOT / file).is_file() or (ROOT / file.removeprefix("pymer4/")).is_file()


def test_the_recipe_of_a_release_takes_the_sdist_from_pypi_by_its_checksum(release_recipe):
    sdist = b"an sdist"
    written = yaml.safe_load(release_recipe.release(release_recipe.RECIPE.read_text("utf-8"), sdist))
    source = written.pop("source")
    assert source["sha256"] == hashlib.sha256(sdist).hexdigest()
    assert source["url"].endswith("/p/pymer4/pymer4-${{ version }}.tar.gz")
    assert written | {"source": RECIPE["source"]} == RECIPE
    with pytest.raises(ValueError, match="should name its source once"):
        release_recipe.release("schema_version: 1\nsource:\n  path: elsewhere\n", sdist)


def test_the_citation_names_the_developers_and_the_packages_that_give_the_numbers():
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert CITATION["license"] == PROJECT["license"]
    titles = " ".join(reference["title"] for reference in CITATION["references"])
    assert set(machine.REQUIRED) <= set(re.findall(r"\w+", titles))
    for reference in CITATION["references"]:
        assert reference["authors"] and ("doi" in reference) != ("url" in reference)


def test_an_import_brings_in_nothing_but_itself():
    """Over NumPy and pandas: no optional package, and so few modules that it takes a millisecond."""
    told = "import sys, numpy, pandas; before = set(sys.modules); import pymer4; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    added = done.stdout.split()
    assert "pymer4" in added and {name for name in added if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "pymer4"
    }


# ------------------------------------------------------------------ how to install it

INSTALL = (ROOT / "docs/start/install.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def blocks(text: str) -> list[str]:
    """Return the lines for a shell, block by block."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """Return what stands below a heading of the second rank."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_readme_installs_as_the_page_does():
    conda, debian = blocks(section(README, "Install it"))
    assert debian in blocks(section(INSTALL, "pip, on Debian and Ubuntu"))
    (longer,) = (block for block in blocks(section(INSTALL, "conda")) if "env create" in block)
    assert re.split(r"\n| && ", conda.strip()) == longer.strip().split("\n")
    assert "conda env create -f environment.yml" in (ROOT / "environment.yml").read_text()


def test_every_way_to_install_names_every_r_package():
    asked = re.findall(r"install\.packages\(c\((.*?)\)", INSTALL) + re.findall(r"(r-cran-.*)", INSTALL)
    assert len(asked) >= 4
    for line in asked:
        assert set(re.findall(r"r-cran-(\w+)|['\"](\w+)['\"]", line)) in (
            {(package.lower(), "") for package in machine.REQUIRED},
            {("", package) for package in machine.REQUIRED},
        )


def test_the_page_names_this_wheel_and_commands_that_there_are():
    assert set(re.findall(r"pymer4-[\d.]+-py3-none-any\.whl", INSTALL)) == {f"pymer4-{__version__}-py3-none-any.whl"}
    for command in set(re.findall(r"python -m pymer4 ([\w-]+(?: --\w+)?)", INSTALL)):
        done = subprocess.run(
            [sys.executable, "-m", "pymer4", *command.split(), "--help"], cwd=ROOT, capture_output=True
        )
        assert done.returncode == 0
    made = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([\w-]+)", f"{INSTALL}{README}", re.MULTILINE)) <= made


@pytest.mark.r
def test_the_citation_agrees_with_r():
    """Year, volume and pages, as `citation()` of the R at hand has them."""
    told = "p, b$year, b$volume, b$pages, sep = '|'"
    ask = f"for (p in commandArgs(TRUE)) {{ b <- citation(p)[[1]]; cat({told}, fill = TRUE) }}"
    packages = ["lme4", "lmerTest", "pbkrtest"]
    done = subprocess.run(["Rscript", "-e", ask, *packages], capture_output=True, text=True, check=True)
    for package, line in zip(packages, done.stdout.splitlines(), strict=True):
        (cited,) = (r for r in CITATION["references"] if re.search(rf"\b{package}\b", r["title"]))
        assert line == f"{package}|{cited['year']}|{cited['volume']}|{cited['start']}--{cited['end']}"


def test_the_sdist_holds_what_its_tests_read(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True,
                   capture_output=True)  # fmt: skip
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    modules = [path for path in (ROOT / "tests").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(modules) > 100 and {str(path.relative_to(ROOT)) for path in modules} <= held
    named = {
        name
        for path in modules
        if path.suffix == ".py"
        for name in re.findall(r'ROOT / "([\w./-]+)"', path.read_text("utf-8"))
    }
    assert len(named) > 8 and {name for name in named if (ROOT / name).is_file()} <= held
