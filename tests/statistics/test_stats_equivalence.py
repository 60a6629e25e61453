"""Equivalence tests, against R's one-sided t tests, and their picture."""

from __future__ import annotations

import doctest
import subprocess
import warnings
from functools import cache

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from pymer4.errors import DataError, OptionError
from pymer4.plots import forest as picture
from pymer4.plots.forest import equivalence as draw
from pymer4.statistics import equivalence
from pymer4.statistics.equivalence import tost_equivalence
from pymer4.statistics.permutation import perm_test

pytestmark = pytest.mark.numeric

EXACT = 1e-10  # relative: closed formulas of the same numbers

RNG = np.random.default_rng(5)
X = RNG.normal(0, 1, 40).round(3)
Y = (0.5 * X + RNG.normal(0.2, 1.5, 40)).round(3)
SHORT = Y[:25]
BOUNDS = (-0.7, 1.1)

SCRIPT = """
digits <- function(...) format(c(...), digits = 17)
show <- function(name, ...) {
  both <- t.test(...)
  above <- t.test(..., mu = -0.7, alternative = "greater")
  below <- t.test(..., mu = 1.1, alternative = "less")
  cat(name, digits(both$statistic, both$p.value, above$statistic, above$p.value, below$statistic, below$p.value,
                   both$conf.int, t.test(..., conf.level = 0.9)$conf.int), "\\n")
}
show("welch", x, s)
show("pooled", x, s, var.equal = TRUE)
show("paired", x, y, paired = TRUE)
"""

CASES = {
    "welch": (SHORT, {}),
    "pooled": (SHORT, {"equal_var": True}),
    "paired": (Y, {"paired": True}),
}
every = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn, and no figure may be left to the next test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


@cache
def of_r() -> dict[str, list[float]]:
    text = "\n".join(
        f"{name} <- c({', '.join(map(repr, values.tolist()))})" for name, values in (("x", X), ("y", Y), ("s", SHORT))
    )
    command = ["Rscript", "--vanilla", "-e", text + SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: [float(v) for v in values] for name, *values in (line.split() for line in done.stdout.splitlines())}


def tost(name, **more):
    y, options = CASES[name]
    return tost_equivalence(X, y, *BOUNDS, **{"n_perm": 0, "n_boot": 0} | options | more)


@pytest.mark.r
@every
def test_the_tests_are_those_of_r(name):
    found, expected = tost(name), of_r()[name]
    numbers = [found[part][key] for part in ("original", "lower", "upper") for key in ("t", "p")]
    assert numbers == pytest.approx(expected[:6], rel=EXACT)
    assert found["CI"] == pytest.approx(expected[6:8], rel=EXACT)


@every
def test_the_keys_and_their_meaning(name):
    found = tost(name)
    assert list(found) == ["original", "lower", "upper", "In_Equivalence_Range", "Means_Are_Different", "CI"]
    assert all(list(found[part]) == ["m", "t", "p"] for part in ("original", "lower", "upper"))
    y, _ = CASES[name]
    difference = X.mean() - y.mean()
    assert found["original"]["m"] == pytest.approx(difference, rel=EXACT)
    assert found["lower"]["m"] == pytest.approx(difference - BOUNDS[0], rel=EXACT)
    assert found["upper"]["m"] == pytest.approx(difference - BOUNDS[1], rel=EXACT)
    errors = {round(found[part]["m"] / found[part]["t"], 12) for part in ("original", "lower", "upper")}
    assert len(errors) == 1
    assert type(found["In_Equivalence_Range"]) is bool and type(found["Means_Are_Different"]) is bool


@pytest.mark.parametrize("shift", [-2, -0.5, 0, 0.3, 0.9, 2])
@every
def test_equivalent_means_the_interval_lies_within_the_bounds(name, shift):
    y, options = CASES[name]
    found = tost_equivalence(X + shift, y, *BOUNDS, n_perm=0, n_boot=0, **options)
    t = found["original"]
    from scipy.stats import t as law

    n, m = len(X), len(y)
    df = {"paired": n - 1, "pooled": n + m - 2}.get(name)
    if df is None:
        a, b = X.var(ddof=1) / n, y.var(ddof=1) / m
        df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    half = law.ppf(0.95, df) * t["m"] / t["t"]
    inside = BOUNDS[0] < t["m"] - half and t["m"] + half < BOUNDS[1]
    assert found["In_Equivalence_Range"] is bool(inside)
    assert found["Means_Are_Different"] is bool(t["p"] < 0.05)


@every
def test_permutation_serves_the_two_sided_test_alone(name):
    plain, permuted = tost(name), tost(name, n_perm=2000, seed=1)
    for part in ("lower", "upper"):
        assert plain[part] == permuted[part]
    assert permuted["original"]["t"] == plain["original"]["t"]
    assert permuted["original"]["p"] != plain["original"]["p"]
    assert permuted["original"]["p"] == pytest.approx(plain["original"]["p"], abs=0.05)
    assert permuted["original"]["p"] * 2001 == pytest.approx(round(permuted["original"]["p"] * 2001), abs=1e-9)
    y, options = CASES[name]
    stat = "tstat-paired" if name == "paired" else "tstat"
    _, p = perm_test(X, y, stat, 50_000, equal_var=options.get("equal_var", False), seed=9)
    # five standard errors of both shares
    assert permuted["original"]["p"] == pytest.approx(
        p, abs=5 * np.sqrt(p * (1 - p) * (1 / 2000 + 1 / 50_000)) + 1 / 2001
    )


@every
def test_the_interval_is_bootstrapped(name):
    found, t_limits = tost(name, n_boot=5000, seed=2)["CI"], tost(name)["CI"]
    assert not np.array_equal(found, t_limits)
    # the t interval is wider by the factor sqrt(n / (n - 1)) and t's quantile over the normal one
    np.testing.assert_allclose(found, t_limits, atol=0.15 * np.ptp(t_limits))


def test_results_repeat():
    one, two = (tost("welch", n_perm=200, n_boot=200, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.pop("CI"), two.pop("CI"))
    assert one == two
    other = tost("welch", n_perm=2000, n_boot=200, seed=4)
    assert other["original"]["p"] != tost("welch", n_perm=2000, n_boot=200, seed=5)["original"]["p"]
    generators = [tost("welch", n_perm=200, n_boot=200, seed=np.random.default_rng(1)) for _ in range(2)]
    assert generators[0]["original"] == generators[1]["original"]


def test_missing_values_are_left_out():
    x = np.r_[X, np.nan]
    assert tost_equivalence(x, SHORT, *BOUNDS, n_perm=0, n_boot=0)["lower"] == tost("welch")["lower"]
    paired = tost_equivalence(x, np.r_[Y, 100.0], *BOUNDS, paired=True, n_perm=0, n_boot=0)
    assert paired["upper"] == tost("paired")["upper"]


def test_lists_and_series_are_samples():
    expected = tost("paired")["lower"]
    for x, y in ((X.tolist(), Y.tolist()), (pd.Series(X), pd.Series(Y, index=range(40)[::-1]))):
        assert tost_equivalence(x, y, *BOUNDS, paired=True, n_perm=0, n_boot=0)["lower"] == expected


REFUSED = {
    "order": (lambda: tost_equivalence(X, Y, 1, -1), OptionError, "lower=1 has to be below upper=-1"),
    "equal": (lambda: tost_equivalence(X, Y, 1, 1), OptionError, "lower=1 has to be below"),
    "text": (lambda: tost_equivalence(X, Y, "a", 1), OptionError, "lower='a'"),
    "infinite": (lambda: tost_equivalence(X, Y, -1, np.inf), OptionError, "upper=inf"),
    "one sample": (lambda: tost_equivalence(X, None, -1, 1), OptionError, "needs y"),
    "unequal pairs": (lambda: tost_equivalence(X, SHORT, -1, 1, paired=True), DataError, "x has 40, y 25"),
    "paired": (lambda: tost_equivalence(X, Y, -1, 1, paired="yes"), OptionError, "paired='yes'"),
    "equal_var": (lambda: tost_equivalence(X, Y, -1, 1, equal_var=3), OptionError, "equal_var=3"),
    "plot": (lambda: tost_equivalence(X, Y, -1, 1, plot="no"), OptionError, "plot='no'"),
    "n_perm": (lambda: tost_equivalence(X, Y, -1, 1, n_perm=-1), OptionError, "n_perm=-1"),
    "n_boot": (lambda: tost_equivalence(X, Y, -1, 1, n_boot=-1), OptionError, "n_boot=-1"),
    "seed": (lambda: tost_equivalence(X, Y, -1, 1, seed=-1), OptionError, "seed=-1"),
    "constant": (lambda: tost_equivalence([1, 1], [2, 2], -1, 1), DataError, "both constant"),
    "constant pairs": (lambda: tost_equivalence([1, 2], [2, 3], -1, 1, paired=True), DataError, "sample is constant"),
    "few": (lambda: tost_equivalence([1], [2, 3], -1, 1), DataError, "x holds 1"),
}


@pytest.mark.parametrize("call, kind, said", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


# the picture


def bars(ax, label="95 % interval"):
    """Return the ends of the thin bar and of the thick one."""
    (thin,) = [line.get_xdata() for line in ax.lines if line.get_label() == label]
    (thick,) = [c.get_segments()[0][:, 0] for c in ax.collections if isinstance(c, LineCollection)]
    return thin, thick


def test_the_picture_shows_difference_intervals_and_bounds():
    ax = draw(0.1, [-0.2, 0.4], [-0.3, 0.5], (-0.7, 1.1), verdict="Equivalent", ax=Figure().subplots())
    np.testing.assert_array_equal(bars(ax), [[-0.3, 0.5], [-0.2, 0.4]])
    verticals = sorted(
        line.get_xdata()[0] for line in ax.lines if np.ptp(line.get_xdata()) == 0 and len(line.get_xdata()) == 2
    )
    assert verticals == [-0.7, 0, 1.1]
    (band,) = ax.patches
    corners = band.get_path().transformed(band.get_patch_transform()).vertices[:, 0]
    assert (corners.min(), corners.max()) == pytest.approx((-0.7, 1.1), rel=EXACT)
    (point,) = [line for line in ax.lines if line.get_label() == "Difference"]
    assert point.get_xdata()[0] == 0.1
    low, high = ax.get_xlim()
    assert low < -0.7 and high > 1.1
    assert ax.get_title() == "Equivalent" and ax.get_xlabel() == "Mean difference"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Range of equivalence",
        "90 % t interval",
        "95 % interval",
        "Difference",
    ]


@every
@pytest.mark.parametrize("n_boot", [0, 500])
def test_the_test_draws_what_it_found(name, n_boot):
    found = tost(name, plot=True, n_boot=n_boot, seed=1)
    wide, narrow = bars(found["axes"], "95 % bootstrap interval" if n_boot else "95 % t interval")
    np.testing.assert_array_equal(wide, found["CI"])
    inside = BOUNDS[0] < narrow[0] and narrow[1] < BOUNDS[1]
    assert found["In_Equivalence_Range"] is bool(inside)
    assert len(plt.get_fignums()) == 1


@pytest.mark.r
@every
def test_the_thick_bar_is_the_90_percent_interval_of_r(name):
    _, narrow = bars(tost(name, plot=True)["axes"], "95 % t interval")
    assert narrow == pytest.approx(of_r()[name][8:], rel=EXACT)


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
    x = X - X.mean() + shift
    y = Y - Y.mean()
    found = tost_equivalence(x, y, *bounds, n_perm=0, n_boot=0, plot=True)
    assert found["axes"].get_title() == verdict
    assert found["In_Equivalence_Range"] == verdict.startswith("Equivalent")
    assert found["Means_Are_Different"] == ("ifferent" in verdict)


def test_no_figure_is_made_unasked():
    assert "axes" not in tost("welch") and not plt.get_fignums()


@pytest.mark.parametrize("name", ["inner", "outer", "bounds"])
@pytest.mark.parametrize("value", [[1.0], [1, 2, 3], [np.nan, 1], [0, np.inf]])
def test_limits_are_two_numbers(name, value):
    arguments = {"inner": [0, 1], "outer": [0, 1], "bounds": (0, 1)} | {name: value}
    with pytest.raises(DataError, match=f"{name}=.*two finite numbers"):
        draw(0.5, **arguments, ax=Figure().subplots())


@pytest.mark.parametrize("module", [equivalence, picture], ids=lambda module: module.__name__)
def test_the_examples_run(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
