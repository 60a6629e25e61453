"""What the fuzz calls with: frames, what nobody means for any parameter, and values of a kind, sound or not."""

from __future__ import annotations

import copy
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
"""Makes a value anew."""


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


def each(*values: Any) -> list[Make]:
    """Return what makes copies of values, so that no call can change what another gets."""
    return [lambda value=value: copy.deepcopy(value) for value in values]


ANYTHING: list[Make] = [
    lambda: (name for name in ("x", "c")), lambda: iter([1, 2]), *each(
        None, float("nan"), float("inf"), -float("inf"), -1, -0.5, 0, 1, 2, 0.5, 1.5, 2**31, 10**12, 10**30, 10**400,
        1e300, 1 + 2j, True, False, "", [], (), {}, set(), {"x"}, [[]], [["x"]], [["x", "c"], ["g"]], [None],
        ["x", None], ["x", "x"], [1, "x", 2.5], {"x": {"y": 1}}, {"c": {"a": {"b": 1}}}, {"x": None}, {1: 2},
        {None: None}, {("x", "c"): [1]}, np.array([]), np.array(1.0), np.array([1.0]), np.array([1, 2, 3]),
        np.arange(36.0), np.arange(36) + 1j, np.ones((36, 2)), np.array([True, False] * 18),
        np.array(["2020-01-01"] * 36, dtype="datetime64[D]"), np.array([3] * 36, dtype="timedelta64[D]"),
        np.array([1, "a", None] * 12, dtype=object), np.array([[1], [2]], dtype=object), np.array(["x", "c"]),
        np.float64(0.95), np.int64(3), np.bool_(True), np.ma.masked, pd.NA, pd.NaT,
        pd.Series(np.arange(36.0) + 1, index=np.arange(36) + 100), pd.Series([], dtype=float),
        pd.Series(["x", "c"], name="terms"), pd.Index(["x", "c"]), pd.Categorical(["x", "c"]), pd.DataFrame(),
        pd.DataFrame({"x": [1.0, 2.0]}), frame(), datetime.datetime(2020, 1, 1), Decimal("0.9"), Fraction(1, 2), dict,
        int, len, lambda *given: 1.0, Odd(), object(), range(3), slice(1, 2), ..., b"x", b"\xff\x00", Path("x"),
        Path("no/such/folder/x.h5"), "x", "nowhere", "a\0b", "`", "x`", "my var", "ä", "\ud800", "x" * 5000, "1",
        "c:g", "\n", "system('true')",
    ),
]  # fmt: skip
"""What nobody means, for any parameter."""

MIXED = [
    "y ~ x + (1 | g)", "y ~ x * c + (1 | g)", "y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)", "n ~ x + (1 | g)",
    "b ~ x + (1 | g)", "w ~ c + (1 | g)", "log(w) ~ `my var` + (1 | g)", "y ~ poly(x, 2) + factor(k) + (1 | g)",
    "cbind(n, k) ~ x + (1 | g)", "y ~ holes + offset(z) + (1 | g)",
]  # fmt: skip
MIXED_ODD = [
    "", "~", "y", "y ~ x", "~ x + (1 | g)", "y ~ x + (1 | g", "y ~ x + (1 | lists)", "y ~ x + (1 | half)",
    "y ~ x + (1 | when)", "y ~ x + (1 | complex)", "y ~ x + (1 | mixed)", "y ~ lists + (1 | g)",
    "y ~ complex + (1 | g)", "y ~ when + (1 | g)", "y ~ infs + (1 | g)", "y ~ gaps + (1 | g)", "y ~ const + (1 | g)",
    "const ~ x + (1 | g)", "c ~ x + (1 | g)", "y ~ nowhere + (1 | g)", "nowhere ~ x + (1 | g)",
    "y ~ x + (1 | nowhere)", "y ~ x + (1 | y)", "y ~ x + (1 | const)", "y ~ c * g * h * z * x * w + (1 | g)",
    "y ~ poly(x, 40) + (1 | g)", "y ~ Q + I + np + T + (1 | g)", "y ~ nofunction(x) + (1 | g)", "y ~ x + (0 | g)",
    "y ~ 0 + (1 | g)", "y ~ x + (1 | g) + (1 | g)", "y ~ stop('no') + (1 | g)", "y ~ x + (poly(x, 9) | g)",
    "y ~ log(x - 100) + (1 | g)", "y ~ `ä` + (1 | g)", "y ~ x + (x + z + w | g)", "x ~ x + (1 | g)",
    "y ~ . + (1 | g)", "y ~ x ^ y + (1 | g)", "y ~ (x | g)", "y ~ x + (1 || g)", "lists ~ x + (1 | g)",
    "y ~ I(x) + I(lists) + (1 | g)",
]  # fmt: skip
PLAIN = [
    "y ~ x", "y ~ x * c", "y ~ 0 + c", "n ~ x", "b ~ x", "w ~ c + z", "y ~ bs(x, df=4)", "log(w) ~ Q('my var')",
    "y ~ C(k) + standardize(z)", "y ~ holes", "y ~ 1", "y ~ center(x) * flag",
]  # fmt: skip
PLAIN_ODD = [
    "", "~", "y", "~ x", "y ~ x + (1 | g)", "y ~ (x", "y ~ Q", "y ~ I", "y ~ np", "y ~ C", "y ~ Q + I + np",
    "y ~ Q + I(x)", "y ~ np + np.log(w)", "y ~ C(c) + C", "y ~ Q('x') + Q", "y ~ lists", "y ~ complex", "y ~ when",
    "y ~ mixed", "y ~ half", "y ~ infs", "y ~ gaps", "y ~ const", "const ~ x", "c ~ x", "y ~ nowhere", "nowhere ~ x",
    "y ~ c * g * h * z * x * w", "y ~ bs(x, df=40)", "y ~ nofunction(x)", "y ~ 0", "y ~ x / 0", "y ~ I(x / 0)",
    "y ~ 1 / 0", "y ~ x[0]", "y ~ x.nope", "y ~ np.log(x - 100)", "y ~ len(x)", "y ~ lists[0]", "y ~ Q('nope')",
    "y ~ C(c, nope)", "y ~ ä", "y ~ x + z.sum", "x ~ x", "y ~ x ** y", "y + z ~ x", "y ~ bs(x, df=2)", "lists ~ x",
    "y ~ x.sum()", "y ~ {x}", "y ~ __import__", "y ~ lambda x: x", "when ~ x", "y ~ poly(x, 2)", "y ~ sigma + T",
    "y ~ C(lists)",
]  # fmt: skip
FRAMES = each(
    frame().iloc[:0], frame().iloc[:1], frame().iloc[:3], frame()[["x"]], doubled(), strange_index(), renamed(x=1),
    renamed(x=("x", 1)), renamed(x="x\0"), renamed(z=None), frame().assign(x="text"), frame().assign(x=[[1]] * 36),
    frame().assign(x=np.nan), frame().assign(x=np.inf), frame().assign(x=1 + 1j),
    frame().assign(x=pd.Timestamp("2020-01-01")), frame().assign(g=[[i] for i in range(36)]),
    frame().assign(g=np.arange(36).astype(np.float16)), frame().assign(g="new"), frame().assign(c="new"),
    frame().assign(y=np.inf), frame().assign(x=frame().x.astype("Float64")),
    frame().assign(x=frame().x.astype("category")), frame().astype({"x": object}), frame().T,
    frame().set_index(["g", "h"]), frame().to_numpy(), frame().to_dict(), frame().x,
)  # fmt: skip
SAMPLES = each(
    [1.0, 2.0, 4.0, 7.0, 11.0], np.array([2.0, 1.0, 5.0, 3.0, 8.0]),
    pd.Series([3.0, np.nan, 4.0, 9.0, 1.0], index=[5, 5, 1, 0, 2]),
)  # fmt: skip
SAMPLES_ODD = each(
    [1.0], [1.0, 1.0, 1.0], [np.nan] * 5, [1.0, np.inf, 2.0], ["a", "b", "c"], [[1.0, 2.0], [3.0, 4.0]],
    [1e308, -1e308, 1e308, 3.0], [10**400, 1, 2], [1 + 1j, 2, 3],
)  # fmt: skip
MATRICES = each(np.eye(2), [[1.0, 0.5], [0.5, 1.0]], np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]))
MATRICES_ODD = each(
    np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.array([[1.0, 0.5], [0.2, 1.0]]), np.zeros((3, 3)),
    np.ones((2, 3)), np.eye(2) * 1j, np.eye(2, dtype=object), np.array([["2020"] * 2] * 2, dtype="datetime64[D]"),
    [[1.0, 0.5], [0.5]], [["a", "b"], ["c", "d"]], np.empty((0, 0)), [[1e308, 1e308], [1e308, 1e308]], frame(),
)  # fmt: skip
ROWS = each("w", frame().w, frame().w.to_numpy(), list(frame().w), None)
ROWS_ODD = each(
    "lists", "complex", "when", "c", "infs", "gaps", "const", "holes", np.zeros(36), np.full(36, np.nan),
    np.full(36, 1e300), np.full(36, 1e-300), frame().w.to_numpy() + 1j, list(frame().w + 1j), frame().when,
    frame().when.to_numpy(), list(frame().when), frame().lists, [10**400] * 36, ["1.5"] * 36, [[1.0]] * 36,
    pd.Series(np.arange(1.0, 37), index=list(range(1, 37))), np.ma.masked_greater(frame().w.to_numpy(), 1),
    frame()[["w"]],
)  # fmt: skip
VARIABLES = each("x", "c", ["c"], ("x",), None, ["c", "x"], pd.Index(["c"]), np.array(["c"]))
VARIABLES_ODD = each(
    "nowhere", "g", "y", ["c", "c"], [["c"]], [["c"], ["x"]], ["c", ["x"]], [("c", "x")], [1], [None], "c|x", "~ c",
    "C(c)", "lists", {"c": 1}, {"c"}, ["c", 2.5], [{"c": 1}], "`c`", "c:x", "c*x", ["", "c"], [np.nan],
    [np.array(["c"])], frame()[["c"]], frame().c,
)  # fmt: skip
FACTORS = each(
    None, {"c": ["d", "a", "b"]}, {"c": {"a": 1, "b": -1, "d": 0}}, {"k": [0, 1, 2, 3]},
    {"c": {"a": [1, 0], "b": [0, 1], "d": [-1, -1]}}, {"c": {"ab": {"a": 1, "b": -1, "d": 0}}},
)  # fmt: skip
FACTORS_ODD = each(
    {"c": []}, {"c": ["a"]}, {"c": ["a", "b"]}, {"c": ["a", "b", "d", "e"]}, {"c": ["a", "a", "b", "d"]}, {"c": {}},
    {"c": {"a": 1}}, {"c": {"a": 1, "b": "x", "d": 0}}, {"c": {"a": 1, "b": np.inf, "d": 0}},
    {"c": {"a": [1, 0], "b": [0], "d": [1, 1]}}, {"c": {"a": [1, 2, 3], "b": [1, 2, 3], "d": [0, 1, 1]}},
    {"c": {"a": {"b": {"d": 1}}}}, {"c": {"a": 0, "b": 0, "d": 0}}, {"c": "abd"}, {"c": 3}, {"c": None},
    {"nowhere": ["a"]}, {1: ["a"]}, {"c": [["a"], ["b"], ["d"]]}, {"c": [None, "a", "b"]}, ["c"], "c",
    {"lists": [[0], [1], [2]]}, {"x": [1, 2]}, {"y": [1, 2]}, {"g": list("ABCDEF")}, {"half": [0, 1, 2, 3, 4]},
    {"c": {"a": 1, "b": 1, "d": 1}}, {"c": {"n1": {"a": 1}, "n2": 3}}, {"c": {"a": 1 + 1j, "b": 0, "d": -1}},
    {"c": {"a": [], "b": [], "d": []}}, {"c": {1: 1, 2: -1}}, {"c": {("a",): 1}}, {"c": b"abd"},
    {"c": np.array(["a", "b", "d"])}, {"c": np.eye(3)}, {"c": {"a": np.array([[1]]), "b": 0, "d": 0}}, {"c": frame()},
    {"c": pd.Series(["d", "a", "b"])},
)  # fmt: skip
AT = each(None, {"x": [0, 1]}, {"x": 0.5}, {"c": ["a", "b"]}, {"c": "a", "x": [1]}, {"x": np.array([0.0, 1.0])})
AT_ODD = each(
    {"x": {}}, {"x": {"a": 1}}, {"x": [{"a": 1}]}, {"c": {"a": 1}}, {"c": ["a", {"b": 1}]}, {"x": [[1], [2]]},
    {"x": "1"}, {"x": [np.nan]}, {"x": [10**400]}, {"x": 1 + 1j}, {"c": ["e"]}, {"c": []}, {"c": [None]},
    {"nowhere": 1}, {1: 1}, {None: 1}, {("x",): 1}, {"x": None}, {"c": [["a"]]}, {"c": 1}, "x", ["x"], [("x", 1)],
    {"x": {1, 2}}, {"c": {"a"}}, {"x": list(range(5000))}, {"x": [True]}, {"x": b"1"}, {"y": 1}, {"g": ["A"]},
    {"x": frame()}, {"x": np.eye(2)}, {"x": frame().when}, {"c": frame().c}, {"c": np.array([["a"], ["b"]])},
    {"x": Odd()}, {"c": Odd()},
)  # fmt: skip
CONTRASTS = each(
    "pairwise", "trt.vs.ctrl", "consec", "poly", "eff", None, {"a-b": [1, -1, 0]}, {"a": {"a": 1, "b": -1}}
)
CONTRASTS_ODD = each(
    {}, {"a": []}, {"a": [1]}, {"a": [1, np.nan, 0]}, {"a": {"e": 1}}, {"a": {}}, {"a": {("a", "b"): 1}}, "nope",
    {"a": {"a": {"b": 1}}}, {"a": [[1, -1, 0]]}, {"a": "1"}, {"a": None}, {1: [1, -1, 0]}, {None: [1, -1, 0]},
    {"a": [0, 0, 0]}, {"a": [10**400, -1, 0]}, {"a": [1j, 0, 0]}, {"a": {1: 1}}, {"a": {None: 1}}, ["pairwise"],
    {"a": np.array([1.0, -1.0, 0.0])}, {"a": np.eye(3)}, {"a": frame()},
)  # fmt: skip
COUNTS_ODD = each(0, -3, 2.5, 1e12, 10**13, 2**31 - 1, 2**63, np.int64(10**11), "5", 1e3 + 0.5)
SEEDS_ODD = each(-1, 2**32, 2**64, 2**200, 1.0, 2.5, "1", [1, 2])
