"""A folder that keeps what is done of many fits, chunk by chunk, so that a run which was stopped goes on there."""

from __future__ import annotations

import dis
import hashlib
import io
import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from pymer4.errors import FileError, OptionError, shown

_RUN = "run.json"
_FORMAT = 1
_ANEW = "Delete it with the folder, and run again."


def digest(parts: Iterable[Any]) -> str:
    """Return what tells arrays and plain values from others."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def function_mark(function: Any) -> str:
    """Return what tells a function from others: its code, and the values that it has by default or takes from outside.

    Functions of its own module that it calls count likewise, those of others by name.

    Raises:
        OptionError: it holds what can't be told from anything else.
    """
    found, left, seen = hashlib.sha256(), [function], set()
    while isinstance(function, partial):
        function = function.func
    while left:
        part = left.pop()
        found.update(type(part).__name__.encode())
        if isinstance(part, FunctionType) and part.__module__ == getattr(function, "__module__", None):
            if part not in seen:
                seen.add(part)
                inside = [part.__globals__.get(name) for name in _taken(part.__code__)]
                inside += [cell.cell_contents for cell in part.__closure__ or ()]
                left += [part.__code__, part.__defaults__, *(part.__kwdefaults__ or {}).items(), *inside]
        elif isinstance(part, CodeType):
            found.update(digest([part.co_code, part.co_names]).encode())
            left += part.co_consts
        elif isinstance(part, tuple):
            left += part
        elif isinstance(part, partial):
            left += [part.func, part.args, *part.keywords.items()]
        elif isinstance(part, frozenset):
            found.update(digest(sorted(map(repr, part))).encode())
        elif isinstance(part, np.ndarray) and part.dtype != object:
            found.update(digest([part]).encode())
        else:
            try:
                found.update(part.__name__.encode() if isinstance(part, ModuleType) else pickle.dumps(part, 4))
            except Exception as error:
                raise OptionError(
                    f"statistic= holds {shown(part)}, of which a cache can't tell whether it is the same in another "
                    "run. Leave cache out, or give a function of numbers and arrays alone."
                ) from error
    return found.hexdigest()


def _taken(code: CodeType) -> list[str]:
    """Return the names that code takes from its module, in their order."""
    own = [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    return own + [name for part in code.co_consts if isinstance(part, CodeType) for name in _taken(part)]


class Cache:
    """The folder of one run.

    Args:
        folder: is made where it is not there.
        marks: what the run is of, by name: another run is refused there.
        seed: of permutations; None takes that of the run in the folder.

    Raises:
        OptionError: the folder holds another run, or what is no run.
        FileError: it can't be written, or its record is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], marks: Mapping[str, str], seed: int | None):
        if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
            raise OptionError(f"cache={shown(folder)} is not the path of a folder.")
        self.folder = Path(folder)
        told = self.folder / _RUN
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(told.read_text("utf-8")) if told.exists() else None
            others = known is None and any(self.folder.iterdir())
        except OSError as error:
            raise FileError(f"cache={str(folder)!r} can't be used: {error}. Give another folder.") from error
        except ValueError as error:
            raise FileError(f"{told} is damaged: {error}. {_ANEW}") from error
        if others:
            raise OptionError(f"cache={str(folder)!r} holds other files. Give a folder of its own.")
        if known is None:
            self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
            self._write(_RUN, json.dumps({"format": _FORMAT, "seed": self.seed, **marks}).encode())
            return
        if not isinstance(known, dict) or not isinstance(known.get("seed"), int):
            raise FileError(f"{told} is no record of a run. {_ANEW}")
        self.seed = known["seed"] if seed is None else seed
        wanted = {"format": _FORMAT, "seed": self.seed, **marks}
        other = [name for name, mark in wanted.items() if known.get(name) != mark]
        if other:
            raise OptionError(
                f"cache={str(folder)!r} holds another run: {', '.join(other)} differ. Give a folder of its own, or "
                "delete this one."
            )

    def keep(self, kind: str, first: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a chunk, named by its first item; a file is there whole or not at all."""
        memory = io.BytesIO()
        np.savez(memory, **arrays)
        self._write(f"{kind}-{first:09d}.npz", memory.getvalue())

    def kept(self, kind: str) -> list[dict[str, np.ndarray]]:
        """Return the chunks that are there."""
        found = []
        for path in sorted(self.folder.glob(f"{kind}-*.npz")):
            try:
                with np.load(path) as arrays:
                    found.append(dict(arrays))
            except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
                raise FileError(f"{path} is damaged: {error}. Delete it, and run again: its part is redone.") from error
        return found

    def _write(self, name: str, content: bytes) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
                file.write(content)
            os.replace(file.name, self.folder / name)
        except OSError as error:
            raise FileError(f"cache={str(self.folder)!r} can't be written: {error}. Give another folder.") from error
