"""Two-stage regressions beside R, and what their arguments promise."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError

pytestmark = pytest.mark.numeric

matplotlib.use("Agg")

SAME = 1e-9  # two implementations of the same formula in double precision


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Thirty groups of unequal size in shuffled rows, five families of six groups."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(6, 15, 30)
    g = np.repeat(np.arange(30), sizes)
    x, z = rng.normal(size=(2, len(g)))
    y = 2 + 0.5 * x - z + rng.normal(size=30)[g] + rng.normal(size=30)[g] * x * 0.4 + rng.normal(size=len(g))
    frame = pd.DataFrame({"y": y, "x": x, "z": z, "g": [f"g{i}" for i in g], "family": [f"f{i % 5}" for i in g]})
    frame["hit"] = (rng.random(len(g)) < 1 / (1 + np.exp(-0.3 * x))).astype(float)
    frame["n"] = rng.poisson(np.exp(0.8 + 0.3 * x))
    frame["cond"] = np.where(np.arange(len(g)) % 2, "a", "b")
    return frame.sample(frac=1, random_state=1).set_index(np.arange(len(g)) * 3 + 7)


def fitted(data: pd.DataFrame, formula: str = "y ~ x + z", **arguments) -> Lm2:
    names = ("group", "family", "link")
    model = Lm2(formula, data, **({"group": "g"} | {k: v for k, v in arguments.items() if k in names}))
    model.fit(summarize=False, **{k: v for k, v in arguments.items() if k not in names})
    return model


def test_tables_are_as_documented(data):
    model = fitted(data)
    assert list(model.coefs.columns) == ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]
    assert list(model.coefs.index) == list(model.fixef.columns) == ["Intercept", "x", "z"]
    assert model.fixef.index.name == "g"
    assert list(model.fixef.index) == list(dict.fromkeys(data["g"]))
    assert model.grps == {"g": 30}
    assert list(fitted(data, conf_level=0.9).coefs.columns[1:3]) == ["5_ci", "95_ci"]
    permuted = fitted(data, permute=20, seed=1).coefs
    assert list(permuted.columns[4:]) == ["Num_perm", "T-stat", "Perm-P-val", "Sig"]


def test_measures_are_of_all_rows(data):
    model = fitted(data)
    np.testing.assert_allclose(model.BIC, -2 * model.logLike + 4 * 30 * np.log(len(data)), rtol=SAME)
    np.testing.assert_allclose(model.fits + model.residuals, data["y"], rtol=1e-12)
    explained = 1 - (model.residuals**2).sum() / ((data["y"] - data["y"].mean()) ** 2).sum()
    assert model.rsquared == pytest.approx(explained)
    assert model.rsquared_adj == pytest.approx(1 - (1 - explained) * (len(data) - 1) / (len(data) - 90))


def test_rows_keep_their_places(data):
    model, sorted_ = fitted(data), fitted(data.sort_values("g"))
    pd.testing.assert_index_equal(model.data.index, data.index)
    pd.testing.assert_index_equal(model.design_matrix.index, data.index)
    aligned = pd.Series(sorted_.fits, index=data.sort_values("g").index).loc[data.index]
    np.testing.assert_allclose(model.fits, aligned, rtol=1e-10)
    np.testing.assert_allclose(model.coefs["Estimate"], sorted_.coefs["Estimate"], rtol=1e-10)


def test_robust_true_is_hc0(data):
    pd.testing.assert_frame_equal(fitted(data, robust=True).coefs, fitted(data, robust="HC0").coefs)


def test_bootstrap_draws_groups(data):
    model = fitted(data, conf_int="boot", n_boot=2000, seed=3)
    assert (model.ci_type, model.sig_type) == ("boot (2000)", "bootstrapped")
    rng, b = np.random.default_rng(0), model.fixef.to_numpy()
    draws = b[rng.integers(0, 30, (20000, 30))].mean(axis=1)
    wanted = np.percentile(draws, [2.5, 97.5], axis=0).T
    spread = model.coefs["SE"].to_numpy()[:, None]
    # Monte Carlo error of a 2.5 % quantile of 2,000 draws: 0.06 SE, taken four times.
    assert (np.abs(model.coefs[["2.5_ci", "97.5_ci"]].to_numpy() - wanted) < 0.25 * spread).all()
    parametric = fitted(data)
    pd.testing.assert_series_equal(model.coefs["SE"], parametric.coefs["SE"])


@pytest.mark.parametrize("on", ["tstat", "coef"])
def test_permutation_agrees_with_all_sign_flips(on):
    rng = np.random.default_rng(8)
    x = np.tile([0.0, 1.0, 2.0, 3.0], 8)
    g = np.repeat(np.arange(8), 4)
    small = pd.DataFrame({"y": 0.4 * x + rng.normal(size=8)[g] + rng.normal(size=32), "x": x, "g": g})
    model = fitted(small, "y ~ x", permute=5000, perm_on=on, seed=1)
    b = model.fixef.to_numpy()
    signs = np.array(np.meshgrid(*[[1, -1]] * 8)).reshape(8, -1).T
    flipped = signs[:, :, None] * b
    means = flipped.mean(axis=1)
    statistic = means if on == "coef" else means / flipped.std(axis=1, ddof=1)
    observed = statistic[(signs == 1).all(axis=1)][0]
    exact = (np.abs(statistic) >= np.abs(observed) * (1 - 1e-10)).mean(axis=0)
    # Binomial error of 5,000 draws, at most 0.0071, taken four times.
    np.testing.assert_allclose(model.coefs["Perm-P-val"], exact, atol=0.03)


def test_flips_are_compared_on_t_by_the_spelling_of_older_code_too():
    rng = np.random.default_rng(8)
    small = pd.DataFrame({"y": rng.normal(size=32), "x": rng.normal(size=32), "g": np.repeat(np.arange(8), 4)})
    now, before = (fitted(small, "y ~ x", permute=50, perm_on=on, seed=1) for on in ("tstat", "t-stat"))
    assert now.coefs.equals(before.coefs)
    assert before.sig_type == "permutation (50)"


# Draws of more than one block, which are what workers share.
@pytest.mark.parametrize("arguments", [{"conf_int": "boot", "n_boot": 6000}, {"permute": 6000}])
@pytest.mark.parametrize("robust", [{}, {"robust": "hc3"}, {"robust": "cluster", "cluster": "family"}])
def test_jobs_do_not_change_a_bit(data, arguments, robust):
    one, two = (fitted(data, seed=5, n_jobs=n, **arguments, **robust) for n in (1, 2))
    pd.testing.assert_frame_equal(one.coefs, two.coefs, check_exact=True)


def test_flips_and_draws_keep_clusters_whole(data):
    flipped = fitted(data, permute=3000, robust="cluster", cluster="family", seed=1)
    # Five clusters have 32 patterns of signs, and each p counts their pairs.
    lowest = 2 / 32
    assert (flipped.coefs["Perm-P-val"] > lowest - 0.02).all()


@pytest.mark.parametrize("kind", ["semi", "partial"])
@pytest.mark.parametrize("fisher", [True, False])
def test_correlations_per_group_are_those_of_its_regression(data, kind, fisher):
    model = fitted(data, to_corrs=kind, ztrans_corrs=fisher)
    for name, rows in data.groupby("g"):
        alone = Lm("y ~ x + z", rows)
        alone.fit(summarize=False)
        np.testing.assert_allclose(model.fixef.loc[name], alone.to_corrs(kind, ztrans_corrs=fisher), rtol=SAME)
    assert list(model.coefs.index) == ["x", "z"]
    assert model.iscorrs == kind
    np.testing.assert_allclose(model.predict(data), model.fits, rtol=1e-10)


def test_ranks_are_within_groups(data):
    model = fitted(data, "y ~ x", rank=True)
    ranked = data.assign(**data.groupby("g")[["y", "x"]].rank())
    pd.testing.assert_frame_equal(model.coefs, fitted(ranked, "y ~ x").coefs)
    assert model.ranked_data
    pd.testing.assert_series_equal(model.data["y"], data["y"])
    with pytest.raises(OptionError, match="rank=False"):
        model.predict(data)


def test_levels_are_averaged_upwards(data):
    nested = data.assign(inner=[f"c{i % 3}" for i in range(len(data))])
    nested = nested[nested.groupby(["family", "inner"])["y"].transform("size") > 3]
    model = fitted(nested, group=["family", "inner"])
    outer, inner = model.fixef
    assert list(inner.index.names) == ["family", "inner"]
    assert model.grps == {"family": 5, "inner": 15}
    means = inner.groupby(level="family", sort=False).mean()
    pd.testing.assert_frame_equal(outer, means.loc[outer.index], check_index_type=False)
    np.testing.assert_allclose(model.coefs["Estimate"], outer.mean(), rtol=1e-12)
    assert (model.coefs["DF"] == 4).all()
    np.testing.assert_allclose(model.predict(nested), model.fits, rtol=1e-10)


def test_groups_that_can_not_be_fitted_are_named(data):
    some = data.copy()
    some.loc[(some["g"] == "g3").to_numpy(), "x"] = 1.0
    few = some.index[(some["g"] == "g4").to_numpy()][2:]
    some = some.drop(index=few)
    with pytest.warns(ModelWarning, match="g4.*fewer rows") as said:
        model = fitted(some)
    assert any("g3" in str(w.message) and "vary" in str(w.message) for w in said)
    assert model.fixef.loc[["g3", "g4"]].isna().all(axis=None)
    assert (model.coefs["DF"] == 27).all()
    assert np.isnan(model.fits[(some["g"] == "g3").to_numpy()]).all()
    rest = fitted(data[~data["g"].isin(["g3", "g4"])])
    pd.testing.assert_frame_equal(model.coefs, rest.coefs)


def test_a_factor_level_that_lacks_leaves_its_group_out(data):
    some = data.copy()
    some.loc[(some["g"] == "g5").to_numpy(), "cond"] = "a"
    with pytest.warns(ModelWarning, match="g5"):
        model = fitted(some, "y ~ cond")
    assert model.fixef.loc["g5"].isna().all()
    assert model.fixef.drop(index="g5").notna().all(axis=None)


def test_missing_rows_are_left_out_in_place(data):
    holes = data.copy()
    holes.iloc[[0, 4], 0] = np.nan
    holes.iloc[7, holes.columns.get_loc("g")] = None
    model = fitted(holes)
    gone = np.isin(np.arange(len(holes)), [0, 4, 7])
    assert (np.isnan(model.fits) == gone).all()
    pd.testing.assert_frame_equal(model.coefs, fitted(holes[~gone]).coefs)
    assert (np.isnan(model.predict(holes)) == (np.arange(len(holes)) == 7)).all()


def test_contrasts_are_those_of_lmer(data):
    model = fitted(data, "y ~ cond", factors={"cond": {"a": 1, "b": -1}})
    means = data.groupby(["g", "cond"])["y"].mean().unstack()
    difference = (means["a"] - means["b"]).loc[model.fixef.index]
    np.testing.assert_allclose(model.fixef["cond1"], difference, rtol=1e-9)


def test_predictions_take_new_rows_and_refuse_new_groups(data):
    model = fitted(data, "y ~ center(x) + bs(z, df=4)")
    some = data.iloc[:5]
    np.testing.assert_allclose(model.predict(some), model.fits[:5], rtol=1e-9)
    with pytest.raises(DataError, match="nobody"):
        model.predict(some.assign(g="nobody"))
    with pytest.raises(DataError, match="'g'"):
        model.predict(some.drop(columns="g"))
    with pytest.raises(OptionError, match=r"new_levels='populations'.*Did you mean 'population'"):
        model.predict(some, new_levels="populations")


@pytest.mark.parametrize(
    ("how", "label"),
    [
        ({}, "Estimate (y)"),
        ({"rank": True}, "Estimate (rank of y)"),
        ({"to_corrs": "semi"}, "Semi-partial r with y (Fisher z)"),
        ({"to_corrs": "partial"}, "Partial r with y (Fisher z)"),
        ({"to_corrs": True, "ztrans_corrs": False}, "Semi-partial r with y"),
    ],
)
def test_the_forest_names_what_it_shows(data, how, label):
    model = fitted(data, **how)
    axes = model.plot_summary()
    assert axes.get_xlabel() == model.plot_summary(orient="h").get_ylabel() == label
    assert [text.get_text().split(".")[0] for text in axes.texts] == ["Points: the 30 groups of g"]


def strewn(axes) -> int:
    """Return how many points stand behind the estimates."""
    return max(len(found.get_offsets()) for found in axes.collections if hasattr(found, "get_offsets"))


def test_the_forest_shows_the_level_that_is_asked_for(data):
    model = fitted(data, group=["family", "g"])
    outer, inner = len(model.fixef[0]), len(model.fixef[1])
    assert (outer, inner) == (5, 30)
    assert strewn(model.plot_summary()) == strewn(model.plot_summary(ranef_idx="family")) == 3 * outer
    for which in (1, "g", np.int64(1)):
        axes = model.plot_summary((6, 4), "se", True, None, 0.3, "s", "h", ranef_idx=which, plot_intercept=False)
        assert strewn(axes) == 2 * inner
        assert [text.get_text() for text in axes.get_xticklabels()] == ["x", "z"]
    assert strewn(fitted(data).plot_summary(ranef=False)) < 90
    with pytest.raises(OptionError, match=r"ranef_idx=.*0 \(family\), 1 \(g\)"):
        model.plot_summary(ranef_idx=2)


def test_the_summary_says_what_was_done(data, capsys):
    shown = Lm2("y ~ x", data, "g").fit(robust="hc3", permute=50, seed=1)
    said = capsys.readouterr().out
    for text in ("Two-stage", "Groups: g 30", "robust (hc3)", "permutation (50)"):
        assert text in said
    assert shown.loc["x", "Estimate"] == round(shown.loc["x", "Estimate"], 3)
    assert Lm2("y ~ x", data, "g").fit(summary=False) is None


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"robust": "hc9"}, OptionError, "hc9"),
        ({"robust": "cluster"}, OptionError, "cluster="),
        ({"robust": "cluster", "cluster": "famly"}, OptionError, "family"),
        ({"robust": "cluster", "cluster": "cond"}, DataError, "within"),
        ({"conf_int": "bootstrap"}, OptionError, "boot"),
        ({"perm_on": "t"}, OptionError, "tstat"),
        ({"to_corrs": "semipartial"}, OptionError, "semi"),
        ({"to_corrs": True, "formula": "hit ~ x", "family": "binomial"}, OptionError, "linear"),
        ({"permute": -1}, OptionError, "permute"),
        ({"n_boots": 5}, TypeError, "n_boot"),
        ({"factors": {"cond": ["a", "b", "c"]}}, OptionError, "cond"),
        ({"formula": "y ~ x + (x | g)"}, FormulaError, "Lmer"),
        ({"formula": "y ~ x", "rows": "g1"}, DataError, "two are needed"),
        *(({"group": group}, OptionError, "group=") for group in ("nope", None, 5, [], ["g", "g"], ["g", 3])),
    ],
    ids=str,
)
def test_arguments_out_of_range_say_what_is_allowed(data, arguments, error, told):
    arguments = {"formula": "y ~ x + cond"} | arguments
    one = arguments.pop("rows", None)
    with pytest.raises(error, match=told):
        fitted(data if one is None else data[data["g"] == one], **arguments)


def test_limits_of_predictions_are_of_means_over_groups(data):
    with pytest.raises(OptionError, match=r"interval='confidence' is not for an Lm2.*infer\(on='predictions'\)"):
        fitted(data, formula="y ~ x").predict(data, interval="confidence")


@pytest.mark.parametrize("fisher", [True, False])
def test_groups_without_a_correlation_are_left_out_and_named(data, fisher):
    few = data.index[(data["g"] == "g3").to_numpy()][3:]
    some = data.drop(index=few)
    some.loc[(some["g"] == "g4").to_numpy(), "y"] = 2.0
    exact = (some["g"] == "g5").to_numpy()
    some.loc[exact, "y"] = 1 + 3 * some.loc[exact, "x"] - some.loc[exact, "z"]
    with pytest.warns(ModelWarning, match=r"No correlation in group\(s\) .*g3") as said:
        model = fitted(some, to_corrs="partial", ztrans_corrs=fisher)
    assert all(name in str(said[0].message) for name in ("g3", "g4", "g5"))
    assert model.fixef.loc[["g3", "g4", "g5"]].isna().all(axis=None)
    rest = fitted(data[~data["g"].isin(["g3", "g4", "g5"])], to_corrs="partial", ztrans_corrs=fisher)
    pd.testing.assert_frame_equal(model.coefs, rest.coefs)


def test_separated_groups_are_left_out_and_named(data):
    some = data.copy()
    apart = (some["g"] == "g2").to_numpy()
    some["hit"] = np.where(apart, some["x"] > 0, np.arange(len(some)) % 2).astype(float)
    with pytest.warns(ModelWarning, match="Separation in group.*g2.*left out"):
        model = fitted(some, "hit ~ x", family="binomial")
    assert model.fixef.loc["g2"].isna().all()
    assert np.abs(model.coefs["Estimate"]).max() < 5
