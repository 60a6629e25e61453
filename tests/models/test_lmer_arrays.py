"""The arrays of a mixed model, as `lmer` has them: rows, columns, names and groups, and the numbers to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from samples import trial

from pymer4 import Lmer
from pymer4.data.mixed_design import MixedDesign
from pymer4.models.lmer_arrays import mixed_design

pytestmark = [pytest.mark.r, pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")]

_PARTS = """function(model) {
  X <- lme4::getME(model, "X")
  groups <- lme4::getME(model, "flist")
  list(
    X = matrix(X, nrow(X)), names = as.character(colnames(X)), dropped = as.character(names(attr(X, "col.dropped"))),
    Z = unname(as.matrix(lme4::getME(model, "Z"))),
    bars = names(model@cnms), columns = unname(model@cnms),
    codes = lapply(unname(as.list(groups)), function(g) as.integer(g) - 1L), levels = unname(lapply(groups, levels)),
    groups = names(groups), y = lme4::getME(model, "y"), offset = lme4::getME(model, "offset"),
    weights = stats::weights(model), omitted = as.integer(attr(model@frame, "na.action"))
  )
}"""


def both(formula: str, data: pd.DataFrame, given: dict[str, Any]) -> tuple[MixedDesign, dict[str, Any]]:
    """Return the arrays, and those of R's model, which is not optimized."""
    factors = given.pop("factors", None)
    rank = given.pop("rank", False)
    model = Lmer(formula, data, **given)
    model.fit(factors=factors, rank=rank, control={"optimizer": None}, ddf="asymptotic", summarize=False)
    return mixed_design(model, *model._sample()), inside(_PARTS, model.model_obj)


def dense(design: MixedDesign) -> np.ndarray:
    """Return the whole design of the random effects, a column an effect of a group, as lme4 orders them."""
    blocks = []
    for bar in design.bars:
        own = bar.codes[:, None] == np.arange(len(bar.levels))
        blocks.append((own[:, :, None] * bar.Z[:, None, :]).reshape(len(own), -1))
    return np.hstack(blocks)


def wild() -> pd.DataFrame:
    """Return the trial with factors of all kinds, odd names, gaps and columns that others add up to."""
    data = trial()
    rng = np.random.default_rng(3)
    n = len(data)
    data["lab"] = pd.Categorical(data.h.to_numpy(), sorted(set(data.h), reverse=True))
    data["f"] = pd.Categorical.from_codes(rng.integers(0, 3, n), ["p", "q", "r", "unused"])
    data["day"] = rng.integers(0, 5, n)
    data["half"] = data.day / 2 + 1e5
    data["twice"] = 2 * data.x - 1
    data["my var"] = data.z
    data["größe"] = data.o
    data["das Maß"] = data.f.astype(str).replace({"p": "ä", "q": "b c", "r": "1"})
    data["u"] = data.x.where(rng.random(n) > 0.05)
    data["k"] = data.h.where(rng.random(n) > 0.05)
    data["signed"] = data.s
    data["cell"] = np.where(data.f == "p", "one", data.cond)
    data["yes"] = data.s > 0
    data["wna"] = data.w.where(rng.random(n) > 0.05)
    return data


FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ 1 + (x | g)",
    "y ~ x * cond + (x | g) + (1 | h)",
    "y ~ x + (1 | h) + (x | g)",
    "y ~ 0 + cond + x + (1 | g)",
    "y ~ x + cond - 1 + (1 | g)",
    "y ~ 0 + x:cond + (1 | g)",
    "y ~ 0 + f * x * flag + (1 | g)",
    "y ~ f:flag + (1 | g)",
    "y ~ f * dose + (dose | h)",
    "y ~ x:z:o + x:z + (1 | g)",
    "y ~ f %in% flag + (1 | g)",
    "y ~ (x + z + f)^2 + (1 | g)",
    "y ~ x + z + f - z + (1 | g)",
    "y ~ x + f:x + (1 | g)",
    "y ~ dose + (0 + f | h)",
    "y ~ dose + (f || h)",
    "y ~ x + (x || g)",
    "y ~ x + (x * flag || g)",
    "y ~ x + (0 + x | g) + (1 | g)",
    "y ~ x + (1 | h / f)",
    "y ~ x + (x || h / f)",
    "y ~ x + (1 | h:f)",
    "y ~ x + (1 | f:h) + (1 | h) + (1 | f)",
    "y ~ x + (1 | h / f / flag)",
    "y ~ x + (1 | lab:flag:f)",
    "y ~ x + (x | lab) + (1 | g)",
    "y ~ x + (1 | h) + (1 | lab)",
    "y ~ x + (1 | flag)",
    "y ~ day + (1 | day)",
    "y ~ half + (half | g) + (1 | half)",
    "y ~ x + (day | day:flag)",
    "y ~ flag + (flag | flag:h)",
    "y ~ poly(x, 2) * f + (1 | g)",
    "y ~ log(pos) + scale(z) + I(x^2) + (scale(z) | g)",
    "y ~ I(x > 1) + as.character(f) + (1 | g)",
    "y ~ factor(day) * x + (0 + factor(day) | h)",
    "y ~ C(f, sum) + (C(f, sum) | h)",
    "y ~ relevel(f, 'q') + cut(x, 3) + (1 | g)",
    "y ~ splines::ns(x, 3):f + (1 | g)",
    "y ~ ordered(day) + (1 | g)",
    "log(pos) ~ x + (1 | g)",
    "scale(y) ~ x + (1 | g)",
    "yes ~ x + (1 | g)",
    "y ~ x + offset(o) + (1 | g)",
    "y ~ x + offset(log(w)) + offset(o) + (1 | g)",
    "y ~ log(signed) + f + (1 | h)",
    "log(signed) ~ x + f:flag + (1 | h:f)",
    "y ~ ifelse(is.na(u), 0, u) + (1 | g)",
    "y ~ u + f + (1 | g)",
    "y ~ x + (u | g)",
    "y ~ x + (1 | k)",
    "u ~ z + (1 | k / f)",
    "y ~ x + twice + (1 | g)",
    "y ~ x + twice + f + cell + cond:cell + (1 | g)",
    "y ~ f * cell + (1 | g)",
    "y ~ `my var` * `das Maß` + (`my var` | g)",
    "y ~ größe + log(`my var` + 9) + (größe || `das Maß`:g)",
    "y ~ f + h + (1 | factor(f):h)",
    "y ~ f + h + (f | interaction(f, h))",
    "y ~ . - v - count - (1 | g) + (1 | g)",
    "y ~ 0 + (1 | g)",
]
GIVEN: list[tuple[str, dict[str, Any]]] = [
    ("y ~ x + (1 | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x + offset(s) + (1 | g)", {"weights": "wna", "offset": "u"}),
    ("y ~ f * x + (f | h)", {"factors": {"f": {"p": 1, "q": 1, "r": -2}}}),
    ("y ~ 0 + f + cond + (f || h)", {"factors": {"f": ["r", "q", "p"], "cond": ["b", "C", "a"]}}),
    ("y ~ log(signed) * f + (1 | h)", {"factors": {"f": {"one": {"p": 1, "q": 0, "r": -1}}}}),
    ("y ~ relevel(f, 'q') + day + (1 | h)", {"factors": {"f": {"p": 1, "q": 1, "r": -2}, "day": [0, 1, 2, 3, 4]}}),
    ("y ~ x + z + f + (x | g)", {"rank": True}),
    ("y ~ f + (f | day)", {"factors": {"f": ["r", "q", "p"], "day": [4, 3, 2, 1, 0]}}),
]


@pytest.mark.parametrize(("formula", "given"), [*((formula, {}) for formula in FORMULAS), *GIVEN])
def test_arrays_are_those_of_r(formula, given):
    found, r = both(formula, wild(), dict(given))
    np.testing.assert_array_equal(found.X, r["X"].reshape(len(found.X), -1))
    assert [*found.names] == r["names"]
    assert [*found.dropped] == r["dropped"]
    assert [bar.group for bar in found.bars] == r["bars"]
    assert [[*bar.names] for bar in found.bars] == r["columns"]
    np.testing.assert_array_equal(dense(found), r["Z"])
    once = {bar.group: bar for bar in found.bars}
    assert [*once] == r["groups"]
    assert all(bar.codes is once[bar.group].codes for bar in found.bars)
    for bar, codes, levels in zip(once.values(), r["codes"], r["levels"], strict=True):
        np.testing.assert_array_equal(bar.codes, codes)
        assert [*bar.levels] == levels
    weights = r["weights"] if given.get("weights") else None
    for own, wanted in ((found.y, r["y"]), (found.offset, r["offset"]), (found.weights, weights)):
        np.testing.assert_array_equal(0 if own is None else own, 0 if wanted is None else wanted)
    assert np.flatnonzero(~found.used).tolist() == [row - 1 for row in r["omitted"]]
