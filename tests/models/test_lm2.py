"""Two-stage regressions beside R, and what their arguments promise."""

from __future__ import annotations

import copy
import pickle

import hermetic
import matplotlib
import numpy as np
import pandas as pd
import pytest
from against_r import ask, relative

from pymer4 import get_resource_path
from pymer4.errors import DataError, FormulaError, ModelWarning, NotFittedError, OptionError
from pymer4.models.lm2 import Lm2

pytestmark = pytest.mark.numeric

matplotlib.use("Agg")

SAME = 1e-9  # two implementations of the same formula in double precision
KINDS = ("hc0", "hc1", "hc2", "hc3", "hac", "cluster")


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


def codes(data: pd.DataFrame, name: str = "g") -> np.ndarray:
    return pd.factorize(data[name])[0] + 1.0


_FIRST = "b <- t(sapply(split(seq_along(y), g), function(i) coef(lm(y ~ x + z, subset = i))));"


@pytest.mark.r
def test_coefficients_and_tests_are_those_of_lm_and_t_test(data):
    model = fitted(data)
    found = ask(
        _FIRST
        + """
        answer$b <- b
        answer$tests <- t(apply(b, 2, function(v) { r <- t.test(v); c(r$estimate, r$conf.int, r$stderr, r$parameter,
          r$statistic, r$p.value) }))
        fits <- lapply(split(seq_along(y), g), function(i) lm(y ~ x + z, subset = i))
        answer$r2 <- sapply(fits, function(f) summary(f)$r.squared)
        answer$r2a <- sapply(fits, function(f) summary(f)$adj.r.squared)
        answer$loglik <- sum(sapply(fits, logLik))
        answer$aic <- sum(sapply(fits, AIC))
        answer$fits <- unsplit(lapply(fits, fitted), g)
        """,
        y=data["y"],
        x=data["x"],
        z=data["z"],
        g=codes(data),
    )
    assert relative(model.fixef.to_numpy(), found["b"]) < SAME
    assert relative(model.coefs.drop(columns="Sig").to_numpy(), found["tests"]) < SAME
    assert relative(model.rsquared_per_group, found["r2"]) < SAME
    assert relative(model.rsquared_adj_per_group, found["r2a"]) < SAME
    assert model.logLike == pytest.approx(found["loglik"][0], rel=SAME)
    np.testing.assert_allclose(model.AIC, found["aic"][0], rtol=SAME)
    np.testing.assert_allclose(model.BIC, -2 * model.logLike + 4 * 30 * np.log(len(data)), rtol=SAME)
    assert relative(model.fits, found["fits"]) < SAME
    np.testing.assert_allclose(model.fits + model.residuals, data["y"], rtol=1e-12)
    assert model.rsquared == pytest.approx(1 - (model.residuals**2).sum() / ((data["y"] - data["y"].mean()) ** 2).sum())


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


def test_rows_keep_their_places(data):
    model, sorted_ = fitted(data), fitted(data.sort_values("g"))
    pd.testing.assert_index_equal(model.data.index, data.index)
    pd.testing.assert_index_equal(model.design_matrix.index, data.index)
    aligned = pd.Series(sorted_.fits, index=data.sort_values("g").index).loc[data.index]
    np.testing.assert_allclose(model.fits, aligned, rtol=1e-10)
    np.testing.assert_allclose(model.coefs["Estimate"], sorted_.coefs["Estimate"], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_robust_errors_are_those_of_sandwich(data, kind):
    hermetic.compare_with("sandwich")
    how = {"cluster": {"cluster": "family"}, "hac": {"n_lags": 2}}.get(kind, {})
    model = fitted(data, robust=kind, **how)
    families = data.drop_duplicates("g")["family"]
    found = ask(
        """
        suppressMessages(library(sandwich))
        errors <- function(v) { m <- lm(v ~ 1); sqrt(switch(kinds[kind], hac = NeweyWest(m, lag = 2, prewhite = FALSE,
          adjust = FALSE), cluster = vcovCL(m, cluster = family, type = "HC1", cadjust = TRUE),
          vcovHC(m, type = toupper(kinds[kind])))[1, 1]) }
        kinds <- c("hc0", "hc1", "hc2", "hc3", "hac", "cluster")
        answer$se <- apply(b, 2, errors)
        """,
        b=model.fixef,
        family=pd.factorize(families)[0],
        kind=np.array([KINDS.index(kind) + 1]),
    )
    assert relative(model.coefs["SE"], found["se"]) < SAME
    assert (model.coefs["DF"] == (4 if kind == "cluster" else 29)).all()
    assert model.se_type == f"robust ({kind})"


def test_robust_true_is_hc0(data):
    pd.testing.assert_frame_equal(fitted(data, robust=True).coefs, fitted(data, robust="HC0").coefs)


@pytest.mark.r
@pytest.mark.parametrize(("family", "outcome"), [("binomial", "hit"), ("poisson", "n")])
def test_generalized_first_levels_are_those_of_glm(data, family, outcome):
    model = fitted(data[data["g"].isin([f"g{i}" for i in range(12)])], f"{outcome} ~ x", family=family)
    rows = data[data["g"].isin([f"g{i}" for i in range(12)])]
    found = ask(
        f"""
        b <- t(sapply(split(seq_along(y), g), function(i)
          coef(glm(y ~ x, {family}, subset = i, control = list(epsilon = 1e-14, maxit = 100)))))
        answer$b <- b
        """,
        y=rows[outcome],
        x=rows["x"],
        g=codes(rows),
    )
    sound = np.abs(found["b"]).max(axis=1) < 10  # a separated group grows without limit, and is said to
    assert sound.sum() > 8
    assert relative(model.fixef.to_numpy()[sound], found["b"][sound]) < 1e-8
    assert sound.all() or any("Separation" in text for text in model.warnings)


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


# Draws of more than one block, which are what workers share.
@pytest.mark.parametrize("arguments", [{"conf_int": "boot", "n_boot": 6000}, {"permute": 6000}])
@pytest.mark.parametrize("robust", [{}, {"robust": "hc3"}, {"robust": "cluster", "cluster": "family"}])
def test_jobs_do_not_change_a_bit(data, arguments, robust):
    one, two = (fitted(data, seed=5, n_jobs=n, **arguments, **robust) for n in (1, 2))
    pd.testing.assert_frame_equal(one.coefs, two.coefs, check_exact=True)


@pytest.mark.parametrize(
    "given, same, told",
    [
        ({"cluster": "family"}, {}, "cluster='family' has no effect without robust='cluster'"),
        ({"cluster": "family", "robust": True}, {"robust": "hc0"}, "cluster='family' has no effect"),
        ({"cluster": "cond", "permute": 9, "seed": 1}, {"permute": 9, "seed": 1}, "cluster='cond' has no effect"),
        ({"n_lags": 2}, {}, "n_lags=2 has no effect without robust='hac'"),
        ({"n_boot": 9}, {}, "n_boot=9 has no effect without conf_int='boot'"),
        ({"perm_on": "coef"}, {}, "perm_on='coef' has no effect without permute="),
        ({"ztrans_corrs": False}, {}, "ztrans_corrs=False has no effect without to_corrs="),
        ({"ordered": True}, {}, "ordered=True has no effect without a list of levels in factors="),
    ],
    ids=str,
)
def test_an_option_without_effect_is_told(data, given, same, told):
    with pytest.warns(ModelWarning, match=told) as seen:
        model = fitted(data, **given)
    pd.testing.assert_frame_equal(model.coefs, fitted(data, **same).coefs)
    assert len(model.warnings) == 1 and len(seen) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"robust": "cluster", "cluster": "family"},
        {"robust": "hac", "n_lags": 2},
        {"conf_int": "boot", "n_boot": 9},
        {"permute": 9, "perm_on": "coef"},
        {"to_corrs": "partial", "ztrans_corrs": False},
        {"n_jobs": 2, "seed": 1},
    ],
    ids=str,
)
def test_an_option_with_an_effect_is_not(data, given):
    assert fitted(data, **given).warnings == []


def test_flips_and_draws_keep_clusters_whole(data):
    flipped = fitted(data, permute=3000, robust="cluster", cluster="family", seed=1)
    # Five clusters have 32 patterns of signs, and each p counts their pairs.
    lowest = 2 / 32
    assert (flipped.coefs["Perm-P-val"] > lowest - 0.02).all()


@pytest.mark.r
@pytest.mark.parametrize("kind", ["semi", "partial"])
@pytest.mark.parametrize("fisher", [True, False])
def test_correlations_per_group(data, kind, fisher):
    model = fitted(data, to_corrs=kind, ztrans_corrs=fisher)
    found = ask(
        """
        one <- function(i, name) {
          others <- if (name == "x") z[i] else x[i]
          own <- resid(lm((if (name == "x") x[i] else z[i]) ~ others))
          cor(own, if (partial) resid(lm(y[i] ~ others)) else y[i])
        }
        groups <- split(seq_along(y), g)
        answer$r <- cbind(sapply(groups, one, "x"), sapply(groups, one, "z"))
        """.replace("partial)", "partial == 1)"),
        y=data["y"],
        x=data["x"],
        z=data["z"],
        g=codes(data),
        partial=np.array([float(kind == "partial")]),
    )
    wanted = np.arctanh(found["r"]) if fisher else found["r"]
    assert relative(model.fixef.to_numpy(), wanted) < SAME
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


def test_the_bundled_groups_agree_with_the_loop_of_lm(data):
    bundled = pd.read_csv(get_resource_path() + "sample_data.csv")
    model = fitted(bundled, "DV ~ IV1 * IV3", group="Group")
    X = np.column_stack([np.ones(len(bundled)), bundled["IV1"], bundled["IV3"], bundled["IV1"] * bundled["IV3"]])
    for name, rows in bundled.groupby("Group").indices.items():
        b = np.linalg.lstsq(X[rows], bundled["DV"].to_numpy()[rows], rcond=None)[0]
        np.testing.assert_allclose(model.fixef.loc[name], b, rtol=1e-7)


def test_predictions_take_new_rows_and_refuse_new_groups(data):
    model = fitted(data, "y ~ center(x) + bs(z, df=4)")
    some = data.iloc[:5]
    np.testing.assert_allclose(model.predict(some), model.fits[:5], rtol=1e-9)
    with pytest.raises(DataError, match="nobody"):
        model.predict(some.assign(g="nobody"))
    with pytest.raises(DataError, match="'g'"):
        model.predict(some.drop(columns="g"))


def test_copies_are_models_of_their_own(data):
    model = fitted(data)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        pd.testing.assert_frame_equal(other.coefs, model.coefs)
        np.testing.assert_array_equal(other.predict(data), model.predict(data))


def test_the_frame_given_stays_as_it_is(data):
    before = data.copy()
    fitted(data, rank=True)
    pd.testing.assert_frame_equal(data, before)


def test_the_forest_shows_groups(data):
    model = fitted(data)
    axes = model.plot_summary()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Intercept", "x", "z"]
    points = sum(len(c.get_offsets()) for c in axes.collections) + sum(len(line.get_xdata()) for line in axes.lines)
    assert points >= 90
    without = model.plot_summary(ranef=False, error_bars="se", orient="h", plot_intercept=False)
    assert [text.get_text() for text in without.get_xticklabels()] == ["x", "z"]
    model.plot_residuals()
    model.plot_qq()


def test_the_pictures_know_the_outcome(data):
    model = fitted(data)
    outcome = str(model.formula).split("~")[0].strip()
    assert model.plot_summary().get_xlabel() == f"Estimate ({outcome})"
    assert model.plot_summary(orient="h").get_ylabel() == f"Estimate ({outcome})"
    assert model.plot_residuals().get_xlabel() == f"Fitted values ({outcome})"
    assert model.plot_partial("x").get_ylabel() == f"{outcome} | others"
    assert fitted(data, rank=True).plot_summary().get_xlabel() == f"Estimate (rank of {outcome})"
    texts = [text.get_text() for text in model.plot_summary().texts]
    assert [text.split(".")[0] for text in texts] == ["Points: the 30 groups of g"]


@pytest.mark.parametrize(("kind", "name"), [("semi", "Semi-partial r"), ("partial", "Partial r")])
@pytest.mark.parametrize("ztrans", [True, False])
def test_the_forest_of_correlations_says_which_they_are(data, kind, name, ztrans):
    model = fitted(data, to_corrs=kind, ztrans_corrs=ztrans)
    outcome = str(model.formula).split("~")[0].strip()
    assert model.plot_summary().get_xlabel() == f"{name} with {outcome}{' (Fisher z)' if ztrans else ''}"


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
    assert strewn(fitted(data).plot_summary(ranef_idx="g")) == 90
    for wrong in (2, -1, "h", True, None):
        with pytest.raises(OptionError, match=r"ranef_idx=.*0 \(family\), 1 \(g\)"):
            model.plot_summary(ranef_idx=wrong)
    with pytest.raises(TypeError, match=r"no argument 'ranef_id'\. Did you mean 'ranef_idx'"):
        model.plot_summary(ranef_id=1)


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
        ({"conf_int": "bootstrap"}, OptionError, "boot"),
        ({"perm_on": "t"}, OptionError, "tstat"),
        ({"to_corrs": "semipartial"}, OptionError, "semi"),
        ({"permute": -1}, OptionError, "permute"),
        ({"n_boots": 5}, TypeError, "n_boot"),
        ({"factors": {"cond": ["a", "b", "c"]}}, OptionError, "cond"),
        ({"robust": "cluster", "cluster": "cond"}, DataError, "within"),
    ],
)
def test_arguments_out_of_range_say_what_is_allowed(data, arguments, error, told):
    with pytest.raises(error, match=told):
        fitted(data, "y ~ x + cond", **arguments)


def test_models_that_make_no_sense_are_refused(data):
    with pytest.raises(OptionError, match="nope"):
        Lm2("y ~ x", data, group="nope")
    with pytest.raises(FormulaError, match="Lmer"):
        Lm2("y ~ x + (x | g)", data, group="g")
    with pytest.raises(DataError, match="two are needed"):
        fitted(data[data["g"] == "g1"])
    with pytest.raises(OptionError, match="linear"):
        fitted(data, "hit ~ x", family="binomial", to_corrs=True)
    with pytest.raises(NotFittedError):
        Lm2("y ~ x", data, group="g").predict(data)


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


@pytest.mark.parametrize("group", [None, 5, [], ["g", "g"], ["g", 3]])
def test_groups_have_to_be_columns(data, group):
    with pytest.raises(OptionError, match="group="):
        Lm2("y ~ x", data, group)
