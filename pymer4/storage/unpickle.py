"""Pickles as the model files of the 0.7 line hold them, and no others.

Those files pickle NumPy dtypes and arrays of Python objects: three names of NumPy, and plain values. A pickle can call
whatever it names, so nothing here calls what the pickle says: the names stand for records, from which arrays are made
once their content was looked at.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np

from pymer4.errors import FileError

_DTYPE = re.compile(r"[<>|=]?(O8?|[biufc]\d{1,2}|[?bBhHiIlLqQefdgFD]|[SU]\d{1,4})")
_PLAIN = (str, bytes, int, float, bool, type(None))
_MOST = 10_000_000  # elements of an array


def unpickled(data: bytes) -> Any:
    """Return the value of a pickle of the 0.7 line: a dtype, an array of objects, or plain lists and dicts.

    Raises:
        FileError: the pickle holds anything else; what it was.
    """
    try:
        return _resolved(_Unpickler(io.BytesIO(data)).load())
    except FileError:
        raise
    except Exception as error:
        raise FileError(f"a pickle in it can't be read: {type(error).__name__}: {error}") from error


class _Dtype:
    """What `numpy.dtype` was called with; its state adds the byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise FileError(f"a pickle in it holds the dtype {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        if not isinstance(state, tuple) or state[1] not in ("<", ">", "|", "="):
            raise FileError("a pickle in it holds a dtype of unknown form")
        self.order = state[1]

    def made(self) -> np.dtype:
        dtype = np.dtype(self.code)
        return dtype if self.order in "|=" else dtype.newbyteorder(self.order)


class _Array:
    """An array of objects, before its values were looked at."""

    def __init__(self, shape: Any = None, code: Any = None):
        self.state: tuple | None = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def made(self) -> np.ndarray:
        _, shape, dtype, _, values = self.state
        if not isinstance(dtype, _Dtype) or not dtype.made().hasobject or not isinstance(values, list):
            raise FileError("a pickle in it holds an array that is not one of objects")
        values = [_resolved(value) for value in values]
        if not all(isinstance(value, (*_PLAIN, np.generic)) for value in values):
            raise FileError("a pickle in it holds an array of other objects than numbers and text")
        found = np.empty(len(values), dtype=object)
        found[:] = values
        # The flag of Fortran order is about memory: lists are in the order of rows either way.
        return found.reshape(shape)


class _Scalar:
    """A NumPy scalar, as its dtype and its bytes."""

    def __init__(self, dtype: Any, data: Any):
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, _Text)):
            raise FileError("a pickle in it holds a scalar of unknown form")
        self.dtype, self.data = dtype, data

    def made(self) -> Any:
        dtype = self.dtype.made()
        if dtype.hasobject:
            raise FileError("a pickle in it holds a scalar that is an object")
        data = self.data.made() if isinstance(self.data, _Text) else self.data
        return np.frombuffer(data, dtype=dtype, count=1)[0]


class _Text:
    """Bytes that Python 2 can read, as `_codecs.encode` has them."""

    def __init__(self, text: Any, coding: Any = "latin1"):
        if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
            raise FileError("a pickle in it holds text of unknown form")
        self.text = text

    def made(self) -> bytes:
        return self.text.encode("latin1")


class _ArrayType:
    """Stands for `numpy.ndarray`, which the pickles name but never call."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _ArrayType or shape != (0,):
        raise FileError("a pickle in it holds an array of unknown form")
    return _Array()


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _ArrayType,
    ("_codecs", "encode"): _Text,
    **{(module, "_reconstruct"): _reconstruct for module in _MULTIARRAY},
    **{(module, "scalar"): _Scalar for module in _MULTIARRAY},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise FileError(f"a pickle in it names {module}.{name}, which no model file of the 0.7 line does")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FileError("a pickle in it points outside")


def _resolved(value: Any, depth: int = 0) -> Any:
    """Return plain values and arrays in the place of the records."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (_Dtype, _Array, _Scalar, _Text)):
        return value.made()
    if depth > 8 or not isinstance(value, (list, tuple, dict)) or len(value) > _MOST:
        raise FileError(f"a pickle in it holds a {type(value).__name__}")
    if isinstance(value, dict):
        return {_resolved(key, depth + 1): _resolved(held, depth + 1) for key, held in value.items()}
    return type(value)(_resolved(held, depth + 1) for held in value)
