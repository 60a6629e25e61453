"""Models to keep, and what tells whether two are the same."""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import samples

from pymer4 import Lmer, load_model, save_model
from pymer4.models.answers import Table
from pymer4.storage import pair

LEGACY = Path(__file__).parents[1] / "legacy"
ODD = {"x": "a/b", "z": "é ü", "g": "_p_ g.1", "cond": "TITLE"}


@cache
def trial() -> pd.DataFrame:
    """Return the trial, with dates, levels that are numbers, and text beyond ASCII."""
    frame = samples.trial()
    n = len(frame)
    levels = {"level": np.tile([0.5, 1.0, 2.0], n // 3), "odd": np.tile(["b", "ä", "C"], n // 3)}
    return frame.assign(when=pd.date_range("2020", periods=n), **levels)


def with_holes() -> pd.DataFrame:
    """Return it with missing values, and rows that have names."""
    return samples.with_holes(trial()).set_index(pd.Index([f"row {i}" for i in range(len(trial()))], name="id"))


ARRAYS = {"weights": np.linspace(0.5, 2, 240), "offset": np.arange(240) / 90}
MIXED: dict[str, tuple] = {
    "slopes": ("y ~ x + (x | g)", trial, {}, {}),
    "crossed": ("y ~ x * cond + flag + (1 | g) + (1 | h)", trial, {}, {"conf_level": 0.9, "REML": False}),
    "holes": ("y ~ x + I(x^2) + scale(z) + (1 | g)", with_holes, {}, {"ddf": "asymptotic"}),
    "arrays": ("y ~ x + (1 | g)", trial, ARRAYS, {"control": {"optimizer": "bobyqa", "optCtrl": {"maxfun": 500}}}),
    "number levels": ("y ~ level * x + (1 | g)", trial, {}, {"factors": {"level": {1.0: 1, 0.5: -0.5, 2: -0.5}}}),
    "named contrasts": ("y ~ odd + (1 | g)", trial, {}, {"factors": {"odd": {"a/b": {"C": 1, "b": -1, "ä": 0}}}}),
    "polynomials": ("y ~ level + (x || g)", trial, {"weights": "w", "offset": "z"},
                    {"factors": {"level": [0.5, 1, 2.0]}, "ordered": True}),
    "permuted": ("y ~ x + (1 | g)", trial, {}, {"permute": 19, "seed": 2**70}),
    "bootstrapped": ("y ~ x + (1 | g)", trial, {}, {"conf_int": "boot", "n_boot": 12, "seed": 1}),
    "ranked": ("y ~ x + z + (1 | g)", trial, {}, {"rank": True, "rank_group": "g", "rank_exclude_cols": ["z"]}),
    "aliased": ("y ~ x + I(2 * x) + (1 | g)", trial, {}, {"old_optimizer": True}),
    "odd names": ("y ~ `a/b` + `é ü` + TITLE + (1 | `_p_ g.1`)",
                  lambda: trial().rename(columns=ODD).assign(fits=1.5, residuals="text"), {}, {}),
    "binomial": ("cbind(hits, trials - hits) ~ x + dose + (1 | g)", trial, {"family": "binomial"}, {}),
    "nbinom": ("spread ~ x + (1 | g)", trial, {"family": "nbinom"}, {}),
    "gamma": ("size ~ x + (1 | g)", trial, {"family": "gamma", "link": "log"}, {}),
}  # fmt: skip


@cache
def mixed(name: str) -> Lmer:
    """Return a fitted model, one for all tests."""
    formula, data, given, fit = MIXED[name]
    with quiet():
        return samples.fitted(formula, data(), given=given, **fit)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave warnings unsaid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def refitted(model: Any) -> Any:
    """Fit a model again as it was fitted."""
    with quiet():
        model.fit(**model._options.arguments(), summarize=False)
    return model


def saved(model: Any, path: Path, **options: Any) -> Any:
    """Return what comes back from a file."""
    save_model(model, path, **options)
    return load_model(path)


def printed(function: Any) -> str:
    """Return what a function prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function()
    return out.getvalue()


def alike(a: Any, b: Any, where: str = "") -> None:
    """Assert that two values are the same to the last bit, and in type but for NumPy's scalars.

    A table that is shown with what it rests on is a plain frame in files and copies.
    """
    a, b = (value.item() if isinstance(value, np.generic) else value for value in (a, b))
    kinds = [pd.DataFrame if type(value) is Table else type(value) for value in (a, b)]
    assert kinds[0] is kinds[1], (where, a, b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_index_type="exact", check_column_type="exact")
        alike(a.attrs, b.attrs, f"{where}.attrs")
    elif isinstance(a, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        pd.testing.assert_series_equal(pd.Series(a), pd.Series(b), check_exact=True)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, where, strict=True)
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        alike(list(a.values()), list(b.values()), f"{where}{list(a)}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            alike(x, y, f"{where}[{i}]")
    elif hasattr(a, "__dataclass_fields__"):
        for field in a.__dataclass_fields__:
            alike(getattr(a, field), getattr(b, field), f"{where}.{field}")
    else:
        assert repr(a) == repr(b) if isinstance(a, float) else a == b, where


MADE = {
    "_asked",
    "_inferred",
    "_latest",
    "_handle",
    "_for_new_rows",
    "_grids",
    "_grid_variables",
    "_predicted",
    "_simulated",
    "_designed",
    "_estimate",
    "_design",
    "_plan",
    "_native",
}
QUESTIONS = ("anova_results", "marginal_estimates", "marginal_contrasts", "_ranef_se", "_fit")


def alike_models(a: Any, b: Any, but: tuple[str, ...] = ()) -> None:
    """Assert that all attributes of two models are the same, those that are made anew too."""
    anew = type(a)._ANEW.keys() - MADE
    for name in sorted({*vars(a), *anew} - {*type(a)._ANEW, "_saved", "_terms", "_scope", *but} | anew):
        alike(getattr(a, name), getattr(b, name), f".{name}")
    if a.fitted and hasattr(a, "design_matrix"):
        alike(a.design_matrix, b.design_matrix, ".design_matrix")
    assert type(a) is type(b) and a.fitted == b.fitted
    assert printed(a.summary) == printed(b.summary) if a.fitted else repr(a) == repr(b)


@contextlib.contextmanager
def rewritten(path: Path) -> Iterator[h5py.File]:
    """Change a file as one who seals it anew, so that what is told is not the check sum."""
    with h5py.File(path, "a") as file:
        yield file
        file.attrs["changed"] = True
        del file.attrs["changed"]
    robj = path.with_suffix(".robj")
    content = path.read_bytes().split(pair._SEAL)[0]
    path.write_bytes(pair.sealed(content, robj.read_bytes() if robj.exists() else b""))


def legacy_files(directory: Path, name: str, stem: str | None = None) -> list[Path]:
    """Return the files of a model that release 0.7 saved."""
    made = directory / f"{stem or name}.h5"
    made.write_bytes(gzip.decompress((LEGACY / f"{name}.h5.gz").read_bytes()))
    rds = LEGACY / f"{name}.rds"
    return [made, *([Path(shutil.copy(rds, made.with_suffix(".rds")))] if rds.exists() else [])]
