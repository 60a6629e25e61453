"""R scripts that fit a model again from a CSV beside them: the text of `R/scripts.txt` with values put in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pymer4
from pymer4.data.columns import Column
from pymer4.errors import FileError, MissingFileError, OptionError, shown
from pymer4.rbridge.machine import resource_path

_CLASSES = {"double": "numeric", "integer": "integer", "logical": "logical", "factor": "character"}
_RESERVED = re.compile("if|else|repeat|while|function|for|next|break|TRUE|FALSE|NULL|Inf|NaN|NA|in")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_WIDTH = 70


@dataclass(frozen=True, slots=True)
class Script:
    """What a script is made of.

    Attributes:
        title: what was fitted.
        columns: the data, by name, shape (n,) each.
        body: the text from the data on.
        packages: those that are attached.
        versions: package, and R itself, to the version that fitted; empty where none did.
        contrasts: factor to its coding matrix, shape (levels, k), and the names of its columns.
        matrices: name of a matrix to the columns of the data that it is made of.
        missing: what the script does not give, in sentences.
    """

    title: str
    columns: Mapping[str, Column]
    body: Sequence[str]
    packages: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=dict)
    contrasts: Mapping[str, tuple[np.ndarray, Sequence[str]]] = field(default_factory=dict)
    matrices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def written(self, script: str, csv: str) -> tuple[str, bytes]:
        """Return the text of the script, and the CSV, by the names that they will have."""
        content, missing = _csv(self.columns)
        writer = f"pymer4 {pymer4.__version__}"
        if not self.versions:
            writer += f", which fitted with NumPy {np.__version__} and patsy {metadata.version('patsy')}, without R"
        parts = [fragment("head", title=self.title, writer=writer, script=literal(script), csv=literal(csv))]
        parts += [f"# Not here: {' '.join(text.split())}\n" for text in self.missing]
        if self.versions:
            r, others = self.versions["R"], {name: v for name, v in self.versions.items() if name != "R"}
            told = ", ".join(f"{name} = {literal(version)}" for name, version in others.items())
            parts.append(fragment("versions", r=literal(r), versions=told))
        if self.packages:
            parts.append(fragment("packages", packages=vector(self.packages)))
        kinds = [_CLASSES[column.kind] for column in self.columns.values()]
        told_as = {"csv": literal(csv), "md5": literal(hashlib.md5(content, usedforsecurity=False).hexdigest())}
        told_as |= {"names": vector(self.columns), "classes": vector(kinds), "missing": literal(missing)}
        parts += [fragment("options"), fragment("data", **told_as)]
        parts.append("".join(self._prepared()))
        return "\n".join(filter(None, [*parts, *self.body])), content

    def _prepared(self) -> Iterable[str]:
        for name, column in self.columns.items():
            if column.kind == "factor":
                kind = "ordered" if column.ordered else "factor"
                yield fragment(kind, name=literal(name), levels=vector(column.levels))
        for name, (matrix, names) in self.contrasts.items():
            values = vector(np.asarray(matrix, dtype=float).ravel(order="F"))
            told = {"name": literal(name), "values": values, "rows": str(len(matrix)), "columns": vector(names)}
            yield fragment("contrasts", **told)
        for name, parts in self.matrices.items():
            yield fragment("matrix", name=literal(name), parts=vector(parts))


# ------------------------------------------------------------------ R's spelling


@cache
def _fragments() -> dict[str, str]:
    parts = re.split(r"^#### (.+)\n", (resource_path() / "scripts.txt").read_text("utf-8"), flags=re.MULTILINE)
    return {name: text.rstrip("\n") + "\n" for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def fragment(name: str, /, **values: str) -> str:
    """Return a piece of `R/scripts.txt` with values, as R spells them, in their places."""
    return re.sub(r"@(\w+)@", lambda place: values[place[1]], _fragments()[name])


def literal(value: Any) -> str:
    """Return a text, number, truth value, None, list or dict as R spells it.

    Examples:
        >>> literal({"maxfun": 20000, "tol": 1e-8, "method": "PQL"})
        'list(maxfun = 20000L, tol = 1e-08, method = "PQL")'
    """
    if value is None:
        return "NULL"
    if isinstance(value, (bool, np.bool_)):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return f'"{"".join(_escaped(char) for char in value)}"'
    if isinstance(value, (int, np.integer)):
        return f"{int(value)}L" if abs(int(value)) < 2**31 else f"{float(value)!r}"
    if isinstance(value, (float, np.floating)):
        return re.sub("^(-?)inf$", r"\1Inf", repr(float(value)).removesuffix(".0")).replace("nan", "NaN")
    if isinstance(value, Mapping):
        return f"list({arguments(**{symbol(str(name)): literal(each) for name, each in value.items()})})"
    return vector(list(value))


def vector(values: Iterable[Any]) -> str:
    """Return several values of one kind as an R vector, broken into lines where it is long."""
    told = [literal(value) for value in values]
    if len(told) == 1:
        return told[0]
    lines, width = [""], 0
    for each in told:
        if width + len(each) > _WIDTH and lines[-1]:
            lines, width = [*lines, "    "], 0
        lines[-1] += f"{each}, "
        width += len(each) + 2
    return "c(" + "\n".join(line.rstrip() for line in lines).rstrip(",") + ")"


def arguments(**given: str) -> str:
    """Return the arguments of a call, each in R's spelling."""
    return ", ".join(f"{name} = {value}" for name, value in given.items())


def symbol(name: str) -> str:
    """Return a name as R's formulas and calls spell it.

    Examples:
        >>> symbol("x"), symbol("my var")
        ('x', '`my var`')
    """
    if re.fullmatch(r"([A-Za-z]|\.(?!\d))[A-Za-z0-9._]*", name) and not _RESERVED.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _escaped(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    code = ord(char)
    if 32 <= code < 127:
        return char
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken, made of one."""
    known = set(taken)
    while name in known:
        name = f".{name}"
    return name


def _csv(columns: Mapping[str, Column]) -> tuple[bytes, str]:
    """Return the columns as a CSV, numbers to their last bit, and what stands for a missing value there."""
    levels = {level.strip() for column in columns.values() for level in column.levels}
    missing = free_name("NA", levels)
    told = pd.DataFrame({place: _shown(column) for place, column in enumerate(columns.values())})
    return told.to_csv(index=False, header=list(columns), na_rep=missing, lineterminator="\n").encode(), missing


def _shown(column: Column) -> Any:
    if column.kind == "double":
        return column.values
    if column.kind == "integer":
        return pd.arrays.IntegerArray(column.values.astype(np.int64), column.missing.copy())
    names = column.levels if column.kind == "factor" else ("FALSE", "TRUE")
    codes = np.where(column.missing, len(names), column.values - (column.kind == "factor"))
    return np.append(np.array(names, dtype=object), None)[codes]


# ------------------------------------------------------------------ the two files


def checked_path(path: Any) -> Path:
    """Return the path of a script, or refuse it."""
    try:
        found = Path(os.fsdecode(path))
    except TypeError as error:
        raise OptionError(f"path has to be a str or a Path, not a {type(path).__name__}.") from error
    if found.suffix not in (".R", ".r") or "\0" in str(found):
        raise OptionError(f"path={str(found)!r} has to end in .R, such as 'model.R'. The data go to a .csv beside it.")
    try:
        there = found.parent.is_dir()
    except OSError as error:  # a path that is too long
        raise FileError(f"{shown(str(found))} can't be written: {error.strerror or error}.") from error
    if not there:
        raise MissingFileError(f"{found} can't be written: there is no directory {found.parent}. Make it first.")
    return found


def write(path: Path, script: Script) -> None:
    """Write a script and its CSV, both or none; a CSV that belongs to no script of this name is not overwritten.

    The script knows the check sum of its CSV, so that a pair torn by a power cut does not run.
    """
    csv = path.with_suffix(".csv")
    text, content = script.written(path.name, csv.name)
    fresh = [path.with_name(f"{each.name}.{os.getpid()}.new") for each in (csv, path)]
    try:
        before = csv.read_bytes() if csv.exists() else None
        if before is not None and not path.exists():
            raise FileError(f"{csv} is there, and {path.name} is not: it may be your data. Choose another name.")
        for each, bytes_ in zip(fresh, (content, text.encode()), strict=True):
            each.unlink(missing_ok=True)  # what lies there may be somebody's link
            with open(each, "xb") as file:
                file.write(bytes_)
        os.replace(fresh[0], csv)
        try:
            os.replace(fresh[1], path)
        except BaseException:
            csv.unlink() if before is None else csv.write_bytes(before)
            raise
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} can't be written: {error.strerror or error}. What was there is unharmed.") from error
    finally:
        for each in fresh:
            with contextlib.suppress(OSError):
                each.unlink()
