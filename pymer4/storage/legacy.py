"""Model files of the 0.7 line, as models of today, and the few pickles that those files hold."""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import models, tables
from pymer4.data.families import check_family
from pymer4.errors import FileError, MissingFileError, ModelWarning, Pymer4Error, issue
from pymer4.models.base import Model, spread
from pymer4.models.lmer_options import LmerOptions
from pymer4.models.lmer_state import LmerFit, RObject
from pymer4.storage.tree import DAMAGES, TreeError

_ENTRY = re.compile(r"(?P<place>df|list_\d+)_(?P<entry>cols|idx|vals|dtypes)__(?P<name>.+)", re.DOTALL)
_KEPT = ["formula", "family", "fitted", "warnings", "logLike", "sig_type", "ranked_data", "factors", "factors_prev_"]
_KEPT += ["contrast_codes"]
_ARGUMENTS = {n: n.lstrip("_") for n in ("_conf_int", "_permute", "_REML", "factors")} | {"ranked_data": "rank"}
_TABLES = ("coefs", "ranef_corr", "anova_results", "marginal_estimates", "marginal_contrasts")
_DTYPE = re.compile(r"[<>|=]?(O8?|[biufc]\d{1,2}|[?bBhHiIlLqQefdgFD]|[SU]\d{1,4})")
_PLAIN = (str, bytes, int, float, bool, type(None))
_DEPTH = 8
_MULTIARRAY = "numpy.core.multiarray"
_NAMES = {("numpy", "dtype"), ("numpy", "ndarray"), (_MULTIARRAY, "_reconstruct"), (_MULTIARRAY, "scalar")}


def model(tree: Mapping[str, Any], path: Path, allow_missing_r: bool) -> Model:
    """Return the model of a file of the 0.7 line, an `Lmer` also without its R object where `allow_missing_r`.

    What those files do not hold is None, such as `convergence`. AIC and BIC are R's, which that release had not. An
    `Lm` or `Lm2` is fitted again to know its design and covariance; its tables are those of the file.
    """
    simple, held = tree.get("simple_atts"), tree.get("data_atts")
    if not isinstance(simple, dict) or not isinstance(held, dict):
        raise TreeError("it lacks the groups simple_atts and data_atts")
    kind = class_named(path, simple.get("model_class"))
    try:
        if kind is models.Lmer:
            return _lmer(simple, _tables(held), path, allow_missing_r)
        return _lm(kind, simple, _tables(held), path)
    except FileError:
        raise
    except (*DAMAGES, Pymer4Error) as error:
        raise FileError(
            f"{path}, saved by release 0.7, can't be made a model of today: {error}. Read its tables with "
            "pandas after opening it with deepdish or h5py, and fit the model again."
        ) from error


def class_named(path: Path, name: Any) -> Any:
    """Return the class of models of this name; a FileError where there is none."""
    if name not in models.__all__:
        raise FileError(f"{path} holds a model of class {name!r}; there are {', '.join(models.__all__)}.")
    return getattr(models, name)


def _tables(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a file, frames and lists of frames, by the name of their attribute."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, value in entries.items():
        match = _ENTRY.fullmatch(key)
        if match is None:
            raise TreeError(f"data_atts/{key} is no part of a table")
        found.setdefault(match["name"], {}).setdefault(match["place"], {})[match["entry"]] = value
    return {
        name: _frame(**parts["df"]) if "df" in parts else [_frame(**parts[f"list_{i}"]) for i in range(len(parts))]
        for name, parts in found.items()
    }


def _frame(cols: np.ndarray, idx: np.ndarray, vals: np.ndarray, dtypes: Mapping[str, Any]) -> pd.DataFrame:
    columns, index = (
        pd.Index([label.decode() for label in labels], dtype=object) if labels.dtype.kind == "S" else pd.Index(labels)
        for labels in (cols, idx)
    )
    return pd.DataFrame(vals, columns=columns, index=index).astype(dict(dtypes))


def _lmer(simple: dict[str, Any], held: dict[str, Any], path: Path, allow_missing_r: bool) -> Model:
    data = held["data"]
    kept = {name: simple[name] for name in _KEPT if name in simple}
    kept |= {"link": check_family(simple["family"], None), "_weights": None, "_offset": None}
    kept |= {"data": data, "_frame": _added(data)}
    if simple["fitted"]:
        kept |= _fit_of(simple, held)
        kept["_options"] = _options(simple, held["coefs"])
        kept["_saved"] = RObject(*_rds(path, allow_missing_r), is_foreign=True)
    made = models.Lmer.__new__(models.Lmer)
    made.__setstate__(kept)
    return made


def _fit_of(simple: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a fit that are not as today."""
    data, fits = held["data"], simple[tables.FITS]
    is_whole = len(fits) == len(data)  # else the rows that were used are those of the design
    used = ~np.isnan(fits) if is_whole else data.index.isin(held["design_matrix"].index)
    found = {name: held[name] for name in _TABLES if name in held}
    found |= {"ranef_var": held["ranef_var"].fillna({tables.NAME: ""}), "_design": held.get("design_matrix")}
    found |= {"grps": {group: int(size) for group, size in simple["grps"].items()}, "_used": used}
    for name in (tables.FITS, tables.RESIDUALS):
        found[name] = simple[name] if is_whole else spread(simple[name], used)
    for table in ("ranef", "fixef"):
        frames = held[table]
        found[table] = [_renamed(f) for f in frames] if isinstance(frames, list) else _renamed(frames)
    found["_fit"] = _statistics(simple["logLike"], found)
    return found | {"ci_type": simple.get("_conf_int", "Wald"), "AIC": found["_fit"].AIC, "BIC": found["_fit"].BIC}


def _statistics(likelihood: float, found: dict[str, Any]) -> LmerFit:
    """Return what the summary tells; release 0.7 had the REML criterion in the place of AIC."""
    n_used = int(found["_used"].sum())
    n_parameters = sum(len(found[name]) for name in ("coefs", "ranef_var", "ranef_corr") if name in found)
    sigma = found["ranef_var"].loc[found["ranef_var"].index == "Residual", tables.STD]
    return LmerFit(
        AIC=-2 * likelihood + 2 * n_parameters,
        BIC=-2 * likelihood + n_parameters * float(np.log(n_used)),
        log_likelihood=likelihood,
        n_parameters=n_parameters,
        n_used=n_used,
        criterion=-2 * likelihood,
        sigma=float(sigma.iloc[0]) if len(sigma) else 1.0,
        vcov=None,
    )


def _options(simple: dict[str, Any], coefs: pd.DataFrame) -> LmerOptions:
    """Return the arguments of the fit, those that the file does not tell by their defaults."""
    parameters = inspect.signature(models.Lmer.fit).parameters.values()
    given = {p.name: p.default for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD}
    given |= {argument: simple[name] for name, argument in _ARGUMENTS.items() if simple.get(name) is not None}
    given["ordered"] = bool(given["factors"]) and any(str(term).endswith(".L") for term in coefs.index)
    return LmerOptions.of(**given)


def _rds(path: Path, allow_missing_r: bool) -> tuple[bytes | None, str]:
    """Return the R object and where it lies: 0.7 cut the path at its first dot."""
    places = [path.with_suffix(".rds"), path.with_suffix(".robj"), Path(str(path).split(".")[0] + ".rds")]
    for place in dict.fromkeys(places):
        if place.is_file():
            return place.read_bytes(), str(place)
    if not allow_missing_r:
        raise MissingFileError(
            f"{places[0]}, the R object that belongs to {path}, is not there. Put it beside the .h5 (release 0.7 cut "
            "the path at its first dot), or load the tables alone with load_model(..., allow_missing_r=True)."
        )
    return None, str(places[0])


def _lm(kind: Any, simple: dict[str, Any], held: dict[str, Any], path: Path) -> Model:
    data = held["data"]
    group = {"group": simple["group"]} if "group" in simple else {}
    made = kind(simple["formula"], data.drop(columns=list(_added(data))), family=simple["family"], **group)
    if not simple["fitted"]:
        return made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.fit(**_native_settings(simple), summarize=False)
    _require_agreement(made, held)
    if "cluster" in str(simple.get("se_type")):
        issue(
            f"{path} does not say which column its standard errors are clustered by. Its table has them; what is "
            "computed from now on does without. Fit the model again with cluster=.",
            ModelWarning,
        )
    told = {name: value for name, value in simple.items() if name not in ("AIC", "BIC", "logLike")}
    told |= {"warnings": list(dict.fromkeys([*simple["warnings"], *made.warnings]))}
    made.__dict__.update({key: value for key, value in told.items() if key in made.__dict__ and value is not None})
    made.coefs = held["coefs"]
    if tables.FITS in data.columns:
        made.data = data
    if isinstance(held.get("fixef"), pd.DataFrame):
        made.fixef = held["fixef"].rename_axis(made.fixef.index.name)
    return made


def _require_agreement(made: Model, held: dict[str, Any]) -> None:
    """Refuse a file whose data and formula do not give its numbers; groups without a regression today don't count."""
    table = "fixef" if isinstance(held.get("fixef"), pd.DataFrame) else "coefs"
    columns = slice(None) if table == "fixef" else [tables.ESTIMATE]
    a, b = (frame[columns].to_numpy(dtype=float) for frame in (getattr(made, table), held[table]))
    there = ~np.isnan(a).any(axis=1)
    if a.shape != b.shape or not np.allclose(a[there], b[there], rtol=1e-6, atol=1e-6 * np.abs(a[there]).max()):
        raise TreeError(f"its data and formula do not give the numbers of its table of {table}")


def _native_settings(simple: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the fit, without its draws, from what the file says was done."""
    robust = re.findall("hc0|hc1|hc2|hc3|hac", str(simple.get("se_type")).lower())
    asked = {"robust": robust[-1] if robust else None, "to_corrs": simple.get("iscorrs")}
    return {"rank": bool(simple.get("ranked_data"))} | {name: value for name, value in asked.items() if value}


def _added(data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of results: release 0.7 wrote over columns of the user's of those names."""
    return tuple(name for name in (tables.FITS, tables.RESIDUALS) if name in data.columns)


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return group effects with the names that R's terms have, and groups as text."""
    renamed = frame.rename(columns={"X.Intercept.": "(Intercept)"})
    return renamed.set_axis(pd.Index([str(label) for label in frame.index], dtype=object))


# ------------------------------------------------------------------ pickles


def unpickled(data: bytes) -> Any:
    """Return the value of a pickle of the 0.7 line: a dtype, an array of objects, or plain lists and dicts.

    A pickle can call whatever it names, so nothing here calls what it says: three names of NumPy stand for records,
    from which values are made once their content was looked at. A TreeError says what else it holds.
    """
    try:
        return _resolved(_Unpickler(io.BytesIO(data)).load())
    except TreeError:
        raise
    except Exception as error:
        raise TreeError(f"a pickle in it can't be read: {type(error).__name__}: {error}") from error


class _Record:
    """What a name of NumPy was called with, and the state that was set."""

    def __init__(self, name: str, *given: Any):
        self.name, self.given = name, given
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in _NAMES:
            raise TreeError(f"a pickle in it names {module}.{name}, which no model file of the 0.7 line does")
        return functools.partial(_Record, name)


def _resolved(value: Any, depth: int = 0) -> Any:
    """Return plain values, dtypes and arrays in the place of the records."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _Record) and value.name == "dtype":
        return _dtype(value)
    if isinstance(value, _Record) and value.name == "_reconstruct":
        _, shape, dtype, _, values = value.state
        held = [_scalar(part) if isinstance(part, _Record) else part for part in values]
        if not _dtype(dtype).hasobject or not all(isinstance(part, (*_PLAIN, np.generic)) for part in held):
            raise TreeError("a pickle in it holds an array of other objects than numbers and text")
        # The flag of Fortran order is about memory: lists are in the order of rows either way.
        return np.fromiter(held, dtype=object, count=len(held)).reshape(shape)
    if isinstance(value, dict) and depth <= _DEPTH:
        return {_resolved(key, depth + 1): _resolved(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and depth <= _DEPTH:
        return type(value)(_resolved(part, depth + 1) for part in value)
    raise TreeError(f"a pickle in it holds a {type(value).__name__}")


def _dtype(record: _Record) -> np.dtype:
    code, order = record.given[0], record.state[1] if record.state else "="
    if record.name != "dtype" or not _DTYPE.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise TreeError(f"a pickle in it holds the dtype {code!r}")
    return np.dtype(code).newbyteorder(order)


def _scalar(record: _Record) -> Any:
    dtype = _dtype(record.given[0])
    if record.name != "scalar" or dtype.hasobject:
        raise TreeError("a pickle in it holds a scalar of unknown form")
    return np.frombuffer(record.given[1], dtype=dtype, count=1)[0]
