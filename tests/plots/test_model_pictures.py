"""The pictures of fitted models of all three classes: what they draw is read back and computed again from the fit."""

from __future__ import annotations

import warnings
from functools import cache

import artists
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import samples
from against_r import rinterface
from artists import band, bars, dots, labelled, labels, names, note, points, slope
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats
from test_marginal_pictures import LIMITS, drawn_estimates

from pymer4 import Lm, Lm2
from pymer4.errors import ModelWarning, NotFittedError, OptionError
from pymer4.fit.lowess import lowess

pytestmark = pytest.mark.numeric

EXACT = 1e-9  # the same few products in another order
LEAST_SQUARES = 1e-6  # relative: a slope found by two regressions, as far as lme4's own equations hold
r = pytest.mark.r


@cache
def model(kind: str):
    """Return a fitted model; none of them is changed here."""
    rows = samples.trial()
    if kind == "boot":  # percentile limits, which are not symmetric
        return samples.fitted("y ~ x + z + (1 | g)", conf_int="boot", n_boot=40, seed=1, conf_level=0.9)
    if kind == "crossed":
        rows.loc[17, "x"] = np.nan
        return samples.fitted("y ~ x * cond + (x | g) + (1 | h)", rows, given={"weights": "w", "offset": "o"})
    made = {
        "Lm": lambda: (Lm("y ~ x + z", rows), {}),
        "weighted": lambda: (Lm("y ~ x + z", rows.assign(x=rows.x.where(rows.index != 17))), {"weights": rows.w}),
        "Lm2": lambda: (Lm2("y ~ x + z", rows, group="g"), {}),
        "not whole": lambda: (Lm("size ~ x + z", rows, family="poisson"), {}),
    }[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # of counts that are not whole
        made[0].fit(summarize=False, conf_level=0.9, **made[1])
    return made[0]


def of(kind: str, request):
    """Return a model of this module, or one that all tests share."""
    return request.getfixturevalue(kind) if kind.endswith("_model") else model(kind)


def kinds(*names):
    """Return parameters of which those that need R are marked so."""
    return [pytest.param(name, marks=() if name in ("Lm", "weighted", "Lm2", "not whole") else r) for name in names]


def in_r(fit, function: str) -> np.ndarray:
    """Return the numbers that an R function of the fitted model gives."""
    return np.array(list(rinterface.evalr(function)(fit.model_obj)))


# residuals, quantiles, partial regressions


@pytest.mark.parametrize("kind", kinds("Lm", "weighted", "Lm2", "sleep_model", "crossed", "not whole"))
def test_residuals_are_those_of_the_fit_with_equal_variances(kind, request):
    fit = of(kind, request)
    root = np.sqrt(samples.trial().w) if kind in ("weighted", "crossed") else 1.0
    expected = np.column_stack([fit.fits, fit.residuals * root])[np.isfinite(fit.residuals)]
    axes = fit.plot_residuals()
    np.testing.assert_allclose(points(axes), expected, rtol=1e-12)
    line = lowess(*points(axes).T, iterations=0 if kind == "not whole" else 3)
    np.testing.assert_array_equal(labelled(axes, "Smooth").get_xydata(), np.transpose(line))
    what = {"weighted": "Residuals × √weight", "crossed": "Residuals × √weight", "not whole": "Deviance residuals"}
    told = f"Fitted values ({fit.formula.split(' ')[0]})", what.get(kind, "Residuals")
    assert labels(axes) == told
    quantiles = fit.plot_qq()
    np.testing.assert_allclose(dots(quantiles)[:, 1], np.sort(expected[:, 1]), rtol=1e-12)
    assert labels(quantiles) == ("Normal quantiles", told[1])
    at = dots(quantiles)[:, 0]
    assert (band(fit.plot_qq(conf_level=99), at)[1] > band(quantiles, at)[1]).all()


@pytest.mark.parametrize("kind", kinds("Lm", "weighted", "sleep_model", "crossed", "oats_model"))
def test_partial_slopes_are_the_coefficients(kind, request):
    """Given the predicted random effects, Henderson's equations make the fixed effects a least squares fit."""
    fit = of(kind, request)
    residuals = fit.residuals[np.isfinite(fit.residuals)]
    for term, b in fit.coefs["Estimate"].items():
        axes = fit.plot_partial(term)
        np.testing.assert_allclose(slope(labelled(axes, "Slope")), b, rtol=LEAST_SQUARES)
        left = points(axes)
        np.testing.assert_allclose(left[:, 1] - b * left[:, 0], residuals, atol=1e-6 * np.ptp(residuals))
        assert labels(axes) == (f"{term} | others", f"{fit.formula.split(' ')[0]} | others")


def test_what_the_model_does_not_have_is_refused():
    with pytest.raises(OptionError, match=r"linear models.*'poisson' and link 'log'"):
        model("not whole").plot_partial("x")
    for contrasts, said in ((False, r"means or slopes.*post_hoc\(\), emmeans\(\)"), (True, r"contrasts.*emmeans\(\)")):
        with pytest.raises(NotFittedError, match=said):
            model("Lm").plot_marginal(contrasts=contrasts)
    assert plt.get_fignums() == []


# the forest


@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize("error_bars", ["ci", "se"])
@pytest.mark.parametrize("kind", kinds("Lm", "Lm2", "boot"))
def test_estimates_and_bars_are_those_of_the_fit(kind, error_bars, orient):
    fit, value = model(kind), "vh".index(orient)
    axes = fit.plot_summary(error_bars=error_bars, orient=orient)
    assert names(axes, "yx"[value]) == list(fit.coefs.index)
    b, se, low, high = (fit.coefs[name] for name in ("Estimate", "SE", "5_ci", "95_ci"))
    if error_bars == "se":
        low, high = b - se, b + se
    assert np.allclose(high - b, b - low, rtol=1e-3) == ((kind, error_bars) != ("boot", "ci"))
    np.testing.assert_allclose(dots(axes)[:, value], b, rtol=EXACT)
    assert dots(axes)[:, 1 - value].tolist() == [0, 1, 2]
    np.testing.assert_allclose(bars(axes)[:, :, value], np.column_stack([low, high]), rtol=EXACT)
    assert labels(axes)[value] == "Estimate (y)"


@pytest.mark.parametrize("orient", ["v", "h"])
def test_groups_of_a_level_are_strewn_behind_all_terms(orient):
    _strewn(model("Lm2").plot_summary(orient=orient), model("Lm2").fixef, ["Intercept", "x", "z"], orient)


@r
@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize(("which", "place", "varying"), [(0, 0, ["(Intercept)", "x"]), ("h", 1, ["(Intercept)"])])
def test_groups_of_a_factor_are_strewn_behind_the_terms_that_vary(trial_model, which, place, varying, orient):
    axes = trial_model.plot_summary(ranef_idx=which, orient=orient)
    _strewn(axes, trial_model.fixef[place], varying, orient)
    assert note(axes).startswith(f"Points: the {[24, 12][place]} groups of {'gh'[place]}.")
    with pytest.raises(OptionError, match=r"ranef_idx='item'.*0 \(g\), 1 \(h\)"):
        trial_model.plot_summary(ranef_idx="item")


def _strewn(axes, groups, varying, orient):
    values, rows = points(axes).T[:: 1 if orient == "v" else -1]
    terms = names(axes, "y" if orient == "v" else "x")
    for row, term in enumerate(terms):
        found = values[np.round(rows) == row]
        np.testing.assert_allclose(np.sort(found), np.sort(groups[term]) if term in varying else [], rtol=EXACT)
    low, high = axes.get_xlim() if orient == "v" else axes.get_ylim()
    assert low <= values.min() and high >= values.max()


@r
def test_the_other_arguments_of_the_forest(trial_model):
    axes = trial_model.plot_summary((6, 3), axlim=(-1, 4), plot_intercept=False, ranef_alpha=0.2, coef_fmt="rs")
    assert isinstance(axes, Axes) and axes.get_xlim() == (-1, 4)
    assert names(axes, "y") == list(trial_model.coefs.index[1:])
    assert artists.cloud(axes).get_alpha() == 0.2
    (marks,) = [line for line in axes.lines if line.get_marker() == "s"]
    assert to_hex(marks.get_color()) == "#ff0000" and len(marks.get_xdata()) == len(trial_model.coefs) - 1
    assert len(trial_model.plot_summary(ranef=False).collections) == 1
    without = samples.fitted("y ~ 0 + cond + (1 | g)")
    for plot_intercept in (True, False):
        assert names(without.plot_summary(plot_intercept=plot_intercept), "y") == ["condC", "conda", "condb"]


@r
def test_the_value_axis_names_outcome_and_scale(herds_model):
    assert herds_model.plot_summary().get_xlabel() == "Estimate (log odds of incidence)"
    ranks = samples.fitted("y ~ x + (1 | g)", rank=True).plot_summary(orient="h")
    assert labels(ranks) == ("", "Estimate (rank of y)")


@r
def test_a_note_hints_at_a_term_that_crowds_the_others_out(sleep_model):
    hint = "(Intercept) takes up most of the axis; plot_intercept=False leaves it out."
    strewn = "Points: the 18 groups of Subject."
    assert note(sleep_model.plot_summary()) == f"{strewn} {hint}"
    assert note(sleep_model.plot_summary(ranef=False)) == hint
    assert note(sleep_model.plot_summary(plot_intercept=False)) == strewn
    assert note(sleep_model.plot_summary(axlim=(0, 300))) == strewn
    tiny = samples.fitted("y ~ 0 + x + tiny + (0 + x | g)", samples.trial().assign(tiny=lambda frame: frame.z / 1000))
    assert note(tiny.plot_summary(ranef=False)) == "tiny takes up most of the axis; axlim= cuts the axis."


# random effects


@r
def test_random_effects_are_drawn_with_their_standard_errors(sleep_model):
    ranef, se = sleep_model.ranef, sleep_model.ranef_se
    mine = Figure().subplots(1, 2)
    panels = sleep_model.plot_ranef(order="first", conf_level=0.9, ax=mine)
    groups = ranef["(Intercept)"].sort_values().index
    for panel, ax, term in zip(panels, mine, ranef.columns, strict=True):
        b, half = ranef.loc[groups, term], stats.norm.ppf(0.95) * se.loc[groups, term]
        np.testing.assert_array_equal(dots(panel)[:, 0], b)
        np.testing.assert_allclose(bars(panel)[:, :, 0], np.column_stack([b - half, b + half]), rtol=EXACT)
        assert panel is ax and (panel.get_title(), panel.get_xlabel()) == (term, "Deviation from the population")
    assert panels[0].get_ylabel() == "Subject"


@r
def test_the_other_arguments_of_random_effects(trial_model):
    for which in ("h", 1):
        axes = trial_model.plot_ranef((4, 3), "across", "up", ranef_idx=which)
        np.testing.assert_array_equal(dots(axes)[:, 0], np.sort(trial_model.ranef[1]["(Intercept)"]))
        assert isinstance(axes, Axes) and labels(axes) == ("across", "up")
    few = trial_model.plot_ranef(grps=[15, "35", 55], order="given", terms=["x"])
    assert names(few, "y") == ["55", "35", "15"]
    np.testing.assert_array_equal(dots(few)[::-1, 0], trial_model.ranef[0].loc[["15", "35", "55"], "x"])


# marginal means: what the axes say


@r
def test_marginal_means_are_those_of_the_last_call():
    oats = samples.fitted("yield ~ Variety * nitro + (1 | Block)", samples.dataset("Oats"))
    means, differences = oats.emmeans("Variety", at={"nitro": 0})
    axes = oats.plot_marginal()
    np.testing.assert_array_equal(drawn_estimates(axes)[0][:, 1:], means[LIMITS])
    assert labels(axes) == ("Variety", "Marginal mean (yield)")
    axes = oats.plot_marginal(contrasts=True)
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), differences["Estimate"])
    assert labels(axes) == ("Difference (yield)", "")
    oats.emtrends("nitro", contrasts=None)
    axes = oats.plot_marginal()
    assert (names(axes), axes.get_ylabel()) == (["overall"], "Slope of nitro (yield)")
    with pytest.raises(NotFittedError, match="contrasts"):
        oats.plot_marginal(contrasts=True)


@r
def test_numbers_that_the_formula_makes_levels_of_are_categories():
    oats = samples.fitted("yield ~ factor(nitro) + Variety + (1 | Block)", samples.dataset("Oats"))
    oats.emmeans("nitro")
    assert names(oats.plot_marginal()) == ["0", "0.2", "0.4", "0.6"]


@r
@pytest.mark.parametrize(
    ("formula", "data", "family", "calls"),
    [
        (
            "cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial",
            [
                (lambda m: m.emmeans("period"), "Probability (incidence)", "Odds ratio (incidence)"),
                (
                    lambda m: m.post_hoc("period", summarize=False),
                    "Marginal mean (log odds of incidence)", "Difference (log odds of incidence)",
                ),
            ],
        ),
        (
            "log(yield) ~ Variety * nitro + (1 | Block)", "Oats", "gaussian",
            [
                (lambda m: m.emmeans("Variety", at={"nitro": 0}), "Marginal mean (yield)", "Ratio (yield)"),
                (lambda m: m.post_hoc("Variety", summarize=False), "Marginal mean (log(yield))", None),
                (lambda m: m.emtrends("nitro", type="response"), "Slope of nitro", None),
                (lambda m: m.emtrends("nitro"), "Slope of nitro (log(yield))", None),
            ],
        ),
    ],
    ids=["generalized", "transformed"],
)  # fmt: skip
def test_scales_are_told(formula, data, family, calls):
    fit = samples.fitted(formula, samples.dataset(data), given={"family": family})
    for ask, mean, difference in calls:
        ask(fit)
        assert fit.plot_marginal().get_ylabel() == mean
        if difference is not None:
            assert fit.plot_marginal(contrasts=True).get_xlabel() == difference


@r
def test_drawing_leaves_the_model_as_it_was(sleep_model):
    before = sleep_model.coefs.copy(), sleep_model.data.copy()
    for name, *given in (["plot_residuals"], ["plot_qq"], ["plot_partial", "Days"], ["plot_ranef"], ["plot", "Days"]):
        getattr(sleep_model, name)(*given)
    for old, new in zip(before, (sleep_model.coefs, sleep_model.data), strict=True):
        pd.testing.assert_frame_equal(old, new)
