"""What the fuzz calls with: valid values of each parameter, values of its kind that are no good, and any wrong ones."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Make = Callable[[], Any]
"""Makes a value anew, so that no call can change what another gets."""


@cache
def _frame() -> pd.DataFrame:
    """Return 36 rows in 6 groups: columns that a model takes, and columns that none does."""
    found = plain_frame()
    n = len(found)
    found["lists"] = [[i % 3] for i in range(n)]
    found["half"] = (np.arange(n) % 5).astype(np.float16)
    found["complex"] = found.x + 1j
    found["when"] = pd.date_range("2020-01-01", periods=n)
    found["mixed"] = ["a", 1] * 18
    found["const"], found["gaps"], found["infs"] = 1.0, np.nan, np.inf
    return found


def frame() -> pd.DataFrame:
    """Return the rows of `_frame`, for one call alone."""
    return _frame().copy()


def plain_frame() -> pd.DataFrame:
    """Return the columns that a model takes, and that files hold."""
    rng = np.random.default_rng(7)
    n = 36
    found = pd.DataFrame({"g": np.repeat(list("ABCDEF"), 6), "h": np.tile(["u", "v", "w"], 12)})
    found["c"] = pd.Categorical(np.tile(["a", "b", "d"], 12)[rng.permutation(n)])
    found["x"], found["z"] = rng.normal(size=n), rng.normal(size=n)
    found["w"] = rng.uniform(0.5, 2, n)
    effect = rng.normal(size=6)[np.repeat(np.arange(6), 6)]
    found["y"] = found.x + effect + rng.normal(size=n)
    found["n"] = rng.poisson(np.exp(0.3 * found.x + 1))
    found["b"] = (found.x + effect + rng.logistic(size=n) > 0).astype(int)
    found["k"] = np.tile(np.arange(4), 9)
    found["flag"] = rng.random(n) < 0.5
    for name in ("Q", "I", "np", "C", "my var", "ä", "sigma", "T"):
        found[name] = rng.normal(size=n)
    found["holes"] = np.where(np.arange(n) % 9 == 0, np.nan, found.z)
    return found


def strange_index() -> pd.DataFrame:
    found = frame()
    found.index = ["same"] * len(found)
    return found


def doubled() -> pd.DataFrame:
    found = frame()
    return pd.concat([found, found[["x"]]], axis=1)


def renamed(**names: Any) -> pd.DataFrame:
    return frame().rename(columns=names)


class Odd:
    """An object that answers nothing as it should."""

    def __bool__(self) -> bool:
        raise ValueError("no truth value")

    def __eq__(self, other: object) -> bool:
        raise TypeError("not to be compared")

    __hash__ = None


ANYTHING: list[Make] = [
    lambda: None,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: -float("inf"),
    lambda: -1,
    lambda: -0.5,
    lambda: 0,
    lambda: 1,
    lambda: 2,
    lambda: 0.5,
    lambda: 1.5,
    lambda: 2**31,
    lambda: 10**12,
    lambda: 10**30,
    lambda: 10**400,
    lambda: 1e300,
    lambda: 1 + 2j,
    lambda: True,
    lambda: False,
    lambda: "",
    lambda: [],
    lambda: (),
    lambda: {},
    lambda: set(),
    lambda: {"x"},
    lambda: [[]],
    lambda: [["x"]],
    lambda: [["x", "c"], ["g"]],
    lambda: [None],
    lambda: ["x", None],
    lambda: ["x", "x"],
    lambda: [1, "x", 2.5],
    lambda: {"x": {"y": 1}},
    lambda: {"c": {"a": {"b": 1}}},
    lambda: {"x": None},
    lambda: {1: 2},
    lambda: {None: None},
    lambda: {("x", "c"): [1]},
    lambda: np.array([]),
    lambda: np.array(1.0),
    lambda: np.array([1.0]),
    lambda: np.array([1, 2, 3]),
    lambda: np.arange(36.0),
    lambda: np.arange(36) + 1j,
    lambda: np.ones((36, 2)),
    lambda: np.array([True, False] * 18),
    lambda: np.array(["2020-01-01"] * 36, dtype="datetime64[D]"),
    lambda: np.array([3] * 36, dtype="timedelta64[D]"),
    lambda: np.array([1, "a", None] * 12, dtype=object),
    lambda: np.array([[1], [2]], dtype=object),
    lambda: np.array(["x", "c"]),
    lambda: np.float64(0.95),
    lambda: np.int64(3),
    lambda: np.bool_(True),
    lambda: np.ma.masked,
    lambda: pd.NA,
    lambda: pd.NaT,
    lambda: pd.Series(np.arange(36.0) + 1, index=np.arange(36) + 100),
    lambda: pd.Series([], dtype=float),
    lambda: pd.Series(["x", "c"], name="terms"),
    lambda: pd.Index(["x", "c"]),
    lambda: pd.Categorical(["x", "c"]),
    lambda: pd.DataFrame(),
    lambda: pd.DataFrame({"x": [1.0, 2.0]}),
    frame,
    lambda: datetime.datetime(2020, 1, 1),
    lambda: Decimal("0.9"),
    lambda: Fraction(1, 2),
    lambda: dict,
    lambda: int,
    lambda: len,
    lambda: lambda *given: 1.0,
    lambda: Odd(),
    lambda: object(),
    lambda: range(3),
    lambda: (name for name in ("x", "c")),
    lambda: iter([1, 2]),
    lambda: slice(1, 2),
    lambda: ...,
    lambda: b"x",
    lambda: b"\xff\x00",
    lambda: Path("x"),
    lambda: Path("no/such/folder/x.h5"),
    lambda: "x",
    lambda: "nowhere",
    lambda: "a\0b",
    lambda: "`",
    lambda: "x`",
    lambda: "my var",
    lambda: "ä",
    lambda: "\ud800",
    lambda: "x" * 5000,
    lambda: "1",
    lambda: "c:g",
    lambda: "\n",
    lambda: "system('true')",
]
"""What nobody means, for any parameter."""


def _each(*values: Any) -> list[Make]:
    """Return makers of plain values, which need no copies."""
    return [lambda value=value: value for value in values]


def _flags() -> list[Make]:
    return _each(True, False)


_MIXED = [
    "y ~ x + (1 | g)", "y ~ x * c + (1 | g)", "y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)", "n ~ x + (1 | g)",
    "b ~ x + (1 | g)", "w ~ c + (1 | g)", "log(w) ~ `my var` + (1 | g)", "y ~ poly(x, 2) + factor(k) + (1 | g)",
    "cbind(n, k) ~ x + (1 | g)", "y ~ holes + offset(z) + (1 | g)",
]  # fmt: skip
_MIXED_ODD = [
    "", "~", "y", "y ~ x", "~ x + (1 | g)", "y ~ x + (1 | g", "y ~ x + (1 | lists)", "y ~ x + (1 | half)",
    "y ~ x + (1 | when)", "y ~ x + (1 | complex)", "y ~ x + (1 | mixed)", "y ~ lists + (1 | g)",
    "y ~ complex + (1 | g)", "y ~ when + (1 | g)", "y ~ infs + (1 | g)", "y ~ gaps + (1 | g)",
    "y ~ const + (1 | g)", "const ~ x + (1 | g)", "c ~ x + (1 | g)", "y ~ nowhere + (1 | g)",
    "nowhere ~ x + (1 | g)", "y ~ x + (1 | nowhere)", "y ~ x + (1 | y)", "y ~ x + (1 | const)",
    "y ~ c * g * h * z * x * w + (1 | g)", "y ~ poly(x, 40) + (1 | g)", "y ~ Q + I + np + T + (1 | g)",
    "y ~ nofunction(x) + (1 | g)", "y ~ x + (0 | g)", "y ~ 0 + (1 | g)", "y ~ x + (1 | g) + (1 | g)",
    "y ~ stop('no') + (1 | g)", "y ~ x + (poly(x, 9) | g)", "y ~ log(x - 100) + (1 | g)", "y ~ `ä` + (1 | g)",
    "y ~ x + (x + z + w | g)", "x ~ x + (1 | g)", "y ~ . + (1 | g)", "y ~ x ^ y + (1 | g)", "y ~ (x | g)",
    "y ~ x + (1 || g)", "lists ~ x + (1 | g)", "y ~ I(x) + I(lists) + (1 | g)",
]  # fmt: skip
_PLAIN = [
    "y ~ x", "y ~ x * c", "y ~ 0 + c", "n ~ x", "b ~ x", "w ~ c + z", "y ~ bs(x, df=4)", "log(w) ~ Q('my var')",
    "y ~ C(k) + standardize(z)", "y ~ holes", "y ~ 1", "y ~ center(x) * flag",
]  # fmt: skip
_PLAIN_ODD = [
    "", "~", "y", "~ x", "y ~ x + (1 | g)", "y ~ (x", "y ~ Q", "y ~ I", "y ~ np", "y ~ C", "y ~ Q + I + np",
    "y ~ Q + I(x)", "y ~ np + np.log(w)", "y ~ C(c) + C", "y ~ Q('x') + Q", "y ~ lists", "y ~ complex", "y ~ when",
    "y ~ mixed", "y ~ half", "y ~ infs", "y ~ gaps", "y ~ const", "const ~ x", "c ~ x", "y ~ nowhere",
    "nowhere ~ x", "y ~ c * g * h * z * x * w", "y ~ bs(x, df=40)", "y ~ nofunction(x)", "y ~ 0", "y ~ x / 0",
    "y ~ I(x / 0)", "y ~ 1 / 0", "y ~ x[0]", "y ~ x.nope", "y ~ np.log(x - 100)", "y ~ len(x)", "y ~ lists[0]",
    "y ~ Q('nope')", "y ~ C(c, nope)", "y ~ ä", "y ~ x + z.sum", "x ~ x", "y ~ x ** y", "y + z ~ x",
    "y ~ bs(x, df=2)", "lists ~ x", "y ~ x.sum()", "y ~ {x}", "y ~ __import__", "y ~ lambda x: x", "when ~ x",
    "y ~ poly(x, 2)", "y ~ sigma + T", "y ~ C(lists)",
]  # fmt: skip
_FRAMES: list[Make] = [
    lambda: frame().iloc[:0],
    lambda: frame().iloc[:1],
    lambda: frame().iloc[:3],
    lambda: frame()[["x"]],
    doubled,
    strange_index,
    lambda: renamed(x=1),
    lambda: renamed(x=("x", 1)),
    lambda: renamed(x="x\0"),
    lambda: renamed(z=None),
    lambda: frame().assign(x="text"),
    lambda: frame().assign(x=[[1]] * 36),
    lambda: frame().assign(x=np.nan),
    lambda: frame().assign(x=np.inf),
    lambda: frame().assign(x=1 + 1j),
    lambda: frame().assign(x=pd.Timestamp("2020-01-01")),
    lambda: frame().assign(g=[[i] for i in range(36)]),
    lambda: frame().assign(g=np.arange(36).astype(np.float16)),
    lambda: frame().assign(g="new"),
    lambda: frame().assign(c="new"),
    lambda: frame().assign(y=np.inf),
    lambda: frame().assign(x=frame().x.astype("Float64")),
    lambda: frame().assign(x=frame().x.astype("category")),
    lambda: frame().astype({"x": object}),
    lambda: frame().T,
    lambda: frame().set_index(["g", "h"]),
    lambda: frame().to_numpy(),
    lambda: frame().to_dict(),
    lambda: frame().x,
]
_SAMPLES: list[Make] = [
    lambda: [1.0, 2.0, 4.0, 7.0, 11.0],
    lambda: np.array([2.0, 1.0, 5.0, 3.0, 8.0]),
    lambda: pd.Series([3.0, np.nan, 4.0, 9.0, 1.0], index=[5, 5, 1, 0, 2]),
]
_SAMPLES_ODD: list[Make] = [
    lambda: [1.0],
    lambda: [1.0, 1.0, 1.0],
    lambda: [np.nan] * 5,
    lambda: [1.0, np.inf, 2.0],
    lambda: ["a", "b", "c"],
    lambda: [[1.0, 2.0], [3.0, 4.0]],
    lambda: [1e308, -1e308, 1e308, 3.0],
    lambda: [10**400, 1, 2],
    lambda: [1 + 1j, 2, 3],
]
_MATRICES: list[Make] = [
    lambda: np.eye(2),
    lambda: [[1.0, 0.5], [0.5, 1.0]],
    lambda: np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]),
]
_MATRICES_ODD: list[Make] = [
    lambda: np.full((2, 2), np.nan),
    lambda: np.full((2, 2), np.inf),
    lambda: np.array([[1.0, 0.5], [0.2, 1.0]]),
    lambda: np.zeros((3, 3)),
    lambda: np.ones((2, 3)),
    lambda: np.eye(2) * 1j,
    lambda: np.eye(2, dtype=object),
    lambda: np.array([["2020"] * 2] * 2, dtype="datetime64[D]"),
    lambda: [[1.0, 0.5], [0.5]],
    lambda: [["a", "b"], ["c", "d"]],
    lambda: np.empty((0, 0)),
    lambda: [[1e308, 1e308], [1e308, 1e308]],
    lambda: frame(),
]
_ROWS: list[Make] = [
    lambda: "w",
    lambda: frame().w,
    lambda: frame().w.to_numpy(),
    lambda: list(frame().w),
    lambda: None,
]
_ROWS_ODD: list[Make] = [
    lambda: "lists",
    lambda: "complex",
    lambda: "when",
    lambda: "c",
    lambda: "infs",
    lambda: "gaps",
    lambda: "const",
    lambda: "holes",
    lambda: np.zeros(36),
    lambda: np.full(36, np.nan),
    lambda: np.full(36, 1e300),
    lambda: np.full(36, 1e-300),
    lambda: frame().w.to_numpy() + 1j,
    lambda: list(frame().w + 1j),
    lambda: frame().when,
    lambda: frame().when.to_numpy(),
    lambda: list(frame().when),
    lambda: frame().lists,
    lambda: [10**400] * 36,
    lambda: ["1.5"] * 36,
    lambda: [[1.0]] * 36,
    lambda: pd.Series(np.arange(1.0, 37), index=list(range(1, 37))),
    lambda: np.ma.masked_greater(frame().w.to_numpy(), 1),
    lambda: frame()[["w"]],
]
_VARIABLES = [
    *_each("x", "c", ["c"], ("x",), None, ["c", "x"]),
    lambda: pd.Index(["c"]),
    lambda: np.array(["c"]),
]
_VARIABLES_ODD = [
    *_each("nowhere", "g", "y", ["c", "c"], [["c"]], [["c"], ["x"]], ["c", ["x"]], [("c", "x")], [1], [None], "c|x"),
    *_each("~ c", "C(c)", "lists", {"c": 1}, {"c"}, ["c", 2.5], [{"c": 1}], "`c`", "c:x", "c*x", ["", "c"], [np.nan]),
    lambda: [np.array(["c"])],
    lambda: frame()[["c"]],
    lambda: frame().c,
]
_FACTORS = [
    *_each(None, {"c": ["d", "a", "b"]}, {"c": {"a": 1, "b": -1, "d": 0}}, {"k": [0, 1, 2, 3]}),
    *_each({"c": {"a": [1, 0], "b": [0, 1], "d": [-1, -1]}}, {"c": {"ab": {"a": 1, "b": -1, "d": 0}}}),
]
_FACTORS_ODD = [
    *_each({"c": []}, {"c": ["a"]}, {"c": ["a", "b"]}, {"c": ["a", "b", "d", "e"]}, {"c": ["a", "a", "b", "d"]}),
    *_each({"c": {}}, {"c": {"a": 1}}, {"c": {"a": 1, "b": "x", "d": 0}}, {"c": {"a": 1, "b": np.inf, "d": 0}}),
    *_each({"c": {"a": [1, 0], "b": [0], "d": [1, 1]}}, {"c": {"a": [1, 2, 3], "b": [1, 2, 3], "d": [0, 1, 1]}}),
    *_each({"c": {"a": {"b": {"d": 1}}}}, {"c": {"a": 0, "b": 0, "d": 0}}, {"c": "abd"}, {"c": 3}, {"c": None}),
    *_each({"nowhere": ["a"]}, {1: ["a"]}, {"c": [["a"], ["b"], ["d"]]}, {"c": [None, "a", "b"]}, ["c"], "c"),
    *_each({"lists": [[0], [1], [2]]}, {"x": [1, 2]}, {"y": [1, 2]}, {"g": list("ABCDEF")}, {"half": [0, 1, 2, 3, 4]}),
    *_each({"c": {"a": 1, "b": 1, "d": 1}}, {"c": {"n1": {"a": 1}, "n2": 3}}, {"c": {"a": 1 + 1j, "b": 0, "d": -1}}),
    *_each({"c": {"a": [], "b": [], "d": []}}, {"c": {1: 1, 2: -1}}, {"c": {("a",): 1}}, {"c": b"abd"}),
    lambda: {"c": np.array(["a", "b", "d"])},
    lambda: {"c": np.eye(3)},
    lambda: {"c": {"a": np.array([[1]]), "b": 0, "d": 0}},
    lambda: {"c": frame()},
    lambda: {"c": pd.Series(["d", "a", "b"])},
]
_AT = [
    *_each(None, {"x": [0, 1]}, {"x": 0.5}, {"c": ["a", "b"]}, {"c": "a", "x": [1]}),
    lambda: {"x": np.array([0.0, 1.0])},
]
_AT_ODD = [
    *_each({"x": {}}, {"x": {"a": 1}}, {"x": [{"a": 1}]}, {"c": {"a": 1}}, {"c": ["a", {"b": 1}]}, {"x": [[1], [2]]}),
    *_each({"x": "1"}, {"x": [np.nan]}, {"x": [10**400]}, {"x": 1 + 1j}, {"c": ["e"]}, {"c": []}, {"c": [None]}),
    *_each(
        {"nowhere": 1}, {1: 1}, {None: 1}, {("x",): 1}, {"x": None}, {"c": [["a"]]}, {"c": 1}, "x", ["x"], [("x", 1)]
    ),
    *_each({"x": {1, 2}}, {"c": {"a"}}, {"x": list(range(5000))}, {"x": [True]}, {"x": b"1"}, {"y": 1}, {"g": ["A"]}),
    lambda: {"x": frame()},
    lambda: {"x": np.eye(2)},
    lambda: {"x": frame().when},
    lambda: {"c": frame().c},
    lambda: {"c": np.array([["a"], ["b"]])},
    lambda: {"x": Odd()},
    lambda: {"c": Odd()},
]
_CONTRASTS = _each(
    "pairwise", "trt.vs.ctrl", "consec", "poly", "eff", None, {"a-b": [1, -1, 0]}, {"a": {"a": 1, "b": -1}}
)
_CONTRASTS_ODD = [
    *_each(
        {}, {"a": []}, {"a": [1]}, {"a": [1, np.nan, 0]}, {"a": {"e": 1}}, {"a": {}}, {"a": {("a", "b"): 1}}, "nope"
    ),
    *_each({"a": {"a": {"b": 1}}}, {"a": [[1, -1, 0]]}, {"a": "1"}, {"a": None}, {1: [1, -1, 0]}, {None: [1, -1, 0]}),
    *_each({"a": [0, 0, 0]}, {"a": [10**400, -1, 0]}, {"a": [1j, 0, 0]}, {"a": {1: 1}}, {"a": {None: 1}}, ["pairwise"]),
    lambda: {"a": np.array([1.0, -1.0, 0.0])},
    lambda: {"a": np.eye(3)},
    lambda: {"a": frame()},
]
_COUNTS_ODD = _each(0, -3, 2.5, 1e12, 10**13, 2**31 - 1, 2**63, np.int64(10**11), "5", 1e3 + 0.5)
_SEEDS_ODD = _each(-1, 2**32, 2**64, 2**200, 1.0, 2.5, "1", [1, 2])

VALID: dict[str, list[Make]] = {
    "Lmer.formula": _each(*_MIXED),
    "formula": _each(*_PLAIN),
    "data": [frame, frame, lambda: frame().iloc[::2], lambda: frame().iloc[:5]],
    "family": _each("gaussian", "gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "nbinom"),
    "simulate_lm.family": _each("gaussian", "binomial"),
    "simulate_lmm.family": _each("gaussian", "binomial"),
    "link": _each(None, "identity", "log", "logit", "inverse", "sqrt"),
    "group": _each("g", "h", ["g", "h"], "k"),
    "weights": _ROWS,
    "offset": _ROWS,
    "Lmer.conf_int": _each("Wald", "Wald", "boot", "profile"),
    "conf_int": _each("standard", "boot"),
    "binomial Lmer.conf_int": _each("Wald", "boot"),
    "binomial Lmer.method": _each("Wald", "boot"),
    "method": _each("Wald", "boot", "profile"),
    "correct_pvals.method": _each("holm", "BH", "fdr", "none", "bonf", "hommel"),
    "n_boot": _each(4, 5.0, np.int64(6)),
    "cohens_d.n_boot": _each(0, 20),
    "tost_equivalence.n_boot": _each(0, 20),
    "n_perm": _each(0, 20),
    "permute": _each(False, None, 0, 8),
    "binomial Lmer.permute": _each(False, None, 0, 0, 2),
    "n_jobs": _each(1),
    "n_lags": _each(0, 1, 3),
    "num_datasets": _each(1, 3),
    "nAGQ": _each(0, 1, 1, 5),
    "seed": [*_each(None, 1, 0, np.int64(7)), lambda: np.random.default_rng(1)],
    "factors": _FACTORS,
    "rank_group": _each("", "g", "h", None),
    "rank_exclude_cols": _each((), "x", ["x"], ["z"]),
    "control": _each("", "optimizer='bobyqa'", {"optimizer": "Nelder_Mead"}, {"optCtrl": {"maxfun": 200}}),
    "conf_level": _each(0.95, 0.9, 95, np.float32(0.8)),
    "ddf": _each("Satterthwaite", "asymptotic", "Kenward-Roger"),
    "permute_within": _each(None, "g"),
    "robust": _each(False, True, "hc0", "HC3", "hac", "cluster", None),
    "cluster": _each(None, "g", "h"),
    "scheme": _each("raw", "freedman-lane"),
    "perm_on": _each("tstat", "coef"),
    "to_corrs": _each(False, True, "semi", "partial"),
    "corr_type": _each("semi", "partial"),
    "pred_type": _each("response", "link"),
    "interval": _each(None, "confidence", "prediction"),
    "new_levels": _each("error", "population"),
    "specs": _VARIABLES,
    "by": _VARIABLES,
    "marginal_vars": _VARIABLES,
    "grouping_vars": _VARIABLES,
    "var": _each("x"),
    "at": _AT,
    "contrasts": _CONTRASTS,
    "plot_marginal.contrasts": _flags(),
    "adjust": _each("tukey", "none", "bonf", "dunnet", "BH", "sidak", "scheffe"),
    "p_adjust": _each("tukey", "none", "bonf", "dunnet", "fdr"),
    "type": _each("response", "link"),
    "anova.type": _each(1, 2, 3),
    "approximation": _each("lognormal", "delta", "trigamma"),
    "rate": _each("mean", "median"),
    "constraints": [*_each("x = 0", "x", ["x", "Intercept"], {"x": 1}), lambda: (np.eye(2)[:1], np.zeros(1))],
    "x": _SAMPLES,
    "y": _SAMPLES,
    "boot_func.y": [*_SAMPLES, lambda: None],
    "func": [lambda: np.mean, lambda: lambda *given, **more: float(np.mean(given[0]))],
    "func_args": _each({}),
    "stat": _each("tstat", "tstat-paired", "mean", "cohensd", "pearsonr", "spearmanr"),
    "tails": _each(1, 2),
    "value": _each(0, 0.5),
    "ps": [lambda: [0.01, 0.5, 0.03], lambda: np.array([0.2, np.nan, 0.9])],
    "lower": _each(-1, -0.5),
    "upper": _each(1, 0.5),
    "r": _each(0.5, 0.2),
    "nobs": _each(20, 30),
    "df_res": _each(10, 18),
    "res": _SAMPLES,
    "df": [lambda: frame()[["x", "z", "w"]]],
    "tol": _each(5.0, 1e-8),
    "mat": _MATRICES,
    "arr": [*_MATRICES, lambda: [1, -1, 0]],
    "n": _each(None, 5),
    "names": [lambda: None, lambda: ["a"], lambda: ["a", "b"]],
    "nit": _each(100, 5),
    "num_obs": _each(10, 30),
    "num_coef": _each(2, 0, 3),
    "num_features": _each(2, 3),
    "num_grps": _each(5, 2),
    "coef_vals": [lambda: None, lambda: [1.0, 2.0, 3.0]],
    "corrs": [lambda: None, lambda: 0.3, lambda: np.eye(2), lambda: [0.9, -0.9, 0.9]],
    "easy_multivariate_normal.corrs": [lambda: 0.3, lambda: np.eye(2), lambda: [0.9, -0.9, 0.9]],
    "mus": [lambda: 0.0, lambda: [1.0, 2.0]],
    "mu": [lambda: 0.0, lambda: [1.0, 2.0]],
    "sigmas": [lambda: 1.0, lambda: [1.0, 2.0]],
    "sigma": [lambda: 1.0, lambda: [1.0, 2.0]],
    "grp_sigmas": [lambda: 0.25, lambda: [0.1, 0.2, 0.3]],
    "noise_params": _each((0, 1), (1.0, 0.5)),
    "name": _each("sleepstudy", "cbpp", "sample_data"),
    "filepath": [lambda: "model.h5", lambda: Path("model.h5"), lambda: "saved.h5"],
    "compression": _each("zlib", None, "blosc"),
    "param": _each("x", "(Intercept)"),
    "term": _each("x", "Intercept"),
    "figsize": _each((4, 3)),
    "error_bars": _each("ci", "se"),
    "axlim": _each(None, (-3, 3)),
    "coef_fmt": _each("o", "s"),
    "orient": _each("v", "h"),
    "ranef_alpha": _each(0.5),
    "ranef_idx": _each(0, "g"),
    "terms": _each(None, "(Intercept)"),
    "order": _each("value", "name"),
    "grps": _each((), ["A", "B"]),
    "xlabel": _each("", "label"),
    "ylabel": _each("", "label"),
    "ax": _each(None),
    "found": _each([]),
}
"""Valid values by parameter, `callable.parameter` or `Class.parameter` before the plain name."""

ODD: dict[str, list[Make]] = {
    "Lmer.formula": _each(*_MIXED_ODD),
    "formula": _each(*_PLAIN_ODD),
    "data": _FRAMES,
    "df": _FRAMES,
    "family": _each("Gaussian", "normal", "gausian", ["gaussian"]),
    "link": _each("", "nope", "cauchit", ["log"]),
    "group": _each("lists", "half", "complex", "when", "gaps", "const", "y", "nowhere", ["g", "g"], [], [["g"]]),
    "weights": _ROWS_ODD,
    "offset": _ROWS_ODD,
    "n_boot": _COUNTS_ODD,
    "n_perm": _COUNTS_ODD,
    "permute": _COUNTS_ODD,
    "n_jobs": [*(make for make in ANYTHING if not isinstance(make(), (int, float, np.number))), *_each(0, 2.5, "5")],
    "n_lags": _COUNTS_ODD,
    "num_datasets": _COUNTS_ODD,
    "num_obs": _COUNTS_ODD,
    "num_coef": _COUNTS_ODD,
    "num_features": _COUNTS_ODD,
    "num_grps": _COUNTS_ODD,
    "nit": _COUNTS_ODD,
    "n": _COUNTS_ODD,
    "complevel": _COUNTS_ODD,
    "nobs": _COUNTS_ODD,
    "df_res": _COUNTS_ODD,
    "nAGQ": _COUNTS_ODD,
    "seed": _SEEDS_ODD,
    "factors": _FACTORS_ODD,
    "rank_group": _each("lists", "half", "complex", "gaps", "y", ["g"], ["g", "h"]),
    "rank_exclude_cols": _each("nowhere", [["x"]], {"x": 1}, [1], 3),
    "control": _each("optimizer=", "nope=1", "optimizer='nope'", {"nope": 1}, {"optCtrl": {"nope": 1}}, ")",
                     "'", {"optimizer": [1]}, {1: 2}, {"optCtrl": 3}, "stop('x')", {"optimizer": {"a": {}}}),
    "conf_level": _each(0, 1, 100, 1e-9, 1 - 1e-17, "0.95", Decimal("0.95")),
    "cluster": _each("lists", "half", "complex", "when", "gaps", "const", "nowhere", ["g"], ["g", "h"], "y"),
    "specs": _VARIABLES_ODD,
    "by": _VARIABLES_ODD,
    "marginal_vars": _VARIABLES_ODD,
    "grouping_vars": _VARIABLES_ODD,
    "var": _VARIABLES_ODD,
    "at": _AT_ODD,
    "contrasts": _CONTRASTS_ODD,
    "constraints": [
        *_each("", "x = ", "nowhere = 0", "x * x = 1", "x = 1, x = 2", "x + ", {"nowhere": 1}, {"x": "a"}),
        *_each([], ["x", "x"], ["nowhere"], [1], {1: 1}, "0 = 0", "x = 1 / 0", "x = 1e999", "x = inf", "(x"),
        lambda: (np.eye(3), np.zeros(3)),
        lambda: (np.ones((2, 2)), [1, 2, 3]),
        lambda: (np.full((1, 2), np.nan), [0]),
        lambda: (np.eye(2) * 1j, [0, 0]),
        lambda: np.zeros((1, 2)),
    ],
    "x": _SAMPLES_ODD,
    "y": _SAMPLES_ODD,
    "res": _SAMPLES_ODD,
    "ps": [lambda: [1.5], lambda: [-0.1], lambda: ["a"], lambda: [[0.1]], lambda: [np.inf], lambda: [0.1 + 1j]],
    "func": [lambda: lambda *given: "text", lambda: lambda *given: None, lambda: lambda *given: given, lambda: "mean"],
    "func_args": _each({1: 2}, {"nope": 1}, (1,), "a", [("axis", 0)]),
    "lower": _each(2, np.nan, "0"),
    "upper": _each(-2, np.nan, "0"),
    "mat": _MATRICES_ODD,
    "arr": _MATRICES_ODD,
    "corrs": [*_MATRICES_ODD, *_each(1.5, -1.0, [0.1, 0.2], "0.3", [2.0, 0, 0])],
    "names": _each("a", [1], [["a"]], ["a", "a"], ["a", "b", "c", "d"]),
    "coef_vals": _each([1.0], [1, 2, "a"], [1, 2, np.nan], [1, 2, 1j], 3.0),
    "noise_params": _each((0,), (0, -1), (0, np.nan), (0, "1"), (0, 1j), 3, (0, 1e308)),
    "name": _each("", "sleepstudi", "../x", "lme4::sleepstudy", "a'b"),
    "filepath": _each("", ".", "model", "model.txt", "text.h5", ".h5", "no/such/model.h5", "a\0.h5", "gone.h5",
                      "x" * 300 + ".h5"),
    "compression": _each("gzip", 9, ["zlib"]),
}  # fmt: skip
"""Values of a parameter's own kind that are no good, or hardly."""

ODD_ALONE = {"n_jobs"}
"""Parameters that get no other wrong values: any number of workers is a legal one, and starts that many processes."""
