"""Models of frames of every kind: the numbers of pandas to the last bit, and everything that a model does after."""

import pickle
import subprocess
import warnings

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pymer4 import Lm, Lm2, Lmer
from pymer4.errors import DataError, ModelWarning, OptionError
from pymer4.io import load_model, save_model
from pymer4.stats import boot_func, cohens_d, correct_pvals, perm_test, vif

pytestmark = [pytest.mark.r, pytest.mark.numeric]

KINDS = {
    "polars": pl.from_pandas,
    "lazy": lambda data: pl.from_pandas(data).lazy(),
    "pyarrow": lambda data: pa.Table.from_pandas(data),
    "batch": lambda data: pa.RecordBatch.from_pandas(data),
    "duckdb": lambda data: duckdb.from_arrow(pa.Table.from_pandas(data, preserve_index=False)),
    "dict": lambda data: {name: column.tolist() for name, column in data.items()},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
MODELS = {
    "Lmer": lambda data: Lmer("y ~ x * g + (x | subject)", data, weights="w", offset="o"),
    "Lm": lambda data: Lm("y ~ x * g + I(x**2)", data, offset="o"),
    "Lm2": lambda data: Lm2("y ~ x", data, group="subject"),
}
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    subject = np.repeat(np.arange(12), 10)
    x = rng.normal(size=120)
    made = pd.DataFrame({"x": x, "g": rng.choice(["q", "b", "m"], 120), "subject": [f"s{i}" for i in subject]})
    made["w"], made["o"] = rng.uniform(0.5, 2, 120), rng.normal(size=120)
    made["y"] = 1 + x + made["o"] + rng.normal(size=12)[subject] * (1 + x) + rng.normal(size=120)
    made.loc[[5, 50], "x"] = np.nan
    made["unused"] = "left alone"
    return made


def fitted(model, data, **how):
    made = MODELS[model](data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        made.fit(summarize=False, **how)
    return made


@every_model
@every_kind
def test_numbers_are_those_of_pandas(model, kind, data, tmp_path):
    given = KINDS[kind](data)
    own, other = fitted(model, data), fitted(model, given)
    pd.testing.assert_frame_equal(other.coefs, own.coefs, check_exact=True)
    for name in ("fits", "residuals"):
        np.testing.assert_array_equal(getattr(other, name), getattr(own, name))
    assert type(other.data) is pd.DataFrame and {"fits", "residuals"} <= set(other.data)
    assert ("unused" in other.data) == (kind not in ("lazy", "duckdb"))
    np.testing.assert_array_equal(other.predict(given), own.predict(data))
    np.testing.assert_array_equal(other.predict(data), own.predict(data))
    assert repr(other) == repr(own)
    for copied in (pickle.loads(pickle.dumps(other)), saved(other, tmp_path)):
        pd.testing.assert_frame_equal(copied.coefs, own.coefs, check_exact=True)
        pd.testing.assert_frame_equal(copied.data, other.data)
        np.testing.assert_array_equal(copied.predict(given), own.predict(data))


def saved(model, folder):
    save_model(model, folder / "model.h5")
    return load_model(folder / "model.h5")


@every_model
def test_inference_and_refits_go_on_from_a_lazy_frame(model, data):
    own, other = fitted(model, data), fitted(model, KINDS["lazy"](data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        tables = [m.infer("boot", on="coefs", n_boot=60, seed=1, n_jobs=2) for m in (own, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    other.fit(conf_level=0.9, summarize=False)
    assert "5_ci" in other.coefs


@every_model
def test_the_script_for_r_is_written_from_a_frame_of_polars(model, data, tmp_path):
    simple = {"Lmer": Lmer, "Lm": Lm}.get(model)
    if simple is None:
        made, own = fitted("Lm2", pl.from_pandas(data)), fitted("Lm2", data)
    else:
        formula = "y ~ x + g + (1 | subject)" if simple is Lmer else "y ~ x + g"
        made, own = (simple(formula, given) for given in (pl.from_pandas(data), data))
        for one in (made, own):
            one.fit(summarize=False)
    paths = []
    for name, one in (("made", made), ("own", own)):
        (tmp_path / name).mkdir()
        one.to_r(tmp_path / name / "model.R")
        paths.append(tmp_path / name)
    assert (paths[0] / "model.R").read_text() == (paths[1] / "model.R").read_text()
    done = subprocess.run(["Rscript", "--vanilla", "model.R"], cwd=paths[0], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_users_frame_stays_as_it_is(data):
    frame, before = pl.from_pandas(data), pl.from_pandas(data)
    model = fitted("Lm", frame)
    model.data["x"] = 0.0
    assert frame.equals(before)
    values = {name: data[name].to_numpy(copy=True) for name in ("y", "x")}
    model = Lm("y ~ x", values)
    values["y"][:] = 0
    model.fit(summarize=False)
    assert model.coefs["Estimate"].abs().min() > 0


# ------------------------------------------------------------------ levels


def test_levels_of_an_enum_are_coded_in_their_order_by_treatment_contrasts(data):
    enum = pl.from_pandas(data).with_columns(pl.col("g").cast(pl.Enum(["q", "m", "b"])))
    own = data.assign(g=pd.Categorical(data["g"], ["q", "m", "b"]))
    for make in (lambda d: Lm("y ~ g", d), lambda d: Lmer("y ~ g + (1 | subject)", d)):
        models = [make(given) for given in (enum, enum.lazy(), own)]
        for model in models:
            model.fit(summarize=False)
        for model in models:
            pd.testing.assert_frame_equal(model.coefs, models[-1].coefs, check_exact=True)
        assert models[0].coefs.index[1].startswith("g") and "m" in models[0].coefs.index[1]


# ------------------------------------------------------------------ which columns a lazy frame is asked for


def watched(data):
    """A lazy frame of which a column can't be computed."""

    def refuse(_):
        raise AssertionError("computed")

    return pl.from_pandas(data).lazy().with_columns(pl.col("unused").map_batches(refuse, pl.String))


@every_model
def test_a_lazy_frame_gives_the_columns_that_the_model_names(model, data):
    made = fitted(model, watched(data))
    names = {"Lmer": {"y", "x", "g", "subject", "w", "o"}, "Lm": {"y", "x", "g", "o"}, "Lm2": {"y", "x", "subject"}}
    assert set(made.data) - {"fits", "residuals"} == names[model]
    made.predict(watched(data))


def test_a_dot_takes_all_columns(data):
    lazy = pl.from_pandas(data.drop(columns=["unused", "w", "o"])).lazy()
    model = Lmer("y ~ . - subject + (1 | subject)", lazy)
    assert set(model.data) == {"y", "x", "g", "subject"}
    with pytest.raises(Exception, match="computed"):
        Lmer("y ~ . + (1 | subject)", watched(data))


def test_names_in_code_of_the_caller_are_found(data):
    name, cut = "x", 0.5
    model = Lm("y ~ Q(name) + I(w > cut)", pl.from_pandas(data).lazy())
    model.fit(summarize=False)
    assert set(model.data) == {"y", "x", "w", "fits", "residuals"} and name and cut


@pytest.mark.parametrize(
    "ask",
    [
        lambda data: Lm("y ~ x", data).fit(robust="cluster", cluster="subject"),
        lambda data: Lm("y ~ x", data).fit(weights="g"),
        lambda data: Lmer("y ~ x + (1 | subject)", data).fit(rank=True, rank_group="g"),
        lambda data: Lmer("y ~ x + (1 | subject)", data).fit_by("g"),
    ],
)
def test_a_name_that_comes_later_says_what_to_do(ask, data):
    with pytest.raises(OptionError, match="made from a lazy frame, of which it took the columns"):
        ask(pl.from_pandas(data).lazy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        ask(pl.from_pandas(data))


def test_the_data_of_a_model_are_no_lazy_frame_any_more(data):
    model = Lm("y ~ x", pl.from_pandas(data).lazy())
    with pytest.raises(OptionError, match=r"weights='w' is not a column of the data\. Give the name"):
        Lm("y ~ x", model.data).fit(weights="w")


def test_outcomes_that_a_lazy_frame_has_left_are_told_of(data):
    model = Lmer("y ~ x + (1 | subject)", pl.from_pandas(data).lazy())
    with pytest.raises(DataError, match="made from a lazy frame"):
        model.fit_many(["y", "o"])


# ------------------------------------------------------------------ other arguments


@pytest.mark.parametrize("make", [pl.Series, pa.array, lambda values: pa.chunked_array([pa.array(values)])])
def test_weights_and_offsets_come_as_columns_of_any_kind(make, data):
    whole = data.dropna()
    w, o = make(whole["w"].to_numpy()), make(whole["o"].to_numpy())
    for formula, own in (("y ~ x + (1 | subject)", Lmer), ("y ~ x", Lm)):
        how = {"weights": w} if own is Lmer else {}
        found = own(formula, pl.from_pandas(whole), offset=o, **how)
        expected = own(formula, whole, offset="o", **({"weights": "w"} if how else {}))
        found.fit(summarize=False, **({} if how else {"weights": w}))
        expected.fit(summarize=False, **({} if how else {"weights": whole["w"]}))
        pd.testing.assert_frame_equal(found.coefs, expected.coefs, check_exact=True)


@every_kind
def test_outcomes_and_their_weights_come_in_frames_of_any_kind(kind, data):
    whole = data.dropna()
    model = Lmer("y ~ x + (1 | subject)", whole)
    outcomes = pd.DataFrame({"a": whole["y"], "b": whole["y"] + whole["o"]})
    weights = pd.DataFrame({"a": whole["w"], "b": whole["o"] ** 2 + 1})
    expected = model.fit_many(outcomes, weights=weights)
    found = model.fit_many(KINDS[kind](outcomes), weights=KINDS[kind](weights))
    pd.testing.assert_frame_equal(found.table, expected.table, check_exact=True)
    with pytest.raises(DataError, match="weights is a DataFrame whose columns are not those of Y"):
        model.fit_many(KINDS[kind](outcomes), weights=KINDS[kind](weights[["b", "a"]]))


def test_statistics_take_columns_and_frames_of_any_kind(data):
    x, y = data["o"], data["w"]
    px, py = pl.Series(x), pa.array(y)
    assert cohens_d(px, py, n_boot=0) == cohens_d(x, y, n_boot=0)
    assert perm_test(px, py, n_perm=20, seed=1) == perm_test(x, y, n_perm=20, seed=1)
    np.testing.assert_array_equal(correct_pvals(pl.Series([0.01, 0.2])), correct_pvals([0.01, 0.2]))
    assert boot_func(px, func=np.mean, n_boot=20, seed=1)[0] == boot_func(x, func=np.mean, n_boot=20, seed=1)[0]
    design = data[["o", "w"]].assign(one=1.0)[["one", "o", "w"]]
    for make in KINDS.values():
        assert vif(make(design)) == vif(design)
    with pytest.raises(OptionError, match="a frame of any kind, or a fitted model, not a list"):
        vif([[1, 2]])


def test_values_of_a_grid_and_hypotheses_come_from_polars(data):
    model = fitted("Lm", data)
    at = model.emmeans("x", at={"x": pl.Series([0, 1])}, contrasts=None)[0]
    pd.testing.assert_frame_equal(at, model.emmeans("x", at={"x": [0, 1]}, contrasts=None)[0])
    L = np.eye(len(model.coefs))[1:3]
    pd.testing.assert_frame_equal(model.test((pl.DataFrame(L), pl.Series([0, 0]))), model.test((L, [0, 0])))
