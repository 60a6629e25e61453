"""Models in files: `save_model` and `load_model`.

A model is an HDF5 file in the layout of deepdish, and for a fitted `Lmer` the R object beside it, as `saveRDS`
writes it. `tree` knows the file, `state` and `cells` what stands in it, `pair` how two files change at once.
"""

from __future__ import annotations

import gzip
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

__all__ = ["load_model", "save_model"]

Compression = Literal["zlib", "blosc"]


def save_model(
    model: Model, filepath: str | os.PathLike[str], compression: Compression | None = "zlib", **kwargs: Any
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
        by = f"pymer4 {pymer4.__version__}"
        held = {"format": tree.FORMAT, "model_class": name, "state": kept, "written_by": by}
        content = tree.write(held, options)
        robj = packed.result()
    pair.exchange(path, content, robj)


def load_model(filepath: str | os.PathLike[str], *, allow_missing_r: bool = False) -> Model:
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
    try:
        content, wanted, robj = pair.read(path)
        held = tree.read(content, path, legacy.unpickled if wanted is None else None)
        if wanted is None:
            if "format" in held:
                raise tree.TreeError("its check sum is missing")
            return legacy.model(held, path, allow_missing_r)
        if robj is None and not allow_missing_r:
            raise pair.no_robj(path)
        return _model(path, held, robj)
    except FileError:
        raise
    except tree.DAMAGES as error:
        raise FileError(
            f"{path} can't be read as a model: {error}. Take it from a backup, or save the model again."
        ) from error


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
    level = count("complevel", complevel, least=0, most=9)
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


def _state(model: Any) -> tuple[dict[str, Any], RObject | None]:
    """Return a model as a plain tree, and its R object; of tables on demand, those that cost no start of R."""
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
    return state.plain(dict(sorted(kept.items())), records=type(model)._RECORDS), saved


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


def _model(path: Path, held: dict[str, Any], robj: bytes | None) -> Model:
    """Return the model that a tree holds."""
    kind = legacy.class_named(path, held.get("model_class"))
    kept = state.made(held["state"], kind._RECORDS)
    for attribute, (_, read) in kind._PLAIN.items():
        if attribute in kept:
            kept[attribute] = read(kept[attribute])
    for table, place in kind._SHOWN.items():
        kept[place] = kept.pop(table, None)
    if kept.get("fitted") and hasattr(kind, "_r_object"):
        kept["_saved"] = RObject(robj, str(pair.partner(path)))
    made = kind.__new__(kind)
    made.__setstate__(kept)
    return made
