"""What the start of R changes for the whole process, put back once it runs: environment variables and locale.

R and rpy2 set some thirty variables (`LD_LIBRARY_PATH`, `EDITOR`, `TAR`, ...) and every category of the locale, which
all children of the process would inherit: with R's library path a Python that is not the system's loads libraries
that are not its own. `R_HOME` stays: R finds the parts of itself that it loads later by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import locale
import os
from collections.abc import Iterator

# LC_ALL stands for the others. LC_CTYPE is R's encoding, which Python has set to the same.
_STAYS = {"R_HOME"}
_CATEGORIES = [
    value for name, value in vars(locale).items() if name.startswith("LC_") and name not in ("LC_ALL", "LC_CTYPE")
]


@contextlib.contextmanager
def kept_surroundings() -> Iterator[None]:
    """Put environment variables and locale back after a block, however it ends."""
    variables, native = dict(os.environ), _native_names()
    categories = {category: locale.setlocale(category) for category in _CATEGORIES}
    try:
        yield
    finally:
        _restore(variables, native)
        for category, value in categories.items():
            with contextlib.suppress(locale.Error):
                locale.setlocale(category, value)


def _restore(variables: dict[str, str], native: set[str]) -> None:
    """Put back Python's view of the environment, and that of C, which children get and Python does not see."""
    for name in _native_names() - native - _STAYS:
        os.unsetenv(name)
    for name in set(os.environ) - set(variables) - _STAYS:
        del os.environ[name]
    os.environ.update(variables)


def _native_names() -> set[str]:
    """Return the names in C's environment; none where it can't be read, as on Windows."""
    if os.name != "posix":
        return set()
    library = ctypes.CDLL(None)
    try:
        entries = ctypes.POINTER(ctypes.c_char_p).in_dll(library, "environ")
    except ValueError:
        library._NSGetEnviron.restype = ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))
        entries = library._NSGetEnviron().contents
    names, place = set(), 0
    while (entry := entries[place]) is not None:
        names.add(os.fsdecode(entry.split(b"=", 1)[0]))
        place += 1
    return names
