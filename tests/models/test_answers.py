"""What infer(), emmeans() and their like return: frames in all but how they are shown."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from cases import case
from samples import trial

from pymer4 import Lm, Lm2, Lmer, compare, load_dataset, lrt
from pymer4.errors import ModelWarning

WAYS = [
    ({"how": "asymp"}, ["Coefficients", "95 % limits; df: residual."]),
    ({"how": "asymp", "errors": "HC3", "conf_level": 0.9}, ["90 % limits; errors: HC3."]),
    ({"how": "asymp", "null": 0.5, "alternative": "greater"}, ["null: 0.5; alternative: greater."]),
    ({"how": "asymp", "on": "predictions"}, ["Predictions", "…", "95 % limits; df: residual."]),
    ({"how": "boot", "n_boot": 60, "seed": 3}, ["by bootstrap", "95 % limits: bca; 60 draws; seed: 3."]),
    ({"how": "perm", "n_perm": 20, "seed": 3, "scheme": "freedman-lane"}, ["20 permutations (freedman-lane); seed: 3"]),
    ({"how": "cv", "k": 4, "seed": 3, "on": "predictions"}, ["4 folds; rows are held out; seed: 3."]),
    ({"how": "cv", "k": 4, "seed": 3, "holdout_group": "g", "on": "coefs"}, ["groups of g are held out", "PRE: "]),
    ({"how": "joint"}, ["Joint tests of terms", "df: residual."]),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Lm:
    found = Lm("y ~ x + cond", trial())
    found.fit(summarize=False)
    return found


@pytest.mark.parametrize(("how", "told"), WAYS)
def test_a_table_says_what_it_rests_on(model, how, told):
    table = model.infer(**how)
    text = repr(table)
    assert isinstance(table, pd.DataFrame) and all(words in text for words in told), text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    marked = [way().replace(r"\_", "_") for way in (table._repr_markdown_, table._repr_latex_)]
    shown = [lines[1].split(), table._repr_html_(), *marked]
    for name in table.columns:
        assert all(name in one for one in shown), name


def test_numbers_are_rounded_where_they_are_shown_alone(model):
    table = model.infer()
    assert table.loc["x", "Estimate"] == model.coefs.loc["x", "Estimate"]
    row = next(line for line in repr(table).splitlines() if line.startswith("x ")).split()
    assert float(row[1]) == pytest.approx(table.loc["x", "Estimate"], rel=5e-3)
    assert row[5] == f"{int(table.loc['x', 'DF'])}"


@pytest.mark.parametrize(
    "way",
    [pd.DataFrame.copy, lambda t: t.iloc[:1], lambda t: t * 1 if "Sig" not in t else t.drop(columns="Sig") * 1,
     lambda t: pd.concat([t, t]), lambda t: t.round(2), lambda t: pickle.loads(pickle.dumps(t)), lambda t: t.T],
)  # fmt: skip
def test_what_pandas_makes_of_it_is_plain(model, way):
    table = model.infer(conf_level=0.8)
    assert type(way(table)) is pd.DataFrame
    assert pickle.loads(pickle.dumps(table)).attrs["level"] == table.copy().attrs["level"] == 0.8


def test_it_equals_a_plain_frame(model):
    table = model.infer()
    plain = pd.DataFrame(table.to_dict("series"))
    pd.testing.assert_frame_equal(table, plain)
    pd.testing.assert_frame_equal(plain, table)
    assert table.equals(plain) and plain.equals(table)
    table.loc["x", "SE"] = 5.0
    assert model.infer().loc["x", "SE"] != 5.0


def test_a_table_is_shown_whatever_was_put_into_it(model):
    table = model.infer()
    whole = int(table.loc["x", "DF"])
    for made in (table["DF"].map("{:.0f}".format), table["DF"].astype(int), table["DF"].astype("Int64")):
        table["DF"] = made
        assert f" {whole} " in next(line for line in repr(table).splitlines() if line.startswith("x "))
    table.insert(0, "DF", 7.25, allow_duplicates=True)
    row = next(line for line in repr(table).splitlines() if line.startswith("x ")).split()
    assert float(row[1]) == pytest.approx(7.25, abs=0.06) and str(whole) in row


def test_many_rows_are_shown_as_pandas_shows_them(model):
    table = model.infer(on="predictions")
    assert len(repr(table).splitlines()) < 20
    assert table._repr_html_().count("<tr>") == 1 + pd.get_option("display.min_rows") + 1
    with pd.option_context("display.max_rows", None):
        assert table._repr_html_().count("<tr>") == 1 + len(table)


def test_means_and_contrasts_are_shown_below_one_another(model):
    found = model.emmeans("cond", adjust="holm")
    means, contrasts = found
    assert isinstance(found, tuple) and found == (means, contrasts)
    assert means is model.marginal_estimates and contrasts is model.marginal_contrasts
    text = repr(found)
    assert text.index("Marginal means (response scale)") < text.index("Contrasts of marginal means")
    assert "95 % limits; df: residual; adjustment: holm." in text
    for way in ("_repr_html_", "_repr_markdown_", "_repr_latex_"):
        assert getattr(means, way)() in getattr(found, way)() and getattr(contrasts, way)() in getattr(found, way)()
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is tuple and type(again[0]) is pd.DataFrame


def test_without_contrasts_there_is_one_table(model):
    found = model.emtrends("x", contrasts=None)
    assert found[1] is None and repr(found).startswith("Marginal slopes of x") and "None" not in found._repr_html_()
    inferred = model.infer("boot", n_boot=60, seed=1)
    assert inferred[1] is None and "Marginal slopes of x (link scale), by bootstrap" in repr(inferred)


def test_draws_that_do_not_count_are_told():
    data = trial().iloc[:40].assign(rare=lambda d: np.where(np.arange(len(d)) < 2, "yes", "no"))
    model = Lm("y ~ rare", data)
    model.fit(summarize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        table = model.infer("boot", n_boot=100, seed=1)
    least = table["Num_boot"].min()
    assert least < 100 and f"{least} or more of 100 draws" in repr(table)


def test_two_stages():
    model = Lm2("y ~ x", trial(), group="g")
    model.fit(summarize=False)
    assert "df: " in repr(model.infer()) and "Simulated" not in repr(model.infer("boot", n_boot=60, seed=1))
    drawn = model.simulate(3, seed=1)
    assert len(drawn) and "Simulated outcomes of each row" in repr(model.infer())


@pytest.mark.parametrize("kind", [Lm, Lm2])
def test_a_model_that_is_not_fitted_shows_no_table(kind):
    model = kind("y ~ x", trial(), **({"group": "g"} if kind is Lm2 else {}))
    assert "not fitted" in model._repr_html_() and "<table" not in model._repr_html_()
    assert "|" not in model._repr_markdown_() and "tabular" not in model._repr_latex_()


@pytest.mark.r
def test_a_mixed_model():
    model: Lmer = case("slopes")
    assert "df: Satterthwaite." in repr(model.infer(on="coefs"))
    assert "95 % limits." in repr(model.infer("profile"))
    assert "limits where the deviance is up by 2." in repr(model.infer("profile", threshold=2.0))
    told = repr(model.joint_tests())
    assert "df: Satterthwaite." in told and "Degrees-of-freedom" not in told


@pytest.mark.r
def test_tests_of_terms_and_of_random_effects():
    model: Lmer = case("slopes")
    table = model.anova()
    told = repr(table)
    assert told.startswith("Tests of terms, type 3") and told.endswith("F tests; df: Satterthwaite.")
    assert all(name in told for name in table.columns) and model.anova_results is table
    told = repr(model.ranova())
    assert told.startswith("Tests of random effects") and "Days in (Days | Subject)" in told and "by REML" in told
    herds = Lmer("incidence / size ~ period + (1 | herd)", load_dataset("cbpp"), family="binomial", weights="size")
    herds.fit(summarize=False)
    assert repr(herds.anova()).endswith("Wald's chi-square tests.")


def test_a_comparison_shows_all_its_columns():
    models = [Lm(formula, trial()) for formula in ("y ~ 1", "y ~ x")]
    for model in models:
        model.fit(summarize=False)
    table = compare(*models)
    for found, how in ((table, "by maximum likelihood."), (lrt(models, refit=False), "as the models were fitted.")):
        told = repr(found)
        assert told.startswith("Comparison of models") and told.endswith(how)
        assert all(name in told for name in found.columns) and max(map(len, told.splitlines())) <= 80
    assert type(table.round(2)) is pd.DataFrame and type(table[["npar"]]) is pd.DataFrame
