"""`infer()` of marginal means, slopes and contrasts of `Lmer`: beside emmeans' own tables, and rows of coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from cases import case, refit
from samples import fitted, trial
from scipy import stats
from test_infer_lmer import quietly

from pymer4.errors import OptionError

pytestmark = pytest.mark.r

MODELS = {
    "linear": ("y ~ x * cond + flag + dose + (x | g) + (1 | h)", {}),
    "kenward": ("y ~ x * cond + (1 | g)", {"ddf": "Kenward-Roger"}),
    "log": ("log(pos) ~ x * cond + (1 | g)", {}),
    "log2": ("log2(pos) ~ x * cond + (1 | g)", {}),
    "scale": ("scale(y) ~ x * cond + (1 | g)", {}),
    "steps": ("log(pos * 2 + 1) ~ x * cond + (1 | g)", {}),
    "logit": ("yes ~ x * cond + (1 | g)", {"family": "binomial"}),
    "probit": ("yes ~ x * cond + (1 | g)", {"family": "binomial", "link": "probit"}),
    "poisson": ("count ~ x * cond + offset(o) + (1 | g)", {"family": "poisson"}),
    "inverse": ("size ~ x + cond + (1 | g)", {"family": "gamma", "link": "inverse"}),
    "sqrt": ("count ~ x * cond + (1 | g)", {"family": "poisson", "link": "sqrt"}),
}
FEW = {"profile_auto": False, "seed": 1}


def same(found, wanted) -> None:
    """Compare tables: limits to a share of the standard error, and p as far as R has the studentized range."""
    assert [list(table.columns) for table in found] == [list(table.columns) for table in wanted]
    for here, there in zip(found, wanted, strict=True):
        for name in there.columns:
            if there[name].dtype.kind != "f":
                assert list(here[name]) == list(there[name])
                continue
            unit = there["SE"] if name.endswith(("_ci", "Estimate")) else 1.0 if name == "P-val" else there[name].abs()
            gap = (here[name] - there[name]).abs()
            alike = (here[name] == there[name]) | (here[name].isna() & there[name].isna())
            assert ((gap <= 1e-8 * unit) | alike).all(), name
        assert {key: here.attrs[key] for key in ("estimate", "scale", "adjust", "ddf")}.items() <= there.attrs.items()


@pytest.mark.parametrize("scale", ["response", "link"])
@pytest.mark.parametrize("name", MODELS)
def test_tables_of_emmeans_are_repeated(name, scale):
    formula, how = MODELS[name]
    model = fitted(formula, **how)
    same(
        model.infer() if model.emmeans("cond", type=scale) else (), (model.marginal_estimates, model.marginal_contrasts)
    )
    wanted = model.emtrends("x", "cond", type=scale)
    same(model.infer(), wanted)


@pytest.mark.parametrize(
    "adjust", ["none", "tukey", "bonferroni", "holm", "hochberg", "hommel", "fdr", "BY", "sidak", "scheffe"]
)
def test_adjustments_are_made_by_group(adjust):
    model = case("factors")
    wanted = model.emmeans("dose", "cond", adjust=adjust)
    same(model.infer(on="marginal"), wanted)


@pytest.mark.parametrize("contrasts", ["trt.vs.ctrl", "consec", "poly", "eff", {"a": [1, -1, 0], "b": [1, 1, -2]}])
def test_contrasts_of_every_kind_are_repeated(contrasts):
    model = refit("factors", ddf="asymptotic")
    wanted = model.emmeans("cond", contrasts=contrasts, ddf="Satterthwaite")
    same(model.infer(), wanted)
    assert model.emmeans("cond", contrasts=None)[1] is None and model.infer()[1] is None


def test_what_can_not_be_told_apart_stays_missing():
    model = case("aliased")
    means, _ = model.emtrends("x")
    assert np.isnan(means["Estimate"]).tolist() == np.isnan(model.infer()[0]["Estimate"]).tolist()


def test_one_sided_tests_of_differences_are_sidak_s():
    model = fitted("y ~ cond + (1 | g)")
    model.emmeans("cond")
    _, found = model.infer(alternative="greater")
    one = stats.t.sf(found["T-stat"], found["DF"])
    np.testing.assert_allclose(found["P-val"], 1 - (1 - one) ** 3, rtol=1e-8)
    assert np.isinf(found["100_ci"]).all()


# Draws


def test_draws_are_rows_of_those_of_the_coefficients():
    model = fitted("count ~ x + cond + (1 | g)", family="poisson")
    model.emmeans("cond", at={"x": 0}, type="link")
    means, ratios = model.infer("boot", n_boot=19, **FEW)
    draws = model.resamples
    model.infer("boot", n_boot=19, on="coefs", **FEW)
    b = model.resamples
    rows = np.stack([b["(Intercept)"], b["(Intercept)"] + b["conda"], b["(Intercept)"] + b["condb"]], axis=1)
    np.testing.assert_allclose(draws[0], rows, rtol=1e-10)
    np.testing.assert_allclose(draws[1], rows[:, [0, 0, 1]] - rows[:, [1, 2, 2]], rtol=1e-8, atol=1e-12)
    assert means["Num_boot"].eq(19).all() and ratios["Contrast"].tolist() == ["C - a", "C - b", "a - b"]


def test_slopes_behind_a_link_are_drawn_as_they_are():
    """Not as their straight line at the estimate."""
    model, step = fitted("count ~ x + (1 | g)", family="poisson"), np.ptp(trial()["x"]) / 1000
    model.emtrends("x", at={"x": [0, 1]}, specs="x", type="response", contrasts=None)
    model.infer("boot", n_boot=19, **FEW)
    draws = model.resamples
    model.infer("boot", n_boot=19, on="coefs", **FEW)
    b, slope = model.resamples.to_numpy().T
    at = np.array([0.0, 1.0])[:, None]
    wanted = (np.exp(b + slope * (at + step)) - np.exp(b + slope * at)) / step
    np.testing.assert_allclose(draws, wanted.T, rtol=1e-8)
    with pytest.raises(OptionError, match=r"emtrends\(type='link'\)"):
        model.infer("perm", on="marginal")


@pytest.mark.parametrize("scheme", ["raw", "freedman-lane"])
def test_p_of_a_difference_is_that_of_its_coefficient(scheme):
    model = fitted("y ~ x + cond + (1 | g)")
    wanted = quietly(model.infer, "perm", n_perm=29, scheme=scheme, **FEW)["Perm-P-val"]
    model.emmeans("cond")
    means, found = quietly(model.infer, "perm", n_perm=29, scheme=scheme, **FEW)
    np.testing.assert_allclose(found["Perm-P-val"][:2], wanted[["conda", "condb"]])
    assert means["Perm-P-val"].isna().all() == (scheme == "raw")
    assert found["Num_perm"].eq(29).all() and found["Perm-P-val"].notna().all()


def test_slopes_of_an_offset_are_on_the_scale_of_the_outcome():
    model = fitted("I(10 * y) ~ x + offset(o) + (1 | g)")
    means = model.emmeans("x", "o", at={"x": 0, "o": [0, 1]}, contrasts=None)[0]["Estimate"]
    for scale, wanted in (("response", np.diff(means)[0]), ("link", 1.0)):
        slope, _ = model.emtrends("o", type=scale)
        np.testing.assert_allclose([slope["Estimate"].iloc[0], model.infer()[0]["Estimate"].iloc[0]], wanted, rtol=1e-9)
