"""Bootstrap draws and permutations of `Lm`, against what a resample has to be."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from samples import native, patchy, regression

from pymer4 import Lm
from pymer4.errors import DataError, ModelWarning

pytestmark = pytest.mark.numeric


def test_bootstrap_limits_are_the_inference():
    model = regression("y ~ x + z", patchy(), conf_int="boot", n_boot=999, seed=3)
    same = ["Estimate", "SE", "DF", "T-stat"]
    pd.testing.assert_frame_equal(model.coefs[same], regression("y ~ x + z", patchy()).coefs[same])
    assert (model.ci_type, model.sig_type, model.se_type) == ("boot (999)", "bootstrapped", "non-robust")
    out = (model.coefs["2.5_ci"] > 0) | (model.coefs["97.5_ci"] < 0)
    assert ((model.coefs["P-val"] <= 0.05) == out).all() and (model.coefs["P-val"] >= 2 / 1000).all()
    robust = regression("y ~ x + z", patchy(), robust="hc0").coefs
    wide = (model.coefs["97.5_ci"] - model.coefs["2.5_ci"]) / (robust["97.5_ci"] - robust["2.5_ci"])
    assert wide.between(0.85, 1.15).all()


BOOT, PERMUTED = {"conf_int": "boot", "n_boot": 60}, {"permute": 60}
LANE = {"permute": 60, "scheme": "freedman-lane"}
CLUSTER = {"robust": "cluster", "cluster": "cl"}
FITS = {
    "boot": BOOT,
    "boot weighted": BOOT | {"weights": "array"},
    "boot by column": BOOT | {"weights": "g"},
    "boot by cluster": BOOT | CLUSTER,
    "boot of splines": BOOT | {"formula": "y ~ bs(x, df=4) * g"},
    "permuted": PERMUTED,
    "permuted robust": PERMUTED | {"robust": "hc3"},
    "permuted hac": PERMUTED | {"robust": "hac", "n_lags": 2},
    "permuted weighted": PERMUTED | {"weights": "array"},
    "permuted by column": PERMUTED | {"weights": "g"},
    "permuted by cluster": PERMUTED | CLUSTER,
    "freedman-lane": LANE,
    "freedman-lane weighted": LANE | {"weights": "array", "robust": "hc2"},
    "freedman-lane by cluster": LANE | CLUSTER,
    "both": BOOT | PERMUTED,
    "ranks": BOOT | PERMUTED | {"rank": True},
}


def resampled(how: dict, **more) -> Lm:
    weights = {"weights": patchy()["w"]} if how.get("weights") == "array" else {}
    how = {"formula": "y ~ g + x + z"} | how | weights
    return regression(data=patchy(), given={"offset": "shift"}, **how, **more)


@pytest.mark.parametrize("name", FITS)
def test_seeds_repeat_a_fit(name):
    model = resampled(FITS[name], seed=5)
    pd.testing.assert_frame_equal(model.coefs, resampled(FITS[name], seed=5).coefs)
    assert not all(resampled(FITS[name], seed=seed).coefs.equals(model.coefs) for seed in (6, 7, 8))
    n = FITS[name].get("permute")
    p = model.coefs["Perm-P-val" if n else "P-val"]
    assert p.drop("Intercept").between(0, 1, inclusive="right").all()
    if n:
        assert np.isnan(p["Intercept"]) == ("scheme" not in FITS[name])
        assert (model.coefs["Num_perm"] == n).all() and model.sig_type == f"permutation ({n})"
        hits = p.drop("Intercept") * (n + 1)
        np.testing.assert_allclose(hits, np.round(hits), rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["boot by cluster", "boot of splines", "permuted by column", "freedman-lane weighted", "both"]
)
def test_two_workers_give_the_same_bits(name):
    alone, together = resampled(FITS[name], seed=5), resampled(FITS[name], seed=5, n_jobs=2)
    pd.testing.assert_frame_equal(alone.coefs, together.coefs, check_exact=True)


@pytest.mark.parametrize("name", ["binary", "counted", "poisson", "nbinom", "gamma", "weighted poisson"])
def test_generalized_models_are_resampled(name):
    how = {"conf_int": "boot", "n_boot": 80, "permute": 80, "seed": 4}
    model = native(name, **how)
    assert (model.ci_type, model.sig_type) == ("boot (80)", "permutation (80)")
    assert model.coefs["Perm-P-val"].drop("Intercept").between(0, 1, inclusive="right").all()
    width = model.coefs["97.5_ci"] - model.coefs["2.5_ci"]
    assert (np.abs(np.log(width / (4 * native(name).coefs["SE"]))) < 0.5).all()
    pd.testing.assert_frame_equal(model.coefs, native(name, n_jobs=2, **how).coefs, check_exact=True)


TAKE = "For Intercept take the p of a fit without permute=$"
ALONE = "constant, alone or added up,"
UNTESTED = {
    # formula, how it is fitted: the names without p, and what the warning says of them
    "intercept": ("y ~ x2", {}, ["Intercept"], "added up, where .*scheme='freedman-lane' tests Intercept$"),
    "centred": ("y ~ center(x2)", {}, ["Intercept"], "freedman-lane' can't either. For Intercept take the p"),
    "means": ("y ~ 0 + g + x2", {}, ["g[a]", "g[b]", "g[c]"], f"No p for g.a., g.b., g.c.: {ALONE[:-1]}"),
    "contrasts": ("y ~ g", {}, ["Intercept"], "No p for Intercept: "),
    "one slope": ("y ~ 0 + x2", {}, [], ""),
    "clusters": (
        "y ~ x2 + between", CLUSTER, ["Intercept", "between"],
        f"No p for Intercept, between: {ALONE} within the clusters, where the outcome is shuffled",
    ),
    "both in clusters": ("y ~ 0 + x2 + I(between - x2)", CLUSTER, ["x2", "I(between - x2)"], "alone or added up"),
    "generalized": ("hit ~ x2", {}, ["Intercept"], f"shuffled. {TAKE}"),
    "freedman-lane": ("y ~ x2", {"scheme": "freedman-lane"}, [], ""),
    "freedman-lane centred": ("y ~ center(x2)", {"scheme": "freedman-lane"}, ["Intercept"], f"shuffled. {TAKE}"),
    "freedman-lane alone": ("y ~ 1", {"scheme": "freedman-lane"}, ["Intercept"], "No p for Intercept"),
    "freedman-lane means": ("y ~ 0 + g", {"scheme": "freedman-lane"}, [], ""),
    "freedman-lane in clusters": (
        "y ~ x2 + between", {"scheme": "freedman-lane"} | CLUSTER, ["between"], "No p for between",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNTESTED)
def test_what_shuffling_leaves_as_it_is_has_no_p_and_is_named(name):
    formula, how, untested, told = UNTESTED[name]
    frame = patchy().assign(between=lambda d: (d["cl"] % 5).astype(float), x2=lambda d: d["x"] + 2)
    frame["hit"] = (frame["y"] > frame["y"].median()).astype(float)
    model = Lm(formula, frame, "binomial" if name == "generalized" else "gaussian")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(permute=40, seed=1, summarize=False, **how)
    p = model.coefs["Perm-P-val"]
    assert list(p.index[p.isna()]) == untested and (model.coefs.loc[untested, "Sig"] == "").all()
    assert [str(one.message) for one in seen] == model.warnings and len(model.warnings) == bool(untested)
    assert not untested or re.search(told, model.warnings[0]), model.warnings
    assert all(one.filename == __file__ for one in seen)


def test_the_level_of_an_intercept_by_freedman_and_lane():
    """Its p is approximate; where a third of it stays as it is, the level is right."""
    rng, p, power = np.random.default_rng(3), [], []
    for seed in range(300):
        frame = pd.DataFrame({"x": rng.normal(size=30) + 1.4, "y": rng.normal(size=30)})
        for outcome, found in (("y", p), *([("I(y + 2)", power)] if seed < 60 else [])):
            model = regression(f"{outcome} ~ x", frame, permute=99, seed=seed, scheme="freedman-lane")
            found.append(model.coefs.loc["Intercept", "Perm-P-val"])
    assert 0.015 < np.mean(np.array(p) <= 0.05) < 0.095 and np.mean(np.array(power) <= 0.05) > 0.8


def test_weights_go_with_their_rows():
    """Rows of weight next to nothing don't widen a bootstrap interval, wherever they stand."""

    def width(data: pd.DataFrame, **weights) -> float:
        found = regression("y ~ x", data, conf_int="boot", n_boot=400, seed=1, **weights)
        return found.coefs.loc["x", "97.5_ci"] - found.coefs.loc["x", "2.5_ci"]

    frame = patchy().dropna(subset=["x", "y"])[["x", "y"]].reset_index(drop=True)
    both = pd.concat([pd.DataFrame({"x": np.linspace(-3, 3, 40), "y": 1000.0}), frame], ignore_index=True)
    weights = np.r_[np.full(40, 1e-12), np.ones(len(frame))]
    for order in (np.arange(len(both)), np.random.default_rng(0).permutation(len(both))):
        assert 0.7 < width(both.iloc[order], weights=weights[order]) / width(frame) < 1.4


@pytest.mark.parametrize("rows", [slice(0, 3), slice(None)])
def test_draws_make_no_significance_where_there_is_no_information(rows):
    data = pd.DataFrame(np.random.default_rng(3).normal(size=(20, 3)), columns=["y", "x", "z"])[rows]
    if len(data) > 3:
        data["y"] = 2.0
    model = Lm("y ~ x + z", data)
    with pytest.warns(ModelWarning, match="no tests|nothing to explain"):
        model.fit(conf_int="boot", n_boot=50, seed=1, summarize=False)
    assert model.coefs[["2.5_ci", "97.5_ci", "P-val"]].isna().all(axis=None) and set(model.coefs["Sig"]) == {""}


# ------------------------------------------------------------------ draws that have no fit


def steep() -> Lm:
    """Return a model whose fits to shuffled outcomes may run into means below 0."""
    frame = pd.DataFrame({"x": np.arange(9.0), "y": [1, 1, 2, 1, 1, 3, 2, 6, 30.0]})
    return Lm("y ~ x", frame, family="inverse_gaussian", link="identity")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_shuffled_outcomes_without_a_fit_are_counted():
    model = steep()
    with pytest.warns(ModelWarning, match=r"^\d+ of 300 shuffled outcomes could not be fitted and are left out"):
        model.fit(permute=300, seed=3, summarize=False)
    lost = int(next(text for text in model.warnings if "left out" in text).split()[0])
    assert 0 < lost < 150 and np.isfinite(model.coefs.loc["x", "Perm-P-val"])


@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_shuffles_that_all_fail_are_refused():
    model, refused = steep(), []
    for seed in range(30):
        try:
            model.fit(permute=1, seed=seed, summarize=False)
        except DataError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 20
    assert all("Not one shuffled outcome of 1 could be fitted" in text and "permute=" in text for text in refused)


def test_draws_that_all_fail_are_refused():
    frame = pd.DataFrame({"single": [f"s{k}" for k in range(18)] + ["rest"] * 6, "y": np.arange(24.0) % 7})
    with pytest.raises(DataError, match=r"Not one bootstrap draw of 5 .* too few rows\. Use conf_int='standard'"):
        Lm("y ~ single", frame).fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
