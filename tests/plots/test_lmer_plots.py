"""The pictures of a fitted `Lmer`: what they draw is read back and computed again from the fit."""

from __future__ import annotations

import warnings

import matplotlib

matplotlib.use("Agg")

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import NotFittedError, OptionError

pytestmark = pytest.mark.r

Z = stats.norm.ppf(0.975)
EXACT = 1e-9  # the same few products in another order


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn, and no figure may be left to the next test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def trial() -> pd.DataFrame:
    """Return 240 rows of 12 groups by 10 items, all predictors away from zero."""
    rng = np.random.default_rng(5)
    n = 240
    frame = pd.DataFrame({"g": 5 * (np.repeat(np.arange(12), 20) + 1), "h": [f"i{k % 10}" for k in range(n)]})
    frame["x"], frame["z"] = rng.normal(2, 1, n), rng.normal(5, 1, n)
    frame["cond"] = rng.choice(["b", "a", "C"], n)
    frame["flag"] = rng.random(n) < 0.5
    g, h = rng.normal(size=(3, 12)), rng.normal(size=10)
    i, j = np.repeat(np.arange(12), 20), np.arange(n) % 10
    slopes = frame.x * (1 + g[0][i]) + 0.3 * g[2][i] * frame.z
    frame["y"] = slopes + (frame.cond == "a") + g[1][i] + h[j] + rng.normal(size=n)
    return frame


def fit(formula, data=None, **options) -> Lmer:
    model = Lmer(formula, trial() if data is None else data)
    model.fit(summarize=False, no_warnings=True, **options)
    return model


@pytest.fixture(scope="module")
def sleep() -> Lmer:
    return fit("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def rich() -> Lmer:
    return fit("y ~ x * cond + flag + z + (x | g) + (1 | h)")


@pytest.fixture(scope="module")
def boot() -> Lmer:
    """Percentile limits, which are not symmetric, at a level of 0.9."""
    return fit("y ~ x + z + (1 | g)", conf_int="boot", n_boot=40, seed=1, conf_level=0.9)


def covariance(model) -> np.ndarray:
    """Return the covariance of the coefficients, from R."""
    matrix = rinterface.evalr("function(m) as.matrix(vcov(m))")(model.model_obj)
    p = len(model.coefs)
    return np.array(list(matrix)).reshape(p, p)


def population(ax):
    """Return x and y of the population's line."""
    (line,) = [line for line in ax.lines if line.get_label() == "Population"]
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def band(ax, x):
    """Return lower and upper end of the one band at the places x."""
    (area,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    corners = area.get_paths()[0].vertices
    at = [corners[np.isclose(corners[:, 0], place), 1] for place in x]
    return np.array([a.min() for a in at]), np.array([a.max() for a in at])


def group_curves(ax, names):
    """Return one curve a group, shape (groups, places, 2)."""
    bundles = [c for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) == len(names)]
    if bundles:
        return np.array(bundles[0].get_segments())
    by_label = {line.get_label(): np.column_stack(line.get_data()) for line in ax.lines}
    return np.array([by_label[str(name)] for name in names])


def bars(ax):
    """Return the ends of the last collection of lines, one (2, 2) array a bar."""
    return np.array([c for c in ax.collections if isinstance(c, LineCollection)][-1].get_segments())


def ticks(ax, axis="y"):
    return [label.get_text() for label in getattr(ax, f"get_{axis}ticklabels")()]


def drawn(ax):
    return [*ax.lines, *ax.collections, *ax.patches]


# plot: a numeric predictor


def test_the_documented_arguments_keep_their_order_and_defaults():
    def defaults(method):
        return [(k, p.default) for k, p in list(inspect.signature(method).parameters.items())[1:]]

    plot, summary = defaults(Lmer.plot), defaults(Lmer.plot_summary)
    assert plot[:6] == [
        ("param", inspect.Parameter.empty), ("figsize", (8, 6)), ("xlabel", ""), ("ylabel", ""),
        ("plot_fixef", True), ("plot_ci", True),
    ]  # fmt: skip
    assert [name for name, _ in plot[6:8]] == ["grps", "ax"]
    assert len(plot[6][1]) == 0
    assert plot[7][1] is None
    assert summary[:9] == [
        ("figsize", (12, 6)), ("error_bars", "ci"), ("ranef", True), ("axlim", None), ("plot_intercept", True),
        ("ranef_alpha", 0.5), ("coef_fmt", "o"), ("orient", "v"), ("ranef_idx", 0),
    ]  # fmt: skip


def test_population_line_and_its_band_come_from_the_full_covariance(sleep):
    ax = sleep.plot("Days")
    x, y = population(ax)
    assert (x.min(), x.max()) == (0, 9)
    L = np.column_stack([np.ones_like(x), x])
    middle = L @ sleep.coefs["Estimate"].to_numpy()
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L, covariance(sleep), L))
    np.testing.assert_allclose(y, middle, rtol=EXACT)
    lower, upper = band(ax, x)
    np.testing.assert_allclose(lower, middle - half, rtol=EXACT)
    np.testing.assert_allclose(upper, middle + half, rtol=EXACT)
    apart = Z * np.sqrt(np.diag(covariance(sleep)))
    assert not np.allclose(upper, L @ (sleep.coefs["Estimate"].to_numpy() + apart), rtol=1e-3)  # ends of two intervals


def test_groups_are_drawn_from_their_own_coefficients(sleep):
    ax = sleep.plot("Days")
    curves = group_curves(ax, sleep.fixef.index)
    x = curves[0, :, 0]
    assert (x.min(), x.max()) == (0, 9)
    expected = sleep.fixef["(Intercept)"].to_numpy()[:, None] + sleep.fixef["Days"].to_numpy()[:, None] * x
    np.testing.assert_allclose(curves[:, :, 1], expected, rtol=EXACT)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_band_has_the_level_of_the_fit(level):
    model = fit("y ~ x + (1 | g)", conf_level=level)
    ax = model.plot("x")
    x, y = population(ax)
    L = np.column_stack([np.ones_like(x), x])
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(np.einsum("ij,jk,ik->i", L, covariance(model), L))
    np.testing.assert_allclose(band(ax, x), [y - half, y + half], rtol=EXACT)


def held(rich, x=None, cond="C", flag=False) -> pd.DataFrame:
    """Return rows with the other numbers at their means and the other factors at their first level."""
    data = trial()
    x = np.atleast_1d(data["x"].mean() if x is None else x)
    return pd.DataFrame({"x": x, "z": data["z"].mean(), "cond": cond, "flag": flag})


def test_other_predictors_are_held_at_their_means_and_first_levels(rich):
    ax = rich.plot("x")
    x, y = population(ax)
    data = trial()
    assert (x.min(), x.max()) == (data["x"].min(), data["x"].max())
    np.testing.assert_allclose(y, rich.predict(held(rich, x)), rtol=EXACT)
    L = pd.DataFrame(0.0, index=range(len(x)), columns=rich.coefs.index)
    L["(Intercept)"], L["x"], L["z"] = 1.0, x, data["z"].mean()
    L = L.to_numpy()
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L, covariance(rich), L))
    np.testing.assert_allclose(band(ax, x), [y - half, y + half], rtol=EXACT)


@pytest.mark.parametrize(("ranef_idx", "factor", "other"), [(0, "g", "h"), (1, "h", "g")])
def test_group_curves_are_what_predict_says_of_that_factor(rich, ranef_idx, factor, other):
    names = rich.fixef[ranef_idx].index
    ax = rich.plot("x", ranef_idx=ranef_idx)
    curves = group_curves(ax, names)
    x = curves[0, :, 0]
    for name, curve in zip(names, curves, strict=True):
        label = int(name) if factor == "g" else name
        rows = held(rich, x).assign(**{factor: label, other: -1 if other == "g" else "none"})
        np.testing.assert_allclose(curve[:, 1], rich.predict(rows, use_rfx=True, new_levels="population"), rtol=EXACT)


@pytest.mark.parametrize("formula", ["y ~ poly(x, 2) + (1 | g)", "y ~ I(x^2) + x + (1 | g)", "y ~ scale(x) + (1 | g)"])
def test_a_transformed_predictor_is_drawn_on_its_own_scale(formula):
    model = fit(formula)
    ax = model.plot("x")
    x, y = population(ax)
    assert (x.min(), x.max()) == (trial()["x"].min(), trial()["x"].max())
    np.testing.assert_allclose(y, model.predict(pd.DataFrame({"x": x})), rtol=EXACT)
    L = rinterface.evalr("function(m, x) { t <- delete.response(terms(m)); model.matrix(t, data.frame(x = x)) }")(
        model.model_obj, rinterface.FloatSexpVector(list(x))
    )
    L = np.array(list(L)).reshape(len(model.coefs), len(x)).T
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L, covariance(model), L))
    np.testing.assert_allclose(band(ax, x), [y - half, y + half], rtol=EXACT)


def test_a_predictor_that_varies_between_groups_only_is_held_at_its_mean():
    """z has no population coefficient, yet each group has its own, which counts at the mean of z."""
    model = fit("y ~ x + (0 + z | g)")
    curves = group_curves(model.plot("x"), model.fixef.index)
    x = curves[0, :, 0]
    for name, curve in zip(model.fixef.index, curves, strict=True):
        rows = pd.DataFrame({"x": x, "z": trial()["z"].mean(), "g": int(name)})
        np.testing.assert_allclose(curve[:, 1], model.predict(rows, use_rfx=True), rtol=EXACT)


def test_missing_values_and_weights_do_not_matter_to_a_plot():
    data = trial()
    data.loc[data["x"].idxmax(), "y"] = np.nan
    model = Lmer("y ~ x + (1 | g)", data, weights=np.linspace(1, 2, 240))
    model.fit(summarize=False)
    x, y = population(model.plot("x"))
    assert x.max() == data["x"][data["y"].notna()].max()
    np.testing.assert_allclose(y, model.predict(pd.DataFrame({"x": x})), rtol=EXACT)


# plot: factors and coefficients


@pytest.mark.parametrize(
    ("param", "levels", "values"),
    [("cond", ["C", "a", "b"], ["C", "a", "b"]), ("flag", ["FALSE", "TRUE"], [False, True])],
)
def test_a_factor_is_drawn_level_by_level(rich, param, levels, values):
    ax = rich.plot(param)
    assert [t for t in ticks(ax, "x") if t] == levels
    _, y = population(ax)
    rows = pd.concat([held(rich, **{param: value}) for value in values])
    np.testing.assert_allclose(y, rich.predict(rows), rtol=EXACT)
    L = pd.DataFrame(0.0, index=range(len(levels)), columns=rich.coefs.index)
    L["(Intercept)"], L["x"], L["z"] = 1.0, trial()["x"].mean(), trial()["z"].mean()
    for row, level in enumerate(levels[1:], start=1):
        L.loc[row, f"{param}{level}"] = 1.0
        if param == "cond":
            L.loc[row, f"x:cond{level}"] = trial()["x"].mean()
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L.to_numpy(), covariance(rich), L.to_numpy()))
    ends = [c for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) == len(levels)]
    shown = np.array([c.get_segments() for c in ends])
    wanted = np.stack([y - half, y + half], axis=1)
    assert any(np.allclose(np.sort(part[:, :, 1], axis=1), wanted, rtol=EXACT) for part in shown)


def test_a_coefficient_is_drawn_group_by_group(rich):
    ax = rich.plot("(Intercept)")
    values = rich.fixef[0]["(Intercept)"].sort_values()
    (dots,) = [line for line in ax.lines if len(line.get_xdata()) == len(values)]
    np.testing.assert_allclose(dots.get_xdata(), values, rtol=EXACT)
    assert ticks(ax) == list(values.index)
    (line,) = [line for line in ax.lines if line.get_label() == "Population"]
    assert set(line.get_xdata()) == {rich.coefs.loc["(Intercept)", "Estimate"]}
    (span,) = ax.patches
    box = span.get_extents().transformed(ax.transData.inverted())
    limits = rich.coefs.loc["(Intercept)", ["2.5_ci", "97.5_ci"]].astype(float)
    np.testing.assert_allclose([box.x0, box.x1], limits, rtol=1e-6)


# plot: the rest of its arguments


def test_only_the_groups_asked_for(rich):
    ax = rich.plot("x", grps=[10, "50"])
    curves = group_curves(ax, ["10", "50"])
    whole = group_curves(rich.plot("x"), rich.fixef[0].index)
    np.testing.assert_allclose(curves, whole[[1, 9]], rtol=EXACT)
    assert len([line for line in ax.lines if line.get_label() in rich.fixef[0].index]) == 2
    with pytest.raises(OptionError, match="99"):
        rich.plot("x", grps=["10", 99])


@pytest.mark.parametrize("param", ["x", "cond", "(Intercept)"])
def test_population_and_limits_can_be_left_out(rich, param):
    def parts(**options):
        ax = rich.plot(param, **options)
        lines = [line for line in ax.lines if line.get_label() == "Population"]
        return len(lines), len(drawn(ax))

    both, no_limits, nothing = parts(), parts(plot_ci=False), parts(plot_fixef=False)
    assert (both[0], no_limits[0], nothing[0]) == (1, 1, 0)
    assert both[1] - no_limits[1] == 1
    assert no_limits[1] - nothing[1] == 1


def test_labels_size_and_axes(rich):
    ax = rich.plot("x", (5, 4))
    assert isinstance(ax, Axes)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    assert tuple(ax.figure.get_size_inches()) == (5, 4)
    named = rich.plot("x", xlabel="dose", ylabel="answer")
    assert (named.get_xlabel(), named.get_ylabel()) == ("dose", "answer")
    assert tuple(named.figure.get_size_inches()) == (8, 6)
    _, mine = plt.subplots()
    assert rich.plot("x", ax=mine) is mine


@pytest.mark.parametrize("param", ["x", "cond", "(Intercept)"])
def test_all_goes_behind_what_is_there(rich, param):
    _, ax = plt.subplots()
    (mine,) = ax.plot([0, 1], [0, 1], zorder=1.5)
    points = ax.scatter([0], [0], zorder=1.2)
    rich.plot(param, ax=ax)
    new = [artist for artist in drawn(ax) if artist not in (mine, points)]
    assert len(new) >= 3
    assert max(artist.get_zorder() for artist in new) < 1.2


def test_what_is_not_in_the_model_is_refused(rich):
    with pytest.raises(OptionError, match=r"'xx'.*x"):
        rich.plot("xx")
    with pytest.raises(OptionError, match="ranef_idx"):
        rich.plot("x", ranef_idx=2)
    for ask in (lambda m: m.plot("x"), lambda m: m.plot_summary()):
        with pytest.raises(NotFittedError):
            ask(Lmer("y ~ x + (1 | g)", trial()))


def test_plotting_changes_nothing(rich):
    before = rich.coefs.copy(), rich.data.copy(), matplotlib.rcParams.copy()
    rich.plot("x")
    rich.plot_summary()
    pd.testing.assert_frame_equal(rich.coefs, before[0])
    pd.testing.assert_frame_equal(rich.data, before[1])
    assert matplotlib.rcParams == before[2]


def test_odd_names_can_be_plotted():
    data = trial().rename(columns={"x": "my x", "g": "my g", "z": "T"})
    model = fit("y ~ `my x` + T + (`my x` | `my g`)", data)
    for param in ("my x", "T"):
        x, y = population(model.plot(param))
        rows = {name: data[name].mean() for name in ("my x", "T")} | {param: x}
        np.testing.assert_allclose(y, model.predict(pd.DataFrame(rows)), rtol=EXACT)


PARALLEL = "does not vary between groups of g: their lines are parallel. "


def note(ax) -> str:
    """Return what is written under the axis; empty where there is nothing."""
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts)


def test_a_note_says_where_the_others_are_held(rich, sleep):
    assert note(sleep.plot("Days")) == "Thin lines: 18 groups of Subject."
    assert note(sleep.plot("Days", grps=sleep.ranef.index[:12])) == ""
    x, z = (f"{trial()[name].mean():.4g}" for name in "xz")
    assert note(rich.plot("x")) == f"Other predictors at: cond = C, flag = FALSE, z = {z}"
    held_at = f"Other predictors at: x = {x}, flag = FALSE, z = {z}"
    assert note(rich.plot("cond")) == f"The effect of cond {PARALLEL}{held_at}"
    assert note(rich.plot("(Intercept)")) == ""
    assert rich.plot("x").get_xlabel() == "x"


def test_a_note_stays_within_the_figure():
    data = trial()
    for i in range(16):
        data[f"a covariate with a long name, number {i}"] = np.random.default_rng(i).normal(size=240)
    terms = " + ".join(f"`{name}`" for name in data.columns if name.startswith("a covariate"))
    ax = fit(f"y ~ x + {terms} + (1 | g)", data).plot("x", (5, 4))
    assert note(ax).endswith(" …")
    ax.figure.canvas.draw()
    (text,) = ax.texts
    box, label, whole = text.get_window_extent(), ax.xaxis.label.get_window_extent(), ax.figure.bbox
    assert whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1 and whole.y0 - 1 <= box.y0
    assert box.y1 <= label.y0 + 1


def test_a_note_is_not_written_on_a_picture_that_is_there(rich):
    _, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    assert note(rich.plot("x", ax=ax)) == ""


def test_an_offset_is_held_at_its_mean_and_noted():
    data = trial().assign(o=np.random.default_rng(6).normal(3, 1, 240))
    for offset in ("o", data["o"].to_numpy()):
        model = Lmer("y ~ x + (1 | g)", data, offset=offset)
        model.fit(summarize=False, no_warnings=True)
        ax = model.plot("x")
        x, y = population(ax)
        b = model.coefs["Estimate"]
        np.testing.assert_allclose(y, b["(Intercept)"] + b["x"] * x + data["o"].mean(), rtol=EXACT)
        assert note(ax) == f"The effect of x {PARALLEL}Other predictors at: offset = {data['o'].mean():.4g}"


def test_a_number_that_the_formula_makes_a_factor_is_drawn_and_held_level_by_level():
    data = trial().assign(dose=np.tile([10, 20, 40], 80))
    model = fit("y ~ factor(dose) * cond + x + (1 | g)", data)
    ax = model.plot("dose")
    assert ticks(ax, "x") == ["10", "20", "40"]
    held_at = {"cond": "C", "x": data["x"].mean()}
    np.testing.assert_allclose(
        population(ax)[1], model.predict(pd.DataFrame({"dose": [10, 20, 40]}).assign(**held_at)), rtol=EXACT
    )
    ax = model.plot("x")
    x, y = population(ax)
    np.testing.assert_allclose(y, model.predict(pd.DataFrame({"x": x, "cond": "C", "dose": 10})), rtol=EXACT)
    assert note(ax) == f"The effect of x {PARALLEL}Other predictors at: dose = 10, cond = C"


def test_a_cut_number_is_drawn_along_its_values():
    model = fit("y ~ cut(x, c(-Inf, 1, 2, Inf)) + (1 | g)")
    x, y = population(model.plot("x"))
    np.testing.assert_array_equal(x, np.unique(trial()["x"]))
    np.testing.assert_allclose(y, model.predict(pd.DataFrame({"x": x})), rtol=EXACT)


@pytest.mark.parametrize("within", ["", "g"])
def test_ranks_are_drawn_as_ranks(within):
    data = trial()
    model = fit("y ~ x + z + cond + (x | g)", data, rank=True, rank_group=within, rank_exclude_cols="z")
    ax = model.plot("x")
    x, y = population(ax)
    ranks = data.groupby("g")["x"].rank() if within else data["x"].rank()
    assert (x.min(), x.max()) == (ranks.min(), ranks.max())
    b = model.coefs["Estimate"]
    np.testing.assert_allclose(y, b["(Intercept)"] + b["x"] * x + b["z"] * data["z"].mean(), rtol=EXACT)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rank of x", "rank of y")
    assert note(ax) == f"Other predictors at: z = {data['z'].mean():.4g}, cond = C"
    curves = group_curves(ax, model.fixef.index)
    slopes = np.diff(curves[:, [0, -1], 1], axis=1)[:, 0] / (x[-1] - x[0])
    np.testing.assert_allclose(slopes, model.fixef["x"], rtol=1e-8)


def test_a_generalized_model_has_its_band_on_the_scale_of_the_outcome():
    data = load_dataset("cbpp")
    data["x"] = np.random.default_rng(7).normal(size=len(data))
    model = Lmer("cbind(incidence, size - incidence) ~ period + x + (1 | herd)", data, family="binomial")
    model.fit(summarize=False, no_warnings=True)
    ax = model.plot("x")
    x, y = population(ax)
    L = np.zeros((len(x), len(model.coefs)))
    L[:, 0], L[:, -1] = 1, x
    middle = L @ model.coefs["Estimate"].to_numpy()
    half = Z * np.sqrt(np.einsum("ij,jk,ik->i", L, covariance(model), L))
    expected = [1 / (1 + np.exp(-(middle + side * half))) for side in (-1, 0, 1)]
    np.testing.assert_allclose([band(ax, x)[0], y, band(ax, x)[1]], expected, rtol=1e-8)
    assert ax.get_ylabel() == "Probability (incidence)"
    told = "Thin lines: 15 groups of herd. The effect of x does not vary between them: parallel on the logit scale."
    assert note(ax) == f"{told} Other predictors at: period = 1"
    assert ticks(model.plot("period"), "x") == ["1", "2", "3", "4"]


def test_a_grouping_factor_can_be_named(rich):
    for which, place in (("g", 0), ("h", 1), (np.int64(1), 1)):
        names = rich.fixef[place].index
        np.testing.assert_array_equal(
            group_curves(rich.plot("x", ranef_idx=which), names), group_curves(rich.plot("x", ranef_idx=place), names)
        )
    with pytest.raises(OptionError, match=r"ranef_idx='item'.*0 \(g\), 1 \(h\)"):
        rich.plot_summary(ranef_idx="item")


# plot_summary


@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize("error_bars", ["ci", "se"])
def test_estimates_and_bars_are_those_of_the_fit(boot, error_bars, orient):
    ax = boot.plot_summary(error_bars=error_bars, orient=orient)
    down = orient == "v"
    assert ticks(ax, "y" if down else "x") == list(boot.coefs.index)
    estimates = boot.coefs["Estimate"]
    (dots,) = [line for line in ax.lines if len(line.get_xdata()) == len(estimates)]
    along, across = dots.get_data() if down else dots.get_data()[::-1]
    np.testing.assert_allclose(along, estimates, rtol=EXACT)
    assert list(across) == [0, 1, 2]
    if error_bars == "ci":
        low, high = boot.coefs["5_ci"], boot.coefs["95_ci"]
        assert not np.allclose(high - estimates, estimates - low, rtol=1e-3)
    else:
        low, high = estimates - boot.coefs["SE"], estimates + boot.coefs["SE"]
    ends = bars(ax)[:, :, 0 if down else 1]
    np.testing.assert_allclose(ends, np.column_stack([low, high]), rtol=EXACT)


@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize("ranef_idx", [0, 1])
def test_groups_are_strewn_behind_their_term(rich, ranef_idx, orient):
    ax = rich.plot_summary(ranef_idx=ranef_idx, orient=orient)
    (cloud,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    places = np.asarray(cloud.get_offsets())
    values, rows = (places[:, 0], places[:, 1]) if orient == "v" else (places[:, 1], places[:, 0])
    fixef = rich.fixef[ranef_idx]
    varying = ["(Intercept)", "x"] if ranef_idx == 0 else ["(Intercept)"]
    for row, term in enumerate(rich.coefs.index):
        found = values[np.round(rows) == row]
        np.testing.assert_allclose(np.sort(found), np.sort(fixef[term]) if term in varying else [], rtol=EXACT)
    low, high = ax.get_xlim() if orient == "v" else ax.get_ylim()
    limits = rich.coefs[["2.5_ci", "97.5_ci"]].to_numpy()
    assert low <= min(fixef.min().min(), limits.min())
    assert high >= max(fixef.max().max(), limits.max())


def test_the_other_arguments_of_the_summary(rich):
    ax = rich.plot_summary((6, 3), axlim=(-1, 4), plot_intercept=False, ranef_alpha=0.2, coef_fmt="rs")
    assert isinstance(ax, Axes)
    assert tuple(ax.figure.get_size_inches()) == (6, 3)
    assert ax.get_xlim() == (-1, 4)
    assert ticks(ax) == list(rich.coefs.index[1:])
    (cloud,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert cloud.get_alpha() == 0.2
    (dots,) = [line for line in ax.lines if line.get_marker() == "s"]
    assert matplotlib.colors.to_hex(dots.get_color()) == "#ff0000"
    assert len(dots.get_xdata()) == len(rich.coefs) - 1
    default = rich.plot_summary()
    assert tuple(default.figure.get_size_inches()) == (12, 6)
    bare = rich.plot_summary(ranef=False)
    assert not [c for c in bare.collections if isinstance(c, PathCollection)]


def test_a_model_without_an_intercept_is_drawn_whole():
    model = fit("y ~ 0 + cond + (1 | g)")
    for plot_intercept in (True, False):
        assert ticks(model.plot_summary(plot_intercept=plot_intercept)) == ["condC", "conda", "condb"]


@pytest.mark.parametrize("orient", ["v", "h"])
def test_the_value_axis_names_outcome_and_scale(rich, orient):
    def named(model):
        ax = model.plot_summary(orient=orient)
        return ax.get_xlabel() if orient == "v" else ax.get_ylabel()

    assert named(rich) == "Estimate (y)"
    herds = Lmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", load_dataset("cbpp"), family="binomial")
    herds.fit(summarize=False, no_warnings=True)
    assert named(herds) == "Estimate (log odds of incidence)"
    assert named(fit("y ~ x + (1 | g)", rank=True)) == "Estimate (rank of y)"


def test_a_note_hints_at_a_term_that_crowds_the_others_out(sleep, rich):
    hint = "(Intercept) takes up most of the axis; plot_intercept=False leaves it out."
    points = "Points: the 18 groups of Subject."
    assert note(sleep.plot_summary()) == f"{points} {hint}"
    assert note(sleep.plot_summary(ranef=False)) == hint
    assert note(sleep.plot_summary(plot_intercept=False)) == points
    assert note(sleep.plot_summary(axlim=(0, 300))) == points
    assert note(rich.plot_summary(ranef_idx="h")) == "Points: the 10 groups of h."
    data = trial().assign(tiny=trial()["z"] / 1000)
    assert note(fit("y ~ 0 + x + tiny + (0 + x | g)", data).plot_summary(ranef=False)) == (
        "tiny takes up most of the axis; axlim= cuts the axis."
    )


def test_a_coefficient_that_groups_have_in_common_is_not_drawn_group_by_group():
    model = fit("y ~ x + z + (0 + x | g)")
    with pytest.raises(OptionError, match=r"\(Intercept\).*groups of g have in common.*are: x\. plot_summary"):
        model.plot("(Intercept)")
    assert plt.get_fignums() == []


def test_groups_that_do_not_differ_are_one_line():
    """Without a variance between groups lme4 estimates none, and twelve lines would lie on one another."""
    data = trial()
    data["flat"] = data["x"] + np.tile([0.5, -0.5], 120)
    model = fit("flat ~ x + (1 | g)", data)
    assert model.convergence.singular
    said = "The 12 groups of g do not differ here: one line."
    ax = model.plot("x")
    assert note(ax) == said and [line.get_label() for line in ax.lines] == ["Population"]
    alone = model.plot("x", plot_fixef=False)
    assert note(alone) == said and [line.get_label() for line in alone.lines] == ["12 groups"]
    np.testing.assert_allclose(alone.lines[0].get_ydata(), population(ax)[1], rtol=EXACT)
    assert note(model.plot("x", grps=["5"])) == ""
