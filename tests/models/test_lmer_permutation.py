"""Permutation tests of `Lmer`: what p are under the null hypothesis, and which terms have none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pymer4 import Lmer
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r

SHUFFLES = 19  # the least p is then 1/20
GROUPS, SIZE = 8, 6


def null_data(seed: int, effect: float = 0.0) -> pd.DataFrame:
    """Return groups with levels of their own, a predictor that varies in them and one that does not; no effects."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), SIZE)
    inside, between = rng.normal(size=GROUPS * SIZE), rng.normal(size=GROUPS)[group]
    y = rng.normal(0, 1, GROUPS)[group] + effect * inside + rng.normal(size=GROUPS * SIZE)
    return pd.DataFrame({"y": y, "inside": inside, "between": between, "group": group})


def null_p(seeds: range) -> pd.DataFrame:
    """Return the permutation p of each seed, one column a term."""
    rows = []
    for seed in seeds:
        model = Lmer("y ~ inside + between + (1 | group)", null_data(seed))
        model.fit(permute=SHUFFLES, seed=seed, ddf="asymptotic", summarize=False, no_warnings=True)
        rows.append(model.coefs["Perm-P-val"])
    return pd.DataFrame(rows, index=list(seeds))


def check_uniform(p: np.ndarray, bound: float) -> None:
    """Compare with the uniform distribution, spread over the steps of 1/20, and the rejections with their binomial."""
    steps = p * (SHUFFLES + 1)
    assert np.allclose(steps, steps.round()) and steps.min() >= 1 - 1e-9
    spread = p - np.random.default_rng(0).random(len(p)) / (SHUFFLES + 1)
    assert stats.kstest(spread, "uniform").pvalue > bound
    assert stats.binomtest(int((p <= 0.05 + 1e-12).sum()), len(p), 0.05).pvalue > bound


def test_p_of_a_term_that_varies_in_groups_is_uniform_in_few_seeds():
    check_uniform(null_p(range(1000, 1040))["inside"].to_numpy(), 1e-3)


@pytest.mark.slow
def test_p_of_a_term_that_varies_in_groups_is_uniform():
    """500 seeds: the rate of rejections at .05 is known to a standard deviation of .0097."""
    found = null_p(range(500))
    check_uniform(found["inside"].to_numpy(), 0.01)
    assert 0.02 < (found["inside"] <= 0.05 + 1e-12).mean() < 0.08
    assert found[["(Intercept)", "between"]].isna().all(axis=None)


def test_terms_that_are_constant_in_groups_have_no_p_and_a_reason():
    model = Lmer("y ~ inside * between + (1 | group)", null_data(3))
    with pytest.warns(ModelWarning, match=r"\(Intercept\), between: constant within.*compare\(\)"):
        model.fit(permute=SHUFFLES, seed=1, summarize=False)
    table = model.coefs
    assert table["Perm-P-val"].isna().tolist() == [True, False, True, False]
    assert (table.loc[["(Intercept)", "between"], "Sig"] == "").all()
    assert any("constant within" in text for text in model.warnings)
    assert model.sig_type == f"permutation ({SHUFFLES})"


@pytest.mark.parametrize("random, effect", [("1", 1.0), ("inside", 2.0)], ids=["intercepts", "slopes"])
def test_an_effect_is_found(random, effect):
    model = Lmer(f"y ~ inside + ({random} | group)", null_data(5, effect))
    model.fit(permute=39, seed=1, summarize=False, no_warnings=True)
    assert model.coefs.loc["inside", "Perm-P-val"] == pytest.approx(1 / 40)


def test_seeds_repeat_and_estimates_stay():
    model, plain = (Lmer("y ~ inside + (1 | group)", null_data(11)) for _ in range(2))
    plain.fit(summarize=False)
    tables = []
    for seed in (1, 1, 2):
        model.fit(permute=49, seed=seed, summarize=False, no_warnings=True)
        tables.append(model.coefs)
        pd.testing.assert_frame_equal(
            model.coefs[["Estimate", "SE", "T-stat"]], plain.coefs[["Estimate", "SE", "T-stat"]]
        )
        np.testing.assert_array_equal(model.fits, plain.fits)
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert tables[0].loc["inside", "Perm-P-val"] != tables[2].loc["inside", "Perm-P-val"]


def test_the_index_of_the_data_does_not_matter():
    """A shuffle that pandas aligns on the index would put every row back."""
    data = null_data(7)
    found = []
    for index in (data.index, pd.Index(np.arange(len(data))[::-1]), pd.Index(["a"] * len(data))):
        model = Lmer("y ~ inside + (1 | group)", data.set_axis(index))
        model.fit(permute=49, seed=1, summarize=False, no_warnings=True)
        found.append(model.coefs.loc["inside", "Perm-P-val"])
    assert len(set(found)) == 1
    assert 1 / 50 < found[0] < 1


def test_another_grouping_factor_may_be_shuffled_in():
    """What is constant in one factor varies in the other."""
    data = null_data(13).assign(row=lambda d: np.arange(len(d)) % SIZE)
    model = Lmer("y ~ inside + between + (1 | group) + (1 | row)", data)
    model.fit(permute=19, seed=1, permute_within="row", summarize=False, no_warnings=True)
    assert model.coefs["Perm-P-val"].isna().tolist() == [True, False, False]
    model.fit(permute=19, seed=1, permute_within="group", summarize=False, no_warnings=True)
    assert model.coefs["Perm-P-val"].isna().tolist() == [True, False, True]
