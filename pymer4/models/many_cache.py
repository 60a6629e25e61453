"""A folder that keeps what is done of many fits, chunk by chunk, so that a run which was stopped goes on there."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pymer4.errors import FileError, OptionError, shown

_RUN = "run.json"
_FORMAT = 1


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


class Cache:
    """The folder of one run.

    Args:
        folder: is made where it is not there.
        marks: what the run is of, by name: another run is refused there.
        seed: of permutations; None takes that of the run in the folder.

    Raises:
        OptionError: the folder holds another run, or what is no run.
        FileError: it can't be written.
    """

    def __init__(self, folder: str | os.PathLike[str], marks: Mapping[str, str], seed: int | None):
        if not isinstance(folder, (str, os.PathLike)):
            raise OptionError(f"cache={shown(folder)} is not the path of a folder.")
        self.folder = Path(folder)
        told = self.folder / _RUN
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(told.read_text("utf-8")) if told.exists() else None
            if known is None and any(self.folder.iterdir()):
                raise OptionError(f"cache={str(folder)!r} holds other files. Give a folder of its own.")
        except (OSError, json.JSONDecodeError) as error:
            raise FileError(f"cache={str(folder)!r} can't be used: {error}. Give another folder.") from error
        if known is None:
            self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
            self._write(_RUN, json.dumps({"format": _FORMAT, "seed": self.seed, **marks}).encode())
            return
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
        with tempfile.TemporaryFile() as memory:
            np.savez(memory, **arrays)
            memory.seek(0)
            self._write(f"{kind}-{first:09d}.npz", memory.read())

    def kept(self, kind: str) -> list[dict[str, np.ndarray]]:
        """Return the chunks that are there."""
        found = []
        for path in sorted(self.folder.glob(f"{kind}-*.npz")):
            try:
                with np.load(path) as arrays:
                    found.append(dict(arrays))
            except (OSError, ValueError) as error:
                raise FileError(f"{path} is damaged: {error}. Delete it, and run again: its part is redone.") from error
        return found

    def _write(self, name: str, content: bytes) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
                file.write(content)
            os.replace(file.name, self.folder / name)
        except OSError as error:
            raise FileError(f"cache={str(self.folder)!r} can't be written: {error}. Give another folder.") from error
