"""A predictor called `signal` or `sigma`, a slope called `N`, `NA_` or `T`: no number depends on a name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference.lib.data import named_data

from pymer4 import Lmer
from pymer4.errors import ModelWarning

pytestmark = pytest.mark.r

SAME = 1e-9  # one optimizer on one frame

# The neutral names are found in no other label; a name set calls them otherwise.
NEUTRAL = ("qqx", "qqz", "qqf", "qqg")
NAMES = {
    "sigma": ("signal", "sigma", "entropy_sign", "sig"),
    "slopes": ("N", "T", "NA_", "g"),
    "letters": ("F", "c", "t", "I"),
    "columns of tables": ("Estimate", "SE", "P-val", "Group"),
    "parts of R": ("Residual", "df", "contrast", "pi"),
    "crossing": ("cor", "sd", "var", "Intercept"),
}


def renamed(names: tuple[str, ...]) -> pd.DataFrame:
    data = named_data("simulated").rename(columns={"level": "outcome", "g": "Subject"})
    data = data.rename(columns=dict(zip(("x", "time", "cond", "item"), names, strict=True)))
    return data[["outcome", "visits", "Subject", *names]]


def quoted(name: str) -> str:
    return name if name.replace("_", "a").isalnum() and name not in ("T", "F") else f"`{name}`"


def formula(names: tuple[str, ...], outcome: str = "outcome") -> str:
    x, z, f, g = map(quoted, names)
    if outcome == "visits":
        return f"visits ~ {x} + {z} + {f} + (1 | {g})"
    return f"outcome ~ {x} * {f} + {z} + ({x} + {z} | Subject) + (1 | {g})"


@cache
def fitted(key: str, family: str = "gaussian", **settings) -> Lmer:
    names = NAMES.get(key, NEUTRAL)
    model = Lmer(formula(names, "outcome" if family == "gaussian" else "visits"), renamed(names), family)
    model.fit(summarize=False, no_warnings=True, **settings)
    return model


def relabelled(label: object, names: tuple[str, ...]) -> object:
    """Return the label that a table with neutral names has, under the names of a set."""
    if not isinstance(label, str):
        return label
    for plain, name in zip(NEUTRAL, names, strict=True):
        label = label.replace(plain, name)
    return label


def same_but_for_labels(found: object, plain: object, names: tuple[str, ...]) -> None:
    """Compare two tables, or lists of them; quotes round a name count for nothing."""
    if isinstance(plain, list):
        for pair in zip(found, plain, strict=True):
            same_but_for_labels(*pair, names)
        return

    def bare(label: object) -> object:
        return label.replace("`", "") if isinstance(label, str) else label

    own = found.attrs.get("columns", {})
    for axis in ("index", "columns"):
        expected = [bare(relabelled(label, names)) for label in getattr(plain, axis)]
        if axis == "columns":
            expected = [own.get(new, new) if new != old else old for new, old in zip(expected, plain, strict=True)]
        assert [bare(label) for label in getattr(found, axis)] == expected
    for position in range(plain.shape[1]):
        mine, theirs = found.iloc[:, position], plain.iloc[:, position]
        if pd.api.types.is_numeric_dtype(theirs):
            np.testing.assert_allclose(mine, theirs, rtol=SAME, atol=SAME * np.nanmax(np.abs(theirs), initial=0))
        else:
            assert [bare(str(v)) for v in mine] == [bare(relabelled(str(v), names)) for v in theirs]


ASKED: dict[str, Callable[..., object]] = {
    "coefs": lambda m, *names: m.coefs,
    "Wald": lambda m, *names: m.confint(),
    "boot": lambda m, *names: m.confint("boot", n_boot=3, seed=1),
    "ranef_var": lambda m, *names: m.ranef_var,
    "ranef_corr": lambda m, *names: m.ranef_corr,
    "ranef": lambda m, *names: m.ranef,
    "fixef": lambda m, *names: m.fixef,
    "design_matrix": lambda m, *names: m.design_matrix,
    **{f"anova {type}": lambda m, *names, type=type: m.anova(type=type) for type in (1, 2, 3)},
    "ranova": lambda m, *names: m.ranova(),
    "emmeans": lambda m, x, z, f, g: list(m.emmeans(f, at={x: 0.5})),
    "emmeans of a covariate": lambda m, x, z, f, g: list(m.emmeans(x, f, at={x: [0, 1]})),
    "emtrends": lambda m, x, z, f, g: list(m.emtrends(x, f)),
    "joint_tests": lambda m, *names: m.joint_tests(),
    "joint_tests by": lambda m, x, z, f, g: m.joint_tests(f),
    "predictions": lambda m, *names: pd.DataFrame({"p": m.predict(renamed(names), use_rfx=True)}),
}
GENERALIZED = ["coefs", "Wald", "ranef_var", "ranef", "anova 2", "anova 3", "emmeans", "emtrends", "joint_tests"]


def require_same(table: str, names: str, found: Lmer, plain: Lmer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        tables = ASKED[table](found, *NAMES[names]), ASKED[table](plain, *NEUTRAL)
    same_but_for_labels(*tables, NAMES[names])


every = pytest.mark.parametrize(
    "names", [pytest.param(k, marks=pytest.mark.slow) if k in ("letters", "crossing") else k for k in NAMES]
)


@every
@pytest.mark.parametrize("table", ASKED)
def test_tables_of_a_linear_model(table, names):
    require_same(table, names, fitted(names), fitted("plain"))


@every
@pytest.mark.parametrize("table", GENERALIZED)
def test_tables_of_a_generalized_model(table, names):
    require_same(table, names, fitted(names, "poisson"), fitted("plain", "poisson"))


@pytest.mark.parametrize("settings", [{"conf_int": "boot", "n_boot": 3, "seed": 1}, {"permute": 3, "seed": 1}], ids=str)
@pytest.mark.parametrize("names", ["sigma", "slopes"])
def test_resampled_tables(names, settings):
    require_same("coefs", names, fitted(names, **settings), fitted("plain", **settings))


@cache
def few_terms(names: tuple[str, ...]) -> Lmer:
    x, z, _, g = map(quoted, names)
    model = Lmer(f"outcome ~ {x} + {z} + (0 + {x} | {g})", renamed(names))
    model.fit(conf_int="profile", summarize=False, no_warnings=True)
    return model


@pytest.mark.parametrize("names", [pytest.param("slopes", marks=pytest.mark.slow), "sigma"])
def test_profiles(names):
    found, plain = few_terms(NAMES[names]), few_terms(NEUTRAL)
    for tables in ((found.coefs, plain.coefs), (found.confint("profile"), plain.confint("profile"))):
        same_but_for_labels(*tables, NAMES[names])
