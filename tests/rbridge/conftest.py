"""A machine made of fakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pymer4.rbridge import machine


@dataclass(frozen=True)
class Machine:
    """A machine with nothing, to which a test adds: an empty PATH, no R, no conda, no rpy2."""

    root: Path
    patch: pytest.MonkeyPatch

    def add_tool(self, name: str, text: str = "") -> None:
        tool = self.root / "bin" / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)

    def add_package(self, library: Path, name: str, version: str = "1.0") -> None:
        (library / name).mkdir(parents=True)
        (library / name / "DESCRIPTION").write_text(f"Package: {name}\nVersion: {version}\n")

    def add_r(self, version: str = "4.2.2", packages=machine.REQUIRED, home: str = "R-home") -> Path:
        """Put an R in place that is no more than its directories, and a command that answers `R RHOME`."""
        place = self.root / home
        for package, number in {"base": version, **dict.fromkeys(packages, "1.0")}.items():
            self.add_package(place / "library", package, number)
        self.add_tool("R", f'[ "$1" = RHOME ] && echo "{place}"')
        return place

    def add_rpy2(self, version: str) -> None:
        self.patch.setattr(machine, "rpy2_version", lambda: version)

    def add_debian(self) -> None:
        self.add_tool("apt-get")
        self.patch.setattr(machine, "apt_r", lambda r: True)
        (self.root / "lists").mkdir()
        (self.root / "lists" / "bookworm_main_Packages.lz4").touch()
        self.patch.setattr(machine, "APT_LISTS", self.root / "lists")

    def add_conda(self) -> Path:
        prefix = self.root / "env"
        (prefix / "conda-meta").mkdir(parents=True)
        self.patch.setattr(machine.sys, "prefix", str(prefix))
        self.patch.setenv("CONDA_PREFIX", str(prefix))
        return prefix


@pytest.fixture
def bare(monkeypatch, tmp_path):
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
    yield Machine(tmp_path, monkeypatch)
    machine.probe.cache_clear()
