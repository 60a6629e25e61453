"""Columns of any name, at every place of a formula, under every verb: the numbers are those of plain names."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from samples import fitted

from pymer4.errors import DataError

pytestmark = pytest.mark.r

UGLY = [
    "if",
    "1st",
    "_under",
    "my var",
    "a:b",
    "x-y",
    "income ($)",
    "tick`ed",
    "größe",
    "TRUE",
    "a\\b",
    "x||y",
    "NA",
    "T",
]

# Each formula has one place P, whose column gets the name; the others keep theirs.
PLACES = {
    "outcome": ("P ~ x + (1 | g)", "y", {}),
    "predictor": ("y ~ P * z + (1 | g)", "x", {}),
    "in a function": ("y ~ log(P) + (1 | g)", "w", {}),
    "poly": ("y ~ poly(P, 2) + (1 | g)", "x", {}),
    "scale": ("y ~ scale(P) + (1 | g)", "x", {}),
    "I": ("y ~ I(P^2) + (1 | g)", "x", {}),
    "factor": ("y ~ factor(P) + (1 | g)", "k", {}),
    "slope": ("y ~ z + (P | g)", "x", {}),
    "slope apart": ("y ~ z + (P || g)", "x", {}),
    "group": ("y ~ x + (x | P)", "g", {}),
    "group of slopes apart": ("y ~ x + (x || P)", "g", {}),
    "nested group": ("y ~ x + (1 | P / k)", "g", {}),
    "nested groups of slopes apart": ("y ~ x + (x || k / P)", "g", {}),
    "weights": ("y ~ x + (1 | g)", "w", {"weights": "P"}),
    "offset": ("y ~ x + (1 | g)", "z", {"offset": "P"}),
    "offset in the formula": ("y ~ x + offset(P) + (1 | g)", "z", {}),
}


@cache
def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 144
    frame = pd.DataFrame(
        {"g": np.arange(n) // 12, "k": np.arange(n) % 3, "x": rng.normal(size=n), "z": rng.normal(size=n)}
    )
    frame["w"] = rng.uniform(0.5, 2, n)
    # Columns that an unquoted name would be taken for.
    frame = frame.assign(a=np.arange(n) % 5, b=np.arange(n) % 4, under=0.0)
    slope = rng.normal(size=12)[frame.g]
    frame["y"] = 1 + frame.x * (1 + slope) + rng.normal(size=12)[frame.g] + 0.5 * rng.normal(size=n)
    return frame


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def numbers(formula: str, options: dict, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what each verb says, without names."""
    model = fitted(formula, frame, given=options)
    new = frame.iloc[[3, 40, 100]].copy()
    effects = model.ranef if isinstance(model.ranef, list) else [model.ranef]
    return {
        "coefficients": model.coefs.select_dtypes("number").to_numpy(),
        "variances": model.ranef_var[["Var", "Std"]].to_numpy(),
        "effects": np.concatenate([np.ravel(frame) for frame in effects]),
        "predictions": model.predict(new, use_rfx=True),
        "a row alone": model.predict(new.iloc[[1]], use_rfx=True),
        "intervals": model.predict(new, interval="confidence").to_numpy(),
        "simulations": model.simulate(2, seed=1).to_numpy(),
        "limits": model.confint().to_numpy(),
        "terms": model.anova().select_dtypes("number").to_numpy(),
    }


@cache
def plain(place: str) -> dict[str, np.ndarray]:
    formula, column, options = PLACES[place]
    return numbers(formula.replace("P", column), {key: column for key in options}, data())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", UGLY)
def test_numbers_do_not_depend_on_names(name, place):
    formula, column, options = PLACES[place]
    renamed = data().rename(columns={column: name})
    found = numbers(formula.replace("P", quoted(name)), {key: name for key in options}, renamed)
    for verb, expected in plain(place).items():
        np.testing.assert_allclose(found[verb], expected, rtol=1e-7, atol=1e-9, err_msg=verb)


@pytest.mark.parametrize(
    ("written", "apart"),
    [
        ("(x || g)", "(1 | g) + (0 + x | g)"),
        ("(0 + x || g)", "(0 + x | g)"),
        ("(x * z || g)", "(1 | g) + (0 + x | g) + (0 + z | g) + (0 + x:z | g)"),
        ("(log(w) + x || g:k)", "(1 | g:k) + (0 + log(w) | g:k) + (0 + x | g:k)"),
        ("(x || g / k)", "(1 | g / k) + (0 + x | g / k)"),
        ("(kf || g)", "(1 | g) + (0 + kf | g)"),
    ],
)
def test_slopes_apart_are_a_term_each(written, apart):
    frame = data().assign(kf=data().k.map({0: "a", 1: "b", 2: "c"}))
    one, other = (fitted(f"y ~ x + {random}", frame, REML=False) for random in (written, apart))
    assert one.grps == other.grps
    pd.testing.assert_index_equal(one.ranef_var.index, other.ranef_var.index)
    assert one.ranef_var.Name.tolist() == other.ranef_var.Name.tolist()
    assert one.logLike == pytest.approx(other.logLike, abs=1e-7)


def test_the_group_of_a_column_is_not_that_of_an_interaction():
    frame = data().assign(**{"a:b": data().g})
    model = fitted("y ~ x + (x || `a:b`)", frame)
    assert model.grps == {"a:b": 12}
    assert model.ranef_var.index.tolist() == ["a:b", "a:b.1", "Residual"]


@pytest.mark.parametrize("name", ["...", "..1"])
@pytest.mark.parametrize("place", ["predictor", "group", "weights", "in a function"])
def test_names_that_r_keeps_for_itself_are_told(name, place):
    formula, column, options = PLACES[place]
    named = data().rename(columns={column: name})
    with pytest.raises(DataError, match=r"R keeps the name .*rename"):
        fitted(formula.replace("P", quoted(name)), named, given=dict.fromkeys(options, name))
