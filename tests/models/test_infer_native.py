"""`infer()` of `Lm` and `Lm2`: beside the fit that asks the same, and beside loops that do what each way says."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from samples import fit, patchy, regression, trial
from scipy import stats

from pymer4 import Lm, Lm2
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.infer.targets import Question, Target

pytestmark = pytest.mark.numeric


def two_stage(**how) -> Lm2:
    return fit(Lm2("y ~ x + z", trial(), group="g"), **how)


MODELS = {
    "plain": lambda: regression("y ~ g + x + z", patchy(), given={"offset": "shift"}),
    "hc3": lambda: regression("y ~ g + x", patchy(), robust="hc3"),
    "cluster": lambda: regression("y ~ x + z", patchy(), robust="cluster", cluster="cl"),
    "weighted": lambda: regression("y ~ g + x", patchy(), weights=patchy()["w"]),
    "by column": lambda: regression("y ~ g + x", patchy(), weights="g"),
    "binomial": lambda: regression("yes ~ x + cond", given={"family": "binomial"}),
    "gamma": lambda: regression("size ~ x", given={"family": "gamma", "link": "log"}),
    "nbinom": lambda: regression("spread ~ x", given={"family": "nbinom"}),
    "two-stage": two_stage,
    "correlations": lambda: two_stage(to_corrs=True),
}


def quietly(call, *args, **given):
    """Call without a word of what can't be tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return call(*args, **given)


def asked(model, L, link: str = "identity", about: str = "contrasts", offset=0.0):
    """Return a model that was last asked about rows of its coefficients."""
    L = np.atleast_2d(np.asarray(L, dtype=float))
    names = [f"row {i}" for i in range(len(L))]
    model._keep_asked("marginal", [Question(about, Target(L, link, offset), contrast=names)])
    return model


@pytest.mark.parametrize("name", MODELS)
def test_infer_repeats_the_fit(name):
    model = MODELS[name]()
    before = model.coefs.copy()
    pd.testing.assert_frame_equal(model.infer(), before, rtol=1e-12)
    drawn = model.infer("boot", n_boot=99, ci_type="percentile", seed=3)
    shuffled = quietly(model.infer, "perm", n_perm=99, seed=3)
    pd.testing.assert_frame_equal(model.coefs, before)
    again = model._options.arguments(conf_int="boot", n_boot=99, permute=99, seed=3)
    quietly(model.fit, **again, summarize=False)
    pd.testing.assert_frame_equal(drawn.iloc[:, :3], model.coefs.iloc[:, :3], rtol=1e-9, check_column_type=False)
    np.testing.assert_allclose(shuffled["Perm-P-val"], model.coefs["Perm-P-val"], rtol=1e-12)
    assert drawn.columns.tolist() == ["Estimate", "2.5_ci", "97.5_ci", "SE", "Num_boot", "P-val", "Sig"]
    same = ["Estimate", "2.5_ci", "97.5_ci", "SE"]
    np.testing.assert_allclose(shuffled[same], before[same], rtol=1e-12)


@pytest.mark.parametrize("errors", ["HC0", "hc1", "Hc2", "HC3", "hetero"])
@pytest.mark.parametrize("name", ["plain", "weighted", "binomial"])
def test_robust_errors_are_those_of_a_robust_fit(name, errors):
    model = MODELS[name]()
    found = model.infer(errors=errors)
    robust = errors.lower() if errors != "hetero" else ("hc3" if name != "binomial" else "hc0")
    model.fit(**model._options.arguments(robust=robust), summarize=False)
    pd.testing.assert_frame_equal(found, model.coefs, rtol=1e-10)


def test_unequal_variances_of_cells_are_welchs():
    data = trial().query("cond != 'a'")
    found = regression("y ~ cond", data).infer(errors="unequal_var").loc["cond[T.b]"]
    welch = stats.ttest_ind(*(data.y[data.cond == level] for level in "bC"), equal_var=False)
    np.testing.assert_allclose(found[["T-stat", "P-val", "DF"]].astype(float), [*welch, welch.df], rtol=1e-9)
    cells = regression("y ~ C(trials > 4) * cond + x", data)._design.cells()
    expected = data.groupby([data.trials > 4, data.cond]).ngroup()
    assert (pd.crosstab(cells, expected) > 0).sum().eq(1).all() and len(set(cells)) == 4
    with pytest.raises(OptionError, match="the formula has none"):
        regression("y ~ x", data).infer(errors="unequal_var")


@pytest.mark.parametrize("errors", ["HC3", "CR2", "unequal_var"])
def test_joint_tests_have_the_errors_asked_for(errors):
    model, how = regression("y ~ cond + x"), {"errors": errors} | ({"cluster": "g"} if errors == "CR2" else {})
    joint, rows = model.infer("joint", **how), model.infer(**how)
    np.testing.assert_allclose(
        joint.loc["x", ["F-stat", "DenomDF", "P-val"]].astype(float),
        [rows["T-stat"]["x"] ** 2, rows["DF"]["x"], rows["P-val"]["x"]],
        rtol=1e-8,
    )
    plain = model.joint_tests()
    assert (joint["F-stat"] != plain["F-stat"]).all() and joint["NumDF"].tolist() == plain["NumDF"].tolist()
    pd.testing.assert_frame_equal(model.infer("joint"), plain)


@pytest.mark.parametrize("name", ["plain", "binomial", "two-stage"])
def test_one_sided_tests_of_a_null(name):
    model, null = MODELS[name](), 0.3
    b, se = model.coefs["Estimate"], model.coefs["SE"]
    law = stats.t(model.coefs["DF"].to_numpy()) if "DF" in model.coefs else stats.norm()
    for side, tail, limit in (("greater", law.sf, "5_ci"), ("less", law.cdf, "95_ci")):
        found = model.infer(null=null, alternative=side)
        np.testing.assert_allclose(found["P-val"], tail((b - null) / se), rtol=1e-9)
        np.testing.assert_allclose(found[limit], b + (-1 if side == "greater" else 1) * law.ppf(0.95) * se, rtol=1e-9)
        infinite = found["100_ci" if side == "greater" else "0_ci"]
        assert (np.abs(infinite) == np.inf).all()
    assert model.infer(conf_level=90).columns[1:3].tolist() == ["5_ci", "95_ci"]


def test_bca_of_a_regression_leaves_out_each_row():
    model = regression("y ~ x", trial().iloc[:40])
    found = model.infer("boot", n_boot=400, seed=1)
    X, y, draws, b = model.design_matrix.to_numpy(), trial().iloc[:40].y.to_numpy(), model.resamples, model.coefs
    without = np.array([np.linalg.lstsq(np.delete(X, i, 0), np.delete(y, i), rcond=None)[0] for i in range(len(y))])
    pulls = b["Estimate"].to_numpy() - without  # as boot::empinf(type="jack")
    a = (pulls**3).sum(axis=0) / (6 * (pulls**2).sum(axis=0) ** 1.5)
    z0 = stats.norm.ppf((draws.to_numpy() < b["Estimate"].to_numpy()).mean(axis=0))
    for end, tail in (("2.5_ci", 0.025), ("97.5_ci", 0.975)):
        z = z0 + stats.norm.ppf(tail)
        level = stats.norm.cdf(z0 + z / (1 - a * z))
        expected = [np.sort(draws.iloc[:, j])[[int(401 * level[j]) - 1, int(401 * level[j])]] for j in range(2)]
        assert all(low <= value <= high for value, (low, high) in zip(found[end], expected, strict=True))
    np.testing.assert_allclose(found["SE"], draws.std(), rtol=1e-12)
    far = np.abs(draws - b["Estimate"]) >= np.abs(b["Estimate"] - 0)
    np.testing.assert_allclose(found["P-val"], (1 + far.sum()) / 401)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_clusters_are_drawn_and_left_out_whole(family):
    data = patchy().dropna()
    outcome = "y" if family == "gaussian" else "counts"
    model = regression(f"{outcome} ~ x + z", data, given={"family": family})
    model.infer("boot", n_boot=60, cluster="cl", seed=2)
    drawn = model.resamples
    clustered = regression(f"{outcome} ~ x + z", data, given={"family": family}, robust="cluster", cluster="cl")
    clustered.infer("boot", n_boot=60, seed=2)
    pd.testing.assert_frame_equal(drawn, clustered.resamples)
    question, options = model._questions("coefs")[0], _options(model, cluster="cl")
    left_out = model._jackknife(question, options)
    for code, name in enumerate(sorted(data["cl"].unique())):
        rest = regression(f"{outcome} ~ x + z", data[data["cl"] != name], given={"family": family})
        scale = 1e-9 if family == "gaussian" else 0.1  # of a standard error: one step of the iterations
        assert (np.abs(left_out[code] - rest.coefs["Estimate"]) / rest.coefs["SE"]).max() < scale


def _options(model, **given):
    """Return the record that `infer()` makes of its arguments."""
    kept = []
    model._boot = lambda questions, options: kept.append(options) or [None]
    with pytest.raises(AttributeError):
        model.infer("boot", ci_type="basic", **given)
    del model._boot
    return kept[0]


@pytest.mark.parametrize("scheme", ["raw", "freedman-lane"])
def test_a_contrast_is_tested_as_the_coefficient_that_it_is(scheme):
    data = trial()
    coded, cells = regression("y ~ cond + x", data), asked(regression("y ~ 0 + cond + x", data), [0, -1, 1, 0])
    names = coded.coefs.index
    found = cells.infer("perm", n_perm=80, seed=4, scheme=scheme)[0]
    L = np.eye(len(names))[[names.get_loc("cond[T.b]")]] - np.eye(len(names))[[names.get_loc("cond[T.a]")]]
    same = asked(coded, L).infer("perm", n_perm=80, seed=4, scheme=scheme)[0]
    np.testing.assert_allclose(found.iloc[:, 1:-1].astype(float), same.iloc[:, 1:-1].astype(float), rtol=1e-9)
    single = asked(coded, np.eye(len(names))[1:2]).infer("perm", n_perm=80, seed=4, scheme=scheme)[0]
    whole = quietly(coded.infer, "perm", on="coefs", n_perm=80, seed=4, scheme=scheme)
    np.testing.assert_allclose(single["Perm-P-val"], whole["Perm-P-val"].iloc[1:2], rtol=1e-12)
    with pytest.warns(ModelWarning, match="No p for row 0"):
        mean = asked(coded, [1, 0, 0, 1]).infer("perm", n_perm=20, seed=4)[0]
    assert mean["Perm-P-val"].isna().all()


@pytest.mark.parametrize("name", ["binomial", "nbinom", "gamma"])
@pytest.mark.parametrize("errors", ["iid", "HC3", "CR0"])
def test_permuted_contrasts_of_generalized_models_do_not_hang_on_the_coding(name, errors):
    outcome, given = {"binomial": "yes", "nbinom": "spread", "gamma": "size"}[name], {"family": name}
    given |= {"link": "log"} if name == "gamma" else {}
    how = {"n_perm": 30, "seed": 4, "errors": errors} | ({"cluster": "g"} if errors == "CR0" else {})
    coded = asked(regression(f"{outcome} ~ cond + x", given=given), [0, 1, 0, 0]).infer("perm", **how)[0]
    cells = asked(regression(f"{outcome} ~ 0 + cond + x", given=given), [-1, 1, 0, 0]).infer("perm", **how)[0]
    np.testing.assert_allclose(coded["Perm-P-val"], cells["Perm-P-val"], rtol=1e-12)


def test_freedman_lane_takes_the_null_off_first():
    data, null = trial().iloc[:60], 0.8
    model = regression("y ~ x + z", data)
    found = quietly(model.infer, "perm", scheme="freedman-lane", null=null, n_perm=50, seed=2)
    moved = regression("y2 ~ x + z", data.assign(y2=data.y - null * data.x))
    expected = quietly(moved.infer, "perm", scheme="freedman-lane", n_perm=50, seed=2)
    for column in ("T-stat", "Perm-P-val"):
        np.testing.assert_allclose(found.loc["x", column], expected.loc["x", column])


def test_predictions_have_the_limits_of_predict():
    model, new = MODELS["binomial"](), trial().head(9)
    limits = model.predict(new, interval="confidence", pred_type="link")
    on_link = model.infer()
    pd.testing.assert_frame_equal(on_link.iloc[:, [0, 3, 1, 2]], limits[limits.columns], check_column_type=False)
    model.predict(new)
    shown = model.infer("boot", n_boot=99, seed=1)
    assert shown.index.equals(new.index) and model.resamples.shape == (99, 9)
    X = model._design.matrix(new)
    draws = model.resamples.to_numpy()
    model.infer("boot", on="coefs", n_boot=99, seed=1)
    np.testing.assert_allclose(draws, model.resamples.to_numpy() @ X.T, rtol=1e-10)
    np.testing.assert_allclose(shown["SE"], (1 / (1 + np.exp(-draws))).std(axis=0, ddof=1), rtol=1e-10)
    rows = MODELS["plain"]().infer(on="predictions")
    model = MODELS["plain"]()
    own = model.predict(patchy(), interval="confidence")
    pd.testing.assert_frame_equal(rows[own.columns], own.loc[rows.index], rtol=1e-9, check_column_type=False)


def test_rows_with_a_missing_predictor_stay_missing():
    model, new = MODELS["plain"](), patchy().head(5)
    new.loc[new.index[2], "x"] = np.nan
    model.predict(new)
    for found in (model.infer(), model.infer("boot", n_boot=60)):
        assert found["Estimate"].isna().tolist() == [False, False, True, False, False]


def test_rows_of_a_two_stage_model_are_rows_of_each_group():
    model = two_stage()
    values = model.fixef.to_numpy() @ np.array([1.0, 2.0, 3.0])
    found = asked(model, [1, 2, 3]).infer()[0]
    t, p = stats.ttest_1samp(values, 0)
    np.testing.assert_allclose(found[["Estimate", "T-stat", "P-val"]].iloc[0].astype(float), [values.mean(), t, p])
    flipped = model.infer("perm", null=5.0, n_perm=400, seed=1)[0]
    assert flipped["T-stat"].iloc[0] == pytest.approx(stats.ttest_1samp(values, 5.0)[0])
    np.testing.assert_allclose(
        model._jackknife(model._questions("marginal")[0], _options(model, on="marginal"))[:, 0],
        [np.delete(values, i).mean() for i in range(len(values))],
    )
    nested = fit(Lm2("y ~ x", trial().assign(top=lambda d: d.g % 4), group=["top", "g"]))
    within = nested.fixef[1].groupby("top")["x"].mean()
    assert asked(nested, [0, 1]).infer()[0]["P-val"].iloc[0] == pytest.approx(stats.ttest_1samp(within, 0)[1])


SIMULATED = {
    "y": ("gaussian", lambda mu: 1.0),
    "cbind(hits, trials - hits)": ("binomial", lambda mu: mu * (1 - mu)),
    "yes": ("binomial", lambda mu: mu * (1 - mu)),
    "count": ("poisson", lambda mu: mu),
    "size": ("gamma", lambda mu: mu**2),
    "time": ("inverse_gaussian", lambda mu: mu**3),
}


@pytest.mark.parametrize("outcome", SIMULATED)
@pytest.mark.parametrize("grouped", [False, True])
def test_simulated_outcomes_have_mean_and_variance_of_the_fit(outcome, grouped):
    data, (family, variance) = trial().assign(half=lambda d: d.g % 2), SIMULATED[outcome]
    model = fit(Lm2(f"{outcome} ~ 1", data, "half", family) if grouped else Lm(f"{outcome} ~ 1", data, family))
    drawn, mu, trials = model.simulate(4_000, seed=1), model.fits, 1.0
    if "cbind" in outcome:
        drawn, trials = drawn.div(data.trials, axis=0), data.trials
    found = model.infer()
    pd.testing.assert_frame_equal(found, model.infer(on="simulations"))
    phi = model._dispersions(model._sample(), mu, np.ones_like(mu))[0] if family != "binomial" else 1.0
    spread = np.sqrt(phi * variance(mu) / trials)
    apart = (drawn.mean(axis=1) - mu) / spread * np.sqrt(4_000)
    assert np.abs(apart).max() < 4.5 and abs(apart.std() - 1) < 4 / np.sqrt(2 * len(mu))  # its standard error
    np.testing.assert_allclose((drawn.var(axis=1) / spread**2).mean(), 1, atol=0.02)
    if "cbind" not in outcome:
        np.testing.assert_allclose(found["Mean"], drawn.mean(axis=1))
        np.testing.assert_allclose(found["97.5_q"], np.quantile(drawn, 0.975, axis=1, method="weibull"), rtol=1e-2)
    pd.testing.assert_frame_equal(model.simulate(2, seed=5), model.simulate(2, seed=5))


def test_draws_are_kept_as_long_as_they_are_wanted():
    model = MODELS["plain"]()
    model.infer("boot", n_boot=60, n_jobs=2, seed=1)
    kept = model.resamples
    model.infer("boot", n_boot=60, seed=1)
    pd.testing.assert_frame_equal(model.resamples, kept)
    assert kept.columns.tolist() == model.coefs.index.tolist()
    model.infer("boot", n_boot=60, save_resamples=False)
    assert model.resamples is None
    model.infer("boot", n_boot=60)
    model.fit(summarize=False)
    assert model.resamples is None


REFUSED = {
    "how='nope' is not known. Use one of": {"how": "nope"},
    "on='variance' is not for an Lm": {"on": "variance"},
    "infer(how='profile') is about 'variance', which is not for an Lm": {"how": "profile"},
    "There are no marginal effects yet; a copy keeps their tables alone. Call emmeans()": {"on": "marginal"},
    "use how='asymp' or 'boot' or 'cv'": {"how": "perm", "on": "predictions"},
    "n_boot=10 is too few for ci_type='bca'": {"how": "boot", "n_boot": 10},
    "null=1 can't be tested by scheme='raw'": {"how": "perm", "null": 1.0},
    "errors='CR2' is not for how='perm'": {"how": "perm", "errors": "CR2"},
    "save_resamples='yes'": {"save_resamples": "yes"},
    "cluster=3 is not the name of a column": {"cluster": 3},
    "cluster='G' is not a column of the data": {"how": "boot", "cluster": "G"},
    "null=nan is not a finite number": {"null": np.nan},
    "threshold=-1 is not a finite number above 0": {"how": "profile", "threshold": -1},
    "k=1 is not a whole number of at least 2": {"how": "cv", "k": 1},
    "n_perm=0 is not a whole number": {"how": "perm", "n_perm": 0},
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_is_refused_names_what_works(told):
    model = MODELS["plain"]()
    with pytest.raises(OptionError) as failure:
        model.infer(**REFUSED[told])
    assert told.replace("use how", "") in str(failure.value).replace("For that use how", "")


def test_more_refusals():
    with pytest.raises(NotFittedError, match="needs a fitted model"):
        Lm("y ~ x", trial()).infer()
    with pytest.raises(OptionError, match="flips the signs"):
        two_stage().infer("perm", scheme="freedman-lane")
    with pytest.raises(OptionError, match="Fit with to_corrs=False"):
        MODELS["correlations"]().infer(on="predictions")
    with pytest.raises(OptionError, match="not for an Lm2"):
        two_stage().infer(errors="CR2")
    with pytest.raises(OptionError, match="defined for linear models"):
        MODELS["binomial"]().infer("perm", scheme="freedman-lane")
    with pytest.raises(DataError, match="All rows are in one cluster"):
        regression("y ~ x", trial().assign(c=1)).infer("boot", cluster="c")
    with pytest.raises(DataError, match="missing in 1 of the rows"):
        data = trial().assign(c=lambda d: d.g.where(d.index != 4))
        regression("y ~ x", data).infer("boot", cluster="c")
    with pytest.warns(ModelWarning, match="n_perm=50 has no effect without how='perm'"):
        MODELS["plain"]().infer("boot", n_perm=50, n_boot=60)
