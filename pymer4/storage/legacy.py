"""Model files of the 0.7 line, as models of today."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import models, tables
from pymer4.data.families import check_family
from pymer4.errors import FileError, MissingFileError, ModelWarning, Pymer4Error, issue
from pymer4.models.base import Model
from pymer4.models.lmer_options import LmerOptions
from pymer4.models.lmer_state import LmerFit, RObject
from pymer4.storage import plain

_RENAMED = {"X.Intercept.": "(Intercept)"}


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
    name = simple.pop(plain.CLASS, None)
    found = {"Lmer": _lmer, "Lm": _lm, "Lm2": _lm}.get(name)
    if found is None or name not in models.__all__:
        raise FileError(f"{path} holds a model of class {name!r}; there are {', '.join(models.__all__)}.")
    held = plain.tables_of(tree["data_atts"], {})
    try:
        return found(name, simple, held, path, allow_missing_r)
    except FileError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError, Pymer4Error) as error:
        raise FileError(
            f"{path}, saved by release 0.7, can't be made a model of today: {error}. Read its tables with "
            "pandas after opening it with deepdish or h5py, and fit the model again."
        ) from error


def _lmer(name: str, simple: dict[str, Any], held: dict[str, Any], path: Path, allow_missing_r: bool) -> Model:
    kind = getattr(models, name)
    fitted, family = simple["fitted"], simple["family"]
    data = held["data"]
    state = {
        "formula": simple["formula"],
        "family": family,
        "link": check_family(family, None),
        "data": data,
        "_frame": _added(data),
        "_weights": None,
        "_offset": None,
    }
    if fitted:
        state |= _fit_of(simple, held)
        state["_options"] = _options(kind, simple, held["coefs"])
        state["_saved"] = RObject(*_rds(path, allow_missing_r), is_foreign=True)
    made = kind.__new__(kind)
    made.__setstate__(state)
    return made


def _fit_of(simple: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a fit."""
    fits, residuals = (np.asarray(simple[key], dtype=float) for key in (tables.FITS, tables.RESIDUALS))
    used = _used(fits, held)
    conf_int = str(simple.get("_conf_int", "Wald"))
    found = {
        "fitted": True,
        "warnings": list(simple["warnings"]),
        tables.FITS: _as_long(fits, used),
        tables.RESIDUALS: _as_long(residuals, used),
        "logLike": simple["logLike"],
        "grps": {group: int(size) for group, size in simple["grps"].items()},
        "ci_type": conf_int,
        "sig_type": str(simple["sig_type"]),
        "factors": simple.get("factors"),
        "contrast_codes": simple.get("contrast_codes"),
        "factors_prev_": simple.get("factors_prev_"),
        "ranked_data": bool(simple.get("ranked_data", False)),
        "_used": used,
        "_design": held.get("design_matrix"),
    }
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
    spread, correlations = found["ranef_var"], found["ranef_corr"]
    n_parameters = len(found["coefs"]) + len(spread) + (0 if correlations is None else len(correlations))
    sigma = spread.loc[spread.index == "Residual", tables.STD]
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
    return LmerOptions(**given | {argument: value for argument, value in told.items() if value is not None})


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
    groups = {"group": _plain_list(simple["group"])} if "group" in simple else {}
    frame = data.drop(columns=list(_added(data)))
    made = kind(simple["formula"], frame, family=simple["family"], **groups)
    if not simple["fitted"]:
        return made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.fit(**_native_settings(simple), summarize=False)
    _require_agreement(made, held, path)
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


def _require_agreement(made: Model, held: dict[str, Any], path: Path) -> None:
    """Refuse a file whose data and formula do not give its numbers; groups without a regression today don't count."""
    table = "fixef" if isinstance(held.get("fixef"), pd.DataFrame) else "coefs"
    ours, theirs = getattr(made, table), held[table]
    if table == "coefs":
        ours, theirs = ours[[tables.ESTIMATE]], theirs[[tables.ESTIMATE]]
    there = ours.notna().all(axis=1).to_numpy()
    a, b = (frame.to_numpy(dtype=float) for frame in (ours, theirs))
    if a.shape != b.shape or not np.allclose(a[there], b[there], rtol=1e-6, atol=1e-6 * np.abs(a[there]).max()):
        raise FileError(
            f"{path}, saved by release 0.7, can't be made a model of today: its data and formula do not give the "
            f"numbers of its table of {table}. Read its tables after opening it with h5py, and fit the model again."
        )


def _native_settings(simple: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the fit, without its draws, from what the file says was done."""
    robust = str(simple.get("se_type", ""))
    asked: dict[str, Any] = {"rank": bool(simple.get("ranked_data", False))}
    for kind in ("hc0", "hc1", "hc2", "hc3", "hac"):
        if kind in robust.lower():
            asked["robust"] = kind
    if simple.get("iscorrs"):
        asked["to_corrs"] = simple["iscorrs"]
    return asked


def _plain_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else str(value)


def _added(data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of results: release 0.7 wrote over columns of the user's of those names."""
    return tuple(name for name in (tables.FITS, tables.RESIDUALS) if name in data.columns)


def _used(fits: np.ndarray, held: dict[str, Any]) -> np.ndarray:
    """Return the rows that were used, those of the design where rows were left out."""
    data = held["data"]
    if len(fits) == len(data):
        return ~np.isnan(fits)
    return data.index.isin(held["design_matrix"].index)


def _as_long(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    if len(values) == len(used):
        return values
    whole = np.full(len(used), np.nan)
    whole[used] = values
    return whole


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return group effects with the names that R's terms have, and groups as text."""
    renamed = frame.rename(columns=_RENAMED)
    return renamed.set_axis(pd.Index([str(label) for label in frame.index], dtype=object))
