"""Two files that belong together, exchanged so that one good pair is there at every moment.

`x.h5` ends with a seal, where readers of HDF5 do not look: size and SHA-256 of its `x.robj`, and the SHA-256 of all
before. A save writes `x.robj.new` and `x.h5.new`, renames `x.h5.new` to `x.h5`, which is the commit, and then
`x.robj.new` to `x.robj`. Wherever that stops, the `x.h5` that is there names one of `.robj` and `.robj.new`, and who
comes next takes the last step. Saves into one directory wait for one another.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pymer4.errors import FileError, MissingFileError, OptionError

_PATIENCE = 60.0  # seconds that a save waits for another one
_SEAL = b"\npymer4-sha256"
_NUMBER, _DIGEST = 8, 32  # bytes


class Signature(NamedTuple):
    """What tells a file from all others: its size in bytes, 0 for no file, and its SHA-256."""

    size: int
    sha256: bytes


def signature(content: bytes) -> Signature:
    """Return the signature of a file with this content."""
    return Signature(len(content), hashlib.sha256(content).digest())


def sealed(content: bytes, robj: bytes) -> bytes:
    """Return the content of an `.h5` with its seal behind it; `robj` is empty where it has no R object."""
    told = signature(robj)
    content += _SEAL + told.size.to_bytes(_NUMBER, "big") + told.sha256
    return content + hashlib.sha256(content).digest()


def named(content: bytes) -> Signature | None:
    """Return the signature of the R object that an `.h5` names; None where it bears no seal.

    Raises:
        ValueError: it is not as it was sealed.
    """
    seal = content[-len(_SEAL) - _NUMBER - 2 * _DIGEST :]
    if not seal.startswith(_SEAL):
        return None
    if hashlib.sha256(content[:-_DIGEST]).digest() != seal[-_DIGEST:]:
        raise ValueError("its check sum is another than that of what was saved")
    told = seal[len(_SEAL) : -_DIGEST]
    return Signature(int.from_bytes(told[:_NUMBER], "big"), told[_NUMBER:])


def checked_path(filepath: str | os.PathLike) -> Path:
    """Return the path of an `.h5` file.

    Raises:
        OptionError: it is no path, or has another suffix.
        FileError: no file can have that name.
    """
    try:
        path = Path(os.fsdecode(filepath))
    except TypeError as error:
        raise OptionError(f"filepath has to be a str or a Path, not a {type(filepath).__name__}.") from error
    if "\0" in str(path):
        raise FileError(f"filepath={str(path)!r} has a NUL in it, which no file's name can have.")
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.stem:
        raise OptionError(
            f"filepath={str(path)!r} has to end in .h5 or .hdf5; {str(path) + '.h5'!r} would do. The R object of an "
            "Lmer goes into a file of the same name that ends in .robj."
        )
    return path


def partner(path: Path, ending: str = "") -> Path:
    """Return the path of the `.robj` that goes with an `.h5`; `ending` may be `.new`."""
    return path.with_name(f"{path.stem}.robj{ending}")


def new(path: Path) -> Path:
    """Return the name of an `.h5` while it is written."""
    return path.with_name(f"{path.name}.new")


# ------------------------------------------------------------------ saving


def exchange(path: Path, content: bytes, robj: bytes | None) -> None:
    """Put a pair in the place of the one that is there, or of nothing.

    Args:
        path: the `.h5`.
        content: what it is to hold before its seal.
        robj: what the `.robj` is to hold; None for an `.h5` on its own.

    Raises:
        FileError: it could not be written; what was there before is unharmed.
    """
    check_place(path)
    kept, written = partner(path), partner(path, ".new")
    try:
        with _alone(path, _PATIENCE):
            before = _settled(path)
            if robj is not None and kept.exists() and not path.exists():
                raise FileError(
                    f"{path} can't be written: its R object would take the place of {kept}, which no {path.name} "
                    "belongs to. Move that file away, or save under another name."
                )
            try:
                if robj is not None:
                    _write(written, robj)
                _write(new(path), sealed(content, robj or b""))
            except BaseException:
                _remove(written, new(path))
                raise
            os.replace(new(path), path)
            with contextlib.suppress(OSError):  # the pair is good: what fails here is left to who comes next
                _sync(path.parent)
                if robj is not None:
                    os.replace(written, kept)
                elif before is not None and _content(kept, before) is not None:
                    _remove(kept)
                _sync(path.parent)
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
        new(path).stat()
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


def _write(path: Path, content: bytes) -> None:
    """Write a new file. What lies at its name, which may be somebody's link, is removed and not followed."""
    _remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Make room, or save to another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Save to a directory that you may write to."
    return "Save under another name, or to another directory."


# ------------------------------------------------------------------ loading


def robj_of(path: Path, wanted: Signature) -> bytes | None:
    """Return the content of the file whose signature an `.h5` names; None where it is not there, empty for no file."""
    if not wanted.size:
        return b""
    # In this order: while it is looked for, a save may rename the one to the other.
    return _content(partner(path, ".new"), wanted) or _content(partner(path), wanted)


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


def settle(path: Path) -> None:
    """Finish what an interrupted save left, unless a save is under way or the directory can't be written to."""
    if partner(path, ".new").exists() or new(path).exists():
        # The pair was read already: what can't be tidied up here does no harm, and is met again by the next save.
        with contextlib.suppress(OSError), _alone(path, patience=0.0):
            _settled(path)
            _remove(partner(path, ".new"), new(path))


def _settled(path: Path) -> Signature | None:
    """Take the last step of an interrupted save; returns the signature that the `.h5` names."""
    try:
        wanted = named(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    written = partner(path, ".new")
    if wanted is not None and not written.is_symlink() and _content(written, wanted) is not None:
        os.replace(written, partner(path))
        _sync(path.parent)
    return wanted


# ------------------------------------------------------------------ files


def _content(path: Path, wanted: Signature) -> bytes | None:
    """Return the content of a file with this signature, None where it is not there or another."""
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes() if wanted.size and path.stat().st_size == wanted.size else b""
        if content and signature(content) == wanted:
            return content
    return None


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
def _alone(path: Path, patience: float) -> Iterator[None]:
    """Keep other saves into the same directory waiting; file systems without locks let them through."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle, end = os.open(path.parent, os.O_RDONLY), time.monotonic() + patience
    try:
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
