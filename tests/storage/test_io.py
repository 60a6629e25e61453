"""Mixed models that outlive the process: files, pickles, copies, and the R object."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from kept import MIXED, QUESTIONS, alike, alike_models, legacy_files, mixed, refitted, saved, trial

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import FileError, MissingFileError
from pymer4.storage import pair

pytestmark = pytest.mark.r


@pytest.mark.parametrize("name", MIXED)
def test_a_model_comes_back_answers_and_refits_as_before(name, tmp_path):
    """Predictions, simulations, tests and limits come from an R object that was bytes in between."""
    model, back = mixed(name), saved(mixed(name), tmp_path / "x.h5")
    alike_models(model, back)
    data = MIXED[name][1]()
    data = data if name == "arrays" else data.head(20)
    for asked in ({}, {"use_rfx": True}, {"pred_type": "link"}, {"interval": "confidence"}):
        alike(model.predict(data, **asked), back.predict(data, **asked))
    for asked in ({}, {"use_rfx": False}):
        alike(model.simulate(2, seed=1, **asked), back.simulate(2, seed=1, **asked))
    alike(model.anova(), back.anova())
    alike(model.confint(), back.confint())
    alike_models(model, refitted(back), but=QUESTIONS)


@pytest.mark.parametrize("name, variable", [("number levels", "level"), ("binomial", "dose")])
def test_it_answers_the_longer_questions_as_before(name, variable, tmp_path):
    both = copy.deepcopy(mixed(name)), saved(mixed(name), tmp_path / "x.h5")
    questions = ["joint_tests", *(["ranova"] if name == "number levels" else [])]
    found = []
    for model in both:
        told = [model.confint("boot", n_boot=8, seed=3), *(getattr(model, question)() for question in questions)]
        found.append([*told, *model.post_hoc(variable), *([] if name == "binomial" else [model.confint("profile")])])
    alike(*found)


def test_tables_of_later_questions_come_back(tmp_path):
    model = Lmer("y ~ cond * x + (1 | g)", trial())
    model.fit(factors={"cond": ["C", "b", "a"]}, summarize=False)
    model.post_hoc("cond", summarize=False)
    model.anova(force_orthogonal=True)
    model.emmeans("cond", at={"x": [0.0]})
    assert model.ranef_se is not None
    back = saved(model, tmp_path / "x.h5")
    alike_models(model, back)
    assert back.factors_prev_ == {"cond": ["C", "b", "a"]} and back.marginal_estimates.attrs["level"] == 0.95


def test_a_model_that_is_not_fitted_comes_back(tmp_path):
    model = Lmer("y ~ x + (1 | g)", trial(), "gaussian", weights="w")
    back = saved(model, tmp_path / "x.h5")
    assert not back.fitted and back.model_obj is None and os.listdir(tmp_path) == ["x.h5"]
    alike_models(model, back)
    for each in (model, back):
        each.fit(summarize=False)
    alike_models(model, back)


def test_the_data_come_back_as_the_user_left_them(tmp_path):
    model = Lmer("y ~ x + (1 | g)", trial())
    model.fit(summarize=False)
    model.data["mine"] = "a"
    model.data.loc[0, "x"] = 99.0
    back = saved(model, tmp_path / "x.h5")
    alike(back.data, model.data)
    alike(back._frame, trial())
    back.fit(summarize=False)
    alike(back.coefs, model.coefs)


def test_a_loaded_model_can_be_saved_again_and_does_not_need_its_files(tmp_path):
    once = saved(mixed("crossed"), tmp_path / "a.h5")
    twice = saved(once, tmp_path / "b.h5")
    for ending in ("robj", "h5"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    save_model(mixed("slopes"), tmp_path / "b.h5")
    (tmp_path / "b.robj").unlink()
    alike_models(mixed("crossed"), twice)
    alike(twice.predict(trial(), use_rfx=True), mixed("crossed").predict(trial(), use_rfx=True))


# ------------------------------------------------------------------ pickles, copies, processes


@pytest.mark.parametrize("name", ["slopes", "holes", "number levels", "odd names", "arrays"])
def test_copies_are_the_model(name, tmp_path):
    model = mixed(name)
    joblib.dump(model, tmp_path / "x.joblib", compress=3)
    made = [pickle.loads(pickle.dumps(model, p)) for p in (2, pickle.HIGHEST_PROTOCOL)]
    for each in (*made, copy.deepcopy(model), copy.copy(model), joblib.load(tmp_path / "x.joblib")):
        alike_models(model, each)
        alike(model.predict(model._frame, use_rfx=True), each.predict(model._frame, use_rfx=True))


def test_a_deep_copy_is_a_model_of_its_own():
    model = Lmer("y ~ x + (1 | g)", trial())
    model.fit(summarize=False)
    before, predicted, made = copy.deepcopy(model.coefs), model.predict(trial()), copy.deepcopy(model)
    assert made.model_obj is not model.model_obj
    made.data["x"] = 0.0
    made.coefs.iloc[:] = np.nan
    made.confint("profile")
    made.fit(REML=False, summarize=False)
    alike(model.coefs, before)
    alike(model.predict(trial()), predicted)
    alike(model._frame, trial())


def predicted_there(model: Lmer) -> tuple[np.ndarray, Lmer]:
    return model.predict(trial(), use_rfx=True), model


def test_models_go_to_other_processes_and_come_back():
    names = ("slopes", "binomial")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(predicted_there)(mixed(name)) for name in names)
    for name, (values, model) in zip(names, found, strict=True):
        alike(values, mixed(name).predict(trial(), use_rfx=True))
        alike_models(mixed(name), model)


def told_by(code: str, *files: Path, **environment: str) -> list[str]:
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_another_process_loads_the_same_and_starts_r_when_it_is_asked(tmp_path):
    model = mixed("slopes")
    save_model(model, tmp_path / "x.h5")
    code = (
        "import sys; from pymer4 import load_model; m = load_model(sys.argv[1])\n"
        "print(m.coefs.iloc[:, 0].map(float.hex).to_list(), m.design_matrix.shape, m.convergence.code)\n"
        "assert 'rpy2' not in sys.modules\n"
        "print([float.hex(float(v)) for v in m.predict(m.data, use_rfx=True)])\n"
    )
    tables, predictions = told_by(code, tmp_path / "x.h5")
    estimates = model.coefs.iloc[:, 0].map(float.hex).to_list()
    assert tables == f"{estimates} {model.design_matrix.shape} {model.convergence.code}"
    assert predictions == str([float.hex(float(v)) for v in model.predict(trial(), use_rfx=True)])


def test_the_tables_are_read_on_a_machine_without_r(tmp_path):
    """An rpy2 that can't be imported stands for the missing R."""
    save_model(mixed("slopes"), tmp_path / "x.h5")
    code = (
        "import sys; sys.modules['rpy2'] = None\n"
        "from pymer4 import Lmer, load_model, save_model\n"
        "m = load_model(sys.argv[1]); m.summary(); print(m.ranef_var, m.design_matrix.head())\n"
        "save_model(m, sys.argv[2]); assert load_model(sys.argv[2]).coefs.equals(m.coefs)\n"
        "assert m._reading.columns == ('y', 'x', 'g')\n"
        "for ask in (lambda: m.predict(m.data), lambda: Lmer(m.formula, m.data)):\n"
        "    try: ask()\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    nowhere = {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path), "R_HOME": "/nowhere"}
    assert told_by(code, tmp_path / "x.h5", tmp_path / "y.h5", **nowhere)[-2:] == ["RUnavailable"] * 2


# ------------------------------------------------------------------ the R object


def test_r_reads_the_r_object(tmp_path):
    save_model(mixed("slopes"), tmp_path / "x.h5")
    code = (
        "m <- readRDS(commandArgs(TRUE)); suppressMessages(library(lmerTest))\n"
        "env <- environment(formula(m))\n"
        "cat(class(m), identical(parent.env(env), globalenv()), paste(ls(env), collapse = ','), '\\n')\n"
        "cat(sprintf('%a', c(fixef(m), predict(m)[1:3], coef(summary(m))[, 'df'])), '\\n')\n"
        "cat(sprintf('%a', fixef(update(m, . ~ . - x))), '\\n')"
    )
    command = ["Rscript", "--vanilla", "-e", code, str(tmp_path / "x.robj")]
    where, numbers, smaller = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert where.split() == ["lmerModLmerTest", "TRUE", "data"] and smaller.strip()
    found, model = [float.fromhex(value) for value in numbers.split()], mixed("slopes")
    assert found[:5] == [*model.coefs["Estimate"], *model.fits[:3]]
    np.testing.assert_allclose(found[5:], model.coefs["DF"], rtol=1e-12)  # lmerTest sums in another order


@pytest.mark.parametrize("name", ["crossed", "binomial", "number levels"])
def test_the_r_object_carries_nothing_of_ours(name, tmp_path):
    """The environment of its formula has the global one as parent: none of the functions of R/ comes along."""
    save_model(mixed(name), tmp_path / "x.h5", compression=None)
    held = (tmp_path / "x.robj").read_bytes()
    assert held.startswith(b"X\n") and len(held) < 2_000_000 + 3000 * len(trial())
    for verb in ("run_verb", "fit_mixed", "describe", "as_lmertest", "pack_model"):
        assert verb.encode() not in held


@pytest.mark.parametrize("compression", ["zlib", None])
def test_the_h5_names_its_r_object(tmp_path, compression):
    save_model(mixed("slopes"), tmp_path / "x.h5", compression=compression)
    robj = (tmp_path / "x.robj").read_bytes()
    assert pair.named((tmp_path / "x.h5").read_bytes()) == pair.digest(robj)
    assert robj[:2] == (b"\x1f\x8b" if compression else b"X\n")


@pytest.mark.parametrize("how", ["bz2", "lzma", None])
def test_an_r_object_in_another_compression_is_read(tmp_path, how):
    h5, rds = legacy_files(tmp_path, "lmer_simple")
    packed: Any = __import__(how).compress if how else bytes
    rds.write_bytes(packed(gzip.decompress(rds.read_bytes())))
    assert np.isfinite(load_model(h5).predict(pd.DataFrame({"IV2": [1.0]}))).all()


def test_a_missing_r_object_is_named_and_the_tables_load(tmp_path):
    save_model(mixed("slopes"), tmp_path / "x.h5")
    (tmp_path / "x.robj").rename(tmp_path / "y.robj")
    with pytest.raises(MissingFileError, match=r"x\.robj.*x\.h5, is not there.*allow_missing_r=True"):
        load_model(tmp_path / "x.h5")
    back = load_model(tmp_path / "x.h5", allow_missing_r=True)
    alike(back.coefs, mixed("slopes").coefs)
    alike(back.design_matrix, mixed("slopes").design_matrix)
    for question in (lambda: back.predict(trial()), back.anova, lambda: back.model_obj):
        with pytest.raises(MissingFileError, match=r"x\.robj is not there.*\.fit\(\)"):
            question()
    with pytest.raises(MissingFileError, match="loaded without its R object"):
        save_model(back, tmp_path / "z.h5")
    assert not (tmp_path / "z.h5").exists()
    alike_models(mixed("slopes"), refitted(back), but=QUESTIONS)


def test_a_foreign_r_object_is_named(tmp_path):
    save_model(mixed("slopes"), tmp_path / "x.h5")
    save_model(mixed("crossed"), tmp_path / "y.h5")
    shutil.copy(tmp_path / "y.robj", tmp_path / "x.robj")
    with pytest.raises(FileError, match=r"x\.robj is foreign"):
        load_model(tmp_path / "x.h5")
    assert load_model(tmp_path / "x.h5", allow_missing_r=True).coefs.equals(mixed("slopes").coefs)


@pytest.mark.slow
def test_killed_a_hundred_times_while_saving(tmp_path):
    """A process is killed at random moments of its saves; each time the last good pair loads."""
    save_model(mixed("slopes"), tmp_path / "a.h5")
    save_model(mixed("crossed"), tmp_path / "b.h5")
    script = Path(__file__).with_name("kill_while_saving.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path), "100"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    model = load_model(tmp_path / "x.h5")
    expected = mixed("slopes" if model.formula == mixed("slopes").formula else "crossed")
    alike_models(expected, model)
    alike(model.predict(trial(), use_rfx=True), expected.predict(trial(), use_rfx=True))
