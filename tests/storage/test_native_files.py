"""`Lm` and `Lm2` in files and copies; the layout and the size of a file."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pandas as pd
import patsy
import pytest
from kept import alike, alike_models, mixed, quiet, refitted, rewritten, saved, trial, with_holes

from pymer4 import Lm, Lm2, load_model, save_model
from pymer4.errors import DataError, FormulaError, ModelWarning


def square(x: np.ndarray) -> np.ndarray:
    return x**2


NATIVE: dict[str, tuple] = {
    "plain": ("y ~ x + cond", {}, {}),
    "splines": ("y ~ bs(x, df=4) + center(z) + C(level)", {}, {"robust": "hc3"}),
    "functions": ("y ~ square(x) + np.log(w)", {}, {}),
    "factors": ("y ~ level * x", {}, {"factors": {"level": [2.0, 0.5, 1]}, "conf_level": 0.9}),
    "contrasts": ("y ~ odd", {}, {"factors": {"odd": {"b": 1, "C": -0.5, "ä": -0.5}}}),
    "groups": ("y ~ cond", {}, {"weights": "cond"}),
    "weights": ("y ~ x", {"offset": "z"}, {"weights": pd.Series(np.linspace(1, 2, 240), name="w")}),
    "cluster": ("y ~ x", {}, {"robust": "cluster", "cluster": "g"}),
    "permuted": ("y ~ x", {}, {"permute": 20, "seed": 1}),
    "bootstrapped": ("y ~ x", {}, {"conf_int": "boot", "n_boot": 20, "seed": 1}),
    "ranked": ("y ~ x + z", {}, {"rank": True}),
    "binomial": ("cbind(hits, trials - hits) ~ x", {"family": "binomial"}, {}),
    "poisson": ("count ~ x", {"family": "poisson", "link": "sqrt"}, {}),
    "nbinom": ("spread ~ x", {"family": "nbinom"}, {}),
}


def native(formula: str, given: dict[str, Any], fit: dict[str, Any], data: pd.DataFrame | None = None) -> Lm:
    model = Lm(formula, trial() if data is None else data, **given)
    with quiet():
        model.fit(summarize=False, **fit)
    return model


def copies(model: Any, path: Path) -> list[Any]:
    return [saved(model, path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_model_comes_back(name, tmp_path):
    model = native(*NATIVE[name])
    for back in copies(model, tmp_path / "x.h5"):
        alike_models(model, back)
        alike(model.predict(trial().head(9)), back.predict(trial().head(9)))
        alike_models(model, refitted(back))
    twin = copy.deepcopy(model)
    twin.coefs.iloc[0, 0] = 99
    assert model.coefs.iloc[0, 0] != 99
    assert os.listdir(tmp_path) == ["x.h5"]


@pytest.mark.parametrize(
    "formula, group, fit",
    [
        ("y ~ x + center(z)", "g", {"robust": "hc3", "conf_level": 0.9}),
        ("y ~ x", "g", {"to_corrs": "semi"}),
        ("y ~ x", "g", {"conf_int": "boot", "n_boot": 20, "seed": 1}),
        ("y ~ x", "g", {"permute": 20, "seed": 1, "rank": True}),
        ("y ~ x", ["flag", "g"], {}),
        ("y ~ level", "h", {"factors": {"level": [2.0, 0.5, 1]}}),
    ],
)
def test_a_two_stage_model_comes_back(formula, group, fit, tmp_path):
    data = trial().sort_values("x").reset_index(drop=True)
    model = Lm2(formula, data, group=group)
    assert not saved(model, tmp_path / "x.h5").fitted
    with quiet():
        model.fit(summarize=False, **fit)
    for back in copies(model, tmp_path / "x.h5"):
        alike_models(model, back)
        if not fit.get("rank"):
            alike(model.predict(data.head(9)), back.predict(data.head(9)))


def test_a_native_model_with_holes_comes_back(tmp_path):
    model = native(*NATIVE["splines"], with_holes())
    back = saved(model, tmp_path / "x.h5")
    alike_models(model, back)
    alike(model.predict(with_holes()), back.predict(with_holes()))


def predicted_there(model: Lm) -> tuple[np.ndarray, Lm]:
    return model.predict(trial()), model


def test_a_spline_goes_to_another_process_and_comes_back():
    model = native("y ~ bs(x, df=4) * cond", {}, {})
    ((there, back),) = joblib.Parallel(n_jobs=2)([joblib.delayed(predicted_there)(model)])
    alike_models(model, back)
    alike_models(model, refitted(back))
    for values in (there, back.predict(trial())):
        alike(values, model.predict(trial()))


def test_a_native_model_that_is_not_fitted_comes_back(tmp_path):
    model = Lm("y ~ bs(x, df=4)", trial())
    back = saved(model, tmp_path / "x.h5")
    assert not back.fitted
    for each in (model, back):
        each.fit(summarize=False)
    alike_models(model, back)


# ------------------------------------------------------------------ names of the user's code


def test_a_function_that_is_missing_is_named_at_load_and_where_it_is_needed(tmp_path):
    def local(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.abs(x))

    model = Lm("y ~ local(x)", trial())
    model.fit(summarize=False)
    save_model(model, tmp_path / "x.h5")
    del local
    with pytest.warns(ModelWarning, match="uses 'local', not to be found"):
        back = load_model(tmp_path / "x.h5")
    alike(back.coefs, model.coefs)
    with pytest.raises(FormulaError, match="'local', which the saved model could not keep"):
        back.predict(trial())
    local = lambda x: np.sqrt(np.abs(x))  # noqa: E731
    alike(back.predict(trial()), model.predict(trial()))
    alike_models(model, back)
    assert local is not None


def test_arrays_of_the_users_code_come_back(tmp_path):
    shift, knots, levels = np.linspace(0, 1, len(trial())), pd.Series([0.5, 1.5]), pd.Index(["b", "ä", "C"])
    model = Lm("y ~ bs(x, knots=knots) + shift + C(odd, levels=levels)", trial())
    model.fit(summarize=False)
    del shift, knots, levels
    alike_models(model, saved(model, tmp_path / "x.h5"))


def test_a_range_of_the_users_code_comes_back(tmp_path):
    wanted = range(3)
    model = Lm("y ~ I(np.round(x).isin(wanted))", trial())
    model.fit(summarize=False)
    back = saved(model, tmp_path / "x.h5")
    assert wanted is not None
    alike(back.predict(trial()), model.predict(trial()))


def test_arrays_that_were_two_are_two(tmp_path):
    model = Lm("y ~ x", trial())
    model.fit(summarize=False)
    model.first, model.second = np.zeros(900), np.zeros(900)
    back = saved(model, tmp_path / "x.h5")
    back.first[0] = 1
    assert back.second[0] == 0 and back.fits is not None


class Lowest:
    """A coding of the user's own."""

    def code_without_intercept(self, levels):
        return patsy.ContrastMatrix(np.eye(len(levels))[:, 1:], list(levels[1:]))


def test_objects_of_the_users_code_come_back_in_pickles_and_are_refused_by_files(tmp_path):
    lowest, matrix = Lowest(), patsy.ContrastMatrix(np.eye(3)[:, 1:], ["p", "q"])
    model = Lm("y ~ C(cond, matrix) + C(odd, lowest)", trial())
    model.fit(summarize=False)
    del lowest, matrix
    pickled = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(model))))
    alike(pickled.predict(trial()), model.predict(trial()))
    with pytest.raises(DataError, match=r"'lowest'.* holds a Lowest, which a file has no form for"):
        save_model(model, tmp_path / "x.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", [("module", "antigravity"), ("attribute", "scipy", "datasets")])
def test_loading_imports_nothing_that_a_file_names(tmp_path, address):
    """SciPy imports its modules where they are asked for."""
    save_model(native(*NATIVE["functions"]), tmp_path / "x.h5")
    with rewritten(tmp_path / "x.h5") as file:
        for place, part in enumerate(address):
            file["state/_scope/kept/np"].attrs[f"i{place}"] = part
        file["state/_scope/kept/np"].attrs["TITLE"] = f"list:{len(address)}"
    before = set(sys.modules)
    load_model(tmp_path / "x.h5")
    assert not {"antigravity", "scipy.datasets"} & (set(sys.modules) - before)


def test_a_model_of_a_model_desc_comes_back(tmp_path):
    model = Lm(patsy.ModelDesc.from_formula("y ~ x"), trial())
    model.fit(summarize=False)
    alike_models(model, saved(model, tmp_path / "x.h5"))


# ------------------------------------------------------------------ layout and size


@pytest.mark.r
def test_the_entries_are_those_of_the_layout(tmp_path):
    model = mixed("crossed")
    save_model(model, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert list(file) == ["state"] and sorted(file.attrs) == [
            "DEEPDISH_IO_VERSION", "format", "model_class", "written_by",
        ]  # fmt: skip
        state, coefs = file["state"], file["state/coefs"]
        assert bytes(file.attrs["model_class"]) == b"Lmer" and state.attrs["AIC"] == model.AIC
        assert bytes(state.attrs["formula"]).decode() == model.formula and state["grps"].attrs["g"] == 24
        assert coefs["columns/levels/i0"][:2].tolist() == [b"Estimate", b"5_ci"]
        assert coefs["index/levels/i0"][0] == b"(Intercept)"
        assert bytes(coefs["dtypes"].attrs["i0"]) == b"float64"
        assert coefs["values/Estimate"][:].tolist() == model.coefs["Estimate"].tolist()
        assert state["design_matrix/values"].shape == model.design_matrix.shape
        assert bytes(state["ranef/i1"].attrs["is"]) == b"frame" and np.array_equal(state["fits"][:], model.fits)
        file.visititems(lambda name, node: pytest.fail(name) if "PSEUDOATOM" in node.attrs else None)


@pytest.mark.parametrize("holes", [0, 500])
def test_a_large_file_is_not_larger_than_the_data(tmp_path, holes):
    """At most the data in memory with fits and residuals, plus 10 %; the time is that of the processor."""
    rng, n = np.random.default_rng(1), 100_000
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "c": rng.choice(["a", "b", "c"], n)})
    frame["y"] = frame.x + rng.normal(size=n)
    frame.loc[rng.choice(n, holes, replace=False), "x"] = np.nan
    model = Lm("y ~ bs(x, df=4) * c + z", frame)
    model.fit(summarize=False)
    start = time.process_time()
    save_model(model, tmp_path / "x.h5")
    middle = time.process_time()
    back = load_model(tmp_path / "x.h5")
    end = time.process_time()
    alike(back.data, model.data)
    alike(back.design_matrix, model.design_matrix)
    assert (tmp_path / "x.h5").stat().st_size <= 1.1 * model.data.memory_usage(deep=True).sum()
    with h5py.File(tmp_path / "x.h5") as file:
        assert "design_matrix" not in file["state"]
        assert file["state"].get("fits", getlink=True).path == "/state/data/values/fits"
    assert middle - start < 1.0 and end - middle < 1.0
