"""Resampling on arrays, under the documented names: against R's boot, lme4 and lmerTest, and against definitions."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from against_r import ask, each, relative
from hermetic import compare_with

from pymer4 import resampling as rs
from pymer4.errors import DataError, ModelWarning, OptionError
from pymer4.fit.distributions import distribution
from pymer4.fit.glm import generalized
from pymer4.fit.linear import least_squares
from pymer4.infer.resample import boot_counts

pytestmark = pytest.mark.numeric

LIMIT = 1e-9  # relative
FIT = 1e-9  # relative: iterations stop within 1e-10 standard errors
EXACT = 1e-11  # relative: the same systems, solved in another way

RNG = np.random.default_rng(5)
N = 40
X = np.column_stack([np.ones(N), RNG.normal(size=N), RNG.normal(size=N) + 3])
Y = X @ [1.0, 0.5, -0.2] + RNG.normal(size=N)
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 1] + 0.5)).astype(float)
W = RNG.uniform(0.5, 2, N)


def fresh() -> np.random.Generator:
    return np.random.default_rng(9)


# ------------------------------------------------------------------ limits and p


@pytest.mark.r
def test_limits_are_those_of_boot_given_the_same_draws():
    """Limits of a ratio of means and of a correlation, with R's own jackknife."""
    compare_with("boot")
    rng = fresh()
    pairs = np.column_stack([rng.gamma(2, 3, 25), rng.gamma(3, 2, 25)])

    def statistics(rows):
        x, y = pairs[rows].T
        return [x.mean() / y.mean(), np.corrcoef(x, y)[0, 1]]

    rows = rs.generate_bootstrap_indices(3, 25, 399)
    draws, observed = np.array([statistics(r) for r in rows]), statistics(np.arange(25))
    knife = np.array([statistics(train) for train, _ in rs.generate_loo_indices(25)])
    script = r"""
    statistics <- list(function(d, i) mean(d[i, 1]) / mean(d[i, 2]), function(d, i) cor(d[i, 1], d[i, 2]))
    none <- structure(list(R = nrow(draws), sim = "ordinary"), class = "boot")
    taken <- function(type) sapply(1:2, function(j) {
      L <- boot::empinf(data = pairs, statistic = statistics[[j]], type = "jack", stype = "i")
      ci <- boot::boot.ci(none, conf = 0.9, type = type, t0 = observed[j], t = draws[, j], L = L)[[4]]
      ci[length(ci) - 1:0]
    })
    answer$percentile <- taken("perc"); answer$basic <- taken("basic"); answer$bca <- taken("bca")
    """
    told = ask(script, pairs=pairs, draws=draws, observed=observed)
    found = {
        "percentile": rs.compute_bootstrap_ci_percentile(draws, 0.9),
        "basic": rs.compute_bootstrap_ci_basic(observed, draws, 0.9),
        "bca": rs.compute_bootstrap_ci_bca(draws, observed, knife, 0.9),
    }
    for kind, limits in found.items():
        assert each(np.stack(limits), told[kind]) < LIMIT
        again = rs.compute_bootstrap_ci(observed, draws, kind, 0.9, knife)
        assert np.array_equal(again, limits)


def test_one_parameter_may_come_without_its_axis():
    draws = fresh().normal(size=99)
    for found in (
        rs.compute_bootstrap_ci_percentile(draws),
        rs.compute_bootstrap_ci_basic(0.1, draws),
        rs.compute_bootstrap_ci_bca(draws, 0.1, fresh().normal(size=12) + 0.1),
    ):
        assert [limit.shape for limit in found] == [(), ()]
    column = rs.compute_bootstrap_ci_bca(draws[:, None], [0.1])
    assert np.array_equal(np.ravel(column), rs.compute_bootstrap_ci_bca(draws, 0.1))
    assert rs.compute_pvalues(0.3, draws).shape == () == rs.compute_bootstrap_pvalue(0.3, draws).shape


def test_bca_without_a_jackknife_corrects_the_bias_alone():
    draws = np.append(fresh().exponential(size=99), np.nan)
    found = rs.compute_bootstrap_ci_bca(draws, 1.0)
    assert np.array_equal(found, rs.compute_bootstrap_ci_bca(draws, 1.0, [0.5, 1.5]))
    assert not np.array_equal(found, rs.compute_bootstrap_ci_bca(draws, 1.0, [0.5, 2.0]))
    assert not np.array_equal(found, rs.compute_bootstrap_ci_percentile(draws))


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_counts_draws(alternative):
    draws, b, null = fresh().normal(1, 1, (199, 2)), np.array([0.9, -0.4]), 0.25
    sign = {"two-sided": np.abs, "greater": lambda v: v, "less": lambda v: -v}[alternative]
    wanted = (1 + (sign(draws - b) >= sign(b - null)).sum(axis=0)) / 200
    assert np.array_equal(rs.compute_bootstrap_pvalue(b, draws, null, alternative), wanted)
    wanted = (1 + (sign(draws) >= sign(b)).sum(axis=0)) / 200
    assert np.array_equal(rs.compute_pvalues(b, draws, alternative), wanted)


# ------------------------------------------------------------------ rows


def test_rows_come_from_the_seed():
    for make in (rs.generate_bootstrap_indices, rs.generate_permutation_indices):
        found = make(np.random.default_rng(1), 9, 50)
        assert found.shape == (50, 9) and found.dtype.kind == "i" and found.min() == 0 and found.max() == 8
        assert np.array_equal(make(np.random.default_rng(1), 9, 50), found)
        assert np.array_equal(make(3, 9, 50), make(3, 9, 50)) and not np.array_equal(make(4, 9, 50), make(3, 9, 50))
    assert (np.sort(found, axis=1) == np.arange(9)).all()


def test_folds_under_their_names():
    def tested(parts):
        assert all(np.array_equal(np.sort(np.concatenate(pair)), np.arange(10)) for pair in parts)
        return [test.tolist() for _, test in parts]

    assert tested(rs.generate_kfold_splits(10, 3, 5)) == tested(rs.generate_kfold_indices(5, 10, 3))
    assert tested(rs.generate_kfold_indices(5, 10, 3, shuffle=False)) == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert tested(rs.generate_loo_indices(10)) == [[i] for i in range(10)]
    groups = ["b", "b", "a", "c", "a", "c", "d", "d", "a", "b"]
    for test in tested(rs.generate_group_kfold_splits(groups, 2, 5)):
        assert {groups[i] for i in test}.isdisjoint(groups[i] for i in set(range(10)) - set(test))


# ------------------------------------------------------------------ refits


@pytest.mark.parametrize("method", ["cholesky", "qr"])
def test_the_operator_gives_least_squares(method):
    operator = pickle.loads(pickle.dumps(rs.build_lm_coefficient_operator(X, method)))
    many = fresh().normal(size=(N, 3))
    assert relative(operator(many), np.linalg.lstsq(X, many, rcond=None)[0]) < EXACT
    assert relative(operator(list(Y)), least_squares(X, Y).b) < EXACT


def test_aliased_columns_of_an_operator():
    aliased = np.column_stack([X[:, 0], X[:, 1], X[:, 0] - X[:, 1], X[:, 2]])
    with pytest.raises(DataError, match="combinations of others"):
        rs.build_lm_coefficient_operator(aliased)
    found = rs.build_lm_coefficient_operator(aliased, "qr")(Y)
    assert np.isnan(found[2]) and relative(found[[0, 1, 3]], least_squares(X, Y).b) < EXACT


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_refits_of_samples(chunk):
    rows = rs.generate_bootstrap_indices(np.random.default_rng(2), N, 20)
    assert np.array_equal(boot_counts(N, 20, 2), [np.bincount(r, minlength=N) for r in rows])
    wanted = [least_squares(X[r], Y[r]).b for r in rows]
    assert relative(rs.compute_batched_ols_bootstrap(rows, X, Y, chunk), wanted) < EXACT
    for family in ("poisson", distribution("poisson")):
        found = rs.compute_batched_glm_bootstrap(rows, X, COUNTS, family, weights=W, chunk_size=chunk)
        assert relative(found, [generalized(X[r], COUNTS[r], "poisson", "log", W[r]).b for r in rows]) < FIT
    found = rs.compute_batched_glm_bootstrap(rows, X, Y > 0, "binomial", link="probit", chunk_size=chunk)
    there = np.isfinite(found).all(axis=1)
    wanted = [generalized(X[r], (Y > 0)[r] * 1.0, "binomial", "probit").b for r in rows[there]]
    assert there.sum() > 15 and relative(found[there], wanted) < FIT


@pytest.mark.parametrize(("family", "y"), [("gaussian", Y), ("poisson", COUNTS), ("gamma", np.exp(Y))])
def test_jackknife_is_the_fits_without_each_row(family, y):
    link = {"gaussian": "identity", "poisson": "log", "gamma": "log"}[family]
    offset = fresh().normal(size=N)
    found = rs.compute_jackknife_coefs(X, y, family, link=link, weights=W, offset=offset)
    wanted = [generalized(X[t], y[t], family, link, W[t], offset[t]).b for t, _ in rs.generate_loo_indices(N)]
    assert relative(found, wanted) < FIT


def test_a_row_that_is_needed_has_no_jackknife():
    alone = np.column_stack([np.ones(6), [0, 0, 0, 0, 0, 1.0]])
    for family in ("gaussian", "poisson"):
        found = rs.compute_jackknife_coefs(alone, [1.0, 2, 3, 2, 1, 4], family)
        assert np.isnan(found).all(axis=1).tolist() == [False] * 5 + [True]


def test_control_of_iterations_has_no_effect_and_says_so():
    rows = rs.generate_bootstrap_indices(1, N, 2)
    with pytest.warns(ModelWarning, match="max_iter and tol have no effect"):
        found = rs.compute_batched_glm_bootstrap(rows, X, COUNTS, "poisson", max_iter=1)
    assert np.array_equal(found, rs.compute_batched_glm_bootstrap(rows, X, COUNTS, "poisson"))


@pytest.mark.parametrize(
    "errors, family, kind",
    [
        ("hc2", "gaussian", "HC2"),
        ("Hetero", "poisson", "HC0"),
        ("HETERO", "gaussian", "HC3"),
        ("cr2", "binomial", "CR2"),
    ],
)
def test_names_of_errors(errors, family, kind):
    assert rs.resolve_error_type(errors, family) == rs.resolve_error_type(errors, distribution(family)) == kind


# ------------------------------------------------------------------ a function of one's own


def drawn(rng, center, fails=0.0):
    return np.full(2, np.nan) if rng.random() < fails else rng.normal(center, size=2)


def test_iterations_depend_on_their_generators_alone():
    rngs = np.random.default_rng(7).spawn(12)
    wanted = [drawn(rng, 3.0) for rng in np.random.default_rng(7).spawn(12)]
    for n_jobs in (1, 2, 1):
        found = rs.run_bootstrap_iterations(drawn, rngs, 12, {"center": 3.0}, n_jobs)
        assert np.array_equal(found, wanted)
    one = [rs.run_bootstrap_iterations(drawn, 5, 12, {"center": 0.0}, n_jobs) for n_jobs in (1, 2)]
    assert np.array_equal(*one) and len({values[0] for values in one[0]}) == 12


def test_progress_is_shown_on_request(capsys):
    rs.run_bootstrap_iterations(drawn, 1, 4, {"center": 0.0, "fails": 1.0}, verbose=True, desc="Draws")
    assert "Draws" in capsys.readouterr().err


def test_iterations_that_failed_are_counted():
    found = rs.run_bootstrap_iterations(drawn, 2, 60, {"center": 0.0, "fails": 0.3})
    with pytest.warns(RuntimeWarning, match=r"Mine: \d+ of 60 iterations failed"):
        draws, valid, failed = rs.collect_boot_samples(found, 60, "Mine")
    assert draws.shape == (60, 2) and failed == (~valid).sum() == np.isnan(draws[:, 0]).sum() > 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.warn_on_failures(6, 60)


def test_a_result_knows_its_errors_and_limits():
    draws = fresh().normal(size=(99, 2))
    limits = rs.compute_bootstrap_ci_percentile(draws)
    found = rs.BootstrapResult(np.zeros(2), draws, *limits, ["a", "b"], 99, "percentile", 0.95)
    assert np.allclose(found.se, draws.std(axis=0, ddof=1), rtol=1e-14) and found.term_types is None
    assert np.array_equal(found.ci, limits)


# ------------------------------------------------------------------ df


@pytest.mark.r
def test_df_are_those_of_lmertest():
    script = r"""
    m <- lmerTest::lmer(Reaction ~ Days + (Days | Subject), lme4::sleepstudy)
    answer$df <- apply(L, 1, function(l) lmerTest::contest(m, l, joint = FALSE)$df)
    answer$V <- as.matrix(m@vcov_beta); answer$A <- m@vcov_varpar; answer$J <- do.call(cbind, m@Jac_list)
    """
    L = np.array([[1.0, 0], [0, 1], [1, 4.5], [2, -1]])
    told = ask(script, L=L)
    jacobian = told["J"].reshape(2, -1, 2).transpose(1, 0, 2)
    found = rs.compute_satterthwaite_emm_df(L, told["V"], jacobian, told["A"])
    assert each(found, told["df"]) < EXACT


# ------------------------------------------------------------------ what is refused

DRAWS = np.zeros((60, 2))
REFUSED = [
    (lambda: rs.compute_bootstrap_ci_percentile(DRAWS, 2), OptionError, "level=2 has to lie between 0 and 1"),
    (lambda: rs.compute_bootstrap_ci_percentile([]), DataError, r"boot_stats has shape \(0,\)"),
    (lambda: rs.compute_bootstrap_ci_basic([1.0], DRAWS), DataError, r"observed has shape \(1,\), and \(2\)"),
    (lambda: rs.compute_bootstrap_ci_bca(DRAWS[:49], [0, 0]), DataError, "49 draws; limits by 'bca' take 50"),
    (lambda: rs.compute_bootstrap_ci_bca(DRAWS, [0, 0], [1.0, 2]), DataError, "jackknife_stats has shape"),
    (lambda: rs.compute_bootstrap_ci([0, 0], DRAWS, "bca", 0.9), OptionError, "need the jackknife"),
    (lambda: rs.compute_bootstrap_ci([0, 0], DRAWS, "perc", 0.9), OptionError, "'percentile', 'basic', 'bca'"),
    (lambda: rs.compute_bootstrap_pvalue([0, 0], DRAWS, 0, "up"), OptionError, "alternative='up'"),
    (lambda: rs.compute_pvalues([0, 0], [["a", "b"]]), DataError, "null_stats has to be an array of numbers"),
    (lambda: rs.generate_bootstrap_indices("1", 3, 3), OptionError, "seed='1'"),
    (lambda: rs.generate_kfold_splits(4, 5), OptionError, "k=5 folds can't be made of 4 rows"),
    (lambda: rs.generate_group_kfold_splits(["a", None, "b"], 2), DataError, "group_ids holds missing values"),
    (lambda: rs.generate_group_kfold_splits(["a", "b", "b"], 3), OptionError, "of 2 groups"),
    (lambda: rs.generate_loo_indices(1), OptionError, "n=1"),
    (lambda: rs.build_lm_coefficient_operator(X, "svd"), OptionError, "method='svd'"),
    (lambda: rs.compute_batched_ols_bootstrap([[0, N]], X, Y), DataError, "whole numbers from 0 to 39"),
    (lambda: rs.compute_batched_ols_bootstrap([[0.0, 1.0]], X, Y), DataError, "boot_indices"),
    (lambda: rs.compute_batched_ols_bootstrap([[0, 1]], X, Y[:5]), DataError, r"y has shape \(5,\), and \(40\)"),
    (lambda: rs.compute_batched_ols_bootstrap([[0, 1]], X * np.nan, Y), DataError, "X holds missing or infinite"),
    (lambda: rs.compute_batched_glm_bootstrap([[0]], X, Y, "poisson"), DataError, "takes counts of at least 0"),
    (lambda: rs.compute_batched_glm_bootstrap([[0]], X, Y, "beta"), OptionError, "family='beta'"),
    (lambda: rs.compute_jackknife_coefs(X, Y, weights=W - 2), DataError, "weights has to hold numbers above 0"),
    (lambda: rs.resolve_error_type("HC9"), OptionError, "errors='HC9'"),
    (lambda: rs.resolve_error_type("unequal_var", "poisson"), OptionError, "Use errors='hetero'"),
    (lambda: rs.run_bootstrap_iterations(3, 1, 5, {}), OptionError, "iteration_fn=3 can't be called"),
    (lambda: rs.run_bootstrap_iterations(drawn, [1, 2], 5, {}), OptionError, "2 rngs for n_boot=5"),
    (lambda: rs.run_bootstrap_iterations(lambda rng: "a", 1, 5, {}), DataError, "What iteration_fn returns"),
    (lambda: rs.collect_boot_samples([[1.0]], 2), DataError, "boot_samples_list has shape"),
    (lambda: rs.compute_satterthwaite_emm_df([[1, 0]], [[1.0]], [[[1.0]]], [[1.0]]), DataError, "jacobian has shape"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
