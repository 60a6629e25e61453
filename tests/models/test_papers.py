"""Models in papers: tables, a paragraph that is true of the fit, and the format of maketables."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import case, refit
from samples import dataset, fitted, trial

from pymer4 import Lm, Lm2, Lmer, compare_table, load_model, result_to_table
from pymer4.errors import ModelWarning, NotFittedError, OptionError
from pymer4.models.base import Model

WAYS = ["to_markdown", "to_html", "to_latex", "report"]


def lm(formula: str = "y ~ x + z", *, family: str = "gaussian", **how) -> Lm:
    model = Lm(formula, trial(), family=family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # of intercepts that no shuffle tests
        model.fit(summarize=False, **how)
    return model


def lm2(**how) -> Lm2:
    model = Lm2("y ~ x + z", trial(), group="g")
    model.fit(summarize=False, **how)
    return model


def unsigned(text: str) -> str:
    return text.replace("−", "-")


def cells(markdown: str) -> pd.DataFrame:
    """Return the rows of a table in Markdown, by label."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.splitlines() if line[:1] == "|"]
    rows = [[cell.strip().replace("\\", "") for cell in line] for line in lines]
    return pd.DataFrame([row[1:] for row in rows[2:]], [row[0] for row in rows[2:]], rows[0][1:])


# ------------------------------------------------------------------ the table of a model


@pytest.mark.parametrize("make", [lm, lm2, pytest.param(lambda: case("slopes"), marks=pytest.mark.r)])
def test_a_table_has_the_numbers_of_the_fit(make):
    model = make()
    found = cells(model.to_markdown())
    for term, row in model.coefs.iterrows():
        assert float(unsigned(found.loc[term, "Estimate"])) == pytest.approx(row["Estimate"], abs=0.0051)
        limits = [float(limit) for limit in unsigned(found.loc[term, "95 % CI"]).strip("[]").split(",")]
        assert limits == pytest.approx([row["2.5_ci"], row["97.5_ci"]], abs=0.0051)
        assert float(found.loc[term, "df"]) == pytest.approx(row["DF"], abs=0.051)
        assert float(unsigned(found.loc[term, "t"])) == pytest.approx(row["T-stat"], abs=0.0051)
    assert found.loc["Observations"].iloc[0] == str(model.nobs)
    assert float(found.loc["AIC"].iloc[0]) == pytest.approx(model.AIC, abs=0.0051)


@pytest.mark.r
def test_a_mixed_model_shows_its_random_part_and_shares():
    model = case("slopes")
    text = model.to_markdown()
    found = cells(text).iloc[:, 0]
    assert found["Subject: SD Days"] == "5.92" and found["Subject: r (Intercept), Days"] == ".07"
    assert (found["marginal R²"], found["adjusted ICC"], found["Groups: Subject"]) == (".28", ".72", "18")
    assert "Restricted log-likelihood" in text and re.search(r"pymer4 \S+, R 4\S+, lme4 \d\S+, lmerTest \d", text)
    assert "Restricted" not in case("ml").to_markdown()


@pytest.mark.r
def test_a_notebook_asks_r_nothing(monkeypatch):
    """ICC and R² may fit another model; what is shown unasked does not."""
    model = case("slopes")
    monkeypatch.setattr("pymer4.rbridge.bridge.call", None)
    assert "5.92" in model._repr_html_() and "ICC" not in model._repr_html_()
    assert "Optimizer" in model._repr_markdown_() and model._repr_latex_().count("begin") == 2


@pytest.mark.r
def test_a_singular_fit_is_told_of_everywhere():
    model = case("singular")
    for text in (model.to_markdown(), model._repr_html_(), model.report()):
        assert "singular" in text


@pytest.mark.r
def test_a_file_of_another_program_tells_what_it_holds(tmp_path):
    kept, file = Path(__file__).parents[1] / "legacy", tmp_path / "lmer_simple.h5"
    file.write_bytes(gzip.decompress((kept / "lmer_simple.h5.gz").read_bytes()))
    file.with_suffix(".rds").write_bytes((kept / "lmer_simple.rds").read_bytes())
    model = load_model(file)
    assert "Optimizer" not in model._repr_markdown_() and "REML" in model.report()


@pytest.mark.r
def test_many_fits_are_shown_as_a_table():
    data = trial()
    found = Lmer("y ~ x + (1 | g)", data).fit_many(data[["y", "v"]])
    row = cells(found._repr_markdown_()).loc["x"]
    assert float(row.iloc[0]) == pytest.approx(found.table.query("term == 'x'")["Estimate"].median(), abs=0.0051)
    assert "2 fits of y ~ x + (1 | g)" in repr(found) and "<table>" in found._repr_html_()


def test_odd_names_come_through(tmp_path):
    names = {"x": "a|b<i>", "y": "y_1 & $z"}
    model = Lm('Q("y_1 & $z") ~ Q("a|b<i>")', trial().rename(columns=names))
    model.fit(summarize=False)
    assert "&lt;i&gt;" in model._repr_html_() and "<i>" not in model._repr_html_() + model.to_html()
    assert r"\textbar{}b\textless{}i" in model.to_latex() and r"y\_1 \& \$z" in model.to_latex()
    assert r"a\|b&lt;i>" in model.to_markdown()
    model.to_docx(tmp_path / "odd.docx")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Lm, Lm2])
def test_before_a_fit_there_is_nothing(way, kind, tmp_path):
    model = kind("y ~ x", trial(), **({"group": "g"} if kind is Lm2 else {}))
    with pytest.raises(NotFittedError, match=way):
        getattr(model, way)()
    with pytest.raises(NotFittedError, match="to_docx"):
        model.to_docx(tmp_path / "x.docx")
    assert "not fitted" in model._repr_html_() and "not fitted" in model._repr_markdown_() + model._repr_latex_()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("digits", [0, 16, "2", True, None])
def test_digits_are_checked(way, digits):
    with pytest.raises(OptionError, match="digits"):
        getattr(lm(), way)(digits=digits)


def test_digits_are_kept():
    model = lm()
    b = f"{model.coefs.loc['x', 'Estimate']:.5f}"
    assert b in unsigned(model.to_markdown(digits=5)) and b in unsigned(model.report(digits=5))


# ------------------------------------------------------------------ the paragraph


def said(model: Model, *texts: str) -> str:
    report = model.report()
    assert [text for text in texts if text not in report] == [], report
    return report


@pytest.mark.r
def test_the_paragraph_of_a_linear_mixed_model():
    said(
        case("slopes"),
        "We fitted a linear mixed model (REML, Satterthwaite's df) predicting Reaction from Days, with correlated "
        "random intercepts and slopes of Days by Subject, to 180 observations (Subject: 18 groups).",
        "The effect of Days was b = 10.47, 95 % CI [7.44, 13.50], t(17.0) = 6.77, p < .001.",
        "Standard deviations of the random part: 24.74 ((Intercept), Subject), 5.92 (Days, Subject) and 25.59 "
        "(residual).",
        "marginal R² = .28, conditional R² = .80, adjusted ICC = .72.",
    )


@pytest.mark.r
@pytest.mark.parametrize(("name", "texts"), [
    ("ml", ["(maximum likelihood, Satterthwaite's df)"]),
    ("uncorrelated", ["with random intercepts by Subject and random slopes of Days by Subject, to"]),
    ("random only", ["predicting Reaction from no predictor", "The intercept was b = "]),
    ("nested", ["random intercepts by cask:batch and random intercepts by batch"]),
    ("weighted", ["Weights: w.", "Offset: o."]),
    ("offset term", ["predicting y from x, with", "Offset: o, by offset() in the formula."]),
    ("holes", [" of 240 rows were left out."]),
    ("aliased", ["The fit warned: ", "Left out, since other terms add up to them"]),
])  # fmt: skip
def test_the_paragraph_of_other_mixed_models(name, texts):
    said(case(name), *texts)


@pytest.mark.r
def test_the_paragraph_says_where_limits_and_p_come_from():
    how = {"summarize": False, "no_warnings": True, "seed": 1}
    shuffled = "p comes from 19 permutations of the outcome within Subject."
    text = said(refit("slopes", permute=19, **how), shuffled, "(REML)", "t = 6.77, permutation p = .050.")
    assert "t(" not in text and "Satterthwaite" not in text
    drawn = "The 90 % confidence intervals (CI) are percentiles of 20 draws of a parametric bootstrap."
    said(refit("slopes", conf_int="boot", n_boot=20, conf_level=0.9, **how), drawn, "bootstrap p = ")
    said(refit("slopes", conf_int="profile", **how), "limits of the profile likelihood")
    said(refit("slopes", ddf="Kenward-Roger", **how), "(REML, Kenward and Roger's SE and df)")
    said(refit("slopes", ddf="asymptotic", **how), "infinite df", "t(∞) = 6.77")
    said(refit("slopes", rank=True, rank_group="Subject", **how), "Ranks within Subject stood in the place of")


@pytest.mark.r
@pytest.mark.parametrize(("nAGQ", "text"), [
    (0, "with nAGQ = 0"), (1, "by Laplace's approximation"), (5, "by adaptive quadrature with 5 points"),
])  # fmt: skip
def test_the_paragraph_of_a_generalized_mixed_model(nAGQ, text):
    model = Lmer("incidence / size ~ period + (1 | herd)", dataset("cbpp"), family="binomial", weights="size")
    model.fit(summarize=False, nAGQ=nAGQ)
    said(
        model,
        f"(binomial family, logit link, maximum likelihood {text})",
        "odds ratio 0.3",
        "z = ",
        "on the logit scale",
    )


@pytest.mark.r
def test_a_family_without_shares_has_none():
    model = fitted("time ~ x + (1 | g)", trial(), family="inverse_gaussian", link="log")
    text = said(model, "inverse Gaussian family", "p refers t to the normal distribution.")
    assert "Shares" not in text and "R²" not in model.to_markdown()


@pytest.mark.parametrize(("how", "texts"), [
    ({}, ["a linear regression (ordinary least squares) predicting y from x and z, to 240 observations."]),
    ({"robust": "hc3"}, ["(ordinary least squares, HC3 standard errors)"]),
    ({"robust": "hac", "n_lags": 2}, ["HAC standard errors with 2 lags"]),
    ({"robust": "cluster", "cluster": "g"}, ["standard errors clustered by g"]),
    ({"weights": "flag"}, ["weighted least squares", "Weights: one variance of the errors for each value of flag."]),
    ({"conf_int": "boot", "n_boot": 50, "seed": 1}, ["percentiles of 50 draws of rows.", "bootstrap p"]),
    ({"permute": 50, "seed": 1}, ["50 permutations of the outcome.", "permutation p"]),
    ({"permute": 50, "seed": 1, "scheme": "freedman-lane"}, ["50 Freedman and Lane’s permutations."]),
    ({"rank": True}, ["predicting rank of y", "Ranks stood in the place of"]),
])  # fmt: skip
def test_the_paragraph_of_a_regression(how, texts):
    said(lm(**how), "We fitted a", *texts, "Shares of variance: R² = ")


def test_the_paragraph_of_a_generalized_regression():
    said(
        lm("yes ~ x", family="binomial"),
        "a generalized linear regression (binomial family, logit link, maximum likelihood)",
        "odds ratio",
        "z = ",
    )


@pytest.mark.parametrize(("how", "texts"), [
    ({}, ["a linear regression in each group of g predicting y from x and z", "was mean b = ", "t("]),
    ({"to_corrs": True}, ["The semi-partial correlations of the groups, as Fisher's z, were", "mean Fisher z = "]),
    ({"to_corrs": "partial", "ztrans_corrs": False}, ["The partial correlations of the groups were", "mean r = "]),
    ({"permute": 50, "seed": 1, "perm_on": "coef"}, ["50 sign flips of groups of g, compared by the mean."]),
    ({"robust": "hc3"}, ["one-sample t-tests, HC3 standard errors."]),
])  # fmt: skip
def test_the_paragraph_of_two_stages(how, texts):
    said(lm2(**how), *texts)


# ------------------------------------------------------------------ side by side


@pytest.mark.r
def test_models_of_all_classes_stand_side_by_side():
    models = [fitted("y ~ x + (1 | g)", trial()), lm(), lm2()]
    sheet = compare_table(*models, names=["mixed", "plain", "two stages"])
    frame = sheet.to_frame()
    assert list(frame.columns) == ["mixed", "plain", "two stages"]
    for name, model in zip(frame.columns, models, strict=True):
        b, mark = model.coefs.loc["x", ["Estimate", "Sig"]]
        assert unsigned(frame.loc[("Coefficients", "x"), name]).startswith(f"{b:.2f}{mark.strip('.')} [")
        assert frame.loc[("Coefficients", "(Intercept)"), name] and frame.loc[("Fit", "Observations"), name] == "240"
    assert frame.loc[("Coefficients", "z"), "mixed"] == "" == frame.loc[("Random part", "g: SD (Intercept)"), "plain"]
    assert "plain: y ~ x + z. Linear regression (ordinary least squares)." in sheet.facts
    assert any(note.startswith("mixed: The 95 %") for note in sheet.notes)


@pytest.mark.parametrize("given", [[], ["x"], [3, None]])
def test_what_is_no_model_is_refused(given):
    with pytest.raises(OptionError, match="takes fitted models"):
        compare_table(*given)


def test_models_to_compare_are_fitted_and_named_once():
    with pytest.raises(NotFittedError, match="compare_table"):
        compare_table(lm(), Lm("y ~ x", trial()))
    for names in (["a"], "ab", 2):
        with pytest.raises(OptionError, match="list of 2 names"):
            compare_table(lm(), lm(), names=names)
    with pytest.raises(OptionError, match="digits"):
        compare_table(lm(), digits="2")
    assert compare_table(lm(), lm(), names=["a", "a"]).to_html()


# ------------------------------------------------------------------ maketables


@pytest.mark.parametrize("make", [lm, lm2, pytest.param(lambda: case("slopes"), marks=pytest.mark.r)])
def test_maketables_finds_what_it_asks_for(make):
    model = make()
    table = model.__maketables_coef_table__
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"] and table.index[0] == "Intercept"
    named = ["Estimate", "SE", "T-stat", "P-val", "2.5_ci", "97.5_ci"]
    np.testing.assert_array_equal(table.to_numpy(), model.coefs[named].to_numpy())
    keys = model.__maketables_default_stat_keys__
    assert keys[0] == "N" and all(model.__maketables_stat__(key) is not None for key in keys)
    assert model.__maketables_stat__("aic") == model.AIC and model.__maketables_stat__("nothing") is None
    assert model.__maketables_depvar__ in ("y", "Reaction")
    assert set(keys) & {"r2", "icc"} and set(model.__maketables_stat_labels__) >= {"groups", "icc"}


def test_maketables_learns_the_kind_of_covariance():
    info = lm(robust="cluster", cluster="g").__maketables_vcov_info__
    assert info == {"vcov_type": "robust (cluster)", "clustervar": "g"}
    with pytest.raises(NotFittedError):
        _ = Lm("y ~ x", trial()).__maketables_coef_table__


# ------------------------------------------------------------------ the table of the 0.7 line


def test_the_table_of_the_07_line():
    model = lm()
    table = result_to_table(model)
    assert list(table.columns) == ["Predictor", "b", "ci", "DF", "T-stat", "p"]
    assert list(table["Predictor"]) == ["x", "z"] and list(table["b"]) == list(model.coefs["Estimate"].round(3)[1:])
    row = model.coefs.round(3).loc["x"]
    assert table["ci"][0] == f"({row['2.5_ci']} {row['97.5_ci']})"
    whole = result_to_table(model, drop_intercept=False, iv_name="IV", round=False, pval_text="tiny", pval_thresh=1.1)
    assert list(whole["IV"]) == ["Intercept", "x", "z"] and set(whole["p"]) == {"tiny"}
    assert list(whole["b"]) == list(model.coefs["Estimate"])


def test_the_table_of_the_07_line_of_other_fits():
    counts = lm("count ~ x", family="poisson")
    assert list(result_to_table(counts).columns) == ["Predictor", "b", "ci", "Z-stat", "p"]
    shuffled = lm(permute=20, seed=1, conf_level=0.9)
    assert list(result_to_table(shuffled)["p"]) == [str(p) for p in shuffled.coefs["Perm-P-val"].round(3)[1:]]
    with pytest.raises(NotFittedError, match="result_to_table"):
        result_to_table(Lm("y ~ x", trial()))
    with pytest.raises(OptionError, match="is no model"):
        result_to_table("model")


@pytest.mark.parametrize("given", [
    {"drop_intercept": "no"}, {"iv_name": {3}}, {"round": [1]}, {"pval_text": None}, {"pval_thresh": "0.1"},
])  # fmt: skip
def test_arguments_of_the_07_line_are_checked(given):
    with pytest.raises(OptionError, match=f"{next(iter(given))}="):
        result_to_table(lm(), **given)
