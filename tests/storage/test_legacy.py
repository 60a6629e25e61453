"""Files of release 0.7: three that it wrote, and factors as it prepared them."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from kept import LEGACY, alike, alike_models, legacy_files, mixed, printed, quiet, saved, trial

from pymer4 import Lm, Lm2, Lmer, load_dataset, load_model, save_model
from pymer4.errors import DataError, FileError, MissingFileError
from pymer4.storage import tree

pytestmark = pytest.mark.r


def agrees_with_its_table(model: Any, name: str) -> None:
    table = pd.read_csv(LEGACY / f"{name}_coefs.csv", index_col=0, keep_default_na=False, dtype=str)
    assert list(model.coefs.columns) == list(table.columns) and list(model.coefs.index) == list(table.index)
    for column in table.columns[:-1]:
        assert model.coefs[column].astype(float).tolist() == [float(text) for text in table[column]]
    assert model.coefs["Sig"].tolist() == table["Sig"].tolist()


def test_a_mixed_model_loads(tmp_path):
    model = load_model(legacy_files(tmp_path, "lmer_simple")[0])
    agrees_with_its_table(model, "lmer_simple")
    assert type(model) is Lmer and model.fitted and model.formula == "DV~IV2+(IV2|Group)"
    assert model.grps == {"Group": 47} and model.ci_type == "Wald" and model.convergence is None
    assert model.warnings == ["Model failed to converge with max|grad| = 0.00358015 (tol = 0.002, component 1)"]
    assert list(model.ranef.columns) == ["(Intercept)", "IV2"] and model.ranef.index[0] == "1"
    assert model.data.shape == (564, 8) and model._frame.shape == (564, 6)
    alike(model.predict(model.data, use_rfx=True), model.predict(model._frame, use_rfx=True))
    # 0.7 wrote its fits from the same R object.
    np.testing.assert_allclose(model.predict(model.data, use_rfx=True), model.fits, rtol=1e-12)
    population = model.coefs["Estimate"].to_numpy() @ np.c_[np.ones(564), model.data["IV2"]].T
    np.testing.assert_allclose(model.predict(model.data), population, rtol=1e-12)
    assert "Observations: 564   Groups: Group 47" in printed(model.summary)


def test_a_mixed_model_answers_all_questions_and_refits(tmp_path):
    model = load_model(legacy_files(tmp_path, "lmer_simple")[0])
    today = Lmer(model.formula, model._frame)
    with quiet():
        today.fit(summarize=False)
        # Another optimum of another release: its gradient there was above lme4's bound.
        near = {"rtol": 1e-3, "atol": 1e-3}
        for question in ("anova", "ranova", "joint_tests"):
            a, b = (getattr(m, question)().select_dtypes("number") for m in (model, today))
            np.testing.assert_allclose(a.drop(columns="P-val"), b.drop(columns="P-val"), **near)
        np.testing.assert_allclose(model.confint(), today.confint(), **near)
        for each in (model, today):
            each.post_hoc("IV2", summarize=False)
        np.testing.assert_allclose(model.marginal_estimates, today.marginal_estimates, **near)
        assert model.simulate(2, seed=1).shape == (564, 2)
        told = [[each.AIC, each.BIC, each.logLike] for each in (model, today)]
        np.testing.assert_allclose(*told, rtol=1e-6)
        again = saved(model, tmp_path / "new.h5")
        alike(again.predict(model.data, use_rfx=True), model.predict(model.data, use_rfx=True))
        model.fit(summarize=False)
    alike(model.coefs, today.coefs)
    alike(model.predict(today._frame), today.predict(today._frame))


@pytest.mark.parametrize("place", ["x.rds", "x.robj", "first.rds"])
def test_the_r_object_is_found_where_that_release_put_it(tmp_path, place, monkeypatch):
    """It cut the path at its first dot, also one of a directory."""
    monkeypatch.chdir(tmp_path)
    h5, rds = legacy_files(tmp_path, "lmer_simple", "first.second" if place == "first.rds" else "x")
    rds.rename(tmp_path / place)
    assert np.isfinite(load_model(h5.name).predict(pd.DataFrame({"IV2": [1.0]}))).all()


def test_a_missing_or_foreign_r_object_is_named(tmp_path):
    h5, rds = legacy_files(tmp_path, "lmer_simple")
    model = load_model(h5)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    save_model(mixed("slopes"), tmp_path / "other.h5")
    shutil.copy(tmp_path / "other.robj", rds)
    foreign = load_model(h5)
    with pytest.raises(FileError, match=r"lmer_simple\.rds holds another model"):
        foreign.predict(foreign.data)
    rds.unlink()
    with pytest.raises(MissingFileError, match=r"lmer_simple\.rds, the R object.*first dot.*allow_missing_r=True"):
        load_model(h5)
    tables = load_model(h5, allow_missing_r=True)
    agrees_with_its_table(tables, "lmer_simple")
    with pytest.raises(MissingFileError, match=r"lmer_simple\.rds is not there"):
        tables.predict(tables.data)
    for each in copies:
        alike(each.predict(model.data), model.predict(model.data))


def test_a_native_model_loads(tmp_path):
    model = load_model(legacy_files(tmp_path, "lm")[0])
    agrees_with_its_table(model, "lm")
    assert type(model) is Lm and model.estimator == "OLS" and model.se_type == "non-robust"
    np.testing.assert_allclose(model.predict(model.data), model.fits, rtol=1e-12)
    np.testing.assert_allclose(model.fits, model.data["fits"], rtol=0)
    alike_models(model, saved(model, tmp_path / "new.h5"))


def test_a_two_stage_model_loads(tmp_path):
    """Groups in which a predictor does not vary had a regression there, of least length; today they have none."""
    model = load_model(legacy_files(tmp_path, "lm2")[0])
    agrees_with_its_table(model, "lm2")
    assert type(model) is Lm2 and model.group == "Group" and model.se_type == "non-robust"
    assert model.fixef.shape == (47, 3) and model.fixef.index.name == "Group"
    assert any("14, 31, 46" in text for text in model.warnings)
    np.testing.assert_allclose(model.fixef.mean(), model.coefs["Estimate"], rtol=1e-12)
    rows = model.data[model.data["Group"] == 1]
    expected = model.fixef.loc[1, "Intercept"] + rows[["IV1", "IV3"]] @ model.fixef.loc[1, ["IV1", "IV3"]]
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-9)
    alike_models(model, saved(model, tmp_path / "new.h5"))


class Calls:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch called",)


def calls(file: h5py.File) -> None:
    file["data_atts/df_vals__coefs"][0] = np.frombuffer(pickle.dumps(Calls(), 4), dtype=np.uint8)


def doubled(file: h5py.File) -> None:
    values = file["data_atts/df_vals__data"]
    values[:, 3] = values[:, 3] * 2


MADE_OVER = r"saved by release 0\.7, can't be made a model of today"


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda file: file.__delitem__("data_atts/df_vals__coefs"), MADE_OVER),
        (lambda file: file.__delitem__("data_atts/df_idx__data"), MADE_OVER),
        (lambda file: file["data_atts"].__setitem__("other", 1.0), f"{MADE_OVER}.*data_atts/other is no part"),
        (lambda file: file.__delitem__("data_atts"), "lacks the groups"),
        (lambda file: file["simple_atts"].attrs.__setitem__("model_class", "Lasso"), "a model of class"),
        (calls, r"names posix\.system, which no model file of the 0\.7 line does"),
        (doubled, "its data and formula do not give the numbers"),
    ],
)
def test_files_that_lack_something_or_hold_more_are_refused(tmp_path, change, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (h5,) = legacy_files(tmp_path, "lm")
    with h5py.File(h5, "a") as file:
        change(file)
    with pytest.raises(FileError, match=rf"{h5}.*{told}"):
        load_model(h5)
    assert not (tmp_path / "called").exists()


# ------------------------------------------------------------------ factors

# As that release prepared its factors: text with the levels asked for, and contrasts set on the column. Text that was
# not asked for stayed text, whose levels R sorts as the language of that machine does.
FACTORS = {
    "levels": ({"IV3": ["0.5", "1.0", "1.5"]}, ""),
    "another order": ({"IV3": ["1.0", "1.5", "0.5"]}, ""),
    "contrasts": (
        {"IV3": {"0.5": [1, 0], "1.0": [-0.5, 1], "1.5": [-0.5, -1]}},
        "contrasts(d$IV3) <- solve(rbind(1/3, c(1, -.5, -.5), c(0, 1, -1)))[, -1]",
    ),
    "another solution": (
        {"IV3": {"0.5": 1, "1.0": -0.5, "1.5": -0.5}},
        "contrasts(d$IV3) <- solve(rbind(1/3, c(1, -.5, -.5), c(0, -3, 3)))[, -1]",
    ),
}
FIT = """
suppressMessages(library(lme4)); folder <- commandArgs(TRUE)[1]
d <- read.csv(file.path(folder, "d.csv")); levels <- readLines(file.path(folder, "levels"))
d$IV3 <- factor(sprintf("%.1f", d$IV3), levels)
CODING
d$side <- factor(d$side, c("a", "B", "c"))
m <- lmer(DV ~ IV3 + side + (1 | Group), d)
m@frame$side <- as.character(m@frame$side)
saveRDS(m, file.path(folder, "old.rds"))
write.csv(data.frame(term = names(fixef(m)), b = fixef(m)), file.path(folder, "b.csv"), row.names = FALSE)
write.csv(data.frame(fits = fitted(m)), file.path(folder, "fits.csv"), row.names = FALSE)
"""


def with_sides() -> pd.DataFrame:
    data = load_dataset("sample_data")
    return data.assign(side=np.random.default_rng(4).choice(["a", "B", "c"], len(data)))


def coded(labels: pd.Index) -> np.ndarray:
    return labels.to_numpy() if labels.dtype.kind in "iu" else np.array([str(label).encode() for label in labels])


def file_of_07(folder: Path, factors: dict[str, Any], coding: str) -> Path:
    data = with_sides()
    data.to_csv(folder / "d.csv", index=False)
    (folder / "levels").write_text("\n".join(factors["IV3"]) + "\n")
    (folder / "s.R").write_text(FIT.replace("CODING", coding))
    subprocess.run(["Rscript", "--vanilla", str(folder / "s.R"), str(folder)], check=True, capture_output=True)
    told, fits = pd.read_csv(folder / "b.csv"), pd.read_csv(folder / "fits.csv")["fits"].to_numpy()
    today = Lmer("DV ~ IV3 + side + (1 | Group)", data)
    today.fit(factors=factors, summarize=False)
    shown = {"fits": fits, "residuals": data["DV"].to_numpy() - fits}
    simple = {name: getattr(today, name) for name in ("formula", "family", "logLike")} | shown
    simple |= {"fitted": True, "warnings": [], "grps": {"Group": 47.0}, "sig_type": "parametric", "factors": factors}
    simple |= {"_REML": True, "_permute": 0, "_conf_int": "Wald", "ranked_data": False, "model_class": "Lmer"}
    frames = {name: getattr(today, name) for name in ("ranef_var", "ranef", "fixef")} | {"data": data.assign(**shown)}
    frames["coefs"] = today.coefs.set_axis(told["term"].to_numpy(dtype=object)).assign(Estimate=told["b"].to_numpy())
    held: dict[str, Any] = {}
    for name, frame in frames.items():
        dtypes = {column: str(dtype) for column, dtype in frame.dtypes.items()}
        held |= {f"df_cols__{name}": coded(frame.columns), f"df_idx__{name}": coded(frame.index)}
        held[f"df_dtypes__{name}"] = dtypes
    (folder / "old.h5").write_bytes(tree.write({"data_atts": held, "simple_atts": simple}, {}))
    with h5py.File(folder / "old.h5", "a") as file:
        for name, frame in frames.items():
            made = file.create_dataset(f"data_atts/df_vals__{name}", (1,), dtype=h5py.vlen_dtype(np.uint8))
            made[0] = np.frombuffer(pickle.dumps(frame.to_numpy(dtype=object), 4), dtype=np.uint8)
            made.attrs["PSEUDOATOM"] = b"object"
    return folder / "old.h5"


@pytest.mark.parametrize("case", FACTORS)
def test_levels_and_codings_are_taken_from_the_r_object(tmp_path, case):
    factors, coding = FACTORS[case]
    model = load_model(file_of_07(tmp_path, factors, coding))
    assert model.factors == factors and list(model.coefs.index[-2:]) == ["sideB", "sidec"]
    if not coding:
        assert list(model.coefs.index[1:3]) == [f"IV3{level}" for level in factors["IV3"][1:]]
    np.testing.assert_allclose(model.predict(model.data, use_rfx=True), model.fits, rtol=1e-9)
    cells = pd.DataFrame({"IV3": [0.5, 1.0, 1.5], "side": ["B", "a", "c"]})
    expected = model.predict(cells)
    for spelled in (["0.5", "1.0", "1.5"], ["0.50", "1", "1.5"], pd.Categorical([0.5, 1.0, 1.5])):
        np.testing.assert_array_equal(model.predict(cells.assign(IV3=spelled)), expected)
    fitted_to = with_sides()[["IV3", "side"]].assign(b=model.predict(with_sides()))
    means = fitted_to.drop_duplicates(["IV3", "side"]).groupby("IV3")["b"].mean()
    for at in (None, {"IV3": [0.5, 1, "1.5"]}):
        table = model.emmeans("IV3", at=at)[0]
        found = table["Estimate"].set_axis(table["IV3"].astype(float)).sort_index()
        np.testing.assert_allclose(found, means)
    assert len(model.plot("IV3").get_xticks()) == 3
    again = saved(model, tmp_path / "new.h5")
    np.testing.assert_allclose(again.predict(cells), expected, rtol=1e-12)
    with pytest.raises(DataError, match="has the level\\(s\\) '2', which the model was not fitted to"):
        again.predict(cells.assign(IV3=2.0))
    again.fit(factors=factors, summarize=False)
    np.testing.assert_allclose(again.predict(cells), expected, rtol=1e-6)


def test_an_r_object_is_looked_into_before_it_is_used(tmp_path):
    file = file_of_07(tmp_path, *FACTORS["levels"])
    model = load_model(file)
    V = model.vcov  # before anything else has the R object made over
    assert list(V.index) == list(model.coefs.index) and model.nobs == len(model.data)
    told = rinterface.evalr("function(m) as.numeric(as.matrix(vcov(m)))")(model.model_obj)
    np.testing.assert_allclose(V, np.reshape(list(told), V.shape), rtol=1e-9)
    other = load_model(file)
    other._frame["side"] = other._frame["side"].to_numpy()[::-1]
    with pytest.raises(FileError, match=r"old\.rds was fitted to other predictors than the data of the \.h5"):
        other.predict(other.data)
    # The order of text is that of the locale where the model was fitted; there R sorts by code point.
    code = (
        f"from pymer4 import load_model\nmodel = load_model({str(file)!r})\n"
        "print(abs(model.predict(model.data, use_rfx=True) - model.fits).max() < 1e-6)"
    )
    plain = {name: value for name, value in os.environ.items() if name[:3] != "LC_" and name != "LANG"}
    done = subprocess.run([sys.executable, "-c", code], env=plain | {"LC_ALL": "C"}, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_levels_of_a_file_are_those_of_its_r_object(tmp_path):
    """Also where this version would spell them in another way."""
    model = Lmer("y ~ x + level + (1 | g)", trial())
    model.fit(factors={"level": [0.5, 1.0, 2.0]}, summarize=False)
    expected = model.predict(trial())
    model.factors = {"level": ["0.5", "1.0", "2.0"]}
    model._options = replace(model._options, factors=model.factors)
    loaded = saved(model, tmp_path / "m.h5")
    np.testing.assert_array_equal(loaded.predict(trial()), expected)
    assert loaded._kinds["level"].levels == ("0.5", "1", "2")
