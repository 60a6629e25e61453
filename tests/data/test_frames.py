"""Frames of other libraries than pandas: which columns are read, what becomes of each kind, and what is refused."""

import datetime
import subprocess
import sys
from decimal import Decimal
from types import MappingProxyType

import duckdb
import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pymer4.data.columns import floats, normalise, real_array
from pymer4.data.frames import KINDS, frame, plain
from pymer4.errors import DataError

TEXT = pd.Series(["text"]).dtype
DAY = datetime.date(2024, 2, 29)


def as_table(columns):
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def as_relation(columns):
    table = as_table(columns)
    return duckdb.from_arrow(table)


MAKERS = {
    "polars": pl.DataFrame,
    "lazy polars": pl.LazyFrame,
    "pyarrow": as_table,
    "record batch": lambda columns: as_table(columns).to_batches()[0],
    "duckdb": as_relation,
    "narwhals": lambda columns: nw.from_native(pl.DataFrame(columns)),
    "dict": dict,
    "mapping": MappingProxyType,
    "dict of polars": lambda columns: {name: pl.Series(values) for name, values in columns.items()},
    "dict of pyarrow": lambda columns: {name: pa.array(values) for name, values in columns.items()},
}
COLUMNS = {
    "x": [1.5, None, 2.0],
    "n": [3, 1, 2],
    "gaps": [3, None, 2],
    "yes": [True, False, True],
    "perhaps": [True, None, False],
    "word": ["b", None, "a"],
    "price": [Decimal("1.10"), None, Decimal("0.30")],
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_frame_of_any_kind_has_the_columns_of_the_same_in_pandas(kind):
    expected = normalise(pd.DataFrame(COLUMNS), COLUMNS)
    found = frame("data", MAKERS[kind](COLUMNS))
    assert isinstance(found, pd.DataFrame) and list(found) == list(COLUMNS)
    assert found.index.equals(pd.RangeIndex(3))
    for name, column in normalise(found, COLUMNS).items():
        assert (column.kind, column.levels) == (expected[name].kind, expected[name].levels)
        np.testing.assert_array_equal(column.values, expected[name].values)


def test_a_pandas_frame_is_itself_and_keeps_all_columns():
    data = pd.DataFrame(COLUMNS)

    class Measured(pd.DataFrame):
        """As geopandas has one."""

    for given in (data, Measured(data)):
        assert frame("data", given, lambda names: ["x"]) is given


@pytest.mark.parametrize("kind", ["polars", "lazy polars"])
def test_text_of_polars_is_what_pandas_makes_of_text(kind):
    found = frame("data", MAKERS[kind]({"word": ["b", None, "a", "b"], "none": [None, None, None, None]}))
    assert found["word"].dtype == TEXT
    assert found["word"].isna().tolist() == [False, True, False, False]
    assert found["word"].dropna().tolist() == ["b", "a", "b"]
    assert found["none"].isna().all()
    assert frame("data", pl.DataFrame({"w": pl.Series([None, None], dtype=pl.String)}))["w"].isna().all()


# ------------------------------------------------------------------ missing values


@pytest.mark.parametrize("make", [pl.DataFrame, pl.LazyFrame, as_table, as_relation])
def test_null_and_nan_are_both_missing(make):
    found = frame("data", make({"x": [1.0, None, float("nan")]}))
    assert floats("x", found["x"])[0] == 1 and np.isnan(floats("x", found["x"])[1:]).all()


# ------------------------------------------------------------------ the order of levels


ENUM = pl.Series(["high", None, "low"], dtype=pl.Enum(["low", "mid", "high"]))
WORDS = pl.Series(["b", "c", None, "a", "b"], dtype=pl.Categorical)


def test_an_enum_of_polars_keeps_the_order_of_its_categories():
    column = frame("data", pl.DataFrame({"g": ENUM}))["g"]
    assert column.cat.categories.tolist() == ["low", "mid", "high"] and not column.cat.ordered
    assert column.tolist()[0] == "high" and column.isna().tolist() == [False, True, False]


def test_a_categorical_of_polars_has_its_categories_by_their_first_rows():
    pl.Series(["z", "a", "c", "b"], dtype=pl.Categorical)  # what else the process has seen is of no account
    column = frame("data", pl.DataFrame({"g": WORDS}))["g"]
    assert column.cat.categories.tolist() == ["b", "c", "a"] and not column.cat.ordered
    assert column.cat.codes.tolist() == [0, 1, -1, 2, 0]
    empty = frame("data", pl.DataFrame({"g": pl.Series([None], dtype=pl.Categorical)}))["g"]
    assert empty.cat.categories.empty and empty.isna().all()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_dictionary_of_pyarrow_keeps_its_order_and_whether_it_is_one(ordered):
    values = pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), pa.array(["z", "a", "m"]), ordered=ordered)
    for given in (pa.table({"g": values}), pa.RecordBatch.from_arrays([values], ["g"]), {"g": values}):
        column = frame("data", given)["g"]
        assert column.cat.categories.tolist() == ["z", "a", "m"] and column.cat.ordered is ordered
        assert column.isna().tolist() == [False, True, False]


def test_an_enum_of_duckdb_keeps_the_order_of_its_values():
    given = duckdb.sql("select unnest(['x', null, 'y'])::enum('y', 'unused', 'x') as g")
    column = frame("data", given)["g"]
    assert column.cat.categories.tolist() == ["y", "unused", "x"] and not column.cat.ordered
    assert column.isna().tolist() == [False, True, False]


# ------------------------------------------------------------------ what a model has no use for, but its data may hold


@pytest.mark.parametrize("make", [pl.DataFrame, pl.LazyFrame, as_table, as_relation, dict])
@pytest.mark.parametrize(
    "values",
    [[DAY, None], [datetime.datetime(2024, 2, 29, 12)] * 2, [datetime.time(12), None], [[1, 2], [3]], [{"a": 1}] * 2],
    ids=["date", "moment", "time", "list", "struct"],
)
def test_other_kinds_come_through_and_are_refused_by_name_in_a_formula(make, values):
    found = frame("data", make({"x": [1, 2], "odd": values}))
    assert len(found) == 2
    with pytest.raises(DataError, match=r"Column 'odd' holds .*which a model has no use for"):
        normalise(found, ["odd"])


def test_moments_of_polars_keep_their_time_zone():
    given = pl.DataFrame({"t": [datetime.datetime(2024, 7, 1, 12)]})
    berlin = given.select(pl.col("t").dt.replace_time_zone("Europe/Berlin"))
    assert str(frame("data", berlin)["t"].iloc[0]) == "2024-07-01 12:00:00+02:00"
    assert frame("data", given)["t"].iloc[0] == pd.Timestamp("2024-07-01 12:00")
    assert frame("data", pl.DataFrame({"t": [DAY, None]}))["t"].iloc[0] == pd.Timestamp(DAY)
    assert frame("data", pl.DataFrame({"t": [datetime.timedelta(1)]}))["t"].iloc[0] == pd.Timedelta("1D")


# ------------------------------------------------------------------ only what is needed is read


def test_columns_of_a_lazy_frame_that_are_not_needed_are_never_computed():
    def refuse(_):
        raise AssertionError("computed")

    lazy = pl.LazyFrame({"x": [1, 2], "wide": [3, 4]}).with_columns(pl.col("wide").map_batches(refuse, pl.Int64))
    assert list(frame("data", lazy, lambda names: ["x", "elsewhere"], eager=False)) == ["x"]
    assert len(frame("data", lazy, lambda names: [])) == 2  # a formula without predictors still has rows


def test_columns_of_a_relation_that_are_not_needed_are_never_computed():
    relation = duckdb.sql("select range as x, error('computed')::int as wide from range(3)")
    assert frame("data", relation, lambda names: ["x"], eager=False)["x"].tolist() == [0, 1, 2]
    with pytest.raises(duckdb.Error, match="computed"):
        frame("data", relation)


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dict"])
def test_a_frame_in_memory_is_reduced_where_it_is_asked_for(kind):
    given = MAKERS[kind](COLUMNS)
    assert list(frame("data", given, lambda names: ["word", "x"])) == ["x", "word"]
    assert list(frame("data", given, lambda names: ["word", "x"], eager=False)) == list(COLUMNS)


# ------------------------------------------------------------------ dicts


def test_pandas_behind_narwhals_is_copied_and_keeps_its_index():
    given = pd.DataFrame({"x": [1.0, 2.0]}, index=[5, 7])
    found = frame("data", nw.from_native(given))
    assert found.index.tolist() == [5, 7]
    found.index, found.loc[:, "x"] = ["a", "b"], 9.0
    assert given["x"].tolist() == [1, 2] and given.index.tolist() == [5, 7]


def test_a_dict_is_copied_and_series_in_it_keep_their_index():
    x = np.array([1.0, 2.0])
    found = frame("data", {"x": x, "s": pd.Series([1, 2], index=["a", "b"]), "g": ("u", "v")})
    found.loc["a", "x"] = 9
    assert x.tolist() == [1, 2] and found.index.tolist() == ["a", "b"] and found["g"].tolist() == ["u", "v"]


@pytest.mark.parametrize(
    "given, told",
    [
        ({"a": [1], "b": [1, 2]}, "differ in length: 'a' 1, 'b' 2"),
        ({"a": 1}, "Column 'a' of data is a int. In a dict every column"),
        ({"a": np.float64(1)}, "Column 'a' of data is a float64"),
        ({"a": "text"}, "Column 'a' of data is a str"),
        ({"a": {"b": [1]}}, "Column 'a' of data is a dict"),
        ({"a": np.ones((2, 2))}, r"Column 'a' of data is an array of shape \(2, 2\)"),
        ({"a": pd.DataFrame({"b": [1]})}, r"an array of shape \(1, 1\)"),
        ({"a": (value for value in "ab")}, "is a generator"),
        ({"a": {2, 1}}, "Column 'a' of data is a set"),
        ({"a": pd.Series([1]), "b": pd.Series([1], index=[5])}, "have different indexes"),
    ],
)
def test_what_is_no_column_of_a_dict_is_named(given, told):
    with pytest.raises(DataError, match=told):
        frame("data", given)


# ------------------------------------------------------------------ what is refused


class Distributed:
    """A frame of a library that is not known, such as Spark's."""

    columns = ("x",)

    def toPandas(self):
        raise AssertionError("never called")


@pytest.mark.parametrize(
    "given, told",
    [
        ([[1, 2]], "not a list. Name its columns: pandas.DataFrame"),
        (np.ones((2, 3)), r"not a ndarray of shape \(2, 3\). Name its columns"),
        ("data.csv", "not a str. Read the file first"),
        (None, "not a NoneType.$"),
        (Distributed(), r"not a Distributed. data.toPandas\(\) may give one."),
        (pl.Series("x", [1]), r"not a Series. data.to_frame\(\) may give one."),
        (pd.Series([1]), r"not a Series. data.to_frame\(\) may give one."),
        (pl.col("x"), "not a Expr.$"),
        (pa.array([1]), "Array"),
    ],
)
def test_a_frame_of_an_unknown_kind_names_those_that_are_taken(given, told):
    with pytest.raises(DataError, match=told) as refused:
        frame("data", given)
    assert KINDS in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        pa.table([[1], [2]], names=["a", "a"]),
        pa.record_batch([[1], [2]], names=["a", "a"]),
        duckdb.sql("select 1 as a, 2 as a"),
    ],
    ids=["pyarrow", "record batch", "duckdb"],
)
def test_duplicate_columns_are_refused(given):
    with pytest.raises(DataError, match="data has more than one column named 'a'"):
        frame("data", given)


# ------------------------------------------------------------------ columns by themselves


SERIES = {
    "polars": pl.Series,
    "pyarrow": pa.array,
    "chunked": lambda values: pa.chunked_array([values]),
    "narwhals": lambda values: nw.from_native(pl.Series(values), series_only=True),
}


@pytest.mark.parametrize("make", SERIES.values(), ids=SERIES.keys())
def test_a_column_of_any_kind_holds_numbers(make):
    np.testing.assert_array_equal(floats("weights", make([1, None, 3])), [1, np.nan, 3])
    np.testing.assert_array_equal(floats("weights", make([True, None])), [1, np.nan])
    np.testing.assert_array_equal(real_array(make([1.5, None])), [1.5, np.nan])
    with pytest.raises(DataError, match="weights has to hold numbers, not str"):
        floats("weights", make(["a", "b"]))


@pytest.mark.parametrize("value", [1, "x", None, [1], {"a": 1}, np.ones(2), pd.Series([1]), Decimal(1), object()])
def test_what_is_no_frame_or_column_of_another_library_is_left_alone(value):
    assert plain(value) is value


def test_users_of_pandas_import_no_other_library():
    code = (
        "import sys, numpy as np, pandas as pd; from pymer4 import Lm\n"
        "data = pd.DataFrame({'y': [1.0, 3, 2, 5], 'x': [1, 2, 3, 4]})\n"
        "for given in (data, dict(data)):\n"
        "    model = Lm('y ~ x', given, offset=[0, 0, 0, 1]); model.fit(weights=np.ones(4), summarize=False)\n"
        "    model.predict(data)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"narwhals", "polars", "duckdb"} & set(done.stdout.split())
