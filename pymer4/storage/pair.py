"""Two files that belong together, exchanged so that one good pair is there at every moment.

`x.h5` names the size and the SHA-256 of its `x.robj`. A save writes `x.robj.new` and `x.h5.new`, and renames `x.robj`
to `x.robj.old`, `x.robj.new` to `x.robj`, and last `x.h5.new` to `x.h5`: that is the commit. Then `x.robj.old` goes.
Wherever that stops, the `x.h5` that is there names one of `.robj`, `.robj.old` and `.robj.new`, and the step is
finished, or taken back, by who comes next. Saves into one directory wait for one another.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pymer4.errors import FileError, MissingFileError, OptionError

SUFFIXES = (".h5", ".hdf5")
_PATIENCE = 60.0  # seconds that a save waits for another one


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells a file from all others.

    Attributes:
        size: in bytes.
        sha256: hexadecimal digest.
    """

    size: int
    sha256: str


def signature(content: bytes) -> Signature:
    """Return the signature of a file with this content."""
    return Signature(len(content), hashlib.sha256(content).hexdigest())


def checked_path(filepath: str | os.PathLike) -> Path:
    """Return the path of an `.h5` file.

    Raises:
        OptionError: it is no path, or has another suffix.
    """
    try:
        path = Path(os.fsdecode(filepath))
    except TypeError as error:
        raise OptionError(f"filepath has to be a str or a Path, not a {type(filepath).__name__}.") from error
    if "\0" in str(path):
        raise FileError(f"filepath={str(path)!r} has a NUL in it, which no file's name can have.")
    if path.suffix.lower() not in SUFFIXES or not path.stem:
        raise OptionError(
            f"filepath={str(path)!r} has to end in .h5 or .hdf5; {str(path) + '.h5'!r} would do. The R object of an "
            "Lmer goes into a file of the same name that ends in .robj."
        )
    return path


def partner(path: Path, ending: str = "") -> Path:
    """Return the path of the `.robj` that goes with an `.h5`; `ending` is `.old` or `.new`."""
    return path.with_name(f"{path.stem}.robj{ending}")


# ------------------------------------------------------------------ saving


def exchange(path: Path, content: bytes, robj: bytes | None, named: Callable[[Path], Signature | None]) -> None:
    """Put a pair in the place of the one that is there, or of nothing.

    Args:
        path: the `.h5`.
        content: what it is to hold; it names the signature of `robj`.
        robj: what the `.robj` is to hold; None for an `.h5` on its own.
        named: returns the signature that an `.h5` names, None where it names none, and raises FileError where it
            can't be read.

    Raises:
        FileError: it could not be written; what was there before is unharmed.
    """
    check_place(path)
    try:
        with _alone(path):
            before = _settled(path, named)
            _require_no_stranger(path, robj)
            try:
                _write_all(path, content, robj)
            except BaseException:
                _remove(partner(path, ".new"), _new(path))
                raise
            _commit(path, robj, before)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} can't be written: {error.strerror or error}. {_advice(error)} What was saved there before is "
            "unharmed."
        ) from error


def check_place(path: Path) -> None:
    """Refuse a path where no file can be.

    Raises:
        FileError: it is a directory, or is in none, or its name is too long.
    """
    try:
        path.with_name(f"{path.name}.new").stat()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            raise FileError(f"{path} can't be written: {error.strerror}. Choose a shorter name.") from error
    if not path.parent.is_dir():
        raise MissingFileError(
            f"{path} can't be written: there is no directory {path.parent}. Make it first, with "
            f"Path({str(path.parent)!r}).mkdir(parents=True)."
        )
    if path.is_dir():
        raise FileError(f"{path} can't be written: it is a directory. Choose another name.")


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _write_all(path: Path, content: bytes, robj: bytes | None) -> None:
    if robj is not None:
        _write(partner(path, ".new"), robj)
    _write(_new(path), content)


def _write(path: Path, content: bytes) -> None:
    """Write a new file. What lies at its name, which may be somebody's link, is removed and not followed."""
    _remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _commit(path: Path, robj: bytes | None, before: Signature | None) -> None:
    kept, old = partner(path), partner(path, ".old")
    if robj is not None:
        if kept.exists():
            os.replace(kept, old)
        os.replace(partner(path, ".new"), kept)
        _sync(path.parent)
    os.replace(_new(path), path)
    _sync(path.parent)
    _remove(old)
    if robj is None and before is not None and _content(kept, before) is not None:
        _remove(kept)


def _require_no_stranger(path: Path, robj: bytes | None) -> None:
    """Refuse to write over an `.robj` that belongs to no `.h5`."""
    kept = partner(path)
    if robj is not None and kept.exists() and not path.exists() and not _new(path).exists():
        raise FileError(
            f"{path} can't be written: its R object would take the place of {kept}, which no {path.name} belongs to. "
            "Move that file away, or save under another name."
        )


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Make room, or save to another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Save to a directory that you may write to."
    return "Save under another name, or to another directory."


# ------------------------------------------------------------------ loading


def robj_of(path: Path, wanted: Signature) -> bytes | None:
    """Return the content of whichever file has the signature that an `.h5` names; None where none has."""
    for ending in ("", ".old", ".new"):
        content = _content(partner(path, ending), wanted)
        if content is not None:
            return content
    return None


def no_robj(path: Path, wanted: Signature) -> FileError:
    """Return the error that says which file is in the place of the one that an `.h5` names."""
    kept = partner(path)
    load = "Load the tables alone with load_model(..., allow_missing_r=True)."
    if not kept.exists():
        return MissingFileError(f"{kept}, the R object that belongs to {path}, is not there. Put it back. {load}")
    size = kept.stat().st_size
    what = f"it has {size} bytes, not {wanted.size}" if size != wanted.size else "its SHA-256 is another"
    return FileError(
        f"{kept} is foreign: it is not the R object that was saved with {path} ({what}). Put the right file in its "
        f"place. {load}"
    )


def settle(path: Path, named: Callable[[Path], Signature | None]) -> None:
    """Finish what an interrupted save left, unless a save is under way or the directory can't be written to."""
    if not any(leftover.exists() for leftover in (partner(path, ".old"), partner(path, ".new"), _new(path))):
        return
    # The pair was read already: what can't be tidied up here does no harm, and is met again by the next save.
    with contextlib.suppress(OSError), _alone(path, patience=0.0):
        _settled(path, named)
        _remove(_new(path))


def _settled(path: Path, named: Callable[[Path], Signature | None]) -> Signature | None:
    """Finish or take back an interrupted save; returns the signature that the `.h5` names."""
    if not path.exists():
        return None
    try:
        wanted = named(path)
    except FileError:
        return None
    kept, old, new = (partner(path, ending) for ending in ("", ".old", ".new"))
    if wanted is None:
        _remove(new)
    elif _content(kept, wanted) is not None:
        _remove(old, new)
    elif _content(old, wanted) is not None:
        os.replace(old, kept)
        _remove(new)
    elif _content(new, wanted) is not None and not new.is_symlink():
        os.replace(new, kept)
    _sync(path.parent)
    return wanted


# ------------------------------------------------------------------ files


def _content(path: Path, wanted: Signature) -> bytes | None:
    """Return the content of a file with this signature, None where it is not there or another."""
    try:
        if path.stat().st_size != wanted.size:
            return None
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content if signature(content) == wanted else None


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Make renames last through a loss of power, where directories can be opened."""
    if os.name == "posix":
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _alone(path: Path, patience: float | None = None) -> Iterator[None]:
    """Keep other saves into the same directory waiting; file systems without locks let them through."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(path.parent, os.O_RDONLY)
    try:
        patience = _PATIENCE if patience is None else patience
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise FileError(
                        f"{path} can't be written: another process has been saving into {path.parent} for "
                        f"{patience:g} seconds. Wait for it, or save to another directory."
                    ) from None
                time.sleep(0.02)
                continue
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOTSUP):
                    raise
            break
        yield
    finally:
        os.close(handle)
