"""The tables that the site shows: what was measured, on which machine, with which versions."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path

from measure import Row

from pymer4.rbridge import machine

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "bench.json"
PACKAGES = ("pymer4", "numpy", "scipy", "pandas", "statsmodels")


def write(table: str, found: dict[str, list[Row]]) -> None:
    """Put a table, `"small"` or `"big"`, in the place of the one that is there."""
    kept = json.loads(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    rows = [
        {"measure": name} | row._asdict() | {"name": row.name.strip()} for name, some in found.items() for row in some
    ]
    kept[table] = {
        "date": datetime.date.today().isoformat(),
        "machine": _processor(),
        "load": round(os.getloadavg()[0], 1),
        "versions": _versions(),
        "rows": rows,
    }
    PAGE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _processor() -> str:
    """Return the processor, how many cores may be used, and the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}"


def _versions() -> dict[str, str]:
    """Return the versions of Python, R and their packages."""
    r = machine.find_r()
    folders = machine.package_folders(r)
    found = {"Python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}, "R": r.version}
    return found | {name: machine.package_version(name, folders) or "absent" for name in machine.REQUIRED}
