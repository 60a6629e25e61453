"""A level is one level however it is spelled, and keeps the spelling that it was given."""

from __future__ import annotations

import warnings
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from samples import fit

from pymer4 import Lm, Lm2, Lmer
from pymer4.data.columns import Column, level_name, number_name, places
from pymer4.data.factors import coding, with_levels
from pymer4.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


SAME = 1e-10  # relative: one model under other names


@cache
def data() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    n = 120
    frame = pd.DataFrame(
        {"g": rng.permutation(np.repeat(np.arange(1, 13), 10)), "dose": rng.choice([0.5, 1.0, 1.5], n)}
    )
    frame["x"] = rng.normal(size=n)
    frame["y"] = 2 * frame.dose**2 + frame.x + rng.normal(0, 1, 13)[frame.g] + rng.normal(size=n)
    return frame


TEXT = {0.5: "0.5", 1.0: "1.0", 1.5: "1.5"}
HELD = {  # what the column holds
    "numbers": lambda d: d,
    "text": lambda d: d.map(TEXT),
    "categories": lambda d: pd.Categorical(d),
    "nullable": lambda d: d.astype("Float64"),
    "objects": lambda d: d.astype(object),
}
ASKED = {  # what factors= says, and the names that numbers get
    "text": (["0.5", "1.0", "1.5"], ["0.5", "1.0", "1.5"]),
    "numbers": ([0.5, 1.0, 1.5], ["0.5", "1", "1.5"]),
    "mixed": (["0.50", 1, "1.5"], ["0.50", "1", "1.5"]),
    "exponents": (["5e-1", "1e0", "15e-1"], ["5e-1", "1e0", "15e-1"]),
}
SPELLED = [0.5, 1.0, 1.5], ["0.5", "1.0", "1.5"], ["0.50", "1", "1.500"], pd.Categorical([0.5, 1.0, 1.5])


def fitted(kind, held: str, factors=None, **given):
    frame = data().assign(dose=HELD[held](data()["dose"]))
    formula = {Lmer: "y ~ dose + x + (1 | g)", Lm: "y ~ dose + x", Lm2: "y ~ dose + x"}[kind]
    model = Lm2(formula, frame, group="half") if kind is Lm2 else kind(formula, frame)
    model.fit(factors=factors, summarize=False, **given)
    return model


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", [pytest.param(Lmer, marks=pytest.mark.r), Lm])
def test_numbers_are_matched_as_numbers(kind, asked, held):
    spec, names = ASKED[asked]
    model = fitted(kind, held, {"dose": spec})
    if held == "text":
        names = list(TEXT.values())
    elif held == "categories":
        names = ["0.5", "1", "1.5"]
    if kind is Lmer:
        assert list(model.coefs.index[1:3]) == [f"dose{name}" for name in names[1:]]
        assert list(model.emmeans("dose")[0]["dose"]) == names
    cells = pd.DataFrame({"dose": [0.5, 1.0, 1.5], "x": 0.3})
    b = model.coefs["Estimate"].to_numpy()
    expected = b[0] + 0.3 * b[-1] + np.r_[0, b[1:3]]
    for spelled in SPELLED:
        np.testing.assert_allclose(model.predict(cells.assign(dose=spelled)), expected, rtol=SAME)
        if kind is Lmer:
            means = model.emmeans("dose", at={"dose": list(spelled), "x": 0.3}, contrasts=None)[0]
            np.testing.assert_allclose(means["Estimate"], expected, rtol=SAME)
    for unknown in (2.0, "2.0", "low"):
        with pytest.raises(DataError, match="which the model was not fitted to"):
            model.predict(cells.assign(dose=unknown))
    if kind is Lmer:
        with pytest.raises(OptionError, match=r"at\['dose'\] has '1\.1', not among the levels"):
            model.emmeans("dose", at={"dose": ["1.1"]})
        assert len(model.plot("dose").get_xticks()) == 3


@pytest.mark.r
def test_the_spelling_stays_with_contrasts_and_order():
    weights = {"1.0": 1, "0.5": -0.5, "1.5": -0.5}
    a, b = (fitted(Lmer, "numbers", {"dose": spec}) for spec in (weights, {1.0: 1, 0.5: -0.5, 1.5: -0.5}))
    np.testing.assert_allclose(a.coefs["Estimate"], b.coefs["Estimate"], rtol=1e-9)
    assert list(a.emmeans("dose")[0]["dose"]) == ["1.0", "0.5", "1.5"]
    named = fitted(Lmer, "numbers", {"dose": {"mid": weights}})
    assert list(named.coefs.index[1:3]) == ["dosemid", "dose2"]
    ordered = fitted(Lmer, "numbers", {"dose": ["0.5", "1.0", "1.5"]}, ordered=True)
    assert list(ordered.coefs.index[1:3]) == ["dose.L", "dose.Q"]
    assert np.isfinite(ordered.predict(pd.DataFrame({"dose": ["1.0", "1"], "x": 0.0}))).all()


@pytest.mark.r
@pytest.mark.parametrize(
    "held", [lambda g: g, lambda g: g.astype(float), lambda g: g.astype(str), lambda g: g.map("{}.0".format)]
)
def test_groups_are_numbers_where_either_side_is(held):
    frame = data().assign(g=held(data()["g"]))
    model = fit(Lmer("y ~ x + (1 | g)", frame))
    for rows in (frame, data(), data().assign(g=data()["g"].astype(float))):
        np.testing.assert_allclose(model.predict(rows, use_rfx=True), model.fits, rtol=SAME)
    with pytest.raises(DataError, match="not fitted to these groups"):
        model.predict(data().assign(g=99), use_rfx=True)
    assert len(model.plot("x", grps=[1.0, 3]).get_lines()) == len(
        model.plot("x", grps=model.fixef.index[[0, 2]]).get_lines()
    )


@pytest.mark.r
def test_groups_of_text_that_spell_one_number_may_be_two():
    model = fit(Lmer("y ~ x + (1 | g)", data().assign(g=data()["g"].map("{:03d}".format))))
    with pytest.raises(DataError, match="not fitted to these groups"):
        model.predict(data().assign(g=data()["g"].astype(str)), use_rfx=True)


def test_regressions_by_group_know_a_number_however_it_is_written():
    halves = data().assign(half=np.where(data()["g"] > 6, 2, 1), inner=data()["x"].gt(0) * 1.0)
    model = fit(Lm2("y ~ x", halves, group="half"))
    for spelled in ("1", "1.0", 1.0, 1):
        np.testing.assert_allclose(
            model.predict(pd.DataFrame({"x": [0.5], "half": [spelled]})), model.fixef.loc[1] @ [1, 0.5], rtol=SAME
        )
    nested = fit(Lm2("y ~ x", halves, group=["half", "inner"]))
    a, b = (nested.predict(pd.DataFrame({"x": [0.5], "half": [h], "inner": [i]})) for h, i in ((2, 1), ("2.0", "1")))
    np.testing.assert_array_equal(a, b)
    with pytest.raises(DataError, match="was not fitted to the group"):
        model.predict(pd.DataFrame({"x": [0.5], "half": ["3"]}))


def test_variances_of_groups_know_their_numbers():
    model = Lm("y ~ x", data())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(weights="dose", summarize=False)
    first, *others = (
        model.predict(pd.DataFrame({"x": 0.0, "dose": spelled}), interval="prediction") for spelled in SPELLED[:3]
    )
    for table in others:
        pd.testing.assert_frame_equal(table, first)


# ------------------------------------------------------------------ how levels are matched


SPELLS = {
    "1": "1", "1.0": "1", "+1": "1", "-0.50": "-0.5", ".5": "0.5", "1e3": "1000", "007": "7", "2.": "2",
    "12345678901234567890123": "12345678901234567890123", "0.1000000000000000055511": "0.1",
}  # fmt: skip
NO_NUMBERS = ["", "a", "1 mg", "1,5", "0x1", "nan", "inf", "1e999", "1_000", "\u0661", "--1", "TRUE"]


@pytest.mark.parametrize("text", [*SPELLS, *NO_NUMBERS])
def test_what_text_spells(text):
    assert number_name(text) == SPELLS.get(text, text)


def test_the_same_spelling_comes_first_and_two_spellings_of_a_number_are_no_number():
    assert places(["1", "1.0", "1.00"], ["1.0", "1"]) == [1, 0, -1]
    assert places(["1", "1.0"], ["1.0", "2"]) == [0, 0]
    assert places(["1", "1.0"], ["1.0", "2"], as_numbers=False) == [-1, 0]
    named = [level_name(value) for value in (1, 1.0, np.float32(0.1), True)]
    assert places(named, ["1.00", "0.10", "TRUE"]) == [0, 0, 1, 2]


def test_levels_that_differ_in_spelling_alone_stay_two():
    codes = np.array([1, 2, 3, 1], dtype=np.int32)
    column = Column("factor", codes, ("01", "1", "2"))
    levels = coding("g", ["1", "01", "2"], column).levels
    assert levels == ("1", "01", "2")
    assert with_levels(column, levels, False, "g").values.tolist() == [2, 1, 3, 2]
    with pytest.raises(OptionError, match=r"names the level '1\.0', which the data lack"):
        coding("g", ["1.0", "01", "2"], column)
    with pytest.raises(OptionError, match="names the level 2 twice"):
        coding("g", ["2", "2.0", "1"], Column("integer", np.array([1, 2, 3], dtype=np.int32)))
