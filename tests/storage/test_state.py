"""Frames in files: every dtype and index that is kept, the layout of the 0.7 line, and what is refused by its name."""

from __future__ import annotations

import datetime
import io
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_tree import same

from pymer4.errors import DataError, ModelWarning
from pymer4.storage import cells, state, tree
from pymer4.storage.tree import TreeError


def in_file(frame: pd.DataFrame, as_one: bool = True) -> dict:
    """Return the entries of a frame as a file gives them back."""
    content = tree.write(state.apart(frame, "data", as_one=as_one), {}, {})
    with h5py.File(io.BytesIO(content), "r") as file:
        return tree.read(file, Path("x.h5"))


def survives(frame: pd.DataFrame) -> pd.DataFrame:
    before = frame.copy()
    options = {"check_index_type": "exact", "check_column_type": "exact", "check_exact": True}
    for as_one in (False, True):
        back = state.together(**in_file(frame, as_one))
        pd.testing.assert_frame_equal(back, frame, **options)
        assert back.attrs == frame.attrs
    pd.testing.assert_frame_equal(frame, before, **options)
    return back


def attributes_in_file(values: dict, records: tuple = ()) -> dict:
    """Return attributes as a file gives them back."""
    content = tree.write(state.to_tree(values, "Lm", records), {}, {})
    with h5py.File(io.BytesIO(content), "r") as file:
        return state.from_tree(tree.read(file, Path("x.h5")), records)


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
    "object empty": np.array([None] * N, dtype=object),
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
    "category int": pd.Categorical([3, 1, None, 1, 3, 2], [3, 1, 2]),
    "category float": pd.Categorical([0.1, 1.0, 0.1, 2.5, None, 1.0]),
    "category bool": pd.Categorical([True, False, True, None, True, True]),
    "category dates": pd.Categorical(pd.to_datetime(["2020", "2021", None] * 2)),
    "category mixed": pd.Categorical(np.array(["a", 1, 2.5, "a", 1, None], dtype=object)),
    "datetime": pd.to_datetime(["2020-01-01", None, "1700-01-01"] * 2),
    "datetime s": np.array(["2020", "NaT", "9999"] * 2, dtype="M8[s]"),
    "zone": pd.date_range("2020", periods=N, tz="Europe/Berlin"),
    "UTC": pd.date_range("2020", periods=N, tz="UTC"),
    "timedelta": pd.to_timedelta([1, None, -3] * 2, unit="h"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_keeps_values_and_dtype(name):
    survives(pd.DataFrame({name: COLUMNS[name], "text": list("abcdef")}))
    survives(pd.DataFrame({name: COLUMNS[name]}))


def test_all_columns_at_once():
    back = survives(pd.DataFrame(COLUMNS))
    pd.testing.assert_series_equal(back.dtypes, pd.DataFrame(COLUMNS).dtypes)


def test_the_kinds_of_missing_in_an_object_column_stay_apart():
    held = np.array(["a", None, np.nan, pd.NA, pd.NaT, 1, True], dtype=object)
    back = survives(pd.DataFrame({"x": held}))["x"].tolist()
    assert [type(value) for value in back] == [type(value) for value in held]


def test_missing_and_nan_of_a_nullable_float_stay_apart():
    back = survives(pd.DataFrame({"x": COLUMNS["Float64"]}))["x"].array
    assert [value is pd.NA for value in back] == [False, False, True, False, False, True]
    assert np.isnan(back[1])


KEYS = [
    "a/b", "/", ".", "..", "", " ", "é/ü", "TITLE", "CLASS", "VERSION", "FLAVOR", "_v_x", "_p_x", "i1", "i0",
    "x\0y", "\0",
    "DEEPDISH_IO_x", "pandas_type", "n" * 300, "\ud800", "(Intercept)", "2.5_ci", "日本", 1, -2, 2.5, math.inf, None,
    True, ("a", 1),
    ("a", ("b", None)),
]  # fmt: skip
NAMES = [key for key in KEYS if isinstance(key, str)]


def test_any_name_survives():
    for value in (1.5, "text"):
        survives(pd.DataFrame([[value] * len(NAMES)] * 2, columns=pd.Index(NAMES, dtype=object), index=NAMES[:2]))


INDEXES = {
    "range": pd.RangeIndex(2),
    "range from": pd.RangeIndex(5, 9, 3, name="k"),
    "ints": pd.Index([3, 1]),
    "small ints": pd.Index(np.array([3, 1], dtype="i1")),
    "floats": pd.Index([0.5, np.nan]),
    "bools": pd.Index([True, False]),
    "text": pd.Index(["b", "a"], dtype=object),
    "text twice": pd.Index(["Group", "Group"], dtype=object),
    "str": pd.Index(["b", "a"], dtype="str"),
    "string": pd.Index(["b", None], dtype="string"),
    "mixed": pd.Index(["b", 1], dtype=object),
    "missing": pd.Index(["b", None], dtype=object),
    "tuple name": pd.Index([1, 2], name=("a", 1)),
    "int name": pd.Index([1, 2], name=0),
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
        pd.DataFrame({"i": [2**60 + 1, 1], "f": [0.5, 1]}),
        pd.DataFrame({"u": np.array([2**64 - 1, 1], "u8"), "i": [-1, 1]}),
        pd.DataFrame({"b": [True, False], "f": [0.5, 1]}), pd.DataFrame({"b": [True, False]}),
        pd.DataFrame({f"x{i}": [float(i)] for i in range(400)}), pd.DataFrame({f"x{i}": [str(i)] for i in range(400)}),
    ],
    ids=lambda frame: "x".join(map(str, frame.shape)),
)  # fmt: skip
def test_frames_at_the_edges_survive(frame):
    survives(frame)


def test_attrs_survive():
    frame = pd.DataFrame({"x": [1.0]})
    frame.attrs = {"estimate": "emmean", "level": 0.95, "notes": ["a", "b"], "deep": {"x": None}}
    survives(frame)


# ------------------------------------------------------------------ the layout


def test_columns_of_float64_are_one_array():
    made = state.apart(pd.DataFrame({"x": [1.5, 2.0], "z": [1.0, 2.0]}, index=["a", "é"]), "coefs")
    assert made["vals"].dtype == float and made["vals"].tolist() == [[1.5, 1], [2, 2]]
    assert made["cols"].tolist() == [b"x", b"z"] and made["cols"].dtype == "S1"
    assert made["idx"].tolist() == [b"a", "é".encode()]
    assert made["dtypes"] == {"x": "float64", "z": "float64"}


def test_other_columns_are_an_array_each():
    frame = pd.DataFrame({"x": [1.5, 2.0], "n": [1, 2], "t": ["a", "é"], "c": pd.Categorical(["u", "v"])})
    made = state.apart(frame, "coefs")
    assert list(made["vals"]) == list(made["dtypes"]) == ["x", "n", "t", "c"]
    assert [made["vals"][name].dtype for name in "xnt"] == ["f8", "i8", "S2"] and made["idx"].dtype == np.int64
    assert made["vals"]["t"].tolist() == [b"a", "é".encode()] and made["dtypes"]["c"].startswith("category[")
    assert pd.Categorical.from_codes(**made["vals"]["c"]).tolist() == [b"u", b"v"]


def test_old_entries_are_read():
    """Dtypes in the place of their names, and one array of objects: what release 0.7 wrote."""
    values = np.array([[1.5, 3, "**"], [2.5, 4, ""]], dtype=object)
    dtypes = {"Estimate": np.dtype(float), "DF": np.dtype("i8"), "Sig": np.dtype(object)}
    rows = np.array([b"(Intercept)", "é".encode()])
    expected = pd.DataFrame({"Estimate": [1.5, 2.5], "DF": [3, 4], "Sig": np.array(["**", ""], dtype=object)})
    expected.index = pd.Index(["(Intercept)", "é"], dtype=object)
    expected.columns = expected.columns.astype(object)
    found = state.together(np.array([b"Estimate", b"DF", b"Sig"]), rows, values, dtypes, {})
    pd.testing.assert_frame_equal(found, expected)


def test_old_numbers_are_read():
    dtypes = {"Group": np.dtype("i8"), "x": np.dtype(float)}
    found = state.together(np.array([b"Group", b"x"]), np.array([4, 2]), np.array([[1.0, 0.5], [2.0, 1.5]]), dtypes, {})
    expected = pd.DataFrame({"Group": [1, 2], "x": [0.5, 1.5]}, index=[4, 2])
    pd.testing.assert_frame_equal(found, expected, check_column_type=False)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "held",
    [[1], {"a": 1}, object(), np.arange(3), b"x", Decimal("1.5"), pd.Timestamp("2020"), np.timedelta64(1, "ns"), 1j],
    ids=lambda held: type(held).__name__,
)
def test_a_value_that_no_file_holds_is_named(held):
    column = np.empty(2, dtype=object)
    column[0], column[1] = "a", held
    told = rf"Column 'odd' of data holds a value of type {type(held).__name__}, which can't be saved\. Make it text"
    with pytest.raises(DataError, match=told):
        state.apart(pd.DataFrame({"x": [1, 2], "odd": column}), "data")


REFUSED = {
    "period": pd.period_range("2020", periods=2, freq="M"),
    "interval": pd.interval_range(0, 2),
    "category of intervals": pd.cut(np.arange(2), 2),
    "sparse": pd.arrays.SparseArray([0.0, 1]),
    "longdouble": np.arange(2).astype("g"),
    "zone without a name": pd.date_range("2020", periods=2, tz=datetime.timezone(datetime.timedelta(hours=1), "mine")),
    "arrow decimal": pd.array([Decimal("1.50"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    "arrow date": pd.array([datetime.date(2020, 1, 1), None], dtype=pd.ArrowDtype(pa.date32())),
    "arrow list": pd.array([[1, 2], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_that_no_file_holds_is_named(kind):
    told = r"Column 'odd' of data is of dtype .*, which can't be saved\. Make it text, numbers or dates in UTC"
    with pytest.raises(DataError, match=told):
        state.apart(pd.DataFrame({"x": [1, 2], "odd": REFUSED[kind]}), "data")


def test_a_label_that_no_file_holds_is_named():
    with pytest.raises(DataError, match="A label in the index of data holds a value of type frozenset"):
        state.apart(pd.DataFrame({"x": [1]}, index=pd.Index([frozenset([1])], dtype=object)), "data")


def test_a_dtype_that_is_not_there_is_read_as_objects():
    with pytest.warns(ModelWarning, match=r"dtype nosuch\[x\] is read as objects"):
        values = cells.restored(np.array([1.5, 2.0]), "nosuch[x]")
    assert values.dtype == object and values.tolist() == [1.5, 2.0]


# ------------------------------------------------------------------ other values


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:20])
def test_any_key_survives(key):
    values = {"odd": {key: "value", "plain": [1], **({} if key == 1 else {"z": {key: None}})}}
    assert same(attributes_in_file(values), values)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, -(2**63), 2**63, -(2**90), 0, 0.0, -0.0, math.nan, math.inf, 1e-320, True, False, None, "", " ",
        "é", "a\0", "\0",
        "x" * 70_000, "\udcff", [], (), {}, [[]], [None],
        [None, None],
        (None, (None, [None])), ["a"] * 300, [1.5] * 300, [True] * 300, (2**70,) * 300, ["a\0"] * 300, [1, "a"] * 200,
        {f"k{i}": i for i in range(300)}, {i: i for i in range(300)}, {f"k{i}": [i] for i in range(300)},
        {"b": 1, "a": 2},
        ["x" * 100_000, "\ud800"] * 5, range(0),
    ],
    ids=lambda value: repr(value)[:25],
)  # fmt: skip
def test_any_value_survives(value):
    value = list(value) if isinstance(value, range) else value
    assert same(attributes_in_file({"v": value, "w": [value]}), {"v": value, "w": [value]})


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | arrays.arrays(
        st.sampled_from([np.float64, np.int32, np.uint8, np.bool_, np.dtype("S3"), np.float32, np.int64]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=8),
    ),
    lambda children: (
        st.lists(children, max_size=4)
        | st.lists(children, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.sampled_from(KEYS[:26]), children, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), PLAIN, max_size=5))
@settings(max_examples=60, deadline=None)
def test_plain_values_survive(values):
    assert same(attributes_in_file({"v": values}), {"v": values})


def test_numpy_scalars_become_pythons():
    found = attributes_in_file({"a": [np.float64(1.5), np.int8(3), np.bool_(True), np.str_("x")]})
    assert same(found, {"a": [1.5, 3, True, "x"]})


@dataclass(frozen=True)
class Record:
    """What a model's attribute may hold."""

    b: tuple
    a: dict


def test_records_survive_where_they_are_known(tmp_path):
    record = Record((1, None), {"x": np.eye(2)})
    found = attributes_in_file({"r": record}, (Record,))["r"]
    assert type(found) is Record and found.b == (1, None) and same(found.a, record.a)
    with pytest.raises(DataError, match=r"its attribute \.r holds a Record"):
        attributes_in_file({"r": record})
    content = state.to_tree({"r": record}, "Lm", (Record,))
    with pytest.raises(TreeError, match="holds a 'record' of a form that this version does not know"):
        state.from_tree(content, ())


KINDS = {
    "series": pd.Series([1, None], index=["a", "b"], name=("x", 1)),
    "frame": pd.DataFrame({"a": ["x"], "b": [pd.Timestamp("2020")]}),
    "frames": {"deep": [pd.DataFrame({"a": [1.0]}), None]},
    "index": pd.Index(["a", "b"], name="k"),
    "range index": pd.RangeIndex(3),
    "categorical": pd.Categorical(["a", None, "b"], ordered=True),
    "nullable": pd.array([1, None], dtype="Int64"),
    "objects": np.array(["a", 1, None], dtype=object),
    "dates": np.array(["2020", "NaT"], dtype="M8[s]"),
    "big endian": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "é", ""], dtype="<U7"),
    "big endian text": np.array(["a", "é"], dtype=">U2"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_settings_may_hold_survive(kind):
    value = KINDS[kind]
    found = attributes_in_file({"v": {"x": value}})["v"]["x"]
    assert type(found) is type(value)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
    elif isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        pd.testing.assert_series_equal(pd.Series(found), pd.Series(value))
        assert getattr(found, "name", None) == getattr(value, "name", None)
    elif isinstance(value, np.ndarray):
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype
    else:
        pd.testing.assert_frame_equal(found["deep"][0], value["deep"][0])
        assert found["deep"][1] is None


@pytest.mark.parametrize(
    "value", [{1, 2}, print, object(), 1j, b"x", Decimal(1), pd.Timestamp("2020"), np.eye(2, dtype="O")]
)
def test_an_attribute_that_no_file_holds_is_named(value):
    with pytest.raises(DataError, match=r"its attribute \.note\[1\]\['deep'\] holds a .*delete it.*pickle or joblib"):
        attributes_in_file({"note": [1, {"deep": value}]})


@pytest.mark.parametrize("name", ["TITLE", "DEEPDISH_IO_x", "a/b", "model_class", "_frames"])
def test_an_attribute_of_a_name_that_files_use_is_named(name):
    with pytest.raises(DataError, match=f"other uses for the name of its attribute {name!r}. Call it otherwise"):
        attributes_in_file({name: 1})


# ------------------------------------------------------------------ any frame

VALUES = {
    "float64": st.floats(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "boolean": st.none() | st.booleans(),
    "string": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "category": st.none() | st.text(max_size=3),
    "object": st.none() | st.text(max_size=8) | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.dates(),
    "datetime64[ns]": st.none() | st.datetimes(pd.Timestamp("1700"), pd.Timestamp("2200")),
}


@st.composite
def any_frame(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(0, 5))
    names = draw(st.lists(st.text(max_size=6), max_size=5, unique=True))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(list(VALUES)))
        held = draw(st.lists(VALUES[dtype], min_size=n, max_size=n))
        if dtype == "category":
            held = pd.Categorical(held, categories=list(dict.fromkeys(value for value in held if value is not None)))
            columns[name] = pd.Series(held)
        else:
            columns[name] = pd.Series(held, dtype=dtype)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(n))
    frame.columns = pd.Index(names, dtype=object)
    labels = st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1)
    if draw(st.booleans()):
        frame.index = pd.Index(draw(st.lists(labels, min_size=n, max_size=n)), dtype=object)
    return frame


@given(any_frame())
@settings(max_examples=60, deadline=None)
def test_any_frame_survives(frame):
    survives(frame)
