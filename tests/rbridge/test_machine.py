"""The machine looked at through fakes: no test here starts R."""

import subprocess
import sys
from pathlib import Path

import pytest

from pymer4 import doctor
from pymer4.rbridge import machine
from pymer4.rbridge.machine import Diagnosis, RInstall


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with nothing: an empty PATH, no R, no conda, no rpy2."""
    for name in ("R_HOME", "R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(machine.sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(machine.sys, "executable", "/opt/py/bin/python")
    monkeypatch.setattr(machine, "rpy2_version", lambda: None)
    machine.probe.cache_clear()
    yield tmp_path
    machine.probe.cache_clear()


def add_tool(root: Path, name: str, text: str = "") -> Path:
    tool = root / "bin" / name
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    return tool


def add_r(root: Path, version: str = "4.2.2", packages=machine.REQUIRED, home: str = "R-home") -> Path:
    """Put an R in place that is no more than its directories, and a command that answers `R RHOME`."""
    place = root / home
    for package, number in {"base": version, **dict.fromkeys(packages, "1.0")}.items():
        (place / "library" / package).mkdir(parents=True)
        (place / "library" / package / "DESCRIPTION").write_text(f"Package: {package}\nVersion: {number}\n")
    add_tool(root, "R", f'[ "$1" = RHOME ] && echo "{place}"')
    return place


def with_rpy2(monkeypatch, version: str | None) -> None:
    monkeypatch.setattr(machine, "rpy2_version", lambda: version)


def with_debian(monkeypatch, root: Path) -> None:
    add_tool(root, "apt-get")
    monkeypatch.setattr(machine, "apt_r", lambda r: True)
    (root / "lists").mkdir()
    (root / "lists" / "bookworm_main_Packages.lz4").touch()
    monkeypatch.setattr(machine, "APT_LISTS", root / "lists")


def with_conda(monkeypatch, root: Path) -> Path:
    prefix = root / "env"
    (prefix / "conda-meta").mkdir(parents=True)
    monkeypatch.setattr(machine.sys, "prefix", str(prefix))
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    return prefix


# ------------------------------------------------------------------ versions


@pytest.mark.parametrize(
    ("version", "expected"),
    [("4.2.2", (4, 2, 2)), ("1.1-31", (1, 1, 31)), ("3.6.5.dev1", (3, 6, 5)), ("4.10.0", (4, 10, 0)), ("none", ())],
)
def test_numbers(version, expected):
    assert machine.numbers(version) == expected


@pytest.mark.parametrize(
    ("rpy2", "r", "expected"),
    [
        ("3.6.5", "4.2.2", True),
        ("3.6.6", "4.2.2", False),
        ("3.6.7", "4.4.3", False),
        ("3.6.6", "4.5.0", True),
        ("3.6.10", "4.10.1", True),
        ("3.10.0", "4.4.9", False),
    ],
)
def test_fits(rpy2, r, expected):
    assert machine.fits(rpy2, r) is expected


@pytest.mark.parametrize(("r", "pinned"), [("4.4.3", True), ("4.5.0", False), ("4.10.0", False), (None, False)])
def test_the_requirement_is_pinned_for_old_r(r, pinned):
    assert ("<3.6.6" in machine.rpy2_requirement(r)) is pinned


# ------------------------------------------------------------------ finding R


def test_no_r(bare):
    assert machine.find_r() is None


def test_r_on_the_path(bare):
    home = add_r(bare, "4.3.1")
    assert machine.find_r() == RInstall(home, "4.3.1")


def test_r_home_goes_before_the_path(bare, monkeypatch):
    add_r(bare, "4.3.1")
    other = add_r(bare, "4.5.0", home="other")
    monkeypatch.setenv("R_HOME", str(other))
    assert machine.find_r() == RInstall(other, "4.5.0")


def test_a_broken_r_command_is_no_r(bare):
    add_tool(bare, "R", "exit 3")
    assert machine.find_r() is None


def test_packages_are_looked_for_in_the_users_libraries(bare, monkeypatch):
    home = add_r(bare, packages=())
    mine = bare / "mine"
    (mine / "lme4").mkdir(parents=True)
    (mine / "lme4" / "DESCRIPTION").write_text("Package: lme4\nVersion: 1.1-35\n")
    monkeypatch.setenv("R_LIBS", str(mine))
    paths = machine.package_folders(RInstall(home, "4.2.2"))
    assert machine.package_version("lme4", paths) == "1.1-35"
    assert machine.package_version("emmeans", paths) is None


# ------------------------------------------------------------------ diagnoses


def test_diagnose_without_r_on_debian(bare, monkeypatch):
    with_debian(monkeypatch, bare)
    found = machine.diagnose()
    assert found.kind == "no R"
    names = "r-base-dev r-cran-lme4 r-cran-lmertest r-cran-emmeans r-cran-pbkrtest"
    assert found.remedy == f"apt-get install {names}"


def test_diagnose_without_r_in_conda(bare, monkeypatch):
    with_conda(monkeypatch, bare)
    assert machine.diagnose().remedy == (
        "conda install -c conda-forge r-base r-lme4 r-lmertest r-emmeans r-pbkrtest rpy2"
    )


def test_apt_without_lists_is_updated_first(bare, monkeypatch):
    with_debian(monkeypatch, bare)
    monkeypatch.setattr(machine, "APT_LISTS", bare / "none")
    assert machine.diagnose().remedy.startswith("apt-get update && apt-get install ")


def test_sudo_where_the_user_is_not_root(bare, monkeypatch):
    with_debian(monkeypatch, bare)
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    assert machine.diagnose().remedy.startswith("sudo apt-get install ")


@pytest.mark.parametrize(
    ("r", "line"),
    [
        ("4.2.2", 'pip install "pymer4[r]" "rpy2-rinterface<3.6.6"'),
        ("4.5.1", 'pip install "pymer4[r]"'),
    ],
)
def test_diagnose_without_rpy2(bare, monkeypatch, r, line):
    add_r(bare, r)
    monkeypatch.setattr(machine.sys, "executable", str(bare / "bin" / "python"))
    add_tool(bare, "pip")
    found = machine.diagnose()
    assert (found.kind, found.remedy) == ("no rpy2", line)


def test_another_pip_on_the_path_is_not_used(bare):
    add_r(bare, "4.5.1")
    add_tool(bare, "pip")
    assert machine.diagnose().remedy == '/opt/py/bin/python -m pip install "pymer4[r]"'


def test_diagnose_a_mismatch_before_anything_failed(bare, monkeypatch):
    add_r(bare, "4.2.2")
    with_rpy2(monkeypatch, "3.6.7")
    found = machine.diagnose()
    assert found.kind == "mismatch"
    assert found.remedy.endswith('pip install --force-reinstall --no-cache-dir "rpy2-rinterface<3.6.6"')


@pytest.mark.parametrize(
    "evidence",
    [
        "ImportError: /x/_rinterface_cffi_api.abi3.so: undefined symbol: R_getVar",
        "symbol not found in flat namespace '_R_getVar'",
        "OSError: libR.so: cannot open shared object file: No such file or directory",
    ],
)
def test_diagnose_a_mismatch_by_its_message(bare, monkeypatch, evidence):
    add_r(bare, "4.5.0")
    with_rpy2(monkeypatch, "3.6.7")
    found = machine.diagnose(evidence)
    assert found.kind == "mismatch"
    assert found.remedy.endswith('--no-cache-dir "rpy2-rinterface"')


def test_conda_matched_r_and_rpy2_itself(bare, monkeypatch):
    add_r(bare, "4.4.1")
    with_conda(monkeypatch, bare)
    with_rpy2(monkeypatch, "3.6.6")
    assert machine.diagnose().kind == "ok"


def test_diagnose_a_missing_package_on_debian(bare, monkeypatch):
    add_r(bare, packages=("lme4", "emmeans", "pbkrtest"))
    with_rpy2(monkeypatch, "3.6.5")
    with_debian(monkeypatch, bare)
    found = machine.diagnose()
    assert (found.kind, found.remedy) == ("package missing", "apt-get install r-cran-lmertest")


def test_diagnose_a_missing_package_in_conda(bare, monkeypatch):
    prefix = with_conda(monkeypatch, bare)
    add_r(bare, packages=("lme4", "emmeans", "pbkrtest"), home="env/lib/R")
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose()
    assert (found.kind, found.remedy) == ("package missing", "conda install -c conda-forge r-lmertest")
    monkeypatch.delenv("CONDA_PREFIX")
    assert machine.diagnose().remedy == f"conda install -p {prefix} -c conda-forge r-lmertest"


def test_diagnose_a_missing_package_elsewhere(bare, monkeypatch):
    add_r(bare, packages=("lme4", "emmeans", "pbkrtest"))
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose()
    line = """Rscript -e 'install.packages("lmerTest", repos = "https://cloud.r-project.org")'"""
    assert (found.kind, found.remedy) == ("package missing", line)


def test_diagnose_a_missing_package_by_its_message(bare, monkeypatch):
    add_r(bare)
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose("Error in loadNamespace(x) : there is no package called ‘mvtnorm’")
    assert found.kind == "package missing"
    assert "mvtnorm" in found.what
    assert '"mvtnorm"' in found.remedy


@pytest.mark.parametrize(
    ("evidence", "package"),
    [
        ("function 'cholmod_factor_ldetA' not provided by package 'Matrix'", "lme4"),
        ("unable to load shared object '/usr/lib/R/site-library/Matrix/libs/Matrix.so': undefined symbol", "Matrix"),
        ("package ‘minqa’ was installed before R 4.0.0: please re-install it", "minqa"),
    ],
)
def test_diagnose_a_broken_binary(bare, monkeypatch, evidence, package):
    add_r(bare)
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose(evidence)
    assert found.kind == "broken binary"
    assert found.remedy == (
        f"""Rscript -e 'install.packages("{package}", repos = "https://cloud.r-project.org", type = "source")'"""
    )


def test_diagnose_a_broken_binary_in_conda(bare, monkeypatch):
    with_conda(monkeypatch, bare)
    add_r(bare, home="env/lib/R")
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose("function 'cholmod_factor_ldetA' not provided by package 'Matrix'")
    assert found.remedy == "conda install --force-reinstall -c conda-forge r-matrix r-lme4"


def test_diagnose_a_crash(bare, monkeypatch):
    add_r(bare)
    with_rpy2(monkeypatch, "3.6.5")
    found = machine.diagnose("The process that started R ended with signal 11.")
    assert found.kind == "no start"
    assert "signal 11" in found.what
    assert found.remedy


def test_diagnose_a_sound_machine(bare, monkeypatch):
    add_r(bare)
    with_rpy2(monkeypatch, "3.6.5")
    assert machine.diagnose() == Diagnosis("ok", machine.diagnose().what, "")


# ------------------------------------------------------------------ the trial start


def trial(monkeypatch, code: int, stderr: str = ""):
    """Let the trial process end with `code`; returns the list of trials made."""
    runs = []

    def run(command, **options):
        runs.append(command)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(machine.subprocess, "run", run)
    return runs


def test_a_sound_start_is_remembered_across_processes(bare, monkeypatch):
    monkeypatch.setattr(machine, "find_r", lambda: RInstall(bare, "4.2.2"))
    runs = trial(monkeypatch, 0)
    assert machine.probe() is None
    machine.probe.cache_clear()
    assert machine.probe() is None
    assert len(runs) == 1


def test_another_r_or_rpy2_is_tried_anew(bare, monkeypatch):
    home = bare / "R-home"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "libR.so").touch()
    monkeypatch.setattr(machine, "find_r", lambda: RInstall(home, "4.2.2"))
    seen = {machine._fingerprint()}
    with_rpy2(monkeypatch, "3.6.5")
    seen.add(machine._fingerprint())
    (home / "lib" / "libR.so").unlink()
    seen.add(machine._fingerprint())
    monkeypatch.setattr(machine, "find_r", lambda: RInstall(home, "4.3.0"))
    seen.add(machine._fingerprint())
    assert len(seen) == 4


def test_a_failure_is_told_and_not_remembered(bare, monkeypatch):
    monkeypatch.setattr(machine, "find_r", lambda: None)
    runs = trial(monkeypatch, 1, "ImportError: undefined symbol: R_getVar\n")
    assert machine.probe() == "ImportError: undefined symbol: R_getVar"
    machine.probe.cache_clear()
    machine.probe()
    assert len(runs) == 2


def test_a_crash_names_the_signal(bare, monkeypatch):
    monkeypatch.setattr(machine, "find_r", lambda: None)
    trial(monkeypatch, -11)
    assert "signal 11" in machine.probe()


def test_an_unwritable_cache_is_no_obstacle(bare, monkeypatch):
    monkeypatch.setattr(machine, "find_r", lambda: None)
    (bare / "cache").write_text("a file where the directory should be")
    trial(monkeypatch, 0)
    assert machine.probe() is None


def test_a_start_that_hangs_is_given_up(bare, monkeypatch):
    monkeypatch.setattr(machine, "find_r", lambda: None)

    def run(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(machine.subprocess, "run", run)
    assert "did not start" in machine.probe()


def test_looking_at_the_machine_does_not_import_rpy2():
    code = "import sys, pymer4.rbridge.machine as m; m.diagnose(); sys.exit('rpy2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ------------------------------------------------------------------ the doctor


def test_the_doctor_on_a_machine_without_r(bare, monkeypatch, capsys):
    with_debian(monkeypatch, bare)
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert "apt-get install r-base-dev r-cran-lme4" in told
    assert "Python" in told


def test_the_doctor_on_a_sound_machine(bare, monkeypatch, capsys):
    add_r(bare)
    with_rpy2(monkeypatch, "3.6.5")
    monkeypatch.setattr(doctor, "_first_fit", lambda: doctor.Check("a first model", "fitted"))
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Python", "pymer4", "R", "rpy2-rinterface", *machine.REQUIRED, "a"]


def test_the_doctor_names_the_missing_package(bare, monkeypatch, capsys):
    add_r(bare, packages=("lme4", "lmerTest", "emmeans"))
    with_rpy2(monkeypatch, "3.6.5")
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert told.count("->") == 1
    assert 'install.packages("pbkrtest"' in told
