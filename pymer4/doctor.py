"""`python -m pymer4.doctor`: what pymer4 finds on this machine, and the command that mends what it lacks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from pymer4.errors import items, shown
from pymer4.rbridge import machine

__all__ = ["Check", "checks", "main", "table"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was looked for.
        found: its version, empty where it is missing.
        note: where it lies, or what is wrong with it.
        remedy: the command that mends it, empty where all is well.
    """

    name: str
    found: str
    note: str = ""
    remedy: str = ""


def checks() -> Iterable[Check]:
    """Look at everything a first model needs, from Python outwards, ending with a fit in R."""
    yield Check("Python", platform.python_version(), sys.executable)
    yield Check("pymer4", _own_version())
    r, rpy2 = machine.find_r(), machine.rpy2_version()
    if r is None:
        yield Check("R", "", "", machine.remedy_r())
    else:
        yield Check("R", r.version, str(r.home))

    if rpy2 is None:
        yield Check("rpy2-rinterface", "", "", machine.remedy_rpy2(r))
    elif (state := machine.diagnose()).kind == "mismatch":
        yield Check("rpy2-rinterface", rpy2, state.what, state.remedy)
    else:
        yield Check("rpy2-rinterface", rpy2)

    paths = machine.package_folders(r) if r else []
    for package in machine.REQUIRED if r else ():
        version = machine.package_version(package, paths)
        yield Check(package, version or "", "", "" if version else machine.remedy_packages((package,), r))
    if machine.diagnose().kind == "ok":
        yield _first_fit()


def _own_version() -> str:
    try:
        return metadata.version("pymer4")
    except metadata.PackageNotFoundError:
        return "source tree"


def _first_fit() -> Check:
    from pymer4 import Lmer, load_dataset
    from pymer4.rbridge import bridge

    try:
        Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy")).fit(summarize=False)
    except Exception as error:
        state = machine.diagnose(str(error))
        if bridge.started() and state.kind == "no start":
            return Check(
                "a first model", "failed", str(error), machine.remedy_packages(("lme4",), machine.find_r(), anew=True)
            )
        return Check("a first model", "failed", state.what, state.remedy)
    return Check("a first model", "fitted")


def table(found: Iterable[Check]) -> str:
    """Lay the checks out in columns, a remedy on the line below its check."""
    lines = []
    listed = items(found)
    if listed is None or not all(isinstance(check, Check) for check in listed):
        raise TypeError(f"table() lays out what checks() finds, not {shown(found)}.")
    for check in listed:
        state = "mend" if check.remedy else "ok"
        lines.append(f"{check.name:<16}{check.found or 'missing':<14}{state:<6}{check.note}".rstrip())
        if check.remedy:
            lines.append(f"{'':<16}-> {check.remedy}")
    return "\n".join(lines)


def main() -> int:
    """Print the table; the exit status is 0 where nothing needs mending, else 1."""
    found = list(checks())
    print(table(found))
    return int(any(check.remedy for check in found))


if __name__ == "__main__":
    sys.exit(main())
