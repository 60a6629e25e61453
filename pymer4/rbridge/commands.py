"""Lines for the shell of this system that install something."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_PERSONAL = 'lib <- Sys.getenv("R_LIBS_USER"); dir.create(lib, FALSE, TRUE); '


def conda(prefix: Path, *packages: str, options: str = "") -> str:
    """Return the line that installs conda packages into the environment of a prefix."""
    tool = next((t for t in ("mamba", "conda", "micromamba") if shutil.which(t)), "conda")
    active = os.environ.get("CONDA_PREFIX") == str(prefix)
    where = "" if active else f"-p {_word(str(prefix))} "
    return f"{tool} install {where}{options}-c conda-forge {' '.join(packages)}"


def pip(*words: str) -> str:
    """Return the line that installs Python packages for this Python."""
    beside = Path(shutil.which("pip") or "/").parent == Path(sys.executable).parent
    command = "pip" if beside else f"{_word(sys.executable)} -m pip"
    return f"{command} install {' '.join(words)}"


def rscript(command: str, packages: Sequence[str], repository: str, source: bool, personal: bool) -> str:
    """Return the line that has R install packages.

    Args:
        command: Rscript, by name or by path.
        packages: their names.
        repository: where they come from.
        source: whether they are to be compiled here.
        personal: whether they go to the user's own library, which is made, since no other may be written.
    """
    names = ", ".join(f'"{package}"' for package in packages)
    what = f"c({names})" if len(packages) > 1 else names
    more = ("lib = lib, " if personal else "") + f'repos = "{repository}"' + (', type = "source"' if source else "")
    code = f"{_PERSONAL if personal else ''}install.packages({what}, {more})"
    return f"{_word(command)} -e {_code(code)}"


def _word(text: str) -> str:
    if sys.platform == "win32":
        return f'"{text}"' if " " in text else text
    return shlex.quote(text)


def _code(code: str) -> str:
    """Return code as one word; the shells of Windows do not all know single quotes."""
    return '"' + code.replace('"', "'") + '"' if sys.platform == "win32" else f"'{code}'"
