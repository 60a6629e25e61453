"""Rules that `infer()` of `Lm` and `Lm2` holds: one scale of statistics, curves drawn as curves, what is asked kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from samples import fit, regression, trial
from scipy import special

from pymer4 import Lm, Lm2
from pymer4.errors import ModelWarning, OptionError
from pymer4.infer import second_level
from pymer4.infer.second_level import SecondLevel
from pymer4.infer.targets import Question, Target
from pymer4.models.native_marginal import _STEP

pytestmark = pytest.mark.numeric


def two_stage(formula: str = "y ~ x + z", **given) -> Lm2:
    return fit(Lm2(formula, trial(), group="g", **given))


def asked(model, L, offset=0.0):
    """Return a model that was last asked about rows of its coefficients."""
    names = [f"row {i}" for i in range(len(L))]
    model._keep_asked(
        "marginal", [Question("contrasts", Target(np.asarray(L, float), offset=np.asarray(offset)), names)]
    )
    return model


@pytest.mark.parametrize("outcome", ["y", "count"])
def test_permuted_cr0_is_on_the_scale_of_its_shuffles(outcome):
    """CR0 and the errors of robust="cluster" differ by one factor, which leaves p of shuffles as they are."""
    data, given = trial().assign(cl=lambda d: d.g % 8), {"family": "gaussian" if outcome == "y" else "poisson"}
    plain = regression(f"{outcome} ~ x + z", data, given=given)
    robust = regression(f"{outcome} ~ x + z", data, given=given, robust="cluster", cluster="cl")
    with pytest.warns(ModelWarning, match="Intercept"):
        found = plain.infer("perm", n_perm=99, seed=1, errors="CR0", cluster="cl")
        wanted = robust.infer("perm", n_perm=99, seed=1)
    np.testing.assert_array_equal(found["Perm-P-val"], wanted["Perm-P-val"])


@pytest.mark.parametrize("grouped", [False, True])
def test_slopes_on_the_response_scale_are_drawn_as_they_curve(grouped):
    data, law = trial().assign(half=lambda d: d.g % 6, a=lambda d: np.where(d.cond == "a", "a", "b")), "binomial"
    made = Lm2("yes ~ x + a", data, "half", law) if grouped else Lm("yes ~ x + a", data, law)
    model, how = fit(made), {"n_boot": 99, "seed": 1}
    model.emtrends("x", "a", at={"x": 0.5}, type="response", contrasts="pairwise")
    found = model.infer("boot", **how)
    slopes, apart = model.resamples
    model.infer("boot", on="coefs", **how)
    b, step = model.resamples, _STEP * model._axes["x"].reach
    eta = np.stack([b["Intercept"] + 0.5 * b["x"] + level * b["a[T.b]"] for level in (0, 1)], axis=1)
    expected = (special.expit(eta + step * b[["x"]].to_numpy()) - special.expit(eta)) / step
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(apart.iloc[:, 0], expected[:, 0] - expected[:, 1], atol=1e-9)
    assert all(part.notna().all(axis=None) for part in found)
    model.infer("boot", on="marginal", n_boot=50, save_resamples=True)
    slopes, apart = model.resamples
    np.testing.assert_allclose(apart.iloc[:, 0], slopes.iloc[:, 0] - slopes.iloc[:, 1], atol=1e-9)
    with pytest.raises(OptionError, match="no combinations of coefficients"):
        model.infer("perm", n_perm=20)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_raw_shuffles_do_not_test_what_an_offset_is_part_of(family):
    model = regression(f"{'y' if family == 'gaussian' else 'count'} ~ x + z", given={"family": family})
    with pytest.warns(ModelWarning, match="No p for row 1: the offset is a part of it"):
        found = asked(model, [[0, 1, 0], [0, 0, 1]], [0, 0.3]).infer("perm", n_perm=49, seed=1)[0]
    plain = asked(model, [[0, 1, 0]]).infer("perm", n_perm=49, seed=1)[0]
    assert found["Perm-P-val"].tolist()[:1] == plain["Perm-P-val"].tolist() and np.isnan(found["Perm-P-val"].iloc[1])
    if family == "gaussian":
        lane = asked(model, [[0, 0, 1]], [0.3]).infer("perm", n_perm=49, seed=1, scheme="freedman-lane")[0]
        moved = asked(model, [[0, 0, 1]]).infer("perm", n_perm=49, seed=1, scheme="freedman-lane", null=-0.3)[0]
        assert lane["Perm-P-val"].tolist() == moved["Perm-P-val"].tolist()


def test_contrasts_whose_offsets_cancel_are_tested():
    model = regression("y ~ cond", trial().assign(o=lambda d: d.o + 0.7), given={"offset": "o"})
    model.emmeans("cond", contrasts={"c": [0.1, 0.2, -0.3]})
    with pytest.warns(ModelWarning, match="No p for"):
        found = model.infer("perm", n_perm=49, seed=1)[1]
    assert found["Perm-P-val"].notna().all()


def test_what_rows_that_fit_themselves_keep_from_errors_is_told():
    model = regression("y ~ 0 + alone", trial().assign(alone=lambda d: d.index == 7))
    for given in ({"errors": "HC2"}, {"errors": "hetero", "how": "joint"}):
        with pytest.warns(ModelWarning, match=r"Leverage is 1 in row\(s\) 7 .*, where hc[23] .*; errors='HC1' is"):
            model.infer(**given)
    with pytest.warns(ModelWarning, match=r"No residual tells the error of alone\[True\].*errors='iid' takes"):
        assert model.infer(errors="HC1")["SE"].isna().tolist() == [False, True]


@pytest.mark.parametrize("grouped", [False, True])
def test_draws_of_two_units_are_told_to_mean_little(grouped):
    data = trial().assign(half=lambda d: d.g % 2)
    model, what = (Lm2("y ~ 1", data, "half"), "group") if grouped else (Lm("y ~ 1", data), "cluster")
    by = {} if grouped else {"cluster": "half"}
    said = f"two {what}s are of three kinds.*; take those of "
    with pytest.warns(ModelWarning, match=said + "conf_int='standard'"):
        model.fit(conf_int="boot", n_boot=50, summarize=False, **by, **({} if grouped else {"robust": "cluster"}))
    with pytest.warns(ModelWarning, match=said + "how='asymp'"):
        model.infer("boot", n_boot=50, ci_type="percentile", **by)


def test_p_that_shuffles_lack_are_those_of_the_asymptotic_table():
    model = regression("yes ~ x", given={"family": "binomial"})
    with pytest.warns(ModelWarning, match="For Intercept take the p of how='asymp'$"):
        model.infer("perm", n_perm=9, seed=1)


@pytest.mark.parametrize("grouped", [False, True])
def test_an_asymptotic_table_stays_one(grouped):
    model = two_stage("y ~ flag") if grouped else regression("y ~ flag")
    asymptotic = model.emmeans("flag", ddf="asymptotic", contrasts="pairwise")
    for table, wanted in zip(model.infer(), asymptotic, strict=True):
        pd.testing.assert_frame_equal(table, wanted)
        assert np.isinf(table["DF"]).all()


@pytest.mark.parametrize("how", ["boot", "perm"])
def test_an_lm2_refuses_clusters_that_it_would_not_take(how):
    with pytest.raises(OptionError, match="cluster='h' is not for an Lm2"):
        two_stage().infer(how, cluster="h")


@pytest.mark.parametrize("kind", ["iid", "hc3", "hac", "cluster"])
def test_coefficients_with_the_same_groups_have_the_numbers_of_each_alone(kind):
    values, clusters = np.random.default_rng(1).normal(1, 1, (20, 4)), np.arange(20) % 6
    values[[0, 3], 1:3], values[1:, 3] = np.nan, np.nan
    stage = SecondLevel(values, kind, clusters if kind == "cluster" else None, 2)

    def numbers(stage: SecondLevel) -> np.ndarray:
        flipped = [second_level.flipped_statistics(stage, on, 30, 4) for on in ("tstat", "coef")]
        return np.concatenate([*flipped, second_level.bootstrap_means(stage, 30, 5), second_level.tested(stage)])

    found = numbers(stage)
    for j, column in enumerate(values.T):
        there = ~np.isnan(column)
        alone = replace(stage, values=column[there, None], clusters=None if stage.clusters is None else clusters[there])
        np.testing.assert_allclose(found[:, [j]], numbers(alone), rtol=1e-12)
    assert np.isnan(found[:, 3]).sum() == len(found) - 1


@pytest.mark.parametrize("grouped", [False, True])
def test_bca_of_too_many_predictions_is_refused_before_it_starts(grouped):
    model = two_stage() if grouped else regression("y ~ x + z")
    model.predict(pd.concat([trial()] * 10_000, ignore_index=True))
    with pytest.raises(OptionError, match="Use ci_type='percentile'"):
        model.infer("boot", ci_type="bca", n_boot=60)


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_a_weighted_regression_without_each_row_is_that_of_the_others(far):
    data = trial().iloc[:40].assign(x=lambda d: d.x + far * (d.index == d.index[3]))
    model = regression("y ~ x + z", data, given={"offset": "o"}, weights=data["w"])
    model.infer("cv", k="loo")
    errors = []
    for i in range(len(data)):
        rest, own = data.drop(data.index[i]), data.iloc[[i]]
        errors.append(own["y"] - regression("y ~ x + z", rest, given={"offset": "o"}, weights=rest["w"]).predict(own))
    np.testing.assert_allclose(model.cv["RMSE"].iloc[:-1], np.abs(np.concatenate(errors)), rtol=1e-7)
