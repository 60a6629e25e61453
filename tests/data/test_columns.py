"""Columns of every type in their normal form: kinds, codes, levels, and what is refused by name."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymer4.data.columns import NA, Column, level_name, normalise, normalise_column
from pymer4.errors import DataError

pytestmark = pytest.mark.usefixtures("strict")

LARGEST = 2**31 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def normal(values, dtype=None) -> Column:
    return normalise_column(values if isinstance(values, pd.Series) else pd.Series(values, dtype=dtype), "x")


def same(column: Column, kind: str, values, levels=(), ordered=False) -> None:
    """Assert what a column holds; None and NaN stand for missing values."""
    assert (column.kind, column.levels, column.ordered) == (kind, tuple(levels), ordered)
    assert column.values.dtype == (np.float64 if kind == "double" else np.int32)
    assert column.values.flags.c_contiguous and column.values.ndim == 1
    missing = np.nan if kind == "double" else NA
    expected = [missing if value is None or value != value else value for value in values]
    np.testing.assert_array_equal(column.values, np.array(expected, dtype=column.values.dtype))
    np.testing.assert_array_equal(column.missing, [value is None or value != value for value in values])


# ------------------------------------------------------------------ numbers and truth values


WHOLE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NULLABLE = ["Int8", "Int16", "Int32", "Int64", "UInt8", "UInt32", "UInt64"]
FLOATS = ["float16", "float32", "float64", np.longdouble, "Float32", "Float64", np.dtype(">f8"), np.dtype(">f4")]
ARROW = {
    kind: [pd.ArrowDtype(one) for one in found]
    for kind, found in {
        "whole": [pa.int8(), pa.int64(), pa.uint32(), pa.uint64()],
        "float": [pa.float32(), pa.float64()],
        "text": [pa.string(), pa.large_string()],
    }.items()
}
TABLE = [
    *((dtype, [0, 1, 127], "integer") for dtype in [*WHOLE, *NULLABLE, *ARROW["whole"]]),
    *((np.dtype(dtype), [1, 200, 3], "integer") for dtype in (">i2", ">i4", ">i8", "<u2", ">u4")),
    *((dtype, [1, None, 3], "double") for dtype in [*NULLABLE, "Float32", "Float64", "object", *ARROW["whole"]]),
    *((dtype, [0.5, -2, np.inf], "double") for dtype in [*FLOATS, *ARROW["float"]]),
    *((dtype, [0.5, None, np.inf], "double") for dtype in ["Float64", "float64", *ARROW["float"]]),
    *(
        (dtype, values, kind)
        for dtype in ("int64", "Int64", pd.ArrowDtype(pa.int64()))
        for values, kind in (
            ([LARGEST], "integer"),
            ([LARGEST + 1], "double"),
            ([NA + 1], "integer"),
            ([NA], "double"),
            ([2**53, -(2**53)], "double"),
        )
    ),
    *((dtype, [2**64 - 1, 0], "double") for dtype in ("uint64", "UInt64", "object")),
    (None, [np.nan, np.inf, -np.inf, -0.0], "double"),
    *((dtype, [True, None, False], "logical") for dtype in ("boolean", "object", pd.ArrowDtype(pa.bool_()))),
    *((dtype, [True, False], "logical") for dtype in ("bool", pd.SparseDtype(bool))),
    (pd.SparseDtype(float), [0, 1.5, None], "double"),
    (pd.SparseDtype(int), [0, 1, 0], "integer"),
    (pd.ArrowDtype(pa.decimal128(6, 2)), [decimal.Decimal("1.25"), None], "double"),
    # Numbers held as objects.
    ("object", [1, 2], "integer"),
    ("object", [np.int8(1), np.uint64(2)], "integer"),
    ("object", [1, 2.5, None], "double"),
    ("object", [1, 2.0], "double"),
    ("object", [1.0, 2], "double"),
    ("object", [2**70, -1], "double"),
    ("object", [decimal.Decimal("0.25"), None], "double"),
    ("object", [np.True_, False, np.nan], "logical"),
    # Without a value, and without rows.
    *(
        (dtype, [None, None], "double")
        for dtype in ("float64", "Int64", "Float32", "category", pd.ArrowDtype(pa.null()))
    ),
    ("boolean", [None, None], "logical"),
    ("string", [None, None], "factor"),
    *((dtype, [], "double") for dtype in ("float64", "object")),
    *((dtype, [], "integer") for dtype in ("int8", *ARROW["whole"])),
    *((dtype, [], kind) for dtype, kind in (("bool", "logical"), ("string", "factor"), ("category", "factor"))),
]


@pytest.mark.parametrize(("dtype", "values", "kind"), TABLE, ids=str)
def test_numbers_and_truth_values_of_every_type(dtype, values, kind):
    numeric = kind != "logical" and dtype not in ("string", "category")
    stored = [value if value is None or value != value else float(value) for value in values] if numeric else values
    same(normal(values, dtype), kind, stored)


def test_a_nullable_float_may_be_missing_in_two_ways():
    both = pd.Series(pd.arrays.FloatingArray(np.array([1, np.nan, 3]), np.array([False, False, True])))
    same(normal(both), "double", [1, None, None])


def test_rows_need_not_lie_side_by_side():
    grid = np.arange(12.0).reshape(4, 3)
    same(normal(grid[:, 1]), "double", [1, 4, 7, 10])
    same(normal(grid[::-2, 2]), "double", [11, 5])
    same(normal(np.arange(10)[::-3]), "integer", [9, 6, 3, 0])
    same(normal(pd.Series([True, False, True])[::2]), "logical", [1, 1])
    frame = pd.DataFrame(np.asfortranarray(grid), columns=list("abc"))
    same(normal(frame["b"].iloc[::2]), "double", [1, 7])


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**62), 2**62)), min_size=1))
def test_any_numbers(values):
    whole = [value for value in values if isinstance(value, int)]
    fits = len(whole) == len(values) and all(NA < value <= LARGEST for value in values)
    expected = values if fits else [value if value is None else float(value) for value in values]
    same(normal(values, object), "integer" if fits else "double", expected)


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, pd.NaT], ids=repr)
def test_every_missing_value_of_pandas_is_missing(gap):
    for value, kind, levels in ((1.5, "double", ()), (3, "double", ()), (True, "logical", ()), ("a", "factor", ("a",))):
        same(normal([value, gap, value], object), kind, [1 if levels else value, None, 1 if levels else value], levels)
    same(normal([gap, gap], object), "double", [None, None])


# ------------------------------------------------------------------ text and categories


@pytest.mark.parametrize(
    "dtype", ["object", pd.StringDtype("python"), "category", pd.StringDtype("pyarrow"), *ARROW["text"]], ids=str
)
def test_levels_of_text_are_sorted_by_code_point(dtype):
    levels = sorted(["b", "a", "B", "é", "", "NA", "10", "9", "\U0001f600", "中", "a b"])
    codes = [*range(11, 0, -1), None, levels.index("a") + 1]
    same(normal([*reversed(levels), None, "a"], dtype), "factor", codes, levels)


@pytest.mark.parametrize(
    ("values", "codes", "levels"),
    [
        (["", None, "x", ""], [1, None, 2, 1], ["", "x"]),
        (["NA", "nan", "None", "<NA>"], [2, 4, 3, 1], ["<NA>", "NA", "None", "nan"]),
        (np.array([np.str_("b"), "a"], dtype=object), [2, 1], ["a", "b"]),
        (np.array(["b", "a"]), [2, 1], ["a", "b"]),
    ],
    ids=["empty", "like missing values", "NumPy's in objects", "NumPy's"],
)
def test_text_that_could_be_taken_for_something_else(values, codes, levels):
    same(normal(values), "factor", codes, levels)


@given(st.lists(st.none() | TEXT))
def test_any_text(values):
    column = normal(values, "string")
    assert column.levels == tuple(sorted({value for value in values if value is not None}))
    assert [None if code == NA else column.levels[code - 1] for code in column.values] == values


@pytest.mark.parametrize("value", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
def test_text_that_r_cannot_hold(value):
    text = pd.Series([value, "fine"], dtype=object)
    for series in (text, pd.Series(pd.Categorical.from_codes([0, 1], pd.Index(text)))):
        with pytest.raises(DataError, match=r"'x' has the value .* can't hold"):
            normal(series)


@pytest.mark.parametrize(
    "categories, levels",
    [
        (["b", "a"], ("b", "a")),
        ([10, 2, -1], ("10", "2", "-1")),
        ([0.5, 1.0, 1e-7], ("0.5", "1", "1e-07")),
        (np.array([0.1, 2], dtype=np.float32), ("0.1", "2")),
        ([True, False], ("TRUE", "FALSE")),
        (["", "x"], ("", "x")),
        ([1, "a"], ("1", "a")),
        (pd.array([2, 1], dtype="Int64"), ("2", "1")),
    ],
)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_categorical_keeps_its_categories_in_order(categories, levels, ordered):
    codes = [1, 0, -1, *range(len(levels))]
    dtype = pd.CategoricalDtype(categories, ordered=ordered)
    column = normal(pd.Series(pd.Categorical.from_codes(codes, dtype=dtype)))
    same(column, "factor", [None if code < 0 else code + 1 for code in codes], levels, ordered)


def test_a_categorical_keeps_what_no_row_has_and_takes_what_else_is_a_category():
    same(normal(pd.Categorical(["b"], categories=["c", "b", "a"])), "factor", [2], ["c", "b", "a"])
    same(normal(pd.Categorical([None], categories=["a"], ordered=True)), "factor", [None], ["a"], True)
    labels = [f"{i:05}" for i in range(40_000)]
    same(normal(pd.Categorical(labels)), "factor", range(1, 40_001), labels)
    cut = pd.cut(pd.Series([0.0, 1.0, 2.0]), [-1, 1, 2])
    same(normal(cut), "factor", [1, 1, 2], ["(-1, 1]", "(1, 2]"], True)
    with pytest.raises(DataError, match="'x' has two categories that are both called '1'"):
        normal(pd.Categorical([1, "1"]))


@given(st.data())
def test_any_categorical(data):
    categories = data.draw(
        st.one_of(
            st.lists(st.integers(), unique=True), st.lists(TEXT, unique=True), st.lists(st.booleans(), unique=True)
        )
    )
    codes = data.draw(st.lists(st.integers(-1, len(categories) - 1)))
    ordered = data.draw(st.booleans())
    column = normal(pd.Series(pd.Categorical.from_codes(codes, pd.Index(categories, dtype=object), ordered=ordered)))
    if categories or not codes:
        levels = [level_name(category) for category in categories]
        same(column, "factor", [None if code < 0 else code + 1 for code in codes], levels, ordered)
    else:
        same(column, "double", codes and [None] * len(codes))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((1, 1.0, np.int8(1), np.float32(1)), "1"),
        ((0.1, np.float32(0.1)), "0.1"),
        ((-0.5,), "-0.5"),
        ((True,), "TRUE"),
        ((np.False_,), "FALSE"),
        (("1.0",), "1.0"),
        ((float("inf"),), "inf"),
    ],
)
def test_one_level_has_one_name(values, name):
    assert {level_name(value) for value in values} == {name}


@pytest.mark.parametrize(
    ("values", "stored", "levels"),
    [
        (["b", "a", None, "b"], [2, 1, None, 2], ("a", "b")),
        ([10, 9, None], [2, 1, None], ("9", "10")),
        ([1.0, 0.5], [2, 1], ("0.5", "1")),
    ],
)
def test_an_arrow_dictionary_is_a_factor_sorted_by_its_values(values, stored, levels):
    series = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values).dictionary_encode()))
    same(normal(series), "factor", stored, levels)


# ------------------------------------------------------------------ what is refused


def arrow(value, kind) -> pd.Series:
    return pd.Series(pd.array([value], dtype=pd.ArrowDtype(kind)))


USELESS = {
    "datetime": pd.Series(pd.to_datetime(["2020-01-01", None])),
    "datetime with a zone": pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize("UTC")),
    "duration": pd.Series(pd.to_timedelta([1, 2], unit="D")),
    "period": pd.Series(pd.period_range("2020", periods=2)),
    "interval": pd.Series(pd.interval_range(0, 2)),
    "complex": pd.Series([1 + 2j]),
    "complex objects": pd.Series([1 + 2j, None], dtype=object),
    "dates": pd.Series([datetime.date(2020, 1, 1)], dtype=object),
    "times": pd.Series([datetime.time(1)], dtype=object),
    "bytes": pd.Series([b"a"], dtype=object),
    "lists": pd.Series([[1], [2, 3]]),
    "tuples": pd.Series([(1, 2)]),
    "dicts": pd.Series([{"a": 1}]),
    "text and numbers": pd.Series(["a", 1], dtype=object),
    "text and floats": pd.Series(["a", 1.5, None], dtype=object),
    "numbers and truth": pd.Series([True, 2], dtype=object),
    "text and truth": pd.Series([True, "a"], dtype=object),
    "Arrow's datetime": arrow(pd.Timestamp("2020-01-01"), pa.timestamp("us")),
    "Arrow's date": arrow(datetime.date(2020, 1, 1), pa.date32()),
    "Arrow's duration": arrow(datetime.timedelta(1), pa.duration("s")),
    "Arrow's lists": arrow([1], pa.list_(pa.int64())),
    "Arrow's structs": arrow({"a": 1}, pa.struct([("a", pa.int64())])),
    "Arrow's bytes": arrow(b"a", pa.binary()),
}


@pytest.mark.parametrize("series", USELESS.values(), ids=USELESS)
def test_what_a_model_has_no_use_for_is_refused_by_name(series):
    with pytest.raises(DataError, match=r"^Column 'when' holds .*Give numbers, booleans, text or a Categorical"):
        normalise(pd.DataFrame({"when": series}), ["when"])


@pytest.mark.parametrize(
    "values, told", [(["a", 1], "type int, str"), ([[1]], "type list"), ([True, 2.5], "type bool, float")], ids=str
)
def test_the_message_says_what_is_mixed(values, told):
    with pytest.raises(DataError, match=f"Column 'x' holds values of {told}, which"):
        normal(values, object)


def test_duplicate_names_are_refused():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(DataError, match="2 columns named 'a'"):
        normalise(frame, ["a"])
    assert list(normalise(frame, ["b"])) == ["b"]


def test_columns_come_in_the_order_asked_and_the_frame_is_left_alone():
    frame = pd.DataFrame({"x": [1.0, None], "g": ["b", None], "b": pd.Series([True, None], dtype=object)}, index=[5, 5])
    before = frame.copy(deep=True)
    found = normalise(frame, ["g", "b", "x"])
    assert list(found) == ["g", "b", "x"]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "index", [[3, 1, 2], [0, 0, 0], pd.Index(["a", "b", None]), pd.date_range("2020", periods=3)], ids=str
)
def test_the_index_does_not_matter(index):
    for values in ([True, None, False], ["b", None, "a"], [1, None, 2], [None, None, None]):
        found, plain = normal(pd.Series(values, dtype=object, index=index)), normal(pd.Series(values, dtype=object))
        np.testing.assert_array_equal(found.values, plain.values)
        assert (found.kind, found.levels) == (plain.kind, plain.levels)
