"""Columns of every type in their normal form: kinds, codes, levels, and what is refused by name."""

from __future__ import annotations

import datetime
import decimal
import doctest
import importlib.util
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymer4.data import columns as module
from pymer4.data.columns import NA, Column, level_name, normalise, normalise_column
from pymer4.errors import DataError

HAS_ARROW = importlib.util.find_spec("pyarrow") is not None
LARGEST = 2**31 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(module).failed == 0


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "Int8", "UInt64"]
)
def test_whole_numbers_that_fit_are_integers(dtype):
    same(normal([0, 1, 127], dtype), "integer", [0, 1, 127])


@pytest.mark.parametrize(
    "values, kind",
    [
        ([LARGEST], "integer"),
        ([LARGEST + 1], "double"),
        ([NA + 1], "integer"),
        ([NA], "double"),
        ([2**53, -(2**53)], "double"),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "Int64"])
def test_whole_numbers_of_more_than_32_bits_are_doubles(values, kind, dtype):
    same(normal(values, dtype), kind, values)


@pytest.mark.parametrize("dtype", ["uint64", "UInt64", "object"])
def test_the_largest_whole_number_is_a_double(dtype):
    same(normal([2**64 - 1, 0], dtype), "double", [float(2**64 - 1), 0])


@pytest.mark.parametrize(
    "dtype", ["Int8", "Int16", "Int32", "Int64", "UInt8", "UInt32", "UInt64", "Float32", "Float64", "object"]
)
def test_numbers_with_gaps_are_doubles(dtype):
    same(normal([1, None, 3], dtype), "double", [1, None, 3])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", np.longdouble, "Float32", "Float64", ">f8", ">f4"])
def test_floats_are_doubles(dtype):
    dtype = np.dtype(dtype) if dtype in (">f8", ">f4") else dtype
    same(normal(pd.Series(np.array([0.5, -2, np.inf])).astype(dtype)), "double", [0.5, -2, np.inf])


def test_missing_floats_stay_missing_and_infinite_ones_infinite():
    same(normal([np.nan, np.inf, -np.inf, -0.0]), "double", [None, np.inf, -np.inf, -0.0])
    both = pd.Series(pd.arrays.FloatingArray(np.array([1, np.nan, 3]), np.array([False, False, True])))
    same(normal(both), "double", [1, None, None])


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", "<u2", ">u4"])
def test_the_order_of_bytes_does_not_matter(dtype):
    same(normal(np.array([1, 200, 3], dtype=dtype)), "integer", [1, 200, 3])


def test_rows_need_not_lie_side_by_side():
    grid = np.arange(12.0).reshape(4, 3)
    same(normal(grid[:, 1]), "double", [1, 4, 7, 10])
    same(normal(grid[::-2, 2]), "double", [11, 5])
    same(normal(np.arange(10)[::-3]), "integer", [9, 6, 3, 0])
    frame = pd.DataFrame(np.asfortranarray(grid), columns=list("abc"))
    same(normal(frame["b"].iloc[::2]), "double", [1, 7])


def test_numbers_held_as_objects():
    same(normal([1, 2], object), "integer", [1, 2])
    same(normal([np.int8(1), np.uint64(2)], object), "integer", [1, 2])
    same(normal([1, 2.5, None], object), "double", [1, 2.5, None])
    same(normal([1, 2.0], object), "double", [1, 2])
    same(normal([1.0, 2], object), "double", [1, 2])
    same(normal([2**70, -1], object), "double", [2.0**70, -1])
    same(normal([decimal.Decimal("0.25"), None], object), "double", [0.25, None])


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**62), 2**62)), min_size=1))
def test_any_numbers(values):
    whole = [value for value in values if isinstance(value, int)]
    fits = len(whole) == len(values) and all(NA < value <= LARGEST for value in values)
    expected = values if fits else [value if value is None else float(value) for value in values]
    same(normal(values, object), "integer" if fits else "double", expected)


# ------------------------------------------------------------------ truth values


@pytest.mark.parametrize("dtype", ["boolean", "object"])
def test_truth_values_with_gaps(dtype):
    same(normal([True, None, False], dtype), "logical", [1, None, 0])


def test_truth_values():
    same(normal([True, False]), "logical", [1, 0])
    same(normal([np.True_, False, np.nan], object), "logical", [1, 0, None])
    same(normal(pd.Series([True, False, True])[::2]), "logical", [1, 1])


# ------------------------------------------------------------------ missing values

MISSING = [None, np.nan, pd.NA, pd.NaT]


@pytest.mark.parametrize("gap", MISSING, ids=repr)
@pytest.mark.parametrize(
    "value, kind, stored, levels",
    [(1.5, "double", 1.5, ()), (3, "double", 3, ()), (True, "logical", 1, ()), ("a", "factor", 1, ("a",))],
)
def test_every_missing_value_of_pandas_is_missing(gap, value, kind, stored, levels):
    same(normal([value, gap, value], object), kind, [stored, None, stored], levels)


@pytest.mark.parametrize("gap", MISSING, ids=repr)
def test_a_column_of_objects_without_a_value_is_of_doubles(gap):
    same(normal([gap, gap], object), "double", [None, None])


@pytest.mark.parametrize(
    "dtype, kind",
    [
        ("float64", "double"),
        ("Int64", "double"),
        ("Float32", "double"),
        ("boolean", "logical"),
        ("string", "factor"),
        ("category", "double"),
    ],
)
def test_a_typed_column_without_a_value(dtype, kind):
    same(normal([None, None], dtype), kind, [None, None])


@pytest.mark.parametrize(
    "dtype, kind",
    [
        ("float64", "double"),
        ("int8", "integer"),
        ("bool", "logical"),
        ("object", "double"),
        ("string", "factor"),
        ("category", "factor"),
    ],
)
def test_no_rows(dtype, kind):
    same(normal([], dtype), kind, [])


# ------------------------------------------------------------------ text

STORAGES = ["object", pd.StringDtype("python"), "category"]
if HAS_ARROW:
    STORAGES += [pd.StringDtype("pyarrow")]


@pytest.mark.parametrize("dtype", STORAGES, ids=str)
def test_levels_of_text_are_sorted_by_code_point(dtype):
    levels = sorted(["b", "a", "B", "é", "", "NA", "10", "9", "\U0001f600", "中", "a b"])
    same(
        normal([*reversed(levels), None, "a"], dtype),
        "factor",
        [*range(11, 0, -1), None, levels.index("a") + 1],
        levels,
    )


def test_the_empty_text_is_a_level_and_not_missing():
    same(normal(["", None, "x", ""]), "factor", [1, None, 2, 1], ["", "x"])


def test_text_that_reads_like_a_missing_value_is_text():
    same(normal(["NA", "nan", "None", "<NA>"]), "factor", [2, 4, 3, 1], ["<NA>", "NA", "None", "nan"])


def test_numpy_text():
    same(normal(pd.Series([np.str_("b"), "a"], dtype=object)), "factor", [2, 1], ["a", "b"])
    same(normal(pd.Series(np.array(["b", "a"]))), "factor", [2, 1], ["a", "b"])


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


# ------------------------------------------------------------------ Categoricals


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


def test_a_categorical_keeps_what_no_row_has():
    same(normal(pd.Categorical(["b"], categories=["c", "b", "a"])), "factor", [2], ["c", "b", "a"])
    same(normal(pd.Categorical([None], categories=["a"], ordered=True)), "factor", [None], ["a"], True)


def test_a_categorical_of_many_categories():
    labels = [f"{i:05}" for i in range(40_000)]
    same(normal(pd.Categorical(labels)), "factor", range(1, 40_001), labels)


def test_a_categorical_of_intervals():
    column = normal(pd.cut(pd.Series([0.0, 1.0, 2.0]), [-1, 1, 2]))
    same(column, "factor", [1, 1, 2], ["(-1, 1]", "(1, 2]"], True)


def test_categories_that_read_the_same_are_refused():
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
    "value, name",
    [
        (1, "1"),
        (1.0, "1"),
        (np.int8(1), "1"),
        (np.float32(1), "1"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (-0.5, "-0.5"),
        (True, "TRUE"),
        (np.False_, "FALSE"),
        ("1.0", "1.0"),
        (float("inf"), "inf"),
    ],
)
def test_one_level_has_one_name(value, name):
    assert level_name(value) == name


# ------------------------------------------------------------------ sparse and Arrow


@pytest.mark.parametrize(
    "values, kind, stored",
    [
        ([0.0, 1.5, np.nan], "double", [0, 1.5, None]),
        ([0, 1, 0], "integer", [0, 1, 0]),
        ([True, False], "logical", [1, 0]),
    ],
)
def test_sparse_columns(values, kind, stored):
    same(normal(pd.arrays.SparseArray(values)), kind, stored)


if HAS_ARROW:
    import pyarrow as pa

    def arrow(values, kind) -> pd.Series:
        return pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind)))

    @pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint32(), pa.uint64()], ids=str)
    def test_arrow_whole_numbers(kind):
        same(normal(arrow([1, 2], kind)), "integer", [1, 2])
        same(normal(arrow([1, None], kind)), "double", [1, None])
        same(normal(arrow([], kind)), "integer", [])

    def test_arrow_numbers_of_more_than_32_bits():
        same(normal(arrow([2**40, NA], pa.int64())), "double", [2.0**40, NA])

    @pytest.mark.parametrize("kind", [pa.float32(), pa.float64()], ids=str)
    def test_arrow_floats(kind):
        same(normal(arrow([0.5, None, np.inf], kind)), "double", [0.5, None, np.inf])

    def test_arrow_decimals():
        same(normal(arrow([decimal.Decimal("1.25"), None], pa.decimal128(6, 2))), "double", [1.25, None])

    def test_arrow_truth_values():
        same(normal(arrow([True, None, False], pa.bool_())), "logical", [1, None, 0])

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
    def test_arrow_text(kind):
        same(normal(arrow(["é", "b", None, ""], kind)), "factor", [3, 2, None, 1], ["", "b", "é"])

    def test_arrow_without_a_type():
        same(normal(arrow([None, None], pa.null())), "double", [None, None])

    @pytest.mark.parametrize(
        "values, stored, levels",
        [
            (["b", "a", None, "b"], [2, 1, None, 2], ("a", "b")),
            ([10, 9, None], [2, 1, None], ("9", "10")),
            ([1.0, 0.5], [2, 1], ("0.5", "1")),
        ],
    )
    def test_an_arrow_dictionary_is_a_factor_sorted_by_its_values(values, stored, levels):
        series = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values).dictionary_encode()))
        same(normal(series), "factor", stored, levels)

    @pytest.mark.parametrize(
        "value, kind",
        [
            (pd.Timestamp("2020-01-01"), pa.timestamp("us")),
            (datetime.date(2020, 1, 1), pa.date32()),
            (datetime.timedelta(1), pa.duration("s")),
            ([1], pa.list_(pa.int64())),
            ({"a": 1}, pa.struct([("a", pa.int64())])),
            (b"a", pa.binary()),
        ],
        ids=lambda part: str(part),
    )
    def test_arrow_types_without_a_meaning_in_a_model(value, kind):
        with pytest.raises(DataError, match="Column 'x' holds "):
            normal(arrow([value], kind))


# ------------------------------------------------------------------ what is refused

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


# ------------------------------------------------------------------ frames


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
