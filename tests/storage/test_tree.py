"""Plain trees in HDF5: the layout by deepdish's rules and its own file, round trips, and what is refused."""

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

from pymer4.errors import FileError
from pymer4.storage import tree
from pymer4.storage.legacy import unpickled
from pymer4.storage.tree import TreeError

LEGACY = Path(__file__).parents[1] / "legacy"
TREE = runpy.run_path(str(LEGACY / "make_deepdish_tree.py"))["TREE"]


ZLIB = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def opened(values: dict, marks: dict | None = None, compression: Any = ZLIB) -> h5py.File:
    return h5py.File(io.BytesIO(tree.write(values, marks or {}, compression)), "r")


def back(values: dict, compression: Any = ZLIB) -> dict:
    with opened(values, compression=compression) as file:
        return read(file)


def read(file: h5py.File, unpickled: Any = None) -> dict:
    return tree.read(file, Path("x.h5"), unpickled)


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal in values, types and order."""
    if isinstance(a, np.ndarray):
        equal_nan = a.dtype.kind in "fc"
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=equal_nan)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return all(map(same, a, b)) and len(a) == len(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
    return a == b


# ------------------------------------------------------------------ the layout


def by_the_rules(node: Any) -> Any:
    """Return what `deepdish.io.load` returns, by the rules that it goes by; it knows nothing of the reader here."""
    if isinstance(node, h5py.Dataset):
        if "zeroarray_dtype" in node.attrs:
            return np.zeros(tuple(node[:]), dtype=node.attrs["zeroarray_dtype"].decode())
        text = {b"unicode": "U", b"ascii": "S", None: None}[node.attrs.get("strtype")]
        if text is not None:
            return node[:].view(f"{text}{node.attrs['itemsize']}")
        return node[:].astype(bool) if node.id.get_type().get_class() == h5py.h5t.BITFIELD else node[:]
    title = node.attrs["TITLE"].decode() if "TITLE" in node.attrs else ""
    found = {name: by_the_rules(node[name]) for name in node}
    for name in node.attrs:
        if name not in ("CLASS", "TITLE", "VERSION", "PYTABLES_FORMAT_VERSION") and not name.startswith("DEEPDISH_IO"):
            found[name] = attribute_by_the_rules(node, name)
    if title.startswith(("list:", "tuple:")):
        values = [found[f"i{i}"] for i in range(int(title.partition(":")[2]))]
        return values if title[0] == "l" else tuple(values)
    return None if title.startswith("nonetype:") else dict(sorted(found.items()))


def attribute_by_the_rules(node: Any, name: str) -> Any:
    kind, value = node.attrs.get_id(name).get_type(), node.attrs[name]
    if kind.get_class() == h5py.h5t.STRING:
        assert kind.get_cset() == h5py.h5t.CSET_UTF8 and not kind.is_variable_str()
        return "" if isinstance(value, h5py.Empty) else value.decode()
    if kind.get_class() == h5py.h5t.BITFIELD:
        return bool(value)
    assert value.dtype in (np.int64, np.float64)
    return value.item()


# Bytes, and text of fixed width, stand in files of deepdish; what is written here has text as arrays of UTF-8.
PLAIN_TREE = {name: value for name, value in TREE.items() if name not in ("bytes", "texts", "long texts")}


@pytest.mark.parametrize("compression", [ZLIB, {}], ids=["zlib", "none"])
def test_deepdish_reads_what_was_written(compression):
    with opened(PLAIN_TREE, compression=compression) as file:
        assert dict(file.attrs)["DEEPDISH_IO_VERSION"] == 12
        found = by_the_rules(file)
    assert found.keys() == PLAIN_TREE.keys()
    assert all(same(found[name], PLAIN_TREE[name]) for name in PLAIN_TREE)


def test_the_rules_are_those_of_deepdishs_own_file():
    with h5py.File(LEGACY / "deepdish_tree.h5", "r") as file:
        for name in TREE.keys() - {"bytes"}:
            found = by_the_rules(file[name]) if name in file else attribute_by_the_rules(file, name)
            assert same(found, TREE[name]), name


def test_the_file_of_deepdish_is_read_as_it_was_written():
    with h5py.File(LEGACY / "deepdish_tree.h5", "r") as file:
        found = read(file)
        assert tree.marks(file) == {"VERSION": 12}
    assert found.keys() == TREE.keys()
    assert all(same(found[name], TREE[name]) for name in TREE)


def test_marks_are_no_entries():
    with opened({"a": 1}, {"FORMAT": 1, "BY": "é"}) as file:
        assert tree.marks(file) == {"VERSION": 12, "FORMAT": 1, "BY": "é"}
        assert read(file) == {"a": 1}


@pytest.mark.parametrize("compression", [ZLIB, {}], ids=["zlib", "none"])
def test_what_is_compressed(compression):
    with opened({"few": np.arange(300.0), "many": np.arange(301.0)}, compression=compression) as file:
        assert [file[name].compression for name in ("few", "many")] == [None, "gzip" if compression else None]


def test_an_array_stands_once_in_the_file():
    noise = np.random.default_rng(1).normal(size=50_000)
    with opened({"a": noise, "b": {"c": noise}}) as file:
        assert file["b"].get("c", getlink=True).path == "/a"
        found = read(file)
    assert found["b"]["c"] is found["a"]
    assert same(found["a"], noise)


def test_many_columns_and_wide_text_are_written(monkeypatch):
    monkeypatch.setattr(tree, "_MANY", 10)
    values = {"many": {f"x{i}": np.array([i]) for i in range(12, -1, -1)}, "wide": np.array([b"a" * 70_000] * 400)}
    found = back(values)
    assert found["many"].keys() == values["many"].keys() and found["many"]["x7"] == [7]
    assert same(found["wide"], values["wide"])


def test_equal_trees_make_equal_files():
    assert opened(PLAIN_TREE).id.get_file_image() == opened(PLAIN_TREE).id.get_file_image()


# ------------------------------------------------------------------ refusals


def test_pickles_are_refused_unless_asked_for(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        held = file.create_dataset("p", (1,), dtype=h5py.vlen_dtype(np.uint8))
        held[0] = np.frombuffer(pickle.dumps(np.dtype(float), 4), dtype=np.uint8)
        held.attrs["PSEUDOATOM"] = b"object"
        with pytest.raises(TreeError, match="/p holds a pickle"):
            read(file)
        assert read(file, unpickled) == {"p": np.dtype(float)}


def test_values_in_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(3.0)
    layout = h5py.VirtualLayout(shape=(3,), dtype=float)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(3,))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/x")
        with pytest.raises(TreeError, match="points to another file"):
            read(file)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        with pytest.raises(TreeError, match="from another place"):
            read(file)
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("x", (3,), dtype=float, external=[(str(tmp_path / "other.h5"), 0, 24)])
        with pytest.raises(TreeError, match="from another place"):
            read(file)


def test_links_in_a_circle_end(tmp_path):
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        file.create_group("a").attrs["TITLE"] = "dict:1"
        file["a/b"] = h5py.SoftLink("/a")
        assert read(file) == {"a": {"b": None}}


# ------------------------------------------------------------------ pickles of the 0.7 line


@pytest.mark.parametrize("protocol", [3, 4, 5])
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
    assert unpickled(pickle.dumps(held, 4)).tolist() == [1.5, 3, True]


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
    with pytest.raises(TreeError, match="pickle in it"):
        unpickled(pickle.dumps(held, protocol))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05", pickle.dumps([1, 2])[:-3]])
def test_damaged_pickles_are_refused(data):
    with pytest.raises(TreeError, match="can't be read"):
        unpickled(data)


def test_a_pickle_that_shares_itself_is_refused():
    deep: list = [1]
    for _ in range(40):
        deep = [deep, deep]
    with pytest.raises(TreeError, match="holds a list"):
        unpickled(pickle.dumps(deep))
