"""What crosses: single values, arrays, lists, columns and frames, there and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymer4 import load_dataset
from pymer4.data.columns import NA, Column, normalise
from pymer4.errors import DataError, OptionError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

LARGEST = 2**31 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def echo(value):
    """Return a value as it comes back from R."""
    reply = bridge.call("echo", value=value)
    assert (reply.warnings, reply.messages) == ((), ())
    return reply.value


# ------------------------------------------------------------------ single values, arrays, lists


LOGICAL = {True: [True], np.False_: [False], (True, False): [True, False]}
INTEGER = {3: [3], np.uint8(200): [200], LARGEST: [LARGEST], NA + 1: [NA + 1], (1, 2): [1, 2], range(3): [0, 1, 2]}
DOUBLE = {
    LARGEST + 1: [2.0**31], NA: [-(2.0**31)], np.uint64(2**63): [2.0**63], 0.5: [0.5], np.float16(0.25): [0.25],
    np.longdouble(0.75): [0.75], float("nan"): [np.nan], float("-inf"): [-np.inf], (1, 2.5): [1, 2.5],
    (np.float32(0.5), 2): [0.5, 2], (2**70, 1): [2.0**70, 1],
}  # fmt: skip


@pytest.mark.parametrize("kind, told", [(bool, LOGICAL), (np.int32, INTEGER), (float, DOUBLE)])
def test_numbers_there_and_back(kind, told):
    for value, back in told.items():
        for spelled in (value, list(value) if isinstance(value, tuple) else value):
            assert echo(spelled).dtype == kind, spelled
            np.testing.assert_array_equal(echo(spelled), back)


@pytest.mark.parametrize(
    "value, back",
    [
        (np.array([1, None], dtype=object), [1, np.nan]),
        (np.array([NA]), [-(2.0**31)]),
        (np.array([], dtype=np.int64), np.array([], np.int32)),
        (np.array([]), []),
        (np.array(3), np.array([3], np.int32)),
    ],
    ids=repr,
)
def test_odd_arrays_there_and_back(value, back):
    np.testing.assert_array_equal(echo(value), back, strict=True)


@pytest.mark.parametrize(
    "value",
    [None, {}, b"", b"\x00\xff", ["a"], [""], ["NA", None, ""], [None], [], ['"quoted" \\ `ticked`\n\t']],
    ids=repr,
)
def test_what_comes_back_as_it_went(value):
    assert echo(value) == value


@given(st.lists(st.none() | TEXT))
@example(["é", "中", "\U0001f600", "e\u0301"])
@settings(max_examples=50, deadline=None)
def test_any_text_there_and_back(values):
    assert echo(values) == values == echo(tuple(values))
    assert [echo(value) for value in values if value is not None] == [[v] for v in values if v is not None]


def test_lists_and_dicts_nest():
    found = echo({"a": [1, "x"], "b": {"c": None, "d e": ["y"]}, "": []})
    assert list(found) == ["a", "b", ""]
    assert found["a"] == [np.array([1]), ["x"]]
    assert found["b"] == {"c": None, "d e": ["y"]} and found[""] == []


@given(
    st.sampled_from(["<f8", ">f8", "<f4", "<f2", "<i4", ">i4", "i1", "u2", "<i8", ">i8", "<u8", "?"]),
    st.sampled_from(["C", "F"]),
    st.lists(st.integers(0, 4), min_size=2, max_size=3),
    st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_any_array_keeps_its_shape(dtype, order, shape, cut):
    whole = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype).copy(order)
    for array in (whole, whole[::-1], whole[..., ::2], whole.T, whole[cut:]):
        found = echo(array)
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)


def test_a_matrix_with_names_is_a_frame(sleep_model):
    X = bridge.call("design_matrix", model=sleep_model._handle).value["X"]
    assert list(X.columns) == ["(Intercept)", "Days"] and X.shape == (180, 2)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, np.array([["a", "b"]]), pd.Index([1]), [1, object()], {"a": {3}}],
    ids=["object", "set", "text in two dimensions", "Index", "in a list", "in a dict"],
)
def test_what_cannot_cross_is_a_type_error(value):
    with pytest.raises(TypeError, match="can't cross into R"):
        echo(value)
    assert echo(1) == 1


# ------------------------------------------------------------------ columns and frames


def back_from_r(column: Column):
    """Return what a column in normal form has to come back as."""
    if column.kind == "factor":
        codes = np.where(column.missing, -1, column.values - 1)
        return pd.Categorical.from_codes(codes, list(column.levels), ordered=column.ordered)
    if column.kind == "logical":
        truth = column.values == 1
        return np.where(column.missing, None, truth) if column.missing.any() else truth
    return column.values


def assert_comes_back(frame):
    found = echo(frame)
    assert len(found) == len(frame) and list(found.columns) == [str(name) for name in frame.columns]
    columns = {str(name): back_from_r(column) for name, column in normalise(frame, frame.columns).items()}
    expected = pd.DataFrame(columns, index=range(len(frame)))
    pd.testing.assert_frame_equal(found, expected, check_column_type=False)


GAPS = {
    "Int8": st.none() | st.integers(-128, 127),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "UInt64": st.none() | st.integers(0, 2**64 - 1),
    "Float32": st.none() | st.floats(width=32),
    "Float64": st.none() | st.floats(),
    "boolean": st.none() | st.booleans(),
    "string": st.none() | TEXT,
    "object": st.none() | TEXT,
}
DENSE = {
    "int8": st.integers(-128, 127),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    ">i4": st.integers(-(2**31), 2**31 - 1),
    "float16": st.floats(width=16),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    ">f8": st.floats(),
    "bool": st.booleans(),
}


@st.composite
def frames(draw):
    n_rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(TEXT, unique=True, max_size=6)):
        kind = draw(st.sampled_from([*GAPS, *DENSE, "category"]))
        if kind == "category":
            found = st.lists(TEXT, unique=True, min_size=1) | st.lists(st.integers(), unique=True, min_size=1)
            categories = pd.Index(draw(found), dtype=object)
            codes = draw(st.lists(st.integers(-1, len(categories) - 1), min_size=n_rows, max_size=n_rows))
            columns[name] = pd.Categorical.from_codes(codes, categories, ordered=draw(st.booleans()))
        else:
            values = draw(st.lists((GAPS | DENSE)[kind], min_size=n_rows, max_size=n_rows))
            columns[name] = np.array(values, dtype=kind) if kind in DENSE else pd.array(values, dtype=kind)
    return pd.DataFrame(columns, index=range(n_rows))


@given(frames())
@example(pd.DataFrame())
@example(pd.DataFrame(index=range(3)))
@example(pd.DataFrame({"x": [NA, 2**31 - 1], "y": [NA + 1, 0]}))
@example(pd.DataFrame({"g": [None, None], "h": ["", None], "l": pd.array([None, None], dtype="boolean")}))
@settings(max_examples=150, deadline=None)
def test_any_frame_there_and_back(frame):
    assert_comes_back(frame)


def test_a_frame_of_slices_and_views():
    grid = np.arange(60.0).reshape(12, 5)
    frame = pd.DataFrame(grid[::-3, ::2]).set_axis(["a", "b", "c"], axis=1)
    frame["s"] = pd.arrays.SparseArray([0, 0, 1, 0])
    assert_comes_back(frame)
    assert_comes_back(frame.iloc[::-2])
    assert_comes_back(frame.set_index(pd.Index([7, 7, 1, 1])).loc[7])


def test_row_names_that_are_text_come_back():
    assert list(load_dataset("mtcars").index[:2]) == ["Mazda RX4", "Mazda RX4 Wag"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../resources/sample_data", "sleepstudy.csv/x", "", "a b", "no", "é"])
def test_what_names_no_data_set_is_refused(name):
    with pytest.raises(OptionError, match="data set"):
        load_dataset(name)
    with pytest.raises(TypeError, match="has to be a text"):
        load_dataset([name])


def test_columns_cross_without_a_frame():
    columns = {
        "x": Column("double", np.array([0.5, np.nan])),
        "g": Column("factor", np.array([2, NA], np.int32), ("a", "b")),
    }
    found = echo(columns)
    pd.testing.assert_frame_equal(
        found, pd.DataFrame({"x": [0.5, np.nan], "g": pd.Categorical(["b", None], ["a", "b"])})
    )
    assert echo(columns["g"]).tolist() == ["b", np.nan]
    assert echo(pd.Series([1, 2], name="n")).tolist() == [1, 2]


def test_duplicate_columns_do_not_cross():
    with pytest.raises(DataError, match="2 columns named 'a'"):
        echo(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_r_sees_the_kinds_that_were_meant():
    frame = pd.DataFrame({"double": [0.5, None], "integer": [1, 2], "logical": [True, False], "factor": ["b", None]})
    frame["ordered"] = pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True)
    with bridge._lock:
        r = bridge._started()
        given = r.values.to_r(frame)
        kinds = {given.names[i]: r.values.from_r(column.rclass)[0] for i, column in enumerate(given)}
        gaps = r.values.from_r(r.interface.baseenv["is.na"](given))
    assert kinds == {name: "numeric" if name == "double" else name for name in frame}
    assert gaps.sum().to_dict() == {"double": 1, "integer": 0, "logical": 0, "factor": 1, "ordered": 0}


def test_a_value_is_copied_both_ways():
    given = np.array([1.0, 2.0])
    found = echo(given)
    given[0], found[1] = 8, 9
    np.testing.assert_array_equal(found, [1, 9])
    np.testing.assert_array_equal(given, [8, 2])
