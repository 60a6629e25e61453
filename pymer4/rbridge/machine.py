"""What this machine has of R, and the one command that mends what it lacks.

Everything here reads files, the environment and package metadata; rpy2 is never imported and R never started here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from pymer4.rbridge import commands

Kind = Literal["ok", "no R", "old R", "no rpy2", "mismatch", "package missing", "broken binary", "no start"]

REQUIRED = ("lme4", "lmerTest", "emmeans", "pbkrtest")
CRAN = "https://cloud.r-project.org"
APT_LISTS = Path("/var/lib/apt/lists")
BY_HAND = "install R"

OLDEST_R = (4, 2)
# The oldest that the tests run with.
OLDEST = {"lme4": "1.1-31", "lmerTest": "3.1-3", "emmeans": "1.8.4", "pbkrtest": "0.5.2"}
# Package, first version, the version that ended it, and what is wrong between the two: docs/guide/lmer.md.
FAULTS = (
    ("lme4", "1.1", "2.0", "variances of gamma and inverse Gaussian models are in units of the dispersion"),
    ("lme4", "2.0", "2.1", "the dispersion of gamma and inverse Gaussian models is off; 2.1 corrects it"),
)

# rpy2-rinterface calls R_getVar() from 3.6.6 on, which R has since 4.5.
R_WITH_GETVAR = (4, 5)
RPY2_WITH_GETVAR = (3, 6, 6)
RPY2_FOR_OLD_R = "rpy2-rinterface<3.6.6"

PROBE = "import rpy2.rinterface as ri; ri.initr()"
PROBE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class RInstall:
    """An installation of R: the directory that `R RHOME` prints, and the version, such as "4.2.2"."""

    home: Path
    version: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with the R of this machine, in a sentence, and the line to type; empty where nothing is wrong."""

    kind: Kind
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}\nTo fix it:  {self.remedy}" if self.remedy else self.what


def resource_path() -> Path:
    """Return the folder of the R files: beside the package in a source tree, inside it once installed."""
    package = Path(__file__).parents[1]
    inside = package / "R"
    return inside if inside.is_dir() else package.parent / "R"


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "3.6.5.dev1" gives (3, 6, 5)."""
    leading = re.match(r"\d+(?:[.-]\d+)*", version)
    return tuple(int(n) for n in re.split(r"[.-]", leading.group())) if leading else ()


def _description_version(package: Path) -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"^Version:\s*(\S+)", (package / "DESCRIPTION").read_text("utf-8", "replace"), re.MULTILINE)
        return found and found.group(1)
    return None


def _told(*command: str) -> str:
    """Return what a command of R prints, empty where it fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    return ""


def find_r() -> RInstall | None:
    """Return the R that rpy2 would start: that of `R_HOME`, else that of `R` on the PATH."""
    home = os.environ.get("R_HOME")
    if not home and (command := shutil.which("R")):
        home = _told(command, "RHOME").strip()
    version = _description_version(Path(home) / "library" / "base") if home else None
    return RInstall(Path(home), version) if home and version else None


def why_r(r: RInstall | None) -> str:
    """Say why this R is the one that is started, or why there is none."""
    home, command = os.environ.get("R_HOME"), shutil.which("R")
    if r is None:
        return f"R_HOME={home} is no R" if home else f"{command} tells no home" if command else "not on the PATH"
    prefix, ours = conda_of(r.home), conda_of(Path(sys.prefix))
    how = "named by R_HOME" if home else f"by {command} on the PATH"
    where = f", of the conda environment {prefix}" if prefix else ", outside of this Python's conda" if ours else ""
    old = "; R 4.2 or newer is needed" if numbers(r.version) < OLDEST_R else ""
    return f"{r.home}, {how}{where}{old}"


def known_of(package: str, version: str | None) -> str:
    """Return what is known to be wrong with a version of an R package, empty where nothing is."""
    if not version:
        return ""
    faults = [
        what for name, since, until, what in FAULTS
        if name == package and numbers(since) <= numbers(version) < numbers(until)
    ]  # fmt: skip
    least = OLDEST.get(package, "")
    old = [f"older than {least}, the oldest tested"] if numbers(version) < numbers(least) else []
    return "; ".join([*old, *faults])


def rpy2_version() -> str | None:
    """Return the version of the installed rpy2-rinterface; conda calls the same thing rpy2."""
    for name in ("rpy2-rinterface", "rpy2"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def is_old(r: str | None) -> bool:
    """Tell whether a version of R is one that recent releases of rpy2-rinterface do not load with."""
    return bool(r) and numbers(str(r)) < R_WITH_GETVAR


def fits(rpy2: str, r: str) -> bool:
    """Tell whether this release of rpy2-rinterface loads with this R."""
    return not is_old(r) or numbers(rpy2) < RPY2_WITH_GETVAR


def rpy2_requirement(r: str | None) -> str:
    """Return the requirement for pip that fits this version of R."""
    return RPY2_FOR_OLD_R if is_old(r) else "rpy2-rinterface"


def package_folders(r: RInstall) -> list[Path]:
    """Return the directories in which R looks for its packages, first one first."""
    lines = _told(str(r.home / "bin" / "R"), "CMD", "env").splitlines()
    told = dict(os.environ) | dict(line.split("=", 1) for line in lines if "=" in line)
    short = ".".join(r.version.split(".")[:2])
    user = Path.home() / "R" / f"{told.get('R_PLATFORM', '')}-library" / short
    if sys.platform == "darwin":
        arch = told.get("R_PLATFORM", "").split("-")[0].replace("aarch64", "arm64")
        user = Path.home() / "Library" / "R" / arch / short / "library"
    meaning = {"%U": str(user), "%S": str(r.home / "site-library")}
    named = [p for name in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE") for p in told.get(name, "").split(os.pathsep)]
    paths = [Path(meaning.get(p, p)).expanduser() for p in named if p]
    site = [] if told.get("R_LIBS_SITE") else [r.home / "site-library"]
    return [*paths, *site, r.home / "library"]


def package_version(package: str, paths: list[Path]) -> str | None:
    """Return the version of an R package as it lies on disk, None where there is none."""
    return next((v for path in paths if (v := _description_version(path / package))), None)


def conda_of(path: Path) -> Path | None:
    """Return the conda environment that a path lies in, None where it lies in none."""
    return next((p for p in (path, *path.parents) if (p / "conda-meta").is_dir()), None)


def apt_r(r: RInstall | None) -> bool:
    """Tell whether R and its packages come from apt: Debian's R, or no R yet and apt at hand."""
    return bool(shutil.which("apt-get")) and (r is None or r.home == Path("/usr/lib/R"))


def _called(prefix: str, packages: tuple[str, ...]) -> list[str]:
    """Return R packages by the names that conda ("r-") or Debian ("r-cran-") has for them."""
    return [prefix + package.lower() for package in packages]


def _apt(*packages: str) -> str:
    sudo = "" if getattr(os, "geteuid", lambda: 0)() == 0 else "sudo "
    update = "" if APT_LISTS.is_dir() and any(APT_LISTS.glob("*_Packages*")) else f"{sudo}apt-get update && "
    return f"{update}{sudo}apt-get install {' '.join(packages)}"


def _rscript(r: RInstall | None, packages: tuple[str, ...], source: bool = False) -> str:
    by_path = r is not None and (os.environ.get("R_HOME") or sys.platform == "win32")
    command = str(r.home / "bin" / "Rscript") if r and by_path else "Rscript"
    folders = [folder for folder in package_folders(r) if folder.is_dir()] if r else []
    is_closed = bool(folders) and not any(os.access(folder, os.W_OK) for folder in folders)
    return commands.rscript(command, packages, CRAN, source, is_closed)


def remedy_r() -> str:
    """Return the line that brings R with the packages pymer4 uses."""
    if os.environ.get("R_HOME") and shutil.which("R") and find_r() is None:
        return "unset R_HOME"
    active = os.environ.get("CONDA_PREFIX")
    if prefix := conda_of(Path(sys.prefix)) or (Path(active) if active else None):
        return commands.conda(prefix, "r-base", *_called("r-", REQUIRED), "rpy2")
    if apt_r(None):
        return _apt("r-base-dev", *_called("r-cran-", REQUIRED))
    if shutil.which("brew"):
        return f"brew install r && {_rscript(None, REQUIRED)}"
    return f"{BY_HAND} from {CRAN}, then: {_rscript(None, REQUIRED)}"


def remedy_rpy2(r: RInstall | None) -> str:
    """Return the line that installs rpy2-rinterface in a release that fits this R."""
    if prefix := conda_of(Path(sys.prefix)):
        return commands.conda(prefix, "rpy2")
    return commands.pip('"pymer4[r]"', *([f'"{RPY2_FOR_OLD_R}"'] if r and is_old(r.version) else []))


def remedy_mismatch(r: RInstall | None) -> str:
    """Return the line that builds rpy2-rinterface anew, for this R; pip keeps builds for others in its cache."""
    if prefix := conda_of(Path(sys.prefix)):
        return commands.conda(prefix, "rpy2", "r-base", options="--force-reinstall ")
    return commands.pip("--force-reinstall", "--no-cache-dir", f'"{rpy2_requirement(r.version if r else None)}"')


def remedy_packages(packages: tuple[str, ...], r: RInstall | None, anew: bool = False) -> str:
    """Return the line that installs R packages the way this R got its others; `anew`, builds of their source."""
    if r and (prefix := conda_of(r.home)):
        names = _called("r-", packages)
        return (
            commands.conda(prefix, "r-matrix", *names, options="--force-reinstall ")
            if anew
            else commands.conda(prefix, *names)
        )
    if apt_r(r) and not anew:
        return _apt(*_called("r-cran-", packages))
    return _rscript(r, packages, source=anew)


_NO_PACKAGE = re.compile(r"there is no package called\W+([A-Za-z][\w.]*)")
_NOT_PROVIDED = re.compile(r"function \W?(\w+)\W? not provided by package \W?Matrix")
_BROKEN_LIBRARY = re.compile(r"[/\\]([A-Za-z][\w.]*)[/\\]libs[/\\][\w.\\/]*\.(?:so|dll|dylib)")
_OLD_BUILD = re.compile(r"package \W?([A-Za-z][\w.]*)\W? was (?:installed|built) before R")
_RPY2_LIBRARY = re.compile(r"R_getVar|_rinterface_cffi|undefined symbol|[Ss]ymbol not found|libR\.(?:so|dylib)|R\.dll")


def _broken_package(evidence: str) -> str | None:
    """Return the R package whose compiled code does not fit, None where the evidence names none."""
    if _NOT_PROVIDED.search(evidence):
        return "lme4"
    if found := _BROKEN_LIBRARY.search(evidence) or _OLD_BUILD.search(evidence):
        return found.group(1)
    return None


def diagnose(evidence: str = "") -> Diagnosis:
    """Say what keeps R from being used here, and the one command that mends it; the first where there are several.

    Args:
        evidence: the text of what failed (an import of rpy2, the start of R, the loading of R packages, a first fit);
            empty to judge by what is installed.
    """
    r, rpy2 = find_r(), rpy2_version()
    if r is None:
        return Diagnosis("no R", f"R was not found: {why_r(r)}.", remedy_r())
    if numbers(r.version) < OLDEST_R:
        return Diagnosis("old R", f"R {r.version} ({r.home}) is too old: 4.2 is needed.", remedy_r())
    if rpy2 is None:
        return Diagnosis("no rpy2", f"rpy2-rinterface, which starts R {r.version}, is not installed.", remedy_rpy2(r))

    if package := _broken_package(evidence):
        what = f"The compiled code of the R package {package} does not fit this R or its Matrix package."
        return Diagnosis("broken binary", what, remedy_packages((package,), r, anew=True))

    paths = package_folders(r)
    missing = tuple(p for p in REQUIRED if package_version(p, paths) is None)
    if found := _NO_PACKAGE.search(evidence):
        missing = tuple(dict.fromkeys((*missing, found.group(1))))
    ill_matched = not fits(rpy2, r.version) and conda_of(Path(sys.prefix)) is None
    if ill_matched or (_RPY2_LIBRARY.search(evidence) and not missing):
        what = f"rpy2-rinterface {rpy2} does not fit R {r.version} ({r.home})."
        return Diagnosis("mismatch", what, remedy_mismatch(r))
    if missing:
        what = f"R {r.version} ({r.home}) lacks {', '.join(missing)}."
        return Diagnosis("package missing", what, remedy_packages(missing, r))
    if evidence:
        last = evidence.strip().splitlines()[-1]
        return Diagnosis("no start", f"R {r.version} ({r.home}) could not be used: {last}", remedy_mismatch(r))
    return Diagnosis("ok", f"R {r.version} ({r.home}) with rpy2-rinterface {rpy2}.")


def _fingerprint() -> str:
    """Return a short text that changes whenever Python, R or rpy2 does."""
    r = find_r()
    libraries = [r.home / name for name in ("lib/libR.so", "lib/libR.dylib", "bin/x64/R.dll")] if r else []
    stamps = [library.stat().st_mtime_ns for library in libraries if os.path.exists(library)]
    return hashlib.sha256(repr((sys.executable, r, stamps, rpy2_version())).encode()).hexdigest()[:16]


def _cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pymer4" / f"r-starts-{_fingerprint()}"


@cache
def probe() -> str | None:
    """Start R in a process of its own, which a broken one would end; return what was said where it does not start.

    That R starts is remembered in the user's cache directory until Python, R or rpy2 changes.
    """
    if not sys.executable:
        return None
    with contextlib.suppress(OSError, RuntimeError):
        if _cache_file().exists():
            return None
    try:
        run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, errors="replace",
                             stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"R did not start within {PROBE_SECONDS} seconds."
    if run.returncode:
        told = run.stderr.strip()
        died = f"The process that started R ended with signal {-run.returncode}."
        return f"{told}\n{died}".strip() if run.returncode < 0 else told or f"exit status {run.returncode}"
    with contextlib.suppress(OSError, RuntimeError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return None
