"""How much of a thread's stack R may use.

R stops with an error where the C stack runs out, if it knows where the stack lies. As rpy2 starts R it does not, so
that a formula of 3,000 terms, or a function that calls itself, ends the process. The bounds are those of the thread
that asks, so they are set for each call, and taken back after it: other users of the same R have theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
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

_known = threading.local()


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of one thread.

    Attributes:
        start: the address where it starts; it grows downwards.
        size: in bytes.
    """

    start: int
    size: int


def stack() -> Stack | None:
    """Return the stack of this thread, None where the system does not tell."""
    try:
        return _known.stack
    except AttributeError:
        _known.stack = _measured()
        return _known.stack


@contextlib.contextmanager
def guarded(rlib: Any) -> Iterator[None]:
    """Tell R the bounds of this thread's stack for the length of a block."""
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
