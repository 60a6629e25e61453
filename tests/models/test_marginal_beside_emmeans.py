"""Marginal means of models that `Lmer` fitted, as emmeans makes them of the same R object: no other fit is between."""

from __future__ import annotations

import numpy as np
import pytest
import samples
from against_r import inside

pytestmark = pytest.mark.r

SAME = 1e-8  # relative, and to 1 where a number is next to zero

_TOLD = """function(m) {{
  means <- suppressMessages(emmeans::{})
  lapply(list(means, pairs(means)), function(each) {{
    found <- summary(each, infer = TRUE, type = "response")
    as.matrix(as.data.frame(found)[c(attr(found, "estName"), attr(found, "clNames"), "SE", "df")])
  }})
}}"""
MEANS = 'emmeans(m, "cond", at = list(x = 0.5))'
CASES = {
    "binomial": ("cbind(hits, trials - hits) ~ cond * x + (1 | g)", {"family": "binomial"}, MEANS),
    "poisson": ("count ~ cond * x + (1 | g)", {"family": "poisson"}, MEANS),
    "gamma": ("size ~ cond * x + (1 | g)", {"family": "gamma", "link": "log"}, MEANS),
    "gaussian": ("y ~ poly(x, 2) * cond + (1 | g)", {}, MEANS.replace(")", '), lmer.df = "kenward"', 1)),
    "slopes": (
        "y ~ poly(x, 2) * cond + (1 | g)",
        {},
        'emtrends(m, "cond", "x", at = list(x = 0.5), lmer.df = "kenward")',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_tables_are_those_that_emmeans_makes_of_the_model(case):
    """Estimates, limits, errors and df, compared by Tukey; of a curve where outcomes and groups are missing."""
    formula, given, asked = CASES[case]
    linear = not given
    model = samples.fitted(formula, samples.with_holes().dropna(subset="x") if linear else None, given=given)
    how = {"at": {"x": 0.5}, **({"ddf": "Kenward-Roger"} if linear else {})}
    found = model.emtrends("x", "cond", **how) if case == "slopes" else model.emmeans("cond", **how)
    for table, expected in zip(found, inside(_TOLD.format(asked), model.model_obj), strict=True):
        ours = table[["Estimate", "2.5_ci", "97.5_ci", "SE", "DF"]]
        np.testing.assert_allclose(ours, expected, rtol=SAME, atol=SAME)
