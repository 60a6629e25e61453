"""Models that outlive the process: files, pickles and copies, and the files of release 0.7."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
from against_r import rinterface

from pymer4 import Lmer, get_resource_path, load_model, save_model
from pymer4 import io as model_io
from pymer4.errors import DataError, FileError, FormulaError, MissingFileError, ModelWarning, OptionError
from pymer4.models.lm import Lm
from pymer4.models.lm2 import Lm2
from pymer4.rbridge import bridge
from pymer4.storage import pair, state, tree

pytestmark = pytest.mark.r

LEGACY = Path(__file__).parents[1] / "legacy"
ODD = {"x": "a/b", "z": "é ü", "g": "_p_ g.1", "cond": "TITLE"}


@cache
def trial() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 180
    g = rng.permutation(np.repeat(np.arange(18), 10))
    frame = pd.DataFrame(
        {
            "g": g,
            "h": np.array([f"i/{k}" for k in range(9)], dtype=object)[rng.permutation(np.tile(np.arange(9), 20))],
            "x": rng.normal(1, 1, n),
            "z": rng.normal(3, 1, n),
            "cond": rng.choice(["b", "ä", "C"], n),
            "flag": rng.random(n) < 0.4,
            "dose": rng.choice([0.5, 1.0, 2.0], n),
            "size": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True),
            "w": rng.uniform(0.5, 2, n),
            "trials": rng.integers(5, 15, n),
            "when": pd.date_range("2020", periods=n),
        }
    )
    frame["y"] = frame.x + 0.4 * frame.flag + rng.normal(0, 1, 18)[g] * (1 + 0.4 * frame.x) + rng.normal(0, 1, n)
    frame["hits"] = rng.binomial(frame.trials, 1 / (1 + np.exp(-0.3 * frame.x - rng.normal(0, 0.5, 18)[g])))
    frame["n"] = rng.poisson(np.exp(0.5 + 0.2 * frame.x + rng.normal(0, 0.4, 18)[g]))
    frame["pos"] = np.exp(0.1 * frame.y)
    return frame


def with_holes() -> pd.DataFrame:
    frame = trial().copy()
    frame.loc[[3, 50], "y"] = np.nan
    frame.loc[[7, 50, 100], "x"] = np.nan
    return frame.set_index(pd.Index([f"row {i}" for i in range(len(frame))], name="id"))


WEIGHTS = {"low": 1, "mid": -0.5, "high": -0.5}
CASES: dict[str, tuple] = {
    "slopes": ("y ~ x + (x | g)", trial, {}, {}),
    "crossed": ("y ~ x * cond + flag + (1 | g) + (1 | h)", trial, {}, {"conf_level": 0.9, "REML": False}),
    "nested": ("y ~ size + (1 | h / flag)", trial, {}, {"ddf": "Kenward-Roger"}),
    "uncorrelated": ("y ~ 0 + cond + (x || g)", trial, {}, {"ddf": "asymptotic"}),
    "holes": ("y ~ x + I(x^2) + scale(z) + (1 | g)", with_holes, {}, {}),
    "weighted": ("y ~ x + (1 | g)", trial, {"weights": "w", "offset": "z"}, {}),
    "arrays": ("y ~ x + (1 | g)", trial, {"weights": np.linspace(0.5, 2, 180), "offset": np.arange(180) / 90}, {}),
    "number levels": ("y ~ dose * x + (1 | g)", trial, {}, {"factors": {"dose": {1.0: 1, 0.5: -0.5, 2: -0.5}}}),
    "named contrasts": ("y ~ cond + (1 | g)", trial, {}, {"factors": {"cond": {"a/b": {"C": 1, "b": -1, "ä": 0}}}}),
    "polynomials": ("y ~ dose + (1 | g)", trial, {}, {"factors": {"dose": [0.5, 1, 2.0]}, "ordered": True}),
    "permuted": ("y ~ x + (1 | g)", trial, {}, {"permute": 19, "seed": 2**70}),
    "bootstrapped": ("y ~ x + (1 | g)", trial, {}, {"conf_int": "boot", "n_boot": 12, "seed": 1}),
    "ranked": ("y ~ x + z + (1 | g)", trial, {}, {"rank": True, "rank_group": "g", "rank_exclude_cols": ["z"]}),
    "control": ("y ~ x + (1 | g)", trial, {}, {"control": {"optimizer": "bobyqa", "optCtrl": {"maxfun": 500}}}),
    "old optimizer": ("y ~ x + (1 | g)", trial, {}, {"old_optimizer": True}),
    "aliased": ("y ~ x + I(2 * x) + (1 | g)", trial, {}, {}),
    "odd names": ("y ~ `a/b` + `é ü` + TITLE + (1 | `_p_ g.1`)", lambda: trial().rename(columns=ODD), {}, {}),
    "own fits": ("y ~ x + (1 | g)", lambda: trial().assign(fits=1.5, residuals="text"), {}, {}),
    "binomial": ("cbind(hits, trials - hits) ~ x + size + (1 | g)", trial, {"family": "binomial"}, {}),
    "poisson": ("n ~ x + (1 | g)", trial, {"family": "poisson", "offset": "w"}, {"nAGQ": 3}),
    "nbinom": ("n ~ x + (1 | g)", trial, {"family": "nbinom"}, {}),
    "gamma": ("pos ~ x + (1 | g)", trial, {"family": "gamma", "link": "log"}, {}),
}  # fmt: skip
every_case = pytest.mark.parametrize("name", CASES)


@cache
def fitted(name: str) -> Lmer:
    formula, data, given, fit = CASES[name]
    model = Lmer(formula, data(), **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(summarize=False, **fit)
    return model


def alike(a: Any, b: Any, where: str = "") -> None:
    """Assert that two values are the same to the last bit, and in type but for NumPy's scalars."""
    a, b = (value.item() if isinstance(value, np.generic) else value for value in (a, b))
    assert type(a) is type(b), (where, a, b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_index_type="exact", check_column_type="exact")
        alike(a.attrs, b.attrs, f"{where}.attrs")
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fmM"), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            alike(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            alike(x, y, f"{where}[{i}]")
    elif isinstance(a, float):
        assert a == b or (a != a and b != b), where
    elif hasattr(a, "__slots__"):
        for field in a.__slots__:
            alike(getattr(a, field), getattr(b, field), f"{where}.{field}")
    else:
        assert a == b, where


QUESTIONS = ("anova_results", "marginal_estimates", "marginal_contrasts", "_ranef_se")


def alike_models(a: Any, b: Any, but: tuple[str, ...] = ()) -> None:
    """Assert that all attributes of two models are the same, those that are made anew too."""
    anew = type(a)._ANEW.keys() - {
        "_handle",
        "_for_new_rows",
        "_grids",
        "_grid_variables",
        "_scope",
        "_designed",
        "_estimate",
        "_design",
    }
    for name in sorted({*vars(a), *anew} - {*type(a)._ANEW, "_saved", "_terms", "_scope_told", *but} | anew):
        if name == "_fit" and but:
            continue
        alike(getattr(a, name), getattr(b, name), f".{name}")
    if a.fitted and hasattr(a, "design_matrix"):
        alike(a.design_matrix, b.design_matrix, ".design_matrix")
    assert printed(a.summary) == printed(b.summary) if a.fitted else repr(a) == repr(b)


def printed(function: Any) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function()
    return out.getvalue()


def saved(model: Any, path: Path, **options: Any) -> Any:
    save_model(model, path, **options)
    return load_model(path)


# ------------------------------------------------------------------ a mixed model comes back


@every_case
def test_every_attribute_comes_back(name, tmp_path):
    model = fitted(name)
    back = saved(model, tmp_path / "x.h5")
    alike_models(model, back)
    assert type(back) is Lmer and back.fitted


@every_case
def test_it_answers_as_before(name, tmp_path):
    """Predictions, simulations, tests and limits come from an R object that was bytes in between."""
    model, back = fitted(name), saved(fitted(name), tmp_path / "x.h5")
    new = CASES[name][1]().head(20)
    rows_of_the_fit = name == "arrays"
    data = CASES[name][1]() if rows_of_the_fit else new
    for asked in ({}, {"use_rfx": True}, {"pred_type": "link"}, {"interval": "confidence"}):
        alike(model.predict(data, **asked), back.predict(data, **asked))
    alike(model.simulate(2, seed=1), back.simulate(2, seed=1))
    alike(model.simulate(2, use_rfx=False, seed=1), back.simulate(2, use_rfx=False, seed=1))
    alike(model.anova(), back.anova())
    alike(model.confint(), back.confint())


@pytest.mark.parametrize("name", ["slopes", "holes", "number levels", "binomial"])
def test_it_answers_the_longer_questions_as_before(name, tmp_path):
    model, back = fitted(name), saved(fitted(name), tmp_path / "x.h5")
    alike(model.confint("boot", n_boot=8, seed=3), back.confint("boot", n_boot=8, seed=3))
    if name == "number levels":
        alike(model.confint("profile"), back.confint("profile"))
    variable = {"holes": "z", "number levels": "dose", "binomial": "size"}.get(name, "x")
    model.post_hoc(variable, summarize=False)
    back.post_hoc(variable, summarize=False)
    for table in ("marginal_estimates", "marginal_contrasts"):
        alike(getattr(model, table), getattr(back, table))
    alike(model.joint_tests(), back.joint_tests())
    if name != "binomial":
        alike(model.ranova(), back.ranova())


@every_case
def test_it_refits_as_before(name, tmp_path):
    model = fitted(name)
    back = saved(model, tmp_path / "x.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back.fit(**back._options.arguments(), summarize=False)
    alike_models(model, back, but=QUESTIONS)


def test_tables_of_later_questions_come_back(tmp_path):
    model = Lmer("y ~ cond * x + (1 | g)", trial())
    model.fit(factors={"cond": ["C", "b", "ä"]}, summarize=False)
    model.post_hoc("cond", summarize=False)
    model.anova(force_orthogonal=True)
    model.emmeans("cond", at={"x": [0.0]})
    assert model.ranef_se is not None
    back = saved(model, tmp_path / "x.h5")
    alike_models(model, back)
    assert back.factors_prev_ == {"cond": ["C", "b", "ä"]}
    assert back.marginal_estimates.attrs["level"] == 0.95


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
    model.note = {"by": "me", "on": [1, None]}
    back = saved(model, tmp_path / "x.h5")
    alike(back.data, model.data)
    alike(back._frame, trial())
    assert back.note == model.note
    back.fit(summarize=False)
    alike(back.coefs, model.coefs)


def test_a_loaded_model_can_be_saved_and_loaded_again(tmp_path):
    once = saved(fitted("crossed"), tmp_path / "a.h5")
    twice = saved(once, tmp_path / "b.h5")
    assert (tmp_path / "a.robj").read_bytes() == (tmp_path / "b.robj").read_bytes()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    alike_models(fitted("crossed"), twice)
    thrice = saved(twice, tmp_path / "c.h5")
    alike_models(fitted("crossed"), thrice)


def test_a_file_that_is_written_over_leaves_the_loaded_model_alone(tmp_path):
    back = saved(fitted("slopes"), tmp_path / "x.h5")
    save_model(fitted("crossed"), tmp_path / "x.h5")
    (tmp_path / "x.robj").unlink()
    alike(back.predict(trial(), use_rfx=True), fitted("slopes").predict(trial(), use_rfx=True))


# ------------------------------------------------------------------ pickles and copies


def copies(model: Any, tmp_path: Path) -> dict[str, Any]:
    joblib.dump(model, tmp_path / "x.joblib", compress=3)
    return {
        **{f"pickle {p}": pickle.loads(pickle.dumps(model, p)) for p in (2, pickle.HIGHEST_PROTOCOL)},
        "deepcopy": copy.deepcopy(model),
        "copy": copy.copy(model),
        "joblib": joblib.load(tmp_path / "x.joblib"),
    }


@pytest.mark.parametrize("name", ["slopes", "holes", "number levels", "own fits", "poisson", "arrays"])
def test_copies_are_the_model(name, tmp_path):
    model = fitted(name)
    for made in copies(model, tmp_path).values():
        alike_models(model, made)
        alike(model.predict(model._frame, use_rfx=True), made.predict(model._frame, use_rfx=True))


def test_a_deep_copy_is_a_model_of_its_own():
    model = Lmer("y ~ x + (1 | g)", trial())
    model.fit(summarize=False)
    before, predicted = copy.deepcopy(model.coefs), model.predict(trial())
    made = copy.deepcopy(model)
    assert made.model_obj is not model.model_obj
    made.data["x"] = 0.0
    made.coefs.iloc[:] = np.nan
    made.confint("profile")
    made.fit(factors={"cond": ["b", "C", "ä"]} if "cond" in made.formula else None, REML=False, summarize=False)
    alike(model.coefs, before)
    alike(model.predict(trial()), predicted)
    alike(model._frame, trial())


def test_models_go_to_other_processes_and_come_back():
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(predicted_there)(fitted(name)) for name in ("slopes", "poisson"))
    for name, (values, model) in zip(("slopes", "poisson"), found, strict=True):
        alike(values, fitted(name).predict(trial(), use_rfx=True))
        alike_models(fitted(name), model)


def predicted_there(model: Lmer) -> tuple[np.ndarray, Lmer]:
    return model.predict(trial(), use_rfx=True), model


def test_another_process_loads_the_same(tmp_path):
    model = fitted("slopes")
    save_model(model, tmp_path / "x.h5")
    code = (
        "import sys; from pymer4 import load_model; m = load_model(sys.argv[1])\n"
        "assert 'rpy2' not in sys.modules\n"
        "print(m.coefs.iloc[:, 0].map(float.hex).to_list(), m.fits[:2].tolist(), "
        "m.design_matrix.shape, m.convergence.code)\n"
        "assert 'rpy2' not in sys.modules\n"
        "print([float.hex(float(v)) for v in m.predict(m.data, use_rfx=True)])\n"
        "print(m.anova().loc['x'].iloc[:5].map(float.hex).to_list())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.h5")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tables, predictions, tests = done.stdout.splitlines()
    estimates = model.coefs.iloc[:, 0].map(float.hex).to_list()
    assert tables == f"{estimates} {model.fits[:2].tolist()} {model.design_matrix.shape} {model.convergence.code}"
    assert predictions == str([float.hex(float(v)) for v in model.predict(trial(), use_rfx=True)])
    assert tests == str(model.anova().loc["x"].iloc[:5].map(float.hex).to_list())


def test_the_tables_are_read_on_a_machine_without_r(tmp_path):
    """An rpy2 that can't be imported stands for the missing R."""
    save_model(fitted("slopes"), tmp_path / "x.h5")
    code = (
        "import sys; sys.modules['rpy2'] = None\n"
        "from pymer4 import load_model, save_model\n"
        "m = load_model(sys.argv[1]); m.summary(); print(m.ranef_var, m.design_matrix.head())\n"
        "save_model(m, sys.argv[2]); assert load_model(sys.argv[2]).coefs.equals(m.coefs)\n"
        "assert m._reading.columns == ('y', 'x', 'g')\n"
        "from pymer4 import Lmer\n"
        "for ask in (lambda: m.predict(m.data), lambda: Lmer(m.formula, m.data)):\n"
        "    try: ask()\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    files = [str(tmp_path / name) for name in ("x.h5", "y.h5")]
    environment = os.environ | {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path), "R_HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["RUnavailable"] * 2


# ------------------------------------------------------------------ the R object


def test_r_reads_the_r_object(tmp_path):
    save_model(fitted("slopes"), tmp_path / "x.h5")
    code = (
        "m <- readRDS(commandArgs(TRUE)); suppressMessages(library(lmerTest))\n"
        "env <- environment(formula(m))\n"
        "cat(class(m), identical(parent.env(env), globalenv()), paste(ls(env), collapse = ','), '\\n')\n"
        "cat(sprintf('%a', c(fixef(m), predict(m)[1:3], coef(summary(m))[, 'df'])), '\\n')\n"
        "cat(sprintf('%a', fixef(update(m, . ~ . - x))), '\\n')"
    )
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", code, str(tmp_path / "x.robj")], capture_output=True, text=True, check=True
    )
    where, numbers, smaller = done.stdout.splitlines()
    assert where.split() == ["lmerModLmerTest", "TRUE", "data"]
    found = [float.fromhex(value) for value in numbers.split()]
    model = fitted("slopes")
    assert found[:5] == [*model.coefs["Estimate"], *model.fits[:3]]
    np.testing.assert_allclose(found[5:], model.coefs["DF"], rtol=1e-12)  # lmerTest sums in another order
    assert smaller.strip()


@pytest.mark.parametrize("name", ["slopes", "crossed", "poisson", "control", "number levels"])
def test_the_r_object_carries_nothing_of_ours(name, tmp_path):
    """The environment of its formula has the global one as parent: none of the functions of R/ comes along."""
    save_model(fitted(name), tmp_path / "x.h5", compression=None)
    held = (tmp_path / "x.robj").read_bytes()
    assert held.startswith(b"X\n")
    for verb in ("run_verb", "fit_mixed", "describe", "as_satterthwaite", "pack_model"):
        assert verb.encode() not in held
    rows = len(trial())
    assert len(held) < 2_000_000 + 3000 * rows


@pytest.mark.parametrize("compression", ["zlib", None])
def test_the_h5_names_its_r_object(tmp_path, compression):
    save_model(fitted("slopes"), tmp_path / "x.h5", compression=compression)
    robj = (tmp_path / "x.robj").read_bytes()
    assert pair.named((tmp_path / "x.h5").read_bytes()) == pair.signature(robj)
    assert robj[:2] == (b"\x1f\x8b" if compression else b"X\n")


@pytest.mark.parametrize("how", ["bzip2", "xz", "plain"])
def test_an_r_object_in_another_compression_is_read(tmp_path, how):
    import bz2
    import lzma

    packed = {"bzip2": bz2.compress, "xz": lzma.compress, "plain": bytes}[how]
    for file in legacy_files(tmp_path, "lmer_simple"):
        if file.suffix == ".rds":
            file.write_bytes(packed(gzip.decompress(file.read_bytes())))
    assert np.isfinite(load_model(tmp_path / "lmer_simple.h5").predict(pd.DataFrame({"IV2": [1.0]}))).all()


def test_a_missing_r_object_is_named_and_the_tables_load(tmp_path):
    save_model(fitted("slopes"), tmp_path / "x.h5")
    robj = (tmp_path / "x.robj").rename(tmp_path / "y.robj")
    with pytest.raises(MissingFileError, match=r"x\.robj.*x\.h5, is not there.*allow_missing_r=True"):
        load_model(tmp_path / "x.h5")
    back = load_model(tmp_path / "x.h5", allow_missing_r=True)
    alike(back.coefs, fitted("slopes").coefs)
    alike(back.design_matrix, fitted("slopes").design_matrix)
    for question in (lambda: back.predict(trial()), back.anova, lambda: back.model_obj):
        with pytest.raises(MissingFileError, match=r"x\.robj is not there.*\.fit\(\)"):
            question()
    with pytest.raises(MissingFileError, match="loaded without its R object"):
        save_model(back, tmp_path / "z.h5")
    assert robj.exists() and not (tmp_path / "z.h5").exists()
    back.fit(summarize=False)
    alike_models(fitted("slopes"), back, but=QUESTIONS)


def test_a_foreign_r_object_is_named(tmp_path):
    save_model(fitted("slopes"), tmp_path / "x.h5")
    save_model(fitted("crossed"), tmp_path / "y.h5")
    shutil.copy(tmp_path / "y.robj", tmp_path / "x.robj")
    with pytest.raises(FileError, match=r"x\.robj is foreign"):
        load_model(tmp_path / "x.h5")
    assert load_model(tmp_path / "x.h5", allow_missing_r=True).coefs.equals(fitted("slopes").coefs)


# ------------------------------------------------------------------ paths and options


@pytest.mark.parametrize("name", ["x.h5", "x.hdf5", "a.b.c.h5", "run.v2/x.y.h5", "ä ö.h5"])
@pytest.mark.parametrize("kind", [str, Path])
def test_paths_have_dots_anywhere(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    back = saved(fitted("slopes"), kind(Path(".") / name))
    assert Path(name).with_suffix(".robj").is_file()
    assert len(list(Path(name).parent.iterdir())) == 2
    alike(back.predict(trial().head()), fitted("slopes").predict(trial().head()))


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


def filters_of(path: Path) -> set[tuple]:
    found = set()

    def look(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            plist = node.id.get_create_plist()
            found.update(plist.get_filter(i)[0::2][:2] for i in range(plist.get_nfilters()))

    with h5py.File(path) as file:
        file.visititems(look)
    return found


@pytest.mark.parametrize(
    "options, expected",
    [({}, (1, (4,))), ({"complevel": 9}, (1, (9,))), ({"complevel": 0}, None), ({"compression": None}, None),
     ({"compression": "zlib", "complevel": 1}, (1, (1,)))],
)  # fmt: skip
def test_compression(tmp_path, options, expected):
    back = saved(fitted("slopes"), tmp_path / "x.h5", **options)
    found = filters_of(tmp_path / "x.h5")
    assert found == ({(2, (8,)), expected} if expected else set())
    alike(back.data, fitted("slopes").data)


def test_blosc_where_its_package_is(tmp_path):
    import hdf5plugin

    alike_models(fitted("slopes"), saved(fitted("slopes"), tmp_path / "x.h5", compression="blosc"))
    assert any(number == hdf5plugin.BLOSC_ID for number, _ in filters_of(tmp_path / "x.h5"))


def test_blosc_gives_way_to_zlib_where_its_package_is_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.warns(ModelWarning, match=r"'blosc' needs the package hdf5plugin \(pip install.*by zlib") as told:
        save_model(fitted("slopes"), tmp_path / "x.h5", compression="blosc")
    assert len(told) == 1 and told[0].filename == __file__
    assert filters_of(tmp_path / "x.h5") == {(2, (8,)), (1, (4,))}
    alike_models(fitted("slopes"), load_model(tmp_path / "x.h5"))


@pytest.mark.parametrize("plugin", [True, False])
def test_a_filter_that_is_missing_is_named(tmp_path, monkeypatch, plugin):
    if not plugin:
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    (tmp_path / "x.h5").write_bytes(tree.write({"simple_atts": {}, "data_atts": {}}, {"FORMAT": 1}, {}))
    with rewritten(tmp_path / "x.h5") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10,))
        plist.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())  # lzo, which h5py has not
        space = h5py.h5s.create_simple((10,))
        made = h5py.h5d.create(file["simple_atts"].id, b"odd", h5py.h5t.IEEE_F64LE, space, plist)
        made.write_direct_chunk((0,), b"packed somehow")
    step = "hdf5plugin, which is here, does not bring it" if plugin else "pip install hdf5plugin"
    with pytest.raises(FileError, match=rf"x\.h5.*another filter that HDF5 has not here.*{step}"):
        load_model(tmp_path / "x.h5")


@pytest.mark.parametrize(
    "options, error, told",
    [
        ({"compression": "lzo"}, OptionError, "'zlib', 'blosc', None"),
        ({"compression": True}, OptionError, "'zlib', 'blosc', None"),
        ({"complevel": 10}, OptionError, "from 0 to 9"),
        ({"complevel": "9"}, OptionError, "complevel='9'"),
        ({"complvl": 3}, TypeError, "complevel"),
        ({"mode": "w"}, TypeError, "no argument 'mode'"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        save_model(fitted("slopes"), tmp_path / "x.h5", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", [None, 3, "model", trial(), Lmer], ids=lambda what: type(what).__name__)
def test_what_is_no_model_is_refused(tmp_path, what):
    with pytest.raises(OptionError, match=r"takes .*Lmer.* models, not a"):
        save_model(what, tmp_path / "x.h5")


class Mine(Lmer):
    pass


def test_a_class_of_the_users_own_is_pickled_not_saved(tmp_path):
    model = Mine("y ~ x + (1 | g)", trial())
    with pytest.raises(OptionError, match=r"not a Mine.*pickle and joblib"):
        save_model(model, tmp_path / "x.h5")
    assert type(pickle.loads(pickle.dumps(model))) is Mine


def test_an_attribute_that_no_file_holds_is_named_and_nothing_is_written(tmp_path):
    model = copy.copy(fitted("slopes"))
    model.note = [1, {"deep": print}]
    save_model(fitted("crossed"), tmp_path / "x.h5")
    with pytest.raises(DataError, match=r"its attribute \.note\[1\]\['deep'\] holds a .*delete it.*pickle or joblib"):
        save_model(model, tmp_path / "x.h5")
    alike(load_model(tmp_path / "x.h5").coefs, fitted("crossed").coefs)


def test_a_column_that_no_file_holds_is_named(tmp_path):
    frame = trial().copy()
    frame["odd"] = [[1]] * len(frame)
    with pytest.raises(DataError, match="Column 'odd' of data holds a value of type list"):
        save_model(Lmer("y ~ x + (1 | g)", frame), tmp_path / "x.h5")


# ------------------------------------------------------------------ what is wrong with a file


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save_model(fitted("slopes"), tmp_path / "x.h5")
    return tmp_path / "x.h5"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(good, share):
    content = good.read_bytes()
    good.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match=rf"{good}.*(not HDF5|can't be read as a model.*backup)"):
        load_model(good)


@pytest.mark.parametrize("content", [b"nonsense", b"X\n", b"\x89PNG\r\n\x1a\n" + b"0" * 100])
def test_a_file_of_another_kind_is_named(good, content):
    good.write_bytes(content)
    with pytest.raises(FileError, match=rf"{good} is no model file: it is not HDF5"):
        load_model(good)


def test_hdf5_of_another_kind_is_named(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(FileError, match="in the layout of one"):
        load_model(tmp_path / "x.h5")


@pytest.mark.parametrize("mark, value", [("DEEPDISH_IO_VERSION", 13), ("DEEPDISH_IO_PYMER4_FORMAT", 2)])
def test_a_newer_version_is_named(good, mark, value):
    with rewritten(good) as file:
        file.attrs[mark] = value
    with pytest.raises(FileError, match=r"format that pymer4 .* does not know\. Upgrade"):
        load_model(good)


@pytest.mark.parametrize("name", ["Lasso", "Model", "", "__all__"])
def test_another_class_is_named(good, name):
    with rewritten(good) as file:
        file["simple_atts"].attrs["model_class"] = name
    with pytest.raises(FileError, match="a model of class"):
        load_model(good)


@pytest.mark.parametrize("group", ["simple_atts", "data_atts"])
@pytest.mark.parametrize("title", [None, "record:", "list:0"])
def test_a_group_that_lacks_is_named(good, group, title):
    with rewritten(good) as file:
        if title is None:
            del file[group]
        else:
            file[group].attrs["TITLE"] = title
    with pytest.raises(FileError, match="lacks the groups"):
        load_model(good)


def test_a_table_that_lacks_an_entry_is_named(good):
    with rewritten(good) as file:
        del file["data_atts/df_vals__coefs"]
    with pytest.raises(FileError, match="can't be read as a model"):
        load_model(good)


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("share", np.linspace(0.001, 0.999, 12))
def test_a_flipped_bit_anywhere_is_told(good, share):
    content = bytearray(good.read_bytes())
    content[int(share * len(content))] ^= 0x10
    good.write_bytes(content)
    with pytest.raises(FileError, match=r"x\.h5 can't be read as a model.*check sum|is no model file"):
        load_model(good)


def test_a_seal_that_was_cut_off_is_told(good):
    good.write_bytes(good.read_bytes().split(pair._SEAL)[0])
    with pytest.raises(FileError, match="check sum is missing"):
        load_model(good)


@pytest.mark.parametrize("kind", ["lm", "lm2", "lmer_simple"])
def test_damaged_files_of_07_are_one_error(tmp_path, kind):
    """Files of that release have no check sum: what is read of them is right, or one error."""
    h5 = legacy_files(tmp_path, kind)[0]
    content, rng = h5.read_bytes(), np.random.default_rng(7)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(256)
        h5.write_bytes(damaged if rng.random() < 0.8 else damaged[: rng.integers(9, len(damaged))])
        with contextlib.suppress(FileError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_model(h5)


def test_a_size_that_the_file_cannot_hold_takes_no_memory(good):
    with rewritten(good) as file:
        file["simple_atts"].create_dataset("vast", shape=(2**44,), dtype="f8", chunks=(2**20,))
    with pytest.raises(FileError, match=r"vast.*which the file can't hold"):
        load_model(good)


def test_a_zero_array_has_no_values(good):
    with rewritten(good) as file:
        made = file["simple_atts"].create_dataset("vast", data=np.array([2**44]))
        made.attrs["zeroarray_dtype"] = np.bytes_(b"f8")
    with pytest.raises(FileError, match=r"vast.*values that stand nowhere"):
        load_model(good)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_a_pipe_is_no_model_file(tmp_path):
    os.mkfifo(tmp_path / "x.h5")
    with pytest.raises(FileError, match="no regular file"):
        load_model(tmp_path / "x.h5")


@pytest.mark.parametrize("name", ["a\0b.h5", "a" * 300 + ".h5"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(FileError):
        load_model(tmp_path / name)
    with pytest.raises(FileError):
        save_model(fitted("slopes"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"There is no file .*x\.h5"):
        load_model(tmp_path / "x.h5")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "x.h5")
    (tmp_path / "y.h5").mkdir()
    with pytest.raises(FileError, match="is a directory"):
        load_model(tmp_path / "y.h5")
    for function in (load_model, lambda path: save_model(fitted("slopes"), path)):
        with pytest.raises(OptionError, match=r"has to end in \.h5 or \.hdf5; .*x\.rds\.h5"):
            function(tmp_path / "x.rds")


def test_an_r_object_that_is_no_model_is_named(good):
    robj = bridge.call("pack_model", model=[1.0, 2.0]).value["bytes"]
    content = model_io._content(good)
    back = model_io._model(good, model_io._opened(good, content)[1], robj)
    with pytest.raises(Exception, match="the object is a numeric, not a model of lme4"):
        back.predict(trial())


# ------------------------------------------------------------------ native models


def square(x: np.ndarray) -> np.ndarray:
    return x**2


NATIVE: dict[str, tuple] = {
    "plain": ("y ~ x + cond", {}, {}),
    "splines": ("y ~ bs(x, df=4) + center(z) + C(dose)", {}, {"robust": "hc3"}),
    "functions": ("y ~ square(x) + np.log(w)", {}, {}),
    "factors": ("y ~ dose * x", {}, {"factors": {"dose": [2.0, 0.5, 1]}, "conf_level": 0.9}),
    "contrasts": ("y ~ cond", {}, {"factors": {"cond": {"b": 1, "C": -0.5, "ä": -0.5}}}),
    "groups": ("y ~ cond", {}, {"weights": "cond"}),
    "weights": ("y ~ x", {"offset": "z"}, {"weights": np.linspace(1, 2, 180)}),
    "cluster": ("y ~ x", {}, {"robust": "cluster", "cluster": "g"}),
    "permuted": ("y ~ x", {}, {"permute": 20, "seed": 1}),
    "bootstrapped": ("y ~ x", {}, {"conf_int": "boot", "n_boot": 20, "seed": 1}),
    "ranked": ("y ~ x + z", {}, {"rank": True}),
    "binomial": ("cbind(hits, trials - hits) ~ x", {"family": "binomial"}, {}),
    "poisson": ("n ~ x", {"family": "poisson", "link": "sqrt"}, {}),
    "nbinom": ("n ~ x", {"family": "nbinom"}, {}),
}


def native(name: str, data: pd.DataFrame | None = None) -> Lm:
    formula, given, fit = NATIVE[name]
    model = Lm(formula, trial() if data is None else data, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(summarize=False, **fit)
    return model


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_model_comes_back(name, tmp_path):
    model = native(name)
    for back in (saved(model, tmp_path / "x.h5"), *copies(model, tmp_path).values()):
        alike_models(model, back)
        alike(model.predict(trial().head(9)), back.predict(trial().head(9)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            back.fit(**back._options.arguments(), summarize=False)
        alike_models(model, back)
    assert sorted(os.listdir(tmp_path)) == ["x.h5", "x.joblib"]


@pytest.mark.parametrize(
    "formula, group, fit",
    [
        ("y ~ x", "g", {}),
        ("y ~ x + center(z)", "g", {"robust": "hc3", "conf_level": 0.9}),
        ("y ~ x", "g", {"to_corrs": "semi"}),
        ("y ~ x", "g", {"conf_int": "boot", "n_boot": 20, "seed": 1}),
        ("y ~ x", "g", {"permute": 20, "seed": 1, "rank": True}),
        ("y ~ x", ["flag", "g"], {}),
        ("y ~ dose", "h", {"factors": {"dose": [2.0, 0.5, 1]}}),
    ],
)
def test_a_two_stage_model_comes_back(formula, group, fit, tmp_path):
    data = trial().sort_values("x").reset_index(drop=True)
    model = Lm2(formula, data, group=group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(summarize=False, **fit)
    for back in (saved(model, tmp_path / "x.h5"), *copies(model, tmp_path).values()):
        alike_models(model, back)
        if not fit.get("rank"):
            alike(model.predict(data.head(9)), back.predict(data.head(9)))
    assert not saved(Lm2(formula, data, group=group), tmp_path / "x.h5").fitted


def test_a_native_model_with_holes_comes_back(tmp_path):
    model = native("splines", with_holes())
    back = saved(model, tmp_path / "x.h5")
    alike_models(model, back)
    alike(model.predict(with_holes()), back.predict(with_holes()))


def test_a_native_model_that_is_not_fitted_comes_back(tmp_path):
    back = saved(Lm("y ~ bs(x, df=4)", trial()), tmp_path / "x.h5")
    assert not back.fitted
    back.fit(summarize=False)
    model = Lm("y ~ bs(x, df=4)", trial())
    model.fit(summarize=False)
    alike_models(model, back)


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
    shift, knots = np.linspace(0, 1, len(trial())), [0.5, 1.5]
    model = Lm("y ~ bs(x, knots=knots) + shift", trial())
    model.fit(summarize=False)
    del shift, knots
    alike_models(model, saved(model, tmp_path / "x.h5"))


def test_loading_imports_nothing_that_a_file_names(tmp_path):
    save_model(native("functions"), tmp_path / "x.h5")
    with rewritten(tmp_path / "x.h5") as file:
        kept = file["simple_atts/_scope/kept/np"]
        kept.attrs["i1"] = "antigravity"
    before = set(sys.modules)
    load_model(tmp_path / "x.h5")
    assert "antigravity" not in set(sys.modules) - before


def test_a_formula_that_is_no_text_is_refused(tmp_path):
    import patsy

    model = Lm(patsy.ModelDesc.from_formula("y ~ x"), trial())
    with pytest.raises(DataError, match=r"patsy\.ModelDesc.*pickle"):
        save_model(model, tmp_path / "x.h5")
    alike(pickle.loads(pickle.dumps(model)).formula, model.formula)


# ------------------------------------------------------------------ the layout


def test_the_entries_are_those_of_the_layout(tmp_path):
    model = fitted("crossed")
    save_model(model, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == ["data_atts", "simple_atts"]
        simple, data = file["simple_atts"], file["data_atts"]
        assert bytes(simple.attrs["model_class"]) == b"Lmer" and simple.attrs["AIC"] == model.AIC
        assert bytes(simple.attrs["formula"]).decode() == model.formula
        assert dict(simple["grps"].attrs)["g"] == 18
        entries = ("cols", "idx", "vals", "dtypes")
        for name in ("coefs", "data", "design_matrix", "ranef_var"):
            assert all(f"df_{entry}__{name}" in data for entry in entries)
        for name in ("ranef", "fixef"):
            assert all(f"list_{i}_{entry}__{name}" in data for entry in entries for i in range(2))
        dtypes = data["df_dtypes__coefs"].attrs
        assert bytes(dtypes["Estimate"]) == b"float64" and bytes(dtypes["Sig"]) in (b"object", b"str")
        assert data["df_cols__coefs"][:2].tolist() == [b"Estimate", b"5_ci"]
        assert data["df_idx__coefs"][0] == b"(Intercept)"
        assert data["df_vals__coefs"]["Estimate"][:].tolist() == model.coefs["Estimate"].tolist()
        assert data["df_vals__design_matrix"].shape == model.design_matrix.shape
        assert np.array_equal(simple["fits"][:], model.fits)
        assert "df_vals___frame" not in data
        pickles = []
        file.visititems(lambda name, node: pickles.append(name) if "PSEUDOATOM" in node.attrs else None)
        assert not pickles


# ------------------------------------------------------------------ size and speed


def large(n: int = 100_000, holes: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g = rng.integers(0, 500, n)
    frame = pd.DataFrame(
        {"g": g, "x": rng.normal(size=n), "z": rng.normal(size=n), "c": rng.choice(["a", "b", "c"], n)}
    )
    frame["y"] = frame.x + rng.normal(size=500)[g] + rng.normal(size=n)
    frame.loc[rng.choice(n, holes, replace=False), "x"] = np.nan
    return frame


@pytest.mark.parametrize("holes", [0, 500])
def test_a_large_file_is_not_larger_than_the_data(tmp_path, holes):
    """At most the data in memory with fits and residuals, plus 10 %; the time is that of the processor."""
    model = Lm("y ~ bs(x, df=4) * c + z", large(holes=holes))
    model.fit(summarize=False)
    start = time.process_time()
    save_model(model, tmp_path / "x.h5")
    middle = time.process_time()
    back = load_model(tmp_path / "x.h5")
    end = time.process_time()
    alike(back.data, model.data)
    alike(back.design_matrix, model.design_matrix)
    in_memory = model.data.memory_usage(deep=True).sum()
    assert (tmp_path / "x.h5").stat().st_size <= 1.1 * in_memory
    with h5py.File(tmp_path / "x.h5") as file:
        assert "df_vals__design_matrix" not in file["data_atts"]
        assert file["simple_atts"].get("fits", getlink=True).path == "/data_atts/df_vals__data/fits"
    assert middle - start < 1.0 and end - middle < 1.0


# ------------------------------------------------------------------ files of release 0.7


def legacy_files(directory: Path, name: str, stem: str | None = None) -> list[Path]:
    stem = stem or name
    made = directory / f"{stem}.h5"
    made.write_bytes(gzip.decompress((LEGACY / f"{name}.h5.gz").read_bytes()))
    found = [made]
    if (LEGACY / f"{name}.rds").exists():
        found.append(Path(shutil.copy(LEGACY / f"{name}.rds", directory / f"{stem}.rds")))
    return found


def table_of(name: str) -> pd.DataFrame:
    table = pd.read_csv(LEGACY / f"{name}_coefs.csv", index_col=0, keep_default_na=False, dtype=str)
    return table.set_axis(table.index.astype(object)).rename_axis(None)


def agrees_with_its_table(model: Any, name: str) -> None:
    table = table_of(name)
    assert list(model.coefs.columns) == list(table.columns) and list(model.coefs.index) == list(table.index)
    for column in table.columns[:-1]:
        assert model.coefs[column].astype(float).tolist() == [float(text) for text in table[column]]
    assert model.coefs["Sig"].tolist() == table["Sig"].tolist()


def test_a_mixed_model_of_07_loads(tmp_path):
    legacy_files(tmp_path, "lmer_simple")
    model = load_model(tmp_path / "lmer_simple.h5")
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


def test_a_mixed_model_of_07_answers_all_questions_and_refits(tmp_path):
    legacy_files(tmp_path, "lmer_simple")
    model = load_model(tmp_path / "lmer_simple.h5")
    today = Lmer(model.formula, model._frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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
        np.testing.assert_allclose(
            [model.AIC, model.BIC, model.logLike], [today.AIC, today.BIC, today.logLike], rtol=1e-6
        )
        again = saved(model, tmp_path / "new.h5")
        alike(again.predict(model.data, use_rfx=True), model.predict(model.data, use_rfx=True))
        model.fit(summarize=False)
    alike(model.coefs, today.coefs)
    alike(model.predict(today._frame), today.predict(today._frame))


@pytest.mark.parametrize("place", ["x.rds", "x.robj", "first.rds"])
def test_the_r_object_of_07_is_found_where_that_release_put_it(tmp_path, place, monkeypatch):
    """It cut the path at its first dot, also one of a directory."""
    monkeypatch.chdir(tmp_path)
    stem = "first.second" if place == "first.rds" else "x"
    h5, rds = legacy_files(tmp_path, "lmer_simple", stem)
    rds.rename(tmp_path / place)
    assert np.isfinite(load_model(h5.name).predict(pd.DataFrame({"IV2": [1.0]}))).all()


def test_a_mixed_model_of_07_without_its_r_object(tmp_path):
    h5, rds = legacy_files(tmp_path, "lmer_simple")
    rds.unlink()
    with pytest.raises(MissingFileError, match=r"lmer_simple\.rds, the R object.*first dot.*allow_missing_r=True"):
        load_model(h5)
    model = load_model(h5, allow_missing_r=True)
    agrees_with_its_table(model, "lmer_simple")
    with pytest.raises(MissingFileError, match=r"lmer_simple\.rds is not there"):
        model.predict(model.data)


def test_copies_of_a_mixed_model_of_07_answer_too(tmp_path):
    h5, rds = legacy_files(tmp_path, "lmer_simple")
    model = load_model(h5)
    made = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    rds.unlink()
    for each in made:
        alike(each.predict(model.data), model.predict(model.data))


def test_a_foreign_r_object_beside_a_model_of_07_is_named(tmp_path):
    h5, rds = legacy_files(tmp_path, "lmer_simple")
    save_model(fitted("slopes"), tmp_path / "other.h5")
    shutil.copy(tmp_path / "other.robj", rds)
    model = load_model(h5)
    with pytest.raises(FileError, match=r"lmer_simple\.rds holds another model"):
        model.predict(model.data)


def test_a_native_model_of_07_loads(tmp_path):
    (h5,) = legacy_files(tmp_path, "lm")
    model = load_model(h5)
    agrees_with_its_table(model, "lm")
    assert type(model) is Lm and model.estimator == "OLS" and model.se_type == "non-robust"
    np.testing.assert_allclose(model.predict(model.data), model.fits, rtol=1e-12)
    np.testing.assert_allclose(model.fits, model.data["fits"], rtol=0)
    alike_models(model, saved(model, tmp_path / "new.h5"))


def test_a_two_stage_model_of_07_loads(tmp_path):
    """Groups in which a predictor does not vary had a regression there, of least length; today they have none."""
    (h5,) = legacy_files(tmp_path, "lm2")
    model = load_model(h5)
    agrees_with_its_table(model, "lm2")
    assert type(model) is Lm2 and model.group == "Group" and model.se_type == "non-robust"
    assert model.fixef.shape == (47, 3) and model.fixef.index.name == "Group"
    assert any("14, 31, 46" in text for text in model.warnings)
    np.testing.assert_allclose(model.fixef.mean(), model.coefs["Estimate"], rtol=1e-12)
    rows = model.data[model.data["Group"] == 1]
    expected = model.fixef.loc[1, "Intercept"] + rows[["IV1", "IV3"]] @ model.fixef.loc[1, ["IV1", "IV3"]]
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-9)
    alike_models(model, saved(model, tmp_path / "new.h5"))


@pytest.mark.parametrize("gone", ["data_atts/df_vals__coefs", "data_atts/df_idx__data", "simple_atts/fits"])
def test_files_of_07_that_lack_something_are_refused(tmp_path, gone):
    (h5,) = legacy_files(tmp_path, "lm")
    with h5py.File(h5, "a") as file:
        del file[gone]
        file["data_atts/other"] = 1.0
    with pytest.raises(FileError, match=rf"{h5}, saved by release 0\.7, can't be made a model of today"):
        load_model(h5)


def test_files_of_07_with_more_in_their_pickles_are_refused(tmp_path):
    (h5,) = legacy_files(tmp_path, "lm")

    class Calls:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/called",)

    with h5py.File(h5, "a") as file:
        held = file["data_atts/df_vals__coefs"]
        held[0] = np.frombuffer(pickle.dumps(Calls(), 4), dtype=np.uint8)
    with pytest.raises(FileError, match=rf"{h5}.*names posix\.system, which no model file of the 0\.7 line does"):
        load_model(h5)
    assert not (tmp_path / "called").exists()


def test_a_file_of_07_whose_data_give_other_numbers_is_refused(tmp_path):
    (h5,) = legacy_files(tmp_path, "lm")
    with h5py.File(h5, "a") as file:
        values = file["data_atts/df_vals__data"]
        values[:, 3] = values[:, 3] * 2
    with pytest.raises(FileError, match=r"its data and formula do not give the numbers"):
        load_model(h5)


# ------------------------------------------------------------------ killed a hundred times


@pytest.mark.slow
def test_killed_a_hundred_times_while_saving(tmp_path):
    """A process is killed at random moments of its saves; each time the last good pair loads."""
    save_model(fitted("slopes"), tmp_path / "a.h5")
    save_model(fitted("crossed"), tmp_path / "b.h5")
    script = Path(__file__).with_name("kill_while_saving.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "100"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    model = load_model(tmp_path / "x.h5")
    expected = fitted("slopes" if model.formula == fitted("slopes").formula else "crossed")
    alike_models(expected, model)
    alike(model.predict(trial(), use_rfx=True), expected.predict(trial(), use_rfx=True))


# ------------------------------------------------------------------ factors of release 0.7

# As that release prepared its factors: text with the levels asked for, and contrasts set on the column. Text that was
# not asked for stayed text, whose levels R sorts as the language of that machine does.
FACTORS_OF_07 = {
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
_FIT_AS_07 = """
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
    data = pd.read_csv(f"{get_resource_path()}sample_data.csv")
    return data.assign(side=np.random.default_rng(4).choice(["a", "B", "c"], len(data)))


def file_of_07(folder: Path, factors: dict[str, Any], coding: str) -> Path:
    data = with_sides()
    data.to_csv(folder / "d.csv", index=False)
    (folder / "levels").write_text("\n".join(factors["IV3"]) + "\n")
    (folder / "s.R").write_text(_FIT_AS_07.replace("CODING", coding))
    subprocess.run(["Rscript", "--vanilla", str(folder / "s.R"), str(folder)], check=True, capture_output=True)
    told, fits = pd.read_csv(folder / "b.csv"), pd.read_csv(folder / "fits.csv")["fits"].to_numpy()
    today = Lmer("DV ~ IV3 + side + (1 | Group)", data)
    today.fit(factors=factors, summarize=False)
    coefs = today.coefs.set_axis(told["term"].to_numpy(dtype=object)).assign(Estimate=told["b"].to_numpy())
    kept = {name: getattr(today, name) for name in ("formula", "family", "logLike", "ranef_var", "ranef", "fixef")}
    kept |= {"fitted": True, "warnings": [], "grps": {"Group": 47.0}, "sig_type": "parametric", "factors": factors}
    kept |= {"fits": fits, "residuals": data["DV"].to_numpy() - fits, "coefs": coefs, "_REML": True, "_permute": 0}
    kept |= {"data": data.assign(fits=fits, residuals=data["DV"] - fits), "_conf_int": "Wald", "ranked_data": False}
    held = state.to_tree(kept, "Lmer", ())
    del held["simple_atts"]["_frames"]
    (folder / "old.h5").write_bytes(tree.write(held, {}, {}))
    return folder / "old.h5"


@pytest.mark.parametrize("case", FACTORS_OF_07)
def test_a_model_of_07_takes_levels_and_codings_from_its_r_object(tmp_path, case):
    factors, coding = FACTORS_OF_07[case]
    file = file_of_07(tmp_path, factors, coding)
    model = load_model(file)
    assert model.factors == factors and list(model.coefs.index[-2:]) == ["sideB", "sidec"]
    if not coding:
        assert list(model.coefs.index[1:3]) == [f"IV3{level}" for level in factors["IV3"][1:]]
    np.testing.assert_allclose(model.predict(model.data, use_rfx=True), model.fits, rtol=1e-9)
    cells = pd.DataFrame({"IV3": [0.5, 1.0, 1.5], "side": ["B", "a", "c"]})
    expected = model.predict(cells)
    for spelled in (["0.5", "1.0", "1.5"], ["0.50", "1", "1.5"], pd.Categorical([0.5, 1.0, 1.5])):
        np.testing.assert_array_equal(model.predict(cells.assign(IV3=spelled)), expected)
    for one in (1, 1.0, "1.0", "1"):
        assert model.predict(pd.DataFrame({"IV3": [one], "side": ["a"]}))[0] == expected[1]
    fitted_to = pd.DataFrame(
        {"IV3": with_sides()["IV3"], "side": with_sides()["side"], "b": model.predict(with_sides())}
    )
    means = fitted_to.drop_duplicates(["IV3", "side"]).groupby("IV3")["b"].mean()
    for at in (None, {"IV3": [0.5, 1, "1.5"]}):
        table = model.emmeans("IV3", at=at)[0]
        found = table["Estimate"].set_axis(table["IV3"].astype(float)).sort_index()
        np.testing.assert_allclose(found, means)
    assert len(model.plot("IV3").get_xticks()) == 3
    save_model(model, tmp_path / "new.h5")
    again = load_model(tmp_path / "new.h5")
    np.testing.assert_allclose(again.predict(cells), expected, rtol=1e-12)
    with pytest.raises(DataError, match="has the level\\(s\\) '2', which the model was not fitted to"):
        again.predict(cells.assign(IV3=2.0))
    again.fit(factors=factors, summarize=False)
    np.testing.assert_allclose(again.predict(cells), expected, rtol=1e-6)


def test_an_r_object_of_other_predictors_is_named(tmp_path):
    file = file_of_07(tmp_path, *FACTORS_OF_07["levels"])
    model = load_model(file)
    model._frame["side"] = model._frame["side"].to_numpy()[::-1]
    with pytest.raises(FileError, match=r"old\.rds was fitted to other predictors than the data of the \.h5"):
        model.predict(model.data)


def test_the_covariance_of_a_model_of_07_is_that_of_its_r_object(tmp_path):
    model = load_model(file_of_07(tmp_path, *FACTORS_OF_07["levels"]))
    V = model.vcov  # before anything else has the R object made over
    assert list(V.index) == list(model.coefs.index) and model.nobs == len(model.data)
    told = rinterface.evalr("function(m) as.numeric(as.matrix(vcov(m)))")(model.model_obj)
    np.testing.assert_allclose(V, np.reshape(list(told), V.shape), rtol=1e-9)


def test_text_of_07_has_its_levels_in_any_locale(tmp_path):
    """The order of text is that of the locale where the model was fitted; here R sorts by code point."""
    file_of_07(tmp_path, *FACTORS_OF_07["levels"])
    code = (
        f"from pymer4 import load_model\nmodel = load_model({str(tmp_path / 'old.h5')!r})\n"
        "print(abs(model.predict(model.data, use_rfx=True) - model.fits).max() < 1e-6)"
    )
    plain = {name: value for name, value in os.environ.items() if name[:3] != "LC_" and name != "LANG"}
    done = subprocess.run([sys.executable, "-c", code], env=plain | {"LC_ALL": "C"}, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_levels_of_a_file_are_those_of_its_r_object(tmp_path, monkeypatch):
    """Also where this version would spell them in another way."""
    data = trial().assign(dose=trial()["dose"])
    model = Lmer("y ~ x + dose + (1 | g)", data)
    model.fit(factors={"dose": [0.5, 1.0, 2.0]}, summarize=False)
    expected = model.predict(data)
    model.factors = {"dose": ["0.5", "1.0", "2.0"]}
    model._options = replace(model._options, factors=model.factors)
    save_model(model, tmp_path / "m.h5")
    loaded = load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(loaded.predict(data), expected)
    assert loaded._kinds["dose"].levels == ("0.5", "1", "2")
