"""Limits of predictions: against a dense solve of Henderson's equations, `lm`, pbkrtest and simulated data."""

from __future__ import annotations

import doctest
import warnings
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from scipy import special, stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.models import lmer_predict
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

COLUMNS = ["Estimate", "SE", "2.5_ci", "97.5_ci"]
SOLVED = 1e-10  # relative, SE: two ways to solve one system
LIMITS = 1e-7  # in SE: df come from derivatives by differences, here from complex steps
BACKWARDS = 1e-10  # relative: one row alone or among others
KR = 1e-8  # relative: a closed form against pbkrtest's


def trial() -> pd.DataFrame:
    """Return 12 groups crossed with 6 items, unbalanced, with effects of both, a factor and weights."""
    rng = np.random.default_rng(11)
    n = 150
    g, h = rng.integers(0, 12, n), rng.integers(0, 6, n)
    frame = pd.DataFrame(
        {
            "g": 100 + g,
            "h": [f"i{k}" for k in h],
            "x": rng.normal(1, 1, n),
            "pos": rng.uniform(0.5, 4, n),
            "cond": rng.choice(["a", "b", "c"], n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(0, 1, n),
            "trials": rng.integers(2, 9, n),
        }
    )
    slopes = rng.normal(0, 0.7, (3, 12))
    effect = slopes[0][g] + slopes[1][g] * frame.x + slopes[2][g] * (frame.cond == "b") + rng.normal(0, 0.8, 6)[h]
    frame["mean"] = 1 + 0.5 * frame.x + 0.4 * (frame.cond == "c") + effect
    frame["y"] = frame["mean"] + rng.normal(0, 0.9, n) / np.sqrt(frame.w)
    eta = 0.3 * frame["mean"]
    frame["count"] = rng.poisson(np.exp(eta))
    frame["spread"] = rng.negative_binomial(2, 2 / (2 + np.exp(eta)))
    frame["size"] = rng.gamma(4, np.exp(eta) / 4)
    frame["time"] = rng.wald(np.exp(eta), 3 * np.exp(eta).mean())
    frame["hits"] = rng.binomial(frame.trials, special.expit(eta - 0.5))
    frame["share"] = frame.hits / frame.trials
    frame["yes"] = (rng.uniform(size=n) < special.expit(eta)).astype(int)
    return frame


@cache
def data(name: str) -> pd.DataFrame:
    if name == "holes":
        frame = trial()
        frame.loc[[3, 40], "x"] = np.nan
        frame.loc[[7, 40], "y"] = np.nan
        return frame.set_index(np.arange(150) + 1000)
    return trial() if name == "trial" else load_dataset(name)


@dataclass(frozen=True)
class Case:
    """One model: formula, data, and what `Lmer` and `fit` get."""

    formula: str
    data: str = "trial"
    given: dict = field(default_factory=dict)
    fit: dict = field(default_factory=dict)


CODED = {"factors": {"cond": {"c_rest": {"c": 1, "a": -0.5, "b": -0.5}, "a_b": {"a": 1, "b": -1, "c": 0}}}}
LINEAR = {
    "slopes": Case("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "ml": Case("Reaction ~ Days + (Days | Subject)", "sleepstudy", fit={"REML": False}),
    "uncorrelated": Case("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "crossed": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "nested": Case("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    "both": Case("y ~ x * cond + (x | g) + (1 | h)"),
    "weighted": Case("y ~ x + cond + (1 | g) + (1 | h)", given={"weights": "w", "offset": "o"}),
    "arrays": Case("y ~ x + (1 | g)", given={"weights": trial()["w"].to_numpy(), "offset": trial()["o"].to_numpy()}),
    "functions": Case("log(pos) ~ poly(x, 2) + scale(o) + offset(w) + (scale(x) | g)"),
    "coded": Case("y ~ cond + (cond | g)", fit=CODED),
    "aliased": Case("y ~ x + I(2 * x) + (x | g)"),
    "no fixed part": Case("y ~ 0 + (1 + x | g)"),
    "no intercepts": Case("y ~ 0 + cond + (0 + x | g) + (1 | h:cond)"),
    "holes": Case("y ~ x + (x | g)", "holes"),
    "ranks": Case("y ~ x + (1 | g)", fit={"rank": True}),
    "permuted": Case("y ~ x + (1 | g)", fit={"permute": 5, "seed": 1}),
    "singular": Case("o ~ x + (x | g)"),
}
GENERALIZED = {
    "poisson": Case("count ~ x + cond + (1 | g) + (1 | h)", given={"family": "poisson"}),
    "offset": Case("count ~ x + (1 | g)", given={"family": "poisson", "offset": "o"}),
    "sqrt": Case("count ~ x + (1 | g)", given={"family": "poisson", "link": "sqrt"}),
    "trials": Case("cbind(hits, trials - hits) ~ x + (1 | g)", given={"family": "binomial"}),
    "share": Case("share ~ x + (1 | g)", given={"family": "binomial", "weights": "trials"}),
    "probit": Case("share ~ x + (1 | g)", given={"family": "binomial", "weights": "trials", "link": "probit"}),
    "gamma": Case("size ~ x + (1 | g)", given={"family": "gamma", "link": "log"}),
    "gamma inverse": Case("size ~ cond + (1 | g)", given={"family": "gamma"}),
    "time": Case("time ~ cond + (1 | g)", given={"family": "inverse_gaussian", "link": "log", "weights": "w"}),
    "nbinom": Case("spread ~ x + (1 | g)", given={"family": "nbinom"}),
    "gaussian log": Case("pos ~ cond + (1 | g)", given={"family": "gaussian", "link": "log"}),
}
CASES = LINEAR | GENERALIZED
BINARY = Case("yes ~ x + (1 | g)", given={"family": "binomial"})
linear = pytest.mark.parametrize("case", LINEAR)
generalized = pytest.mark.parametrize("case", GENERALIZED)


def fit(case: Case, **how) -> Lmer:
    model = Lmer(case.formula, data(case.data), **case.given)
    model.fit(summarize=False, no_warnings=True, **{**case.fit, **how})
    return model


@cache
def fitted(name: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    return fit(CASES[name])


# ---------------------------------------------------------------- the dense way

_PARTS = """function(m) {
  Lind <- lme4::getME(m, "Lambdat")
  Lind@x <- as.numeric(lme4::getME(m, "Lind"))
  list(X = unname(as.matrix(lme4::getME(m, "X"))), Z = unname(as.matrix(lme4::getME(m, "Z"))),
       parameter = unname(as.matrix(Matrix::t(Lind))), theta = lme4::getME(m, "theta"), sigma = sigma(m),
       scale = if (isTRUE(attr(lme4::VarCorr(m), "useSc"))) sigma(m) else 1,
       weights = if (lme4::isLMM(m)) weights(m) else as.vector(m@resp$sqrtXwt)^2,
       varpar = if (is(m, "lmerModLmerTest")) m@vcov_varpar, mu = fitted(m))
}"""


@cache
def parts(name: str) -> dict:
    """Return the model matrices and parameters of a fitted case."""
    found = bridge._started().values.from_r(rinterface.evalr(_PARTS)(fitted(name).model_obj))
    found["sigma"], found["scale"] = (float(found[key][0]) for key in ("sigma", "scale"))
    found["X"] = found["X"].reshape(len(found["Z"]), -1)
    return found


def lambda_(found: dict, theta: np.ndarray) -> np.ndarray:
    at = found["parameter"].astype(int)
    return np.where(at > 0, theta[at - 1], 0)


def variances(found: dict, theta: np.ndarray, x: np.ndarray, known: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """Return l C l' of each row, C the inverse of Henderson's matrix, plus z G z' of `loose`; all over sigma^2.

    The matrix is written for v, u = Lambda v, so that a singular Lambda does not matter.
    """
    Lambda = lambda_(found, theta)
    whole = np.hstack([found["X"], found["Z"] @ Lambda])
    penalty = np.diag(np.r_[np.zeros(x.shape[1]), np.ones(len(Lambda))])
    C = np.linalg.inv(whole.T @ (found["weights"][:, None] * whole) + penalty)
    rows = np.hstack([x, known @ Lambda])
    free = loose @ Lambda
    return np.einsum("ij,jk,ik->i", rows, C, rows) + (free * free).sum(axis=1)


def dense(name: str, x: np.ndarray, known: np.ndarray, loose: np.ndarray, residual: np.ndarray | float):
    """Return SE and Satterthwaite's df of each row, derivatives by complex steps."""
    found = parts(name)
    theta, sigma = found["theta"], found["sigma"]
    variance = sigma**2 * (variances(found, theta, x, known, loose) + residual)
    gradient = np.empty((len(x), len(theta) + 1))
    for j in range(len(theta)):
        moved = theta.astype(complex)
        moved[j] += 1e-30j
        gradient[:, j] = sigma**2 * variances(found, moved, x, known, loose).imag / 1e-30
    gradient[:, -1] = 2 * variance / sigma
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2 * variance**2 / np.einsum("ij,jk,ik->i", gradient, found["varpar"], gradient)
    return np.sqrt(variance), np.where(variance == 0, np.inf, df)


def asked(name: str, use_rfx: bool, kind: str) -> tuple[np.ndarray, ...]:
    """Return x, the rows of Z that belong to groups of the fit, and those of groups that are new: the fit's rows."""
    found = parts(name)
    nothing = np.zeros_like(found["Z"])
    known = found["Z"] if use_rfx else nothing
    return found["X"], known, nothing if use_rfx or kind == "confidence" else found["Z"]


def check(table: pd.DataFrame, se: np.ndarray, df: np.ndarray, level: float = 0.95):
    np.testing.assert_allclose(table["SE"], se, rtol=SOLVED)
    half = np.where(se == 0, 0, stats.t.ppf((1 + level) / 2, df) * se)
    with np.errstate(divide="ignore", invalid="ignore"):
        for limit, expected in zip(table.columns[2:], (-half, half), strict=True):
            apart = table[limit] - table["Estimate"] - expected
            assert np.all(np.abs(apart) <= LIMITS * se + 1e-12 * table["Estimate"].abs())


# ---------------------------------------------------------------- linear models


@linear
@pytest.mark.parametrize("use_rfx", [False, True])
@pytest.mark.parametrize("kind", ["confidence", "prediction"])
def test_limits_are_those_of_henderson_and_satterthwaite(case, use_rfx, kind):
    model, frame = fitted(case), data(LINEAR[case].data)
    table = model.predict(frame, use_rfx=use_rfx, interval=kind)
    assert list(table.columns) == COLUMNS
    pd.testing.assert_index_equal(table.index, frame.index)
    assert table.attrs == {"interval": kind, "conf_level": 0.95, "ddf": "Satterthwaite", "scale": "response"}
    plain = model.predict(frame, use_rfx=use_rfx)
    np.testing.assert_array_equal(table["Estimate"], plain)
    complete = ~np.isnan(plain)
    weights = CASES[case].given.get("weights", np.ones(len(frame)))
    weights = frame[weights].to_numpy() if isinstance(weights, str) else weights
    used = complete & frame["y"].notna().to_numpy() if case == "holes" else complete
    residual = 1 / weights[used] if kind == "prediction" else 0.0
    assert table.loc[~complete].isna().all(axis=None)
    check(table.loc[used], *dense(case, *asked(case, use_rfx, kind), residual))


def test_a_row_without_outcome_is_predicted_and_one_without_predictor_is_not():
    table = fitted("holes").predict(data("holes"), use_rfx=True, interval="prediction")
    assert list(table.index[table.isna().any(axis=1)]) == [1003, 1040]
    assert table.loc[1007].notna().all()


@pytest.mark.parametrize("case", ["slopes", "both", "functions", "coded", "nested", "weighted", "no intercepts"])
@pytest.mark.parametrize("use_rfx", [False, True])
def test_rows_do_not_depend_on_one_another(case, use_rfx):
    model, frame = fitted(case), data(LINEAR[case].data)
    whole = model.predict(frame, use_rfx=use_rfx, interval="prediction")
    some = frame.sample(11, random_state=2)
    pd.testing.assert_frame_equal(
        model.predict(some, use_rfx=use_rfx, interval="prediction"), whole.loc[some.index], rtol=BACKWARDS
    )
    alone = model.predict(frame.iloc[[4]], use_rfx=use_rfx, interval="prediction")
    pd.testing.assert_frame_equal(alone, whole.iloc[[4]], rtol=BACKWARDS)


@pytest.mark.parametrize("level", [0.5, 0.9, 99])
def test_the_level_names_the_columns_and_scales_the_limits(level):
    model, frame = fitted("slopes"), data("sleepstudy").head(5)
    table = model.predict(frame, use_rfx=True, interval="confidence", conf_level=level)
    share = level if level < 1 else level / 100
    assert table.columns[2] == f"{50 * (1 - share):g}_ci"
    rows = asked("slopes", True, "confidence")
    check(table, *dense("slopes", *(part[:5] for part in rows), 0.0), level=share)


def test_without_an_interval_there_is_an_array():
    for use_rfx in (False, True):
        found = fitted("slopes").predict(data("sleepstudy"), use_rfx=use_rfx, interval=None)
        assert isinstance(found, np.ndarray)
        assert found.shape == (180,)


@pytest.mark.parametrize("kind", ["confidence", "prediction"])
def test_groups_that_are_new_have_no_effect_but_their_variance(kind):
    model = fitted("slopes")
    frame = pd.DataFrame({"Days": [0.0, 4.5, 12.0], "Subject": ["308", "new", "newer"]})
    with pytest.raises(DataError, match="new"):
        model.predict(frame, use_rfx=True, interval=kind)
    table = model.predict(frame, use_rfx=True, interval=kind, new_levels="population")
    np.testing.assert_array_equal(table["Estimate"], model.predict(frame, use_rfx=True, new_levels="population"))
    x = np.column_stack([np.ones(3), frame.Days])
    z = np.zeros((3, 36))
    z[:, :2] = x  # 308 is the first subject
    known, loose = z * [[1], [0], [0]], z * [[0], [1], [1]]
    check(table, *dense("slopes", x, known, loose if kind == "prediction" else 0 * loose, float(kind == "prediction")))
    population = model.predict(frame, interval=kind)
    pd.testing.assert_frame_equal(table.iloc[1:], population.iloc[1:], rtol=1e-7)


@pytest.mark.parametrize("kind", ["confidence", "prediction"])
def test_a_group_may_be_new_for_one_factor_and_known_for_another(kind):
    model, frame = fitted("crossed"), data("Penicillin")
    rows = frame.iloc[[0, 30]].astype(str).assign(sample=["A", "Z"])
    table = model.predict(rows, use_rfx=True, interval=kind, new_levels="population")
    x, Z, _ = asked("crossed", True, kind)
    known = Z[[0, 30]].copy()
    assert frame["sample"].iloc[0] == "A"
    samples = slice(24, 30)  # after the 24 plates
    assert known[1, samples].sum() == 1
    loose = np.zeros_like(known)
    loose[1, samples], known[1, samples] = known[1, samples].copy(), 0
    check(table, *dense("crossed", x[:2], known, loose if kind == "prediction" else 0 * loose, kind == "prediction"))


def test_rows_may_join_groups_that_no_row_of_the_fit_joins():
    """A cask of one batch in a row of another: their effects are independent given the data."""
    model, frame = fitted("nested"), data("Pastes")
    found = parts("nested")
    rows = frame.iloc[[0, 30]].copy().astype({"batch": str, "cask": str})
    first, second = found["Z"][0], found["Z"][30]
    casks = found["Z"][:, :30].any(axis=0).sum()
    assert casks == 30
    table = model.predict(rows, use_rfx=True, interval="confidence")
    check(table, *dense("nested", found["X"][:2], np.array([first, second]), np.zeros((2, 40)), 0.0))
    model = Lmer("strength ~ 1 + (1 | batch) + (1 | sample)", frame)
    model.fit(summarize=False)
    moved = rows.assign(sample=[frame["sample"].iloc[30], frame["sample"].iloc[0]]).astype({"sample": str})
    with_own = model.predict(frame.iloc[[0, 30]], use_rfx=True, interval="confidence")
    mixed = model.predict(moved, use_rfx=True, interval="confidence")
    # Within a batch the effects of batch and sample are negatively correlated given the data.
    assert (mixed["SE"].to_numpy() > with_own["SE"].to_numpy()).all()


def test_the_population_needs_no_groups_and_for_predictions_the_varying_predictors():
    model = Lmer("Reaction ~ 1 + (Days | Subject)", data("sleepstudy"))
    model.fit(summarize=False)
    nothing = pd.DataFrame(index=["a", "b"])
    table = model.predict(nothing, interval="confidence")
    assert table["SE"].nunique() == 1
    with pytest.raises(DataError, match="'Days'"):
        model.predict(nothing, interval="prediction")
    later = model.predict(pd.DataFrame({"Days": [0, 9]}), interval="prediction")
    assert later["SE"][1] > later["SE"][0]


def test_the_limits_of_one_point_are_the_contrast_of_lmertest():
    model = fitted("slopes")
    contest = rinterface.evalr("function(m, x) unlist(lmerTest::contest1D(m, c(1, x), confint = TRUE))")
    for day in (0.0, 4.5, 9.0):
        told = dict(zip(["Estimate", "SE", "df", "t", "lower", "upper"], contest(model.model_obj, day), strict=False))
        table = model.predict(pd.DataFrame({"Days": [day]}), interval="confidence").iloc[0]
        np.testing.assert_allclose(table[["Estimate", "SE"]], [told["Estimate"], told["SE"]], rtol=SOLVED)
        half = stats.t.ppf(0.975, told["df"]) * told["SE"]
        np.testing.assert_allclose(table["97.5_ci"], told["Estimate"] + half, rtol=SOLVED)


# ---------------------------------------------------------------- ddf, and one model among others


def test_kenward_and_roger():
    model = fit(LINEAR["both"], ddf="Kenward-Roger")
    frame = data("trial").head(12)
    table = model.predict(frame, interval="confidence")
    assert table.attrs["ddf"] == "Kenward-Roger"
    told = bridge._started().values.from_r(
        rinterface.evalr(
            """function(m, n) {
              V <- as.matrix(vcov(m)); A <- pbkrtest::vcovAdj(m); X <- as.matrix(lme4::getME(m, "X"))[seq_len(n), ]
              list(se = sqrt(rowSums((X %*% as.matrix(A)) * X)), df = apply(X, 1, pbkrtest::Lb_ddf, V0 = V, Vadj = A))
            }"""
        )(model.model_obj, 12)
    )
    np.testing.assert_allclose(table["SE"], told["se"], rtol=KR)
    np.testing.assert_allclose(
        table["97.5_ci"] - table["Estimate"], stats.t.ppf(0.975, told["df"]) * told["se"], rtol=KR
    )
    outcome = model.predict(frame, interval="prediction")
    assert outcome.attrs["ddf"] == "Satterthwaite"
    plain = fitted("both").predict(frame, interval="prediction")
    adjusted = table["SE"] ** 2 - fitted("both").predict(frame, interval="confidence")["SE"] ** 2
    np.testing.assert_allclose(outcome["SE"] ** 2, plain["SE"] ** 2 + adjusted, rtol=1e-7)
    for kind in ("confidence", "prediction"):
        conditional = model.predict(frame, use_rfx=True, interval=kind)
        assert conditional.attrs["ddf"] == "Satterthwaite"
        pd.testing.assert_frame_equal(
            conditional, fitted("both").predict(frame, use_rfx=True, interval=kind), rtol=LIMITS, check_like=True
        )


def test_asymptotic_limits_are_normal():
    model, frame = fit(LINEAR["slopes"], ddf="asymptotic"), data("sleepstudy").head(4)
    for use_rfx in (False, True):
        for kind in ("confidence", "prediction"):
            table = model.predict(frame, use_rfx=use_rfx, interval=kind)
            assert table.attrs["ddf"] == "asymptotic"
            half = stats.norm.ppf(0.975) * table["SE"]
            np.testing.assert_allclose(table["97.5_ci"] - table["Estimate"], half, rtol=1e-12)
            exact = fitted("slopes").predict(frame, use_rfx=use_rfx, interval=kind)
            np.testing.assert_allclose(table["SE"], exact["SE"], rtol=SOLVED)


@pytest.mark.parametrize("weighted", [False, True])
def test_with_no_variance_between_groups_limits_are_those_of_lm(weighted):
    frame = trial()
    frame["y"] = frame["o"] - frame.groupby("g")["o"].transform("mean")
    model = Lmer("y ~ x + (1 | g)", frame, weights="w" if weighted else None)
    model.fit(summarize=False, no_warnings=True)
    assert model.ranef_var["Var"].iloc[0] < 1e-20
    run = rinterface.evalr(
        """function(x, y, w, kind, level) {
          d <- data.frame(x = x, y = y, w = w)
          told <- predict(lm(y ~ x, d, weights = w), d, interval = kind, level = level, weights = d$w, se.fit = TRUE)
          cbind(told$fit, told$se.fit)
        }"""
    )
    vectors = [rinterface.FloatSexpVector(frame[name]) for name in ("x", "y", "w")]
    if not weighted:
        vectors[2] = rinterface.FloatSexpVector(np.ones(len(frame)))
    for kind in ("confidence", "prediction"):
        told = np.asarray(bridge._started().values.from_r(run(*vectors, kind, 0.9)))
        for use_rfx in (False, True):
            table = model.predict(frame, use_rfx=use_rfx, interval=kind, conf_level=0.9)
            np.testing.assert_allclose(table[["Estimate", "5_ci", "95_ci"]], told[:, :3], rtol=1e-6, atol=1e-8)
            if kind == "confidence":
                np.testing.assert_allclose(table["SE"], told[:, 3], rtol=1e-6)


def test_weights_stand_for_precision_and_have_to_be_there():
    frame = data("trial")
    model = fitted("weighted")
    light, heavy = (model.predict(frame.head(3).assign(w=w), interval="prediction")["SE"] for w in (0.5, 50))
    np.testing.assert_allclose(light**2 - heavy**2, parts("weighted")["sigma"] ** 2 * (2 - 0.02), rtol=1e-9)
    with pytest.raises(DataError, match="'w' of the weights"):
        model.predict(frame.drop(columns="w"), interval="prediction")
    assert model.predict(frame.drop(columns="w"), interval="confidence").notna().all(axis=None)
    gap = model.predict(frame.head(3).assign(w=[1, np.nan, 1]), use_rfx=True, interval="prediction")
    assert gap["Estimate"].notna().all()
    assert list(gap["SE"].isna()) == [False, True, False]
    with pytest.raises(DataError, match="above 0"):
        model.predict(frame.head(2).assign(w=[1.0, 0.0]), interval="prediction")
    with pytest.raises(DataError, match="numbers"):
        model.predict(frame.head(2).assign(w=["1", "a"]), interval="prediction")


def test_an_array_of_weights_belongs_to_the_rows_of_the_fit():
    model, frame = fitted("arrays"), data("trial")
    named = Lmer("y ~ x + (1 | g)", frame, weights="w", offset="o")
    named.fit(summarize=False)
    for kind in ("confidence", "prediction"):
        pd.testing.assert_frame_equal(
            model.predict(frame, use_rfx=True, interval=kind), named.predict(frame, use_rfx=True, interval=kind)
        )
    for other in (frame.head(9), frame.set_index(frame.index + 1)):
        with pytest.raises(DataError, match="belong to the rows of the fit"):
            model.predict(other, interval="prediction")


def test_the_data_and_the_model_stay_as_they_are():
    model, frame = fitted("both"), data("trial").copy()
    before, coefs, fits = frame.copy(), model.coefs.copy(), model.fits.copy()
    random = bridge.call("describe", model=model._handle, ddf="asymptotic", level=0.95)
    table = model.predict(frame, use_rfx=True, interval="prediction")
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(model.coefs, coefs)
    np.testing.assert_array_equal(model.fits, fits)
    after = bridge.call("describe", model=model._handle, ddf="asymptotic", level=0.95)
    pd.testing.assert_frame_equal(random.value["variances"], after.value["variances"])
    pd.testing.assert_frame_equal(model.predict(frame, use_rfx=True, interval="prediction"), table)
    assert table.attrs["scale"] == "response"


def test_limits_cross_once(monkeypatch):
    model, trials, frame, calls = fitted("both"), fitted("trials"), data("trial"), []
    call = bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    model.predict(frame, use_rfx=True, interval="prediction")
    trials.predict(frame, interval="prediction", seed=1)
    assert calls == ["predict_mixed"] * 2


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
def test_no_rows_or_no_complete_rows(interval):
    model, frame = fitted("slopes"), data("sleepstudy")
    empty = model.predict(frame.head(0), interval=interval)
    missing = model.predict(frame.head(2).assign(Days=np.nan), use_rfx=True, interval=interval)
    assert (len(empty), len(missing)) == (0, 2)
    assert np.isnan(np.asarray(missing)).all()
    if interval:
        assert list(empty.columns) == list(missing.columns) == COLUMNS
        assert missing.attrs["ddf"] == "Satterthwaite"


def test_many_rows_do_not_loop():
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"Days": rng.uniform(0, 9, 20_000), "Subject": rng.choice(data("sleepstudy").Subject, 20_000)})
    table = fitted("slopes").predict(rows, use_rfx=True, interval="prediction")
    few = fitted("slopes").predict(rows.iloc[19_990:], use_rfx=True, interval="prediction")
    pd.testing.assert_frame_equal(table.iloc[19_990:], few, rtol=BACKWARDS)


# ---------------------------------------------------------------- coverage


def covered(table: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    return (table.iloc[:, 2] <= truth) & (truth <= table.iloc[:, 3])


def test_limits_cover_what_they_are_about():
    rng = np.random.default_rng(8)
    n_groups, days = 20, np.arange(6.0)
    known = pd.DataFrame({"g": np.repeat(np.arange(n_groups), 6).astype(str), "x": np.tile(days, n_groups)})
    root = np.linalg.cholesky([[16.0, 1.0], [1.0, 1.0]])
    held = {name: [] for name in ("mean", "group", "outcome", "new")}
    for _ in range(16):
        effects = rng.normal(size=(n_groups, 2)) @ root.T
        g = known.g.astype(int)
        mean = 20 + 2 * known.x + effects[g, 0] + effects[g, 1] * known.x
        model = Lmer("y ~ x + (x | g)", known.assign(y=mean + rng.normal(0, 3, len(known))))
        model.fit(summarize=False, no_warnings=True)
        point = known.groupby("g").nth(4)
        at = mean[point.index]
        held["mean"].append(covered(model.predict(point.head(1), interval="confidence"), 20 + 2 * point.x.head(1)))
        held["group"].append(covered(model.predict(point, use_rfx=True, interval="confidence"), at))
        outcomes = at + rng.normal(0, 3, n_groups)
        held["outcome"].append(covered(model.predict(point, use_rfx=True, interval="prediction"), outcomes))
        fresh = rng.normal(size=(n_groups, 2)) @ root.T
        new = 20 + 2 * point.x + fresh[:, 0] + fresh[:, 1] * point.x + rng.normal(0, 3, n_groups)
        held["new"].append(covered(model.predict(point, interval="prediction"), new))
    share = {name: np.concatenate(found).mean() for name, found in held.items()}
    # Three binomial standard errors of 16 means, and of 320 rows that are not quite independent.
    assert share["mean"] >= 0.78
    for name in ("group", "outcome", "new"):
        assert 0.91 <= share[name] <= 0.99, share


# ---------------------------------------------------------------- generalized models


def working_weights(case: str) -> np.ndarray:
    """Return w (d mu / d eta)^2 / V(mu) of the rows of the fit."""
    frame, mu = data("trial"), parts(case)["mu"]
    theta = float(rinterface.evalr("function(m) lme4::getME(m, 'glmer.nb.theta')")(fitted(case).model_obj)[0]) if (
        case == "nbinom"
    ) else None  # fmt: skip
    return {
        "poisson": lambda: mu,
        "offset": lambda: mu,
        "sqrt": lambda: np.full(len(mu), 4.0),
        "trials": lambda: frame.trials * mu * (1 - mu),
        "share": lambda: frame.trials * mu * (1 - mu),
        "probit": lambda: frame.trials * stats.norm.pdf(stats.norm.ppf(mu)) ** 2 / (mu * (1 - mu)),
        "gamma": lambda: np.ones(len(mu)),
        "gamma inverse": lambda: mu**2,
        "time": lambda: frame.w / mu,
        "nbinom": lambda: mu / (1 + mu / theta),
        "gaussian log": lambda: mu**2,
    }[case]()


INVERSE = {
    "log": (np.exp, np.exp),
    "logit": (special.expit, lambda eta: special.expit(eta) * (1 - special.expit(eta))),
    "probit": (stats.norm.cdf, stats.norm.pdf),
    "inverse": (lambda eta: 1 / eta, lambda eta: 1 / eta**2),
    "sqrt": (lambda eta: eta**2, lambda eta: 2 * np.abs(eta)),
}


@generalized
@pytest.mark.parametrize("use_rfx", [False, True])
def test_confidence_limits_of_a_generalized_model(case, use_rfx):
    model, frame = fitted(case), data("trial")
    found = parts(case)
    found["weights"] = np.asarray(working_weights(case)) * (found["scale"] / found["sigma"]) ** 2
    linked = model.predict(frame, use_rfx=use_rfx, pred_type="link", interval="confidence")
    assert linked.attrs == {"interval": "confidence", "conf_level": 0.95, "ddf": "asymptotic", "scale": "link"}
    if use_rfx:
        nothing = np.zeros_like(found["Z"])
        se = found["scale"] * np.sqrt(variances(found, found["theta"], found["X"], found["Z"], nothing))
        # lme4 keeps the linear predictor to the tolerance of its iterations, 1e-7
        np.testing.assert_allclose(linked["SE"], se, rtol=1e-6)
    else:
        V = np.asarray(model._fit.vcov)
        np.testing.assert_allclose(
            linked["SE"], np.sqrt(np.einsum("ij,jk,ik->i", found["X"], V, found["X"])), rtol=1e-10
        )
    np.testing.assert_allclose(linked["97.5_ci"] - linked["Estimate"], stats.norm.ppf(0.975) * linked["SE"], rtol=1e-10)
    answered = model.predict(frame, use_rfx=use_rfx, interval="confidence")
    np.testing.assert_array_equal(answered["Estimate"], model.predict(frame, use_rfx=use_rfx))
    if use_rfx:
        np.testing.assert_allclose(answered["Estimate"], model.fits, rtol=1e-6)
    mean, slope = INVERSE[model.link]
    np.testing.assert_allclose(answered["Estimate"], mean(linked["Estimate"]), rtol=1e-12)
    np.testing.assert_allclose(answered["SE"], slope(linked["Estimate"]) * linked["SE"], rtol=1e-10)
    same_side = (linked["2.5_ci"] > 0) | (model.link not in ("sqrt", "inverse"))
    ends = np.sort(np.column_stack([mean(linked["2.5_ci"]), mean(linked["97.5_ci"])]), axis=1)
    np.testing.assert_allclose(answered.loc[same_side].iloc[:, 2:], ends[same_side], rtol=1e-12)
    assert (answered["2.5_ci"] <= answered["Estimate"]).all()
    assert (answered["Estimate"] <= answered["97.5_ci"]).all()


def test_an_offset_counts_on_the_link_scale():
    model, frame = fitted("offset"), data("trial")
    np.testing.assert_allclose(model.predict(frame, use_rfx=True), model.fits, rtol=1e-9)
    np.testing.assert_allclose(model.predict(frame.assign(o=frame.o + 1)), np.e * model.predict(frame), rtol=1e-12)
    shifted = model.predict(frame.assign(o=frame.o + 1), pred_type="link") - model.predict(frame, pred_type="link")
    np.testing.assert_allclose(shifted, 1, rtol=1e-12)


def test_limits_across_the_pole_of_a_link():
    """A mean of 1 / eta is unbounded where eta may be 0, one of eta^2 is 0 there."""
    frame = trial()
    reciprocal = Lmer("size ~ x + (1 | g)", frame, family="gamma")
    reciprocal.fit(summarize=False, no_warnings=True)
    grid = pd.DataFrame({"x": np.linspace(-3, 30, 40)})
    linked = reciprocal.predict(grid, pred_type="link", interval="confidence")
    across = (linked["2.5_ci"] < 0) & (linked["Estimate"] > 0)
    assert across.any()
    answered = reciprocal.predict(grid, interval="confidence")
    assert np.isinf(answered.loc[across, "97.5_ci"]).all()
    np.testing.assert_allclose(answered.loc[across, "2.5_ci"], 1 / linked.loc[across, "97.5_ci"], rtol=1e-12)
    root = fitted("sqrt")
    grid = pd.DataFrame({"x": np.linspace(-30, 3, 40)})
    linked = root.predict(grid, pred_type="link", interval="confidence")
    across = linked["2.5_ci"] * linked["97.5_ci"] < 0
    assert across.any()
    answered = root.predict(grid, interval="confidence")
    assert (answered.loc[across, "2.5_ci"] == 0).all()
    ends = linked.loc[across].iloc[:, 2:].abs().max(axis=1) ** 2
    np.testing.assert_allclose(answered.loc[across, "97.5_ci"], ends, rtol=1e-12)


def cumulative(case: str, frame: pd.DataFrame, at: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Return P(outcome <= at) at each linear predictor; arrays of shape (rows, points)."""
    mu = INVERSE[fitted(case).link][0](eta)
    dispersion = parts(case)["sigma"] ** 2
    w, n = (frame[name].to_numpy()[:, None] for name in ("w", "trials"))
    if case == "nbinom":
        size = float(rinterface.evalr("function(m) lme4::getME(m, 'glmer.nb.theta')")(fitted(case).model_obj)[0])
        return stats.nbinom.cdf(at, size, size / (size + mu))
    return {
        "poisson": lambda: stats.poisson.cdf(at, mu),
        "offset": lambda: stats.poisson.cdf(at, mu),
        "sqrt": lambda: stats.poisson.cdf(at, mu),
        "trials": lambda: stats.binom.cdf(np.rint(at * n), n, mu),
        "share": lambda: stats.binom.cdf(np.rint(at * n), n, mu),
        "probit": lambda: stats.binom.cdf(np.rint(at * n), n, mu),
        "gamma": lambda: stats.gamma.cdf(at, 1 / dispersion, scale=mu * dispersion),
        "gamma inverse": lambda: stats.gamma.cdf(at, 1 / dispersion, scale=mu * dispersion),
        "time": lambda: stats.invgauss.cdf(at, mu * dispersion / w, scale=w / dispersion),
        "gaussian log": lambda: stats.norm.cdf(at, mu, np.sqrt(dispersion)),
    }[case]()


DISCRETE = {"poisson", "offset", "sqrt", "trials", "share", "probit", "nbinom"}
nodes, node_weights = np.polynomial.hermite_e.hermegauss(61)
node_weights = node_weights / node_weights.sum()


@generalized
@pytest.mark.parametrize("use_rfx", [False, True])
def test_prediction_limits_are_quantiles_of_new_outcomes(case, use_rfx):
    """The distribution function at the limits, integrated over the linear predictor, against that of 2,000 draws."""
    model, frame = fitted(case), data("trial")
    table = model.predict(frame, use_rfx=use_rfx, interval="prediction", seed=5)
    np.testing.assert_array_equal(table["Estimate"], model.predict(frame, use_rfx=use_rfx))
    linked = model.predict(frame, use_rfx=use_rfx, pred_type="link", interval="confidence")
    found = parts(case)
    loose = found["scale"] ** 2 * ((found["Z"] @ lambda_(found, found["theta"])) ** 2).sum(axis=1)
    sd = np.sqrt(linked["SE"].to_numpy() ** 2 + (0 if use_rfx else loose))
    eta = linked["Estimate"].to_numpy()[:, None] + sd[:, None] * nodes
    step = 1e-9 if case in DISCRETE else 0
    weight = np.broadcast_to(node_weights, eta.shape)
    if model.link == "inverse":
        weight = weight * (eta > 0)
        weight, eta = weight / weight.sum(axis=1, keepdims=True), np.maximum(eta, 1e-9)
    for limit, share in (("2.5_ci", 0.025), ("97.5_ci", 0.975)):
        at = table[limit].to_numpy()[:, None]
        reached = (cumulative(case, frame, at, eta) * weight).sum(axis=1)
        # The standard error of a share of 2,000 draws is 0.0035; a limit is the least outcome that reaches its share.
        if case in DISCRETE:
            unit = 1 / frame.trials.to_numpy()[:, None] if case in ("trials", "share", "probit") else 1
            before = (cumulative(case, frame, at - unit + step, eta) * weight).sum(axis=1)
            assert (reached >= share - 5 * 0.0035).all()
            assert (before <= share + 5 * 0.0035).all()
        else:
            assert np.abs(reached - share).max() < 5 * 0.0035
            assert abs((reached - share).mean()) < 0.001


@pytest.mark.parametrize("case", ["poisson", "trials", "gamma"])
def test_a_seed_repeats_the_simulation(case):
    model, frame = fitted(case), data("trial").head(20)
    first, again, other = (model.predict(frame, interval="prediction", seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["SE"].equals(other["SE"])
    assert list(first.columns) == COLUMNS
    assert first.attrs["ddf"] == "asymptotic"


def test_counts_are_counts_whatever_their_weight():
    frame = data("trial")
    model = Lmer("count ~ x + (1 | g)", frame, family="poisson", weights="trials")
    model.fit(summarize=False, no_warnings=True)
    table = model.predict(frame.drop(columns="trials").head(5), interval="prediction", seed=1)
    assert np.array_equal(table.iloc[:, 2:], np.rint(table.iloc[:, 2:]))


def test_the_spread_of_a_gamma_outcome_is_the_dispersion_of_the_fit():
    model, frame = fitted("gamma"), data("trial")
    table = model.predict(frame, use_rfx=True, interval="prediction", seed=2)
    ratio = frame["size"] / model.fits
    relative = (table["SE"] / table["Estimate"]).mean()
    np.testing.assert_allclose(relative, ratio.std(), rtol=0.2)


# ---------------------------------------------------------------- trials


def test_an_outcome_of_0_or_1_has_no_prediction_interval():
    model = fit(BINARY)
    with pytest.raises(OptionError, match="interval='confidence'"):
        model.predict(data("trial"), interval="prediction")
    single = Lmer("cbind(yes, 1 - yes) ~ x + (1 | g)", data("trial"), family="binomial")
    single.fit(summarize=False, no_warnings=True)
    with pytest.raises(OptionError, match="0 or 1"):
        single.predict(data("trial"), interval="prediction")
    table = model.predict(data("trial"), use_rfx=True, interval="confidence")
    assert table.iloc[:, 2:].stack().between(0, 1).all()


def test_trials_are_what_the_outcome_adds_up_to():
    model, frame = fitted("trials"), data("trial").head(30)
    table = model.predict(frame, use_rfx=True, interval="prediction", seed=9)
    other = model.predict(frame.drop(columns="hits"), use_rfx=True, interval="prediction", seed=9)
    pd.testing.assert_frame_equal(table, other)
    unknown = model.predict(frame.assign(hits=np.nan), use_rfx=True, interval="prediction", seed=9)
    pd.testing.assert_frame_equal(table, unknown)
    share = fitted("share").predict(frame.drop(columns="share"), use_rfx=True, interval="prediction", seed=9)
    pd.testing.assert_frame_equal(table, share, atol=1e-6)
    with pytest.raises(DataError, match="'trials'"):
        model.predict(frame.drop(columns="trials"), interval="prediction")
    with pytest.raises(DataError, match="'hits' holds text"):
        model.predict(frame.assign(hits="many"), interval="prediction")
    with pytest.raises(DataError, match="whole number"):
        model.predict(frame.assign(trials=2.5), interval="prediction")
    gap = model.predict(frame.assign(trials=[np.nan, *frame.trials[1:]]), interval="prediction", seed=9)
    assert gap["Estimate"].notna().all()
    assert list(np.flatnonzero(gap["SE"].isna())) == [0]


def test_more_trials_give_narrower_limits():
    frame = data("trial").head(1)
    widths = []
    for trials in (2, 20, 2000):
        table = fitted("share").predict(frame.assign(trials=trials), use_rfx=True, interval="prediction", seed=1)
        widths.append(float(table["SE"].iloc[0]))
    assert widths[0] > widths[1] > widths[2]
    confident = fitted("share").predict(frame, use_rfx=True, interval="confidence")
    np.testing.assert_allclose(widths[2], confident["SE"].iloc[0], rtol=0.1)


# ---------------------------------------------------------------- what is refused


def test_means_that_a_family_does_not_have_are_told():
    model, frame = fit(Case("size ~ x + (1 | g)", given={"family": "gamma"})), data("trial")
    far = frame.head(2).assign(x=[1.0, 12.0])
    with pytest.warns(ModelWarning, match="left out"):
        model.predict(far, interval="prediction", seed=1)


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"interval": "both"}, "'confidence', 'prediction'"),
        ({"interval": True}, "interval=True"),
        ({"interval": "confidence", "conf_level": 1.5}, "conf_level"),
        ({"interval": "prediction", "new_levels": "none"}, "new_levels"),
        ({"interval": "prediction", "seed": -1}, "seed"),
    ],
)
def test_options_are_checked(asked, words):
    with pytest.raises(OptionError, match=words):
        fitted("slopes").predict(data("sleepstudy"), **asked)


def test_outcomes_have_no_link_scale():
    with pytest.raises(OptionError, match="pred_type='response'"):
        fitted("poisson").predict(data("trial"), pred_type="link", interval="prediction")
    table = fitted("slopes").predict(data("sleepstudy"), pred_type="link", interval="prediction")
    assert table.attrs["scale"] == "link"


def test_limits_need_a_fit_and_the_columns():
    with pytest.raises(NotFittedError):
        Lmer("y ~ x + (1 | g)", trial()).predict(trial(), interval="confidence")
    with pytest.raises(DataError, match="'g'"):
        fitted("both").predict(data("trial").drop(columns="g"), use_rfx=True, interval="confidence")
    with pytest.raises(DataError, match="level"):
        fitted("both").predict(data("trial").assign(cond="d"), interval="confidence")


def test_limits_of_clean_fits_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in ("slopes", "both", "functions", "coded", "poisson", "trials"):
            frame = data(CASES[case].data)
            for use_rfx in (False, True):
                for kind in ("confidence", "prediction"):
                    fitted(case).predict(frame, use_rfx=use_rfx, interval=kind, seed=1)


def test_examples_run():
    assert doctest.testmod(lmer_predict).failed == 0
