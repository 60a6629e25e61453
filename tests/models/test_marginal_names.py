"""Marginal means beside any name of a variable, any text of a level, and any call that a formula may hold.

A model whose variables are called otherwise is the same model: what it says is compared with what it says under plain
names, and a call in a formula with a column made before.
"""

from __future__ import annotations

import warnings
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from samples import fitted

from pymer4 import Lmer, load_dataset
from pymer4.errors import ModelWarning, OptionError

pytestmark = pytest.mark.r

SAME = 1e-6  # two runs of an optimizer, whose columns differ in rounding where they were made otherwise

# Each is the factor of one model and the covariate of the one before.
NAMES = [
    "my var", "a:b", "x-y", "if", "1st", "_under", "$", "1", "a`b", "größe", "income ($)", "T", "my var",
]  # fmt: skip
MORE = [
    "x^2", "log(y)", "[[", "a\\b", 'q"uote', "it's", "%in%", "a|b", "a*b", "new\nline", " lead", "NULL", "TRUE", "pi",
    "c", "data", "contrast", "(Intercept)", ".offset.", ".wgt.", "emmean", "lower.CL", "df", "rep.meas", "overall",
    "var1_", "f1", "x^2",
]  # fmt: skip
OURS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "Z-stat", "P-val", "Sig", "Contrast"]
PAIRS = [*pairwise(NAMES), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in pairwise(MORE))]
TESTED = ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"]


def quoted(name: str) -> str:
    """Return a name as R's formulas take it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


@cache
def named(factor: str, covariate: str) -> Lmer:
    data = load_dataset("Oats").rename(columns={"Variety": factor, "nitro": covariate})
    model = fitted(f"yield ~ {quoted(factor)} * {quoted(covariate)} + (1 | Block)", data)
    return model


@cache
def asked(factor: str, covariate: str) -> dict[str, pd.DataFrame]:
    """Return what a model with these names says to every kind of question."""
    model = named(factor, covariate)
    model.post_hoc(covariate, factor, summarize=False)
    pairs = {
        "post_hoc of slopes": (model.marginal_estimates, model.marginal_contrasts),
        "emmeans": model.emmeans(factor),
        "at a level": model.emmeans(factor, at={factor: ["Victory", "Golden Rain"], covariate: 0.2}),
        "by": model.emmeans(covariate, factor, {covariate: [0, 0.4]}, contrasts="consec"),
        "weights": model.emmeans(factor, contrasts={"first": {"Victory": 1, "Marvellous": -1}}),
        "emtrends": model.emtrends(covariate, factor),
    }
    tests = {"joint_tests": model.joint_tests(), "joint_tests by": model.joint_tests(factor)}
    return tests | {f"{name} {k}": table for name, both in pairs.items() for k, table in enumerate(both)}


def check_same(found: pd.DataFrame, plain: pd.DataFrame, factor: str, covariate: str) -> None:
    """Compare a table with the one under plain names, `Variety` and `nitro`."""

    def renamed(labels: object) -> list[str]:
        texts = [str(label) for label in labels]
        for old, new in (("nitro", "\0"), ("Variety", factor), ("\0", covariate)):
            texts = [text.replace(old, new) for text in texts]
        return texts

    columns = found.attrs.get("columns", {})
    own = {old: columns.get(new, new) for old, new in (("Variety", factor), ("nitro", covariate))}
    assert list(found.columns) == [own.get(name, name) for name in plain.columns]
    assert found.columns.is_unique
    assert list(map(str, found.index)) == renamed(plain.index)
    for column, (_, values) in zip(found.columns, plain.items(), strict=True):
        if pd.api.types.is_numeric_dtype(values):
            np.testing.assert_allclose(found[column], values, rtol=SAME, atol=SAME * np.nanmax(np.abs(values)))
        else:
            assert list(map(str, found[column])) == renamed(values)


@pytest.mark.parametrize(("factor", "covariate"), PAIRS)
def test_variables_may_have_any_name(factor, covariate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = asked(factor, covariate)
    for name, plain in asked("Variety", "nitro").items():
        check_same(found[name], plain, factor, covariate)
    messages = named(factor, covariate).emmeans(factor)[0].attrs["messages"]
    assert messages == named("Variety", "nitro").emmeans("Variety")[0].attrs["messages"]


@pytest.mark.parametrize(("factor", "covariate"), list(pairwise([*OURS, OURS[0]])))
def test_a_variable_beside_a_column_of_that_name(factor, covariate):
    with pytest.warns(ModelWarning, match=r"is a column of the table's own: the variable is in '.* \(variable\)'"):
        found = asked(factor, covariate)
    for name, plain in asked("Variety", "nitro").items():
        if not name.startswith("joint"):
            check_same(found[name], plain, factor, covariate)
    model = named(factor, covariate)
    with pytest.warns(ModelWarning):
        estimates, contrasts = model.emmeans(covariate, factor, {covariate: [0, 1]})
    assert estimates.attrs["columns"] == {name: f"{name} (variable)" for name in (covariate, factor)}
    assert contrasts[f"{factor} (variable)"].tolist() == ["Golden Rain", "Marvellous", "Victory"]
    assert model.plot_marginal().get_xlabel() == f"{covariate} (variable)"
    plt.close("all")


@pytest.mark.parametrize("name", TESTED)
def test_a_factor_beside_a_column_of_joint_tests(name):
    with pytest.warns(ModelWarning, match=name):
        found = named(name, "nitro").joint_tests(name)
    assert list(found.columns) == [f"{name} (variable)", *TESTED]
    check_same(found, named("Variety", "nitro").joint_tests("Variety"), name, "nitro")


def test_names_that_are_taken_in_turn():
    data = load_dataset("Oats").assign(**{"SE (variable)": lambda d: np.where(d.nitro > 0.3, "much", "little")})
    model = fitted("yield ~ SE * `SE (variable)` + (1 | Block)", data.rename(columns={"Variety": "SE"}))
    with pytest.warns(ModelWarning):
        table = model.emmeans(["SE", "SE (variable)"])[0]
    assert list(table.columns[:2]) == ["SE (variable) (variable)", "SE (variable)"]
    assert table["SE (variable)"].unique().tolist() == ["little", "much"]


def test_numbers_that_are_levels_of_a_renamed_factor_are_drawn_as_such():
    model = fitted("yield ~ factor(SE) + (1 | Block)", load_dataset("Oats").rename(columns={"nitro": "SE"}))
    with pytest.warns(ModelWarning):
        model.emmeans("SE")
    assert [tick.get_text() for tick in model.plot_marginal().get_xticklabels()] == ["0", "0.2", "0.4", "0.6"]
    plt.close("all")


# Cells and levels


@cache
def cells() -> Lmer:
    """Return a model in which levels of two factors stand side by side as one text."""
    i = np.arange(240)
    data = pd.DataFrame({"g": i // 20, "f": np.array(["a b", "a"])[i % 2], "h": np.array(["c", "b c"])[i // 2 % 2]})
    data["y"] = ((i * 37) % 101) / 101 + 0.5 * (data.f == "a") + 0.3 * (data.h == "c") + np.sin(i // 20)
    data["x"] = np.cos(i)
    model = fitted("y ~ f * h * x + (1 | g)", data)
    return model


def mean_of_cells(estimates: pd.DataFrame) -> dict[tuple[str, str], float]:
    return dict(zip(zip(estimates["f"], estimates["h"], strict=True), estimates["Estimate"], strict=True))


def test_cells_are_told_apart_by_their_levels():
    estimates, pairs = cells().emmeans(["f", "h"])
    mean = mean_of_cells(estimates)
    assert len(pairs) == 6
    assert pairs["Contrast"].is_unique
    assert "a, b c - a b, c" in pairs["Contrast"].tolist()
    order = [(f, h) for f, h in zip(estimates["f"], estimates["h"], strict=True)]
    wanted = [mean[a] - mean[b] for k, a in enumerate(order) for b in order[k + 1 :]]
    np.testing.assert_allclose(pairs["Estimate"], wanted, atol=1e-12)
    for one, other in ((("a", "b c"), ("a b", "c")), (("a", "b c"), ("a", "c"))):
        own = cells().emmeans(["f", "h"], contrasts={"own": {one: 1, other: -1}})[1]
        assert own["Contrast"].tolist() == ["own"]
        np.testing.assert_allclose(own["Estimate"], mean[one] - mean[other], atol=1e-12)


def test_groups_are_told_apart_by_their_levels():
    estimates, pairs = cells().emmeans("x", ["f", "h"], at={"x": [0, 1]})
    assert len(estimates) == 8
    assert pairs[["f", "h"]].drop_duplicates().shape == (4, 2)
    slopes = mean_of_cells(cells().emtrends("x", ["f", "h"])[0])
    for (f, h), group in pairs.groupby(["f", "h"], observed=True):
        np.testing.assert_allclose(group["Estimate"], -slopes[f, h], rtol=1e-6)
    tests = cells().joint_tests(["f", "h"])
    assert tests[["f", "h"]].drop_duplicates().shape == (4, 2)


def test_a_text_names_a_cell_only_where_it_names_one():
    wool = fitted("breaks ~ wool * tension + (1 | run)", load_dataset("warpbreaks").assign(run=np.arange(54) % 9))
    by_tuple, by_text = (
        wool.emmeans(["wool", "tension"], contrasts={"x": {one: 1, other: -1}})[1]
        for one, other in ((("A", "L"), ("B", "H")), ("A L", "B H"))
    )
    pd.testing.assert_frame_equal(by_tuple, by_text)
    for cell in ("a b c", ("a", "b", "c"), ("b c", "a"), ("a", "d")):
        with pytest.raises(OptionError, match=r"no cell.*The cells are, in this order: \(a, b c\), \(a b, b c\)"):
            cells().emmeans(["f", "h"], contrasts={"own": {cell: 1}})


@pytest.mark.parametrize("level", [1, 1.0, "1.0", np.float32(1), "1"])
@pytest.mark.parametrize("formula", ["yield ~ kind + (1 | Block)", "yield ~ factor(dose) + (1 | Block)"])
def test_levels_that_are_numbers_name_cells_as_numbers(formula, level):
    data = load_dataset("Oats").assign(dose=lambda d: np.where(d.nitro > 0.3, 1e5, 1))
    data["kind"] = np.where(data.nitro > 0.3, "100000", "1.0")
    model = fitted(formula, data)
    variable = "dose" if "dose" in formula else "kind"
    means = data.groupby(variable)["yield"].mean()
    found = model.emmeans(variable, contrasts={"own": {level: 1, 1e5: -1}})[1]["Estimate"]
    np.testing.assert_allclose(found, means.iloc[0] - means.iloc[1])


def test_levels_keep_their_text():
    levels = ["a - b", "a / b", "a\x1fb", " a", "(a)", "2 $", "var", "9 l"]
    data = load_dataset("Oats").assign(kind=lambda d: np.array(levels)[np.arange(len(d)) % 8])
    data["kind"] = pd.Categorical(data["kind"], levels)
    model = fitted("log(yield) ~ kind + Variety + (1 | Block)", data)
    estimates, ratios = model.emmeans("kind", contrasts="trt.vs.ctrl")
    assert estimates["kind"].tolist() == levels
    assert list(estimates["kind"].cat.categories) == levels
    assert ratios["Contrast"].iloc[:2].tolist() == ["(a / b) / (a - b)", "a\x1fb / (a - b)"]
    by = model.emmeans("Variety", "kind")[1]
    assert by["kind"].unique().tolist() == levels
    rows = model.emmeans("kind", at={"kind": ["var", "a - b"]})[0]
    assert rows["kind"].tolist() == ["var", "a - b"]


def test_many_digits_of_a_number_that_is_a_level():
    data = load_dataset("Oats").assign(dose=lambda d: np.round(1e-4 * (1 + d.nitro), 6))
    model = fitted("yield ~ factor(dose) + (1 | Block)", data)
    everything = model.emmeans("dose")[0]
    one = model.emmeans("dose", at={"dose": [0.00014]})[0]
    assert one["dose"].tolist() == [0.00014]
    np.testing.assert_allclose(one["Estimate"], everything["Estimate"][everything["dose"] == 0.00014])


# Calls in formulas

# A call, what makes the same column before, and its name.
CALLS = {
    "factor(f, levels = c('c', 'a', 'b'))": lambda d: pd.Categorical(d.f, ["c", "a", "b"]),
    'relevel(factor(f), ref = "b")': lambda d: pd.Categorical(d.f, ["b", "a", "c"]),
    "ifelse(x > 5, 'hi $', 'lo')": lambda d: np.where(d.x > 5, "hi $", "lo"),
    "grepl('a$', f)": lambda d: d.f == "a",
    "as.numeric(f)": lambda d: d.f.map({"a": 1, "b": 2, "c": 3}),
    "paste(f, h)": lambda d: d.f + " " + d.h,
    "interaction(f, h)": lambda d: d.f + "." + d.h,
    "I(x * (f == 'a'))": lambda d: d.x * (d.f == "a"),
    "I(x * z)": lambda d: d.x * d.z,
    "sqrt(x + 30)": lambda d: np.sqrt(d.x + 30),
    "I(f %in% c('a', \"b\"))": lambda d: d.f.isin(["a", "b"]),
    "base::log(`x $`)": lambda d: np.log(d["x $"]),
    "factor(`the f`)": lambda d: d["the f"],
    "C(`the f`)": lambda d: d["the f"],
}


@cache
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": rng.integers(0, 20, 240), "f": rng.choice(["a", "b", "c"], 240)})
    data = data.assign(h=rng.choice(["u", "v w"], 240), x=rng.normal(5, 2, 240), z=rng.normal(size=240))
    data = data.assign(**{"x $": np.exp(data.z), "the f": data.f})
    data["y"] = 20 + data.x + 2 * (data.f == "b") + data.z * data.x + rng.normal(size=20)[data.g] + rng.normal(size=240)
    return data


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("rest", ["h * x + f", "0 + h:x + f"])
def test_calls_are_what_they_compute(call, rest):
    """Means of h at a given x, and in a cell of the variables of the call, are fits of a model of the column."""
    data = rows().assign(made=CALLS[call])
    model, plain = (fitted(f"y ~ {each} + {rest} + (1 | g)", data) for each in (call, "made"))
    at = {"f": "b", "x": 3.0, "z": 0.5, "x $": 2.0, "the f": "b"}
    known = model._grid_predictors()
    cell = {name: value for name, value in at.items() if name in known}
    row = pd.DataFrame({name: [value] for name, value in at.items()})
    both = pd.concat([row.assign(h=h) for h in ("u", "v w")], ignore_index=True)
    expected = plain.predict(both.assign(made=CALLS[call]))
    np.testing.assert_allclose(model.emmeans("h", at=cell)[0]["Estimate"], expected, rtol=SAME)
    if "x" in known.covariates:
        slopes = model.emtrends("x", "h", at=cell)[0]["Estimate"]
        step = 1e-3 * np.ptp(data["x"])
        further = plain.predict(both.assign(x=3 + step).assign(made=CALLS[call]))
        np.testing.assert_allclose(slopes, (further - expected) / step, rtol=1e-5, atol=1e-8)
    assert len(model.joint_tests()) > 1
    assert len(model.emmeans("f")[0]) == 3
