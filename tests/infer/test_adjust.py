"""Adjusted p and simultaneous limits against emmeans, and what is emmeans' no more."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
from against_r import ask, each

from pymer4.errors import OptionError
from pymer4.infer.adjust import adjusted, applied
from pymer4.infer.asymptotic import Alternative, p_value
from pymer4.infer.grids import Adjust, adjustment

pytestmark = pytest.mark.numeric

NAMES = [name for name in get_args(Adjust) if adjustment("adjust", name) == name]
SIDES: dict[Alternative, int] = {"two-sided": 0, "greater": 1, "less": -1}
FAMILIES = ("pairwise", "trt.vs.ctrl", "own", "one")

EXACT = 1e-13  # p are as near as roundoff: Šidák's is one less a power there
RANGE = 1e-8  # of p: what ptukey leaves at 12 df and more, where df are fewer it is less exact
QTUKEY = 1e-4  # where R's search for a quantile of the range stops
UNIROOT = 5e-4  # where emmeans' search for a quantile of dunnettx stops
MVTNORM = (1e-3, 5e-3)  # p of mvtnorm have errors below 1e-3, and its quantiles are those of such p

SCRIPT = r"""
suppressMessages(library(emmeans))
set.seed(1)
named <- c(NAMES)
told <- function(compared, name, side = 0) {
  shown <- suppressWarnings(suppressMessages(summary(compared, infer = TRUE, adjust = name, side = side)))
  reach <- abs(shown$estimate - if (side < 0) shown$upper.CL else shown$lower.CL) / shown$SE
  cbind(shown$t.ratio, shown$df, shown$p.value, reach, match(attr(shown, "adjust"), named))
}
means_with <- function(dffun) emmobj(b, V, list(a = letters[seq_along(b)]), dffun = dffun, dfargs = list())
grid <- means_with(function(k, dfargs) 6 + sum(k^2 * spread))
one_df <- means_with(function(k, dfargs) 12.3)
one <- list(one = c(1, -1, 0, 0))
own <- c(one, list(two = c(0.5, 0.5, -0.5, -0.5), mean = c(1, 0, 0, 0)))
for (family in c("pairwise", "trt.vs.ctrl", "own", "one")) {
  method <- switch(family, own = own, one = one, family)
  compared <- contrast(grid, method)
  answer[[paste0(family, ".V")]] <- vcov(compared)
  answer[[paste0(family, ".rank")]] <- qr(compared@linfct)$rank
  for (name in named) for (side in -1:1) {
    asked <- if (name == "mvt") contrast(one_df, method) else compared
    answer[[paste(family, name, side, sep = ".")]] <- told(asked, name, side)
  }
}
"""

V = np.cov(np.random.default_rng(2).normal(size=(4, 6))) / 4


@cache
def of_r() -> dict[str, np.ndarray]:
    given = {"b": [1, 1.5, 2.9, 0.2], "V": V, "spread": [6, 8, 11.3, 5]}
    return ask(SCRIPT.replace("NAMES", ", ".join(map(repr, NAMES))), **given)


def tolerance(used: str) -> tuple[float, float]:
    """Return those of p, as a difference, and of critical values, as a share."""
    inexact = {"tukey": (RANGE, QTUKEY), "dunnettx": (RANGE, UNIROOT), "mvt": MVTNORM}
    return inexact.get(used, (EXACT, EXACT))


@pytest.mark.r
@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("adjust", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_p_and_the_limits_of_emmeans(family, adjust, alternative):
    t, df, p, critical, name = of_r()[f"{family}.{adjust}.{SIDES[alternative]}"].T
    used = applied(adjust, len(t), pairwise=family == "pairwise", alternative=alternative)
    assert used == NAMES[int(name[0]) - 1]
    rank, V = int(of_r()[f"{family}.rank"][0]), of_r()[f"{family}.V"]
    found = adjusted(t, df, used, alternative=alternative, rank=rank, V=V)
    assert np.abs(found[0] - p).max() < tolerance(used)[0]
    assert each(found[1], critical) < tolerance(used)[1]


@pytest.mark.parametrize("adjust", NAMES)
def test_tests_that_can_not_be_made_do_not_count(adjust):
    t, there = np.array([0.4, 2.6, np.nan, 1.3, np.nan, np.nan]), np.array([0, 1, 3])
    K = np.array([np.eye(4)[i] - np.eye(4)[j] for i in range(4) for j in range(i + 1, 4)])
    V = K @ K.T
    found = adjusted(t, 20.0, adjust, rank=3, V=V)
    alone = adjusted(t[there], 20.0, adjust, rank=3, V=V[np.ix_(there, there)])
    assert np.isnan(found[0]).nonzero()[0].tolist() == [2, 4, 5]
    for whole, part in zip(found, alone, strict=True):
        np.testing.assert_allclose(whole[there], part, rtol=1e-14)


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("adjust", NAMES)
def test_p_at_the_critical_value_is_the_level(adjust, alternative):
    """For the first of six tests, and of step-wise adjustments that are Bonferroni's there."""
    K = np.array([np.eye(4)[i] - np.eye(4)[j] for i in range(4) for j in range(i + 1, 4)])
    if alternative != "two-sided" and adjust in ("tukey", "scheffe", "dunnettx"):
        with pytest.raises(OptionError, match=f"adjust='{adjust}' is for two-sided tests. Use 'sidak'"):
            adjusted(np.ones(6), 9, adjust, alternative=alternative)
        return
    df = np.array([2, 7.3, 30, 900, 1e6, np.inf])
    given = {"level": 0.9, "alternative": alternative, "rank": 3, "V": K @ V @ K.T}
    _, critical = adjusted(np.zeros(6), df, adjust, **given)
    sign = -1 if alternative == "less" else 1
    p = np.array([adjusted(np.eye(6)[i] * sign * critical, df, adjust, **given)[0][i] for i in range(6)])
    np.testing.assert_allclose(p, 0.1 * ((1 / np.arange(1, 7)).sum() if adjust == "BY" else 1), rtol=1e-9)


def test_the_multivariate_t_has_whole_df_and_leaves_out_what_is_not_there():
    K = np.eye(4)[[0, 0, 0]] - np.eye(4)[1:]
    t, V3 = np.array([1.0, 2.1, -2.8]), K @ V @ K.T
    for one, other in ((7.74, 7), (7.75, 8), (0.3, 1), (1e4, np.inf)):
        np.testing.assert_array_equal(adjusted(t, one, "mvt", V=V3), adjusted(t, other, "mvt", V=V3))
    wide = np.full((5, 5), np.nan)
    wide[np.ix_([0, 2, 3], [0, 2, 3])] = V3
    lost = np.array([1.0, np.nan, 2.1, -2.8, 1.0])
    p, critical = adjusted(lost, 8, "mvt", V=wide)
    np.testing.assert_array_equal(np.isnan(p), [False, True, False, False, True])
    wanted = adjusted(t, 8, "mvt", V=V3)
    assert each(p[[0, 2, 3]], wanted[0]) < EXACT and each(critical, np.full(5, wanted[1][0])) < EXACT


@pytest.mark.parametrize("adjust", NAMES)
def test_a_family_without_any_test(adjust):
    nothing = np.full(3, np.nan)
    p, critical = adjusted(nothing, nothing, adjust, rank=2, V=np.full((3, 3), np.nan))
    assert np.isnan(p).all() and np.isnan(critical).all()


@pytest.mark.parametrize("adjust", NAMES)
def test_small_p_keep_their_digits(adjust):
    """p as small as 1e-33 stay within a small factor of the unadjusted; as one less a probability they would be 0."""
    t, df = np.array([25.0, 25.0, 1.0]), 60.0
    found = adjusted(t, df, adjust, rank=2, V=np.array([[2, 1, -1], [1, 2, 1], [-1, 1, 2.0]]))[0][:2]
    one = p_value(t[:2], df)
    assert (found >= one).all() and (found <= one * (3 if adjust not in ("BY", "scheffe") else 40)).all()
