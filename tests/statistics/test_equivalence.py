"""Equivalence tests, against R's one-sided t tests, and their picture."""

from __future__ import annotations

from functools import cache

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from against_r import ask
from drawn import EXACT
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from pymer4.errors import DataError, OptionError
from pymer4.plots.forest import equivalence as draw
from pymer4.statistics.equivalence import tost_equivalence
from pymer4.statistics.permutation import perm_test

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

RNG = np.random.default_rng(5)
X = RNG.normal(0, 1, 40).round(3)
Y = (0.5 * X + RNG.normal(0.2, 1.5, 40)).round(3)
SHORT = Y[:25]
BOUNDS = (-0.7, 1.1)

SCRIPT = """
told <- function(...) {
  both <- t.test(...)
  above <- t.test(..., mu = -0.7, alternative = "greater")
  below <- t.test(..., mu = 1.1, alternative = "less")
  c(both$statistic, both$p.value, above$statistic, above$p.value, below$statistic, below$p.value, both$conf.int,
    t.test(..., conf.level = 0.9)$conf.int)
}
answer$welch <- told(x, s)
answer$pooled <- told(x, s, var.equal = TRUE)
answer$paired <- told(x, y, paired = TRUE)
"""

CASES = {
    "welch": (SHORT, {}),
    "pooled": (SHORT, {"equal_var": True}),
    "paired": (Y, {"paired": True}),
}
every = pytest.mark.parametrize("name", CASES)
PARTS = ("original", "lower", "upper")


@cache
def of_r() -> dict[str, np.ndarray]:
    return ask(SCRIPT, x=X, y=Y, s=SHORT)


def tost(name, x=X, **more):
    y, options = CASES[name]
    return tost_equivalence(x, y, *BOUNDS, **{"n_perm": 0, "n_boot": 0} | options | more)


@pytest.mark.r
@every
def test_the_tests_are_those_of_r(name):
    found, expected = tost(name, plot=True), of_r()[name]
    numbers = [found[part][key] for part in PARTS for key in ("t", "p")]
    assert numbers == pytest.approx(expected[:6], rel=EXACT)
    assert found["CI"] == pytest.approx(expected[6:8], rel=EXACT)
    _, narrow = bars(found["axes"], "95 % t interval")
    assert narrow == pytest.approx(expected[8:], rel=EXACT)


@every
def test_the_keys_and_their_meaning(name):
    found = tost(name)
    assert list(found) == [*PARTS, "In_Equivalence_Range", "Means_Are_Different", "CI"]
    assert all(list(found[part]) == ["m", "t", "p"] for part in PARTS)
    difference = X.mean() - CASES[name][0].mean()
    for part, bound in zip(PARTS, (0, *BOUNDS), strict=True):
        assert found[part]["m"] == pytest.approx(difference - bound, rel=EXACT)
    assert len({round(found[part]["m"] / found[part]["t"], 12) for part in PARTS}) == 1
    assert type(found["In_Equivalence_Range"]) is bool and type(found["Means_Are_Different"]) is bool


@pytest.mark.parametrize("shift", [-2, -0.5, 0, 0.3, 0.9, 2])
@every
def test_equivalent_means_the_interval_lies_within_the_bounds(name, shift):
    found = tost(name, X + shift, plot=True)
    _, (low, high) = bars(found["axes"], "95 % t interval")
    assert found["In_Equivalence_Range"] is bool(BOUNDS[0] < low and high < BOUNDS[1])
    assert found["Means_Are_Different"] is bool(found["original"]["p"] < 0.05)


@every
def test_permutation_serves_the_two_sided_test_alone(name):
    plain, permuted = tost(name), tost(name, n_perm=2000, seed=1)
    assert plain["lower"] == permuted["lower"] and plain["upper"] == permuted["upper"]
    assert permuted["original"]["t"] == plain["original"]["t"]
    found = permuted["original"]["p"]
    assert found != plain["original"]["p"] and found == pytest.approx(plain["original"]["p"], abs=0.05)
    assert found * 2001 == pytest.approx(round(found * 2001), abs=1e-9)
    y, options = CASES[name]
    stat = "tstat-paired" if name == "paired" else "tstat"
    _, p = perm_test(X, y, stat, 50_000, equal_var=options.get("equal_var", False), seed=9)
    # five standard errors of both shares
    assert found == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) * (1 / 2000 + 1 / 50_000)) + 1 / 2001)


@every
def test_the_interval_is_bootstrapped_and_drawn(name):
    found, t_limits = tost(name, n_boot=5000, seed=2, plot=True), tost(name)["CI"]
    assert not np.array_equal(found["CI"], t_limits)
    # the t interval is wider by the factor sqrt(n / (n - 1)) and t's quantile over the normal one
    np.testing.assert_allclose(found["CI"], t_limits, atol=0.15 * np.ptp(t_limits))
    np.testing.assert_array_equal(bars(found["axes"], "95 % bootstrap interval")[0], found["CI"])
    assert len(plt.get_fignums()) == 1


def test_results_repeat():
    one, two = (tost("welch", n_perm=200, n_boot=200, seed=3, return_dist=True) for _ in range(2))
    for key in ("CI", "perm_dist"):
        np.testing.assert_array_equal(one.pop(key), two.pop(key))
    assert one == two
    p = [tost("welch", n_perm=2000, n_boot=200, seed=seed)["original"]["p"] for seed in (4, 5)]
    assert p[0] != p[1]
    generators = [tost("welch", n_perm=200, n_boot=200, seed=np.random.default_rng(1)) for _ in range(2)]
    assert generators[0]["original"] == generators[1]["original"]


def test_samples_are_lists_and_series_and_missing_values_are_left_out():
    assert tost("welch", np.r_[X, np.nan])["lower"] == tost("welch")["lower"]
    expected, turned = tost("paired")["upper"], pd.Series(Y, index=range(40)[::-1])
    for x, y in ((X.tolist(), Y.tolist()), (pd.Series(X), turned), (np.r_[X, np.nan], np.r_[Y, 100.0])):
        assert tost_equivalence(x, y, *BOUNDS, paired=True, n_perm=0, n_boot=0)["upper"] == expected


REFUSED = [
    ((X, Y, 1, -1), {}, OptionError, "lower=1 has to be below upper=-1"),
    ((X, Y, 1, 1), {}, OptionError, "lower=1 has to be below"),
    ((X, Y, "a", 1), {}, OptionError, "lower='a'"),
    ((X, Y, -1, np.inf), {}, OptionError, "upper=inf"),
    ((X, None, -1, 1), {}, OptionError, "needs y"),
    ((X, SHORT, -1, 1), {"paired": True}, DataError, "x has 40, y 25"),
    *[((X, Y, -1, 1), {name: "no"}, OptionError, f"{name}='no'") for name in ("paired", "equal_var", "plot")],
    *[((X, Y, -1, 1), {name: -1}, OptionError, f"{name}=-1") for name in ("n_perm", "n_boot", "seed")],
    (([1, 1], [2, 2], -1, 1), {}, DataError, "both constant"),
    (([1, 2], [2, 3], -1, 1), {"paired": True}, DataError, "sample is constant"),
    (([1], [2, 3], -1, 1), {}, DataError, "x holds 1"),
]


@pytest.mark.parametrize("given_to, options, kind, said", REFUSED, ids=[case[-1] for case in REFUSED])
def test_what_makes_no_sense_is_refused(given_to, options, kind, said):
    with pytest.raises(kind, match=said):
        tost_equivalence(*given_to, **options)


# ------------------------------------------------------------------ the picture


def bars(ax, label="95 % interval"):
    """Return the ends of the thin bar and of the thick one."""
    (thin,) = [line.get_xdata() for line in ax.lines if line.get_label() == label]
    (thick,) = [c.get_segments()[0][:, 0] for c in ax.collections if isinstance(c, LineCollection)]
    return thin, thick


def test_the_picture_shows_difference_intervals_and_bounds():
    ax = draw(0.1, [-0.2, 0.4], [-0.3, 0.5], (-0.7, 1.1), verdict="Equivalent", ax=Figure().subplots())
    np.testing.assert_array_equal(bars(ax), [[-0.3, 0.5], [-0.2, 0.4]])
    drawn = [line.get_xdata() for line in ax.lines]
    assert sorted(x[0] for x in drawn if np.ptp(x) == 0 and len(x) == 2) == [-0.7, 0, 1.1]
    (band,) = ax.patches
    corners = band.get_path().transformed(band.get_patch_transform()).vertices[:, 0]
    assert (corners.min(), corners.max()) == pytest.approx((-0.7, 1.1), rel=EXACT)
    (point,) = [line for line in ax.lines if line.get_label() == "Difference"]
    low, high = ax.get_xlim()
    assert point.get_xdata()[0] == 0.1 and low < -0.7 and high > 1.1
    assert ax.get_title() == "Equivalent" and ax.get_xlabel() == "Mean difference"
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named == ["Range of equivalence", "90 % t interval", "95 % interval", "Difference"]


@pytest.mark.parametrize(
    "shift, bounds, verdict",
    [
        (0, (-5, 5), "Equivalent"),
        (1, (-9, 9), "Equivalent, and different from 0"),
        (3, (-1, 1), "Different"),
        (0, (-0.01, 0.01), "Undecided"),
    ],
)
def test_the_title_is_the_verdict(shift, bounds, verdict):
    found = tost_equivalence(X - X.mean() + shift, Y - Y.mean(), *bounds, n_perm=0, n_boot=0, plot=True)
    assert found["axes"].get_title() == verdict
    assert found["In_Equivalence_Range"] == verdict.startswith("Equivalent")
    assert found["Means_Are_Different"] == ("ifferent" in verdict)


def test_no_figure_is_made_unasked():
    assert "axes" not in tost("welch") and not plt.get_fignums()
