"""What is equal but for rounding: the same answer whichever way a processor rounds, for which noise stands here."""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pymer4.errors import ModelWarning
from pymer4.fit import ties
from pymer4.fit.correlations import principal_axes
from pymer4.fit.linear import least_squares
from pymer4.fit.lowess import lowess
from pymer4.fit.ties import settled
from pymer4.infer import resample
from pymer4.infer.draws import from_draws, inverted_p
from pymer4.infer.resample import counted
from pymer4.models.lm import Lm
from pymer4.models.lmer import Lmer
from pymer4.plots.forest import _spread
from pymer4.plots.groups import caterpillar, caterpillars
from pymer4.rbridge import bridge
from pymer4.statistics.permutation import perm_test
from pymer4.tables import optimizer_table

pytestmark = pytest.mark.numeric

EPS = np.finfo(float).eps


def rounded(values, seed: int, share: float = 4 * EPS) -> np.ndarray:
    """Return the values with rounding errors of the size of the largest."""
    values = np.asarray(values, dtype=float)
    return values + share * np.abs(values).max() * np.random.default_rng(seed).uniform(-1, 1, values.shape)


def test_what_differs_by_rounding_is_made_equal():
    assert doctest.testmod(ties).failed == 0
    values = np.repeat([-2.0, 0.0, 1e-9, 3.0], [3, 2, 2, 4])
    for seed in range(20):
        moved = rounded(values, seed)
        found = settled(moved)
        assert np.unique(found).size == 4 and np.isin(found, moved).all()
        assert np.array_equal(np.argsort(found, kind="stable"), np.arange(11))
    odd = settled(np.array([np.nan, np.inf, 1.0, -np.inf, np.nan]))
    np.testing.assert_array_equal(odd, [np.nan, np.inf, 1.0, -np.inf, np.nan])
    assert settled(np.array([])).size == 0 and settled(np.zeros(3)).tolist() == [0, 0, 0]


# ------------------------------------------------------------------ orders


def test_rows_that_draw_one_number_keep_their_order(monkeypatch):
    class Drawn:
        def random(self, shape):
            return np.zeros(shape)

    monkeypatch.setattr(resample.np.random, "default_rng", lambda seed: Drawn())
    within = np.arange(400) % 7
    assert (resample.shuffles(400, 3, 1, within) == np.arange(400)).all()


def test_groups_with_equal_effects_stand_as_given():
    effects = pd.Series(np.repeat([2.0, -1.0, 0.5], 4), index=[f"g{i}" for i in range(12)])
    wanted = [*range(4, 8), *range(8, 12), *range(4)]
    for seed in range(10):
        values = pd.Series(rounded(effects, seed), index=effects.index)
        for ax in (
            caterpillar(values, ax=Figure().subplots()),
            caterpillars(*[values.to_frame("x")] * 2, order="first", ax=Figure().subplots()),
        ):
            assert [tick.get_text() for tick in ax.get_yticklabels()] == [f"g{i}" for i in wanted]


def test_points_of_equal_value_lie_where_they_did():
    values = np.repeat([1.0, 2.0, 2.5], 5)
    for seed in range(10):
        np.testing.assert_allclose(_spread(rounded(values, seed)), _spread(values), rtol=0, atol=1e-12)
    constant = _spread(np.full(8, 0.1))
    assert np.array_equal(_spread(rounded(np.full(8, 0.1), 1)), constant)


@pytest.mark.parametrize("n", [60, 3000])
def test_a_smooth_line_has_one_place_for_each_fitted_value(n):
    rng = np.random.default_rng(1)
    fits, y = np.array([1.0, 2.0, 4.0])[rng.integers(0, 3, n)], rng.normal(size=n)
    at, line = lowess(fits, y)
    assert at.tolist() == [1, 2, 4]
    for seed in range(10):
        places, values = lowess(rounded(fits, seed), y)
        np.testing.assert_allclose(places, at, rtol=1e-14)
        np.testing.assert_allclose(values, line, rtol=0, atol=1e-9)


# ------------------------------------------------------------------ counts


def draws_at_zero() -> np.ndarray:
    """Return bootstrap draws of which many are exactly 0, as slopes of few levels are."""
    return np.repeat([-1.0, 0.0, 0.5, 2.0], [20, 30, 25, 24])[:, None]


def test_bootstrap_draws_that_are_the_null_value_count_on_both_sides():
    exact = draws_at_zero()
    assert inverted_p(exact)[0] == 1  # 50 draws of 99 are not above 0
    shifted = exact + 1
    for seed in range(10):
        assert inverted_p(rounded(exact, seed))[0] == 1
        assert inverted_p(rounded(shifted, seed) - 1.0)[0] == 1


def test_bootstrap_draws_that_are_the_estimate_count_by_half():
    exact, knife = draws_at_zero(), np.arange(20.0)[:, None] ** 2
    wanted = from_draws(np.zeros(1), exact, kind="bca", jackknife=knife)
    for seed in range(10):
        found = from_draws(np.zeros(1), rounded(exact, seed), kind="bca", jackknife=knife)
        np.testing.assert_allclose([found.lower, found.upper], [wanted.lower, wanted.upper], rtol=0, atol=1e-12)


@pytest.mark.parametrize("stat", ["tstat", "mean", "cohensd", "pearsonr", "spearmanr"])
def test_one_tail_of_a_statistic_that_is_zero_is_the_upper_one(stat):
    x, y = np.array([0.1, 0.2, 0.3, 0.7, 0.4, 0.6]), np.array([0.6, 0.4, 0.1, 0.3, 0.2, 0.7])
    if stat in ("pearsonr", "spearmanr"):
        x, y = np.array([-3.0, -1, 0, 0, 1, 3]) / 7, np.array([9.0, 1, 0, 4, 1, 9]) / 7
    found = {
        perm_test(rounded(x, seed) if stat != "spearmanr" else x, y, stat, 200, tails=1, seed=3)[1]
        for seed in range(20)
    }
    assert len(found) == 1 and found.pop() > 0.5


@pytest.mark.r
@pytest.mark.filterwarnings("ignore:Some predictor variables")
@pytest.mark.parametrize("unit", [1.0, 1e-20])
def test_what_varies_within_groups_is_found_in_any_unit(unit):
    rng = np.random.default_rng(2)
    between = np.repeat(rng.normal(size=6), 10)
    data = pd.DataFrame({"y": rng.normal(size=60) + 2 * between[::-1], "g": np.repeat(list("abcdef"), 10)})
    data["x"], data["z"] = unit * rng.normal(size=60), unit * between
    for term, constant in (("x", False), ("z", True)):
        model = Lmer(f"y ~ 0 + {term} + (1 | g)", data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            model.fit(permute=3, summarize=False)
        assert np.isnan(model.coefs["Perm-P-val"].iloc[0]) == constant


# ------------------------------------------------------------------ the first of equals


def test_the_best_of_optimizers_that_arrive_at_one_place_is_the_first():
    found = {"optimizers": ["a", "b", "c"], "converged": [True] * 3, "messages": [""] * 3, "terms": ["x"]}
    found["coefficients"] = np.array([[1.0], [1.1], [1.1]])
    for seed in range(10):
        likelihood = np.array([-870.5, *rounded([-871.81412] * 2, seed, 1e-10)])
        for order in ([1, 2, 0], [0, 1, 2]):
            table = optimizer_table(found | {"log_likelihood": likelihood[order]}, {})
            assert table.attrs["best"] == ("c" if order[0] else "a")
        table = optimizer_table(found | {"log_likelihood": np.array([np.nan, *likelihood[1:]])}, {})
        assert table.attrs["best"] == "b"


def test_reasons_that_are_equally_frequent_stand_as_they_came():
    told = counted(["b  b", "a", "c", "c", "b b", "Z"], n=9)
    assert told == "2 of 9: b b; 2 of 9: c; 1 of 9: a; 1 of 9: Z"
    assert counted(list("abcdefg"), n=9).endswith("1 of 9: e; and 2 other reasons")


@pytest.mark.r
def test_cells_are_those_of_the_first_of_equal_groups():
    labels = {"g": list("bbaa"), "x": list("wzwy")}
    asked = {"labels": labels, "by": ["g"], "values": {"estimate": np.arange(4.0)}}
    assert list(bridge.call("cells_compared", estimates=asked).value["labels"]) == ["w", "z"]


# ------------------------------------------------------------------ axes


@pytest.mark.parametrize("tied", [[1.0, 1, 1], [2.0, 2, 5], [1e-12, 3, 3], [0.0, 0, 1]])
def test_tied_axes_follow_the_coordinates(tied):
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix = (turn * tied) @ turn.T
    wanted = principal_axes(matrix)
    np.testing.assert_allclose(wanted.T @ wanted, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(wanted.T @ matrix @ wanted, np.diag(tied), atol=1e-7)
    for seed in range(20):
        noise = rounded(matrix, seed)
        found = principal_axes((noise + noise.T) / 2)
        signs = np.sign((found * wanted).sum(axis=0))
        np.testing.assert_allclose(found * signs, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(principal_axes(np.eye(4)), np.eye(4))


def test_small_eigenvalues_that_differ_are_no_tie():
    matrix = np.diag([1.0, 2e-12, 1e-12])
    np.testing.assert_allclose(np.abs(principal_axes(matrix)), np.eye(3)[:, [2, 1, 0]], atol=1e-9)


def test_df_of_a_joint_test_with_equal_variances():
    """Two groups with the same spread tie: Fai and Cornelius' df follow the hypotheses, n − 1 for each mean."""
    base = np.random.default_rng(3).normal(size=8)
    rows = {"g": np.repeat(["a", "b"], 8), "y": np.concatenate([base + 1, base - 2])}
    found = set()
    for seed in range(10):
        data = pd.DataFrame(rows).assign(y=rounded(rows["y"], seed))
        model = Lm("y ~ g", data)
        model.fit(weights="g", summarize=False)
        found.add(round(float(model.test("Intercept = 0, Intercept + g[T.b] = 0")["DenomDF"].iloc[0]), 6))
    assert found == {7.0}


# ------------------------------------------------------------------ perfect fits


@pytest.mark.parametrize("n, p", [(6, 2), (100, 5), (2000, 5), (20_000, 12)])
@pytest.mark.parametrize("away", [0.0, 3e3, 1e5])
def test_residuals_that_are_rounding_make_a_perfect_fit(n, p, away):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = np.column_stack([np.ones(n), away + rng.normal(size=(n, p - 1))])
        y = X @ rng.normal(size=p)
        assert least_squares(X, y).is_perfect
        assert not least_squares(X, y + 1e-11 * np.abs(y).max() * rng.normal(size=n)).is_perfect
