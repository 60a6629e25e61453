"""Scripts that `to_r()` writes, run by an R of their own: the numbers are those of the model."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import hermetic
import numpy as np
import pandas as pd
import pytest
import samples

from pymer4 import Lm, Lm2, Lmer
from pymer4.errors import FileError, MissingFileError, NotFittedError, OptionError
from pymer4.models import r_script

_TELL = """
invisible(capture.output(source(commandArgs(TRUE)[1], chdir = TRUE)))
for (name in intersect(c("coefs", "measures", "estimates", "compared"), ls())) {
  write.csv(as.data.frame(get(name)), paste0(commandArgs(TRUE)[1], ".", name))
}
"""
_CLOSE = 1e-8  # of R's own fit of the same rows
_BY_DIFFERENCES = 1e-6  # lmerTest differentiates by steps


def told(model, folder: Path) -> dict[str, pd.DataFrame]:
    """Write a model's script, have R run it, and return the tables that it leaves."""
    script = model.to_r(folder / "model.R")
    (folder / "tell.R").write_text(_TELL)
    run = subprocess.run(["Rscript", "--vanilla", folder / "tell.R", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "numbers may differ" not in run.stderr
    return {path.name.split(".")[-1]: pd.read_csv(path, index_col=0) for path in folder.glob("model.R.*")}


def gap(found: pd.Series, wanted: pd.Series, in_order: bool) -> float:
    one, other = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    assert one.shape == other.shape
    if not in_order:
        one, other = np.sort(one), np.sort(other)
    return float(np.abs(one - other).max() / np.abs(other).max())


def same(model, folder: Path) -> dict[str, pd.DataFrame]:
    """Hold a script to its model; R has the columns of an `Lm` in another order."""
    found, own, in_order = told(model, folder), model.coefs, isinstance(model, Lmer)
    coefs = found["coefs"]
    if in_order:
        assert list(coefs.index) == list(own.index)
    limits = [name for name in own if re.fullmatch(r"[\d.]+_ci", name)]
    pairs = {"Estimate": "estimate", limits[0]: "lower", limits[1]: "upper", "SE": "se", "P-val": "p"}
    for name, column in pairs.items():
        assert gap(coefs[column], own[name], in_order) < (_BY_DIFFERENCES if column == "p" else _CLOSE), name
    if "DF" in own and np.isfinite(own["DF"]).all():
        assert gap(coefs["df"], own["DF"], in_order) < _BY_DIFFERENCES
    if "measures" in found:
        assert gap(found["measures"].iloc[:, 0], [model.AIC, model.BIC, model.logLike], True) < _CLOSE
    for kind, table in (("estimates", model.marginal_estimates), ("compared", model.marginal_contrasts)):
        assert (kind in found) == (table is not None)
        if table is not None:
            assert gap(found[kind]["SE"], table["SE"], True) < _CLOSE
            lower = next(name for name in found[kind] if name in ("lower.CL", "asymp.LCL"))
            assert gap(found[kind][lower], table.iloc[:, list(table).index("Estimate") + 1], True) < _BY_DIFFERENCES
    return found


def trial() -> pd.DataFrame:
    """The trial with names that need quotes, text beyond ASCII and that of a missing value, and rows left out."""
    data = samples.trial().assign(log_time=lambda d: np.log(d.time))
    data["the cond"] = data.cond.map({"C": 'sp"ä t', "a": "NA", "b": " "}).where(data.index != 3)
    data["my `x"] = data.x.where(data.index % 50 != 7)
    return data


_LOGS, _W = np.log(samples.trial().time), samples.trial().w
_CONTRASTS = {
    "dose": {"first": {v: w for v, w in zip(samples.trial().dose.cat.categories, (1, -0.5, -0.5), strict=True)}}
}
_PERIOD = {"period": {"trend": {"1": -3, "2": -1, "3": 1, "4": 3}}}


def means(*asked, **more):
    return lambda model: model.emmeans(*asked, **more)


def slopes(*asked):
    return lambda model: model.emtrends(*asked)


def of_herds() -> Lmer:
    model = Lmer("incidence / size ~ period + (1 | herd)", samples.dataset("cbpp"), family="binomial", weights="size")
    model.fit(factors=_PERIOD, summarize=False)
    model.emmeans("period", contrasts={"late": {"4": 1, "1": -1}})
    return model


MIXED = {
    "slopes": ("y ~ x * dose + (x | g)", {}, {"factors": _CONTRASTS}, means("dose", by="x")),
    "separate slopes": (r"y ~ `my \`x` + (`my \`x` || g)", {}, {"ddf": "Kenward-Roger"}, None),
    "odd names": ("y ~ `the cond` + (1 | g)", {"weights": "w"}, {"ddf": "asymptotic"}, means("the cond")),
    "exposure": ("count ~ x + cond + (1 | g)", {"family": "poisson", "offset": "log_time"}, {}, means("cond")),
    "exposures": ("count ~ x + (1 | g)", {"family": "poisson", "offset": _LOGS}, {"nAGQ": 0}, None),
    "nested": ("y ~ x + (1 | h / g)", {}, {"REML": False, "control": "optimizer='bobyqa'"}, None),
    "profile": ("y ~ x * flag + (1 | g)", {}, {"conf_int": "profile", "conf_level": 0.9}, slopes("x", "flag")),
    "ranks": ("y ~ x + cond + (1 | g)", {}, {"rank": True, "rank_group": "cond", "old_optimizer": True}, None),
    "gamma": ("pos ~ x + (1 | g)", {"family": "gamma"}, {}, None),
    "counts": ("spread ~ x + (1 | g)", {"family": "nbinom"}, {}, None),
    "logs": ("log(pos) ~ dose + x + (1 | g)", {}, {}, means("dose", contrasts="poly")),
}  # fmt: skip

LINEAR = {
    "plain": ("y ~ x * cond + z", {}, {}, means("cond", at={"x": [0.0, 1.0]}, by="x")),
    "contrasts": ("y ~ x * dose", {}, {"factors": _CONTRASTS}, slopes("x", "dose")),
    "odd names": ("y ~ Q('my `x') * Q('the cond')", {}, {}, None),
    "weights": ("y ~ x + flag", {"offset": "o"}, {"weights": _W, "robust": "hc3"}, means("flag")),
    "variances": ("y ~ x + cond", {}, {"weights": "cond"}, None),
    "clusters": ("y ~ x + cond", {}, {"robust": "cluster", "cluster": "g"}, means("cond")),
    "lags": ("y ~ x", {}, {"robust": "hac", "n_lags": 3}, None),
    "computed": ("np.log(pos) ~ bs(x, df=4) + np.sinc(z):cond", {}, {}, None),
    "told": ("np.log(pos) ~ np.sqrt(z) * cond + I(-x ** 2 / 2)", {}, {}, means("cond", at={"z": [1.0, 4.0]}, by="z")),
    "aliased": ("y ~ x + I(2 * x) + cond", {}, {"rank": True}, None),
    "otherwise coded": ("y ~ cond:flag", {}, {}, None),
    "without intercept": ("y ~ 0 + cond + flag:x", {}, {}, None),
    "trials": ("cbind(hits, trials - hits) ~ x + cond", {"family": "binomial"}, {"robust": "hc1"}, means("cond")),
    "exposure": ("count ~ x + cond", {"family": "poisson", "offset": "log_time"}, {}, means("cond")),
    "gamma": ("pos ~ x + cond", {"family": "gamma", "link": "log"}, {}, None),
    "counts": ("spread ~ x", {"family": "nbinom"}, {}, None),
}  # fmt: skip


def fitted(kind, formula, given, options, asked):
    model = kind(formula, trial(), **given)
    model.fit(summarize=False, **options)
    if asked is not None:
        asked(model)
    return model


@pytest.mark.r
@pytest.mark.parametrize("case", MIXED)
def test_a_mixed_model(case, tmp_path):
    same(fitted(Lmer, *MIXED[case]), tmp_path)


@pytest.mark.r
def test_a_binomial_model_of_shares_with_weights_and_contrasts(tmp_path):
    same(of_herds(), tmp_path)


@pytest.mark.r
@pytest.mark.parametrize("case", LINEAR)
def test_a_regression(case, tmp_path):
    if "robust" in LINEAR[case][2]:
        hermetic.compare_with("sandwich")
    same(fitted(Lm, *LINEAR[case]), tmp_path)


@pytest.mark.r
@pytest.mark.parametrize(("formula", "family"), [("y ~ x + cond", "gaussian"), ("count ~ x", "poisson")])
def test_regressions_by_group(formula, family, tmp_path):
    """Some groups lack a level, and so have none."""
    model = Lm2(formula, samples.trial(), "g", family)
    model.fit(summarize=False)
    same(model, tmp_path)


@pytest.mark.r
def test_a_script_runs_from_anywhere_and_knows_its_data(tmp_path):
    folder = tmp_path / "my models"
    folder.mkdir()
    script = fitted(Lm, "y ~ x", {}, {}, None).to_r(folder / "model.R")
    run = subprocess.run(["Rscript", "--vanilla", script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and "estimate" in run.stdout, run.stderr
    csv = folder / "model.csv"
    csv.write_text(csv.read_text().replace("1", "2", 1))
    run = subprocess.run(["Rscript", "--vanilla", script], cwd=folder, capture_output=True, text=True)
    assert run.returncode and "not the file" in run.stderr


@pytest.mark.r
def test_another_version_is_told(tmp_path):
    script = fitted(Lmer, "y ~ x + (1 | g)", {}, {}, None).to_r(tmp_path / "model.R")
    script.write_text(re.sub(r'lme4 = "[\d.]+"', 'lme4 = "0.9"', script.read_text()))
    run = subprocess.run(["Rscript", "--vanilla", script], capture_output=True, text=True)
    assert run.returncode == 0 and "lme4 is" in run.stderr and "was 0.9" in run.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"conf_int": "boot", "n_boot": 20}, "Not here: limits and p of the bootstrap"),
        ({"permute": 20}, "Not here: p of permutations"),
        ({"rank": True}, "the data are their ranks"),
    ],
)
def test_what_is_missing_is_said(options, told, tmp_path):
    model = Lm("y ~ np.sinc(x)", samples.trial())
    model.fit(summarize=False, seed=1, **options)
    model.emmeans("x")
    text = model.to_r(tmp_path / "model.R").read_text()
    assert told in text and "Not here: the computation of np.sinc(x)" in text
    assert "Not here: the marginal means, since variables are computed" in text


@pytest.mark.r
def test_a_function_of_this_session_alone_is_refused(tmp_path):
    import against_r

    against_r.rinterface.evalr("double_it <- function(x) 2 * x")
    try:
        model = Lmer("y ~ double_it(x) + (1 | g)", samples.trial())
        model.fit(summarize=False)
        with pytest.raises(OptionError, match=r"double_it\(\), which was defined in this R"):
            model.to_r(tmp_path / "model.R")
    finally:
        against_r.rinterface.evalr("rm(double_it)")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"robust": "hc1"}, {"to_corrs": True}])
def test_a_second_level_that_r_has_no_word_for_is_refused(options, tmp_path):
    model = Lm2("y ~ x", samples.trial(), "g")
    model.fit(summarize=False, **options)
    with pytest.raises(OptionError, match="to_r"):
        model.to_r(tmp_path / "model.R")


# ------------------------------------------------------------------ the two files


def test_paths_that_are_refused(tmp_path):
    model = Lm("y ~ x", samples.trial())
    with pytest.raises(NotFittedError):
        model.to_r(tmp_path / "model.R")
    model.fit(summarize=False)
    for path, error in (
        (1, OptionError),
        ("model.txt", OptionError),
        (tmp_path / "no" / "m.R", MissingFileError),
        (tmp_path / f"{'x' * 300}.R", FileError),
        (tmp_path / ("x" * 300) / "m.R", FileError),
    ):
        with pytest.raises(error):
            model.to_r(path)
    (tmp_path / "model.csv").write_text("mine")
    with pytest.raises(FileError, match="may be your data"):
        model.to_r(tmp_path / "model.R")
    assert (tmp_path / "model.csv").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_both_files_or_none(there, at, monkeypatch, tmp_path):
    first, second = Lm("y ~ x", samples.trial()), Lm("y ~ z", samples.trial())
    for model in (first, second):
        model.fit(summarize=False)
    if there:
        first.to_r(tmp_path / "model.R")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    moves, move = [], os.replace

    def fails(source, target):
        moves.append(target)
        if len(moves) == at:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(r_script.os, "replace", fails)
    with pytest.raises(FileError, match="No space left"):
        second.to_r(tmp_path / "model.R")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_functions_are_told_by_what_they_are():
    sqrt, k = np.log, 2

    def log(x):
        return x - 1

    model = Lm("sqrt(pos) ~ log(x) + I((x + k) ** 2) + np.exp(-z)", samples.trial())
    model.fit(summarize=False)
    formula = "log(pos) ~ 1 + `log(x)` + I((x + 2) ^ 2) + exp(-z)"
    assert model._script().body[0].startswith(f"model <- lm({formula}, data")
    assert sqrt(k) and log(k)


def test_a_copy_keeps_what_was_asked_last(tmp_path):
    from pymer4 import load_model, save_model

    model = fitted(Lm, *LINEAR["plain"])
    save_model(model, tmp_path / "x.h5")
    texts = [m.to_r(tmp_path / "model.R").read_text() for m in (model, load_model(tmp_path / "x.h5"))]
    assert texts[0] == texts[1] and "emmeans(model" in texts[0]


def test_a_script_is_written_without_r(tmp_path):
    assert fitted(Lm, *LINEAR["clusters"]).to_r(tmp_path / "model.R").read_text().count("vcovCL(") == 1
