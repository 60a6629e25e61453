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
from pymer4.storage import state
from pymer4.storage.tree import DAMAGES, TreeError

_DTYPE = re.compile(r"[<>|=]?(O8?|[biufc]\d{1,2}|[?bBhHiIlLqQefdgFD]|[SU]\d{1,4})")
_PLAIN = (str, bytes, int, float, bool, type(None))
_MULTIARRAY = "numpy.core.multiarray"
_NAMES = {("numpy", "dtype"), ("numpy", "ndarray"), (_MULTIARRAY, "_reconstruct"), (_MULTIARRAY, "scalar")}


def model(tree: Mapping[str, Any], path: Path, allow_missing_r: bool) -> Model:
    """Return the model of a file of the 0.7 line.

    What those files do not hold is None, such as `convergence`. AIC and BIC are R's, which that release had not. An
    `Lm` or `Lm2` is fitted again to know its design and covariance; its tables are those of the file.

    Args:
        tree: what the file holds.
        path: the file.
        allow_missing_r: return an `Lmer` also without its R object.

    Raises:
        FileError: it holds no model, or one that can't be made over.
    """
    simple = dict(tree["simple_atts"])
    name = simple.pop(state.CLASS, None)
    found = {"Lmer": _lmer, "Lm": _lm, "Lm2": _lm}.get(str(name))
    if found is None:
        raise FileError(f"{path} holds a model of class {name!r}; there are {', '.join(models.__all__)}.")
    try:
        return found(name, simple, state.tables_of(tree["data_atts"], {}), path, allow_missing_r)
    except FileError:
        raise
    except (*DAMAGES, Pymer4Error) as error:
        raise FileError(
            f"{path}, saved by release 0.7, can't be made a model of today: {error}. Read its tables with "
            "pandas after opening it with deepdish or h5py, and fit the model again."
        ) from error


def _lmer(name: str, simple: dict[str, Any], held: dict[str, Any], path: Path, allow_missing_r: bool) -> Model:
    kind = getattr(models, name)
    fitted, family = simple["fitted"], simple["family"]
    data = held["data"]
    kept = {
        "formula": simple["formula"],
        "family": family,
        "link": check_family(family, None),
        "data": data,
        "_frame": _added(data),
        "_weights": None,
        "_offset": None,
    }
    if fitted:
        kept |= _fit_of(simple, held)
        kept["_options"] = _options(kind, simple, held["coefs"])
        kept["_saved"] = RObject(*_rds(path, allow_missing_r), is_foreign=True)
    made = kind.__new__(kind)
    made.__setstate__(kept)
    return made


def _fit_of(simple: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a fit."""
    data, fits = held["data"], simple[tables.FITS]
    is_whole = len(fits) == len(data)  # else the rows that were used are those of the design
    used = ~np.isnan(fits) if is_whole else data.index.isin(held["design_matrix"].index)
    found = {
        "fitted": True,
        "warnings": list(simple["warnings"]),
        "logLike": simple["logLike"],
        "grps": {group: int(size) for group, size in simple["grps"].items()},
        "ci_type": str(simple.get("_conf_int", "Wald")),
        "sig_type": str(simple["sig_type"]),
        "ranked_data": bool(simple.get("ranked_data", False)),
        "_used": used,
        "_design": held.get("design_matrix"),
    }
    found |= {name: simple.get(name) for name in ("factors", "contrast_codes", "factors_prev_")}
    for name in (tables.FITS, tables.RESIDUALS):
        found[name] = simple[name] if is_whole else spread(simple[name], used)
    for table in ("coefs", "ranef_corr", "anova_results", "marginal_estimates", "marginal_contrasts"):
        found[table] = held.get(table)
    found["ranef_var"] = held["ranef_var"].fillna({tables.NAME: ""})
    for table in ("ranef", "fixef"):
        frames = held[table]
        found[table] = [_renamed(f) for f in frames] if isinstance(frames, list) else _renamed(frames)
    found["_fit"] = _statistics(simple, found)
    return found | {"AIC": found["_fit"].AIC, "BIC": found["_fit"].BIC}


def _statistics(simple: dict[str, Any], found: dict[str, Any]) -> LmerFit:
    """Return what the summary tells; release 0.7 had the REML criterion in the place of AIC."""
    likelihood, n_used = simple["logLike"], int(found["_used"].sum())
    variances, correlations = found["ranef_var"], found["ranef_corr"]
    n_parameters = len(found["coefs"]) + len(variances) + (0 if correlations is None else len(correlations))
    sigma = variances.loc[variances.index == "Residual", tables.STD]
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


def _options(kind: type[Model], simple: dict[str, Any], coefs: pd.DataFrame) -> LmerOptions:
    """Return the arguments of the fit, those that the file does not tell by their defaults."""
    parameters = inspect.signature(kind.fit).parameters.values()
    given = {p.name: p.default for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD}
    told = {
        "conf_int": simple.get("_conf_int"),
        "permute": simple.get("_permute"),
        "REML": simple.get("_REML"),
        "factors": simple.get("factors"),
        "rank": simple.get("ranked_data"),
        "ordered": bool(simple.get("factors")) and any(str(term).endswith(".L") for term in coefs.index),
    }
    return LmerOptions.of(**given | {argument: value for argument, value in told.items() if value is not None})


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


def _lm(name: str, simple: dict[str, Any], held: dict[str, Any], path: Path, allow_missing_r: bool) -> Model:
    kind = getattr(models, name)
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
        text = (
            f"{path} does not say which column its standard errors are clustered by. Its table has them; what is "
            "computed from now on does without. Fit the model again with cluster=."
        )
        issue(text, ModelWarning)
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
    ours, theirs = getattr(made, table), held[table]
    if table == "coefs":
        ours, theirs = ours[[tables.ESTIMATE]], theirs[[tables.ESTIMATE]]
    there = ours.notna().all(axis=1).to_numpy()
    a, b = (frame.to_numpy(dtype=float) for frame in (ours, theirs))
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
    from which values are made once their content was looked at.

    Raises:
        TreeError: the pickle holds anything else; what it was.
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
        self.name, self.given, self.state = name, given, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in _NAMES:
            raise TreeError(f"a pickle in it names {module}.{name}, which no model file of the 0.7 line does")
        return functools.partial(_Record, name)


def _resolved(value: Any, depth: int = 0) -> Any:
    """Return plain values, dtypes and arrays in the place of the records."""
    if isinstance(value, _Record) and value.name in _MAKERS:
        return _MAKERS[value.name](value)
    if isinstance(value, _PLAIN):
        return value
    if depth > 8 or not isinstance(value, (list, tuple, dict)):
        raise TreeError(f"a pickle in it holds a {type(value).__name__}")
    if isinstance(value, dict):
        return {_resolved(key, depth + 1): _resolved(held, depth + 1) for key, held in value.items()}
    return type(value)(_resolved(held, depth + 1) for held in value)


def _dtype(record: _Record) -> np.dtype:
    code, order = record.given[0], record.state[1] if record.state else "="
    if record.name != "dtype" or not _DTYPE.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise TreeError(f"a pickle in it holds the dtype {code!r}")
    return np.dtype(code) if order in "|=" else np.dtype(code).newbyteorder(order)


def _array(record: _Record) -> np.ndarray:
    _, shape, dtype, _, values = record.state
    if not _dtype(dtype).hasobject:
        raise TreeError("a pickle in it holds an array that is not one of objects")
    values = [_scalar(value) if isinstance(value, _Record) else value for value in values]
    if not all(isinstance(value, (*_PLAIN, np.generic)) for value in values):
        raise TreeError("a pickle in it holds an array of other objects than numbers and text")
    # The flag of Fortran order is about memory: lists are in the order of rows either way.
    return np.fromiter(values, dtype=object, count=len(values)).reshape(shape)


def _scalar(record: _Record) -> Any:
    dtype, data = record.given
    if record.name != "scalar" or _dtype(dtype).hasobject:
        raise TreeError("a pickle in it holds a scalar of unknown form")
    return np.frombuffer(data, dtype=_dtype(dtype), count=1)[0]


_MAKERS = {"dtype": _dtype, "_reconstruct": _array, "scalar": _scalar}
