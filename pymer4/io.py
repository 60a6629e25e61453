"""Models in files: `save_model` and `load_model`.

A model is an HDF5 file in the layout of the 0.7 line, and for a fitted `Lmer` the R object beside it, as `saveRDS`
writes it. `tree` knows the file, `state` and `cells` what stands where in it, `pair` how two files change at once.
"""

from __future__ import annotations

import gzip
import io
import os
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
from pymer4.storage import legacy, pair, state, tree
from pymer4.storage.pair import Signature

__all__ = ["load_model", "save_model"]

Compression = Literal["zlib", "blosc"]

_FORMAT = 1
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
    options = _options(compression, kwargs.get("complevel", 4))
    pair.check_place(path)
    kept, saved = _state(model)
    with ThreadPoolExecutor(1) as pool:
        # zlib lets other threads run, so that the R object is compressed while the tables are.
        packed = pool.submit(_robj, saved, path, bool(options))
        marks = {"FORMAT": _FORMAT, "WRITTEN_BY": f"pymer4 {pymer4.__version__}"}
        content = tree.write(state.to_tree(kept, name, type(model)._RECORDS), marks, options)
        robj = packed.result()
    pair.exchange(path, content, robj)


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
        wanted, held = _opened(path, content)
        if wanted is None:
            return legacy.model(held, path, allow_missing_r)
        robj = pair.robj_of(path, wanted)
        if robj is not None:
            pair.settle(path)
            return _model(path, held, robj)
        if _content(path) == content:
            break
    if not allow_missing_r:
        raise pair.no_robj(path, wanted)
    return _model(path, held, None)


# ------------------------------------------------------------------ saving


def _class_name(model: Any) -> str:
    name = type(model).__name__
    if not isinstance(model, Model) or getattr(models, name, None) is not type(model):
        raise OptionError(
            f"save_model() takes {' and '.join(models.__all__)} models, not a {name}. pickle and joblib keep models of "
            "your own classes."
        )
    return name


def _options(compression: Any, complevel: Any) -> dict[str, Any]:
    """Return the arguments of h5py's `create_dataset`; zlib for blosc, after a warning, where that is not to be had."""
    one_of("compression", compression, ("zlib", "blosc", None))
    level = count("complevel", complevel, least=0)
    if level > 9:
        raise OptionError(f"complevel={level} is not a whole number from 0 to 9.")
    if compression is None or level == 0:
        return {}
    if compression == "blosc":
        try:
            import hdf5plugin

            return dict(hdf5plugin.Blosc(cname="blosclz", clevel=level))
        except ImportError:
            needs = "compression='blosc' needs the package hdf5plugin (pip install hdf5plugin)"
            issue(f"{needs}: the file is saved by zlib.", ModelWarning)
    return {"compression": "gzip", "compression_opts": level, "shuffle": True}


def _state(model: Model) -> tuple[dict[str, Any], RObject | None]:
    """Return what a file keeps of a model, and its R object; of tables on demand, those that cost no start of R."""
    kept = model.__getstate__()
    saved = kept.pop("_saved", None)
    if saved is not None and saved.is_foreign:
        saved = model._r_object(own=True)
    for attribute, (written, _) in type(model)._PLAIN.items():
        if attribute in kept:
            kept[attribute] = written(kept[attribute])
    for name, place in type(model)._SHOWN.items():
        if model.fitted and (model.__dict__.get(place) is not None or "_handle" in model.__dict__):
            kept[name] = getattr(model, name)
    return kept, saved


def _robj(saved: RObject | None, path: Path, compressed: bool) -> bytes | None:
    """Return the content of the `.robj`."""
    if saved is None:
        return None
    if saved.content is None:
        raise MissingFileError(
            f"{path} can't be written: the model was loaded without its R object, since {saved.source} was not there. "
            "Load it again with that file in its place, or fit it again with .fit()."
        )
    packed = saved.content[:2] == b"\x1f\x8b"
    return gzip.compress(saved.content, compresslevel=1, mtime=0) if compressed and not packed else saved.content


# ------------------------------------------------------------------ loading


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            what = "a directory" if path.is_dir() else "no regular file"
            raise FileError(f"{path} is {what}, not a model file. Give the .h5 that save_model() wrote.")
        return path.read_bytes()
    except FileNotFoundError as error:
        hint = " A first save of it was interrupted: save the model again." if pair.new(path).exists() else ""
        raise MissingFileError(f"There is no file {path}. Look for it with Path.glob('*.h5').{hint}") from error
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror or error}. See who may read it.") from error


def _opened(path: Path, content: bytes) -> tuple[Signature | None, dict[str, Any]]:
    """Return the signature of the R object that a model file names, None in files of the 0.7 line, and the tree."""
    import h5py

    if not content.startswith(b"\x89HDF\r\n\x1a\n"):
        raise FileError(
            f"{path} is no model file: it is not HDF5. Give the .h5 that save_model() wrote, or one of release 0.7."
        )
    try:
        wanted = pair.named(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            marks = tree.marks(file)
            _check_versions(path, marks)
            if wanted is None and "FORMAT" in marks:
                raise tree.TreeError("its check sum is missing")
            groups = ("simple_atts", "data_atts")
            unpickled = legacy.unpickled if wanted is None else None
            held = tree.read(file, path, unpickled) if set(groups) <= set(file) else {}
            if not all(isinstance(held.get(group), dict) for group in groups):
                raise tree.TreeError("it lacks the groups simple_atts and data_atts")
            return wanted, held
    except FileError:
        raise
    except tree.DAMAGES as error:
        raise _damaged(path, error) from error


def _check_versions(path: Path, marks: dict[str, Any]) -> None:
    if marks["VERSION"] is None:
        raise FileError(
            f"{path} is no model file: it is HDF5, but not in the layout of one. Give the .h5 that save_model() wrote."
        )
    if marks.get("FORMAT", 0) > _FORMAT or marks["VERSION"] > tree.LAYOUT:
        by = marks.get("WRITTEN_BY", f"a newer version (layout {marks['VERSION']})")
        raise FileError(
            f"{path} was written by {by}, in a format that pymer4 {pymer4.__version__} does not know. Upgrade pymer4: "
            "pip install -U pymer4."
        )


def _damaged(path: Path, error: Exception | str) -> FileError:
    return FileError(f"{path} can't be read as a model: {error}. Take it from a backup, or save the model again.")


def _model(path: Path, held: dict[str, Any], robj: bytes | None) -> Model:
    """Return the model that a tree holds."""
    name = held["simple_atts"].get(state.CLASS)
    if name not in models.__all__:
        raise FileError(f"{path} holds a model of class {name!r}; there are {', '.join(models.__all__)}.")
    kind = getattr(models, name)
    try:
        kept = state.from_tree(held, kind._RECORDS)
        for attribute, (_, read) in kind._PLAIN.items():
            if attribute in kept:
                kept[attribute] = read(kept[attribute])
        for table, place in kind._SHOWN.items():
            kept[place] = kept.pop(table, None)
        if kept.get("fitted") and hasattr(kind, "_r_object"):
            kept["_saved"] = RObject(robj, str(pair.partner(path)))
        made = kind.__new__(kind)
        made.__setstate__(kept)
    except tree.DAMAGES as error:
        raise _damaged(path, error) from error
    return made
