"""CR0, CR2 and unequal variances against their definitions row by row, R's clubSandwich, and Welch's t test."""

from __future__ import annotations

import pickle
from functools import cache
from typing import get_args

import hermetic
import numpy as np
import pytest
from against_r import ask, each, relative
from scipy import stats

from pymer4.errors import DataError, OptionError
from pymer4.fit import cluster_robust, cluster_rows
from pymer4.fit.cluster_robust import clustered
from pymer4.fit.cluster_rows import RandomPart, nests
from pymer4.fit.glm import generalized
from pymer4.fit.linear import least_squares
from pymer4.fit.robust_errors import Named, errors_of, resolve_error_type
from pymer4.fit.sandwich import covariance, unequal_variances

pytestmark = pytest.mark.numeric

SAME = 1e-10  # relative: roots and inverses of matrices of a cluster's size, condition up to 1e5
WIDE = 1e-7  # where those have conditions up to 1e8
R_LINEAR = 1e-11  # relative
R_ITERATED = 1e-7  # R's glm keeps the weights of its last iteration but one

N, G = 90, 9


@cache
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=N), (rng.random(N) < 0.4) * 1.0
    cl = rng.permutation(np.repeat(np.arange(G), [1, 2, 4, 6, 9, 12, 16, 18, 22]))
    trials, rate = rng.integers(1, 8, N), np.exp(0.4 * x)
    return {
        "X": np.column_stack([np.ones(N), x, z]),
        "y": x + rng.normal(size=G)[cl] + np.exp(0.4 * x) * rng.normal(size=N),
        "cl": cl,
        "w": rng.uniform(0.3, 3, N),
        "trials": trials,
        "hits": rng.binomial(trials, 1 / (1 + np.exp(-x))),
        "count": rng.poisson(rate),
        "size": rng.gamma(2, rate),
    }


def designs() -> dict[str, np.ndarray]:
    X, cl = data()["X"], data()["cl"]
    dummies = (cl[:, None] == np.arange(1, G)).astype(float)
    return {"plain": X, "one cluster apart": np.column_stack([X, dummies[:, 4]]), "effects": np.hstack([X, dummies])}


def weights(name: str) -> np.ndarray | None:
    w = data()["w"]
    return {"equal": None, "given": w, "by cluster": w[data()["cl"]], "wide": w ** np.where(data()["cl"] % 2, 4, 1)}[
        name
    ]


def random_part() -> tuple[RandomPart, np.ndarray]:
    """Return intercepts and slopes of x in clusters, intercepts in parts of these, and the matrix itself."""
    X, cl = data()["X"], data()["cl"]
    part = cl * 3 + np.arange(N) % 3
    U = np.zeros((N, 2 * G + 3 * G))
    U[np.arange(N), 2 * cl] = 1.3 + 0.4 * X[:, 1]
    U[np.arange(N), 2 * cl + 1] = 0.8 * X[:, 1]
    U[np.arange(N), 2 * G + part] = 0.7
    rows, columns = np.nonzero(U)
    return RandomPart(rows, columns, U[rows, columns]), U


def by_definition(X, e, cl, kind, Theta, L):
    """Return the covariance, and the df of rows of L, with all matrices as they stand in the papers."""
    W = np.linalg.inv(Theta)
    C = np.linalg.inv(X.T @ W @ X)
    M, away = Theta - X @ C @ X.T, np.eye(len(X)) - X @ C @ X.T @ W
    meat, arms = 0, []
    for g in np.unique(cl):
        i = np.flatnonzero(cl == g)
        D, A = np.linalg.cholesky(Theta[np.ix_(i, i)]).T, np.eye(len(i))
        if kind == "cr2":
            values, vectors = np.linalg.eigh(D @ M[np.ix_(i, i)] @ D.T)
            kept = values > 1e-11 * values.max(initial=0)
            A = D.T @ (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T @ D
        E = A @ W[np.ix_(i, i)] @ X[i]
        meat = meat + np.outer(e[i] @ E, e[i] @ E)
        arms.append(away[i].T @ E @ C @ L.T)
    P = np.einsum("gik,ij,hjk->kgh", arms, Theta, arms)
    return C @ meat @ C, np.einsum("kgg->k", P) ** 2 / (P**2).sum(axis=(1, 2))


ROWS = np.random.default_rng(1).normal(size=(6, 20))


@pytest.mark.parametrize("kind", ["cr0", "cr2"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weighted", ["equal", "given", "by cluster", "wide"])
@pytest.mark.parametrize("design", designs())
def test_errors_are_those_of_the_definition(design, weighted, mixed, kind):
    X, w, (random, U) = designs()[design], weights(weighted), random_part()
    Theta = np.diag(np.ones(N) if w is None else 1 / w) + mixed * U @ U.T
    half = np.linalg.inv(np.linalg.cholesky(Theta))
    e = data()["y"] - X @ np.linalg.lstsq(half @ X, half @ data()["y"], rcond=None)[0]
    found = clustered(X, e, data()["cl"], kind, w, random if mixed else None)
    L = np.vstack([np.eye(X.shape[1]), ROWS[:, : X.shape[1]]])
    V, df = by_definition(X, e, data()["cl"], kind, Theta, L)
    tolerance = WIDE if weighted == "wide" else SAME
    assert relative(found.V, V) < tolerance
    assert each(found.df_of(L), df if kind == "cr2" else np.full(len(L), G - 1.0)) < tolerance
    assert each(found.variances(L), np.einsum("ij,jk,ik->i", L, V, L)) < 1e3 * tolerance


@pytest.mark.parametrize("low", [1.0, 0.3, 1e-4, 1e-12, 1e-30])
def test_the_inverse_root_is_one_to_rounding(low):
    shifts, shares = cluster_robust._inverse_root(low)
    z = np.geomspace(low, 1, 500)
    assert each((shares / (z[:, None] + shifts)).sum(axis=1), z**-0.5) < 4e-15


@pytest.mark.parametrize("mixed", [False, True])
def test_order_names_and_batches_do_not_matter(mixed, monkeypatch):
    X, cl, e, (random, U) = data()["X"], data()["cl"], data()["y"], random_part()
    L = np.eye(3)
    wanted = clustered(X, e, cl, "cr2", data()["w"], random if mixed else None)
    df = wanted.df_of(L)
    monkeypatch.setattr(cluster_robust, "_NUMBERS", 1)
    monkeypatch.setattr(cluster_rows, "_NUMBERS", 1)
    order = np.random.default_rng(2).permutation(N)
    rows, columns = np.nonzero(U[order])
    moved = RandomPart(rows, columns, U[order][rows, columns]) if mixed else None
    found = clustered(X[order], e[order], 70 - 3 * cl[order], "cr2", data()["w"][order], moved)
    assert relative(found.V, wanted.V) < SAME and each(found.df_of(L), df) < SAME


@pytest.mark.parametrize("kind", ["cr0", "cr2"])
def test_what_one_cluster_alone_tells_has_no_error(kind):
    """The mean of one cluster; the mean and slope of the others keep their numbers."""
    X, y, cl = data()["X"][:, :2], data()["y"], data()["cl"]
    own = cl == 6
    apart, others = np.column_stack([X * ~own[:, None], own]), X[~own]
    found = errors_of(least_squares(apart, y), apart, kind, clusters=cl)
    wanted = errors_of(least_squares(others, y[~own]), others, kind, clusters=cl[~own])
    assert np.isnan(found.V[2]).all() and np.isnan(found.V[:, 2]).all()
    L = np.array([[1.0, 0, 0], [1, 2, 0], [0, 0, 1], [1, 0, -1]])
    assert np.isnan(found.df_of(L)).tolist() == [False, False, True, False]
    assert np.isnan(found.variances(L)).tolist() == [False, False, True, True]
    assert relative(found.V[:2, :2], wanted.V) < SAME
    if kind == "cr2":
        assert each(found.df_of(L[:2]), wanted.df_of(L[:2, :2])) < SAME


def test_clusters_that_share_a_random_effect_are_refused():
    X, cl, random = data()["X"], data()["cl"], random_part()[0]
    with pytest.raises(DataError, match="share a random effect"):
        clustered(X, data()["y"], np.where(np.arange(N) == np.argmax(cl == 8), 0, cl), "cr0", random=random)
    part = cl * 3 + np.arange(N) % 3
    assert nests(cl, part) and nests(cl, cl) and not nests(part, cl)
    with pytest.raises(DataError, match="one cluster"):
        clustered(X, data()["y"], np.zeros(N, dtype=int), "cr2")


# ------------------------------------------------------------------ R's clubSandwich

_ERRORS = """
suppressMessages(library(clubSandwich))
put <- function(name, model, cluster, ...) {
  for (type in c("CR0", "CR2")) answer[[paste0(name, type)]] <<- as.matrix(vcovCR(model, cluster, type, ...))
  answer[[paste0(name, "df")]] <<- coef_test(model, vcovCR(model, cluster, "CR2", ...))$df_Satt
}
"""
_REGRESSIONS = """
columns <- setdiff(index[[1]], c("X", "effects"))
d <- as.data.frame(sapply(columns, function(name) as.vector(get(name))))
put("lm", lm(y ~ X - 1, d), d$cl)
put("wls", lm(y ~ X - 1, d, weights = w), d$cl, inverse_var = TRUE)
put("effects", lm(y ~ effects - 1, d, weights = w), d$cl, inverse_var = TRUE)
last <- glm.control(epsilon = 1e-15, maxit = 99)
put("logit", glm(cbind(hits, trials - hits) ~ X - 1, binomial, d, control = last), d$cl)
put("probit", glm(cbind(hits, trials - hits) ~ X - 1, binomial("probit"), d, control = last), d$cl)
put("poisson", glm(count ~ X - 1, poisson, d, control = last), d$cl)
put("gamma", glm(size ~ X - 1, Gamma("log"), d, weights = w, control = last), d$cl)
"""


@pytest.mark.r
def test_regressions_are_those_of_clubsandwich():
    hermetic.compare_with("clubSandwich")
    d, X, effects = data(), data()["X"], designs()["effects"]
    told = ask(_ERRORS + _REGRESSIONS, effects=effects, **d)
    of_trials = (d["hits"] / d["trials"], "binomial"), d["trials"].astype(float)
    fits = {
        "lm": least_squares(X, d["y"]),
        "wls": least_squares(X, d["y"], d["w"]),
        "effects": least_squares(effects, d["y"], d["w"]),
        "logit": generalized(X, *of_trials[0], "logit", of_trials[1]),
        "probit": generalized(X, *of_trials[0], "probit", of_trials[1]),
        "poisson": generalized(X, d["count"].astype(float), "poisson", "log"),
        "gamma": generalized(X, d["size"], "gamma", "log", d["w"]),
    }
    for name, fit in fits.items():
        design, tolerance = effects if name == "effects" else X, R_LINEAR if name in list(fits)[:3] else R_ITERATED
        for kind in ("cr0", "cr2"):
            found = errors_of(fit, design, kind, clusters=d["cl"])
            assert relative(found.V, told[f"{name}{kind.upper()}"]) < tolerance, (name, kind)
        assert each(found.df_of(np.eye(design.shape[1])), told[f"{name}df"]) < tolerance, name


_MIXED = """
suppressMessages(library(lme4))
d <- data.frame(y = as.vector(y), x = X[, 2], z = X[, 3], cl = as.vector(cl))
d$part <- d$cl * 3 + (seq_len(nrow(d)) - 1) %% 3
models <- list(slopes = lmer(Reaction ~ Days + (Days | Subject), sleepstudy, subset = -(1:7)),
               nested = lmer(y ~ x + z + (1 | cl / part), d), means = lmer(strength ~ 1 + (1 | batch), Pastes))
for (name in names(models)) {
  m <- models[[name]]
  cluster <- getME(m, "flist")[[which.min(getME(m, "l_i"))]]
  U <- as(getME(m, "Lambdat") %*% getME(m, "Zt"), "CsparseMatrix")
  keep <- function(what, value) answer[[paste0(name, what)]] <<- value
  keep("X", unname(getME(m, "X")))
  keep("e", getME(m, "y") - as.vector(getME(m, "X") %*% fixef(m)))
  keep("clusters", as.integer(cluster))
  keep("rows", rep(seq_len(ncol(U)) - 1, diff(U@p)))
  keep("columns", U@i)
  keep("values", U@x)
  put(name, m, cluster)
}
"""


@pytest.mark.r
def test_mixed_models_are_those_of_clubsandwich():
    hermetic.compare_with("clubSandwich")
    told = ask(_ERRORS + _MIXED, **{name: data()[name] for name in ("X", "y", "cl")})
    for name in ("slopes", "nested", "means"):
        X, e, clusters, rows, columns, values = (
            told[f"{name}{what}"] for what in ("X", "e", "clusters", "rows", "columns", "values")
        )
        random = RandomPart(rows.astype(int), columns.astype(int), values)
        for kind in ("cr0", "cr2"):
            found = clustered(X, e, clusters.astype(int), kind, random=random)
            assert relative(found.V, told[f"{name}{kind.upper()}"]) < R_LINEAR, (name, kind)
        assert each(found.df_of(np.eye(X.shape[1])), told[f"{name}df"]) < R_LINEAR, name


# ------------------------------------------------------------------ unequal variances


def test_two_cells_are_welchs_t_test():
    y, two = data()["y"], data()["cl"] > 5
    X = np.column_stack([np.ones(N), two])
    fit = least_squares(X, y)
    found, wanted = unequal_variances(fit, X, two), stats.ttest_ind(y[two], y[~two], equal_var=False)
    assert each([fit.b[1] / np.sqrt(found.V[1, 1]), found.df_of(np.eye(2))[1]], [wanted.statistic, wanted.df]) < SAME


@pytest.mark.parametrize("w", [None, data()["w"]], ids=["plain", "weighted"])
def test_unequal_variances_are_their_sums(w):
    X, y, cells = data()["X"], data()["y"], data()["cl"] // 3
    fit, one = least_squares(X, y, w), np.ones(N) if w is None else w
    found, C = errors_of(fit, X, "unequal_var", cells=cells), np.linalg.inv(X.T @ (one[:, None] * X))
    h = one * np.einsum("ij,jk,ik->i", X, C, X)
    arms, a, df = ROWS[:, :3] @ C, [], []
    for c in range(3):
        own = cells == c
        df.append((1 - h[own]).sum())
        a.append((one * (y - X @ fit.b) ** 2)[own].sum() / df[-1] * ((arms @ X[own].T) ** 2 @ one[own]))
    assert each(found.variances(ROWS[:, :3]), sum(a)) < SAME
    assert each(found.df_of(ROWS[:, :3]), sum(a) ** 2 / sum(v**2 / k for v, k in zip(a, df, strict=True))) < SAME


def test_a_cell_of_one_row_has_no_variance():
    cells = np.repeat([0, 1, 2], [5, 7, 1])
    X = np.column_stack([np.ones(13), cells == 1, cells == 2]).astype(float)
    found = unequal_variances(least_squares(X, data()["y"][:13]), X, cells)
    assert np.isnan(np.diag(found.V)).tolist() == [False, False, True]
    L = np.array([[0.0, 1, 0], [1, 1, 0], [0, 1, -1]])
    assert np.isnan(found.variances(L)).tolist() == np.isnan(found.df_of(L)).tolist() == [False, False, True]


# ------------------------------------------------------------------ by name


def test_kinds_by_name():
    assert [resolve_error_type(name) for name in get_args(Named)] == [
        "iid", "hc0", "hc1", "hc2", "hc3", "hc3", "cr0", "cr2", "unequal_var",
    ]  # fmt: skip
    assert resolve_error_type("Hc3") == resolve_error_type("HETERO") == "hc3"
    assert resolve_error_type("hetero", is_linear=False) == "hc0"
    with pytest.raises(OptionError, match=r"'HC3'.* Did you mean 'HC3'"):
        resolve_error_type("hc33")
    with pytest.raises(OptionError, match="not known"):
        resolve_error_type(None)
    with pytest.raises(OptionError, match="hetero"):
        resolve_error_type("unequal_VAR", is_linear=False)


def test_degrees_of_freedom_by_kind():
    d, X, L = data(), data()["X"], ROWS[:, :3]
    fit = least_squares(X, d["y"], d["w"])
    for kind, df in {"iid": N - 3, "hc3": N - 3, "cr0": G - 1}.items():
        found = errors_of(fit, X, kind, clusters=d["cl"])
        assert found.df_of(L).tolist() == [df] * len(L)
        if kind != "cr0":
            assert np.array_equal(found.V, covariance(fit, X, kind))
    assert np.isinf(errors_of(fit, X, "hc0", df=np.inf).df_of(L)).all()


@pytest.mark.parametrize("kind", ["hc1", "cr0", "cr2", "unequal_var"])
def test_errors_go_through_pickle(kind):
    d = data()
    found = errors_of(least_squares(d["X"], d["y"]), d["X"], kind, clusters=d["cl"], cells=d["cl"] // 3)
    assert np.array_equal(pickle.loads(pickle.dumps(found)).df_of(np.eye(3)), found.df_of(np.eye(3)))


@pytest.mark.parametrize("kind", ["cr0", "cr2"])
def test_a_fit_without_numbers_has_no_errors(kind):
    found = clustered(data()["X"], np.full(N, np.nan), data()["cl"], kind)
    assert np.isnan(found.V).all() and np.isnan(found.df_of(np.eye(3))).all()
