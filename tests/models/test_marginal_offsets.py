"""Marginal means of models with an offset: it is computed from each row of the grid, as in predictions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import samples

from pymer4 import Lmer
from pymer4.errors import OptionError

pytestmark = pytest.mark.r

SIZES = ("L", "M", "S")


@cache
def counts() -> pd.DataFrame:
    i = np.arange(200)
    data = pd.DataFrame({"g": i // 10, "size": np.array(["S", "M", "L", "M"])[i % 4], "n": 20 + i * 37 % 1000})
    rate = np.exp(-2 + 0.5 * (data["size"] == "M") - 0.4 * (data["size"] == "L") + 0.3 * np.sin(i // 10))
    data["k"] = np.floor(data.n * rate * (0.8 + 0.4 * (i * 29 % 7) / 6) + 0.5).astype(int)
    data = data.assign(x=np.cos(1.3 * i), two=1.0 + i % 3 % 2, log_n=np.log(data.n), **{"n ($)": data.n})
    data["y"] = data.log_n + 3 * rate + 0.2 * data.x + 0.1 * np.sin(7.0 * i)
    data.loc[7, ["x", "n ($)"]] = np.nan
    return data


@cache
def fitted(formula: str, offset: str | None = None, family: str = "poisson") -> Lmer:
    return samples.fitted(f"{formula} + (1 | g)", counts(), given={"family": family, "offset": offset})


def predicted(name: str, scale: str = "response", **values: float) -> np.ndarray:
    """Return the predictions of the population for each size, from the coefficients and the offset."""
    model, known = fitted(*MODELS[name][:2]), {**MODELS[name][3], **values}
    b = model.coefs["Estimate"]
    rows = np.array([[b.get(f"size{size}{part}", 0.0) for part in ("", ":x")] for size in SIZES])
    slope = b.get("x", 0.0) + rows[:, 1]
    link = b["(Intercept)"] + rows[:, 0] + slope * known.get("x", 0.0) + MODELS[name][2](known)
    return np.exp(link) if scale == "response" else link


def asked(name: str) -> tuple[Lmer, str, dict[str, float]]:
    """Return a model, the variable of its offset to ask for, and what else to ask for."""
    formula, offset, _, values = MODELS[name]
    return fitted(formula, offset), next(iter(values)), {"two": values["two"]} if list(values)[1:] == ["two"] else {}


# The formula, the argument, the offset, and the values that its variables have unless asked; the first is asked about.
USED = counts().dropna()
N, LOG_N = counts().n.mean(), counts().log_n.mean()
MODELS = {
    "a function": ("k ~ size + offset(log(n))", None, lambda v: np.log(v["n"]), {"n": N}),
    "of two variables": (
        "k ~ size + offset(log(n) + log(two) / 2)", None, lambda v: np.log(v["n"]) + np.log(v["two"]) / 2,
        {"n": N, "two": 2},
    ),
    "two functions": (
        "k ~ size + offset(log_n) + offset(two)", None, lambda v: v["log_n"] + v["two"], {"log_n": LOG_N, "two": 2},
    ),
    "a name to be quoted": (
        "k ~ size + offset(log(`n ($)`))", None, lambda v: np.log(v["n ($)"]), {"n ($)": USED.n.mean()},
    ),
    "beside a predictor": (
        "k ~ size * x + offset(log(n) + x)", None, lambda v: np.log(v["n"]) + v["x"],
        {"x": USED.x.mean(), "n": USED.n.mean()},
    ),
    "an argument": ("k ~ size", "log_n", lambda v: v["log_n"], {"log_n": LOG_N}),
    "an argument, rows left out": (
        "k ~ size + x", "log_n", lambda v: v["log_n"], {"log_n": USED.log_n.mean(), "x": USED.x.mean()},
    ),
    "an argument of two values": ("k ~ size", "two", lambda v: v["two"], {"two": counts().two.mean()}),
    "an argument that is a predictor": ("k ~ size * x", "x", lambda v: v["x"], {"x": USED.x.mean()}),
    "both": (
        "k ~ size + offset(-two)", "log_n", lambda v: v["log_n"] - v["two"], {"log_n": LOG_N, "two": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_offset_of_a_row_is_computed_from_it(name):
    model, variable, given = asked(name)
    default, contrasts = model.emmeans("size", at=given)
    np.testing.assert_allclose(default["Estimate"], predicted(name), rtol=1e-7)
    for value in (1.0, 2.5):
        found, compared = model.emmeans("size", at={variable: value, **given})
        np.testing.assert_allclose(found["Estimate"], predicted(name, **{variable: value}), rtol=1e-7)
        linked = model.emmeans("size", at={variable: value, **given}, type="link")[0]
        np.testing.assert_allclose(linked["Estimate"], predicted(name, "link", **{variable: value}), rtol=1e-7)
        if variable != "x":
            pd.testing.assert_frame_equal(compared, contrasts)


@pytest.mark.parametrize("name", MODELS)
def test_by_and_specs_take_the_variables_of_an_offset(name):
    model, variable, given = asked(name)
    at = {variable: [0.5, 2.0], **given}
    low, high = (predicted(name, "link", **{variable: value}) for value in at[variable])
    means, contrasts = model.emmeans("size", variable, at)
    np.testing.assert_allclose(means["Estimate"], np.exp([*low, *high]), rtol=1e-7)
    assert contrasts[variable].tolist() == [0.5] * 3 + [2.0] * 3
    _, ratios = model.emmeans(variable, "size", at)
    np.testing.assert_allclose(ratios["Estimate"], np.exp(low - high), rtol=1e-7)
    _, own = model.emmeans([variable, "size"], at=at, contrasts={"up": {(2, "M"): 1, (0.5, "M"): -1}})
    np.testing.assert_allclose(own["Estimate"], np.exp(high - low)[1], rtol=1e-7)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", ["response", "link"])
def test_slopes_are_those_of_predictions(name, scale):
    model, variable, given = asked(name)
    step = 1e-3 * np.ptp((USED if "x" in MODELS[name][3] or variable == "n ($)" else counts())[variable])
    low, high = (predicted(name, scale, **{variable: 3 + k * step}) for k in (0, 1))
    slopes, contrasts = model.emtrends(variable, "size", at={variable: 3.0, **given}, type=scale)
    np.testing.assert_allclose(slopes["Estimate"], (high - low) / step, rtol=1e-6)
    np.testing.assert_allclose(contrasts["Estimate"].iloc[0], slopes["Estimate"].iloc[0] - slopes["Estimate"].iloc[1])
    assert slopes.attrs["scale"] == contrasts.attrs["scale"] == scale


def test_two_values_are_levels_in_a_formula_and_a_mean_as_an_argument():
    model = fitted("k ~ size + offset(two)")
    means = model.emmeans("size", type="link")[0]
    assert any("two" in note and "averaged" in note for note in means.attrs["notes"])
    at = (model.emmeans("size", at={"two": two}, type="link")[0]["Estimate"] for two in (1, 2))
    np.testing.assert_allclose(means["Estimate"], sum(at) / 2, rtol=1e-7)
    assert model.emmeans("two")[0]["two"].tolist() == [1, 2]
    argument = fitted("k ~ size", "two")
    assert argument.emmeans("two")[0]["two"].tolist() == [counts().two.mean()]
    with pytest.raises(OptionError, match="which has no levels"):
        argument.post_hoc("size", "two")


def test_an_offset_of_rows_without_a_name_counts_as_its_mean():
    offset = counts().log_n.to_numpy() + 0.5
    model = samples.fitted("k ~ size + x + (1 | g)", counts(), given={"family": "poisson", "offset": offset})
    named = fitted("k ~ size + x", "log_n")
    for found, plain in zip(model.emmeans("size"), named.emmeans("size"), strict=True):
        np.testing.assert_allclose(found["Estimate"], plain["Estimate"], rtol=1e-5)
    notes = model.emmeans("size")[0].attrs["notes"]
    assert f"The offset counts as its mean, {offset[counts().x.notna()].mean():.6g}." in notes


def test_the_note_tells_the_default():
    model = fitted("k ~ size + offset(log(n))")
    default, _ = model.emmeans("size")
    assert f"The offset counts at the mean, n = {counts().n.mean():.6g}; at= sets it." in default.attrs["notes"]
    for table in (model.emmeans("size", at={"n": 3})[0], fitted("k ~ size").emmeans("size")[0]):
        assert not any("offset" in note for note in table.attrs["notes"])
    assert any("log_n" in note for note in fitted("k ~ size", "log_n").emmeans("size")[0].attrs["notes"])


def test_the_default_of_post_hoc(capsys):
    model = fitted("k ~ size + offset(log(n))")
    means, differences = model.post_hoc("size")
    assert "Note: The offset counts at the mean, n = " in capsys.readouterr().out
    z = predicted("a function", "link")
    np.testing.assert_allclose(means["Estimate"], z, rtol=1e-7)
    np.testing.assert_allclose(differences["Estimate"], [z[0] - z[1], z[0] - z[2], z[1] - z[2]], rtol=1e-7)


@pytest.mark.parametrize("outcome", ["y", "I(y / 10)", "exp(y / 4)", "scale(y)"])
@pytest.mark.parametrize("offset", [None, "log_n"])
def test_an_offset_beside_a_function_of_the_outcome(outcome, offset):
    part = "" if offset else " + offset(log(n))"
    model = fitted(f"{outcome} ~ size{part}", offset, "gaussian")
    at = {"log_n": 2.0} if offset else {"n": np.exp(2.0)}
    inverse = {
        "y": lambda z: z, "I(y / 10)": lambda z: 10 * z, "exp(y / 4)": lambda z: 4 * np.log(z),
        "scale(y)": lambda z: counts().y.mean() + counts().y.std() * z,
    }[outcome]  # fmt: skip
    found = model.emmeans("size", at=at)[0]
    row = pd.DataFrame({"size": list(SIZES), **at})
    np.testing.assert_allclose(found["Estimate"], inverse(model.predict(row)), rtol=1e-7)
    weights = model.emmeans("size", at=at, contrasts={"mean": [0.5, 0.5, 0]})[1]
    if outcome != "exp(y / 4)":
        np.testing.assert_allclose(weights["Estimate"], found["Estimate"].iloc[:2].mean(), rtol=1e-7)


@pytest.mark.parametrize("as_argument", [True, False])
def test_an_offset_is_another_outcome(as_argument):
    """Slopes in other variables and joint tests are those of y less the offset."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.normal(size=80), "z": rng.normal(size=80), "f": list("abcd") * 20})
    data["g"] = np.arange(80) // 8
    data["y"] = data["x"] + data["z"] + rng.normal(size=10)[data["g"]] + rng.normal(size=80)
    term, given = ("", {"offset": "z"}) if as_argument else (" + offset(z)", {})
    model = samples.fitted(f"y ~ x * f{term} + (1 | g)", data, given=given)
    plain = samples.fitted("y ~ x * f + (1 | g)", data.assign(y=data["y"] - data["z"]))
    pd.testing.assert_frame_equal(model.joint_tests(), plain.joint_tests(), rtol=1e-6)
    within, once = (tests["F-stat"].round(5) for tests in (model.joint_tests("z"), plain.joint_tests()))
    assert within.tolist() == np.repeat(once, 2).tolist()
    for found, wanted in zip(model.emtrends("x", "f"), plain.emtrends("x", "f"), strict=True):
        pd.testing.assert_frame_equal(found, wanted, rtol=1e-6)
