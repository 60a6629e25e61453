"""A machine without R: no command of it on the PATH, and no rpy2 to import, in this process and in those it starts."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ASKED = "PYMER4_TEST_NO_R"
"""Set it for a run without R; the folder that hides R, once there is one."""

_COMMANDS = ("R", "Rscript")


def is_asked() -> bool:
    """Whether R is to be hidden."""
    return bool(os.environ.get(ASKED))


def hide() -> None:
    """Hide R, once for all processes of a run."""
    if Path(os.environ[ASKED]).is_dir():
        return
    folder = Path(tempfile.mkdtemp(prefix="pymer4-no-r-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[ASKED] = str(folder)
    os.environ.pop("R_HOME", None)
    shadow = folder / "modules" / "rpy2"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text('raise ImportError("there is no rpy2 here")\n')
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(shadow.parent), *([before] if before else [])])
    sys.path.insert(0, str(shadow.parent))
    places = os.environ["PATH"].split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(str(_without_r(Path(place), folder)) for place in places if place)


def _without_r(place: Path, folder: Path) -> Path:
    """Return a folder of commands: the one given, or where it has those of R, one of links to the others."""
    if not any((place / command).exists() for command in _COMMANDS):
        return place
    links = folder / f"commands{len(list(folder.iterdir()))}"
    links.mkdir()
    for command in place.iterdir():
        if command.name not in _COMMANDS:
            (links / command.name).symlink_to(command)
    return links
