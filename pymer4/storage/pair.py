"""Two files that belong together, exchanged so that one good pair is there at every moment.

`x.h5` ends with a seal, where readers of HDF5 do not look: the SHA-256 of its `x.robj`, and that of all before. A save
writes `x.robj.new` and `x.h5.new`, renames the latter, which is the commit, then the former. Wherever that stops, the
`x.h5` that is there names one of `.robj` and `.robj.new`, and who comes next takes the last step.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pymer4.errors import FileError, MissingFileError, OptionError

_PATIENCE = 60.0  # seconds that a save waits for another one
_ATTEMPTS = 10  # to read a pair that others save meanwhile
_SEAL = b"\npymer4-sha256"
_DIGEST = 32  # bytes


def digest(content: bytes) -> bytes:
    """Return what tells a file of this content from all others; that of nothing stands for no file."""
    return hashlib.sha256(content).digest()


NO_FILE = digest(b"")


def sealed(content: bytes, robj: bytes) -> bytes:
    """Return the content of an `.h5` with its seal behind it; `robj` is empty where it has no R object."""
    content += _SEAL + digest(robj)
    return content + digest(content)


def named(content: bytes) -> bytes | None:
    """Return the digest of the R object that an `.h5` names, None where it bears no seal; or a ValueError."""
    seal = content[-len(_SEAL) - 2 * _DIGEST :]
    if not seal.startswith(_SEAL):
        return None
    if digest(content[:-_DIGEST]) != seal[-_DIGEST:]:
        raise ValueError("its check sum is another than that of what was saved")
    return seal[len(_SEAL) : -_DIGEST]


def checked_path(filepath: str | os.PathLike[str]) -> Path:
    """Return the path of an `.h5` file, or refuse it."""
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


def check_place(path: Path) -> None:
    """Refuse a path that is a directory, or is in none, or whose name is too long for all files of a save."""
    try:
        os.lstat(partner(path, ".new"))
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            raise FileError(f"{path} can't be written: {error.strerror}. Choose a shorter name.") from error
    if not os.path.isdir(path.parent):
        raise MissingFileError(
            f"{path} can't be written: there is no directory {path.parent}. Make it first, with "
            f"Path({str(path.parent)!r}).mkdir(parents=True)."
        )
    if os.path.isdir(path):
        raise FileError(f"{path} can't be written: it is a directory. Choose another name.")


def exchange(path: Path, content: bytes, robj: bytes | None) -> None:
    """Put an `.h5` of this content, and its `.robj`, if any, in the place of the pair that is there, or of nothing."""
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
                elif before is not None and _content(kept, before):
                    _remove(kept)
                _sync(path.parent)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} can't be written: {error.strerror or error}. {_advice(error)} What was saved there before is "
            "unharmed."
        ) from error


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


def read(path: Path) -> tuple[bytes, bytes | None, bytes | None]:
    """Return what an `.h5` holds, the digest that it names, and its R object: empty for none, None where not there."""
    robj, content = None, b""
    for _ in range(_ATTEMPTS):
        before, content = content, _read(path)
        wanted = named(content)
        if wanted is None or content == before:
            break
        # In this order: while it is looked for, a save may rename the one to the other.
        robj = b"" if wanted == NO_FILE else _content(partner(path, ".new"), wanted) or _content(partner(path), wanted)
        if robj is not None:
            break
    if robj is not None and any(map(os.path.exists, (partner(path, ".new"), new(path)))):
        # The pair is read: what can't be tidied up now does no harm, and is met again by the next save.
        with contextlib.suppress(OSError), _alone(path, patience=0.0):
            _settled(path)
            _remove(partner(path, ".new"), new(path))
    return content, wanted, robj


def no_robj(path: Path) -> FileError:
    """Return the error that says what is in the place of the R object that an `.h5` names."""
    kept = partner(path)
    load = "Load the tables alone with load_model(..., allow_missing_r=True)."
    if not kept.exists():
        return MissingFileError(f"{kept}, the R object that belongs to {path}, is not there. Put it back. {load}")
    return FileError(
        f"{kept} is foreign: it is not the R object that was saved with {path} (its SHA-256 is another). Put the right "
        f"file in its place. {load}"
    )


def _read(path: Path) -> bytes:
    if os.path.exists(path) and not os.path.isfile(path):
        what = "a directory" if path.is_dir() else "no regular file"
        raise FileError(f"{path} is {what}, not a model file. Give the .h5 that save_model() wrote.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        hint = " A first save of it was interrupted: save the model again." if new(path).exists() else ""
        raise MissingFileError(f"There is no file {path}. Look for it with Path.glob('*.h5').{hint}") from error
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror or error}. See who may read it.") from error


def _settled(path: Path) -> bytes | None:
    """Take the last step of an interrupted save; returns the digest that the `.h5` names."""
    try:
        wanted = named(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    written = partner(path, ".new")
    if wanted is not None and not written.is_symlink() and _content(written, wanted):
        os.replace(written, partner(path))
        _sync(path.parent)
    return wanted


# ------------------------------------------------------------------ files


def _content(path: Path, wanted: bytes) -> bytes | None:
    """Return the content of a file with this digest, None where it is not there or another."""
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes() if path.is_file() else b""
        if digest(content) == wanted:
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
    handle, end = os.open(path.parent, os.O_RDONLY), time.monotonic() + patience
    try:
        while not _locked(handle):
            if time.monotonic() >= end:
                raise FileError(
                    f"{path} can't be written: another process has been saving into {path.parent} for {patience:g} "
                    "seconds. Wait for it, or save to another directory."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOTSUP):
            raise
    return True
