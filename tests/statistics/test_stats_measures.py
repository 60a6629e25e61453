"""Inflation factors, R² and adjusted p-values, against R."""

from __future__ import annotations

import doctest
import subprocess
import warnings
from functools import cache
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rounding import FACTOR, UNIT

from pymer4 import Lmer, load_dataset
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.statistics import fit_measures, pvalues
from pymer4.statistics.fit_measures import rsquared, rsquared_adj, vif
from pymer4.statistics.pvalues import Method, correct_pvals

pytestmark = pytest.mark.numeric

EXACT = 1e-10  # relative: closed formulas of the same numbers
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
digits <- function(...) format(c(...), digits = 17)
design <- read.csv("design.csv", check.names = FALSE)
X <- as.matrix(design[c("a", "b", "a:b")])
cat("vif", digits(diag(solve(cor(X)))), "\\n")
cat("vif2", digits(diag(solve(cor(X[, 1:2])))), "\\n")
O <- cbind(1, X)
cat("intercept", digits(nrow(O) * solve(crossprod(O))[1, 1]), "\\n")
for (form in c("y ~ a + b", "y ~ 0 + a + b")) {
  told <- summary(lm(as.formula(form), design))
  cat(gsub(" ", "", form), digits(told$r.squared, told$adj.r.squared), "\\n")
}
p <- read.csv("p.csv")
for (name in unique(p$name)) for (method in p.adjust.methods) for (more in c(0, 4)) {
  ps <- p$p[p$name == name]
  found <- p.adjust(ps, method, n = sum(!is.na(ps)) + more)
  cat(paste(name, method, more, sep = "/"), digits(found), "\\n")
}
"""


@cache
def of_r(folder) -> dict[str, list[float]]:
    """Return what R says, found once."""
    DESIGN.assign(y=OUTCOME).to_csv(folder / "design.csv", index=False)
    rows = [(name, p) for name, ps in PS.items() for p in ps]
    pd.DataFrame(rows, columns=["name", "p"]).to_csv(folder / "p.csv", index=False, na_rep="NA")
    command = ["Rscript", "--vanilla", "-e", SCRIPT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return {name: [np.nan if v == "NA" else float(v) for v in values] for name, *values in lines}


@pytest.fixture(scope="module")
def r(tmp_path_factory):
    return of_r(tmp_path_factory.mktemp("measures"))


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn unless a test waits for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# vif


@pytest.mark.r
def test_factors_are_the_inverse_of_the_correlations(r):
    found = vif(DESIGN, tol=1e9)
    assert list(found) == ["a", "b", "a:b"] and all(type(value) is float for value in found.values())
    assert list(found.values()) == pytest.approx(r["vif"], rel=EXACT)
    assert list(vif(DESIGN[["Intercept", "a", "b"]]).values()) == pytest.approx(r["vif2"], rel=EXACT)


@pytest.mark.r
def test_the_intercept_on_request(r):
    found = vif(DESIGN, exclude_intercept=False, tol=1e9)
    assert list(found) == ["Intercept", "a", "b", "a:b"]
    assert found["Intercept"] == pytest.approx(r["intercept"][0], rel=EXACT)
    assert {name: found[name] for name in ("a", "b", "a:b")} == vif(DESIGN, tol=1e9)


@pytest.mark.parametrize("exclude_intercept", [True, False])
def test_a_design_without_intercept(exclude_intercept):
    bare = DESIGN.drop(columns="Intercept")
    assert vif(bare, has_intercept=False, exclude_intercept=exclude_intercept, tol=1e9) == vif(DESIGN, tol=1e9)


@pytest.mark.parametrize("tol, high", [(1, {"a", "b", "a:b"}), (2.0, {"a", "b"}), (5.0, set())])
def test_high_factors_are_told(tol, high):
    design = DESIGN.assign(**{"a:b": RNG.normal(size=N), "b": A + 1.2 * B})
    if not high:
        assert vif(design, tol=tol, check_only=True) == {}
        assert set(vif(design, tol=tol)) == {"a", "b", "a:b"}
        return
    for check_only in (False, True):
        with pytest.warns(ModelWarning, match=f"Variance inflation factors of {tol:g} and above: ") as told:
            found = vif(design, tol=tol, check_only=check_only)
        assert set(found) == (high if check_only else {"a", "b", "a:b"})
        assert all(f"{name} " in str(told[0].message) for name in high)
        assert told[0].filename == __file__


def test_a_factor_at_the_tolerance_is_told():
    exact = vif(DESIGN, tol=1e9)["a"]
    with pytest.warns(ModelWarning):
        assert "a" in vif(DESIGN, tol=exact, check_only=True)


def test_what_adds_up_is_infinite():
    design = DESIGN.assign(sum=2 * DESIGN["a"] - DESIGN["b"] + 7)
    with pytest.warns(ModelWarning, match="a inf"):
        found = vif(design, tol=100)
    assert [name for name, value in found.items() if value == np.inf] == ["a", "b", "sum"]
    assert 1 < found["a:b"] < 100


def test_nearly_the_same_column_is_large_and_finite():
    design = DESIGN[["Intercept", "a"]].assign(b=A + 1e-4 * B)
    with pytest.warns(ModelWarning):
        found = vif(design)
    rho = np.corrcoef(A, A + 1e-4 * B)[0, 1]
    wanted = 1 / ((1 - rho) * (1 + rho))
    assert found["a"] == pytest.approx(wanted, rel=FACTOR * UNIT * wanted)  # ρ is rounded at 1, and 1 - ρ² is small


def test_one_predictor_has_factor_one():
    assert vif(DESIGN[["Intercept", "a"]]) == {"a": pytest.approx(1, rel=EXACT)}
    assert vif(DESIGN[["a"]], has_intercept=False) == {"a": pytest.approx(1, rel=EXACT)}


def test_only_an_intercept_has_no_factors():
    assert vif(DESIGN[["Intercept"]]) == {}
    assert vif(DESIGN[["Intercept"]], exclude_intercept=False) == {"Intercept": pytest.approx(1)}


def test_more_columns_than_rows_are_all_infinite():
    design = pd.DataFrame(RNG.normal(size=(3, 5)))
    with pytest.warns(ModelWarning):
        assert set(vif(design, has_intercept=False).values()) == {np.inf}


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
    design = pd.DataFrame(
        {"i": [1, 2, 3, 5], "b": [True, False, True, True], "n": pd.array([4, 1, 2, 2], dtype="Int64")}
    )
    assert vif(design, has_intercept=False, tol=1e9) == vif(design.astype(float), has_intercept=False, tol=1e9)


@pytest.mark.r
def test_a_fitted_model_gives_its_design():
    model = Lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", load_dataset("sleepstudy"))
    with pytest.raises(NotFittedError, match="fit"):
        vif(model)
    model.fit(summarize=False)
    with pytest.warns(ModelWarning, match="Days"):
        found = vif(model)
    days = load_dataset("sleepstudy")["Days"]
    expected = 1 / (1 - np.corrcoef(days, days**2)[0, 1] ** 2)
    assert found == pytest.approx({"Days": expected, "I(Days^2)": expected}, rel=EXACT)


def test_anything_with_a_design_matrix_is_a_model():
    assert vif(SimpleNamespace(design_matrix=DESIGN), tol=1e9) == vif(DESIGN, tol=1e9)
    with pytest.raises(NotFittedError):
        vif(SimpleNamespace(design_matrix=None))


def test_the_design_is_left_as_it_is():
    before = DESIGN.copy()
    vif(DESIGN, exclude_intercept=False, tol=1e9)
    pd.testing.assert_frame_equal(DESIGN, before)


BAD_DESIGN = {
    "array": (lambda: vif(DESIGN.to_numpy()), OptionError, "not a ndarray"),
    "no intercept": (lambda: vif(DESIGN[["a", "b"]]), DataError, "'a', is not constant. Use has_intercept=False"),
    "second intercept": (lambda: vif(DESIGN.assign(one=2.0)), DataError, "'one' is constant"),
    "constant": (lambda: vif(DESIGN, has_intercept=False), DataError, "'Intercept' is constant"),
    "missing": (lambda: vif(DESIGN.assign(a=A * np.nan)), DataError, "'a' has missing"),
    "infinite": (lambda: vif(DESIGN.assign(b=np.inf)), DataError, "'b' has missing or infinite"),
    "text": (lambda: vif(DESIGN.assign(t="x")), DataError, "'t' holds text"),
    "dates": (lambda: vif(DESIGN.assign(t=pd.Timestamp("2020"))), DataError, "'t'"),
    "no columns": (lambda: vif(DESIGN[[]]), DataError, r"shape \(40, 0\)"),
    "one row": (lambda: vif(DESIGN.head(1)), DataError, r"shape \(1, 4\)"),
    "twice": (lambda: vif(DESIGN[["Intercept", "a", "a"]]), DataError, "2 columns named 'a'"),
    "tol": (lambda: vif(DESIGN, tol="high"), OptionError, "tol='high'"),
    "has_intercept": (lambda: vif(DESIGN, has_intercept=None), OptionError, "has_intercept=None"),
    "exclude_intercept": (lambda: vif(DESIGN, exclude_intercept=2), OptionError, "exclude_intercept=2"),
    "check_only": (lambda: vif(DESIGN, check_only="x"), OptionError, "check_only='x'"),
}


@pytest.mark.parametrize("call, kind, said", BAD_DESIGN.values(), ids=BAD_DESIGN)
def test_a_bad_design_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


# rsquared


@pytest.mark.r
@pytest.mark.parametrize("formula, constant", [("y~a+b", True), ("y~0+a+b", False)])
def test_r_squared_is_that_of_r(r, formula, constant):
    X = DESIGN[["Intercept", "a", "b"][not constant :]].to_numpy()
    residuals = OUTCOME - X @ np.linalg.lstsq(X, OUTCOME, rcond=None)[0]
    found = rsquared(OUTCOME, residuals, constant)
    adjusted = rsquared_adj(found, N, N - X.shape[1], constant)
    assert (found, adjusted) == pytest.approx(tuple(r[formula]), rel=EXACT)
    assert rsquared(list(OUTCOME), pd.Series(residuals), has_constant=constant) == found


def test_missing_rows_are_left_out_of_r_squared():
    y, res = np.r_[OUTCOME, np.nan, 3.0], np.r_[OUTCOME * 0.1, 5.0, np.nan]
    assert rsquared(y, res) == rsquared(OUTCOME, OUTCOME * 0.1)


def test_r_squared_can_be_negative_and_is_one_without_residuals():
    assert rsquared([1, 2, 3], [0, 0, 0]) == 1
    assert rsquared([1, 2, 3], [3, 3, 3]) < 0
    assert rsquared_adj(1.0, 10, 5) == 1
    assert rsquared_adj(np.float64(0.0), 11, 10) == 0


BAD_FIT = {
    "lengths": (lambda: rsquared([1, 2], [1]), DataError, "y has 2 values and res 1"),
    "constant": (lambda: rsquared([2, 2], [1, 1]), DataError, "does not vary"),
    "zero": (lambda: rsquared([0, 0], [1, 1], has_constant=False), DataError, "does not vary"),
    "empty": (lambda: rsquared([np.nan], [1.0]), DataError, "no complete row"),
    "text": (lambda: rsquared(["a"], [1.0]), DataError, "y has to hold numbers"),
    "flag": (lambda: rsquared([1, 2], [0, 0], "yes"), OptionError, "has_constant='yes'"),
    "r": (lambda: rsquared_adj("a", 10, 5), OptionError, "r='a'"),
    "nobs": (lambda: rsquared_adj(0.5, 0, 5), OptionError, "nobs=0"),
    "df": (lambda: rsquared_adj(0.5, 10, 0), OptionError, "df_res=0"),
    "too many df": (lambda: rsquared_adj(0.5, 10, 10), OptionError, "df_res=10 is more than 10"),
}


@pytest.mark.parametrize("call, kind, said", BAD_FIT.values(), ids=BAD_FIT)
def test_a_bad_fit_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


# correct_pvals


@pytest.mark.r
@pytest.mark.parametrize("more", [0, 4])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PS)
def test_adjusted_p_are_those_of_r(r, name, method, more):
    given_ps = PS[name]
    n = {"n": int(np.sum(~np.isnan(given_ps))) + more} if more else {}
    expected = r["/".join([name, {"bonf": "bonferroni"}.get(method, method), str(more)])]
    np.testing.assert_allclose(correct_pvals(given_ps, method, **n), expected, rtol=ADJUST, atol=0)


def test_the_default_is_that_of_r():
    np.testing.assert_array_equal(correct_pvals(PS["ties"]), correct_pvals(PS["ties"], "holm"))


unit = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(ps=unit, method=st.sampled_from(METHODS), seed=st.integers(0, 100))
def test_adjusted_p_keep_order_and_bounds(ps, method, seed):
    p = np.array(ps)
    found = correct_pvals(ps, method)
    assert ((found >= p * (1 - 1e-15)) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-15).all()
    order = np.random.default_rng(seed).permutation(len(p))
    np.testing.assert_allclose(correct_pvals(p[order], method), found[order], rtol=1e-14)
    np.testing.assert_allclose(correct_pvals([*ps, np.nan], method)[:-1], found, rtol=0)


@settings(max_examples=60, deadline=None)
@given(ps=unit)
def test_the_methods_are_ordered_by_their_power(ps):
    """Hommel <= Hochberg <= Holm <= Bonferroni, and BH <= Hochberg."""
    found = {method: correct_pvals(ps, method) for method in METHODS}
    for smaller, larger in [("hommel", "hochberg"), ("hochberg", "holm"), ("holm", "bonferroni"), ("BH", "hochberg")]:
        assert (found[smaller] <= found[larger] * (1 + 1e-12)).all()
    np.testing.assert_array_equal(found["fdr"], found["BH"])
    np.testing.assert_array_equal(found["bonf"], found["bonferroni"])
    np.testing.assert_array_equal(found["none"], ps)


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


def test_no_p_values_give_none():
    assert correct_pvals([]).shape == (0,)
    assert np.isnan(correct_pvals([np.nan, None])).all()


BAD_PS = {
    "method": (lambda: correct_pvals([0.1], "Holm"), OptionError, "method='Holm'.*Did you mean 'holm'"),
    "above one": (lambda: correct_pvals([0.1, 1.5]), DataError, "ps holds 1.5"),
    "negative": (lambda: correct_pvals([-0.1]), DataError, "ps holds -0.1"),
    "text": (lambda: correct_pvals(["a"]), DataError, "ps has to hold numbers"),
    "number": (lambda: correct_pvals(0.05), DataError, "ps has to be a list"),
    "few tests": (lambda: correct_pvals([0.1, 0.2, 0.3], n=2), OptionError, "n=2"),
    "fraction": (lambda: correct_pvals([0.1], n=2.5), OptionError, "n=2.5"),
}


@pytest.mark.parametrize("call, kind, said", BAD_PS.values(), ids=BAD_PS)
def test_bad_p_values_are_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


@pytest.mark.parametrize("module", [fit_measures, pvalues], ids=lambda module: module.__name__)
def test_the_examples_run(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
