"""Models in files: `save_model` and `load_model`.

A model is an HDF5 file in the layout of the 0.7 line, and for a fitted `Lmer` the R object beside it, as `saveRDS`
writes it. `h5tree` knows the file, `frames` and `plain` what stands where in it, `pair` how two files change at once.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pymer4
from pymer4 import models
from pymer4.errors import (
    FileError,
    MissingFileError,
    ModelWarning,
    OptionError,
    check_keywords,
    count,
    issue,
    one_of,
    truth,
)
from pymer4.models.base import Model
from pymer4.models.lmer_state import RObject
from pymer4.storage import h5tree, h5write, legacy, pair, plain, unpickle
from pymer4.storage.pair import Signature
from pymer4.storage.seal import seal_holds, sealed

__all__ = ["load_model", "save_model"]

Compression = Literal["zlib", "blosc"]

_FORMAT = 1
_LAYOUT = 12  # of deepdish
_LEVEL = 4
_LARGE, _SHARE = 2**20, 1.1  # bytes, and share of the data: beyond both a design is left out, to be made anew
_BLOSC, _OPTIONAL = 32001, 1  # its number among the filters of HDF5, and the flag of those a file can do without
_ATTEMPTS = 10


def save_model(
    model: Model, filepath: str | os.PathLike, compression: Compression | None = "zlib", **kwargs: Any
) -> None:
    """Save a model, fitted or not, with its data, tables, warnings and settings.

    `x.h5` goes with `x.robj`, the R object of a fitted `Lmer`, which R's `readRDS` opens. Both change at once: a save
    that is interrupted leaves the model that was there before.

    Args:
        model: an `Lmer`, `Lm` or `Lm2`.
        filepath: where to; it ends in `.h5` or `.hdf5`. What is there is replaced.
        compression: `"zlib"`, `"blosc"` (faster; needs the package hdf5plugin to write and to read, and without it
            gives way to zlib with a warning), or None.
        **kwargs: `complevel`, 0 (none) to 9 (most); 4 by default.

    Raises:
        OptionError: another suffix, or an argument out of its range.
        DataError: an attribute, or a column of the data, that no file holds; which one.
        FileError: the file can't be written; what was there before is unharmed.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pymer4 import Lmer, load_dataset, load_model, save_model
        >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
        >>> _ = model.fit(summarize=False)
        >>> file = Path(tempfile.mkdtemp()) / "sleep.h5"
        >>> save_model(model, file)
        >>> load_model(file).coefs["Estimate"].round(3).to_dict()
        {'(Intercept)': 251.405, 'Days': 10.467}
    """
    check_keywords(kwargs, ("complevel",), save_model)
    path, name = pair.checked_path(filepath), _class_name(model)
    level = _level(compression, kwargs.get("complevel", _LEVEL))
    filters = _filters(compression, level)
    pair.check_place(path)
    state, saved = _state(model)
    with ThreadPoolExecutor(1) as pool:
        # zlib lets other threads run, so that the R object is compressed while the tables are.
        packed = pool.submit(_robj, saved, path, level)
        content = _content_of(state, name, model, filters, lambda: _marks(packed.result()))
        robj = packed.result()
    pair.exchange(path, sealed(content), robj, _named)


def load_model(filepath: str | os.PathLike, *, allow_missing_r: bool = False) -> Model:
    """Load a model that `save_model` saved, here or in release 0.7.

    R is started when the R object of an `Lmer` is first needed: tables can be read, and fits and predictions of `Lm`
    and `Lm2` work, on a machine without it. Load files that you trust: formulas are code, and so are R objects.

    Args:
        filepath: the `.h5`; the `.robj` (of release 0.7 the `.rds`) lies beside it.
        allow_missing_r: load the tables also where the R object is missing or foreign; what needs it then says so.

    Returns:
        The model, as it was saved.

    Raises:
        MissingFileError: there is no such file, or its R object is missing.
        FileError: it is damaged, no model file, or of a newer version; or its R object is foreign.
        OptionError: another suffix.
    """
    path = pair.checked_path(filepath)
    truth("allow_missing_r", allow_missing_r)
    for _ in range(_ATTEMPTS):
        content = _content(path)
        marks, tree = _opened(path, content)
        if "FORMAT" not in marks:
            return legacy.model(tree, path, allow_missing_r)
        wanted = _signature(marks)
        robj = None if wanted is None else pair.robj_of(path, wanted)
        if wanted is None or robj is not None:
            pair.settle(path, _named)
            return _model(path, tree, robj)
        if _content(path) == content:
            break
    if not allow_missing_r:
        raise pair.no_robj(path, wanted)
    return _model(path, tree, None)


# ------------------------------------------------------------------ saving


def _class_name(model: Any) -> str:
    name = type(model).__name__
    if not isinstance(model, Model) or getattr(models, name, None) is not type(model):
        raise OptionError(
            f"save_model() takes {' and '.join(models.__all__)} models, not a {name}. pickle and joblib keep models of "
            "your own classes."
        )
    return name


def _level(compression: Any, complevel: Any) -> int:
    one_of("compression", compression, ("zlib", "blosc", None))
    level = count("complevel", complevel, least=0)
    if level > 9:
        raise OptionError(f"complevel={level} is not a whole number from 0 to 9.")
    return 0 if compression is None else level


def _state(model: Model) -> tuple[dict[str, Any], RObject | None]:
    """Return what a file keeps of a model, and its R object."""
    state = model.__getstate__()
    saved = state.pop("_saved", None)
    if saved is not None and saved.is_foreign:
        saved = model._r_object(own=True)
    for attribute, (written, _) in type(model)._PLAIN.items():
        if attribute in state:
            state[attribute] = written(state[attribute])
    return state, saved


def _content_of(
    state: dict[str, Any],
    name: str,
    model: Model,
    filters: Callable[[Any], None] | None,
    marks: Callable[[], dict[str, str | int]],
) -> bytes:
    """Return the content of the `.h5`, with the tables that the model can show where they do not make it too large."""
    shown, records = _shown(model), type(model)._RECORDS
    content = h5write.write(plain.to_tree(state | shown, name, records), marks, filters)
    if shown and _LARGE < len(content) > _SHARE * model.data.memory_usage(deep=True).sum():
        content = h5write.write(plain.to_tree(state, name, records), marks, filters)
    return content


def _marks(robj: bytes | None) -> dict[str, str | int]:
    made: dict[str, str | int] = {"FORMAT": _FORMAT, "WRITTEN_BY": f"pymer4 {pymer4.__version__}"}
    if robj is None:
        return made
    told = pair.signature(robj)
    return made | {"ROBJ_SIZE": told.size, "ROBJ_SHA256": told.sha256}


def _robj(saved: RObject | None, path: Path, level: int) -> bytes | None:
    """Return the content of the `.robj`."""
    if saved is None:
        return None
    if saved.content is None:
        raise MissingFileError(
            f"{path} can't be written: the model was loaded without its R object, since {saved.source} was not there. "
            "Load it again with that file in its place, or fit it again with .fit()."
        )
    if level == 0 or saved.content[:2] == b"\x1f\x8b":
        return saved.content
    return gzip.compress(saved.content, compresslevel=1, mtime=0)


def _shown(model: Model) -> dict[str, Any]:
    """Return the tables that are properties of the model, as far as they cost no start of R."""
    if not model.fitted:
        return {}
    found = {}
    for name, kept in type(model)._SHOWN.items():
        if kept is None or model.__dict__.get(kept) is not None or "_handle" in model.__dict__:
            found[name] = getattr(model, name)
    return found


def _filters(compression: str | None, level: int) -> Callable[[Any], None] | None:
    """Return what sets the compression of a dataset; zlib for blosc, after a warning, where that is not to be had."""
    if compression is None or level == 0:
        return None
    if compression == "blosc":
        try:
            import hdf5plugin
        except ImportError:
            text = (
                "compression='blosc' needs the package hdf5plugin (pip install hdf5plugin): the file is saved by zlib."
            )
            issue(text, ModelWarning)
        else:
            options = hdf5plugin.Blosc(cname="blosclz", clevel=level)["compression_opts"]
            return lambda plist: plist.set_filter(_BLOSC, _OPTIONAL, options)

    def zlib_filters(plist: Any) -> None:
        plist.set_shuffle()
        plist.set_deflate(level)

    return zlib_filters


# ------------------------------------------------------------------ loading


def _content(path: Path) -> bytes:
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "no regular file"
            raise FileError(f"{path} is {what}, not a model file. Give the .h5 that save_model() wrote.")
        return path.read_bytes()
    except FileNotFoundError as error:
        left = path.with_name(f"{path.name}.new").exists()
        hint = " A first save of it was interrupted: save the model again." if left else ""
        raise MissingFileError(f"There is no file {path}. Look for it with Path.glob('*.h5').{hint}") from error
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror or error}. See who may read it.") from error


def _opened(path: Path, content: bytes, marks_only: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the marks and the tree of a model file."""
    import h5py

    if not content.startswith(b"\x89HDF\r\n\x1a\n"):
        raise FileError(
            f"{path} is no model file: it is not HDF5. Give the .h5 that save_model() wrote, or one of release 0.7."
        )
    seal = seal_holds(content)
    if seal is False:
        raise _damaged(path, "its check sum is another than that of what was saved")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            marks = h5tree.marks(file)
            _check_versions(path, marks)
            if seal is None and "FORMAT" in marks:
                raise FileError("its check sum is missing")
            if marks_only:
                return marks, {}
            return marks, h5tree.read_model(file, path, None if "FORMAT" in marks else unpickle.unpickled)
    except FileError as error:
        raise (error if str(path) in str(error) else _damaged(path, error)) from error
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise _damaged(path, error) from error


def _check_versions(path: Path, marks: dict[str, Any]) -> None:
    if marks["VERSION"] is None:
        raise FileError(
            f"{path} is no model file: it is HDF5, but not in the layout of one. Give the .h5 that save_model() wrote."
        )
    newer = marks.get("FORMAT", 0) > _FORMAT or marks["VERSION"] > _LAYOUT
    if newer:
        by = marks.get("WRITTEN_BY", f"a newer version (layout {marks['VERSION']})")
        raise FileError(
            f"{path} was written by {by}, in a format that pymer4 {pymer4.__version__} does not know. Upgrade pymer4: "
            "pip install -U pymer4."
        )


def _damaged(path: Path, error: Exception | str) -> FileError:
    return FileError(f"{path} can't be read as a model: {error}. Take it from a backup, or save the model again.")


def _signature(marks: dict[str, Any]) -> Signature | None:
    return Signature(marks["ROBJ_SIZE"], marks["ROBJ_SHA256"]) if "ROBJ_SIZE" in marks else None


def _named(path: Path) -> Signature | None:
    """Return the signature of the R object that an `.h5` names."""
    return _signature(_opened(path, _content(path), marks_only=True)[0])


def _model(path: Path, tree: dict[str, Any], robj: bytes | None) -> Model:
    name = tree["simple_atts"].get(plain.CLASS)
    kind = getattr(models, str(name), None) if name in models.__all__ else None
    if kind is None:
        raise FileError(f"{path} holds a model of class {name!r}; there are {', '.join(models.__all__)}.")
    try:
        return _made(kind, tree, RObject(robj, str(pair.partner(path))))
    except (FileError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
        raise _damaged(path, error) from error


def _made(kind: type[Model], tree: dict[str, Any], saved: RObject) -> Model:
    """Return the model that a tree holds."""
    state = plain.from_tree(tree, kind._RECORDS)
    for attribute, (_, read) in kind._PLAIN.items():
        if attribute in state:
            state[attribute] = read(state[attribute])
    for table, kept in kind._SHOWN.items():
        held = state.pop(table, None)
        if kept is not None:
            state[kept] = held
    if state.get("fitted") and hasattr(kind, "_r_object"):
        state["_saved"] = saved
    made = kind.__new__(kind)
    made.__setstate__(state)
    return made
