"""What is shipped, what it asks for, and what the set-up does on machines that lack something."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from pymer4 import __version__
from pymer4.rbridge import bridge, machine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
R_FILES = sorted(path.name for path in (ROOT / "R").iterdir())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

CONDA_NAMES = {"duckdb": "python-duckdb", "matplotlib": "matplotlib-base", "rpy2-rinterface": "rpy2"}
FIT = """
from pymer4 import Lmer, load_dataset
model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
model.fit(summarize=False)
assert abs(model.coefs.loc["Days", "Estimate"] - 10.467286) < 1e-5, model.coefs
"""


def split(requirement: str) -> tuple[str, str]:
    """Return the name and the bounds of a requirement: "numpy>=1.26" gives ("numpy", ">=1.26")."""
    name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(.*)", requirement).groups()
    return name, bounds


def conda_packages() -> dict[str, str]:
    lines = re.findall(r"^  - (\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    return dict(map(split, lines))


# ------------------------------------------------------------------ requirements


SETUP = (ROOT / "scripts/setup.sh").read_text()
WORKFLOW = (ROOT / ".github/workflows/tests.yml").read_text()
EXTRAS = PROJECT["optional-dependencies"]


def test_conda_asks_for_the_same():
    asked = dict(map(split, [*PROJECT["dependencies"], *EXTRAS["r"], *EXTRAS["test"], *EXTRAS["dask"]]))
    asked = {CONDA_NAMES.get(name, name): bounds for name, bounds in asked.items()}
    found = conda_packages()
    assert asked | {"python": PROJECT["requires-python"]} == {name: found.get(name) for name in [*asked, "python"]}


def test_every_requirement_has_a_lower_bound():
    groups = [PROJECT["dependencies"], *EXTRAS.values()]
    assert [x for group in groups for x in group if ">=" not in x] == []


def test_the_r_packages_are_asked_for_everywhere():
    assert {f"r-{package.lower()}" for package in machine.REQUIRED} <= set(conda_packages())
    assert set(machine.REQUIRED) <= set(re.search(r"r_packages='(.*)'", SETUP)[1].split())
    named = {name for kind in ("packages", "compared") for name in re.search(rf"r_{kind}='(.*)'", SETUP)[1].split()}
    assert set(re.findall(r'"(\w+)"', re.search(r"install\.packages\((.*)\)", WORKFLOW)[1])) == named


@pytest.mark.parametrize("text", [SETUP, WORKFLOW], ids=["set-up", "workflow"])
def test_rpy2_is_pinned_as_the_package_does(text):
    assert f'"{machine.RPY2_FOR_OLD_R}"' in text
    assert f'< "{".".join(map(str, machine.R_WITH_GETVAR))}"' in text


def test_the_workflow_tests_the_versions_that_are_named():
    def matrix(name: str) -> list[str]:
        return re.findall(r'"([\d.]+)"', re.search(rf"^ +{name}: \[(.*)\]$", WORKFLOW, re.MULTILINE)[1])

    classifiers = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.", c)]
    assert matrix("python") == classifiers and PROJECT["requires-python"] == f">={classifiers[0]}"
    assert f"r-base>={matrix('r')[0]}" in (ROOT / "environment.yml").read_text()
    assert any(c.endswith("Windows") for c in PROJECT["classifiers"])


def test_lint_sets_up_what_it_runs_in_one_version_everywhere():
    """`scripts/setup.sh lint` reads both requirements from one line."""
    told = subprocess.run(["sed", "-n", r's/^test = .*"\(mypy[^"]*\)".*"\(ruff[^"]*\)".*/\1 \2/p', "pyproject.toml"],
                          cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    mypy, ruff = (x for x in EXTRAS["test"] if x.startswith(("mypy", "ruff")))
    assert told.stdout.split() == [mypy, ruff]
    minor = re.search(r"rev: v(\d+\.\d+)\.", (ROOT / ".pre-commit-config.yaml").read_text())[1]
    assert f">={minor}," in ruff


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_set_up_with_both_its_bounds(extra):
    """`scripts/setup.sh docs` and its like read pyproject.toml: "polars>=1.26,<2" keeps its comma."""
    function = re.search(r"^requirements_of\(\).*", SETUP, re.M)[0]
    told = subprocess.run(["sh", "-c", f"{function}\nrequirements_of {extra}"],
                          cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert told.stdout.split() == EXTRAS[extra]


@pytest.mark.r
@pytest.mark.parametrize("page", ["README.md", "docs/start/install.md"])
def test_the_pages_choose_rpy2_as_the_package_does(page):
    """The argument of pip in the lines for Debian and Ubuntu, computed by the R at hand."""
    code = re.search(r"""pip install "\.\[r\]" "\$\(Rscript -e '(.*)'\)\"""", (ROOT / page).read_text()).group(1)
    old = code.replace("getRversion()", 'numeric_version("4.4.3")')
    for asked, expected in ((code, machine.rpy2_requirement(machine.find_r().version)), (old, machine.RPY2_FOR_OLD_R)):
        told = subprocess.run(["Rscript", "-e", asked], capture_output=True, text=True, check=True).stdout
        assert told.replace(" ", "") == expected


# ------------------------------------------------------------------ wheel, sdist, editable install


def hatchling(tree: Path, target: str, out: Path) -> Path:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out], cwd=tree, check=True,
                   capture_output=True)  # fmt: skip
    return next(out.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A wheel of the tree, an sdist of it, and the wheel that comes of the sdist."""
    out = tmp_path_factory.mktemp("built")
    sdist = hatchling(ROOT, "sdist", out / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    tree = next((out / "unpacked").iterdir())
    return {
        "sdist": sdist,
        "wheel": hatchling(ROOT, "wheel", out / "wheel"),
        "wheel of the sdist": hatchling(tree, "wheel", out / "second"),
    }


def test_both_wheels_carry_the_r_files_the_sample_data_and_the_licence(built):
    names, others = (zipfile.ZipFile(built[kind]).namelist() for kind in ("wheel", "wheel of the sdist"))
    assert names == others
    assert sorted(n for n in names if n.startswith("pymer4/R/")) == [f"pymer4/R/{name}" for name in R_FILES]
    info = f"pymer4-{__version__}.dist-info"
    assert {n.split("/")[0] for n in names} == {"pymer4", info}
    resources = [p.name for p in (ROOT / "pymer4/resources").glob("*") if p.is_file() and p.suffix != ".py"]
    assert {*(f"pymer4/resources/{name}" for name in resources), "pymer4/py.typed", f"{info}/licenses/LICENSE"} <= set(
        names
    )


def test_the_sdist_carries_the_r_files_beside_the_package(built):
    with tarfile.open(built["sdist"]) as archive:
        names = archive.getnames()
    top = f"pymer4-{__version__}"
    assert sorted(Path(n).name for n in names if n.startswith(f"{top}/R/")) == R_FILES
    assert {f"{top}/{n}" for n in ("pyproject.toml", "README.md", "LICENSE", "environment.yml")} <= set(names)
    assert not any("/pymer4/R/" in n or ".venv" in n for n in names)


def test_an_editable_install_holds_no_copy_of_the_r_files(tmp_path):
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    archive = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    assert [n for n in archive.namelist() if "dist-info" not in n] == ["_pymer4.pth"]
    assert archive.read("_pymer4.pth").decode().strip() == str(ROOT)


def test_the_source_tree_reads_its_own_r_files_and_version():
    assert bridge.resource_path() == Path(bridge.__file__).parents[2] / "R" == ROOT / "R"
    assert metadata.version("pymer4") == __version__


@pytest.mark.slow
@pytest.mark.r
@pytest.mark.skipif(machine.find_r() is None, reason="needs R")
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_clean_environment_fits_a_model_outside_the_tree(built, kind, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    requirement = machine.rpy2_requirement(machine.find_r().version)
    subprocess.run([python, "-m", "pip", "install", "-q", f"{built[kind]}[r]", requirement], cwd=tmp_path, check=True)
    subprocess.run([python, "-I", "-c", FIT], cwd=tmp_path, check=True)


# ------------------------------------------------------- the set-up, with tools that only note what they hear


@pytest.fixture
def desk(tmp_path):
    """A copy of what the set-up reads, and a PATH that holds the plainest tools alone."""
    for name in ("pyproject.toml", "environment.yml", "scripts"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "cat", "cksum", "dirname", "env", "head", "id", "mkdir", "rm", "sed", "tr"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    return tmp_path


def fake(desk: Path, name: str, text: str = "") -> None:
    tool = desk / "bin" / name
    tool.write_text(f'#!/bin/sh\necho "{name} $*" >>"{desk}/asked"\n{text}\n')
    tool.chmod(0o755)


def set_up(desk: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", desk / "scripts/setup.sh", *arguments],
        env={"PATH": str(desk / "bin"), "HOME": str(desk), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


# The set-up ends at the installation, before it makes an environment.
UPDATES_ONLY = 'case "$*" in *install*) exit 1 ;; esac'


def asked(desk: Path) -> list[str]:
    return (desk / "asked").read_text().splitlines() if (desk / "asked").exists() else []


def test_without_apt_and_conda_it_stops_with_the_lines_to_type(desk):
    run = set_up(desk)
    assert run.returncode == 1
    assert "neither apt nor conda" in run.stderr
    assert 'Rscript -e \'install.packages(c("lme4", "lmerTest"' in run.stderr


def test_a_missing_r_package_without_apt_is_named(desk):
    fake(desk, "Rscript", "printf 'lmerTest pbkrtest'")
    fake(desk, "R", "echo /opt/R")
    run = set_up(desk)
    assert run.returncode == 1
    line = """Rscript -e 'install.packages(c("lmerTest", "pbkrtest"), repos = "https://cloud.r-project.org")'"""
    assert run.stderr.splitlines()[-1].strip() == line


def test_apt_brings_r_in_one_go_and_leaves_out_what_it_has_not(desk):
    """What only tests compare with may be absent; nothing is asked."""
    fake(desk, "apt-get", UPDATES_ONLY)
    fake(desk, "apt-cache", '[ "$2" = r-cran-performance ] || echo "Package: $2"')
    fake(desk, "sudo", 'exec "$@"')
    fake(desk, "cc")
    set_up(desk)
    update, installed = (line.split() for line in asked(desk) if line.startswith("apt-get"))
    assert update[-1] == "update"
    assert {"-y", "r-base-core", "r-base-dev", "r-cran-lme4", "r-cran-lmertest", "r-cran-sandwich"} <= set(installed)
    assert "r-cran-performance" not in installed


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has sudo or is told what to type")
def test_root_needs_no_sudo(desk):
    fake(desk, "apt-get", UPDATES_ONLY)
    set_up(desk)
    assert asked(desk)[0].startswith("apt-get")


@pytest.mark.parametrize(("tool", "kind"), [("mamba", "env create"), ("conda", "env create"), ("micromamba", "create")])
def test_conda_goes_before_apt_and_is_asked_once(desk, tool, kind):
    fake(desk, "apt-get")
    fake(desk, tool, 'mkdir -p .conda/bin; printf "#!/bin/sh\\n" >.conda/bin/python; /bin/chmod +x .conda/bin/python')
    for _ in range(2):
        assert set_up(desk).returncode == 0
    assert asked(desk) == [f"{tool} {kind} -p {desk}/.conda -f environment.yml"]


def test_a_conda_that_fails_names_the_other_way(desk):
    fake(desk, "conda", "exit 1")
    run = set_up(desk)
    assert run.returncode == 1
    assert "make demo VIA=apt" in run.stderr


def test_via_apt_passes_conda_by(desk):
    fake(desk, "conda")
    set_up(desk, VIA="apt")
    assert asked(desk) == []


def test_an_old_python_is_refused(desk):
    (desk / "bin/python3").unlink()
    fake(desk, "python3", 'case "$1" in -V) echo Python 3.8.10 ;; *) exit 1 ;; esac')
    run = set_up(desk)
    assert run.returncode == 1
    assert "3.10 is needed" in run.stderr
