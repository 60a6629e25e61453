"""Plain trees in HDF5: the layout node by node against deepdish's own file, round trips, and what is refused."""

from __future__ import annotations

import io
import math
import pickle
import runpy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pymer4.errors import FileError
from pymer4.storage import h5tree, h5write
from pymer4.storage.h5tree import Tagged, TreeError, View
from pymer4.storage.unpickle import unpickled

LEGACY = Path(__file__).parent / "legacy"
TREE = runpy.run_path(str(LEGACY / "make_deepdish_tree.py"))["TREE"]


def zlib9(plist: Any) -> None:
    plist.set_shuffle()
    plist.set_deflate(9)


def opened(tree: dict, marks: dict | None = None, filters: Any = zlib9) -> h5py.File:
    return h5py.File(io.BytesIO(h5write.write(tree, marks or {}, filters)), "r")


def back(tree: dict, filters: Any = zlib9) -> dict:
    with opened(tree, filters=filters) as file:
        return h5tree.read(file)


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal in values, types and order."""
    if isinstance(a, np.ndarray):
        equal_nan = a.dtype.kind in "fc"
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=equal_nan)
    if isinstance(a, Tagged):
        return isinstance(b, Tagged) and a.kind == b.kind and same(dict(a.entries), dict(b.entries))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return all(map(same, a, b)) and len(a) == len(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
    return a == b


# ------------------------------------------------------------------ the layout


def told_type(kind: Any) -> tuple:
    text = (kind.get_cset(), kind.get_strpad()) if kind.get_class() == h5py.h5t.STRING else ()
    return (kind.get_class(), kind.get_size(), *text)


def told_attributes(node: Any) -> dict:
    found = {}
    for name in node.attrs:
        attribute = node.attrs.get_id(name)
        value = None if isinstance(node.attrs[name], h5py.Empty) else node.attrs[name]
        found[name] = (told_type(attribute.get_type()), attribute.get_space().get_simple_extent_type(), value)
    return found


def nodes(group: h5py.Group) -> dict:
    """Return path to what stands there: kind, class, dtype, shape, filters, attributes; of a link its target."""
    found = {group.name: ("group", told_attributes(group))}
    for name in group:
        path, link = f"{group.name.rstrip('/')}/{name}", group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            found[path] = ("link", link.path)
        elif isinstance(group[name], h5py.Group):
            found |= nodes(group[name])
        else:
            node = group[name]
            plist = node.id.get_create_plist()
            filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
            found[path] = ("dataset", told_type(node.id.get_type()), node.shape, filters, told_attributes(node))
    return found


def test_the_layout_is_deepdishs_node_by_node():
    """Path, class, dtype, shape, filters and attributes; chunks are cut otherwise, which readers don't see."""
    with h5py.File(LEGACY / "deepdish_tree.h5", "r") as theirs, opened(dict(sorted(TREE.items()))) as ours:
        expected, found = nodes(theirs), nodes(ours)
    assert len(expected) > 20
    # Entries are written in another order there, and with it which None is the first.
    nones = {"/none", "/second", "/list/i2"}
    assert {path: node for path, node in found.items() if path not in nones} == {
        path: node for path, node in expected.items() if path not in nones
    }
    assert sorted(found[path][0] for path in nones) == sorted(expected[path][0] for path in nones)


def test_the_file_of_deepdish_is_read_as_it_was_written():
    with h5py.File(LEGACY / "deepdish_tree.h5", "r") as file:
        found = h5tree.read(file)
        assert h5tree.marks(file) == {"VERSION": 12}
    assert found.keys() == TREE.keys()
    assert all(same(found[name], TREE[name]) for name in TREE)


def test_marks_are_no_entries():
    with opened({"a": 1}, {"FORMAT": 1, "BY": "é"}) as file:
        assert h5tree.marks(file) == {"VERSION": 12, "FORMAT": 1, "BY": "é"}
        assert h5tree.read(file) == {"a": 1}


@pytest.mark.parametrize("filters", [zlib9, None], ids=["zlib", "none"])
def test_what_is_compressed(filters):
    with opened({"few": np.arange(300.0), "many": np.arange(301.0)}, filters=filters) as file:
        kinds = [bytes(file[name].attrs["CLASS"]) for name in ("few", "many")]
        assert kinds == [b"ARRAY", b"CARRAY" if filters else b"ARRAY"]
        assert [file[name].compression for name in ("few", "many")] == [None, "gzip" if filters else None]


def test_an_array_stands_once_in_the_file():
    noise = np.random.default_rng(1).normal(size=50_000)
    once, twice = (len(h5write.write(tree, {}, zlib9)) for tree in ({"a": noise}, {"a": noise, "b": {"c": noise}}))
    assert twice < once + 5_000
    with opened({"a": noise, "b": {"c": noise}}) as file:
        assert file["b"].get("c", getlink=True).path == "/a"
        found = h5tree.read(file)
    assert found["b"]["c"] is found["a"]
    assert same(found["a"], noise)


# ------------------------------------------------------------------ round trips

KEYS = [
    "a/b", "/", ".", "..", "", " ", "é/ü", "TITLE", "CLASS", "VERSION", "FLAVOR", "_v_x", "_p_x", "__pair0", "i0",
    "x\0y", "\0",
    "DEEPDISH_IO_x", "pandas_type", "n" * 300, "\ud800", "(Intercept)", "2.5_ci", "日本", 1, -2, 2.5, math.inf, None,
    True, ("a", 1),
    ("a", ("b", None)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:20])
def test_any_key_survives(key):
    tree = {"odd": {key: "value", "plain": [1], **({} if key == 1 else {"z": {key: None}})}}
    assert same(back(tree), tree)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, -(2**63), 2**63, -(2**90), 0, 0.0, -0.0, math.nan, math.inf, 1e-320, True, False, None, "", " ",
        "é", "a\0", "\0",
        "x" * 70_000, "\udcff", b"", b"x", b"\0", b"a\0", b"x" * 70_000, b"\xff", 1 + 2j, [], (), {}, [[]], [None],
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
    assert same(back({"v": value, "w": [value]}), {"v": value, "w": [value]})


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.complex_numbers()
    | arrays.arrays(
        st.sampled_from(
            [np.float64, np.int32, np.uint8, np.bool_, np.dtype("U3"), np.dtype("S3"), np.float32, np.int64]
        ),
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
def test_plain_trees_survive(tree):
    assert same(back(tree), tree)


def test_numpy_scalars_become_pythons():
    found = back(
        {"a": [np.float64(1.5), np.int8(3), np.bool_(True), np.str_("x"), np.bytes_(b"y")], "b": np.array(2.0)}
    )
    assert same(found, {"a": [1.5, 3, True, "x", b"y"], "b": 2.0})


def test_what_is_tagged_keeps_its_kind():
    tree = {"t": Tagged("record", {"class": "Old", "fields": {"b": (1,), "a": Tagged("scalar", {"x": None})}})}
    assert same(back(tree), tree)


@pytest.mark.parametrize("filters", [zlib9, None], ids=["zlib", "none"])
def test_views_show_columns_of_other_arrays(filters):
    held, column = np.arange(4000.0).reshape(1000, 4), np.arange(1000.0) ** 2
    rows = slice(0, 1000)
    view = View((1000,), (((rows,), held, (rows, 2)),))
    pieces = (((slice(0, 10), 0), column, (slice(5, 15),)), ((slice(10, 20), 0), column, (slice(30, 40),)))
    table = View((20, 3), (*pieces, ((slice(0, 20), 2), held, (slice(100, 120), 1))), 7.0)
    with opened({"held": held, "column": column, "view": view, "deep": {"table": table}}, filters=filters) as file:
        assert file["view"].is_virtual and file["view"].id.get_storage_size() == 0
        by_h5py = file["view"][:], file["deep/table"][:]
        found = h5tree.read(file)
    expected = np.full((20, 3), 7.0)
    expected[:, 0] = np.r_[column[5:15], column[30:40]]
    expected[:, 2] = held[100:120, 1]
    for view, table in (by_h5py, (found["view"], found["deep"]["table"])):
        assert same(view, held[:, 2]) and same(table, expected)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("value", [object(), {1, 2}, print, np.array([object()]), np.array(["2020"], dtype="M8[s]")])
def test_what_has_no_place_is_refused_by_its_path(value):
    with pytest.raises(TreeError, match=r"/deep/i1"):
        h5write.write({"deep": [1, value]}, {}, None)


def test_pickles_are_refused_unless_asked_for(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        held = file.create_dataset("p", (1,), dtype=h5py.vlen_dtype(np.uint8))
        held[0] = np.frombuffer(pickle.dumps(np.dtype(float), 4), dtype=np.uint8)
        held.attrs["PSEUDOATOM"] = b"object"
        with pytest.raises(TreeError, match="/p holds a pickle"):
            h5tree.read(file)
        assert h5tree.read(file, unpickled) == {"p": np.dtype(float)}


def test_values_in_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(3.0)
    layout = h5py.VirtualLayout(shape=(3,), dtype=float)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(3,))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/x")
        with pytest.raises(TreeError, match="points to another file"):
            h5tree.read(file)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        with pytest.raises(TreeError, match="from another file"):
            h5tree.read(file)
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("x", (3,), dtype=float, external=[(str(tmp_path / "other.h5"), 0, 24)])
        with pytest.raises(TreeError, match="from another file"):
            h5tree.read(file)


def test_links_in_a_circle_end(tmp_path):
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        file.create_group("a").attrs["TITLE"] = "dict:1"
        file["a/b"] = h5py.SoftLink("/a")
        assert h5tree.read(file) == {"a": {"b": None}}


# ------------------------------------------------------------------ pickles of the 0.7 line


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_objects_are_read(protocol, order):
    held = np.array([[1.5, "a", None], [2, "é", True]], dtype=object, order=order)
    found = unpickled(pickle.dumps(held, protocol))
    assert found.dtype == object and found.tolist() == held.tolist()


@pytest.mark.parametrize("dtype", ["f8", "i8", "O", "bool", "f4", ">f8", "S5", "U3"])
def test_dtypes_are_read(dtype):
    assert unpickled(pickle.dumps(np.dtype(dtype), 4)) == np.dtype(dtype)


def test_scalars_in_arrays_are_read():
    held = np.array([np.float64(1.5), np.int64(3), np.bool_(True)], dtype=object)
    assert unpickled(pickle.dumps(held, 2)).tolist() == [1.5, 3, True]


class Calls:
    """Runs a function when it is unpickled."""

    def __init__(self, *what: Any):
        self.what = what

    def __reduce__(self) -> tuple:
        return self.what[0], self.what[1:]


@pytest.mark.parametrize(
    "held",
    [
        Calls(exec, "raise SystemExit"), Calls(print, "x"), Calls(np.load, "x.npy"), Calls(np.ndarray, (3,)),
        Calls(np.dtype, "V8"),
        np.array([Calls(print, "x")], dtype=object), np.array([{1}], dtype=object), np.arange(3.0), {1, 2}, 1 + 2j,
        FileError("x"), Path("x"),
        np.array([[1, [2]]], dtype=object), np.dtype([("a", float)]), np.array([np.datetime64("2020")], dtype=object),
    ],
    ids=lambda held: repr(held)[:30],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickles_that_hold_more_are_refused(held, protocol, capsys):
    with pytest.raises(FileError, match="pickle in it"):
        unpickled(pickle.dumps(held, protocol))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05", pickle.dumps([1, 2])[:-3]])
def test_damaged_pickles_are_refused(data):
    with pytest.raises(FileError, match="can't be read"):
        unpickled(data)


def test_a_pickle_that_shares_itself_is_refused():
    deep: list = [1]
    for _ in range(40):
        deep = [deep, deep]
    with pytest.raises(FileError, match="holds a list"):
        unpickled(pickle.dumps(deep))
