"""`Lm`: its table, hypotheses, correlations, and what it shows of a fit. Its numbers beside R's: `tests/reference`."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import patsy
import pytest
from against_r import ask, relative
from samples import native, patchy, regression
from scipy import stats

from pymer4 import Lm
from pymer4.errors import ModelWarning, NotFittedError

pytestmark = pytest.mark.numeric

HERE = 1e-10  # relative: two ways of computing one thing on this side
SOLVED = 1e-9  # relative: both sides solve by orthogonal transformations

ODDS = ["OR", "OR_2.5_ci", "OR_97.5_ci", "Prob", "Prob_2.5_ci", "Prob_97.5_ci"]
COLUMNS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]
WITH_T = [*COLUMNS[:4], *COLUMNS[5:]]
WITH_Z = [*COLUMNS[:4], "Z-stat", *COLUMNS[6:]]


def close(found, expected, rtol: float, scale: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=float), expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize(
    "name, columns",
    [
        ("plain", COLUMNS), ("gamma", WITH_T), ("wald", WITH_T), ("gaussian log", WITH_T), ("poisson", WITH_Z),
        ("nbinom", WITH_Z), ("binary", [*WITH_Z[:4], *ODDS, *WITH_Z[4:]]),
    ],
)  # fmt: skip
def test_the_columns_are_those_of_the_family(name, columns):
    model = native(name)
    assert list(model.coefs.columns) == columns and model.coefs.index[0] == "Intercept"
    assert {str(model.coefs[c].dtype) for c in columns[:-1]} == {"float64"}
    place = columns.index("T-stat" if "T-stat" in columns else "Z-stat")
    expected = [*(c for c in columns[:place] if c != "DF"), "Num_perm", columns[place], "Perm-P-val", "Sig"]
    assert list(native(name, permute=19, seed=1).coefs.columns) == expected
    assert list(native(name, conf_level=90).coefs.columns[1:3]) == ["5_ci", "95_ci"]
    assert model.ci_type == "standard" and model.sig_type == "parametric" and model.model_obj is None
    np.testing.assert_array_equal(model.data["fits"], model.fits)


@pytest.mark.r
@pytest.mark.parametrize(
    "formula, call",
    [
        ("y ~ 0 + x + z", "lm(y ~ 0 + x + z, weights = w)"),
        ("np.log(positive) ~ x", "lm(log(positive) ~ x, weights = w)"),
        ("binary ~ x", "glm(binary ~ x, binomial, weights = w)"),
        ("cbind(hits, trials - hits) ~ x", "glm(cbind(hits, trials - hits) ~ x, binomial, weights = w)"),
    ],
)
def test_weights_of_unusual_outcomes_are_those_of_r(formula, call):
    data = patchy().dropna()
    family = "binomial" if "binomial" in call else "gaussian"
    model = regression(formula, data, given={"family": family}, weights=data["w"])
    call = call.replace("weights = w", "weights = w, epsilon = 1e-14") if family == "binomial" else call
    columns = ("y", "x", "z", "w", "positive", "binary", "hits", "trials")
    found = ask(f"answer$table <- coef(summary(suppressWarnings({call})))", **{name: data[name] for name in columns})
    assert relative(model.coefs[["Estimate", "SE"]], found["table"][:, :2]) < 1e-8


# ------------------------------------------------------------------ weights by group, hypotheses, correlations


@pytest.mark.parametrize("offset", [None, "shift"])
def test_one_variance_a_group_is_welchs_t_test(offset):
    three = patchy().dropna(subset=["g", "y"])
    outcome = three["y"] - (0 if offset is None else three["shift"])
    groups = {level: outcome[three["g"] == level] for level in "abc"}
    whole = regression("y ~ g", three, given={"offset": offset}, weights="g")
    for level in "bc":
        a, b = groups["a"], groups[level]
        welch = stats.ttest_ind(b, a, equal_var=False)
        gap = b.mean() - a.mean()
        expected = [gap, *welch.confidence_interval(), gap / welch.statistic, welch.df, welch.statistic, welch.pvalue]
        close(whole.coefs.loc[f"g[T.{level}]", COLUMNS[:7]], expected, HERE)
    close(whole.coefs.loc["Intercept", "DF"], len(groups["a"]) - 1, HERE)
    assert whole.estimator == "WLS"
    by_hand = regression(
        "y ~ g", three, given={"offset": offset}, weights=1 / outcome.groupby(three["g"]).transform("var")
    )
    close(by_hand.coefs["DF"], len(three) - 3, 0)
    plain = regression("y ~ g", three, given={"offset": offset}, weights="g", wls_dof_correction=False)
    close(plain.coefs[COLUMNS[:7]], by_hand.coefs[COLUMNS[:7]], HERE)
    means = whole.predict(pd.DataFrame({"g": list("abc"), "shift": 0.0}), interval="confidence")
    close(means["SE"], [values.std() / len(values) ** 0.5 for values in groups.values()], HERE)


@pytest.mark.parametrize("formula", ["y ~ x + z", "y ~ g * x", "np.exp(y / 9) ~ x"])
def test_a_column_stands_for_the_variances_of_the_errors(formula):
    """Squared residuals over 1 less the leverages, both summed in each group: unbiased where variances are equal."""
    frame = patchy().dropna(subset=["g", "y", "x", "z"])
    plain = regression(formula, frame)
    X = plain.design_matrix.to_numpy()
    left = 1 - np.einsum("ij,ji->i", X, np.linalg.pinv(X))
    sums = pd.DataFrame({"e": plain.residuals**2, "left": left}, index=frame.index).groupby(frame["g"]).sum()
    by_name = regression(formula, frame, weights="g")
    by_hand = regression(formula, frame, weights=frame["g"].map(sums["left"] / sums["e"]).to_numpy())
    close(by_name.coefs[["Estimate", "SE", "T-stat"]], by_hand.coefs[["Estimate", "SE", "T-stat"]], 1e-8)
    close([by_name.rsquared, by_name.AIC], [by_hand.rsquared, by_hand.AIC], 1e-8)
    assert (by_name.coefs["DF"] != by_hand.coefs["DF"]).all()


def test_covariates_have_df_of_their_own_after_one_variance_a_group():
    three = patchy().dropna(subset=["g", "y"])
    model = regression("y ~ g + x", three, weights="g")
    df = model.coefs["DF"]
    assert df.nunique() == 4 and df["x"] > df["g[T.c]"]
    new = three.dropna(subset="x").head(4)
    prediction, mean = (model.predict(new, interval=interval) for interval in ("prediction", "confidence"))
    assert (prediction["SE"] > mean["SE"]).all() and prediction.attrs["ddf"] == "Satterthwaite"
    for name, row in model.coefs.iterrows():  # a test of one coefficient is its t-test
        found = model.test(f"{name} = 0")[["DenomDF", "F-stat", "P-val"]].iloc[0]
        close(found, [row["DF"], row["T-stat"] ** 2, row["P-val"]], 1e-8)


HYPOTHESES = [
    "x = 0", "x", "x = z", "g[T.b] - g[T.c] = 0, x = 2", "g[T.b], g[T.c]", ["x = 1", "z"], {"x": 1, "z": -0.5},
    "x = z = 0.3", "2 * x = (z + 1) / 3", ([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], [0, 0.5]),
]  # fmt: skip


@pytest.mark.parametrize("how", [{}, {"weights": "w"}, {"robust": "cluster", "cluster": "cl"}], ids=str)
@pytest.mark.parametrize("hypothesis", HYPOTHESES, ids=str)
def test_linear_hypotheses(hypothesis, how):
    how = {key: patchy()["w"] if key == "weights" else value for key, value in how.items()}
    model = regression("y ~ g + x + z", patchy(), **how)
    L = patsy.DesignInfo(list(model.coefs.index)).linear_constraint(hypothesis)
    off = L.coefs @ model.coefs["Estimate"].to_numpy() - L.constants[:, 0]
    F = off @ np.linalg.inv(L.coefs @ model.vcov.to_numpy() @ L.coefs.T) @ off / len(off)
    df = model.coefs["DF"].iloc[0]
    table = model.test(hypothesis)
    assert list(table.columns) == ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"] and len(table) == 1
    close(table.iloc[0, :4], [len(off), df, F, stats.f.sf(F, len(off), df)], SOLVED)


def test_hypotheses_about_generalized_models_are_chi_square_or_f():
    model = native("poisson")
    table = model.test("x = 0, z = 0")
    b, V = model.coefs["Estimate"].to_numpy()[1:], model.vcov.to_numpy()[1:, 1:]
    chisq = b @ np.linalg.solve(V, b)
    assert list(table.columns) == ["Chisq", "Df", "P-val", "Sig"]
    close(table.iloc[0, :3], [chisq, 2, stats.chi2.sf(chisq, 2)], SOLVED)
    table = native("gamma").test("x")
    assert list(table.columns) == ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"] and list(table.index) == ["x"]


@pytest.mark.parametrize("how", [{"robust": "hc3"}, {"weights": "w"}], ids=str)
@pytest.mark.parametrize("right", ["x + z + u", "g * x + z", "0 + x + z + g", "bs(z, 4) + x", "x"])
@pytest.mark.parametrize("kind", ["semi", "partial"])
def test_correlations_are_those_of_residuals(right, kind, how):
    how = {key: patchy()["w"] if key == "weights" else value for key, value in how.items()}
    model = regression(f"y ~ {right}", patchy(), **how)
    rows = patchy().loc[model.design_matrix.index]
    root = np.sqrt(rows["w"].to_numpy()) if "weights" in how else np.ones(len(rows))
    X, y = model.design_matrix.to_numpy() * root[:, None], rows["y"].to_numpy(dtype=float) * root
    found = model.to_corrs(kind)
    assert list(found.index) == [name for name in model.coefs.index if name != "Intercept"]
    for name in found.index:
        j = list(model.coefs.index).index(name)
        others = np.delete(X, j, axis=1)
        left = X[:, j] - others @ np.linalg.lstsq(others, X[:, j], rcond=None)[0]
        if kind == "partial":
            other = y - others @ np.linalg.lstsq(others, y, rcond=None)[0]
        else:
            other = y - root * (root @ y) / (root @ root) if "Intercept" in model.coefs.index else y
        close(found[name], left @ other / np.sqrt((left @ left) * (other @ other)), SOLVED)
    close(model.to_corrs(kind, ztrans_corrs=True), np.arctanh(found), 1e-12)


# ------------------------------------------------------------------ old faults


def test_small_p_are_small_and_not_zero():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 150)})
    frame["y"] = 5 * frame.x + 0.05 * np.random.default_rng(2).normal(size=150)
    t, df, p = regression("y ~ x", frame).coefs.loc["x", ["T-stat", "DF", "P-val"]]
    assert 0 < p < 1e-150
    close(np.log(p), stats.t.logsf(t, df) + np.log(2), 1e-9)
    assert regression("y ~ x", frame, permute=99, seed=1).coefs.loc["x", "Perm-P-val"] == 0.01


@pytest.mark.parametrize("outcome, weights", [("y", None), ("y", "w"), ("y", "g"), ("counts", "w")])
def test_weights_clusters_and_offsets_are_cut_to_the_rows_used(outcome, weights):
    whole, family = patchy(), "gaussian" if outcome == "y" else "poisson"
    whole.loc[[3, 9], "cl"], whole.loc[11, "shift"], whole.loc[13, "w"] = None, None, None
    kept = whole.dropna(subset=[outcome, "x", "cl", "shift", *([weights] if weights else [])])
    found, expected = (
        regression(
            f"{outcome} ~ x", frame, given={"offset": "shift", "family": family}, robust="cluster", cluster="cl",
            weights=frame["w"].to_numpy() if weights == "w" else weights,
        )
        for frame in (whole, kept)
    )  # fmt: skip
    pd.testing.assert_frame_equal(found.coefs, expected.coefs)
    assert np.isnan(found.fits[[3, 9, 11]]).all() and len(found.fits) == len(whole)
    assert found.design_matrix.index.equals(kept.index)


SMALL = pd.DataFrame({"x": [1.0, 2, 3, 5], "same": 4.0, "line": [3.0, 5, 7, 11], "y": [1.0, 0, 2, 2]})


@pytest.mark.parametrize(
    "formula, told",
    [
        ("same ~ x", ["The outcome is 4 in every row used"]),
        ("line ~ x", ["essentially perfect fit: summary may be unreliable"]),
        ("y ~ C(x)", ["No residual degrees of freedom: 4 coefficients for 4 rows"]),
        ("y ~ x + I(x ** 2) + I(x ** 3) + np.exp(x)", ["Left out, since", "No residual degrees of freedom"]),
    ],
)
def test_a_constant_outcome_a_perfect_fit_and_no_residual_df_are_told(formula, told):
    model = Lm(formula, SMALL)
    with pytest.warns(ModelWarning):
        model.fit(summarize=False, robust="hc3")
    assert [text[: len(start)] for text, start in zip(model.warnings, told, strict=True)] == told
    if not formula.startswith("line"):
        tests = model.coefs[["SE", "T-stat", "P-val", "2.5_ci"]]
        assert tests.isna().all(axis=None) and set(model.coefs["Sig"]) == {""}
    np.testing.assert_allclose(model.fits, SMALL[formula.split()[0]], atol=1e-12)


@pytest.mark.parametrize("robust", [False, "hc3"])
@pytest.mark.parametrize("formula", ["hit ~ x", "hit ~ g"])
def test_separation_is_told(formula, robust):
    data = pd.DataFrame({"g": np.repeat(["a", "b"], 30), "x": np.arange(60.0)})
    data["hit"] = np.r_[np.arange(30) % 2, np.ones(30)] if "g" in formula else np.repeat([0, 1], 30)
    with pytest.warns(ModelWarning, match="Separation|fitted probabilities numerically 0 or 1 occurred"):
        Lm(formula, data, family="binomial").fit(robust=robust, summarize=False)


def test_odd_names_are_names():
    """Columns called as columns of tables are, or as parts of them, get their own rows."""
    names = ["signal", "sigma", "Estimate", "SE", "Intercept_", "N", "fits_", "x_ci"]
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 9)), columns=[*names, "y"])
    model = regression("y ~ " + " + ".join(names), frame)
    assert list(model.coefs.index) == ["Intercept", *names] == ["Intercept", *model.to_corrs().index]
    X = np.column_stack([np.ones(60), frame[names]])
    close(model.coefs["Estimate"], np.linalg.lstsq(X, frame["y"], rcond=None)[0], SOLVED)


def test_columns_called_fits_stay_and_two_fits_are_one():
    frame = patchy().assign(fits=1.5)
    model, tables = Lm("y ~ x + fits", frame), []
    for _ in range(2):
        with pytest.warns(ModelWarning) as seen:
            model.fit(summarize=False)
        assert len(seen) == len(model.warnings) == 2
        tables.append(model.coefs)
    pd.testing.assert_frame_equal(*tables)
    assert (model.data["fits"] == 1.5).all() and "residuals" in model.data and "residuals" not in frame


# ------------------------------------------------------------------ the rest of the surface


def test_outcomes_of_binomial_models_have_several_forms():
    frame, table = patchy(), regression("binary ~ x", patchy(), given={"family": "binomial"}).coefs
    is_one = frame["binary"] == 1
    text = np.where(is_one, "a", "b")
    for outcome, factors in (
        (np.where(is_one, "yes", "no"), None), (is_one, None), (pd.Categorical(text, ["b", "a"]), None),
        (text, {"outcome": ["b", "a"]}),
    ):  # fmt: skip
        data = frame.assign(outcome=outcome)
        found = regression("outcome ~ x", data, given={"family": "binomial"}, factors=factors)
        pd.testing.assert_frame_equal(found.coefs, table)
    pd.testing.assert_frame_equal(native("counted").coefs, native("share").coefs, rtol=1e-9)
    gaps = frame.assign(hits=frame["hits"].where(frame.index > 2, 0), trials=frame["trials"].where(frame.index > 2, 0))
    model = Lm("cbind(hits, trials - hits) ~ x", gaps, family="binomial")
    with pytest.warns(ModelWarning, match=r"Left out: \d row\(s\) without trials"):
        model.fit(summarize=False)
    assert np.isnan(model.fits[:2]).all()


def test_a_summary_is_printed_and_returned_rounded(capsys):
    model = Lm("y ~ x + g", patchy())
    shown = model.fit(robust="hc3")
    printed, n = capsys.readouterr().out, int(np.isfinite(model.fits).sum())
    for text in ("Linear model fit by ordinary least squares", "Formula: y ~ x + g", "robust (hc3)", "R2:", "g[T.b]"):
        assert text in printed
    assert f"Observations: {n} of 140" in printed
    pd.testing.assert_frame_equal(shown, model.coefs.round(3))
    assert model.fit(summarize=False) is None and model.fit(summary=False) is None
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(model.summary(), model.coefs.round(3))
    model.fit(verbose=True, summarize=False, conf_int="boot", n_boot=20, robust="cluster", cluster="cl")
    assert "robust (cluster)" in capsys.readouterr().out
    native("nbinom").summary()
    assert "Family: nbinom   Link: log" in capsys.readouterr().out


def test_nothing_is_there_before_a_fit():
    model = Lm("y ~ x", patchy())
    assert model.coefs is None and model.design_matrix is None and not model.fitted
    calls = (model.summary, lambda: model.predict(patchy()), model.to_corrs, lambda: model.test("x"))
    for call in (*calls, model.plot_summary):
        with pytest.raises(NotFittedError):
            call()
    assert repr(model) == "Lm('y ~ x', family='gaussian'): 140 rows, not fitted"
    model.fit(summarize=False)
    assert repr(model).endswith("140 rows, fitted")


def test_no_r_is_woken():
    code = """
import sys
import numpy as np, pandas as pd
from pymer4 import Lm
d = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["y", "x"])
m = Lm("y ~ x", d)
m.fit(summarize=False, conf_int="boot", permute=20)
m.predict(d, interval="confidence")
print([name for name in ("rpy2", "matplotlib", "statsmodels") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
