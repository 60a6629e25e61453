"""The arrays of a mixed model, as `lmer` has them: rows, columns, names and groups, and the numbers to the last bit."""

from __future__ import annotations

import pickle
from dataclasses import fields
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from samples import trial

from pymer4 import Lmer
from pymer4.data.intake import take_in
from pymer4.data.mixed_design import MixedDesign, NeedsR
from pymer4.errors import FormulaError, RError
from pymer4.models.lmer_arrays import mixed_design
from pymer4.models.lmer_options import LmerOptions
from pymer4.rbridge import bridge

pytestmark = [pytest.mark.r, pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")]

_OPTIONS = {field.name for field in fields(LmerOptions)}
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


def stopped(formula: str, data: pd.DataFrame, given: dict[str, Any]) -> Lmer:
    """Return R's model, which is not optimized."""
    of_model = {name: given[name] for name in given if name in ("weights", "offset")}
    of_fit = {name: given[name] for name in given if name in ("factors", "rank")}
    model = Lmer(formula, data, **of_model)
    model.fit(**of_fit, control={"optimizer": None}, ddf="asymptotic", summarize=False)
    return model


def arrays(formula: str, data: pd.DataFrame) -> MixedDesign:
    """Return the arrays of a model that was not fitted."""
    model = Lmer(formula, data)
    model._options = LmerOptions.of(
        **{n: p.default for n, p in signature(Lmer.fit).parameters.items() if n in _OPTIONS}
    )
    return mixed_design(model, *model._sample())


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
    data["late"] = np.where(data.f == "r", -1, data.w)
    data["a`b"], data["c\\d"] = data.o, data.day
    data["T"], data["pi"], data["data"], data["sigma"], data["N"], data["offset"] = (data[n] for n in "xzoshg")
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
    "y ~ x + (1 | g:h:f)",
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
    "y ~ log(late) + f + (f | h)",
    "y ~ I(1e5 * x) + z + twice + I(x / 1e4) + (1 | g)",
    "y ~ 0 + I(x * 0 + 2) + (1 | g)",
    "y ~ x + (u | g)",
    "y ~ x + (1 | k)",
    "u ~ z + (1 | k / f)",
    "y ~ x + twice + (1 | g)",
    "y ~ x + twice + f + cell + cond:cell + (1 | g)",
    "y ~ f * cell + (1 | g)",
    "y ~ lab * x * h + (1 | g)",
    "y ~ `my var` * `das Maß` + (`my var` | g)",
    "y ~ größe + log(`my var` + 9) + (größe || `das Maß`:g)",
    "y ~ f + h + (1 | factor(f):h)",
    "y ~ f + h + (f | interaction(f, h))",
    "y ~ . - v - count - (1 | g) + (1 | g)",
    "y ~ 0 + (1 | g)",
    "y ~ C(f, contr.sum(3)):poly(x, 2) + poly(x, 2):poly(z, 2) + (poly(x, 2, raw = TRUE) | g)",
    "y ~ cbind(x, z):scale(o) + I(cbind(x, z)) + as.integer(10 * x) + rep(1:2, 120) + (1 | g)",
    "y ~ x + (x + offset(o) | g) + (1 | g) + offset(s)",
    "y ~ (x + (1 | g)) - 1 + (x | g) + (1 | (h:f))",
    "y ~ x * f - x + (1 | g)",
    "y ~ f + f:x - 1 + (f:x - 1 | h)",
    "log(pos) ~ factor(g) * x + (1 | h) + (1 | day:h)",
    "y ~ ifelse(x > 0.12345678901234 & z > 0.12345678901234, exp(o) + exp(s), x * z + 12345678 * o * w - s) + (1 | g)",
    "y ~ `a\\`b` + `c\\\\d`:f + (`a\\`b` | `c\\\\d`)",
    "y ~ T + pi:data + sigma + (1 | N) + (T | offset)",
]
GIVEN: list[tuple[str, dict[str, Any]]] = [
    ("y ~ x + (1 | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x + offset(s) + (1 | g)", {"weights": "wna", "offset": "u"}),
    ("y ~ f * x + (f | h)", {"factors": {"f": {"p": 1, "q": 1, "r": -2}}}),
    ("y ~ 0 + f + cond + (f || h)", {"factors": {"f": ["r", "q", "p"], "cond": ["b", "C", "a"]}}),
    ("y ~ log(signed) * f + (1 | h)", {"factors": {"f": {"one": {"p": 1, "q": 0, "r": -1}}}}),
    ("y ~ relevel(f, 'q') + day + (1 | h)", {"factors": {"f": {"p": 1, "q": 1, "r": -2}, "day": [0, 1, 2, 3, 4]}}),
    ("y ~ log(late) + f + (1 | h)", {"factors": {"f": {"p": 1, "q": 1, "r": -2}}}),
    ("y ~ x + z + f + (x | g)", {"rank": True}),
    ("y ~ f + (f | day)", {"factors": {"f": ["r", "q", "p"], "day": [4, 3, 2, 1, 0]}}),
]


@pytest.mark.parametrize(("formula", "given"), [*((formula, {}) for formula in FORMULAS), *GIVEN])
def test_arrays_are_those_of_r(formula, given):
    model = stopped(formula, wild(), given)
    found, r = mixed_design(model, *model._sample()), inside(_PARTS, model.model_obj)
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
    assert [*found.warnings] == [text for text in model.warnings if not text.startswith("Left out")]


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (day | day:h)",
        "y ~ f + (1 | factor(f == f))",
        "y ~ x + (1 | factor(x))",
        "y ~ x + (1 | factor(g))",
        "y ~ letters:x + (1 | g)",
        "y ~ mean(x) + (1 | g)",
        "y ~ log(day) + (1 | g)",
        "log(day) ~ x + (1 | g)",
        "y ~ x + (log(day) | g)",
        "y ~ x + offset(log(day)) + (1 | g)",
        "y ~ factor(x) + (1 | g)",
        "y ~ factor(x > -100) + (1 | g)",
        "y ~ x + (factor(x > -100) | h)",
        "y ~ poly(u, 2) + (1 | g)",
        "y ~ log(-w) + (1 | g)",
        "as.character(y) ~ x + (1 | g)",
    ],
)
def test_what_r_refuses_is_left_to_it(formula):
    with pytest.raises((RError, FormulaError)):
        stopped(formula, wild(), {})
    with pytest.raises(NeedsR):
        arrays(formula, wild())


@pytest.mark.parametrize("formula", ["y ~ x + y + (1 | g)", "y ~ x + cs(1 + x | g)"])
def test_what_r_alone_can_fit_is_refused(formula):
    with pytest.raises(FormulaError, match=r"does not read (y|cs\(1 \+ x \| g\)) in .*engine='R'"):
        arrays(formula, wild())


def test_a_function_that_r_lacks_is_refused_as_ever():
    with pytest.raises(FormulaError, match=r"no function 'ns'.*splines::ns"):
        arrays("y ~ ns(x, 3) + (1 | g)", wild())


@pytest.mark.parametrize("formula", ["u ~ f + log(x + 9) + (1 | k)", "log(u + 9) ~ f + (1 | k)"])
def test_the_outcome_may_be_left_out(formula):
    model = Lmer(formula, wild())
    read = model._reading.without_outcome()
    assert read.columns == tuple(name for name in model._reading.columns if name != "u")
    found = mixed_design(model, take_in(read, wild(), None, None), {}, outcome=False)
    again = arrays(formula, wild().assign(u=wild().x))
    assert found.y is None
    np.testing.assert_array_equal(found.X, again.X)
    np.testing.assert_array_equal(found.bars[0].codes, again.bars[0].codes)


def test_r_reads_a_formula_once_for_columns_of_a_kind(monkeypatch):
    model = stopped("y ~ poly(x, 2) * f + (1 | g)", wild(), {})
    asked = []
    ask = bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: asked.append(verb) or ask(verb, **given))
    first, second = (mixed_design(model, *model._sample()) for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)
    assert asked == ["read_design", "computed_variables", "computed_variables"]
    model._frame["f"] = model._frame["f"].astype(str)
    model._frame.loc[0, "f"] = "z"
    assert "fz" in mixed_design(model, *model._sample()).names
    assert pickle.loads(pickle.dumps(model))._plan is None
