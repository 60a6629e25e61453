"""Gaussian `Lmer` against R in a process of its own, and against the identities that any fit has to keep."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import warnings
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from joblib import parallel_config
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import DataError, NotFittedError, OptionError, Pymer4Error
from pymer4.models.base import Ddf
from pymer4.models.lmer import Method

pytestmark = pytest.mark.r

COEFS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]
DOSES = ["low", "mid", "high"]

# Tolerances, each relative to the size of the thing. Both sides run one optimizer from one start,
# so estimates agree to rounding; df are second derivatives by differences, on R's side with numDeriv.
SAME = 1e-9
DF_TOLERANCE = 2e-5
ROOT = 1e-4  # profile limits are roots of a spline
REORDERED = 1e-4  # the optimizer stops elsewhere when rows or columns are summed in another order


def trial(seed: int = 7) -> pd.DataFrame:
    """Return a crossed design, unsorted; group numbers and text sort otherwise than they come."""
    rng = np.random.default_rng(seed)
    n = 240
    g, h = rng.permutation(np.repeat(np.arange(24), 10)), rng.permutation(np.tile(np.arange(12), 20))
    frame = pd.DataFrame(
        {
            "g": 5 * (g + 1),
            "h": np.array([f"i{k}" for k in range(1, 13)])[h],
            "x": rng.normal(1, 1, n),
            "z": rng.normal(3, 1, n),
            "cond": rng.choice(["b", "a", "C"], n),
            "flag": rng.random(n) < 0.4,
            "dose": pd.Categorical(rng.choice(DOSES, n), DOSES, ordered=True),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
            "s": rng.normal(size=n),
        }
    )
    slopes = 1 + rng.normal(0, 0.7, (4, 24))
    frame["y"] = (
        2 + slopes[0][g] * frame.x + 0.1 * frame.z + 0.5 * (frame.cond == "a") * frame.x + 0.4 * frame.flag
        + rng.normal(0, 1, 24)[g] + rng.normal(0, 0.8, 12)[h] + rng.normal(0, 1, n)
    )  # fmt: skip
    frame["pos"] = np.exp(0.2 * frame.y)
    frame["v"] = frame.y + slopes[1][g] * frame.o + slopes[2][g] * frame.w + slopes[3][h] * frame.s
    return frame


def with_holes() -> pd.DataFrame:
    """Return the trial with missing values in the outcome, a predictor and a group."""
    frame = trial().astype({"g": float})
    frame.loc[[3, 50], "y"] = np.nan
    frame.loc[[7, 50, 100], "x"] = np.nan
    frame.loc[11, "g"] = np.nan
    return frame


ODD = {"x": "signal", "z": "sigma", "o": "N", "w": "T", "pos": "NA", "s": "Residual", "h": "my items"}
DATA = {
    "sleep": lambda: load_dataset("sleepstudy"),
    "penicillin": lambda: load_dataset("Penicillin"),
    "pastes": lambda: load_dataset("Pastes"),
    "trial": trial,
    "holes": with_holes,
    "odd": lambda: trial().rename(columns=ODD),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One model: the formula, its data, what R's `lmer` gets, and the same for `Lmer` and `fit`."""

    formula: str
    data: str = "trial"
    r: str = ""
    given: dict = dataclasses.field(default_factory=dict)
    fit: dict = dataclasses.field(default_factory=dict)


CASES = {
    "slopes": Case("Reaction ~ Days + (Days | Subject)", "sleep"),
    "ml": Case("Reaction ~ Days + (Days | Subject)", "sleep", "REML = FALSE", fit={"REML": False}),
    "uncorrelated": Case("Reaction ~ Days + (Days || Subject)", "sleep"),
    "random_only": Case("Reaction ~ 1 + (Days | Subject)", "sleep"),
    "crossed": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"),
    "nested": Case("strength ~ 1 + (1 | batch / cask)", "pastes"),
    "factors": Case("y ~ x * cond + flag + dose + (x | g) + (1 | h)"),
    "no_intercept": Case("y ~ 0 + cond + x + (1 | g)"),
    "weighted": Case("y ~ x + cond + (1 | g)", r="weights = w, offset = o", given={"weights": "w", "offset": "o"}),
    "weighted_slopes": Case("y ~ x + (x | g)", r="weights = w, offset = o", given={"weights": "w", "offset": "o"}),
    "offset_term": Case("y ~ x + offset(o) + (1 | g)"),
    "holes": Case("y ~ x + (1 | g)", "holes"),
    "transformed": Case("log(pos) ~ poly(x, 2) + scale(z) + I(s^2) + (scale(x) | g)"),
    "aliased": Case("y ~ x + I(2 * x) + (1 | g)"),
    "odd_names": Case("v ~ signal + sigma + N + T + `NA` + Residual + (N + T | g) + (Residual | `my items`)", "odd"),
    "nelder": Case(
        "y ~ x + (x | g)",
        r="control = lmerControl(optimizer = 'Nelder_Mead', optCtrl = list(FtolAbs = 1e-8, XtolRel = 1e-8))",
        fit={"control": "optimizer='Nelder_Mead', optCtrl = list(FtolAbs=1e-8, XtolRel=1e-8)"},
    ),
    "stopped": Case(
        "y ~ x + (x | g)",
        r="control = lmerControl(optCtrl = list(maxeval = 8))",
        fit={"control": {"optCtrl": {"maxeval": 8}}},
    ),
    "uneven": Case("y ~ x + (x | g)"),
    "rescale": Case("y ~ I(1e6 * x) + z + (1 | g)"),
    "singular": Case("s ~ x + (x + z | h)"),
}
KENWARD_ROGER = ["slopes", "factors"]
NEW_ROWS = ["factors", "no_intercept", "offset_term", "transformed", "aliased"]
EVERY = pytest.mark.parametrize("case", CASES)

# The one place with R code: what R itself says, in a session that pymer4 has no part in.
SCRIPT = r"""
source("tests/reference/lib/versions.R")
suppressMessages(library(lmerTest))
folder <- commandArgs(TRUE)[1]
read <- function(name) {
  d <- read.csv(file.path(folder, paste0(name, ".csv")), check.names = FALSE)
  for (text in intersect(c("cond", "h", "my items"), names(d)))
    d[[text]] <- factor(d[[text]], levels = sort(unique(d[[text]]), method = "radix"))
  if ("flag" %in% names(d)) d$flag <- d$flag == "True"
  if ("dose" %in% names(d)) d$dose <- factor(d$dose, levels = c("low", "mid", "high"), ordered = TRUE)
  d
}
tell <- function(name, quantity, value) {
  value <- as.matrix(value)
  if (!length(value)) return(invisible())
  rows <- if (is.null(rownames(value))) seq_len(nrow(value)) else rownames(value)
  columns <- if (is.null(colnames(value))) seq_len(ncol(value)) else colnames(value)
  shown <- if (is.numeric(value)) sprintf("%.17g", value) else as.character(value)
  write.table(data.frame(name, quantity, rep(rows, length(columns)), rep(columns, each = nrow(value)), c(shown)),
              sep = ",", row.names = FALSE, col.names = FALSE, qmethod = "double")
}
largest <- function(gradient) if (is.null(gradient)) NA else max(abs(gradient))
cases <- read.csv(file.path(folder, "cases.csv"), colClasses = "character")
for (i in seq_len(nrow(cases))) {
  name <- cases$name[i]
  d <- switch(cases$data[i], sleep = sleepstudy, penicillin = lme4::Penicillin, pastes = lme4::Pastes,
              read(cases$data[i]))
  if (cases$data[i] == "sleep") data("sleepstudy", package = "lme4")
  said <- character()
  m <- withCallingHandlers(
    eval(parse(text = sprintf("lmer(%s, data = d%s)", cases$formula[i], cases$r[i]))),
    warning = function(w) { said <<- c(said, conditionMessage(w)); invokeRestart("muffleWarning") },
    message = function(w) { said <<- c(said, sub("\n$", "", conditionMessage(w))); invokeRestart("muffleMessage") })
  tell(name, "said", said)
  tell(name, "coefs", summary(m)$coefficients)
  tell(name, "wald", limits_by_name(m, method = "Wald"))
  tell(name, "facts", c(AIC = AIC(m), BIC = BIC(m), logLik = as.numeric(logLik(m)), sigma = sigma(m),
    code = m@optinfo$conv$opt, singular = isSingular(m), gradient = largest(m@optinfo$derivs$gradient)))
  tell(name, "optimizer", m@optinfo$optimizer)
  v <- as.data.frame(VarCorr(m))
  v[] <- lapply(v, function(k) if (is.numeric(k)) sprintf("%.17g", k) else k)
  tell(name, "variances", as.matrix(v))
  tell(name, "groups", ngrps(m))
  for (group in names(ranef(m))) {
    tell(name, paste0("ranef ", group), ranef(m)[[group]])
    tell(name, paste0("coef ", group), coef(m)[[group]])
  }
  tell(name, "fits", fitted(m))
  tell(name, "residuals", resid(m))
  tell(name, "X", getME(m, "X"))
  if (name %in% strsplit(commandArgs(TRUE)[2], ",")[[1]])
    tell(name, "kr", summary(m, ddf = "Kenward-Roger")$coefficients)
  if (name %in% strsplit(commandArgs(TRUE)[3], ",")[[1]]) {
    new <- read("new")
    tell(name, "population", predict(m, new, re.form = NA))
    tell(name, "conditional", predict(m, new))
  }
}
d <- read("holes")
tell("holes", "profile", limits_by_name(lmer(y ~ x + (1 | g), d), method = "profile", quiet = TRUE))
"""


def new_rows() -> pd.DataFrame:
    """Return rows that the fits have not seen: one condition alone, doses in another order, known groups."""
    frame = trial(seed=8).iloc[:9]
    return frame.assign(cond=["b", "a"] * 4 + ["b"], dose=["high", "high", "mid"] * 3, g=[5, 120, 100] * 3, h="i10")


@pytest.fixture(scope="module", autouse=True)
def r_session(tmp_path_factory):
    """Start R on all cases at once; it works while the tests that don't need its answer run."""
    folder = tmp_path_factory.mktemp("reference")
    for name in ("trial", "holes", "odd"):
        DATA[name]().to_csv(folder / f"{name}.csv", index=False)
    new_rows().to_csv(folder / "new.csv", index=False)
    rows = [(k, c.formula, c.data, c.r and f", {c.r}") for k, c in CASES.items()]
    pd.DataFrame(rows, columns=["name", "formula", "data", "r"]).to_csv(folder / "cases.csv", index=False)
    script = folder / "reference.R"
    script.write_text(SCRIPT)
    command = ["Rscript", "--vanilla", str(script), str(folder), ",".join(KENWARD_ROGER), ",".join(NEW_ROWS)]
    with open(folder / "said.csv", "w") as said, open(folder / "errors.txt", "w") as errors:
        session = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=said, stderr=errors)
    yield session, folder
    session.kill()
    session.wait()


@pytest.fixture(scope="module")
def reference(r_session) -> dict[tuple[str, str], pd.DataFrame]:
    """What R says of every case: (case, quantity) to a frame of text or numbers."""
    session, folder = r_session
    assert session.wait() == 0, (folder / "errors.txt").read_text()
    names = ["case", "quantity", "row", "column", "value"]
    long = pd.read_csv(folder / "said.csv", names=names, dtype=str, keep_default_na=False)
    found = {}
    for key, part in long.groupby(["case", "quantity"], sort=False):
        columns = list(part["column"].unique())
        n = len(part) // len(columns)
        wide = pd.DataFrame(part["value"].to_numpy().reshape(-1, n).T, index=list(part["row"][:n]), columns=columns)
        numeric = key[1] not in ("said", "optimizer", "variances")
        found[key] = wide.replace("NA", "nan").astype(float) if numeric else wide
    return found


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    spec = CASES[case]
    model = Lmer(spec.formula, DATA[spec.data](), **spec.given)
    model.fit(summarize=False, no_warnings=True, **spec.fit)
    return model


def close(found, expected, rtol=SAME, scale=None):
    """Compare to `rtol` of the size of the whole, since single numbers may be zero."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    assert (np.isnan(found) == np.isnan(expected)).all()
    size = scale if scale is not None else np.nanmax(np.abs(expected), initial=1e-12)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)


def frames(value) -> list[pd.DataFrame]:
    return value if isinstance(value, list) else [value]


def refit(case: str, **fit) -> Lmer:
    """Return a case fitted with other arguments of `fit`."""
    spec = CASES[case]
    model = Lmer(spec.formula, DATA[spec.data](), **spec.given)
    model.fit(summarize=False, no_warnings=True, **{**spec.fit, **fit})
    return model


def fit(formula: str, data: pd.DataFrame, **given) -> Lmer:
    model = Lmer(formula, data, **given)
    model.fit(summarize=False, no_warnings=True)
    return model


# Tables


def test_types_of_the_tables():
    model = fitted("factors")
    assert (model.coefs.drop(columns="Sig").dtypes == np.float64).all()
    assert {type(mark) for mark in model.coefs["Sig"]} == {str}
    assert (model.ranef_var[["Var", "Std"]].dtypes == np.float64).all()
    assert model.ranef_corr["Corr"].dtype == np.float64
    assert isinstance(model.warnings, list)
    assert model.fitted is True


def test_stars_follow_p():
    data = trial()
    for effect, mark in ((5, "***"), (0, "")):
        table = fit("y ~ k + (1 | g)", data.assign(y=data.s + effect * data.z, k=data.z)).coefs
        assert table.loc["k", "Sig"] == mark
    bounds = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."), (1, ""))
    seen = set()
    for case in CASES:
        for p, mark in zip(fitted(case).coefs["P-val"], fitted(case).coefs["Sig"], strict=True):
            assert mark == next(sign for bound, sign in bounds if p <= bound)
            seen.add(mark)
    assert {"***", "*", ""} <= seen


def test_p_comes_from_the_far_tail():
    data = trial()
    table = fit("y ~ x + (1 | g)", data.assign(y=data.y + 15 * data.x)).coefs
    expected = np.log(2) + stats.t.logsf(table["T-stat"].abs(), table["DF"])
    assert 0 < table.loc["x", "P-val"] < 1e-60
    np.testing.assert_allclose(np.log(table["P-val"]), expected, rtol=1e-10)


def test_predictors_named_like_parameters_get_their_own_limits():
    odd = fitted("odd_names").coefs
    half = stats.norm.ppf(0.975) * odd["SE"]
    np.testing.assert_allclose(odd["2.5_ci"], odd["Estimate"] - half, rtol=1e-9)
    np.testing.assert_allclose(odd["97.5_ci"], odd["Estimate"] + half, rtol=1e-9)
    rows = fitted("odd_names").confint()
    assert list(rows.index).count("sigma") == 2
    assert rows.iloc[: -len(odd)].isna().all(axis=None)


@pytest.mark.parametrize("method", ["profile", "boot"])
def test_other_limits_find_a_predictor_named_sigma(method):
    plain, odd = trial(), trial().rename(columns={"x": "sigma", "z": "signal", "g": "Residual"})
    settings = {"conf_int": method, "n_boot": 20, "seed": 1, "summarize": False}
    a, b = Lmer("y ~ x + z + (1 | g)", plain), Lmer("y ~ sigma + signal + (1 | Residual)", odd)
    for model in (a, b):
        model.fit(**settings)
    np.testing.assert_allclose(b.coefs.iloc[:, :7], a.coefs.iloc[:, :7], rtol=1e-8)


def test_random_slopes_with_odd_names_stand_in_their_place():
    model = fitted("odd_names")
    g, items = model.ranef
    assert list(model.grps) == ["g", "my items"]
    assert list(g.columns) == ["(Intercept)", "N", "T"]
    assert list(items.columns) == ["(Intercept)", "Residual"]
    assert list(model.ranef_var.index) == ["g"] * 3 + ["my items"] * 2 + ["Residual"]
    slope = model.ranef_var.iloc[4]
    assert slope["Name"] == "Residual"
    assert slope["Std"] == pytest.approx(items["Residual"].std(ddof=0), rel=0.25)  # shrunken, so only near
    assert model.ranef_var.iloc[5]["Std"] == pytest.approx(np.nanstd(model.residuals), rel=0.25)


def test_fixef_is_population_plus_deviation():
    model = fitted("factors")
    for ranef, fixef in zip(model.ranef, model.fixef, strict=True):
        assert list(fixef.columns) == list(model.coefs.index)
        shift = ranef.reindex(columns=fixef.columns, fill_value=0)
        np.testing.assert_allclose(fixef, shift + model.coefs["Estimate"].to_numpy(), rtol=1e-12)


def test_groups_stand_in_the_order_of_r_s_levels():
    by_g, by_h = fitted("factors").ranef
    assert list(by_g.index) == [str(5 * (k + 1)) for k in range(24)]
    assert list(by_h.index) == ["i1", "i10", "i11", "i12", *(f"i{k}" for k in range(2, 10))]


def test_levels_of_text_are_sorted_by_code_point_and_those_of_a_categorical_stay():
    assert [t for t in fitted("factors").coefs.index if t.startswith("cond")] == ["conda", "condb"]
    data = trial().astype({"cond": pd.CategoricalDtype(["b", "C", "a"])})
    assert list(fit("y ~ cond + flag + dose + (1 | g)", data).coefs.index) == [
        "(Intercept)", "condC", "conda", "flagTRUE", "dose.L", "dose.Q",
    ]  # fmt: skip


# fit


def test_the_documented_arguments_keep_their_order_and_defaults():
    def defaults(method):
        return {k: p.default for k, p in list(inspect.signature(method).parameters.items())[1:]}

    given = defaults(Lmer.fit)
    expected = {
        "conf_int": "Wald", "n_boot": 500, "verbose": False, "REML": True, "no_warnings": False, "control": "",
        "old_optimizer": False, "conf_level": 0.95, "ddf": "Satterthwaite", "seed": None, "n_jobs": 1,
    }  # fmt: skip
    assert {k: given[k] for k in expected} == expected
    assert list(given)[:2] == ["conf_int", "n_boot"]
    assert list(defaults(Lmer.__init__).items())[:3] == [
        ("formula", inspect.Parameter.empty), ("data", inspect.Parameter.empty), ("family", "gaussian"),
    ]  # fmt: skip
    predict = list(defaults(Lmer.predict).items())
    assert predict[1:4] == [("use_rfx", False), ("pred_type", "response"), ("verbose", False)]
    simulate = list(defaults(Lmer.simulate).items())
    assert simulate[0][0] == "num_datasets"
    assert simulate[1:3] == [("use_rfx", True), ("verbose", False)]
    confint = defaults(Lmer.confint)
    assert list(confint.items())[:5] == [
        ("method", "Wald"), ("conf_level", None), ("n_boot", 500), ("seed", None), ("n_jobs", 1)
    ]  # fmt: skip


def test_fit_prints_the_summary_and_returns_it_rounded(capfd):
    model = Lmer("y ~ x + (1 | g)", with_holes())
    table = model.fit()
    shown = capfd.readouterr().out
    expected = model.coefs.round(3)
    pd.testing.assert_frame_equal(table, expected)
    pd.testing.assert_frame_equal(model.summary(), expected)
    assert capfd.readouterr().out == shown
    assert not model.coefs.equals(expected)
    assert "y ~ x + (1 | g)" in shown
    assert "235" in shown  # the rows used, not the 240 given
    for number in (*table["Estimate"], *model.ranef_var["Var"], model.AIC, model.logLike):
        assert f"{number:.3f}" in shown
    for column in COEFS:
        assert column in shown


@pytest.mark.parametrize("keyword", ["summarize", "summary"])
def test_a_quiet_fit_prints_nothing_and_returns_none(keyword, capfd):
    assert Lmer("y ~ x + (1 | g)", trial()).fit(**{keyword: False}) is None
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert Lmer("y ~ x + (1 | g)", trial()).fit(**{keyword: True}) is not None


def test_nothing_but_fit_and_summary_prints(capfd):
    model = refit("factors")
    model.predict(model.data, use_rfx=True)
    model.simulate(2)
    model.confint()
    model.confint("boot", n_boot=3)
    _ = model.design_matrix, model.coefs
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize(("level", "shown"), [(0.9, "90%"), (0.95, "95%"), (0.995, "99.5%"), (0.999, "99.9%")])
def test_the_printed_level_is_the_one_asked_for(level, shown, capfd):
    Lmer("y ~ x + (1 | g)", trial()).fit(conf_level=level)
    assert shown in capfd.readouterr().out


def test_verbose_says_which_model_and_interval_are_fitted(capfd):
    Lmer("y ~ x + (1 | g)", trial()).fit(verbose=True, summarize=False, conf_int="profile")
    out = capfd.readouterr().out
    assert "y ~ x + (1 | g)" in out
    assert "profile" in out


LEVELS = {0.95: ["2.5", "97.5"], 0.9: ["5", "95"], 0.99: ["0.5", "99.5"], 0.5: ["25", "75"]}


@pytest.mark.parametrize(
    ("method", "level"), [(m, level) for m in get_args(Method) for level in (LEVELS if m == "Wald" else [0.9])]
)
def test_the_limit_columns_carry_the_level(method, level):
    names = LEVELS[level]
    model = refit("holes", conf_int=method, conf_level=level, n_boot=40, seed=2)
    assert list(model.coefs.columns) == [COEFS[0], *(f"{name}_ci" for name in names), *COEFS[3:]]
    table = model.confint(method, conf_level=level, n_boot=40, seed=2)
    assert list(table.columns) == [f"{name} %" for name in names]
    row = model.coefs.loc["x"]
    half = stats.norm.ppf((1 + level) / 2) * row["SE"]
    # Wald by definition; a profile is near it, and 40 draws place a limit to 0.3 of a SE
    wanted = 1e-8 if method == "Wald" else 0.6
    gap = row.iloc[1:3].astype(float) - [row.iloc[0] - half, row.iloc[0] + half]
    assert (gap.abs() < wanted * row["SE"]).all()
    assert model.ci_type == {"Wald": "Wald", "profile": "profile", "boot": "boot (40)"}[method]
    assert model.sig_type == ("bootstrapped" if method == "boot" else "parametric")


@pytest.mark.parametrize("ddf", get_args(Ddf))
def test_statistics_follow_ddf(ddf):
    table = refit("weighted" if ddf != "Kenward-Roger" else "factors", ddf=ddf).coefs
    np.testing.assert_allclose(table["T-stat"], table["Estimate"] / table["SE"], rtol=1e-12)
    np.testing.assert_allclose(table["P-val"], 2 * stats.t.sf(table["T-stat"].abs(), table["DF"]), rtol=1e-9)
    assert np.isinf(table["DF"]).all() == (ddf == "asymptotic")
    assert np.isinf(table["DF"]).any() == (ddf == "asymptotic")


def test_ml_is_not_reml():
    reml, ml = fitted("slopes"), fitted("ml")
    assert ml.ranef_var["Var"].iloc[-1] != reml.ranef_var["Var"].iloc[-1]
    assert ml.logLike < reml.logLike


@pytest.mark.parametrize(
    ("control", "optimizer"),
    [
        ({"old_optimizer": True}, "bobyqa"),
        ({"control": "optimizer='bobyqa'"}, "bobyqa"),
        ({"control": {"optimizer": "bobyqa"}}, "bobyqa"),
        ({"control": {"optimizer": "Nelder_Mead", "optCtrl": {"FtolAbs": 1e-8, "XtolRel": 1e-8}}}, "Nelder_Mead"),
        ({"control": "optCtrl = list(ftol_abs=1e-8, xtol_abs=1e-8)"}, "nloptwrap"),
        ({"control": ""}, "nloptwrap"),
        ({"control": {}}, "nloptwrap"),
    ],
)
def test_control_reaches_the_optimizer(control, optimizer):
    model = refit("factors", **control)
    assert model.convergence.optimizer == optimizer
    close(model.coefs["Estimate"], fitted("factors").coefs["Estimate"], rtol=1e-3)  # optimizers stop near, not at


def test_control_as_text_and_as_dict_are_one():
    text = refit("nelder", control="optimizer='Nelder_Mead', optCtrl=list(FtolAbs=1e-8, XtolRel=1e-8)")
    given = refit("nelder", control={"optimizer": "Nelder_Mead", "optCtrl": {"FtolAbs": 1e-8, "XtolRel": 1e-8}})
    pd.testing.assert_frame_equal(text.coefs, given.coefs, rtol=1e-12)
    short = refit("nelder", control={"optimizer": "Nelder_Mead", "optCtrl": {"maxfun": 10}})
    assert not np.allclose(short.ranef_var["Var"], given.ranef_var["Var"], rtol=1e-3)


@pytest.mark.parametrize(
    "control",
    [
        'check.nobs.vs.nlev="ignore", check.nobs.vs.nRE="ignore"',
        {"check.nobs.vs.nlev": "ignore", "check.nobs.vs.nRE": "ignore"},
    ],
)
def test_control_can_switch_the_check_of_levels_off(control):
    model = Lmer("y ~ x + (1 | row)", trial().assign(row=range(240)))
    model.fit(control=control, summarize=False, no_warnings=True)
    assert model.grps == {"row": 240}


def test_convergence_is_frozen():
    record = fitted("slopes").convergence
    names = [f.name for f in dataclasses.fields(record)]
    assert names == ["optimizer", "code", "messages", "max_gradient", "singular", "singular_terms"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.code = 1
    assert record.code == 0
    assert record.messages == ()
    assert record.max_gradient < 0.002  # lme4's own bound


def test_convergence_names_the_singular_term():
    record = fitted("singular").convergence
    assert record.singular is True
    assert any("h" in term for term in record.singular_terms)
    stopped = fitted("stopped").convergence
    assert stopped.code != 0
    assert any("converge" in text for text in stopped.messages)
    assert stopped.singular is False


def test_fitting_twice_gives_the_same():
    for data in (trial(), trial().assign(fits=1.0, residuals=2.0), with_holes()):
        model = Lmer("y ~ x + I(2 * x) + (1 | g)", data)
        model.fit(summarize=False, no_warnings=True)
        first = (model.coefs, list(model.warnings), model.fits, model.data.copy(), model.ranef)
        model.fit(summarize=False, no_warnings=True)
        pd.testing.assert_frame_equal(model.coefs, first[0])
        assert model.warnings == first[1]
        np.testing.assert_array_equal(model.fits, first[2])
        pd.testing.assert_frame_equal(model.data, first[3])
        pd.testing.assert_frame_equal(model.ranef, first[4])


def test_other_arguments_replace_the_last_fit():
    model = refit("slopes", conf_int="boot", n_boot=5, conf_level=0.9, REML=False, ddf="asymptotic")
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, fitted("slopes").coefs)
    assert (model.ci_type, model.sig_type) == ("Wald", "parametric")


def test_before_fit_nothing_is_there():
    model = Lmer("y ~ x + (1 | g)", trial(), "gaussian")
    assert (model.fitted, model.warnings, model.formula, model.family) == (False, [], "y ~ x + (1 | g)", "gaussian")
    tables = "coefs", "ranef", "fixef", "ranef_var", "ranef_corr", "design_matrix"
    for name in (*tables, "fits", "residuals", "grps", "AIC", "BIC", "logLike", "model_obj"):
        assert getattr(model, name) is None
    for ask in (
        model.summary, model.confint, lambda: model.predict(trial()), lambda: model.simulate(1),
        lambda: model.plot("x"), model.plot_summary,
    ):  # fmt: skip
        with pytest.raises(NotFittedError, match=r"\.fit\(\)"):
            ask()


def test_a_model_without_population_coefficients(capfd):
    model = Lmer("y ~ 0 + (1 | g)", trial())
    table = model.fit()
    assert list(table.columns) == COEFS
    assert len(table) == 0
    assert model.design_matrix.shape == (240, 0)
    np.testing.assert_array_equal(model.predict(trial()), np.zeros(240))
    np.testing.assert_allclose(model.predict(trial(), use_rfx=True), model.fits, rtol=1e-10)


# bootstrap


@pytest.fixture(scope="module")
def boot() -> Lmer:
    """The case "holes" with 400 draws."""
    return refit("holes", conf_int="boot", n_boot=400, seed=11)


def test_bootstrap_limits_lie_near_profile_limits(boot, reference):
    profile = reference["holes", "profile"]
    se = (profile["97.5 %"] - profile["2.5 %"]) / (2 * stats.norm.ppf(0.975))
    gap = (boot.confint("boot", n_boot=400, seed=12) - profile).abs().div(se, axis=0)
    # 400 draws place a limit to 0.13 standard errors; the sd of groups is biased downwards in a bootstrap
    assert (gap.drop(index="sd_(Intercept)|g") < 0.45).all(axis=None)
    assert (gap < 1.2).all(axis=None)
    fixed = (boot.coefs[["2.5_ci", "97.5_ci"]].to_numpy() - profile.iloc[-2:]).abs().div(se.iloc[-2:], axis=0)
    assert (fixed < 0.45).all(axis=None)


@pytest.mark.parametrize("method", ["profile", "boot"])
def test_limits_leave_the_fit_alone(method):
    """Refits work on a copy: what is read afterwards, from Python or R, is still the fit."""
    plain = refit("holes")
    asked = refit("holes")
    asked.confint(method, n_boot=3, seed=1)
    for model in (asked, refit("holes", conf_int=method, n_boot=3, seed=1)):
        pd.testing.assert_frame_equal(model.ranef, plain.ranef)
        pd.testing.assert_frame_equal(model.fixef, plain.fixef)
        pd.testing.assert_frame_equal(model.ranef_var, plain.ranef_var)
        np.testing.assert_array_equal(model.fits, plain.fits)
        for use_rfx in (True, False):
            found = model.predict(model.data, use_rfx=use_rfx)
            np.testing.assert_array_equal(found, plain.predict(plain.data, use_rfx=use_rfx))
            pd.testing.assert_frame_equal(model.simulate(1, use_rfx, seed=1), plain.simulate(1, use_rfx, seed=1))
        told = rinterface.evalr("function(m) lme4::ranef(m)$g[[1]]")(model.model_obj)
        np.testing.assert_array_equal(told, plain.ranef["(Intercept)"])


def test_the_bootstrap_knows_weights_and_offset():
    table = refit("weighted", conf_int="boot", conf_level=0.6827, n_boot=200, seed=5).coefs
    lower, upper = table.iloc[:, 1], table.iloc[:, 2]
    # limits of one standard error either way: 200 draws give their middle to 0.1, their distance to 10 %
    assert (((lower + upper) / 2 - table["Estimate"]).abs() < 0.35 * table["SE"]).all()
    np.testing.assert_allclose((upper - lower) / 2, table["SE"], rtol=0.25)
    model = refit("weighted")
    sigma = model.ranef_var["Std"].iloc[-1]
    low, high = model.confint("boot", conf_level=0.99, n_boot=100, seed=5).loc["sigma"]
    assert low < sigma < high


def test_bootstrapped_p_inverts_the_percentiles():
    """With 19 draws the percentiles k/20 are the draws themselves, so levels of 1 - 2k/20 read them off."""
    n, cases = 19, {}
    for k in range(1, 11):
        level = max(1 - 2 * k / 20, 1e-5)
        model = Lmer("y ~ z + w + (1 | g)", trial())
        model.fit(conf_int="boot", n_boot=n, seed=3, conf_level=level, summarize=False)
        table = model.coefs
        for term in table.index:
            cases.setdefault(term, {})[k] = table.loc[term].iloc[1]
            cases[term][20 - k] = table.loc[term].iloc[2]
    plain = fit("y ~ z + w + (1 | g)", trial()).coefs
    counted = []
    for term, found in cases.items():
        draws = np.array([found[k] for k in range(1, n + 1)])
        assert (np.diff(draws) > 0).all()
        p = min(1, 2 * min(1 + (draws <= 0).sum(), 1 + (draws >= 0).sum()) / (n + 1))
        assert table.loc[term, "P-val"] == pytest.approx(p, abs=1e-12)
        assert table.loc[term, "Sig"] == ("." if p <= 0.1 else "")
        counted.append(p)
    assert min(counted) == pytest.approx(2 / (n + 1))
    assert max(counted) > 0.2
    pd.testing.assert_frame_equal(table[["Estimate", "SE", "DF", "T-stat"]], plain[["Estimate", "SE", "DF", "T-stat"]])


@pytest.mark.parametrize("case", ["ml", "uncorrelated", "factors", "nested"])
def test_bootstrap_limits_stand_at_their_names(case):
    model = refit(case)
    limits = model.confint("boot", n_boot=30, seed=1, conf_level=0.99)
    values = model.coefs["Estimate"].to_dict()
    for group, name, _, std in model.ranef_var.itertuples():
        values["sigma" if group == "Residual" else f"sd_{name}|{group.removesuffix('.1')}"] = std
    if model.ranef_corr is not None:
        values |= {f"cor_{second}.{first}|{group}": r for group, first, second, r in model.ranef_corr.itertuples()}
    assert set(limits.index) == set(values)
    inside = [low <= values[name] <= high for name, low, high in limits.itertuples()]
    assert all(inside)  # 99 % limits; each is a different number, most of another size


def test_draws_without_variance_between_groups_are_draws():
    """A correlation is undefined where a variance is zero, but the fit has not failed."""
    model = Lmer("s ~ x + (x | h)", trial())
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model.fit(conf_int="boot", n_boot=40, seed=1, summarize=False)
        limits = model.confint("boot", n_boot=40, seed=1, conf_level=0.999)
    assert [str(w.message) for w in issued if "failed" in str(w.message)] == []
    lowest = limits.iloc[:, 0][["sd_(Intercept)|h", "sd_x|h"]].min()
    assert lowest < 0.005  # the smallest of 40 draws of which some are zero
    hits = model.coefs["P-val"] * (40 + 1) / 2
    np.testing.assert_allclose(hits, hits.round(), atol=1e-9)


def test_bootstrap_draws_repeat_with_their_seed(boot):
    again = refit("holes", conf_int="boot", n_boot=30, seed=1), refit("holes", conf_int="boot", n_boot=30, seed=1)
    pd.testing.assert_frame_equal(again[0].coefs, again[1].coefs)
    other = refit("holes", conf_int="boot", n_boot=30, seed=2)
    assert (other.coefs["2.5_ci"] != again[0].coefs["2.5_ci"]).all()
    fresh = [boot.confint("boot", n_boot=10).iloc[:, 0] for _ in range(2)]
    assert (fresh[0] != fresh[1]).all()
    repeated = [boot.confint("boot", n_boot=10, seed=0).iloc[:, 0] for _ in range(2)]
    assert (repeated[0] == repeated[1]).all()


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_bootstrap_does_not_depend_on_the_number_of_jobs(backend):
    """Threads share this R and are quick; processes (slow) each start their own."""
    with parallel_config(backend=backend):
        one, two, three = (refit("holes", conf_int="boot", n_boot=7, seed=9, n_jobs=n) for n in (1, 2, 3))
        limits = [refit("holes").confint("boot", n_boot=7, seed=9, n_jobs=n) for n in (1, 2)]
    for model in (two, three):
        pd.testing.assert_frame_equal(one.coefs, model.coefs, rtol=1e-12)
        pd.testing.assert_frame_equal(one.ranef, model.ranef, rtol=1e-12)
        assert (model.ci_type, model.sig_type, model.fitted) == ("boot (7)", "bootstrapped", True)
    pd.testing.assert_frame_equal(*limits, rtol=1e-12)


def test_random_streams_of_the_user_are_left_alone():
    run, model = rinterface.evalr, refit("holes")
    expected = run("{set.seed(3); runif(1)}")[0]
    np.random.seed(3)
    first = np.random.get_state()
    run("set.seed(3)")
    model.simulate(2, seed=1)
    model.confint("boot", n_boot=3, seed=1)
    refit("holes", conf_int="boot", n_boot=3)
    assert run("runif(1)")[0] == expected
    np.testing.assert_array_equal(np.random.get_state()[1], first[1])


# predict


@EVERY
def test_training_data_predict_the_fits(case):
    model = fitted(case)
    complete = ~np.isnan(model.fits)
    found = model.predict(model.data, use_rfx=True)
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == (model.fits.shape, np.float64)
    close(found[complete], model.fits[complete], rtol=1e-8)


@EVERY
def test_population_predictions_are_x_b(case):
    model = fitted(case)
    used = ~np.isnan(model.fits)
    data = model.data.loc[used]
    offset = data["o"] if case in ("weighted", "weighted_slopes", "offset_term") else 0
    expected = model.design_matrix.to_numpy() @ model.coefs["Estimate"].to_numpy() + offset
    close(model.predict(data), expected, rtol=1e-8)


@pytest.mark.parametrize("case", ["factors", "transformed", "weighted", "nested"])
@pytest.mark.parametrize("rows", [[0], [17, 3, 17], list(range(40, 20, -1)), []])
@pytest.mark.parametrize("use_rfx", [False, True])
def test_any_rows_in_any_order_predict_alike(case, rows, use_rfx):
    model = fitted(case)
    whole = model.predict(model.data, use_rfx=use_rfx)
    found = model.predict(model.data.iloc[rows], use_rfx)
    assert (found.shape, found.dtype) == ((len(rows),), np.float64)
    np.testing.assert_allclose(found, whole[rows], rtol=1e-10)


def test_more_rows_than_the_training_data():
    model = fitted("factors")
    data = pd.concat([model.data] * 3, ignore_index=True)
    np.testing.assert_allclose(model.predict(data, use_rfx=True), np.tile(model.fits, 3), rtol=1e-10)


def test_only_the_variables_used_are_needed():
    model, data = fitted("factors"), trial()
    np.testing.assert_array_equal(model.predict(data[["dose", "flag", "cond", "x"]]), model.predict(data))
    found = model.predict(data[["dose", "h", "flag", "g", "cond", "x"]], use_rfx=True)
    np.testing.assert_array_equal(found, model.predict(data, use_rfx=True))
    sleep = fitted("random_only")
    np.testing.assert_array_equal(sleep.predict(pd.DataFrame({"Subject": ["308"]})), sleep.coefs["Estimate"])


def _as_text(data):
    return data.assign(cond=data.cond.astype(object), dose=data.dose.astype(str), g=data.g.astype(str))


RECAST = {
    "text": _as_text,
    "other categories": lambda d: d.assign(cond=pd.Categorical(d.cond, ["zz", "b", "C", "a"])),
    "other order": lambda d: d.assign(dose=pd.Categorical(d.dose.astype(str), ["high", "mid", "low"])),
    "float groups": lambda d: d.assign(g=d.g.astype(float)),
    "groups as categories": lambda d: d.assign(h=pd.Categorical(d.h, sorted(set(d.h))[::-1])),
    "nullable": lambda d: d.assign(flag=d.flag.astype("boolean"), g=d.g.astype("Int64"), x=d.x.astype("Float64")),
    "object": lambda d: d.assign(flag=d.flag.astype(object), x=d.x.astype(object)),
    "arrow": lambda d: d.convert_dtypes(dtype_backend="pyarrow"),
    "columns turned round": lambda d: d[d.columns[::-1]],
    "other index": lambda d: d.set_axis([f"row {k}" for k in range(len(d))]),
}


@pytest.mark.parametrize("recast", RECAST)
def test_new_data_may_be_stored_otherwise(recast):
    model = fitted("factors")
    np.testing.assert_allclose(model.predict(RECAST[recast](trial()), use_rfx=True), model.fits, rtol=1e-10)


@pytest.mark.parametrize("term", ["a", "b", "C"])
def test_one_level_alone_is_still_that_level(term):
    model, data = fitted("factors"), trial()
    rows = (data.cond == term).to_numpy()
    np.testing.assert_allclose(model.predict(data[rows], use_rfx=True), model.fits[rows], rtol=1e-10)


def test_missing_values_predict_nan_in_place():
    model, data = fitted("factors"), trial()
    whole = model.predict(data, use_rfx=True)
    data.loc[2, "x"], data.loc[4, "cond"], data.loc[9, "y"] = np.nan, None, np.nan
    data["flag"] = data["flag"].astype("boolean")
    data.loc[6, "flag"] = pd.NA
    found = model.predict(data, use_rfx=True)
    assert list(np.flatnonzero(np.isnan(found))) == [2, 4, 6]
    np.testing.assert_allclose(np.delete(found, [2, 4, 6]), np.delete(whole, [2, 4, 6]), rtol=1e-10)
    data["g"] = data["g"].astype("Int64")
    data.loc[11, "g"] = pd.NA
    assert np.isnan(model.predict(data, use_rfx=True)[11])
    assert not np.isnan(model.predict(data)[11])  # the population has no groups
    assert np.isnan(model.predict(data.assign(x=np.nan))).all()


def test_unseen_groups_are_refused_by_name_or_sent_to_the_population():
    model, data = fitted("factors"), trial().iloc[:4].copy()
    data["g"] = [5, 999, 10, 998]
    with pytest.raises(DataError) as caught:
        model.predict(data, use_rfx=True)
    for word in ("g", "999", "998", "new_levels='population'", "use_rfx=False"):
        assert word in str(caught.value)
    found = model.predict(data, use_rfx=True, new_levels="population")
    by_h = model.ranef[1]["(Intercept)"].loc[data["h"]].to_numpy()
    np.testing.assert_allclose(found[[1, 3]], (model.predict(data) + by_h)[[1, 3]], rtol=1e-10)
    known = data.iloc[[0, 2]]
    np.testing.assert_allclose(found[[0, 2]], model.predict(known, use_rfx=True), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(data, new_levels="error"), model.predict(data))


def test_unseen_groups_of_a_nested_factor():
    model, data = fitted("nested"), load_dataset("Pastes").iloc[:3].copy()
    data["cask"] = "z"
    with pytest.raises(DataError, match=r"z:A|A:z"):
        model.predict(data, use_rfx=True)
    expected = model.coefs["Estimate"].iloc[0] + model.ranef[1].loc["A", "(Intercept)"]
    np.testing.assert_allclose(model.predict(data, use_rfx=True, new_levels="population"), expected, rtol=1e-10)


@pytest.mark.parametrize("given", ["int64", "float64", "str"])
@pytest.mark.parametrize("fitted_to", ["int64", "float64"])
def test_large_group_numbers_are_one_level_however_stored(fitted_to, given):
    data = trial().assign(g=lambda d: d.g * 20_000)  # 100000 is 1e+05 to R where it is a double
    model = fit("y ~ x + (1 | g)", data.astype({"g": fitted_to}))
    np.testing.assert_allclose(model.predict(data.astype({"g": given}), use_rfx=True), model.fits, rtol=1e-10)
    assert list(model.ranef.index) == [str(k) for k in sorted(set(data.g))]


@pytest.mark.parametrize("given", ["int64", "float64", "str"])
def test_groups_beyond_32_bits(given):
    data = trial().assign(g=lambda d: d.g + 12_345_678_900)
    model = fit("y ~ x + (1 | g)", data)
    np.testing.assert_allclose(model.predict(data.astype({"g": given}), use_rfx=True), model.fits, rtol=1e-10)
    assert list(model.ranef.index) == [str(k) for k in sorted(set(data.g))]


@pytest.mark.parametrize("pred_type", ["response", "link"])
def test_both_scales_are_one(pred_type):
    model = fitted("slopes")
    data = model.data
    np.testing.assert_array_equal(model.predict(data, pred_type=pred_type), model.predict(data))


def test_old_keywords_of_predict_are_accepted(capfd):
    model = fitted("slopes")
    found = model.predict(model.data, skip_data_checks=True, verify_predictions=False, verbose=True)
    np.testing.assert_array_equal(found, model.predict(model.data))


def test_an_offset_counts_in_fits_and_predictions():
    data = trial()
    rows = data.iloc[:20]
    named = fit("y ~ x + (1 | g)", data, offset="o")
    array = fit("y ~ x + (1 | g)", data, offset=data["o"].to_numpy())
    term = fitted("offset_term")
    for model in (named, array):
        pd.testing.assert_frame_equal(model.coefs, term.coefs, rtol=SAME)
        close(model.fits, term.fits)
        close(model.predict(data, use_rfx=True), model.fits)
        np.testing.assert_allclose(model.fits + model.residuals, data["y"], rtol=1e-12)
    for model in (named, term):
        shifted = model.predict(rows.assign(o=rows.o + 10)) - model.predict(rows)
        np.testing.assert_allclose(shifted, 10, rtol=1e-9)
        assert np.isnan(model.predict(rows.assign(o=np.nan))).all()
        with pytest.raises(DataError, match="'o'"):
            model.predict(rows.drop(columns="o"))
    with pytest.raises(DataError, match="20"):
        array.predict(rows)


def test_an_aliased_term_predicts_as_zero():
    model, data = fitted("aliased"), trial()
    assert "I(2 * x)" not in model.coefs.index
    np.testing.assert_allclose(model.predict(data), fit("y ~ x + (1 | g)", data).predict(data), rtol=1e-9)


def test_scaling_is_that_of_the_training_data():
    model, data = fitted("transformed"), trial()
    whole = model.predict(data, use_rfx=True)
    alone = np.array([model.predict(data.iloc[[k]], use_rfx=True)[0] for k in (0, 5)])
    np.testing.assert_allclose(alone, whole[[0, 5]], rtol=1e-10)


def test_a_dot_stands_for_the_other_columns():
    data = trial()[["y", "x", "g"]]
    dotted, spelled = fit("y ~ . - g + (1 | g)", data), fit("y ~ x + (1 | g)", data)
    pd.testing.assert_frame_equal(dotted.coefs, spelled.coefs, rtol=SAME)
    close(dotted.predict(data, use_rfx=True), spelled.fits)


# simulate


@pytest.mark.parametrize("use_rfx", [True, False])
def test_simulations_have_the_index_of_the_rows_used(use_rfx):
    model = fit("y ~ x + (1 | g)", with_holes().set_axis([f"r{k}" for k in range(240)]))
    found = model.simulate(3, use_rfx, seed=1)
    assert list(found.columns) == ["sim_1", "sim_2", "sim_3"]
    assert list(found.index) == [f"r{k}" for k in range(240) if not np.isnan(model.fits[k])]
    assert (found.dtypes == np.float64).all()
    pd.testing.assert_frame_equal(found, model.simulate(3, use_rfx, seed=1))
    assert (found != model.simulate(3, use_rfx, seed=2)).all(axis=None)
    assert (model.simulate(1) != model.simulate(1)).all(axis=None)
    assert found.iloc[:, 0].ne(found.iloc[:, 1]).all()


def test_simulations_round_the_fits_have_the_residual_variance():
    model = fitted("weighted")
    draws = model.simulate(400, seed=4).to_numpy()
    sd = model.ranef_var["Std"].iloc[-1] / np.sqrt(model.data["w"].to_numpy())
    z = (draws.mean(axis=1) - model.fits) / (sd / np.sqrt(400))
    assert np.abs(z).max() < 4.5  # 240 standard normals
    assert z.std() == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(draws.std(axis=1, ddof=1) / sd, 1, atol=0.16)  # 4.5 / sqrt(2 * 400)


def test_simulations_of_new_groups_have_the_marginal_covariance():
    model, data = fitted("offset_term"), trial()
    draws = model.simulate(2000, use_rfx=False, seed=4).to_numpy() - model.predict(data)[:, None]
    group, residual = model.ranef_var["Var"]
    variance, covariance = [], []
    for g in (5, 60, 120):
        part = np.cov(draws[(data.g == g).to_numpy()])
        variance.append(np.diag(part).mean())
        covariance.append(part[~np.eye(len(part), dtype=bool)].mean())
    other = np.cov(draws[(data.g == 5).to_numpy()].mean(axis=0), draws[(data.g == 60).to_numpy()].mean(axis=0))
    # 2000 draws give a variance to 3 %, three groups are averaged
    assert np.mean(variance) == pytest.approx(group + residual, rel=0.06)
    assert np.mean(covariance) == pytest.approx(group, rel=0.09)
    assert abs(other[0, 1]) < 0.1 * group


# Weights


def test_weights_by_name_and_by_array_are_one():
    data = trial()
    named = fit("y ~ x + cond + (1 | g)", data, weights="w", offset="o")
    for weights in (data["w"], data["w"].to_numpy(), data["w"].tolist()):
        given = fit("y ~ x + cond + (1 | g)", data, weights=weights, offset=data["o"])
        pd.testing.assert_frame_equal(given.coefs, named.coefs, rtol=1e-12)
    assert not np.allclose(named.coefs["Estimate"], fit("y ~ x + cond + (1 | g)", data, offset="o").coefs["Estimate"])


@pytest.mark.parametrize("kind", ["weights", "offset"])
def test_a_missing_weight_or_offset_leaves_the_row_out(kind):
    data, column = trial(), {"weights": "w", "offset": "o"}[kind]
    expected = fit("y ~ x + (1 | g)", data.iloc[3:], **{kind: column})
    data.loc[:2, column] = np.nan
    for given in (column, data[column].to_numpy()):
        model = fit("y ~ x + (1 | g)", data, **{kind: given})
        pd.testing.assert_frame_equal(model.coefs, expected.coefs, rtol=1e-9)
        assert list(np.flatnonzero(np.isnan(model.fits))) == [0, 1, 2]


@pytest.mark.parametrize(
    "name",
    [
        "weights", "offset", "data", "control", "subset", "REML", "signal", "sigma", "entropy_sign", "N", "T", "pi",
        "NA", "Residual", "I", "TRUE", "if", "my var", "x:z", "_x", "é", "(Intercept)", 'say "x"', "a|b", "y ~ x",
    ],
)  # fmt: skip
def test_a_predictor_may_have_any_name(name):
    data = trial()[["y", "x", "g", "w", "o"]].rename(columns={"x": name})
    plain = fitted("weighted_slopes")
    model = fit(f"y ~ `{name}` + (`{name}` | g)", data, weights="w", offset=data["o"])
    np.testing.assert_allclose(model.coefs.iloc[:, :7], plain.coefs.iloc[:, :7], rtol=1e-9)
    assert model.coefs.index[1].strip("`") == name
    assert list(model.ranef.columns) == list(model.coefs.index)
    assert list(model.ranef_var["Name"][:2]) == list(model.coefs.index)
    assert model.warnings == []
    close(model.predict(data, use_rfx=True), model.fits)


@pytest.mark.parametrize("name", ["Residual", "my group", "T", "data", "sigma", "NA"])
def test_a_group_may_have_any_name(name):
    data = trial().rename(columns={"g": name})
    model, plain = fit(f"y ~ x + (x | `{name}`)", data), fitted("uneven")
    assert model.grps == {name: 24}
    assert list(model.ranef_var.index) == [name, name, "Residual"]
    np.testing.assert_allclose(model.ranef_var["Var"], plain.ranef_var["Var"], rtol=1e-9)
    close(model.predict(data, use_rfx=True), plain.fits)


@pytest.mark.parametrize("term", ["g", "log(g)", "poly(g, 2)"])
def test_a_number_may_be_predictor_and_group(term):
    data = trial()
    twin = data.assign(label=data.g.astype(str))
    model, plain = fit(f"y ~ x + {term} + (1 | g)", data), fit(f"y ~ x + {term} + (1 | label)", twin)
    assert list(model.coefs.index) == list(plain.coefs.index)
    close(model.coefs["Estimate"], plain.coefs["Estimate"], rtol=REORDERED)  # the labels sort otherwise
    rows = data.iloc[[200, 3, 77]].astype({"g": float})
    close(model.predict(rows, use_rfx=True), model.fits[[200, 3, 77]])


def test_weights_and_offset_columns_may_have_any_name():
    plain = fit("y ~ x + (1 | g)", trial(), weights="w", offset="o")
    for w, o in (("weights", "offset"), ("offset", "weights"), ("my w", "data"), ("T", "control")):
        model = fit("y ~ x + (1 | g)", trial().rename(columns={"w": w, "o": o}), weights=w, offset=o)
        pd.testing.assert_frame_equal(model.coefs, plain.coefs, rtol=1e-9)


# The user's data


def test_the_users_frame_is_never_changed():
    data = with_holes().set_index(pd.date_range("2020", periods=240, name="day"))
    before = data.copy()
    model = Lmer("y ~ x * cond + (1 | g)", data, weights="w")
    model.fit(summarize=False, conf_int="boot", n_boot=3)
    model.predict(data)
    model.simulate(1)
    model.confint()
    pd.testing.assert_frame_equal(data, before)
    assert model.data is not data
    pd.testing.assert_frame_equal(model.data.drop(columns=["fits", "residuals"]), before)
    pd.testing.assert_index_equal(model.data.index, before.index)


def test_changing_a_frame_later_changes_no_fit():
    data = trial()
    model = Lmer("y ~ x + (1 | g)", data)
    data["y"] = 0.0
    model.data["x"] = 0.0
    model.fit(summarize=False)
    expected = fit("y ~ x + (1 | g)", trial())
    pd.testing.assert_frame_equal(model.coefs, expected.coefs)
    model.data["y"] = 1.0
    del model.data["g"]
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, expected.coefs)
    pd.testing.assert_frame_equal(model.data, expected.data)


def test_data_has_fits_and_residuals():
    model, data = fitted("holes"), with_holes()
    assert list(model.data.columns) == [*data.columns, "fits", "residuals"]
    np.testing.assert_array_equal(model.data["fits"], model.fits)
    np.testing.assert_array_equal(model.data["residuals"], model.residuals)
    gone = data[["y", "x", "g"]].isna().any(axis=1)
    assert list(np.flatnonzero(np.isnan(model.fits))) == list(np.flatnonzero(gone))
    np.testing.assert_allclose((model.fits + model.residuals)[~gone], data["y"][~gone], rtol=1e-12)


@pytest.mark.parametrize("names", [("fits",), ("residuals",), ("fits", "residuals")])
def test_columns_of_the_user_named_fits_or_residuals_stay(names):
    data = trial().rename(columns=dict(zip(("x", "y"), names[::-1], strict=False)))
    x, y = (names[-1], "y") if len(names) == 1 else ("residuals", "fits")
    model = Lmer(f"{y} ~ {x} + (1 | g)", data)
    model.fit(summarize=False, no_warnings=True)
    expected = fit("y ~ x + (1 | g)", trial())
    np.testing.assert_allclose(model.coefs.iloc[:, :7], expected.coefs.iloc[:, :7], rtol=SAME)
    pd.testing.assert_frame_equal(model.data[list(data.columns)], data)
    assert set(model.data.columns) == {*data.columns, "fits", "residuals"}
    for name in names:
        assert sum(name in text and f".{name}" in text for text in model.warnings) == 1
    assert len(model.warnings) == len(names)
    close(model.fits, expected.fits)
    close(model.predict(model.data, use_rfx=True), expected.fits)


def _index(kind: str) -> pd.Index:
    return {
        "text": pd.Index([f"r{k}" for k in range(240)]),
        "dates": pd.date_range("2020", periods=240, name="day"),
        "turned round": pd.RangeIndex(239, -1, -1),
        "one label": pd.Index([0] * 240),
        "two levels": pd.MultiIndex.from_product([range(24), range(10)], names=["a", "b"]),
    }[kind]


@pytest.mark.parametrize("kind", ["text", "dates", "turned round", "one label", "two levels"])
def test_the_index_is_kept_and_never_aligned_on(kind):
    data = with_holes().set_index(_index(kind))
    model, plain = fit("y ~ x + (1 | g)", data, weights=data["w"]), fit("y ~ x + (1 | g)", with_holes(), weights="w")
    pd.testing.assert_frame_equal(model.coefs, plain.coefs)
    np.testing.assert_array_equal(model.fits, plain.fits)
    np.testing.assert_array_equal(model.data["fits"], plain.fits)
    pd.testing.assert_index_equal(model.data.index, data.index)
    used = ~np.isnan(model.fits)
    pd.testing.assert_index_equal(model.design_matrix.index, data.index[used])
    pd.testing.assert_index_equal(model.simulate(1).index, data.index[used])
    np.testing.assert_array_equal(model.predict(data, use_rfx=True), plain.predict(with_holes(), use_rfx=True))


def test_rows_with_missing_values_are_as_if_never_there():
    data = with_holes()
    expected = fit("y ~ x + (1 | g)", data.dropna(subset=["y", "x", "g"]))
    pd.testing.assert_frame_equal(fitted("holes").coefs, expected.coefs, rtol=SAME)
    lone = data.assign(z=np.nan)  # not in the formula
    pd.testing.assert_frame_equal(fit("y ~ x + (1 | g)", lone).coefs, expected.coefs, rtol=SAME)


INVARIANT = {
    "rows shuffled": lambda d: d.sample(frac=1, random_state=1),
    "columns turned round": lambda d: d[d.columns[::-1]],
    "rows of nothing": lambda d: pd.concat([d, d.head(5).assign(y=np.nan)]),
    "unused columns": lambda d: d.assign(junk=pd.Timestamp("2020"), more=[[1]] * len(d)),
}


@pytest.mark.parametrize("change", INVARIANT)
def test_what_does_not_matter_changes_nothing(change):
    data = INVARIANT[change](trial())
    model, plain = fit(CASES["factors"].formula, data), fitted("factors")
    assert list(model.coefs.index) == list(plain.coefs.index)
    close(model.coefs["Estimate"], plain.coefs["Estimate"], rtol=REORDERED)
    close(model.coefs["SE"], plain.coefs["SE"], rtol=REORDERED)
    assert model.logLike == pytest.approx(plain.logLike, rel=1e-7)


def _eighths(column: pd.Series) -> pd.Series:
    return (column * 8).round() / 8


@pytest.fixture(scope="module")
def stored_plainly() -> Lmer:
    """A fit to numbers that every number type holds exactly."""
    data = trial()
    data = data.assign(x=_eighths(data.x), y=_eighths(data.y), k=(data.z * 4).round().astype(int))
    return fit("y ~ x * cond + k + flag + (1 | g)", data)


DTYPES = {
    "x": ["float32", "Float64", "float64[pyarrow]", "object", "Sparse[float]"],
    "k": ["int8", "uint64", "Int64", "int64[pyarrow]", "float32", "object"],
    "flag": ["boolean", "object", "bool[pyarrow]"],
    "cond": ["object", "string", "string[python]", "string[pyarrow]", "category"],
    "g": ["float64", "Int64", "int8", "category"],
    "y": ["float32", "Float64", "float64[pyarrow]"],
}


@pytest.mark.parametrize(("column", "dtype"), [(c, d) for c, ds in DTYPES.items() for d in ds])
def test_a_column_means_the_same_however_stored(column, dtype, stored_plainly):
    data = stored_plainly.data.drop(columns=["fits", "residuals"]).astype({column: dtype})
    model = fit(stored_plainly.formula, data)
    pd.testing.assert_frame_equal(model.coefs, stored_plainly.coefs, rtol=1e-12)
    assert list(model.ranef.index) == list(stored_plainly.ranef.index)


# The live R object


def test_the_r_model_can_be_used_from_r():
    model = fitted("factors")
    run = rinterface.evalr
    assert list(run("lme4::fixef")(model.model_obj)) == list(model.coefs["Estimate"])
    dropped = run("function(m) lme4::fixef(update(m, . ~ . - flag))")(model.model_obj)
    assert len(dropped) == len(model.coefs) - 1
    means = run("""function(m) {
      users <- options(emmeans = NULL)
      on.exit(options(users))
      as.data.frame(suppressMessages(emmeans::emmeans(m, ~ cond)))$emmean
    }""")
    assert len(means(model.model_obj)) == 3
    size = run("function(m) as.numeric(object.size(m@call))")(model.model_obj)[0]
    assert size < 20_000  # bytes; the data alone are more
    assert str(run("function(m) class(m)[1]")(model.model_obj)[0]) == "lmerModLmerTest"


def test_warnings_of_a_clean_fit_are_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Lmer("y ~ x + (1 | g)", trial())
        model.fit(summarize=False)
        model.predict(trial(), use_rfx=True)
        model.simulate(1)
        model.confint()
    assert model.warnings == []


def test_errors_are_of_one_family():
    assert issubclass(DataError, Pymer4Error)
    assert issubclass(DataError, ValueError)


# Against R: every case, every quantity. It stands last, since R is still at it


@EVERY
def test_coefficients_are_r_s(case, reference):
    table, expected = fitted(case).coefs, reference[case, "coefs"]
    assert list(table.columns) == COEFS
    assert list(table.index) == list(expected.index)
    close(table["Estimate"], expected["Estimate"])
    close(table["SE"], expected["Std. Error"])
    np.testing.assert_allclose(table["DF"], expected["df"], rtol=DF_TOLERANCE)
    np.testing.assert_allclose(table["T-stat"], expected["t value"], rtol=1e-6)  # a quotient of two that agree to 1e-9
    np.testing.assert_allclose(np.log(table["P-val"]), np.log(expected["Pr(>|t|)"]), rtol=DF_TOLERANCE, atol=1e-6)


@EVERY
def test_wald_limits_are_r_s(case, reference):
    model, expected = fitted(case), reference[case, "wald"]
    table = model.confint()
    assert list(table.columns) == ["2.5 %", "97.5 %"]
    assert list(table.index) == list(expected.index)
    close(table, expected)
    close(model.coefs[["2.5_ci", "97.5_ci"]], expected.iloc[-len(model.coefs) :])


@EVERY
def test_fit_statistics_are_r_s(case, reference):
    model, expected = fitted(case), reference[case, "facts"]["1"]
    assert {type(value) for value in (model.AIC, model.BIC, model.logLike)} == {float}
    close([model.AIC, model.BIC, model.logLike], expected[["AIC", "BIC", "logLik"]])


@EVERY
def test_convergence_is_r_s(case, reference):
    record, expected = fitted(case).convergence, reference[case, "facts"]["1"]
    assert record.optimizer == reference[case, "optimizer"].iloc[0, 0]
    assert record.code == int(expected["code"])
    assert record.singular == bool(expected["singular"])
    assert bool(record.singular_terms) == record.singular
    np.testing.assert_allclose(record.max_gradient, expected["gradient"], rtol=1e-3)  # a derivative by differences


@EVERY
def test_variances_and_correlations_are_r_s(case, reference):
    model, told = fitted(case), reference[case, "variances"]
    is_correlation = told["var2"] != "NA"
    rows, pairs = told[~is_correlation], told[is_correlation]
    table = model.ranef_var
    assert list(table.columns) == ["Name", "Var", "Std"]
    assert table.index[-1] == "Residual"
    if case == "uncorrelated":  # R numbers the terms of one grouping factor; the plain factor is as right
        assert [label.removesuffix(".1") for label in table.index] == ["Subject", "Subject", "Residual"]
    else:
        assert list(table.index) == list(rows["grp"])
    assert list(table["Name"][:-1]) == list(rows["var1"][:-1])
    close(table["Var"], rows["vcov"])
    close(table["Std"], rows["sdcor"])
    np.testing.assert_allclose(table["Std"] ** 2, table["Var"], rtol=1e-12)
    if pairs.empty:
        assert model.ranef_corr is None
        return
    assert list(model.ranef_corr.columns) == ["IV1", "IV2", "Corr"]
    assert list(model.ranef_corr.index) == list(pairs["grp"])
    assert model.ranef_corr[["IV1", "IV2"]].to_numpy().tolist() == pairs[["var1", "var2"]].to_numpy().tolist()
    close(model.ranef_corr["Corr"], pairs["sdcor"], scale=1)


@EVERY
def test_group_effects_are_r_s(case, reference):
    model = fitted(case)
    sizes = reference[case, "groups"]["1"].astype(int)
    assert model.grps == sizes.to_dict()
    assert list(model.grps) == list(sizes.index)
    assert {type(size) for size in model.grps.values()} == {int}
    assert isinstance(model.ranef, list) == isinstance(model.fixef, list) == (len(model.grps) > 1)
    for group, ranef, fixef in zip(model.grps, frames(model.ranef), frames(model.fixef), strict=True):
        for found, kind in ((ranef, "ranef"), (fixef, "coef")):
            expected = reference[case, f"{kind} {group}"]
            assert list(found.index) == list(expected.index)
            assert all(type(label) is str for label in found.index)
            assert list(found.columns) == list(expected.columns)
            assert (found.dtypes == np.float64).all()
            close(found, expected)


@EVERY
def test_fits_and_residuals_are_r_s_at_the_rows_used(case, reference):
    model = fitted(case)
    used = reference[case, "fits"].index.astype(int) - 1
    for found, name in ((model.fits, "fits"), (model.residuals, "residuals")):
        assert isinstance(found, np.ndarray)
        assert found.shape == (len(model.data),)
        assert found.dtype == np.float64
        assert np.isnan(np.delete(found, used)).all()
        close(found[used], reference[case, name]["1"])


@EVERY
def test_design_matrix_is_r_s_under_the_users_index(case, reference):
    model, expected = fitted(case), reference[case, "X"]
    assert list(model.design_matrix.columns) == list(expected.columns)
    close(model.design_matrix, expected)
    pd.testing.assert_index_equal(model.design_matrix.index, model.data.index[~np.isnan(model.fits)])


def next_to_zero(model: Lmer) -> bool:
    """Return whether lmerTest's Hessian is of rounding errors, as its steps are a tenth of each parameter."""
    theta = np.array(model.model_obj.do_slot("theta"))
    return bool(((theta > 0) & (theta < 1e-4)).any())


@EVERY
def test_warnings_are_what_r_said(case, reference):
    said = reference[case, "said"]["1"].to_list() if (case, "said") in reference else []
    kept = fitted(case).warnings
    if next_to_zero(fitted(case)):
        said = [text for text in said if "negative eigenvalue:" not in text]
    assert len(kept) == len(set(kept))
    assert set(said) <= set(kept)
    if case == "aliased":
        assert any("I(2 * x)" in text for text in kept)
    else:
        assert set(kept) == set(said)


@pytest.mark.parametrize("case", NEW_ROWS)
def test_predictions_for_new_rows_are_r_s(case, reference):
    model = fitted(case)
    close(model.predict(new_rows()), reference[case, "population"]["1"])
    close(model.predict(new_rows(), use_rfx=True), reference[case, "conditional"]["1"])


@pytest.mark.parametrize("case", KENWARD_ROGER)
def test_kenward_roger_is_pbkrtest_s(case, reference):
    table, expected = refit(case, ddf="Kenward-Roger").coefs, reference[case, "kr"]
    close(table["Estimate"], expected["Estimate"])
    close(table["SE"], expected["Std. Error"])
    np.testing.assert_allclose(table["DF"], expected["df"], rtol=1e-8)
    np.testing.assert_allclose(np.log(table["P-val"]), np.log(expected["Pr(>|t|)"]), rtol=1e-8)


@pytest.mark.parametrize("ddf", get_args(Ddf))
def test_wald_limits_do_not_depend_on_ddf(ddf, reference):
    table = refit("factors", ddf=ddf).coefs
    assert list(table.columns) == COEFS
    close(table[["2.5_ci", "97.5_ci"]], reference["factors", "wald"].iloc[-len(table) :])


def test_profile_limits_are_r_s(reference):
    model, expected = refit("holes", conf_int="profile"), reference["holes", "profile"]
    table = model.confint("profile")
    assert list(table.index) == list(expected.index)
    close(table, expected, rtol=ROOT)
    close(model.coefs[["2.5_ci", "97.5_ci"]], expected.iloc[-2:], rtol=ROOT)
    before = fitted("holes")
    pd.testing.assert_frame_equal(model.confint(), before.confint(), rtol=SAME)
    np.testing.assert_array_equal(model.predict(model.data), before.predict(model.data))


def test_categories_that_no_row_has_are_no_levels():
    """A frame that was filtered keeps its categories; the model has those that are left."""
    data = trial()
    data["cond"] = pd.Categorical(data["cond"])
    rows = data["cond"] != "a"
    model = fit("y ~ cond + x + (1 | g)", data[rows])
    np.testing.assert_allclose(model.predict(data[rows], use_rfx=True), model.fits, rtol=1e-10)
    assert len(model.plot("cond").get_xticks()) == 2
    with pytest.raises(DataError, match="'a', which the model was not fitted to"):
        model.predict(data)


@pytest.mark.parametrize("truthy", ["no", "link", 2, None])
def test_what_is_no_truth_value_is_not_taken_for_one(truthy):
    with pytest.raises(OptionError, match="has to be True or False"):
        fitted("factors").predict(trial(), truthy)


def test_weights_in_another_order_are_refused():
    data = trial()
    with pytest.raises(DataError, match="index is not that of the data"):
        Lmer("y ~ x + (1 | g)", data, weights=data["w"].sort_values())


CODED = {  # R: fixef(lmer(conc ~ C(source, ...) + (1 | pen)))
    "sum": (-7.254814814815, 0.725185185185),
    "contr.sum": (-7.254814814815, 0.725185185185),
    "contr.helmert": (3.990, 3.264814814815),
    "helmert": (3.990, 3.264814814815),
    "contr = contr.helmert": (3.990, 3.264814814815),
    "treatment": (7.98, 13.784444444444),
}


@pytest.mark.parametrize("coding", CODED)
def test_a_coding_stands_in_the_formula_by_its_bare_name(coding):
    pigs = load_dataset("pigs")
    pigs["pen"] = np.arange(len(pigs)) % 7
    pigs["sum"] = np.nan
    model = fit(f"conc ~ C(source, {coding}) + (1 | pen)", pigs)
    np.testing.assert_allclose(model.coefs["Estimate"].iloc[1:], CODED[coding], rtol=1e-9)
    np.testing.assert_allclose(model.predict(pigs[["source"]]), model.fits, rtol=1e-9)
    np.testing.assert_allclose(model.predict(pigs[["source"]].iloc[[20]]), model.fits[20], rtol=1e-9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "variable 'source' is not a factor")  # emmeans, of a level it does find
        means = model.emmeans("source")[0]["Estimate"]
    np.testing.assert_allclose(means, [30.36, 38.34, 44.144444444444], rtol=1e-9)


def test_names_that_no_function_has_are_columns_that_are_missing():
    with pytest.raises(Pymer4Error, match=r"'contr\.som' is not a column of the data"):
        Lmer("y ~ C(cond, contr.som) + (1 | g)", trial())
    model = fit("y ~ ave(x, h, FUN = median) + (1 | g)", trial())
    centre = trial().groupby("h")["x"].transform("median")
    by_hand = fit("y ~ centre + (1 | g)", trial().assign(centre=centre))
    np.testing.assert_allclose(model.coefs["Estimate"], by_hand.coefs["Estimate"], rtol=SAME)
