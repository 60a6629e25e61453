"""What R may not do to the process: run over a thread's stack, or change what children inherit."""

from __future__ import annotations

import contextlib
import ctypes
import locale
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LEAST = (2 << 20) - (64 << 10)
"""The smallest stack, in bytes, in which R starts, loads lme4 and fits: a thread of 2 MiB, less its guard pages."""

# What C code may use between two of R's checks, and R's own handling of the error.
_MARGIN = 256 << 10
# R itself never uses more, whatever the system allows.
_MOST = 64 << 20

# R finds the parts of itself that it loads later by R_HOME. LC_ALL stands for the other categories; LC_CTYPE is R's
# encoding, which Python has set to the same.
_STAYS = {"R_HOME"}
_CATEGORIES = [
    value for name, value in vars(locale).items() if name.startswith("LC_") and name not in ("LC_ALL", "LC_CTYPE")
]

_known = threading.local()


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of one thread: the address where it starts, to grow downwards, and its size in bytes."""

    start: int
    size: int


def stack() -> Stack | None:
    """Return the stack of this thread, None where the system does not tell."""
    if not hasattr(_known, "stack"):
        _known.stack = _measured()
    return _known.stack


@contextlib.contextmanager
def guarded(rlib: Any) -> Iterator[None]:
    """Tell R the bounds of this thread's stack for the length of a block; other users of the same R have theirs.

    As rpy2 starts R it does not know them, so that a formula of 3,000 terms, or a function that calls itself, would
    end the process in the place of an error.
    """
    found, before = stack(), (rlib.R_CStackStart, rlib.R_CStackLimit)
    if found is not None:
        rlib.R_CStackStart, rlib.R_CStackLimit = found.start, min(found.size, _MOST) - _MARGIN
    try:
        yield
    finally:
        rlib.R_CStackStart, rlib.R_CStackLimit = before


def _measured() -> Stack | None:
    if sys.platform.startswith("linux"):
        return _of_linux()
    if sys.platform == "darwin":
        library = ctypes.CDLL(None)
        library.pthread_self.restype = ctypes.c_void_p
        thread = ctypes.c_void_p(library.pthread_self())
        library.pthread_get_stackaddr_np.restype = ctypes.c_void_p
        library.pthread_get_stacksize_np.restype = ctypes.c_size_t
        return Stack(library.pthread_get_stackaddr_np(thread), library.pthread_get_stacksize_np(thread))
    if sys.platform == "win32":
        low, high = ctypes.c_size_t(), ctypes.c_size_t()
        ctypes.windll.kernel32.GetCurrentThreadStackLimits(ctypes.byref(low), ctypes.byref(high))
        return Stack(high.value, high.value - low.value)
    return None


def _of_linux() -> Stack | None:
    library = ctypes.CDLL(None)
    library.pthread_self.restype = ctypes.c_void_p
    attributes = ctypes.create_string_buffer(256)
    if library.pthread_getattr_np(ctypes.c_void_p(library.pthread_self()), attributes) != 0:
        return None
    lowest, size, unused = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    told = library.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(size))
    library.pthread_attr_getguardsize(attributes, ctypes.byref(unused))
    library.pthread_attr_destroy(attributes)
    if told != 0 or not lowest.value:
        return None
    return Stack(lowest.value + size.value, size.value - unused.value)


@contextlib.contextmanager
def kept_surroundings() -> Iterator[None]:
    """Put environment variables and locale back after a block that starts R, however it ends.

    R and rpy2 set some thirty variables (`LD_LIBRARY_PATH`, `EDITOR`, `TAR`, ...) and the locale, which all children of
    the process would inherit: with R's library path a Python that is not the system's loads libraries not its own.
    """
    variables, native = dict(os.environ), _native_names()
    categories = {category: locale.setlocale(category) for category in _CATEGORIES}
    try:
        yield
    finally:
        # C's environment has names that children get and Python does not see.
        for name in _native_names() - native - _STAYS:
            os.unsetenv(name)
        for name in set(os.environ) - set(variables) - _STAYS:
            del os.environ[name]
        os.environ.update(variables)
        for category, value in categories.items():
            with contextlib.suppress(locale.Error):
                locale.setlocale(category, value)


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
