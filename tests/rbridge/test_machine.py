"""The machine looked at through fakes: no test here starts R."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pymer4.rbridge import machine
from pymer4.rbridge.machine import Diagnosis, RInstall

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
def test_old_r_takes_old_rpy2(rpy2, r, expected):
    assert machine.fits(rpy2, r) is expected
    assert ("<3.6.6" in machine.rpy2_requirement(r)) is (machine.numbers(r) < (4, 5))
    assert "<" not in machine.rpy2_requirement(None)


# ------------------------------------------------------------------ finding R


def test_r_home_goes_before_the_path(bare):
    assert machine.find_r() is None
    home = bare.add_r("4.3.1")
    assert machine.find_r() == RInstall(home, "4.3.1")
    other = bare.add_r("4.5.0", home="other")
    bare.add_tool("R", f"echo {home}")
    bare.patch.setenv("R_HOME", str(other))
    assert machine.find_r() == RInstall(other, "4.5.0")


def test_a_broken_r_command_is_no_r(bare):
    bare.add_tool("R", "exit 3")
    assert machine.find_r() is None


def test_packages_are_looked_for_in_the_users_libraries(bare):
    home = bare.add_r(packages=())
    bare.add_package(bare.root / "mine", "lme4", "1.1-35")
    bare.patch.setenv("R_LIBS", str(bare.root / "mine"))
    paths = machine.package_folders(RInstall(home, "4.2.2"))
    assert machine.package_version("lme4", paths) == "1.1-35"
    assert machine.package_version("emmeans", paths) is None


# ------------------------------------------------------------------ diagnoses

ALL_OF_APT = "apt-get install r-base-dev r-cran-lme4 r-cran-lmertest r-cran-emmeans r-cran-pbkrtest"
NOT_LMERTEST = ("lme4", "emmeans", "pbkrtest")
CHOLMOD = "function 'cholmod_factor_ldetA' not provided by package 'Matrix'"


def from_cran(package: str, kind: str = "") -> str:
    return f"""Rscript -e 'install.packages("{package}", repos = "https://cloud.r-project.org"{kind})'"""


def require(kind: str, remedy: str, evidence: str = "") -> Diagnosis:
    """Hold the kind and the remedy of a diagnosis."""
    found = machine.diagnose(evidence)
    assert (found.kind, found.remedy) == (kind, remedy)
    return found


def test_without_r_on_debian(bare):
    bare.add_debian()
    require("no R", ALL_OF_APT)
    bare.patch.setattr(machine.os, "geteuid", lambda: 1000)
    require("no R", f"sudo {ALL_OF_APT}")
    bare.patch.setattr(machine, "APT_LISTS", bare.root / "none")
    require("no R", f"sudo apt-get update && sudo {ALL_OF_APT}")


def test_without_r_elsewhere(bare):
    line = 'install.packages(c("lme4", "lmerTest", "emmeans", "pbkrtest"), repos = "https://cloud.r-project.org")'
    require("no R", f"install R from https://cloud.r-project.org, then: Rscript -e '{line}'")
    bare.add_tool("brew")
    require("no R", f"brew install r && Rscript -e '{line}'")
    bare.add_conda()
    require("no R", "conda install -c conda-forge r-base r-lme4 r-lmertest r-emmeans r-pbkrtest rpy2")


def test_without_a_library_to_write(bare):
    bare.add_r(packages=NOT_LMERTEST)
    bare.add_rpy2("3.6.5")
    found = machine.find_r()
    bare.patch.setattr(machine, "find_r", lambda: found)
    bare.patch.setattr(machine.os, "access", lambda path, mode: False)
    line = (
        """lib <- Sys.getenv("R_LIBS_USER"); dir.create(lib, FALSE, TRUE); install.packages("lmerTest", lib = lib, """
    )
    require("package missing", f"""Rscript -e '{line}repos = "https://cloud.r-project.org")'""")


def test_on_windows(bare):
    home = bare.add_r(packages=NOT_LMERTEST, home="Program Files/R")
    bare.add_rpy2("3.6.5")
    found = machine.find_r()
    bare.patch.setattr(machine, "find_r", lambda: found)
    bare.patch.setattr(machine.sys, "platform", "win32")
    bare.patch.setattr(machine.shutil, "which", lambda name: None)  # which asks Windows itself there
    install = "install.packages('lmerTest', repos = 'https://cloud.r-project.org')"
    require("package missing", f'"{home / "bin" / "Rscript"}" -e "{install}"')


@pytest.mark.parametrize(("r", "pin"), [("4.2.2", ' "rpy2-rinterface<3.6.6"'), ("4.5.1", "")])
def test_without_rpy2(bare, r, pin):
    bare.add_r(r)
    bare.add_tool("pip")
    require("no rpy2", f'/opt/py/bin/python -m pip install "pymer4[r]"{pin}')  # another Python's pip is not used
    bare.patch.setattr(machine.sys, "executable", str(bare.root / "bin" / "python"))
    require("no rpy2", f'pip install "pymer4[r]"{pin}')


@pytest.mark.parametrize(
    ("r", "evidence", "requirement"),
    [
        ("4.2.2", "", "rpy2-rinterface<3.6.6"),
        ("4.5.0", "ImportError: /x/_rinterface_cffi_api.abi3.so: undefined symbol: R_getVar", "rpy2-rinterface"),
        ("4.5.0", "symbol not found in flat namespace '_R_getVar'", "rpy2-rinterface"),
        ("4.5.0", "OSError: libR.so: cannot open shared object file: No such file or directory", "rpy2-rinterface"),
    ],
)
def test_a_mismatch_before_anything_failed_and_by_its_message(bare, r, evidence, requirement):
    bare.add_r(r)
    bare.add_rpy2("3.6.7")
    line = f'/opt/py/bin/python -m pip install --force-reinstall --no-cache-dir "{requirement}"'
    require("mismatch", line, evidence)


def test_a_missing_package(bare):
    bare.add_r(packages=NOT_LMERTEST)
    bare.add_rpy2("3.6.5")
    require("package missing", from_cran("lmerTest"))
    bare.add_debian()
    require("package missing", "apt-get install r-cran-lmertest")


def test_a_missing_package_by_its_message(bare):
    bare.add_r()
    bare.add_rpy2("3.6.5")
    said = "Error in loadNamespace(x) : there is no package called ‘mvtnorm’"
    assert "mvtnorm" in require("package missing", from_cran("mvtnorm"), said).what


@pytest.mark.parametrize(
    ("evidence", "package"),
    [
        (CHOLMOD, "lme4"),
        ("unable to load shared object '/usr/lib/R/site-library/Matrix/libs/Matrix.so': undefined symbol", "Matrix"),
        ("package ‘minqa’ was installed before R 4.0.0: please re-install it", "minqa"),
    ],
)
def test_a_broken_binary(bare, evidence, package):
    bare.add_r()
    bare.add_rpy2("3.6.5")
    require("broken binary", from_cran(package, ', type = "source"'), evidence)


def test_conda_matched_r_and_rpy2_itself_and_brings_packages(bare):
    prefix = bare.add_conda()
    bare.add_r("4.4.1", packages=NOT_LMERTEST, home="env/lib/R")
    require("no rpy2", "conda install -c conda-forge rpy2")
    bare.add_rpy2("3.6.6")
    require("package missing", "conda install -c conda-forge r-lmertest")
    require("broken binary", "conda install --force-reinstall -c conda-forge r-matrix r-lme4", CHOLMOD)
    bare.patch.delenv("CONDA_PREFIX")
    require("package missing", f"conda install -p {prefix} -c conda-forge r-lmertest")
    bare.add_package(prefix / "lib/R/library", "lmerTest")
    require("ok", "")


def test_a_crash(bare):
    bare.add_r("4.5.0")
    bare.add_rpy2("3.6.5")
    again = '/opt/py/bin/python -m pip install --force-reinstall --no-cache-dir "rpy2-rinterface"'
    assert "signal 11" in require("no start", again, "The process that started R ended with signal 11.").what


# ------------------------------------------------------------------ the trial start


@pytest.fixture
def trial(bare):
    """Let the trial process end in some way; returns the list of trials made."""
    bare.patch.setattr(machine, "find_r", lambda: RInstall(bare.root, "4.2.2"))

    def ends(code: int, stderr: str = "") -> list:
        runs = []

        def run(command, **options):
            runs.append(command)
            return subprocess.CompletedProcess(command, code, "", stderr)

        bare.patch.setattr(machine.subprocess, "run", run)
        return runs

    return ends


def probed_in_another_process() -> str | None:
    machine.probe.cache_clear()
    return machine.probe()


def test_a_sound_start_is_remembered_across_processes(trial):
    runs = trial(0)
    assert machine.probe() is None
    assert probed_in_another_process() is None
    assert len(runs) == 1


def test_a_failure_is_told_and_not_remembered(trial):
    runs = trial(1, "ImportError: undefined symbol: R_getVar\n")
    assert machine.probe() == "ImportError: undefined symbol: R_getVar"
    probed_in_another_process()
    assert len(runs) == 2
    trial(-11)
    assert "signal 11" in probed_in_another_process()


def test_another_r_or_rpy2_is_tried_anew(bare):
    home = bare.root / "R-home"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "libR.so").touch()
    bare.patch.setattr(machine, "find_r", lambda: RInstall(home, "4.2.2"))
    seen = {machine._fingerprint()}
    bare.add_rpy2("3.6.5")
    seen.add(machine._fingerprint())
    (home / "lib" / "libR.so").unlink()
    seen.add(machine._fingerprint())
    bare.patch.setattr(machine, "find_r", lambda: RInstall(home, "4.3.0"))
    seen.add(machine._fingerprint())
    assert len(seen) == 4


def test_an_unwritable_cache_is_no_obstacle(bare, trial):
    (bare.root / "cache").write_text("a file where the directory should be")
    trial(0)
    assert machine.probe() is None


def test_a_start_that_hangs_is_given_up(bare, trial):
    def run(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    bare.patch.setattr(machine.subprocess, "run", run)
    assert "did not start" in machine.probe()


def test_looking_at_the_machine_does_not_import_rpy2():
    code = "import sys, pymer4.rbridge.machine as m; m.diagnose(); sys.exit('rpy2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
