"""Models of ranks: new values are put on the ranks of the fit, wherever a model takes them."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from samples import fitted

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import DataError, OptionError

pytestmark = pytest.mark.r


def trial() -> pd.DataFrame:
    """Return groups of rows with ties in `k`, a text column, gaps, and columns that are not ranked."""
    rng = np.random.default_rng(4)
    n = 160
    frame = pd.DataFrame({"g": np.repeat(np.arange(16), 10) * 10, "x": rng.normal(size=n), "k": rng.integers(0, 6, n)})
    frame = frame.assign(cond=rng.choice(["u", "v"], n), z=rng.normal(size=n), dose=rng.choice([0.5, 1.0, 2.0], n))
    frame["y"] = np.exp(0.5 * frame.x + 0.2 * frame.k + 0.3 * rng.normal(size=16)[frame.g // 10] + rng.normal(size=n))
    frame.loc[[4, 90], "x"] = np.nan
    frame.loc[17, "y"] = np.nan
    return frame


def fit(formula: str = "y ~ x + k + cond + (x | g)", data: pd.DataFrame | None = None, **how) -> Lmer:
    return fitted(formula, trial() if data is None else data, rank=True, **how)


CASES = {
    "all rows": {},
    "in groups": {"rank_group": "g"},
    "in levels": {"rank_group": "cond"},
    "but one": {"rank_exclude_cols": "k"},
    "but one in groups": {"rank_exclude_cols": ["k"], "rank_group": "cond"},
    "factors": {"factors": {"k": [3, 2, 1, 0, 4, 5]}},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("formula", ["y ~ x + k + cond + (x | g)", "y ~ x * cond + k + (1 | g)", "y ~ . + (1 | g)"])
def test_the_rows_of_the_fit_are_predicted_as_fitted(case, formula):
    model = fit(formula, **CASES[case])
    there = ~np.isnan(model.fits)
    assert there.sum() == 157
    np.testing.assert_allclose(model.predict(trial(), use_rfx=True)[there], model.fits[there], rtol=1e-10)
    shown = model.predict(trial().sample(frac=1, random_state=1), use_rfx=True, interval="prediction")
    np.testing.assert_allclose(shown["Estimate"].sort_index()[there], model.fits[there], rtol=1e-10)


def ranks_of(value: float, known: pd.Series) -> float:
    """Return a rank among known values by counting: the mean of those below and those not above, plus a half."""
    return ((known < value).sum() + (known <= value).sum() + 1) / 2


def test_new_values_fall_between_the_ranks_of_the_fit():
    model, data = fit(), trial().dropna()
    b = model.coefs["Estimate"]
    known = np.sort(data["x"].to_numpy())
    middle = (known[50] + known[51]) / 2
    x = [known[0] - 9, known[0], known[50], middle, known[-1], known[-1] + 9]
    ranks = [1.0, 1.0, 51.0, 51.5, 157.0, 157.0]
    found = model.predict(pd.DataFrame({"x": x, "k": 3, "cond": "v"}))
    k = ranks_of(3, data["k"])
    assert k == data["k"].rank()[data["k"] == 3].iloc[0]
    np.testing.assert_allclose(found, b["(Intercept)"] + b["x"] * np.array(ranks) + b["k"] * k + b["condv"], rtol=1e-10)


def test_new_values_have_the_ranks_of_their_group():
    model, data = fit(rank_group="cond"), trial().dropna()
    b = model.coefs["Estimate"]
    rows = pd.DataFrame({"x": [0.1, 0.1, np.nan, 0.1], "k": [2, 2, 2, 2], "cond": ["u", "v", "u", None]})
    found = model.predict(rows)
    for at, level in enumerate("uv"):
        known = data[data["cond"] == level]
        values, places = np.sort(known["x"]), np.arange(1, len(known) + 1)
        x, k = np.interp(0.1, values, places), ranks_of(2, known["k"])
        wanted = b["(Intercept)"] + b["x"] * x + b["k"] * k + b["condv"] * at
        np.testing.assert_allclose(found[at], wanted, rtol=1e-10)
    assert np.isnan(found[2:]).all()


def test_the_column_of_the_groups_is_needed_where_a_rank_is():
    model = fit("y ~ x + (1 | g)", rank_group="cond")
    with pytest.raises(DataError, match="'cond'"):
        model.predict(pd.DataFrame({"x": [0.1]}))
    with pytest.raises(DataError, match="'w'"):
        model.predict(pd.DataFrame({"x": [0.1], "cond": ["w"]}))
    free = fit("y ~ z + (1 | g)", rank_group="cond", rank_exclude_cols="z")
    assert free.predict(pd.DataFrame({"z": [0.1]})).shape == (1,)
    unused = trial().assign(cond=pd.Categorical(trial()["cond"], ["u", "v", "w"]))
    empty = fit("y ~ x + (1 | g)", unused, rank_group="cond")
    with pytest.raises(DataError, match="ranked no row of 'cond' = 'w'"):
        empty.predict(pd.DataFrame({"x": [0.1], "cond": ["w"]}))


def test_numbers_of_groups_are_matched_as_numbers():
    model, data = fit("y ~ x + (1 | g)", rank_group="dose"), trial().dropna()
    rows = data.assign(dose=data["dose"].astype(object))
    np.testing.assert_allclose(model.predict(rows, use_rfx=True), model.fits[data.index], rtol=1e-10)
    whole = pd.DataFrame({"x": [0.1, 0.1], "dose": [1, 2]})
    np.testing.assert_array_equal(model.predict(whole), model.predict(whole.astype({"dose": float})))


def test_what_groups_or_only_varies_keeps_its_values():
    model = fit("y ~ . + (1 | g)")
    assert model.design_matrix["g"].max() == 150 and model.design_matrix["x"].max() == 157
    assert list(model.ranef.index) == [str(10 * k) for k in range(16)]
    varying = fit("y ~ x + (0 + z | g)")
    assert varying.plot("x").get_xlabel() == "rank of x"
    there = ~np.isnan(varying.fits)
    np.testing.assert_allclose(varying.predict(trial(), use_rfx=True)[there], varying.fits[there], rtol=1e-10)


@pytest.mark.parametrize("how", [{}, {"rank_group": "cond"}])
def test_copies_know_the_ranks(how, tmp_path):
    model = fit(**how)
    save_model(model, tmp_path / "model.h5")
    rows = trial().assign(x=lambda d: d["x"] + 0.01)
    wanted = model.predict(rows, interval="confidence")
    for copy in (load_model(tmp_path / "model.h5"), pickle.loads(pickle.dumps(model))):
        pd.testing.assert_frame_equal(copy.predict(rows, interval="confidence"), wanted)
    model.fit(summarize=False, no_warnings=True)
    np.testing.assert_array_equal(model.predict(rows), fitted(model.formula, trial()).predict(rows))


def test_marginal_means_are_at_ranks():
    model = fit("y ~ x * cond + k + (1 | g)")
    means, _ = model.emmeans("cond", by="x", at={"x": [-0.3, 1.2], "k": 2})
    rows = pd.DataFrame({"x": [-0.3, -0.3, 1.2, 1.2], "cond": ["u", "v"] * 2, "k": 2})
    np.testing.assert_allclose(means["Estimate"], model.predict(rows), rtol=1e-9)
    np.testing.assert_allclose(means["SE"], model.predict(rows, interval="confidence")["SE"], rtol=1e-9)
    told = [text for text in means.attrs["messages"] if "ranks" in text]
    assert told[0].startswith("x is in ranks: -0.3 is ") and told[1].startswith("k is in ranks: 2 is ")
    slopes = model.emtrends("x", "cond", at={"k": [1]})[0]["Estimate"]
    b = model.coefs["Estimate"]
    np.testing.assert_allclose(slopes, [b["x"], b["x"] + b["x:condv"]], rtol=1e-7)


def test_levels_made_of_ranks_are_asked_for_by_value():
    model = fit("y ~ x + factor(dose) + (1 | g)")
    means, _ = model.emmeans("dose", at={"dose": [0.5, 2.0], "x": 0})
    np.testing.assert_allclose(
        means["Estimate"], model.predict(pd.DataFrame({"x": 0.0, "dose": [0.5, 2.0]})), rtol=1e-9
    )


def test_a_value_has_no_rank_across_groups():
    model = fit("y ~ x * cond + (1 | g)", rank_group="cond")
    with pytest.raises(OptionError, match=r"at\['x'\] can't be put on ranks: 'x' was ranked within 'cond'"):
        model.emmeans("cond", at={"x": 0})
    assert len(model.emmeans("cond", at={"cond": "u"})[0]) == 1
    assert len(model.emmeans("cond")[0]) == 2
    with pytest.raises(OptionError, match="has to be numbers"):
        fit("y ~ x * cond + (1 | g)").emmeans("cond", at={"x": "much"})
