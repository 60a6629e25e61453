"""Marginal means, slopes and joint tests of regressions: what they are by definition, say, and refuse, without R."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
from samples import regression
from scipy import stats

from pymer4 import Lm, Lm2, load_model, save_model
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.infer import second_level

pytestmark = pytest.mark.numeric

GIVEN = {
    "gaussian": ("y ~ cond * x + flag", {}),
    "logs": ("np.log(pos) ~ cond * x + flag", {}),
    "binomial": ("yes ~ cond * x + flag", {"family": "binomial"}),
    "poisson": ("count ~ cond * x + flag", {"family": "poisson"}),
    "offset": ("count ~ cond * x + flag", {"family": "poisson", "offset": "o"}),
    "inverse gaussian": ("time ~ cond * x + flag", {"family": "inverse_gaussian", "link": "log"}),
    "nbinom": ("spread ~ cond * x + flag", {"family": "nbinom"}),
}


def fitted(name: str, **fit: object) -> Lm:
    return regression(GIVEN[name][0], given=GIVEN[name][1], **fit)


def cells(x: float, **more: float) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product([["C", "a", "b"], [False, True]], names=["cond", "flag"]).to_frame(index=False)
    return rows.assign(x=x, o=samples.trial().o.mean()).assign(**more)


def outcome(model: Lm, rows: pd.DataFrame) -> np.ndarray:
    predicted = model.predict(rows)
    return np.exp(predicted) if model.formula.startswith("np.log") else predicted


@pytest.mark.parametrize("name", GIVEN)
def test_slopes_are_difference_quotients_of_predictions(name):
    model, step = fitted(name), 1e-3 * np.ptp(samples.trial().x)
    low, high = (outcome(model, cells(x)) for x in (0.5, 0.5 + step))
    expected = ((high - low) / step).reshape(3, 2).mean(axis=1)
    found = model.emtrends("x", "cond", at={"x": 0.5}, type="response", contrasts=None)[0]
    np.testing.assert_allclose(found["Estimate"], expected, rtol=1e-9)
    assert found.attrs["estimate"] == "trend" and found.attrs["variable"] == "x"
    assert "Slopes are on the response scale." in found.attrs["notes"]


@pytest.mark.parametrize("name", ["logs", "binomial", "poisson"])
def test_errors_of_slopes_are_by_the_delta_method(name):
    """The gradient of the slopes in b, by differences of models whose b is moved."""
    model = fitted(name)
    found = model.emtrends("x", "cond", at={"x": 0.5}, type="response", contrasts=None)[0]
    gradient, step = np.zeros((3, len(model._fit.b))), 1e-3 * np.ptp(samples.trial().x)
    for j in range(len(model._fit.b)):
        ends = []
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            moved._estimate = replace(
                model._estimate, b=model._fit.b + sign * 1e-5 * (np.arange(len(model._fit.b)) == j)
            )
            low, high = (outcome(moved, cells(x)) for x in (0.5, 0.5 + step))
            ends.append(((high - low) / step).reshape(3, 2).mean(axis=1))
        gradient[:, j] = (ends[0] - ends[1]) / 2e-5
    expected = np.sqrt(np.einsum("ij,jk,ik->i", gradient, model._fit.vcov, gradient))
    np.testing.assert_allclose(found["SE"], expected, rtol=1e-5)


def test_limits_and_tests_are_by_t_with_the_df_of_the_fit():
    for robust, df in ((False, 233), ("hc3", 233), ("cluster", 24 - 7)):
        model = fitted("gaussian", robust=robust, cluster="g" if robust == "cluster" else None, conf_level=0.9)
        means, contrasts = model.emmeans("cond", adjust="none")
        reach = stats.t.ppf(0.95, df) * means["SE"]
        np.testing.assert_allclose(means["95_ci"], means["Estimate"] + reach, rtol=1e-10)
        np.testing.assert_allclose(contrasts["P-val"], 2 * stats.t.sf(contrasts["T-stat"].abs(), df), rtol=1e-10)
        assert means["DF"].eq(df).all() and means.attrs["ddf"] == "residual" and means.attrs["level"] == 0.9
    means, contrasts = fitted("gaussian").emmeans("cond", ddf="asymptotic")
    assert np.isinf(means["DF"]).all() and "Z-stat" in contrasts and means.attrs["ddf"] == "asymptotic"
    assert fitted("inverse gaussian").emmeans("cond")[0]["DF"].eq(233).all()


def test_variances_by_column_have_welchs_df():
    data = samples.trial()
    model = regression("y ~ cond", data, weights="cond")
    means, contrasts = model.emmeans("cond", adjust="none")
    sizes = data.groupby("cond").size()
    np.testing.assert_allclose(means["DF"], sizes - 1, rtol=1e-9)
    a, b = (data.y[data.cond == level] for level in ("C", "a"))
    welch = stats.ttest_ind(a, b, equal_var=False)
    np.testing.assert_allclose(contrasts[["DF", "T-stat", "P-val"]].iloc[0], [welch.df, welch.statistic, welch.pvalue])
    assert means.attrs["ddf"] == "Satterthwaite"
    expected = model.test("cond[T.a], cond[T.b]")
    np.testing.assert_allclose(
        model.joint_tests().iloc[0, :4].astype(float), expected.iloc[0, :4].astype(float), rtol=1e-9
    )


@pytest.mark.parametrize("name", ["gaussian", "binomial", "nbinom"])
def test_joint_tests_are_tests_of_the_coefficients_that_make_them(name):
    """Without interactions those of the coefficients of each variable."""
    model = regression(GIVEN[name][0].replace("*", "+"), given=GIVEN[name][1])
    found = model.joint_tests()
    for variable, hypothesis in (("cond", "cond[T.a], cond[T.b]"), ("x", "x"), ("flag", "flag[T.True]")):
        expected = model.test(hypothesis).iloc[0, :-1].astype(float)
        np.testing.assert_allclose(found.loc[variable].iloc[:-1].astype(float), expected, rtol=1e-8)
    assert list(found.index) == ["cond", "x", "flag"]


def test_interactions_are_tested_at_the_means_of_covariates():
    model = fitted("gaussian")
    mean = samples.trial().x.mean()
    expected = model.test(f"cond[T.a] + {mean} * cond[T.a]:x, cond[T.b] + {mean} * cond[T.b]:x")
    np.testing.assert_allclose(model.joint_tests().loc["cond", "F-stat"], expected["F-stat"].iloc[0], rtol=1e-9)


def test_each_group_of_a_nested_factor_is_a_family():
    """Tukey's range is that of the three means of a group."""
    data = samples.trial().assign(a=lambda d: np.array(["p", "q"])[d.index % 2])
    data["b"] = data.a + np.array(["1", "2", "3"])[data.index // 2 % 3]
    found = regression("y ~ a + b", data).emmeans("b", "a")[1]
    expected = stats.studentized_range.sf(np.sqrt(2) * found["T-stat"].abs(), 3, found["DF"])
    np.testing.assert_allclose(found["P-val"], expected, rtol=1e-6)
    assert found["a"].tolist() == ["p"] * 3 + ["q"] * 3
    means = regression("y ~ a + b", data).emmeans("a")[0]
    np.testing.assert_allclose(means["Estimate"], data.groupby(["a", "b"])["y"].mean().groupby("a").mean())
    with pytest.raises(OptionError, match="'b' is nested in a"):
        regression("y ~ a + b + x", data).joint_tests("b")


@pytest.mark.parametrize("as_array", [False, True])
def test_offsets(as_array):
    data = samples.trial()
    given = {"family": "poisson", "offset": data.o.to_numpy() if as_array else "o"}
    model, plain = (
        regression("count ~ cond + x", data, given=given),
        regression("count ~ cond + x", data, given={**given, "offset": "o"}),
    )
    means = model.emmeans("cond")[0]
    rows = pd.DataFrame({"cond": ["C", "a", "b"], "x": data.x.mean(), "o": data.o.mean()})
    np.testing.assert_allclose(means["Estimate"], plain.predict(rows), rtol=1e-10)
    assert any("The offset counts" in note for note in means.attrs["notes"])
    if as_array:
        with pytest.raises(OptionError, match="at names 'o'"):
            model.emmeans("cond", at={"o": 0})
    else:
        np.testing.assert_allclose(model.emmeans("cond", at={"o": 1})[0]["Estimate"], plain.predict(rows.assign(o=1.0)))
        np.testing.assert_allclose(model.emtrends("o")[0]["Estimate"], 1.0, rtol=1e-9)
        assert list(model.joint_tests().index) == ["cond", "x"]
    beside = regression("y ~ cond + x", data, given={"offset": "x"})
    np.testing.assert_allclose(beside.emtrends("x")[0]["Estimate"], beside.coefs.loc["x", "Estimate"] + 1, rtol=1e-9)


def test_ranks():
    data = samples.trial()
    ranked = data.assign(y=data.y.rank(), x=data.x.rank())
    model, plain = regression("y ~ cond * x", data, rank=True), regression("y ~ cond * x", ranked)
    for at, ranks in (
        ({}, {}),
        ({"x": [0.5, 9.0]}, {"x": [np.interp(0.5, np.sort(data.x), np.arange(1, 241)), 240.0]}),
    ):
        found, expected = model.emmeans("cond", at=at)[0], plain.emmeans("cond", at=ranks)[0]
        np.testing.assert_allclose(found.iloc[:, 1:], expected.iloc[:, 1:], rtol=1e-9)
    np.testing.assert_allclose(
        model.emtrends("x", at={"x": 9})[0]["Estimate"], plain.emtrends("x", at={"x": 240})[0]["Estimate"]
    )
    assert model.emmeans("cond", at={"x": 9})[0].attrs["messages"][-1] == "x is in ranks: 9 is 240"
    with pytest.warns(ModelWarning, match="No regression in group"):
        two = samples.fit(Lm2("y ~ cond + x", data, group="g"), rank=True)
    assert len(two.emmeans("cond")[0]) == 3
    with pytest.raises(OptionError, match="ranked within 'g'"):
        two.emmeans("cond", at={"x": 1})


@pytest.mark.parametrize("robust", [False, "hc3", "cluster"])
def test_lm2_tests_rows_of_each_group(robust):
    data = samples.trial().assign(site=lambda d: d.g // 20)
    model = samples.fit(
        Lm2("y ~ x + flag", data, group="g"), robust=robust, cluster="site" if robust == "cluster" else None
    )
    means, contrasts = model.emmeans("flag", adjust="none")
    mean = data.x.mean()
    L = np.array([[1, 0, mean], [1, 1, mean], [0, -1, 0]])
    stage = replace(model._fit.stage, values=model.fixef[["Intercept", "flag[T.True]", "x"]].to_numpy() @ L.T)
    expected = np.array(second_level.tested(stage))
    found = pd.concat([means, contrasts])[["Estimate", "SE", "DF"]].to_numpy(dtype=float).T
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    slope = model.emtrends("x")[0].iloc[0, :-1].astype(float)
    np.testing.assert_allclose(slope, model.coefs.loc["x"].iloc[:4].astype(float), rtol=1e-9)
    np.testing.assert_allclose(model.joint_tests()["P-val"], model.coefs["P-val"][["x", "flag[T.True]"]], rtol=1e-8)


def test_lm2_of_counts_and_of_correlations():
    data = samples.trial()
    model = samples.fit(Lm2("count ~ x", data, group="g", family="poisson"))
    means, ratios = model.emmeans("x", at={"x": [0, 1]})
    b = model.coefs["Estimate"]
    np.testing.assert_allclose(means["Estimate"], np.exp([b["Intercept"], b.sum()]), rtol=1e-9)
    np.testing.assert_allclose(ratios["Estimate"], np.exp(-b["x"]), rtol=1e-9)
    assert (means.attrs["estimate"], ratios.attrs["estimate"], "T-stat" in ratios) == ("rate", "ratio", True)
    correlated = samples.fit(Lm2("y ~ x + z", data, group="g"), to_corrs=True)
    with pytest.raises(OptionError, match="correlations"):
        correlated.emmeans("x")


def test_what_was_asked_is_inferred_of():
    model = fitted("logs")
    found = model.emmeans("cond", adjust="holm")
    for table, again in zip(found, model.infer(), strict=True):
        pd.testing.assert_frame_equal(table, again)
    drawn = model.infer("boot", n_boot=60, seed=1)
    assert drawn[1]["Contrast"].tolist() == found[1]["Contrast"].tolist()
    np.testing.assert_allclose(drawn[1]["Estimate"], found[1]["Estimate"])
    slopes, _ = model.emtrends("x")
    np.testing.assert_allclose(model.infer("boot", n_boot=60, seed=1)[0]["Estimate"], slopes["Estimate"])


def test_copies_and_files_answer_as_the_model_did(tmp_path):
    model = fitted("logs")
    found, tests = model.emmeans("cond", "flag"), model.joint_tests()
    save_model(model, tmp_path / "model.h5")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), load_model(tmp_path / "model.h5")):
        pd.testing.assert_frame_equal(other.marginal_estimates, found[0])
        for table, again in zip(found, other.emmeans("cond", "flag"), strict=True):
            pd.testing.assert_frame_equal(table, again)
        pd.testing.assert_frame_equal(tests, other.joint_tests())


def test_a_fit_forgets_what_the_last_one_showed():
    model = regression("y ~ cond", samples.trial())
    first = model.emmeans("cond")[0]
    model.fit(factors={"cond": ["b", "a", "C"]}, summarize=False)
    assert model.marginal_estimates is None and model.marginal_contrasts is None
    again = model.emmeans("cond")[0]
    assert again["cond"].tolist() == ["b", "a", "C"]
    np.testing.assert_allclose(again["Estimate"], first["Estimate"][::-1])


def test_rows_and_levels_are_those_of_the_fit():
    data = samples.patchy()
    model = regression("y ~ g * x + C(cl > 8)", data)
    whole = data.dropna(subset=["y", "g", "x"])
    assert model.emmeans("g", at={"x": whole.x.mean()})[0].equals(model.emmeans("g")[0])
    weird = data.rename(columns={"x": "my x", "h": "SE"})
    model = regression("y ~ g * Q('my x') + SE", weird)
    with pytest.warns(ModelWarning, match="'SE' is a column of the table's own"):
        assert "SE (variable)" in model.emmeans("SE")[0]
    assert len(model.emtrends("my x", "g")[0]) == 3


WRONG = [
    (lambda m: m.emmeans("con"), "'con', which is not.*mean 'cond'.*factors: cond, flag; covariates: x"),
    (lambda m: m.emmeans([]), "specs names no variable"),
    (lambda m: m.emmeans("cond", "cond"), "in specs and in by"),
    (lambda m: m.emmeans("cond", at={"cond": "d"}), "'d', not among the levels: C, a, b"),
    (lambda m: m.emmeans("cond", at={"x": np.arange(5000)}), r"30,000 rows \(cond 3 × flag 2 × x 5000\)"),
    (lambda m: m.emmeans("cond", contrasts={"x": [1, -1]}), "2 weights for 3 cells.*C, a, b"),
    (lambda m: m.emmeans("cond", contrasts={"x": {"A": 1}}), "'A', which is no cell"),
    (lambda m: m.emmeans("cond", ddf="Satterthwaite"), "is for an Lmer.*'asymptotic'"),
    (lambda m: m.emmeans("cond", type="mean"), "type='mean'"),
    (lambda m: m.emmeans("cond", adjust="Holm"), "adjust='Holm'.*'holm'"),
    (lambda m: m.emtrends("cond"), "is a factor, which has no slope"),
    (lambda m: m.emtrends(["x"]), "not the name of one covariate"),
    (lambda m: m.joint_tests(["cond", "x", "flag"]), "no variable to test"),
]


@pytest.mark.parametrize(("ask", "text"), WRONG)
def test_errors_say_what_was_given_and_what_is_allowed(ask, text):
    with pytest.raises(OptionError, match=text):
        ask(fitted("gaussian"))


def test_what_has_no_slope_or_no_mean():
    data = samples.trial().assign(date=pd.date_range("2020-01-01", periods=240), const=1.5)
    with pytest.raises(OptionError, match=r"1\.5 in every row used, and has no slope"):
        regression("y ~ x + const", data).emtrends("const")
    with pytest.raises(DataError, match="'date' holds"):
        regression("y ~ cond + I((date - date.min()).dt.days)", data).emmeans("cond")
    with pytest.raises(NotFittedError, match="emmeans"):
        Lm("y ~ x", data).emmeans("x")
    many = data.assign(**{f"f{k}": data.index * (k + 3) % 11 for k in range(4)})
    with pytest.raises(OptionError, match=r"rows \(f0 11 × f1 11"):
        regression("y ~ C(f0) + C(f1) + C(f2) + C(f3)", many).emmeans("f0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert regression("y ~ cond + np.log(x + 9)", data).emmeans("cond", at={"x": -10})[0]["Estimate"].isna().all()
