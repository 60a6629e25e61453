"""The doctor, before machines made of fakes, and in a process of its own where something real is hidden or spoiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import hermetic
import pytest

from pymer4 import doctor, errors
from pymer4.rbridge import machine, start


def test_the_doctor_on_a_machine_without_r(bare, capsys):
    bare.add_debian()
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert f"-> {machine.remedy_r()}" in told
    assert "Python" in told


def test_the_doctor_on_a_sound_machine(bare, capsys):
    bare.add_r(packages=(*machine.REQUIRED, "Matrix"))
    bare.add_rpy2("3.6.5")
    bare.patch.setattr(doctor, "_first_fit", lambda: doctor.Check("a first model", "fitted"))
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["Python", "pymer4", "threads", "memory", "R", "rpy2-rinterface", *machine.REQUIRED, "Matrix", "a"]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == names
    assert max(map(len, lines)) <= 80


def test_the_doctor_names_the_missing_package(bare, capsys):
    bare.add_r(packages=("lme4", "lmerTest", "emmeans", "Matrix"))
    bare.add_rpy2("3.6.5")
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert told.count("->") == 1
    assert 'install.packages("pbkrtest"' in told


def test_a_long_path_stands_below_its_check():
    path = "/opt/" + "x" * 60
    lines = doctor.table([doctor.Check("R", "4.5.1", f"{path}, by R_HOME"), doctor.Check("Matrix", "1.7")]).splitlines()
    assert path in lines[1] and lines[0].split() == ["R", "4.5.1", "ok"] and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("version", "told"),
    [("1.1-31", "in units of"), ("2.0-5", "2.1 corrects it"), ("1.0-4", "older than 1.1-31"), ("2.1-0", "")],
)
def test_what_is_known_of_a_version(version, told):
    found = machine.known_of("lme4", version)
    assert told in found and bool(told) == bool(found)


def test_why_this_r(bare):
    assert machine.why_r(machine.find_r()) == "not on the PATH"
    home = bare.add_r("4.1.3", home="env/lib/R")
    assert f"{home}, by {bare.root}/bin/R on the PATH; R 4.2 or newer" in machine.why_r(machine.find_r())
    assert machine.diagnose().kind == "old R"
    bare.add_conda()
    assert f"of the conda environment {bare.root}/env" in machine.why_r(machine.find_r())
    bare.patch.setenv("R_HOME", str(bare.root / "none"))
    assert (machine.why_r(machine.find_r()), machine.remedy_r()) == (f"R_HOME={bare.root}/none is no R", "unset R_HOME")


@pytest.fixture
def clinic(monkeypatch):
    """Let the checks name some remedies, the first of those left each time; returns the lines that were run."""
    ran: list[str] = []

    def stays(*remedies: str) -> list[str]:
        def checks() -> list[doctor.Check]:
            left = [r for r in remedies if "stubborn" in r or not any(r.split()[-1] in line for line in ran)]
            return [doctor.Check("x", "", "", r) for r in left]

        monkeypatch.setattr(doctor, "checks", checks)
        monkeypatch.setattr(doctor.shutil, "which", lambda tool: f"/bin/{tool}")
        monkeypatch.setattr(doctor.subprocess, "run", lambda line, **_options: ran.append(line))
        return ran

    return stays


def test_what_is_asked_before_it_is_run(clinic, monkeypatch):
    ran = clinic("apt-get install r-base", 'pip install "pymer4[r]"')
    for answer in ("", "n", "what"):
        monkeypatch.setattr("builtins.input", lambda _prompt, answer=answer: answer)
        assert doctor.install() == 1 and not ran
    monkeypatch.setattr("builtins.input", lambda _prompt: "y")
    assert doctor.install() == 0 and ran == ["apt-get install r-base", 'pip install "pymer4[r]"']


def test_yes_is_passed_on(clinic):
    ran = clinic("apt-get update && apt-get install r-base", "conda install -c conda-forge r-lme4")
    assert doctor.install(yes=True) == 0
    assert ran == ["apt-get update && apt-get install -y r-base", "conda install -y -c conda-forge r-lme4"]


@pytest.mark.parametrize(("remedy", "times"), [("apt-get install stubborn", 1), ("unset R_HOME", 0),
                                               (f"{machine.BY_HAND} from x, then: y", 0)])  # fmt: skip
def test_what_does_not_mend_ends(clinic, remedy, times):
    ran = clinic(remedy)
    assert doctor.install(yes=True) == 1 and len(ran) == times


def seen(**variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit status and the checks by name, of a process with other variables."""
    command = [sys.executable, "-m", "pymer4", "doctor", "--json"]
    run = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    told = json.loads(run.stdout)
    assert told["ok"] is (run.returncode == 0)
    return run.returncode, {check["name"]: check for check in told["checks"]}


@pytest.mark.r
def test_this_machine_fits_a_model():
    status, found = seen()
    assert status == 0 and found["a first model"]["found"] == "fitted"


@pytest.mark.r
def test_lmertest_is_hidden(tmp_path):
    library = os.environ.get(hermetic.LIBRARY, "")
    if "lmerTest" in hermetic.installed(hermetic.folders()[-1:]):
        pytest.skip("lmerTest lies in R's own library, where it can't be hidden")
    for name in os.listdir(library):
        if name != "lmerTest":
            (tmp_path / name).symlink_to(os.path.realpath(os.path.join(library, name)))
    status, found = seen(R_LIBS_SITE=str(tmp_path))
    assert status == 1 and "a first model" not in found
    assert [name for name, check in found.items() if check["remedy"]] == ["lmerTest"]


@pytest.mark.r
@pytest.mark.parametrize("died", ["raise ImportError('undefined symbol: R_getVar')", "import os; os.abort()"])
def test_a_spoiled_rpy2(tmp_path, died):
    """Of a release that says by its number that it does not fit R before 4.5; under a newer one, by how it ends."""
    (tmp_path / "rpy2").mkdir()
    (tmp_path / "rpy2" / "__init__.py").write_text(died)
    about = tmp_path / "rpy2_rinterface-3.6.7.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rpy2-rinterface\nVersion: 3.6.7\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    status, found = seen(PYTHONPATH=paths, XDG_CACHE_HOME=str(tmp_path))
    spoiled = found["rpy2-rinterface" if machine.is_old(machine.find_r().version) else "a first model"]
    assert status == 1 and "--force-reinstall" in spoiled["remedy"]


def test_without_r_it_ends_in_words(tmp_path):
    status, found = seen(PATH="/nowhere", R_HOME="/nowhere")
    assert status == 1 and "R_HOME=/nowhere is no R" in found["R"]["note"] and found["R"]["remedy"]


@pytest.mark.parametrize("error", ["RuntimeError: no R_HOME", "ImportError: no libR.so\n  Built for 4.5\nMend it"])
def test_a_traceback_is_told_by_its_error(bare, error):
    places = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n    f()\n'
    text = str(start.unavailable(f"{places}KeyError: 'R'\n\nDuring that:\n\n{places}{error}\n"))
    assert f"Seen: {error}\n" in text and "File" not in text and "KeyError" not in text


def test_errors_point_to_it():
    assert str(errors.RUnavailable("R was not found.")).endswith("python -m pymer4 doctor")
