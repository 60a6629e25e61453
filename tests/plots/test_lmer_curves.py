"""`Lmer.plot()`: curves of groups and of the population, and the coefficients of groups."""

from __future__ import annotations

from functools import cache

import artists
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import samples
from against_r import rinterface
from artists import labelled, labels, names, note
from matplotlib.collections import LineCollection
from scipy import stats

from pymer4.errors import OptionError

pytestmark = pytest.mark.r

Z = stats.norm.ppf(0.975)
EXACT = 1e-9  # the same few products in another order


@cache
def data() -> pd.DataFrame:
    """Return the trial, with odd names, a number that stands for levels, and an outcome that groups leave alone."""
    frame = samples.trial()
    odd = {"my x": frame.x, "T": frame.z, "my g": frame.g, "tiny": frame.z / 1000}
    flat = frame.x + np.tile([0.5, -0.5], 120)
    return frame.assign(level=np.tile([10, 20, 40], 80), flat=flat, **odd)


@cache
def fitted(formula: str, *given, **fit):
    """Return a model of that frame; `given` are pairs of an argument and its value."""
    return samples.fitted(formula, data(), given=dict(given), **fit)


def population(ax):
    """Return x and y of the population's line."""
    return np.asarray(labelled(ax, "Population").get_data(), dtype=float)


def limits(ax, x):
    """Return the population's limits, of a band or of bars."""
    bars = [c for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) == len(x)]
    return artists.band(ax, x) if not bars else np.array(bars[-1].get_segments())[:, :, 1].T


def curves_of(ax, groups):
    """Return one curve a group, shape (groups, places, 2)."""
    bundles = [c for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) == len(groups)]
    if bundles:
        return np.array(bundles[0].get_segments())
    return np.array([labelled(ax, str(name)).get_xydata() for name in groups])


def test_the_band_comes_from_the_full_covariance(sleep_model):
    ax = sleep_model.plot("Days")
    x, y = population(ax)
    assert (x.min(), x.max()) == (0, 9)
    b, L = sleep_model.coefs["Estimate"].to_numpy(), np.column_stack([np.ones_like(x), x])
    V = np.reshape(list(rinterface.evalr("function(m) as.matrix(vcov(m))")(sleep_model.model_obj)), (2, 2))
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L, V, L))
    np.testing.assert_allclose(y, L @ b, rtol=EXACT)
    np.testing.assert_allclose(artists.band(ax, x), [y - half, y + half], rtol=EXACT)
    assert not np.allclose(y + half, L @ (b + Z * np.sqrt(np.diag(V))), rtol=1e-3)  # ends of two intervals
    curves = curves_of(ax, sleep_model.fixef.index)
    expected = sleep_model.fixef.to_numpy() @ np.stack([np.ones_like(x), x])
    np.testing.assert_allclose(curves[:, :, 1], expected, rtol=EXACT)
    assert note(ax) == "Thin lines: 18 groups of Subject."
    assert note(sleep_model.plot("Days", grps=sleep_model.ranef.index[:12])) == ""


RICH = "y ~ x * cond + flag + z + (x | g) + (1 | h)"
FIRST = {"cond": "C", "flag": False, "level": 10}
THIN = "Thin lines: 24 groups of g. "
FIXED = THIN + "The effect of {} does not vary between them: their lines are parallel."


@pytest.mark.parametrize(
    ("formula", "given", "param", "at", "told"),
    [
        (RICH, {}, "x", None, THIN + "Other predictors at: cond = C, flag = FALSE, z = {z}"),
        (RICH, {}, "cond", ["C", "a", "b"], f"{FIXED} Other predictors at: x = {{x}}, flag = FALSE, z = {{z}}"),
        (RICH, {}, "flag", ["FALSE", "TRUE"], f"{FIXED} Other predictors at: x = {{x}}, cond = C, z = {{z}}"),
        ("y ~ poly(x, 2) + (1 | g)", {}, "x", None, FIXED),
        ("y ~ I(x^2) + x + (1 | g)", {}, "x", None, FIXED),
        ("y ~ scale(x) + (1 | g)", {}, "x", None, FIXED),
        ("y ~ cut(x, c(-Inf, 1, 2, Inf)) + (1 | g)", {}, "x", "its values", None),
        ("y ~ factor(level) * cond + x + (1 | g)", {}, "level", ["10", "20", "40"], None),
        (
            "y ~ factor(level) * cond + x + (1 | g)", {}, "x", None,
            f"{FIXED} Other predictors at: level = 10, cond = C",
        ),
        ("y ~ x + (1 | g)", {"offset": "o"}, "x", None, f"{FIXED} Other predictors at: offset = {{o}}"),
        ("y ~ `my x` + T + (`my x` | `my g`)", {"weights": "w"}, "my x", None, None),
        ("y ~ `my x` + T + (`my x` | `my g`)", {"weights": "w"}, "T", None, None),
    ],
)  # fmt: skip
def test_a_predictor_is_drawn_with_the_others_at_means_and_first_levels(formula, given, param, at, told):
    model = fitted(formula, *given.items())
    ax = model.plot(param)
    x, y = population(ax)
    means = data()[["x", "z", "o", "my x", "T"]].mean()
    if at is None:
        assert (x.min(), x.max()) == (data()[param].min(), data()[param].max())
    elif at == "its values":
        np.testing.assert_array_equal(x, np.unique(data()[param]))
    else:
        assert [name for name in names(ax) if name] == at
    values = {"level": [10, 20, 40], "flag": [False, True], "cond": at}.get(param, x)
    rows = pd.DataFrame({**FIRST, **means, param: values})
    expected = model.predict(rows, interval="confidence")
    half = Z * expected["SE"]
    np.testing.assert_allclose(y, expected["Estimate"], rtol=EXACT)
    np.testing.assert_allclose(limits(ax, x), [y - half, y + half], rtol=EXACT)
    if told is not None:
        assert note(ax) == told.format(param, **{name: f"{mean:.4g}" for name, mean in means.items()})
    assert labels(ax) == (param, "y")


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_band_has_the_level_of_the_fit(level):
    model = fitted("y ~ x + (1 | g)", conf_level=level)
    ax = model.plot("x")
    x, y = population(ax)
    half = stats.norm.ppf((1 + level) / 2) * model.predict(pd.DataFrame({"x": x}), interval="confidence")["SE"]
    np.testing.assert_allclose(artists.band(ax, x), [y - half, y + half], rtol=EXACT)


@pytest.mark.parametrize(
    ("formula", "which", "factor", "other"),
    [(RICH, 0, "g", "h"), (RICH, "g", "g", "h"), (RICH, np.int64(1), "h", "g"), ("y ~ x + (0 + z | g)", 0, "g", None)],
)
def test_group_curves_are_what_predict_says_of_that_factor(formula, which, factor, other):
    model = fitted(formula)
    fixef = model.fixef if other is None else model.fixef["gh".index(factor)]
    curves = curves_of(model.plot("x", ranef_idx=which), fixef.index)
    x = curves[0, :, 0]
    rows = pd.DataFrame({"x": x, "z": data()["z"].mean(), "cond": "C", "flag": False, "g": -1, "h": "none"})
    for name, curve in zip(fixef.index, curves, strict=True):
        here = rows.assign(**{factor: int(name) if factor == "g" else name})
        np.testing.assert_allclose(curve[:, 1], model.predict(here, use_rfx=True, new_levels="population"), rtol=EXACT)


def test_rows_that_were_not_fitted_do_not_matter():
    rows = data().copy()
    rows.loc[rows["x"].idxmax(), "y"] = np.nan
    x, _ = population(samples.fitted("y ~ x + (1 | g)", rows).plot("x"))
    assert x.max() == rows["x"][rows["y"].notna()].max()


@pytest.mark.parametrize("within", ["", "g"])
def test_ranks_are_drawn_as_ranks(within):
    model = fitted("y ~ x + z + cond + (x | g)", rank=True, rank_group=within, rank_exclude_cols="z")
    ax = model.plot("x")
    x, y = population(ax)
    ranks = data().groupby("g")["x"].rank() if within else data()["x"].rank()
    assert (x.min(), x.max()) == (ranks.min(), ranks.max())
    b, z = model.coefs["Estimate"], data()["z"].mean()
    np.testing.assert_allclose(y, b["(Intercept)"] + b["x"] * x + b["z"] * z, rtol=EXACT)
    assert labels(ax) == ("rank of x", "rank of y")
    assert note(ax) == f"{THIN}Other predictors at: z = {z:.4g}, cond = C"
    curves = curves_of(ax, model.fixef.index)
    slopes = np.diff(curves[:, [0, -1], 1], axis=1)[:, 0] / (x[-1] - x[0])
    np.testing.assert_allclose(slopes, model.fixef["x"], rtol=1e-8)


def test_a_generalized_model_has_its_band_on_the_scale_of_the_outcome():
    model = fitted("cbind(hits, trials - hits) ~ cond + x + (1 | h)", ("family", "binomial"))
    ax = model.plot("x")
    x, y = population(ax)
    link = model.predict(pd.DataFrame({"x": x, "cond": "C"}), pred_type="link", interval="confidence")
    expected = [1 / (1 + np.exp(-(link["Estimate"] + side * Z * link["SE"]))) for side in (-1, 0, 1)]
    low, high = artists.band(ax, x)
    np.testing.assert_allclose([low, y, high], expected, rtol=1e-8)
    assert ax.get_ylabel() == "Probability (hits)"
    told = "The effect of x does not vary between groups of h: parallel on the logit scale."
    assert note(ax) == f"{told} Other predictors at: cond = C"
    assert names(model.plot("cond")) == ["C", "a", "b"]


# coefficients


def test_a_coefficient_is_drawn_group_by_group():
    model = fitted(RICH)
    ax = model.plot("(Intercept)", ranef_idx="h")
    values, row = model.fixef[1]["(Intercept)"].sort_values(), model.coefs.loc["(Intercept)"]
    np.testing.assert_allclose(artists.dots(ax)[:, 0], values, rtol=EXACT)
    assert names(ax, "y") == list(values.index)
    assert set(labelled(ax, "Population").get_xdata()) == {row["Estimate"]}
    np.testing.assert_allclose(artists.span(ax), row[["2.5_ci", "97.5_ci"]].astype(float), rtol=1e-6)
    assert note(ax) == "" and labels(ax) == ("(Intercept)", "")


def test_a_coefficient_that_groups_have_in_common_is_not_drawn_group_by_group():
    with pytest.raises(OptionError, match=r"\(Intercept\).*groups of g have in common.*are: z\. plot_summary"):
        fitted("y ~ x + (0 + z | g)").plot("(Intercept)")
    assert plt.get_fignums() == []


def test_groups_that_do_not_differ_are_one_line():
    """Without a variance between groups lme4 estimates none, and their lines would lie on one another."""
    model = fitted("flat ~ x + (1 | h)")
    assert model.convergence.singular
    said = "The 12 groups of h do not differ here: one line."
    ax = model.plot("x")
    assert note(ax) == said and [line.get_label() for line in ax.lines] == ["Population"]
    alone = model.plot("x", plot_fixef=False)
    assert note(alone) == said and [line.get_label() for line in alone.lines] == ["12 groups"]
    np.testing.assert_allclose(alone.lines[0].get_ydata(), population(ax)[1], rtol=EXACT)
    assert note(model.plot("x", grps=["i1"])) == ""


# the other arguments


def test_only_the_groups_asked_for():
    model = fitted(RICH)
    ax = model.plot("x", grps=[10, "50"])
    whole = curves_of(model.plot("x"), model.fixef[0].index)
    np.testing.assert_allclose(curves_of(ax, ["10", "50"]), whole[[1, 9]], rtol=EXACT)
    assert len([line for line in ax.lines if line.get_label() in model.fixef[0].index]) == 2


@pytest.mark.parametrize("param", ["x", "cond", "(Intercept)"])
def test_population_and_limits_can_be_left_out(param):
    def parts(**options):
        ax = fitted(RICH).plot(param, **options)
        return len([line for line in ax.lines if line.get_label() == "Population"]), len(artists.drawn(ax))

    both, no_limits, nothing = parts(), parts(plot_ci=False), parts(plot_fixef=False)
    assert (both[0], no_limits[0], nothing[0]) == (1, 1, 0)
    assert both[1] - no_limits[1] == no_limits[1] - nothing[1] == 1


def test_a_note_stays_within_the_figure():
    rows = data().copy()
    covariates = [f"a covariate with a long name, number {i}" for i in range(16)]
    rows[covariates] = np.random.default_rng(1).normal(size=(240, 16))
    model = samples.fitted(f"y ~ x + {' + '.join(f'`{name}`' for name in covariates)} + (1 | g)", rows)
    ax = model.plot("x", (5, 4))
    assert note(ax).endswith(" …")
    artists.check_texts(ax.figure)
