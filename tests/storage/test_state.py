"""Values of models in files: every dtype, index and setting that is kept, and what is refused by its name."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from kept import alike

from pymer4.errors import DataError, ModelWarning
from pymer4.storage import cells, state, tree
from pymer4.storage.tree import TreeError


def survives(value: Any, records: tuple = ()) -> Any:
    """Return a value as a file gives it back, which has to be as it was."""
    content = tree.write({"state": state.plain({"v": value}, records=records)}, {})
    back = state.made(tree.read(content, Path("x.h5"))["state"], records)["v"]
    alike(back, value)
    return back


N = 6
COLUMNS = {
    **{kind: np.arange(N).astype(kind) for kind in (*np.typecodes["AllInteger"], *"efd?")},
    "big endian": np.arange(N).astype(">f8"),
    "complex": np.arange(N) * (1 + 1j),
    "gaps": np.array([0.1, np.nan, np.inf, -np.inf, -0.0, 1e-320]),
    "large": np.array([2**63 - 1, -(2**63), 2**53 + 1, 0, 1, -1]),
    "object text": np.array(["a", "é", "", "x/y", "日本", "a\0"], dtype=object),
    "object gaps": np.array(["a", None, np.nan, pd.NA, pd.NaT, "b"], dtype=object),
    "object numbers": np.array([1, 2.5, True, 2**70, float("inf"), -0.0], dtype=object),
    "object dates": np.array([datetime.date(2020, 1, 2), None, "a", 1, datetime.date.max, 2.5], dtype=object),
    "wide": np.array(["x" * 3_000_000, "y", "", "é", "z", "z"], dtype=object),
    "Int64": pd.array([1, None, 2**60, -5, 0, 3], dtype="Int64"),
    "Int8": pd.array([1, 2, 3, 4, 5, None], dtype="Int8"),
    "UInt64": pd.array([2**64 - 1, None, 0, 1, 2, 3], dtype="UInt64"),
    "Float64": pd.arrays.FloatingArray(np.array([1.5, np.nan, 3, 4, 5, 0]), np.array([0, 0, 1, 0, 0, 1], dtype=bool)),
    "Float32": pd.array([1.5, None, 3, 4, 5, 6], dtype="Float32"),
    "boolean": pd.array([True, None, False, True, True, False], dtype="boolean"),
    "string": pd.array(["a", None, "é", "", "x", "a\0"], dtype="string[python]"),
    "string arrow": pd.array(["a", None, "é", "", "x", "y"], dtype="string[pyarrow]"),
    "arrow text": pd.array(["a", None, "é", "", "x", "y"], dtype=pd.ArrowDtype(pa.string())),
    "arrow large text": pd.array(["a", None, "é", "", "x", "y"], dtype=pd.ArrowDtype(pa.large_string())),
    "arrow int": pd.array([1, None, 3, 4, 5, 6], dtype="int64[pyarrow]"),
    "arrow float": pd.array([1.5, None, 3, 4, 5, 6], dtype="double[pyarrow]"),
    "arrow bool": pd.array([True, None, False, True, True, False], dtype="bool[pyarrow]"),
    "arrow time": pd.array([pd.Timestamp("2020"), None] * 3, dtype="timestamp[us][pyarrow]"),
    "arrow zone": pd.array([pd.Timestamp("2020", tz="UTC"), None] * 3, dtype="timestamp[ns, tz=UTC][pyarrow]"),
    "arrow span": pd.array([pd.Timedelta("1h"), None] * 3, dtype="duration[ms][pyarrow]"),
    "category": pd.Categorical(list("bacbaa"), ["c", "b", "a", "unused"]),
    "category ordered": pd.Categorical([*"bacba", None], ["c", "b", "a"], ordered=True),
    "category float": pd.Categorical([0.1, 1.0, 0.1, 2.5, None, 1.0]),
    "category bool": pd.Categorical([True, False, True, None, True, True]),
    "category dates": pd.Categorical(pd.to_datetime(["2020", "2021", None] * 2)),
    "category mixed": pd.Categorical(np.array(["a", 1, 2.5, "a", 1, None], dtype=object)),
    "datetime": pd.to_datetime(["2020-01-01", None, "1700-01-01"] * 2),
    "datetime s": np.array(["2020", "NaT", "9999"] * 2, dtype="M8[s]"),
    "zone": pd.date_range("2020", periods=N, tz="Europe/Berlin"),
    "timedelta": pd.to_timedelta([1, None, -3] * 2, unit="h"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_keeps_values_and_dtype(name):
    survives(pd.DataFrame({name: COLUMNS[name], "text": list("abcdef")}))
    survives(pd.DataFrame({name: COLUMNS[name]}))


def test_the_kinds_of_missing_in_a_column_stay_apart():
    back = survives(pd.DataFrame({"x": COLUMNS["object gaps"]}))["x"].tolist()
    assert [type(value) for value in back] == [type(value) for value in COLUMNS["object gaps"]]
    nullable = survives(pd.DataFrame({"x": COLUMNS["Float64"]}))["x"].array
    assert [value is pd.NA for value in nullable] == [False, False, True, False, False, True]
    assert np.isnan(nullable[1])


KEYS = [
    "a/b", "/", ".", "..", "", " ", "é/ü", "TITLE", "CLASS", "VERSION", "FLAVOR", "_v_x", "_p_x", "i1", "i0",
    "x\0y", "\0", "is", "keys",
    "DEEPDISH_IO_x", "pandas_type", "n" * 300, "\ud800", "(Intercept)", "2.5_ci", "日本", 1, -2, 2.5, math.inf, None,
    True, ("a", 1), ("a", ("b", None)),
]  # fmt: skip
NAMES = [key for key in KEYS if isinstance(key, str)]


def test_any_name_of_a_column_survives():
    for value in (1.5, "text"):
        survives(pd.DataFrame([[value] * len(NAMES)] * 2, columns=pd.Index(NAMES, dtype=object), index=NAMES[:2]))


INDEXES = {
    "range": pd.RangeIndex(5, 9, 3, name="k"),
    "ints": pd.Index([3, 1]),
    "small ints": pd.Index(np.array([3, 1], dtype="i1")),
    "floats": pd.Index([0.5, np.nan]),
    "bools": pd.Index([True, False]),
    "text twice": pd.Index(["Group", "Group"], dtype=object),
    "str": pd.Index(["b", "a"], dtype="str"),
    "string": pd.Index(["b", None], dtype="string"),
    "mixed": pd.Index(["b", 1], dtype=object),
    "missing": pd.Index(["b", None], dtype=object),
    "tuple name": pd.Index([1, 2], name=("a", 1)),
    "dates": pd.DatetimeIndex(["2020", "2022"]),
    "zone": pd.DatetimeIndex(["2020", "2022"], tz="Europe/Berlin", name="when"),
    "regular dates": pd.date_range("2020", periods=2),
    "timedeltas": pd.to_timedelta([2, 1], unit="s"),
    "category": pd.CategoricalIndex(["b", "a"], ["b", "a", "c"], ordered=True),
    "several": pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["g", None]),
    "several dates": pd.MultiIndex.from_arrays([pd.to_datetime(["2020", "2021"]), pd.Categorical(["x", None])]),
    "nullable": pd.Index(pd.array([1, None], dtype="Int64")),
}


@pytest.mark.parametrize("name", INDEXES)
def test_every_index_survives(name):
    index = INDEXES[name]
    survives(pd.DataFrame({"x": [1.0, 2.0]}, index=index))
    survives(pd.DataFrame({"x": ["a", "b"], "y": [1, 2]}, index=index))
    survives(pd.DataFrame([[1.0, 2.0]], columns=index))
    survives(pd.DataFrame([["a", 2.0]], columns=index))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(), pd.DataFrame(index=["a", "b"]), pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame({"a": [1.0]}).iloc[:0],
        pd.DataFrame({"a": ["x"], "b": [1]}).iloc[:0], pd.DataFrame({"a": pd.Categorical(["x"])}).iloc[:0],
        pd.DataFrame([[1, "x", 2.0]], columns=["a", "a", "b"]), pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]),
        pd.DataFrame({"u": np.array([2**64 - 1, 1], "u8"), "i": [-1, 1], "f": [0.5, 1], "b": [True, False]}),
        pd.DataFrame({f"x{i}": [float(i)] for i in range(400)}), pd.DataFrame({f"x{i}": [str(i)] for i in range(400)}),
    ],
    ids=lambda frame: "x".join(map(str, frame.shape)),
)  # fmt: skip
def test_frames_at_the_edges_survive(frame):
    frame.attrs = {"estimate": "emmean", "level": 0.95, "notes": ["a", "b"], "deep": {"x": None}}
    before = frame.copy()
    survives(frame)
    alike(frame, before)


# ------------------------------------------------------------------ other values


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:20])
def test_any_key_survives(key):
    survives({key: "value", "plain": [1], **({} if key == 1 else {"z": {key: None}})})


@dataclass(frozen=True)
class Record:
    """What a model's attribute may hold."""

    b: tuple
    a: dict


VALUES = [
    2**63 - 1, -(2**63), 2**63, -(2**90), 0, 0.0, -0.0, math.nan, math.inf, 1e-320, True, False, None, "", " ",
    "é", "a\0", "\0", "x" * 70_000, "\udcff", [], (), {}, [[]], [None], [None, None],
    (None, (None, [None])), ["a"] * 300, [1.5] * 300, [True] * 300, (2**70,) * 300, ["a\0"] * 300, [1, "a"] * 200,
    {f"k{i}": i for i in range(300)}, {i: i for i in range(300)}, {f"k{i}": [i] for i in range(300)},
    {"b": 1, "a": 2}, ["x" * 100_000, "\ud800"] * 5,
    pd.Series([1, None], index=["a", "b"], name=("x", 1)), [pd.DataFrame({"a": [1.0]}), None],
    pd.Index(["a", "b"], name="k"), pd.RangeIndex(3), pd.Categorical(["a", None, "b"], ordered=True),
    pd.array([1, None], dtype="Int64"), np.array(["a", 1, None], dtype=object),
    np.array(["2020", "NaT"], dtype="M8[s]"), np.arange(3, dtype=">i4"), np.array(["a", "é", ""], dtype="<U7"),
    np.array(["a", "é"], dtype=">U2"), Record((1, None), {"x": np.eye(2)}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:25])
def test_any_value_survives(value):
    survives(value, (Record,))
    survives({"x": [value]}, (Record,))


def test_ranges_and_scalars_of_numpy_become_pythons():
    told = state.plain({"a": [np.float64(1.5), np.int8(3), np.bool_(True), np.str_("x")], "r": range(2)})
    alike(state.made(told), {"a": [1.5, 3, True, "x"], "r": [0, 1]})


FRAMES = st.lists(st.tuples(st.text(max_size=6), st.sampled_from(sorted(COLUMNS))), max_size=4).map(
    lambda drawn: pd.DataFrame({name: COLUMNS[kind] for name, kind in drawn if kind != "wide"})
)
PLAIN = st.recursive(
    st.none()
    | FRAMES
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | arrays.arrays(
        st.sampled_from([np.float64, np.int32, np.uint8, np.bool_, np.float32, np.int64]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=8),
    ),
    lambda children: (
        st.lists(children, max_size=4)
        | st.lists(children, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.sampled_from(KEYS[:28]), children, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), PLAIN, max_size=5))
@settings(max_examples=60, deadline=None)
def test_plain_values_survive(values):
    survives(values)


# ------------------------------------------------------------------ refusals

REFUSED = {
    "period": pd.period_range("2020", periods=2, freq="M"),
    "category of intervals": pd.cut(np.arange(2), 2),
    "sparse": pd.arrays.SparseArray([0.0, 1]),
    "longdouble": np.arange(2).astype("g"),
    "zone without a name": pd.date_range("2020", periods=2, tz=datetime.timezone(datetime.timedelta(hours=1), "mine")),
    "arrow decimal": pd.array([Decimal("1.50"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    "arrow date": pd.array([datetime.date(2020, 1, 1), None], dtype=pd.ArrowDtype(pa.date32())),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_that_no_file_holds_is_named(kind):
    told = r"Column 'odd' of data is of dtype .*, which can't be saved\. Make it text, numbers or dates in UTC"
    with pytest.raises(DataError, match=told):
        state.plain({"data": pd.DataFrame({"x": [1, 2], "odd": REFUSED[kind]})})


@pytest.mark.parametrize("held", [[1], {"a": 1}, b"x", Decimal("1.5"), pd.Timestamp("2020"), 1j], ids=repr)
def test_a_value_of_a_column_or_label_that_no_file_holds_is_named(held):
    told = rf"Column 'odd' of data holds a value of type {type(held).__name__}, which can't be saved\. Make it text"
    with pytest.raises(DataError, match=told):
        state.plain({"data": pd.DataFrame({"x": [1, 2], "odd": pd.Series(["a", held], dtype=object)})})
    with pytest.raises(DataError, match="A label in the index of data holds a value of type frozenset"):
        state.plain({"data": pd.DataFrame({"x": [1]}, index=pd.Index([frozenset([1])], dtype=object))})


@pytest.mark.parametrize("value", [{1, 2}, print, 1j, b"x", Decimal(1), np.eye(2, dtype="O"), Record((), {})], ids=repr)
def test_an_attribute_that_no_file_holds_is_named(value):
    with pytest.raises(DataError, match=r"its attribute \.note\[1\]\['deep'\] holds a .*delete it.*pickle or joblib"):
        state.plain({"note": [1, {"deep": value}]})


def test_a_record_or_dtype_that_is_not_known_is_told():
    with pytest.raises(TreeError, match="holds a 'Record' of a form that this version does not know"):
        state.made(state.plain(Record((), {}), records=(Record,)))
    with pytest.warns(ModelWarning, match=r"dtype nosuch\[x\] is read as objects"):
        values = cells.restored(np.array([1.5, 2.0]), "nosuch[x]")
    assert values.dtype == object and values.tolist() == [1.5, 2.0]
