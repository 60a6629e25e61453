"""Inflation factors, R² and adjusted p-values, against R."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from against_r import ask
from drawn import EXACT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rounding import FACTOR, UNIT

from pymer4 import Lmer
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.statistics.fit_measures import rsquared, rsquared_adj, vif
from pymer4.statistics.pvalues import Method, correct_pvals

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

METHODS = get_args(Method)
ADJUST = 1e-13  # relative: products of p and whole numbers; only BY adds up n numbers first

RNG = np.random.default_rng(11)
N = 40
A, B = RNG.normal(3, 1, N).round(4), RNG.normal(size=N).round(4)
DESIGN = pd.DataFrame({"Intercept": 1.0, "a": A, "b": (0.8 * A + B).round(4), "a:b": (A * B).round(4)})
OUTCOME = (1 + A - 0.5 * B + RNG.normal(size=N)).round(4)

PS = {
    "one": [0.03],
    "two": [0.04, 0.01],
    "three": [0.01, 0.02, 0.03],
    "ties": [0.05, 0.01, 0.05, 0.2, 0.01, 0.9],
    "large": [0.6, 0.7, 0.8, 1.0, 0.5],
    "tiny": [1e-300, 1e-20, 0.0, 0.4],
    "missing": [0.01, np.nan, 0.04, 0.03, np.nan],
    "many": RNG.uniform(size=60).round(6) ** 2,
}

SCRIPT = """
answer$vif <- diag(solve(cor(X[, -1])))
answer$vif2 <- diag(solve(cor(X[, 2:3])))
answer$intercept <- nrow(X) * solve(crossprod(X))[1, 1]
for (constant in 0:1) {
  told <- summary(if (constant) lm(y ~ X[, 2] + X[, 3]) else lm(y ~ 0 + X[, 2] + X[, 3]))
  answer[[paste0("r", constant)]] <- c(told$r.squared, told$adj.r.squared)
}
for (name in c(NAMES)) for (method in p.adjust.methods) for (more in c(0, 4)) {
  ps <- get(name)
  answer[[paste(name, method, more, sep = ".")]] <- p.adjust(ps, method, n = sum(!is.na(ps)) + more)
}
"""


@cache
def of_r() -> dict[str, np.ndarray]:
    return ask(SCRIPT.replace("NAMES", ", ".join(map(repr, PS))), X=DESIGN.to_numpy(), y=OUTCOME, **PS)


# ------------------------------------------------------------------ vif


@pytest.mark.r
def test_factors_are_the_inverse_of_the_correlations():
    found = vif(DESIGN, tol=1e9)
    assert list(found) == ["a", "b", "a:b"] and all(type(value) is float for value in found.values())
    assert list(found.values()) == pytest.approx(of_r()["vif"], rel=EXACT)
    assert list(vif(DESIGN[["Intercept", "a", "b"]]).values()) == pytest.approx(of_r()["vif2"], rel=EXACT)
    whole = vif(DESIGN, exclude_intercept=False, tol=1e9)
    assert whole == {"Intercept": pytest.approx(of_r()["intercept"][0], rel=EXACT)} | found
    assert list(whole) == list(DESIGN)


@pytest.mark.parametrize("exclude_intercept", [True, False])
def test_a_design_without_intercept(exclude_intercept):
    bare, before = DESIGN.drop(columns="Intercept"), DESIGN.copy()
    assert vif(bare, has_intercept=False, exclude_intercept=exclude_intercept, tol=1e9) == vif(DESIGN, tol=1e9)
    pd.testing.assert_frame_equal(DESIGN, before)


@pytest.mark.parametrize("tol, high", [(1, {"a", "b", "a:b"}), (2.0, {"a", "b"}), (5.0, set())])
def test_high_factors_are_told(tol, high):
    design = DESIGN.assign(**{"a:b": np.random.default_rng(1).normal(size=N), "b": A + 1.2 * B})
    if not high:
        assert vif(design, tol=tol, check_only=True) == {} and set(vif(design, tol=tol)) == {"a", "b", "a:b"}
        return
    for check_only in (False, True):
        with pytest.warns(ModelWarning, match=f"Variance inflation factors of {tol:g} and above: ") as told:
            found = vif(design, tol=tol, check_only=check_only)
        assert set(found) == (high if check_only else {"a", "b", "a:b"})
        assert all(f"{name} " in str(told[0].message) for name in high) and told[0].filename == __file__
    with pytest.warns(ModelWarning):
        assert "a" in vif(DESIGN, tol=vif(DESIGN, tol=1e9)["a"], check_only=True), "at the tolerance"


def test_what_adds_up_is_infinite_and_nearly_the_same_is_large():
    design = DESIGN.assign(sum=2 * DESIGN["a"] - DESIGN["b"] + 7)
    with pytest.warns(ModelWarning, match="a inf"):
        found = vif(design, tol=100)
    assert [name for name, value in found.items() if value == np.inf] == ["a", "b", "sum"]
    assert 1 < found["a:b"] < 100
    with pytest.warns(ModelWarning):
        assert set(vif(pd.DataFrame(RNG.normal(size=(3, 5))), has_intercept=False).values()) == {np.inf}
    with pytest.warns(ModelWarning):
        found = vif(DESIGN[["Intercept", "a"]].assign(b=A + 1e-4 * B))
    rho = np.corrcoef(A, A + 1e-4 * B)[0, 1]
    wanted = 1 / ((1 - rho) * (1 + rho))
    assert found["a"] == pytest.approx(wanted, rel=FACTOR * UNIT * wanted)  # ρ is rounded at 1, and 1 - ρ² is small


def test_few_columns():
    assert vif(DESIGN[["Intercept", "a"]]) == {"a": pytest.approx(1, rel=EXACT)}
    assert vif(DESIGN[["a"]], has_intercept=False) == {"a": pytest.approx(1, rel=EXACT)}
    assert vif(DESIGN[["Intercept"]]) == {}
    assert vif(DESIGN[["Intercept"]], exclude_intercept=False) == {"Intercept": pytest.approx(1)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 5))
def test_scale_place_and_order_do_not_matter(seed, k):
    rng = np.random.default_rng(seed)
    design = pd.DataFrame(rng.normal(size=(20, k)), columns=[f"x{i}" for i in range(k)])
    found = vif(design, has_intercept=False, tol=1e9)
    moved = design * rng.uniform(0.1, 100, k) + rng.normal(0, 10, k)
    assert vif(moved, has_intercept=False, tol=1e9) == pytest.approx(found, rel=1e-8)
    order = list(rng.permutation(design.columns))
    turned = vif(design[order].sample(frac=1, random_state=1), has_intercept=False, tol=1e9)
    assert list(turned) == order and turned == pytest.approx(found, rel=1e-8)
    assert all(value >= 1 - 1e-12 for value in found.values())


def test_integers_booleans_and_nullable_columns_are_numbers():
    columns = {"i": [1, 2, 3, 5], "b": [True, False, True, True], "n": pd.array([4, 1, 2, 2], dtype="Int64")}
    design = pd.DataFrame(columns)
    assert vif(design, has_intercept=False, tol=1e9) == vif(design.astype(float), has_intercept=False, tol=1e9)


@pytest.mark.r
def test_a_fitted_model_gives_its_design(sleep, sleep_model):
    with pytest.raises(NotFittedError, match="fit"):
        vif(Lmer(sleep_model.formula, sleep))
    assert vif(sleep_model) == vif(sleep_model.design_matrix) == {"Days": pytest.approx(1, rel=EXACT)}
    assert vif(SimpleNamespace(design_matrix=DESIGN), tol=1e9) == vif(DESIGN, tol=1e9)
    with pytest.raises(NotFittedError):
        vif(SimpleNamespace(design_matrix=None))


BAD_DESIGN = {
    "array": (DESIGN.to_numpy(), {}, OptionError, "not a ndarray"),
    "no intercept": (DESIGN[["a", "b"]], {}, DataError, "'a', is not constant. Use has_intercept=False"),
    "second intercept": (DESIGN.assign(one=2.0), {}, DataError, "'one' is constant"),
    "constant": (DESIGN, {"has_intercept": False}, DataError, "'Intercept' is constant"),
    "missing": (DESIGN.assign(a=A * np.nan), {}, DataError, "'a' has missing"),
    "infinite": (DESIGN.assign(b=np.inf), {}, DataError, "'b' has missing or infinite"),
    "text": (DESIGN.assign(t="x"), {}, DataError, "'t' holds text"),
    "dates": (DESIGN.assign(t=pd.Timestamp("2020")), {}, DataError, "'t'"),
    "no columns": (DESIGN[[]], {}, DataError, r"shape \(40, 0\)"),
    "one row": (DESIGN.head(1), {}, DataError, r"shape \(1, 4\)"),
    "twice": (DESIGN[["Intercept", "a", "a"]], {}, DataError, "2 columns named 'a'"),
    "tol": (DESIGN, {"tol": "high"}, OptionError, "tol='high'"),
    "has_intercept": (DESIGN, {"has_intercept": None}, OptionError, "has_intercept=None"),
    "exclude_intercept": (DESIGN, {"exclude_intercept": 2}, OptionError, "exclude_intercept=2"),
    "check_only": (DESIGN, {"check_only": "x"}, OptionError, "check_only='x'"),
}


@pytest.mark.parametrize("design, options, kind, said", BAD_DESIGN.values(), ids=BAD_DESIGN)
def test_a_bad_design_is_refused(design, options, kind, said):
    with pytest.raises(kind, match=said):
        vif(design, **options)


# ------------------------------------------------------------------ rsquared


@pytest.mark.r
@pytest.mark.parametrize("constant", [True, False])
def test_r_squared_is_that_of_r(constant):
    X = DESIGN[["Intercept", "a", "b"][not constant :]].to_numpy()
    residuals = OUTCOME - X @ np.linalg.lstsq(X, OUTCOME, rcond=None)[0]
    found = rsquared(OUTCOME, residuals, constant)
    adjusted = rsquared_adj(found, N, N - X.shape[1], constant)
    assert (found, adjusted) == pytest.approx(tuple(of_r()[f"r{int(constant)}"]), rel=EXACT)
    assert rsquared(list(OUTCOME), pd.Series(residuals), has_constant=constant) == found


def test_r_squared_of_few_rows():
    y, res = np.r_[OUTCOME, np.nan, 3.0], np.r_[OUTCOME * 0.1, 5.0, np.nan]
    assert rsquared(y, res) == rsquared(OUTCOME, OUTCOME * 0.1)
    assert rsquared([1, 2, 3], [0, 0, 0]) == 1
    assert rsquared([1, 2, 3], [3, 3, 3]) < 0
    assert rsquared_adj(1.0, 10, 5) == 1 and rsquared_adj(np.float64(0.0), 11, 10) == 0


BAD_NUMBERS = [
    (rsquared, ([1, 2], [1]), {}, DataError, "y has 2 values and res 1"),
    (rsquared, ([2, 2], [1, 1]), {}, DataError, "does not vary"),
    (rsquared, ([0, 0], [1, 1]), {"has_constant": False}, DataError, "does not vary"),
    (rsquared, ([np.nan], [1.0]), {}, DataError, "no complete row"),
    (rsquared, (["a"], [1.0]), {}, DataError, "y has to hold numbers"),
    (rsquared, ([1, 2], [0, 0], "yes"), {}, OptionError, "has_constant='yes'"),
    (rsquared_adj, ("a", 10, 5), {}, OptionError, "r='a'"),
    (rsquared_adj, (0.5, 0, 5), {}, OptionError, "nobs=0"),
    (rsquared_adj, (0.5, 10, 0), {}, OptionError, "df_res=0"),
    (rsquared_adj, (0.5, 10, 10), {}, OptionError, "df_res=10 is more than 10"),
    (correct_pvals, ([0.1], "Holm"), {}, OptionError, "method='Holm'.*Did you mean 'holm'"),
    (correct_pvals, ([0.1, 1.5],), {}, DataError, "ps holds 1.5"),
    (correct_pvals, ([-0.1],), {}, DataError, "ps holds -0.1"),
    (correct_pvals, (["a"],), {}, DataError, "ps has to hold numbers"),
    (correct_pvals, (0.05,), {}, DataError, "ps has to be a list"),
    (correct_pvals, ([0.1, 0.2, 0.3],), {"n": 2}, OptionError, "n=2"),
    (correct_pvals, ([0.1],), {"n": 2.5}, OptionError, "n=2.5"),
]


@pytest.mark.parametrize("function, given_to, options, kind, said", BAD_NUMBERS, ids=[case[-1] for case in BAD_NUMBERS])
def test_bad_numbers_are_refused(function, given_to, options, kind, said):
    with pytest.raises(kind, match=said):
        function(*given_to, **options)


# ------------------------------------------------------------------ correct_pvals


@pytest.mark.r
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PS)
def test_adjusted_p_are_those_of_r(name, method):
    given_ps = PS[name]
    for more in (0, 4):
        n = {"n": int(np.sum(~np.isnan(given_ps))) + more} if more else {}
        expected = of_r()[".".join([name, {"bonf": "bonferroni"}.get(method, method), str(more)])]
        np.testing.assert_allclose(correct_pvals(given_ps, method, **n), expected, rtol=ADJUST, atol=0)


unit = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(ps=unit, seed=st.integers(0, 100))
def test_adjusted_p_keep_order_and_bounds_and_are_ordered_by_power(ps, seed):
    """Hommel <= Hochberg <= Holm <= Bonferroni, and BH <= Hochberg."""
    p, order = np.array(ps), np.random.default_rng(seed).permutation(len(ps))
    found = {method: correct_pvals(ps, method) for method in METHODS}
    for method, adjusted in found.items():
        assert ((adjusted >= p * (1 - 1e-15)) & (adjusted <= 1)).all()
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-15).all()
        np.testing.assert_allclose(correct_pvals(p[order], method), adjusted[order], rtol=1e-14)
        np.testing.assert_allclose(correct_pvals([*ps, np.nan], method)[:-1], adjusted, rtol=0)
    for smaller, larger in [("hommel", "hochberg"), ("hochberg", "holm"), ("holm", "bonferroni"), ("BH", "hochberg")]:
        assert (found[smaller] <= found[larger] * (1 + 1e-12)).all()
    np.testing.assert_array_equal(found["none"], ps)
    np.testing.assert_array_equal(found["holm"], correct_pvals(ps), "the default is that of R")


@settings(max_examples=40, deadline=None)
@given(ps=st.lists(st.floats(0, 1), min_size=2, max_size=7))
def test_hommel_is_the_closed_test_of_simes(ps):
    """The adjusted p of one hypothesis is the largest Simes p of all the sets that it is in."""
    assume(len(set(ps)) == len(ps))
    p = np.array(ps)
    n = len(p)
    sets = [[j for j in range(n) if mask >> j & 1] for mask in range(1, 2**n)]
    simes = [(len(s) * np.sort(p[s]) / np.arange(1, len(s) + 1)).min() for s in sets]
    closed = [max(value for s, value in zip(sets, simes, strict=True) if i in s) for i in range(n)]
    np.testing.assert_allclose(correct_pvals(p, "hommel"), np.minimum(1, closed), rtol=1e-12)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_p_values_come_in_any_kind_and_stay_as_they_are(kind):
    given_ps = kind([0.01, 0.04, 0.03])
    found = correct_pvals(given_ps)
    assert type(found) is np.ndarray and found == pytest.approx([0.03, 0.06, 0.06])
    assert list(given_ps) == [0.01, 0.04, 0.03]
    assert correct_pvals(kind([])).shape == (0,) and np.isnan(correct_pvals(kind([np.nan, np.nan]))).all()
