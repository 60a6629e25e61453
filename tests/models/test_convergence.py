"""Other optimizers against lme4's allFit, and what is said where one ended badly."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from against_r import inside, rinterface
from samples import fitted, trial

from pymer4.errors import ModelWarning
from pymer4.models.convergence import Certificate, Convergence, next_step
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

LIKELIHOOD = 1e-8  # relative: one optimizer from one start
COEFFICIENTS = 1e-6  # relative to the largest


def still() -> pd.DataFrame:
    """Return the trial with an outcome that does not differ between groups."""
    return trial().assign(still=lambda d: d.y - d.groupby("g")["y"].transform("mean"))


_ALL = """function(m) {
  if (inherits(m, "lmerModLmerTest")) m <- as(m, "lmerMod")
  m@call[[1]] <- if (lme4::isLMM(m)) quote(lme4::lmer) else quote(lme4::glmer)
  home <- environment(formula(m))
  given <- list(m, data = home$data, verbose = FALSE, start_from_mle = FALSE)
  given <- given[names(given) %in% c("", names(formals(lme4::allFit)))]
  fits <- suppressWarnings(suppressMessages(do.call(lme4::allFit, given)))
  rm(list = intersect("ctrl", ls(home)), envir = home)
  list(names = names(fits), likelihood = unname(sapply(fits, logLik)), fixed = unname(t(sapply(fits, lme4::fixef))))
}"""
NEEDS = {"nmkbw": "dfoptim", "optimx.L-BFGS-B": "optimx"}  # packages that no set-up brings
COLUMNS = ["log-likelihood", "Converged", "Max_abs_diff", "Max_rel_diff", "Messages"]

# What lme4 calls of these packages, with R's nlminb() in the place of their own methods.
_STAND_INS = {
    "dfoptim": """nmkb <- function(par, fn, lower, upper, control) {
  found <- stats::nlminb(par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15))
  list(par = found$par, value = found$objective, feval = 0, convergence = 0, message = "")
}""",
    "optimx": """optimx <- function(par, fn, lower, upper, control, method) {
  found <- stats::nlminb(par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15))
  table <- data.frame(t(found$par), value = found$objective, fevals = 0, gevals = 0, convcode = 0)
  details <- matrix(list(""), 1, dimnames = list(method, "message"))
  structure(table, class = c("optimx", "data.frame"), details = details, npar = length(par))
}
coef.optimx <- function(object, ...) as.matrix(as.data.frame(unclass(object))[seq_len(attr(object, "npar"))])""",
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    """A library of what stands in for the optional packages."""
    library, folder = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("source")
    for package, code in _STAND_INS.items():
        methods = "S3method(stats::coef, optimx)\n" if "coef.optimx" in code else ""
        files = {"DESCRIPTION": f"Package: {package}\nVersion: 9.9\n", "R/code.R": f"{code}\n"}
        files["NAMESPACE"] = f"export({code.partition(' ')[0]})\n{methods}"
        (folder / package / "R").mkdir(parents=True)
        for name, text in files.items():
            (folder / package / name).write_text(text)
        command = ["R", "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", str(folder / package)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return library


@pytest.fixture
def every_optimizer(stand_ins):
    """Let R have the optional packages for the length of a test: its own, or what stands in for them."""
    bridge.call("known_optimizers")  # starts R
    places = rinterface.evalr(".libPaths()")
    packages = rinterface.StrSexpVector([*_STAND_INS])
    loaded = rinterface.evalr("loadedNamespaces()")
    inside("function(p) .libPaths(c(.libPaths(), p))", rinterface.StrSexpVector([str(stand_ins)]))
    yield
    inside("function(p, before) for (name in setdiff(p, before)) unloadNamespace(name)", packages, loaded)
    inside("function(p) .libPaths(p)", places)


@pytest.mark.parametrize("case", ["ml", "nbinom"])
def test_every_optimizer_comes_to_what_allfit_says(case, every_optimizer, sleep):
    if case == "ml":
        model = fitted("Reaction ~ Days + (Days | Subject)", sleep, REML=False)
    else:
        model = fitted("spread ~ x + (1 | g)", given={"family": case})
    table, told = model.allfit(), inside(_ALL, model.model_obj)
    assert list(table.index) == told["names"]
    assert list(table.columns) == [*COLUMNS, *model.coefs.index]
    np.testing.assert_allclose(table["log-likelihood"], told["likelihood"], rtol=LIKELIHOOD)
    fixed = table.iloc[:, len(COLUMNS) :].to_numpy(dtype=float)
    np.testing.assert_allclose(fixed, told["fixed"], rtol=COEFFICIENTS, atol=COEFFICIENTS * np.abs(fixed).max())
    best = table.index[table["log-likelihood"] >= table["log-likelihood"].max() - 1e-6][0]
    assert table.attrs["best"] == best
    assert table.attrs["model"] == model.convergence.optimizer
    assert table.attrs["left_out"] == ()
    apart = np.abs(fixed - fixed[table.index.get_loc(best)])
    np.testing.assert_allclose(table["Max_abs_diff"], apart.max(axis=1))
    np.testing.assert_allclose(table["Max_rel_diff"], (apart / np.abs(fixed[table.index.get_loc(best)])).max(axis=1))
    assert table.loc[best, "Max_abs_diff"] == table.loc[best, "Max_rel_diff"] == 0


def test_what_an_optimizer_says_is_in_its_row():
    """A deviance without a clear minimum: some optimizers stop in doubt."""
    model = fitted("y ~ tiny + (tiny | g)", trial().assign(tiny=lambda d: 1e-4 * d.x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r"allfit\(\) leaves out", ModelWarning)
        table = model.allfit()
    assert not table["Converged"].all()
    assert (table["Messages"] == "").sum() < len(table)
    assert (table.loc[~table["Converged"], "Messages"] != "").all()


def test_control_weights_and_offset_stay_as_they_were():
    given, control = {"weights": trial()["w"].to_numpy(), "offset": "o"}, {"maxfun": 5000}
    model = fitted("y ~ x + (x | g)", given=given, control={"optimizer": "bobyqa", "optCtrl": control})
    table = model.allfit()
    assert table.attrs["model"] == "bobyqa"
    np.testing.assert_allclose(table.loc["bobyqa", "log-likelihood"], model.logLike, rtol=1e-10)
    np.testing.assert_allclose(table.loc["bobyqa"].iloc[5:].astype(float), model.coefs["Estimate"], rtol=1e-6)


def test_a_singular_fit_has_converged_and_one_without_coefficients_has_no_differences():
    table = fitted("still ~ 0 + (1 | g)", still()).allfit()
    assert table["Converged"].all()
    assert table["Messages"].str.contains("singular").all()
    assert list(table.columns) == COLUMNS
    assert (table["Max_abs_diff"] == 0).all()


def test_an_optimizer_that_fails_is_a_row_of_its_own(sleep, sleep_model):
    """Without its data none succeeds."""
    before = sleep_model.allfit().drop(columns="Messages")
    other = fitted("Reaction ~ Days + (Days | Subject)", sleep)
    rinterface.evalr("function(m) assign('data', 1, environment(formula(m)))")(other.model_obj)
    table = other.allfit()
    assert table.iloc[:, [0, 2, 3, 5, 6]].isna().all(axis=None)
    assert not table["Converged"].any()
    assert (table["Messages"] != "").all()
    assert table.attrs["best"] is None
    pd.testing.assert_frame_equal(sleep_model.allfit().drop(columns="Messages"), before)


_ABSENT = """
import warnings
from pymer4 import Lmer, load_dataset
model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
model.fit(summarize=False)
with warnings.catch_warnings(record=True) as issued:
    warnings.simplefilter("always")
    table = model.allfit()
print(*table.index)
print(*table.attrs["left_out"])
print(*(str(w.message) for w in issued), sep="|")
"""


def test_optimizers_whose_package_is_not_there_are_left_out(tmp_path):
    """A library of links to every package but two; what R's own library has can't be hidden, and is then not missed."""
    for library in inside("function() .libPaths()"):
        for package in Path(library).iterdir():
            if package.name not in NEEDS.values() and not (tmp_path / package.name).exists():
                (tmp_path / package.name).symlink_to(package)
    base = Path(inside("function() .Library")[0])
    missed = {optimizer: package for optimizer, package in NEEDS.items() if not (base / package).exists()}
    places = {"R_LIBS_SITE": str(tmp_path), "R_LIBS": "", "R_LIBS_USER": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", _ABSENT], env=os.environ | places, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    always = ["bobyqa", "Nelder_Mead", "nlminbwrap", "nloptwrap.NLOPT_LN_NELDERMEAD", "nloptwrap.NLOPT_LN_BOBYQA"]
    assert [name for name in done[0].split() if name not in NEEDS] == always
    assert set(done[0].split()) == {*always, *NEEDS} - {*missed}
    assert done[1].split() == [*missed]
    assert ", ".join(missed.values()) in done[2]
    assert done[2].count("|") == 0


# ---------------------------------------------------------------- what to try next

ENDED = Convergence("nloptwrap", 0, (), 0.0, True, ("g", "h.1"))
SAID = {
    "boundary (singular) fit: see help('isSingular')": ("g, h.1", "(x || group)", "convergence.singular_terms"),
    "Model failed to converge with max|grad| = 0.0178 (tol = 0.002, component 1)": ("rescale", "control=", "allfit()"),
    "Model failed to converge: degenerate  Hessian with 1 negative eigenvalues": ("rescale", "control=", "allfit()"),
    "Model may not have converged with 1 eigenvalue close to zero: 1.0e-09": ("allfit()",),
    "Hessian is numerically singular: parameters are not uniquely determined": ("allfit()",),
    "unable to evaluate scaled gradient": ("allfit()",),
    "convergence code 5 from nloptwrap: NLOPT_MAXEVAL_REACHED": ("allfit()",),
    "Model is nearly unidentifiable: very large eigenvalue\n - Rescale variables?": ("scale(x)",),
    "Some predictor variables are on very different scales: consider rescaling": ("scale(x)",),
}


@pytest.mark.parametrize("text", SAID)
def test_each_warning_of_the_optimizer_has_a_next_step(text):
    step = next_step(text, ENDED)
    assert step.startswith("Next: ")
    assert step.count(". ") + step.endswith(".") == 1
    assert all(word in step for word in SAID[text])


@pytest.mark.parametrize("gap, done", [(2e-7, True), (0.02, False), (None, False)])
def test_a_certified_optimum_needs_no_other_optimizer(gap, done):
    certificate = Certificate("", deviance_gap=gap)
    step = next_step("Model failed to converge with max|grad| = 0.0178", ENDED, certificate)
    assert ("nothing has to be done" in step) is done and ("allfit()" in step) is not done
    rescale = next_step("Some predictor variables are on very different scales", ENDED, certificate)
    assert "rescale" in rescale


@pytest.mark.parametrize("text", ["NaNs produced", "Left out, since other terms add up to them: I(2 * x)", ""])
def test_other_warnings_have_none(text):
    assert next_step(text, ENDED) == ""
