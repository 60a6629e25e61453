"""`python -m pymer4 doctor`: what pymer4 finds on this machine, and the command that fixes what it lacks."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from pymer4.errors import items, shown, truth
from pymer4.rbridge import machine

__all__ = ["Check", "checks", "main", "table"]

_FIT_SECONDS = 180
_WIDTH = 80
_FIRST_FIT = """
import time
from pymer4 import Lmer, load_dataset
from pymer4.rbridge import bridge
data = load_dataset("sleepstudy")
start = time.perf_counter()
Lmer("Reaction ~ Days + (Days | Subject)", data).fit(summarize=False)
print(f"{time.perf_counter() - start:.1f} s", bridge.call("libraries").value["BLAS"], sep="|")
"""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_YES = re.compile(r"\b((?:apt-get|mamba|conda|micromamba) install) ")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was looked for.
        found: its version, empty where it is missing.
        note: where it lies, or what is wrong with it.
        remedy: the command that fixes it, empty where all is well.
    """

    name: str
    found: str
    note: str = ""
    remedy: str = ""


def checks() -> Iterable[Check]:
    """Look at everything a first model needs, from Python outwards, ending with a fit in R.

    Examples:
        >>> next(iter(checks())).name
        'Python'
    """
    yield Check("Python", platform.python_version(), sys.executable)
    yield Check("pymer4", _own_version())
    yield _threads()
    yield Check("memory", _memory())
    r, rpy2 = machine.find_r(), machine.rpy2_version()
    is_new = r is not None and machine.numbers(r.version) >= machine.OLDEST_R
    yield Check("R", r.version if r else "", machine.why_r(r), "" if is_new else machine.remedy_r())

    if rpy2 is None:
        yield Check("rpy2-rinterface", "", "", machine.remedy_rpy2(r))
    elif (state := machine.diagnose()).kind == "mismatch":
        yield Check("rpy2-rinterface", rpy2, state.what, state.remedy)
    else:
        yield Check("rpy2-rinterface", rpy2)

    paths = machine.package_folders(r) if r else []
    for package in (*machine.REQUIRED, "Matrix") if r else ():
        version = machine.package_version(package, paths)
        remedy = "" if version else machine.remedy_packages((package,), r)
        yield Check(package, version or "", machine.known_of(package, version), remedy)
    if machine.diagnose().kind == "ok":
        yield _first_fit()


def _own_version() -> str:
    try:
        return metadata.version("pymer4")
    except metadata.PackageNotFoundError:
        return "source tree"


def _threads() -> Check:
    import numpy.linalg  # noqa: F401  (loads the BLAS that is asked about)
    from threadpoolctl import threadpool_info

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pools = [f"{p['internal_api']} with {p['num_threads']}" for p in threadpool_info() if p["user_api"] == "blas"]
    given = {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    wrong = [name for name, value in given.items() if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value)]
    told = "; ".join([f"BLAS of NumPy: {', '.join(pools) or 'no threads'}", *(f"{n}={v}" for n, v in given.items())])
    return Check("threads", f"{cores} core{'s' * (cores > 1)}", told, f"unset {' '.join(wrong)}" if wrong else "")


def _memory() -> str:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return "not told"
    with contextlib.suppress(OSError, ValueError):  # a container's own limit; the text "max" where it has none
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return f"{size / 2**30:.1f} GiB"


def _first_fit() -> Check:
    """Fit in a process of its own: compiled code that does not fit may end it, or never return."""
    name, root = "a first model", str(Path(__file__).parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        run = subprocess.run([sys.executable, "-c", _FIRST_FIT], env={**os.environ, "PYTHONPATH": paths},
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                             timeout=_FIT_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return _failed(name, f"It was not fitted within {_FIT_SECONDS} seconds.")
    if run.returncode:
        return _failed(name, run.stderr.strip() or f"The process ended with status {run.returncode}.")
    took, blas = run.stdout.strip().splitlines()[-1].split("|")
    return Check(name, "fitted", f"in {took}" + (f"; BLAS of R: {Path(blas).name}" if blas else ""))


def _failed(name: str, evidence: str) -> Check:
    state = machine.diagnose(evidence)
    if state.kind == "no start" and machine.probe() is None:
        last = evidence.splitlines()[-1]
        return Check(name, "failed", last, machine.remedy_packages(("lme4",), machine.find_r(), anew=True))
    return Check(name, "failed", state.what, state.remedy)


def table(found: Iterable[Check]) -> str:
    """Lay the checks out in 80 columns, a remedy, which may be longer, on the line below its check.

    Args:
        found: what `checks()` gives.

    Returns:
        The table as text.

    Raises:
        TypeError: it is something else.

    Examples:
        >>> print(table([Check("R", "", "not found", "apt-get install r-base")]))
        R               missing       fix   not found
          -> apt-get install r-base
    """
    listed = items(found)
    if listed is None or not all(isinstance(check, Check) for check in listed):
        raise TypeError(f"table() lays out what checks() finds, not {shown(found)}.")
    lines = []
    for check in listed:
        head = f"{check.name:<16}{check.found or 'missing':<14}{'fix' if check.remedy else 'ok':<6}"
        lines += _beside(head, check.note)
        lines += [f"  -> {check.remedy}"] if check.remedy else []
    return "\n".join(lines)


def _beside(head: str, note: str) -> list[str]:
    """Return a note beside its head, or below it where a word of it, such as a path, is too long to stand beside."""
    below = any(len(word) > _WIDTH - len(head) for word in note.split())
    first, others = (" " * 4, " " * 4) if below else (head, " " * len(head))
    wrapped = textwrap.wrap(note, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return [head.rstrip(), *wrapped] if below else wrapped or [head.rstrip()]


def install(yes: bool = False) -> int:
    """Run the commands that the checks name, one after the other, until none is left.

    Args:
        yes: whether to run each without asking, and to have apt and conda not ask either.

    Returns:
        0 where all is well in the end, else 1.
    """
    done: set[str] = set()
    while remedies := [check.remedy for check in checks() if check.remedy]:
        line = remedies[0]
        print(f"-> {line}", flush=True)
        if line in done or not _is_command(line):
            print("It did not help." if line in done else "Do this by hand, then come back.")
            return 1
        if not (yes or _agreed()):
            return 1
        subprocess.run(_YES.sub(r"\1 -y ", line) if yes else line, shell=True, check=False)
        machine.probe.cache_clear()
        done.add(line)
    print("All is well: python -m pymer4 doctor")
    return 0


def _agreed() -> bool:
    try:
        return input("Run it? (y/N) ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _is_command(line: str) -> bool:
    """Whether a remedy is a line for the shell of a process of its own, not a word to the user or to their shell."""
    return not line.startswith((machine.BY_HAND, "unset ")) and bool(shutil.which(line.split()[0].strip("'\"")))


def main(as_json: bool = False) -> int:
    """Print what was found.

    Args:
        as_json: as JSON: `ok`, and the `checks`.

    Returns:
        The exit status: 0 where nothing needs mending, else 1.

    Raises:
        OptionError: `as_json` is neither True nor False.
    """
    as_json = truth("as_json", as_json)
    found = list(checks())
    is_well = not any(check.remedy for check in found)
    told = {"ok": is_well, "checks": [asdict(check) for check in found]}
    print(json.dumps(told, indent=2) if as_json else table(found))
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main("--json" in sys.argv))
